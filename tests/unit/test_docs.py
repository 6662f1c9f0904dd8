"""The programs in README and docs run as printed, against a sandbox."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from omi_sync import Sandbox

pytestmark = pytest.mark.repository

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HOSTS = ROOT / "docs" / "hosts.md"


def blocks() -> list[ParameterSet]:
    found = []
    for page in PAGES:
        if page == HOSTS:  # its programs are run by their hosts, in tests/hosts
            continue
        for number, match in enumerate(re.finditer(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S), 1):
            found.append(pytest.param(match[1], id=f"{page.name}-{number}"))
    return found


def run(
    *arguments: str, environment: dict[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **(environment or {}), "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *arguments],
        env=variables,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # Development mode also tells of slow steps, which says more about the machine than about the example.
    lines = [line for line in result.stderr.splitlines(keepends=True) if not line.startswith("Executing <")]
    result.stderr = "".join(lines)
    return result


@pytest.mark.parametrize("program", blocks())
def test_example_runs(program: str, tmp_path: Path) -> None:
    """An example ends well and in silence on stderr, with every warning an error."""
    with Sandbox() as sandbox:
        settings = {"OMI_API_KEY": sandbox.api_key, "OMI_API_BASE": sandbox.url}
        result = run("-c", program, cwd=tmp_path, environment=settings)
    assert (0, "") == (result.returncode, result.stderr)


def test_hosts_are_shown_as_they_are() -> None:
    """The page of hosts names each program and shows all of it but its docstring, and shows no other."""
    shown = re.findall(
        r"^\[`(\w+\.py)`\]\(examples/hosts/\1\).*?\n\n```python\n(.*?)^```", HOSTS.read_text(), re.M | re.S
    )
    programs = {path.name: path.read_text() for path in (HOSTS.parent / "examples" / "hosts").glob("*.py")}
    assert {name: re.sub(r'\A""".*?"""\n+', "", text, flags=re.S) for name, text in programs.items()} == dict(shown)
    assert len(shown) == HOSTS.read_text().count("```python\n")


def test_quickstart_tells_its_story() -> None:
    """The quickstart renames, hides, restores and deletes on both sides, and shows a refusal and a retry."""
    result = run(str(ROOT / "docs/examples/quickstart.py"))
    assert (0, "") == (result.returncode, result.stderr)
    for part in ("rename", "hide", "restore", "delete", "refused", "in 2 requests", "confirmed: False"):
        assert part in result.stdout
    assert 2 == result.stdout.count("is now")


def test_quickstart_spares_the_real_api() -> None:
    """With a key in the environment the quickstart touches nothing unless it is told what."""
    with Sandbox() as sandbox:
        settings = {"OMI_API_KEY": sandbox.api_key, "OMI_API_BASE": sandbox.url}
        path = str(ROOT / "docs/examples/quickstart.py")
        assert 1 == run(path, environment=settings).returncode
        assert [] == sandbox.requests
        assert 0 == run(path, "--conversation", "conv_noise", "--delete", environment=settings).returncode
        assert ["DELETE"] == [request.method for request in sandbox.requests]


def test_links_lead_somewhere() -> None:
    """Every relative link in README and docs points to a file, and its anchor to a heading."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
            name, _, anchor = target.partition("#")
            path = (page.parent / name) if name else page
            assert path.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
                slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor in slugs, f"{page.name}: {target}"
