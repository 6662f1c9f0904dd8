"""One contender in a process of its own, and the counters read from outside.

The process makes as many calls as each line of its input says and answers with what they took, as JSON. So several
contenders can stand ready and take turns of a fraction of a second: whatever the machine does besides, it does to
all of them alike.
"""

import asyncio
import gc
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import TracebackType
from typing import Self

import attrs

from tests.benchmarks.contenders import CONTENDERS, Async, Sync

ROOT = Path(__file__).resolve().parents[2]


@attrs.frozen
class Slice:
    """What some calls took."""

    cpu: float
    """Seconds of processor time of the whole process."""
    wall: float
    """Seconds."""
    rss: int
    """KiB in use afterwards; 0 where the system does not tell."""


# Inside the process


def _rss() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


class _Watch:
    """Takes the time from its making to `tell`. Old garbage is collected before: it would fall on one turn in many."""

    def __init__(self) -> None:
        gc.collect()
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def tell(self) -> None:
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        gc.collect()
        print(json.dumps({"cpu": cpu, "wall": wall, "rss": _rss()}), flush=True)


async def _asynchronous(contender: Async, operation: str, width: int) -> None:
    await contender.open()
    call = getattr(contender, operation)

    async def several(count: int) -> None:
        for _ in range(count):
            await call()

    for line in sys.stdin:
        calls = int(line)
        watch = _Watch()
        if width == 1:
            await several(calls)
        else:
            await asyncio.gather(*[several(calls // width) for _ in range(width)])
        watch.tell()
    await contender.close()


def _synchronous(contender: Sync, operation: str, width: int) -> None:
    contender.open()
    call: Callable[[], object] = getattr(contender, operation)
    together = Barrier(width)

    def several(count: int) -> None:
        together.wait()  # each thread takes one share
        for _ in range(count):
            call()

    with ThreadPoolExecutor(width) as threads:
        for line in sys.stdin:
            calls = int(line)
            watch = _Watch()
            if width == 1:
                for _ in range(calls):
                    call()
            else:
                list(threads.map(several, [calls // width] * width))
            watch.tell()
    contender.close()


def main() -> None:
    name, base, operation, width = sys.argv[1:]
    kind = CONTENDERS[name]
    if not issubclass(kind, Async):
        _synchronous(kind(base, int(width)), operation, int(width))
        return
    factory = None
    if kind.uvloop:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_asynchronous(kind(base), operation, int(width)))


# Outside


def environment(seed: int) -> dict[str, str]:
    """What a measured process is given: all of one round hash alike."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OMI_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed)}


class Worker:
    """A contender's process."""

    def __init__(
        self, name: str, base: str, operation: str, width: int, *, seed: int, under: Sequence[str] = ()
    ) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [*under, sys.executable, "-m", "tests.benchmarks.measure", name, base, operation, str(width)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if under else None,
            env=environment(seed),
            text=True,
        )

    def run(self, calls: int) -> Slice:
        """Make so many calls."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended in the middle")
        return Slice(**json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self.told = self._process.communicate()[1] or ""
        if error is None and self._process.returncode:
            raise RuntimeError(f"{self._name} ended with {self._process.returncode}")


_COUNTED = re.compile(r"I\s+refs:\s+([0-9,]+)")
CACHEGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")


def instructions(name: str, base: str, operation: str, calls: int) -> int:
    """The instructions of a whole process that makes so many calls, counted by valgrind."""
    with Worker(name, base, operation, 1, seed=0) as worker:
        worker.run(1)  # Python compiles the modules here, and not while instructions are counted
    with Worker(name, base, operation, 1, seed=0, under=CACHEGRIND) as worker:
        worker.run(calls)
    found = _COUNTED.search(worker.told)
    if found is None:
        raise RuntimeError(f"valgrind counted nothing: {worker.told}")
    return int(found[1].replace(",", ""))


def child(arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[float, float]:
    """Run Python with these arguments to its end: its user and system time together, and how long it ran."""
    wall = time.perf_counter()
    process = os.posix_spawn(sys.executable, [sys.executable, *arguments], variables)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - wall
    if status:
        raise RuntimeError(f"{' '.join(arguments)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, wall


if __name__ == "__main__":
    main()
