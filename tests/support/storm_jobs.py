"""Bulk jobs by the thousand against the truth-model server, and the judgement over what they reported.

A run of a job ends in one of many ways; a job with a journal is run again until it is complete. Jobs depend on their
number only. What was sent and stored is read off the server's log alone.
"""

import asyncio
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import attrs

from omi_async import (
    ActionItemUpdate,
    AsyncBulk,
    AsyncOmiClient,
    BulkOutcome,
    BulkStatus,
    BulkStoppedError,
    ConversationUpdate,
    MemoryUpdate,
)
from omi_sync import Bulk, OmiClient
from tests.support import storm, truth
from tests.support.clock import SleepyClock
from tests.support.sides import KEY

Ending = Literal["complete", "left", "cancelled", "cut closing", "interrupted", "client closed", "dropped"]

_ENDINGS: dict[str, tuple[Ending, ...]] = {
    "async": ("complete", "left", "cancelled", "cut closing", "client closed", "dropped"),
    "sync": ("complete", "left", "client closed", "dropped"),
    "main thread": ("complete", "interrupted", "interrupted", "interrupted"),
}
"""By side; Ctrl-C strikes in the main thread alone."""

_RUNS = 12
"""That a job with a journal gets to become complete; the last ones are left alone."""

_UPDATES: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "conversations": ("title", lambda subject, text: ConversationUpdate(subject, title=text)),
    "memories": ("content", lambda subject, text: MemoryUpdate(subject, content=text)),
    "action_items": ("description", lambda subject, text: ActionItemUpdate(subject, description=text)),
}
"""The field that is changed, and the item that changes it, by resource."""

FAILINGS = (
    "false success",
    "false failed",
    "false unconfirmed",
    "lost",
    "reported twice",
    "falsely complete",
    "hung",
    "resent",
    "settled and sent again",
)
"""What `run` may never find."""

_LIMIT = 120.0  # seconds for one run of a job: longer than any takes on a busy machine


@attrs.define(eq=False)
class Job:
    """One job: its items, and how its runs end."""

    number: int
    name: str
    resource: str
    verb: Literal["update", "delete"]
    ids: list[str]
    """In the order of the input; some come twice."""
    journal: Path | None
    concurrency: int
    listed: bool
    """The input is a list, else a generator."""
    draw: random.Random
    patience: float
    """Seconds within which something happens to it."""
    wrong: Counter[str] = attrs.field(factory=Counter[str])
    told: list[BulkOutcome[Any]] = attrs.field(factory=list)
    """By all runs."""
    runs: int = 0

    def text(self, position: int) -> str:
        return f"t{self.number}_{position}"

    def items(self) -> Any:
        if self.verb == "delete":
            made: Iterator[Any] = iter(self.ids)
        else:
            item = _UPDATES[self.resource][1]
            made = (item(subject, self.text(position)) for position, subject in enumerate(self.ids))
        return list(made) if self.listed else (each for each in made)

    def begin(self, client: Any) -> Any:
        many = getattr(getattr(client, self.resource), f"{self.verb}_many")
        return many(self.items(), concurrency=self.concurrency, journal=self.journal)

    def ending(self, side: str) -> Ending:
        return "complete" if self.runs > _RUNS - 4 else self.draw.choice(_ENDINGS[side])

    def settings(self, url: str) -> dict[str, Any]:
        return {
            "base_url": url,
            "timeout": storm.LIMITS,
            "retry": SleepyClock(f"{self.name} {self.runs}").policy(attempts=storm.ATTEMPTS),
            "max_connections": storm.CONNECTIONS,
            "user_agent": self.agent,
        }

    @property
    def agent(self) -> str:
        return f"{self.name}-{self.runs}"


def job(number: int, name: str, journals: Path, *, items: int) -> Job:
    """The job of that number."""
    draw = random.Random(f"job {number}")
    ids = [f"{'none' if draw.random() < 0.05 else 'conv'}_{name}_{number}_{index}" for index in range(items)]
    for index in range(1, items):
        if draw.random() < 0.05:
            ids[index] = draw.choice(ids[:index])
    return Job(
        number,
        f"{name}-{number}",
        draw.choice(tuple(_UPDATES)),
        draw.choice(("update", "delete")),
        ids,
        journals / f"{name}_{number}.db" if draw.random() < 0.7 else None,
        draw.choice((1, 4, 4, 16)),
        listed=draw.random() < 0.7,
        draw=draw,
        patience=items / 500,
    )


# One run of a job, on either side


@attrs.define(eq=False)
class Run:
    """What the caller got out of one run."""

    outcomes: list[BulkOutcome[Any]] = attrs.field(factory=list)
    complete: bool = False
    """The iteration came to its end by itself."""
    cut: bool = False
    """Something was ended by force, so that notes in the journal may be missing."""
    interrupts: int = 0
    slots: int = 0
    """Lost ones of the client."""


async def _take(bulk: AsyncBulk[Any], run: Run, most: float) -> None:
    """Take outcomes until the job ends, or so many."""
    try:
        async for outcome in bulk:
            run.outcomes.append(outcome)
            if len(run.outcomes) >= most:
                return
        run.complete = True
    except BulkStoppedError:
        pass


async def _run_async(told: Job, url: str) -> Run:
    run, ending, draw = Run(), told.ending("async"), told.draw
    async with AsyncOmiClient(KEY, **told.settings(url)) as client:
        bulk = told.begin(client)
        match ending:
            case "complete":
                await _take(bulk, run, float("inf"))
            case "left" | "dropped":
                await _take(bulk, run, draw.randrange(len(told.ids)))
            case "client closed":
                taking = asyncio.ensure_future(_take(bulk, run, float("inf")))
                await asyncio.wait([taking], timeout=draw.uniform(0.0, told.patience))
                run.cut = True
                await client.aclose()
                await taking
            case _:
                # Waiting for an outcome is given up, again and again; then the job goes on.
                for _ in range(draw.randrange(1, 6)):
                    taking = asyncio.ensure_future(_take(bulk, run, float("inf")))
                    await asyncio.wait([taking], timeout=draw.uniform(0.0, told.patience / 2))
                    taking.cancel()
                    with suppress(asyncio.CancelledError):
                        await taking
        if ending == "cut closing":
            run.cut = True
            closing = asyncio.ensure_future(bulk.aclose())
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)
            for _ in range(draw.randrange(1, 3)):
                closing.cancel()
                await asyncio.sleep(0)
            with suppress(asyncio.CancelledError):
                await closing
        elif ending == "cancelled" and told.journal is None:
            await _take(bulk, run, float("inf"))
        if ending == "dropped":
            run.outcomes += await _forgotten(bulk)
        else:
            await bulk.aclose()
            run.outcomes += bulk.unclaimed
    run.slots = storm.slots_lost(client)
    return run


async def _forgotten(bulk: AsyncBulk[Any]) -> tuple[BulkOutcome[Any], ...]:
    """What a job says that nobody holds any more: its outcomes are looked up from within."""
    work = bulk._job
    rows = tuple(bulk._rows)
    bulk.__del__()
    while work._running is not None and not work._ended:
        await asyncio.sleep(0.001)
    return (*rows, *work.ready)


class Interrupter:
    """Sends this process SIGINT at a random moment, which raises KeyboardInterrupt only where it is wanted."""

    def __init__(self) -> None:
        self.armed = False
        self._before = signal.signal(signal.SIGINT, self._strike)

    def _strike(self, number: int, frame: FrameType | None) -> None:
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt

    @contextmanager
    def within(self, seconds: float, run: Run) -> Iterator[None]:
        """Strike after so many seconds, if what is within still goes on then."""
        timer = threading.Timer(seconds, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        timer.start()
        try:
            self.armed = True
            yield
        except KeyboardInterrupt:
            run.interrupts += 1
        finally:
            self.armed = False
            timer.join()

    def end(self) -> None:
        signal.signal(signal.SIGINT, self._before)


def _take_sync(bulk: Bulk[Any], run: Run, most: float) -> None:
    """Take outcomes until the job ends, or so many."""
    try:
        for outcome in bulk:
            run.outcomes.append(outcome)
            if len(run.outcomes) >= most:
                return
        run.complete = True
    except BulkStoppedError:
        pass


def _run_sync(told: Job, url: str, interrupter: Interrupter | None) -> Run:
    with OmiClient(KEY, **told.settings(url)) as client:
        run = _run_sync_on(client, told, interrupter)
    run.slots = storm.slots_lost(storm.inner(client))
    return run


def _run_sync_on(client: OmiClient, told: Job, interrupter: Interrupter | None) -> Run:
    run, draw = Run(), told.draw
    ending = told.ending("sync" if interrupter is None else "main thread")
    bulk = told.begin(client)
    match ending:
        case "complete":
            _take_sync(bulk, run, float("inf"))
        case "left" | "dropped":
            _take_sync(bulk, run, draw.randrange(len(told.ids)))
        case "client closed":
            run.cut = True
            closing = threading.Timer(draw.uniform(0.0, told.patience), client.close)
            closing.start()
            _take_sync(bulk, run, float("inf"))
            closing.join()
        case _:
            assert interrupter is not None
            run.cut = True
            for _ in range(draw.randrange(1, 5)):
                with interrupter.within(draw.uniform(0.0, told.patience / 2), run):
                    _take_sync(bulk, run, float("inf"))
            match draw.choice(("goes on", "closing is interrupted", "is closed")):
                case "goes on":
                    _take_sync(bulk, run, float("inf"))
                case "closing is interrupted":
                    _take_sync(bulk, run, len(run.outcomes) + 1)
                    with interrupter.within(draw.uniform(0.0, 0.002), run):
                        bulk.close()
    if ending == "dropped":
        target = bulk._target
        run.outcomes += client._bridge.run(_forgotten(target))
        bulk.close()
    else:
        bulk.close()
        run.outcomes += bulk.unclaimed
    return run


# The judgement


@attrs.define(eq=False)
class _Seen:
    """What the server had seen of a job before a run, and what the job had told."""

    requests: Counter[str] = attrs.field(factory=Counter[str])
    settled: set[str] = attrs.field(factory=set)
    """Ids whose every item was reported done by a run that was not cut."""


def _judge_run(told: Job, run: Run, seen: _Seen, records: dict[str, dict[str, Any]], seconds: float) -> None:
    wrong = told.wrong
    wished, reported = Counter(told.ids), Counter(outcome.id for outcome in run.outcomes)
    before = seen.requests
    seen.requests = Counter({name: record["requests"] for name, record in records.items()})
    sent = seen.requests - before

    def complain(what: str, about: object) -> None:
        wrong[what] += 1
        print(f"{what}: {told.name} run {told.runs}, {told.resource}.{told.verb}: {about}", file=sys.stderr)

    if seconds > _LIMIT:
        complain("hung", seconds)
    for name in sent:
        if not reported[name]:
            complain("lost", f"{name}: {records[name]}")
    for name, count in reported.items():
        if count > wished[name]:
            complain("reported twice", name)
    attempts: Counter[str] = Counter()
    for outcome in run.outcomes:
        attempts[outcome.id] += outcome.attempts
    for name, count in sent.items():
        if reported[name] and count > attempts[name]:
            complain("resent", f"{name}: {count} requests, {attempts[name]} attempts")
        if name in seen.settled and wished[name] == 1:
            complain("settled and sent again", name)
    told.told += run.outcomes
    if not run.cut:
        good = (BulkStatus.DONE, BulkStatus.UNCONFIRMED)
        seen.settled |= {outcome.id for outcome in run.outcomes if outcome.status in good} if told.journal else set()
    if run.complete and set(told.ids) - {outcome.id for outcome in told.told}:
        complain("falsely complete", set(told.ids) - {outcome.id for outcome in told.told})
    for outcome in run.outcomes:
        record = records.get(outcome.id, {"stored": {}, "deletions": 0, "exists": not outcome.id.startswith("none_")})
        for what in _wrong(told, outcome, record, once=wished[outcome.id] == 1):
            complain(what, f"{outcome}: {record}")


def _wrong(told: Job, outcome: BulkOutcome[Any], record: dict[str, Any], *, once: bool) -> Iterator[str]:
    if told.verb == "update":
        texts = {told.text(position) for position, name in enumerate(told.ids) if name == outcome.id}
        stored = texts & set(record["stored"].get(_UPDATES[told.resource][0], ()))
        applied, touched = bool(stored), bool(stored)
    else:
        applied, touched = record["deletions"] == 1, record["deletions"] > 0
    match outcome.status:
        case BulkStatus.DONE if not applied:
            yield "false success"
        case BulkStatus.FAILED if touched and once:
            yield "false failed"
        case BulkStatus.UNCONFIRMED if record["exists"]:
            yield "false unconfirmed"


class _Storm:
    """The jobs of one process."""

    def __init__(self, name: str, url: str, jobs: int, items: int, journals: Path) -> None:
        self.found: Counter[str] = Counter()
        self.slots = 0
        self._url = url
        self._lock = threading.Lock()
        self._jobs = [job(number, name, journals, items=items) for number in range(jobs)]

    async def asynchronous(self) -> None:
        waiting = iter(self._jobs)

        async def worker() -> None:
            for told in waiting:
                seen, over = _Seen(), False
                while not over:
                    told.runs += 1
                    began = time.monotonic()
                    run = await _run_async(told, self._url)
                    seconds = time.monotonic() - began
                    over = await asyncio.to_thread(self._conclude, told, run, seen, seconds)

        await asyncio.gather(*[worker() for _ in range(8)])

    def synchronous(self) -> None:
        """Every other job in the main thread, where it is interrupted; the rest in others."""

        def work(told: Job, interrupter: Interrupter | None) -> None:
            seen, over = _Seen(), False
            while not over:
                told.runs += 1
                began = time.monotonic()
                run = _run_sync(told, self._url, interrupter)
                over = self._conclude(told, run, seen, time.monotonic() - began)

        interrupter = Interrupter()
        with ThreadPoolExecutor(4) as pool:
            others = [pool.submit(work, told, None) for told in self._jobs[1::2]]
            for told in self._jobs[::2]:
                work(told, interrupter)
            for each in others:
                each.result()
        interrupter.end()

    def _conclude(self, told: Job, run: Run, seen: _Seen, seconds: float) -> bool:
        """Judge one run; whether it was the last one."""
        names = sorted(set(told.ids))
        if not truth.seen_off(self._url, told.agent):
            told.wrong["hung"] += 1
        over = told.journal is None or run.complete or told.runs == _RUNS
        _judge_run(told, run, seen, truth.ask(self._url, names, forget=over)["records"], seconds)
        with self._lock:
            self.slots += run.slots
            self.found += Counter(runs=1, interrupts=run.interrupts, outcomes=len(run.outcomes))
            self.found += Counter(str(outcome.status) for outcome in run.outcomes)
            if over:
                complete = run.complete and told.journal is not None
                self.found += Counter(jobs=1, items=len(told.ids), journals=told.journal is not None, complete=complete)
                self.found += told.wrong
        return over


def run(side: str, way: str, url: str, jobs: int, items: int, journals: Path) -> tuple[Counter[str], storm.Leaks]:
    """So many jobs from one side, straight or through the session, judged; and what was left behind."""
    storm.prepare(way)
    with storm.watched() as leaks:
        work = _Storm(f"{side}-{way}", url, jobs, items, journals)
        if side == "async":
            asyncio.run(work.asynchronous())
        else:
            work.synchronous()
        leaks.slots = work.slots
    return work.found, leaks
