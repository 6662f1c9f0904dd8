"""The two ways over aiohttp: straight on a connection, or through the session. Servers must not be able to tell.

The rest of the suite takes the first way wherever it can. `pytest --through-session` takes the second one.
"""

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from omi_async import (
    AsyncOmiClient,
    OmiError,
    RequestTimeoutError,
    RetryPolicy,
    Timeout,
    TransportError,
)
from tests.support import inside, tls
from tests.support.bulk import until
from tests.support.failures import failure
from tests.support.inside import Connector, Direct
from tests.support.raw import Exchange, RawServer, answer, conversation, end_all
from tests.support.sides import Side

KEY = "omi_dev_key"

ONCE = RetryPolicy(attempts=1)


async def fine(exchange: Exchange) -> None:
    await exchange.send(answer(200, conversation("conv_1")))


CALLS: dict[str, Callable[[AsyncOmiClient], Any]] = {
    "GET": lambda client: client.conversations.get("conv_1"),
    "GET with a query": lambda client: client.request("GET", "/v1/dev/user/memories", params={"q": "ä b&c", "n": 1}),
    "PATCH": lambda client: client.conversations.update("conv_1", title="Grün"),
    "POST without a body": lambda client: client.request("POST", "/v1/dev/user/memories"),
    "POST with much": lambda client: client.request("POST", "/v1/dev/user/memories", json={"text": "ä" * 2**20}),
    "DELETE": lambda client: client.request("DELETE", "/v1/dev/user/conversations/conv_1"),
}


@pytest.mark.parametrize("path", ["", "/proxy/omi"])
@pytest.mark.parametrize("call", CALLS)
async def test_the_same_requests(call: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line, headers and body are the same both ways."""
    async with RawServer(fine) as server:
        for known in (True, False):
            inside.go_straight(monkeypatch, known)
            async with AsyncOmiClient(KEY, base_url=server.url + path, user_agent="bot/1") as client:
                await CALLS[call](client)
    straight, through = server.log
    assert straight.path.startswith(f"{path}/v1/dev/user/")
    assert (straight.method, straight.path, straight.body) == (through.method, through.path, through.body)
    assert straight.headers == through.headers
    assert f"Bearer {KEY}" == straight.headers["authorization"]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this aiohttp were one of the known ones, and whatever the suite was asked to do."""
    inside.go_straight(monkeypatch, True)


@pytest.mark.usefixtures("known")
async def test_straight_where_nobody_looks_on(session: aiohttp.ClientSession) -> None:
    assert Direct.suits(session)


async def test_through_the_session_with_another_aiohttp(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that has not been looked at yet is used by its documented interface alone."""
    inside.go_straight(monkeypatch, False)
    assert not Direct.suits(session)


def wrapped(method: Callable[..., Any], seen: list[str]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def watched(self: object, verb: str, url: object, **options: Any) -> Any:
        seen.append(verb)
        return await method(self, verb, url, **options)

    return watched


class Proxy:
    """As libraries that watch other libraries put it in the place of a function: an object that passes for it."""

    def __init__(self, method: Callable[..., Any], seen: list[str]) -> None:
        self.__wrapped__, self._seen = method, seen
        functools.update_wrapper(self, method)

    @property
    def __code__(self) -> object:
        return self.__wrapped__.__code__

    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self._seen.append(arguments[1])
        return self.__wrapped__(*arguments, **options)


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("kind", [wrapped, Proxy])
@pytest.mark.parametrize("name", ["request", "_request"])
async def test_whoever_replaced_the_sessions_requests_sees_them(
    name: str, kind: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mocks and tracers put something of theirs in the place of the session's methods, whenever they like."""
    seen: list[str] = []
    async with RawServer(fine) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        await client.conversations.get("conv_1")
        with monkeypatch.context() as patch:
            patch.setattr(aiohttp.ClientSession, name, kind(getattr(aiohttp.ClientSession, name), seen))
            await client.conversations.update("conv_1", title="Grün")
        await client.conversations.get("conv_1")
    assert ["PATCH"] == seen
    assert ["GET", "PATCH", "GET"] == [exchange.method for exchange in server.log]


@pytest.mark.usefixtures("known")
async def test_through_a_session_with_middlewares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which middlewares run for a request is left to aiohttp."""
    plain = aiohttp.ClientSession.__init__

    async def watch(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        return await handler(request)

    def watched(self: aiohttp.ClientSession, **settings: Any) -> None:
        plain(self, **settings, middlewares=(watch,))

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", watched)
    async with aiohttp.ClientSession() as session:
        assert not Direct.suits(session)


@pytest.mark.usefixtures("known")
async def test_tracing_that_was_put_into_every_session_sees_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instrumentation adds its trace configuration in `ClientSession.__init__`."""
    seen: list[str] = []

    async def note(session: object, context: object, parameters: aiohttp.TraceRequestStartParams) -> None:
        seen.append(parameters.method)

    plain = aiohttp.ClientSession.__init__

    def traced(self: aiohttp.ClientSession, **settings: Any) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(note)
        plain(self, **settings, trace_configs=[trace])

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", traced)
    async with RawServer(fine) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        await client.conversations.get("conv_1")
    assert ["GET"] == seen


# Requests that the server does not read


@asynccontextmanager
async def slow_reader(
    answers: bytes = b"", *, after: float = 0.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[bytes], Callable[[], Any]]]:
    """A server that answers so many seconds after the head of a request, and reads on when it is told to.

    Gives its address, the requests it has, as far as it has them, and what tells it to read on, to the end.
    """
    received: list[bytes] = []
    tasks: set[asyncio.Task[None]] = set()
    go_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        number = len(received)
        received.append(head)
        await asyncio.sleep(after)
        writer.write(answers)
        await go_on.wait()
        with suppress(ConnectionError):
            received[number] += await reader.read(-1)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def read_on() -> None:
        go_on.set()
        await asyncio.wait(tasks)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}", received, read_on
    finally:
        server.close()
        await end_all(tasks)


@pytest.mark.parametrize("way", ["straight", "through"])
@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("size", [100_000, 8_000_000])
async def test_answered_before_the_request_was_read(
    size: int, encrypted: bool, way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A connection on which the rest of a request may be under way serves no other one."""
    inside.go_straight(monkeypatch, way == "straight")
    inside.close_at_once(monkeypatch, 0.2)  # through the session, closing takes as long
    tls.trust(monkeypatch, tmp_path)
    refusal = answer(413, {"detail": "too much"})
    async with slow_reader(refusal, tls=tls.good() if encrypted else None) as (url, received, _):
        async with AsyncOmiClient(KEY, base_url=url) as client:
            for _ in range(2):
                with pytest.raises(OmiError) as refused:  # repeatable: what is not takes a fresh connection anyway
                    await client.request(
                        "POST", "/v1/dev/user/memories", json={"text": "x" * size}, repeatable=True, retry=ONCE
                    )
                assert (413, "not_applied") == (refused.value.status, refused.value.outcome)
        assert 2 == len(received)


@pytest.mark.parametrize("way", ["straight", "through"])
async def test_closing_while_nobody_reads(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing does not wait for ever for a server that has answered and reads no further."""
    inside.go_straight(monkeypatch, way == "straight")
    inside.close_at_once(monkeypatch, 0.2)
    # Later than the connection has taken all that it can take.
    async with (
        slow_reader(answer(413), after=0.3) as (url, _, _),
        asyncio.timeout(30),
        AsyncOmiClient(KEY, base_url=url) as client,
    ):
        with pytest.raises(OmiError, match="413"):
            await client.request("POST", "/v1/dev/user/memories", json={"text": "x" * 30_000_000}, retry=ONCE)


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("encrypted", [False, True])
async def test_given_up_while_it_was_sent(encrypted: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was not sent when an attempt was given up is not sent afterwards."""
    tls.trust(monkeypatch, tmp_path)
    async with slow_reader(tls=tls.good() if encrypted else None) as (url, received, read_on):
        async with AsyncOmiClient(KEY, base_url=url, timeout=Timeout(attempt=0.5), retry=ONCE) as client:
            with pytest.raises(RequestTimeoutError) as given_up:
                await client.request("PUT", "/v1/dev/user/memories", json={"text": "x" * 30_000_000})
        assert "unknown" == given_up.value.outcome
        await read_on()
        assert 1 == len(received)
        assert 30_000_000 > len(received[0])


@pytest.mark.usefixtures("known")
async def test_closed_before_a_byte_was_sent(side: Side, operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is closing when the request is to be sent has not sent it."""
    plain = Connector.obtain

    async def obtain(*arguments: Any) -> aiohttp.connector.Connection:
        connection = await plain(*arguments)
        assert connection.transport is not None
        connection.transport.abort()
        return connection

    async with RawServer(fine) as server:
        client = side.client(server.url, retry=ONCE)
        with monkeypatch.context() as patch:
            patch.setattr(Connector, "obtain", obtain)
            error = await failure(side, client, operation)
        assert (TransportError, "not_applied", True) == (type(error), error.outcome, error.retryable)
        await until(lambda: server.connections == 1 and server.open_connections == 0)
        assert [] == server.log
