"""What an export takes of the machine's memory."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.scale import FULL
from tests.support.subprocesses import LIMIT, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

LONG = 900.0 if FULL else LIMIT

FILL = """
import json, sys
import omi_sync
from omi_async.archive.documents import of_text
from omi_async.archive.rows import now, store, writing
from tests.support.archives import conversations

def work(connection):
    with writing(connection):
        for each in made:
            text = json.dumps(each.to_json(include_transcript=True))
            store(connection, of_text(text, has_transcript=True), now())

made = conversations(int(sys.argv[2]), words=500)
with omi_sync.Archive(sys.argv[1]) as archive:
    archive.count()
    archive._bridge.run(archive._bridge.target._run(work))
"""

EXPORT = """
import re, sys
from pathlib import Path
import omi_sync

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

with omi_sync.OmiClient("omi_dev_x"), omi_sync.Archive(sys.argv[1]) as archive:
    archive.count()
    idle = peak()
    found = archive.search("re*")
    for each in ("markdown", "markdown", "jsonl", "csv"):
        assert int(sys.argv[2]) == archive.export(sys.argv[3], format=each).conversations
    print(peak() - idle)
"""


@pytest.mark.figure
def test_memory(tmp_path: Path, figure: Callable[..., None]) -> None:
    """An export holds a few conversations at a time, however many there are."""
    count = 20000 if FULL else 500
    archive = str(tmp_path / "archive.db")
    run(FILL, archive, str(count), limit=LONG).check()
    result = run(EXPORT, archive, str(count), str(tmp_path / "out"), limit=LONG)
    result.check()
    mebibytes = float(result.out)
    figure("archive, memory of exports", conversations=count, mebibytes=round(mebibytes, 1))
    assert mebibytes < 30
