"""The recipe for APScheduler."""

import signal
import sys
from collections.abc import Callable

import pytest

from omi_sync import OmiClient
from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Server

pytest.importorskip("apscheduler", reason="needs APScheduler, which belongs to the extra `hosts`")


def test_runs_and_shutdown(server: Server, start: Start, figure: Callable[..., None]) -> None:
    """Every run shows what there is, a failed one is followed by others, and SIGTERM waits for a run."""
    with OmiClient(server.key, base_url=server.url) as omi:
        items = [item.description for item in omi.action_items.list(completed=False)]
    line = f"{len(items)} open: {', '.join(items)}\n"
    program = start(sys.executable, RECIPES / "apscheduler_jobs.py", 0.2)
    program.wait_for(line, times=10)
    server.fail(status=501)
    program.wait_for("next time perhaps: action_items.list: the server answered 501")
    shown = program.text.count(line)
    program.wait_for(line, times=shown + 3)

    failed = [call.status for call in server.calls].count("503")
    server.fail(status=503)  # in the log as soon as a run is under way
    server.fail(delay=1.0)
    program.wait_until(lambda: [call.status for call in server.calls].count("503") > failed)
    shown = program.text.count(line)
    assert 0 == program.end(signal.SIGTERM)
    assert shown + 1 == program.text.count(line)
    assert [] == [text for text in program.text.splitlines(keepends=True) if text != line and "next time" not in text]
    figure("APScheduler", runs=program.text.count(line), requests=len(server.calls))
