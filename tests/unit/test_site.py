"""The pages of the site are whole: every public name, every message, every page and every drawing has its place."""

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import omi_async
import omi_sync
from omi_async import archive, errors, sandbox
from omi_sync import Conversations, OmiClient, OmiError, RetryPolicy, Sandbox
from tests import pictures
from tests.benchmarks import plots

pytestmark = pytest.mark.repository

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SITE = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
REFERENCE = {
    name: page.name
    for page in sorted((DOCS / "reference").glob("*.md"))
    for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)
}


def test_public_names_are_in_the_reference() -> None:
    """Each name that a package exports has its place; what both packages have stands with the asynchronous one."""
    wanted = {f"omi_async.{name}" for name in omi_async.__all__}
    wanted |= {f"omi_sync.{name}" for name in omi_sync.__all__ if name not in omi_async.__all__}
    wanted |= {f"omi_async.sandbox.{name}" for name in sandbox.__all__}
    wanted |= {f"omi_async.archive.{name}" for name in archive.__all__}
    assert wanted == set(REFERENCE) - {"omi_async.otel.instrument", "omi_pytest"}


def test_resources_have_their_pages() -> None:
    """There is a page for each resource, and one each for client, errors, models, bulk jobs, archive and sandbox."""
    resources = {path.stem.replace("_", "-") for path in (ROOT / "omi_async/resources").glob("[a-z]*.py")}
    pages = {path.stem for path in (DOCS / "reference").glob("*.md")}
    assert resources | {"client", "errors", "models", "bulk", "archive", "sandbox"} == pages
    assert {"errors.md"} == {REFERENCE[f"omi_async.{name}"] for name in omi_async.__all__ if name.endswith("Error")}


def messages(path: Path) -> Iterator[str]:
    """The sentences of a file that are no docstrings, with {} for what is filled in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            inside.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            inside.update(node.values)
    for node in ast.walk(tree):
        if node in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if text.count(" ") >= 2 and text.rstrip("{} ").endswith("."):
            yield text.strip().removesuffix(" {}")


FILES = [
    path
    for path in sorted([*(ROOT / "omi_async").rglob("*.py"), *(ROOT / "omi_sync").glob("*.py")])
    if path.parent.name != "sandbox" and path.name not in {"_generate.py", "otel.py"}
]


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("`", ""))


def test_messages_are_in_troubleshooting() -> None:
    """Whatever an error says, word for word, stands on the page on which one looks for it."""
    page = flat((DOCS / "troubleshooting.md").read_text(encoding="utf-8"))
    found = {message for path in FILES for message in messages(path)}
    assert {"no API key: pass api_key or set OMI_API_KEY.", "{} must not be blank."} < found
    missing = [message for message in found if not re.search(re.escape(flat(message)).replace(r"\{\}", ".*?"), page)]
    assert [] == sorted(missing)


def test_errors_are_in_troubleshooting() -> None:
    """Every class of error has its heading, and every advice its line."""
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    headings = {name for line in re.findall(r"^### (.+)$", page, re.M) for name in line.split(", ")}
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.OmiError)]
    assert {kind.__name__ for kind in classes} == headings
    assert [] == [kind.advice for kind in classes if kind.advice and kind.advice not in flat(page)]


NOWHERE = "http://127.0.0.1:9"  # the port of discard, which nothing serves


class Caller:
    """Calls on a sandbox with clients that try once."""

    def __init__(self, sandbox: Sandbox, clients: ExitStack) -> None:
        self.sandbox = sandbox
        self._clients = clients

    def __call__(self, **settings: Any) -> Conversations:
        given: dict[str, Any] = {"api_key": self.sandbox.api_key, "base_url": self.sandbox.url}
        client = OmiClient(**given | {"retry": RetryPolicy.never()} | settings)
        return self._clients.enter_context(client).conversations


MISTAKES: dict[str, Callable[[Caller], object]] = {
    "no key": lambda call: call(api_key=""),
    "a key with more": lambda call: call(api_key=f"Bearer {call.sandbox.api_key}"),
    "a whole base URL": lambda call: call(base_url=f"{call.sandbox.url}/v1"),
    "a limit below 0": lambda call: call(timeout=-1),
    "another key": lambda call: call(api_key=f"omi_dev_{'9' * 32}").get("conv_standup"),
    "no scope": lambda call: call(api_key=call.sandbox.read_only_key).delete("conv_standup"),
    "locked": lambda call: call().update("conv_locked", title="One"),
    "gone": lambda call: call().delete("conv_unheard_of"),
    "no id": lambda call: call().delete("../memories/m1"),
    "no str": lambda call: call().get(5),  # type: ignore[arg-type]
    "no text": lambda call: call().update("conv_standup", title=" "),
    "no change": lambda call: call().update("conv_standup"),
    "no zone": lambda call: call().list(start_date=datetime(2026, 1, 1)),  # noqa: DTZ001 - the mistake
    "no server": lambda call: call(base_url=NOWHERE).get("conv_standup"),
    "no proxy": lambda call: call(proxy=NOWHERE).get("conv_standup"),
    "no directory": lambda call: list(call().delete_many(["conv_noise"], journal="notes/hide.db")),
    "a set": lambda call: call().delete_many({"conv_noise"}, journal="hide.db"),
}
FAULTS: dict[str, dict[str, Any]] = {
    "throttled": {"status": 429, "headers": {"Retry-After": "900"}},
    "a gateway's page": {"status": 404, "body": "<html>"},
    "a login's": {"status": 302, "headers": {"Location": "https://login.example/"}},
    "overloaded": {"status": 503},
    "broken": {"status": 500},
    "too large": {"status": 413},
    "another shape": {"status": 200, "body": {"id": 1}},
    "an answer lost": {"close": "after"},
}


def read(call: Caller, mistake: str) -> tuple[str, str]:
    """The class and the text of the error that a mistake, or a fault of the server, ends in."""
    try:
        if mistake in FAULTS:
            call.sandbox.fail(**FAULTS[mistake])
            call().update("conv_standup", title="One")
        MISTAKES[mistake](call)
    except (OmiError, TypeError) as error:
        return type(error).__name__, str(error)
    raise AssertionError(mistake)


def test_search_finds_what_was_read() -> None:
    """The search wants every word that is looked for: those of a real message are in the section of its error."""
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    between = re.compile(SITE["plugins"]["search"]["separator"])
    with Sandbox() as sandbox, ExitStack() as clients:
        for mistake in [*MISTAKES, *FAULTS]:
            kind, message = read(Caller(sandbox, clients), mistake)
            place = "InvalidRequestError" if kind == "TypeError" else kind
            section = next(f"{names} {text}" for names, text in sections.items() if place in names.split(", "))
            words = [word for word in between.split(flat(section).lower()) if word]
            asked = [word for word in between.split(f"omi_sync.errors.{kind}: {message}".lower()) if word]
            missing = [word for word in asked if not any(found.startswith(word) for found in words)]
            assert (mistake, []) == (mistake, missing)


def listed(entries: Any) -> Iterator[str]:
    for entry in entries:
        for place in entry.values():
            if isinstance(place, str):
                yield place
            else:
                yield from listed(place)


def test_every_page_is_in_the_navigation() -> None:
    """No page is without a way to it, and none is named twice."""
    pages = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
    assert pages == sorted(listed(SITE["nav"]))
    assert ["Start", "Guides", "Reference", "Behind it"] == [name for part in SITE["nav"] for name in part]


def test_addresses_agree() -> None:
    """The site's edit links and the package's metadata name one repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert SITE["repo_url"] == project["urls"]["Source"]
    assert all(url.startswith(SITE["repo_url"]) for url in project["urls"].values())


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_diagrams_are_those_of_the_code(name: str) -> None:
    """A diagram in the documentation is what `python -m tests.pictures` draws today."""
    assert pictures.PICTURES[name]() == (pictures.FOLDER / name).read_text(encoding="utf-8")


def test_plots_are_those_of_the_figures() -> None:
    """A plot in the documentation is what `python -m tests.benchmarks --plot` draws of the recorded figures."""
    drawn = {name: (plots.FOLDER / name).read_text(encoding="utf-8") for name in plots.PLOTS}
    assert plots.draw() == drawn
