"""What an answer means: a result, or an error that says whether the write may have been applied.

Only the API's own words count. `_speaks` decides whether an answer is the API's, and `_meaning` what its status says
about the write.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from multidict import MultiMapping

from ..errors import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Detail,
    NotFoundError,
    OmiError,
    Outcome,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ResponseError,
    RouteNotFoundError,
    ServerError,
    StatusError,
    UnprocessableEntityError,
    ValidationIssue,
)
from .convert import Unreadable, parse, structure
from .masking import Mask, clean
from .request import Answer, Request

T = TypeVar("T")

_RETRY_AFTER_CEILING = 31 * 86400.0  # seconds; the server's longest window is an hour

_LONGEST_WINDOW = 86400.0  # seconds; a reset further away than a day is no reset of this server

_NO_SUCH_ROUTE = "Not Found"  # the router's own word for a path that no operation has

_NO_GRANT = "The key lacks a grant that newer keys have: a new key cures it."

_NOT_THE_KEY = "This call is made with the ID token, not with the key: the user has to sign in again."

_SCOPE = re.compile(r"\bRequired scope: ([a-z_]{1,40}:(?:read|write))\b")


class _Meaning(NamedTuple):
    error: type[OmiError]
    outcome: Outcome
    retryable: bool


_REFUSALS: dict[int, type[StatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
}


def _meaning(status: int) -> _Meaning:
    """What a status other than 2xx says about the write, and whether the request is worth repeating.

    429 comes from the limiter in front of the handler, and the other 4xx are the handler's refusals. 408 and 425
    may come from something in between, as do 460 and 499, with which load balancers and proxies note that they
    stopped waiting for the API. A 5xx can follow the change that it could not report. The full table is in
    docs/outcomes.md.
    """
    match status:
        case 429:
            return _Meaning(RateLimitError, "not_applied", retryable=True)
        case 408 | 425 | 460 | 499:
            return _Meaning(StatusError, "unknown", retryable=True)
        case _ if 400 <= status < 500:
            return _Meaning(_REFUSALS.get(status, StatusError), "not_applied", retryable=False)
        case 501 | 505 | 511:
            return _Meaning(ServerError, "unknown", retryable=False)
        case _ if 500 <= status < 600:
            return _Meaning(ServerError, "unknown", retryable=True)
        case _:  # a redirect, a 1xx as the final answer, a number that HTTP does not know
            return _Meaning(ResponseError, "unknown", retryable=False)


def read(request: Request[T], answer: Answer) -> T:
    """The result, or the error that the answer stands for."""
    if 200 <= answer.status < 300:
        return request.decode(answer)
    raise _error(request, answer)


def unreadable(answer: Answer, problem: str, *, path: str | None = None, retryable: bool = True) -> ResponseError:
    """The error for a success that cannot be trusted."""
    error = ResponseError(problem, outcome="unknown", retryable=retryable, status=answer.status)
    error.path = path
    return error


def done(answer: Answer, *statuses: int) -> None:
    """Accept the statuses that say that something is done: 202 says that it may be, 206 that this is a part of it."""
    if answer.status not in statuses:
        raise unreadable(answer, f"the server answered {_phrase(answer.status)}, which does not say that it is done.")


def structured(answer: Answer, model: type[T]) -> T:
    """The answer's JSON as a model; an empty body is none."""
    done(answer, 200, 201)
    try:
        return structure(parse(answer.body), model)
    except Unreadable as failure:
        problem, path = failure.problem, failure.path
    raise _cannot_be_read(answer, problem, path)


def checked(answer: Answer, check: Callable[[Any], T], parse: Callable[[bytes], Any]) -> T:
    """What `check` makes of the answer's JSON; an empty body is none."""
    try:
        return check(parse(answer.body))
    except Unreadable as failure:
        problem, path = failure.problem, failure.path
    raise _cannot_be_read(answer, problem, path)


def _cannot_be_read(answer: Answer, problem: str, path: str) -> ResponseError:
    media = _media_type(answer)
    error = unreadable(
        answer,
        f"the server answered {answer.status} with a body that cannot be read ({problem} at {path}{media}).",
        path=path,
    )
    error.from_intermediary = bool(media)
    return error


def _media_type(answer: Answer) -> str:
    """The kind of document, where the answer says that it is none of the API's."""
    media = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    named = re.fullmatch(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}", media)
    return f", {media}" if named and not media.endswith("json") else ""


# Answers that are not a result


def _error(request: Request[Any], answer: Answer) -> OmiError:
    status = answer.status
    kind, outcome, retryable = _meaning(status)
    if kind is ResponseError:
        target = _redirect_target(answer.headers.get("Location"))
        return unreadable(answer, f"the server answered {_phrase(status)}{target}.", retryable=False)
    document = _document(answer.body)
    raw = document.get("detail")
    mask = Mask(request)
    issues = _issues(raw, mask)
    detail = _detail(raw, issues, mask)
    own = _speaks(request, status, document)
    if not own:
        # Whatever refuses in front of the API has not let the write through. But it knows nothing of the record.
        retryable = status != 407  # a proxy that wants a password wants it every time
    elif status == 404 and raw == _NO_SUCH_ROUTE:
        kind = RouteNotFoundError
    elif status in (404, 409) and request.may_change_id:
        outcome = "unknown"
    elif status == 503 and isinstance(detail, dict) and detail.get("retryable") is False:
        retryable = False
    text = f"the server answered {_phrase(status)}{_detail_text(detail)}."
    if status == 407 and not own:
        text = "a proxy asks for a user and a password (407)."
    error = kind(
        text,
        outcome=outcome,
        retryable=retryable,
        status=status,
        detail=detail,
        retry_after=_wait(status, answer.headers),
        from_intermediary=not own,
    )
    match error:
        case UnprocessableEntityError():
            error.errors = issues
        case PermissionDeniedError():
            # In the API's own text, which masking would spoil where the request has one of its words.
            scope = _SCOPE.search(raw) if isinstance(raw, str) else None
            error.required_scope = scope[1] if scope else None
            # A fence around the whole account tells whether to try again; a missing grant does not.
            if request.needs_grant and isinstance(detail, dict) and "retryable" not in detail:
                error.advice = _NO_GRANT
        case RateLimitError():
            error.limit = _count(answer.headers, "X-RateLimit-Limit")
    if request.authorization is not None and status in (401, 403):
        error.advice = _NOT_THE_KEY
    return error


def _speaks(request: Request[Any], status: int, document: dict[str, Any]) -> bool:
    """Whether an error answer is the API's own word.

    The API refuses with a JSON object that has a `detail`, and says of a missing record that it is missing in the words
    of that record. A failure (5xx) may come without any: its outcome is unknown whoever gave it.
    """
    if status >= 500:
        return True
    detail = document.get("detail")
    if status == 408:
        return isinstance(document.get("error"), str) or isinstance(detail, str)
    if status == 404 and request.missing is not None:
        return detail in (request.missing, _NO_SUCH_ROUTE)
    return bool(detail) and isinstance(detail, (str, list, dict))


def says_missing(request: Request[Any], failure: OmiError) -> bool:
    """Whether the API itself said that the record does not exist."""
    return isinstance(failure, NotFoundError) and not failure.from_intermediary and request.missing is not None


def _wait(status: int, headers: MultiMapping[str]) -> float | None:
    if status not in (429, 503):
        return None
    now = time.time()
    seconds = retry_after(headers, now)
    return window_reset(headers, now) if seconds is None and status == 429 else seconds


def _phrase(status: int) -> str:
    # The standard's phrase, not the server's reason, which may hold anything.
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _redirect_target(location: str | None) -> str:
    if not location:
        return ""
    try:
        parts = urlsplit(location)
        scheme = f"{parts.scheme}:" if parts.scheme else ""
        origin = f"{scheme}//{parts.hostname}{f':{parts.port}' if parts.port else ''}" if parts.hostname else ""
    except ValueError:
        return ""
    target = clean(origin + parts.path) or "nowhere"
    return f" to {target}, which is not followed: check the base URL"


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = parse(body)
    except Unreadable:
        return {}
    return document if isinstance(document, dict) else {}


def _detail(raw: object, issues: tuple[ValidationIssue, ...], mask: Mask) -> Detail:
    if isinstance(raw, str):
        return mask.text(raw)
    if isinstance(raw, dict):
        return {mask.text(name): mask.value(value) for name, value in raw.items()}
    if issues:
        return clean("; ".join(f"{'.'.join(map(str, issue.loc))}: {issue.msg}" for issue in issues))
    return None


def _issues(raw: object, mask: Mask) -> tuple[ValidationIssue, ...]:
    """FastAPI's list, without `input` and `ctx`: they repeat what was sent."""
    issues = []
    for entry in raw if isinstance(raw, list) else ():
        match entry:
            case {"loc": list(loc), "msg": str(msg), "type": str(code)}:
                where = tuple([mask.text(part) if isinstance(part, str) else part for part in loc])
                if all(type(part) in (str, int) for part in where):
                    issues.append(ValidationIssue(loc=where, msg=mask.text(msg), type=mask.text(code)))
    return tuple(issues)


def _detail_text(detail: Detail) -> str:
    if isinstance(detail, dict):
        words = [detail[name] for name in ("code", "message", "reason") if isinstance(detail.get(name), str)]
        detail = ", ".join(map(str, words))
    return f" ({detail.rstrip('.')})" if detail else ""


def retry_after(headers: MultiMapping[str], now: float) -> float | None:
    """Seconds to wait by the first usable `Retry-After`, or None. Never raises.

    Digits or an HTTP date; a date is measured against the answer's own `Date` where there is one, so that a
    wrong clock on either side does no harm. `now` is the time of this machine in epoch seconds.
    """
    for value in headers.getall("Retry-After", ()):
        if re.fullmatch("[0-9]{1,9}", value):
            return min(float(value), _RETRY_AFTER_CEILING)
        until = _http_date(value)
        if until is not None:
            since = _http_date(headers.get("Date", "")) or datetime.fromtimestamp(now, UTC)
            return min(max((until - since).total_seconds(), 0.0), _RETRY_AFTER_CEILING)
    return None


def window_reset(headers: MultiMapping[str], now: float) -> float | None:
    """Seconds until the window ends by `X-RateLimit-Reset`, or None.

    The vendor's page documents the header as epoch seconds; the server has not been seen to send it.
    """
    value = headers.get("X-RateLimit-Reset", "")
    if not re.fullmatch("[0-9]{9,10}", value):
        return None
    date = _http_date(headers.get("Date", ""))
    seconds = float(value) - (date.timestamp() if date else now)
    return seconds if 0 <= seconds <= _LONGEST_WINDOW else None


def spent_window(headers: MultiMapping[str]) -> float | None:
    """Seconds until the window ends, if a success says that it was the window's last; the headers are optional."""
    if headers.get("X-RateLimit-Remaining") != "0":
        return None
    return window_reset(headers, time.time())


def window_facts(headers: MultiMapping[str]) -> tuple[int | None, int | None, float | None]:
    """The window's allowance, how much of it is left, and the seconds until it ends; None where nothing is said."""
    limit, left = _count(headers, "X-RateLimit-Limit"), _count(headers, "X-RateLimit-Remaining")
    return limit, left, window_reset(headers, time.time())


def _count(headers: MultiMapping[str], name: str) -> int | None:
    value = headers.get(name, "")
    return int(value) if re.fullmatch("[0-9]{1,9}", value) else None


def _http_date(value: str) -> datetime | None:
    if len(value) != len("Sun, 06 Nov 1994 08:49:37 GMT"):
        return None
    try:
        date = parsedate_to_datetime(value)
        # The parser is lenient (wrong day names, no zone); a date that is right reads back as it was.
        return date if format_datetime(date, usegmt=True) == value else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
