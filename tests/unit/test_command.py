"""The command omi-conversations in this process: what it reads, what it refuses, what it says, how it ends."""

import errno
import io
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

import attrs
import pytest

from omi_async import BulkProgress
from omi_async.sandbox import SandboxConversation
from omi_sync import Archive, OmiClient, Sandbox
from omi_sync.command import client, main, streams, words
from tests.support.sides import KEY

IDS = ["conv_standup", "conv_design", "conv_lisbon", "conv_checkup", "conv_noise"]


@attrs.frozen
class Said:
    code: int
    out: str
    err: str

    @property
    def data(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def told(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.err.splitlines()]


Say = Callable[..., Said]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def say(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs the command against the sandbox; `typed` is what standard input brings."""

    def run(*arguments: str, typed: str | bytes = "") -> Said:
        monkeypatch.setenv("OMI_API_KEY", sandbox.api_key)
        monkeypatch.setenv("OMI_API_BASE", sandbox.url)
        raw = typed.encode() if isinstance(typed, str) else typed
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        code = main(arguments)
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err
        assert sandbox.api_key not in out + err
        return Said(code, out, err)

    return run


# What is done


def test_delete_with_a_copy(say: Say, sandbox: Sandbox, tmp_path: Path) -> None:
    """With --keep each conversation is in the archive before it is deleted; what cannot be kept is not deleted."""
    sandbox.conversations["conv_design"].locked = True
    archive = str(tmp_path / "kept.db")
    said = say("delete", "conv_noise", "conv_design", "--yes", "--keep", archive, "--concurrency", "1")
    assert (5, "deleted  conv_noise\n") == (said.code, said.out)
    assert "No copy of it could be kept, or it is locked, so it was not deleted." in said.err
    assert "conv_design" in sandbox.conversations
    with Archive(archive) as opened:
        saved = opened.get("conv_noise")
    assert saved is not None
    assert saved.has_transcript
    said = say("recreate", "conv_noise", "--archive", archive)
    assert 0 == said.code
    name = re.fullmatch("recreated conv_noise as (.+); not as before: id, .*, audio, photos\n", said.out)
    assert name is not None
    assert name[1] in sandbox.conversations
    (told,) = say("recreate", "conv_noise", "--archive", archive, "--json").data
    assert (name[1], "conv_noise", "recreate") == (told["id"], told["recreated_from"], told["action"])


def test_what_is_not_recreated(say: Say, sandbox: Sandbox, tmp_path: Path) -> None:
    """A copy that is not there, or whose conversation is, ends the command; no archive is made by asking."""
    archive = tmp_path / "kept.db"
    said = say("recreate", "conv_noise", "--archive", str(archive))
    assert (1, "", False) == (said.code, said.out, archive.exists())
    assert "There is no archive" in said.err
    say("delete", "conv_noise", "--yes", "--keep", str(archive))
    said = say("recreate", "conv_noise", "conv_design", "--archive", str(archive))
    assert 1 == said.code
    assert "the archive does not have the conversation" in said.err
    assert 1 == len(said.out.splitlines())
    (tmp_path / "other.db").write_text("not an archive, but a text of mine")
    said = say("delete", "conv_design", "--yes", "--keep", str(tmp_path / "other.db"))
    assert 1 == said.code
    assert "is not an archive of this client" in said.err
    assert "conv_design" in sandbox.conversations


def test_rename(say: Say, sandbox: Sandbox) -> None:
    """One conversation is renamed by an id and a title."""
    said = say("rename", "conv_standup", "  Release plan ")
    assert (0, "renamed  conv_standup\n", "1 of 1 conversation renamed.\n") == (said.code, said.out, said.err)
    assert "Release plan" == sandbox.conversations["conv_standup"].title


@pytest.mark.parametrize("way", ["arguments", "file", "input"])
def test_hide_and_restore(say: Say, sandbox: Sandbox, tmp_path: Path, way: str) -> None:
    """Ids come as arguments, from a file or from standard input, with comments and repetitions, and all are done."""
    text = "\ufeff# from my notes\n\n conv_standup \r\nconv_design\nconv_standup\n"
    (tmp_path / "ids.txt").write_text(text, encoding="utf-8")
    arguments = {
        "arguments": ["conv_standup", "conv_design", "conv_standup"],
        "file": ["--from", str(tmp_path / "ids.txt")],
        "input": ["--from", "-"],
    }[way]
    for word, done, hidden in (("hide", "hidden", True), ("restore", "restored", False)):
        said = say(word, *arguments, typed=text)
        assert (0, f"2 of 2 conversations {done}.\n") == (said.code, said.err)
        assert {f"{done:<8} conv_standup", f"{done:<8} conv_design"} == set(said.out.splitlines())
        assert [hidden] * 2 == [sandbox.conversations[name].discarded for name in ("conv_standup", "conv_design")]
    assert 4 == len(sandbox.requests)


@pytest.mark.scenario(307)
@pytest.mark.parametrize("heading", ["", "id,title\n", "\ufeffID, Title\r\n", '# mine\n"Conversation_ID",new name\n'])
def test_rename_by_csv(say: Say, sandbox: Sandbox, heading: str) -> None:
    """Titles come as CSV, with or without its heading, quoted where they hold commas."""
    text = f'{heading}conv_standup,"Plan, first half"\n# not this one,x\n\nconv_design,"The ""new"" door – 木"\n'
    said = say("rename", "--from", "-", typed=text)
    assert (0, "2 of 2 conversations renamed.\n") == (said.code, said.err)
    assert "Plan, first half" == sandbox.conversations["conv_standup"].title
    assert 'The "new" door – 木' == sandbox.conversations["conv_design"].title


@pytest.mark.scenario(307)
@pytest.mark.parametrize("heading", ["id", "ID\r", '"Conversation_ID"', "# of today\n\n'conversation_id'"])
def test_heading_of_ids(say: Say, sandbox: Sandbox, heading: str) -> None:
    """A first line that names the column is no id; further down it would be one."""
    said = say("hide", "--from", "-", typed=f"{heading}\nconv_design\n")
    assert (0, "hidden   conv_design\n") == (said.code, said.out)
    assert 1 == len(sandbox.requests)
    assert "would hide id\n" in say("hide", "--from", "-", "--dry-run", typed="conv_design\nid\n").out


@pytest.mark.scenario(310)
@pytest.mark.parametrize("character", ["\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_one_line_is_one_id(say: Say, sandbox: Sandbox, character: str) -> None:
    """Only line feeds and carriage returns end a line; any other kind of break makes no second id."""
    said = say("delete", "--from", "-", "--yes", typed=f"conv_a{character}conv_noise\n")
    assert 1 == said.code
    assert "line 1: an id must be" in said.err
    assert [] == sandbox.requests


def test_delete_with_yes(say: Say, sandbox: Sandbox) -> None:
    """With --yes nothing is asked."""
    said = say("delete", "conv_noise", "--yes")
    assert (0, "deleted  conv_noise\n") == (said.code, said.out)
    assert "conv_noise" not in sandbox.conversations


def test_gone_without_confirmation(say: Say, sandbox: Sandbox) -> None:
    """A deletion whose answer was lost and that finds nothing afterwards is told apart, and is a success."""
    sandbox.fail(close="after")
    said = say("delete", "conv_noise", "--yes")
    assert (0, "gone     conv_noise\n") == (said.code, said.out)
    assert "1 gone without a confirmation" in said.err


def test_empty_input(say: Say, sandbox: Sandbox) -> None:
    """An empty list is done at once: a pipeline that finds nothing has not failed."""
    said = say("hide", "--from", "-", typed="# none today\n")
    assert (0, "", "Nothing to do: there is no id in the input.\n") == (said.code, said.out, said.err)
    assert [] == sandbox.requests


# What is only said


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        (["hide", "conv_a", "conv_b"], "would hide conv_a\nwould hide conv_b\n"),
        (["restore", "conv_a"], "would restore conv_a\n"),
        (["delete", "conv_a"], "would delete conv_a\n"),
        (["rename", "conv_a", " A\x1btitle "], "would rename conv_a to A?title\n"),
    ],
)
def test_dry_run(
    say: Say, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], out: str
) -> None:
    """A dry run says what would be done, sends nothing, makes no journal and needs no key."""
    journal = tmp_path / "job.db"
    said = say(*arguments, "--dry-run", "--journal", str(journal))
    assert (0, out) == (said.code, said.out)
    assert said.err.startswith(f"Dry run: nothing is sent.\nThe server would be {sandbox.url.partition('//')[2]}.\n")
    monkeypatch.delenv("OMI_API_KEY")
    assert 0 == main([*arguments, "--dry-run"])
    assert [] == sandbox.requests
    assert not journal.exists()


def test_dry_run_for_programs(say: Say) -> None:
    """With --json a dry run is data too."""
    said = say("rename", "conv_a", " A ", "--dry-run", "--json")
    assert [{"id": "conv_a", "action": "rename", "status": "planned", "title": "A"}] == said.data
    assert {"summary": {"planned": 1, "total": 1}} == said.told[-1]


# What is refused before anything is sent

SECRET = "omi_dev_5e5e5e5e5e5e5e5e"

REFUSED = {
    "no command": ([], "", "Missing command"),
    "unknown command": (["destroy"], "", "No such command"),
    "no ids": (["hide"], "", "Which conversations?"),
    "bad id": (["hide", "conv_a", "../memories/m1"], "", "argument 2: an id must be"),
    "key for an id": (["hide", f"{SECRET}/"], "", "argument 1: an id begins like a key"),
    "key on the command line": (["hide", "a", f"--api-key={SECRET}"], "", "OMI_API_KEY only"),
    "one argument too many": (["rename", "a", "b", SECRET], "", "unexpected extra argument"),
    "rename without title": (["rename", "conv_a"], "", "Rename what to what?"),
    "blank title": (["rename", "conv_a", "  "], "", "the argument: title must not be blank."),
    "ids twice": (["hide", "conv_a", "--from", "-"], "conv_b", "not both"),
    "bad line": (["hide", "--from", "-"], "conv_a\n\nconv b\n", "line 3: an id must be"),
    "many bad lines": (["hide", "--from", "-"], "a b\n" * 14, "... and 4 more."),
    "no file": (["hide", "--from", "no/such/file"], "", "no/such/file cannot be read"),
    "not UTF-8": (["hide", "--from", "-"], b"conv_\xff", "Standard input is not UTF-8 text."),
    "one column": (["rename", "--from", "-"], "conv_a\n", "line 1: expected an id and a title, found 1 columns"),
    "three columns": (["rename", "--from", "-"], "id,title\nconv_a,b,c\n", "line 2: expected an id and a title"),
    "open quote": (["rename", "--from", "-"], 'conv_a,"b\n', "not readable as CSV"),
    "the other way round": (
        ["rename", "--from", "-"],
        "Title,ID\nPlan,conv_a\n",
        "line 1: the id must be in the first",
    ),
    "semicolons": (["rename", "--from", "-"], "conv_a;Plan, first\n", "between them, not a semicolon"),
    "tabs": (["rename", "--from", "-"], "id\ttitle\nconv_a\tPlan\n", "between them, not a tab"),
    "UTF-16": (["rename", "--from", "-"], "conv_a,Plan".encode("utf-16"), "is not UTF-8 text but UTF-16: save it"),
    "null character": (["hide", "--from", "a\0b"], "", "--from names no file."),
    "no journal": (["hide", "conv_a", "--journal", ""], "", "'--journal': it names no file."),
    "almost a command": (["hied", "conv_a"], "", "No such command 'hied'"),
    "two titles": (
        ["rename", "--from", "-"],
        "a,b\nc,d\na,e\n",
        "line 3: another title for the conversation of line 1",
    ),
    "no concurrency": (["hide", "conv_a", "--concurrency", "0"], "", "--concurrency"),
    "two servers": (["hide", "conv_a", "--sandbox", "--base-url", "http://localhost:1"], "", "two different servers"),
    "a sandbox without archive": (["save", "--sandbox"], "", "--sandbox needs --archive"),
    "save how often": (["save", "--every", "0"], "", "--every"),
    "search for nothing": (["search"], "", "Missing argument"),
    "copies of a sandbox": (
        ["delete", "conv_a", "--yes", "--sandbox", "--keep", "a.db"],
        "",
        "--sandbox takes no --keep",
    ),
    "plain http": (["hide", "conv_a", "--base-url", "http://example.org"], "", "must begin with https://"),
    "no terminal": (["delete", "conv_noise"], "y\n", "there is no terminal to ask on"),
    "no terminal for ids": (["delete", "--from", "-"], "conv_noise\n", "or hide it instead"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("for_programs", [False, True])
def test_refused(say: Say, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str, *, for_programs: bool) -> None:
    """A mistake in what was typed ends with 1, is named with its place and not repeated, and costs no request."""
    arguments, typed, text = REFUSED[name]
    monkeypatch.setattr(streams, "open", _no_terminal, raising=False)
    said = say(*arguments, *(["--json"] if for_programs and arguments else []), typed=typed)
    assert (1, "") == (said.code, said.out)
    assert SECRET not in said.err
    assert [] == sandbox.requests
    if for_programs and arguments:
        (error,) = said.told
        assert ["error", "detail"] == list(error)
        err = str(error["detail"])
    else:
        err = said.err
    if name.startswith("no terminal") and for_programs:
        text = "--json does not ask"
    assert text in err
    assert "Nothing was sent." in err
    assert "?." not in err


def _no_terminal(path: str, mode: str, **more: Any) -> IO[Any]:
    if path == "/dev/tty":
        raise OSError
    return io.open(path, mode, **more)  # noqa: UP020 - the other one is replaced by this


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (None, "There is no API key."),
        ("", "There is no API key."),
        ("omi_mcp_1234", "is an MCP key"),
        (f"Bearer {KEY}", "without the word Bearer"),
    ],
)
def test_unusable_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], key: str | None, text: str
) -> None:
    """A key that is missing or cannot be one ends with 2 and tells where keys come from, or what is wrong."""
    if key is not None:
        monkeypatch.setenv("OMI_API_KEY", key)
    assert 2 == main(["hide", "conv_a"])
    out, err = capsys.readouterr()
    assert "" == out
    assert text in err
    assert "OMI_API_KEY" in err
    assert "Nothing was sent." in err
    assert KEY not in err


@pytest.mark.parametrize("library", ["click", "rich"])
def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], library: str) -> None:
    """Without the extra the command says in one line what to install, and ends with 1."""
    monkeypatch.setitem(sys.modules, library, None)
    assert 1 == main(["--help"])
    out, err = capsys.readouterr()
    assert ("", 1) == (out, err.count("\n"))
    assert "install omi-async[cli]" in err


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], ["rename", "--help"], ["delete", "-h"]])
def test_help(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Help and version go to standard output and end with 0."""
    assert 0 == main(arguments)
    out, err = capsys.readouterr()
    assert out
    assert "" == err


# How it ends


@pytest.mark.parametrize(
    ("faults", "code", "text"),
    [
        ({}, 0, "5 of 5 conversations hidden."),
        (
            {"conv_design": {"status": 404}},
            5,
            "no such conversation in this account. Nothing was changed. Check the id.",
        ),
        (
            {"conv_design": {"status": 402}},
            1,
            "it is locked, the account's plan does not cover it. Nothing was changed.",
        ),
        ({"conv_design": {"status": 422}}, 1, "Nothing was changed."),
        (
            {"conv_design": {"status": 500, "times": 3}},
            3,
            "may or may not have been hidden; to hide it again does no harm",
        ),
        ({"conv_design": {"close": "before", "times": 3}}, 3, "Run the same command again"),
        ({"conv_design": {"status": 401}}, 2, "Stopped: the server refuses the key. Check OMI_API_KEY"),
        ({"conv_design": {"status": 403}}, 2, "Stopped: "),
        ({"conv_design": {"status": 404}, "conv_noise": {"status": 402}}, 1, "2 failed"),
        ({"conv_design": {"status": 402}, "conv_lisbon": {"status": 500, "times": 3}}, 3, "1 failed, 1 unknown"),
        ({"conv_design": {"status": 500, "times": 3}, "conv_noise": {"status": 401}}, 2, "1 failed, 1 unknown"),
        ({"conv_design": {"status": 404}, "conv_noise": {"status": 500, "times": 3}}, 3, "1 failed, 1 unknown"),
        ({"conv_design": {"status": 404}, "conv_noise": {"status": 429}}, 4, "Stopped: the server's window is spent"),
    ],
)
def test_exit_codes(say: Say, sandbox: Sandbox, faults: dict[str, dict[str, int]], code: int, text: str) -> None:
    """The exit code is that of the most serious outcome: key, server or unknown, window, refused, not found."""
    for name, fault in faults.items():
        sandbox.fail(conversation_id=name, **fault)  # type: ignore[arg-type]
    said = say("hide", *IDS, "--no-wait", "--concurrency", "1")
    assert code == said.code
    assert text in said.err
    assert [f"hidden   {name}" for name in IDS if name not in faults][: len(said.out.splitlines())] == (
        said.out.splitlines()
    )


def test_outcomes_for_programs(say: Say, sandbox: Sandbox) -> None:
    """With --json each outcome is an object on standard output, and the counts are one on standard error."""
    sandbox.fail(conversation_id="conv_design", status=500, times=3)
    said = say("delete", "conv_noise", "conv_design", "conv_x", "--yes", "--json", "--concurrency", "1")
    assert 3 == said.code
    first, second, third = said.data
    assert {"id": "conv_noise", "action": "delete", "status": "done", "attempts": 1} == first
    assert ("conv_design", "unknown", 3, "ServerError") == tuple(
        second[name] for name in ("id", "status", "attempts", "error")
    )
    assert ("conv_x", "failed", "NotFoundError") == tuple(third[name] for name in ("id", "status", "error"))
    assert "Nothing was changed." in str(third["detail"])
    counts = {"done": 1, "unconfirmed": 0, "failed": 1, "unknown": 1, "not_done": 0, "resumed": 0, "total": 3}
    assert {"summary": counts} == said.told[-1]


@pytest.mark.parametrize("for_programs", [False, True])
def test_window_spent(say: Say, sandbox: Sandbox, *, for_programs: bool) -> None:
    """With --no-wait a spent window ends the job with 4 and tells what was not done and when it reopens."""
    sandbox.fail(status=429, conversation_id="conv_design", headers={"Retry-After": "1"})
    said = say("hide", *IDS, "--no-wait", "--concurrency", "1", *(["--json"] if for_programs else []))
    assert 4 == said.code
    assert 2 == len(sandbox.requests)
    if for_programs:
        error, summary = said.told
        assert "RateLimitError" == error["error"]
        assert "window reopens at" in str(error["detail"])
        facts = summary["summary"]
        assert isinstance(facts, dict)
        assert (IDS[1:], 4) == (facts["not_done_ids"], facts["not_done"])
    else:
        assert "The window reopens at " in said.err
        assert f"Not done: {' '.join(IDS[1:])}\nWith --journal FILE" in said.err
        assert said.err.endswith("1 of 5 conversations hidden, 4 not done.\n")


def test_journal(say: Say, sandbox: Sandbox, tmp_path: Path) -> None:
    """A run with the same journal goes on, counts what was done before, and remembers that something failed."""
    journal = str(tmp_path / "job.db")
    arguments = ["hide", *IDS, "conv_x", "--no-wait", "--concurrency", "1", "--journal", journal]
    sandbox.fail(status=429, conversation_id="conv_lisbon", headers={"Retry-After": "1"})
    said = say(*arguments)
    assert 4 == said.code
    assert f"To go on where it stopped: omi-conversations {' '.join(arguments)}\n" in said.err
    said = say(*arguments)
    assert (5, "hidden   conv_lisbon\nhidden   conv_checkup\nhidden   conv_noise\n") == (said.code, said.out)
    assert said.err.endswith("5 of 6 conversations hidden, 1 failed (2 of them in an earlier run).\n")
    before = len(sandbox.requests)
    said = say(*arguments)
    assert (1, "") == (said.code, said.out)
    assert before == len(sandbox.requests)


def test_unusable_journal(say: Say, sandbox: Sandbox, tmp_path: Path) -> None:
    """A file that is no journal, and the journal of another job, end the command with 1 and cost nothing."""
    other = tmp_path / "notes.txt"
    other.write_text("my notes\n" * 200)
    said = say("hide", "conv_noise", "--journal", str(other))
    assert 1 == said.code
    assert "Stopped: the journal" in said.err
    assert "is not a journal" in said.err
    journal = str(tmp_path / "job.db")
    assert 0 == say("hide", "conv_noise", "--journal", journal).code
    before = len(sandbox.requests)
    for arguments in (["restore", "conv_noise"], ["hide", "conv_design"], ["delete", "conv_noise", "--yes"]):
        assert 1 == say(*arguments, "--journal", journal).code
    assert before == len(sandbox.requests)


def test_own_sandbox(say: Say, sandbox: Sandbox) -> None:
    """With --sandbox the command brings its own server, says so, and touches no other."""
    said = say("delete", "conv_noise", "--yes", "--sandbox")
    assert (0, "deleted  conv_noise\n") == (said.code, said.out)
    assert said.err.startswith("Sandbox: a server inside this command, not your account. It knows conv_standup,")
    assert [] == sandbox.requests
    assert "conv_noise" in sandbox.conversations


# Which server


@pytest.mark.scenario(315)
@pytest.mark.parametrize("name", ["OMI_API_BASE_URL", "OMI_API_URL"])
@pytest.mark.parametrize(
    "arguments", [["delete", "conv_noise", "--yes"], ["hide", "conv_noise", "--dry-run"], ["list"]]
)
def test_variable_of_another_tool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], name: str
) -> None:
    """Where only a variable that other tools read names a server, nothing is sent to the usual one."""

    def not_the_usual_one(**settings: Any) -> OmiClient:
        assert settings["base_url"] is not None
        return OmiClient(**settings)

    monkeypatch.setattr(client, "OmiClient", not_the_usual_one)
    monkeypatch.setenv("OMI_API_KEY", KEY)
    monkeypatch.delenv("OMI_API_BASE", raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert 1 == main(arguments)
    assert f"{name} is set, but omi-conversations reads OMI_API_BASE." in capsys.readouterr().err
    assert 0 == main(["hide", "conv_noise", "--sandbox"])
    capsys.readouterr()
    monkeypatch.setenv(name, "https://api.omi.me/")
    assert 0 == main(["hide", "conv_noise", "--dry-run"])
    assert "The server would be api.omi.me." in capsys.readouterr().err


@pytest.mark.scenario(314)
@pytest.mark.parametrize(
    ("options", "host"),
    [
        (["--base-url", "https://Example.org:8443/omi"], "Example.org:8443"),
        (["--base-url", "https://me:secret@example.org"], "example.org"),
        (["--base-url", "me:secret@example.org"], "example.org"),
        (["--base-url", "https://[::1"], "https://[::1"),
        (["--base-url", "https://a\x1b[31m"], "https://a?[31m"),
        (["--sandbox"], "the sandbox"),
    ],
)
def test_server_is_named(capsys: pytest.CaptureFixture[str], options: list[str], host: str) -> None:
    """A dry run names the host that would be asked, without a name or password before it."""
    assert 0 == main(["delete", "conv_noise", "--dry-run", *options])
    assert f"The server would be {host}.\n" in capsys.readouterr().err


# Standard output fails


class Failing(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, text: str) -> int:
        raise OSError(self._number, "as it is")


@pytest.mark.scenario(302)
@pytest.mark.parametrize("for_programs", [False, True])
@pytest.mark.parametrize(
    ("number", "name", "reason"),
    [
        (errno.EINVAL, "BrokenPipeError", "nobody reads standard output any more"),
        (errno.EPIPE, "BrokenPipeError", "nobody reads standard output any more"),
        (errno.EIO, "OSError", "standard output takes no more (as it is)"),
    ],
)
def test_output_fails(
    say: Say,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    name: str,
    reason: str,
    *,
    for_programs: bool,
) -> None:
    """The job stops, what was done is reported on standard error, and the exit code is 3; EINVAL is Windows' EPIPE."""
    form = ["--json"] if for_programs else []
    monkeypatch.setattr(sys, "stdout", Failing(number))
    said = say("delete", *IDS, "--yes", "--concurrency", "1", *form)
    assert 3 == said.code
    gone = [id_ for id_ in IDS if id_ not in sandbox.conversations]
    assert 1 <= len(gone) < len(IDS)
    if for_programs:
        *outcomes, error, summary = said.told
        assert gone == [each["id"] for each in outcomes]
        assert {"error": name, "detail": error["detail"]} == error
        assert f"Stopped: {reason}." in str(error["detail"])
        assert isinstance(summary["summary"], dict)
        assert IDS[len(gone) :] == summary["summary"]["not_done_ids"]
    else:
        assert [f"deleted  {id_}" for id_ in gone] == said.err.splitlines()[: len(gone)]
        assert f"Stopped: {reason}.\nNot done: {' '.join(IDS[len(gone) :])}\n" in said.err
    last = say("restore", "conv_noise", *form)
    assert 3 == last.code
    assert f"The rest of the report stands here: {reason}." in last.err
    for arguments in (["list"], ["list", "--ids"], ["hide", "conv_a", "--dry-run"], ["--help"]):
        shown = say(*arguments, *(form if arguments == ["list"] else []))
        assert (0 if name == "BrokenPipeError" else 3) == shown.code
        assert (reason in shown.err) == (name != "BrokenPipeError")


# What is shown meanwhile


def progress(**values: object) -> BulkProgress:
    standard: dict[str, object] = {
        **dict.fromkeys(("done", "unconfirmed", "failed", "unknown", "resumed"), 0),
        "total": 40,
        "rate": 25.0,
        "waiting_until": None,
        "estimated_end": None,
    }
    return BulkProgress(**{**standard, **values})  # type: ignore[arg-type]


def test_outlook() -> None:
    """A wait names the time at which it ends, and an estimate is never earlier than that."""
    now = datetime.now(UTC)
    soon, later = now + timedelta(minutes=20), now + timedelta(minutes=90)
    at, end = words.clock(soon), words.clock(later)
    assert "" == words.outlook(progress())
    assert "" == words.outlook(progress(estimated_end=now + timedelta(seconds=20)))
    assert f"All done about {end}." == words.outlook(progress(estimated_end=later))
    start = f"The server's window is spent; window reopens at {at}"
    assert f"{start}." == words.outlook(progress(waiting_until=soon))
    assert f"{start}, all done soon after." == words.outlook(progress(waiting_until=soon, estimated_end=now))
    assert f"{start}, all done about {end}." == words.outlook(progress(waiting_until=soon, estimated_end=later))


def test_clock() -> None:
    """A time today is hours and minutes here; another day is named, and a far one dated."""
    today = datetime.now().astimezone().replace(hour=14, minute=5)
    assert "14:05" == words.clock(today.astimezone(UTC))
    assert f"14:05 on {today + timedelta(days=1):%A}" == words.clock(today + timedelta(days=1))
    assert f"14:05 on {today + timedelta(days=9):%Y-%m-%d}" == words.clock(today + timedelta(days=9))


# Reading

LISTED = ["conv_standup", "conv_design", "conv_lisbon", "conv_checkup"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], LISTED),
        (["--category", "work", "--category", "travel"], ["conv_standup", "conv_lisbon"]),
        (["--title-matches", "STAND|check"], ["conv_standup", "conv_checkup"]),
        (["--title-matches", "STAND|check", "--limit", "1"], ["conv_standup"]),
        (["--limit", "2"], LISTED[:2]),
        (["--start-date", "2026-09-13"], LISTED[:2]),
        (["--start-date", "2026-09-13", "--end-date", "2026-09-20T00:00"], ["conv_design"]),
        (["--start-date", "2026-09-13 00:00", "--end-date", "2026-09-20 00:00:00"], ["conv_design"]),
        (["--end-date", "2026-09-13T00:00Z"], LISTED[2:]),
        (["--end-date", "2026-09-13T00:00+00:00"], LISTED[2:]),
        (["--end-date", "2026-09-13T00:00:00+0000"], LISTED[2:]),
        (["--folder", "folder_work"], LISTED[:2]),
        (["--starred", "--not-starred"], LISTED[1:]),
        (["--not-starred", "--starred"], LISTED[:1]),
        (["--title-matches", "nothing like it"], []),
    ],
)
def test_list(say: Say, sandbox: Sandbox, arguments: list[str], expected: list[str]) -> None:
    """The filters choose what is listed, as ids, as columns and as JSON alike."""
    for id_, each in sandbox.conversations.items():
        each.starred = id_ == LISTED[0]
    ids, columns, data = (say("list", *arguments, *form) for form in (["--ids"], [], ["--json"]))
    assert (0, "", expected) == (ids.code, ids.err, ids.out.split())
    assert expected == [line.split("\t")[0] for line in columns.out.splitlines()]
    assert expected == [each["id"] for each in data.data]
    assert all(line.count("\t") == 3 for line in columns.out.splitlines())


@pytest.mark.scenario(308)
def test_last_day_is_included(say: Say, sandbox: Sandbox) -> None:
    """A day alone begins with its first moment as the start date, and ends with its last one as the end date."""
    midnight = datetime(2026, 3, 5).astimezone()  # noqa: DTZ001 - as the command line has it, without an offset
    for name, moment in (
        ("before", midnight - timedelta(seconds=1)),
        ("first", midnight),
        ("last", midnight + timedelta(days=1, seconds=-1)),
        ("after", midnight + timedelta(days=1)),
    ):
        sandbox.conversations[name] = SandboxConversation(id=name, title="Test", created_at=moment.astimezone(UTC))
    day = ["--start-date", "2026-03-05", "--end-date", "2026-03-05"]
    assert ["last", "first"] == say("list", "--ids", *day).out.split()


@pytest.mark.scenario(308)
@pytest.mark.parametrize("text", ["0001-01-01T00:00+14:00", "2026-02-30", "2026-09-21T25:00", "now", ""])
def test_no_date(say: Say, sandbox: Sandbox, text: str) -> None:
    """A date that does not exist, or not in every time zone, is refused, and the possible forms are shown."""
    for option in ("--start-date", "--end-date"):
        said = say("list", option, text)
        assert (1, "") == (said.code, said.out)
        assert option in said.err
        assert "is no date; 2026-11-22, 2026-11-22T08:30 and 2026-11-22T08:30+02:00 are." in said.err
    assert [] == sandbox.requests


@pytest.mark.scenario(323, 324)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--start-date", "2026-03-06", "--end-date", "2026-03-05"], "start_date must not be after end_date. Nothing"),
        (["--end-date", "9999-06-01"], "end_date must be in a year from 2 to 9998. Nothing"),
    ],
)
def test_bounds_that_make_no_sense(say: Say, sandbox: Sandbox, options: list[str], words: str) -> None:
    """Bounds that no conversation lies between are a wrong command line, and nothing is sent."""
    said = say("list", *options)
    assert (1, "") == (said.code, said.out)
    assert words in said.err
    assert [] == sandbox.requests


@pytest.mark.scenario(308)
def test_moment_beyond_the_calendar() -> None:
    """A time that this machine's time zone would move out of the calendar is shown as it is."""
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    assert first == words.local(first)


@pytest.mark.scenario(312)
@pytest.mark.parametrize("typed", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_accents_match(say: Say, sandbox: Sandbox, typed: str, stored: str) -> None:
    """A title is found whether its accents are characters of their own or not, on either side."""
    sandbox.conversations["conv_design"].title = unicodedata.normalize(stored, "Caf\u00e9 \u00fc")  # type: ignore[arg-type]
    said = say("list", "--ids", "--title-matches", unicodedata.normalize(typed, "^CAF\u00c9 "))  # type: ignore[arg-type]
    assert (0, "conv_design\n") == (said.code, said.out)


@pytest.mark.scenario(309, 310)
def test_hostile_row(say: Say, sandbox: Sandbox) -> None:
    """A server cannot make one id two, a row two, or write to the terminal behind the command's back."""
    evil = "conv_1\nconv_victim\x1b[31m"
    sandbox.conversations[evil] = SandboxConversation(
        id=evil, title="A\ttitle\r\nof two\x9b1m", category="\x1b]52;c;b3duZWQ=\x07\nwork"
    )
    said = say("list", "--ids")
    assert (0, set(LISTED)) == (said.code, set(said.out.split()))
    assert "1 conversation left out: what the server gave for an id is none.\n" == said.err
    said = say("list", "--title-matches", "of two")
    id_, _, category, title = said.out.split("\t")
    assert ("conv_1?conv_victim?[31m", "?]52;c;b3duZWQ=??work", "A?title??of two?1m\n") == (id_, category, title)
    (data,) = say("list", "--json", "--title-matches", "of two").data
    assert evil == data["id"]


@pytest.mark.scenario(309)
def test_hostile_conversation(say: Say, sandbox: Sandbox) -> None:
    """What one conversation holds is shown line by line, and a line break within a title begins no line."""
    conversation = sandbox.conversations["conv_design"]
    conversation.title, conversation.category = "Plan\nconv_victim", "work\x1b[2J"
    out = say("get", "conv_design").out
    heading, second, *_ = out.splitlines()
    assert heading.endswith("Plan?conv_victim")
    assert second.startswith("conv_design, ")
    assert second.endswith(", work?[2J")


@pytest.mark.scenario(311)
@pytest.mark.parametrize(
    ("title", "shown"),
    [
        (text, text)
        for text in (
            "\U0001f469\u200d\U0001f469\u200d\U0001f467",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u05d0\u200f!",
            "dix\u00a0heures\u202f!",
            "Donau\u00addampf\u2060schiff",
            "\U0001f3f4\U000e0067\U000e0062\U000e007f",
            "private \ue000, new \U0001fae9",
        )
    ]
    + [("a\u202eb\u2066c\u2028d\x00e\x7ff\x85g", "a?b?c?d?e?f?g"), (f"key {SECRET}", "key omi_dev_***")],
)
def test_what_is_part_of_text(say: Say, sandbox: Sandbox, title: str, shown: str) -> None:
    """Joiners, marks and spaces that languages and emoji need are shown; controls and overrides are question marks."""
    sandbox.conversations["conv_design"].title = title
    (row,) = say("list", "--title-matches", "^" + title[:1], "--limit", "1").out.splitlines()
    assert shown == row.split("\t")[3]
    assert shown in say("get", "conv_design").out.splitlines()[0]
    assert f"would rename conv_a to {shown}\n" == say("rename", "conv_a", title, "--dry-run").out


def test_list_is_input(say: Say, sandbox: Sandbox) -> None:
    """What `list --ids` writes is what the other commands read: together they clean up."""
    listed = say("list", "--category", "travel", "--ids")
    assert 0 == say("hide", "--from", "-", typed=listed.out).code
    assert ["conv_lisbon"] == [id_ for id_, each in sandbox.conversations.items() if each.discarded and id_ in LISTED]
    assert "" == say("list", "--category", "travel", "--ids").out


def test_list_says_that_some_are_hidden(say: Say, sandbox: Sandbox) -> None:
    """Where the server leaves locked conversations out, that is said, and not on standard output."""
    for id_ in LISTED[1:3]:
        sandbox.conversations[id_].locked = True
    for number in range(100):
        sandbox.conversations[f"conv_old_{number}"] = attrs.evolve(
            sandbox.conversations["conv_noise"],
            id=f"conv_old_{number}",
            discarded=False,
            created_at=datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=number),
        )
    said = say("list", "--ids")
    assert (0, 102) == (said.code, len(said.out.split()))
    assert "locked" in said.err


def test_get(say: Say) -> None:
    """One conversation is shown for people or as JSON; the transcript only where it is asked for."""
    text = say("get", "conv_standup", "--transcript")
    assert 0 == text.code
    assert "Monday Stand-up" in text.out
    assert "Good morning." in text.out
    assert "Good morning." not in say("get", "conv_standup").out
    (data,) = say("get", "conv_standup", "--json").data
    assert ("conv_standup", None) == (data["id"], data["transcript_segments"])
    assert 0 == say("get", "conv_noise").code


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["get", "conv_missing"], 5, "no such conversation"),
        (["get", "../memories/m1"], 1, "Nothing was sent."),
        (["get"], 1, "Missing argument"),
        (["list", "--title-matches", "("], 1, "not a regular expression"),
        (["list", "--title-matches", "a{99999999999}"], 1, "not a regular expression"),
        (["list", "--ids", "--json"], 1, "two forms"),
        (["list", "--category", "nonsense"], 1, "--category"),
        (["list", "--start-date", "yesterday"], 1, "--start-date"),
        (["list", "--limit", "0"], 1, "--limit"),
        (["list", "--sandbox", "--base-url", "http://localhost:1"], 1, "two different servers"),
    ],
)
def test_reading_fails(say: Say, sandbox: Sandbox, arguments: list[str], code: int, text: str) -> None:
    """What cannot be read or was mistyped is said on standard error, and the exit code tells which it was."""
    said = say(*arguments)
    assert (code, "") == (said.code, said.out)
    assert text in said.err
    assert (1 if code == 5 else 0) == len(sandbox.requests)


def test_reading_is_refused(say: Say, sandbox: Sandbox) -> None:
    """A refused key ends with 2, a spent window with 4, a failing server with 3; to a program it is JSON."""
    for status, code, times in ((401, 2, 1), (429, 4, 1), (500, 3, 3)):
        sandbox.fail(status=status, times=times, headers={"Retry-After": "900"} if status == 429 else None)
        said = say("list", "--json")
        assert (code, "") == (said.code, said.out)
        assert ["error", "detail"] == list(said.told[-1])


@pytest.mark.scenario(340)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_rehearsal_with_a_journal(say: Say, sandbox: Sandbox, tmp_path: Path, dry: list[str]) -> None:
    """The command's own sandbox ends with it: no journal is made of what is done there."""
    journal = tmp_path / "job.db"
    said = say("hide", "conv_noise", "--sandbox", "--journal", str(journal), *dry)
    assert (1, "") == (said.code, said.out)
    assert "--sandbox takes no --journal" in said.err
    assert not journal.exists()
    assert [] == sandbox.requests
