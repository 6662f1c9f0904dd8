"""What a call reports when the server, the network or the client's own queue is slow."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from omi_async import (
    AsyncOmiClient,
    ConfigurationError,
    Conversation,
    Deletion,
    NotFoundError,
    OmiError,
    RequestTimeoutError,
    RetryPolicy,
    ServerError,
    Timeout,
)
from tests.faults.test_connection import full_backlog
from tests.support.clock import VirtualClock
from tests.support.failures import INSTANT, failure
from tests.support.loop_clock import LoopClock
from tests.support.raw import Exchange, RawServer, answer, conversation, success
from tests.support.replies import MISSING
from tests.support.sides import KEY, Side

Stall = Callable[[Exchange], Awaitable[None]]


def _stop_after(share: float) -> Stall:
    async def stall(exchange: Exchange) -> None:
        whole = success(exchange)
        await exchange.send(whole[: int(len(whole) * share)])
        await exchange.hang()

    return stall


async def _stop_before_the_body(exchange: Exchange) -> None:
    head, gap, _ = success(exchange).partition(b"\r\n\r\n")
    await exchange.send(head + gap)
    await exchange.hang()


async def _stop_before_the_end(exchange: Exchange) -> None:
    await exchange.send(success(exchange)[:-1])
    await exchange.hang()


async def _drip(exchange: Exchange) -> None:
    await exchange.send_slowly(answer(200, b" " * 10_000), gap=0.01)


async def _drip_interim(exchange: Exchange) -> None:
    await exchange.send_slowly(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, step=25, gap=0.01)


STALLS = [
    pytest.param(_stop_after(0.0), id="no answer", marks=pytest.mark.scenario(43)),
    pytest.param(_stop_after(0.1), id="part of the head", marks=pytest.mark.scenario(44)),
    pytest.param(_stop_before_the_body, id="no body", marks=pytest.mark.scenario(44)),
    pytest.param(_stop_before_the_end, id="all but the last byte", marks=pytest.mark.scenario(44)),
    pytest.param(_drip, id="byte after byte", marks=pytest.mark.scenario(45)),
    pytest.param(_drip_interim, id="interim answers", marks=pytest.mark.scenario(45)),
]


@pytest.mark.parametrize("stall", STALLS)
async def test_every_attempt_stalls(side: Side, stall: Stall) -> None:
    """An answer that stalls, or comes too slowly, ends at the attempt's limit, is repeated, and is unknown."""
    async with RawServer(stall) as server:
        client = side.client(server.url, retry=INSTANT, timeout=Timeout(attempt=0.1))
        error = await failure(side, client, "update")
    assert (RequestTimeoutError, "unknown", 3) == (type(error), error.outcome, error.attempts)
    assert isinstance(error, TimeoutError)
    assert "one attempt" in str(error)
    assert {1, 2, 3} >= {exchange.connection for exchange in server.log}
    assert {1} == {exchange.request for exchange in server.log}


@pytest.mark.parametrize("stall", STALLS)
async def test_first_attempt_stalls(side: Side, operation: str, stall: Stall) -> None:
    """After an attempt that stalled the next one succeeds, or finds the conversation gone."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await stall(exchange)
        elif operation == "delete":
            await exchange.send(MISSING)
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        # More attempts than are needed: on a busy machine a good one can be too slow as well.
        policy = RetryPolicy(attempts=10, initial=0.0)
        client = side.client(server.url, retry=policy, timeout=Timeout(attempt=0.1))
        result = await side.call(client, operation)
    assert isinstance(result, Conversation) or Deletion(id="conv_1", confirmed=False) == result
    assert 2 <= len(server.log)


@pytest.mark.scenario(46)
async def test_slow_but_in_time(side: Side, operation: str, clock: VirtualClock) -> None:
    """An answer that comes slowly and arrives within the limit is a success at the first attempt."""

    async def script(exchange: Exchange) -> None:
        await exchange.send_slowly(success(exchange), step=20, gap=0.002)

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy(), timeout=Timeout(attempt=30.0))
        await side.call(client, operation)
    assert (1, []) == (len(server.log), clock.sleeps)


def _late_script(operation: str) -> tuple[Callable[[Exchange], Awaitable[None]], list[Exchange]]:
    """The first request is answered when the next one has arrived, in front of that one's own answer."""
    held: list[Exchange] = []

    async def script(exchange: Exchange) -> None:
        if not held:
            held.append(exchange)
            await exchange.hang()
        late = {"success": True} if operation == "delete" else conversation(folder_name="late")
        held[0].writer.write(answer(200, late))
        await asyncio.sleep(0.01)
        await exchange.send(MISSING if operation == "delete" else answer(200, conversation(folder_name="own")))

    return script, held


@pytest.mark.scenario(47)
async def test_late_answer_to_an_attempt(side: Side, operation: str) -> None:
    """An answer that comes after its attempt was given up is not taken for the next attempt's."""
    script, held = _late_script(operation)
    async with RawServer(script) as server:
        client = side.client(server.url, retry=INSTANT, timeout=Timeout(attempt=0.2))
        result = await side.call(client, operation)
    if isinstance(result, Conversation):
        assert "own" == result.folder_name
    else:
        assert Deletion(id="conv_1", confirmed=False) == result
    assert held[0].connection not in [exchange.connection for exchange in server.log[1:]]


@pytest.mark.scenario(47)
async def test_late_answer_to_a_call(side: Side, operation: str) -> None:
    """An answer that comes after its call was given up, as unknown, is not taken for the next call's."""
    script, held = _late_script(operation)
    async with RawServer(script) as server:
        client = side.client(server.url, retry=RetryPolicy.never())
        error = await failure(side, client, operation, timeout=Timeout(attempt=0.2))
        assert (RequestTimeoutError, "unknown") == (type(error), error.outcome)
        if operation == "delete":
            assert isinstance(await failure(side, client, operation), NotFoundError)
        else:
            result = await side.call(client, operation)
            assert isinstance(result, Conversation)
            assert "own" == result.folder_name
    assert [1, 2] == [exchange.connection for exchange in server.log]


# The whole call


@pytest.mark.scenario(48)
async def test_total_ends_the_call(side: Side) -> None:
    """When every attempt is slow the limit of the whole call ends it, however many attempts are left."""
    async with RawServer(_stop_after(0.0)) as server:
        policy = RetryPolicy(attempts=100, initial=0.0)
        client = side.client(server.url, retry=policy, timeout=Timeout(attempt=0.1, total=0.25))
        async with asyncio.timeout(20):
            error = await failure(side, client, "update")
        assert (RequestTimeoutError, "unknown") == (type(error), error.outcome)
        assert "the whole call" in str(error)
        assert 100 > error.attempts
        assert error.attempts >= len(server.log) >= 1


@pytest.mark.scenario(48)
async def test_total_ends_an_attempt_without_a_limit(side: Side, operation: str) -> None:
    """Without a limit for the attempt, that of the whole call ends it; a plain number is that limit."""
    async with RawServer(_stop_after(0.5)) as server:
        client = side.client(server.url, timeout=Timeout(attempt=None, connect=None))
        async with asyncio.timeout(20):
            error = await failure(side, client, operation, timeout=0.2)
    assert (RequestTimeoutError, "unknown", 1) == (type(error), error.outcome, error.attempts)
    assert "the whole call" in str(error)


@pytest.mark.scenario(48)
@pytest.mark.parametrize(("slow", "attempts", "sleeps"), [(20.0, 2, [30.0]), (29.0, 2, [30.0]), (31.0, 1, [])])
async def test_no_wait_that_would_not_fit(
    side: Side, operation: str, clock: VirtualClock, slow: float, attempts: int, sleeps: list[float]
) -> None:
    """A wait that would end after the limit of the whole call is not begun: the last error is raised at once."""

    async def script(exchange: Exchange) -> None:
        clock.now += slow
        await exchange.send(answer(500))

    async with RawServer(script) as server:
        policy = clock.policy(attempts=10, initial=30.0, maximum=30.0)
        error = await failure(side, side.client(server.url, retry=policy), operation)
    assert 60.0 == Timeout().total
    assert (ServerError, "unknown", attempts) == (type(error), error.outcome, error.attempts)
    assert (attempts, sleeps) == (len(server.log), clock.sleeps)


@pytest.mark.scenario(48)
async def test_no_attempt_after_the_end(side: Side, operation: str, clock: VirtualClock) -> None:
    """A wait that took longer than asked, and past the limit of the whole call, is followed by no request."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer(429))

    async def oversleep(seconds: float) -> None:
        clock.now += 100.0

    async with RawServer(script) as server:
        policy = RetryPolicy(sleep=oversleep, clock=clock.monotonic)
        error = await failure(side, side.client(server.url, retry=policy), operation)
    assert (RequestTimeoutError, "not_applied", 1) == (type(error), error.outcome, len(server.log))


def _call(client: AsyncOmiClient, operation: str) -> "asyncio.Task[Any]":
    conversations = client.conversations
    call = conversations.delete("conv_1") if operation == "delete" else conversations.update("conv_1", title="New")
    return asyncio.ensure_future(call)


async def _error(call: "asyncio.Task[Any]") -> OmiError:
    with pytest.raises(OmiError) as caught:
        await call
    return caught.value


@pytest.mark.scenario(43, 48)
@pytest.mark.parametrize(
    ("timeout", "limit"),
    [(Timeout(), 30.0), (Timeout(attempt=None), 60.0), (Timeout(attempt=7.25), 7.25), (Timeout(total=6.3), 6.3)],
    ids=str,
)
async def test_limits_to_the_moment(operation: str, timeout: Timeout, limit: float) -> None:
    """Limits of many seconds are kept as they are, and not rounded to whole seconds of the loop's clock."""
    clock = LoopClock()
    async with (
        RawServer(_stop_after(0.0)) as server,
        AsyncOmiClient(KEY, base_url=server.url, timeout=timeout, retry=clock.policy()) as client,
    ):
        with clock:
            call = _call(client, operation)
            await clock.until(lambda: len(server.log) == 1)
            await clock.advance(limit - 0.01)
            assert not call.done()
            await clock.advance(0.02)
            assert call.done()
        error = await _error(call)
    assert (RequestTimeoutError, "unknown") == (type(error), error.outcome)


@pytest.mark.scenario(4, 48)
@pytest.mark.parametrize(
    ("timeout", "limit"), [(Timeout(), 5.0), (Timeout(connect=6.3), 6.3), (Timeout(connect=None), 30.0)], ids=str
)
async def test_connect_limit_to_the_moment(operation: str, timeout: Timeout, limit: float) -> None:
    """The limit for connecting is kept to the moment too; without one, that of the attempt ends a hanging connect."""
    clock = LoopClock()
    async with (
        full_backlog() as port,
        AsyncOmiClient(KEY, base_url=f"http://127.0.0.1:{port}", timeout=timeout, retry=clock.policy()) as client,
    ):
        with clock:
            call = _call(client, operation)
            await clock.settle()
            await clock.advance(limit - 0.01)
            assert not call.done()
            await clock.advance(0.02)
            assert call.done()
        error = await _error(call)
    assert (RequestTimeoutError, "not_applied") == (type(error), error.outcome)


# Settings


BAD_LIMITS: list[object] = [
    0,
    0.0,
    -1,
    -0.001,
    float("nan"),
    float("inf"),
    float("-inf"),
    True,
    False,
    1e12,
    86401,
    "5",
    [5],
    5j,
    pytest.param(10**400, id="10**400"),
]


@pytest.mark.scenario(49)
@pytest.mark.parametrize("value", BAD_LIMITS)
@pytest.mark.parametrize("name", ["connect", "attempt", "total"])
def test_bad_limit(name: str, value: Any) -> None:
    """A limit that is no sensible number of seconds is refused where it is made, by its name."""
    with pytest.raises(ConfigurationError, match=name) as caught:
        Timeout(**{name: value})
    assert isinstance(caught.value, ValueError)


@pytest.mark.scenario(49)
@pytest.mark.parametrize("value", BAD_LIMITS)
async def test_bad_plain_number(side: Side, operation: str, value: Any) -> None:
    """The same numbers are refused as the `timeout` of a client, and of a call before anything is sent."""

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    async with RawServer(script) as server:
        with pytest.raises(ConfigurationError):
            side.client(server.url, timeout=value)
        client = side.client(server.url)
        with pytest.raises(ConfigurationError):
            await side.call(client, operation, timeout=value)
    assert 0 == server.connections


@pytest.mark.scenario(49)
async def test_no_limit(side: Side, operation: str) -> None:
    """None means no limit, for each of the three."""

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, timeout=Timeout(connect=None, attempt=None, total=None))
        await side.call(client, operation)
    assert (5.0, 30.0, 60.0) == (Timeout().connect, Timeout().attempt, Timeout().total)


# The client's own queue


@pytest.mark.scenario(50)
async def test_wait_for_a_connection_ends(side: Side, operation: str) -> None:
    """A call that gets none of the client's connections in time says that nothing was sent; nobody else suffers."""
    held = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await held.wait()
        await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, max_connections=1)
        first = asyncio.create_task(side.call(client, operation, "first"))
        while not server.log:
            await asyncio.sleep(0.005)
        error = await failure(side, client, operation, "second", timeout=Timeout(total=0.1))
        assert (RequestTimeoutError, "not_applied") == (type(error), error.outcome)
        assert "Nothing was changed" in str(error)
        assert "connections became free" in str(error)
        held.set()
        await first
        await side.call(client, operation, "third")
    assert ["first", "third"] == [exchange.path.rpartition("/")[2] for exchange in server.log]


@pytest.mark.scenario(50)
async def test_one_connection_for_many_calls(side: Side, operation: str) -> None:
    """A hundred calls at once over one connection are all served, one after the other."""
    under_way = 0

    async def script(exchange: Exchange) -> None:
        nonlocal under_way
        under_way += 1
        assert 1 == under_way
        await asyncio.sleep(0)
        under_way -= 1
        await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, max_connections=1, retry=RetryPolicy.never())
        names = [str(number) for number in range(100)]
        await asyncio.gather(*[side.call(client, operation, name) for name in names])
    assert sorted(names) == sorted(exchange.path.rpartition("/")[2] for exchange in server.log)
    assert (1, 1) == (server.connections, len({exchange.connection for exchange in server.log}))


@pytest.mark.scenario(50)
async def test_waiting_counts_for_the_whole_call_only(operation: str) -> None:
    """The wait for a connection is not taken from the attempt's limit, and is taken from the whole call's."""
    held = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await held.wait()
            await exchange.succeed()
        else:
            await exchange.hang()

    clock = LoopClock()
    async with (
        RawServer(script) as server,
        AsyncOmiClient(KEY, base_url=server.url, max_connections=1, retry=clock.policy()) as client,
    ):
        with clock:
            no_limit = Timeout(connect=None, attempt=None, total=None)
            first = asyncio.ensure_future(client.conversations.delete("first", timeout=no_limit))
            await clock.until(lambda: len(server.log) == 1)
            call = _call(client, operation)
            await clock.settle()
            await clock.advance(40.0)
            assert not call.done(), "the attempt's 30 seconds have not begun"
            held.set()
            await clock.until(lambda: len(server.log) == 2)
            await first
            await clock.advance(19.9)
            assert not call.done()
            await clock.advance(0.2)
            assert call.done(), "60 seconds after its beginning the call is over"
        error = await _error(call)
    assert (RequestTimeoutError, "unknown") == (type(error), error.outcome)
    assert "the whole call" in str(error)
