"""Bulk jobs whose process is killed, interrupted or shared out: what the server was asked, and what is left to do."""

import json
import pickle
import random
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from omi_async import (
    BulkOutcome,
    BulkProgress,
    BulkStatus,
    BulkStoppedError,
    Conversation,
    ConversationUpdate,
    Deletion,
    RateLimitError,
)
from tests.support.inside import structure
from tests.support.raw import Exchange, RawServer, answer, conversation, in_thread
from tests.support.scale import times
from tests.support.subprocesses import finish, start, wait_until

ITEMS = 200

CHILD = """
import asyncio, os, sys
from omi_async import AsyncOmiClient, ConversationUpdate, RetryPolicy
from omi_async.journal import Journal
from omi_sync import OmiClient

url, path, side, operation, concurrency, count = sys.argv[1:]
settle = Journal.settle

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def watched(self, position, *, status, settled, attempts):
    await settle(self, position, status=status, settled=settled, attempts=attempts)
    say("noted", position, status, settled)

Journal.settle = watched
ids = [f"conv_{number}" for number in range(int(count))]
items = ids if operation == "delete" else [ConversationUpdate(each, title=f"New title of {each}") for each in ids]
policy = RetryPolicy(initial=0.001, initial_throttled=0.001, maximum=0.001)
settings = {"journal": path, "concurrency": int(concurrency)}

async def asynchronously():
    async with AsyncOmiClient(base_url=url, retry=policy) as omi:
        async with getattr(omi.conversations, f"{operation}_many")(items, **settings) as job:
            async for outcome in job:
                say("reported", outcome.id[5:], outcome.status)
    return job.progress

def synchronously():
    with OmiClient(base_url=url, retry=policy) as omi:
        with getattr(omi.conversations, f"{operation}_many")(items, **settings) as job:
            for outcome in job:
                say("reported", outcome.id[5:], outcome.status)
    return job.progress

progress = asyncio.run(asynchronously()) if side == "async" else synchronously()
say("ended", progress.settled, progress.resumed, progress.total)
"""


class Records:
    """A server that keeps what it is asked for, and spoils a part of its answers: which, the seed decides."""

    def __init__(self, operation: str, seed: int) -> None:
        self.titles = {f"conv_{number}": "Old" for number in range(ITEMS)}
        self.deletions: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.asked_in_this_run: set[str] = set()
        self.faults = 0
        self._operation = operation
        self._seed = seed

    async def __call__(self, exchange: Exchange) -> None:
        name = exchange.path.rpartition("/")[2]
        self.asked[name] += 1
        self.asked_in_this_run.add(name)
        draw = random.Random(zlib.crc32(f"{self._seed}/{name}/{self.asked[name]}".encode())).random()
        self.faults += draw < 0.3
        if draw < 0.1:
            exchange.reset()
            return
        if draw < 0.15:
            await exchange.send(answer(503, {"detail": "Later"}))
            return
        there = self._apply(exchange, name)
        if draw < 0.25:
            exchange.reset()
        elif draw < 0.3:
            await exchange.send(answer(500, "Internal Server Error"))
        elif there:
            await exchange.succeed()
        else:
            await exchange.send(answer(404, {"detail": "Conversation not found"}))

    def _apply(self, exchange: Exchange, name: str) -> bool:
        if name not in self.titles:
            return False
        if exchange.method == "DELETE":
            del self.titles[name]
            self.deletions[name] += 1
        else:
            self.titles[name] = json.loads(exchange.body)["title"]
        return True

    @property
    def as_asked(self) -> bool:
        if self._operation == "delete":
            return not self.titles and set(self.deletions.values()) == {1} and len(self.deletions) == ITEMS
        return all(title == f"New title of {name}" for name, title in self.titles.items())


@pytest.mark.figure
@pytest.mark.scenario(171)
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_at_any_moment(tmp_path: Path, figure: Callable[..., None]) -> None:
    """Killed and resumed as often as it likes, a job ends with the server as asked, and repeats nothing it knew."""
    wanted, chance = times(100), random.Random(170)
    killed = jobs = faults = requests = 0
    while killed < wanted:
        operation, side = ("delete", "update")[jobs % 2], ("async", "sync")[jobs // 2 % 2]
        records = Records(operation, seed=jobs)
        journal = tmp_path / f"job{jobs}.db"
        settled: set[str] = set()
        with in_thread(RawServer(records)) as server:
            arguments = (server.url, journal, side, operation, (4, 1, 16)[jobs % 3], ITEMS)
            complete = False
            for run in range(40):
                records.asked_in_this_run = set()
                known = set(settled)
                # A third of the runs of a job may come to their end.
                lines = chance.choice((0, chance.randrange(20), chance.randrange(100)))
                with start(CHILD, *arguments) as process:
                    said = read(process, lines if killed < wanted and run < 30 else None, chance)
                killed += process.returncode == -signal.SIGKILL
                settled |= {f"conv_{words[1]}" for words in said if words[0] == "noted" and words[3] == "True"}
                assert set() == known & records.asked_in_this_run, "a settled item was sent again"
                for words in said:
                    if words[0] == "ended":
                        # The journal may know more than could be said of it before a kill.
                        assert len(known) <= int(words[2]) <= ITEMS == int(words[1]) == int(words[3])
                        complete = all(words[3] == "True" for words in said if words[0] == "noted")
                if complete:
                    break
            else:
                raise AssertionError("it does not come to an end")
            assert records.as_asked
            requests += len(server.log)
            faults += records.faults
        jobs += 1
    figure("bulk, SIGKILL", killed=killed, jobs=jobs, items=jobs * ITEMS, requests=requests, faults=faults, lost=0)


def read(process: "subprocess.Popen[str]", lines: int | None, chance: random.Random) -> list[list[str]]:
    """What a job says; after some lines, if a number is given, it is killed."""
    assert process.stdout is not None
    assert process.stderr is not None
    said = []
    if lines is not None:
        if lines == 0:
            time.sleep(chance.random() * 0.19)
        for _ in range(lines):
            said.append(process.stdout.readline())
        time.sleep(chance.random() * 0.005)
        process.kill()
    said += process.stdout.readlines()
    errors = process.stderr.read()
    process.wait()
    assert "" == errors or lines is not None, errors
    return [line.split() for line in said if line.endswith("\n")]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of another process")
@pytest.mark.parametrize("operation", ["update", "delete"])
@pytest.mark.parametrize("where", ["request", "input", "loop", "closing"])
def test_interrupted(where: str, operation: str, tmp_path: Path) -> None:
    """Ctrl-C ends a synchronous job soon, whatever it is about; what was under way is unknown, and all else is free."""
    source = """
import os, signal, sys, time
from omi_sync import ConversationUpdate, OmiClient

url, path, where, operation = sys.argv[1:]
closed = []

def source(count):
    try:
        for number in range(count):
            if where == "input" and number == 20 and not closed:
                print("ready", flush=True)
                time.sleep(30)
            name = f"conv_{number}"
            yield name if operation == "delete" else ConversationUpdate(name, title="New title")
    finally:
        closed.append(True)

with OmiClient(base_url=url) as omi:
    many = getattr(omi.conversations, f"{operation}_many")
    job = many(source(60), journal=path)
    taken = []
    try:
        with job:
            for outcome in job:
                taken.append(outcome)
                if where == "loop" and len(taken) == 5:
                    print("ready", flush=True)
                    time.sleep(30)
                if where == "closing" and len(taken) == 5:
                    break
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    known = {outcome.id: str(outcome.status) for outcome in (*taken, *job.unclaimed)}
    print(bool(closed), len(known) == len(taken) + len(job.unclaimed) >= 5, flush=True)
    with many(source(60), journal=path) as job:
        again = {outcome.id for outcome in job}
    print(len(known | dict.fromkeys(again)), job.progress.settled, flush=True)
    print({name: known[name] for name in known.keys() & again})
    print({name: status for name, status in known.items() if status != "done"})
"""
    hold = where in ("request", "closing")
    held = False

    async def script(exchange: Exchange) -> None:
        nonlocal held
        if hold and exchange.name == "conv_3":
            held = True
            await exchange.hang()
        await exchange.succeed()

    with (
        in_thread(RawServer(script)) as server,
        start(source, server.url, tmp_path / "job.db", where, operation) as process,
    ):
        if hold:
            wait_until(lambda: held and len(server.log) >= (60 if where == "request" else 6))
            time.sleep(0.05)
        else:
            assert process.stdout is not None
            assert "ready\n" == process.stdout.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        hold = False
        result = finish(process)
    assert 20 > result.ended - began
    unknown = str({"conv_3": "unknown"} if where in ("request", "closing") else {})
    assert ["interrupted", "True True", "60 60", unknown, unknown] == result.check().lines


# Between processes


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_what_crosses_processes(protocol: int) -> None:
    """Items, outcomes, progress and errors of a job come out of a pickle as they went in."""
    error = RateLimitError("closed", status=429, retry_after=5.0, attempts=2, operation="conversations.delete")
    error.limit = 25
    stopped = BulkStoppedError("stopped")
    stopped.reason, stopped.done = error, 7
    now = datetime.now(UTC)
    plain = [
        ConversationUpdate("conv_1", title="New title", discarded=False),
        BulkOutcome(
            id="conv_1",
            status=BulkStatus.UNCONFIRMED,
            result=Deletion(id="conv_1", confirmed=False),
        ),
        BulkOutcome(
            id="conv_1",
            status=BulkStatus.DONE,
            result=structure(conversation(), Conversation),
            attempts=2,
        ),
        BulkProgress(
            done=1,
            unconfirmed=0,
            failed=0,
            unknown=0,
            resumed=0,
            total=None,
            rate=25.0,
            waiting_until=now,
            estimated_end=None,
        ),
    ]
    assert plain == pickle.loads(pickle.dumps(plain, protocol))
    assert [type(each.status) for each in plain if isinstance(each, BulkOutcome)] == [BulkStatus, BulkStatus]
    for failure in (error, stopped):
        outcome: BulkOutcome[Deletion] = BulkOutcome(
            id="<int>",
            status=BulkStatus.FAILED,
            error=failure,
        )
        again = pickle.loads(pickle.dumps(outcome, protocol))
        assert (type(failure), str(failure)) == (type(again.error), str(again.error))
        assert (outcome.id, outcome.status) == (again.id, again.status)
    again = pickle.loads(pickle.dumps(stopped, protocol))
    assert (7, RateLimitError, 25, 5.0) == (
        again.done,
        type(again.reason),
        again.reason.limit,
        again.reason.retry_after,
    )
