"""What is left of a journal when its process is killed, forks, ends, or may not write any further."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.scale import times
from tests.support.subprocesses import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork, no SIGKILL")

OPEN = """
import asyncio, os, random, signal, sys, time
from omi_async import JournalError
from omi_async.journal import Journal

DIGEST = bytes(32)
path = sys.argv[1]

def open_journal():
    return Journal(path, job="delete")

def recall(journal, position):
    return journal.recall(position, f"conv_{position}", DIGEST)

async def intend(journal, position):
    await journal.intend(position, f"conv_{position}", DIGEST)

async def settle(journal, position, status="done", settled=True):
    await journal.settle(position, status=status, settled=settled, attempts=1)
"""


@pytest.mark.figure
def test_killed_at_any_moment(tmp_path: Path, figure: Callable[..., None]) -> None:
    """Run after run is killed; each finds every note that was reported as written, and nothing that was not made.

    The runs say what they begin and what has returned. Between two lines both states are right, after the second
    only one is. No run does again what an earlier one knew as settled, and the last ones finish the job.
    """
    rounds = times(600)
    source = """
rounds, seed = int(sys.argv[2]), int(sys.argv[3])
count = rounds * 40
chance = random.Random(seed)

def fork(main):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, os.fdopen(reading)
    os.close(reading)
    code = 1
    try:
        asyncio.run(main(lambda *words: os.write(writing, (" ".join(map(str, words)) + "\\n").encode())))
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)

async def job(say):
    journal = open_journal()
    say("opened")
    positions = iter(range(count))
    async def worker():
        for position in positions:
            entry = recall(journal, position)
            if entry is not None and entry.settled:
                continue
            say("intend", position)
            await intend(journal, position)
            say("intended", position)
            result = ("unknown", False) if entry is None and position % 3 == 0 else ("done", True)
            say("settle", position, *result)
            await settle(journal, position, *result)
            say("settled", position)
    await asyncio.gather(*(worker() for _ in range(8)))
    await journal.aclose()
    say("finished")

async def look(say):
    journal = open_journal()
    for position in range(count):
        entry = recall(journal, position)
        if entry is not None:
            say(position, *entry)
    await journal.aclose()

possible = {}
done = set()
killed = looks = 0

def follow(line):
    match line.split():
        case "intend", position:
            assert position not in done, f"{position} is done twice"
            possible[position] = possible.get(position, {None}) | {("None", "False")}
        case "intended", position:
            possible[position] = {("None", "False")}
        case "settle", position, status, settled:
            possible[position].add((status, settled))
        case "settled", position:
            possible[position] -= {("None", "False")}
            (entry,) = possible[position]
            if entry == ("done", "True"):
                done.add(position)
        case _:
            assert line in ("opened\\n", "finished\\n"), line

def check():
    pid, lines = fork(look)
    with lines:
        found = {position: tuple(entry) for position, *entry in map(str.split, lines)}
    assert os.waitpid(pid, 0)[1] == 0, "it could not be opened"
    for position in possible.keys() | found.keys():
        assert found.get(position) in possible.get(position, {None}), (position, found.get(position), possible)
        if found.get(position) is not None:
            possible[position] = {found[position]}
        if found.get(position) == ("done", "True"):
            done.add(position)

for _ in range(rounds):
    pid, lines = fork(job)
    with lines:
        for _ in range(chance.choice((0, 1, chance.randrange(400)))):
            follow(lines.readline())
        time.sleep(chance.random() * 0.003)
        os.kill(pid, signal.SIGKILL)
        for line in lines:
            follow(line)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    killed += 1
    if chance.random() < 0.5:  # otherwise it is the next run itself that finds what the killed one left
        check()
        looks += 1

for _ in range(2):  # the first may leave items as unknown
    pid, lines = fork(job)
    with lines:
        for line in lines:
            follow(line)
    assert line == "finished\\n" and os.waitpid(pid, 0)[1] == 0
    check()
assert len(done) == count
assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
print(killed, looks, len(done))
"""
    result = run(OPEN + source, tmp_path / "cleanup.db", rounds, 2025, limit=60 + rounds)
    killed, looks, done = map(int, result.check().out.split())
    assert (rounds, rounds * 40) == (killed, done)
    figure("journal, SIGKILL", killed=killed, looked_at_between=looks, items=done, lost=0, done_twice=0)


def test_fork(tmp_path: Path) -> None:
    """A forked child can neither use nor harm its parent's journal, even when it ends in full order."""
    source = """
import ctypes

OTHER = '''
import sys
from omi_async import JournalError
from omi_async.journal import Journal
try:
    Journal(sys.argv[1], job="delete")
except JournalError as error:
    print(error)
'''

loop = asyncio.new_event_loop()
journal = open_journal()
loop.run_until_complete(intend(journal, 0))

async def child():
    try:
        await settle(journal, 0)
    except JournalError as error:
        print(error, flush=True)
    await journal.aclose()

if os.fork() == 0:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(loop))  # the parent's, and what closes it here closes it there
    asyncio.run(child())
    sys.exit()
assert os.wait()[1] == 0
loop.run_until_complete(settle(journal, 0))
loop.run_until_complete(intend(journal, 1))
if os.fork() == 0:
    os.execv(sys.executable, [sys.executable, "-c", OTHER, path])
assert os.wait()[1] == 0
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "cleanup.db"
    # Python 3.12 warns of a fork beside other threads; what comes of it is what is looked at here.
    result = run(OPEN + source, path, options=("-W", "error", "-W", "ignore::DeprecationWarning"))
    assert (-9, "") == (result.code, result.err)
    assert ["is a fork", "in use by another run"] == [
        word for line in result.lines for word in ("is a fork", "in use by another run") if word in line
    ]
    look = "journal = open_journal(); print(*map(tuple, [recall(journal, 0), recall(journal, 1)]), recall(journal, 2))"
    assert "('done', True) (None, False) None\n" == run(OPEN + look, path, options=()).check().out


def test_ending_program(tmp_path: Path) -> None:
    """In the last moments of a program, when no thread can be had any more, a journal refuses and does not hang."""
    source = """
import atexit

loop = asyncio.new_event_loop()
journal = open_journal()
loop.run_until_complete(intend(journal, 0))

def refused(call):
    try:
        call()
    except JournalError as error:
        print("the program is ending" in str(error) and error.__context__ is None)

async def main():
    for action in (settle(journal, 0), settle(journal, 0)):
        try:
            await action
        except JournalError as error:
            print("the program is ending" in str(error))
    await journal.aclose()

@atexit.register
def late():
    refused(lambda: Journal(path + "2", job="delete"))
    loop.run_until_complete(main())
    loop.close()
"""
    path = tmp_path / "cleanup.db"
    assert "True\n" * 3 == run(OPEN + source, path).check().out
    assert [path.name] == [file.name for file in tmp_path.iterdir()]
    assert "None False\n" == run(OPEN + "print(*recall(open_journal(), 0))", path, options=()).check().out


def test_failing_disk(tmp_path: Path) -> None:
    """When the system refuses to make the file any longer, the writes fail, and what was reported before is there."""
    source = """
import resource

async def main():
    journal = open_journal()
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    for position in range(10_000):
        try:
            await intend(journal, position)
        except JournalError as error:
            print(position, error)
            break
    await journal.aclose()

asyncio.run(main())
"""
    path = tmp_path / "cleanup.db"
    out = run(OPEN + source, path).check().out
    count = int(out.split()[0])
    assert 10 < count < 10_000
    assert "the disk failed" in out or "the disk is full" in out
    look = """
journal = open_journal()
count = int(sys.argv[2])
print(all(recall(journal, position) == (None, False) for position in range(count)), recall(journal, count + 1))
"""
    assert "True None\n" == run(OPEN + look, path, count, options=()).check().out
