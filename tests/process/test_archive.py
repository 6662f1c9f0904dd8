"""An archive in the child of a fork, on many threads, and at the end of the program."""

import sys

import pytest

from tests.support.subprocesses import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")

LEAD = """
import asyncio, os, sys, threading, warnings
from omi_async import ArchiveError
from omi_async.archive import Archive
from omi_async.archive.documents import of_text
from omi_async.archive.rows import now, store, writing
import omi_sync

path = sys.argv[1]

def put(name):
    document = of_text('{"id": "%s", "created_at": "2026-01-20T10:00:00Z"}' % name)
    def work(connection):
        with writing(connection):
            return store(connection, document, now())
    return work
"""


def test_fork(tmp_path: object) -> None:
    """The child of a fork is refused what its parent has open, and may use another archive; the parent goes on."""
    source = """
warnings.simplefilter("ignore", DeprecationWarning)  # that a thread may be lost by a fork

unused, archive = Archive(path), Archive(path)
assert "new" == asyncio.run(archive._run(put("one")))
child = os.fork()
if not child:
    for each in (archive, unused):
        try:
            asyncio.run(each.count())
        except ArchiveError as error:
            assert "Close it before the fork" in str(error), error
        else:
            raise SystemExit("not refused")
        asyncio.run(each.aclose())
    other = Archive(f"{path}-other")
    assert 0 == asyncio.run(other.count())
    asyncio.run(other.aclose())
    sys.exit()
assert (child, 0) == os.waitpid(child, 0)
assert "new" == asyncio.run(archive._run(put("two")))
assert "ok" == asyncio.run(archive._run(lambda connection: connection.execute("PRAGMA quick_check").fetchone()))[0]
assert 2 == asyncio.run(unused.count())
for each in (archive, unused):
    asyncio.run(each.aclose())
"""
    run(LEAD + source, f"{tmp_path}/archive.db").check()


def test_many_threads(tmp_path: object) -> None:
    """One archive serves the clients and threads of both sides at the same time."""
    source = """
errors = []

def work(number):
    try:
        archive.count()
        target = archive._bridge.target
        asyncio.run(target._run(put(f"conv_{number}")))
        archive.get(f"conv_{number}").id
    except BaseException as error:
        errors.append(error)

with omi_sync.Archive(path) as archive:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [] == errors, errors
    assert 16 == archive.count()
"""
    run(LEAD + source, f"{tmp_path}/archive.db").check()


def test_filled_by_one_process(tmp_path: object) -> None:
    """While one process fills an archive no other does; however it ends, and whatever children it left, another may."""
    source = """
warnings.simplefilter("ignore", DeprecationWarning)
warnings.simplefilter("ignore", ResourceWarning)  # Python 3.13 tells of connections that are left open
import signal

async def fill(then):
    async with Archive(path) as archive:
        async with archive._filled():
            then()

reading, writing_end = os.pipe()

def stay():
    left = os.fork()  # it outlives its parent, and holds what it was forked with
    if left:
        os.write(writing_end, b"%d" % left)
    signal.pause()

filler = os.fork()
if not filler:
    asyncio.run(fill(stay))
left = int(os.read(reading, 20))
try:
    asyncio.run(fill(int))
except ArchiveError as error:
    assert "is being filled already" in str(error), error
else:
    raise SystemExit("not refused")
assert "new" == asyncio.run(Archive(path)._run(put("one")))  # as before a deletion
os.kill(filler, signal.SIGKILL)
os.waitpid(filler, 0)
try:
    asyncio.run(fill(int))
finally:
    os.kill(left, signal.SIGKILL)
"""
    run(LEAD + source, f"{tmp_path}/archive.db").check()


@pytest.mark.parametrize("side", ["async", "sync"])
def test_left_open(side: str, tmp_path: object) -> None:
    """A program may end with an archive open: it ends at once, and what was stored is there."""
    source = """
async def main():
    archive = Archive(path)
    await archive._run(put("one"))

if sys.argv[2] == "async":
    asyncio.run(main())
else:
    archive = omi_sync.Archive(path)
    archive.count()
    archive._bridge.run(archive._bridge.target._run(put("one")))
warnings.simplefilter("ignore", ResourceWarning)
"""
    run(LEAD + source, f"{tmp_path}/archive.db", side).check()
    check = "with omi_sync.Archive(path) as archive: assert 1 == archive.count()"
    run(LEAD + check, f"{tmp_path}/archive.db").check()
