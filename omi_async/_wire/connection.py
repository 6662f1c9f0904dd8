"""What both ways over aiohttp share: the connector, what an attempt notes, and how much of an answer is read."""

import asyncio
import functools
import select
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler

from .._protocol.request import Answer, Request
from ..errors import ResponseError

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

JSON = "application/json"

LARGE = 64 * 2**10  # bytes of a request's body; more than that may be answered before the server has read it

CLEAN_TRIES = 8  # connections on which something waits that are closed before the attempt is given up

_BODY_LIMIT = 8 * 2**20  # bytes after decompression; the largest conversations seen are under one MiB
_ERROR_BODY_LIMIT = 64 * 2**10
_CHUNK = 64 * 2**10

# Servers close idle connections too (uvicorn after 5 s): closing first avoids most of the races.
_KEEPALIVE = 4.0  # seconds

_DIGITS = 15  # of a length; one that has more is nonsense


@functools.cache
def limits(connect: float | None) -> aiohttp.ClientTimeout:
    """Aiohttp's settings for the only limit that is left to it."""
    # Without the infinity, aiohttp rounds limits of 5 s and more up to whole seconds.
    return aiohttp.ClientTimeout(connect=connect, ceil_threshold=inf)


_NOTE = "omi_link"  # the attribute; a weak dictionary beside costs several times as much


class _Link:
    """What is known of a connection that has served a request, kept on aiohttp's object for it."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self.distrusted = False
        self.something_waits = _watch(transport)


@attrs.define(eq=False)
class Attempt:
    """What is asked of one attempt, and what is noted while it is made."""

    connect: float | None
    """Seconds for getting a connection."""
    limit: float | None
    """Seconds from asking for a connection to the last byte of the body."""
    left: Callable[[], float | None]
    """Seconds left for the whole call."""
    fresh: bool
    """Only a connection that has served no request yet will do."""
    first: bool
    """No attempt of the call was made before."""
    connected: bool = False
    """The request may have left."""
    reused: bool = False
    """The connection had served an earlier request."""
    link: _Link | None = None

    def distrust(self) -> None:
        """Keep the connection from serving any further request.

        It may be back in the pool already, or even in use again: so it is marked, not closed.
        """
        if self.link is not None:
            self.link.distrusted = True


current: ContextVar[Attempt] = ContextVar("omi_attempt")


class Connector(aiohttp.TCPConnector):
    """Tells an attempt when its connection stood, and takes only clean connections out of the pool.

    A request that failed on a kept connection is not repeated on another kept one. Whatever waits on a connection
    before a request is written answers none of ours: aiohttp would hand it to that request.
    """

    is_given_up = False
    """Its loop is to close it. The loop may end without doing so."""

    def __init__(self, trust: ssl.SSLContext | None) -> None:
        # The transport's slots limit the requests under way, so the connector need not.
        super().__init__(limit=0, keepalive_timeout=_KEEPALIVE, ssl=True if trust is None else trust)

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        """As aiohttp's session asks for a connection."""
        return await self.obtain(req, traces, timeout, current.get())

    async def obtain(
        self, request: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout, attempt: Attempt
    ) -> aiohttp.connector.Connection:
        """A connection that is fit for the attempt."""
        unclean = 0  # new ones: of a server that always speaks first there would be no end
        while unclean < CLEAN_TRIES:
            connection = await super().connect(request, traces, timeout)
            protocol = connection.protocol
            assert protocol is not None  # noqa: S101 - it is as long as the connection is nobody else's
            link: _Link | None = getattr(protocol, _NOTE, None)
            is_new = link is None
            if link is None:
                link = _Link(connection.transport)
                setattr(protocol, _NOTE, link)
                if request.is_ssl():
                    try:
                        await read_tickets(protocol)
                    except BaseException:
                        connection.close()
                        raise
            fit = is_new or not (attempt.fresh or link.distrusted)
            if fit and not protocol.should_close and not link.something_waits():
                attempt.reused = not is_new
                attempt.link = link
                attempt.connected = True
                return connection
            connection.close()
            unclean += is_new
        raise aiohttp.ClientConnectionError

    def give_up(self) -> None:
        """Close at once and in silence, on a loop that does not run any more."""
        self._close()

    def __del__(self, *args: Any) -> None:
        if self.is_given_up:
            self.give_up()
        super().__del__(*args)


async def read_tickets(protocol: ResponseHandler) -> None:
    """Let the loop read what waits on a new TLS connection: the server's session tickets, which are no answer.

    An answer among them stays with the protocol, whose `should_close` tells of it.
    """
    waits = _watch(protocol.transport)
    while not protocol.should_close and waits():  # noqa: ASYNC110 - nothing tells when the loop has read
        await asyncio.sleep(0)


def is_clean(protocol: ResponseHandler) -> bool:
    """Whether nothing has come on the connection, read or not, since its last answer; its end counts too."""
    return not protocol.should_close and not _watch(protocol.transport)()


def _watch(transport: asyncio.BaseTransport | None) -> Callable[[], bool]:
    """A look for bytes, or the end of the connection, that wait in the kernel for the event loop to read them."""
    socket = None if transport is None else transport.get_extra_info("socket")
    descriptor = -1 if socket is None else socket.fileno()
    if descriptor < 0:
        return lambda: transport is not None and transport.is_closing()
    if not hasattr(select, "poll"):  # Windows, whose select knows any descriptor
        return lambda: bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda: bool(poll.poll(0))


def refused_unread(request: Request[Any], answer: Answer) -> bool:
    """Whether the rest of a large request may still be on its way: the next one would have to wait behind it.

    TLS hides how much has been sent, and nobody knows what the server has read. But a request that the server granted
    it has read.
    """
    return request.body is not None and len(request.body) > LARGE and answer.status >= 300


async def read(
    status: int, headers: "CIMultiDictProxy[str]", content: aiohttp.StreamReader, attempt: Attempt
) -> Answer:
    """Read the whole body, up to a limit that holds after decompression."""
    good = 200 <= status < 300
    limit = _BODY_LIMIT if good else _ERROR_BODY_LIMIT
    size = _announced(headers)
    if status == 204 and (size or hdrs.TRANSFER_ENCODING in headers):
        attempt.distrust()  # the next answer would begin with the body that a 204 must not have
    if good and size is not None:
        if size > limit:
            raise _too_large(status)
        if hdrs.CONTENT_ENCODING not in headers:
            # Most answers have arrived whole, and there is nothing to wait for.
            return Answer(status, headers, content.read_nowait() if content.is_eof() else await content.read())
    chunks, length = [], 0
    try:
        while chunk := await content.read(_CHUNK):
            chunks.append(chunk)
            length += len(chunk)
            if length > limit:
                if good:
                    raise _too_large(status)
                break  # with more to read, the connection is closed
    except aiohttp.ClientError:
        # The status of a refusal stands, even if its explanation breaks off.
        if good:
            raise
    return Answer(status, headers, b"".join(chunks))


def _announced(headers: "CIMultiDictProxy[str]") -> int | None:
    """The length that the answer announces. aiohttp's parser in pure Python lets contradictions pass."""
    lengths = headers.getall(hdrs.CONTENT_LENGTH, None)
    if lengths is None:
        return None
    length = lengths[0]
    is_number = length.isascii() and length.isdecimal() and len(length) <= _DIGITS
    if len(lengths) == 1 and is_number and hdrs.TRANSFER_ENCODING not in headers:
        return int(length)
    raise not_http()


def not_http() -> ResponseError:
    """The error for an answer that breaks the rules of HTTP."""
    return ResponseError("the server's answer is not proper HTTP.", outcome="unknown", retryable=True)


def _too_large(status: int) -> ResponseError:
    return ResponseError(f"the server's answer is larger than {_BODY_LIMIT} bytes.", outcome="unknown", status=status)
