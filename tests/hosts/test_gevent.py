"""The recipe for gevent."""

import sys
from collections.abc import Callable

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
