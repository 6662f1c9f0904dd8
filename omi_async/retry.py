"""How long a call may take and how often it is tried; the only file that knows tenacity.

The rules: the client repeats an attempt that was not sent, was throttled, or ended unknown, while attempts, time and
the client's budget last. It does not repeat one that the API refused. An unknown attempt marks the whole call: no later
refusal can show that nothing was changed. A read changes nothing, however it ends. An operation that must not be done
twice is not repeated once it may have been done.
"""

import asyncio
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import attrs

from ._late import load
from ._protocol.arguments import misconfigured
from ._protocol.meaning import read, says_missing, spent_window
from ._protocol.request import Answer, Refusal, Request
from ._wire.connection import Attempt
from ._wire.transport import Transport
from .errors import OmiError, RateLimitError, RequestTimeoutError, TransportError, is_retryable
from .events import Ending, Trail, Watcher, log
from .models.shared import Value
from .pacing import Gate

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")

_is_logged, _DEBUG = logging.getLogger("omi_async").isEnabledFor, logging.DEBUG

_LONGEST = 86400.0  # seconds; a longer limit is a mistake in the unit, and None says "no limit"


def _number(value: object, name: str, *, lowest: float, highest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise misconfigured(f"{name} must be a number.")
    if not lowest <= value <= highest:  # which NaN and the infinities are not either
        raise misconfigured(f"{name} must be between {lowest:g} and {highest:g}.")
    return float(value)


def _limit(_: object, attribute: "attrs.Attribute[Any]", value: float | None) -> None:
    if value is not None and _number(value, attribute.name, lowest=0.0, highest=_LONGEST) == 0.0:
        raise misconfigured(f"{attribute.name} must be more than 0 seconds; None means no limit.")


def _seconds(_: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    _number(value, attribute.name, lowest=0.0, highest=_LONGEST)


def _attempts(_: object, attribute: "attrs.Attribute[Any]", value: int) -> None:
    if type(value) is not int or not 1 <= value <= 100:
        raise misconfigured(f"{attribute.name} must be a whole number from 1 to 100.")


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Timeout(Value):
    """Limits in seconds; None means no limit.

    A call that runs into one raises `RequestTimeoutError`; its `outcome` tells whether the request had left.
    A bad value raises `ConfigurationError`.
    """

    connect: float | None = attrs.field(default=5.0, validator=_limit)
    """Finding, connecting and securing a connection, for each attempt."""
    attempt: float | None = attrs.field(default=30.0, validator=_limit)
    """One attempt from connecting to the last byte of the body; waiting for a free connection is not in it."""
    total: float | None = attrs.field(default=60.0, validator=_limit)
    """The whole call: all attempts and all waits between them."""

    @classmethod
    def of(cls, value: "Timeout | float") -> "Timeout":
        """Read a plain number as `total`."""
        return value if isinstance(value, Timeout) else cls(total=value)


DEFAULT_TIMEOUT = Timeout()
"""A client with this very object was given no limits, which leaves slow calls to limits of their own."""

_SLOW = Timeout(connect=5.0, attempt=130.0, total=300.0)  # the server itself gives up after 120 s


@attrs.frozen(kw_only=True, eq=False, repr=False)
class RetryPolicy(Value):
    """When a failed attempt is repeated, and after how long.

    Waits grow from `initial` to `maximum` and are drawn at random between 0 and that bound, so that clients do
    not return together. A `Retry-After` of the server is obeyed; one longer than `retry_after_limit` or than the
    time left is not waited for: the error is raised at once and carries it. Each client also has a budget for
    retries, so that an outage is not answered with a storm: once it is spent, errors are raised without a retry
    until calls succeed again. A bad value raises `ConfigurationError`.
    """

    attempts: int = attrs.field(default=3, validator=_attempts)
    """Requests in all, the first one included."""
    initial: float = attrs.field(default=0.25, validator=_seconds)
    """Bound of the first wait, in seconds."""
    initial_throttled: float = attrs.field(default=1.0, validator=_seconds)
    """The same after a 429, where the server did not say how long."""
    maximum: float = attrs.field(default=8.0, validator=_seconds)
    """Bound of every wait, in seconds; the server's own `Retry-After` is not bound by it."""
    retry_after_limit: float = attrs.field(default=60.0, validator=_seconds)
    """The longest `Retry-After` that a call waits for, in seconds."""
    sleep: Callable[[float], Awaitable[None]] = attrs.field(default=asyncio.sleep, repr=False)
    """Waits the given seconds. Replace it, with `clock` and `random`, to test without waiting."""
    clock: Callable[[], float] = attrs.field(default=time.monotonic, repr=False)
    """Seconds from any fixed point; never goes back."""
    random: Callable[[], float] = attrs.field(default=random.random, repr=False)
    """A number from 0 to 1."""

    @classmethod
    def never(cls) -> Self:
        """Make one attempt only."""
        return cls(attempts=1)


class Budget:
    """What a client may spend on retries: an outage must not multiply the requests.

    The figures are those of the AWS SDKs' standard mode: full, 35 retries; one refused call in ten keeps it level.
    """

    FULL = 500
    RETRY_COST = 14
    THROTTLED_COST = 5
    FIRST_TRY_INCOME = 1

    def __init__(self) -> None:
        self.tokens = self.FULL

    def withdraw(self, cost: int) -> bool:
        if cost > self.tokens:
            return False
        self.tokens -= cost
        return True

    def deposit(self, amount: int) -> None:
        self.tokens = min(self.FULL, self.tokens + amount)


class Retrier:
    """Makes calls by the client's defaults or the call's own settings, and holds what they share."""

    def __init__(
        self, transport: Transport, timeout: Timeout, policy: RetryPolicy, watchers: tuple[Watcher, ...] = ()
    ) -> None:
        self.transport = transport
        self.policy = policy
        self.watchers = watchers
        self._timeout = timeout
        self.budget = Budget()
        self._gates: dict[str, Gate] = {}
        self._gates_of: dict[tuple[str, ...], list[Gate]] = {}

    def with_transport(self, transport: Transport) -> "Retrier":
        """One of the same settings that shares neither gates nor budget with this one."""
        return Retrier(transport, self._timeout, self.policy, self.watchers)

    def gate(self, window: str) -> Gate:
        """The gate of one of the server's rate windows."""
        gate = self._gates.get(window)
        if gate is None:
            gate = self._gates[window] = Gate(self.policy.clock)
        return gate

    def gates(self, windows: tuple[str, ...]) -> list[Gate]:
        """The gates of several windows."""
        gates = self._gates_of.get(windows)
        if gates is None:
            gates = self._gates_of[windows] = [self.gate(window) for window in windows]
        return gates

    def prepare(
        self,
        request: Request[T],
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
        *,
        maybe_applied: bool = False,
    ) -> "Call[T]":
        """A call that has not begun; `maybe_applied` if an earlier run may have made it and lost the answer."""
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise misconfigured("retry must be a RetryPolicy.")
        limits = _SLOW if request.slow and self._timeout is DEFAULT_TIMEOUT else self._timeout
        return Call(
            self,
            request,
            limits if timeout is None else Timeout.of(timeout),
            self.policy if retry is None else retry,
            maybe_applied=maybe_applied,
        )

    def call(
        self, request: Request[T] | Refusal, timeout: Timeout | float | None, retry: RetryPolicy | None
    ) -> Coroutine[Any, Any, T]:
        if isinstance(request, Exception):
            raise request
        return self.prepare(request, timeout, retry).run()


class Call(Generic[T]):
    """One call on its way: what it may still use, and what its attempts have shown so far."""

    def __init__(
        self, retrier: Retrier, request: Request[T], timeout: Timeout, policy: RetryPolicy, *, maybe_applied: bool
    ) -> None:
        self.attempts = 0
        self.maybe_applied = maybe_applied
        """Whether an attempt may have been carried out, in this run or an earlier one."""
        self.refused: OmiError | None = None
        """The last error of an attempt whose request had left, if that is certain to have changed nothing."""
        self.operation = request.operation
        self._request = request
        self._transport = retrier.transport
        self._timeout = timeout
        self._policy = policy
        self._budget = retrier.budget
        self._gates = retrier.gates(request.windows)
        self._began = policy.clock()
        self._end = None if timeout.total is None else self._began + timeout.total
        self._watchers = retrier.watchers
        # Nobody but a watcher, or a log at DEBUG, wants to know of a call without failures.
        observed = self._watchers or _is_logged(_DEBUG)
        self._trail: Trail | None = None
        if observed:
            self._kept_trail()
        self._spent = 0  # on the last retry; given back if it succeeds
        # A connection that was kept may have ended unseen, and `once` could not be repeated then.
        self._last = self._next(fresh=request.effect == "once")

    async def run(self) -> T:
        # The first attempt runs outside tenacity, whose machinery costs as much as a third of a request.
        try:
            self._pass_gates()
            result = await self._attempt()
        except OmiError as error:
            failure = error
        except BaseException as error:
            if self._trail is not None:
                self._ended(error)
            raise
        else:
            self._budget.deposit(Budget.FIRST_TRY_INCOME)
            if self._trail is not None:
                self._ended(None)
            return result
        if failure.retryable and self._policy.attempts > 1 and not sys.is_finalizing():
            return await self._repeat(failure)
        self._ended(failure)
        raise failure

    def _pass_gates(self) -> None:
        """Do not spend a request that the server is known to refuse."""
        for gate in self._gates:
            seconds = gate.refused_for()
            if seconds and self._transport.takes(self._last):  # else the attempt says that the client is closed
                refused = RateLimitError(
                    f"the server's window stays closed for another {seconds:.0f} s; nothing was sent.",
                    retryable=True,
                    status=429,
                    retry_after=seconds,
                )
                refused.limit = gate.limit
                raise self._marked(refused)

    def _next(self, *, fresh: bool) -> Attempt:
        return Attempt(
            connect=self._timeout.connect,
            limit=self._timeout.attempt,
            left=self._left,
            fresh=fresh,
            first=self.attempts == 0,
        )

    def _left(self) -> float | None:
        return None if self._end is None else self._end - self._policy.clock()

    async def _attempt(self) -> T:
        self.attempts += 1
        counted = [gate.sent() for gate in self._gates]
        answer: Answer | None = None
        try:
            answer = await self._transport.send(self._request, self._last)
            result = read(self._request, answer)
        except OmiError as error:
            # The frames below held the answer's bytes; a traceback with locals must not show them.
            failure = error.with_traceback(None)
        except BaseException as error:
            # A cancellation, most often: nobody will read the answer.
            self.maybe_applied = self.maybe_applied or self._last.connected
            if self._trail is not None:
                self._attempt_ended(answer, error, self._own_outcome(unknown=self._last.connected))
            raise
        else:
            spent = spent_window(answer.headers)
            if spent is not None:
                self._gates[0].refuse(spent)
            if self._trail is not None:
                self._attempt_ended(answer, None, "success")
            return result
        finally:
            if not self._last.connected:
                for gate, moment in zip(self._gates, counted, strict=True):
                    gate.unsent(moment)
        if isinstance(failure, RateLimitError):
            self._gates[0].refused(failure)
        if self.maybe_applied and says_missing(self._request, failure) and self._request.result_if_missing is not None:
            self._attempt_ended(answer, None, "success")
            return self._request.result_if_missing()
        self._attempt_ended(answer, failure, self._own_outcome(unknown=failure.outcome == "unknown"))
        if failure.status == 409 and self.maybe_applied and self._request.still_running_on_409:
            failure.retryable = True
        if failure.outcome == "unknown":
            self.maybe_applied = True
            if self._request.effect == "once":
                failure.retryable = False
            # Do not reuse a connection on which an attempt ended unknown.
            self._last.distrust()
        elif self._last.connected:
            self.refused = failure
        raise self._marked(failure)

    def _marked(self, failure: OmiError) -> OmiError:
        unknown = self.maybe_applied and self._request.effect != "none"
        failure.outcome = "unknown" if unknown else "not_applied"
        failure.attempts = self.attempts
        failure.operation = self._request.operation
        return failure

    def _own_outcome(self, *, unknown: bool) -> Ending:
        return "unknown" if unknown and self._request.effect != "none" else "not_applied"

    def _kept_trail(self) -> Trail:
        """What is told of the call, from the first time that somebody wants to know."""
        if self._trail is None:
            self._trail = Trail(self._request, self._watchers, self._policy.clock, self._began)
        return self._trail

    def _attempt_ended(self, answer: Answer | None, error: BaseException | None, outcome: Ending) -> None:
        self._kept_trail().attempt_ended(self.attempts, answer, error, outcome, sent=self._last.connected)

    def _ended(self, error: BaseException | None) -> None:
        """Tell how the call has ended."""
        outcome: Ending = "success"
        if error is not None:
            outcome = self._own_outcome(unknown=self.maybe_applied)
        self._kept_trail().call_ended(error, outcome)

    async def _repeat(self, first: OmiError) -> T:
        """Go on after the first failure, which tenacity gets as the outcome of its own first attempt."""
        tenacity = load("tenacity")
        failures = [first]

        async def attempt() -> T:
            if failures:
                raise failures.pop()
            # A connection that failed, or a server behind it that did, is not asked again.
            self._last = self._next(fresh=self.maybe_applied or self._request.effect == "once")
            # Other calls may have learned in the meantime that the window is closed; one's own 429 was waited for.
            if not isinstance(self.refused, RateLimitError):
                self._pass_gates()
            if self._trail is not None:
                self._trail.attempt_begins()
            return await self._attempt()

        # A new object for each call: shared between tasks, tenacity loses and repeats attempts.
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(is_retryable),
            wait=self._wait,
            stop=self._stop,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            result: T = await retrying(attempt)
        except OmiError as error:
            # A user looks in the traceback for a line of their own, not for the machinery of the retries.
            failure = error.with_traceback(None)
        except BaseException as error:
            self._ended(error)
            raise
        else:
            self._budget.deposit(self._spent)
            self._ended(None)
            return result
        failure = self._marked(failure)
        self._ended(failure)
        raise failure

    def _wait(self, state: "RetryCallState") -> float:
        policy, failure = self._policy, _failure(state)
        throttled = isinstance(failure, RateLimitError)
        initial = policy.initial_throttled if throttled else policy.initial
        if failure.retry_after:
            # Never earlier than asked, and not all clients in the same instant.
            return failure.retry_after + policy.random() * initial
        if failure.status == 409:
            return policy.maximum  # the server still works on an earlier attempt, as long as a language model takes
        if self.attempts == 1 and self._last.reused and _lost(failure):
            return 0.0  # the server had closed an idle connection: there is nothing to wait for
        return policy.random() * min(policy.maximum, initial * 2.0 ** (self.attempts - 1))

    def _stop(self, state: "RetryCallState") -> bool:
        failure, left = _failure(state), self._left()
        if self.attempts >= self._policy.attempts:
            return True
        if failure.retry_after is not None and failure.retry_after > self._policy.retry_after_limit:
            return True
        if left is not None and state.upcoming_sleep >= left:
            return True
        cost = Budget.THROTTLED_COST if isinstance(failure, RateLimitError) else Budget.RETRY_COST
        if not self._budget.withdraw(cost):
            log(logging.INFO, "%s: no retry, the client's retry budget is spent", self._request.operation)
            return True
        self._spent = cost
        self._kept_trail().wait_begins(state.upcoming_sleep)
        return False

    async def _sleep(self, seconds: float) -> None:
        try:
            await self._transport.pause(self._policy.sleep, seconds)
        except OmiError as error:
            failure = error.with_traceback(None)
            self._refund()
        except BaseException:
            self._refund()
            raise
        else:
            return
        raise self._marked(failure)

    def _refund(self) -> None:
        """The retry that was paid for is not made."""
        self._budget.deposit(self._spent)
        self._spent = 0


def _lost(failure: OmiError) -> bool:
    return isinstance(failure, TransportError) and not isinstance(failure, RequestTimeoutError)


def _failure(state: "RetryCallState") -> OmiError:
    outcome = state.outcome
    failure = None if outcome is None else outcome.exception()
    if not isinstance(failure, OmiError):
        raise AssertionError("only failed attempts are considered")
    return failure
