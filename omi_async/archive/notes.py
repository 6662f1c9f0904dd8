"""What a pull notes in the archive, so that the next one goes on where it stopped. All of it runs inside SQLite.

A span is a stretch of creation time of which everything that the list shows is in the archive, or is wanted: noted to
be fetched. The beginning of time is the empty text.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

from .._database import Connection, storable
from .documents import Document
from .rows import Unusable, now, store, stored_time

BEGINNING = ""
END = "9999"
"""Later than any moment."""

_UNSEEN = "created_at >= ? AND created_at <= ? AND seen_at < ? AND missing_at IS NULL"
_MISSED = f"SELECT id FROM conversations WHERE {_UNSEEN}"  # noqa: S608 - no value is in it
_MISS = f"UPDATE conversations SET missing_at = ? WHERE {_UNSEEN}"  # noqa: S608 - no value is in it
_OLDER = (
    "SELECT nullif(max("
    "coalesce((SELECT max(created_at) FROM conversations WHERE created_at < gaps.oldest AND missing_at IS NULL), ''),"
    " coalesce((SELECT max(created_at) FROM wanted WHERE created_at < gaps.oldest), '')), '')"
)
"""The newest conversation behind a gap; NULL if there is none."""

_NEXT = (
    "SELECT id, created_at, NULL FROM conversations WHERE created_at <= ? AND id NOT IN (SELECT id FROM wanted)"
    " UNION ALL SELECT id, created_at, digest FROM wanted WHERE created_at <= ? ORDER BY created_at DESC LIMIT ?"
)


class Span(NamedTuple):
    """A stretch of creation time, both ends included."""

    oldest: str
    newest: str


class Look(NamedTuple):
    """A look at what is there, that has not come to its end."""

    oldest: str
    until: str
    """How new its rows may be."""
    began_at: str
    transcripts: bool
    """Whether what it finds is to be fetched."""
    newest: str | None = None
    """The newest row that it has seen."""
    reached: str | None = None
    """Everything from here on was seen."""


class Wanted(NamedTuple):
    """A conversation that is to be fetched with its transcript."""

    id: str
    created_at: str
    digest: bytes


def bind(connection: Connection, server: str) -> None:
    """Have the archive belong to a server; refuse another one's."""
    known = note(connection, "server")
    if known is None:
        set_note(connection, "server", server)
    elif known != server:
        raise Unusable(
            f"belongs to another server ({known}, not {server}). Nothing is lost: give this server a new archive."
        )


def note(connection: Connection, name: str) -> str | None:
    """What was noted by a name."""
    row = connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def set_note(connection: Connection, name: str, value: str) -> None:
    """Note something by a name."""
    connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))


# Spans


def spans(connection: Connection, *, transcripts: bool) -> list[Span]:
    """What was seen, the newest first; what was seen with transcripts was seen without them too."""
    found = connection.execute(
        "SELECT oldest, newest FROM spans WHERE has_transcripts >= ? ORDER BY newest DESC", (transcripts,)
    ).fetchall()
    return _joined([Span(*each) for each in found])


def add_span(connection: Connection, span: Span, *, transcripts: bool) -> None:
    """Note that a stretch was seen."""
    found = connection.execute("SELECT oldest, newest FROM spans WHERE has_transcripts = ?", (transcripts,)).fetchall()
    connection.execute("DELETE FROM spans WHERE has_transcripts = ?", (transcripts,))
    joined = _joined(sorted([span, *[Span(*each) for each in found]], key=lambda each: each.newest, reverse=True))
    connection.executemany("INSERT INTO spans VALUES (?, ?, ?)", [(transcripts, *each) for each in joined])


def _joined(found: list[Span]) -> list[Span]:
    """Spans that touch become one; the newest comes first."""
    joined: list[Span] = []
    for span in found:
        if joined and span.newest >= joined[-1].oldest:
            joined[-1] = Span(min(span.oldest, joined[-1].oldest), joined[-1].newest)
        else:
            joined.append(span)
    return joined


def holes(known: list[Span], oldest: str, newest: str) -> list[Span]:
    """The stretches between two moments that were not seen, the newest first."""
    found = []
    top = newest
    for span in known:
        lower = max(span.newest, oldest)
        if lower < top:
            found.append(Span(lower, top))
        top = min(top, span.oldest)
    if oldest < top:
        found.append(Span(oldest, top))
    return found


# Gaps


def page_seen(connection: Connection, page: Span, above: str) -> None:
    """Note a page of a look that was at `above` before: what an earlier look said of that stretch is out of date."""
    found = connection.execute(
        "SELECT rowid, oldest, newest FROM gaps WHERE is_certain AND oldest <= ? AND newest >= ?", (above, page.oldest)
    ).fetchall()
    for number, oldest, newest in found:
        connection.execute("DELETE FROM gaps WHERE rowid = ?", (number,))
        rest = [(oldest, page.oldest), (above, newest)]
        connection.executemany("INSERT INTO gaps VALUES (?, ?, 1)", [each for each in rest if each[0] < each[1]])


def short_page(connection: Connection, page: Span) -> None:
    """Note a page that had room for more: something is withheld, if anything older follows."""
    connection.execute("DELETE FROM gaps WHERE NOT is_certain AND (oldest, newest) = (?, ?)", page)
    connection.execute("INSERT INTO gaps VALUES (?, ?, 0)", page)


def _decide_gaps(connection: Connection) -> None:
    """Decide of the short pages of a look that is over: those with something older behind them have gaps."""
    connection.execute(f"UPDATE gaps SET is_certain = 1 WHERE ({_OLDER}) IS NOT NULL")  # noqa: S608 - no value is in it
    connection.execute("DELETE FROM gaps WHERE NOT is_certain")


def gaps(connection: Connection) -> list[Span]:
    """Where the server withholds something, the oldest first.

    The rows of short pages are noted. What such a page lacks may come behind them too, as far as the next known row.
    """
    found = connection.execute(
        f"SELECT coalesce(({_OLDER}), oldest), newest FROM gaps WHERE is_certain ORDER BY newest DESC"  # noqa: S608
    ).fetchall()
    return _joined([Span(*each) for each in found])[::-1]


# A look


def look(connection: Connection) -> Look | None:
    """The look that was interrupted, if there is one."""
    text = note(connection, "look")
    return None if text is None else Look(*json.loads(text))


def set_look(connection: Connection, look: Look) -> None:
    """Note how far a look is."""
    set_note(connection, "look", json.dumps(look))


def end_look(look: Look, connection: Connection) -> list[str]:
    """Note that a look is over; the ids that it missed."""
    connection.execute("DELETE FROM notes WHERE name = 'look'")
    _decide_gaps(connection)
    if look.newest is not None:
        add_span(connection, Span(look.oldest, look.newest), transcripts=look.transcripts)
    bounds = (look.oldest, look.until, look.began_at)
    missed = [each for (each,) in connection.execute(_MISSED, bounds)]
    connection.execute(_MISS, (now(), *bounds))
    return missed


def look_at(connection: Connection, row: Document, moment: str, *, transcripts: bool) -> str:
    """Compare a row without its transcript with what is held; say `new`, `changed`, `unchanged` or `wanted`."""
    held = connection.execute(
        "SELECT number, digest, has_transcript FROM conversations WHERE id = ?", (storable(row.id),)
    ).fetchone()
    if held is None and not transcripts:
        return store(connection, row, moment)
    row_digest = row.read().digest
    if held is not None:
        number, digest, has_transcript = held
        connection.execute("UPDATE conversations SET seen_at = ?, missing_at = NULL WHERE number = ?", (moment, number))
        if digest == row_digest and (has_transcript or not transcripts):
            return "unchanged"
        if not (has_transcript or transcripts):
            return store(connection, row, moment)
    connection.execute(
        "INSERT OR REPLACE INTO wanted VALUES (?, ?, ?)", (storable(row.id), stored_time(row.created_at), row_digest)
    )
    return "wanted"


# Wanted


def wanted(connection: Connection) -> int:
    """How many conversations are wanted."""
    return int(connection.execute("SELECT count(*) FROM wanted").fetchone()[0])


def next_wanted(connection: Connection, largest: int, without: set[str]) -> tuple[Wanted | None, int, int]:
    """The newest one that is wanted, how many are on a page that begins with it, and how long that page must be.

    Those of `without` are none.
    """
    newest_first = connection.execute(
        "SELECT id, created_at FROM wanted ORDER BY created_at DESC LIMIT ?", (len(without) + 1,)
    ).fetchall()
    newest = next((created_at for record_id, created_at in newest_first if record_id not in without), None)
    rows = connection.execute(_NEXT, (newest, newest, largest)).fetchall()
    places = [place for place, (record_id, _, digest) in enumerate(rows) if digest and record_id not in without]
    return (Wanted(*rows[places[0]]), len(places), places[-1] + 1) if places else (None, 0, 0)


def fetched(connection: Connection, documents: Iterable[Document], moment: str) -> list[str]:
    """Store what was fetched with its transcript; what became of each."""
    found = []
    for document in documents:
        found.append(store(connection, document, moment))
        # The next look compares with what the list showed, should that differ from the whole.
        connection.execute(
            "UPDATE conversations SET digest = coalesce((SELECT digest FROM wanted WHERE wanted.id = ?), digest)"
            " WHERE id = ?",
            (storable(document.id), storable(document.id)),
        )
        give_up(connection, document.id)
    return found


def give_up(connection: Connection, record_id: str) -> None:
    """Want a conversation no longer."""
    connection.execute("DELETE FROM wanted WHERE id = ?", (storable(record_id),))
