"""Writes the synchronous side: `python omi_sync/_generate.py` (`--check` compares instead of writing).

It copies the client, its resources and a few more classes, signature by signature and docstring by docstring; a body
becomes one call through the bridge. The client's attributes name the resources. What this program does not understand
it refuses, so that nobody has to look for a guess. Its output depends on the sources alone, not on the Python that runs
it: text is copied, never unparsed.
"""

import argparse
import ast
import builtins
import difflib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python omi_sync/_generate.py"

LINE_LIMIT = 120  # the formatter's, so that generated files need no formatting

CLIENT = "omi_async/client.py"

CLASSES = {
    # source file: (asynchronous class, synchronous class, file made from it, its docstring)
    CLIENT: ("AsyncOmiClient", "OmiClient", "omi_sync/client.py", "The client for synchronous code."),
    "omi_async/archive/store.py": ("Archive", "Archive", "omi_sync/archive.py", "The archive for synchronous code."),
    "omi_async/bulk.py": ("AsyncBulk", "Bulk", "omi_sync/bulk.py", "The outcomes of bulk jobs for synchronous code."),
    "omi_async/paging.py": ("AsyncListing", "Listing", "omi_sync/paging.py", "Lists of records for synchronous code."),
    "omi_async/sandbox/server.py": ("Sandbox", "Sandbox", "omi_sync/sandbox.py", "The sandbox for synchronous code."),
}
"""All but the resources."""

ITERATED = {"AsyncBulk": "bulk", "AsyncListing": "paging"}
"""Classes that a method returns to be iterated over, and the module of their synchronous form."""

WORKED = {"AsyncBulk"}
"""Those among them that work on the loop until they are closed, and take an input."""

INPUTS = {"Items": "Iterable"}
"""Annotations of what is iterated over itself, and what is left of them without an event loop."""

LOOP_BOUND = {"AsyncIterator", "AsyncIterable", "AsyncGenerator", "Awaitable", "Coroutine"}
"""What means nothing without an event loop."""

HANDED_ON = {"Archive": "archive"}
"""Classes whose objects a method takes, of which the asynchronous side needs the original, and their modules."""

DROPPED_PARAMETERS = {"session": "an aiohttp session belongs to a loop of the caller's, and there is none"}

PASSED_THROUGH = {"__repr__", "__reduce__"}
NOT_COPIED = {"__init__", "__aenter__", "__aexit__", "__aiter__", "__anext__", "__del__"}
"""Written anew, or without meaning on this side."""


class RefusedError(Exception):
    """The source holds something that has no agreed form on the synchronous side."""


def refuse(where: str, node: ast.AST, why: str) -> RefusedError:
    line = getattr(node, "lineno", "?")
    return RefusedError(f"{where}:{line}: {why}")


@dataclass
class Source:
    """One module of the asynchronous side."""

    path: str
    text: str
    lines: list[str] = field(init=False)
    tree: ast.Module = field(init=False)

    def __post_init__(self) -> None:
        self.lines = self.text.splitlines()
        self.tree = ast.parse(self.text)

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").replace("/", ".")

    def segment(self, first: int, last: int) -> str:
        """Lines by number, both included."""
        return "\n".join(self.lines[first - 1 : last])

    def imports(self) -> dict[str, tuple[str, str | None]]:
        """Name -> (module, name in it), the ones for type checkers included; None for a whole module."""
        found: dict[str, tuple[str, str | None]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                if node.level:
                    package = self.module.split(".")[: -node.level]
                    module = ".".join([*package, module] if module else package)
                for alias in node.names:
                    found[alias.asname or alias.name] = (module, alias.name)
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    found[alias.asname or alias.name] = (alias.name, None)
        return found

    def public_class(self, name: str) -> ast.ClassDef:
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return node
        raise RefusedError(f"{self.path}: no class {name}")

    def local_classes(self) -> set[str]:
        return {node.name for node in self.tree.body if isinstance(node, ast.ClassDef)}


@dataclass
class Resource:
    """A resource of the client, as one of its attributes names it."""

    attribute: str
    module: str
    old: str

    @property
    def path(self) -> str:
        return f"{self.module.replace('.', '/')}.py"


def resources(client: Source) -> list[Resource]:
    """The resources that the client's attributes name."""
    found = []
    for node in client.public_class("AsyncOmiClient").body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(args=[ast.Constant(value=str(home))])):
                module, old = home.split(":")
                found.append(Resource(name, module, old))
    return found


class Facade:
    """The synchronous form of one class."""

    def __init__(self, source: Source, name: str, new_name: str, docstring: str, resource: str | None = None) -> None:
        self.source = source
        self.old = name
        self.new = new_name
        self.module_docstring = docstring
        self.definition = source.public_class(name)
        if self.definition.decorator_list:
            raise refuse(source.path, self.definition, "a class decorator is not understood")
        self.names: set[str] = set()
        self.late: set[str] = set()
        self.target = f"self._bridge.target.{resource}" if resource else "self._bridge.target"
        self.is_resource = resource is not None
        if name in ITERATED:
            self.target = "self._target"

    def render(self) -> str:
        if self.definition.bases:
            self.names.update({"Generic", "TypeVar"})
        body = list(self._members())
        imports = self._imports()
        head = [
            f"# Made from {self.source.path} by: {COMMAND}",
            "# Change the original and run it again; changes made here are lost.",
            "",
            f'"""{self.module_docstring}"""',
            "",
            *imports,
            *self._type_variables(),
            "",
            "",
            f"class {self.new}{self._bases()}:",
        ]
        return "\n".join([*head, *body]) + "\n"

    def _bases(self) -> str:
        bases = [ast.unparse(base) for base in self.definition.bases]
        if any(not base.startswith("Generic[") for base in bases):
            raise refuse(self.source.path, self.definition, "no base class but Generic is understood")
        return f"({', '.join(bases)})" if bases else ""

    def _type_variables(self) -> list[str]:
        lines = [
            self.source.segment(node.lineno, node.end_lineno or node.lineno)
            for node in self.source.tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in {name.id for base in self.definition.bases for name in names_in(base)}
        ]
        return ["", *lines] if lines else []

    # Members

    def _members(self) -> Iterator[str]:
        yield from self._docstring(self.definition)
        for node in self.definition.body[1:]:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(args=[ast.Constant(value=str(home))])):
                    yield ""
                    yield from self._room(name, home)
                case ast.Expr(value=ast.Constant(value=str(text))):  # the docstring of an attribute
                    self._suits_both(node, text)
                    yield self.source.segment(node.lineno, node.end_lineno or node.lineno)
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    yield from self._function(node)
                case _:
                    raise refuse(self.source.path, node, "only resources and methods are understood")

    def _room(self, name: str, home: str) -> Iterator[str]:
        kind = renamed(home.split(":")[1])
        self.names.add("Room")
        self.late.add(f"from .{name} import {kind}")
        line = f'    {name} = Room["{kind}"]("omi_sync.{name}:{kind}", of="_bridge")'
        if len(line) > LINE_LIMIT:
            raise RefusedError(f"{self.source.path}: the line of {name} would be too long")
        yield line

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        name = node.name
        if name == "__init__":
            yield from self._init(node)
        elif name == "__aenter__":
            yield from self._enter(node)
        elif name == "__aexit__":
            yield from self._exit(node)
        elif name == "__aiter__":
            yield from self._iter(node)
        elif name == "__anext__":
            yield from self._next(node)
        elif name == "__del__" and self.old in WORKED:
            yield from self._del()
        elif name in PASSED_THROUGH or (not name.startswith("_") and name not in NOT_COPIED):
            yield from self._method(node)
        elif name.startswith("__") and name not in NOT_COPIED:
            raise refuse(self.source.path, node, f"{name} has no agreed form")

    def _method(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        decorators = [ast.unparse(each) for each in node.decorator_list]
        if decorators not in ([], ["property"]):
            raise refuse(self.source.path, node, "no decorator but property is understood")
        self._check(node)
        yield ""
        if decorators:
            yield "    @property"
        yield from self._signature(node)
        if node.name not in PASSED_THROUGH:
            yield from self._docstring(node)
        if isinstance(node, ast.AsyncFunctionDef):
            yield from self._bridged(node)
        elif decorators:
            yield f"        return {self.target}.{node.name}"
        elif (kind := iterated(node)) is not None:
            yield from self._iterating(node, renamed(kind))
        elif node.returns is not None and ast.unparse(node.returns) == "Self":
            yield from self._sharing(node)
        elif node.name == "__repr__":
            other = f'.replace("{self.old}", "{self.new}", 1)' if self.old != self.new else ""
            yield '        if "_bridge" not in self.__dict__:  # in the traceback of a refused setting'
            yield f'            return "<{self.new} not made>"'
            yield f"        return repr({self.target}){other}"
        else:
            yield from call(f"{returning(node)}{self.target}.{node.name}", arguments(node))

    def _bridged(self, node: ast.AsyncFunctionDef) -> Iterator[str]:
        if node.name == "aclose" and self.old in WORKED:
            self.names.add("close_job")
            yield "        close_job(self._bridge, self._target, self._items)"
        elif node.name == "aclose" and self.old not in ITERATED:
            yield "        self._bridge.close()"
        else:
            values = self._own(node)
            names = callbacks(node)
            if names:
                self.names.update({"Calls", "relayed", "run_with"})
                yield "        calls = Calls()"
            for name in names:
                values[values.index(f"{name}={name}")] = f"{name}=relayed(calls, {name})"
            yield from call(f"coroutine = {self.target}.{node.name}", values)
            yield from self._private(node)
            run = "run_with(self._bridge, coroutine, calls)" if names else "self._bridge.run(coroutine)"
            yield f"        {returning(node)}{run}"

    def _own(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
        """The arguments of a call, with the originals of what this side has made."""
        values = arguments(node)
        for each in [*node.args.args[1:], *node.args.kwonlyargs]:
            if each.annotation is not None and HANDED_ON.keys() & annotated(each.annotation):
                self.names.add("original")
                place = values.index(each.arg if each.arg in values else f"{each.arg}={each.arg}")
                values[place] = values[place].removesuffix(each.arg) + f"original({each.arg})"
        return values

    def _iterating(self, node: ast.FunctionDef | ast.AsyncFunctionDef, kind: str) -> Iterator[str]:
        """A method that begins nothing yet. Input and callbacks are used on the caller's thread, as the result is."""
        values = self._own(node)
        made = ["self._bridge", "target"]
        for source in [each.arg for each in node.args.args[1:]]:
            self.names.add("feed")
            yield f"        items = feed({source})"
            values[values.index(source)] = "items"
            made.append("items")
            for name in callbacks(node):
                self.names.add("relayed")
                values[values.index(f"{name}={name}")] = f"{name}=relayed(items, {name})"
        yield from call(f"target = {self.target}.{node.name}", values)
        yield f"        return {kind}({', '.join(made)})"

    def _sharing(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        """A method that makes another object of the same kind, which shares the loop."""
        self.names.add("Self")
        yield from self._without_private(node, call(f"target = {self.target}.{node.name}", arguments(node)))
        yield "        made = object.__new__(type(self))"
        yield "        made._bridge = self._bridge.sharing(target)"
        yield "        return made"

    def _iter(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        returns = ast.unparse(node.returns) if node.returns is not None else ""
        if not returns.startswith("AsyncIterator["):
            raise refuse(self.source.path, node, "__aiter__ must return an AsyncIterator")
        self._collect(node.returns, quoted=True)
        self.names.discard("AsyncIterator")
        self.names.add("Iterator")
        yield ""
        yield f"    def __iter__(self) -> {renamed(returns)}:"
        yield "        return self"

    def _next(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        self._check(node)
        self._collect(node.returns, quoted=True)
        worked = self.old in WORKED
        self.names.add("next_outcome" if worked else "next_row")
        yield ""
        yield f"    def __next__(self) -> {ast.unparse(node.returns)}:" if node.returns else ""
        call, values = ("next_outcome", ", self._items") if worked else ("next_row", "")
        yield f"        return {call}(self._bridge, self._target{values})"

    def _del(self) -> Iterator[str]:
        self.names.add("close_input")
        yield ""
        yield "    def __del__(self) -> None:"
        yield "        close_input(self._items)"

    def _init(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        yield ""
        if self.is_resource:
            self.names.update({"Bridge", "AsyncOmiClient"})
            yield "    def __init__(self, bridge: Bridge[AsyncOmiClient]) -> None:"
            yield "        self._bridge = bridge"
            return
        self.names.update({"Bridge", self.old})
        if self.old in ITERATED:
            self.names.add("AsyncOmiClient")
            parameters = f"self, bridge: Bridge[AsyncOmiClient], target: {self.old}[R]"
            if self.old in WORKED:
                self.names.add("Any")
                parameters += ", items: Any"
            yield f"    def __init__({parameters}) -> None:"
            yield "        self._bridge = bridge"
            yield "        self._target = target"
            if self.old in WORKED:
                yield "        self._items = items"
            return
        self._check(node)
        yield from self._signature(node)
        own = f"Async{self.old}" if self.old == self.new else self.old
        values, calls_back = arguments(node), ""
        for name in callbacks(node):
            self.names.add("to_caller")
            values[values.index(f"{name}={name}")] = f"{name}=to_caller({name})"
            calls_back = f", calls_back={name} is not None"
        yield from self._without_private(node, call(f"target = {own}", values))
        yield f"        self._bridge = Bridge(target{calls_back})"

    def _without_private(self, node: ast.FunctionDef | ast.AsyncFunctionDef, made: list[str]) -> Iterator[str]:
        """A call after which private arguments are gone from this frame too, above all where it refuses them."""
        private = self._private(node)
        if not private:
            yield from made
            return
        yield "        try:"
        yield from (f"    {line}" for line in made)
        yield "        finally:"
        yield from (f"    {line}" for line in private)

    def _private(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
        """What takes private arguments out of the frame, as the source does."""
        return [self.source.segment(each.lineno, each.lineno) for each in node.body if isinstance(each, ast.Delete)]

    def _enter(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        self.names.add("Self")
        yield ""
        yield "    def __enter__(self) -> Self:"
        for statement in node.body:
            match statement:
                case ast.Expr(
                    value=ast.Await(
                        value=ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=name), args=[], keywords=[])
                    )
                ) if not name.startswith("_"):
                    yield f"        self.{name}()"
                case ast.Return(value=ast.Name(id="self")):
                    yield "        return self"
                case _:
                    raise refuse(self.source.path, statement, "__aenter__ may only call own methods and return self")

    def _exit(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        if [ast.unparse(each) for each in node.body] != ["await self.aclose()"]:
            raise refuse(self.source.path, node, "__aexit__ may only close")
        self._check(node)
        yield ""
        yield from self._signature(node)
        yield "        self.close()"

    # Pieces

    def _check(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        path, spec = self.source.path, node.args
        if spec.vararg or spec.kwarg or spec.posonlyargs:
            raise refuse(path, node, f"{node.name}: star arguments and positional-only ones are not understood")
        for each in [*spec.args[1:], *spec.kwonlyargs]:
            if each.annotation is None:
                raise refuse(path, each, f"{node.name}: {each.arg} has no annotation")
        if node.returns is None:
            raise refuse(path, node, f"{node.name}: the result has no annotation")
        if isinstance(node, ast.AsyncFunctionDef) and any(isinstance(each, ast.Yield) for each in ast.walk(node)):
            raise refuse(path, node, f"{node.name}: generators are not understood")
        foreign = {
            name.id
            for part in (node.returns, *(each.annotation for each in spec.args))
            if part
            for name in names_in(part)
        }
        foreign &= LOOP_BOUND
        if foreign and node.name != "__aiter__":
            raise refuse(path, node, f"{node.name}: {', '.join(sorted(foreign))} has no agreed form")

    def _signature(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        """Copy the text from `def` to the colon, less what has no meaning here."""
        spec = node.args
        kept = [each for each in [*spec.args, *spec.kwonlyargs] if each.arg not in DROPPED_PARAMETERS]
        defaults = [each for each in [*spec.defaults, *spec.kw_defaults] if each is not None]
        for annotation in [*(each.annotation for each in kept), node.returns]:
            self._collect(annotation, quoted=True)
        for default in defaults:
            self._collect(default, quoted=False)
        dropped_lines: set[int] = set()
        for each, value in zip(spec.kwonlyargs, spec.kw_defaults, strict=True):
            if each.arg in DROPPED_PARAMETERS:
                end = each.end_lineno if value is None else value.end_lineno
                dropped_lines.update(range(each.lineno, (end or each.lineno) + 1))
        if any(each.lineno in dropped_lines for each in kept):
            raise refuse(self.source.path, node, f"{node.name}: a dropped parameter needs a line of its own")
        for number in range(node.lineno, node.body[0].lineno):
            if number in dropped_lines:
                continue
            line = self.source.lines[number - 1]
            line = line.replace("    async def ", "    def ", 1)
            for old, new in (("__aexit__", "__exit__"), ("aclose(", "close(")):
                line = line.replace(f"def {old}", f"def {new}", 1)
            for old, new in {**{kind: renamed(kind) for kind in ITERATED}, **INPUTS}.items():
                line = re.sub(rf" {old}(?=[\[:])", f" {new}", line)
            yield line

    def _collect(self, part: ast.AST | None, *, quoted: bool) -> None:
        """Note the names in a piece of a signature; in an annotation, text outside Literal is one more piece."""
        match part:
            case ast.Name(id=name):
                self.names.add(name)
            case ast.Constant(value=str(text)) if quoted:
                self._collect(ast.parse(text, mode="eval"), quoted=True)
            case ast.Subscript(value=ast.Name(id="Literal")):
                self.names.add("Literal")
            case ast.AST():
                for child in ast.iter_child_nodes(part):
                    self._collect(child, quoted=quoted)

    def _docstring(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
        first = node.body[0]
        if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
            raise refuse(self.source.path, node, f"{node.name} has no docstring")
        self._suits_both(node, str(first.value.value))
        yield self.source.segment(first.lineno, first.end_lineno or first.lineno)

    def _suits_both(self, node: ast.AST, text: str) -> None:
        if re.search(r"\b(async|await|asynchronous)", text, re.IGNORECASE):
            raise refuse(self.source.path, node, "the docstring must suit both sides")

    def _imports(self) -> list[str]:
        known = self.source.imports()
        wanted: dict[str, set[str]] = {}
        for name in self.names:
            if name in ITERATED and name != self.old:
                wanted.setdefault(f".{ITERATED[name]}", set()).add(renamed(name))
            elif name in HANDED_ON and name != self.old:
                self.late.add(f"from .{HANDED_ON[name]} import {name}")
            elif name in INPUTS or name in ("Iterator", "Iterable"):
                wanted.setdefault("collections.abc", set()).add(INPUTS.get(name, name))
            elif name in ("Bridge", "original", "to_caller"):
                wanted.setdefault("._bridge", set()).add(name)
            elif name == "Calls":
                wanted.setdefault("._calls", set()).add(name)
            elif name in ("close_input", "close_job", "feed", "next_outcome", "next_row", "relayed", "run_with"):
                wanted.setdefault("._iterate", set()).add(name)
            elif name == "Room":
                wanted.setdefault("omi_async._late", set()).add(name)
            elif name in ("Any", "Generic", "TypeVar"):
                wanted.setdefault("typing", set()).add(name)
            elif name in {each.id for base in self.definition.bases for each in names_in(base)}:
                continue  # a type variable, which is copied
            elif name == self.old and self.old == self.new:
                wanted.setdefault(self.source.module, set()).add(f"{name} as Async{name}")
            elif name in self.source.local_classes():
                wanted.setdefault(self.source.module, set()).add(name)
            elif name == "AsyncOmiClient":
                wanted.setdefault("omi_async.client", set()).add(name)
            elif name == "Self":
                wanted.setdefault("typing", set()).add(name)
            elif name in known:
                module, original = known[name]
                if original is None:
                    wanted.setdefault(f"import {module}", set())
                else:
                    wanted.setdefault(module, set()).add(original)
            elif not hasattr(builtins, name):
                raise RefusedError(f"{self.source.path}: {name} stands in a signature and is not imported")
        if self.late:
            wanted.setdefault("typing", set()).add("TYPE_CHECKING")
        lines = render_imports(wanted)
        return [*lines, "", "if TYPE_CHECKING:", *sorted(f"    {each}" for each in self.late)] if self.late else lines


# Text


def names_in(node: ast.AST) -> Iterator[ast.Name]:
    return (each for each in ast.walk(node) if isinstance(each, ast.Name))


def annotated(annotation: ast.AST) -> set[str]:
    """The names in an annotation, one in quotes too."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval")
    return {each.id for each in names_in(annotation)}


def iterated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    """The class that a method returns to be iterated over, if it does."""
    match node.returns:
        case ast.Subscript(value=ast.Name(id=name)) | ast.Name(id=name) if name in ITERATED:
            return name
        case _:
            return None


def renamed(name: str) -> str:
    return name.removeprefix("Async")


def render_imports(wanted: dict[str, set[str]]) -> list[str]:
    def lines(module: str) -> Iterator[str]:
        if module.startswith("import "):
            yield module
            return
        plain = sorted((name for name in wanted[module] if " as " not in name), key=_by_kind)
        line = f"from {module} import {', '.join(plain)}"
        if len(line) > LINE_LIMIT:
            yield from (f"from {module} import (", *(f"    {name}," for name in plain), ")")
        elif plain:
            yield line
        for name in sorted(wanted[module].difference(plain)):
            yield f"from {module} import {name}"

    standard = [each for each in wanted if not each.startswith((".", "omi_"))]
    standard.sort(key=lambda each: (not each.startswith("import "), each))
    own = sorted(each for each in wanted if each.startswith("omi_"))
    local = sorted(each for each in wanted if each.startswith("."))
    blocks = [[line for each in group for line in lines(each)] for group in (standard, own, local) if group]
    return [text for number, block in enumerate(blocks) for text in ([""] if number else []) + block]


def _by_kind(name: str) -> tuple[bool, bool, str]:
    """Constants first, then classes, as the linter sorts them."""
    return not name.isupper(), not name[0].isupper(), name.lower()


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    spec = node.args
    positional = [each.arg for each in spec.args[1:]]
    named = [f"{each.arg}={each.arg}" for each in spec.kwonlyargs if each.arg not in DROPPED_PARAMETERS]
    return [*positional, *named]


def callbacks(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Parameters that take a function of the caller's, which is called on the caller's thread."""
    return [
        each.arg
        for each in node.args.kwonlyargs
        if each.annotation is not None and re.match(r"Callable\[.*\], (object|None)\]", ast.unparse(each.annotation))
    ]


def returning(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return "" if node.returns is not None and ast.unparse(node.returns) in ("None", "NoReturn") else "return "


def call(before: str, values: list[str]) -> list[str]:
    """A call in a method's body the way the formatter breaks it: on one line, on three, or one argument a line."""
    joined = ", ".join(values)
    if len(f"        {before}({joined})") <= LINE_LIMIT:
        return [f"        {before}({joined})"]
    if len(f"            {joined}") <= LINE_LIMIT:
        return [f"        {before}(", f"            {joined}", "        )"]
    return [f"        {before}(", *[f"            {value}," for value in values], "        )"]


def package(facades: dict[str, Facade], root: Path) -> str:
    """`omi_sync/__init__.py`: the names of `omi_async`, with the synchronous classes in their places."""
    source = Source("omi_async/__init__.py", (root / "omi_async/__init__.py").read_text(encoding="utf-8"))
    exported: list[str] = []
    at_once: set[str] = set()
    for node in source.tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                exported = ast.literal_eval(node.value)
            case ast.ImportFrom():
                at_once.update(alias.name for alias in node.names)
    if not exported:
        raise RefusedError("omi_async/__init__.py: no __all__")
    made = {facade.old: facade.new for facade in facades.values()}
    homes = {facade.new: Path(path).stem for path, facade in facades.items()}
    shared = [name for name in exported if name not in made]
    names = sorted([*shared, *made.values()])
    client = made["AsyncOmiClient"]

    def imported(wanted: list[str], indent: str = "") -> list[str]:
        names = sorted(wanted, key=_by_kind)
        return [f"{indent}from omi_async import (", *[f"{indent}    {name}," for name in names], f"{indent})"]

    lines = [
        f"# Made from omi_async/__init__.py by: {COMMAND}",
        "# Change the original and run it again; changes made here are lost.",
        "",
        '"""Synchronous client for the Omi Developer API: `omi_async` on a private event loop.',
        "",
        "PYTEST_DONT_REWRITE: pytest would warn a program that imports this package before it runs pytest.",
        '"""',
        "",
        "from typing import TYPE_CHECKING",
        "",
        "import omi_async",
        *imported([name for name in shared if name in at_once]),
        "from omi_async._late import load as _load",
        "",
        f"from .{homes[client]} import {client}",
        "",
        "if TYPE_CHECKING:",
        *imported([name for name in shared if name not in at_once], "    "),
        "",
        *sorted(f"    from .{home} import {name}" for name, home in homes.items() if name != client),
        "",
        "__all__ = [",
        *[f'    "{name}",' for name in names],
        "]",
        "",
        "# Names that are loaded when they are first used, and their files. All others are those of omi_async.",
        "_HOMES = {",
        *sorted(f'    "{name}": "omi_sync.{home}",' for name, home in homes.items() if name != client),
        "}",
        "",
        "",
        "def __getattr__(name: str) -> object:",
        "    home = _HOMES.get(name)",
        "    if home is None and name not in __all__:",
        '        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")',
        "    value: object = getattr(omi_async if home is None else _load(home), name)",
        "    globals()[name] = value",
        "    return value",
        "",
        "",
        "def __dir__() -> list[str]:",
        "    return sorted({*globals(), *__all__})",
    ]
    return "\n".join(lines) + "\n"


def render(root: Path = ROOT) -> dict[str, str]:
    """Every generated file and its text."""

    def source(path: str) -> Source:
        return Source(path, (root / path).read_text(encoding="utf-8"))

    facades = {}
    for path, (old, new, made, docstring) in CLASSES.items():
        facades[made] = Facade(source(path), old, new, docstring)
    for each in resources(source(CLIENT)):
        docstring = f"The {each.attribute.replace('_', ' ')} resource for synchronous code."
        facades[f"omi_sync/{each.attribute}.py"] = Facade(
            source(each.path), each.old, renamed(each.old), docstring, each.attribute
        )
    files = {made: facade.render() for made, facade in facades.items()}
    files["omi_sync/__init__.py"] = package(facades, root)
    return files


def differences(root: Path = ROOT) -> list[str]:
    """What is stale, missing or superfluous on disk, in words; empty when all is fresh."""
    found: list[str] = []
    files = render(root)
    for name, text in files.items():
        path = root / name
        old = path.read_bytes().decode() if path.exists() else ""
        if old != text:
            found.extend(
                difflib.unified_diff(old.splitlines(), text.splitlines(), name, f"{name} (fresh)", lineterm="")
            )
            found.append(f"{name} is not fresh: run {COMMAND}")
    for path in sorted((root / "omi_sync").glob("*.py")):
        name = f"omi_sync/{path.name}"
        if name not in files and path.read_text(encoding="utf-8").startswith("# Made from "):
            found.append(f"{name} is made by nothing any more: delete it")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the synchronous side from the asynchronous one.")
    parser.add_argument("--check", action="store_true", help="compare with what is there, write nothing")
    options = parser.parse_args()
    if options.check:
        found = differences()
        print("\n".join(found) or "omi_sync is fresh")
        return 1 if found else 0
    for name, text in render().items():
        (ROOT / name).write_bytes(text.encode())
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
