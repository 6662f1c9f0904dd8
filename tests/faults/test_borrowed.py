"""A session that the caller lends, however strange it is, and the middleware that carries the key."""

import asyncio
import gc
import gzip
import json
import re
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from multidict import CIMultiDict
from yarl import URL

from omi_async import (
    AsyncOmiClient,
    ClientClosedError,
    Conversation,
    Deletion,
    EventLoopError,
    NotFoundError,
    OmiError,
    RequestTimeoutError,
    ResponseError,
    RetryPolicy,
    Timeout,
    TransportError,
)
from omi_sync import OmiClient
from tests.support.canary import channels, hits, paths
from tests.support.clock import VirtualClock
from tests.support.inside import guard as _guard
from tests.support.proxy import Proxy
from tests.support.raw import Exchange, RawServer, answer, conversation
from tests.support.specimens import call

SECRET = "5ca1ab1e0ddba11f00dfeedc0ffee000"
KEY = f"omi_dev_{SECRET}"
PREFIX = "/v1/dev/user/conversations/"


async def fine(exchange: Exchange) -> None:
    await exchange.succeed()


async def hangs(exchange: Exchange) -> None:
    await exchange.hang()


# The middleware

OWN = "https://api.omi.me"
SAME = [
    f"{OWN}{PREFIX}conv_1",
    "https://API.OMI.ME/x",
    f"{OWN}/",
    f"{OWN}?a=b",
]
OTHER = [
    "http://api.omi.me/x",
    "http://api.omi.me:443/x",
    "https://api.omi.me:8443/x",
    "https://omi.me/x",
    "https://evil.api.omi.me/x",
    "https://api.omi.me.evil.example/x",
    "https://api.omi.me@evil.example/x",
    "https://evil.example/https://api.omi.me/x",
    "https://evil.example/?https://api.omi.me",
    "https://evil.example/#api.omi.me",
    "https://api-omi.me/x",
    "https://api.omi.me./x",
    "https://xn--pi-mma.omi.me/x",
    "https://127.0.0.1/x",
    "wss://api.omi.me/x",
]


@attrs.define
class Sent:
    """As much of a request as the middleware looks at."""

    url: URL
    headers: CIMultiDict[str]
    send: object = None


@pytest.mark.scenario(134)
@pytest.mark.parametrize("url", [*SAME, *OTHER])
async def test_the_key_is_for_one_origin(url: str) -> None:
    """The middleware adds the key for the base URL's scheme, host and port alone, and drops a session's own headers."""
    request: Any = Sent(URL(url), CIMultiDict({"Cookie": "a=b", "X-Other": "1", "Accept": "x"}))
    reply: Any = object()

    async def handler(given: Any) -> Any:
        assert given is request
        return reply

    assert reply is await _guard(f"Bearer {KEY}", URL(OWN).origin(), borrowed=True)(request, handler)
    expected = {"Accept": "x"} | ({"Authorization": f"Bearer {KEY}"} if url in SAME else {})
    assert expected == dict(request.headers)


@pytest.mark.scenario(134)
async def test_the_key_replaces_another(recwarn: pytest.WarningsRecorder) -> None:
    """An Authorization header that a session brings along is replaced, however often it is there."""
    headers = CIMultiDict([("authorization", "Basic x"), ("AUTHORIZATION", "Basic y")])
    request: Any = Sent(URL(OWN), headers)

    async def handler(given: Any) -> Any:
        return given

    await _guard(f"Bearer {KEY}", URL(OWN).origin(), borrowed=True)(request, handler)
    assert [f"Bearer {KEY}"] == request.headers.getall("Authorization")
    assert [] == list(recwarn)


@pytest.mark.scenario(134)
async def test_the_key_stays_behind_on_the_way_elsewhere() -> None:
    """Even in a request that follows redirects, the middleware gives the key to the base origin alone."""

    async with RawServer(fine) as elsewhere:

        async def script(exchange: Exchange) -> None:
            await exchange.send(answer(307, headers={"Location": f"{elsewhere.url}{exchange.path}"}))

        async with RawServer(script) as base, aiohttp.ClientSession() as session:
            omi = AsyncOmiClient(KEY, base_url=base.url, session=session)
            middlewares = omi._transport._through_session._guards
            for server in (base, elsewhere):
                async with session.delete(f"{server.url}/x", middlewares=middlewares) as response:
                    assert 200 == response.status
        assert [f"Bearer {KEY}"] == [exchange.headers.get("authorization") for exchange in base.log]
        assert [None, None] == [exchange.headers.get("authorization") for exchange in elsewhere.log]


# Sessions of all kinds


async def hostile_middleware(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    request.headers["X-Evil"] = "middleware"
    raise AssertionError("the session's own middleware ran")


async def refuse_everything(response: aiohttp.ClientResponse) -> None:
    raise AssertionError("the session's own check ran")


def private_jar() -> aiohttp.CookieJar:
    jar = aiohttp.CookieJar(unsafe=True)
    jar.update_cookies({"session": "private"}, URL("http://127.0.0.1/"))
    return jar


def basic_auth() -> aiohttp.ClientSession:
    with warnings.catch_warnings():  # deprecated, and still met
        warnings.simplefilter("ignore", DeprecationWarning)
        return aiohttp.ClientSession(auth=aiohttp.BasicAuth("other", "password"))


def forgetful(**settings: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(**settings))


def no_json(value: object) -> str:
    raise AssertionError("the session's own serialiser ran")


OTHER_HEADERS = [
    ("Authorization", "Basic b3RoZXI6cGFzc3dvcmQ="),
    ("authorization", "Bearer another"),
    ("Cookie", "session=private"),
    ("User-Agent", "evil/1.0"),
    ("Accept", "text/html"),
    ("Accept-Encoding", "br, zstd"),
    ("Content-Type", "text/plain"),
]

SESSIONS: dict[str, Callable[[], aiohttp.ClientSession]] = {
    "plain": aiohttp.ClientSession,
    "default headers": lambda: aiohttp.ClientSession(headers=OTHER_HEADERS),
    "cookies": lambda: aiohttp.ClientSession(cookie_jar=private_jar()),
    "cookies of the session": lambda: aiohttp.ClientSession(cookies={"session": "private"}, cookie_jar=private_jar()),
    "auth": basic_auth,
    "raise_for_status": lambda: aiohttp.ClientSession(raise_for_status=True),
    "raise_for_status by hand": lambda: aiohttp.ClientSession(raise_for_status=refuse_everything),
    "middlewares": lambda: aiohttp.ClientSession(middlewares=[hostile_middleware]),
    "base URL": lambda: aiohttp.ClientSession(base_url="http://127.0.0.1:1/elsewhere/"),
    "short time-outs": lambda: aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=1e-6, connect=1e-6, sock_connect=1e-6, sock_read=1e-6)
    ),
    "no time-outs": lambda: aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)),
    "no decompression": lambda: aiohttp.ClientSession(auto_decompress=False),
    "trust in the environment": lambda: aiohttp.ClientSession(trust_env=True),
    "another serialiser": lambda: aiohttp.ClientSession(json_serialize=no_json),
    "HTTP/1.0": lambda: aiohttp.ClientSession(version=aiohttp.HttpVersion10),
    "no automatic headers": lambda: aiohttp.ClientSession(skip_auto_headers=["User-Agent", "Content-Type", "Accept"]),
    "tiny buffer": lambda: aiohttp.ClientSession(read_bufsize=1),
    "one connection": lambda: forgetful(limit=1),
    "no keep-alive": lambda: forgetful(force_close=True),
}


def body_of(exchange: Exchange) -> bytes:
    document: object = {"success": True} if exchange.method == "DELETE" else conversation("conv_1")
    return json.dumps(document).encode()


@pytest.mark.scenario(137)
@pytest.mark.parametrize("name", SESSIONS)
async def test_strange_sessions(operation: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However a borrowed session is set, a call sends what it always does, once an attempt, and reads all answers."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login other password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    async with RawServer(fine) as elsewhere:

        async def script(exchange: Exchange) -> None:
            match exchange.number:
                case 1:
                    headers = {"Content-Encoding": "gzip", "Set-Cookie": "a=b; Path=/"}
                    await exchange.send(answer(200, gzip.compress(body_of(exchange)), headers=headers))
                case 2:
                    await exchange.send(answer(404, {"detail": "Conversation not found"}))
                case 3:
                    await exchange.send(answer(308, headers={"Location": f"{elsewhere.url}{exchange.path}"}))
                case 4:
                    exchange.reset()
                case 5:
                    await exchange.succeed()
                case _:
                    await exchange.hang()

        async with RawServer(script) as server, Proxy(server.port) as wire, SESSIONS[name]() as session:
            omi = AsyncOmiClient(KEY, base_url=wire.url, session=session, retry=RetryPolicy.never())
            assert isinstance(await call(omi, operation), (Conversation, Deletion))
            with pytest.raises(NotFoundError):
                await call(omi, operation)
            with pytest.raises(ResponseError, match="308"):
                await call(omi, operation)
            with pytest.raises(TransportError) as lost:
                await call(omi, operation)
            assert ("unknown", 1) == (lost.value.outcome, lost.value.attempts)
            assert isinstance(await call(omi, operation), (Conversation, Deletion))
            with pytest.raises(RequestTimeoutError):  # whether or not the request arrives in time
                await call(omi, operation, timeout=Timeout(attempt=0.1))
            inside = [*paths(omi), *paths(session)]
            await omi.aclose()
            assert not session.closed
        assert 0 == elsewhere.connections

    method = {"update": "PATCH", "delete": "DELETE"}[operation]
    assert len(server.log) in (5, 6)
    assert {(method, PREFIX + "conv_1")} == {(exchange.method, exchange.path) for exchange in server.log}
    heads = [
        head + b"\r\n\r\n" for head in re.findall(rb"(?:PATCH|DELETE) /.*?(?=\r\n\r\n)", bytes(wire.received), re.S)
    ]
    assert len(heads) >= len(server.log)
    for head, exchange in zip(heads, server.log, strict=False):
        assert 1 == head.lower().count(b"\r\nauthorization:")
        assert f"\r\nAuthorization: Bearer {KEY}\r\n".encode() in head
        assert b"cookie" not in head.lower()
        assert ("application/json", "gzip") == (exchange.headers["accept"], exchange.headers["accept-encoding"])
        assert exchange.headers["user-agent"].startswith("omi-async/")
        if operation == "update":
            assert ("application/json", b'{"title":"Design review"}') == (
                exchange.headers["content-type"],
                exchange.body,
            )
    assert [] == hits(inside, {"key": SECRET})


@pytest.mark.scenario(137)
async def test_no_request_is_sent_twice(operation: str) -> None:
    """On a borrowed session too, a connection that is lost costs one request an attempt, DELETE included."""

    async def script(exchange: Exchange) -> None:
        exchange.close()

    async with RawServer(script) as server, aiohttp.ClientSession() as session:
        omi = AsyncOmiClient(KEY, base_url=server.url, session=session, retry=VirtualClock().policy(attempts=3))
        with pytest.raises(TransportError) as caught:
            await call(omi, operation)
        assert 3 == len(server.log)
    assert ("unknown", 3) == (caught.value.outcome, caught.value.attempts)


@pytest.mark.scenario(137)
async def test_hooks_see_one_request_an_attempt(operation: str) -> None:
    """The session's trace hooks, which go on working, see each attempt once, and not the key where none is sent yet."""
    seen: list[tuple[str, dict[str, str]]] = []
    hooks = aiohttp.TraceConfig()

    async def started(session: object, context: object, params: aiohttp.TraceRequestStartParams) -> None:
        seen.append(("start", dict(params.headers)))

    async def failed(session: object, context: object, params: aiohttp.TraceRequestExceptionParams) -> None:
        seen.append(("failure", dict(params.headers)))

    hooks.on_request_start.append(started)
    hooks.on_request_exception.append(failed)

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            exchange.reset()
        await exchange.succeed()

    async with RawServer(script) as server, aiohttp.ClientSession(trace_configs=[hooks]) as session:
        omi = AsyncOmiClient(KEY, base_url=server.url, session=session, retry=VirtualClock().policy())
        await call(omi, operation)
        assert 2 == len(server.log)
    assert ["start", "failure", "start"] == [event for event, _ in seen]
    assert SECRET not in repr(seen)


@pytest.mark.scenario(137)
async def test_the_connection_limit_of_a_session(operation: str) -> None:
    """Waiting for a connection of the session's full pool is connecting: it ends in time, and nothing was sent."""
    async with RawServer(hangs) as server, forgetful(limit=1) as session:
        omi = AsyncOmiClient(KEY, base_url=server.url, session=session, retry=RetryPolicy.never())
        first = asyncio.create_task(call(omi, "delete", "conv_1"))
        while not server.log:
            await asyncio.sleep(0.001)
        with pytest.raises(RequestTimeoutError) as caught:
            await call(omi, operation, timeout=Timeout(connect=0.05))
        assert ("not_applied", 1) == (caught.value.outcome, len(server.log))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


@pytest.mark.scenario(137)
async def test_the_failure_to_connect_is_known(operation: str) -> None:
    """A borrowed session that finds nobody listening has sent nothing, and the error says so."""
    async with aiohttp.ClientSession() as session:
        omi = AsyncOmiClient(KEY, base_url="http://127.0.0.1:1", session=session, retry=VirtualClock().policy())
        with pytest.raises(TransportError) as caught:
            await call(omi, operation)
    assert ("not_applied", 3) == (caught.value.outcome, caught.value.attempts)


class Picky(aiohttp.TCPConnector):
    """A connector of the caller's that fails in its own way."""

    failure: BaseException = OSError("picky")

    async def connect(self, *arguments: Any, **settings: Any) -> Any:
        raise self.failure


class Peek(aiohttp.TCPConnector):
    """A connector of the caller's that keeps the requests it is asked to connect for."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[aiohttp.ClientRequest] = []

    async def connect(self, req: aiohttp.ClientRequest, *arguments: Any, **settings: Any) -> Any:
        self.requests.append(req)
        raise TimeoutError


@pytest.mark.scenario(134)
@pytest.mark.parametrize(
    "base",
    [
        *(
            OWN,
            f"{OWN}:443",
            "https://API.Omi.Me:443/",
            f"{OWN}:8443/self/hosted",
            "https://[2001:db8::1]",
            "https://1.2.3.4",
        ),
        *("http://localhost", "http://localhost:80", "http://127.0.0.1:80/", "http://[::1]:80", "http://[::1]"),
        *("https://a_b.example", "https://xn--mi-fka.example", "https://a.example./x"),
    ],
)
async def test_the_key_is_there_for_every_base_url(operation: str, base: str) -> None:
    """However a good base URL is written, with its default port or in capitals, its own requests carry the key."""
    connector = Peek()
    async with aiohttp.ClientSession(connector=connector) as session:
        omi = AsyncOmiClient(KEY, base_url=base, session=session, retry=RetryPolicy.never())
        with pytest.raises(RequestTimeoutError):
            await call(omi, operation)
    (request,) = connector.requests
    assert f"Bearer {KEY}" == request.headers["Authorization"]
    assert request.url.raw_path.endswith(PREFIX + "conv_1")


@pytest.mark.scenario(137)
@pytest.mark.parametrize(
    "failure",
    [OSError("picky"), ConnectionResetError(104, "picky"), aiohttp.ClientError("picky"), TimeoutError("picky")],
)
async def test_a_connector_with_failures_of_its_own(operation: str, failure: BaseException) -> None:
    """A failure of a foreign connector is reported as ours, claims no more than is known, and leaves nothing behind."""
    connector = Picky()
    connector.failure = failure
    async with aiohttp.ClientSession(connector=connector) as session:
        omi = AsyncOmiClient(KEY, base_url="http://127.0.0.1:1", session=session, retry=RetryPolicy.never())
        with pytest.raises(TransportError) as caught:
            await call(omi, operation)
    assert ("not_applied" if isinstance(failure, TimeoutError) else "unknown") == caught.value.outcome
    assert [] == hits(list(channels(caught.value)), {"key": SECRET, "failure": "picky"})


# Whose session it is


@pytest.mark.scenario(137)
@pytest.mark.parametrize("way", ["aclose", "with", "forgotten", "unused"])
async def test_a_borrowed_session_is_never_closed(way: str) -> None:
    """Closing or forgetting the client leaves the session open and usable for its owner and for another client."""
    async with RawServer(fine) as server, aiohttp.ClientSession() as session:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            omi = AsyncOmiClient(KEY, base_url=server.url, session=session)
            if way != "unused":
                await call(omi, "update")
            match way:
                case "with":
                    async with omi:
                        pass
                case "forgotten":
                    pass
                case _:
                    await omi.aclose()
            if way != "forgotten":
                assert omi.closed
                with pytest.raises(ClientClosedError):
                    await call(omi, "update")
            del omi
            gc.collect()
        assert [] == [str(warning.message) for warning in caught]
        assert not session.closed
        async with session.get(f"{server.url}/mine") as response:
            assert 200 == response.status
        await call(AsyncOmiClient(KEY, base_url=server.url, session=session), "update")
        assert "authorization" not in next(e.headers for e in server.log if e.path == "/mine")


@pytest.mark.scenario(137)
async def test_two_clients_on_one_session(operation: str) -> None:
    """Two clients share a session and keep their keys and servers apart."""
    async with RawServer(fine) as one, RawServer(fine) as two, aiohttp.ClientSession() as session:
        clients = [
            AsyncOmiClient(f"omi_dev_{number}", base_url=server.url, session=session)
            for number, server in ((1, one), (2, two))
        ]
        await asyncio.gather(*(call(client, operation) for client in clients for _ in range(10)))
        await clients[0].aclose()
        await call(clients[1], operation)
    assert {"Bearer omi_dev_1"} == {exchange.headers["authorization"] for exchange in one.log}
    assert {"Bearer omi_dev_2"} == {exchange.headers["authorization"] for exchange in two.log}
    assert (10, 11) == (len(one.log), len(two.log))


@pytest.mark.scenario(137)
async def test_closed_by_its_owner_before(operation: str) -> None:
    """A session that its owner closed is a clear error before anything is sent; the client itself is not closed."""
    async with RawServer(fine) as server:
        session = aiohttp.ClientSession()
        omi = AsyncOmiClient(KEY, base_url=server.url, session=session)
        await session.close()
        with pytest.raises(ClientClosedError, match="borrowed session is closed") as caught:
            await call(omi, operation)
        assert 0 == server.connections
    assert ("not_applied", False) == (caught.value.outcome, caught.value.retryable)
    assert not omi.closed
    await omi.aclose()


@pytest.mark.scenario(137)
async def test_closed_by_its_owner_meanwhile(operation: str) -> None:
    """A session that its owner closes under a call is the same error, and the request that had left stays unknown."""
    async with RawServer(hangs) as server:
        session = aiohttp.ClientSession()
        omi = AsyncOmiClient(KEY, base_url=server.url, session=session, retry=VirtualClock().policy())
        under_way = asyncio.create_task(call(omi, operation))
        while not server.log:
            await asyncio.sleep(0.001)
        await session.close()
        with pytest.raises(ClientClosedError, match="borrowed session is closed") as caught:
            await asyncio.wait_for(under_way, 5)
        assert 1 == len(server.log)
    assert "unknown" == caught.value.outcome
    assert [] == hits(list(channels(caught.value)), {"key": SECRET})


@pytest.mark.scenario(137)
async def test_closed_by_its_owner_while_in_the_queue(operation: str) -> None:
    """A call that waited for its turn while the owner closed the session is the same error; nothing was sent for it."""
    async with RawServer(hangs) as server:
        session = aiohttp.ClientSession()
        omi = AsyncOmiClient(KEY, base_url=server.url, session=session, max_connections=1, retry=RetryPolicy.never())
        first = asyncio.create_task(call(omi, "delete", "conv_1"))
        while not server.log:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(call(omi, operation, "conv_2"))
        await asyncio.sleep(0.01)
        await session.close()
        with pytest.raises(OmiError):
            await asyncio.wait_for(first, 5)
        with pytest.raises(ClientClosedError, match="borrowed session is closed") as caught:
            await asyncio.wait_for(second, 5)
        assert 1 == len(server.log)
    assert "not_applied" == caught.value.outcome


@asynccontextmanager
async def session_of_another_loop() -> AsyncIterator[aiohttp.ClientSession]:
    made: Future[aiohttp.ClientSession] = Future()
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    async def serve() -> None:
        async with aiohttp.ClientSession() as session:
            made.set_result(session)
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        yield await asyncio.wrap_future(made)
    finally:
        loop.call_soon_threadsafe(end.set)
        await asyncio.to_thread(thread.join)
        loop.close()


@pytest.mark.scenario(137)
async def test_a_session_of_another_loop(operation: str) -> None:
    """A session that belongs to another event loop is refused with the error for it, before anything is sent."""
    async with RawServer(fine) as server, session_of_another_loop() as session:
        omi = AsyncOmiClient(KEY, base_url=server.url, session=session, retry=RetryPolicy.never())
        with pytest.raises(EventLoopError) as caught:
            await asyncio.wait_for(call(omi, operation), 5)
        assert 0 == len(server.log)
    assert "not_applied" == caught.value.outcome


@pytest.mark.scenario(137)
def test_the_synchronous_client_borrows_nothing() -> None:
    """A session lives on its owner's event loop, so the synchronous client does not take one."""
    with pytest.raises(TypeError, match="session"):
        OmiClient(KEY, session=None)  # type: ignore[call-arg]
