"""One attempt on the wire: when it may be made, how long it may take, and what its failures mean."""

import asyncio
import os
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError
from yarl import URL

from .._late import load
from .._protocol.arguments import misconfigured
from .._protocol.request import Answer, Request
from ..errors import (
    ClientClosedError,
    EventLoopError,
    OmiError,
    Outcome,
    RequestTimeoutError,
    ResponseError,
    TransportError,
)
from .connection import Attempt, Connector, not_http
from .deadline import Deadline, Deadlines
from .direct import Direct
from .fork import keep_forever
from .proxy import Proxy, hint, refusal
from .session import ThroughSession

_CLOSE_GRACE = 5.0  # seconds that calls under way get to finish when the client is closed

# OpenSSL's numbers for a chain of certificates that ends at an authority which this machine does not know.
_UNKNOWN_AUTHORITY = {18, 19, 20, 21}


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
        proxy: Proxy | None,
        trust: ssl.SSLContext | None,
    ) -> None:
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise misconfigured("session must be an aiohttp.ClientSession.")
        self.server = str(URL(base_url))
        """The base URL, the same for each way to write it: without the port that the scheme has anyway."""
        self._origin = URL(base_url, encoded=True).origin()
        authorization = f"Bearer {api_key}"
        self._through_session = ThroughSession(
            authorization=authorization,
            base_url=base_url,
            user_agent=user_agent,
            borrowed=session is not None,
            proxy=proxy,
        )
        self._direct = Direct(authorization=authorization, base_url=base_url, user_agent=user_agent, proxy=proxy)
        self._proxy = proxy
        self._trust = trust
        self._session = session
        self._borrowed = session is not None
        self.max_connections = max_connections
        self._slots = asyncio.Semaphore(max_connections)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sending = Deadlines()
        self._waiting = Deadlines()
        self._idle = asyncio.Event()
        self.renewed: Callable[[], Transport] = lambda: Transport(
            api_key=api_key,
            base_url=base_url,
            user_agent=user_agent,
            max_connections=max_connections,
            session=None,
            proxy=proxy,
            trust=trust,
        )
        """A transport of the same settings that shares nothing with this one, for the child of a fork."""
        self._opened_by = 0  # process id
        self.closed = False

    @property
    def most_at_once(self) -> int:
        """How many requests can be on the wire at once; the pool of a borrowed session has limits of its own."""
        connector = self._session.connector if self._borrowed and self._session is not None else None
        if connector is None:
            return self.max_connections
        return min(limit for limit in (self.max_connections, connector.limit, connector.limit_per_host) if limit)

    async def send(self, request: Request[Any], attempt: Attempt) -> Answer:
        """Make one attempt, which is at most one request on the wire."""
        self._check()
        if self._slots.locked():
            await self._wait_for_slot(attempt)
        else:
            await self._slots.acquire()
        deadline: Deadline | None = None
        try:
            session = self._ready(attempt)
            direct = not self._borrowed and Direct.suits(session)
            deadline = self._sending.within(_shorter(attempt.limit, attempt.left()))
            with deadline:
                if direct:
                    return await self._direct(session, request, attempt)
                return await self._through_session(session, request, attempt)
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            if deadline is None:
                raise
            failure = self._failure(error, attempt, timed_out=deadline.expired)
        except RuntimeError as error:
            # A host's name is looked up on a thread, and none can be started.
            if deadline is None or not _is_about_threads(error):
                error.with_traceback(None)
                raise
            failure = _without_thread(attempt)
        except BaseException as error:
            # A cancellation passes through frames of aiohttp that hold the key; whoever reads its traceback, with
            # the locals of each frame, must not find it there.
            error.with_traceback(None)
            raise
        finally:
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
        """Let the calls under way finish for a while, and close an owned session."""
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
            # A closing that is itself cut short leaves no call without its limit: all of them end now.
            self._sending.end_all()
            self._sending.close()
            if self._session is not None and not self._borrowed:
                await self._close_session(self._session)

    async def _finish(self) -> None:
        """Let the calls under way end by themselves for a while, then end them."""
        self._idle.clear()
        try:
            async with asyncio.timeout(_CLOSE_GRACE):
                await self._idle.wait()
        except TimeoutError:
            self._sending.end_all()
            await self._idle.wait()

    async def _close_session(self, session: aiohttp.ClientSession) -> None:
        # aiohttp waits until a connection has sent what it still has, even if nobody reads it.
        try:
            async with asyncio.timeout(_CLOSE_GRACE):
                await session.close()
        except TimeoutError:
            pass
        except BaseException:
            connector = session.connector
            if isinstance(connector, Connector):
                connector.give_up()
            raise

    def abandon(self) -> bool:
        """Let go of an owned session that nobody closed, from any thread; whether there was one."""
        session, loop = self._session, self._loop
        if self.closed or self._borrowed or session is None or session.closed or loop is None:
            return False
        self.closed = True
        if self._opened_by != os.getpid():
            keep_forever(session)
            return True
        connector = session.connector
        session.detach()
        if not isinstance(connector, Connector):
            return True
        if loop.is_running() and asyncio._get_running_loop() is not loop:
            with suppress(RuntimeError):  # the loop has ended in between
                loop.call_soon_threadsafe(connector.give_up)
        else:
            connector.give_up()
        return True

    def _check(self) -> None:
        if self.closed:
            raise _closed()
        loop = running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise _other_loop()
            # aiohttp ties a session to the loop it was made on, and says so in no public way.
            if self._session is not None and getattr(self._session, "_loop", loop) is not loop:
                raise _other_loop()
            # Python imports it when it first looks up a host's name, on a thread, and a fork would not wait for that.
            load("encodings.idna")
            self._loop = loop

    def _ready(self, attempt: Attempt) -> aiohttp.ClientSession:
        """The session, if there is still time for an attempt."""
        left = attempt.left()
        if left is not None and left <= 0:
            raise RequestTimeoutError(
                "the time for the whole call was over before an attempt could be made.",
                outcome="not_applied",
                retryable=True,
            )
        if self.closed:
            raise _closed()
        if self._session is None:
            self._opened_by = os.getpid()
            self._session = aiohttp.ClientSession(
                connector=Connector(self._trust),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        if self._session.closed:
            raise ClientClosedError("the borrowed session is closed.", outcome="not_applied")
        return self._session

    async def _wait_for_slot(self, attempt: Attempt) -> None:
        try:
            async with asyncio.timeout(attempt.left()):
                await self.pause(self._slots.acquire())
            return
        except TimeoutError:
            pass
        raise RequestTimeoutError(
            f"none of the {self.max_connections} connections became free in time.",
            outcome="not_applied",
            retryable=True,
        )

    def _failure(self, error: Exception, attempt: Attempt, *, timed_out: bool) -> OmiError:
        outcome: Outcome = "unknown" if attempt.connected else "not_applied"
        if self._borrowed and self._session is not None and self._session.closed and not timed_out:
            return ClientClosedError("the borrowed session is closed.", outcome=outcome)
        if self.closed:
            return ClientClosedError("the client was closed while the call was under way.", outcome=outcome)
        if timed_out:
            left = attempt.left()
            limit = "the whole call" if left is not None and left <= 0 else "one attempt"
            text = f"the time for {limit} is over."
            return RequestTimeoutError(
                text if attempt.connected else text + self._hint(), outcome=outcome, retryable=True
            )
        if not attempt.connected or isinstance(error, _BEFORE_REQUEST):
            return self._without_connection(error)
        match error:
            case HttpProcessingError() | aiohttp.ClientResponseError():
                # aiohttp's session reports what the parser refuses as a status of 400.
                return not_http()
            case aiohttp.ClientPayloadError(__cause__=ContentEncodingError()):
                return ResponseError("the server's answer cannot be unpacked.", outcome="unknown", retryable=True)
            case aiohttp.ClientPayloadError():
                return TransportError("the answer broke off.", outcome="unknown", retryable=True)
            case _:
                return TransportError("the connection was lost.", outcome=outcome, retryable=True)

    def _without_connection(self, error: Exception) -> OmiError:
        """The failure of an attempt whose request has not left."""
        proxy, retryable = self._proxy, True
        through = "" if proxy is None else f" through {proxy}"
        match error:
            case aiohttp.ConnectionTimeoutError():
                return RequestTimeoutError(
                    f"no connection{through} could be made in time.{self._hint()}",
                    outcome="not_applied",
                    retryable=True,
                )
            case aiohttp.ClientConnectorCertificateError():
                text, retryable = _refused_certificate(str(self._origin.host), error), False
            case aiohttp.ClientConnectorDNSError():
                name = self._origin.host if proxy is None else f"of {proxy}"
                text = f"the host name {name} was not found.{self._hint()}"
            case aiohttp.ClientProxyConnectionError() if proxy is not None:
                text = f"no connection to {proxy} could be made."
            case aiohttp.ClientHttpProxyError():
                return refusal(proxy, self._origin, error)
            case aiohttp.ClientConnectorError():
                text = f"no connection to {self._origin}{through} could be made.{self._hint()}"
            case HttpProcessingError() | aiohttp.ClientResponseError():
                text = f"{proxy or 'the proxy'} gave an answer that is not proper HTTP."
            case _:
                text = "the connection was lost." if proxy is None else f"the connection{through} was lost."
        return TransportError(text, outcome="not_applied", retryable=retryable)

    def _hint(self) -> str:
        # A borrowed session goes where its owner sends it.
        return "" if self._borrowed or self._proxy is not None else hint(self._origin)


_BEFORE_REQUEST = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
"""What goes wrong before a request, on a borrowed session too, where every attempt counts as connected."""


def _refused_certificate(host: str, error: aiohttp.ClientConnectorCertificateError) -> str:
    reason, advice = "", ""
    cause = error.certificate_error
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = f" ({cause.verify_message.rstrip('.')})"
        if cause.verify_code in _UNKNOWN_AUTHORITY:
            advice = " An authority of your own is trusted if `ssl`, or SSL_CERT_FILE before the start, names it."
    return f"the certificate of {host} was refused{reason}. Check the base URL and this machine's clock.{advice}"


def _shorter(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def running_loop() -> asyncio.AbstractEventLoop:
    """The event loop that runs here; raises `EventLoopError` if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    raise EventLoopError(
        "the client needs asyncio, and no asyncio event loop runs here. Under trio, use omi_sync on a thread.",
        outcome="not_applied",
    )


def _closed() -> ClientClosedError:
    return ClientClosedError("the client is closed.", outcome="not_applied")


def _other_loop() -> EventLoopError:
    return EventLoopError(
        "the client belongs to the event loop that used it first. Make a client for each event loop.",
        outcome="not_applied",
    )


def _is_about_threads(error: RuntimeError) -> bool:
    """Whether it is the interpreter's own error for a thread that cannot be started."""
    return "new thread" in str(error) or "shutdown" in str(error)


def _without_thread(attempt: Attempt) -> OmiError:
    outcome: Outcome = "unknown" if attempt.connected else "not_applied"
    if sys.is_finalizing() or not threading.main_thread().is_alive():
        return ClientClosedError("the program is ending, no connection can be made any more.", outcome=outcome)
    return TransportError("no thread could be started to look up the host's name.", outcome=outcome, retryable=True)
