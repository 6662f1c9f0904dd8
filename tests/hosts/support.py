"""A sandbox in a process of its own, programs of hosts, and users who send them requests."""

import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from omi_sync import OmiClient
from tests.support import subprocesses

RECIPES = subprocesses.ROOT / "docs/examples/hosts"

_CALL = re.compile(r"^\S+ (?P<method>[A-Z]+) (?P<path>/v1/\S*) (?P<status>[^,\n]+)(?P<applied>, applied)?$", re.M)
_COMPLAINT = re.compile(r".*(?:[Uu]nclosed|was not closed|never awaited|never retrieved|was destroyed).*")


@attrs.frozen
class Program:
    """A program in a process group of its own, and the file with all that it wrote."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def _last(self) -> str:
        return self.text[-5000:]

    @property
    def complaints(self) -> list[str]:
        """What Python and asyncio say about connections and tasks that were left behind."""
        return _COMPLAINT.findall(self.text)

    def wait_for(self, words: str, times: int = 1) -> None:
        """Wait until the program has written the words so many times."""
        self.wait_until(lambda: self.text.count(words) >= times)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the program is about to do."""
        end = time.monotonic() + subprocesses.LIMIT
        while not condition():
            assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self._last}"
            assert time.monotonic() < end, f"it never happened\n{self._last}"
            time.sleep(0.02)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the program a signal, wait for its end and return its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def interrupt(self) -> int:
        """Send SIGINT to the program and its children, as Ctrl-C does, wait for its end and return its exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """Wait for the program's end and return its exit code."""
        try:
            return self.process.wait(subprocesses.LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end\n{self._last}") from None


@contextmanager
def running(log: Path, *command: object, cwd: Path, env: Mapping[str, str]) -> Iterator[Program]:
    """Run a command; nothing of it, forked children included, outlives the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*map(str, command)],
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Program(process, log)
    finally:
        for number in (signal.SIGCONT, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                pass
        process.wait()


@attrs.frozen
class Call:
    """A request as the sandbox's log has it."""

    method: str
    path: str
    status: str
    applied: bool


@attrs.frozen
class Server:
    """The standalone sandbox."""

    program: Program
    key: str
    url: str

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    @property
    def calls(self) -> list[Call]:
        """Every request of the API that has been answered, or was dropped."""
        return [
            Call(found["method"], found["path"], found["status"], found["applied"] is not None)
            for found in _CALL.finditer(self.program.text)
        ]

    @property
    def applied(self) -> int:
        """How many requests have changed something."""
        return sum(call.applied for call in self.calls)

    def fail(self, **fault: object) -> None:
        """Script a fault on the control path."""
        assert 204 == send("POST", f"{self.url}/sandbox/faults", fault, key=self.key)[0]

    def title(self, conversation_id: str) -> str | None:
        """The title that the sandbox has. Asking for it is a request, too."""
        with OmiClient(self.key, base_url=self.url) as omi:
            return omi.conversations.get(conversation_id).structured.title


@contextmanager
def serving(log: Path, port: int = 0) -> Iterator[Server]:
    """Run the standalone sandbox, without a limit of writes."""
    command = (sys.executable, "-m", "omi_async.sandbox", "--write-limit", "none", "--log", "--port", port)
    with running(log, *command, cwd=subprocesses.ROOT, env=subprocesses.environment()) as program:
        program.wait_for("Ctrl-C stops it.")
        settings = dict(re.findall(r"^export (\w+)=(\S+)$", program.text, re.M))
        yield Server(program, settings["OMI_API_KEY"], settings["OMI_API_BASE"])


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def send(method: str, url: str, body: object = None, *, key: str | None = None) -> tuple[int, object]:
    """Send one request on a connection of its own, and return the status and the JSON of the answer."""
    place = urlsplit(url)
    assert place.hostname is not None
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=subprocesses.LIMIT)
    try:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        connection.request(method, place.path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
        try:
            return response.status, json.loads(text) if text else None
        except ValueError:
            return response.status, text.decode(errors="replace")
    finally:
        connection.close()


@attrs.define
class Tally:
    """What the answers to renames were like."""

    right: int = 0
    wrong: list[object] = attrs.field(factory=list)
    lost: list[Exception] = attrs.field(factory=list)
    """Where the host itself did not answer: it is being killed, or reloaded."""

    def check(self, server: Server) -> dict[str, int]:
        """Compare with the sandbox, whose only users these were, and return the figures."""
        applied = server.applied
        assert [] == self.wrong
        assert self.right <= applied <= self.right + len(self.lost)
        return {"renames": applied, "right": self.right, "lost": len(self.lost)}


@contextmanager
def users(url: str, number: int = 4) -> Iterator[Tally]:
    """So many users send `PATCH url/ID` one after the other until the block ends, and look at each answer."""
    tally, over, counter = Tally(), threading.Event(), itertools.count()

    def use(conversation_id: str) -> None:
        while not over.is_set():
            title = f"Title {next(counter)}"
            try:
                status, answer = send("PATCH", f"{url}/{conversation_id}", {"title": title})
            except (OSError, http.client.HTTPException) as error:
                tally.lost.append(error)
                time.sleep(0.02)
                continue
            if (status, answer) == (200, {"id": conversation_id, "title": title}):
                tally.right += 1
            else:
                tally.wrong.append((title, status, answer))

    ids = itertools.cycle(("conv_standup", "conv_design", "conv_lisbon", "conv_checkup"))
    threads = [threading.Thread(target=use, args=(next(ids),)) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        over.set()
        for thread in threads:
            thread.join()


def more(program: Program, tally: Tally, answers: int = 100) -> None:
    """Let the users go on until they have so many further right answers."""
    goal = tally.right + answers
    program.wait_until(lambda: tally.right >= goal or bool(tally.wrong))
