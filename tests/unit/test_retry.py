"""When an attempt is repeated, after how long, and what the call says in the end; without a network and a clock."""

import asyncio
import contextlib
import itertools
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from decimal import Decimal
from typing import Any, TypeVar, cast

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from omi_async import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    Deletion,
    InvalidRequestError,
    NotFoundError,
    OmiError,
    RateLimitError,
    RequestTimeoutError,
    ResponseError,
    RetryPolicy,
    RouteNotFoundError,
    ServerError,
    StatusError,
    Timeout,
    TransportError,
)
from omi_async.retry import Budget, Retrier
from tests.support.clock import VirtualClock
from tests.support.inside import Answer, Attempt, Request, Transport, delete_conversation, request
from tests.support.raw import answer as wire_answer
from tests.support.raw import conversation
from tests.support.specimens import CREATE, DELETE, GET, SPECIMENS, UPDATE, Specimen

T = TypeVar("T")

# Equally deep on every run and every machine.
deterministic = settings(max_examples=300, derandomize=True, database=None, deadline=None)


# A transport that plays what it is told

Outcome = Callable[[Request[Any]], Answer | OmiError]
"""What one attempt ends with."""


def said(code: int) -> bytes:
    """The API's own words with a status."""
    return b'{"detail": "Conversation not found"}' if code == 404 else b'{"detail": "No."}'


def status(code: int, body: bytes | None = None, /, **headers: str) -> Outcome:
    """An answer of the API; a `body` may come from anywhere."""
    body = said(code) if body is None else body
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return lambda request: Answer(code, named, body)


def ok(request: Request[Any]) -> Answer:
    bodies = {"DELETE": {"success": True}, "POST": {"id": "conv_1", "status": "completed", "discarded": False}}
    body = bodies.get(request.method, conversation())
    return Answer(200, body=wire_answer(200, body).partition(b"\r\n\r\n")[2])


def disconnect(request: Request[Any]) -> OmiError:
    return TransportError("the connection was lost.", outcome="unknown", retryable=True)


def refused_connection(request: Request[Any]) -> OmiError:
    return TransportError("no connection could be made.", outcome="not_applied", retryable=True)


def timed_out(request: Request[Any]) -> OmiError:
    return RequestTimeoutError("the time for one attempt is over.", outcome="unknown", retryable=True)


def closed(request: Request[Any]) -> OmiError:
    return ClientClosedError("the client is closed.", outcome="not_applied")


@attrs.define
class FakeTransport:
    """Plays `outcomes`, the last one forever; each attempt takes `duration` seconds or what is left of the call."""

    clock: VirtualClock
    outcomes: Sequence[Outcome]
    duration: float = 0.0
    reused: bool = False
    closes: bool = False
    """Whether the client is closed during the first wait."""
    closed: bool = False
    attempts: list[Attempt] = attrs.field(factory=list)

    async def send(self, request: Request[Any], attempt: Attempt) -> Answer:
        self.attempts.append(attempt)
        attempt.reused = self.reused and not attempt.fresh
        left = attempt.left()
        if left is not None and left < self.duration:
            self.clock.now += max(left, 0.0)
            raise RequestTimeoutError("the time for the whole call is over.", outcome="unknown", retryable=True)
        self.clock.now += self.duration
        end = self.outcomes[min(len(self.attempts), len(self.outcomes)) - 1](request)
        if isinstance(end, OmiError):
            raise end
        return end

    async def pause(self, wait: Callable[..., Awaitable[Any]], *args: Any) -> None:
        await wait(*args)
        if self.closes:
            raise ClientClosedError("the client is closed.", outcome="not_applied")


@attrs.define
class Setup:
    """A client's inside on a fake transport."""

    clock: VirtualClock
    transport: FakeTransport
    retrier: Retrier

    async def call(self, operation: str = "update", **settings: Any) -> Any:
        return await self.retrier.call(request(operation), settings.get("timeout"), settings.get("retry"))

    async def fail(self, operation: str = "update", **settings: Any) -> OmiError:
        with pytest.raises(OmiError) as caught:
            await self.call(operation, **settings)
        return caught.value

    def play(self, *outcomes: Outcome) -> None:
        """From now on, play these."""
        self.transport.outcomes = outcomes
        self.transport.attempts.clear()
        self.clock.sleeps.clear()

    @property
    def tokens(self) -> int:
        return self.retrier.budget.tokens

    @property
    def sent(self) -> int:
        return len(self.transport.attempts)


def setup(
    *outcomes: Outcome,
    random: float = 1.0,
    timeout: Timeout = Timeout(total=None),  # noqa: B008 - frozen
    duration: float = 0.0,
    reused: bool = False,
    closes: bool = False,
    **policy: Any,
) -> Setup:
    clock = VirtualClock(random=random)
    transport = FakeTransport(clock, outcomes, duration=duration, reused=reused, closes=closes)
    return Setup(clock, transport, Retrier(cast(Transport, transport), timeout, clock.policy(**policy)))


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never really waits; a loop for each of thousands would cost more than the calls."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    raise AssertionError("the call waited for something else than the policy's sleep")


# Settings


@pytest.mark.parametrize("limit", ["connect", "attempt", "total"])
@pytest.mark.parametrize(
    "value",
    [0, 0.0, -0.0, -1, -0.001, math.nan, math.inf, -math.inf, True, False, "5", b"5", Decimal(5), 86401, 1e300, [5]],
)
def test_bad_timeouts(limit: str, value: Any) -> None:
    """A limit that is not a positive number of seconds is refused by name."""
    with pytest.raises(ConfigurationError, match=rf"^{limit} must be "):
        Timeout(**{limit: value})


@pytest.mark.parametrize("value", [None, 1e-9, 0.5, 5, 86400])
def test_good_timeouts(value: float | None) -> None:
    """A limit is a positive number of up to a day, or None."""
    assert (value, value, value) == attrs.astuple(Timeout(connect=value, attempt=value, total=value))


def test_default_timeouts() -> None:
    """The defaults are the documented ones, and a plain number is the limit of the whole call."""
    assert (5.0, 30.0, 60.0) == attrs.astuple(Timeout())
    assert Timeout(total=7) == Timeout.of(7)
    timeout = Timeout(connect=1, attempt=None, total=2)
    assert timeout is Timeout.of(timeout)


@pytest.mark.parametrize("value", [0, -1, math.nan, True, "5"])
def test_bad_plain_timeouts(value: Any) -> None:
    """A plain number is checked like the limit that it stands for."""
    with pytest.raises(ConfigurationError, match=r"^total must be "):
        Timeout.of(value)


BAD_POLICIES: list[tuple[str, Any]] = [
    *itertools.product(["attempts"], [0, -1, 101, 2.0, 2.5, math.nan, True, "3", None]),
    *itertools.product(
        ["initial", "initial_throttled", "maximum", "retry_after_limit"],
        [-1, -1e-9, math.nan, math.inf, True, "1", None, 86401],
    ),
]


@pytest.mark.parametrize(("name", "value"), BAD_POLICIES)
def test_bad_policies(name: str, value: Any) -> None:
    """A setting that makes no sense is refused by name."""
    with pytest.raises(ConfigurationError, match=rf"^{name} must be "):
        RetryPolicy(**{name: value})


@pytest.mark.parametrize("name", ["connect", "attempt", "total"])
def test_huge_timeouts(name: str) -> None:
    """A number beyond all floats is refused like any other that is too large."""
    with pytest.raises(ConfigurationError, match=rf"^{name} must be "):
        Timeout(**{name: 10**400})


def test_default_policy() -> None:
    """The defaults are the documented ones, zero waits are allowed, and nothing of it can be changed afterwards."""
    policy = RetryPolicy()
    assert (3, 0.25, 1.0, 8.0, 60.0) == attrs.astuple(policy)[:5]
    assert 0 == RetryPolicy(initial=0, initial_throttled=0, maximum=0, retry_after_limit=0).maximum
    assert RetryPolicy(attempts=1) == RetryPolicy.never()
    assert "function" not in repr(policy)
    for frozen in (policy, Timeout()):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(frozen, attrs.fields(type(frozen))[0].name, 1)


@pytest.mark.parametrize("settings", [{"retry": 3}, {"retry": "never"}, {"timeout": "5"}, {"timeout": -1}])
async def test_bad_settings_of_one_call(settings: dict[str, Any]) -> None:
    """A call's own settings are checked like the client's, before anything is sent."""
    inside = setup(ok)
    with pytest.raises(ConfigurationError):
        await inside.call(**settings)
    assert 0 == inside.sent


# Attempts


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
@pytest.mark.parametrize("outcome", [status(500), status(429), disconnect, refused_connection, timed_out])
async def test_attempts(operation: str, attempts: int, outcome: Outcome) -> None:
    """A call makes as many attempts as the policy says, not one more, and counts them in its error."""
    inside = setup(outcome, attempts=attempts)
    error = await inside.fail(operation)
    assert (attempts, attempts, attempts - 1) == (inside.sent, error.attempts, len(inside.clock.sleeps))
    assert f"conversations.{operation}" == error.operation


@pytest.mark.scenario(81)
@pytest.mark.parametrize("failures", range(6))
async def test_success_after_failures(operation: str, failures: int) -> None:
    """A call succeeds as soon as one attempt does."""
    inside = setup(*[status(503)] * failures, ok, attempts=6)
    result = await inside.call(operation)
    assert "conv_1" == result.id
    assert failures + 1 == inside.sent


async def test_policy_of_one_call() -> None:
    """A call's own policy and limits take the place of the client's, for that call only."""
    inside = setup(status(500), attempts=3, timeout=Timeout(connect=1, attempt=2, total=3))
    await inside.fail(retry=RetryPolicy.never())
    assert 1 == inside.sent
    inside.play(status(500))
    await inside.fail(timeout=Timeout(connect=4, attempt=5, total=None), retry=RetryPolicy.never())
    (attempt,) = inside.transport.attempts
    assert (4.0, 5.0, None) == (attempt.connect, attempt.limit, attempt.left())
    inside.play(ok)
    await inside.call()
    (attempt,) = inside.transport.attempts
    assert (1.0, 2.0, 3.0) == (attempt.connect, attempt.limit, attempt.left())


@pytest.mark.parametrize("code", [400, 401, 402, 403, 404, 405, 409, 410, 413, 422, 451, 501, 505, 511, 301, 999])
async def test_not_repeated(operation: str, code: int) -> None:
    """What the server refused, or answers the same forever, is asked once."""
    inside = setup(status(code), attempts=5)
    await inside.fail(operation)
    assert (1, []) == (inside.sent, inside.clock.sleeps)


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"{}", b'{"error": "no"}', b'{"detail": ""}'])
@pytest.mark.parametrize("code", [400, 401, 402, 403, 404, 405, 409, 410, 413, 422, 451])
async def test_word_of_something_in_between(operation: str, code: int, body: bytes) -> None:
    """A refusal that is not the API's own has let nothing through, and may be over the next time."""
    inside = setup(status(code, body))
    error = await inside.fail(operation)
    assert (3, 3, code) == (inside.sent, error.attempts, error.status)
    assert ("not_applied", True, True) == (error.outcome, error.retryable, error.from_intermediary)
    inside = setup(disconnect, status(code, body), status(code, body), attempts=3)
    error = await inside.fail(operation)
    assert ("unknown", True, True) == (error.outcome, error.retryable, error.from_intermediary)


@pytest.mark.scenario(80)
@pytest.mark.parametrize(("word", "attempts"), [(b"false", 1), (b"true", 3)])
async def test_servers_own_word(operation: str, word: bytes, attempts: int) -> None:
    """A 503 that says it is not worth repeating is not repeated."""
    inside = setup(status(503, b'{"detail": {"code": "odd", "retryable": %s}}' % word))
    error = await inside.fail(operation)
    assert (attempts, attempts) == (inside.sent, error.attempts)


async def test_arguments_are_refused_without_an_attempt() -> None:
    """A refused argument reaches neither the transport nor the budget."""
    inside = setup(ok)
    with pytest.raises(InvalidRequestError):
        await inside.retrier.call(delete_conversation("../memories/m1"), None, None)
    assert (0, Budget.FULL) == (inside.sent, inside.tokens)


async def test_mistakes_are_not_repeated() -> None:
    """An exception that is not the client's own ends the call at once and comes through as it is."""

    def mistake(request: Request[Any]) -> OmiError:
        raise LookupError("a mistake in the program")

    for outcomes in ((mistake,), (status(500), mistake)):
        inside = setup(*outcomes, attempts=5)
        with pytest.raises(LookupError, match="a mistake in the program"):
            await inside.call()
        assert len(outcomes) == inside.sent


async def test_cancelled_wait() -> None:
    """Cancelling a call while it waits ends it at once: nothing more is sent."""
    waiting = asyncio.Event()

    async def wait(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    inside = setup(status(500))
    task = asyncio.create_task(inside.call(retry=RetryPolicy(sleep=wait)))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 1 == inside.sent


@pytest.mark.parametrize(("first", "outcome"), [(status(500), "unknown"), (status(429), "not_applied")])
async def test_closed_while_waiting(operation: str, first: Outcome, outcome: str) -> None:
    """A client closed during a wait ends the call with what its attempts have shown so far."""
    inside = setup(first, ok, closes=True)
    error = await inside.fail(operation)
    assert isinstance(error, ClientClosedError)
    assert (outcome, 1, f"conversations.{operation}") == (error.outcome, error.attempts, error.operation)


@pytest.mark.parametrize(
    ("first", "fresh"),
    [
        (status(500), True),
        (disconnect, True),
        (timed_out, True),
        (status(429), False),
        (refused_connection, False),
    ],
)
async def test_fresh_connection(operation: str, first: Outcome, fresh: bool) -> None:
    """After an attempt that may have arrived the next one asks for a new connection; the first one does not."""
    inside = setup(first, ok)
    await inside.call(operation)
    assert [False, fresh] == [attempt.fresh for attempt in inside.transport.attempts]


async def test_fresh_connection_for_what_is_done_once() -> None:
    """An operation that could not be repeated asks for a new connection every time."""
    inside = setup(status(429), refused_connection, ok)
    await inside.call("create")
    assert [True, True, True] == [attempt.fresh for attempt in inside.transport.attempts]


@pytest.mark.parametrize("outcomes", [[status(500)], [disconnect, status(404)], [status(429), refused_connection]])
async def test_error_stands_alone(outcomes: list[Outcome]) -> None:
    """A call's error has no cause or context from the machinery, and no frames of it."""
    error = await setup(*outcomes).fail()
    assert (None, None) == (error.__cause__, error.__context__)
    names = []
    frame = error.__traceback__
    while frame is not None:
        names.append(frame.tb_frame.f_code.co_filename)
        frame = frame.tb_next
    assert not [name for name in names if "tenacity" in name]


# Waits


@pytest.mark.parametrize(
    ("outcome", "bounds"),
    [
        (status(500), [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]),
        (disconnect, [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]),
        (refused_connection, [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]),
        (status(429), [1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0, 8.0]),
        (status(429, Retry_After="soon"), [1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0, 8.0]),
    ],
)
@pytest.mark.parametrize("random", [0.0, 0.5, 1.0])
@pytest.mark.scenario(76)
async def test_waits_grow(outcome: Outcome, bounds: list[float], random: float) -> None:
    """Waits are drawn from zero up to a bound that doubles, starts higher for a 429, and ends at the maximum."""
    inside = setup(outcome, attempts=9, random=random)
    await inside.fail()
    assert [bound * random for bound in bounds] == inside.clock.sleeps


async def test_wait_by_the_latest_failure() -> None:
    """Each wait follows the failure before it: only those after a 429 start from the higher bound."""
    inside = setup(status(500), status(429), status(500), status(429), attempts=5)
    await inside.fail()
    assert [0.25, 2.0, 1.0, 8.0] == inside.clock.sleeps


@deterministic
@given(
    initial=st.floats(0, 100),
    throttled=st.floats(0, 100),
    maximum=st.floats(0, 100),
    draws=st.lists(st.floats(0, 1), min_size=8, max_size=8),
    codes=st.lists(st.sampled_from([429, 500]), min_size=7, max_size=7),
)
def test_waits_stay_within_bounds(
    initial: float, throttled: float, maximum: float, draws: list[float], codes: list[int]
) -> None:
    """No wait is negative or longer than its bound, whatever the policy and the draws."""
    inside = setup(*[status(code) for code in codes])
    policy = attrs.evolve(
        inside.clock.policy(attempts=8, initial=initial, initial_throttled=throttled, maximum=maximum),
        random=iter(draws).__next__,
    )
    finish(inside.fail(retry=policy))
    bounds = [min(maximum, (throttled if code == 429 else initial) * 2**number) for number, code in enumerate(codes)]
    assert 7 == len(inside.clock.sleeps)
    for draw, bound, slept in zip(draws[:7], bounds, inside.clock.sleeps, strict=True):
        assert 0.0 <= slept <= bound
        assert draw * bound == slept


@pytest.mark.parametrize(
    ("reused", "outcomes", "waits"),
    [
        (True, [disconnect, ok], [0.0]),
        (True, [disconnect, disconnect, ok], [0.0, 0.5]),
        (True, [timed_out, ok], [0.25]),
        (True, [status(500), ok], [0.25]),
        (True, [status(429), disconnect, ok], [1.0, 0.5]),
        (False, [disconnect, ok], [0.25]),
    ],
)
async def test_stale_connection(reused: bool, outcomes: list[Outcome], waits: list[float]) -> None:
    """Only a kept connection that is lost on the first attempt is replaced without a wait."""
    inside = setup(*outcomes, reused=reused)
    await inside.call()
    assert waits == inside.clock.sleeps


# Retry-After


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("random", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("seconds", [1, 7, 60])
async def test_retry_after_is_obeyed(code: int, random: float, seconds: int) -> None:
    """The server's wait is kept in full, and prolonged by chance so that not all clients return at once."""
    inside = setup(status(code, Retry_After=str(seconds)), ok, random=random)
    await inside.call()
    base = 1.0 if code == 429 else 0.25
    assert [seconds + random * base] == inside.clock.sleeps


async def test_retry_after_is_not_bounded_by_the_maximum() -> None:
    """The bound of our own waits does not shorten the server's."""
    inside = setup(status(429, Retry_After="30"), ok, random=0.0, maximum=2.0)
    await inside.call()
    assert [30.0] == inside.clock.sleeps


@pytest.mark.parametrize("headers", [{"Retry_After": "0"}, {"Retry_After": "-5"}, {"Retry_After": "nan"}, {}])
async def test_unusable_retry_after(headers: dict[str, str]) -> None:
    """A wait of zero, or one that cannot be read, leaves the wait to the policy."""
    inside = setup(status(429, **headers), ok)
    await inside.call()
    assert [1.0] == inside.clock.sleeps


@pytest.mark.parametrize(("limit", "seconds"), [(60.0, 61), (60.0, 3600), (5.0, 6), (0.0, 1)])
@pytest.mark.parametrize("code", [429, 503])
async def test_long_retry_after(operation: str, code: int, limit: float, seconds: int) -> None:
    """A wait longer than the limit is not begun: the error comes at once and says how long it would be."""
    inside = setup(status(code, Retry_After=str(seconds)), ok, retry_after_limit=limit)
    error = await inside.fail(operation)
    assert (float(seconds), 1, 1) == (error.retry_after, error.attempts, inside.sent)
    assert ([], Budget.FULL) == (inside.clock.sleeps, inside.tokens)
    assert error.retryable


@pytest.mark.parametrize(
    ("outcome", "total"),
    [
        (status(429, Retry_After="10"), 10.0),
        (status(429, Retry_After="10"), 10.5),
        (status(503, Retry_After="10"), 10.2),
        (status(500), 0.25),
        (status(500), 0.1),
        (disconnect, 0.25),
    ],
)
async def test_wait_that_would_take_all_the_time(outcome: Outcome, total: float) -> None:
    """A wait that leaves no time for an attempt is not begun: the error comes at once."""
    inside = setup(outcome, ok, timeout=Timeout(total=total))
    error = await inside.fail()
    assert (1, [], Budget.FULL) == (error.attempts, inside.clock.sleeps, inside.tokens)


@deterministic
@given(
    total=st.floats(0.01, 30),
    duration=st.floats(0, 5),
    attempts=st.integers(1, 10),
    draw=st.floats(0, 1),
    outcomes=st.lists(
        st.sampled_from([status(500), status(429), status(429, Retry_After="3"), disconnect, refused_connection]),
        min_size=1,
        max_size=10,
    ),
)
def test_deadline_holds(total: float, duration: float, attempts: int, draw: float, outcomes: list[Outcome]) -> None:
    """A call that fails ends before its time is over, or with it, and no attempt begins when none is left."""
    inside = setup(*outcomes, random=draw, duration=duration, attempts=attempts, timeout=Timeout(total=total))
    begin = inside.clock.now
    error = finish(inside.fail())
    assert inside.clock.now <= begin + total + 1e-9
    assert 1 <= error.attempts == inside.sent <= attempts
    assert len(inside.clock.sleeps) == inside.sent - 1


async def test_time_left_is_told() -> None:
    """Each attempt is told what is left of the whole call at that moment."""
    told: list[float | None] = []

    def note(request: Request[Any]) -> Answer:
        told.append(inside.transport.attempts[-1].left())
        return Answer(500)

    inside = setup(note, duration=1.0, timeout=Timeout(total=10))
    await inside.fail()
    assert [9.0, 7.75, 6.25] == told


# Budget


def test_budget_arithmetic() -> None:
    """Tokens never fall below zero and never rise above the full budget."""
    budget = Budget()
    assert (500, 14, 5, 1) == (Budget.FULL, Budget.RETRY_COST, Budget.THROTTLED_COST, Budget.FIRST_TRY_INCOME)
    assert budget.withdraw(500)
    assert 0 == budget.tokens
    assert not budget.withdraw(1)
    budget.deposit(13)
    assert not budget.withdraw(14)
    assert 13 == budget.tokens
    budget.deposit(1)
    assert budget.withdraw(14)
    budget.deposit(10_000)
    assert 500 == budget.tokens


@deterministic
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0, 1, 5, 14])), max_size=200))
def test_budget_stays_in_bounds(steps: list[tuple[bool, int]]) -> None:
    """Whatever is taken and given, the tokens are what plain bookkeeping says."""
    budget, expected = Budget(), 500
    for take, amount in steps:
        if take:
            assert (amount <= expected) == budget.withdraw(amount)
            expected -= amount if amount <= expected else 0
        else:
            budget.deposit(amount)
            expected = min(500, expected + amount)
        assert expected == budget.tokens
        assert 0 <= budget.tokens <= Budget.FULL


@pytest.mark.parametrize(("outcome", "retries"), [(status(500), 35), (disconnect, 35), (status(429), 100)])
async def test_budget_is_spent(outcome: Outcome, retries: int) -> None:
    """In an outage a client makes 35 retries, or 100 that were throttled, and then none; attempts go on."""
    inside = setup(outcome, attempts=2)
    for _ in range(retries):
        await inside.fail()
    assert 2 * retries == inside.sent
    for _ in range(10):
        error = await inside.fail()
        assert 1 == error.attempts
    assert 2 * retries + 10 == inside.sent
    assert 0 <= inside.tokens < Budget.RETRY_COST


async def test_budget_is_earned_back() -> None:
    """When the budget is spent, first tries that succeed earn retries back, one token each."""
    inside = setup(status(500), attempts=2)
    for _ in range(40):
        await inside.fail()
    missing = Budget.RETRY_COST - inside.tokens
    assert 0 < missing
    inside.play(ok)
    for _ in range(missing - 1):
        await inside.call()
    inside.play(status(500))
    assert 1 == (await inside.fail()).attempts
    inside.play(ok)
    await inside.call()
    inside.play(status(500))
    assert 2 == (await inside.fail()).attempts
    assert 0 == inside.tokens


@pytest.mark.parametrize(
    ("outcomes", "left"),
    [
        ([ok], 500),
        ([status(500), ok], 500),
        ([status(429), ok], 500),
        ([status(500), status(500), ok], 486),
        ([status(429), status(500), ok], 495),
        ([status(500), status(429), ok], 486),
        ([status(500)], 472),
        ([status(500), status(404)], 486),
        ([status(404)], 500),
    ],
)
async def test_budget_after_one_call(outcomes: list[Outcome], left: int) -> None:
    """A retry that succeeds gets back what it cost; those that failed before it do not, nor do refusals."""
    inside = setup(*outcomes)
    with contextlib.suppress(StatusError):
        await inside.call()
    assert left == inside.tokens


async def test_unconfirmed_deletion_is_a_success() -> None:
    """A retry that finds the conversation gone gets back what it cost, like any other that succeeds."""
    inside = setup(status(500), status(404))
    assert Deletion(id="conv_1", confirmed=False) == await inside.call("delete")
    assert Budget.FULL == inside.tokens


async def test_recovering_retries_never_spend_the_budget() -> None:
    """A server that fails every first attempt and answers every second one can do so forever."""
    inside = setup(*[status(500), ok] * 200)
    for _ in range(200):
        await inside.call()
    assert (400, Budget.FULL) == (inside.sent, inside.tokens)


async def test_budgets_are_separate() -> None:
    """One client's outage costs another nothing."""
    one, other = setup(status(500), attempts=2), setup(status(500), attempts=2)
    for _ in range(50):
        await one.fail()
    assert 2 == (await other.fail()).attempts


async def test_calls_at_once_share_the_budget() -> None:
    """Calls that fail together spend one budget, so an outage multiplies the requests only a little."""

    async def yielding(seconds: float) -> None:
        await asyncio.sleep(0)

    inside = setup(status(500))
    await asyncio.gather(*[inside.fail(retry=RetryPolicy(sleep=yielding)) for _ in range(1000)])
    assert 1000 + 35 == inside.sent


# What a call says in the end

NAMES: dict[str, Outcome] = {
    "ok": ok,
    "404": status(404),
    "no route": status(404, b'{"detail": "Not Found"}'),
    "404 of a proxy": status(404, b"<html>"),
    "401": status(401),
    "429": status(429),
    "500": status(500),
    "disconnect": disconnect,
    "refused connection": refused_connection,
}

Verdict = tuple[str, str, int]
"""What the call says; whether that is certain; after how many attempts."""


def verdict(effect: str, outcomes: Sequence[str], attempts: int) -> Verdict:
    """The rules in other words.

    An attempt of a write may have changed something if it was lost on the way back or ended in a 500. The first
    attempt that ends the call decides what is said: a success, a refusal, the last one allowed, or one that may have
    changed something where a second change would do harm. It is certain that nothing was changed only if no attempt
    can have changed anything. A deletion that finds nothing after one that may have removed it is a success, if it was
    the API that found nothing. What something in between says ends nothing.
    """
    suspicious = set() if effect == "none" else {"500", "disconnect"}
    final = {"ok", "404", "no route", "401"} | (suspicious if effect == "once" else set())
    (end,) = [number for number, outcome in enumerate(outcomes, 1) if outcome in final or number == attempts][:1]
    last, before = outcomes[end - 1], set(outcomes[: end - 1])
    if last == "ok":
        return "success", "confirmed", end
    if last == "404" and effect == "gone" and before & suspicious:
        return "success", "unconfirmed", end
    return last, "unknown" if (before | {last}) & suspicious else "not_applied", end


ERRORS: dict[str, type[OmiError]] = {
    "404": NotFoundError,
    "no route": RouteNotFoundError,
    "404 of a proxy": NotFoundError,
    "401": AuthenticationError,
    "429": RateLimitError,
    "500": ServerError,
    "disconnect": TransportError,
    "refused connection": TransportError,
}


async def observed(operation: str, outcomes: Sequence[str], attempts: int) -> Verdict:
    """What the client makes of the same outcomes."""
    inside = setup(*[NAMES[name] for name in outcomes], attempts=attempts)
    failure = None
    try:
        result = await inside.call(operation)
    except OmiError as error:
        failure = error
    if failure is None:
        confirmed = result.confirmed if isinstance(result, Deletion) else True
        return "success", "confirmed" if confirmed else "unconfirmed", inside.sent
    assert failure.attempts == inside.sent
    last = outcomes[inside.sent - 1]
    assert ERRORS[last] is type(failure)
    return last, failure.outcome, failure.attempts


@pytest.mark.scenario(64, 65, 66, 67, 68, 69)
def test_every_short_sequence(specimen: Specimen) -> None:
    """For all ways in which three attempts can end, the call says what the rules say."""
    for outcomes in itertools.product(NAMES, repeat=3):
        expected = verdict(specimen.effect, outcomes, 3)
        assert (outcomes, expected) == (outcomes, finish(observed(specimen.name, outcomes, 3)))


@pytest.mark.scenario(64, 65, 66, 67, 68, 69)
@deterministic
@given(
    specimen=st.sampled_from(SPECIMENS),
    outcomes=st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=12),
)
@example(specimen=DELETE, outcomes=["refused connection", "429", "404"])
@example(specimen=DELETE, outcomes=["disconnect", "refused connection", "429", "404"])
@example(specimen=UPDATE, outcomes=["500", "429", "429", "401"])
@example(specimen=UPDATE, outcomes=["429", "refused connection"] * 6)
@example(specimen=DELETE, outcomes=["disconnect", *["refused connection"] * 11])
@example(specimen=CREATE, outcomes=["429", "refused connection", "disconnect", "ok"])
@example(specimen=GET, outcomes=["disconnect", "500", "404"])
def test_every_sequence(specimen: Specimen, outcomes: list[str]) -> None:
    """An attempt that may have changed something marks the call for good, however the later ones end."""
    expected = verdict(specimen.effect, outcomes, len(outcomes))
    assert expected == finish(observed(specimen.name, outcomes, len(outcomes)))


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["404"], ("404", "not_applied", 1)),
        (["500", "404"], ("success", "unconfirmed", 2)),
        (["disconnect", "404"], ("success", "unconfirmed", 2)),
        (["429", "404"], ("404", "not_applied", 2)),
        (["500", "no route"], ("no route", "unknown", 2)),
        (["500", "404 of a proxy", "404"], ("success", "unconfirmed", 3)),
        (["500", "404 of a proxy", "404 of a proxy"], ("404 of a proxy", "unknown", 3)),
        (["404 of a proxy", "404"], ("404", "not_applied", 2)),
        (["refused connection", "404"], ("404", "not_applied", 2)),
        (["500", "401"], ("401", "unknown", 2)),
        (["500", "429", "refused connection"], ("refused connection", "unknown", 3)),
        (["429", "429", "429"], ("429", "not_applied", 3)),
        (["disconnect", "429", "ok"], ("success", "confirmed", 3)),
    ],
)
def test_the_rules_themselves(outcomes: list[str], expected: Verdict) -> None:
    """The statement of the rules above says what it should in the cases that matter most."""
    assert expected == verdict("gone", outcomes, 3)


@pytest.mark.parametrize(
    ("effect", "outcomes", "expected"),
    [
        ("repeatable", ["500", "404"], ("404", "unknown", 2)),
        ("once", ["500", "ok"], ("500", "unknown", 1)),
        ("once", ["429", "disconnect", "ok"], ("disconnect", "unknown", 2)),
        ("once", ["429", "refused connection", "ok"], ("success", "confirmed", 3)),
        ("none", ["500", "404"], ("404", "not_applied", 2)),
        ("none", ["disconnect", "500", "500"], ("500", "not_applied", 3)),
    ],
)
def test_the_rules_of_other_effects(effect: str, outcomes: list[str], expected: Verdict) -> None:
    """What an operation does to the server decides what a lost answer means."""
    assert expected == verdict(effect, outcomes, 3)


DOUBTS = [status(500), status(408), status(408, b""), status(200, b"not JSON"), disconnect, timed_out]


@pytest.mark.parametrize("doubt", DOUBTS)
async def test_gone_after_doubt(operation: str, doubt: Outcome) -> None:
    """After an attempt in doubt, a missing record ends a deletion well and an update in doubt."""
    inside = setup(doubt, status(404))
    if operation == "delete":
        assert Deletion(id="conv_1", confirmed=False) == await inside.call("delete")
    else:
        error = await inside.fail("update")
        assert (404, "unknown", 2) == (error.status, error.outcome, error.attempts)


@pytest.mark.parametrize("doubt", DOUBTS)
@pytest.mark.parametrize(
    ("code", "body"), [(404, b'{"detail": "Memory not found"}'), (404, b'{"detail": "Not Found"}'), (410, None)]
)
async def test_not_gone_after_doubt(operation: str, code: int, body: bytes | None, doubt: Outcome) -> None:
    """Only the API's own sentence about this record means that it is gone: all else leaves a deletion in doubt."""
    error = await setup(doubt, status(code, body)).fail(operation)
    assert (code, "unknown") == (error.status, error.outcome)


@pytest.mark.parametrize(
    ("code", "body"), [(200, b"not JSON"), (200, b"[]"), (202, b"{}"), (200, b'{"success": "true"}')]
)
async def test_unreadable_success(code: int, body: bytes) -> None:
    """A success that cannot be read is in doubt: it is asked again, and never reported as success or refusal."""
    inside = setup(status(code, body))
    error = await inside.fail("delete")
    assert isinstance(error, ResponseError)
    assert ("unknown", 3) == (error.outcome, error.attempts)
