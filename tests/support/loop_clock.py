"""The event loop's own time, standing still until the test moves it: for limits of many seconds."""

import asyncio
import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self
from unittest import mock

from omi_async import RetryPolicy


class LoopClock:
    """Within its `with` block the running loop's clock stands still: timers fire when `advance` reaches them."""

    def __init__(self) -> None:
        # Half past a second: limits rounded to whole seconds are found out.
        self.now = math.floor(time.monotonic()) + 0.5
        self._patch = mock.patch.object(asyncio.get_running_loop(), "time", self.time)

    def __enter__(self) -> Self:
        self._patch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._patch.stop()

    def time(self) -> float:
        return self.now

    async def settle(self) -> None:
        """Let everything happen that is due at this moment."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move on and let everything happen that is then due."""
        self.now += seconds
        await self.settle()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop work without moving its clock."""
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, "the condition did not come true"
            await asyncio.sleep(0)

    def policy(self, attempts: int = 1) -> RetryPolicy:
        """A policy on this clock."""
        return RetryPolicy(attempts=attempts, initial=0.0, clock=self.time)
