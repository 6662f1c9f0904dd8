"""The recipe for cron: its exit codes, an interrupt, and two runs at once.

Cron itself is not started. The job gets what cron would give it: a shell and few variables.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Program, Server, send
from tests.support.subprocesses import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="cron is POSIX's")

IDS = [f"conv_{number}" for number in range(40)]

Job = Callable[..., Program]


@pytest.fixture
def job(server: Server, start: Start, project: Path) -> Job:
    """Start the job for some ids, by default for all that the sandbox has."""
    records = {"conversations": [{"id": conversation_id} for conversation_id in IDS]}
    assert 204 == send("PUT", f"{server.url}/sandbox/records", records, key=server.key)[0]

    def job(*ids: str) -> Program:
        (project / "ids.txt").write_text("\n".join(ids or IDS))
        settings = f"OMI_API_KEY={server.key} OMI_API_BASE={server.url} PYTHONPATH={ROOT}"
        line = f"cd {project} && {settings} exec {sys.executable} {RECIPES / 'cron_job.py'} ids.txt"
        return start("env", "-i", "SHELL=/bin/sh", "PATH=/usr/bin:/bin", "/bin/sh", "-c", line)

    return job


def wait_for_applied(run: Program, server: Server, number: int) -> None:
    run.wait_until(lambda: server.applied >= number)


def test_all_is_well(server: Server, job: Job, figure: Callable[..., None]) -> None:
    """The job says nothing and ends with 0, so cron sends no mail; another run sends no request."""
    first = job()
    assert (0, "") == (first.wait(), first.text)
    assert 40 == len(server.calls) == server.applied
    second = job()
    assert (0, "") == (second.wait(), second.text)
    assert 40 == len(server.calls)
    figure("cron", deleted=40, requests=40)


def test_refused_item(job: Job) -> None:
    """What is refused is named, and the exit code is 1."""
    run = job("conv_1", "conv_unheard_of")
    assert 1 == run.wait()
    assert run.text.startswith("conv_unheard_of: conversations.delete: the server answered 404")


def test_closed_window(server: Server, job: Job) -> None:
    """Where the server's window closes the job ends with 75, and the next run goes on from there."""
    assert 204 == send("PUT", f"{server.url}/sandbox/limits", {"write_limit": 25}, key=server.key)[0]
    first = job()
    assert os.EX_TEMPFAIL == first.wait()
    assert "429" in first.text
    assert 25 == server.applied
    assert 204 == send("PUT", f"{server.url}/sandbox/limits", {"write_limit": None}, key=server.key)[0]
    second = job()
    assert (0, "") == (second.wait(), second.text)
    assert 40 == server.applied


def test_signals(server: Server, job: Job) -> None:
    """A signal ends the job as it ends programs; the next run sends what was not settled, and nothing else."""
    server.fail(delay=0.2, times=100)
    runs = []
    for number, applied in ((signal.SIGINT, 8), (signal.SIGTERM, 16), (signal.SIGKILL, 24)):
        runs.append(job())
        wait_for_applied(runs[-1], server, applied)
        assert -number == runs[-1].end(number)
        assert server.applied < len(IDS)
    last = job()
    assert (0, "") == (last.wait(), last.text)
    assert len(IDS) == server.applied
    assert [] == [line for run in runs for line in run.complaints]


def test_refused_key(server: Server, job: Job) -> None:
    """A key that is refused ends the job with 78: it would be refused again."""
    server.fail(status=401, body={"detail": "Invalid API Key"})
    run = job()
    assert os.EX_CONFIG == run.wait()
    assert "401" in run.text


def test_two_runs_at_once(server: Server, job: Job) -> None:
    """A run that finds another one at work leaves everything to it."""
    server.fail(delay=0.2, times=100)
    first = job()
    wait_for_applied(first, server, 4)
    second = job()
    assert os.EX_TEMPFAIL == second.wait()
    assert "journal" in second.text
    assert 0 == first.wait()
    assert len(IDS) == len(server.calls) == server.applied
