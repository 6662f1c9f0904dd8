"""The recipe for gunicorn, with threads and with greenlets."""

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Program, Server, free_port, more, users

pytest.importorskip("gunicorn", reason="needs gunicorn, which belongs to the extra `hosts`")

# The master has used its client before it forks, and the workers begin with copies of that.
USED = "from gunicorn_app import app, omi\nomi.folders.list()\n"


@pytest.mark.parametrize("preload", [True, False], ids=["preload", "no preload"])
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_kill_and_reload(
    server: Server, start: Start, worker: str, preload: bool, project: Path, figure: Callable[..., None]
) -> None:
    """Workers begin afresh with the master's client, when one was killed and when all are replaced, too."""
    if worker == "gevent":
        pytest.importorskip("gevent", reason="needs gevent, which belongs to the extra `hosts`")
    project.joinpath("used.py").write_text(USED)
    port = free_port()
    options = [
        "--bind",
        f"127.0.0.1:{port}",
        "--workers",
        2,
        "--threads",
        4,
        "--worker-class",
        worker,
        "--no-control-socket",
    ]
    gunicorn = start(
        *(sys.executable, "-m", "gunicorn", *options, *(["--preload"] if preload else [])),
        *("--pythonpath", RECIPES, "used:app"),
    )
    wait_for_workers(gunicorn, 2)
    with users(f"http://127.0.0.1:{port}/conversations") as tally:
        more(gunicorn, tally)
        # Under gevent gunicorn 27.0 itself is at times slow to replace a worker that was killed, whatever it serves.
        if worker != "gevent":
            os.kill(workers(gunicorn)[0], signal.SIGKILL)
            wait_for_workers(gunicorn, 3)
            more(gunicorn, tally)
        before = len(workers(gunicorn))
        gunicorn.process.send_signal(signal.SIGHUP)
        wait_for_workers(gunicorn, before + 2)
        more(gunicorn, tally)
    figure(f"gunicorn {worker}{' --preload' * preload}", **tally.check(server))
    assert 0 == gunicorn.end(signal.SIGTERM)
    assert [] == gunicorn.complaints


def workers(gunicorn: Program) -> list[int]:
    return [int(found) for found in re.findall(r"Booting worker with pid: (\d+)", gunicorn.text)]


def wait_for_workers(gunicorn: Program, number: int) -> None:
    gunicorn.wait_until(lambda: len(workers(gunicorn)) >= number)
