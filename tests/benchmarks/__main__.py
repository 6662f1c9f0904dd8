"""What a call costs, beside other clients: `python -m tests.benchmarks`.

A round has a fresh process for each contender, and inside it they take turns of a fraction of a second. Every ratio
is one of turns of the same place in the same round; a round's figure is the median of its turns. Shown are the
medians of the rounds, and in brackets the least and the most.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs

from tests.benchmarks import plots, server
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.measure import Slice, Worker, child, environment, instructions

_PACKAGES = ("aiohttp", "attrs", "cattrs", "tenacity", "httpx", "requests", "urllib3", "uvloop", "orjson")

_ASYNC = ("aiohttp", "tenacity", "httpx-async", "ours")
_SYNC = ("http.client", "urllib3", "requests", "httpx", "ours-sync")
_UVLOOP = ("aiohttp-uvloop", "ours-uvloop")
_COUNTED = ("aiohttp", "tenacity", "httpx-async", "ours", "http.client", "urllib3", "requests", "httpx", "ours-sync")
_DECODE = ("json", "parse", "structure", "decode", "cattrs")


@attrs.frozen
class Mode:
    """One table.

    Turns are short, about 25 ms, and many. One client measured against itself showed why: with 300 calls in each of
    8 turns the ratio of a round strayed by 3.4 %, with 100 calls in each of 24 by 1.3 %.
    """

    name: str
    title: str
    contenders: tuple[str, ...]
    """The first one is what the others are compared with."""
    calls: int
    """In one turn."""
    port: str = "small"
    operation: str = "patch"
    width: int = 1
    """Tasks or threads that call at once."""
    on_wire: bool = True


_RACES = (
    Mode("patch", "PATCH, 1.2 KB, one after the other", _ASYNC, 100),
    Mode("patch-large", "PATCH, 77 KB, one after the other", _ASYNC, 25, port="large"),
    Mode("delete", "DELETE, one after the other", _ASYNC, 100, operation="delete"),
    Mode("patch-sync", "PATCH, 1.2 KB, synchronous", _SYNC, 100),
    Mode("concurrent-64", "PATCH, 1.2 KB, 64 tasks", _ASYNC, 128, width=64),
    Mode("concurrent-256", "PATCH, 1.2 KB, 256 tasks", _ASYNC, 256, width=256),
    Mode("slow", "PATCH, 1.2 KB, 256 tasks, a server that takes 20 ms", _ASYNC, 256, port="slow", width=256),
    Mode("threads", "PATCH, 1.2 KB, 16 threads on one client", _SYNC, 160, width=16),
    Mode("decode", "Decoding alone, 1.2 KB", _DECODE, 500, on_wire=False),
    Mode("decode-large", "Decoding alone, 77 KB", _DECODE, 10, port="large", on_wire=False),
)


@attrs.frozen
class Size:
    """How long to measure."""

    rounds: int
    turns: int
    """Of each contender in each round."""
    repeats: int
    """Of a process that only starts, calls once and ends."""
    memory: int
    """Calls after which memory is looked at again."""
    share: float = 1.0
    """Of the calls of a turn."""
    calls: int | None = None
    """In one turn, whatever the mode."""


_FULL = Size(rounds=5, turns=24, repeats=30, memory=50_000)
_QUICK = Size(rounds=1, turns=3, repeats=3, memory=2_000, share=0.5)

_STEPS = 10
"""Looks at the memory while a contender calls."""

_WARM_UP = 5
"""Turns' worth of calls before the first turn."""


class Bench:
    """The server, the sizes, and who takes part."""

    def __init__(self, running: server.Server, size: Size, *, only: Sequence[str], speed: bool) -> None:
        self._server = running
        self._size = size
        self._only = only
        self._speed = speed
        self.figures: dict[str, Any] = {}
        """What the documentation draws."""

    def _present(self, names: Iterable[str]) -> list[str]:
        present = []
        for name in names:
            missing = [package for package in CONTENDERS[name].needs if importlib.util.find_spec(package) is None]
            if missing:
                print(f"{CONTENDERS[name].title} is left out: {', '.join(missing)} is not installed.\n")
            elif not self._only or name in self._only:
                present.append(name)
        return present

    def race(self, mode: Mode) -> None:
        faster = _UVLOOP if self._speed and "ours" in mode.contenders else ()
        names = self._present((*mode.contenders, *faster))
        if not names:
            return
        rounds = [self._round(mode, names, number) for number in range(self._size.rounds)]
        rows = []
        for name in names:
            cpu = [statistics.median(each.cpu for each in turns[name]) for turns in rounds]
            rate = [statistics.median(1 / each.wall for each in turns[name]) for turns in rounds]
            pairs = [list(zip(turns[name], turns[names[0]], strict=True)) for turns in rounds]
            rows.append(
                (
                    CONTENDERS[name].title,
                    _spread(cpu, "{:.1f}", 1e6),
                    _spread([statistics.median(one.cpu / base.cpu for one, base in each) for each in pairs], "{:.2f}"),
                    _spread(rate, "{:.0f}"),
                    _spread(
                        [statistics.median(base.wall / one.wall for one, base in each) for each in pairs], "{:.2f}"
                    ),
                )
            )
        base = CONTENDERS[names[0]].title
        _table(
            f"{mode.title} (`{mode.name}`)",
            ("", "processor time a call, µs", f"against {base}", "calls/s", f"against {base}"),
            rows,
        )

    def _round(self, mode: Mode, names: list[str], number: int) -> dict[str, list[Slice]]:
        """Every turn of every contender, each divided by the calls it made."""
        turns: dict[str, list[Slice]] = {name: [] for name in names}
        calls = self._calls(mode)
        base = self._server.url(mode.port) if mode.on_wire else mode.port
        with ExitStack() as stack:
            workers = {
                name: stack.enter_context(Worker(name, base, mode.operation, mode.width, seed=number)) for name in names
            }
            for turn in range(-1, self._size.turns):
                count = calls if turn >= 0 else calls * _WARM_UP
                for name in _rotated(names, number + turn):
                    before = self._server.answered()
                    took = workers[name].run(count)
                    answered = self._server.answered() - before
                    if answered != count * mode.on_wire:
                        raise RuntimeError(f"{name}: {answered} requests for {count} calls")
                    if turn >= 0:
                        turns[name].append(attrs.evolve(took, cpu=took.cpu / count, wall=took.wall / count))
        return turns

    def _calls(self, mode: Mode) -> int:
        """In one turn: as many for each task or thread, one at least."""
        calls = int(mode.calls * self._size.share) if self._size.calls is None else self._size.calls
        return max(1, calls // mode.width) * mode.width

    def starts(self) -> None:
        """What importing costs."""
        programs = {
            "import aiohttp": "import aiohttp",
            "nothing": "",
            "import omi_async": "import omi_async",
            "import omi_sync": "import omi_sync",
        }
        self._children("Import, the whole process (`import`)", programs)

    def cold(self) -> None:
        """What one call costs from the start of the process to its end."""
        base = self._server.url("small")
        names = self._present(("aiohttp", "httpx-async", "ours", "requests", "httpx", "ours-sync"))
        programs = {
            CONTENDERS[name].title: f"from tests.benchmarks.contenders import once; once({name!r}, {base!r})"
            for name in names
        }
        before = self._server.answered()
        self._children("One call and the end, the whole process (`cold`)", programs)
        answered = self._server.answered() - before
        if answered != len(names) * (self._size.repeats + 1):
            raise RuntimeError(f"{answered} requests for {len(names) * (self._size.repeats + 1)} processes")

    def _children(self, title: str, programs: dict[str, str]) -> None:
        names = list(programs)
        rounds: list[dict[str, tuple[float, float]]] = []
        for number in range(-1, self._size.repeats):  # the first one brings the files into memory
            variables = environment(number + 1)
            took = {name: child(["-c", programs[name]], variables) for name in _rotated(names, number)}
            if number >= 0:
                rounds.append(took)
        rows = [
            (
                name,
                _spread([each[name][0] for each in rounds], "{:.1f}", 1e3),
                _spread([each[name][0] / each[names[0]][0] for each in rounds], "{:.2f}"),
                _spread([each[name][1] for each in rounds], "{:.1f}", 1e3),
            )
            for name in names
        ]
        _table(title, ("", "processor time, ms", f"against {names[0]}", "duration, ms"), rows)

    def memory(self) -> None:
        """Whether a process grows."""
        if not Path("/proc/self/statm").exists():
            print("Memory is left out: this system has no /proc/self/statm.\n")
            return
        calls = self._size.memory if self._size.calls is None else self._size.calls
        steps = [calls * part // _STEPS for part in range(_STEPS + 1)]
        rows, curves = [], {}
        for name in self._present(("aiohttp", "ours", "ours-sync")):
            with Worker(name, self._server.url("small"), "patch", 1, seed=0) as worker:
                before = worker.run(max(1, calls // 10)).rss
                in_use = [before, *(worker.run(step - last).rss for last, step in pairwise(steps) if step > last)]
            curves[CONTENDERS[name].title] = [each - before for each in in_use]
            rows.append((CONTENDERS[name].title, f"{before / 1024:.1f}", f"{in_use[-1] - before:+}"))
        self.figures["growth"] = {"calls": sorted({*steps}), "kib": curves}
        header = ("", f"memory after {max(1, calls // 10)} calls, MiB", f"growth over {calls} more, KiB")
        _table("Memory (`memory`)", header, rows)

    def instructions(self) -> None:
        """Counted, not timed: the same on a busy machine."""
        if shutil.which("valgrind") is None:
            print("Instructions are left out: valgrind is not installed.\n")
            return
        base, few, many = self._server.url("small"), 100, 500
        if self._size.calls is not None:
            few, many = self._size.calls, 2 * self._size.calls
        names = self._present(_COUNTED)
        counted = {
            name: (instructions(name, base, "patch", many) - instructions(name, base, "patch", few)) / (many - few)
            for name in names
        }
        rows = [
            (CONTENDERS[name].title, f"{counted[name] / 1e3:.0f}", f"{counted[name] / counted[names[0]]:.2f}")
            for name in names
        ]
        self.figures["thousand_instructions"] = {
            CONTENDERS[name].title: round(each / 1e3, 1) for name, each in counted.items()
        }
        header = ("", "thousand instructions a call", f"against {CONTENDERS[names[0]].title}")
        _table("PATCH, 1.2 KB, instructions in user mode (`instructions`)", header, rows)

    def pace(self) -> None:
        """A job beside the window's limit, in a time that passes at once."""
        self.figures["pace"] = paced = plots.pace(items=200, limit=25, seconds=3600.0)
        took, ideal = paced["done"][-1], (len(paced["done"]) - 1) // paced["limit"] * paced["window"]
        row = ("omi_async", str(len(paced["done"])), f"{took:.0f}", f"{took / ideal:.4f}", str(paced["refused"]))
        header = ("", "items, 25 allowed an hour", "seconds", "against whole windows", "requests refused")
        _table("A bulk job's pace (`pace`)", header, [row])


def _rotated(names: list[str], by: int) -> list[str]:
    by %= len(names)
    return names[by:] + names[:by]


def _spread(values: Sequence[float], form: str, factor: float = 1.0) -> str:
    middle, least, most = (
        form.format(value * factor) for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({least}..{most})" if len(values) > 1 else middle


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"### {title}\n")
    print(f"| {' | '.join(header)} |")
    print("|---" + "|---:" * (len(header) - 1) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def _pin(running: server.Server) -> str:
    """Give the server a core and everything measured another one."""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned"
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return "not pinned"
    os.sched_setaffinity(running.pid, cores[:1])
    os.sched_setaffinity(0, cores[-1:])
    return "server and client on a core each"


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {package}")
    return (
        f"{found[1] if found else platform.processor()}, {os.cpu_count()} cores; {platform.system()}; "
        f"{platform.python_implementation()} {platform.python_version()}; {', '.join(versions)}"
    )


def main() -> int:
    races = {mode.name: mode for mode in _RACES}
    names = [*races, "import", "cold", "memory", "pace", "instructions"]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("modes", nargs="*", metavar="mode", help=f"all by default: {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a minute or two, and rough; leaves the instructions out")
    parser.add_argument("--speed", action="store_true", help="with the contenders on uvloop")
    parser.add_argument("--only", nargs="+", default=[], choices=list(CONTENDERS), help="only these contenders")
    parser.add_argument("--rounds", type=int, help="rounds, or repeats of a process that only starts")
    parser.add_argument("--record", action="store_true", help="write the figures that the documentation draws")
    parser.add_argument("--compare", action="store_true", help="fail if `instructions` finds 3 %% more than recorded")
    parser.add_argument("--plot", action="store_true", help="measure nothing: draw the figures that were recorded")
    parser.add_argument("--calls", type=int, help="calls in one turn")
    arguments = parser.parse_args()
    if unknown := set(arguments.modes) - set(names):
        parser.error(f"no such mode: {', '.join(sorted(unknown))}")
    if arguments.plot:
        for name, drawing in plots.draw().items():
            (plots.FOLDER / name).write_text(drawing, encoding="utf-8")
        return 0
    size = _QUICK if arguments.quick else _FULL
    if arguments.rounds is not None:
        size = attrs.evolve(size, rounds=arguments.rounds, repeats=arguments.rounds)
    size = attrs.evolve(size, calls=arguments.calls)
    with server.process() as running:
        print(f"{_machine()}; {_pin(running)}.\n")
        print(
            f"{size.rounds} rounds of {size.turns} turns, {size.repeats} of processes that only start; "
            "median (least..most) of the rounds.\n"
        )
        bench = Bench(running, size, only=arguments.only, speed=arguments.speed)
        others: dict[str, Callable[[], None]] = {
            "import": bench.starts,
            "cold": bench.cold,
            "memory": bench.memory,
            "pace": bench.pace,
            "instructions": bench.instructions,
        }
        for name in arguments.modes or names[: -1 if arguments.quick else None]:
            if name in races:
                bench.race(races[name])
            else:
                others[name]()
        if arguments.compare and (losses := plots.grown(bench.figures)):
            print(*losses, sep="\n", file=sys.stderr)
            return 1
        if arguments.record:
            plots.record({**bench.figures, "conditions": _machine()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
