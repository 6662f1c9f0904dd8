"""The synchronous side is fresh, the same from every Python, and refused where the source has no agreed form."""

import difflib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from omi_sync import _generate
from tests.support.interpreters import MINORS, interpreters

pytestmark = pytest.mark.repository

ROOT = Path(__file__).resolve().parents[2]

GENERATED = sorted(_generate.render())
HAND_WRITTEN = {"_bridge.py", "_calls.py", "_generate.py", "_iterate.py", "__main__.py"}


# Freshness


@pytest.mark.parametrize("name", GENERATED)
def test_fresh(name: str) -> None:
    """A generated file is what the generator makes of the sources today, byte for byte."""
    path = ROOT / name
    found = path.read_bytes() if path.exists() else b""
    fresh = _generate.render()[name].encode()
    if fresh != found or not found:
        diff = difflib.unified_diff(
            found.decode(errors="replace").splitlines(keepends=True),
            fresh.decode().splitlines(keepends=True),
            name,
            f"{name} (fresh)",
        )
        pytest.fail(f"{''.join(diff)}\n{name} is not fresh; run: {_generate.COMMAND}", pytrace=False)


def test_set_of_files() -> None:
    """The generator makes a file for each class and one for the package; all else is known as hand-written."""
    assert {"omi_sync/__init__.py", "omi_sync/client.py", "omi_sync/conversations.py"} <= set(GENERATED)
    on_disk = {path.name for path in (ROOT / "omi_sync").glob("*.py")}
    assert {Path(name).name for name in GENERATED} <= on_disk
    assert set() == on_disk - {Path(name).name for name in GENERATED} - HAND_WRITTEN


def test_generated_files_say_so() -> None:
    """Who opens a generated file reads in its first two lines what it was made from and how to change it."""
    for name in GENERATED:
        first, second, *_ = (ROOT / name).read_text(encoding="utf-8").splitlines()
        assert first.startswith("# Made from omi_async/")
        assert first.endswith(f" by: {_generate.COMMAND}")
        assert "changes made here are lost" in second


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of both packages' sources with freshly generated files, to be doctored."""
    for package in ("omi_async", "omi_sync"):
        for path in (ROOT / package).rglob("*.py"):
            if path.read_bytes().startswith(b"# Made from "):
                continue
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    for name, text in _generate.render(tmp_path).items():
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def generate(tree: Path, *options: str, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [python, "-W", "error", "-X", "utf8", str(tree / "omi_sync" / "_generate.py"), *options],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
    )


def _edited(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace("close", "shut", 1), encoding="utf-8")


def _other_line_ends(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


STALE: dict[str, Callable[[Path], None]] = {
    "edited": _edited,
    "other line ends": _other_line_ends,
    "empty": _emptied,
    "missing": Path.unlink,
}


@pytest.mark.parametrize("fault", STALE)
def test_stale_file_is_found(tree: Path, fault: str) -> None:
    """An edited, empty or missing generated file fails the check, which names the file and the command."""
    assert [] == _generate.differences(tree)
    STALE[fault](tree / "omi_sync" / "client.py")
    *diff, last = _generate.differences(tree)
    assert "omi_sync/client.py is not fresh: run python omi_sync/_generate.py" == last
    if fault != "other line ends":
        assert ["--- omi_sync/client.py", "+++ omi_sync/client.py (fresh)"] == diff[:2]


def test_superfluous_file_is_found(tree: Path) -> None:
    """A generated file whose source went away fails the check."""
    (tree / "omi_sync" / "dreams.py").write_text("# Made from omi_async/dreams.py by: hand\n", encoding="utf-8")
    assert ["omi_sync/dreams.py is made by nothing any more: delete it"] == _generate.differences(tree)


def test_changed_source_is_found_and_mended(tree: Path) -> None:
    """A changed source fails the check with a diff, running the generator mends it, and the check passes."""
    source = tree / "omi_async" / "resources" / "conversations.py"
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("Rename a conversation", "Retitle a conversation"), encoding="utf-8")

    before = generate(tree, "--check")
    assert (1, "") == (before.returncode, before.stderr)
    assert '+        """Retitle a conversation' in before.stdout

    assert 0 == generate(tree).returncode
    assert "Retitle a conversation" in (tree / "omi_sync" / "conversations.py").read_text(encoding="utf-8")
    after = generate(tree, "--check")
    assert (0, "omi_sync is fresh\n", "") == (after.returncode, after.stdout, after.stderr)


@pytest.mark.parametrize("minor", MINORS)
def test_same_from_every_python(tree: Path, minor: int) -> None:
    """Each supported Python found on this machine generates exactly the same bytes."""
    pythons = interpreters(minor)
    if not pythons:
        pytest.skip(f"no Python 3.{minor} on this machine")
    fresh = {name: text.encode() for name, text in _generate.render(tree).items()}
    for python in pythons:
        for name in fresh:
            (tree / name).unlink(missing_ok=True)
        done = generate(tree, python=python)
        assert (python, 0, "") == (python, done.returncode, done.stderr)
        assert fresh == {name: (tree / name).read_bytes() for name in fresh}
        check = generate(tree, "--check", python=python)
        assert (python, 0, "omi_sync is fresh\n") == (python, check.returncode, check.stdout)


# Refusals: a small source that is understood, and what each doctoring of it must be refused for

SOURCE = '''"""A module."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from aiohttp import ClientSession

from ._late import Room
from .models.things import Thing

if TYPE_CHECKING:
    from .resources.small_things import AsyncSmallThings


class AsyncOmiClient:
    """A client."""

    small_things = Room["AsyncSmallThings"]("omi_async.resources.small_things:AsyncSmallThings", of="_retrier")
    """Things that are small."""

    def __init__(
        self,
        key: str,
        *,
        session: ClientSession | None = None,
        limit: int = 100,
    ) -> None:
        self._key = key

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return True

    async def fetch(self, number: int, *, deep: bool = False) -> Thing:
        """Fetch a thing."""
        return await self._fetch(number, deep)

    async def aclose(self) -> None:
        """Close it."""

    async def __aenter__(self) -> Self:
        await self.fetch()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
'''

RESOURCE = '''"""A module."""

from ..models.things import Thing
from ..retry import Retrier


class AsyncSmallThings:
    """Small things."""

    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier

    async def find(self, name: str) -> Thing:
        """Find one."""
        return await self._retrier.call(name)
'''

UNDERSTOOD = '''# Made from omi_async/client.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The client for synchronous code."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from omi_async._late import Room
from omi_async.client import AsyncOmiClient
from omi_async.models.things import Thing

from ._bridge import Bridge

if TYPE_CHECKING:
    from .small_things import SmallThings


class OmiClient:
    """A client."""

    small_things = Room["SmallThings"]("omi_sync.small_things:SmallThings", of="_bridge")
    """Things that are small."""

    def __init__(
        self,
        key: str,
        *,
        limit: int = 100,
    ) -> None:
        target = AsyncOmiClient(key, limit=limit)
        self._bridge = Bridge(target)

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._bridge.target.closed

    def fetch(self, number: int, *, deep: bool = False) -> Thing:
        """Fetch a thing."""
        coroutine = self._bridge.target.fetch(number, deep=deep)
        return self._bridge.run(coroutine)

    def close(self) -> None:
        """Close it."""
        self._bridge.close()

    def __enter__(self) -> Self:
        self.fetch()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
'''


UNDERSTOOD_RESOURCE = '''# Made from omi_async/resources/small_things.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The small things resource for synchronous code."""

from omi_async.client import AsyncOmiClient
from omi_async.models.things import Thing

from ._bridge import Bridge


class SmallThings:
    """Small things."""

    def __init__(self, bridge: Bridge[AsyncOmiClient]) -> None:
        self._bridge = bridge

    def find(self, name: str) -> Thing:
        """Find one."""
        coroutine = self._bridge.target.small_things.find(name)
        return self._bridge.run(coroutine)
'''

EXPORTS = '''"""A package."""

from .client import AsyncOmiClient

__all__ = ["AsyncOmiClient", "AsyncSmallThings", "Thing"]
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small asynchronous side: a client and one resource."""
    sources = {"__init__": EXPORTS, "client": SOURCE, "resources/small_things": RESOURCE}
    (tmp_path / "omi_async" / "resources").mkdir(parents=True)
    for name, text in sources.items():
        (tmp_path / "omi_async" / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(_generate, "CLASSES", {_generate.CLIENT: _generate.CLASSES[_generate.CLIENT]})
    return tmp_path


def generated(folder: Path, source: str = SOURCE, resource: str = RESOURCE) -> dict[str, str]:
    """What the generator makes of one small side."""
    (folder / "omi_async" / "client.py").write_text(source, encoding="utf-8")
    (folder / "omi_async" / "resources" / "small_things.py").write_text(resource, encoding="utf-8")
    return _generate.render(folder)


def test_small_source_is_understood(folder: Path) -> None:
    """The source that the refusals start from is translated as it should be, resource and package included."""
    files = generated(folder)
    assert UNDERSTOOD == files["omi_sync/client.py"]
    assert UNDERSTOOD_RESOURCE == files["omi_sync/small_things.py"]
    assert {"omi_sync/__init__.py", "omi_sync/client.py", "omi_sync/small_things.py"} == set(files)
    package = files["omi_sync/__init__.py"]
    assert (
        """if TYPE_CHECKING:
    from omi_async import (
        Thing,
    )

    from .small_things import SmallThings

__all__ = [
    "OmiClient",
    "SmallThings",
    "Thing",
]
"""
        in package
    )
    assert (
        """_HOMES = {
    "SmallThings": "omi_sync.small_things",
}
"""
        in package
    )


def test_a_further_resource_needs_no_word_to_the_generator(folder: Path) -> None:
    """An attribute of the client is all that the generator is told of a resource."""
    first = SOURCE.index("    small_things =")
    attribute = SOURCE[first : SOURCE.index("    def __init__")]
    source = SOURCE.replace(attribute, attribute + attribute.replace("small", "large").replace("Small", "Large"))
    large = folder / "omi_async" / "resources" / "large_things.py"
    large.write_text(RESOURCE.replace("Small", "Large"), encoding="utf-8")
    files = generated(folder, source)
    assert UNDERSTOOD_RESOURCE.replace("small", "large").replace("Small", "Large") == files["omi_sync/large_things.py"]
    assert UNDERSTOOD_RESOURCE == files["omi_sync/small_things.py"]
    client = files["omi_sync/client.py"]
    assert '    large_things = Room["LargeThings"]("omi_sync.large_things:LargeThings", of="_bridge")\n' in client
    assert "    from .large_things import LargeThings\n    from .small_things import SmallThings\n" in client


FETCH = "    async def fetch(self, number: int, *, deep: bool = False) -> Thing:"
ENTER = "        await self.fetch()\n"
EXIT = "        await self.aclose()\n"
DOCSTRING = '        """Fetch a thing."""\n'

REFUSALS = [
    ("unannotated parameter", "number: int", "number", "fetch: number has no annotation"),
    ("unannotated keyword", "deep: bool = False", "deep=False", "fetch: deep has no annotation"),
    ("unannotated setting", "limit: int = 100", "limit=100", "__init__: limit has no annotation"),
    ("unannotated result", "deep: bool = False) -> Thing", "deep: bool = False)", "the result has no annotation"),
    ("star arguments", "number: int, *,", "*numbers: int,", "fetch: star arguments"),
    ("keyword arguments", "*, deep: bool = False", "**deep: bool", "fetch: star arguments"),
    ("positional-only", "number: int, *,", "number: int, /, *,", "positional-only ones are not understood"),
    ("no docstring", DOCSTRING, "", "fetch has no docstring"),
    ("no class docstring", '    """A client."""\n\n', "", "AsyncOmiClient has no docstring"),
    ("await in a docstring", "Fetch a thing.", "Await it for a thing.", "the docstring must suit both sides"),
    ("async in a docstring", "Fetch a thing.", "Use `async with`.", "the docstring must suit both sides"),
    ("asynchronous in a docstring", "Fetch a thing.", "Asynchronously.", "the docstring must suit both sides"),
    ("async in a property's docstring", "Whether it is closed.", "If async.", "the docstring must suit both sides"),
    ("unknown decorator", FETCH, f"    @cache\n{FETCH}", "no decorator but property"),
    ("static method", FETCH, f"    @staticmethod\n{FETCH}", "no decorator but property"),
    ("decorator that is called", FETCH, f"    @cache(3)\n{FETCH}", "no decorator but property"),
    ("unknown dunder", "async def fetch(", "async def __call__(", "__call__ has no agreed form"),
    ("another unknown dunder", "async def fetch(", "def __getitem__(", "__getitem__ has no agreed form"),
    ("unknown attribute", FETCH, f"    size: int\n\n{FETCH}", "only resources and methods are understood"),
    ("attribute with a value", FETCH, f"    size: int = 3\n\n{FETCH}", "only resources and methods are understood"),
    ("plain attribute", FETCH, f"    size = 3\n\n{FETCH}", "only resources and methods are understood"),
    ("nested class", FETCH, f"    class Inner:\n        pass\n\n{FETCH}", "only resources and methods are understood"),
    ("generator", "return await self._fetch(number, deep)", "yield number", "fetch: generators are not understood"),
    ("exit that does more", EXIT, f"{EXIT}        self._key = ''\n", "__aexit__ may only close"),
    ("exit that does less", EXIT, "        pass\n", "__aexit__ may only close"),
    ("enter that does more", ENTER, f"{ENTER}        self._key = ''\n", "__aenter__ may only call own methods"),
    ("enter with arguments", ENTER, "        await self.fetch(3)\n", "__aenter__ may only call own methods"),
    ("dropped parameter on a shared line", " = None,\n        limit", " = None, limit", "needs a line of its own"),
    ("name that is not imported", "-> Thing", "-> Stranger", "Stranger stands in a signature and is not imported"),
    ("default that is not imported", "deep: bool = False", "deep: bool = NOT", "NOT stands in a signature"),
    ("base class", "class AsyncOmiClient:", "class AsyncOmiClient(Thing):", "no base class"),
    ("no such class", "class AsyncOmiClient:", "class AsyncClient:", "no class AsyncOmiClient"),
]


GUESSES = [
    ("await in the class docstring", '"""A client."""', '"""Await it."""', "the docstring must suit both sides"),
    (
        "enter with named arguments",
        ENTER,
        "        await self.fetch(deep=True)\n",
        "__aenter__ may only call own methods",
    ),
    (
        "enter that calls a private method",
        ENTER,
        "        await self._open()\n",
        "__aenter__ may only call own methods",
    ),
    ("decorated class", "class AsyncOmiClient:", "@Thing\nclass AsyncOmiClient:", ""),
    ("asynchronous result", "-> Thing", "-> AsyncIterator[Thing]", ""),
]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        *(pytest.param(*case, id=name) for name, *case in [*REFUSALS, *GUESSES]),
    ],
)
def test_refused(folder: Path, old: str, new: str, why: str) -> None:
    """A source with something that has no agreed form is refused with the place and the reason, not guessed at."""
    assert 1 <= SOURCE.count(old)
    doctored = SOURCE.replace(old, new, 1).replace("import Thing", "import Thing, AsyncIterator")
    with pytest.raises(_generate.RefusedError) as refusal:
        generated(folder, doctored)
    assert "omi_async/client.py:" in str(refusal.value)
    assert why in str(refusal.value)


def test_refused_in_a_resource(folder: Path) -> None:
    """What has no agreed form in a resource is refused with the place in the resource's file."""
    with pytest.raises(_generate.RefusedError, match=r"omi_async/resources/small_things\.py:13: find has no docstring"):
        generated(folder, resource=RESOURCE.replace('        """Find one."""\n', ""))
    with pytest.raises(
        _generate.RefusedError, match=r"omi_async/resources/small_things\.py: no class AsyncSmallThings"
    ):
        generated(folder, resource=RESOURCE.replace("AsyncSmallThings", "SmallThings"))


def test_dropped_parameter_of_several_lines(folder: Path) -> None:
    """A dropped parameter may take several lines: all of them go, and the result is the same as with one."""
    long = SOURCE.replace("ClientSession | None = None", "(\n            ClientSession | None\n        ) = None")
    assert long != SOURCE
    assert UNDERSTOOD == generated(folder, long)["omi_sync/client.py"]


def test_package_without_exports_is_refused(folder: Path) -> None:
    """Without a list of public names there is nothing to make the synchronous package of."""
    (folder / "omi_async" / "__init__.py").write_text('"""A package."""\n', encoding="utf-8")
    with pytest.raises(_generate.RefusedError, match="no __all__"):
        _generate.render(folder)


@pytest.mark.parametrize("name", ["client", "resources/small_things", "__init__"])
def test_missing_source_is_not_silent(folder: Path, name: str) -> None:
    """A source file that is not there is an error, not an empty result."""
    (folder / "omi_async" / f"{name}.py").unlink()
    with pytest.raises(FileNotFoundError):
        _generate.render(folder)
