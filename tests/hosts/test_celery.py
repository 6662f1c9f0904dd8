"""The recipe for Celery, with Redis as broker and for results, which travel as JSON."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Program, Server, free_port, running

pytest.importorskip("celery", reason="needs Celery, which belongs to the extra `hosts`")
pytest.importorskip("redis", reason="needs redis, which belongs to the extra `hosts`")
pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server, a Debian package")

# Sends the tasks of its arguments, each a JSON list, and prints what came of each as JSON.
PRODUCER = """
import json, sys
from celery_tasks import rename
from omi_sync import OmiError
sent = [rename.delay(*json.loads(argument)) for argument in sys.argv[1:]]
print("sent", flush=True)
for result in sent:
    try:
        answer = result.get(timeout=50)
        print(json.dumps([answer["id"], answer["structured"]["title"]]))
    except OmiError as error:
        print(json.dumps([type(error).__name__, error.status, error.outcome, error.attempts]))
"""


class Queue:
    """A worker, and a way to send it tasks."""

    def __init__(self, start: Start, project: Path, url: str) -> None:
        self._start = start
        self._settings = {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}
        shutil.copy(RECIPES / "celery_tasks.py", project)
        (project / "produce.py").write_text(PRODUCER)

    def work(self) -> Program:
        command = ("celery", "--app", "celery_tasks", "worker", "--concurrency", 2, "--loglevel", "INFO")
        worker = self._start(sys.executable, "-m", *command, **self._settings)
        worker.wait_for(" ready.")
        return worker

    def send(self, *tasks: tuple[str, str]) -> Program:
        return self._start(sys.executable, "produce.py", *map(json.dumps, tasks), **self._settings)


def answers(producer: Program) -> list[list[object]]:
    assert 0 == producer.wait(), producer.text
    assert "sent\n" == producer.text[:5]
    return [json.loads(line) for line in producer.text.splitlines()[1:]]


@pytest.fixture
def queue(start: Start, project: Path, tmp_path: Path) -> Iterator[Queue]:
    port = free_port()
    command = ("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    with running(tmp_path / "redis.log", *command, cwd=tmp_path, env=os.environ) as redis:
        redis.wait_for("Ready to accept connections")
        yield Queue(start, project, f"redis://127.0.0.1:{port}/0")


def test_tasks(server: Server, queue: Queue, figure: Callable[..., None]) -> None:
    """Results and errors come back whole; what may help is tried again; SIGTERM lets a task end."""
    worker = queue.work()
    ids = ("conv_standup", "conv_design", "conv_lisbon", "conv_checkup")
    tasks = [(ids[number % 4], f"Title {number}") for number in range(200)]
    assert [list(task) for task in tasks] == answers(queue.send(*tasks))
    assert 200 == len(server.calls) == server.applied
    figure("Celery", renames=server.applied, right=200)

    # The client gives up after three attempts, and then the task waits for its turn.
    server.fail(status=503, times=3)
    assert [["conv_standup", "Again"]] == answers(queue.send(("conv_standup", "Again")))
    assert 1 == worker.text.count("Retry in 1s")
    assert ["503", "503", "503", "200"] == [call.status for call in server.calls[200:]]

    assert [["NotFoundError", 404, "not_applied", 1]] == answers(queue.send(("conv_unheard_of", "Nobody")))
    server.fail(status=501, apply=True)
    assert [["ServerError", 501, "unknown", 1]] == answers(queue.send(("conv_design", "Perhaps")))

    before = len(server.calls)
    server.fail(status=503)  # in the log as soon as the task is under way
    server.fail(delay=1.0)
    last = queue.send(("conv_lisbon", "Last"))
    worker.wait_until(lambda: len(server.calls) > before)
    assert 0 == worker.end(signal.SIGTERM)
    assert "Warm shutdown" in worker.text
    assert [["conv_lisbon", "Last"]] == answers(last)
    assert ["503", "200"] == [call.status for call in server.calls[before:]]
    assert [] == worker.complaints


def test_killed_worker_process(server: Server, queue: Queue) -> None:
    """The task of a worker process that was killed goes to another one, and a rename may be made twice."""
    worker = queue.work()
    server.fail(status=503)
    server.fail(delay=2.0)
    result = queue.send(("conv_standup", "After all"))
    worker.wait_until(lambda: bool(server.calls))
    children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children").read_text().split()
    assert 2 == len(children)
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    assert [["conv_standup", "After all"]] == answers(result)
    assert "After all" == server.title("conv_standup")
    assert 0 == worker.end(signal.SIGTERM)
