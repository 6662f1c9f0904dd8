"""The documented way: `ClientSession.request`, for every session and every version of aiohttp."""

from io import BytesIO
from typing import Any

import aiohttp
from aiohttp import hdrs
from yarl import URL

from .._protocol.request import Answer, Request
from .connection import CLEAN_TRIES, JSON, LARGE, Attempt, current, is_clean, limits, read, read_tickets, refused_unread
from .proxy import Proxy

# What a request of ours carries: set here, or by aiohttp for every request.
_HEADERS = frozenset(
    ["accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "user-agent"]
)

# Keeps aiohttp from adding a Content-Type to a POST that has no body.
_NO_DEFAULT = (hdrs.CONTENT_TYPE,)


class _Lost(aiohttp.ClientError):
    """Stands in for the two errors after which aiohttp's session would send a DELETE again by itself."""


class _Unclean(Exception):
    """Something waited on a connection before the request was written to it."""


class ThroughSession:
    """A request and its answer through aiohttp's session, owned or borrowed."""

    def __init__(
        self, *, authorization: str, base_url: str, user_agent: str, borrowed: bool, proxy: Proxy | None
    ) -> None:
        self._base_url = base_url
        self._proxy = proxy
        self._borrowed = borrowed
        self._user_agent = user_agent
        # The key lives in this function's cell alone: vars(), repr() and debuggers' views of the object stay clean.
        self._origin = URL(base_url, encoded=True).origin()
        self._middlewares = (_guard(authorization, self._origin, borrowed=borrowed),)

    async def __call__(self, session: aiohttp.ClientSession, request: Request[Any], attempt: Attempt) -> Answer:
        """Make the request and read its answer."""
        # Nothing is known of a foreign connector's phases: there, every attempt may have left.
        attempt.connected = self._borrowed
        middlewares = self._middlewares
        if request.authorization is not None:
            middlewares = (_guard(request.authorization(), self._origin, borrowed=self._borrowed),)
        headers = {"Accept": JSON, "Accept-Encoding": "gzip", "User-Agent": self._user_agent}
        if request.body is not None:
            headers["Content-Type"] = JSON
        proxy, proxy_headers = None, None  # which leaves a borrowed session its own
        if self._proxy is not None:
            proxy, proxy_headers = self._proxy.url, self._proxy.headers()
            if self._origin.scheme == "http":  # without a tunnel the proxy reads the request itself
                headers.update(proxy_headers)
        token = current.set(attempt)
        try:
            response = await session.request(
                request.method,
                URL(self._base_url + request.path, encoded=True),
                data=_in_pieces(request.body),
                headers=headers,
                proxy=proxy,
                proxy_headers=proxy_headers,
                skip_auto_headers=_NO_DEFAULT,
                allow_redirects=False,
                raise_for_status=False,
                auto_decompress=True,
                middlewares=middlewares,
                timeout=limits(attempt.connect),
            )
            try:
                answer = await read(response.status, response.headers, response.content, attempt)
            finally:
                response.release()  # closes the connection instead if there is more to read
            if refused_unread(request, answer):
                attempt.distrust()
            return answer
        finally:
            current.reset(token)


def _in_pieces(body: bytes | None) -> bytes | BytesIO | None:
    # In one piece, all of a large body would go out even if the attempt was given up.
    return BytesIO(body) if body is not None and len(body) > LARGE else body


def _guard(authorization: str, origin: URL, *, borrowed: bool) -> aiohttp.ClientMiddlewareType:
    """Add the key, for the base origin only, and keep aiohttp from sending a DELETE twice."""

    async def guard(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if request.url.origin() == origin:
            request.headers[hdrs.AUTHORIZATION] = authorization
        if borrowed:  # the session's cookies and default headers are not for this server
            for name in [name for name in request.headers if name.lower() not in _HEADERS]:
                request.headers.popall(name)
            handler = _cleanly(handler)
        try:
            return await handler(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            lost = _Lost(f"the connection was lost ({type(error).__name__})")  # for those who trace the session
        raise lost

    return guard


def _cleanly(handler: aiohttp.ClientHandlerType) -> aiohttp.ClientHandlerType:
    """Look at a foreign connector's connection just before the request is written to it, and take another in doubt."""

    async def handle(request: aiohttp.ClientRequest) -> aiohttp.ClientResponse:
        send = request.send

        async def send_if_clean(connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
            protocol = connection.protocol
            if protocol is not None and request.is_ssl():
                await read_tickets(protocol)
            if protocol is None or not is_clean(protocol):
                raise _Unclean
            return await send(connection)

        for _ in range(CLEAN_TRIES):
            request.send = send_if_clean  # type: ignore[method-assign, assignment]  # aiohttp has no place for such a look
            try:
                return await handler(request)
            except _Unclean:  # aiohttp has closed that connection
                continue
            finally:
                request.send = send  # type: ignore[method-assign]
        current.get().connected = False  # nothing was sent on any of them
        raise aiohttp.ClientConnectionError

    return handle
