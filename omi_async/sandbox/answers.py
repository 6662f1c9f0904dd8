"""What the server says: statuses, headers and texts, word for word.

The texts are the real server's, so that a program tested here meets the same words in production.
"""

import http
import json
import time
from collections.abc import Mapping

import attrs

JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"

NO_KEY = "Missing or invalid Authorization header. Must be 'Bearer API_KEY'"
UNKNOWN_KEY = "Invalid API Key"
MCP_KEY = (
    "MCP API keys (omi_mcp_...) only authenticate the MCP endpoints under /v1/mcp/ "
    "(for example GET /v1/mcp/memories, GET /v1/mcp/conversations) and the MCP server at /v1/mcp/sse. "
    "This endpoint requires a Developer API key (Settings -> Developer -> Create Key)."
)
LOCKED = "A paid plan is required to access this conversation."
NO_CONVERSATION = "Conversation not found"
NO_ROUTE = "Not Found"
NOTHING_TO_CHANGE = "At least one field (title or discarded) must be provided"
UNREADABLE_BODY = "There was an error parsing the body"
LIMITER_DOWN = "Rate limiter unavailable"

STALE_AFTER_SECONDS = 600.0
"""A request whose start time lies further back than this is refused with 408."""


@attrs.frozen
class Answer:
    """One answer before it goes on the wire: `body` and `headers` exactly as the client will read them."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


class RefusedError(Exception):
    """A check said no; `answer` is what the client is told."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def json_answer(status: int, value: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Return *value* as FastAPI would send it: compact, in plain UTF-8, without NaN.

    Raises ValueError for a value that cannot be sent (NaN, a lone surrogate): the real server breaks on it
    too and answers 500.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Answer(status, text.encode(), {"Content-Type": JSON_TYPE, **(headers or {})})


def refusal(status: int, detail: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the usual error shape, `{"detail": ...}`."""
    return json_answer(status, {"detail": detail}, headers)


def missing_scope(scope: str) -> Answer:
    """Return the 403 of a valid key that lacks *scope*."""
    return refusal(403, f"Insufficient permissions. Required scope: {scope}")


def rate_limited(limit: int, retry_after: str) -> Answer:
    """Return the 429, the only answer that carries rate headers; *retry_after* is whole seconds as text."""
    return refusal(
        429,
        f"Rate limit exceeded. Try again in {retry_after}s.",
        {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": "0", "Retry-After": retry_after},
    )


def clock_skew(client_time: float) -> Answer:
    """Return the 408 of a request that says it began long ago: the one error body without `detail`."""
    server_time = time.time()
    return json_answer(
        408,
        {
            "error": "clock_skew",
            "message": "The request is too old for the server's clock",
            "server_time": round(server_time, 2),
            "client_time": client_time,
            "skew_seconds": round(server_time - client_time, 2),
            "hint": "Check your device date/time settings",
        },
    )


def server_error() -> Answer:
    """Return the 500 of an unhandled exception: plain text, not JSON."""
    return Answer(500, b"Internal Server Error", {"Content-Type": TEXT_TYPE})


def usual_answer(status: int, *, scope: str, limit: int, retry_after: str) -> Answer:
    """Return what the real server says with *status* when nothing more is known about the request.

    Redirects, 204 and 504 have no body. A status the server does not use gets its reason phrase as `detail`.
    """
    if status == 429:
        return rate_limited(limit, retry_after)
    if status == 408:
        return clock_skew(time.time() - 2 * STALE_AFTER_SECONDS)
    if status == 500:
        return server_error()
    if status in {204, 504} or 300 <= status < 400:
        return Answer(status)
    if status == 403:
        return missing_scope(scope)
    return refusal(status, _USUAL_DETAILS.get(status) or _reason(status))


_USUAL_DETAILS = {
    400: UNREADABLE_BODY,
    401: UNKNOWN_KEY,
    402: LOCKED,
    404: NO_CONVERSATION,
    422: NOTHING_TO_CHANGE,
    503: LIMITER_DOWN,
}


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
