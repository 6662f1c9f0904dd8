"""Programs of a few lines, each in an interpreter of its own that is given a limited time.

What a test wants to know about fork, signals and the end of a program can only be seen from outside.
"""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.support.sides import KEY

ROOT = Path(__file__).resolve().parents[2]

LIMIT = 60.0
"""Seconds that a program gets before it counts as hanging; far more than any needs on a busy machine."""

STRICT = ("-W", "error")
DEVELOPMENT = ("-W", "error", "-X", "dev")

# In development mode the event loop remarks on every step of more than 0.1 s: true, and only about the machine.
_SLOW_STEP = re.compile(r"Executing <.*> took [0-9.]+ seconds\n")


@attrs.frozen
class Result:
    """How a program ended: its exit code (negative: the signal) and what it wrote."""

    code: int
    out: str
    err: str
    ended: float
    """When it was gone, by `time.monotonic()`, which is the same clock in every process."""

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def check(self) -> "Result":
        """Itself, after a look at the two things that nearly every program must do: end well and in silence."""
        assert (0, "") == (self.code, self.err), f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


def run(
    source: str | Path,
    *arguments: object,
    options: Sequence[str] = STRICT,
    env: Mapping[str, str] | None = None,
    limit: float = LIMIT,
) -> Result:
    """Run Python source, or a file of it, to its end; `arguments` are its `sys.argv[1:]`."""
    with start(source, *arguments, options=options, env=env) as process:
        return finish(process, limit=limit)


@contextmanager
def start(
    source: str | Path, *arguments: object, options: Sequence[str] = STRICT, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start Python source, or a file of it; nothing of it, forked children included, outlives the block."""
    program = [str(source)] if isinstance(source, Path) else ["-c", textwrap.dedent(source)]
    process = subprocess.Popen(
        [sys.executable, *options, *program, *map(str, arguments)],
        cwd=ROOT,
        env={**environment(), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()


def finish(process: "subprocess.Popen[str]", *, limit: float = LIMIT) -> Result:
    """Wait for a program that was started; one that hangs fails the test with what it wrote so far."""
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"hung for more than {limit:g} s\n{out}\n{err}") from None
    return Result(process.returncode, out, _SLOW_STEP.sub("", err), time.monotonic())


def wait_until(condition: Callable[[], bool], *, limit: float = LIMIT) -> None:
    """Wait for something that another thread or process is about to do."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)


def environment() -> dict[str, str]:
    """What a program is given: the key, the project, and no settings of whoever runs the tests."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_", "OMI_"))}
    return {**env, "PYTHONPATH": str(ROOT), "OMI_API_KEY": KEY}
