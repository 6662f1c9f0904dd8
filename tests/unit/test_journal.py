"""The journal keeps what was reported as written, belongs to one run at a time, and says what is wrong with it."""

import asyncio
import os
import pickle
import sqlite3
import stat
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path

import pytest

from omi_async import JournalError
from omi_async.journal import Entry, Journal
from tests.support.scale import times
from tests.support.subprocesses import run

DIGEST = b"\x00\xff" * 16
NAMELESS = 65534  # the user id of `nobody`: root, who may run this, is refused nothing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cleanup.db"


def name(position: int) -> str:
    return f"conv_{position}"


def recall(journal: Journal, position: int) -> Entry | None:
    return journal.recall(position, name(position), DIGEST)


async def intend(journal: Journal, *positions: int) -> None:
    await asyncio.gather(*(journal.intend(position, name(position), DIGEST) for position in positions))


async def settle(journal: Journal, position: int, status: str = "done", *, settled: bool = True) -> None:
    await journal.settle(position, status=status, settled=settled, attempts=1)


async def written(path: Path, count: int, *, job: str = "delete") -> None:
    """A closed journal of `count` items that are done."""
    journal = Journal(path, job=job)
    await intend(journal, *range(count))
    await asyncio.gather(*(settle(journal, position) for position in range(count)))
    await journal.aclose()


def edit(path: Path, statement: str, *values: object) -> None:
    """Change a closed journal, or make a database that is none."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement, values)
    connection.close()


def sql(journal: Journal, statement: str) -> None:
    journal._thread.submit(journal._connection.execute, statement).result()


@contextmanager
def held(journal: Journal) -> Iterator[None]:
    """The journal's thread stands still, as on a slow disk."""
    release = threading.Event()
    journal._thread.submit(release.wait)
    try:
        yield
    finally:
        release.set()


@contextmanager
def traced(journal: Journal) -> Iterator[list[str]]:
    """Every statement that is executed."""
    statements: list[str] = []
    journal._thread.submit(journal._connection.set_trace_callback, statements.append).result()
    yield statements
    journal._thread.submit(journal._connection.set_trace_callback, None).result()


async def turns() -> None:
    """Let every task come as far as it can without the disk."""
    for _ in range(5):
        await asyncio.sleep(0)


def refused(path: str | Path, *words: str, job: str = "delete") -> JournalError:
    """The error of opening it, which is ours alone and holds the words."""
    with pytest.raises(JournalError) as caught:
        Journal(path, job=job)
    return ours(caught.value, f"the journal {path} ", *words)


def ours(error: JournalError, *words: str) -> JournalError:
    assert (None, None, "not_applied") == (error.__cause__, error.__context__, error.outcome)
    assert error.retryable == ("in use by another run" in str(error))
    assert [] == [word for word in words if word not in str(error)], str(error)
    assert str(error) == str(pickle.loads(pickle.dumps(error)))
    return error


# What is kept


async def test_what_is_kept(path: Path) -> None:
    """A later run finds each item as the earlier one left it, and counts what was settled."""
    journal = Journal(path, job="delete")
    assert {} == journal.counts()
    await intend(journal, *range(6))
    await settle(journal, 1)
    await settle(journal, 2, "unconfirmed")
    await settle(journal, 3, "failed")
    await settle(journal, 4, "failed", settled=False)
    await settle(journal, 5, "unknown", settled=False)
    await journal.aclose()
    journal = Journal(path, job="delete")
    assert [
        Entry(None, False),
        Entry("done", True),
        Entry("unconfirmed", True),
        Entry("failed", True),
        Entry("failed", False),
        Entry("unknown", False),
        None,
    ] == [recall(journal, position) for position in range(7)]
    assert {"done": 1, "unconfirmed": 1, "failed": 1} == journal.counts()
    await journal.aclose()


async def test_intended_again(path: Path) -> None:
    """An item that is tried again is as if perhaps sent until it is settled again."""
    journal = Journal(path, job="update")
    await intend(journal, 0, 1)
    await settle(journal, 0, "failed", settled=False)
    await settle(journal, 1, "unknown", settled=False)
    await intend(journal, 0, 1)
    await settle(journal, 1)
    await journal.aclose()
    journal = Journal(path, job="update")
    assert [Entry(None, False), Entry("done", True)] == [recall(journal, 0), recall(journal, 1)]
    await journal.aclose()


@pytest.mark.parametrize("order", [1, -1])
async def test_gaps(path: Path, order: int) -> None:
    """Items that ran far ahead of others are found, and the gaps between them are gaps, in any order asked."""
    positions = (0, 511, 512, 1300, 9999)
    journal = Journal(path, job="delete")
    await intend(journal, *positions)
    await journal.aclose()
    journal = Journal(path, job="delete")
    found = [position for position in range(12_000)[::order] if recall(journal, position) is not None]
    await journal.aclose()
    assert list(positions) == found[::order]


@pytest.mark.parametrize("status", ["done", "unconfirmed"])
@pytest.mark.parametrize("first", [None, "unknown"])
async def test_the_last_write_wins(path: Path, status: str, first: str | None) -> None:
    """A write that is done is made again if an earlier one to the same id is: else the earlier one came last."""
    journal = Journal(path, job="update")
    for position, record_id in enumerate(["a", "b", "a", "a", "b"]):
        await journal.intend(position, record_id, DIGEST)
    if first is not None:
        await settle(journal, 0, first, settled=False)
    await settle(journal, 1)
    await settle(journal, 2, status)
    await settle(journal, 3, "failed")
    await settle(journal, 4)
    await journal.aclose()
    journal = Journal(path, job="update")
    found = [
        journal.recall(position, record_id, DIGEST) for position, record_id in enumerate(["a", "b", "a", "a", "b"])
    ]
    counts = journal.counts()
    await journal.aclose()
    assert [
        Entry(first, False),
        Entry("done", True),
        Entry(status, False),
        Entry("failed", True),
        Entry("done", True),
    ] == found
    assert {"done": 2, "failed": 1} == counts


async def test_nothing_else_is_kept(path: Path) -> None:
    """The file holds positions, ids, digests, statuses, attempts and facts about the job: no place for a text."""
    await written(path, 1)
    connection = sqlite3.connect(path)
    assert ["position", "id", "digest", "status", "settled", "attempts"] == [
        row[1] for row in connection.execute("PRAGMA table_info(items)")
    ]
    assert (0, "conv_0", DIGEST, "done", 1, 1) == connection.execute("SELECT * FROM items").fetchone()
    notes = dict(connection.execute("SELECT name, value FROM meta"))
    connection.close()
    assert {"format", "job", "created", "opened", "held"} == set(notes)
    assert (2, "delete") == (notes["format"], notes["job"])


@pytest.mark.skipif(sys.platform == "win32", reason="no file modes")
async def test_owner_only(path: Path) -> None:
    """The file and what SQLite puts beside it are for the owner's eyes, whatever the umask."""
    before = os.umask(0)
    try:
        journal = Journal(path, job="delete")
        await intend(journal, 0)
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    await journal.aclose()
    assert {"cleanup.db": 0o600, "cleanup.db-wal": 0o600} == modes
    assert ["cleanup.db"] == [file.name for file in path.parent.iterdir()]


async def test_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that means something else to SQLite, or a link to a file that is not there, is a file like any other."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to("target.db")
    for odd in (":memory:", "file:x?mode=memory", "link.db"):
        await written(Path(odd), 1)
        journal = Journal(odd, job="delete")
        assert (odd, Entry("done", True)) == (journal.path, recall(journal, 0))
        await journal.aclose()
    assert {":memory:", "file:x?mode=memory", "link.db", "target.db"} == set(os.listdir())
    assert 0o600 == stat.S_IMODE(os.stat("target.db").st_mode)


async def test_odd_values(path: Path) -> None:
    """What stands in an input by mistake, and a status that is more than text, harm neither the file nor the others."""

    class Status(StrEnum):
        FAILED = "failed"

    odd = ["", "\udcff", "caf\u00e9\ud800", "a\0b", "x" * 100_000]
    journal = Journal(path, job="delete")
    await asyncio.gather(*(journal.intend(position, text, DIGEST) for position, text in enumerate(odd)))
    await settle(journal, 1, Status.FAILED)
    await journal.aclose()
    journal = Journal(path, job="delete")
    statuses = [journal.recall(position, text, DIGEST) for position, text in enumerate(odd)]
    assert [(None, False), ("failed", True), (None, False), (None, False), (None, False)] == statuses
    assert {"failed": 1} == journal.counts()
    await journal.aclose()


async def test_empty_file(path: Path) -> None:
    """An empty file, as a killed run may leave it, is a new journal."""
    path.touch()
    await written(path, 1)
    assert 0 < path.stat().st_size


# Commits


async def test_shared_commits(path: Path) -> None:
    """What many tasks write at once, or while the disk is busy, is one commit; the event loop goes on meanwhile."""
    journal = Journal(path, job="delete")
    with traced(journal) as statements:
        await intend(journal, *range(64))
        assert 1 == statements.count("COMMIT")
        with held(journal):
            first = asyncio.create_task(intend(journal, 64))
            await turns()
            others = [asyncio.create_task(intend(journal, position)) for position in range(65, 129)]
            others.append(asyncio.create_task(settle(journal, 0)))
            await turns()
            assert not any(task.done() for task in (first, *others))
        await asyncio.gather(first, *others)
    assert 3 == statements.count("COMMIT")
    await journal.aclose()


async def test_waits_for_a_run_that_is_just_ending(path: Path) -> None:
    """Another's hold on the journal that ends in a moment is no reason to refuse."""
    await Journal(path, job="delete").aclose()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    ending = threading.Timer(0.02, other.close)
    ending.start()
    await Journal(path, job="delete").aclose()
    ending.join()


async def test_nothing_is_read_of_a_new_journal(path: Path) -> None:
    """A new journal, and the part of the input that no run came to, cost no look into the file."""
    journal = Journal(path, job="delete")
    with traced(journal) as statements:
        assert [None] * 2000 == [recall(journal, position) for position in range(2000)]
    await journal.aclose()
    await written(path, 3)
    journal = Journal(path, job="delete")
    with traced(journal) as more:
        assert [None] * 2000 == [recall(journal, position) for position in range(3, 2003)]
    await journal.aclose()
    assert [] == statements + more


async def test_closed_while_something_holds_frames(path: Path) -> None:
    """What looks at other threads' frames, as debuggers do, keeps no file open that was closed."""
    frames: list[object] = []
    threading.setprofile(lambda frame, _, __: frames.append(frame))
    try:
        journal = Journal(path, job="delete")
        await intend(journal, 0)
        await settle(journal, 0)
        await journal.aclose()
    finally:
        threading.setprofile(None)
    assert frames
    other = sqlite3.connect(path, isolation_level=None, timeout=0.0)
    other.execute("BEGIN EXCLUSIVE")
    other.close()


async def test_cancelled_writers(path: Path) -> None:
    """Tasks that are cancelled while they wait for the disk take nothing from the others, nor from the file."""
    journal = Journal(path, job="delete")
    with held(journal):
        tasks = [asyncio.create_task(intend(journal, position)) for position in range(4)]
        await turns()
        tasks += [asyncio.create_task(intend(journal, position)) for position in range(4, 8)]
        await turns()
        for task in tasks[::2]:
            task.cancel()
        await turns()
        assert [True, False] * 4 == [task.cancelled() for task in tasks]
    await asyncio.gather(*tasks[1::2])
    await settle(journal, 1)
    await journal.aclose()
    journal = Journal(path, job="delete")
    assert [Entry(None, False), Entry("done", True)] == [recall(journal, 0), recall(journal, 1)]
    assert [Entry(None, False)] * 6 == [recall(journal, position) for position in range(2, 8)]
    await journal.aclose()


async def test_close_writes_what_waits(path: Path) -> None:
    """Closing writes what was asked for before, once, however often it is called; afterwards all is refused."""
    journal = Journal(path, job="delete")
    with held(journal):
        first = asyncio.create_task(intend(journal, 0))
        await turns()
        second = asyncio.create_task(intend(journal, 1))
        await turns()
        closing = [asyncio.create_task(journal.aclose()) for _ in range(3)]
        await turns()
        assert not any(task.done() for task in closing)
        closing[0].cancel()
    await asyncio.gather(first, second, *closing[1:])
    await journal.aclose()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: journal.intend(2, name(2), DIGEST),
        lambda: settle(journal, 0),
        lambda: asyncio.to_thread(recall, journal, 0),
    ]
    for call in calls:
        with pytest.raises(JournalError) as caught:
            await call()
        ours(caught.value, "is closed")
    journal = Journal(path, job="delete")
    assert [Entry(None, False)] * 2 == [recall(journal, 0), recall(journal, 1)]
    await journal.aclose()


# One run at a time


async def test_in_use(path: Path) -> None:
    """While one run holds the journal another is told so, in this process or in one of its own; then it is free."""
    source = """
        import sys
        from omi_async import JournalError
        from omi_async.journal import Journal
        try:
            Journal(sys.argv[1], job="delete")
        except JournalError as error:
            print(error)
        """
    journal = Journal(path, job="delete")
    await intend(journal, 0)
    refused(path, "in use by another run")
    # A refusal must not have loosened the lock of the first, as closing a descriptor of its own would have.
    assert "in use by another run" in run(source, path).check().out
    await intend(journal, 1)
    await journal.aclose()
    await written(path, 2)


@pytest.mark.parametrize("job", ["delete", "update"])
async def test_other_kind_of_job(path: Path, job: str) -> None:
    """The journal of deletions is not one of updates, nor the other way."""
    other = "update" if job == "delete" else "delete"
    await written(path, 1, job=other)
    refused(path, "another kind of job", f"({other}, not {job})", "Nothing is lost", job=job)
    await written(path, 1, job=other)


async def test_other_input(path: Path) -> None:
    """An item that is not the one that stands at its place is refused, by its id or by its digest."""
    await written(path, 3)
    journal = Journal(path, job="delete")
    for known_id, digest in ((name(2), DIGEST), (name(1), DIGEST[::-1])):
        with pytest.raises(JournalError) as caught:
            journal.recall(1, known_id, digest)
        ours(caught.value, "another item at position 1", "Give the same items in the same order, or a new journal.")
    assert Entry("done", True) == recall(journal, 1)
    await journal.aclose()


# Not a journal


def text(path: Path) -> None:
    path.write_text("Minutes of the design review\n" * 200)


def short_text(path: Path) -> None:
    path.write_text("hello")


def database(path: Path) -> None:
    edit(path, "CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL)")


def wal_database(path: Path) -> None:
    edit(path, "PRAGMA journal_mode = WAL")
    edit(path, "CREATE TABLE items (position INTEGER PRIMARY KEY)")


@pytest.mark.parametrize("make", [text, short_text, database, wal_database])
def test_not_a_journal(path: Path, make: Callable[[Path], None]) -> None:
    """A file of another kind is refused and left as it is, byte for byte."""
    make(path)
    before = path.read_bytes()
    refused(path, "is not a journal", "Give the name of a new file.")
    assert before == path.read_bytes()
    assert [path.name] == os.listdir(path.parent)


@pytest.mark.parametrize("damage", ["overwritten", "truncated", "table"])
async def test_damaged(path: Path, damage: str) -> None:
    """A journal that lost a part is refused with the words that a new one begins anew."""
    await written(path, 2000)
    if damage == "table":
        edit(path, "DROP TABLE items")
    else:
        content = path.read_bytes()
        kept = content[: len(content) // 4]
        path.write_bytes(kept if damage == "truncated" else kept.ljust(len(content), b"\xa5"))
    refused(path, "is damaged", "a new journal makes the job begin anew")


async def test_damage_found_later(path: Path) -> None:
    """Damage that shows itself only when a row is read is an error of the journal, not a missing row."""
    await written(path, 2000)
    journal = Journal(path, job="delete")
    sql(journal, "DROP TABLE items")
    with pytest.raises(JournalError) as caught:
        recall(journal, 0)
    ours(caught.value, "is damaged")
    await journal.aclose()


def first_format(path: Path, *, job: str) -> None:
    """Make a closed journal one of the first format."""
    edit(path, "ALTER TABLE items RENAME COLUMN id TO conversation_id")
    edit(path, "UPDATE meta SET value = ? WHERE name = 'job'", job)
    edit(path, "UPDATE meta SET value = 1 WHERE name = 'format'")


async def test_older_format(path: Path) -> None:
    """A journal of the first format, which knew conversations alone, goes on as one of this format."""
    await written(path, 3, job="conversations.delete")
    first_format(path, job="delete")
    for _ in range(2):
        journal = Journal(path, job="conversations.delete")
        assert {"done": 3} == journal.counts()
        assert [Entry("done", True)] * 3 + [None] == [recall(journal, position) for position in range(4)]
        await journal.aclose()


async def test_older_format_of_another_job(path: Path) -> None:
    """A journal of the first format is left as it is by every other kind of job."""
    await written(path, 1, job="conversations.delete")
    first_format(path, job="delete")
    before = path.read_bytes()
    for job in ("conversations.update", "memories.delete"):
        refused(path, "belongs to another kind of job (delete, not ", job=job)
    assert before == path.read_bytes()


async def test_newer_format(path: Path) -> None:
    """A journal of a later version is left to that version."""
    await written(path, 1)
    edit(path, "UPDATE meta SET value = 3 WHERE name = 'format'")
    before = path.read_bytes()
    refused(path, "has the format 3", "knows 2", "Nothing is lost")
    assert before == path.read_bytes()


# Where it cannot be


def test_no_directory(tmp_path: Path) -> None:
    """A path that leads nowhere says which part of it is wrong."""
    refused(tmp_path / "missing" / "cleanup.db", "its directory does not exist")
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "cleanup.db", "is not a directory")
    refused(tmp_path, "is a directory")
    refused(tmp_path / ("x" * 300), "cannot be made")
    assert ["file"] == os.listdir(tmp_path)


@contextmanager
def unprivileged() -> Iterator[None]:
    with ExitStack() as stack:
        if os.geteuid() == 0:
            os.seteuid(NAMELESS)
            stack.callback(os.seteuid, 0)
        yield


@pytest.mark.skipif(sys.platform == "win32", reason="no file modes")
@pytest.mark.parametrize("forbidden", ["making", "reading", "writing", "making the log"])
async def test_no_permission(forbidden: str) -> None:
    """A file or directory that may not be used is an error of permission at once, before anything is sent."""
    # A directory of its own: those of pytest are closed to other users.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "cleanup.db")
        if forbidden != "making":
            await written(path, 1)
            path.chmod({"reading": 0o000, "writing": 0o444, "making the log": 0o666}[forbidden])
        os.chmod(directory, 0o777 if forbidden in ("reading", "writing") else 0o555)
        with unprivileged():
            refused(path, "does not permit it", "mend the permissions and run the job again")
        os.chmod(directory, 0o700)


async def test_full_disk(path: Path) -> None:
    """When the disk is full every waiting and every later write fails, and what was reported before is there."""
    journal = Journal(path, job="delete")
    await intend(journal, *range(100))
    await settle(journal, 0)
    sql(journal, "PRAGMA max_page_count = 1")  # as many as there are now
    tasks = [asyncio.create_task(intend(journal, position)) for position in range(100, 600)]
    await asyncio.wait(tasks)
    for error in (task.exception() for task in tasks):
        assert isinstance(error, JournalError)
        ours(error, "the disk is full", "make room and run the job again with the same input and journal")
    assert len(tasks) == len({id(task.exception()) for task in tasks})
    sql(journal, "PRAGMA max_page_count = 1000000")
    for call in (intend(journal, 600), settle(journal, 1), asyncio.to_thread(recall, journal, 0)):
        with pytest.raises(JournalError) as caught:
            await call
        ours(caught.value, "the disk is full")
    await journal.aclose()
    journal = Journal(path, job="delete")
    assert Entry("done", True) == recall(journal, 0)
    assert [Entry(None, False)] * 99 == [recall(journal, position) for position in range(1, 100)]
    assert [None] * 501 == [recall(journal, position) for position in range(100, 601)]
    await intend(journal, 100)
    await journal.aclose()


@pytest.mark.parametrize("replaced", [False, True])
async def test_removed(path: Path, replaced: bool) -> None:
    """A journal whose file is removed or replaced under it does not go on as if what it writes could be found."""
    journal = Journal(path, job="delete")
    await intend(journal, 0)
    path.rename(path.with_suffix(".old"))
    if replaced:
        path.touch()
    with pytest.raises(JournalError) as caught:
        await settle(journal, 0)
    ours(caught.value, "was removed or replaced")
    await journal.aclose()


async def test_never_intended(path: Path) -> None:
    """The end of an item that was never intended has no place to be noted, and is not passed over."""
    journal = Journal(path, job="delete")
    with pytest.raises(JournalError) as caught:
        await settle(journal, 7)
    ours(caught.value, "cannot be written")
    await journal.aclose()


async def work(journal: Journal, count: int, *, concurrent: int) -> None:
    positions = iter(range(count))

    async def worker() -> None:
        for position in positions:
            assert recall(journal, position) is None
            await intend(journal, position)
            await settle(journal, position)

    await asyncio.gather(*(worker() for _ in range(concurrent)))


@pytest.mark.figure
@pytest.mark.parametrize(("concurrent", "full"), [(1, 20_000), (8, 100_000), (64, 1_000_000)])
async def test_rate(path: Path, concurrent: int, full: int, figure: Callable[..., None]) -> None:
    """However many items and tasks, all of them are there in the next run."""
    count = times(full)
    began = time.perf_counter()
    journal = Journal(path, job="delete")
    await work(journal, count, concurrent=concurrent)
    await journal.aclose()
    writing = time.perf_counter() - began
    journal = Journal(path, job="delete")
    opening = time.perf_counter() - began - writing
    assert {"done": count} == journal.counts()
    assert all(recall(journal, position) == ("done", True) for position in range(count))
    await journal.aclose()
    figure(
        f"journal, {concurrent} at once",
        items=count,
        items_a_second=round(count / writing),
        seconds_to_open_again=round(opening, 3),
    )


@pytest.mark.figure
async def test_memory(path: Path, figure: Callable[..., None]) -> None:
    """A longer job takes no more memory, in the first run and in the next."""
    count = times(50_000)
    tracemalloc.start()
    try:
        journal = Journal(path, job="delete")
        await work(journal, count, concurrent=64)
        await journal.aclose()
        journal = Journal(path, job="delete")
        assert all(recall(journal, position) == ("done", True) for position in range(count))
        await journal.aclose()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    figure("journal, memory", items=count, peak_kB=round(peak / 1000))
