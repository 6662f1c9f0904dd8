"""An event loop whose clock jumps to the next timer as soon as there is nothing else to do, and a server in memory.

Hours of pacing pass in a moment, with as many tasks and clients as one likes, and they share one time.
"""

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from multidict import CIMultiDict

from omi_async import AsyncOmiClient, RetryPolicy
from tests.support.inside import Answer, Attempt, Request
from tests.support.sides import KEY

T = TypeVar("T")

START = 1_000_000.5

_PATIENCE = 0.002  # real seconds for the threads of a journal; the clock stands still meanwhile


class _Selector(selectors.DefaultSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(timeout)
        ready = super().select(0)
        if ready or timeout <= 0:
            return ready
        if self.loop.threads:
            ready = super().select(_PATIENCE)
        if not ready:
            self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time is `now`; with `threads` it waits a little for them before it moves on."""

    def __init__(self, *, threads: bool = False) -> None:
        self.now = START
        self.threads = threads
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run(main: Callable[[VirtualLoop], Awaitable[T]], *, threads: bool = False) -> T:
    """Run a test on a loop of virtual time."""
    loop = VirtualLoop(threads=threads)

    async def body() -> T:
        return await main(loop)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(body())


class Window:
    """A fixed window as the server counts it: the first request opens it, refused ones count and move nothing."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self.most = 0
        """The most requests that came within one window."""
        self._opened = float("-inf")
        self._used = 0

    def spend(self, now: float) -> float | None:
        """Seconds left if it is refused."""
        if now - self._opened >= self.seconds:
            self._opened, self._used = now, 0
        self._used += 1
        self.most = max(self.most, self._used)
        return self._opened + self.seconds - now if self._used > self.limit else None

    def ideal(self, count: int, latency: float, concurrency: int = 4) -> float:
        """Seconds that so many items take at the least: whole windows, and the requests of the last one."""
        last = (count - 1) % self.limit + 1
        return (count - 1) // self.limit * self.seconds + -(-last // concurrency) * latency


class Api:
    """The server: answers after `latency` seconds (not `even`: or sooner), refuses what its windows do not allow."""

    def __init__(self, loop: VirtualLoop, *windows: Window, latency: float = 0.2, even: bool = True) -> None:
        self._loop = loop
        self._windows = windows
        self._latency = latency
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self.retry_after = True
        self._even = even
        self._draw = random.Random(25)

    def client(self, **settings: Any) -> AsyncOmiClient:
        """A client that talks to this server and lives in its time."""
        policy = RetryPolicy(clock=self._loop.time, **settings)
        client = AsyncOmiClient(KEY, base_url="http://127.0.0.1:9", retry=policy)
        client._transport.pool.place.take(self._loop)  # as the first request would note it
        setattr(client._transport, "send", self._send)  # noqa: B010 - a method, to the type checker
        return client

    async def _send(self, request: Request[Any], attempt: Attempt) -> Answer:
        attempt.connected = True
        await asyncio.sleep(self._latency * (0.5 if self._even else self._draw.random()))
        name = request.path.rpartition("/")[2]
        headers: dict[str, str] = {}
        left = None
        for window in self._windows:
            left = window.spend(self._loop.now)
            if left is not None:
                headers = {"X-RateLimit-Limit": str(window.limit)}
                if self.retry_after:
                    headers["Retry-After"] = str(int(left + 0.5))
                break
        (self.accepted if left is None else self.refused).append(name)
        await asyncio.sleep(self._latency * (0.5 if self._even else self._draw.random()))
        if left is not None:
            return Answer(429, CIMultiDict(headers), b'{"detail":"Rate limit exceeded."}')
        return Answer(200, CIMultiDict(headers), b'{"success":true}')
