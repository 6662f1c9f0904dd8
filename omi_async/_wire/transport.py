"""One attempt on the wire: when it may be made, how long it may take, and what its failures mean."""

import asyncio
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError
from yarl import URL

from .._protocol.request import Answer, Request
from ..errors import ClientClosedError, OmiError, Outcome, RequestTimeoutError, ResponseError, TransportError
from .connection import Attempt, not_http
from .deadline import Deadline
from .direct import Direct
from .pool import Place, Pool, closed, loop_ends
from .proxy import Proxy, hint, refusal
from .session import ThroughSession

P = ParamSpec("P")

# OpenSSL's numbers for a chain of certificates that ends at an authority which this machine does not know.
_UNKNOWN_AUTHORITY = {18, 19, 20, 21}


class Transport:
    """One key's way to the server over a pool of connections."""

    def __init__(self, pool: Pool, *, api_key: str, base_url: str, user_agent: str, proxy: Proxy | None) -> None:
        self.pool = pool
        self.server = str(URL(base_url))
        """The base URL, the same for each way to write it: without the port that the scheme has anyway."""
        self._origin = URL(base_url, encoded=True).origin()
        authorization = f"Bearer {api_key}"
        self._through_session = ThroughSession(
            authorization=authorization,
            base_url=base_url,
            user_agent=user_agent,
            borrowed=pool.is_borrowed,
            proxy=proxy,
        )
        self._direct = Direct(authorization=authorization, base_url=base_url, user_agent=user_agent, proxy=proxy)
        self._base_url = base_url
        self._user_agent = user_agent
        self._proxy = proxy
        self._left = False

    def with_key(self, api_key: str) -> "Transport":
        """A way for another key over the same connections."""
        return Transport(
            self.pool, api_key=api_key, base_url=self._base_url, user_agent=self._user_agent, proxy=self._proxy
        )

    @property
    def closed(self) -> bool:
        """Whether further calls are refused."""
        return self._left or self.pool.closed

    def takes(self, attempt: Attempt) -> bool:
        """Whether an attempt may be made. A call that is under way goes on while the pool is open."""
        return not (self.closed if attempt.first else self.pool.closed)

    async def send(self, request: Request[Any], attempt: Attempt) -> Answer:
        """Make one attempt, which is at most one request on the wire."""
        pool = self.pool
        if not self.takes(attempt):
            raise closed()
        place = pool.here()
        if place.slots.locked():
            await self._wait_for_slot(place, attempt)
        else:
            await place.slots.acquire()
        deadline: Deadline | None = None
        try:
            left = attempt.left()
            if left is not None and left <= 0:
                raise _too_late()
            session = pool.session(place)
            direct = not pool.is_borrowed and Direct.suits(session)
            deadline = place.sending.within(_shorter(attempt.limit, left))
            with deadline:
                if direct:
                    return await self._direct(place, session, request, attempt)
                return await self._through_session(session, request, attempt)
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            if deadline is None:
                raise
            failure = self._failure(error, attempt, place, timed_out=deadline.expired)
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
            place.released()
        # Raised here, not above: aiohttp's errors hold the request with its key, and must not be the context.
        raise failure

    async def pause(self, wait: Callable[P, Awaitable[Any]], *args: P.args, **kwargs: P.kwargs) -> None:
        """Wait as told; ends at once, with an error, when the pool is closed or its loop ends."""
        if self.pool.closed:
            raise closed()
        place = self.pool.here()
        try:
            with place.waiting.within(None):
                await wait(*args, **kwargs)
        except TimeoutError:
            if not place.closing:
                raise
        if place.closing:
            raise closed() if self.pool.closed else loop_ends()

    def leave(self) -> None:
        """Refuse further calls; the pool stays open for the other keys."""
        self._left = True

    async def _wait_for_slot(self, place: Place, attempt: Attempt) -> None:
        try:
            async with asyncio.timeout(attempt.left()):
                await self.pause(place.slots.acquire)
            return
        except TimeoutError:
            pass
        raise RequestTimeoutError(
            f"none of the {self.pool.max_connections} connections became free in time.",
            outcome="not_applied",
            retryable=True,
        )

    def _failure(self, error: Exception, attempt: Attempt, place: Place, *, timed_out: bool) -> OmiError:
        outcome: Outcome = "unknown" if attempt.connected else "not_applied"
        if self.pool.is_borrowed and not timed_out and place.session is not None and place.session.closed:
            return ClientClosedError("the borrowed session is closed.", outcome=outcome)
        if self.pool.closed:
            return ClientClosedError("the client was closed while the call was under way.", outcome=outcome)
        if place.closing:
            return loop_ends(outcome)
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
        return "" if self.pool.is_borrowed or self._proxy is not None else hint(self._origin)


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


def _too_late() -> RequestTimeoutError:
    return RequestTimeoutError(
        "the time for the whole call was over before an attempt could be made.", outcome="not_applied", retryable=True
    )


def _is_about_threads(error: RuntimeError) -> bool:
    """Whether it is the interpreter's own error for a thread that cannot be started."""
    return "new thread" in str(error) or "shutdown" in str(error)


def _without_thread(attempt: Attempt) -> OmiError:
    outcome: Outcome = "unknown" if attempt.connected else "not_applied"
    if sys.is_finalizing() or not threading.main_thread().is_alive():
        return ClientClosedError("the program is ending, no connection can be made any more.", outcome=outcome)
    return TransportError("no thread could be started to look up the host's name.", outcome=outcome, retryable=True)
