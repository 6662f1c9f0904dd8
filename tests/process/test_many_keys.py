"""A job split by key over an engine's processes."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from omi_sync import Sandbox
from tests.support.subprocesses import ROOT, run


@pytest.mark.scenario(171)
@pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="Dask (distributed) is not installed")
@pytest.mark.skipif(sys.platform == "win32", reason="the example's cluster is tried on POSIX only")
def test_a_task_for_each_key(tmp_path: Path) -> None:
    """The example deletes what is asked with each key at its own server, says what failed, and goes on if repeated."""
    work = {"ann": ["conv_noise", "conv_standup", "conv_locked"], "ben": ["conv_lisbon", "conv_unheard_of"]}
    (tmp_path / "work.json").write_text(json.dumps(work))
    with Sandbox() as ann, Sandbox() as ben:
        # Applied, and the answer lost: whoever retries it must not take it for a failure.
        ben.fail(close="after", conversation_id="conv_lisbon")
        env = {
            "OMI_ANN_KEY": ann.api_key,
            "OMI_ANN_BASE": ann.url,
            "OMI_BEN_KEY": ben.api_key,
            "OMI_BEN_BASE": ben.url,
        }
        arguments = (tmp_path / "work.json", tmp_path / "journals")
        first = run(ROOT / "docs/examples/many_keys.py", *arguments, options=(), env=env).check().lines
        assert {"ann: 3 of 3 settled, 0 of them before", "ben: 2 of 2 settled, 0 of them before"} <= set(first)
        assert ["conv_locked", "conv_unheard_of"] == sorted(
            line.split(":")[0].strip() for line in first if line.startswith("  ")
        )
        assert set() == {"conv_noise", "conv_standup"} & ann.conversations.keys()
        assert "conv_lisbon" in ann.conversations
        assert "conv_lisbon" not in ben.conversations
        counts = len(ann.requests), len(ben.requests)
        assert (3, 3) == counts
        second = run(ROOT / "docs/examples/many_keys.py", *arguments, options=(), env=env).check().lines
        assert ["ann: 3 of 3 settled, 3 of them before", "ben: 2 of 2 settled, 2 of them before"] == sorted(second)
        assert counts == (len(ann.requests), len(ben.requests))
    assert ["ann.db", "ben.db"] == sorted(path.name for path in (tmp_path / "journals").iterdir())
    for path in (tmp_path / "journals").iterdir():
        assert b"omi_dev_" not in path.read_bytes()
