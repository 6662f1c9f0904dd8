"""One attempt on the wire; beside the sandbox the only file that imports aiohttp."""

import asyncio
import functools
import os
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
from aiohttp import hdrs
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from ._deadline import Deadline, Deadlines
from ._fork import keep_for_ever
from ._protocol import Answer, Request
from .errors import (
    ClientClosedError,
    ConfigurationError,
    EventLoopError,
    OmiError,
    Outcome,
    RequestTimeoutError,
    ResponseError,
    TransportError,
)

if TYPE_CHECKING:
    from aiohttp.tracing import Trace

_BODY_LIMIT = 8 * 2**20  # bytes after decompression; the largest conversations seen are under one MiB
_ERROR_BODY_LIMIT = 64 * 2**10
_CHUNK = 64 * 2**10

# Servers close idle connections too (uvicorn after 5 s): closing first avoids most of the races.
_KEEPALIVE = 4.0  # seconds

_CLOSE_GRACE = 5.0  # seconds that calls under way get to finish when the client is closed

# What a request of ours carries: set here, or by aiohttp for every request.
_HEADERS = frozenset(
    ["accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "user-agent"]
)

_JSON = "application/json"

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


class _Connector(aiohttp.TCPConnector):
    """Tells an attempt when its connection stood, and takes only good ones out of the pool.

    A request that failed on a connection kept from earlier must not be repeated on another such connection. And
    whatever arrived while a connection was idle is the answer to no request: aiohttp would hand it to the next one.
    """

    def __init__(self) -> None:
        # The transport's slots limit what is under way, so the connector need not.
        super().__init__(limit=0, keepalive_timeout=_KEEPALIVE)

    async def connect(
        self, req: aiohttp.ClientRequest, traces: "list[Trace]", timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        attempt = _current.get()
        while True:
            connection = await super().connect(req, traces, timeout)
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
    """Stands in for the two errors after which aiohttp would send a DELETE again by itself."""


class Transport:
    """The session, owned or borrowed, and everything that holds for each request on it."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        user_agent: str,
        max_connections: int,
        session: aiohttp.ClientSession | None,
    ) -> None:
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise ConfigurationError("session must be an aiohttp.ClientSession.")
        self._base_url = base_url
        self._origin = URL(base_url, encoded=True).origin()
        always = {"Accept": _JSON, "Accept-Encoding": "gzip", "User-Agent": user_agent}
        with_body = {"Content-Type": _JSON}
        # An own session adds by itself what every request has; a borrowed one must be told each time.
        self._session_headers = always
        self._headers = always if session is not None else None
        self._headers_with_body = {**always, **with_body} if session is not None else with_body
        self._session = session
        self._borrowed = session is not None
        self._max_connections = max_connections
        self._slots = asyncio.Semaphore(max_connections)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sending = Deadlines()
        self._waiting = Deadlines()
        self._idle = asyncio.Event()
        # The key lives in this function's cell alone: vars(), repr() and debuggers' views of the object stay clean.
        self._middlewares = (_guard(f"Bearer {api_key}", self._origin, borrowed=self._borrowed),)
        self.renewed: Callable[[], Transport] = lambda: Transport(
            api_key=api_key,
            base_url=base_url,
            user_agent=user_agent,
            max_connections=max_connections,
            session=None,
        )
        """A transport of the same settings that shares nothing with this one, for the child of a fork."""
        self._opened_by = 0  # process id
        self.closed = False

    async def send(self, request: Request[Any], attempt: Attempt) -> Answer:
        """Make one attempt, which is at most one request on the wire."""
        self._check()
        if self._slots.locked():
            await self._wait_for_slot(attempt)
        else:
            await self._slots.acquire()
        token = _current.set(attempt)
        deadline: Deadline | None = None
        try:
            session = self._ready(attempt)
            # Nothing is known of a foreign connector's phases: there, every attempt may have left.
            attempt.connected = self._borrowed
            deadline = self._sending.within(_shorter(attempt.limit, attempt.left()))
            with deadline:
                response = await session.request(
                    request.method,
                    URL(self._base_url + request.path, encoded=True),
                    data=request.body,
                    headers=self._headers if request.body is None else self._headers_with_body,
                    allow_redirects=False,
                    raise_for_status=False,
                    auto_decompress=True,
                    middlewares=self._middlewares,
                    timeout=_limits(attempt.connect),
                )
                try:
                    return await _read(response, attempt)
                finally:
                    response.release()  # closes the connection instead if there is more to read
        except (aiohttp.ClientError, TimeoutError) as error:
            if deadline is None:
                raise
            failure = self._failure(error, attempt, timed_out=deadline.expired)
        except RuntimeError as error:
            # No thread to look up the host's name: the interpreter is shutting down.
            if deadline is None or attempt.connected:
                error.with_traceback(None)
                raise
            failure = ClientClosedError("the program is ending, no connection can be made any more.")
        except BaseException as error:
            # A cancellation passes through frames of aiohttp that hold the key; whoever reads its traceback, with
            # the locals of each frame, must not find it there.
            error.with_traceback(None)
            raise
        finally:
            _current.reset(token)
            self._slots.release()
            if self.closed and not self._sending:
                self._idle.set()
        # Raised here, not above: aiohttp's errors hold the request with its key, and must not be the context.
        raise failure

    async def pause(self, waiting: Awaitable[Any]) -> None:
        """Wait; ends at once, with an error, when the client is closed."""
        try:
            with self._waiting.within(None):
                await waiting
        except TimeoutError:
            if not self.closed:
                raise
        if self.closed:
            raise _closed()

    async def aclose(self) -> None:
        if self.closed:
            return
        if self._loop is None:  # never used: there is nothing to wait for, and nothing to wait on
            self.closed = True
            return
        loop = asyncio.get_running_loop()
        if self._loop is not loop and not self._loop.is_closed():
            raise _other_loop()
        self.closed = True
        try:
            if self._loop is loop:
                self._waiting.end_all()
                if self._sending:
                    await self._finish()
        finally:
            self._sending.close()
            if self._session is not None and not self._borrowed:
                await self._session.close()

    async def _finish(self) -> None:
        """Let the calls under way end by themselves for a while, then end them."""
        self._idle.clear()
        try:
            async with asyncio.timeout(_CLOSE_GRACE):
                await self._idle.wait()
        except TimeoutError:
            self._sending.end_all()
            await self._idle.wait()

    def abandon(self) -> bool:
        """Let go of an owned session that nobody closed, from any thread; whether there was one."""
        session, loop = self._session, self._loop
        if self.closed or self._borrowed or session is None or session.closed or loop is None:
            return False
        self.closed = True
        if self._opened_by != os.getpid():
            keep_for_ever(session)
        elif loop.is_running() and asyncio._get_running_loop() is not loop:
            asyncio.run_coroutine_threadsafe(session.close(), loop)
        else:
            connector = session.connector
            session.detach()
            if isinstance(connector, _Connector):
                connector.give_up()
        return True

    def _check(self) -> None:
        if self.closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise _other_loop()
            # aiohttp ties a session to the loop it was made on, and says so in no public way.
            if self._session is not None and getattr(self._session, "_loop", loop) is not loop:
                raise _other_loop()
            self._loop = loop

    def _ready(self, attempt: Attempt) -> aiohttp.ClientSession:
        """The session, if there is still time for an attempt."""
        left = attempt.left()
        if left is not None and left <= 0:
            raise RequestTimeoutError("the time for the whole call was over before an attempt could be made.")
        if self.closed:
            raise _closed()
        if self._session is None:
            self._opened_by = os.getpid()
            self._session = aiohttp.ClientSession(
                connector=_Connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._session_headers,
                trust_env=False,
            )
        if self._session.closed:
            raise ClientClosedError("the borrowed session is closed.")
        return self._session

    async def _wait_for_slot(self, attempt: Attempt) -> None:
        try:
            async with asyncio.timeout(attempt.left()):
                await self.pause(self._slots.acquire())
            return
        except TimeoutError:
            pass
        raise RequestTimeoutError(f"none of the {self._max_connections} connections became free in time.")

    def _failure(self, error: Exception, attempt: Attempt, *, timed_out: bool) -> OmiError:
        outcome: Outcome = "unknown" if attempt.connected else "not_applied"
        if self._borrowed and self._session is not None and self._session.closed and not timed_out:
            return ClientClosedError("the borrowed session is closed.", outcome=outcome)
        if self.closed:
            return ClientClosedError("the client was closed while the call was under way.", outcome=outcome)
        if timed_out:
            left = attempt.left()
            limit = "the whole call" if left is not None and left <= 0 else "one attempt"
            return RequestTimeoutError(f"the time for {limit} is over.", outcome=outcome, retryable=True)
        match error:
            case aiohttp.ConnectionTimeoutError():
                return RequestTimeoutError("no connection could be made in time.", retryable=True)
            case aiohttp.ClientConnectorCertificateError():
                return TransportError(
                    f"the certificate of {self._origin.host} was refused. Check the base URL and this machine's clock."
                )
            case aiohttp.ClientConnectorDNSError():
                return TransportError(f"the host name {self._origin.host} was not found.", retryable=True)
            case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError():
                return TransportError(f"no connection to {self._origin} could be made.", retryable=True)
            case aiohttp.ClientResponseError():
                # aiohttp reports what its parser refuses as a status of 400.
                return _not_http()
            case aiohttp.ClientPayloadError(__cause__=ContentEncodingError()):
                return ResponseError("the server's answer cannot be unpacked.", outcome="unknown", retryable=True)
            case aiohttp.ClientPayloadError():
                return TransportError("the answer broke off.", outcome="unknown", retryable=True)
            case _:
                return TransportError("the connection was lost.", outcome=outcome, retryable=True)


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


async def _read(response: aiohttp.ClientResponse, attempt: Attempt) -> Answer:
    """Read the whole body, but no more than is sensible, however small it looks before it is decompressed."""
    good = 200 <= response.status < 300
    limit = _BODY_LIMIT if good else _ERROR_BODY_LIMIT
    size = _announced(response)
    packed = hdrs.CONTENT_ENCODING in response.headers
    chunked = hdrs.TRANSFER_ENCODING in response.headers
    if response.status == 204 and (size or chunked):
        attempt.distrust()  # the body that must not be there would be read as the next answer
    if good and size is not None:
        if size > limit:
            raise _too_large(response.status)
        if not packed:
            return Answer(response.status, response.headers, await response.content.read())
    body = bytearray()
    try:
        while chunk := await response.content.read(_CHUNK):
            body += chunk
            if len(body) > limit:
                if good:
                    raise _too_large(response.status)
                response.close()
                break
    except aiohttp.ClientError:
        # The status of a refusal stands, even if its explanation breaks off.
        if good:
            raise
    if good and not body and size != 0 and response.status not in (204, 205) and (packed or not chunked):
        # Nothing, where nothing was not announced: an answer cut off at its beginning looks like this, plain or
        # compressed, and an empty answer to a DELETE means success.
        raise ResponseError(
            "the server's answer broke off before it began.",
            outcome="unknown",
            retryable=True,
            status=response.status,
        )
    return Answer(response.status, response.headers, bytes(body))


def _announced(response: aiohttp.ClientResponse) -> int | None:
    """The length that the answer announces. aiohttp's parser in pure Python lets contradictions pass."""
    lengths = response.headers.getall(hdrs.CONTENT_LENGTH, None)
    if lengths is None:
        return None
    if len(lengths) == 1 and _LENGTH.fullmatch(lengths[0]) and hdrs.TRANSFER_ENCODING not in response.headers:
        return int(lengths[0])
    raise _not_http()


def _not_http() -> ResponseError:
    return ResponseError("the server's answer is not proper HTTP.", outcome="unknown", retryable=True)


def _too_large(status: int) -> ResponseError:
    return ResponseError(f"the server's answer is larger than {_BODY_LIMIT} bytes.", outcome="unknown", status=status)


def _shorter(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _closed() -> ClientClosedError:
    return ClientClosedError("the client is closed.")


def _other_loop() -> EventLoopError:
    return EventLoopError("the client belongs to the event loop that used it first. Make a client for each event loop.")
