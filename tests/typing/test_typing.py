"""Two type checkers accept the calls that are right and refuse, line for line, those that are not."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.repository

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = ["tests/typing/api_async.py", "tests/typing/api_sync.py"]
REFUSED = "tests/typing/must_fail.py"

MYPY_LINE = re.compile(r"(?P<path>[^:]+):(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$")


def marked() -> set[tuple[int, str]]:
    """Line numbers and mypy codes that the comments announce."""
    lines = (ROOT / REFUSED).read_text(encoding="utf-8").splitlines()
    comments = [(number, line.partition("  # error: ")[2]) for number, line in enumerate(lines, 1)]
    return {(number, code) for number, codes in comments if codes for code in codes.split(", ")}


def run_checker(*arguments: str) -> str:
    if importlib.util.find_spec(arguments[0]) is None:
        pytest.skip(f"{arguments[0]} is not installed: it belongs to the extra `lint`")
    done = subprocess.run(
        [sys.executable, "-m", *arguments, *ACCEPTED, REFUSED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (1, "") == (done.returncode, done.stderr), done.stdout + done.stderr  # 1: it ran and refused something
    return done.stdout


def test_marks() -> None:
    """There are lines to be refused, on both sides and for every kind of mistake."""
    codes = [code for _, code in marked()]
    assert len(codes) > 50
    assert {"arg-type", "assert-type", "assignment", "attr-defined", "call-arg", "misc", "union-attr"} <= set(codes)


def test_mypy(tmp_path: Path) -> None:
    """Strict mypy accepts all right calls and refuses exactly the marked lines, each with the marked code.

    What it says of other files, which it reads on the way, is for the project's own type check.
    """
    options = ("--strict", "--config-file=", f"--cache-dir={tmp_path}", "--no-error-summary", "--hide-error-context")
    output = run_checker("mypy", *options)
    lines = [line.replace("\\", "/") for line in output.splitlines() if ": note: " not in line]
    found = [MYPY_LINE.match(line) for line in lines if line.startswith("tests/typing/")]
    assert None not in found, output
    refused = {(each["path"], int(each["line"]), each["code"]) for each in found if each}
    assert {(REFUSED, line, code) for line, code in marked()} == refused


def test_pyright() -> None:
    """Pyright accepts all right calls and refuses exactly the marked lines."""
    report = json.loads(run_checker("pyright", "--outputjson", "--pythonpath", sys.executable))
    refused = {
        (Path(each["file"]).relative_to(ROOT).as_posix(), each["range"]["start"]["line"] + 1)
        for each in report["generalDiagnostics"]
        if each["severity"] == "error"
    }
    assert {(REFUSED, line) for line, _ in marked()} == refused
