"""How far a bulk job is, and who is told of it."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from ..events import call_watcher
from ..models.bulk import BulkProgress, BulkStatus
from ..pacing import Gate

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
        gate: Gate,
        clock: Callable[[], float],
        total: int | None,
        on_progress: Callable[[BulkProgress], object] | None,
    ) -> None:
        self.counts = dict.fromkeys(BulkStatus, 0)
        self.waiting_until: datetime | None = None
        """When the server's window opens again, while the job waits for it."""
        self._gate = gate
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
            waiting_until=self.waiting_until,
            estimated_end=None if left is None or not rate else self._estimated_end(left, rate),
        )

    def _estimated_end(self, left: int, rate: float) -> datetime | None:
        try:
            if self.waiting_until is not None and self._gate.limit and self._gate.window:
                windows = -(-left // self._gate.limit)  # the one that is waited for included
                return self.waiting_until + timedelta(seconds=max(0, windows - 1) * self._gate.window)
            end = datetime.now(UTC) + timedelta(hours=left / rate)
        except OverflowError:  # past the end of the calendar
            return None
        return max(end, self.waiting_until or end)

    def _rate(self, settled: int) -> float:
        if self._gate.limit and self._gate.window:
            return self._gate.limit / self._gate.window * 3600.0
        elapsed = self._clock() - self._began
        return settled / elapsed * 3600.0 if elapsed > 0 else 0.0
