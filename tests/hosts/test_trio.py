"""The recipes for trio and for anyio on asyncio."""

import signal
import sys
from collections.abc import Callable

import pytest

from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Server

IDS = ["conv_standup", "conv_design", "conv_lisbon", "conv_checkup"] * 25


@pytest.mark.parametrize("host", ["trio", "anyio"])
def test_tasks_share_a_client(host: str, server: Server, start: Start, figure: Callable[..., None]) -> None:
    """A hundred tasks wait for a client at once, each gets its own answer, and all is closed at the end."""
    pytest.importorskip(host, reason=f"needs {host}, which belongs to the extra `hosts`")
    titles = {conversation_id: server.title(conversation_id) for conversation_id in set(IDS)}
    before = len(server.calls)
    program = start(sys.executable, "-X", "dev", RECIPES / f"{host}_program.py", *IDS)
    assert 0 == program.wait(), program.text
    assert sorted(f"{conversation_id} {titles[conversation_id]}" for conversation_id in IDS) == sorted(
        line for line in program.text.splitlines() if not line.startswith("Executing <")
    )
    assert 100 == len(server.calls) - before
    figure(host, requests=100, right=100)


@pytest.mark.parametrize("host", ["trio", "anyio"])
def test_interrupt(host: str, server: Server, start: Start) -> None:
    """Ctrl-C ends the program while its calls wait, under trio when they have their answers."""
    pytest.importorskip(host, reason=f"needs {host}, which belongs to the extra `hosts`")
    server.fail(status=503)  # in the log as soon as a call is under way
    server.fail(delay=2.0, times=10)
    program = start(sys.executable, "-X", "dev", RECIPES / f"{host}_program.py", "conv_standup", "conv_design")
    program.wait_until(lambda: bool(server.calls))
    program.end(signal.SIGINT)
    assert "KeyboardInterrupt" in program.text
    assert [] == program.complaints
