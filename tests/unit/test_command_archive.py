"""The commands save, search, export and status in this process."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import omi_sync
from omi_async.sandbox import SandboxConversation
from omi_sync import Sandbox
from omi_sync._bridge import original
from omi_sync.command import saving
from tests.unit.test_command import Say, sandbox, say

__all__ = ["sandbox", "say"]  # fixtures

NOON = datetime(2026, 9, 22, 12, tzinfo=UTC)
IDS = ["conv_checkup", "conv_design", "conv_lisbon", "conv_standup"]  # what the list shows


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive that is meant where none is named."""
    monkeypatch.setenv("OMI_ARCHIVE", str(tmp_path / "archive.db"))
    return tmp_path / "archive.db"


@pytest.fixture
def saved(say: Say, file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive, and no network from now on."""
    assert 0 == say("save").code
    return file


def test_save(say: Say, sandbox: Sandbox, file: Path) -> None:
    """The first run saves all, a later one tells what is new, what has changed and what is not listed any more."""
    said = say("save")
    assert (0, "", "4 new, 0 changed, 0 unchanged.\n") == (said.code, said.out, said.err)
    assert file.exists()
    sandbox.conversations["conv_design"].title = "Another title"
    del sandbox.conversations["conv_standup"]
    sandbox.conversations["conv_new"] = SandboxConversation(id="conv_new", title="New", created_at=NOON)
    said = say("save")
    assert (0, "missing  conv_standup\n") == (said.code, said.out)
    assert said.err.startswith("1 new, 1 changed, 1 unchanged, ")
    assert "1 not in the server's list any more (the archive keeps them)." in said.err
    said = say("save", "--json", "--full")
    assert (0, []) == (said.code, said.data)
    (told,) = said.told
    facts = told["summary"]
    assert isinstance(facts, dict)
    assert (0, 0, 0, 0) == (facts["new"], facts["changed"], facts["missing"], facts["gaps"])


def test_where_the_archive_is(say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive is that of --archive, else that of OMI_ARCHIVE, else one in the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("OMI_ARCHIVE", raising=False)
    assert 0 == say("save").code
    assert (tmp_path / "omi-archive.db").exists()
    monkeypatch.setenv("OMI_ARCHIVE", str(tmp_path / "other.db"))
    assert 1 == say("status").code
    assert 0 == say("status", "--archive", str(tmp_path / "omi-archive.db")).code


def test_save_fails(say: Say, sandbox: Sandbox, file: Path) -> None:
    """A save that cannot go on says why, keeps what it has, and ends with the code of the reason."""
    sandbox.fail(status=403, times=10)
    assert 2 == say("save").code
    sandbox.reset()
    file.write_text("a text of mine, which is longer than a header", encoding="utf-8")
    said = say("save")
    assert 1 == said.code
    assert "is not an archive of this client" in said.err


def test_save_does_not_wait(say: Say, sandbox: Sandbox, file: Path) -> None:
    """With --no-wait a spent window ends it."""
    sandbox.fail(status=429, headers={"Retry-After": "600"})
    said = say("save", "--no-wait")
    assert 4 == said.code
    assert "Stopped: the server's window is spent. The window reopens at" in said.err


class Stop:
    """Sleeps for no time, and is stopped by Ctrl-C in the pause of a number."""

    def __init__(self, after: int) -> None:
        self.pauses: list[float] = []
        self._after = after

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) == self._after:
            raise KeyboardInterrupt


def test_save_every(say: Say, sandbox: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service saves again after each pause; stopped in a pause, it has done all that was to be done."""
    monkeypatch.setattr(saving, "_sleep", stop := Stop(3))
    said = say("save", "--every", "15")
    assert (0, [900.0] * 3) == (said.code, stop.pauses)
    assert 3 == said.err.count("The next time is at ")
    assert 2 == said.err.count("0 new, 0 changed, ")
    assert said.err.endswith("Stopped. What was saved is kept; the same command goes on from there.\n")


def test_save_every_goes_on(say: Say, sandbox: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service outlives what may be better next time; stopped then, it has not done all."""
    monkeypatch.setattr(saving, "_sleep", stop := Stop(2))
    sandbox.fail(status=429, headers={"Retry-After": "600"})
    said = say("save", "--every", "15", "--no-wait")
    assert (130, 2) == (said.code, len(stop.pauses))
    assert 2 == said.err.count("Stopped: the server's window is spent.")


def test_save_every_ends(say: Say, sandbox: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What will not be better next time ends a service."""
    monkeypatch.setattr(saving, "_sleep", stop := Stop(1))
    sandbox.fail(status=403)
    assert (2, []) == (say("save", "--every", "15").code, stop.pauses)


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "1e9", "soon"])
def test_save_every_so_often(say: Say, sandbox: Sandbox, file: Path, minutes: str) -> None:
    """A pause that is none, or longer than anybody would wait, is refused before anything is sent."""
    said = say("save", "--every", minutes)
    assert (1, True, []) == (said.code, "Invalid value for '--every'" in said.err, sandbox.requests)


def test_save_every_while_another_saves(
    say: Say, sandbox: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service outlives another run that saves to its archive at the moment."""
    monkeypatch.setattr(saving, "_sleep", stop := Stop(2))
    with omi_sync.Archive(file) as other:
        filled = original(other)._filled()
        other._bridge.run(filled.__aenter__())
        said = say("save", "--every", "15")
        other._bridge.run(filled.__aexit__(None, None, None))
    assert (130, 2) == (said.code, len(stop.pauses))
    assert 2 == said.err.count("is being filled already")


def test_search(say: Say, saved: Path, sandbox: Sandbox) -> None:
    """A search needs no server and no key; the columns are separated by tabs, and the line tells who said it."""
    sandbox.requests.clear()
    said = say("search", "settings", "page")
    assert 0 == said.code
    (line,) = said.out.splitlines()
    assert ["conv_design", "Talk about the new settings page"] == [line.split("\t")[0], line.split("\t")[2]]
    (found,) = say("search", "almoçamos", "--json").data
    assert ("conv_lisbon", "Speaker 0") == (found["id"], found["speaker"])
    assert "almoçamos" in str(found["line"])
    assert (0, "", "Nothing found.\n") == ((none := say("search", "zzz")).code, none.out, none.err)
    assert (1, "") == ((refused := say("search", "!!")).code, refused.out)
    assert 1 == len(say("search", "a*", "--limit", "1").out.splitlines())
    assert [] == sandbox.requests


def test_export(say: Say, saved: Path, sandbox: Sandbox, tmp_path: Path) -> None:
    """An export to a folder tells how many files it wrote, and names those that a person has edited."""
    sandbox.requests.clear()
    to = str(tmp_path / "vault")
    said = say("export", "--format", "markdown", "--to", to, "--timezone", "UTC")
    assert (0, "") == (said.code, said.out)
    assert "4 conversations exported: 4 files written, 0 unchanged.\n" == said.err
    (file,) = Path(to).rglob("*Stand-up*.md")
    file.write_bytes(file.read_bytes() + b"mine")
    name = file.relative_to(to).as_posix()
    said = say("export", "--format", "markdown", "--to", to, "--timezone", "UTC")
    assert f"edited   {name}\n" == said.out
    assert "0 files written, 3 unchanged, 1 edited by you and left alone." in said.err
    said = say("export", "--format", "markdown", "--to", to, "--timezone", "UTC", "--json")
    assert [{"file": name, "action": "export", "status": "edited"}] == said.data
    facts = {"conversations": 4, "written": 0, "unchanged": 3, "edited": 1, "kept": 0}
    assert [{"summary": facts}] == said.told
    assert [] == sandbox.requests


def test_export_to_standard_output(say: Say, saved: Path) -> None:
    """Without a folder, lines and rows go to standard output, and notes nowhere."""
    said = say("export", "--format", "jsonl")
    assert sorted(IDS) == sorted(str(each["id"]) for each in said.data)
    said = say("export", "--format", "csv")
    assert said.out.startswith("\ufeffid,created_at,")
    assert 5 == len(list(csv.reader(said.out.splitlines(keepends=True))))
    assert 1 == say("export", "--format", "csv", "--json").code
    said = say("export", "--format", "markdown")
    assert (1, True) == (said.code, "give --to DIR" in said.err)
    said = say("export")
    assert (1, True) == (said.code, "'--format'. Choose from: markdown, jsonl, csv. Nothing was sent." in said.err)
    said = say("export", "--format", "csv", "--timezone", "Middle/Earth")
    assert (1, True) == (said.code, "--timezone must be an IANA name, such as Europe/Lisbon." in said.err)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("arguments", [["search", "door"], ["export", "--format", "csv"], ["status"]])
def test_no_archive(say: Say, file: Path, arguments: list[str], *, as_json: bool) -> None:
    """A command that only reads an archive makes none."""
    said = say(*arguments, *(["--json"] if as_json else []))
    assert (1, "", False) == (said.code, said.out, file.exists())
    assert "There is no archive" in (str(said.told[0]["detail"]) if as_json else said.err)


def test_status(say: Say, saved: Path, sandbox: Sandbox) -> None:
    """How many, from when to when, and when it was saved last."""
    said = say("status")
    assert 0 == said.code
    lines = dict(line.split(": ", 1) for line in said.out.splitlines())
    assert ("4", sandbox.url) == (lines["conversations"], lines["saved from"])
    (facts,) = say("status", "--json").data
    assert (4, 0, []) == (facts["conversations"], facts["pending"], facts["gaps"])
    assert json.loads(say("status", "--json").out)["saved_at"] is not None
