"""What is sent and what an answer means, without any I/O: every function here is a plain calculation.

Arguments become a `Request`, an `Answer` becomes a model or an error. What an answer says about the write is
decided in one place, `_meaning`.
"""

import functools
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from itertools import islice
from typing import Any, Generic, Literal, NamedTuple, ParamSpec, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import attrs
from multidict import CIMultiDict, MultiMapping

from ._convert import Unreadable, encode, parse, structure
from .errors import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Detail,
    InvalidRequestError,
    NotFoundError,
    OmiError,
    Outcome,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    ResponseError,
    ServerError,
    StatusError,
    UnprocessableEntityError,
    ValidationIssue,
)
from .models import Conversation, CreatedConversation, Deletion, Geolocation, NewTranscriptSegment, RawResponse

T = TypeVar("T")
P = ParamSpec("P")

_CONVERSATIONS_PATH = "/v1/dev/user/conversations"
_CONVERSATION_PATH = f"{_CONVERSATIONS_PATH}/"

# Ids go into the path, and one that is not exactly this could name another resource: `../memories/m1` deletes
# a memory, `x?y` deletes `x`. Percent signs, dots in front and everything outside ASCII are out.
_CONVERSATION_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}")

_TITLE_LIMIT = 500  # code points, https://docs.omi.me, UpdateConversationRequest.title

# Of a larger number the server hands out this much, and does not say so.
_LARGEST_PAGE = 100
_LARGEST_PAGE_WITH_TRANSCRIPTS = 25

_TEXT_LENGTH = 100_000  # characters
_TEXT_SOURCES = ("audio_transcript", "message", "other_text")
_SEGMENTS = 500
_SESSION_ID_LENGTH = 200  # characters
_LATEST = 1e10  # seconds into a recording; the server computes a date from them, which must exist
_LARGEST_INTEGER = 2**53  # what every reader of JSON keeps exact

_SURROGATE = re.compile("[\ud800-\udfff]")

# The same care as for ids: every segment is plain, so that the path means what it says.
_PATH = re.compile("/v1(/[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}){1,16}")

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_TEXT_LIMIT = 200  # characters of the server's text that an error shows

_RETRY_AFTER_CEILING = 31 * 86400.0  # seconds; the server's longest window is an hour

_LONGEST_WINDOW = 86400.0  # seconds; a reset further away than a day is no reset of this server

# A key must not come back through an error text, even if the server repeats it.
_KEY = re.compile(r"omi_(dev|mcp)_\S+", re.IGNORECASE)


@attrs.define(eq=False)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: MultiMapping[str] = attrs.field(factory=CIMultiDict[str], repr=False)
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.define(eq=False)
class Request(Generic[T]):
    """One call: what goes on the wire and how its answer is read."""

    operation: str
    method: str
    path: str = attrs.field(repr=False)
    """Sent as it stands, with its query, so it is ASCII that needs no quoting."""
    decode: Callable[[Answer], T] = attrs.field(repr=False)
    body: bytes | None = attrs.field(default=None, repr=False)
    policy: str = "writes"
    """Which of the server's rate policies counts it: each has a window of its own."""
    effect: Literal["none", "repeatable", "once"] = "repeatable"
    """What an attempt may do: nothing, what a second one would not make worse, or what must not be done twice."""
    at_work: bool = False
    """A conflict after an attempt that went unanswered means that the server is still at work on that one."""
    slow: bool = False
    """The server runs a language model before it answers."""
    already_gone: Callable[[], T] | None = attrs.field(default=None, repr=False)
    """What it means when the record is found missing after an attempt that may have removed it."""


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

    429 comes from the limiter in front of the handler, and the other 4xx are the handler's refusals; 408 and
    425 may come from something in between. A 5xx can follow the change that it could not report. The full table
    is in docs/errors.md.
    """
    match status:
        case 429:
            return _Meaning(RateLimitError, "not_applied", retryable=True)
        case 408 | 425:
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
    raise _error(answer)


def _unreadable(answer: Answer, problem: str, *, path: str | None = None, retryable: bool = True) -> ResponseError:
    error = ResponseError(problem, outcome="unknown", retryable=retryable, status=answer.status)
    error.path = path
    return error


def _json(answer: Answer, model: Callable[[Any], T]) -> T:
    try:
        return model(parse(answer.body))
    except Unreadable as failure:
        problem, path = failure.problem, failure.path
    raise _unreadable(
        answer,
        f"the server answered {answer.status} with a body that cannot be read ({problem} at {path}).",
        path=path,
    )


# Answers that are not a result


def _error(answer: Answer) -> OmiError:
    status = answer.status
    kind, outcome, retryable = _meaning(status)
    if kind is ResponseError:
        target = _redirect_target(answer.headers.get("Location"))
        return _unreadable(answer, f"the server answered {_phrase(status)}{target}.", retryable=False)
    raw = _raw_detail(answer.body)
    detail = _detail(raw)
    if status == 503 and isinstance(detail, dict) and detail.get("retryable") is False:
        retryable = False
    error = kind(
        f"the server answered {_phrase(status)}{_detail_text(detail)}.",
        outcome=outcome,
        retryable=retryable,
        status=status,
        detail=detail,
        retry_after=_wait(status, answer.headers),
    )
    match error:
        case UnprocessableEntityError():
            error.errors = _issues(raw)
        case PermissionDeniedError():
            scope = re.search(r"scope: ([a-z_]+:[a-z]+)", detail) if isinstance(detail, str) else None
            error.required_scope = scope[1] if scope else None
        case RateLimitError():
            limit = answer.headers.get("X-RateLimit-Limit", "")
            error.limit = int(limit) if re.fullmatch("[0-9]{1,9}", limit) else None
    return error


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


def clean(text: str, limit: int = _TEXT_LIMIT) -> str:
    """Make text from the wire fit to be shown: no key, nothing unprintable, not long."""
    text = _KEY.sub(r"omi_\1_***", text[: 4 * limit])
    text = "".join([character if character.isprintable() else "?" for character in text])
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


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


def _raw_detail(body: bytes) -> object:
    try:
        document = parse(body)
    except Unreadable:
        return None
    return document.get("detail") if isinstance(document, dict) else None


def _detail(raw: object) -> Detail:
    if isinstance(raw, str):
        return clean(raw)
    if isinstance(raw, dict):
        return {clean(name): _clean_value(value) for name, value in raw.items()}
    issues = _issues(raw)
    if issues:
        return clean("; ".join(f"{'.'.join(map(str, issue.loc))}: {issue.msg}" for issue in issues))
    return None


def _clean_value(value: object, depth: int = 4) -> object:
    match value:
        case str():
            return clean(value)
        case dict() if depth:
            return {clean(name): _clean_value(each, depth - 1) for name, each in value.items()}
        case list() if depth:
            return [_clean_value(each, depth - 1) for each in value]
        case dict() | list():
            return "..."
        case _:
            return value


def _issues(raw: object) -> tuple[ValidationIssue, ...]:
    """FastAPI's list, without `input` and `ctx`: they repeat what was sent."""
    issues = []
    for entry in raw if isinstance(raw, list) else ():
        match entry:
            case {"loc": list(loc), "msg": str(msg), "type": str(code)}:
                where = tuple([clean(part) if isinstance(part, str) else part for part in loc])
                if all(type(part) in (str, int) for part in where):
                    issues.append(ValidationIssue(loc=where, msg=clean(msg), type=clean(code)))
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


def _http_date(value: str) -> datetime | None:
    if len(value) != len("Sun, 06 Nov 1994 08:49:37 GMT"):
        return None
    try:
        date = parsedate_to_datetime(value)
        # The parser is lenient (wrong day names, no zone); a date that is right reads back as it was.
        return date if format_datetime(date, usegmt=True) == value else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


# Requests. A builder gives back the refusal instead of raising it: raised by the call, its traceback shows no
# frame that holds the caller's text.

Refusal = InvalidRequestError | TypeError


def _builder(build: Callable[P, Request[T]]) -> Callable[P, Request[T] | Refusal]:
    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Request[T] | Refusal:
        try:
            return build(*args, **kwargs)
        except (InvalidRequestError, TypeError) as refusal:
            return refusal.with_traceback(None)

    return wrapper


@_builder
def update_conversation(conversation_id: str, title: str | None, discarded: bool | None) -> Request[Conversation]:
    conversation_id = _conversation_id(conversation_id)
    fields: dict[str, object] = {}
    if title is not None:
        fields["title"] = _title(title)
    if discarded is not None:
        if type(discarded) is not bool:
            raise TypeError(f"discarded must be True, False or None, not {type(discarded).__name__}")
        fields["discarded"] = discarded
    if not fields:
        raise InvalidRequestError("title or discarded must be given: there is nothing to change.")
    return Request(
        "conversations.update",
        "PATCH",
        _CONVERSATION_PATH + conversation_id,
        functools.partial(_read_conversation, conversation_id),
        encode(fields),
    )


@_builder
def delete_conversation(conversation_id: str) -> Request[Deletion]:
    conversation_id = _conversation_id(conversation_id)
    return Request(
        "conversations.delete",
        "DELETE",
        _CONVERSATION_PATH + conversation_id,
        functools.partial(_read_deletion, conversation_id),
        already_gone=lambda: Deletion(conversation_id=conversation_id, confirmed=False),
    )


@_builder
def get_conversation(conversation_id: str, include_transcript: bool) -> Request[Conversation]:
    conversation_id = _conversation_id(conversation_id)
    query = "?include_transcript=true" if _flag(include_transcript, "include_transcript") else ""
    return Request(
        "conversations.get",
        "GET",
        f"{_CONVERSATION_PATH}{conversation_id}{query}",
        functools.partial(_read_conversation, conversation_id),
        policy="reads",
        effect="none",
    )


@attrs.frozen(kw_only=True)
class Selection:
    """Which conversations are listed, and how many at a time."""

    filters: dict[str, str]
    end_date: datetime | None
    page_size: int


def selection(
    start_date: datetime | None,
    end_date: datetime | None,
    categories: Iterable[str] | None,
    folder_id: str | None,
    starred: bool | None,
    include_transcript: bool,
    page_size: int | None,
) -> Selection:
    filters: dict[str, str] = {}
    if start_date is not None:
        filters["start_date"] = _moment(start_date, "start_date")
    if end_date is not None:
        end_date = _utc(end_date, "end_date")
    if categories is not None:
        filters["categories"] = ",".join(_categories(categories))
    if folder_id is not None:
        filters["folder_id"] = _text(folder_id, "folder_id")
    if starred is not None:
        filters["starred"] = "true" if _flag(starred, "starred") else "false"
    largest = _LARGEST_PAGE
    if _flag(include_transcript, "include_transcript"):
        filters["include_transcript"] = "true"
        largest = _LARGEST_PAGE_WITH_TRANSCRIPTS
    if page_size is None:
        page_size = largest
    elif type(page_size) is not int:
        raise TypeError(f"page_size must be an int or None, not {type(page_size).__name__}")
    elif not 1 <= page_size <= largest:
        raise InvalidRequestError(f"page_size must be from 1 to {largest}: the server gives no more at a time.")
    return Selection(filters=filters, end_date=end_date, page_size=page_size)


def list_conversations(
    selection: Selection, end_date: datetime | None, offset: int
) -> Request[tuple[Conversation, ...]]:
    """One page of a selection, of what was created until `end_date`."""
    query = dict(selection.filters)
    if end_date is not None:
        query["end_date"] = _moment(end_date, "end_date")
    query.update(limit=str(selection.page_size), offset=str(offset))
    return Request(
        "conversations.list",
        "GET",
        f"{_CONVERSATIONS_PATH}?{urlencode(query, quote_via=quote)}",
        _read_conversations,
        policy="reads",
        effect="none",
    )


@_builder
def create_conversation(
    text: str,
    text_source: str | None,
    text_source_spec: str | None,
    started_at: datetime | None,
    finished_at: datetime | None,
    language: str | None,
    geolocation: Geolocation | None,
) -> Request[CreatedConversation]:
    fields: dict[str, object] = {"text": _text(text, "text", longest=_TEXT_LENGTH)}
    if text_source is not None:
        fields["text_source"] = _text(text_source, "text_source")
        if fields["text_source"] not in _TEXT_SOURCES:
            raise InvalidRequestError(f"text_source must be one of {', '.join(_TEXT_SOURCES)}.")
    _add_texts(fields, text_source_spec=text_source_spec, language=language)
    _add_times(fields, started_at, finished_at)
    if started_at is not None and finished_at is not None and finished_at < started_at:
        raise InvalidRequestError("finished_at must not be before started_at.")
    if geolocation is not None:
        fields["geolocation"] = _place(geolocation)
    return Request(
        "conversations.create",
        "POST",
        _CONVERSATIONS_PATH,
        _read_created,
        encode(fields),
        effect="once",
        slow=True,
    )


@_builder
def create_conversation_from_segments(
    segments: Iterable[NewTranscriptSegment],
    client_session_id: str | None,
    source: str | None,
    started_at: datetime | None,
    finished_at: datetime | None,
    language: str | None,
    geolocation: Geolocation | None,
    client_device_id: str | None,
    client_platform: str | None,
) -> Request[CreatedConversation]:
    # The server knows a session again, so that a repeated request does not make a second conversation.
    session = uuid.uuid4().hex if client_session_id is None else client_session_id
    fields: dict[str, object] = {
        "transcript_segments": _segments(segments),
        "client_session_id": _text(session, "client_session_id", longest=_SESSION_ID_LENGTH),
    }
    _add_texts(
        fields,
        source=source,
        language=language,
        client_device_id=client_device_id,
        client_platform=client_platform,
    )
    _add_times(fields, started_at, finished_at)
    if started_at is not None and finished_at is not None and finished_at <= started_at:
        raise InvalidRequestError("finished_at must be after started_at.")
    if geolocation is not None:
        fields["geolocation"] = _place(geolocation)
    return Request(
        "conversations.create_from_segments",
        "POST",
        f"{_CONVERSATION_PATH}from-segments",
        _read_created,
        encode(fields),
        at_work=True,
        slow=True,
    )


@_builder
def raw(
    method: str, path: str, params: Mapping[str, str | float] | None, document: object, repeatable: bool
) -> Request[RawResponse]:
    if method not in _METHODS:
        raise InvalidRequestError(f"method must be one of {', '.join(_METHODS)}.")
    if not isinstance(path, str):
        raise TypeError(f"path must be a str, not {type(path).__name__}")
    path = str.__str__(path)
    if not _PATH.fullmatch(path):
        raise InvalidRequestError(
            "path must begin with /v1/ and be made of plain segments: no host, no percent sign, no query (use params)."
        )
    if method == "GET" and document is not None:
        raise InvalidRequestError("a GET takes params, no json.")
    kind = "reads" if method == "GET" else "writes"
    # Each resource has windows of its own on the server.
    resource = "/".join(path.split("/")[:5])
    effect: Literal["repeatable", "once"] = "repeatable" if _flag(repeatable, "repeatable") else "once"
    return Request(
        f"{method} {path}",
        method,
        f"{path}?{_query(params)}" if params else path,
        _read_raw,
        None if document is None else _body(document),
        policy=kind if resource == _CONVERSATIONS_PATH else f"{kind} {resource}",
        effect="none" if method == "GET" else effect,
    )


def _query(params: Mapping[str, str | float]) -> str:
    if not isinstance(params, Mapping):
        raise TypeError(f"params must be a mapping, not {type(params).__name__}")
    texts: dict[str, str] = {}
    for name, value in params.items():
        if not isinstance(name, str) or not isinstance(value, (str, int, float)):
            raise TypeError("params must have names that are str and values that are str, int, float or bool")
        texts[name] = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if any(_SURROGATE.search(text) for pair in texts.items() for text in pair):
        raise InvalidRequestError("params must not contain lone surrogates: they are not text.")
    return urlencode(texts, quote_via=quote)


def _body(document: object) -> bytes:
    try:
        return encode(document)
    except (TypeError, ValueError, RecursionError):
        pass
    # Raised here, not above: the encoder's error shows what could not be encoded.
    raise InvalidRequestError("json must be a value that JSON has: no NaN, no lone surrogates, no other types.")


def _conversation_id(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"conversation_id must be a str, not {type(value).__name__}")
    # The text itself, whatever a subclass makes of str() or format().
    conversation_id = str.__str__(value)
    if not _CONVERSATION_ID.fullmatch(conversation_id):
        raise InvalidRequestError(
            "conversation_id must be 1 to 128 of the characters A-Z a-z 0-9 _ - . ~ and not begin with . or ~."
        )
    return conversation_id


def _text(value: str, name: str, *, longest: int | None = None) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    text = str.__str__(value)
    if not text.strip():
        raise InvalidRequestError(f"{name} must not be blank.")
    if longest is not None and len(text) > longest:
        raise InvalidRequestError(f"{name} must be at most {longest} characters, not {len(text)}.")
    if _SURROGATE.search(text):
        raise InvalidRequestError(f"{name} must not contain lone surrogates: they are not text.")
    return text


def _add_texts(fields: dict[str, object], **values: str | None) -> None:
    fields.update({name: _text(value, name) for name, value in values.items() if value is not None})


def _add_times(fields: dict[str, object], started_at: datetime | None, finished_at: datetime | None) -> None:
    times = {"started_at": started_at, "finished_at": finished_at}
    fields.update({name: _moment(time, name) for name, time in times.items() if time is not None})


def _number(value: float, name: str, lowest: float, highest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not lowest <= value <= highest:  # which NaN is not either
        raise InvalidRequestError(f"{name} must be from {lowest:.0f} to {highest:.0f}.")
    return float(value)


def _place(value: Geolocation) -> dict[str, object]:
    if not isinstance(value, Geolocation):
        raise TypeError(f"geolocation must be a Geolocation, not {type(value).__name__}")
    fields: dict[str, object] = {
        "latitude": _number(value.latitude, "geolocation.latitude", -90, 90),
        "longitude": _number(value.longitude, "geolocation.longitude", -180, 180),
    }
    for name in ("google_place_id", "address", "location_type"):
        text = getattr(value, name)
        if text is not None:
            fields[name] = _text(text, f"geolocation.{name}")
    return fields


def _segments(values: Iterable[NewTranscriptSegment]) -> list[dict[str, object]]:
    if not isinstance(values, Iterable):
        raise TypeError(f"segments must be an iterable of NewTranscriptSegment, not {type(values).__name__}")
    # All of them first: if the caller's iterable fails, no frame of its traceback shows a text that came before.
    taken = tuple(islice(values, _SEGMENTS + 1))
    if not 1 <= len(taken) <= _SEGMENTS:
        raise InvalidRequestError(f"segments must be 1 to {_SEGMENTS}, not {'more' if taken else 'none'}.")
    return [_segment(value, f"segments[{number}]") for number, value in enumerate(taken)]


def _segment(value: NewTranscriptSegment, name: str) -> dict[str, object]:
    if not isinstance(value, NewTranscriptSegment):
        raise TypeError(f"{name} must be a NewTranscriptSegment, not {type(value).__name__}")
    start = _number(value.start, f"{name}.start", 0, _LATEST)
    end = _number(value.end, f"{name}.end", 0, _LATEST)
    if end <= start:
        raise InvalidRequestError(f"{name}.end must be after its start.")
    fields: dict[str, object] = {"text": _text(value.text, f"{name}.text"), "start": start, "end": end}
    if value.speaker is not None:
        fields["speaker"] = _text(value.speaker, f"{name}.speaker")
    if value.speaker_id is not None:
        if type(value.speaker_id) is not int:
            raise TypeError(f"{name}.speaker_id must be an int or None, not {type(value.speaker_id).__name__}")
        if abs(value.speaker_id) >= _LARGEST_INTEGER:
            raise InvalidRequestError(f"{name}.speaker_id is too large.")
        fields["speaker_id"] = value.speaker_id
    if _flag(value.is_user, f"{name}.is_user"):
        fields["is_user"] = True
    if value.person_id is not None:
        fields["person_id"] = _text(value.person_id, f"{name}.person_id")
    return fields


def _categories(values: Iterable[str]) -> list[str]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"categories must be an iterable of categories, not {type(values).__name__}")
    names = [_text(value, f"categories[{number}]") for number, value in enumerate(values)]
    if not names:  # to the server, which would list everything, that means no restriction
        raise InvalidRequestError("categories must name at least one; None does not restrict them.")
    if any(re.search(r"[,\s]", name) for name in names):  # they are sent as one text, joined by commas
        raise InvalidRequestError("a category must not contain a comma or a blank.")
    return names


def _utc(value: datetime, name: str) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"{name} must be a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidRequestError(f"{name} must be timezone-aware: the server would take it for UTC.")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        pass
    raise InvalidRequestError(f"{name} is out of range.")


def _moment(value: datetime, name: str) -> str:
    return _utc(value, name).isoformat().replace("+00:00", "Z")


def _flag(value: bool, name: str) -> bool:
    if type(value) is not bool:
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def _title(value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"title must be a str or None, not {type(value).__name__}")
    # Older servers store a blank title as "" and newer ones store padded ones stripped: stripped is right on all.
    title = str.__str__(value).strip()
    if not title:
        raise InvalidRequestError("title must not be blank.")
    if len(title) > _TITLE_LIMIT:
        raise InvalidRequestError(f"title must be at most {_TITLE_LIMIT} characters, not {len(title)}.")
    if _SURROGATE.search(title):
        raise InvalidRequestError("title must not contain lone surrogates: they are not text.")
    return title


def _read_conversation(conversation_id: str, answer: Answer) -> Conversation:
    conversation = _json(answer, lambda document: structure(document, Conversation))
    if conversation.id != conversation_id:
        raise _unreadable(answer, "the server answered with another conversation than the one asked for.", path="$.id")
    return conversation


def _read_conversations(answer: Answer) -> tuple[Conversation, ...]:
    return _json(answer, lambda document: structure(document, tuple[Conversation, ...]))


def _read_raw(answer: Answer) -> RawResponse:
    headers = {name.lower(): ", ".join(answer.headers.getall(name)) for name in answer.headers}
    document = _json(answer, lambda document: document) if answer.body else None
    return RawResponse(status=answer.status, headers=headers, json=document)


def _read_created(answer: Answer) -> CreatedConversation:
    return _json(answer, lambda document: structure(document, CreatedConversation))


def _read_deletion(conversation_id: str, answer: Answer) -> Deletion:
    # An empty 2xx counts: the API answered 204 for a while. 202 means accepted, which is not done.
    if answer.body:
        success = _json(answer, _success)
        if not success:
            raise _unreadable(
                answer,
                f"the server answered {answer.status} but denies success.",
                path="$.success",
                retryable=False,
            )
    return Deletion(conversation_id=conversation_id, confirmed=answer.status != 202)


def _success(document: Any) -> bool:
    if type(document) is not dict:
        raise Unreadable("not an object")
    success = document.get("success")
    if type(success) is not bool:
        raise Unreadable("not a boolean" if "success" in document else "missing", "$.success")
    return success
