"""A request and its answer: the two ways over aiohttp, and how much of an answer is read.

`ThroughSession` is `ClientSession.request`. More than a third of what a call costs is spent there, on redirects,
cookies, proxies, traces and time-outs that a client's own session has no use for. So `Direct` asks the same connector
for the same connections with the same parser behind them, and does without the session. What it uses is not
documented: it is for the versions of aiohttp that it was tested with, and only while nobody has put something of
theirs into aiohttp's session. Otherwise everything goes through the session, slower and with the same results.
"""

import asyncio
import functools
import re
from collections.abc import Callable
from contextvars import ContextVar
from io import BytesIO
from math import inf
from types import FunctionType
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
from aiohttp import hdrs
from yarl import URL

from ._protocol import Answer, Request
from .errors import ResponseError

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

_KNOWN = aiohttp.__version__.startswith("3.14.")

_BODY_LIMIT = 8 * 2**20  # bytes after decompression; the largest conversations seen are under one MiB
_ERROR_BODY_LIMIT = 64 * 2**10
_CHUNK = 64 * 2**10
_LARGE = 64 * 2**10  # bytes of a request's body; more than that may be answered before the server has read it

# Servers close idle connections too (uvicorn after 5 s): closing first avoids most of the races.
_KEEPALIVE = 4.0  # seconds

_JSON = "application/json"

# What a request of ours carries: set here, or by aiohttp for every request.
_HEADERS = frozenset(
    ["accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "user-agent"]
)

# Else a POST without a body would have a type for it.
_NOT_BY_ITSELF = (hdrs.CONTENT_TYPE,)

_LENGTH = re.compile("[0-9]{1,15}")


@functools.cache
def _limits(connect: float | None) -> aiohttp.ClientTimeout:
    # Without the infinity, aiohttp rounds limits of 5 s and more up to whole seconds.
    return aiohttp.ClientTimeout(connect=connect, ceil_threshold=inf)


_NOTE = "omi_link"  # the attribute; a weak dictionary beside costs several times as much


@attrs.define(eq=False)
class _Link:
    """What is known of a connection that has served a request; noted on aiohttp's object for it."""

    distrusted: bool = False


@attrs.define(eq=False)
class Attempt:
    """What is asked of one attempt, and what the connector notes about it."""

    connect: float | None
    """Seconds for getting a connection."""
    limit: float | None
    """Seconds from asking for a connection to the last byte of the body."""
    left: Callable[[], float | None]
    """Seconds left for the whole call."""
    fresh: bool
    """Only a connection that has served no request yet will do."""
    connected: bool = False
    """The request may have left."""
    reused: bool = False
    """The connection had served an earlier request."""
    link: _Link | None = None

    def distrust(self) -> None:
        """See to it that the connection serves no further request.

        It may be back in the pool already, or even in use again: it is marked, not closed.
        """
        if self.link is not None:
            self.link.distrusted = True


_current: ContextVar[Attempt] = ContextVar("omi_attempt")


class Connector(aiohttp.TCPConnector):
    """Tells an attempt when its connection stood, and takes only good ones out of the pool.

    A request that failed on a connection kept from earlier must not be repeated on another such connection. And
    whatever arrived while a connection was idle is the answer to no request: aiohttp would hand it to the next one.
    """

    def __init__(self) -> None:
        # The transport's slots limit what is under way, so the connector need not.
        super().__init__(limit=0, keepalive_timeout=_KEEPALIVE)

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """As aiohttp's session asks for a connection."""
        return await self.obtain(req, traces, timeout, _current.get())

    async def obtain(
        self, request: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout, attempt: Attempt
    ) -> aiohttp.connector.Connection:
        while True:
            connection = await super().connect(request, traces, timeout)
            protocol = connection.protocol
            assert protocol is not None  # noqa: S101 - it is as long as the connection is nobody else's
            link: _Link | None = getattr(protocol, _NOTE, None)
            if link is None:
                link = _Link()
                setattr(protocol, _NOTE, link)
                break
            if not (attempt.fresh or protocol.should_close or link.distrusted):
                attempt.reused = True
                break
            connection.close()
        attempt.link = link
        attempt.connected = True
        return connection

    def give_up(self) -> None:
        """Close at once and in silence, on a loop that does not run any more."""
        self._close()


class _Lost(aiohttp.ClientError):
    """Stands in for the two errors after which aiohttp's session would send a DELETE again by itself."""


class ThroughSession:
    """The documented way, for every session and every version of aiohttp."""

    def __init__(self, *, authorization: str, base_url: str, user_agent: str, borrowed: bool) -> None:
        self._base_url = base_url
        self._borrowed = borrowed
        self._headers = {"Accept": _JSON, "Accept-Encoding": "gzip", "User-Agent": user_agent}
        self._headers_with_body = {**self._headers, "Content-Type": _JSON}
        # The key lives in this function's cell alone: vars(), repr() and debuggers' views of the object stay clean.
        self._middlewares = (_guard(authorization, URL(base_url, encoded=True).origin(), borrowed=borrowed),)

    async def __call__(self, session: aiohttp.ClientSession, request: Request[Any], attempt: Attempt) -> Answer:
        # Nothing is known of a foreign connector's phases: there, every attempt may have left.
        attempt.connected = self._borrowed
        token = _current.set(attempt)
        try:
            response = await session.request(
                request.method,
                URL(self._base_url + request.path, encoded=True),
                data=_piecewise(request.body),
                headers=self._headers if request.body is None else self._headers_with_body,
                skip_auto_headers=_NOT_BY_ITSELF,
                allow_redirects=False,
                raise_for_status=False,
                auto_decompress=True,
                middlewares=self._middlewares,
                timeout=_limits(attempt.connect),
            )
            try:
                answer = await _read(response.status, response.headers, response.content, attempt)
            finally:
                response.release()  # closes the connection instead if there is more to read
            if _refused_unread(request, answer):
                attempt.distrust()
            return answer
        finally:
            _current.reset(token)


def _piecewise(body: bytes | None) -> bytes | BytesIO | None:
    # In one piece, all of it would go out even if the attempt was given up.
    return BytesIO(body) if body is not None and len(body) > _LARGE else body


def _guard(authorization: str, origin: URL, *, borrowed: bool = False) -> aiohttp.ClientMiddlewareType:
    """Add the key, for the base origin only, and keep aiohttp from sending a DELETE twice."""

    async def guard(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if request.url.origin() == origin:
            request.headers[hdrs.AUTHORIZATION] = authorization
        if borrowed:  # the session's cookies and default headers are not for this server
            for name in [name for name in request.headers if name.lower() not in _HEADERS]:
                request.headers.popall(name)
        try:
            return await handler(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            pass
        raise _Lost

    return guard


class Direct:
    """The short way, for a session of the client's own."""

    def __init__(self, *, authorization: str, base_url: str, user_agent: str) -> None:
        self._url = URL(base_url, encoded=True)
        self._write = _writer(authorization, self._url, user_agent)
        self._target: aiohttp.ClientRequest | None = None

    @staticmethod
    def suits(session: aiohttp.ClientSession) -> bool:
        """Whether this aiohttp is known, and neither tracing nor a test's mock wants to see the session's requests."""
        kind = type(session)
        return (
            _KNOWN
            and not session.trace_configs
            and not session._middlewares
            and _is_original(kind.request)
            and _is_original(kind._request)
        )

    async def __call__(self, session: aiohttp.ClientSession, request: Request[Any], attempt: Attempt) -> Answer:
        connector = session.connector
        assert isinstance(connector, Connector)  # noqa: S101 - the session is the client's own
        if self._target is None:
            # Sent to nobody: it tells the connector where to.
            self._target = aiohttp.ClientRequest("GET", self._url, loop=asyncio.get_running_loop(), session=session)
        try:
            connection = await connector.obtain(self._target, [], _limits(attempt.connect), attempt)
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
            answer = await _read(message.code, message.headers, content, attempt)
            if transport.get_write_buffer_size() or _refused_unread(request, answer):
                _drop(connection)
            else:
                connection.release()  # closes it instead if there is more to read
        except BaseException:
            _drop(connection)
            raise
        return answer


def _is_original(method: object) -> bool:
    return type(method) is FunctionType and method.__code__.co_qualname.startswith("ClientSession.")


def _refused_unread(request: Request[Any], answer: Answer) -> bool:
    """Whether the rest of a large request may still be on its way: the next one would have to wait behind it.

    Nobody tells under TLS, and nobody knows what the server has read. But what it has granted, it has read.
    """
    return request.body is not None and len(request.body) > _LARGE and answer.status >= 300


def _drop(connection: aiohttp.connector.Connection) -> None:
    """Close a connection without sending what is left: the attempt is over, and its request must not arrive later."""
    if connection.protocol is not None:
        connection.protocol.abort()
    connection.close()


def _writer(authorization: str, url: URL, user_agent: str) -> Callable[[Request[Any]], bytes]:
    """Head and body in one piece. As with the guard, the key lives in the function's cell alone."""
    prefix = url.raw_path.removesuffix("/")
    always = (
        f" HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\nAccept: {_JSON}\r\nAccept-Encoding: gzip\r\n"
        f"User-Agent: {user_agent}\r\nAuthorization: {authorization}\r\n"
    ).encode()

    def write(request: Request[Any]) -> bytes:
        body, start = request.body, f"{request.method} {prefix}{request.path}".encode("ascii")
        if body is not None:
            return b"%b%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
                start,
                always,
                len(body),
                body,
            )
        return b"%b%b%b\r\n" % (start, always, b"" if request.method == "GET" else b"Content-Length: 0\r\n")

    return write


async def _read(
    status: int, headers: "CIMultiDictProxy[str]", content: aiohttp.StreamReader, attempt: Attempt
) -> Answer:
    """Read the whole body, but no more than is sensible, however small it looks before it is decompressed."""
    good = 200 <= status < 300
    limit = _BODY_LIMIT if good else _ERROR_BODY_LIMIT
    size = _announced(headers)
    packed = hdrs.CONTENT_ENCODING in headers
    chunked = hdrs.TRANSFER_ENCODING in headers
    if status == 204 and (size or chunked):
        attempt.distrust()  # the body that must not be there would be read as the next answer
    if good and size is not None:
        if size > limit:
            raise _too_large(status)
        if not packed:
            return Answer(status, headers, await content.read())
    body = bytearray()
    try:
        while chunk := await content.read(_CHUNK):
            body += chunk
            if len(body) > limit:
                if good:
                    raise _too_large(status)
                break  # with more to read, the connection is closed
    except aiohttp.ClientError:
        # The status of a refusal stands, even if its explanation breaks off.
        if good:
            raise
    if good and not body and size != 0 and status not in (204, 205) and (packed or not chunked):
        # Nothing, where nothing was not announced: an answer cut off at its beginning looks like this, plain or
        # compressed, and an empty answer to a DELETE means success.
        raise ResponseError(
            "the server's answer broke off before it began.", outcome="unknown", retryable=True, status=status
        )
    return Answer(status, headers, bytes(body))


def _announced(headers: "CIMultiDictProxy[str]") -> int | None:
    """The length that the answer announces. aiohttp's parser in pure Python lets contradictions pass."""
    lengths = headers.getall(hdrs.CONTENT_LENGTH, None)
    if lengths is None:
        return None
    if len(lengths) == 1 and _LENGTH.fullmatch(lengths[0]) and hdrs.TRANSFER_ENCODING not in headers:
        return int(lengths[0])
    raise not_http()


def not_http() -> ResponseError:
    return ResponseError("the server's answer is not proper HTTP.", outcome="unknown", retryable=True)


def _too_large(status: int) -> ResponseError:
    return ResponseError(f"the server's answer is larger than {_BODY_LIMIT} bytes.", outcome="unknown", status=status)
