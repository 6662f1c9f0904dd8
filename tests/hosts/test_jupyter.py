"""The recipe for Jupyter: nbclient runs it as a notebook, and a kernel is interrupted."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from omi_sync import OmiClient
from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Server

pytest.importorskip("nbclient", reason="needs nbclient, which belongs to the extra `hosts`")
pytest.importorskip("ipykernel", reason="needs ipykernel, which belongs to the extra `hosts`")

EXECUTE = """
import json, pathlib, sys
import nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(text) for text in json.loads(pathlib.Path(sys.argv[1]).read_text())]
NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=60, kernel_name="python3").execute()
for cell in cells:
    results = [output for output in cell.outputs if output.output_type == "execute_result"]
    others = [output for output in cell.outputs if output.output_type != "execute_result"]
    print("cell", json.dumps([result.data["text/plain"] for result in results]), *others)
"""

INTERRUPT = """
import os, time
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3")
def run(code, then=lambda: None):
    message = client.execute(code)
    then()
    while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != message:
        pass
    print("cell", reply["content"].get("ename", "ok"), flush=True)
def interrupt():
    while not os.path.exists("interrupt"):
        time.sleep(0.02)
    manager.interrupt_kernel()
run("from omi_sync import OmiClient; omi = OmiClient()")
run('omi.conversations.update("conv_design", title="Interrupted")', interrupt)
run('assert omi.conversations.get("conv_standup").id == "conv_standup"')
client.stop_channels()
manager.shutdown_kernel()
"""


def test_notebook(server: Server, start: Start, project: Path, figure: Callable[..., None]) -> None:
    """Both clients work in cells, and cells may await."""
    with OmiClient(server.key, base_url=server.url) as omi:
        listed = list(omi.conversations.list(limit=3))
    asked = len(server.calls)
    cells = (RECIPES / "jupyter_cells.py").read_text().split("# %%\n")[1:]
    (project / "cells.json").write_text(json.dumps(cells))
    (project / "execute.py").write_text(EXECUTE)
    program = start(sys.executable, "execute.py", "cells.json")
    assert 0 == program.wait(), program.text
    assert [
        [],
        [str([each.structured.title for each in listed])],
        [repr("From a notebook")],
        [str(["conv_standup", "conv_design"])],
    ] == [json.loads(line[5:]) for line in program.text.splitlines() if line.startswith("cell ")]
    figure("Jupyter", cells=4, right=4, requests=len(server.calls) - asked)


def test_interrupt(server: Server, start: Start, project: Path) -> None:
    """Interrupting the kernel ends a call that waits, and the next one works."""
    (project / "interrupt.py").write_text(INTERRUPT)
    server.fail(status=503)  # in the log as soon as the call is under way
    server.fail(delay=30.0, method="PATCH")
    program = start(sys.executable, "interrupt.py")
    program.wait_until(lambda: bool(server.calls))
    (project / "interrupt").touch()
    assert 0 == program.wait(), program.text
    assert ["cell ok", "cell KeyboardInterrupt", "cell ok"] == [
        line for line in program.text.splitlines() if line.startswith("cell ")
    ]
