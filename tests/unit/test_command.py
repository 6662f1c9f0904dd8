"""The command omi-conversations in this process: what it reads, what it refuses, what it says, how it ends."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from omi_async import BulkProgress
from omi_sync import Sandbox
from omi_sync.command import main, streams, words
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


@pytest.mark.parametrize("heading", ["", "id,title\n", "\ufeffID, Title\r\n"])
def test_rename_by_csv(say: Say, sandbox: Sandbox, heading: str) -> None:
    """Titles come as CSV, with or without its heading, quoted where they hold commas."""
    text = f'{heading}conv_standup,"Plan, first half"\n# not this one,x\n\nconv_design,"The ""new"" door – 木"\n'
    said = say("rename", "--from", "-", typed=text)
    assert (0, "2 of 2 conversations renamed.\n") == (said.code, said.err)
    assert "Plan, first half" == sandbox.conversations["conv_standup"].title
    assert 'The "new" door – 木' == sandbox.conversations["conv_design"].title


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
    assert said.err.startswith("Dry run: nothing is sent.\n")
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
    "key for an id": (["hide", f"{SECRET}/"], "", "argument 1: an id must be"),
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
    "two titles": (
        ["rename", "--from", "-"],
        "a,b\nc,d\na,e\n",
        "line 3: another title for the conversation of line 1",
    ),
    "no concurrency": (["hide", "conv_a", "--concurrency", "0"], "", "--concurrency"),
    "two servers": (["hide", "conv_a", "--sandbox", "--base-url", "http://localhost:1"], "", "two different servers"),
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


def _no_terminal(*_: object, **__: object) -> None:
    raise OSError


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
