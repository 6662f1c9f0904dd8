"""`search`: conversations by their words, and in each the line that matches best."""

import re
from collections.abc import Iterator

from .._database import Connection, storable
from .._protocol.arguments import refused
from ..models.archive import ArchiveMatch
from .content import Content, Said, content
from .documents import searchable
from .rows import time_of, unpacked

_TERM = re.compile(r'"([^"]*)"|([^\s"]+)')

# A word in the title says more than one in the overview, and that more than one in the transcript.
_FIND = (
    "SELECT number, created_at, document FROM words JOIN conversations ON number = words.rowid"
    " WHERE words MATCH ? AND rank MATCH 'bm25(10.0, 4.0, 1.0)' ORDER BY rank LIMIT ?"
)
_LINES = "CREATE VIRTUAL TABLE temp.lines USING fts5(line, tokenize='unicode61 remove_diacritics 2')"


def search(terms: list[str], limit: int, connection: Connection) -> tuple[ArchiveMatch, ...]:
    """The conversations in which all terms are, the best match first."""
    found = connection.execute(_FIND, (" AND ".join(terms), limit)).fetchall()
    contents = [content(unpacked(document)) for _, _, document in found]
    best = _best_lines([list(_lines(each)) for each in contents], " OR ".join(terms), connection)
    return tuple(
        [
            ArchiveMatch(
                id=each.id,
                created_at=time_of(created_at),
                title=each.title,
                line=line,
                speaker=None if said is None else said.speaker,
                start=None if said is None else said.start,
            )
            for (_, created_at, _), each, (line, said) in zip(found, contents, best, strict=True)
        ]
    )


def terms_of(words: str) -> list[str]:
    """The terms of what was typed, as SQLite reads them: words, phrases in quotes, beginnings with a star."""
    if not isinstance(words, str):
        raise TypeError(f"words must be a str, not {type(words).__name__}")
    terms = []
    for phrase, word in _TERM.findall(words):
        if any(map(str.isalnum, phrase or word)):
            star = " *" if word.endswith("*") else ""
            terms.append(f'"{storable(searchable(phrase or word))}"{star}')
    if not terms:
        raise refused("words must have a letter or a digit.")
    return terms


def _lines(each: Content) -> Iterator[tuple[str, Said | None]]:
    yield each.title, None
    for line in each.overview.splitlines():
        yield line, None
    for said in each.said:
        yield said.text, said


def _best_lines(
    documents: list[list[tuple[str, Said | None]]], query: str, connection: Connection
) -> list[tuple[str, Said | None]]:
    """The line of each document that matches best, by the rules by which the documents were found."""
    lines = [(place, line) for place, each in enumerate(documents) for line in each]
    connection.execute("PRAGMA temp_store = MEMORY")  # what people have said is not put into another file
    connection.execute("DROP TABLE IF EXISTS temp.lines")
    connection.execute(_LINES)
    rows = [(number, storable(searchable(text))) for number, (_, (text, _)) in enumerate(lines)]
    connection.executemany("INSERT INTO temp.lines (rowid, line) VALUES (?, ?)", rows)
    # The words of a phrase may stand on two lines: then the title has to do.
    best = [each[0] for each in documents]
    ranked = connection.execute("SELECT rowid FROM temp.lines WHERE lines MATCH ? ORDER BY rank, rowid", (query,))
    for (number,) in reversed(ranked.fetchall()):
        place, line = lines[number]
        best[place] = line
    connection.execute("DROP TABLE temp.lines")
    return best
