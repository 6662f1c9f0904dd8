"""Clocks that move when somebody sleeps on them."""

import asyncio
import random
import time
from typing import Any

from omi_async import RetryPolicy


class VirtualClock:
    """Time for retry tests: `sleep` moves it at once, and `sleeps` remembers by how much."""

    def __init__(self, *, random: float = 1.0) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []
        self._random = random

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def policy(self, **settings: Any) -> RetryPolicy:
        """A policy on this clock; `random` always draws the same, by default the upper end."""
        return RetryPolicy(sleep=self.sleep, clock=self.monotonic, random=lambda: self._random, **settings)


class SleepyClock:
    """The clock of a machine that is suspended now and then: sleeping on it never takes long.

    A wait may pass as usual. It may also pass while the machine is suspended, when this clock stands still and only
    the time of day goes on. And a clock that counts the suspension jumps, by more than was asked for.
    """

    _asleep = 0.0
    """Seconds that the time of day is ahead, for all clocks of this process."""

    def __init__(self, seed: str) -> None:
        self._draw = random.Random(seed)
        self._ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    async def sleep(self, seconds: float) -> None:
        kind = self._draw.random()
        if kind > 0.1:
            self._ahead += seconds if kind < 0.9 else 10 * seconds
        SleepyClock._asleep += seconds
        await asyncio.sleep(0)

    def policy(self, **settings: Any) -> RetryPolicy:
        """A policy on this clock."""
        return RetryPolicy(sleep=self.sleep, clock=self.monotonic, random=self._draw.random, **settings)

    @classmethod
    def time_of_day(cls) -> float:
        return time.time() + cls._asleep
