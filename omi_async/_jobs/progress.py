"""How far a bulk job is, and who is told of it."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from ..events import call_watcher
from ..models.bulk import BulkProgress, BulkStatus
from .windows import Windows

T = TypeVar("T")


def watcher(callback: Callable[[T], object]) -> Callable[[T], None]:
    """A function that calls `callback` until it fails."""
    works = True

    def call(value: T) -> None:
        nonlocal works
        works = works and call_watcher(callback, value, "on_progress", " and is not called again")

    return call


class Tally:
    """Counts the items of a job by how they ended, and reckons when it will be over."""

    def __init__(
        self,
        windows: Windows,
        clock: Callable[[], float],
        total: int | None,
        on_progress: Callable[[BulkProgress], object] | None,
    ) -> None:
        self.counts = dict.fromkeys(BulkStatus, 0)
        self._windows = windows
        self._clock = clock
        self._total = total
        self._on_progress = None if on_progress is None else watcher(on_progress)
        self._resumed = 0
        self._began = 0.0

    def begin(self) -> None:
        """Take the time from now on."""
        self._began = self._clock()

    def resume(self, settled: Mapping[str, int]) -> None:
        """Count what earlier runs settled, by status."""
        for status, count in settled.items():
            self.counts[BulkStatus(status)] = count
            self._resumed += count

    def tell(self) -> None:
        """Call `on_progress`, if there is one."""
        if self._on_progress is not None:
            self._on_progress(self.progress())

    def progress(self) -> BulkProgress:
        """How far the job is now."""
        settled = sum(self.counts.values())
        rate = self._rate(settled - self._resumed)
        left = None if self._total is None else max(0, self._total - settled)
        return BulkProgress(
            done=self.counts[BulkStatus.DONE],
            unconfirmed=self.counts[BulkStatus.UNCONFIRMED],
            failed=self.counts[BulkStatus.FAILED],
            unknown=self.counts[BulkStatus.UNKNOWN],
            resumed=self._resumed,
            total=self._total,
            rate=rate,
            waiting_until=self._windows.waiting_until,
            estimated_end=None if left is None or not rate else self._windows.estimated_end(left, rate),
        )

    def _rate(self, settled: int) -> float:
        rate = self._windows.rate()
        if rate is not None:
            return rate
        elapsed = self._clock() - self._began
        return settled / elapsed * 3600.0 if elapsed > 0 else 0.0
