"""Every error the client raises.

    OmiError
    |- ConfigurationError (also ValueError)      no key, bad key, bad base URL, bad setting
    |- InvalidRequestError (also ValueError)     refused before the wire: bad id, blank or long title, nothing to do
    |- ClientClosedError                         the client was closed before or during the call
    |- EventLoopError (also RuntimeError)        called from an event loop or thread it cannot serve
    |- JournalError                              the journal of a bulk job cannot be used
    |- BulkStoppedError                          a bulk job ended early: every further item would have failed
    |- TransportError                            could not talk to the server
    |   '- RequestTimeoutError (also TimeoutError)
    |- ResponseError                             an answer that cannot be trusted
    '- StatusError                               the server said no
        |- BadRequestError 400       |- AuthenticationError 401     |- PaymentRequiredError 402
        |- PermissionDeniedError 403 |- NotFoundError 404           |- ConflictError 409
        |- UnprocessableEntityError 422
        |- RateLimitError 429        '- ServerError 5xx

Errors hold plain values only: no key, no body, no foreign exception. They survive pickle and copy.
"""

from typing import ClassVar, Literal, TypeAlias

import attrs

Outcome: TypeAlias = Literal["not_applied", "unknown"]
"""May the write have happened? `"not_applied"`: certainly not. `"unknown"`: nobody on this side can tell."""

Detail: TypeAlias = str | dict[str, object] | None
"""The server's own words: FastAPI's `detail` as text or object, or None where the answer carried none."""

_OUTCOME_SENTENCE = {
    "not_applied": "Nothing was changed.",
    "unknown": "The change may have been applied, wholly or in part, or not at all.",
}


class OmiError(Exception):
    """Base class of everything the client raises on purpose.

    `outcome` says whether the write may have happened, `attempts` how many requests were put on the wire or
    tried to be, `operation` which call it was. `status`, `detail` and `retry_after` (seconds) are None where
    the server gave none. `retryable` tells whether making the same call again can end differently without
    anything else being changed first.
    """

    advice: ClassVar[str] = ""
    """What to do about it: one sentence, the same for every error of the class."""

    _writes: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        outcome: Outcome = "not_applied",
        retryable: bool = False,
        attempts: int = 0,
        operation: str | None = None,
        status: int | None = None,
        detail: Detail = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.outcome: Outcome = outcome
        self.retryable = retryable
        self.attempts = attempts
        self.operation = operation
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    def __str__(self) -> str:
        parts = [f"{self.operation}: {self.message}" if self.operation else self.message]
        if self._writes:
            parts.append(_OUTCOME_SENTENCE[self.outcome])
        if self.advice:
            parts.append(self.advice)
        return " ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # BaseException would call the class with its args alone; keyword-only state needs its own way back.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[OmiError], args: tuple[object, ...], state: dict[str, object]) -> OmiError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


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


class BulkStoppedError(OmiError):
    """A bulk job ended before its input did, because what stopped it would fail every further item.

    `reason` is the error that stopped it. `done` counts the items that were done until then, earlier runs of
    the same journal included. Run the job again with the same input and journal when the reason is gone.
    """

    _writes = False

    reason: OmiError
    done: int = 0


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
    """402: the conversation is locked behind a paid plan."""


class PermissionDeniedError(StatusError):
    """403: the key is good but may not do this; `required_scope` names the missing scope where the server did."""

    required_scope: str | None = None


class NotFoundError(StatusError):
    """404: no such conversation for this key's user."""


class ConflictError(StatusError):
    """409: the state of the record does not allow it."""


class UnprocessableEntityError(StatusError):
    """422: the server refused the content; `errors` lists what it said field by field."""

    errors: tuple[ValidationIssue, ...] = ()


class RateLimitError(StatusError):
    """429: the allowance of the window is spent.

    `retry_after` is the server's wait in seconds (up to an hour is normal), `limit` the window's allowance
    from `X-RateLimit-Limit`.
    """

    limit: int | None = None


class ServerError(StatusError):
    """5xx: the server failed; it may have applied the write before it did."""
