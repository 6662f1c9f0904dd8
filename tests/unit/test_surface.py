"""What the packages show to the outside, and which file may know which library."""

import ast
import graphlib
import importlib
import inspect
import re
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, create_autospec

import attrs
import pytest

import omi_async
import omi_async.archive
import omi_async.sandbox
import omi_sync
from omi_async import Category

pytestmark = pytest.mark.repository

ROOT = Path(__file__).resolve().parents[2]
PACKAGES: tuple[types.ModuleType, ...] = (omi_async, omi_sync, omi_async.archive, omi_async.sandbox)

SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for package in ("omi_async", "omi_sync")
    for path in (ROOT / package).rglob("*.py")
)
MODULES = [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in SOURCES]

TWINS: list[tuple[type, type]] = [
    *(
        (getattr(omi_async, name), getattr(omi_sync, name.removeprefix("Async")))
        for name in omi_async.__all__
        if name.startswith("Async")
    ),
    (omi_async.archive.Archive, omi_sync.Archive),
    (omi_async.sandbox.Sandbox, omi_sync.Sandbox),
]
DROPPED_PARAMETERS = {"session"}
MADE_BY_THE_CALLER: list[type] = [omi_async.AsyncOmiClient, omi_async.archive.Archive, omi_async.sandbox.Sandbox]
"""The other classes are handed out by these, made of what the side has."""
NOT_COPIED = {"__init__", "__del__", "__doc__", "__module__", "__dict__", "__weakref__", "__annotations__"}
"""Special attributes that are written again or made by Python."""

NOT_FOR_BOTH = re.compile(r"\b(async|await)", re.IGNORECASE)


def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), path)


# Names


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.__name__))
def test_exports(package: types.ModuleType) -> None:
    """`__all__` is sorted, has no name twice, and holds exactly the public names the package defines or re-exports."""
    exported = package.__all__
    assert sorted(set(exported)) == exported
    for name in exported:
        assert hasattr(package, name)
    private = {name for name in exported if name.startswith("_")}
    assert private <= {"__version__"}
    own = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "TYPE_CHECKING"
    }
    assert own == set(exported) - private


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.__name__))
def test_star_import(package: types.ModuleType) -> None:
    """A star import brings what `__all__` says and nothing else."""
    namespace: dict[str, object] = {}
    exec(f"from {package.__name__} import *", namespace)
    del namespace["__builtins__"]
    assert set(package.__all__) == set(namespace)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.__name__))
def test_unknown_name(package: types.ModuleType) -> None:
    """A name that a package does not have is an AttributeError that says so."""
    with pytest.raises(AttributeError, match="nothing_like_it"):
        package.nothing_like_it  # noqa: B018


@pytest.mark.parametrize("package", [omi_async, omi_sync], ids=lambda package: str(package.__name__))
def test_late_names(package: types.ModuleType) -> None:
    """What is loaded when it is first used is what type checkers are told, and nothing is left out of either."""
    at_once: set[str] = set()
    told: dict[str, str] = {}
    base = package.__name__
    for node in tree(f"{base}/__init__.py").body:
        match node:
            case ast.ImportFrom():
                at_once.update(alias.name for alias in node.names)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                for each in ast.walk(node):
                    if isinstance(each, ast.ImportFrom):
                        home = f"{base}.{each.module}" if each.level else str(each.module)
                        told.update((alias.name, home) for alias in each.names)
    assert set(package.__all__) == set(told) | at_once & set(package.__all__)
    assert set() == set(told) & at_once
    for name, home in told.items():
        assert getattr(importlib.import_module(home), name) is getattr(package, name)


def test_same_exports() -> None:
    """Both packages export the same names, but for the prefix of the classes that differ and what has its own place."""
    differing = {name for name in omi_async.__all__ if name.startswith("Async")}
    assert {"AsyncConversations", "AsyncOmiClient"} <= differing
    expected = {name.removeprefix("Async") if name in differing else name for name in omi_async.__all__}
    assert expected | {"Archive", "Sandbox"} == set(omi_sync.__all__)


def test_same_classes() -> None:
    """What is not a client or a resource is the very same object on both sides, so one `except` serves both."""
    shared = set(omi_async.__all__) & set(omi_sync.__all__)
    assert len(shared) > 25
    for name in shared:
        assert getattr(omi_async, name) is getattr(omi_sync, name)


def test_fixed_errors() -> None:
    """Every exported error derives from OmiError, and the promised second parents are there."""
    errors = {name for name in omi_async.__all__ if name.endswith("Error")}
    assert all(issubclass(getattr(omi_async, name), omi_async.OmiError) for name in errors)
    second: dict[type, type] = {
        omi_async.ConfigurationError: ValueError,
        omi_async.InvalidRequestError: ValueError,
        omi_async.EventLoopError: RuntimeError,
        omi_async.RequestTimeoutError: TimeoutError,
    }
    for error, parent in second.items():
        assert issubclass(error, parent)


@pytest.mark.parametrize("package", ["omi_async", "omi_sync"])
def test_typed(package: str) -> None:
    """Both packages carry the marker that tells type checkers to read them."""
    assert (ROOT / package / "py.typed").is_file()


# The two sides, member for member


def members(cls: type) -> dict[str, object]:
    """Public members and special methods of a class itself, under their synchronous names."""
    found = {
        renamed(name): value for name, value in vars(cls).items() if isinstance(value, (types.FunctionType, property))
    }
    return {name: value for name, value in found.items() if not re.match("_(?!_)", name) and name not in NOT_COPIED}


def renamed(name: str) -> str:
    """`aclose` is `close`, `__aenter__` is `__enter__`."""
    return "close" if name == "aclose" else re.sub("^__a(enter|exit|iter|next)__$", r"__\1__", name)


def plain(annotation: object) -> str:
    """An annotation as text, where a class and its twin are called the same and both kinds of input are one."""
    text = annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
    text = re.sub(r"\bAsync(?=[A-Z])", "", re.sub(r"\bomi_a?sync\.([a-z_]+\.)*", "", text))
    return " | ".join(dict.fromkeys(text.split(" | ")))


def function(member: object) -> types.FunctionType:
    plain = member.fget if isinstance(member, property) else member
    assert isinstance(plain, types.FunctionType)
    return plain


def shape(member: object) -> list[tuple[str, object, object, object]]:
    """Parameters of a method, less those that have no meaning without a loop, and its result."""
    signature = inspect.signature(function(member))
    parameters = [each for each in signature.parameters.values() if each.name not in DROPPED_PARAMETERS]
    listed: list[tuple[str, object, object, object]] = [
        (each.name, each.kind, each.default, plain(each.annotation)) for each in parameters
    ]
    return [*listed, ("return", None, None, plain(signature.return_annotation))]


@pytest.mark.parametrize(("original", "twin"), TWINS, ids=lambda cls: str(cls.__name__))
def test_same_members(original: type, twin: type) -> None:
    """A class and its twin have the same members in the same order, of the same kind."""
    assert list(members(original)) == list(members(twin))
    for name, member in members(original).items():
        assert isinstance(member, property) == isinstance(members(twin)[name], property)
        assert not inspect.iscoroutinefunction(members(twin)[name])
    theirs = [(name, plain(kind)) for name, kind in inspect.get_annotations(twin).items()]
    assert [(name, plain(kind)) for name, kind in inspect.get_annotations(original).items()] == theirs


@pytest.mark.parametrize(
    ("original", "twin"),
    TWINS,
    ids=lambda cls: str(cls.__name__),
)
def test_same_signatures(original: type, twin: type) -> None:
    """Names, order, kinds, defaults and annotations of all parameters are the same on both sides."""
    theirs = members(twin)
    for name, member in members(original).items():
        assert (name, shape(member)) == (name, shape(theirs[name]))
    if original in MADE_BY_THE_CALLER:
        assert shape(vars(original)["__init__"]) == shape(vars(twin)["__init__"])


def test_only_session_is_dropped() -> None:
    """The only argument that the synchronous side lacks is the borrowed session."""
    for original, twin in TWINS:
        if original in MADE_BY_THE_CALLER:
            dropped = set(inspect.signature(original).parameters) - set(inspect.signature(twin).parameters)
            assert ({"session"} if original is omi_async.AsyncOmiClient else set()) == dropped


@pytest.mark.parametrize(("original", "twin"), TWINS, ids=lambda cls: str(cls.__name__))
def test_same_docstrings(original: type, twin: type) -> None:
    """Both sides are documented in the same words, none of which speaks of what one side lacks."""
    assert original.__doc__ == twin.__doc__
    assert "`session`" not in str(twin.__doc__)
    theirs = members(twin)
    for name, member in members(original).items():
        assert (name, function(member).__doc__) == (name, function(theirs[name]).__doc__)


# Resources, which are loaded when they are first used

CLIENTS: list[type] = [omi_async.AsyncOmiClient, omi_sync.OmiClient]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda cls: str(cls.__name__))
def test_mocks_know_the_resources(client: type) -> None:
    """A mock made after a client has its resources with their methods, and nothing else."""
    mock = create_autospec(client, instance=True)
    assert (client is omi_async.AsyncOmiClient) == isinstance(mock.conversations.update, AsyncMock)
    with pytest.raises(TypeError):
        mock.conversations.update()
    with pytest.raises(AttributeError):
        mock.conversations.rename  # noqa: B018
    with pytest.raises(AttributeError):
        mock.nothing_like_it  # noqa: B018


@pytest.mark.parametrize("client", CLIENTS, ids=lambda cls: str(cls.__name__))
def test_a_resource_is_made_once(client: type) -> None:
    """A client's resource is one object, for threads that ask for it at once as well; another client has its own."""
    one, other = client("omi_dev_x"), client("omi_dev_x")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: one.conversations, range(64)))
    assert {id(one.conversations)} == {id(each) for each in found}
    assert one.conversations is not other.conversations
    assert client.conversations is type(one.conversations)  # type: ignore[attr-defined]


# Docstrings


@pytest.mark.parametrize("path", SOURCES)
def test_docstrings_exist(path: str) -> None:
    """Every module has a docstring, and so has everything in it that has a public name."""
    module = tree(path)
    definitions = [
        node for node in module.body if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    public = [node for node in definitions if not node.name.startswith("_")] if is_public(path) else []
    assert ast.get_docstring(module) or path.endswith("_version.py")
    assert set() == {node.name for node in public if not ast.get_docstring(node)}


def is_public(path: str) -> bool:
    return not Path(path).name.startswith("_") and "/sandbox/" not in path


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: str(package.__name__))
def test_exported_classes_have_docstrings(package: types.ModuleType) -> None:
    """Every exported class is documented by itself, not by its parent, and so are its methods and properties."""
    for name in package.__all__:
        cls = getattr(package, name)
        if not inspect.isclass(cls):
            continue
        assert vars(cls).get("__doc__"), name
        for member, value in vars(cls).items():
            plain = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            if not member.startswith("_") and isinstance(plain, (types.FunctionType, property)):
                assert plain.__doc__, f"{name}.{member}"


def docstrings_for_both(path: str) -> Iterator[tuple[str, str]]:
    """Docstrings of public classes, of their public methods and of their attributes."""
    for node in tree(path).body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.name, ast.get_docstring(node) or ""
        for member in node.body:
            if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)) and not member.name.startswith("_"):
                yield f"{node.name}.{member.name}", ast.get_docstring(member) or ""
            if isinstance(member, ast.Expr) and isinstance(member.value, ast.Constant):
                yield f"{node.name}:{member.lineno}", str(member.value.value)


@pytest.mark.parametrize(
    "path",
    [
        *(path for path in SOURCES if re.fullmatch("omi_async/(models|resources)/(?!schemas)[a-z].*", path)),
        "omi_async/client.py",
        "omi_async/errors.py",
        "omi_async/paging.py",
        "omi_async/retry.py",
        "omi_async/sandbox/faults.py",
        "omi_async/sandbox/conversations.py",
        "omi_async/sandbox/server.py",
    ],
)
def test_docstrings_suit_both_sides(path: str) -> None:
    """Public classes are documented once for both sides, so without words that fit one of them only."""
    texts = dict(docstrings_for_both(path))
    assert texts
    assert set() == {name for name, text in texts.items() if NOT_FOR_BOTH.search(text)}


# Imports


def run_python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("module", MODULES)
def test_imports_alone(module: str) -> None:
    """Every module can be the first one imported, without a warning and without output."""
    done = run_python("-c", f"import {module}")
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("package", ["omi_async", "omi_sync"])
def test_import_is_lean(package: str) -> None:
    """Importing a package loads no resource, no model of one, and no library that only some calls use."""
    unwanted = (
        *("aiohttp.web", "aiohttp.pytest_plugin", "cattrs", "pydantic", "sqlite3", "tenacity"),
        *(
            "omi_async._database",
            "omi_async.archive",
            "omi_async.bulk",
            "omi_async.dicts",
            "omi_async.journal",
            "omi_async.paging",
            "omi_async.sandbox",
            "omi_async._jobs",
        ),
        *("omi_async.resources", "omi_async.models.archive", "omi_async.models.bulk", "omi_async.models.conversations"),
        "omi_async.models.schemas",
        *(
            "omi_sync._generate",
            "omi_sync._iterate",
            "omi_sync.archive",
            "omi_sync.bulk",
            "omi_sync.conversations",
            "omi_sync.sandbox",
        ),
    )
    done = run_python("-c", f"import sys, {package}; print([name for name in {unwanted} if name in sys.modules])")
    assert (0, "[]\n", "") == (done.returncode, done.stdout, done.stderr)


def test_lazy_sandbox_is_the_real_one() -> None:
    """The synchronous sandbox is loaded when it is asked for, and is then the generated class."""
    assert importlib.import_module("omi_sync.sandbox").Sandbox is omi_sync.Sandbox


def imports(path: str, *, late_too: bool = False) -> set[str]:
    """Absolute names of the modules a file imports when it is itself imported or in one of its functions.

    `late_too` adds what it loads when it is used, and what it imports for type checkers alone.
    """
    package = path.removesuffix(".py").split("/")[:-1]

    def visit(nodes: list[ast.stmt]) -> Iterator[str]:
        for node in nodes:
            match node:
                case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                    yield from visit(node.body if late_too else node.orelse)
                case ast.Import():
                    yield from (alias.name for alias in node.names)
                case ast.ImportFrom():
                    base = package[: len(package) - node.level + 1] if node.level else []
                    module = ".".join([*base, *([node.module] if node.module else [])])
                    yield module
                    yield from (f"{module}.{alias.name}" for alias in node.names)
                case _:
                    for field in ("body", "orelse", "finalbody"):
                        yield from visit(getattr(node, field, []))
                    for part in [*getattr(node, "handlers", []), *getattr(node, "cases", [])]:
                        yield from visit(part.body)

    def loaded(module: ast.Module) -> Iterator[str]:
        for node in ast.walk(module):
            match node:
                case ast.Call(
                    func=ast.Name(id="load" | "import_module") | ast.Subscript(value=ast.Name(id="Room")),
                    args=[ast.Constant(value=str(home))],
                ):
                    yield home.partition(":")[0]

    module = tree(path)
    return set(visit(module.body)) | (set(loaded(module)) if late_too else set())


def users(library: str) -> set[str]:
    """The files that import a library in any way."""
    return {path for path in SOURCES if any(name.split(".")[0] == library for name in imports(path, late_too=True))}


def test_late_imports_are_seen() -> None:
    """The checks below know of what is loaded when it is used, and of what only type checkers import."""
    seen = imports("omi_async/client.py", late_too=True) - imports("omi_async/client.py")
    assert {"omi_async.resources.conversations", "omi_async.resources.conversations.AsyncConversations"} <= seen
    assert "omi_async.journal" in imports("omi_async/_jobs/items.py", late_too=True)


def test_who_knows_aiohttp() -> None:
    """One room, the client for its `session`, and the sandbox import aiohttp."""
    outside = {path for path in users("aiohttp") if not path.startswith(("omi_async/_wire/", "omi_async/sandbox/"))}
    assert {"omi_async/client.py"} == outside


def test_who_knows_the_other_libraries() -> None:
    """Only one file knows the library that repeats attempts, and only one the library that reads JSON into models."""
    assert {"omi_async/retry.py"} == users("tenacity")
    assert {"omi_async/_protocol/convert.py"} == users("cattrs")
    assert {"omi_async/_database.py", "omi_async/archive/store.py", "omi_async/journal.py"} == users("sqlite3")
    assert {"omi_async/models/schemas.py"} == users("pydantic")
    assert {"omi_async/otel.py"} == users("opentelemetry")


HOUSE = [
    {"errors", "_version"},
    {"_late"},
    {"models"},
    {"_protocol"},
    {"_wire", "events", "pacing", "dicts"},
    {"retry", "_database"},
    {"journal"},
    {"_jobs"},
    {"bulk", "paging"},
    {"archive"},
    {"resources"},
    {"client"},
    {"otel"},
]
"""The rooms of the asynchronous side, from the ground up. A room imports what is below it."""

GRAPH = {
    module: {name for name in imports(path, late_too=True) if name in MODULES} - {module}
    for module, path in zip(MODULES, SOURCES, strict=True)
    if not path.endswith("__init__.py")
}
"""Which module of ours imports which, in any way."""


def room(module: str) -> str:
    """The first part of a module's name below the package."""
    return module.split(".")[1]


def uphill(graph: Mapping[str, set[str]]) -> list[str]:
    """Imports within the asynchronous side that lead up or across."""
    floors = {name: floor for floor, names in enumerate(HOUSE) for name in names}
    found = []
    for module, imported in graph.items():
        here = room(module)
        for there in {room(each) for each in imported if "." in each} - {here}:
            if floors[there] >= floors[here]:
                found.append(f"{here} -> {there}")
    return found


def test_imports_run_one_way() -> None:
    """Each room imports only what is below it, late imports and those for type checkers included."""
    inside = {
        module: {name for name in imported if not name.startswith("omi_async.sandbox")}
        for module, imported in GRAPH.items()
        if module.startswith("omi_async.") and room(module) != "sandbox"
    }
    assert {room(module) for module in inside} == set().union(*HOUSE)
    assert [] == uphill(inside)
    assert ["_protocol -> retry"] == uphill({"omi_async._protocol.raw": {"omi_async.retry"}})
    assert ["bulk -> paging"] == uphill({"omi_async.bulk": {"omi_async.paging"}})


def test_no_circle() -> None:
    """No two modules import each other, over any number of others, and only the sandbox's own know the sandbox."""
    assert len(GRAPH) > 50
    graphlib.TopologicalSorter(GRAPH).prepare()
    guests = {
        module
        for module, imported in GRAPH.items()
        if any(name.startswith("omi_async.sandbox") for name in imported) and not module.startswith("omi_async.sandbox")
    }
    assert {"omi_sync.sandbox"} == {module for module in guests if not module.startswith("omi_sync.command")}


def test_the_asynchronous_side_stands_alone() -> None:
    """The asynchronous side never imports the synchronous one."""
    assert [] == [path for path in users("omi_sync") if path.startswith("omi_async/")]


def test_no_resource_knows_another() -> None:
    """A resource imports no other one, and nothing in the protocol knows the model of any."""
    resources = {module for module in GRAPH if room(module) == "resources"}
    assert resources
    for module in resources:
        assert set() == GRAPH[module] & resources
    for module, imported in GRAPH.items():
        if room(module) == "_protocol":
            assert {name for name in imported if name.startswith("omi_async.models.")} <= {"omi_async.models.shared"}


SPY = """
import sys
def spy(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_name == "load" and code.co_filename.endswith("_late.py"):
        print(frame.f_locals["module"])
sys.setprofile(spy)
import importlib
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


def test_nothing_is_loaded_late_during_an_import() -> None:
    """No module of ours uses a late name while it is itself imported: two threads could wait for each other.

    The command may: a program begins with it, and nothing of ours imports it.
    """
    command = {module for module in MODULES if module.startswith(("omi_sync.command", "omi_sync.__main__"))}
    assert {module for module, imported in GRAPH.items() if imported & command} <= command
    done = run_python("-c", SPY, *sorted({*MODULES} - command))
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    seen = run_python("-c", SPY + "importlib.import_module('omi_async').Conversation")
    assert (0, "omi_async.models.conversations\n") == (seen.returncode, seen.stdout)


LONGEST_FILE = 520  # lines


def test_no_file_is_long() -> None:
    """A file that somebody reads and edits stays short enough to be known; the generator is not in the wheel."""
    lines = {path: (ROOT / path).read_text(encoding="utf-8").splitlines() for path in SOURCES}
    by_hand = {path: each for path, each in lines.items() if not each or not each[0].startswith("# Made from ")}
    assert {"omi_sync/_generate.py", "omi_async/resources/conversations.py"} == {
        path for path, each in by_hand.items() if len(each) >= LONGEST_FILE
    }


# What a retry library is easily misused for


def misuses(source: str) -> list[str]:
    """Uses of tenacity that share its state between calls, or read numbers that shared state has made wrong.

    A retrying object may be made inside a function only, given to one local name, and only be called there.
    """
    module = ast.parse(source)
    parents = {child: node for node in ast.walk(module) for child in ast.iter_child_nodes(node)}
    found = []

    def enclosing(node: ast.AST) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        below, above = node, parents.get(node)
        while above is not None:
            if isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef)) and below in above.body:
                return above
            below, above = above, parents.get(above)
        return None

    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and node.attr in ("statistics", "iter_state"):
            found.append(f"{node.lineno}: .{node.attr}")
        if isinstance(node, ast.ImportFrom) and node.module == "tenacity":
            found.extend(
                f"{node.lineno}: imports {each.name}"
                for each in node.names
                if each.name in ("retry", "Retrying", "AttemptManager") or each.asname
            )
        if isinstance(node, ast.Import) and any(each.name.startswith("tenacity") for each in node.names):
            found.append(f"{node.lineno}: imports tenacity whole")
        if not (isinstance(node, ast.Name) and node.id == "AsyncRetrying" and isinstance(node.ctx, ast.Load)):
            continue
        call, function = parents[node], enclosing(node)
        target = parents.get(call)
        match call, target:
            case ast.Call(), ast.Assign(targets=[ast.Name(id=name)]) if function is not None and call.func is node:
                for each in ast.walk(function):
                    if isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, ast.Load):
                        user = parents[each]
                        if not (isinstance(user, ast.Call) and user.func is each):
                            found.append(f"{each.lineno}: {name} is more than called")
                    if isinstance(each, (ast.Global, ast.Nonlocal)) and name in each.names:
                        found.append(f"{each.lineno}: {name} is not local")
            case _:
                found.append(f"{node.lineno}: AsyncRetrying is not made for one call alone")
    return found


MISUSES = {
    "statistics": "def f(r):\n    return r.statistics",
    "module level": "R = AsyncRetrying()",
    "class level": "class C:\n    r = AsyncRetrying()",
    "default argument": "async def f(r=AsyncRetrying()):\n    pass",
    "decorator": "@AsyncRetrying()\nasync def f():\n    pass",
    "stored": "class C:\n    def __init__(self):\n        self.r = AsyncRetrying()",
    "kept in a list": "def f(rs):\n    rs.append(AsyncRetrying())",
    "returned": "def f():\n    r = AsyncRetrying()\n    return r",
    "handed on": "def f():\n    r = AsyncRetrying()\n    g(r)",
    "stored later": "class C:\n    def f(self):\n        r = AsyncRetrying()\n        self.r = r",
    "global": "def f():\n    global r\n    r = AsyncRetrying()",
    "iterated": "async def f():\n    r = AsyncRetrying()\n    async for attempt in r:\n        pass",
    "iterated at once": "async def f():\n    async for attempt in AsyncRetrying():\n        pass",
    "aliased": "def f():\n    make = AsyncRetrying\n    return make()",
    "another name": "from tenacity import AsyncRetrying as A",
    "retry decorator": "from tenacity import retry",
    "whole module": "import tenacity",
}


@pytest.mark.scenario(183)
@pytest.mark.parametrize("name", MISUSES)
def test_misuse_is_seen(name: str) -> None:
    """The check below sees each way of sharing the retry library's state."""
    assert misuses(MISUSES[name])


@pytest.mark.scenario(183)
@pytest.mark.parametrize("path", SOURCES)
def test_no_shared_retry_state(path: str) -> None:
    """Each call makes a retrying object of its own, only calls it, and nobody reads the library's statistics."""
    assert [] == misuses((ROOT / path).read_text(encoding="utf-8"))


# Models

CANARY = "canary-Zx9"
TIME = datetime(2026, 1, 20, 10, tzinfo=UTC)

MAY_BE_SHOWN = {
    "ActionItem": {"completed", "completed_at", "conversation_id", "created_at", "due_at", "id", "updated_at"},
    "ActionItemUpdate": {"action_item_id", "completed", "due_at"},
    "AnswerSource": {"created_at", "id"},
    "ApiKey": {"created_at", "id", "last_used_at", "scopes"},
    "ArchiveMatch": {"created_at", "id", "start"},
    "ArchivedConversation": {
        "changed_at",
        "created_at",
        "first_seen_at",
        "has_transcript",
        "id",
        "kept_at",
        "missing_at",
        "recreated_as",
        "seen_at",
    },
    "Conversation": {
        "created_at",
        "finished_at",
        "folder_id",
        "id",
        "language",
        "source",
        "started_at",
        "structured",
    },
    "ConversationAnswer": set(),
    "ConversationActionItem": {
        "completed",
        "completed_at",
        "conversation_id",
        "created_at",
        "due_at",
        "updated_at",
    },
    "ConversationEvent": {"created", "duration", "start"},
    "ConversationStructured": {"category", "emoji"},
    "ConversationUpdate": {"conversation_id", "discarded"},
    "CreatedApiKey": {"created_at", "id", "last_used_at", "scopes"},
    "CreatedConversation": {"discarded", "id", "meeting_treatment_eligible", "status"},
    "DailySummary": {"created_at", "date", "day_emoji", "id", "stats"},
    "DailySummaryActionItem": {"completed", "priority", "source_conversation_id"},
    "DailySummaryDecision": {"conversation_id"},
    "DailySummaryHighlight": {"conversation_ids", "emoji"},
    "DailySummaryInsight": {"conversation_id"},
    "DailySummaryLocation": {"conversation_id"},
    "DailySummaryQuestion": {"conversation_id"},
    "DailySummaryStats": {
        "action_items_count",
        "action_items_created",
        "memories_created",
        "proactive_moments",
        "total_conversations",
        "total_duration_minutes",
        "watching_minutes",
    },
    "Deletion": {"confirmed", "id"},
    "Folder": {
        "color",
        "conversation_count",
        "created_at",
        "icon",
        "id",
        "is_default",
        "is_system",
        "order",
        "updated_at",
    },
    "Geolocation": {"location_type"},
    "Goal": {
        "created_at",
        "focus_rank",
        "goal_id",
        "goal_type",
        "horizon_at",
        "id",
        "is_active",
        "source",
        "status",
        "updated_at",
    },
    "GoalHistoryEntry": {"date", "recorded_at"},
    "GoalMetric": {"type"},
    "Memory": {
        "category",
        "created_at",
        "edited",
        "id",
        "manually_added",
        "reviewed",
        "scoring",
        "updated_at",
        "user_review",
        "visibility",
    },
    "MemoryMatch": {"category", "id", "relevance_score"},
    "MemoryUpdate": {"category", "memory_id", "visibility"},
    "NewActionItem": {"completed", "due_at"},
    "NewMemory": {"category", "visibility"},
    "NewTranscriptSegment": {"end", "is_user", "speaker_id", "start"},
    "RawResponse": {"status"},
    "ExportResult": {"conversations", "unchanged", "written"},
    "Recreation": {"differences", "id", "recreated_from", "status"},
    "TranscriptSegment": {"end", "id", "speaker_id", "start"},
}


HOLDS_NO_CONTENT = {
    "ArchiveGap",
    "ArchiveStatus",
    "AttemptEnded",
    "BulkOutcome",
    "BulkProgress",
    "CallEnded",
    "ExportProgress",
    "RateWindow",
    "RetryPolicy",
    "SaveProgress",
    "SaveResult",
    "Timeout",
    "ValidationIssue",
}


def private_conversation() -> omi_async.Conversation:
    """A conversation whose every private text is the canary."""
    item = omi_async.ConversationActionItem(description=CANARY)
    event = omi_async.ConversationEvent(title=CANARY, start=TIME, description=CANARY)
    structured = omi_async.ConversationStructured(
        title=CANARY, overview=CANARY, category="work", action_items=(item,), events=(event,)
    )
    segment = omi_async.TranscriptSegment(text=CANARY, start=0.0, end=1.5, speaker_name=CANARY)
    place = omi_async.Geolocation(
        latitude=52.5170365, longitude=13.3888599, google_place_id=CANARY, address=CANARY, location_type="ROOFTOP"
    )
    return omi_async.Conversation(
        id="conv_1",
        created_at=TIME,
        started_at=None,
        finished_at=None,
        structured=structured,
        transcript_segments=(segment,),
        geolocation=place,
        folder_name=CANARY,
    )


def nested(value: Any) -> Iterator[Any]:
    """A model and all models in it."""
    if attrs.has(type(value)):
        yield value
        for field in attrs.fields(type(value)):
            yield from nested(getattr(value, field.name))
    elif isinstance(value, tuple):
        for each in value:
            yield from nested(each)


def test_repr_is_private() -> None:
    """No model shows what was said, who said it or where, whichever way it is turned into text."""
    models = [
        *nested(private_conversation()),
        omi_async.CreatedConversation(id="conv_1", status="completed", discarded=False),
        omi_async.Deletion(id="conv_1", confirmed=True),
        omi_async.RawResponse(status=200, headers={"x-said": CANARY}, json={"text": CANARY}),
        omi_async.NewTranscriptSegment(text=CANARY, start=0.0, end=1.5, speaker=CANARY, person_id=CANARY),
    ]
    for name in sorted(set(MAY_BE_SHOWN) - {type(model).__name__ for model in models}):
        kind = getattr(omi_async, name)
        models.append(kind(**{each.name: None if each.repr else CANARY for each in attrs.fields(kind)}))
    for model in models:
        for text in (repr(model), str(model), f"{model}", f"{[model]}"):
            assert CANARY not in text
            assert "52.5" not in text
            assert "13.3" not in text
    assert "conv_1" in repr(models[0])


def test_repr_of_new_fields() -> None:
    """A field is shown only if it is listed here as harmless, so a new one is hidden until somebody decides."""
    shown = {
        name: {field.name for field in attrs.fields(getattr(omi_async, name)) if field.repr} for name in MAY_BE_SHOWN
    }
    assert MAY_BE_SHOWN == shown
    exported = {name for name in omi_async.__all__ if attrs.has(getattr(omi_async, name))}
    assert set(MAY_BE_SHOWN) == exported - HOLDS_NO_CONTENT


def test_models_are_frozen_values() -> None:
    """Models are compared and hashed by value and cannot be changed."""
    one, other = private_conversation(), private_conversation()
    assert one == other
    assert hash(one) == hash(other)
    for model in nested(one):
        name = attrs.fields(type(model))[0].name
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(model, name, None)


CATEGORIES = """
    architecture business design economics education entertainment entrepreneurship environment family finance
    health history inspiration legal literature music news other parenting personal philosophy politics psychology
    real romantic science social spiritual sports technology travel weather work
"""


def test_categories() -> None:
    """The known categories are the thirty-three of the specification, each named like its value."""
    assert 33 == len(CATEGORIES.split()) == len(Category)
    assert sorted(CATEGORIES.split()) == sorted(category.value for category in Category)
    assert [category.value.upper() for category in Category] == [category.name for category in Category]
    assert "work" == str(Category.WORK) == f"{Category.WORK}"
