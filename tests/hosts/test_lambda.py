"""The recipe for AWS Lambda: Amazon's own runtime client, with an API of our own behind it."""

import itertools
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Program, Server, serving
from tests.support import subprocesses

pytest.importorskip("awslambdaric", reason="needs awslambdaric, which belongs to the extra `hosts`")


class Runtime:
    """The Lambda runtime API: hands out one event after the other, and takes the answers."""

    def __init__(self) -> None:
        self._events: queue.Queue[tuple[object, float]] = queue.Queue()
        self._answers: queue.Queue[tuple[str, object]] = queue.Queue()
        runtime, numbers = self, itertools.count()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                event, seconds = runtime._events.get()
                self._answer(
                    200,
                    event,
                    ("Lambda-Runtime-Aws-Request-Id", f"request-{next(numbers)}"),
                    ("Lambda-Runtime-Deadline-Ms", str(int((time.time() + seconds) * 1000))),
                    ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:1:function:rename"),
                )

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(202, {})
                runtime._answers.put((self.path.rpartition("/")[2], json.loads(body)))

            def _answer(self, status: int, value: object, *headers: tuple[str, str]) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                for header in (*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    def invoke(self, conversation_id: str, title: str, seconds: float = 30.0) -> tuple[str, object]:
        """Send an event with so much time, and return `response` or `error` with the body."""
        self._events.put(({"id": conversation_id, "title": title}, seconds))
        return self._answers.get(timeout=subprocesses.LIMIT)


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    runtime = Runtime()
    thread = threading.Thread(target=runtime.server.serve_forever)
    thread.start()
    yield runtime
    runtime.server.shutdown()
    thread.join()
    runtime.server.server_close()


@pytest.fixture
def function(runtime: Runtime, start: Start, project: Path) -> Program:
    shutil.copy(RECIPES / "lambda_handler.py", project)
    return start(
        *(sys.executable, "-m", "awslambdaric", "lambda_handler.handler"),
        AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{runtime.server.server_port}",
        AWS_LAMBDA_FUNCTION_NAME="rename",
        AWS_LAMBDA_FUNCTION_VERSION="1",
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE="128",
        AWS_REGION="eu-west-1",
    )


def freeze(program: Program, seconds: float = 0.1) -> None:
    """What Lambda does between two events."""
    program.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    program.process.send_signal(signal.SIGCONT)


def test_frozen_between_events(
    server: Server, runtime: Runtime, function: Program, figure: Callable[..., None]
) -> None:
    """Each event is answered with one request, however often the process was frozen before."""
    for number in range(50):
        title = f"Title {number}"
        assert ("response", {"id": "conv_standup", "title": title}) == runtime.invoke("conv_standup", title)
        freeze(function, 2.0 if number == 25 else 0.02)
    assert 50 == len(server.calls) == server.applied
    figure("Lambda", renames=server.applied, right=50, frozen=50)
    assert [] == function.complaints


def test_frozen_while_the_server_ends(server: Server, runtime: Runtime, function: Program, tmp_path: Path) -> None:
    """A connection that ended while the process was frozen is not used: the next event makes one request."""
    assert "response" == runtime.invoke("conv_standup", "Before")[0]
    os.kill(function.process.pid, signal.SIGSTOP)
    assert 0 == server.program.end()
    with serving(tmp_path / "other.log", port=server.port) as other:
        os.kill(function.process.pid, signal.SIGCONT)
        assert ("response", {"id": "conv_standup", "title": "After"}) == runtime.invoke("conv_standup", "After")
        assert ["200"] == [call.status for call in other.calls]


def test_frozen_in_the_middle(server: Server, runtime: Runtime, function: Program) -> None:
    """A call that is frozen while it waits has its answer after the thaw."""
    server.fail(status=503)  # in the log as soon as the call is under way
    server.fail(delay=0.5)
    answer: list[object] = []
    thread = threading.Thread(target=lambda: answer.append(runtime.invoke("conv_standup", "Middle")))
    thread.start()
    function.wait_until(lambda: bool(server.calls))
    freeze(function, 2.0)
    thread.join()
    assert [("response", {"id": "conv_standup", "title": "Middle"})] == answer


def test_little_time_left(server: Server, runtime: Runtime, function: Program) -> None:
    """The call ends before the event's time does, and the error says what may have happened."""
    server.fail(delay=20.0)
    kind, error = runtime.invoke("conv_standup", "Late", seconds=2.0)
    assert isinstance(error, dict)
    assert ("error", "RequestTimeoutError") == (kind, error["errorType"])
    assert "may have been applied" in error["errorMessage"]
    assert ("response", {"id": "conv_standup", "title": "Then"}) == runtime.invoke("conv_standup", "Then")
