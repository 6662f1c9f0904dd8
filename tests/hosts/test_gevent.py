"""The recipe for gevent."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Server

pytest.importorskip("gevent", reason="needs gevent, which belongs to the extra `hosts`")


def test_greenlets_share_a_client(server: Server, start: Start, figure: Callable[..., None]) -> None:
    """200 greenlets use one client under monkey-patching, 20 at a time, and the program ends by itself."""
    ids = ["conv_standup", "conv_design", "conv_lisbon", "conv_checkup"] * 50
    titles = {conversation_id: server.title(conversation_id) for conversation_id in set(ids)}
    asked = len(server.calls)
    server.fail(delay=0.2, times=20)
    program = start(sys.executable, RECIPES / "gevent_pool.py", *ids)
    assert 0 == program.wait()
    assert sorted(f"{conversation_id} {titles[conversation_id]}" for conversation_id in ids) == sorted(
        program.text.splitlines()
    )
    figure("gevent", requests=len(server.calls) - asked, right=len(ids))
    assert 200 == len(server.calls) - asked


def test_one_client(start: Start, project: Path) -> None:
    """A second client of a process is refused before anything is sent; the first one serves another key."""
    (project / "two.py").write_text("""
from gevent import monkey
monkey.patch_all()
from omi_sync import EventLoopError, OmiClient
first, second = OmiClient(), OmiClient()
first.folders.list()
try:
    second.folders.list()
except EventLoopError:
    print("one client")
first.with_key("omi_dev_00000000000000000000000000000002").folders.list()
""")
    program = start(sys.executable, "two.py")
    assert 0 == program.wait()
    assert "one client" == program.text.splitlines()[-1]
