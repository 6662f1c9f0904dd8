"""A long run with mixed faults, to see that nothing grows: `python -m tests.soak --minutes 60`.

Both sides call the truth-model server without a pause, with clients that live for some thousand calls. Each line
is one interval: memory, descriptors, tasks, threads, and how long calls took. The end tells whether memory,
descriptors, tasks and threads stayed level after the first third, and whether any call was reported wrongly.
"""

import argparse
import asyncio
import os
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from omi_async import AsyncOmiClient
from omi_sync import OmiClient
from tests.support import storm, truth
from tests.support.sides import KEY

_RATE = 0.3
_STORIES = 200
"""That one client tells; with this rate of faults its retry budget is spent now and then, and recovers."""
_THREADS = 2

_MEMORY_MORE = 16.0  # MiB
_MORE = 40  # descriptors, tasks or threads: as many as come and go with the calls under way


@attrs.frozen
class Sample:
    """What one interval looked like."""

    seconds: float
    calls: int
    rss: float
    """MiB in use now."""
    descriptors: int
    tasks: int
    threads: int
    p50: float
    """Milliseconds."""
    p99: float
    """Milliseconds."""

    def line(self) -> str:
        return (
            f"{self.seconds:8.0f} s {self.calls:9} calls {self.rss:7.1f} MiB {self.descriptors:5} descriptors "
            f"{self.tasks:4} tasks {self.threads:3} threads   p50 {self.p50:6.1f} ms   p99 {self.p99:6.1f} ms"
        )


@attrs.define
class Report:
    """The whole run."""

    samples: list[Sample]
    found: Counter[str]

    def growth(self) -> dict[str, float]:
        """The largest of the last third against the largest of the middle one; the first is for warming up."""
        third = max(1, len(self.samples) // 3)
        middle, last = self.samples[third : 2 * third] or self.samples[:1], self.samples[-third:]
        return {
            name: max(getattr(each, name) for each in last) - max(getattr(each, name) for each in middle)
            for name in ("rss", "descriptors", "tasks", "threads", "p99")
        }

    def level(self) -> bool:
        growth = self.growth()
        counts = [growth[name] for name in ("descriptors", "tasks", "threads")]
        return growth["rss"] <= _MEMORY_MORE and max(counts) <= _MORE

    def right(self) -> bool:
        return not any(self.found[name] for name in storm.FAILINGS)


def _rss() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class _Soak:
    def __init__(self, url: str, end: float) -> None:
        self._url = url
        self._end = end
        self._number = 0
        self._lock = threading.Lock()
        self._told: list[storm.Story] = []

    def _stories(self, count: int) -> Iterator[storm.Story]:
        """The next stories, until the time is over."""
        for _ in range(count):
            if time.monotonic() >= self._end:
                return
            with self._lock:
                self._number += 1
                number = self._number
            yield storm.story(number, "soak", cancels=True)

    async def asynchronous(self) -> None:
        while time.monotonic() < self._end:
            async with AsyncOmiClient(KEY, base_url=self._url, timeout=storm.LIMITS, retry=storm.POLICY) as client:
                storm.count_attempts(client)
                work = self._stories(_STORIES)

                async def worker(client: AsyncOmiClient, work: Iterator[storm.Story]) -> None:
                    for each in work:
                        await storm.tell(client, each)
                        self._told.append(each)

                await asyncio.gather(*[worker(client, work) for _ in range(10)])

    def synchronous(self) -> None:
        while time.monotonic() < self._end:
            with OmiClient(KEY, base_url=self._url, timeout=storm.LIMITS, retry=storm.POLICY) as client:
                storm.count_attempts(storm.inner(client))
                for each in self._stories(_STORIES):
                    storm.tell_sync(client, each)
                    self._told.append(each)

    def take(self) -> list[storm.Story]:
        """What was told since the last time."""
        told, self._told = self._told, []
        return told


async def run(seconds: float, interval: float, show: Callable[[str], None]) -> Report:
    """So many seconds of calls, with a sample shown after each interval."""
    began = time.monotonic()
    report = Report([], Counter())
    with truth.process(seed=int(began), rate=_RATE, without="429 ") as url:
        soak = _Soak(url, began + seconds)
        threads = [threading.Thread(target=soak.synchronous) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        running = asyncio.gather(*[soak.asynchronous() for _ in range(2)])
        calls = 0
        while not running.done():
            await asyncio.wait([running], timeout=interval)
            told = soak.take()
            state = await asyncio.to_thread(truth.ask, url, [each.id for each in told], forget=True)
            report.found += storm.judge(told, state["records"])
            times = sorted(call.seconds * 1000 for each in told for call in each.calls if call.made)
            calls += len(times)
            del told, state
            sample = Sample(
                seconds=time.monotonic() - began,
                calls=calls,
                rss=_rss(),
                descriptors=storm.descriptors(),
                tasks=len(asyncio.all_tasks()),
                threads=threading.active_count(),
                p50=times[len(times) // 2] if times else 0.0,
                p99=times[len(times) * 99 // 100] if times else 0.0,
            )
            report.samples.append(sample)
            show(sample.line())
        await running
        for thread in threads:
            await asyncio.to_thread(thread.join)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=30.0, help="seconds between two lines")
    arguments = parser.parse_args()
    report = asyncio.run(run(arguments.minutes * 60, arguments.interval, lambda line: print(line, flush=True)))
    growth = ", ".join(f"{name} {value:+.1f}" for name, value in report.growth().items())
    print(f"last third against the middle one: {growth}")
    print(f"reported: {dict(report.found)}")
    print(f"{'level' if report.level() else 'GROWING'}, {'no call reported wrongly' if report.right() else 'WRONG'}")
    return 0 if report.level() and report.right() else 1


if __name__ == "__main__":
    sys.exit(main())
