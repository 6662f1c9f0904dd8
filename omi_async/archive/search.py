"""`search`: conversations by their words, and in each the line that matches best."""

import re
import unicodedata
from collections.abc import Iterator

from .._database import Connection, storable
from .._protocol.arguments import refused
from ..models.archive import ArchiveMatch
from .documents import searchable
from .rows import time_of, unpacked
from .view import Said, View, view

_TERM = re.compile(r'"([^"]*)"|([^\s"]+)')

# A word in the title says more than one in the overview, and that more than one in the transcript.
_FIND = (
    "SELECT number, created_at, document FROM"
    " (SELECT rowid AS found, bm25(words, 10.0, 4.0, 1.0) AS score FROM words WHERE words MATCH ?"
    " ORDER BY score LIMIT ?)"
    " JOIN conversations ON number = found ORDER BY score, created_at DESC"
)
_LINES = "CREATE VIRTUAL TABLE temp.lines USING fts5(line, tokenize='unicode61 remove_diacritics 2')"


def search(terms: list[str], limit: int, connection: Connection) -> tuple[ArchiveMatch, ...]:
    """The conversations in which all terms are, the best match first."""
    found = connection.execute(_FIND, (" AND ".join(terms), limit)).fetchall()
    views = [view(unpacked(document)) for _, _, document in found]
    best = _best_lines(views, terms, connection)
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
            for (_, created_at, _), each, (line, said) in zip(found, views, best, strict=True)
        ]
    )


def terms_of(words: str) -> list[str]:
    """The terms of what was typed, as SQLite reads them: words, phrases in quotes, beginnings with a star."""
    if not isinstance(words, str):
        raise TypeError(f"words must be a str, not {type(words).__name__}")
    terms = []
    for phrase, word in _TERM.findall(words.replace("\0", " ")):  # SQLite would read no further than a NUL
        if any(map(str.isalnum, phrase or word)):
            star = " *" if word.endswith("*") else ""
            terms.append(f'"{storable(searchable(phrase or word))}"{star}')
    if not terms:
        raise refused("words must have a letter or a digit.")
    return terms


def _lines(each: View) -> Iterator[tuple[str, Said | None]]:
    yield each.title, None
    for line in each.overview.splitlines():
        yield line, None
    for said in each.said:
        yield said.text, said


def _best_lines(views: list[View], terms: list[str], connection: Connection) -> list[tuple[str, Said | None]]:
    """The line of each document that matches best, by the rules by which the documents were found."""
    words = [word for term in terms for word in re.findall(r"[^\W_]+", _folded(term))]
    lines = [
        (place, line)
        for place, each in enumerate(views)
        for line in _lines(each)
        if any(word in _folded(line[0]) for word in words)  # most lines are not worth a closer look
    ]
    connection.execute("PRAGMA temp_store = MEMORY")  # what people have said is not put into another file
    connection.execute("DROP TABLE IF EXISTS temp.lines")
    connection.execute(_LINES)
    rows = [(number, storable(searchable(text))) for number, (_, (text, _)) in enumerate(lines)]
    connection.executemany("INSERT INTO temp.lines (rowid, line) VALUES (?, ?)", rows)
    # The words of a phrase may stand on two lines: then the title has to do.
    best: list[tuple[str, Said | None]] = [(each.title, None) for each in views]
    ranked = connection.execute(
        "SELECT rowid FROM temp.lines WHERE lines MATCH ? ORDER BY rank, rowid", (" OR ".join(terms),)
    )
    for (number,) in reversed(ranked.fetchall()):
        place, line = lines[number]
        best[place] = line
    connection.execute("DROP TABLE temp.lines")
    return best


def _folded(text: str) -> str:
    """Text without differences of case and accents."""
    if text.isascii():
        return text.lower()
    return "".join(each for each in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(each))
