"""The connections of a client: on which event loop they are, who may use them, and how they end."""

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from weakref import WeakSet

import aiohttp

from .._late import load
from .._protocol.arguments import misconfigured
from ..errors import ClientClosedError, EventLoopError, Outcome
from .connection import Connector
from .deadline import Deadlines
from .fork import keep_forever

_CLOSE_GRACE = 5.0  # seconds that calls under way get to finish when the client is closed


class Place:
    """What belongs to one event loop: the session, the slots for its requests, and the limits in force."""

    loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, max_connections: int, session: aiohttp.ClientSession | None) -> None:
        self.session = session
        """Owned unless the client borrows it; None until the first request."""
        self.slots = asyncio.Semaphore(max_connections)
        self._max_connections = max_connections
        self.sending = Deadlines()
        self.waiting = Deadlines()
        self.target: aiohttp.ClientRequest | None = None
        """What the direct way shows to the connector."""
        self.closing = False
        """The client is being closed, or its loop is ending."""
        self._idle = asyncio.Event()
        self.is_inherited = False
        """The loop runs in the process that this one was forked from."""
        self._end: AsyncGenerator[None] | None = None  # closes the session with its loop; there if it is owned

    def take(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to a loop. Of several that come at once, one gets the place."""
        # aiohttp ties a session to the loop it was made on, and says so in no public way.
        if self.session is not None and getattr(self.session, "_loop", loop) is not loop:
            raise other_loop()
        # Python imports it when it first looks up a host's name, on a thread, and a fork would not wait for that.
        load("encodings.idna")
        if self.__dict__.setdefault("loop", loop) is not loop:
            raise other_loop()

    def following(self) -> "Place":
        """The place that the client moves to from here. Threads that come at once get the same one."""
        following: Place = self.__dict__.setdefault("_following", Place(self._max_connections, None))
        return following

    def open(self, trust: ssl.SSLContext | None) -> aiohttp.ClientSession:
        """A session for this loop, which ends with it."""
        if self.closing:
            raise loop_ends()
        self.session = aiohttp.ClientSession(
            connector=Connector(trust), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )
        self.target = None
        self._end = self._ended_with_loop()
        with suppress(StopIteration):
            anext(self._end).send(None)
        return self.session

    async def _ended_with_loop(self) -> AsyncGenerator[None]:
        # asyncio ends each asynchronous generator that has begun before it closes a loop: so no connection outlives it.
        try:
            yield
        finally:
            if self._end is not None:
                await self._close(self.session)

    def _disarm(self) -> None:
        """Leave nothing to close to the end of the loop."""
        end, self._end = self._end, None
        if end is not None:
            with suppress(StopIteration, RuntimeError):  # the loop may be ending it just now
                end.aclose().send(None)

    def released(self) -> None:
        """A request has ended."""
        try:
            self.slots.release()
            if self.closing and not self.sending:
                self._idle.set()
        except RuntimeError:  # the loop was closed before the request had ended: nobody waits any more
            return

    def is_left(self) -> bool:
        """Whether no call can be under way here: the loop was closed, or it runs in the process this one comes from."""
        return self.loop is not None and (self.is_inherited or self.loop.is_closed())

    def leave_to_parent(self) -> None:
        """Have a forked child touch nothing that its parent goes on using."""
        if self.loop is not None:
            self.is_inherited = True
            keep_forever(self)

    async def close(self) -> None:
        """Let the calls under way finish for a while, and close an owned session."""
        owned = None if self._end is None else self.session
        self._disarm()
        await self._close(owned)

    async def _close(self, owned: aiohttp.ClientSession | None) -> None:
        self.closing = True
        try:
            self.waiting.end_all()
            if self.sending:
                await self._finish()
        finally:
            # A closing that is itself cut short leaves no call without its limit: all of them end now.
            self.sending.end_all()
            self.sending.close()
            if owned is not None:
                await _close_session(owned)

    async def _finish(self) -> None:
        """Let the calls under way end by themselves for a while, then end them."""
        self._idle.clear()
        try:
            async with asyncio.timeout(_CLOSE_GRACE):
                await self._idle.wait()
        except TimeoutError:
            self.sending.end_all()
            await self._idle.wait()

    def let_go(self) -> bool:
        """Let go of an owned session that nobody closed, from any thread; whether there was one."""
        session, loop = self.session, self.loop
        if self._end is None or session is None or session.closed or loop is None or self.is_inherited:
            return False
        self.session = None
        self._disarm()
        connector = session.connector
        session.detach()
        if not isinstance(connector, Connector):
            return True
        if loop.is_running() and asyncio._get_running_loop() is not loop:
            connector.is_given_up = True
            with suppress(RuntimeError):  # the loop has ended in between
                loop.call_soon_threadsafe(connector.give_up)
        else:
            connector.give_up()
        return True


class Pool:
    """The connections of a client, and of all clients that were made of it with other keys."""

    def __init__(
        self, max_connections: int, session: aiohttp.ClientSession | None, trust: ssl.SSLContext | None
    ) -> None:
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise misconfigured("session must be an aiohttp.ClientSession.")
        self.max_connections = max_connections
        self.is_borrowed = session is not None
        self.closed = False
        self.place = Place(max_connections, session)
        self._trust = trust
        _pools.add(self)

    @property
    def most_at_once(self) -> int:
        """How many requests can be on the wire at once; the pool of a borrowed session has limits of its own."""
        session = self.place.session
        connector = session.connector if self.is_borrowed and session is not None else None
        if connector is None:
            return self.max_connections
        return min(limit for limit in (self.max_connections, connector.limit, connector.limit_per_host) if limit)

    def here(self) -> Place:
        """The place on the running loop. The pool moves there if no call can be under way where it was."""
        loop, place = running_loop(), self.place
        if place.loop is loop and not place.is_inherited:
            return place
        if not self.is_borrowed and place.is_left():
            place.let_go()
            place = self.place = place.following()
        elif place.loop is not None:
            raise other_loop()
        place.take(loop)
        return place

    def session(self, place: Place) -> aiohttp.ClientSession:
        """The session to use there, opened if need be."""
        session = place.session
        if session is None or (session.closed and not self.is_borrowed):
            return place.open(self._trust)
        if session.closed:
            raise ClientClosedError("the borrowed session is closed.", outcome="not_applied")
        return session

    async def aclose(self) -> None:
        """Let the calls under way finish for a while, and close an owned session."""
        place = self.place
        if self.closed:
            return
        if place.loop is None:  # never used: there is nothing to wait for, and nothing to wait on
            self.closed = True
        elif place.is_left():
            self.abandon()
            self.closed = True
        elif place.loop is asyncio.get_running_loop():
            self.closed = True
            await place.close()
        else:
            raise other_loop()

    def abandon(self) -> bool:
        """Let go of an owned session that nobody closed, from any thread; whether there was one."""
        if self.closed or not self.place.let_go():
            return False
        self.closed = True
        return True


_pools: "WeakSet[Pool]" = WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool.place.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


async def _close_session(session: aiohttp.ClientSession) -> None:
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


def closed() -> ClientClosedError:
    """The error of a call that begins after the closing."""
    return ClientClosedError("the client is closed.", outcome="not_applied")


def loop_ends(outcome: Outcome = "not_applied") -> EventLoopError:
    """The error of a call on a loop that has closed the client's connections, as it does before it is closed."""
    return EventLoopError("the event loop is ending.", outcome=outcome)


def other_loop() -> EventLoopError:
    """The error of a call on one loop while another one uses the client."""
    return EventLoopError(
        "the client belongs to the event loop that used it first. Make a client for each event loop.",
        outcome="not_applied",
    )
