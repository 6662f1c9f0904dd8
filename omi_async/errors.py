"""Every error the client raises.

    OmiError
    |- ConfigurationError (also ValueError)      no key, bad key, bad base URL, bad setting
    |- InvalidRequestError (also ValueError)     refused before the wire: bad id, blank or long title, nothing to do
    |- ClientClosedError                         the client was closed before or during the call
    |- EventLoopError (also RuntimeError)        called from an event loop or thread it cannot serve
    |- JournalError                              the journal of a bulk job cannot be used
    |- ArchiveError                              an archive cannot be used
    |- BulkStoppedError                          a bulk job ended before its input did
    |- TransportError                            could not talk to the server
    |   '- RequestTimeoutError (also TimeoutError)
    |- ResponseError                             an answer that cannot be trusted
    '- StatusError                               the server said no
        |- BadRequestError 400       |- AuthenticationError 401     |- PaymentRequiredError 402
        |- PermissionDeniedError 403 |- NotFoundError 404           |- RouteNotFoundError 404
        |- ConflictError 409         |- UnprocessableEntityError 422
        |- RateLimitError 429        '- ServerError 5xx

Errors hold plain values only: no key, no body, no foreign exception. Pickle, copy and JSON keep them whole: `args` has
every value in a form that JSON knows, and `type(error)(*error.args)` is the error again.
"""

import copyreg
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import attrs

Outcome: TypeAlias = Literal["not_applied", "unknown"]
"""May the write have happened? `"not_applied"`: certainly not. `"unknown"`: nobody on this side can tell."""

Detail: TypeAlias = str | dict[str, object] | None
"""The server's own words: FastAPI's `detail` as text or object, or None where the answer carried none."""

_OUTCOME_SENTENCE = {
    "not_applied": "Nothing was changed.",
    "unknown": "The change may have been applied, wholly or in part, or not at all.",
}

_INTERMEDIARY = (
    "The answer does not look like the API's: something in between (a proxy, a gateway, a login page) seems to have "
    "given it."
)


class OmiError(Exception):
    """Base class of everything the client raises on purpose.

    `outcome` says whether the write may have happened, and is `"unknown"` where nothing was given. `attempts` counts
    the requests that were put on the wire or tried to be, `operation` names the call. `status`, `detail` and
    `retry_after` (seconds) are None where the server gave none. `retryable` tells whether making the same call again
    can end differently without anything else being changed first. `from_intermediary` tells that the answer was not
    the API's own, so that it says nothing about the record.
    """

    advice: str = ""
    """What to do about it: one sentence, as a rule the same for every error of the class."""

    _writes: ClassVar[bool] = True

    def __init__(
        self,
        text: str,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        outcome: Outcome = "unknown",
        retryable: bool = False,
        attempts: int = 0,
        operation: str | None = None,
        status: int | None = None,
        detail: Detail = None,
        retry_after: float | None = None,
        from_intermediary: bool = False,
    ) -> None:
        super().__init__(text)
        self.text = text
        """What happened, without operation, outcome and advice."""
        self.outcome: Outcome = outcome
        self.retryable = retryable
        self.attempts = attempts
        self.operation = operation
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.from_intermediary = from_intermediary
        for name, value in (values or {}).items():
            setattr(self, name, self._read_back(name, value))

    def _all_values(self) -> tuple[Any, ...]:
        """The text and every other value, as JSON has them."""
        values = {name: self._plain(value) for name, value in vars(self).items() if name != "text"}
        return self.text, values

    def _take_values(self, given: tuple[Any, ...]) -> None:
        """Become the error with these values, as some programs ask an error to that they have just made."""
        OmiError.__init__(self, *given)

    if TYPE_CHECKING:
        args: tuple[Any, ...]
    else:
        args = property(_all_values, _take_values)

    @property
    def message(self) -> str:
        """The whole text, as `str()` gives it."""
        return str(self)

    def __str__(self) -> str:
        return self._told(with_outcome=self._writes)

    def _told(self, *, with_outcome: bool) -> str:
        parts = [f"{self.operation}: {self.text}" if self.operation else self.text]
        if with_outcome:
            parts.append(_OUTCOME_SENTENCE[self.outcome])
        if self.from_intermediary:
            parts.append(_INTERMEDIARY)
        elif self.advice:
            parts.append(self.advice)
        return " ".join(parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r}, operation={self.operation!r}, outcome={self.outcome!r})"

    def __reduce__(self) -> tuple[object, ...]:
        # Without __init__: a caller's subclass may have one of its own.
        return copyreg.__newobj__, (type(self),), vars(self).copy()  # type: ignore[attr-defined]

    def _plain(self, value: Any) -> Any:
        return value

    def _read_back(self, name: str, value: Any) -> Any:  # noqa: ARG002 - of subclasses that hold more than JSON does
        return value


def is_retryable(error: BaseException) -> bool:
    """Whether making the same call again can end differently; False for errors that are not the client's."""
    return isinstance(error, OmiError) and error.retryable


def to_plain(error: OmiError) -> dict[str, Any]:
    """Return an error as JSON values: the name of its class, and its `args`."""
    return {"type": type(error).__name__, "args": list(error.args)}


def from_plain(value: object) -> OmiError:
    """Return the error of which `to_plain` made *value*. Raises ValueError, which does not repeat it."""
    match value:
        case {"type": str(name), "args": [*args]}:
            kind = globals().get(name)
            if isinstance(kind, type) and issubclass(kind, OmiError):
                try:
                    error = kind(*args)
                    if error.outcome in _OUTCOME_SENTENCE and str(error):
                        return error
                except (TypeError, ValueError, AttributeError, LookupError):
                    pass  # raised below, where the values are not the context
    raise ValueError("not an error of this package")


class ConfigurationError(OmiError, ValueError):
    """A setting is missing or unusable; raised where the client is built, and never repeats the key."""

    _writes = False


class InvalidRequestError(OmiError, ValueError):
    """An argument was refused before anything was sent; the message names it.

    The server would refuse it too, or do something else than meant, and its refusal would still cost one of
    the few writes an hour.
    """

    advice = "Nothing was sent."
    _writes = False


class ClientClosedError(OmiError):
    """The client was closed before the call, or while it was under way."""

    advice = "Make a new client."


class EventLoopError(OmiError, RuntimeError):
    """The client was called from an event loop or a thread that it cannot serve; nothing was sent."""


class JournalError(OmiError):
    """The journal of a bulk job cannot be used: not a journal, of another job, in use, or the disk is full."""

    _writes = False


class ArchiveError(OmiError):
    """An archive cannot be used: not an archive, of another server, being written, or the disk is full."""

    _writes = False


class BulkStoppedError(OmiError):
    """A bulk job ended before its input did: every further item would have failed alike, or the job was closed.

    `reason` is the error that stopped it. `done` counts the items that were done until then, earlier runs of
    the same journal included. `outcome` speaks of the whole job: it is `"not_applied"` only if no item was changed, or
    may have been. `retryable` and `retry_after` are those of the reason. Run the job again with the same input and
    journal when the reason is gone.
    """

    _writes = False

    reason: OmiError
    done: int = 0

    def _plain(self, value: Any) -> Any:
        return [type(value).__name__, *value.args] if isinstance(value, OmiError) else value

    def _read_back(self, name: str, value: Any) -> Any:
        if name != "reason" or isinstance(value, OmiError):
            return value
        kind, *args = value
        known = {each.__name__: each for each in _family(OmiError)}
        return known.get(kind, OmiError)(*args)


def _family(kind: type[OmiError]) -> list[type[OmiError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _family(child))]


class TransportError(OmiError):
    """The server could not be talked to: no connection, a broken connection, broken TLS."""


class RequestTimeoutError(TransportError, TimeoutError):
    """A limit of `Timeout` ran out."""


class ResponseError(OmiError):
    """The server answered something that cannot be trusted: not JSON, the wrong shape, too large, a redirect.

    `path` names the first unreadable field (`$.structured.title`), never its value.
    """

    path: str | None = None


@attrs.frozen(kw_only=True)
class ValidationIssue:
    """One entry of the list in a 422 answer, without the rejected input that the server echoes."""

    loc: tuple[str | int, ...]
    """Where: for instance `("body", "title")`."""

    msg: str
    """The server's sentence."""

    type: str
    """The server's code, for instance `string_too_long`."""


class StatusError(OmiError):
    """The server said no; `status` and, where it gave one, `detail` are its words.

    Raised itself for the statuses without a class of their own (405, 408, 410, 413, ...).
    """


class BadRequestError(StatusError):
    """400: the request made no sense to the server."""


class AuthenticationError(StatusError):
    """401: the key is missing, unknown or revoked."""

    advice = "Check the key: Settings -> Developer -> Create Key in the Omi app."


class PaymentRequiredError(StatusError):
    """402: the record is locked behind a paid plan."""


class PermissionDeniedError(StatusError):
    """403: the key is good but may not do this; `required_scope` names the missing scope where the server did."""

    required_scope: str | None = None


class NotFoundError(StatusError):
    """404: no such record for this key's user."""


class RouteNotFoundError(StatusError):
    """404: this server does not have the operation. It says nothing about the record."""

    advice = "Check the base URL, and whether this server is recent enough to have the operation."


class ConflictError(StatusError):
    """409: the state of the record does not allow it."""


class UnprocessableEntityError(StatusError):
    """422: the server refused the content; `errors` lists what it said field by field."""

    errors: tuple[ValidationIssue, ...] = ()

    def _plain(self, value: Any) -> Any:
        return [attrs.asdict(issue) for issue in value] if isinstance(value, tuple) else value

    def _read_back(self, name: str, value: Any) -> Any:
        if name != "errors":
            return value
        return tuple([ValidationIssue(**{**issue, "loc": tuple(issue["loc"])}) for issue in value])


class RateLimitError(StatusError):
    """429: the allowance of the window is spent.

    `retry_after` is the server's wait in seconds (up to an hour is normal), `limit` the window's allowance
    from `X-RateLimit-Limit`.
    """

    limit: int | None = None


class ServerError(StatusError):
    """5xx: the server failed; it may have applied the write before it did."""
