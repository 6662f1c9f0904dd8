"""What a call reports when the server's TLS is bad, and that such a server never sees a request."""

import contextlib
import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from omi_async import AsyncOmiClient, Deletion, RequestTimeoutError, Timeout, TransportError
from tests.support import tls
from tests.support.clock import VirtualClock
from tests.support.failures import failure
from tests.support.proxy import Flow
from tests.support.raw import Exchange, RawServer, answer, in_thread, success
from tests.support.sides import KEY, Side


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The clients trust the test authority."""
    tls.trust(monkeypatch, tmp_path)


async def _succeed(exchange: Exchange) -> None:
    await exchange.succeed()


@pytest.mark.scenario(5)
@pytest.mark.usefixtures("trusted")
async def test_good_server(side: Side, operation: str) -> None:
    """A trusted certificate for the right name is accepted: the refusals below are for their own reasons."""
    async with RawServer(_succeed, tls=tls.good()) as server:
        await side.call(side.client(server.url), operation)
    assert 1 == len(server.log)


@pytest.mark.scenario(5, 6, 7)
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("kind", tls.CERTIFICATES)
async def test_bad_certificate(side: Side, operation: str, clock: VirtualClock, kind: str) -> None:
    """A bad certificate ends the call at the first attempt, before a byte of HTTP, and the error hints at the clock."""
    async with tls.bad_server(kind) as server:
        error = await failure(side, side.client(server.url, retry=clock.policy()), operation)
    assert (TransportError, "not_applied", False, 1) == (type(error), error.outcome, error.retryable, error.attempts)
    assert "certificate of 127.0.0.1" in str(error)
    assert "clock" in str(error)
    assert (1, 0) == (server.connections, server.http_bytes)


@pytest.mark.scenario(5)
async def test_untrusted_authority(side: Side, operation: str, clock: VirtualClock) -> None:
    """Without a word from the user, an authority that the machine does not know is refused."""
    async with RawServer(_succeed, tls=tls.good()) as server:
        error = await failure(side, side.client(server.url, retry=clock.policy()), operation)
    assert (TransportError, "not_applied", 1) == (type(error), error.outcome, error.attempts)
    assert (0, 0) == (server.connections, server.bytes_received)


@pytest.mark.scenario(5)
@pytest.mark.parametrize("kind", tls.CERTIFICATES)
async def test_bad_certificate_in_a_borrowed_session(clock: VirtualClock, operation: str, kind: str) -> None:
    """A session of the user's that trusts the authority changes nothing: bad certificates are still refused."""
    side = Side("async")
    connector = aiohttp.TCPConnector(ssl=tls.client_context())
    async with tls.bad_server(kind) as server, aiohttp.ClientSession(connector=connector) as session:
        client = side.client(server.url, session=session, retry=clock.policy())
        error = await failure(side, client, operation)
        await side.aclose()
    assert ("not_applied", False, 1, 0) == (error.outcome, error.retryable, error.attempts, server.http_bytes)


@pytest.mark.scenario(5)
async def test_good_server_in_a_borrowed_session() -> None:
    """The certificates that a borrowed session trusts are the ones that count."""
    connector = aiohttp.TCPConnector(ssl=tls.client_context())
    async with (
        RawServer(_succeed, tls=tls.good()) as server,
        aiohttp.ClientSession(connector=connector) as session,
        AsyncOmiClient(KEY, base_url=server.url, session=session) as client,
    ):
        assert Deletion(id="conv_1", confirmed=True) == await client.conversations.delete("conv_1")


@pytest.mark.scenario(5)
@pytest.mark.parametrize("borrowed", [True, False])
@pytest.mark.usefixtures("trusted")
async def test_session_tickets(borrowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new connection on which the server's session tickets wait is as good as any."""
    connect = aiohttp.TCPConnector.connect

    async def connect_and_wait(*args: Any, **settings: Any) -> Any:
        connection = await connect(*args, **settings)
        assert connection.transport is not None
        # Until they wait in the kernel, the loop gets no turn to read them.
        assert select.select([connection.transport.get_extra_info("socket")], [], [], 10)[0]
        return connection

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", connect_and_wait)
    with in_thread(RawServer(_succeed, tls=tls.good())) as server:
        async with contextlib.AsyncExitStack() as stack:
            session = None
            if borrowed:
                connector = aiohttp.TCPConnector(ssl=tls.client_context())
                session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            client = await stack.enter_async_context(AsyncOmiClient(KEY, base_url=server.url, session=session))
            await client.conversations.delete("conv_1")
        assert (1, 1) == (server.connections, len(server.log))


@pytest.mark.scenario(8)
@pytest.mark.usefixtures("trusted")
async def test_handshake_hangs(side: Side, clock: VirtualClock) -> None:
    """A handshake that gets no answer runs into the limit for connecting, is repeated, and sent nothing."""
    async with tls.bad_server("handshake hangs") as server:
        client = side.client(server.url, retry=clock.policy(), timeout=Timeout(connect=0.1))
        error = await failure(side, client, "update")
    assert (RequestTimeoutError, "not_applied", 3) == (type(error), error.outcome, error.attempts)
    assert (3, 0) == (server.connections, server.http_bytes)


@pytest.mark.scenario(9)
@pytest.mark.usefixtures("trusted")
async def test_plain_http_on_the_tls_port(side: Side, operation: str, clock: VirtualClock) -> None:
    """A server that speaks plain HTTP where TLS is due is no connection at all, and not an answer of 400."""
    async with tls.bad_server("plain http") as server:
        error = await failure(side, side.client(server.url, retry=clock.policy()), operation)
    assert (TransportError, "not_applied", None) == (type(error), error.outcome, error.status)
    assert 0 == server.http_bytes
    assert error.attempts == server.connections


@pytest.mark.scenario(10)
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("limit", [0, 1, 100, 500])
async def test_handshake_cut(side: Side, operation: str, clock: VirtualClock, limit: int, then: str) -> None:
    """A handshake cut at any point is a connection that never was: nothing was sent, and it is repeated."""
    cut = Flow(limit=limit, then="close" if then == "close" else "reset")
    async with tls.bad_server("handshake cut", cut=cut) as server:
        error = await failure(side, side.client(server.url, retry=clock.policy()), operation)
    assert (TransportError, "not_applied", 3) == (type(error), error.outcome, error.attempts)
    assert (3, 0) == (server.connections, server.http_bytes)


def _half(exchange: Exchange) -> bytes:
    whole = success(exchange)
    return whole[: len(whole) - 5]


def _unlimited_half(exchange: Exchange) -> bytes:
    """The end of the connection is the end of the body: without TLS's own good-bye, anybody may have cut it."""
    head, _, body = _half(exchange).partition(b"\r\n\r\n")
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + body


@pytest.mark.scenario(10)
@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    "answered", [lambda exchange: b"", _half, _unlimited_half], ids=["nothing", "half", "no length"]
)
async def test_answer_cut(
    side: Side, operation: str, clock: VirtualClock, answered: Callable[[Exchange], bytes]
) -> None:
    """An answer cut inside TLS, without its good-bye, leaves the write unknown."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answered(exchange))
        exchange.writer.transport.abort()

    async with RawServer(script, tls=tls.good()) as server:
        error = await failure(side, side.client(server.url, retry=clock.policy()), operation)
    assert ("unknown", None if answered is not _unlimited_half else 200, 3) == (
        error.outcome,
        error.status,
        error.attempts,
    )
    assert [1, 2, 3] == [exchange.connection for exchange in server.log]


@pytest.mark.scenario(10)
@pytest.mark.usefixtures("trusted")
async def test_lost_answer_of_a_delete_inside_tls(side: Side, clock: VirtualClock) -> None:
    """A DELETE whose answer was cut inside TLS and that then finds nothing is a success that says so."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            exchange.writer.transport.abort()
        else:
            await exchange.send(answer(404, {"detail": "Conversation not found"}))

    async with RawServer(script, tls=tls.good()) as server:
        result = await side.call(side.client(server.url, retry=clock.policy()), "delete")
    assert Deletion(id="conv_1", confirmed=False) == result


@pytest.mark.scenario(11)
@pytest.mark.usefixtures("trusted")
async def test_only_tls_1_1(side: Side, operation: str, clock: VirtualClock) -> None:
    """A server that offers nothing newer than TLS 1.1 is refused before anything is sent."""
    async with tls.bad_server("tls 1.1") as server:
        error = await failure(side, side.client(server.url, retry=clock.policy()), operation)
    assert (TransportError, "not_applied") == (type(error), error.outcome)
    assert 0 == server.http_bytes


@pytest.mark.scenario(11)
async def test_only_tls_1_1_serves_who_asks_for_it() -> None:
    """The server of the test before does work with TLS 1.1, so it is the client that refuses."""
    connector = aiohttp.TCPConnector(ssl=tls.outdated(tls.client_context()))
    async with (
        RawServer(_succeed, tls=tls.tls_1_1()) as server,
        aiohttp.ClientSession(connector=connector) as session,
        session.delete(server.url) as response,
    ):
        assert 200 == response.status


@pytest.mark.figure
@pytest.mark.scenario(5, 6, 7, 8, 9, 10, 11)
@pytest.mark.usefixtures("trusted")
async def test_no_bad_server_sees_a_byte(side: Side, clock: VirtualClock, figure: Callable[..., None]) -> None:
    """Eight bad servers, two operations: each call is refused as not applied, and no byte of HTTP arrives."""
    refusals: dict[str, list[str]] = {}
    http_bytes = 0
    for kind in tls.BAD:
        async with tls.bad_server(kind) as server:
            client = side.client(server.url, retry=clock.policy(attempts=2), timeout=Timeout(connect=0.1))
            refusals[kind] = [(await failure(side, client, operation)).outcome for operation in ("update", "delete")]
            http_bytes += server.http_bytes
    assert {kind: ["not_applied", "not_applied"] for kind in tls.BAD} == refusals
    assert (8, 0) == (len(refusals), http_bytes)
    figure(f"TLS ({side.name})", bad_servers=len(tls.BAD), refusals=len(refusals), HTTP_bytes=http_bytes)
