"""The Pythons of this machine, for tests whose subject must come out the same on each of them."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MINORS = (11, 12, 13, 14)
"""The supported Pythons are 3.11 to 3.14."""


@functools.cache
def interpreters(minor: int) -> tuple[str, ...]:
    """Executables of Python 3.`minor` that really run, each installation once."""
    found: dict[str, str] = {}
    for candidate in _candidates(minor):
        installation = _installation(candidate, minor)
        if installation is not None:
            found.setdefault(installation, candidate)
    return tuple(found.values())


def _candidates(minor: int) -> Iterator[str]:
    if sys.version_info[:2] == (3, minor):
        yield sys.executable
    name = f"python3.{minor}"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        on_path = shutil.which(name, path=folder) if folder else None
        if on_path is not None:
            yield on_path
    versions = _pyenv_versions()
    if versions is not None:
        yield from sorted(str(path) for path in versions.glob(f"3.{minor}.*/bin/{name}"))


@functools.cache
def _pyenv_versions() -> Path | None:
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return None
    root = subprocess.run([pyenv, "root"], capture_output=True, text=True, timeout=30, check=False)
    return Path(root.stdout.strip()) / "versions" if root.returncode == 0 and root.stdout.strip() else None


def _installation(candidate: str, minor: int) -> str | None:
    """Where the Python behind a name lives; None for one that does not start, as pyenv's shims may not."""
    question = "import os, sys; print(*sys.version_info[:2], os.path.realpath(sys.executable))"
    try:
        answer = subprocess.run(
            [candidate, "-I", "-c", question], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    major_minor = f"3 {minor} "
    return answer.stdout.strip() if answer.returncode == 0 and answer.stdout.startswith(major_minor) else None
