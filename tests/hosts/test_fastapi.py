"""The recipe for FastAPI, on uvicorn."""

import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.conftest import Start
from tests.hosts.support import RECIPES, Program, Server, free_port, more, send, users

pytest.importorskip("fastapi", reason="needs FastAPI, which belongs to the extra `hosts`")
pytest.importorskip("uvicorn", reason="needs uvicorn, which belongs to the extra `hosts`")


def serve(start: Start, project: Path, *options: object) -> tuple[Program, str]:
    shutil.copy(RECIPES / "fastapi_app.py", project)
    port = free_port()
    uvicorn = start(sys.executable, "-X", "dev", "-m", "uvicorn", "fastapi_app:app", "--port", port, *options)
    uvicorn.wait_for("Application startup complete.")
    return uvicorn, f"http://127.0.0.1:{port}/conversations"


def test_shutdown(server: Server, start: Start, project: Path, figure: Callable[..., None]) -> None:
    """SIGTERM lets a request that is under way be answered, and nothing is left open."""
    uvicorn, url = serve(start, project)
    with users(url) as tally:
        more(uvicorn, tally)
    figure("FastAPI", **tally.check(server))
    status, answer = send("GET", f"{url}/conv_standup")
    assert (200, server.title("conv_standup")) == (
        status,
        isinstance(answer, dict) and answer["structured"]["title"],
    )
    status, answer = send("PATCH", f"{url}/conv_unheard_of", {"title": "Nobody"})
    assert (404, "not_applied") == (status, isinstance(answer, dict) and answer["outcome"])

    before = len(server.calls)
    server.fail(status=503)  # in the log as soon as the call is under way
    server.fail(delay=1.0)
    last: list[object] = []
    slow = threading.Thread(target=lambda: last.append(send("PATCH", f"{url}/conv_design", {"title": "Last"})))
    slow.start()
    uvicorn.wait_until(lambda: len(server.calls) > before)
    assert -signal.SIGTERM == uvicorn.end()  # uvicorn's own way to end, after all is closed
    slow.join()
    assert [(200, {"id": "conv_design", "title": "Last"})] == last
    assert before + 2 == len(server.calls)
    assert [] == uvicorn.complaints


def test_reload(server: Server, start: Start, project: Path, figure: Callable[..., None]) -> None:
    """A reloaded program has a client of its own."""
    uvicorn, url = serve(start, project, "--reload")
    with users(url) as tally:
        more(uvicorn, tally)
        with (project / "fastapi_app.py").open("a") as file:
            file.write("# a change\n")
        uvicorn.wait_for("Application startup complete.", times=2)
        more(uvicorn, tally)
    figure("FastAPI, reloaded", **tally.check(server))
    uvicorn.interrupt()
    assert [] == uvicorn.complaints
