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
NO_TOKEN = "Not authenticated"  # noqa: S105 - a refusal, no secret
UNKNOWN_TOKEN = "Invalid authentication credentials"  # noqa: S105
NO_ROUTE = "Not Found"
UNREADABLE_BODY = "There was an error parsing the body"
LIMITER_DOWN = "Rate limiter unavailable"

STALE_AFTER_SECONDS = 600.0
"""A request whose start time lies further back than this is refused with 408."""


@attrs.frozen
class Reply:
    """One answer before it goes on the wire: `body` and `headers` exactly as the client will read them."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


class ReplyError(Exception):
    """A check said no; `reply` is what the client is told."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@attrs.frozen
class Kind:
    """One kind of record, and what the server says about a record of this kind."""

    noun: str
    nothing_to_change: str = "At least one field must be provided"

    def missing(self) -> Reply:
        """Return the 404 of a record that does not exist."""
        return refusal(404, f"{self.noun} not found")

    def locked(self) -> Reply:
        """Return the 402 of a record that the user's plan no longer covers."""
        return refusal(402, f"A paid plan is required to access this {self.noun.lower()}.")

    def unchanged(self) -> Reply:
        """Return the 422 of an update that names no field."""
        return refusal(422, self.nothing_to_change)


def json_reply(status: int, value: object, headers: Mapping[str, str] | None = None) -> Reply:
    """Return *value* as FastAPI would send it: compact, in plain UTF-8, without NaN.

    Raises ValueError for a value that cannot be sent (NaN, a lone surrogate): the real server breaks on it
    too and answers 500.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Reply(status, text.encode(), {"Content-Type": JSON_TYPE, **(headers or {})})


def refusal(status: int, detail: object, headers: Mapping[str, str] | None = None) -> Reply:
    """Return the usual error shape, `{"detail": ...}`."""
    return json_reply(status, {"detail": detail}, headers)


def success() -> Reply:
    """Return the answer of a deletion."""
    return json_reply(200, {"success": True})


def missing_scope(scope: str) -> Reply:
    """Return the 403 of a valid key that lacks *scope*."""
    return refusal(403, f"Insufficient permissions. Required scope: {scope}")


def rate_limited(limit: int, retry_after: str) -> Reply:
    """Return the 429, the only answer that carries rate headers; *retry_after* is whole seconds as text."""
    return refusal(
        429,
        f"Rate limit exceeded. Try again in {retry_after}s.",
        {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": "0", "Retry-After": retry_after},
    )


def clock_skew(client_time: float) -> Reply:
    """Return the 408 of a request that says it began long ago: the one error body without `detail`."""
    server_time = time.time()
    return json_reply(
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


def server_error() -> Reply:
    """Return the 500 of an unhandled exception: plain text, not JSON."""
    return Reply(500, b"Internal Server Error", {"Content-Type": TEXT_TYPE})


def usual_reply(status: int, *, kind: Kind | None, scope: str | None, limit: int, retry_after: str) -> Reply:
    """Return what the real server says with *status* on a route for *kind* that needs *scope*.

    Redirects, 204 and 504 have no body. A status the server does not use there gets its reason phrase as
    `detail`.
    """
    if status == 429:
        return rate_limited(limit, retry_after)
    if status == 408:
        return clock_skew(time.time() - 2 * STALE_AFTER_SECONDS)
    if status == 500:
        return server_error()
    if status in {204, 504} or 300 <= status < 400:
        return Reply(status)
    if status == 403 and scope is not None:
        return missing_scope(scope)
    if kind is not None and status in {402, 404, 422}:
        return {402: kind.locked, 404: kind.missing, 422: kind.unchanged}[status]()
    return refusal(status, _USUAL_DETAILS.get(status) or _reason(status))


_USUAL_DETAILS = {400: UNREADABLE_BODY, 401: UNKNOWN_KEY, 403: NO_TOKEN, 404: NO_ROUTE, 503: LIMITER_DOWN}


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
