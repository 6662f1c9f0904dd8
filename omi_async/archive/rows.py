"""The rows of an archive: how conversations are written and read. All of it runs inside SQLite."""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from .._database import Connection, storable
from ..models.archive import ArchivedConversation
from .documents import Contents, Document, of_text

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
_SEEN = "UPDATE conversations SET seen_at = max(seen_at, ?), missing_at = NULL WHERE number = ?"
_FORGET_WORDS = "INSERT INTO words (words, rowid, title, overview, transcript) VALUES ('delete', ?, ?, ?, ?)"
_INDEX_WORDS = "INSERT INTO words (rowid, title, overview, transcript) VALUES (?, ?, ?, ?)"
READ = (
    "SELECT id, created_at, document, has_transcript, first_seen_at, seen_at, changed_at, missing_at, kept_at,"
    " recreated_as FROM conversations"
)


class Unusable(Exception):
    """The file is no archive for this version; the text is the rest of the error's sentence."""


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
    """The model of a row that `READ` has found."""
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
