"""What comes out of an archive: notes, lines and rows, matches of a search, and its status."""

import asyncio
import csv
import errno
import json
import os
import re
import sqlite3
import stat
import sys
import time
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import omi_sync
from omi_async import ArchiveError, ConfigurationError, ExportProgress, ExportResult, InvalidRequestError
from omi_async.archive import Archive
from omi_async.archive.documents import of_text
from omi_async.archive.markdown import _quoted
from omi_async.archive.rows import now, store, writing
from omi_async.archive.view import plain
from tests.support.archives import conversations
from tests.support.raw import conversation
from tests.support.scale import FULL
from tests.support.subprocesses import run

ZONE = "Europe/Berlin"


def said(*lines: str | tuple[str, str]) -> list[dict[str, Any]]:
    """Segments of a transcript: texts, or names and texts."""
    return [
        {
            "text": each if isinstance(each, str) else each[1],
            "speaker_id": number % 2,
            "speaker_name": None if isinstance(each, str) else each[0],
            "start": 61.5 * number,
            "end": 61.5 * number + 3,
        }
        for number, each in enumerate(lines)
    ]


def document(name: str = "conv_1", title: str = "Design review", **fields: Any) -> str:
    made = conversation(name, **{"transcript_segments": said("Hello."), **fields})
    made["structured"]["title"] = title
    return json.dumps(made)


async def put(archive: Archive, *texts: str) -> None:
    def work(connection: sqlite3.Connection) -> None:
        with writing(connection):
            for each in texts:
                store(connection, of_text(each, has_transcript=True), now())

    await archive._run(work)


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Archive]:
    async with Archive(tmp_path / "archive.db") as archive:
        yield archive


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "vault"


async def export(archive: Archive, folder: Path) -> ExportResult:
    return await archive.export(folder, timezone=ZONE)


def files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """All files, with the moments when they were written."""
    return {str(each.relative_to(folder)): (each.read_bytes(), each.stat().st_mtime_ns) for each in files(folder)}


def only(folder: Path) -> Path:
    (file,) = files(folder)
    return file


# Notes

NOTE = """\
---
id: "conv_1"
created: 2026-01-20T11:00:00+01:00
started: 2026-01-20T11:00:00+01:00
category: "work"
folder: "My \\"work\\": all"
language: "en"
source: "omi"
place: "Unter den Linden"
people: ["Ann", "Bob: the builder"]
omi_export: "STAMP"
---

# 🚪 Design review

They spoke about the door.

It is *blue*.

## Action items

- [ ] Paint the door (due 2026-01-21 09:00)
- [x] Buy paint

## Events

- 2026-02-01 10:00 Opening: all come

## Transcript

**Ann** 00:00: Hello. Is it blue?

**Bob: the builder** 01:01: Yes.

**Speaker 0** 02:03: No.
"""


async def test_a_note(archive: Archive, folder: Path) -> None:
    """A note has front matter, the title, the overview, a checklist, events and what each speaker said."""
    made = json.loads(
        document(
            folder_id="f1",
            folder_name='My "work": all',
            geolocation={"latitude": 52.5, "longitude": 13.4, "address": "Unter den Linden"},
            transcript_segments=said(("Ann", "Hello.\nIs it blue?"), (" Bob: the builder", "Yes."), "No."),
        )
    )
    made["structured"]["overview"] = "They spoke about the door.\r\n\r\nIt is *blue*.\n"
    made["structured"]["action_items"] = [
        {"description": "Paint\nthe door", "completed": False, "due_at": "2026-01-21T08:00:00Z"},
        {"description": "Buy paint", "completed": True},
    ]
    made["structured"]["events"] = [{"title": "Opening", "description": "all come", "start": "2026-02-01T09:00:00Z"}]
    await put(archive, json.dumps(made))
    assert ExportResult(conversations=1, written=1, unchanged=0, edited=(), kept=()) == await export(archive, folder)
    file = only(folder)
    assert re.fullmatch("2026/01/2026-01-20 1100 Design review [0-9a-f]{8}.md", file.relative_to(folder).as_posix())
    text = file.read_text(encoding="utf-8")
    assert NOTE == re.sub('omi_export: ".*"', 'omi_export: "STAMP"', text)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"structured": [], "transcript_segments": {"a": 1}, "started_at": "soon", "geolocation": 7},
        {"structured": {"title": 5, "action_items": [None, 3]}, "transcript_segments": [None, {"start": "x"}]},
        {"started_at": "0001-01-01T00:00:00+14:00", "finished_at": "9999-12-31T23:59:59-12:00"},
        {"structured": {"title": "\ud800", "overview": "a\x00b\ud800", "category": "\ud800"}},
        {"transcript_segments": [{"text": "x", "start": 1e300, "speaker_id": -1}]},
    ],
)
@pytest.mark.parametrize("form", ["markdown", "csv", "jsonl"])
async def test_any_document(archive: Archive, folder: Path, members: dict[str, Any], form: Any) -> None:
    """What no model can hold is exported as far as it goes, and never stops the rest."""
    await put(
        archive,
        json.dumps({"id": "conv_1", "created_at": "2026-01-20T10:00:00Z", **members}),
        document("conv_2"),
    )
    assert 2 == (await archive.export(folder, format=form)).conversations
    assert all("\0" not in each.read_text(encoding="utf-8") for each in files(folder))


TITLES = [
    "",
    "   ",
    'a/b\\c:d*e?f"g<h>i|j',
    "../../etc/passwd",
    "CON",
    "nul.md",
    "COM1",
    ".hidden",
    "ends with dots...",
    "ends with blanks   ",
    "line\nbreak\tand\x07bell",
    "👨‍👩‍👧‍👦 family 🏳️‍🌈",
    "💥" * 200,
    "é" * 200,
    "x" * 500,
    "a word " * 100,
    "\u202egnp.exe",
    "\ud800 alone",
    "[[link]] #tag ^block %41 a___b",
    "~$lock",
    "Ünïcödé",
    "U\u0308ni\u0308co\u0308de\u0301",
    "MiXed Case",
    "mixed case",
    "-rf",
    "\u3164",
    "会議の議事録" * 40,
]
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{name}{number}" for name in ("COM", "LPT") for number in range(10))}


def check_name(name: str) -> None:
    """The rules of Linux, macOS and Windows, and of links in Obsidian."""
    assert len(name.encode()) <= 143  # eCryptfs; else 255
    assert len(name.encode("utf-16-le")) // 2 <= 255
    assert not set('<>:"/\\|?*#^[]%') & set(name)
    assert not any(unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in name)
    assert name.rstrip(" .") == name.strip() == name
    assert name.partition(".")[0].strip().upper() not in RESERVED
    assert not name.startswith((".", "-", "~"))
    assert unicodedata.is_normalized("NFC", name)


async def test_names_of_files(archive: Archive, folder: Path) -> None:
    """Whatever the titles are, all names are safe on every system, and none is another's in another case."""
    await put(archive, *[document(f"conv_{number}", title) for number, title in enumerate(TITLES)])
    assert len(TITLES) == (await export(archive, folder)).written
    found = files(folder)
    for each in found:
        check_name(each.name)
        assert ("2026", "01") == each.relative_to(folder).parts[:-1]
    assert len(TITLES) == len({unicodedata.normalize("NFD", each.name.casefold()) for each in found})
    assert 0 == (await export(archive, folder)).written


@given(st.text())
def test_front_matter_reads_as_written(text: str) -> None:
    """A value of the front matter is JSON, without the characters that YAML refuses or takes for line breaks."""
    quoted = _quoted(text)
    assert text == json.loads(quoted)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]", quoted)


async def test_nothing_changed(archive: Archive, folder: Path) -> None:
    """Exporting again writes nothing; into another folder, the same bytes."""
    await put(archive, *[document(f"conv_{number}", f"Title {number}") for number in range(60)])
    await export(archive, folder)
    before = contents(folder)
    assert (0, 60) == ((second := await export(archive, folder)).written, second.unchanged)
    assert before == contents(folder)
    await export(archive, folder.parent / "other")
    assert {name: raw for name, (raw, _) in before.items()} == {
        name: raw for name, (raw, _) in contents(folder.parent / "other").items()
    }


@pytest.mark.skipif(sys.platform == "win32", reason="files have no mode there")
async def test_for_the_owner_alone(archive: Archive, folder: Path) -> None:
    """Files and folders are for their owner's eyes; a mode that a person gave a note is kept."""
    await put(archive, document())
    await export(archive, folder)
    file = only(folder)
    assert [0o600, 0o700] == [stat.S_IMODE(each.stat().st_mode) for each in (file, folder)]
    file.chmod(0o640)
    await put(archive, document(language="de"))
    assert 1 == (await export(archive, folder)).written
    assert 0o640 == stat.S_IMODE(only(folder).stat().st_mode)


def test_for_the_owner_alone_whatever_the_mask(tmp_path: Path) -> None:
    """No folder within the export's is open to others, even where the process makes files for everybody."""
    source = """
import asyncio, os, sys
from omi_async.archive import Archive
from omi_async.archive.documents import of_text
from omi_async.archive.rows import now, store, writing

os.umask(0)

def work(connection):
    with writing(connection):
        store(connection, of_text('{"id": "conv_1", "created_at": "2026-01-20T10:00:00Z"}'), now())

async def main():
    async with Archive(f"{sys.argv[1]}/archive.db") as archive:
        await archive._run(work)
        await archive.export(f"{sys.argv[1]}/vault")
        open_to_others = [root for root, _, _ in os.walk(f"{sys.argv[1]}/vault") if os.stat(root).st_mode & 0o077]
        assert [] == open_to_others, open_to_others

asyncio.run(main())
"""
    run(source, str(tmp_path)).check()


def read_back(text: str) -> dict[str, Any]:
    """What a note tells, read by one who knows only how it looks."""
    _, front, body = text.split("---\n", 2)
    properties = dict(line.split(": ", 1) for line in front.splitlines())
    heading, overview, *rest = body.strip().split("\n\n")
    said = [re.fullmatch(r"\*\*(.+)\*\* ([0-9]+):([0-9]{2}): (.*)", line) for line in rest[1:]]
    return {
        "id": json.loads(properties["id"]),
        "created_at": datetime.fromisoformat(properties["created"]),
        "finished_at": datetime.fromisoformat(properties["finished"]),
        "category": json.loads(properties["category"]),
        "title": heading.removeprefix("# 🧠").strip(),
        "overview": overview,
        "said": [(each[1], int(each[2]) * 60 + int(each[3]), each[4]) for each in said if each],
    }


@pytest.mark.figure
async def test_all_of_it_is_read_back(archive: Archive, folder: Path, figure: Callable[..., None]) -> None:
    """Every conversation has its note, with all that was said; exported again, none is written."""
    made = {each.id: each for each in conversations(20000 if FULL else 200, words=500 if FULL else 40)}
    for number, each in enumerate(made.values()):
        if number % 3 == 0:
            each.title = TITLES[number % len(TITLES)]
    texts = [json.dumps(each.to_json(include_transcript=True)) for each in made.values()]
    for start in range(0, len(texts), 100):
        await put(archive, *texts[start : start + 100])
    began = time.monotonic()
    assert len(made) == (await export(archive, folder)).written
    seconds = time.monotonic() - began
    for file in files(folder):
        check_name(file.name)
        note = read_back(file.read_text(encoding="utf-8"))
        source = made.pop(note["id"])
        assert note == {
            "id": source.id,
            "created_at": source.created_at.replace(microsecond=0),
            "finished_at": source.finished_at and source.finished_at.replace(microsecond=0),
            "category": source.category,
            "title": " ".join(plain(source.title).split()),
            "overview": source.overview,
            "said": [
                (f"Speaker {each['speaker_id']}", int(each["start"]), each["text"])
                for each in source.transcript_segments
            ],
        }
    assert {} == made
    before = contents(folder)
    began = time.monotonic()
    again = await export(archive, folder)
    assert (0, len(texts)) == (again.written, again.unchanged)
    assert before == contents(folder)
    figure(
        "archive, notes",
        conversations=len(texts),
        seconds=round(seconds, 1),
        seconds_again=round(time.monotonic() - began, 1),
        written_again=again.written,
    )


# Changes, and what a person did


async def test_a_new_title(archive: Archive, folder: Path) -> None:
    """A conversation with a new title has a note of a new name, in the place of the old one."""
    await put(archive, document())
    await export(archive, folder)
    await put(archive, document(title="Another title"))
    result = await export(archive, folder)
    assert (1, (), ()) == (result.written, result.edited, result.kept)
    assert "Another title" in only(folder).name
    assert "# 🚪 Another title" in only(folder).read_text(encoding="utf-8")


async def test_a_new_title_of_a_run_that_was_killed(
    archive: Archive, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a run ends, a conversation has one note, and the next run brings it up to date."""
    await put(archive, document())
    await export(archive, folder)
    for number, step in enumerate(("rename", "replace", "unlink")):
        await put(archive, document(title=f"Title {number}"))
        real = getattr(os, step)

        def killed(*arguments: Any, real: Any = real) -> None:
            real(*arguments)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(os, step, killed)
            with suppress(KeyboardInterrupt):
                await export(archive, folder)
        await export(archive, folder)
        assert f"Title {number}" in only(folder).name
        assert f"# 🚪 Title {number}" in only(folder).read_text(encoding="utf-8")


async def test_two_runs_at_once(archive: Archive, folder: Path, tmp_path: Path) -> None:
    """Two exports to one folder at the same time do not take each other's notes for edited ones."""
    await put(archive, *[document(f"conv_{number}") for number in range(60)])
    async with Archive(tmp_path / "archive.db") as other:
        for language in ("en", "de"):
            await put(archive, *[document(f"conv_{number}", language=language) for number in range(60)])
            results = await asyncio.gather(export(archive, folder), export(other, folder))
            assert [(), ()] == [each.kept for each in results]
            assert 60 == len(files(folder))


@pytest.mark.skipif(sys.platform == "win32", reason="links need a permission there")
async def test_a_folder_behind_a_link(archive: Archive, folder: Path, tmp_path: Path) -> None:
    """Notes that a person has put elsewhere, behind a link, are known again."""
    await put(archive, document())
    (tmp_path / "elsewhere").mkdir()
    folder.mkdir()
    (folder / "2026").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert 1 == (await export(archive, folder)).written
    again = await export(archive, folder)
    assert (0, 1, ()) == (again.written, again.unchanged, again.kept)


async def test_an_edited_note(archive: Archive, folder: Path) -> None:
    """An edited note is left alone until its conversation changes, and is then kept beside the new one, and named."""
    await put(archive, document(), document("conv_2"))
    await export(archive, folder)
    file = next(each for each in files(folder) if "conv_1" in each.read_text(encoding="utf-8"))
    mine = file.read_text(encoding="utf-8").replace("Hello.", "Hello, my own words.")
    file.write_text(mine, encoding="utf-8")
    name = file.relative_to(folder).as_posix()
    for _ in range(2):
        result = await export(archive, folder)
        assert (0, 1, (name,), ()) == (result.written, result.unchanged, result.edited, result.kept)
        assert mine == file.read_text(encoding="utf-8")
    await put(archive, document(language="de"))
    result = await export(archive, folder)
    kept = name.replace(".md", " (edited).md")
    assert (1, 1, (), (kept,)) == (result.written, result.unchanged, result.edited, result.kept)
    assert mine == (folder / kept).read_text(encoding="utf-8")
    assert 'language: "de"' in file.read_text(encoding="utf-8")
    check_name(Path(kept).name)
    result = await export(archive, folder)
    assert (0, 2, (), ()) == (result.written, result.unchanged, result.edited, result.kept)
    file.write_text("---\nid: conv_1\n---\nall mine", encoding="utf-8")
    result = await export(archive, folder)  # without a stamp nobody can tell what it was made of
    assert (1, (kept.replace("(edited)", "(edited 2)"),)) == (result.written, result.kept)
    assert 4 == len(files(folder))


async def test_an_edited_note_with_a_new_title(archive: Archive, folder: Path) -> None:
    """An edited note is kept beside the new one, wherever that is."""
    await put(archive, document())
    await export(archive, folder)
    file = only(folder)
    file.write_bytes(file.read_bytes() + b"mine\n")
    await put(archive, document(title="Another", started_at="2026-03-01T10:00:00Z"))
    result = await export(archive, folder)
    assert (1, 1) == (result.written, len(result.kept))
    assert re.fullmatch(r"2026/03/2026-03-01 1100 Another [0-9a-f]{8} \(edited\).md", result.kept[0])
    assert b"mine\n" == (folder / result.kept[0]).read_bytes()[-5:]
    assert not file.exists()


async def test_a_moved_note(archive: Archive, folder: Path) -> None:
    """A note that a person has moved within the folder is left where it is; a copy of it is nobody's business."""
    await put(archive, document())
    await export(archive, folder)
    file = only(folder)
    (folder / "Projects").mkdir()
    moved = file.rename(folder / "Projects" / f"My name {file.name[-11:]}")
    result = await export(archive, folder)
    assert (0, 1, [moved]) == (result.written, result.unchanged, files(folder))
    (folder / ".trash").mkdir()
    moved.rename(folder / ".trash" / moved.name)
    assert 1 == (await export(archive, folder)).written  # one in Obsidian's trash is not seen
    copy = folder / "backup" / "of" / "today" / file.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(file.read_bytes())
    await put(archive, document(title="Another title"))
    assert 1 == (await export(archive, folder)).written
    assert copy.exists()
    assert not file.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw,
    ],
    ids=["line ends", "nothing"],
)
async def test_no_edit(archive: Archive, folder: Path, change: Any) -> None:
    """Line ends of Windows, as Git makes them, are no edit."""
    await put(archive, document())
    await export(archive, folder)
    only(folder).write_bytes(change(only(folder).read_bytes()))
    assert (0, 1) == ((result := await export(archive, folder)).written, result.unchanged)
    await put(archive, document(language="de"))
    result = await export(archive, folder)
    assert (1, ()) == (result.written, result.kept)


async def test_properties_written_by_obsidian(archive: Archive, folder: Path) -> None:
    """An editor that writes the front matter in its own way has edited the note, which is still known."""
    await put(archive, document())
    await export(archive, folder)
    file = only(folder)
    plain = re.sub('^(id|omi_export): "(.*)"$', r"\1: \2", file.read_text(encoding="utf-8"), flags=re.M)
    file.write_text(plain.replace("people", "tags: [mine]\npeople"), encoding="utf-8")
    result = await export(archive, folder)
    assert (0, (file.relative_to(folder).as_posix(),)) == (result.written, result.edited)


async def test_a_file_of_another(archive: Archive, folder: Path) -> None:
    """A file that has the name of a note and is none is never written over."""
    await put(archive, document())
    await export(archive, folder)
    file = only(folder)
    file.write_text("a shopping list", encoding="utf-8")
    result = await export(archive, folder)
    assert (1, 1) == (result.written, len(result.kept))
    assert "a shopping list" == (folder / result.kept[0]).read_text(encoding="utf-8")
    file.unlink()
    file.mkdir()
    result = await export(archive, folder)
    assert (1, 1) == (result.written, len(result.kept))
    assert (folder / result.kept[0]).is_dir()


async def test_time_zones(archive: Archive, folder: Path) -> None:
    """Days are those of the time zone. In another one, notes move; an edited one stays as it is."""
    late = {"started_at": "2026-12-31T23:30:00Z"}
    await put(archive, document(**late), document("conv_2", **late))
    await archive.export(folder, timezone="UTC")
    first, second = files(folder)
    assert first.name.startswith("2026-12-31 2330")
    second.write_bytes(second.read_bytes() + b"mine\n")
    result = await export(archive, folder)
    assert (1, 1, ()) == (result.written, len(result.edited), result.kept)
    assert "2027/01/2027-01-01 0030" in " ".join(each.as_posix() for each in files(folder))
    assert second.exists()
    assert not first.exists()


# One file


async def test_lines_of_json(archive: Archive, folder: Path) -> None:
    """Each line is the document as the server gave it, to the letter but for line breaks between its parts."""
    odd = '{ "id": "conv_1",\n "created_at":"2026-01-20T10:00:00Z", "newer": [1.50, "\\ud800 \\n"], "é": "🚪" }'
    await put(archive, odd, document("conv_2"))
    for written in (1, 0):
        result = await archive.export(folder, format="jsonl")
        assert (2, written, 1 - written) == (result.conversations, result.written, result.unchanged)
    lines = (folder / "conversations.jsonl").read_text(encoding="utf-8").split("\n")
    assert [odd.replace("\n", " "), document("conv_2"), ""] == lines
    assert [folder / "conversations.jsonl"] == files(folder)


@pytest.mark.parametrize("title", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
async def test_a_table(archive: Archive, folder: Path, title: str) -> None:
    """A row for each conversation; what a spreadsheet would take for a formula begins with an apostrophe."""
    await put(archive, document(title=title), document("conv_2", 'Quote ", comma, line\nbreak'))
    await archive.export(folder, format="csv", timezone=ZONE)
    raw = (folder / "conversations.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfid,created_at,")
    first, second = csv.DictReader(raw.decode("utf-8-sig").splitlines(keepends=True))
    assert ("conv_1", f"'{title}".replace("\r", "\n")) == (first["id"], first["title"])
    assert ('Quote ", comma, line\nbreak', "[ ] Paint the door") == (second["title"], second["action_items"])
    assert "2026-01-20T11:00:00+01:00" == second["created_at"]


# What goes wrong


async def test_what_is_refused(archive: Archive, folder: Path) -> None:
    """Settings that cannot work are refused before anything is written."""
    for settings in ({"format": "pdf"}, {"timezone": "Middle/Earth"}, {"timezone": 5}, {"on_progress": 5}):
        with pytest.raises(ConfigurationError):
            await archive.export(folder, **settings)
    for path in ("", "a\0b", 5):
        with pytest.raises(ConfigurationError):
            await archive.export(path)  # type: ignore[arg-type]
    assert not folder.exists()


@pytest.mark.parametrize("form", ["markdown", "jsonl"])
async def test_a_full_disk(archive: Archive, folder: Path, monkeypatch: pytest.MonkeyPatch, form: Any) -> None:
    """What cannot be written is said without a title; nothing half is left, and the next time goes on."""
    await put(archive, document(title="wholly private"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "wholly private")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(ArchiveError, match="No space left on device") as caught:
            await archive.export(folder, format=form)
    assert "wholly private" not in repr(caught.value)
    assert caught.value.__context__ is None
    assert [] == files(folder)
    assert 1 == (await archive.export(folder, format=form)).written


async def test_left_by_a_killed_run(archive: Archive, folder: Path) -> None:
    """What a run that was killed has left is taken away once it is old, and is never taken for a note."""
    await put(archive, document())
    folder.mkdir()
    for name, age in (("old", 7200), ("new", 0)):
        (folder / f".omi-export-{name}").write_text("half")
        os.utime(folder / f".omi-export-{name}", (0, (folder.stat().st_mtime - age)))
    await export(archive, folder)
    assert {".omi-export-new", "2026"} == {each.name for each in folder.iterdir()}


def test_synchronous(tmp_path: Path) -> None:
    """The synchronous side does the same, and progress comes to the caller's thread."""
    seen: list[ExportProgress] = []
    with omi_sync.Archive(tmp_path / "archive.db") as archive:
        assert 0 == archive.status().conversations
        assert (0, 0) == ((empty := archive.export(tmp_path / "out")).conversations, empty.written)

        def work(connection: sqlite3.Connection) -> None:
            with writing(connection):
                for number in range(60):
                    store(connection, of_text(document(f"conv_{number}")), now())

        archive._bridge.run(archive._bridge.target._run(work))
        result = archive.export(tmp_path / "out", on_progress=seen.append)
        assert (60, 60) == (result.conversations, result.written)
        assert [25, 50, 60] == [each.exported for each in seen]
        assert {60} == {each.total for each in seen}
        (match, *_) = archive.search("door", limit=1)
        assert "They spoke about the door." == match.line


# Search


async def test_search(archive: Archive) -> None:
    """All words must be there; the line is the one that has the most of them; a title counts for more."""
    await put(
        archive,
        document(
            "conv_1", "Budget", transcript_segments=said("Nothing here.", ("Ann", "The red door is open."), "The door.")
        ),
        document("conv_2", "Red door", transcript_segments=said("We met.")),
        document("conv_3", "Other", transcript_segments=said("A door that is not.", "Red is what I like.")),
    )
    first, *others = await archive.search("RED dóor")
    assert ("conv_2", "Red door", "Red door", None, None) == (
        first.id,
        first.title,
        first.line,
        first.speaker,
        first.start,
    )
    assert {"conv_1", "conv_3"} == {each.id for each in others}
    (match,) = await archive.search('"red door" open')
    assert ("conv_1", "The red door is open.", "Ann", 61.5) == (match.id, match.line, match.speaker, match.start)
    assert 3 == len(await archive.search("doo*"))
    assert () == await archive.search("doo")
    assert 1 == len(await archive.search("door", limit=1))
    assert match.line not in repr(match)


@pytest.mark.parametrize(
    "words",
    [
        "会議",
        "cafe",
        "CAFÉ",
        "don't",
        "a-b_c",
        'odd "quote',
        "NEAR(",
        "x AND y",
        "* ^ café",
        "🚪 café",
        'odd\0 "x\0and y"',
    ],
)
async def test_any_words(archive: Archive, words: str) -> None:
    """Whatever is typed is words, and no language of SQLite's; scripts without blanks are found by parts of words."""
    line = "今日は会議があります, Café don't a-b_c odd quote near x and y"
    await put(archive, document(transcript_segments=said("Something else.", line)))
    (match,) = await archive.search(words)
    assert line == match.line


@pytest.mark.parametrize("words", ["", "  ", "!?", '""', "*", '" "'])
async def test_no_words(archive: Archive, words: str) -> None:
    """A search for nothing is refused."""
    with pytest.raises(InvalidRequestError, match="a letter or a digit"):
        await archive.search(words)


async def test_a_phrase_over_two_lines(archive: Archive) -> None:
    """Where no line has the words, the title stands for it."""
    await put(archive, document(transcript_segments=said("The red", "door")))
    (match,) = await archive.search('"red door"')
    assert ("Design review", None) == (match.line, match.speaker)


# Status


async def test_status(archive: Archive) -> None:
    """How many, from when to when, and what is not there."""
    empty = await archive.status()
    assert (0, None, None, None, None, ()) == (
        empty.conversations,
        empty.oldest,
        empty.newest,
        empty.saved_at,
        empty.server,
        empty.gaps,
    )
    await put(
        archive,
        document("conv_1", created_at="2026-01-01T00:00:00Z"),
        document("conv_2", created_at="2026-02-01T00:00:00Z"),
    )
    found = await archive.status()
    assert (2, 1, 2) == (found.conversations, found.oldest and found.oldest.month, found.newest and found.newest.month)
    assert (0, 0, 0) == (found.missing, found.kept, found.pending)
