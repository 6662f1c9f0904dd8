"""The journal of a bulk job: what is about to be sent and how it ended, on disk before the next step.

A job that was killed goes on where it stopped when it is started again with the same input and journal. The file
is a SQLite database that one run at a time holds. It knows positions, ids, digests and results, never a key or what
was said. All of SQLite happens on one thread of the journal's own: the event loop never waits for the disk.
"""

import asyncio
import os
import sqlite3
import struct
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple, ParamSpec, TypeAlias, TypeVar
from weakref import WeakSet

from ._database import Problem, alone, identity, make, problem_of, storable
from ._wire.fork import keep_forever
from .errors import JournalError
from .models.bulk import BulkStatus

if sys.platform == "linux":
    import fcntl

P = ParamSpec("P")
R = TypeVar("R")

_FORMAT = 2
_APPLICATION_ID = 0x4F4D494A  # "OMIJ" in the file's header: no other program's database is taken for a journal
_PATIENCE = 0.5  # seconds that a run which is just ending gets to let go of its journal
_LOCKED_BYTE = 2**40  # far from the bytes that SQLite locks
_BLOCK = 512  # rows of an earlier run that are read at once

_SCHEMA = (
    f"PRAGMA application_id = {_APPLICATION_ID}",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL)",
    "CREATE TABLE items (position INTEGER PRIMARY KEY, id TEXT NOT NULL, digest BLOB NOT NULL,"
    " status TEXT, settled INTEGER NOT NULL, attempts INTEGER NOT NULL)",
)
_NOTE = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
_INTEND = "INSERT OR REPLACE INTO items VALUES (?, ?, ?, NULL, 0, 0)"
_SETTLE = "UPDATE items SET status = ?, settled = ?, attempts = ? WHERE position = ?"
_READ = "SELECT position, id, digest, status, settled FROM items WHERE position BETWEEN ? AND ?"
# The first format named the column after conversations, the only records there were, and the jobs without a resource.
_FROM_FORMAT_1 = (
    "ALTER TABLE items RENAME COLUMN conversation_id TO id",
    "UPDATE meta SET value = 'conversations.' || value WHERE name = 'job'",
    "UPDATE meta SET value = 2 WHERE name = 'format'",
)
# A later write to an id that was done is made again if an earlier one is still to be made: the last one must win.
_REOPEN = (
    "UPDATE items SET settled = 0 WHERE settled AND status IN ('done', 'unconfirmed') AND position IN ("
    "SELECT later.position FROM items AS earlier JOIN items AS later"
    " ON later.id = earlier.id AND later.position > earlier.position WHERE NOT earlier.settled)"
)
# Written into the main file itself: it says that a run has rows in the file beside it, the WAL.
_HOLD = "INSERT OR REPLACE INTO meta VALUES ('held', 1)"
_LET_GO = "UPDATE meta SET value = 0 WHERE name = 'held'"
_COUNT = "SELECT status, count(*) FROM items WHERE settled GROUP BY status"

# Each says what is wrong, what of it is lost and what to do.
_KEPT = "What was noted before is kept"
_AGAIN = "run the job again with the same input and journal."
_NO_JOURNAL = "is not a journal of this client and is left as it is. Give the name of a new file."
_IN_USE = "is in use by another run. Nothing is lost: wait for its end, or use a journal for each job."
_FULL = f"cannot be written, the disk is full. {_KEPT}: make room and {_AGAIN}"
_FORBIDDEN = (
    f"cannot be opened or written: the file, its directory or its file system does not permit it. {_KEPT}: "
    f"mend the permissions and {_AGAIN}"
)
_DAMAGED = "is damaged. What it knew is lost: a new journal makes the job begin anew, which sends done items again."
_DISK = f"cannot be read or written, the disk failed. {_KEPT} as far as the disk has it: mend it and {_AGAIN}"
_OTHER = f"cannot be written. {_KEPT}: {_AGAIN}"
_REMOVED = "was removed or replaced during the run. Put it back if you can, or begin anew with a new journal."
_WAL_REMOVED = (
    f"lost its other file, the same name with -wal, which was removed or replaced during the run. {_KEPT}: {_AGAIN}"
)
_ALONE = (
    "was left by a run that was killed, and its other file, the same name with -wal, is missing: what that run noted "
    "last is in it. Put the two side by side again, or begin anew with a new journal."
)
_UNKNOWN_RESULT = (
    "has results that this version of omi-async does not know. Nothing is lost: go on with the version that made it, "
    "or a later one."
)
_CLOSED = "is closed. Open it again to go on."
_FORKED = "belongs to the process that opened it, of which this is a fork. Use another journal here."
_ENDING = f"cannot be used any more, the program is ending. {_KEPT}: {_AGAIN}"

_PROBLEMS = {
    Problem.BUSY: _IN_USE,
    Problem.DAMAGED: _DAMAGED,
    Problem.DISK: _DISK,
    Problem.FORBIDDEN: _FORBIDDEN,
    Problem.FOREIGN: _NO_JOURNAL,
    Problem.FULL: _FULL,
    Problem.IS_DIRECTORY: "is a directory. Give the name of a file in it.",
    Problem.NO_DIRECTORY: "cannot be made, its directory does not exist. Make the directory, or correct the path.",
    Problem.NO_FILE: "is no regular file. Give the name of a new file.",
    Problem.NO_PARENT: "cannot be made, a part of its path is not a directory. Correct the path.",
}


class Entry(NamedTuple):
    """What an earlier run wrote of an item."""

    status: str | None
    """`"done"`, `"unconfirmed"`, `"failed"`, `"unknown"`; None: perhaps sent, and how it ended was never known."""

    settled: bool
    """Nothing is left to do for it."""


_Rows: TypeAlias = dict[int, tuple[str, bytes, str | None, int]]
"""By position: id, digest, status, settled."""


class _Write(NamedTuple):
    statement: str
    values: tuple[object, ...]
    written: "asyncio.Future[str | None]"
    """The writer's own, so that its cancellation is nobody else's. The result is what went wrong."""


class Journal:
    """The journal at `path`, opened or made, and held until `aclose`.

    `job` is what kind of job it is for, and `server` the base URL that it writes to; a journal without one takes
    the first. Opening blocks, but not for long. Everything here raises `JournalError`; after a write that failed, all
    do.
    """

    def __init__(self, path: str | os.PathLike[str], *, job: str, server: str | None = None) -> None:
        self.path: str = os.fspath(path)
        # Resolved: to SQLite, "" and ":memory:" are no files, and a dangling link would be made with its own mode.
        self._file = os.path.realpath(self.path)
        self._wal = f"{self._file}-wal"
        self._problem: str | None = None
        self._closing: asyncio.Future[None] | None = None
        self._gathered: list[_Write] = []
        self._committing = False
        self._block = -1
        self._rows: _Rows = {}
        self._ahead: Future[_Rows] | None = None
        self._thread = ThreadPoolExecutor(1, "omi-journal")
        try:
            self._submit(self._open, job, server).result()
        finally:
            if not hasattr(self, "_connection"):
                self._thread.shutdown(wait=False)

    def recall(self, position: int, record_id: str, digest: bytes) -> Entry | None:
        """What an earlier run wrote of the item at this place of the input, counted from 0; None: nothing.

        Meant to be called in the input's order: then the rows are there before they are asked for.
        """
        self._check()
        if position > self._last:
            return None
        number = position // _BLOCK
        if number != self._block:
            ahead = self._ahead if number == self._block + 1 else None
            self._rows = (ahead or self._submit(self._read, number)).result()
            self._block = number
            self._ahead = self._submit(self._read, number + 1)
        row = self._rows.get(position)
        if row is None:
            return None
        known_id, known_digest, status, settled = row
        if (known_id, known_digest) != (storable(record_id), digest):
            raise self._error(
                f"knows another item at position {position} of the input (counted from 0): the input was changed, or "
                "the journal is another job's. Give the same items in the same order, or a new journal."
            )
        return Entry(status, bool(settled))

    def end(self, length: int) -> None:
        """Refuse an input that has ended after so many items, if earlier runs had more."""
        if length <= self._last:
            raise self._error(
                f"knows {self._last + 1} items of the input, which has {length} now: the input was changed, or the "
                "journal is another job's. Give the same items in the same order, or a new journal."
            )

    def counts(self) -> dict[str, int]:
        """How many items were settled with which status when the journal was opened."""
        return dict(self._counts)

    async def intend(self, position: int, record_id: str, digest: bytes) -> None:
        """Note that the item's request is about to be sent; on disk when this returns."""
        await self._write(_INTEND, position, storable(record_id), digest)

    async def settle(self, position: int, *, status: str, settled: bool, attempts: int) -> None:
        """Note how an item that was intended ended; on disk when this returns."""
        await self._write(_SETTLE, status, settled, attempts, position)

    async def aclose(self) -> None:
        """Write what waits to be written, close the file and let others have it; again, it does nothing."""
        if self._problem is _FORKED:
            return
        if self._closing is None:
            loop = asyncio.get_running_loop()
            self._flush(loop)
            try:
                self._closing = loop.run_in_executor(self._thread, self._close)
            except RuntimeError:  # the program is ending: no thread can be had, and the journal's own is at rest
                self._closing = loop.create_future()
                self._close()
                self._closing.set_result(None)
            self._thread.shutdown(wait=False)
        await asyncio.shield(self._closing)

    # On the caller's thread

    async def _write(self, statement: str, *values: object) -> None:
        self._check()
        loop = asyncio.get_running_loop()
        write = _Write(statement, values, loop.create_future())
        self._gathered.append(write)
        if not self._committing:
            # Not at once: what other tasks write in this turn of the loop shares the commit.
            self._committing = True
            loop.call_soon(self._flush, loop)
        problem = await write.written
        if problem is not None:
            raise self._error(problem)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._gathered = self._gathered, []
        self._committing = bool(batch)
        if batch:
            try:
                commit = loop.run_in_executor(self._thread, self._commit, batch)
            except RuntimeError:
                self._problem = _ENDING
                self._wake(batch, _ENDING)
            else:
                commit.add_done_callback(lambda commit: self._wake(batch, commit.result()))

    def _wake(self, batch: list[_Write], problem: str | None) -> None:
        for write in batch:
            if not write.written.done():  # its writer was cancelled; the write was made all the same
                write.written.set_result(problem)
        self._flush(asyncio.get_running_loop())

    def _submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        try:
            return self._thread.submit(function, *args, **kwargs)
        except RuntimeError:  # "after interpreter shutdown", or "can't start new thread"
            pass
        raise self._error(_ENDING)

    def _check(self) -> None:
        problem = _CLOSED if self._closing is not None else self._problem
        if problem is not None:
            raise self._error(problem)

    def _error(self, problem: str) -> JournalError:
        return JournalError(f"the journal {self.path} {problem}", outcome="not_applied", retryable=problem is _IN_USE)

    # On the journal's thread. Errors are raised outside the except block: SQLite's could carry values.

    @alone
    def _open(self, job: str, server: str | None) -> None:
        connection: sqlite3.Connection | None = None
        lock: int | None = None
        is_held = False
        try:
            make(self._file)
            lock = _lock(self._file)
            is_alone = identity(self._wal) is None  # SQLite would make one
            # Statements are not kept: one that lives on, as in a frame that something holds, would keep the closed file
            # locked.
            connection = sqlite3.connect(
                self._file, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=0
            )
            # Held until it is closed or the process is gone; also keeps the WAL's index out of shared memory.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")  # on macOS, fsync alone leaves it to the drive
            connection.execute("BEGIN EXCLUSIVE")
            # Looked at before anything is written: what is not a journal must stay as it is.
            problem = _prepare(connection, job, server, is_alone=is_alone)
            if problem is None:
                connection.execute("COMMIT")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(_HOLD)
                is_held = True
                connection.execute("PRAGMA wal_checkpoint")
                connection.execute(_REOPEN)
                self._last: int = connection.execute("SELECT ifnull(max(position), -1) FROM items").fetchone()[0]
                self._counts: dict[str, int] = dict(connection.execute(_COUNT))
                if not set(self._counts) <= set(BulkStatus):
                    problem = _UNKNOWN_RESULT
        except (OSError, sqlite3.Error) as error:
            problem = _explain(error)
        if problem is None and connection is not None:
            self._identities = identity(self._file), identity(self._wal)
            self._connection = connection
            self._lock = lock
            _journals.add(self)
            return
        if connection is not None:
            if is_held:
                _let_go(connection)
            connection.close()
        if lock is not None:
            os.close(lock)
        raise self._error(problem or _OTHER)

    @alone
    def _read(self, number: int) -> _Rows:
        try:
            rows = self._connection.execute(_READ, (number * _BLOCK, (number + 1) * _BLOCK - 1))
            return {position: (record_id, *rest) for position, record_id, *rest in rows}
        except sqlite3.Error as error:
            problem = _explain(error)
        raise self._error(problem)

    @alone
    def _commit(self, batch: list[_Write]) -> str | None:
        """Write all of it or nothing; what went wrong stays wrong for every later batch."""
        if self._problem is None:
            try:
                self._connection.execute("BEGIN")
                for write in batch:
                    if self._connection.execute(write.statement, write.values).rowcount != 1:
                        raise LookupError("settled without being intended")
                self._connection.execute("COMMIT")
            except Exception as error:  # noqa: BLE001 - whatever it was, those who wait must hear of it
                self._problem = _explain(error)
            else:
                # A job may run for days, and the cleaning of a directory would go unnoticed: the open files live on.
                file, wal = self._identities
                if identity(self._file) != file:
                    self._problem = _REMOVED
                elif identity(self._wal) != wal:
                    self._problem = _WAL_REMOVED
        return self._problem

    @alone
    def _close(self) -> None:
        _let_go(self._connection)
        with suppress(sqlite3.Error):  # what was reported as written is on disk already
            self._connection.close()
        lock, self._lock = self._lock, None  # its number is soon another file's
        if lock is not None:
            os.close(lock)


async def open_journal(path: str | os.PathLike[str], *, job: str, server: str | None = None) -> Journal:
    """The journal, opened while the loop runs on; a cancelled opening leaves nothing open behind."""
    opening = asyncio.ensure_future(asyncio.to_thread(Journal, path, job=job, server=server))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # Its thread cannot be stopped: what it opens would stay locked for the next run.
        with suppress(JournalError):
            await (await opening).aclose()
        raise


def _lock(file: str) -> int | None:
    """Lock the file until the descriptor is closed; None where the system cannot.

    SQLite's own lock does not last: it ends when anything in this process has read the file, if only to copy it.
    """
    if sys.platform != "linux":
        return None
    descriptor = os.open(file, os.O_RDWR)
    wanted = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_BYTE, 1, 0)
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(descriptor)
                raise
        except OSError:  # a file system without such locks
            os.close(descriptor)
            return None
        else:
            return descriptor
        time.sleep(0.01)


def _let_go(connection: sqlite3.Connection) -> None:
    """Note that no rows are left beside the main file, as far as that can be written."""
    with suppress(sqlite3.Error):
        # After a checkpoint the WAL is written from its beginning, which takes no room on a full disk.
        connection.execute("PRAGMA wal_checkpoint")
        connection.execute(_LET_GO)


def _prepare(connection: sqlite3.Connection, job: str, server: str | None, *, is_alone: bool) -> str | None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not application and not tables:
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.executemany(_NOTE, [("format", _FORMAT), ("job", job), ("created", now)])
    elif application != _APPLICATION_ID:
        return _NO_JOURNAL
    notes = dict(connection.execute("SELECT name, value FROM meta"))
    if notes.get("format") == 1 and f"conversations.{notes.get('job')}" == job:
        for statement in _FROM_FORMAT_1:
            connection.execute(statement)
        notes = dict(connection.execute("SELECT name, value FROM meta"))
    if notes.get("format") not in (1, _FORMAT):
        return (
            f"has the format {notes.get('format')}, and this version of omi-async knows {_FORMAT}. Nothing is lost: "
            "go on with the version that made it, or a later one."
        )
    if notes.get("job") != job:
        return (
            f"belongs to another kind of job ({notes.get('job')}, not {job}). Nothing is lost: give it to that job, "
            "and to this one a new journal."
        )
    if server is not None and notes.get("server", server) != server:
        return (
            f"belongs to another server ({notes.get('server')}, not {server}): what is done there is not done here. "
            "Nothing is lost: go on with that server, or give this one a new journal."
        )
    if is_alone and notes.get("held"):
        return _ALONE
    # Shows at once whether the file can be written at all.
    connection.execute(_NOTE, ("opened", now))
    if server is not None:
        connection.execute(_NOTE, ("server", server))
    return None


def _explain(error: Exception) -> str:
    problem = problem_of(error)
    if isinstance(error, OSError) and problem is Problem.OTHER:
        return f"cannot be made ({os.strerror(error.errno or 0)}). Nothing is lost: give another path."
    return _PROBLEMS.get(problem, _OTHER)


_journals: "WeakSet[Journal]" = WeakSet()


def _after_fork_in_child() -> None:
    for journal in list(_journals):
        journal._problem = _FORKED
        # Closed in the child, even by the end of its interpreter, SQLite would take the WAL from under the parent.
        keep_forever(journal._connection)
        if journal._lock is not None:
            os.close(journal._lock)  # the parent's lock lasts until both have closed it
            journal._lock = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
