"""What a call reports when no connection can be made, or when the one it uses goes away."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import pytest

from omi_async import (
    AsyncOmiClient,
    Conversation,
    Deletion,
    OmiError,
    RequestTimeoutError,
    RetryPolicy,
    Timeout,
    TransportError,
)
from tests.support.clock import VirtualClock
from tests.support.failures import INSTANT, failure
from tests.support.names import Names
from tests.support.proxy import Flow, Link, Proxy
from tests.support.raw import Exchange, RawServer, answer, success
from tests.support.scale import times
from tests.support.sides import KEY, Side


async def _succeed(exchange: Exchange) -> None:
    await exchange.succeed()


@contextmanager
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 where nobody listens, and that nobody else is given meanwhile."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a test may start a server here
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@asynccontextmanager
async def full_backlog(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """A port that lets connections hang: it listens, takes nobody in, and its queue is full."""
    with socket.socket() as listening:
        listening.bind((host, port))
        listening.listen(0)
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
            waiting.append(one)
        await asyncio.sleep(0.05)
        yield listening.getsockname()[1]
        for one in waiting:
            one.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """A resolver that knows what the test tells it."""
    return Names(monkeypatch)


# No connection


@pytest.mark.scenario(1)
async def test_port_closed(side: Side, operation: str, clock: VirtualClock) -> None:
    """A refused connection is tried again, and whatever comes of it nothing was changed."""
    with closed_port() as port:
        error = await failure(side, side.client(f"http://127.0.0.1:{port}", retry=clock.policy()), operation)
    assert (TransportError, "not_applied", 3) == (type(error), error.outcome, error.attempts)
    assert [0.25, 0.5] == clock.sleeps
    assert KEY not in repr(error) + str(error)


@pytest.mark.scenario(1)
async def test_refused_connections_are_charged(side: Side, operation: str, clock: VirtualClock) -> None:
    """Refused connections use up the client's budget of 35 retries; after that calls fail at their first attempt."""
    with closed_port() as port:
        client = side.client(f"http://127.0.0.1:{port}", retry=clock.policy())
        attempts = [(await failure(side, client, operation)).attempts for _ in range(20)]
    assert [3] * 17 + [2] + [1] * 2 == attempts


@pytest.mark.scenario(1)
async def test_port_open_again(side: Side, operation: str, clock: VirtualClock) -> None:
    """A server that is back for the second attempt serves it."""
    loop = asyncio.get_running_loop()
    with closed_port() as port:
        server = RawServer(_succeed, port=port)
        async with AsyncExitStack() as stack:

            async def start(seconds: float) -> None:
                starting = asyncio.run_coroutine_threadsafe(stack.enter_async_context(server), loop)
                await asyncio.wrap_future(starting)

            policy = RetryPolicy(sleep=start, clock=clock.monotonic)
            await side.call(side.client(f"http://127.0.0.1:{port}", retry=policy), operation)
    assert 1 == len(server.log)


@pytest.mark.scenario(2)
async def test_unknown_name(side: Side, operation: str, clock: VirtualClock, names: Names) -> None:
    """A name that does not exist is looked up for each attempt; the error names the host and not the key."""
    names.answer("omi.invalid", [])
    error = await failure(side, side.client("https://omi.invalid", retry=clock.policy()), operation)
    assert (TransportError, "not_applied", 3) == (type(error), error.outcome, error.attempts)
    assert ["omi.invalid"] * 3 == names.asked
    assert "omi.invalid" in str(error)
    assert KEY not in repr(error) + str(error)


@pytest.mark.scenario(3)
async def test_name_found_at_the_second_look(side: Side, operation: str, clock: VirtualClock, names: Names) -> None:
    """A name that is not found once and then is costs a second attempt, not the call."""
    async with RawServer(_succeed) as server:
        names.answer("localhost", [], ["127.0.0.1"])
        client = side.client(f"http://localhost:{server.port}", retry=clock.policy())
        await side.call(client, operation)
    assert (2, [0.25], 1) == (len(names.asked), clock.sleeps, len(server.log))


@pytest.mark.scenario(4)
async def test_connecting_hangs(side: Side, operation: str, clock: VirtualClock) -> None:
    """A connection that nobody takes in runs into the limit for connecting, and nothing was changed."""
    async with full_backlog() as port:
        client = side.client(f"http://127.0.0.1:{port}", retry=clock.policy(), timeout=Timeout(connect=0.05))
        error = await failure(side, client, operation)
    assert (RequestTimeoutError, "not_applied", 3) == (type(error), error.outcome, error.attempts)
    assert 5.0 == Timeout().connect


@pytest.mark.scenario(12)
async def test_first_address_refuses(side: Side, operation: str, clock: VirtualClock, names: Names) -> None:
    """Of two addresses the first refuses: the second one serves the same attempt."""
    async with RawServer(_succeed) as server:
        names.answer("localhost", ["127.0.0.2", "127.0.0.1"])
        await side.call(side.client(f"http://localhost:{server.port}", retry=clock.policy()), operation)
    assert (1, []) == (len(server.log), clock.sleeps)


@pytest.mark.scenario(12)
async def test_first_address_is_silent(side: Side, clock: VirtualClock, names: Names) -> None:
    """Of two addresses the first lets connections hang: the second one serves the same attempt."""
    async with RawServer(_succeed) as server, full_backlog("127.0.0.2", server.port):
        names.answer("localhost", ["127.0.0.2", "127.0.0.1"])
        client = side.client(f"http://localhost:{server.port}", retry=clock.policy(), timeout=Timeout(connect=30.0))
        await side.call(client, "update")
    assert (1, []) == (len(server.log), clock.sleeps)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no ::1")


@pytest.mark.scenario(24)
@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
async def test_one_kind_of_address(side: Side, operation: str, clock: VirtualClock, host: str) -> None:
    """A server that listens on IPv4 or on IPv6 alone is served under its literal address."""
    async with RawServer(_succeed, host=host) as server:
        await side.call(side.client(server.url, retry=clock.policy()), operation)
    assert (1, []) == (len(server.log), clock.sleeps)


@needs_ipv6
@pytest.mark.scenario(24)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("addresses", [["127.0.0.1", "::1"], ["::1", "127.0.0.1"]])
async def test_name_with_both_kinds_of_address(
    side: Side, operation: str, clock: VirtualClock, names: Names, host: str, addresses: list[str]
) -> None:
    """A name with an IPv4 and an IPv6 address works, whichever of the two is served."""
    async with RawServer(_succeed, host=host) as server:
        names.answer("localhost", addresses)
        await side.call(side.client(f"http://localhost:{server.port}", retry=clock.policy()), operation)
    assert (1, []) == (len(server.log), clock.sleeps)


# The connection goes away under a request


async def _close(exchange: Exchange) -> None:
    exchange.close()


async def _reset(exchange: Exchange) -> None:
    exchange.reset()


async def _half_close(exchange: Exchange) -> None:
    exchange.half_close()
    await exchange.hang()


Loss = Callable[[Exchange], Awaitable[None]]
LOSSES = [
    pytest.param(_close, id="FIN", marks=pytest.mark.scenario(13)),
    pytest.param(_reset, id="RST", marks=pytest.mark.scenario(18)),
    pytest.param(_half_close, id="half-closed", marks=pytest.mark.scenario(16)),
]


@pytest.mark.parametrize("lose", LOSSES)
async def test_every_answer_is_lost(side: Side, operation: str, clock: VirtualClock, lose: Loss) -> None:
    """Three attempts whose answers are lost are three requests on three connections, and the outcome is unknown."""
    async with RawServer(lose) as server:
        error = await failure(side, side.client(server.url, retry=clock.policy()), operation)
    assert (TransportError, "unknown", 3, None) == (type(error), error.outcome, error.attempts, error.status)
    assert [(1, 1), (2, 1), (3, 1)] == [(exchange.connection, exchange.request) for exchange in server.log]
    assert [0.25, 0.5] == clock.sleeps


@pytest.mark.parametrize("lose", LOSSES)
async def test_applied_and_lost(side: Side, operation: str, clock: VirtualClock, lose: Loss) -> None:
    """A write that was applied before its answer was lost is found done: by the same update, or by nothing left."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await lose(exchange)
        elif exchange.method == "DELETE":
            await exchange.send(answer(404, {"detail": "Conversation not found"}))
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        result = await side.call(side.client(server.url, retry=clock.policy()), operation)
    assert 2 == len(server.log)
    assert isinstance(result, Conversation) or Deletion(id="conv_1", confirmed=False) == result


@pytest.mark.scenario(14)
@pytest.mark.parametrize("lose", LOSSES)
async def test_lost_on_a_kept_connection(side: Side, operation: str, clock: VirtualClock, lose: Loss) -> None:
    """A request lost on a connection kept from before is repeated at once, on a new one and on no other kept one."""
    both = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.request > 1:
            await lose(exchange)
            return
        if exchange.number == 2:
            both.set()
        await both.wait()
        await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        await asyncio.gather(side.call(client, operation, "a"), side.call(client, operation, "b"))
        await side.call(client, operation, "c")
    assert 3 == server.log[-1].connection
    assert [2, 1] == [exchange.request for exchange in server.log if exchange.path.endswith("/c")]
    assert [0.0] == clock.sleeps


@pytest.mark.scenario(14)
async def test_second_loss_waits(side: Side, operation: str, clock: VirtualClock) -> None:
    """Only the first retry after a kept connection comes at once; the next one waits, and the outcome is unknown."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.succeed()
        else:
            exchange.close()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        await side.call(client, operation)
        error = await failure(side, client, operation)
    assert ("unknown", 3) == (error.outcome, error.attempts)
    assert [1, 1, 2, 3] == [exchange.connection for exchange in server.log]
    assert [0.0, 0.5] == clock.sleeps


@pytest.mark.scenario(16)
async def test_half_closed_with_the_answer(side: Side, operation: str, clock: VirtualClock) -> None:
    """A server that ends its side together with its answer costs no call, whether the client noticed in time or not."""

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()
        exchange.half_close()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        for number in range(5):
            await side.call(client, operation, f"conv_{number}")
    assert 5 == len({exchange.path for exchange in server.log})
    assert {1} == {exchange.request for exchange in server.log if exchange.number == 1}
    assert [0.0] * len(clock.sleeps) == clock.sleeps


@pytest.mark.scenario(23)
@pytest.mark.parametrize("header", ["Connection: close\r\n", ""], ids=["announced", "unannounced"])
async def test_closed_after_each_answer(side: Side, operation: str, clock: VirtualClock, header: str) -> None:
    """A server that closes after each answer is given a new connection each time, and no call fails."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(success(exchange).replace(b"\r\n", f"\r\n{header}".encode(), 1))
        exchange.close()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        for number in range(5):
            await side.call(client, operation, f"conv_{number}")
    assert [f"conv_{number}" for number in range(5)] == [each.path.rpartition("/")[2] for each in server.log]
    assert [1, 2, 3, 4, 5] == [exchange.connection for exchange in server.log]
    if header:
        assert [] == clock.sleeps


@pytest.mark.scenario(17, 19)
@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("arrived", [0, 1, 100, -1], ids=lambda count: f"{count} bytes")
async def test_request_cut(side: Side, operation: str, clock: VirtualClock, arrived: int, then: str) -> None:
    """A request cut on its way is unknown to the client, which repeats it; the server sees it whole once."""
    size = 0

    def plan(number: int) -> Link:
        if number > 1:
            return Link()
        limit = arrived if arrived >= 0 else size - 1
        return Link(up=Flow(limit=limit, then="close" if then == "close" else "reset"))

    async with RawServer(_succeed) as server:
        async with Proxy(server.port) as measuring:
            await side.call(side.client(measuring.url), operation)
            # The port stands in the request, and ports need not be of one length.
            size = len(measuring.received) - len(str(measuring.port))
        async with Proxy(server.port, plan) as proxy:
            size += len(str(proxy.port))
            error = await failure(side, side.client(proxy.url, retry=RetryPolicy.never()), operation)
            assert (TransportError, "unknown", 1) == (type(error), error.outcome, error.attempts)
            assert 1 == len(server.log)
            proxy.connections = 0
            await side.call(side.client(proxy.url, retry=clock.policy()), operation)
    assert (2, 2) == (len(server.log), proxy.connections)


@pytest.mark.scenario(20)
async def test_server_never_reads(side: Side) -> None:
    """A server that takes connections in and reads nothing: the attempt's limit ends it, and it may have arrived."""

    async def ignore(writer: asyncio.StreamWriter) -> bool:
        transport = writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        await asyncio.Event().wait()
        return False

    async with RawServer(_succeed, on_connect=ignore) as server:
        client = side.client(server.url, retry=INSTANT, timeout=Timeout(attempt=0.1))
        error = await failure(side, client, "update")
    assert (RequestTimeoutError, "unknown", 3) == (type(error), error.outcome, error.attempts)
    assert (3, 0) == (server.connections, len(server.log))


@pytest.mark.scenario(21)
@pytest.mark.parametrize("link", [Link(up=Flow(limit=40)), Link(down=Flow(limit=40))], ids=["up", "down"])
async def test_network_silent_and_back(side: Side, link: Link) -> None:
    """A network that falls silent in the middle and comes back costs an attempt, not the call."""
    async with RawServer(_succeed) as server, Proxy(server.port, lambda n: link if n == 1 else Link()) as proxy:
        client = side.client(proxy.url, retry=INSTANT, timeout=Timeout(attempt=0.2))
        await side.call(client, "update")
        assert 2 <= proxy.connections
        # Only what went up whole has arrived.
        assert (1 if link.up.limit else 2) <= len(server.log) <= proxy.connections - (1 if link.up.limit else 0)


# The connection is bad, or was kept too long


@pytest.mark.scenario(22)
async def test_poisoned_connection(side: Side, operation: str, clock: VirtualClock) -> None:
    """When all that comes over one connection is a 500, the retry goes over another and succeeds."""

    async def script(exchange: Exchange) -> None:
        if exchange.connection == 1 and exchange.request > 1:
            await exchange.send(answer(500, "Internal Server Error"))
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        for _ in range(3):
            await side.call(client, operation)
    assert [1, 1, 2, 2] == [exchange.connection for exchange in server.log]


BAD_ANSWERS = {
    "500": lambda exchange: answer(500, "Internal Server Error"),
    "unreadable": lambda exchange: answer(200, "<html>"),
}


@pytest.mark.scenario(22)
@pytest.mark.parametrize("bad", BAD_ANSWERS)
async def test_poisoned_connection_is_not_kept(side: Side, operation: str, bad: str) -> None:
    """A connection that gave an answer of unknown outcome serves no later call, even where nothing is repeated."""

    async def script(exchange: Exchange) -> None:
        if exchange.connection == 1:
            await exchange.send(BAD_ANSWERS[bad](exchange))
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=RetryPolicy.never())
        assert "unknown" == (await failure(side, client, operation)).outcome
        await side.call(client, operation)
    assert [1, 2] == [exchange.connection for exchange in server.log]


@pytest.mark.scenario(15)
async def test_idle_connections_are_given_up_first() -> None:
    """Idle connections are kept for at most 4 seconds: servers close them after 5."""
    async with RawServer(_succeed) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        await client.conversations.delete("conv_1")
        session = client._transport.pool.place.session
        assert session is not None
        assert session.connector is not None
        kept = session.connector._keepalive_timeout
        assert kept is not None
        assert 4.0 >= kept


IDLE = 0.01  # seconds after which the server of the race closes


def _impatient_server() -> RawServer:
    timers: dict[int, asyncio.TimerHandle] = {}

    async def script(exchange: Exchange) -> None:
        if exchange.connection in timers:
            timers.pop(exchange.connection).cancel()
        await exchange.succeed()
        timers[exchange.connection] = asyncio.get_running_loop().call_later(IDLE, exchange.close)

    return RawServer(script)


async def _race(side: Side, operation: str, calls: int, policy: RetryPolicy) -> list[OmiError]:
    """Call each time the server is about to close, on either side of that moment in turn."""
    failures = []
    idle = IDLE
    async with _impatient_server() as server:
        client = side.client(server.url, retry=policy)
        for _ in range(calls):
            try:
                await side.call(client, operation)
            except OmiError as error:
                failures.append(error)
            # Too early if the connection still served, too late if the client had noticed its end.
            idle += 0.0001 if server.log[-1].request > 1 else -0.0001
            await asyncio.sleep(idle)
    return failures


@pytest.mark.figure
@pytest.mark.scenario(15)
async def test_keep_alive_race(side: Side, clock: VirtualClock, figure: Callable[..., None]) -> None:
    """Calls made in the moment in which the server closes its idle connections do not fail, nor do they wait."""
    calls = times(1000)
    lanes = [_race(side, operation, calls // 4 + 1, clock.policy()) for operation in ("update", "delete") * 2]
    failures = [error for lane in await asyncio.gather(*lanes) for error in lane]
    assert [] == failures
    assert {0.0} >= set(clock.sleeps)
    figure(f"keep-alive race ({side.name})", calls=calls, hidden_races=len(clock.sleeps), failures=len(failures))
