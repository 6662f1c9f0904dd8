"""The archive's file: conversations as the server gave them, and when each was seen.

It is a SQLite database with a write-ahead log: one program at a time writes to it, and others read meanwhile. All of
SQLite happens on one thread of the archive's own, so that the event loop never waits for the disk.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Literal, Self, TypeVar
from weakref import WeakSet

from .._database import Connection, Problem, alone, identity, make, problem_of, storable
from .._protocol import arguments
from .._protocol.arguments import misconfigured
from .._wire.fork import keep_forever
from ..errors import ArchiveError
from ..models.archive import ArchivedConversation, ArchiveMatch, ArchiveStatus, ExportProgress, ExportResult
from .export import Exporting
from .rows import READ, Unusable, archived, writing
from .search import search, terms_of
from .status import status

R = TypeVar("R")

_FORMAT = 1
_APPLICATION_ID = 0x4F4D4941  # "OMIA" in the file's header: no other program's database is taken for an archive
_MOST_MATCHES = 1000  # of one search
_BRIEFLY = 0.5  # seconds that another one in this process gets to let go of the lock
_PATIENCE = 10.0  # seconds that another program gets to end what it is writing

_SCHEMA = (
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_FORMAT}",
    "CREATE TABLE notes (name TEXT PRIMARY KEY, value NOT NULL)",
    "CREATE TABLE conversations ("
    "number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL,"
    " started_at TEXT, finished_at TEXT, title TEXT, category TEXT, folder_id TEXT, folder_name TEXT,"
    " language TEXT, source TEXT, has_transcript INTEGER NOT NULL,"
    " document BLOB NOT NULL, digest BLOB NOT NULL, whole_digest BLOB NOT NULL,"
    " first_seen_at TEXT NOT NULL, seen_at TEXT NOT NULL, changed_at TEXT NOT NULL,"
    " missing_at TEXT, kept_at TEXT, recreated_as TEXT)",
    "CREATE INDEX conversations_by_time ON conversations (created_at)",
    # What a newer document took the place of. It stays as it is.
    "CREATE TABLE earlier (number INTEGER NOT NULL, document BLOB NOT NULL, seen_at TEXT NOT NULL)",
    "CREATE INDEX earlier_by_number ON earlier (number)",
    # The index alone: the texts themselves are in the documents.
    "CREATE VIRTUAL TABLE words USING fts5("
    "title, overview, transcript, content='', tokenize='unicode61 remove_diacritics 2')",
    # Stretches of creation time of which all that the list shows was seen, with transcripts or without.
    "CREATE TABLE spans (has_transcripts INTEGER NOT NULL, oldest TEXT NOT NULL, newest TEXT NOT NULL)",
    # Pages that were shorter than they should be; certain once something follows them.
    "CREATE TABLE gaps (oldest TEXT NOT NULL, newest TEXT NOT NULL, is_certain INTEGER NOT NULL)",
    # What the list showed as new or changed, and is still to be fetched with its transcript.
    "CREATE TABLE wanted (id TEXT PRIMARY KEY, created_at TEXT NOT NULL, digest BLOB NOT NULL)",
)
# Each says what is wrong, what of it is lost and what to do.
_KEPT = "What was stored before is kept"
_AGAIN = "do the same again."
_NO_ARCHIVE = "is not an archive of this client and is left as it is. Give the name of a new file."
_FORBIDDEN = (
    f"cannot be opened or written: the file, its directory or its file system does not permit it. {_KEPT}: mend the "
    f"permissions and {_AGAIN}"
)
_REMOVED = "was removed or replaced meanwhile. What was stored last may be gone with it: put it back if you can."
_CLOSED = "is closed. Open it again to go on."
_FORKED = (
    "is open in the process of which this is a fork. Close it before the fork, or start the process in another way."
)
_ENDING = f"cannot be used any more, the program is ending. {_KEPT}: {_AGAIN}"
_NO_SEARCH = "cannot be used, the SQLite of this Python has no full-text search (FTS5). Use another build of Python."
_FILLING = "is being filled already. Wait for the end of that, or use another archive."
_OTHER = f"cannot be used. {_KEPT}: {_AGAIN}"
_PROBLEMS = {
    Problem.BUSY: f"is being written by another program. Nothing is lost: wait for its end and {_AGAIN}",
    Problem.DAMAGED: "is damaged. What is in it may be lost: give the name of a new file, and save again.",
    Problem.DISK: f"cannot be read or written, the disk failed. {_KEPT} as far as the disk has it: mend the disk.",
    Problem.FORBIDDEN: _FORBIDDEN,
    Problem.FOREIGN: _NO_ARCHIVE,
    Problem.FULL: f"cannot be written, the disk is full. {_KEPT}: make room and {_AGAIN}",
    Problem.IS_DIRECTORY: "is a directory. Give the name of a file in it.",
    Problem.NO_DIRECTORY: "cannot be made, its directory does not exist. Make the directory, or correct the path.",
    Problem.NO_FILE: "is no regular file. Give the name of a new file.",
    Problem.NO_PARENT: "cannot be made, a part of its path is not a directory. Correct the path.",
}


class Archive:
    """Conversations with their transcripts as the server gave them, in one file that only its owner may read.

    `omi.conversations.save_to` fills it, and `keep` of a deletion adds to it. The file is made if it is not there.
    Several programs may use it at the same time, of which one writes at a time. An archive belongs to one account: it
    refuses another server, but cannot tell two accounts of one server.

    Nothing is opened before the first use. Close the archive when done, or use it as a context manager. Raises
    `ConfigurationError` for what cannot be a path, and `ArchiveError` for a file that cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = _checked_path(path)
        self._file = os.path.realpath(self._path)
        self._thread = _thread()
        self._connection: Connection | None = None
        self._identities: tuple[object, object] = (None, None)
        self._problem: str | None = None
        self._filling = False
        self._held: Connection | None = None
        """The lock of the one that fills the archive."""
        _archives.add(self)

    async def get(self, conversation_id: str) -> ArchivedConversation | None:
        """Return a conversation by its id, or None if the archive does not have it."""

        def read(connection: Connection) -> ArchivedConversation | None:
            row = connection.execute(f"{READ} WHERE id = ?", (storable(conversation_id),)).fetchone()
            return None if row is None else archived(row)

        return await self._run(read)

    async def count(self) -> int:
        """Return how many conversations the archive has."""
        return int(
            await self._run(lambda connection: connection.execute("SELECT count(*) FROM conversations").fetchone()[0])
        )

    async def search(self, words: str, *, limit: int = 20) -> tuple[ArchiveMatch, ...]:
        """Return the conversations in which all these words are, the best match first.

        Titles, overviews and transcripts are searched, whatever case and accents words have. `"in quotes"` words
        follow each other, and `begin*` stands for all words that begin so.
        """
        work = partial(search, terms_of(words), arguments.whole(limit, "limit", largest=_MOST_MATCHES))
        return await self._run(work)

    async def status(self) -> ArchiveStatus:
        """Return how much is in the archive, from when to when, and what is not."""
        return await self._run(status)

    async def export(
        self,
        folder: str | os.PathLike[str],
        *,
        format: Literal["markdown", "jsonl", "csv"] = "markdown",  # noqa: A002 - the usual word for it
        timezone: str | None = None,
        on_progress: Callable[[ExportProgress], None] | None = None,
    ) -> ExportResult:
        """Write all conversations of the archive to files in a folder, which is made if it is not there.

        `markdown` writes a note for each conversation, `YEAR/MONTH/DAY TIME TITLE ID.md`. A note is written again only
        when its conversation has changed. One that a person has edited is left alone until then; after that, it is kept
        beside the new one. `jsonl` writes `conversations.jsonl`, each line the server's JSON document, and `csv` writes
        `conversations.csv`, a row for each conversation, without transcripts; these two are always written as a whole.
        Files appear at once and complete, and are for their owner's eyes only.

        `timezone` is an IANA name for days and times; by default it is this machine's. `on_progress` is called with an
        `ExportProgress` as the export goes on. Raises `ArchiveError` if the folder cannot be written; what was written
        before is whole, and exporting again goes on from there.
        """
        exporting = Exporting(folder, format, timezone, on_progress)
        try:
            while page := await self._run(exporting.read):
                await self._submit(partial(exporting.write, page))
                exporting.tell()
            return await self._submit(exporting.finish)
        finally:
            await self._submit(exporting.close)

    async def aclose(self) -> None:
        """Close the file. Closing twice does nothing."""
        if self._problem in (_CLOSED, _FORKED):
            return
        self._problem = _CLOSED
        try:
            closing = self._thread.submit(self._close)
        except RuntimeError:  # the program is ending: no thread can be had, and the archive's own is at rest
            self._close()
            return
        self._thread.shutdown(wait=False)
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # the synchronous side has none for an archive that only its clients have used
            closing.result()
        else:
            await asyncio.shield(asyncio.wrap_future(closing))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Archive {self._path}>"

    # For the rooms of the archive

    async def _run(self, work: Callable[[Connection], R]) -> R:
        """Do something with the database, on the archive's own thread."""
        if self._problem is not None:
            raise self._error(self._problem)
        return await self._submit(partial(self._do, work))

    async def _submit(self, work: Callable[[], R]) -> R:
        """Do something on the archive's own thread."""
        try:
            working = self._thread.submit(work)
        except RuntimeError:
            pass
        else:
            return await asyncio.wrap_future(working)  # what has begun is finished, even if this is cancelled
        raise self._error(_ENDING)

    def _later(self, work: Callable[[Connection], object]) -> None:
        """Do something some time, without anybody who waits for it or hears of what goes wrong."""
        if self._problem is None:
            with suppress(RuntimeError):  # the program is ending
                self._thread.submit(self._do, work)

    @asynccontextmanager
    async def _filled(self) -> AsyncIterator[None]:
        """Refuse a second one that fills the archive at the same time, in whatever process."""
        if self._filling:
            raise self._error(_FILLING)
        self._filling = True
        unlocked: Future[None] | None = None
        try:
            await self._run(self._lock)
            yield
        finally:
            self._filling = False
            with suppress(RuntimeError):  # the program is ending, and the lock ends with it
                unlocked = self._thread.submit(self._unlock)
        if unlocked is not None:
            await asyncio.wrap_future(unlocked)

    def _error(self, problem: str) -> ArchiveError:
        retryable = problem in (_FILLING, _PROBLEMS[Problem.BUSY])
        return ArchiveError(f"the archive {self._path} {problem}", outcome="not_applied", retryable=retryable)

    # On the archive's thread. Errors are raised outside the except block: SQLite's could carry values.

    @alone
    def _do(self, work: Callable[[Connection], R]) -> R:
        try:
            connection = self._connection or self._open()
            before = connection.total_changes
            result = work(connection)
            if connection.total_changes == before or (self._identity() == self._identities):
                return result
            problem = _REMOVED
        except Unusable as error:
            problem = str(error)
        except (OSError, sqlite3.Error) as error:
            problem = _explain(error)
        raise self._error(problem)

    def _open(self) -> Connection:
        make(self._file)
        if identity(self._file) in _inherited:
            raise Unusable(_FORKED)
        # Statements are not kept: one that lives on, as in a frame that something holds, would keep the file locked.
        connection = sqlite3.connect(
            self._file, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=0
        )
        try:
            with writing(connection):
                # Looked at before anything is written: what is not an archive must stay as it is.
                _prepare(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")  # on macOS, fsync alone leaves it to the drive
            connection.execute("SELECT count(*) FROM notes").fetchone()  # the log's file is there from now on
            _settle_name(self._file)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._identities = self._identity()
        return connection

    def _lock(self, _: Connection) -> None:
        """Take the lock of the one that fills the archive. It ends with the process, however that ends."""
        file = f"{self._file}-lock"
        make(file)
        held = sqlite3.connect(
            file, timeout=_BRIEFLY, isolation_level=None, check_same_thread=False, cached_statements=0
        )
        try:
            held.execute("BEGIN EXCLUSIVE")  # nothing is ever written to it
        except sqlite3.Error as error:
            held.close()
            if problem_of(error) is not Problem.BUSY:
                raise
        else:
            self._held = held
            return
        raise Unusable(_FILLING)

    @alone
    def _unlock(self) -> None:
        if self._held is not None:
            with suppress(sqlite3.Error):  # the lock ends with the process at the latest
                self._held.execute("ROLLBACK")
                self._held.close()
            self._held = None

    def _identity(self) -> tuple[object, object]:
        return identity(self._file), identity(f"{self._file}-wal")

    @alone
    def _close(self) -> None:
        self._unlock()
        if self._connection is not None:
            with suppress(sqlite3.Error):  # what was reported as stored is on disk already
                self._connection.close()


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "omi-archive")


def checked(archive: Archive) -> Archive:
    """Accept an archive of this side."""
    if not isinstance(archive, Archive):
        raise misconfigured("the archive must be an Archive.")
    return archive


def _checked_path(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(name, str) or not name or "\0" in name:
        raise misconfigured("path must be the path of a file, without a NUL character.")
    return name


def _prepare(connection: Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not application and not tables:
        for statement in _SCHEMA:
            connection.execute(statement)
    elif application != _APPLICATION_ID:
        raise Unusable(_NO_ARCHIVE)
    (known,) = connection.execute("PRAGMA user_version").fetchone()
    if known != _FORMAT:
        raise Unusable(
            f"has the format {known}, and this version of omi-async knows {_FORMAT}. Nothing is lost: go on with the "
            "version that made it, or a later one."
        )


def _settle_name(file: str) -> None:
    """Have the file's name on disk, where the system lets a directory be synced."""
    with suppress(OSError):
        directory = os.open(os.path.dirname(file), os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _explain(error: Exception) -> str:
    if isinstance(error, sqlite3.OperationalError) and "fts5" in str(error):
        return _NO_SEARCH
    return _PROBLEMS.get(problem_of(error), _OTHER)


_archives: "WeakSet[Archive]" = WeakSet()

_inherited: set[object] = set()
"""Files that SQLite takes for open in this process, because they were in the one that it was forked from."""


def _after_fork_in_child() -> None:
    for archive in list(_archives):
        if archive._connection is None:  # its thread, if it had one, was not copied
            archive._thread = _thread()
            continue
        archive._problem = _FORKED
        _inherited.add(archive._identities[0])
        # Closed in the child, even by the end of its interpreter, SQLite would take the log from under the parent.
        keep_forever(archive._connection)
        if archive._held is not None:
            keep_forever(archive._held)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
