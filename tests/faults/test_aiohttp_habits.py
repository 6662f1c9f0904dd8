"""Canaries: what aiohttp does by itself and the client is built around; one that fails says what to look at again."""

import asyncio
import tomllib
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support import inside
from tests.support.raw import Exchange, RawServer, answer

ROOT = Path(__file__).resolve().parents[2]
PATH = "/v1/dev/user/conversations/conv_1"

Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]


class Stopped(aiohttp.ClientError):
    """Another error than the two after which aiohttp tries again."""


async def lose_the_first(exchange: Exchange) -> None:
    """Close the first connection without an answer."""
    if exchange.number == 1:
        exchange.close()
    else:
        await exchange.succeed()


async def reset_the_first(exchange: Exchange) -> None:
    """Reset the first connection without an answer."""
    if exchange.number == 1:
        exchange.reset()
    else:
        await exchange.succeed()


# Straight on the connections


@pytest.mark.scenario(181)
def test_this_aiohttp_is_known(request: pytest.FixtureRequest) -> None:
    """A new minor version is used through its session, until `Direct` was read beside it and the suite has passed."""
    assert inside.direct._KNOWN or request.config.getoption("--through-session"), aiohttp.__version__


# Sending again


@pytest.mark.scenario(181)
@pytest.mark.parametrize("script", [lose_the_first, reset_the_first])
async def test_delete_is_sent_again(script: Callable[[Exchange], Awaitable[None]]) -> None:
    """A plain session repeats a DELETE whose new connection is lost, and the caller sees one request only."""
    async with RawServer(script) as server, aiohttp.ClientSession() as session:
        async with session.delete(server.url + PATH) as response:
            assert 200 == response.status
        assert [("DELETE", 1), ("DELETE", 2)] == [(each.method, each.connection) for each in server.log]


@pytest.mark.scenario(181)
@pytest.mark.parametrize("script", [lose_the_first, reset_the_first])
async def test_patch_is_not_sent_again(script: Callable[[Exchange], Awaitable[None]]) -> None:
    """A PATCH is left alone: the two operations differ in this."""
    async with RawServer(script) as server, aiohttp.ClientSession() as session:
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
            await session.patch(server.url + PATH, data=b"{}")
        assert ["PATCH"] == [each.method for each in server.log]


@pytest.mark.scenario(181)
@pytest.mark.parametrize("script", [lose_the_first, reset_the_first])
async def test_middleware_stops_sending_again(script: Callable[[Exchange], Awaitable[None]]) -> None:
    """A request's own middleware that raises another client error in the place of the two ends the request there."""

    async def stop(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        try:
            return await handler(request)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise Stopped from error

    async with RawServer(script) as server, aiohttp.ClientSession() as session:
        with pytest.raises(Stopped):
            await session.delete(server.url + PATH, middlewares=(stop,))
        assert 1 == len(server.log)


@pytest.mark.scenario(181)
async def test_middleware_runs_for_each_attempt() -> None:
    """A middleware runs once for every request on the wire, so also for the one that aiohttp adds."""
    seen: list[str] = []

    async def note(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        seen.append(request.method)
        return await handler(request)

    async with RawServer(lose_the_first) as server, aiohttp.ClientSession() as session:
        await session.delete(server.url + PATH, middlewares=(note,))
        assert (["DELETE", "DELETE"], 2) == (seen, len(server.log))


# Middlewares


def adding(name: str, value: str) -> aiohttp.ClientMiddlewareType:
    async def add(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        request.headers[name] = value
        return await handler(request)

    return add


@pytest.mark.scenario(181)
async def test_middlewares_of_a_request_replace_those_of_the_session() -> None:
    """A borrowed session's middlewares do not run for a request that brings its own."""

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    async with RawServer(script) as server, aiohttp.ClientSession(middlewares=[adding("X-Session", "1")]) as session:
        await session.delete(server.url + PATH)
        await session.delete(server.url + PATH, middlewares=(adding("X-Request", "1"),))
        await session.delete(server.url + PATH, middlewares=())
    found = [{name for name in each.headers if name.startswith("x-")} for each in server.log]
    assert [{"x-session"}, {"x-request"}, set()] == found


@pytest.mark.scenario(181)
@pytest.mark.parametrize("follow", [True, False])
async def test_middleware_adds_the_key_on_every_hop(follow: bool) -> None:
    """Where redirects are followed, a middleware's Authorization goes to the other origin too; where not, nowhere."""

    async def arrive(exchange: Exchange) -> None:
        await exchange.succeed()

    async def redirect(exchange: Exchange) -> None:
        await exchange.send(answer(307, headers={"Location": other.url + PATH}))

    async with RawServer(arrive) as other, RawServer(redirect) as server, aiohttp.ClientSession() as session:
        middlewares = (adding("Authorization", "Bearer canary"),)
        await session.delete(server.url + PATH, allow_redirects=follow, middlewares=middlewares)
        assert ["Bearer canary"] == [each.headers["authorization"] for each in server.log]
        expected = ["Bearer canary"] if follow else []
        assert expected == [each.headers.get("authorization") for each in other.log]
        assert len(expected) == other.connections


# The parser: what both its forms, the one in C and the one in Python, refuse

NOT_HTTP = {
    "garbage": b"\x00\x01\x02 garbage\r\n\r\n",
    "status 99": b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 High\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX-Zero: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "header too long": b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.scenario(181)
@pytest.mark.parametrize("name", NOT_HTTP)
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_parser_refusals_look_like_a_400(name: str, method: str) -> None:
    """What the parser refuses comes as a response error with the status 400, as if the server had said so."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(NOT_HTTP[name])
        exchange.close()

    async with RawServer(script) as server, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientResponseError) as caught:
            async with session.request(method, server.url + PATH) as response:
                await response.read()
        assert (400, 1) == (caught.value.status, len(server.log))
    assert not isinstance(caught.value, (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError))


# The connector


@pytest.mark.scenario(181)
async def test_connector_is_asked_once_an_attempt() -> None:
    """`connect` is called once for each request on the wire, in the caller's own task and context."""
    current: ContextVar[str] = ContextVar("current")
    asked: list[tuple[str, bool]] = []
    protocols: list[object] = []

    class Connector(aiohttp.TCPConnector):
        async def connect(
            self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
        ) -> aiohttp.connector.Connection:
            asked.append((current.get("nothing"), asyncio.current_task() is task))
            connection = await super().connect(req, traces, timeout)
            protocols.append(connection.protocol)
            return connection

    async def script(exchange: Exchange) -> None:
        if exchange.number == 2:
            exchange.close()
        else:
            await exchange.succeed()

    task = asyncio.current_task()
    async with RawServer(script) as server, aiohttp.ClientSession(connector=Connector()) as session:
        for name in ("first", "second"):
            current.set(name)
            async with session.delete(server.url + PATH) as response:
                await response.read()
        assert 3 == len(server.log)
    assert [("first", True), ("second", True), ("second", True)] == asked
    # The second request came on the connection of the first, the repeated one on a new connection.
    assert None not in protocols
    assert protocols[0] is protocols[1] is not protocols[2]


@pytest.mark.scenario(181)
async def test_connect_timeout_is_not_a_connector_error() -> None:
    """A connection that is not made in time is a time-out error of its own, which is not sent again."""

    class Connector(aiohttp.TCPConnector):
        async def _create_connection(self, *arguments: Any) -> Any:
            await asyncio.Event().wait()

    asked = 0

    async def count(request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        nonlocal asked
        asked += 1
        return await handler(request)

    async with aiohttp.ClientSession(connector=Connector()) as session:
        timeout = aiohttp.ClientTimeout(connect=0.05)
        with pytest.raises(aiohttp.ConnectionTimeoutError) as caught:
            await session.delete("http://127.0.0.1:9/", timeout=timeout, middlewares=(count,))
    assert not isinstance(caught.value, aiohttp.ClientConnectorError)
    assert 1 == asked


# Versions


@pytest.mark.scenario(180)
def test_floor() -> None:
    """The oldest aiohttp that can be installed is the one that closed the last known attacks on clients."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    allowed = {each.name: each.specifier for each in map(Requirement, project["dependencies"])}
    floors = [Version(each.version) for each in allowed["aiohttp"] if each.operator == ">="]
    assert 1 == len(floors)
    assert Version("3.14.4") <= floors[0]
    assert "3.14.3" not in allowed["aiohttp"]
    assert aiohttp.__version__ in allowed["aiohttp"]
