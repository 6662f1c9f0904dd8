"""A clock that moves only when somebody sleeps on it."""

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
