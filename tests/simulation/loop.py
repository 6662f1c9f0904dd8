"""An event loop in virtual time, whose connections lead into a simulated world.

Everything above the sockets is asyncio's own: its order of callbacks, its transports, its tasks. Below, each connection
is a real pair of sockets in this process, so that what has arrived and was not read yet waits in the kernel, as it does
on a real machine. The world (the server and all that stands in between) acts at moments of its own, on no event loop.
When nobody has anything to do, the clock moves on to the next moment at which somebody has.
"""

import asyncio
import functools
import heapq
import itertools
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from aiohttp import connector as _connector

HOST, PORT = "localhost", 8000

_DAY = 1_790_000_000.0  # the time of day at which every world begins


_MOST_TURNS = 20_000
_LATE = 1e-6  # seconds: no timer goes off to the moment

_MOST_IDLE_TURNS = 5_000  # in which no time passes


class Standstill(Exception):
    """Nothing will ever happen again, and somebody still waits."""


class Endless(Exception):
    """The program goes on and on without any time passing."""


class Killed(BaseException):
    """The process is gone, in the middle of everything."""


class Peer(Protocol):
    """The world's side of one connection."""

    def left(self, data: bytes) -> None:
        """The client has written this."""

    def received(self, data: bytes) -> None:
        """It has arrived."""

    def client_closed(self) -> None: ...


class Wire:
    """One connection: `near` is the client's end, `far` the world's."""

    def __init__(self, loop: "VirtualLoop", number: int, delay: float) -> None:
        self.number = number
        self.near, self._far = socket.socketpair()
        self._far.setblocking(False)
        self._loop = loop
        self._delay = delay  # seconds on the way, in either direction
        self._last = 0.0  # when what was sent last arrives: nothing overtakes it
        self.peer: Peer | None = None
        self.ended = False  # the client has closed its end
        self.closed = False  # the world has

    def send(self, data: bytes) -> None:
        """Send bytes to the client's kernel."""
        self._in_order(lambda: self._put(data))

    def half_close(self) -> None:
        self._in_order(lambda: self._shutdown(socket.SHUT_WR))

    def close(self) -> None:
        self._in_order(self._close)

    def take_up(self) -> None:
        """Take up what the client has written since."""
        while not self.ended and not self.closed:
            try:
                data = b"" if self._loop.cut_off else self._far.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            peer = self.peer
            assert peer is not None
            if data:
                peer.left(data)
                self._loop.at(self._delay, functools.partial(self._arrive, data))
            else:
                self.ended = True
                self._loop.at(self._delay, peer.client_closed)

    def _arrive(self, data: bytes) -> None:
        if not self.closed and self.peer is not None:
            self.peer.received(data)

    def drop(self) -> None:
        """Close both ends, at the end of the world."""
        self.near.close()
        self._far.close()
        self.closed = True

    def _in_order(self, action: Callable[[], object]) -> None:
        self._last = max(self._last, self._loop.now + self._delay)
        self._loop.at(self._last - self._loop.now, action)

    def _put(self, data: bytes) -> None:
        if not self.closed:
            with suppress(OSError):
                self._far.send(data)

    def _shutdown(self, how: int) -> None:
        with suppress(OSError):
            self._far.shutdown(how)

    def _close(self) -> None:
        self.closed = True
        self._far.close()


class _Numbered:
    """Its place in a set does not depend on its place in memory."""

    number = 0

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Future(_Numbered, asyncio.Future[Any]):
    pass


class _Task(_Numbered, asyncio.Task[Any]):
    def __init__(self, number: int, coroutine: Any, **options: Any) -> None:
        self.number = number
        super().__init__(coroutine, **options)


class _Selector(selectors.DefaultSelector):
    """Lets time pass where a real one would wait."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events: list[tuple[selectors.SelectorKey, int]] = self.loop.next_events(timeout, super().select)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """`arrive` is asked by each new connection for its place in the world; it may raise OSError."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now = 0.0  # the true time, which the world goes by
        self.slept = 0.0  # seconds for which this machine slept: its monotonic clock stood still
        self.killed = False  # at the end of this turn
        self.cut_off = False  # from the world: what is written from now on goes nowhere
        self.stepped = 0.0  # seconds by which the time of day was set forth or back
        self.arrive: Callable[[], Any] = lambda: None
        self.resolve: Callable[[], float | None] = lambda: 0.0
        self.store: Callable[[Callable[[], Any]], tuple[Any, float]] = lambda work: (work(), 0.0)
        self._coming: list[tuple[float, int, Callable[[], object]]] = []
        self._number = 0
        self._wires: list[Wire] = []
        self._places: dict[int, int] = {}  # of connections, by their descriptors
        self._connected: dict[socket.socket, Wire] = {}
        self._turns: list[tuple[int, Callable[[], object]]] = []
        self._turn = 0
        self._idle_turns = 0
        super().__init__(selector)
        self._numbers = numbers = itertools.count()
        self.set_task_factory(lambda loop, coroutine, **options: _Task(next(numbers), coroutine, loop=loop, **options))

    # Time

    def time(self) -> float:
        return self.now - self.slept

    def day(self) -> float:
        return _DAY + self.now + self.stepped

    def at(self, delay: float, action: Callable[[], object]) -> None:
        """Have the world do something in so many seconds."""
        self._number += 1
        heapq.heappush(self._coming, (self.now + delay, self._number, action))

    def after_turns(self, turns: int, action: Callable[[], object]) -> None:
        """Do something after so many turns of this loop."""
        self._turns.append((self._turn + turns, action))

    def block(self, seconds: float) -> None:
        """Compute for so long: the world goes on, and this loop does not."""
        for wire in self._wires:
            wire.take_up()
        self._pass_time(self.now + seconds)

    def sleep_machine(self, seconds: float) -> None:
        self.slept += seconds
        self._pass_time(self.now + seconds)

    def begin_again(self) -> None:
        """Count turns from 0 again."""
        self._turn = self._idle_turns = 0

    def run_out(self, seconds: float = 1e6) -> None:
        """Let the world come to rest without the client."""
        until = self.now + seconds
        while self._coming and self._coming[0][0] <= until:
            self._pass_time(self._coming[0][0])
        self.now = max(self.now, until if seconds < 1.0 else self.now)

    def _pass_time(self, until: float) -> None:
        while self._coming and self._coming[0][0] <= until:
            when, _, action = heapq.heappop(self._coming)
            self.now = max(self.now, when)
            action()
        self.now = max(self.now, until)

    def next_events(self, timeout: float | None, look: Callable[[float], Any]) -> Any:
        """What a selector returns: the connections on which something waits, after some time if need be."""
        self._turn += 1
        if self._turn > _MOST_TURNS:
            raise Endless
        for turn, action in [each for each in self._turns if each[0] <= self._turn]:
            self._turns.remove((turn, action))
            self.call_soon(action)
            timeout = 0
        for wire in self._wires:
            wire.take_up()
        self._pass_time(self.now)
        if self.killed:
            raise Killed
        ready = look(0)
        if ready or timeout == 0 or self._ready:  # type: ignore[attr-defined]
            self._idle_turns += 1
            if self._idle_turns > _MOST_IDLE_TURNS:
                raise Endless
        else:
            self._idle_turns = 0
            following = self._coming[0][0] if self._coming else None
            if timeout is None and following is None:
                raise Standstill
            wake = None if timeout is None else self.now + timeout + _LATE
            until = min(moment for moment in (wake, following) if moment is not None)
            self._pass_time(until)
            ready = look(0)
        # In an order that does not depend on the numbers of descriptors.
        return sorted(ready, key=lambda event: self._places.get(event[0].fd, -1)) if len(ready) > 1 else ready

    # The machine's surroundings

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        delay = self.resolve()
        if delay is None:
            raise socket.gaierror(socket.EAI_NONAME, "not found")
        await self._in(delay)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        found = self.arrive()
        if isinstance(found, float):
            await self._in(found)
            raise ConnectionRefusedError
        wire: Wire = found
        try:
            await self._in(wire._delay)
        except BaseException:
            wire.near.close()
            raise
        self._connected[sock] = wire

    async def create_connection(self, protocol_factory: Any, *args: Any, sock: Any = None, **options: Any) -> Any:
        wire = self._connected.pop(sock)
        sock.close()
        wire.near.setblocking(False)
        return await super().create_connection(protocol_factory, sock=wire.near, **options)

    def new_wire(self, delay: float, peer: Callable[[Wire], Peer]) -> Wire:
        wire = Wire(self, len(self._wires), delay)
        wire.peer = peer(wire)
        self._wires.append(wire)
        self._places[wire.near.fileno()] = wire.number
        return wire

    @property
    def open_wires(self) -> list[Wire]:
        """Connections that the client has not closed."""
        for wire in self._wires:
            wire.take_up()
        waiting = {id(wire) for sock, wire in self._connected.items() if sock.fileno() < 0}
        return [wire for wire in self._wires if not wire.ended and not wire.closed and id(wire) not in waiting]

    def create_future(self) -> asyncio.Future[Any]:
        future = _Future(loop=self)
        future.number = next(self._numbers)
        return future

    def run_in_executor(self, executor: Any, function: Any, *args: Any) -> Any:  # type: ignore[override]
        """Work for a thread is done at once, and takes its time by the virtual clock."""
        future = self.create_future()
        try:
            if executor is None:
                result, delay = function(*args), 0.0
            else:
                result, delay = self.store(lambda: executor.submit(function, *args).result())
        except Exception as error:
            future.set_exception(error)
        else:
            self.at(delay, functools.partial(_resolve, future, result))
        return future

    async def _in(self, delay: float) -> None:
        reached = self.create_future()
        self.at(delay, functools.partial(_resolve, reached, None))
        await reached

    def close(self) -> None:
        for wire in self._wires:
            wire.drop()
        super().close()


def _resolve(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


@contextmanager
def clocks_of(loop: VirtualLoop) -> Iterator[None]:
    """Python's clocks tell the loop's time."""
    aiohttps: Any = _connector  # which has a name of its own for it
    kept = time.time, time.monotonic, aiohttps.monotonic
    time.time, time.monotonic, aiohttps.monotonic = loop.day, loop.time, loop.time
    try:
        yield
    finally:
        time.time, time.monotonic, aiohttps.monotonic = kept
