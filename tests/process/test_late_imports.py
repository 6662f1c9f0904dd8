"""Fork in the middle of a late import: the fork waits for its end, and the child has the whole module."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.inside import LATE_NAMES, ROOMS
from tests.support.raw import Exchange, RawServer, answer, in_thread
from tests.support.scale import FULL, times
from tests.support.subprocesses import STRICT, run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# Python 3.12 and later warn of every fork among threads; that it works here is what these tests are about.
_OPTIONS = (*STRICT, "-W", "ignore:This process:DeprecationWarning")

_PROGRAM = '''
import sys

url, side, what, folder, number = sys.argv[1:]
if side == "async":
    import omi_async as package
    from omi_async import AsyncOmiClient, RetryPolicy
else:
    import omi_sync as package
    from omi_sync import OmiClient, RetryPolicy
import asyncio, faulthandler, os, signal, socket, threading, traceback  # later than the package

# What is used, each in a way that loads something for it. A process is told from all others by its id.


async def call_asynchronously(base_url):
    async with AsyncOmiClient(base_url=base_url, retry=RetryPolicy(initial=0)) as client:
        name = f"conv_{os.getpid()}_{threading.get_ident()}"
        if what == "journal":
            path = os.path.join(folder, name)
            return [outcome.id async for outcome in client.conversations.delete_many([name], journal=path)] == [name]
        return (await client.conversations.get(name)).id == name


def call(base_url):
    if side == "async":
        return asyncio.run(call_asynchronously(base_url))
    with OmiClient(base_url=base_url, retry=RetryPolicy(initial=0)) as client:
        name = f"conv_{os.getpid()}_{threading.get_ident()}"
        if what == "journal":
            path = os.path.join(folder, name)
            return [outcome.id for outcome in client.conversations.delete_many([name], journal=path)] == [name]
        return client.conversations.get(name).id == name


def lookup(host, port, *_, **__):
    """As Python does it, but for the system's part: that can hang in a child that was forked in the middle of it."""
    assert host.encode("idna") == b"localhost"
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]


def use():
    kind, _, name = what.partition(" ")
    match kind:
        case "room":
            client = AsyncOmiClient() if side == "async" else OmiClient()
            return getattr(client, name) is getattr(client, name)
        case "name":
            return getattr(package, name).__name__ == name
        case "sandbox":
            with package.Sandbox() as sandbox, OmiClient(sandbox.api_key, base_url=sandbox.url) as client:
                return client.conversations.get(next(iter(sandbox.conversations))).id in sandbox.conversations
        case "lookups":
            socket.getaddrinfo = lookup
            return call(url.replace("127.0.0.1", "localhost"))
        case _:
            return call(url)


class Finder:
    """Sees each import that begins, and holds up one of them until a fork has begun."""

    def __init__(self, held):
        self.held, self.found = held, []
        self.reached, self.forking = threading.Event(), threading.Event()

    def find_spec(self, name, path=None, target=None):
        self.found.append(name)
        if len(self.found) == self.held:
            self.reached.set()
            self.forking.wait()


def child(work):
    """Do work in a child that says what is wrong and where it hangs; gives back its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(40)
    try:
        code = 0 if work() else 2
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def count(end):
    """Tell which modules are looked for when it is used. None of them may register for a fork, which may be waiting."""
    finder, registered = Finder(0), []
    os.register_at_fork = lambda **functions: registered.extend(functions.keys() - {"after_in_child"})
    sys.meta_path.insert(0, finder)
    good = use()
    os.write(end, "\\n".join(finder.found).encode())
    return good and not registered


def fork_in_the_middle(held):
    """Use it on a thread, and fork while the import that is so many modules deep is under way."""
    finder, results = Finder(held), []
    sys.meta_path.insert(0, finder)
    os.register_at_fork(before=finder.forking.set)  # before all that was registered earlier
    thread = threading.Thread(target=lambda: results.append(use()))
    thread.start()
    finder.reached.wait()
    code = child(use)
    thread.join()
    return code == 0 and results == [True]


faulthandler.register(signal.SIGALRM, chain=True)
reading, writing = os.pipe()
assert child(lambda: count(writing)) == 0
os.close(writing)
with os.fdopen(reading) as told:
    found = told.read().split()
assert found, "nothing is loaded late"
number = int(number)
codes = [child(lambda: fork_in_the_middle(1 + (fork * len(found)) // number)) for fork in range(number)]
print(*found)
print(set(codes))
'''

# What is loaded late, and a module by which it is known. A test of its own has the late names of the packages.
_LATE = {
    ("async", "cattrs"): "cattrs",
    ("sync", "cattrs"): "cattrs",
    ("async", "tenacity"): "tenacity",
    ("sync", "tenacity"): "tenacity",
    ("async", "journal"): "sqlite3",
    ("sync", "journal"): "sqlite3",
    ("async", "lookups"): "encodings.idna",
    ("sync", "lookups"): "encodings.idna",
    ("sync", "sandbox"): "omi_async.sandbox",
    **{("async", f"room {room}"): f"omi_async.resources.{room}" for room in ROOMS},
    **{("sync", f"room {room}"): f"omi_sync.{room}" for room in ROOMS},
}


_NEEDED = {"omi_async.models.shared"}
"""Files with names that are late for nobody: the client itself needs them."""


class _Server:
    """Succeeds, after a failure of each new name if it is told to fail."""

    def __init__(self, *, failing: bool) -> None:
        self._failing = failing
        self._known: set[str] = set()

    async def __call__(self, exchange: Exchange) -> None:
        if self._failing and exchange.name not in self._known:
            self._known.add(exchange.name)
            await exchange.send(answer(503))
        else:
            await exchange.succeed()


def _fork(side: str, what: str, forks: int, folder: Path) -> list[str]:
    """Fork so often in the middle of what is loaded late; the modules that are."""
    with in_thread(RawServer(_Server(failing=what == "tenacity"))) as server:
        limit = 60 + forks * 5
        result = run(_PROGRAM, server.url, side, what, folder, forks, options=_OPTIONS, limit=limit).check()
    assert "{0}" == result.lines[1]
    return result.lines[0].split()


@pytest.mark.figure
@pytest.mark.scenario(149)
@pytest.mark.parametrize(("side", "what"), _LATE)
def test_fork_in_the_middle(side: str, what: str, tmp_path: Path, figure: Callable[..., None]) -> None:
    """Whichever module of a late import is just being loaded, parent and child of a fork both use it afterwards."""
    forks = times(200)
    modules = _fork(side, what, forks, tmp_path)
    assert _LATE[side, what] in modules
    figure(f"fork while loading, {side}, {what}", forks=forks, modules=len(modules), hung=0)


@pytest.mark.parametrize(
    ("side", "name"),
    [(side, name) for side, homes in LATE_NAMES.items() for name in sorted(homes) if homes[name] not in _NEEDED],
)
def test_fork_while_a_public_name_is_loaded(side: str, name: str, tmp_path: Path) -> None:
    """A public name that is loaded when it is first asked for is whole after a fork in the middle of that, too."""
    _fork(side, f"name {name}", 3 if FULL else 1, tmp_path)


@pytest.mark.scenario(158)
@pytest.mark.parametrize(
    ("failing", "expected"),
    [(False, ["ClientClosedError unknown 1"]), (True, ["ServerError unknown 1"])],
    ids=["to read the answer", "to try again"],
)
def test_late_import_at_the_end_of_the_program(failing: bool, expected: list[str]) -> None:
    """A write that was sent while the program ended, when nothing can be imported any more, ends unknown."""
    source = """
        import asyncio, sys
        from omi_async import AsyncOmiClient, OmiError

        class End:
            def find_spec(self, name, path=None, target=None):
                raise ImportError("sys.meta_path is None, Python is likely shutting down")

        async def main():
            async with AsyncOmiClient(base_url=sys.argv[1]) as client:
                await client.conversations.delete("before")
                sys.meta_path.insert(0, End())
                finalizing, sys.is_finalizing = sys.is_finalizing, lambda: True
                try:
                    await client.conversations.update("conv_1", title="x")
                except OmiError as error:
                    print(type(error).__name__, error.outcome, error.attempts)
                sys.is_finalizing = finalizing

        asyncio.run(main())
        """

    async def script(exchange: Exchange) -> None:
        if failing and exchange.method == "PATCH":
            await exchange.send(answer(503))
        else:
            await exchange.succeed()

    with in_thread(RawServer(script)) as server:
        result = run(source, server.url).check()
        assert (expected, 2) == (result.lines, len(server.log))


@pytest.mark.parametrize(
    "loaded",
    ["", "omi_async.models.conversations", "omi_async._protocol.convert", "omi_async.models.schemas"],
    ids=lambda name: name.rpartition(".")[2] or "nothing",
)
def test_loaded_while_time_is_frozen(loaded: str) -> None:
    """Libraries such as freezegun change the class datetime for a while, in which a module may be loaded: that one
    module has another class than the others from then on, and calls succeed all the same."""
    source = """
        import datetime, importlib, sys
        from pydantic import TypeAdapter  # before, as in a program that is under test
        import omi_sync

        genuine = datetime.datetime

        class Kind(type):
            def __instancecheck__(cls, value):
                return isinstance(value, genuine)

            def __subclasscheck__(cls, other):
                return issubclass(other, genuine)

        class Frozen(genuine, metaclass=Kind):
            pass

        url, loaded = sys.argv[1:]
        datetime.datetime = Frozen
        if loaded:
            importlib.import_module(loaded)
            datetime.datetime = genuine
        with omi_sync.OmiClient(base_url=url) as client:
            read = client.conversations.get("conv_1")
            print(client.conversations.update("conv_1", title="x").structured.title)
        data = omi_sync.to_dict(read)
        print(omi_sync.from_dict(omi_sync.Conversation, data) == read)
        print(TypeAdapter(omi_sync.Conversation).validate_python(data) == read)
        """
    with in_thread(RawServer(lambda exchange: exchange.succeed())) as server:
        assert ["x", "True", "True"] == run(source, server.url, loaded).check().lines
