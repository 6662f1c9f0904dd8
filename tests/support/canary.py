"""Looks for secrets wherever an error, an object or a program's output can show them.

Secrets are recognisable texts ("canaries"). A channel is one way in which people or programs look at an object;
`channels` goes through all of them, `Watch` collects what is written meanwhile, `paths` walks through the insides.
"""

import asyncio
import copy
import functools
import json
import logging
import pickle
import pprint
import re
import traceback
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest

import omi_async
import omi_sync
from omi_async import OmiError

_OURS = tuple(str(Path(str(package.__file__)).parent) for package in (omi_async, omi_sync))
_TESTS = str(Path(__file__).parents[1])
_METHODS = re.compile(r"/omi_async/resources/\w+\.py$|/omi_sync/[a-z]\w*\.py$")
"""Files of the public methods, whose frames show the arguments that the caller's own frame shows as well."""


def below_the_call(tb: types.TracebackType | None) -> types.TracebackType | None:
    """A traceback from the first frame of this project on, without the frames that have the caller's arguments."""
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_TESTS):
        tb = tb.tb_next
    here = tb
    while here is not None:
        if here.tb_frame.f_code.co_filename.startswith(_OURS):
            return _without_methods(here)
        here = here.tb_next
    return tb


def _without_methods(tb: types.TracebackType | None) -> types.TracebackType | None:
    if tb is None:
        return None
    below = _without_methods(tb.tb_next)
    if _METHODS.search(tb.tb_frame.f_code.co_filename):
        return below
    return types.TracebackType(below, tb.tb_frame, tb.tb_lasti, tb.tb_lineno)


def chain(error: BaseException) -> list[BaseException]:
    """The error and everything that hangs on it: causes, contexts (suppressed ones too), members of groups."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or any(each is other for other in found):
            continue
        found.append(each)
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
    return found


def _attributes(error: BaseException) -> str:
    names = [name for name in dir(error) if name not in ("__traceback__", "__globals__")]
    return repr({name: getattr(error, name, None) for name in names if not callable(getattr(error, name, None))})


def _pickled(error: BaseException) -> str:
    return "".join(pickle.dumps(error, protocol).decode("latin-1") for protocol in range(pickle.HIGHEST_PROTOCOL + 1))


def _lines(error: BaseException, *, with_locals: bool) -> str:
    shown = traceback.TracebackException(
        type(error), error, below_the_call(error.__traceback__), capture_locals=with_locals, max_group_width=100
    )
    # The chain is walked by ourselves, each of its errors from the right frame on.
    shown.__cause__ = shown.__context__ = None
    if hasattr(shown, "exceptions"):
        shown.exceptions = None
    return "".join(shown.format(chain=False))


def _locals(error: BaseException) -> str:
    """The frames as a debugger or a crash reporter lays them out, objects opened by one level."""
    shown: list[str] = []
    for frame, _ in traceback.walk_tb(below_the_call(error.__traceback__)):
        for value in frame.f_locals.values():
            shown += [pprint.pformat(value), pprint.pformat(getattr(value, "__dict__", None))]
    return "\n".join(shown)


def as_pytest_shows_it(error: BaseException) -> str:
    """The report of `pytest --showlocals -vv`; slow, because it parses every source file again."""
    whole = error.__traceback__
    seen = below_the_call(whole)
    assert seen is not None
    try:
        report = pytest.ExceptionInfo.from_exc_info((type(error), error, seen)).getrepr(
            showlocals=True, style="long", tbfilter=False, funcargs=True, truncate_locals=False, truncate_args=False
        )
        return str(report)
    finally:
        error.__traceback__ = whole


def _logged(error: BaseException) -> str:
    record = logging.LogRecord("app", logging.ERROR, __file__, 1, "failed: %s %r", (error, error), None)
    record.exc_info = (type(error), error, below_the_call(error.__traceback__))
    error_chain = error.__cause__, error.__context__, error.__suppress_context__
    try:
        error.__cause__ = error.__context__ = None
        return logging.Formatter().format(record)
    finally:
        error.__cause__, error.__context__, error.__suppress_context__ = error_chain


CHANNELS: dict[str, Callable[[BaseException], str]] = {
    "str": str,
    "repr": repr,
    "format": lambda error: f"{error} {error!s:>9} {error!r} {error!a}",
    "percent": lambda error: "%s %r" % (error, error),  # noqa: UP031
    "args": lambda error: repr(error.args),
    "vars": lambda error: repr(vars(error)),
    "attributes": _attributes,
    "pprint": lambda error: pprint.pformat(vars(error)),
    "json": lambda error: json.dumps(vars(error), default=lambda value: [repr(value), str(value)]),
    "notes": lambda error: repr(getattr(error, "__notes__", [])),
    "pickle": _pickled,
    "copy": lambda error: repr(vars(copy.copy(error))),
    "deep copy": lambda error: repr(vars(copy.deepcopy(error))),
    "traceback": functools.partial(_lines, with_locals=False),
    "traceback with locals": functools.partial(_lines, with_locals=True),
    "locals": _locals,
    "log record": _logged,
}
"""Ways to look at one error; each is applied to every error of its chain."""

_NEED_PICKLE = {"pickle", "copy", "deep copy"}


def channels(error: BaseException) -> Iterator[tuple[str, str]]:
    """What each channel shows of an error and of the errors behind it."""
    for each in chain(error):
        for name, look in CHANNELS.items():
            if name in _NEED_PICKLE and not isinstance(each, OmiError):
                continue
            yield f"{name} of {type(each).__name__}", look(each)


def paths(start: object, *, limit: int = 200_000) -> Iterator[tuple[str, str]]:
    """Every text inside an object, as a debugger's tree view or a repeated `vars()` shows it, with its path.

    Functions are not opened (their cells are where a secret may live), nor is the event loop, which leads to
    everything else in the program.
    """
    closed = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType, types.FrameType)
    seen: dict[int, object] = {}
    waiting: list[tuple[str, object]] = [(type(start).__name__, start)]
    while waiting and len(seen) < limit:
        path, here = waiting.pop()
        if id(here) in seen or isinstance(here, (*closed, asyncio.AbstractEventLoop, asyncio.BaseTransport)):
            continue
        seen[id(here)] = here
        if isinstance(here, str):
            yield path, here
        elif isinstance(here, (bytes, bytearray)):
            yield path, bytes(here).decode("latin-1")
        else:
            if type(here) not in (dict, list, tuple, set, frozenset):  # those are shown piece by piece
                yield path, repr(here)
            if isinstance(here, types.MethodType):
                waiting.append((f"{path}.__self__", here.__self__))
            if isinstance(here, Mapping):
                waiting += [(f"{path}[{key!r}]", value) for key, value in list(here.items())]
                waiting += [(f"{path} key", key) for key in list(here)]
            elif isinstance(here, (list, tuple, set, frozenset)):
                waiting += [(f"{path}[]", value) for value in list(here)]
            waiting += [(f"{path}.{name}", value) for name, value in _members(here)]


def _members(thing: object) -> Iterator[tuple[str, object]]:
    yield from list(getattr(thing, "__dict__", {}).items())
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            mangled = f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") else name
            if name not in ("__weakref__", "__dict__"):
                try:
                    yield name, getattr(thing, mangled)
                except Exception:
                    continue


class Watch(logging.Handler):
    """Everything that is logged or warned of meanwhile, in the most talkative mode there is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[tuple[str, str]] = []
        self._monkeypatch = monkeypatch
        self._warnings = warnings.catch_warnings(record=True)

    @staticmethod
    def overhear(loop: asyncio.AbstractEventLoop) -> None:
        """Let a loop log every callback with its arguments, however quick."""
        loop.set_debug(True)
        loop.slow_callback_duration = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if record.threadName == "raw-server":  # the server may say what it was sent
            return
        self.texts.append((f"log of {record.name}", logging.Formatter().format(record)))
        self.texts.append((f"log record of {record.name}", repr(vars(record))))

    def __enter__(self) -> Self:
        # For the loops of synchronous clients, which are yet to be made.
        self._monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
        self._loop = asyncio.get_running_loop()
        self._before = self._loop.get_debug(), logging.root.level, self._loop.slow_callback_duration
        self.overhear(self._loop)
        logging.root.setLevel(logging.DEBUG)
        logging.root.addHandler(self)
        self.caught = self._warnings.__enter__()
        warnings.simplefilter("always")
        return self

    def __exit__(self, *_: object) -> None:
        self._warnings.__exit__(None, None, None)  # type: ignore[no-untyped-call, unused-ignore]
        logging.root.removeHandler(self)
        debug, level, duration = self._before
        self._loop.set_debug(debug)
        self._loop.slow_callback_duration = duration
        logging.root.setLevel(level)
        for warning in self.caught or ():
            self.texts.append(("warning", f"{warning.message} {warning.message!r} {warning!s}"))


def hits(
    texts: Iterator[tuple[str, str]] | list[tuple[str, str]], canaries: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Which canary was seen where; the places are named, so that a failing test does not print the secret itself."""
    return [(name, where) for where, text in texts for name, canary in canaries.items() if canary in text]
