"""The two ways over aiohttp: straight on a connection, or through the session. Servers must not be able to tell.

The rest of the suite takes the first way wherever it can. `pytest --through-session` takes the second one.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from omi_async import AsyncOmiClient, OmiError, RetryPolicy, _exchange
from omi_async._exchange import Direct
from tests.support.raw import Exchange, RawServer, answer, conversation

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
            monkeypatch.setattr(_exchange, "_KNOWN", known)
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
    monkeypatch.setattr(_exchange, "_KNOWN", True)


@pytest.mark.usefixtures("known")
async def test_straight_where_nobody_looks_on(session: aiohttp.ClientSession) -> None:
    assert Direct.suits(session)


async def test_through_the_session_with_another_aiohttp(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that has not been looked at yet is used by its documented interface alone."""
    monkeypatch.setattr(_exchange, "_KNOWN", False)
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
async def test_whoever_replaced_the_sessions_requests_sees_them(
    kind: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mocks and tracers put something of theirs in the place of `ClientSession._request`, whenever they like."""
    seen: list[str] = []
    async with RawServer(fine) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        await client.conversations.get("conv_1")
        with monkeypatch.context() as patch:
            patch.setattr(aiohttp.ClientSession, "_request", kind(aiohttp.ClientSession._request, seen))
            await client.conversations.update("conv_1", title="Grün")
        await client.conversations.get("conv_1")
    assert ["PATCH"] == seen
    assert ["GET", "PATCH", "GET"] == [exchange.method for exchange in server.log]


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


@asynccontextmanager
async def hasty(answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers as soon as it has the head of a request and reads no further on that connection."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answers)
        await release.wait()
        writer.close()

    release = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        release.set()
        server.close()


async def test_answered_before_the_request_was_read() -> None:
    """A connection on which the rest of a request is still to be sent serves no other request."""
    async with hasty(answer(413, {"detail": "too much"})) as (url, heads), AsyncOmiClient(KEY, base_url=url) as client:
        for _ in range(2):
            with pytest.raises(OmiError) as refused:
                await client.request("POST", "/v1/dev/user/memories", json={"text": "x" * 30_000_000}, retry=ONCE)
            assert 413 == refused.value.status
    assert [b"POST", b"POST"] == [head.split(b" ")[0] for head in heads]
