"""The archive's file: what is held, what is refused, and who may read it."""

import asyncio
import json
import os
import sqlite3
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

import omi_sync
from omi_async import ArchiveError, ConfigurationError
from omi_async.archive import Archive
from omi_async.archive.documents import of_text, searchable
from omi_async.archive.rows import now, store, unpacked, writing
from tests.support.raw import conversation

SAID = "a wholly private matter"


def document(name: str = "conv_1", said: str | None = SAID, **fields: Any) -> Any:
    segments = None if said is None else [{"text": said, "start": 0.0, "end": 1.5}]
    return of_text(json.dumps(conversation(name, transcript_segments=segments, **fields)))


async def put(archive: Archive, *documents: Any) -> list[str]:
    def work(connection: sqlite3.Connection) -> list[str]:
        with writing(connection):
            return [store(connection, each, now()) for each in documents]

    return await archive._run(work)


async def found(archive: Archive, words: str) -> int:
    return await archive._run(
        lambda connection: int(
            connection.execute("SELECT count(*) FROM words WHERE words MATCH ?", (words,)).fetchone()[0]
        )
    )


async def test_a_document_stays_as_it_came(tmp_path: Path) -> None:
    """The text of a document is kept to the letter, with fields that no model knows."""
    text = '{ "id": "conv_1", "created_at":"2026-01-20T10:00:00Z", "newer": [1.50, "\\ud800"], "structured": {} }'
    async with Archive(tmp_path / "archive.db") as archive:
        assert ["new"] == await put(archive, of_text(text))
        saved = await archive.get("conv_1")
        assert saved is not None
        assert [1.5, "\ud800"] == saved.json["newer"]
        assert not saved.has_transcript
        assert text == await archive._run(raw_text)
        assert await archive.get("conv_2") is None
        assert 1 == await archive.count()


def raw_text(connection: sqlite3.Connection) -> str:
    return unpacked(connection.execute("SELECT document FROM conversations").fetchone()[0])


async def test_changes(tmp_path: Path) -> None:
    """A change takes the place of what was there, which stays beside it; a document without a transcript does not."""
    async with Archive(tmp_path / "archive.db") as archive:
        assert ["new", "unchanged"] == await put(archive, document(), document())
        assert ["unchanged"] == await put(archive, document(said=None, source="phone"))
        assert ["changed"] == await put(archive, document(said="another matter"))
        saved = await archive.get("conv_1")
        assert saved is not None
        assert "another matter" == saved.json["transcript_segments"][0]["text"]
        assert saved.first_seen_at < saved.changed_at == saved.seen_at
        earlier = await archive._run(lambda connection: connection.execute("SELECT number FROM earlier").fetchall())
        assert [(1,)] == earlier
        assert (0, 1) == (await found(archive, "wholly"), await found(archive, "another"))


async def test_what_is_stored_is_on_disk(tmp_path: Path) -> None:
    """A commit returns when the disk has it, and readers go on meanwhile."""
    async with Archive(tmp_path / "archive.db") as archive:
        modes = [f"PRAGMA {name}" for name in ("synchronous", "fullfsync", "journal_mode")]
        assert [2, 1, "wal"] == [
            await archive._run(lambda connection, mode=mode: connection.execute(mode).fetchone()[0])  # type: ignore[misc]
            for mode in modes
        ]


async def test_words_without_blanks(tmp_path: Path) -> None:
    """Scripts without blanks between words are found by any part of a word."""
    async with Archive(tmp_path / "archive.db") as archive:
        await put(archive, document(said="今日は会議があります"), document("conv_2", said="Café"))
        assert 1 == await found(archive, f'"{searchable("会議")}"')
        assert 1 == await found(archive, "cafe")


@pytest.mark.skipif(sys.platform == "win32", reason="files have no mode there")
async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """The file and those that SQLite puts beside it are for their owner alone."""
    old = os.umask(0)
    try:
        async with Archive(tmp_path / "archive.db") as archive:
            await put(archive, document())
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    finally:
        os.umask(old)
    assert {"archive.db", "archive.db-wal", "archive.db-shm"} == set(modes)
    assert {0o600} == set(modes.values())


async def test_nothing_is_shown(tmp_path: Path) -> None:
    """No text of a conversation is in a repr, and none in the error for a file that cannot be used."""
    async with Archive(tmp_path / "archive.db") as archive:
        await put(archive, document())
        saved = await archive.get("conv_1")
        assert saved is not None
        assert SAID in str(saved.json)
        assert SAID not in f"{archive!r}{saved!r}{document()!r}"
        await archive._run(lambda connection: connection.execute("DROP TABLE words").fetchall())
        with pytest.raises(ArchiveError, match="is damaged") as caught:
            await put(archive, document("conv_2"))
        assert SAID not in repr(caught.value)
        assert caught.value.__context__ is None


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()


def newer(path: Path) -> None:
    async def made() -> None:
        async with Archive(path) as archive:
            await archive.count()

    asyncio.run(made())
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (foreign, "is not an archive of this client and is left as it is. Give the name of a new file."),
        (lambda path: path.write_text("A text of mine, which is longer than a header."), "is not an archive"),
        (newer, "has the format 2, and this version of omi-async knows 1. Nothing is lost: go on with the version"),
        (lambda path: path.mkdir(), "is a directory. Give the name of a file in it."),
    ],
    ids=["another database", "no database", "newer", "directory"],
)
def test_other_files_stay_as_they_are(make: Any, problem: str, tmp_path: Path) -> None:
    """A file that is no archive of this version is refused with what to do, and not touched."""
    path = tmp_path / "file.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with omi_sync.Archive(path) as archive, pytest.raises(ArchiveError) as caught:
        archive.count()
    assert problem in str(caught.value)
    assert before == (path.read_bytes() if path.is_file() else None)
    assert {path} == set(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["", "a\0b", 5, None, b"archive.db"])
def test_what_is_no_path(path: Any) -> None:
    """What cannot be a path is refused at once, on both sides."""
    for kind in (Archive, omi_sync.Archive):
        with pytest.raises(ConfigurationError):
            kind(path)


async def test_others_read_meanwhile(tmp_path: Path) -> None:
    """One archive can be read while another one of the same file writes, and what is written is seen at once."""
    async with Archive(tmp_path / "archive.db") as one, Archive(tmp_path / "archive.db") as other:
        assert 0 == await other.count()
        for number in range(5):
            await put(one, document(f"conv_{number}"))
            assert number + 1 == await other.count()
        await put(other, document("conv_9"))
        assert 6 == await one.count()


@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_removed_meanwhile(suffix: str, tmp_path: Path) -> None:
    """What is written to a file that has no name any more is not reported as stored."""
    async with Archive(tmp_path / "archive.db") as archive:
        await put(archive, document())
        (tmp_path / f"archive.db{suffix}").unlink()
        with pytest.raises(ArchiveError, match="was removed or replaced meanwhile"):
            await put(archive, document("conv_2"))


async def test_closed(tmp_path: Path) -> None:
    """A closed archive says so; closing again does nothing, and neither does closing one that was never used."""
    archive = Archive(tmp_path / "archive.db")
    await archive.aclose()
    await archive.aclose()
    with pytest.raises(ArchiveError, match="is closed"):
        await archive.count()
    assert [] == list(tmp_path.iterdir())
