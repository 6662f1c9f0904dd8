"""The short way: a request straight on aiohttp's connections, without its session.

More than a third of what a call costs is spent in the session, on redirects, cookies, proxies, traces and timeouts that
a client's own session has no use for. `Direct` asks the same connector for the same connections, with the same parser
behind them. It uses parts of aiohttp that have public names and no documentation, so `suits` lets it serve only the
versions of aiohttp that it was tested with, and only while nobody has put something of theirs into aiohttp's session.
"""

import asyncio
import functools
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType
from typing import Any

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from propcache.api import cached_property  # the one of functools has a lock on Python 3.11, which a fork copies held
from yarl import URL

from .._protocol.request import Answer, Request
from .connection import JSON, Attempt, Connector, limits, read, refused_unread
from .pool import Place
from .proxy import Proxy

_KNOWN = aiohttp.__version__.startswith("3.14.")


class _Target(aiohttp.ClientRequest):
    """Tells the connector where to, and is never sent."""

    @cached_property
    def connection_key(self) -> ConnectionKey:  # pyright: ignore[reportIncompatibleMethodOverride]  # computed once
        """The key in the connector's pool, which is the same for every call."""
        return super().connection_key


class Direct:
    """A request and its answer on a connection of the client's own session."""

    def __init__(self, *, authorization: str, base_url: str, user_agent: str, proxy: Proxy | None) -> None:
        self._url = URL(base_url, encoded=True)
        self._proxy = proxy
        self._write = _writer(authorization, self._url, user_agent, proxy)

    @staticmethod
    def suits(session: aiohttp.ClientSession) -> bool:
        """Whether this aiohttp is known, and neither tracing nor a test's mock wants to see the session's requests."""
        kind = type(session)
        return (
            _KNOWN
            and not session.trace_configs
            and not session._middlewares
            and _are_original(kind.request, kind._request)
        )

    async def __call__(
        self, place: Place, session: aiohttp.ClientSession, request: Request[Any], attempt: Attempt
    ) -> Answer:
        """Make the request and read its answer."""
        connector = session.connector
        assert isinstance(connector, Connector)  # noqa: S101 - the session is the client's own
        target = place.target
        if target is None:
            target = self._new_target(place, session)
        try:
            connection = await connector.obtain(target, [], limits(attempt.connect), attempt)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None or transport.is_closing():
                attempt.connected = False
                raise aiohttp.ClientConnectionResetError
            protocol.set_response_params(read_until_eof=True)
            transport.write(self._write(request))
            while True:
                message, content = await protocol.read()
                if not 100 <= message.code < 200 or message.code == 101:
                    break
            answer = await read(message.code, message.headers, content, attempt)
            if transport.get_write_buffer_size() or refused_unread(request, answer):
                _drop(connection)
            else:
                connection.release()  # closes it instead if there is more to read
        except BaseException:
            _drop(connection)
            raise
        return answer

    def _new_target(self, place: Place, session: aiohttp.ClientSession) -> aiohttp.ClientRequest:
        loop = asyncio.get_running_loop()
        if self._proxy is None:
            place.target = _Target("GET", self._url, loop=loop, session=session)
            return place.target
        # Not kept: it has the proxy's password.
        return _Target(
            "GET", self._url, loop=loop, session=session, proxy=self._proxy.url, proxy_headers=self._proxy.headers()
        )


@functools.lru_cache(maxsize=8)
def _are_original(*methods: object) -> bool:
    return all(
        type(each) is FunctionType and each.__code__.co_qualname.startswith("ClientSession.") for each in methods
    )


def _drop(connection: aiohttp.connector.Connection) -> None:
    """Close a connection without sending what is left: the attempt is over, and its request must not arrive later."""
    with suppress(RuntimeError):  # the loop was closed before the attempt was over
        if connection.protocol is not None:
            connection.protocol.abort()
        connection.close()


def _writer(authorization: str, url: URL, user_agent: str, proxy: Proxy | None) -> Callable[[Request[Any]], bytes]:
    """Head and body in one piece. As with the guard, the key lives in the function's cell alone."""
    prefix = url.raw_path.removesuffix("/")
    for_proxy = ""
    if proxy is not None and url.scheme == "http":  # without a tunnel the proxy reads the request itself
        prefix = f"{url.origin()}{prefix}"
        for_proxy = "".join(f"{name}: {value}\r\n" for name, value in proxy.headers().items())

    def headers(authorization: str) -> bytes:
        return (
            f" HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\nAccept: {JSON}\r\nAccept-Encoding: gzip\r\n"
            f"User-Agent: {user_agent}\r\nAuthorization: {authorization}\r\n{for_proxy}"
        ).encode()

    with_key = headers(authorization)

    def write(request: Request[Any]) -> bytes:
        body, start = request.body, f"{request.method} {prefix}{request.path}".encode("ascii")
        always = with_key if request.authorization is None else headers(request.authorization())
        if body is not None:
            return b"%b%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
                start,
                always,
                len(body),
                body,
            )
        return b"%b%b%b\r\n" % (start, always, b"" if request.method == "GET" else b"Content-Length: 0\r\n")

    return write
