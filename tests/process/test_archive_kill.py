"""An archive whose process is killed at any moment: what is in it, and what is gone from the server."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import omi_sync
from omi_async._database import Connection
from omi_async.archive.rows import unpacked
from omi_async.sandbox import SandboxConversation
from omi_sync import Sandbox
from tests.support.archives import conversations, shared_clock
from tests.support.scale import FULL
from tests.support.subprocesses import start

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")

CHILD = """
import asyncio, json, os, resource, sys
from pathlib import Path
from omi_async import AsyncOmiClient, RetryPolicy
from omi_async.archive import Archive
from tests.support.archives import SharedClock

url, key, path, clock_path, work, *ids = sys.argv[1:]

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def main():
    clock = SharedClock(Path(clock_path))
    policy = RetryPolicy(clock=clock, sleep=clock.sleep)
    async with AsyncOmiClient(key, base_url=url, retry=policy) as omi, Archive(path) as archive:
        await omi.goals.list()
        idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        say("begins")
        if work == "save":
            told = lambda progress: say("progress", progress.saved, progress.unchanged)
            result = await omi.conversations.save_to(archive, on_progress=told)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle
            say("ended", result.new, result.changed, result.unchanged, result.requests, len(result.failed), grown)
        else:
            ids = Path(work).read_text().split()
            async with omi.conversations.delete_many(ids, keep=archive, journal=f"{work}.journal") as job:
                async for outcome in job:
                    say("outcome", outcome.id, outcome.status)
            say("ended", job.progress.settled)
    clock.close()

asyncio.run(main())
"""


def follow(process: "subprocess.Popen[str]", lines: int | None, chance: random.Random) -> list[list[str]]:
    """What a run says; after so many lines, if a number is given, it is killed a moment later."""
    assert process.stdout is not None
    assert process.stderr is not None
    said = []
    if lines is not None:
        for _ in range(lines + 1):
            said.append(process.stdout.readline())
        time.sleep(chance.random() * 0.1)
        process.kill()
    said += process.stdout.readlines()
    errors = process.stderr.read()
    process.wait()
    assert "" == errors or lines is not None, errors
    return [line.split() for line in said if line.endswith("\n")]


def held(path: Path) -> dict[str, tuple[str, bool]]:
    """The documents of an archive by their ids, and whether they are whole."""

    def read(connection: Connection) -> dict[str, tuple[str, bool]]:
        assert [("ok",)] == connection.execute("PRAGMA quick_check").fetchall()
        rows = connection.execute("SELECT id, document, has_transcript FROM conversations").fetchall()
        return {name: (unpacked(document), bool(whole)) for name, document, whole in rows}

    with omi_sync.Archive(path) as archive:
        return archive._bridge.run(archive._bridge.target._run(read))


def as_sent(conversation: SandboxConversation) -> Any:

    return json.loads(json.dumps(conversation.to_json(include_transcript=True)))


@pytest.mark.figure
@pytest.mark.parametrize("generation", ["newest", "2026-05"])
def test_pull_killed_at_any_moment(generation: Any, tmp_path: Path, figure: Callable[..., None]) -> None:
    """Killed and started again as often as one likes, a pull ends with each conversation once, and all of it whole."""

    kills = 100 if FULL else 2
    stored = conversations(20000 if FULL else 600, words=500 if FULL else 20)
    chance = random.Random(generation)
    killed = requests = 0
    with shared_clock(tmp_path / "clock") as clock:
        limits: dict[str, Any] = {"read_limit": 60, "transcript_limit": 25}
        with Sandbox(stored, generation=generation, clock=clock, **limits) as server:
            arguments = (server.url, server.api_key, tmp_path / "archive.db", tmp_path / "clock", "save")
            before = clock()
            pages = len(stored) // (200 if generation == "newest" else 25)
            is_complete = False
            for _ in range(20 * kills):
                lines = chance.randrange(2 if is_complete else 2 * pages // kills + 1)
                with start(CHILD, *arguments) as process:
                    said = follow(process, lines if killed < kills else None, chance)
                killed += process.returncode == -signal.SIGKILL
                requests = len(server.requests)
                has_ended = any(words[0] == "ended" for words in said)
                is_complete = is_complete or has_ended
                if has_ended and killed >= kills:
                    break
            hours = (clock() - before) / 3600
            found = held(tmp_path / "archive.db")
    assert {each.id for each in stored} == set(found)
    assert [] == [
        each.id for each in stored if (json.loads(found[each.id][0]), True) != (as_sent(each), found[each.id][1])
    ]
    figure(
        f"archive, pull of {generation}, SIGKILL",
        killed=killed,
        conversations=len(found),
        requests=requests,
        hours=round(hours, 2),
        lost=0,
    )


@pytest.mark.figure
def test_deletions_killed_at_any_moment(tmp_path: Path, figure: Callable[..., None]) -> None:
    """Whatever fails and whenever it is killed, no conversation is gone from the server that is not whole here."""

    kills = 100 if FULL else 3
    stored = conversations(1000 if FULL else 40)
    chance = random.Random(17)
    for each in chance.sample(stored, len(stored) // 20):
        each.locked = True
    locked = {each.id for each in stored if each.locked}
    originals = {each.id: as_sent(each) for each in stored}
    ids = tmp_path / "ids"
    ids.write_text("\n".join(originals))
    killed = faults = 0
    with shared_clock(tmp_path / "clock") as clock, Sandbox(stored, write_limit=None, clock=clock) as server:
        arguments = (server.url, server.api_key, tmp_path / "archive.db", tmp_path / "clock", ids)
        for _ in range(20 * kills):
            may_fail = killed < kills
            for _ in range(6 if may_fail else 0):
                fault = chance.choice(({"status": 503}, {"status": 500}, {"close": "before"}, {"close": "after"}))
                server.fail(method=chance.choice(("GET", "DELETE")), times=2, **fault)
            lines = chance.randrange(2 * len(server.conversations) // kills + 2) if may_fail else None
            with start(CHILD, *arguments) as process:
                said = follow(process, lines, chance)
            killed += process.returncode == -signal.SIGKILL
            faults += 12 * may_fail - server.pending_faults
            server.clear_faults()
            found = held(tmp_path / "archive.db")
            gone = set(originals) - set(server.conversations)
            lost = {name for name in gone if not (found[name][1] and json.loads(found[name][0]) == originals[name])}
            assert set() == lost
            if any(words[0] == "ended" for words in said) and killed >= kills:
                break
        assert set(originals) - locked == gone
        requests = len(server.requests)
    figure(
        "archive, deletions with keep, SIGKILL",
        killed=killed,
        deleted=len(gone),
        requests=requests,
        faults=faults,
        lost=len(lost),
    )
