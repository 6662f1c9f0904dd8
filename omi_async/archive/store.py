"""The archive's file: conversations as the server gave them, and when each was seen.

It is a SQLite database with a write-ahead log: one program at a time writes to it, and others read meanwhile. All of
SQLite happens on one thread of the archive's own, so that the event loop never waits for the disk.
"""

import asyncio
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar
from weakref import WeakSet

from .._database import Problem, alone, identity, make, problem_of, storable
from .._protocol.arguments import misconfigured
from .._wire.fork import keep_forever
from ..errors import ArchiveError
from ..models.archive import ArchivedConversation
from .documents import Contents, Document, of_text

R = TypeVar("R")

Connection: TypeAlias = sqlite3.Connection

_FORMAT = 1
_APPLICATION_ID = 0x4F4D4941  # "OMIA" in the file's header: no other program's database is taken for an archive
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
_COLUMNS = ("started_at", "finished_at", "title", "category", "folder_id", "folder_name", "language", "source")
"""Texts of a document that have a column of their own."""

_INSERT = (
    "INSERT INTO conversations (id, created_at, started_at, finished_at, title, category, folder_id, folder_name,"
    " language, source, has_transcript, document, digest, whole_digest, first_seen_at, seen_at, changed_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE conversations SET id = ?, created_at = ?, started_at = ?, finished_at = ?, title = ?, category = ?,"
    " folder_id = ?, folder_name = ?, language = ?, source = ?, has_transcript = ?, document = ?, digest = ?,"
    " whole_digest = ?, changed_at = ? WHERE number = ?"
)
_KNOWN = "SELECT number, document, has_transcript, whole_digest, seen_at FROM conversations WHERE id = ?"
_SEEN = "UPDATE conversations SET seen_at = ?, missing_at = NULL WHERE number = ?"
_FORGET_WORDS = "INSERT INTO words (words, rowid, title, overview, transcript) VALUES ('delete', ?, ?, ?, ?)"
_INDEX_WORDS = "INSERT INTO words (rowid, title, overview, transcript) VALUES (?, ?, ?, ?)"
_READ = (
    "SELECT id, created_at, document, has_transcript, first_seen_at, seen_at, changed_at, missing_at, kept_at,"
    " recreated_as FROM conversations"
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


class Unusable(Exception):
    """The file is no archive for this version; the text is the rest of the error's sentence."""


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
        _archives.add(self)

    async def get(self, conversation_id: str) -> ArchivedConversation | None:
        """Return a conversation by its id, or None if the archive does not have it."""

        def read(connection: Connection) -> ArchivedConversation | None:
            row = connection.execute(f"{_READ} WHERE id = ?", (storable(conversation_id),)).fetchone()
            return None if row is None else archived(row)

        return await self._run(read)

    async def count(self) -> int:
        """Return how many conversations the archive has."""
        return int(
            await self._run(lambda connection: connection.execute("SELECT count(*) FROM conversations").fetchone()[0])
        )

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
        try:
            working = self._thread.submit(self._do, work)
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

    @contextmanager
    def _filled(self) -> Iterator[None]:
        """Refuse a second one that fills the archive at the same time."""
        if self._filling:
            raise self._error("is being filled already. Wait for the end of that, or use another archive.")
        self._filling = True
        try:
            yield
        finally:
            self._filling = False

    def _error(self, problem: str) -> ArchiveError:
        return ArchiveError(f"the archive {self._path} {problem}", outcome="not_applied")

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

    def _identity(self) -> tuple[object, object]:
        return identity(self._file), identity(f"{self._file}-wal")

    @alone
    def _close(self) -> None:
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


@contextmanager
def writing(connection: Connection) -> Iterator[None]:
    """Make all changes within it or none; they are on disk when it ends."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# Rows


def now() -> str:
    """The moment, as it is stored."""
    return stored_time(datetime.now(UTC))


def stored_time(moment: datetime) -> str:
    """A moment as text that sorts as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def time_of(text: str) -> datetime:
    """The moment of such a text."""
    return datetime.fromisoformat(text)


def archived(row: tuple[Any, ...]) -> ArchivedConversation:
    """The model of a row that `_READ` has found."""
    record_id, created_at, document, has_transcript, first, seen, changed, missing, kept, recreated = row
    return ArchivedConversation(
        id=record_id,
        created_at=time_of(created_at),
        json=json.loads(unpacked(document)),
        has_transcript=bool(has_transcript),
        first_seen_at=time_of(first),
        seen_at=time_of(seen),
        changed_at=time_of(changed),
        missing_at=None if missing is None else time_of(missing),
        kept_at=None if kept is None else time_of(kept),
        recreated_as=recreated,
    )


def packed(text: str) -> bytes:
    """A document as it is stored."""
    return zlib.compress(text.encode(errors="surrogatepass"), 6)


def unpacked(document: bytes) -> str:
    """The text of a stored document."""
    return zlib.decompress(document).decode(errors="surrogatepass")


def store(connection: Connection, document: Document, moment: str) -> str:
    """Store a document, and say whether it is `new`, `changed` or `unchanged`.

    One without a transcript does not take the place of one that has it: it only says that the conversation is there.
    """
    contents = document.read()
    known = connection.execute(_KNOWN, (storable(document.id),)).fetchone()
    if known is None:
        number = connection.execute(_INSERT, (*_values(document, contents), moment, moment, moment)).lastrowid
        connection.execute(_INDEX_WORDS, (number, *map(storable, contents.words)))
        return "new"
    number, packed_before, had_transcript, whole_digest, seen_at = known
    connection.execute(_SEEN, (moment, number))
    if contents.whole_digest == whole_digest or (had_transcript and not document.has_transcript):
        return "unchanged"
    before = of_text(unpacked(packed_before)).read()
    connection.execute("INSERT INTO earlier VALUES (?, ?, ?)", (number, packed_before, seen_at))
    connection.execute(_FORGET_WORDS, (number, *map(storable, before.words)))
    connection.execute(_UPDATE, (*_values(document, contents), moment, number))
    connection.execute(_INDEX_WORDS, (number, *map(storable, contents.words)))
    return "changed"


def _values(document: Document, contents: Contents) -> tuple[object, ...]:
    columns = [contents.column(name) for name in _COLUMNS]
    return (
        storable(document.id),
        stored_time(document.created_at),
        *[None if value is None else storable(value) for value in columns],
        document.has_transcript,
        packed(document.text),
        contents.digest,
        contents.whole_digest,
    )


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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
