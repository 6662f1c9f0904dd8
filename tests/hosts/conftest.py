"""Fixtures of the tests that run recipes with their hosts."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts.support import Program, Server, running, serving
from tests.support import subprocesses

Start = Callable[..., Program]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """The standalone sandbox."""
    with serving(tmp_path / "sandbox.log") as server:
        yield server


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The directory in which programs are started. No log lies in it: some hosts watch it for changes."""
    path = tmp_path / "project"
    path.mkdir()
    return path


@pytest.fixture
def start(server: Server, tmp_path: Path, project: Path) -> Iterator[Start]:
    """Start a command in the project, with the sandbox's key and base URL in its environment."""
    with contextlib.ExitStack() as stack:

        def start(*command: object, cwd: Path = project, **variables: str) -> Program:
            env = {
                **subprocesses.environment(),
                "OMI_API_KEY": server.key,
                "OMI_API_BASE": server.url,
                "PYTHONUNBUFFERED": "1",
                "PYTHONWARNINGS": "default::ResourceWarning,default:coroutine:RuntimeWarning",
                **variables,
            }
            log = tmp_path / f"program-{len(list(tmp_path.glob('program-*')))}.log"
            return stack.enter_context(running(log, *command, cwd=cwd, env=env))

        yield start
