"""What a client tells of its calls: events for `on_event`, and the same words in the log `omi_async`.

Events hold plain values only: no key, no id, no text of a request or an answer.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from inspect import iscoroutine
from typing import Any, Literal, TypeAlias, TypeVar

import attrs

from ._protocol.meaning import window_facts
from ._protocol.request import Answer, Request
from .errors import OmiError, RateLimitError
from .models.shared import Value

T = TypeVar("T")

_log = logging.getLogger("omi_async")

Ending: TypeAlias = Literal["success", "not_applied", "unknown"]
"""How an attempt or a call ended: well, or with an error of this outcome."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class RateWindow(Value):
    """What the answer said about the server's rate window; None where it said nothing."""

    name: str
    """Which of the resource's windows, for instance `"writes"`."""
    limit: int | None
    """Requests that the window allows."""
    remaining: int | None
    """Requests that are left in it."""
    resets_in: float | None
    """Seconds until it ends."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class AttemptEnded(Value):
    """One request of a call has ended, well or not."""

    operation: str
    """The call, for instance `"conversations.update"`, or `"request"` for those without a method of their own."""
    method: str
    attempt: int
    """Counted from 1 within the call."""
    status: int | None
    """The server's status; None where there was no answer."""
    outcome: Ending
    """Of this attempt alone."""
    error: str | None
    """The class of its error."""
    started_at: float
    """Seconds since 1970."""
    seconds: float
    """From asking for a connection to the end of the answer."""
    bytes_sent: int
    """Of the body; 0 where the request did not leave."""
    bytes_received: int
    """Of the body, unpacked."""
    retry_wait: float | None
    """Seconds until the next attempt; None if there is none."""
    rate_window: RateWindow


@attrs.frozen(kw_only=True, eq=False, repr=False)
class CallEnded(Value):
    """A call has ended, well or not. Status and rate window are those of its last attempt, bytes those of all."""

    operation: str
    method: str
    attempts: int
    """Requests in all; 0 if the call was held back because the server's window is closed."""
    status: int | None
    outcome: Ending
    """Of the whole call, as its error has it."""
    error: str | None
    """The class of the error that it raised."""
    started_at: float
    """Seconds since 1970."""
    seconds: float
    """All attempts and all waits between them."""
    bytes_sent: int
    bytes_received: int
    rate_window: RateWindow
    each_attempt: tuple[AttemptEnded, ...]
    """The attempts, in order."""


Watcher: TypeAlias = Callable[[AttemptEnded | CallEnded], object]


def log(
    level: int,
    text: str,
    *values: object,
    extra: dict[str, object] | None = None,
    exc_info: BaseException | None = None,
) -> None:
    """Write to the log `omi_async`. What handlers, filters and record factories raise must not change a call."""
    with suppress(Exception):
        try:
            _log.log(level, text, *values, extra=extra, exc_info=exc_info)
        except KeyError:  # a record factory sets a field of one of these names itself
            _log.log(level, text, *values, exc_info=exc_info)


def call_watcher(watcher: Callable[[T], object], value: T, name: str, consequence: str = "") -> bool:
    """Call a watcher that was given under this name. What it raises is logged, and False is returned."""
    try:
        returned = watcher(value)
        if iscoroutine(returned):
            returned.close()
            raise TypeError(f"{name} must be a plain function, and returned a coroutine")
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a watcher must not change what it watches
        log(logging.ERROR, "%s failed%s", name, consequence, exc_info=error)
        return False
    return True


def tell(watcher: Watcher, event: AttemptEnded | CallEnded) -> None:
    """Call `on_event`."""
    call_watcher(watcher, event, "on_event")


class Trail:
    """The attempts of one call, on their way to its watchers and the log."""

    def __init__(
        self, request: Request[Any], watchers: Sequence[Watcher], clock: Callable[[], float], began: float
    ) -> None:
        self._request = request
        # The error of a `client.request` names its path, which may have ids in it.
        self._operation = "request" if "/" in request.operation else request.operation
        self._watchers = watchers
        self._clock = clock
        self._began = self._attempt_began = began
        self._since_1970 = time.time() - clock()  # added to a moment of the clock
        self._last: AttemptEnded | None = None  # ended, and not told before it is known whether another one follows
        self._told: list[AttemptEnded] = []

    def attempt_begins(self) -> None:
        """A further attempt begins."""
        self._attempt_began = self._clock()

    def attempt_ended(
        self, attempt: int, answer: Answer | None, error: BaseException | None, outcome: Ending, *, sent: bool
    ) -> None:
        """An attempt has ended."""
        request, body = self._request, self._request.body
        self._last = AttemptEnded(
            operation=self._operation,
            method=request.method,
            attempt=attempt,
            status=getattr(error, "status", None) if answer is None else answer.status,
            outcome=outcome,
            error=None if error is None else type(error).__name__,
            started_at=self._attempt_began + self._since_1970,
            seconds=self._clock() - self._attempt_began,
            bytes_sent=len(body) if sent and body is not None else 0,
            bytes_received=0 if answer is None else len(answer.body),
            retry_wait=None,
            rate_window=_rate_window(request, answer, error),
        )

    def wait_begins(self, seconds: float) -> None:
        """Another attempt follows after so many seconds."""
        if self._last is None:
            self._log(logging.INFO, "%s: the window is closed, trying in %.2f s", self._operation, seconds)
        else:
            self._tell_attempt(seconds)

    def call_ended(self, error: BaseException | None, outcome: Ending) -> None:
        """The call has ended."""
        self._tell_attempt(None)
        request, each = self._request, self._told
        event = CallEnded(
            operation=self._operation,
            method=request.method,
            attempts=len(each),
            status=each[-1].status if each else getattr(error, "status", None),
            outcome=outcome,
            error=None if error is None else type(error).__name__,
            started_at=self._began + self._since_1970,
            seconds=self._clock() - self._began,
            bytes_sent=sum([attempt.bytes_sent for attempt in each]),
            bytes_received=sum([attempt.bytes_received for attempt in each]),
            rate_window=each[-1].rate_window if each else _rate_window(request, None, error),
            each_attempt=tuple(each),
        )
        plural = "attempt" if event.attempts == 1 else "attempts"
        after = (event.attempts, plural, event.seconds)
        if error is None:
            text = "%s: done (status %s) after %d %s in %.3f s"
            self._say(event, logging.DEBUG, text, event.operation, event.status, *after)
        else:
            level = logging.WARNING if isinstance(error, OmiError) else logging.DEBUG  # else it was cancelled
            text = "%s: failed (%s, status %s, outcome %s) after %d %s in %.3f s"
            self._say(event, level, text, event.operation, event.error, event.status, outcome, *after)

    def _tell_attempt(self, wait: float | None) -> None:
        if self._last is None:
            return
        event, self._last = attrs.evolve(self._last, retry_wait=wait), None
        self._told.append(event)
        what = (event.operation, event.attempt)
        if wait is not None:
            text = "%s: attempt %d failed (%s, status %s), trying again in %.2f s"
            self._say(event, logging.INFO, text, *what, event.error, event.status, wait)
        else:
            text = "%s: attempt %d ended (%s, status %s) in %.3f s"
            self._say(event, logging.DEBUG, text, *what, event.error or event.outcome, event.status, event.seconds)

    def _say(self, event: AttemptEnded | CallEnded, level: int, text: str, *values: object) -> None:
        self._log(level, text, *values, extra=_extra(event))
        for watcher in self._watchers:
            tell(watcher, event)

    @staticmethod
    def _log(level: int, text: str, *values: object, extra: dict[str, object] | None = None) -> None:
        # Without any handler Python would print each warning on standard error, beside the error that is raised.
        if _log.isEnabledFor(level) and _log.hasHandlers():
            log(level, text, *values, extra=extra)


def _rate_window(request: Request[Any], answer: Answer | None, error: BaseException | None) -> RateWindow:
    limit, remaining, resets_in = (None, None, None) if answer is None else window_facts(answer.headers)
    if isinstance(error, RateLimitError):
        limit, resets_in = error.limit if limit is None else limit, error.retry_after
    name = " ".join([word for word in request.windows[0].split() if not word.startswith("/")])
    return RateWindow(name=name, limit=limit, remaining=remaining, resets_in=resets_in)


def _extra(event: AttemptEnded | CallEnded) -> dict[str, object]:
    """The event's values as fields of a log record, all of them such as JSON knows."""
    values = attrs.asdict(event, recurse=False)
    values.pop("each_attempt", None)
    window: RateWindow = values.pop("rate_window")
    kind = "attempt_ended" if isinstance(event, AttemptEnded) else "call_ended"
    return {
        "event_name": kind,  # not `event`, under which structlog keeps the text of a record
        **values,
        "rate_window": window.name,
        "rate_limit": window.limit,
        "rate_remaining": window.remaining,
        "rate_resets_in": window.resets_in,
    }
