"""The recipe for Flask, on Flask's own server."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Server, free_port, more, send, users

pytest.importorskip("flask", reason="needs Flask, which belongs to the extra `hosts`")


def test_reload_and_interrupt(server: Server, start: Start, project: Path, figure: Callable[..., None]) -> None:
    """The threads of Flask's server share a client; after a change of the file the new process has another."""
    shutil.copy(RECIPES / "flask_app.py", project)
    port = free_port()
    url = f"http://127.0.0.1:{port}/conversations"
    # Looks at the files itself, where `flask run --debug` lets a watcher do it that is not installed everywhere.
    (project / "serve.py").write_text(f"""
import flask_app
flask_app.app.run(port={port}, debug=True, reloader_type="stat")
""")
    flask = start(sys.executable, "serve.py")
    flask.wait_for("Debugger PIN")
    with users(url) as tally:
        more(flask, tally)
        with (project / "flask_app.py").open("a") as file:
            file.write("# a change\n")
        flask.wait_for("Debugger PIN", times=2)
        more(flask, tally)
    figure("Flask", **tally.check(server))
    status, answer = send("PATCH", f"{url}/conv_unheard_of", {"title": "Nobody"})
    assert (404, "not_applied") == (status, isinstance(answer, dict) and answer["outcome"])
    assert 400 == send("PATCH", f"{url}/conv_standup", {"title": " "})[0]
    server.fail(status=500, apply=True, times=3)
    status, answer = send("PATCH", f"{url}/conv_standup", {"title": "Perhaps"})
    assert (502, "unknown") == (status, isinstance(answer, dict) and answer["outcome"])
    assert 0 == flask.interrupt()
    assert [] == flask.complaints
