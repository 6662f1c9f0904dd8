"""The command omi-conversations as people run it: in a process of its own, piped, on a terminal, interrupted."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

import pytest

from omi_async.sandbox import SandboxConversation
from omi_sync import Sandbox
from tests.support.archives import conversations
from tests.support.raw import Exchange, RawServer, answer, in_thread, success
from tests.support.subprocesses import LIMIT, ROOT, Result, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals and signals as POSIX has them")

KEY = Sandbox().api_key
IDS = [f"conv_{number}" for number in range(1, 7)]

# Its controlling terminal is its standard input, as it is for people.
LEAD = "import fcntl, os, sys, termios; fcntl.ioctl({fd}, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
COMMAND = [sys.executable, "-W", "error", "-m", "omi_sync"]


_started: list["subprocess.Popen[bytes]"] = []


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No command outlives its test, whatever becomes of that."""
    yield
    while _started:
        process = _started.pop()
        process.kill()
        process.wait()


class Now:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.passed


def small_sandbox(clock: Now | None = None, *, limit: int | None = None) -> Sandbox:
    conversations = [SandboxConversation(id=name, title="Test") for name in IDS]
    return Sandbox(conversations, write_limit=limit, clock=clock or time.monotonic)


def environment(url: str, **more: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_", "OMI_", "NO_"))}
    return {**env, "PYTHONPATH": str(ROOT), "TERM": "xterm", "OMI_API_KEY": KEY, "OMI_API_BASE": url, **more}


class Run:
    """The command in a session of its own, its output in files, so that a test can look at it meanwhile."""

    def __init__(self, directory: Path, url: str, *arguments: str, typed: str = "", **more: str) -> None:
        self._out, self._err = directory / "out", directory / "err"
        (directory / "in").write_text(typed)
        with (directory / "in").open() as stdin, self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=directory,
                env=environment(url, **more),
                stdin=stdin,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        _started.append(self.process)

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def code(self) -> int:
        """Wait for its end; nothing that it wrote is for a terminal, and nothing tells the key."""
        code = self.process.wait(LIMIT)
        for text in (self.out, self.err):
            assert not re.search(r"[^\x20-\x7e\n]", text)
            assert KEY not in text
            assert "Traceback" not in text
        return code


class Terminal:
    """The command on a terminal; `piped` is what a pipe brings, `err` the file that standard error goes to."""

    def __init__(
        self,
        directory: Path,
        url: str,
        *arguments: str,
        piped: str | None = None,
        err: str = "",
        **more: str,
    ) -> None:
        import pty  # not on every system

        self.end, theirs = pty.openpty()
        with (directory / err).open("wb") if err else nullcontext(theirs) as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", LEAD.format(fd=1), *COMMAND, *arguments],
                cwd=directory,
                env=environment(url, **more),
                stdin=theirs if piped is None else subprocess.PIPE,
                stdout=theirs,
                stderr=errors,
                start_new_session=True,
            )
        _started.append(self.process)
        os.close(theirs)
        os.set_blocking(self.end, False)
        self.shown = ""
        if piped is not None:
            assert self.process.stdin is not None
            self.process.stdin.write(piped.encode())
            self.process.stdin.close()

    def look(self) -> bool:
        """Take in what is new; False when the command has closed the terminal."""
        try:
            data = os.read(self.end, 65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)

    def expect(self, text: str) -> None:
        def seen() -> bool:
            return text in self.shown or not self.look() or text in self.shown

        wait_until(seen)
        assert text in self.shown, self.shown

    def type(self, keys: str) -> None:
        os.write(self.end, keys.encode())

    def code(self) -> int:
        wait_until(lambda: not self.look())
        code = self.process.wait(LIMIT)
        os.close(self.end)
        assert KEY not in self.shown
        assert "Traceback" not in self.shown
        return code


@contextmanager
def held(*names: str) -> Iterator[tuple[RawServer, list[str]]]:
    """A server that says nothing about some conversations until they are taken off the list."""
    holding = list(names)

    async def script(exchange: Exchange) -> None:
        import asyncio

        while exchange.path.rpartition("/")[2] in holding:
            await asyncio.sleep(0.002)
        await exchange.send(success(exchange))

    with in_thread(RawServer(script)) as server:
        yield server, holding


# Piped


@pytest.mark.parametrize(
    ("arguments", "typed", "code", "done"),
    [
        (["rename", "conv_1", "Plan"], "", 0, ["renamed  conv_1"]),
        (["rename", "--from", "-"], "id,title\nconv_1,Plan\n", 0, ["renamed  conv_1"]),
        (["hide", "conv_1", "conv_2"], "", 0, ["hidden   conv_1", "hidden   conv_2"]),
        (["restore", "--from", "-"], "conv_1\n# conv_2\n", 0, ["restored conv_1"]),
        (["delete", "--from", "-", "--yes"], "conv_1\n", 0, ["deleted  conv_1"]),
        (["delete", "--from", "-"], "conv_1\n", 1, []),
        (["delete", "conv_1"], "y\n", 1, []),
        (["hide", "conv_1", "--dry-run"], "", 0, ["would hide conv_1"]),
        (["hide", "conv_x"], "", 5, []),
        (["hide"], "", 1, []),
    ],
)
def test_piped(tmp_path: Path, arguments: list[str], typed: str, code: int, done: list[str]) -> None:
    """Piped, the outcomes are plain lines on standard output, and without --yes nothing is deleted."""
    with small_sandbox() as sandbox:
        run = Run(tmp_path, sandbox.url, *arguments, typed=typed)
        assert (code, done) == (run.code(), sorted(run.out.splitlines()))
        assert (len(done) if "--dry-run" not in arguments else 0) == sum(
            request.status == 200 for request in sandbox.requests
        )
    assert run.err.endswith("\n")


def test_nobody_listens(tmp_path: Path) -> None:
    """Where nothing listens the command ends with 3 and says that nothing was changed."""
    run = Run(tmp_path, "http://127.0.0.1:1", "hide", "conv_1")
    assert 3 == run.code()
    assert "Nothing was changed." in run.err


@pytest.mark.parametrize(("status", "code"), [(401, 2), (403, 2), (500, 3)])
def test_server_refuses(tmp_path: Path, status: int, code: int) -> None:
    """A refused key ends with 2 and a failing server with 3, in a job of any size."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer(status, {"detail": f"no, {KEY}"}))

    with in_thread(RawServer(script)) as server:
        run = Run(tmp_path, server.url, "delete", *IDS, "--yes")
        assert code == run.code()
    assert "" == run.out
    assert "0 of 6 conversations deleted" in run.err


def test_window_of_a_second(tmp_path: Path) -> None:
    """Where the server asks for a second, the command waits for it and ends well; with --no-wait it ends with 4."""

    async def script(exchange: Exchange) -> None:
        again = exchange.number > 1
        await exchange.send(success(exchange) if again else answer(429, {}, headers={"Retry-After": "1"}))

    for arguments, code in (([], 0), (["--no-wait"], 4)):
        with in_thread(RawServer(script)) as server:
            assert code == Run(tmp_path, server.url, "hide", "conv_1", *arguments).code()


def test_reader_goes_away(tmp_path: Path) -> None:
    """When nobody reads the outcomes any more, nothing new is begun and the command ends with 3."""
    with small_sandbox() as sandbox:
        reading, writing = os.pipe()
        os.close(reading)
        process = subprocess.Popen(
            [*COMMAND, "delete", *IDS, "--yes", "--concurrency", "1"],
            env=environment(sandbox.url),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(writing)
        _, err = process.communicate(timeout=LIMIT)
        assert 3 == process.returncode
        assert len(sandbox.requests) < len(IDS)
        assert [f"deleted  {name}" for name in IDS[: len(sandbox.requests)]] == err.splitlines()[
            : len(sandbox.requests)
        ]
    assert "nobody reads standard output" in err
    assert "Exception ignored" not in err


# Standard streams that are missing, full or narrow


def by_shell(line: str, url: str, **more: str) -> Result:
    """Run a line of shell, in which `omi` is the command; nothing ends in a traceback or tells the key."""
    done = subprocess.run(
        ["sh", "-c", f'omi() {{ "{sys.executable}" -W error -m omi_sync "$@"; }}; {line}'],
        env=environment(url, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    for text in (out, err):
        assert "Traceback" not in text
        assert "Exception ignored" not in text
        assert KEY not in text
    return Result(done.returncode, out, err, 0.0)


NOBODY = "there is no terminal to ask on"


@pytest.mark.parametrize(
    ("line", "code", "out", "err"),
    [
        pytest.param("omi hide conv_1 >&-", 0, "", "1 of 1 conversation hidden.", marks=pytest.mark.scenario(300)),
        pytest.param("omi list --ids >&-", 0, "", "", marks=pytest.mark.scenario(300)),
        pytest.param("omi get conv_1 --json >&-", 0, "", "", marks=pytest.mark.scenario(300)),
        pytest.param("omi hide conv_1 2>&-", 0, "hidden   conv_1\n", "", marks=pytest.mark.scenario(303)),
        pytest.param("omi hide conv_x 2>&-", 5, "", "", marks=pytest.mark.scenario(303)),
        pytest.param("omi lst 2>&-", 1, "", "", marks=pytest.mark.scenario(303)),
        pytest.param("omi delete conv_1 2>&-", 1, "", "", marks=pytest.mark.scenario(303)),
        pytest.param("omi hide conv_1 2>/dev/full", 0, "hidden   conv_1\n", "", marks=pytest.mark.scenario(303)),
        pytest.param("omi hide conv_x 2>/dev/full", 5, "", "", marks=pytest.mark.scenario(303)),
        pytest.param("omi delete conv_1 <&-", 1, "", NOBODY, marks=pytest.mark.scenario(304)),
        pytest.param(
            "omi delete --from - --yes <&-", 0, "", "there is no id in the input", marks=pytest.mark.scenario(304)
        ),
        pytest.param("omi hide conv_1 <&- >&- 2>&-", 0, "", "", marks=pytest.mark.scenario(300, 303, 304)),
        pytest.param("omi list >/dev/full", 3, "", "No space left on device", marks=pytest.mark.scenario(301)),
        pytest.param("omi list --json >/dev/full", 3, "", "No space left on device", marks=pytest.mark.scenario(301)),
        pytest.param("omi hide conv_1 --dry-run >/dev/full", 3, "", "takes no more", marks=pytest.mark.scenario(301)),
        pytest.param("omi --help >/dev/full", 3, "", "No space left on device", marks=pytest.mark.scenario(301)),
        pytest.param("omi list | true", 0, "", "", marks=pytest.mark.scenario(302)),
    ],
)
@pytest.mark.parametrize("buffering", ["", "1"])
def test_streams(line: str, code: int, out: str, err: str, buffering: str) -> None:
    """A missing stream is an empty one, a full one is told on the other, and the exit code stays that of the job."""
    with small_sandbox() as sandbox:
        done = by_shell(line, sandbox.url, PYTHONUNBUFFERED=buffering)
        assert (code, out) == (done.code, done.out)
        assert (err in done.err) if err else (done.err == "")
        hidden = line.startswith("omi hide conv_1") and "--dry-run" not in line
        assert hidden == sandbox.conversations["conv_1"].discarded


@pytest.mark.scenario(301)
def test_full_disk() -> None:
    """Where standard output cannot be written, the job stops, and standard error has every outcome there is."""
    with small_sandbox() as sandbox:
        done = by_shell(f"omi delete {' '.join(IDS)} --yes --concurrency 1 >/dev/full", sandbox.url)
        gone = [name for name in IDS if name not in sandbox.conversations]
    assert (3, "") == (done.code, done.out)
    assert 1 <= len(gone) < len(IDS)
    left = IDS[len(gone) :]
    assert [
        *(f"deleted  {name}" for name in gone),
        "Stopped: standard output takes no more (No space left on device).",
        f"Not done: {' '.join(left)}",
        "With --journal FILE a later run goes on where an earlier one stopped.",
        f"{len(gone)} of 6 conversations deleted, {len(left)} not done.",
    ] == done.err.splitlines()


@pytest.mark.parametrize(
    "settings", [{}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}], ids=["", "C"]
)
def test_completion(settings: dict[str, str]) -> None:
    """The shell's completion works, and a full disk or a reader that leaves is no traceback there either."""
    words = {"_OMI_CONVERSATIONS_COMPLETE": "bash_complete", "COMP_WORDS": "omi-conversations li", "COMP_CWORD": "1"}
    done = by_shell("omi", "", **settings, **words)
    assert (0, "plain,list", "") == (done.code, done.out.strip(), done.err)
    for line, code in (("omi >/dev/full", 3), ("omi | true", 0)):
        assert code == by_shell(line, "", **settings, **words).code


@pytest.mark.scenario(316)
def test_nowhere_to_tell_of_a_wait(tmp_path: Path) -> None:
    """A wait that cannot be told of is a wait all the same, and Ctrl-C ends it with its own code."""
    with small_sandbox(limit=3) as sandbox:
        process = subprocess.Popen(
            [
                "sh",
                "-c",
                f'exec "{sys.executable}" -W error -m omi_sync hide {" ".join(IDS)} --concurrency 1 2>/dev/full',
            ],
            env=environment(sandbox.url),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        _started.append(process)
        wait_until(lambda: len(sandbox.requests) == 4)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=LIMIT)
    assert 130 == process.returncode
    assert [f"hidden   {name}" for name in IDS[:3]] == out.decode().splitlines()


@pytest.mark.scenario(305)
@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["cp1252", "ascii", "C"],
)
@pytest.mark.parametrize(
    "line",
    [
        "omi get conv_1",
        "omi list",
        "omi rename --from - --dry-run <rename.csv",
        "omi rename --from - <rename.csv && omi get conv_1",
    ],
)
def test_narrow_encoding(tmp_path: Path, line: str, settings: dict[str, str]) -> None:
    """A character that the output's encoding lacks is written by its number."""
    (tmp_path / "rename.csv").write_text("conv_1,Plan \U0001f600\n", encoding="utf-8")
    with small_sandbox() as sandbox:
        sandbox.conversations["conv_1"].title = "Plan \U0001f600"
        done = by_shell(f"cd '{tmp_path}'; {line}", sandbox.url, **settings)
    assert 0 == done.code
    assert "Plan \\U0001f600" in done.out


@pytest.mark.scenario(306)
def test_input_without_end() -> None:
    """An input that never ends is read to a limit, and refused."""
    with small_sandbox() as sandbox:
        for line, name in (("--from /dev/zero", "/dev/zero"), ("--from - </dev/zero", "Standard input")):
            done = by_shell(f"omi delete --yes {line}", sandbox.url)
            assert (1, f"{name} is larger than 64 MiB. Nothing was sent.\n") == (done.code, done.err)
        assert [] == sandbox.requests


@pytest.mark.scenario(306)
def test_input_that_comes_slowly() -> None:
    """A pipe that would not wait does not end the input in the middle of an id."""
    with small_sandbox() as sandbox:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.write(writing, b"conv_")
        process = subprocess.Popen(
            [*COMMAND, "hide", "--from", "-"],
            env=environment(sandbox.url),
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        _started.append(process)
        wait_until(lambda: os.get_blocking(reading) or process.poll() is not None)
        os.write(writing, b"2\n")
        os.close(writing)
        os.close(reading)
        out, err = process.communicate(timeout=LIMIT)
    assert (0, b"hidden   conv_2\n", b"1 of 1 conversation hidden.\n") == (process.returncode, out, err)


# Interrupted


@pytest.mark.scenario(313)
def test_terminal_is_closed(tmp_path: Path) -> None:
    """When the terminal goes, what is under way is finished, nothing new is begun, and the journal knows all of it."""
    with held("conv_2") as (server, holding):
        terminal = Terminal(tmp_path, server.url, "hide", *IDS, "--concurrency", "1", "--journal", "job.db")
        wait_until(lambda: len(server.log) == 2)
        os.close(terminal.end)
        holding.clear()
        assert 129 == terminal.process.wait(LIMIT)
        done = len(server.log)
        assert 2 <= done < len(IDS)
        again = Run(tmp_path, server.url, "hide", *IDS, "--journal", "job.db")
        assert 0 == again.code()
        assert [f"hidden   {name}" for name in IDS[done:]] == sorted(again.out.splitlines())


@pytest.mark.scenario(313)
def test_nohup() -> None:
    """A command that is told to outlive its terminal does."""
    with held("conv_1") as (server, holding):
        process = subprocess.Popen(
            ["nohup", *COMMAND, "hide", "conv_1", "conv_2", "--concurrency", "1"],
            env=environment(server.url),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        _started.append(process)
        wait_until(lambda: len(server.log) == 1)
        process.send_signal(signal.SIGHUP)
        holding.clear()
        out, _ = process.communicate(timeout=LIMIT)
    assert (0, b"hidden   conv_1\nhidden   conv_2\n") == (process.returncode, out)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.scenario(313)),
    ],
)
@pytest.mark.parametrize("journal", [True, False])
def test_stopped(tmp_path: Path, number: int, code: int, *, journal: bool) -> None:
    """A signal lets what is under way end and begins nothing new; with the journal the next run does the rest."""
    arguments = ["delete", *IDS, "--yes", "--concurrency", "2", *(["--journal", "job.db"] if journal else [])]
    with held("conv_2", "conv_3") as (server, holding):
        run = Run(tmp_path, server.url, *arguments)
        wait_until(lambda: len(server.log) == 3)
        run.process.send_signal(number)
        wait_until(lambda: "Stopping: what is under way is finished first" in run.err)
        holding.clear()
        assert code == run.code()
        done = sorted(run.out.splitlines())
        assert ["deleted  conv_1", "deleted  conv_2", "deleted  conv_3"] == done[:3]
        assert len(done) == len(server.log) < len(IDS)  # one more item may have been taken before
        assert f"{len(done)} of 6 conversations deleted, {len(IDS) - len(done)} not done.\n" in run.err
        assert "may have been under way" not in run.err
        if not journal:
            assert f"Not done: {' '.join(IDS[len(done) :])}\n" in run.err
            return
        assert f"To go on where it stopped: omi-conversations {' '.join(arguments)}\n" in run.err
        again = Run(tmp_path, server.url, *arguments)
        assert 0 == again.code()
        assert [f"deleted  {name}" for name in IDS[len(done) :]] == sorted(again.out.splitlines())
        assert len(IDS) == len(server.log)


def test_stopped_at_once(tmp_path: Path) -> None:
    """A second Ctrl-C does not wait for what is under way, and says that nobody knows what became of it."""
    arguments = ["hide", *IDS, "--concurrency", "2", "--journal", "job.db"]
    with held("conv_2", "conv_3") as (server, holding):
        run = Run(tmp_path, server.url, *arguments)
        wait_until(lambda: len(server.log) == 3)
        run.process.send_signal(signal.SIGINT)
        wait_until(lambda: "Stopping" in run.err)
        run.process.send_signal(signal.SIGINT)
        assert 130 == run.code()
        assert "Up to 2 requests may have been under way" in run.err
        assert "1 of 6 conversations hidden, 2 unknown, 3 not done." in run.err
        holding.clear()
        again = Run(tmp_path, server.url, *arguments)
        assert 0 == again.code()
        assert [f"hidden   {name}" for name in IDS[1:]] == sorted(again.out.splitlines())


@pytest.mark.parametrize("as_json", [False, True])
def test_stopped_while_waiting(tmp_path: Path, *, as_json: bool) -> None:
    """While the command waits for the window it says until when; Ctrl-C ends that at once, and the next run goes on."""
    # One at a time: otherwise the wait may begin while the answer to the last good request is on its way.
    arguments = ["hide", *IDS, "--journal", "job.db", "--concurrency", "1", *(["--json"] if as_json else [])]
    now = Now()
    with small_sandbox(now, limit=3) as sandbox:
        run = Run(tmp_path, sandbox.url, *arguments)
        wait_until(lambda: "waiting_until" in run.err or "window reopens at" in run.err)
        run.process.send_signal(signal.SIGINT)
        assert 130 == run.code()
        assert "may have been under way" not in run.err
        if as_json:
            waiting, error, summary = [json.loads(line) for line in run.err.splitlines()]
            assert (3, 6) == (waiting["settled"], waiting["total"])
            assert "Interrupted" == error["error"]
            assert (3, 3) == (summary["summary"]["done"], summary["summary"]["not_done"])
        else:
            assert re.search(r"^3 of 6 settled\. The server's window is spent; window reopens at \d\d:\d\d", run.err)
            assert run.err.endswith("3 of 6 conversations hidden, 3 not done.\n")
        now.passed = 3600.0
        assert 0 == Run(tmp_path, sandbox.url, *arguments).code()
        assert all(conversation.discarded for conversation in sandbox.conversations.values())
        assert len(IDS) == sum(request.status == 200 for request in sandbox.requests)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_save_is_stopped(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """A save that waits for the window ends at once at a signal; the next one goes on where it stopped."""
    now = Now()
    with Sandbox(conversations(700), transcript_limit=3, clock=now) as sandbox:
        run = Run(tmp_path, sandbox.url, "save", "--archive", "a.db")
        wait_until(lambda: "window reopens at" in run.err)
        run.process.send_signal(number)
        assert code == run.code()
        assert "Stopped. What was saved is kept; the same command goes on from there.\n" in run.err
        status = Run(tmp_path, sandbox.url, "status", "--archive", "a.db")
        assert 0 == status.code()
        (count,) = map(int, re.findall("^conversations: ([0-9]+)$", status.out, re.M))
        assert 400 <= count < 700
        assert "last saved: never to the end\n" in status.out
        now.passed = 3600.0
        again = Run(tmp_path, sandbox.url, "save", "--archive", "a.db", "--json")
        assert 0 == again.code()
        assert 700 - count == json.loads(again.err.splitlines()[-1])["summary"]["new"]


def test_a_service_is_stopped(tmp_path: Path) -> None:
    """Between two saves everything is done: a service that is stopped there ends well."""
    with small_sandbox() as sandbox:
        run = Run(tmp_path, sandbox.url, "save", "--archive", "a.db", "--every", "60")
        wait_until(lambda: "The next time is at" in run.err)
        run.process.send_signal(signal.SIGTERM)
        assert 0 == run.code()


def test_bar_of_save(tmp_path: Path) -> None:
    """On a terminal saving has a bar, which tells when the window reopens."""
    with Sandbox(conversations(450), transcript_limit=2) as sandbox:
        terminal = Terminal(tmp_path, sandbox.url, "save", "--archive", "a.db")
        terminal.expect("window reopens at ")
        terminal.type("\x03")
        assert 130 == terminal.code()
    assert re.search("[0-9]{3} saved", terminal.shown)
    assert "\x1b[?25h" in terminal.shown  # the cursor is there again


def test_export_without_a_reader(tmp_path: Path) -> None:
    """An export to a pipe ends quietly when its reader has left, and with 3 when the disk is full."""
    with small_sandbox() as sandbox:
        assert 0 == Run(tmp_path, sandbox.url, "save", "--archive", "a.db").code()
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            assert (0, b"") == export_to(pipe, tmp_path, sandbox.url)
        if Path("/dev/full").exists():
            with open("/dev/full", "wb") as full:
                code, err = export_to(full, tmp_path, sandbox.url)
            assert (3, True) == (code, b"standard output takes no more" in err)


def export_to(output: IO[bytes], directory: Path, url: str) -> tuple[int, bytes]:
    command = [*COMMAND, "export", "--format", "jsonl", "--archive", "a.db"]
    done = subprocess.run(
        command, cwd=directory, env=environment(url), stdout=output, stderr=subprocess.PIPE, timeout=LIMIT, check=False
    )
    return done.returncode, done.stderr


# On a terminal


@pytest.mark.parametrize(
    ("keys", "code", "text"),
    [
        ("y\n", 0, "6 of 6 conversations deleted."),
        ("yes\n", 0, "6 of 6 conversations deleted."),
        ("\n", 1, "Nothing was deleted."),
        ("n\n", 1, "Nothing was deleted."),
        ("\x04", 1, "Nothing was deleted."),
        ("\x03", 130, "Stopped. Nothing was sent."),
    ],
)
@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.scenario(314)
def test_confirmation(tmp_path: Path, keys: str, code: int, text: str, *, piped: bool) -> None:
    """Before it deletes, the command asks on the terminal, shows how many and a few of them, and recommends a copy."""
    with small_sandbox() as sandbox:
        if piped:
            terminal = Terminal(tmp_path, sandbox.url, "delete", "--from", "-", piped="\n".join(IDS))
        else:
            terminal = Terminal(tmp_path, sandbox.url, "delete", *IDS)
        terminal.expect("[y/N] ")
        assert "This deletes 6 conversations for good: conv_1, conv_2, conv_3 and 3 more." in terminal.shown
        assert "--keep FILE" in terminal.shown
        assert "omi-conversations hide" in terminal.shown
        assert f"The server is {sandbox.url.partition('//')[2]}.\n" in terminal.shown
        assert [] == sandbox.requests
        terminal.type(keys)
        assert code == terminal.code()
        assert text in terminal.shown
        assert (6 if code == 0 else 0) == len(sandbox.requests)


@pytest.mark.parametrize("setting", ["", "NO_COLOR", "OMI_NO_COLOR"])
def test_bar(tmp_path: Path, setting: str) -> None:
    """On a terminal there is a bar with counts and the window's time, in colour unless that is not wanted."""
    with small_sandbox(limit=3) as sandbox:
        terminal = Terminal(
            tmp_path, sandbox.url, "hide", *IDS, "--concurrency", "1", **({setting: "1"} if setting else {})
        )
        terminal.expect("window reopens at ")
        terminal.type("\x03")
        assert 130 == terminal.code()
    assert "3 done" in terminal.shown
    assert "3/6" in terminal.shown
    assert "\x1b[?25h" in terminal.shown  # the cursor is there again
    assert (not setting) == bool(re.search(r"\x1b\[(\d+;)*3[0-9]", terminal.shown))
    assert "3 of 6 conversations hidden, 3 not done." in terminal.shown


def test_plain_terminal(tmp_path: Path) -> None:
    """A terminal that can do nothing is spared every control sequence."""
    with small_sandbox() as sandbox:
        terminal = Terminal(tmp_path, sandbox.url, "hide", *IDS, TERM="dumb")
        assert 0 == terminal.code()
    assert "\x1b" not in terminal.shown
    assert "6 of 6 conversations hidden." in terminal.shown


@pytest.mark.parametrize("name", ["xterm", "dumb"])
def test_table(tmp_path: Path, name: str) -> None:
    """On a terminal a list is a table with a heading, and a dumb one is spared every control sequence."""
    with small_sandbox() as sandbox:
        terminal = Terminal(tmp_path, sandbox.url, "list", "--limit", "2", TERM=name)
        assert 0 == terminal.code()
    assert (name == "xterm") == ("\x1b" in terminal.shown)
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal.shown)
    heading, *rows = text.splitlines()
    assert ["id", "created", "category", "title"] == heading.split()
    assert 2 == len(rows)
    assert {row.split()[0] for row in rows} < set(IDS)


@pytest.mark.scenario(311)
def test_words_between_colons(tmp_path: Path) -> None:
    """A word between colons in a title is shown as it is, not as the emoji of that name."""
    with small_sandbox() as sandbox:
        sandbox.conversations["conv_1"].title = "Fire drill :fire: [red]now"
        terminal = Terminal(tmp_path, sandbox.url, "list")
        assert 0 == terminal.code()
    assert "Fire drill :fire: [red]now" in terminal.shown


@pytest.mark.scenario(303)
def test_question_that_would_not_be_seen(tmp_path: Path) -> None:
    """Where standard error goes to a file, the question is asked on the terminal itself."""
    with small_sandbox() as sandbox:
        terminal = Terminal(tmp_path, sandbox.url, "delete", "conv_1", err="err")
        terminal.expect("[y/N] ")
        terminal.type("y\n")
        assert 0 == terminal.code()
    assert "[y/N]" not in (tmp_path / "err").read_text()


# The recorded session


def test_recorded_session() -> None:
    """The session that the documentation shows is plain text, tells the whole story, and no key."""
    directory = ROOT / "docs/examples/terminal"
    text = (directory / "session.txt").read_text(encoding="utf-8")
    assert "\x1b" not in text
    assert "omi_dev_" not in text + (directory / "session.svg").read_text(encoding="utf-8")
    for part in ("window reopens at", "[y/N] y", "in an earlier run", "exit code 130"):
        assert part in text
    page = (ROOT / "docs/command.md").read_text(encoding="utf-8")
    assert text in page
