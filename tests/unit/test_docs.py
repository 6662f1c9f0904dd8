"""The programs in README and docs run as printed, against a sandbox, and what they print stands beside them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from omi_async.sandbox.records import read_records
from omi_sync import Sandbox

pytestmark = pytest.mark.repository

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
HOSTS = ROOT / "docs" / "hosts.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# A program, and what it prints if the next block says so. In a tab of the site both are indented.
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```\n(?:\n\1```text\n(.*?)^\1```)?", re.M | re.S)


def programs(page: Path) -> list[tuple[str, str | None]]:
    found = []
    for indent, program, printed in BLOCK.findall(page.read_text(encoding="utf-8")):
        plain, said = (re.sub(f"^{indent}", "", text, flags=re.M) for text in (program, printed))
        found.append((plain, said or None))
    return found


def blocks() -> list[ParameterSet]:
    return [
        pytest.param(*each, id=f"{page.name}-{number}")
        for page in PAGES
        if page not in (TUTORIAL, HOSTS)  # the hosts run theirs, in tests/hosts
        for number, each in enumerate(programs(page), 1)
    ]


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


@pytest.mark.parametrize(("program", "printed"), blocks())
def test_example_runs(program: str, printed: str | None, tmp_path: Path) -> None:
    """An example ends well and in silence on stderr, with every warning an error, and prints what the page says."""
    with Sandbox() as sandbox:
        settings = {"OMI_API_KEY": sandbox.api_key, "OMI_API_BASE": sandbox.url}
        result = run("-c", program, cwd=tmp_path, environment=settings)
    assert (0, "") == (result.returncode, result.stderr)
    if printed is not None:
        # An editor takes the blanks at the end of a line away.
        assert printed == re.sub(" +$", "", result.stdout, flags=re.M)


ONE_AFTER_THE_OTHER = """
import json, sys
names = []  # kept to the end, as each program keeps its own
for program in json.loads(sys.argv[1]):
    names.append({"__name__": "__main__"})
    exec(program, names[-1])
    print("next")
"""


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page not in (TUTORIAL, HOSTS) and len(programs(page)) > 1],
    ids=lambda page: page.name,
)
def test_examples_of_a_page_follow_each_other(page: Path, tmp_path: Path) -> None:
    """Whoever copies the examples of a page in their order, onto one sandbox, sees what the page says."""
    shown = programs(page)
    with Sandbox() as sandbox:
        settings = {"OMI_API_KEY": sandbox.api_key, "OMI_API_BASE": sandbox.url}
        texts = json.dumps([program for program, _ in shown])
        result = run("-c", ONE_AFTER_THE_OTHER, texts, cwd=tmp_path, environment=settings)
    assert (0, "") == (result.returncode, result.stderr)
    said = re.sub(" +$", "", result.stdout, flags=re.M).split("next\n")
    assert all(printed in (None, output) for (_, printed), output in zip(shown, said, strict=False))


def test_tutorial(tmp_path: Path) -> None:
    """The steps of the tutorial run one after the other on one sandbox, with the month that the first one writes."""
    first, *others = programs(TUTORIAL)
    assert 8 == len(re.findall(r"^## [1-8]\. ", TUTORIAL.read_text(encoding="utf-8"), re.M))
    result = run("-c", first[0], cwd=tmp_path)
    assert (0, "", first[1]) == (result.returncode, result.stderr, result.stdout)
    month = read_records(json.loads((tmp_path / "month.json").read_text()))
    with Sandbox(month["conversations"]) as sandbox:
        settings = {"OMI_API_KEY": sandbox.api_key, "OMI_API_BASE": sandbox.url}
        for number, (program, printed) in enumerate(others, 2):
            result = run("-c", program, cwd=tmp_path, environment=settings)
            assert (number, 0, "", printed) == (number, result.returncode, result.stderr, result.stdout)
        assert 30 == sum(row.discarded for row in sandbox.conversations.values())


def test_hosts_are_shown_as_they_are() -> None:
    """The page of hosts names each program and shows all of it but its docstring, and shows no other."""
    page = HOSTS.read_text(encoding="utf-8")
    shown = re.findall(r"^\[`(\w+\.py)`\]\(examples/hosts/\1\).*?\n\n```python\n(.*?)^```", page, re.M | re.S)
    files = {path.name: path.read_text() for path in (ROOT / "docs/examples/hosts").glob("*.py")}
    assert {name: re.sub(r'\A""".*?"""\n+', "", text, flags=re.S) for name, text in files.items()} == dict(shown)
    assert len(shown) == page.count("```python\n")


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
