"""What surrounds a call: context variables, the machine's limits, other event loops, the caller's own functions."""

import asyncio
import contextvars
import importlib.util
import sys
import threading
import time
from typing import Any

import attrs
import pytest

from omi_async import AsyncOmiClient, OmiError, RetryPolicy
from omi_sync import OmiClient
from tests.support import inside
from tests.support.raw import Exchange, RawServer, Script, answer, in_thread, success
from tests.support.sides import KEY, Side
from tests.support.subprocesses import DEVELOPMENT, STRICT, run

_request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="nobody")


async def _succeed(exchange: Exchange) -> None:
    await exchange.succeed()


def _busy_at_first() -> Script:
    """Fails every other request for the same id, beginning with the first."""
    failed: set[str] = set()

    async def script(exchange: Exchange) -> None:
        if exchange.path in failed:
            failed.discard(exchange.path)
            await exchange.succeed()
        else:
            failed.add(exchange.path)
            await exchange.send(answer(503))

    return script


# Context variables


@pytest.mark.scenario(160)
async def test_context_of_the_caller(side: Side, operation: str) -> None:
    """A call sees the context variables of whoever makes it, and what it changes in them does not come back."""
    seen: list[str] = []

    async def sleep(_: float) -> None:
        seen.append(_request.get())
        _request.set("changed on the way")

    async with RawServer(_busy_at_first()) as server:
        client = side.client(server.url, retry=RetryPolicy(sleep=sleep))
        for name in ("first", "second"):
            token = _request.set(name)
            # A task of its own for the asynchronous side; the synchronous one must need none.
            await asyncio.create_task(side.call(client, operation, name))
            assert name == _request.get()
            _request.reset(token)
        await asyncio.create_task(side.call(client, operation, "third"))
    assert ["first", "second", "nobody"] == seen


@pytest.mark.scenario(160)
def test_contexts_of_many_threads() -> None:
    """Each thread's calls see that thread's context only, the one that started the loop included."""
    seen: dict[str, set[str]] = {}
    together = threading.Barrier(6)
    client: OmiClient

    async def sleep(_: float) -> None:
        seen.setdefault(_request.get(), set()).add(str(asyncio.current_task()))

    def work(name: str) -> None:
        if name:
            _request.set(name)
        together.wait(30)
        for number in range(3):
            client.conversations.delete(f"{name}_{number}")
        assert (name or "nobody") == _request.get()

    with in_thread(RawServer(_busy_at_first())) as server:
        client = OmiClient(KEY, base_url=server.url, retry=RetryPolicy(sleep=sleep))
        names = ["a", "b", "c", "d", "e", ""]
        threads = [threading.Thread(target=work, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
    assert {"a": 3, "b": 3, "c": 3, "d": 3, "e": 3, "nobody": 3} == {name: len(tasks) for name, tasks in seen.items()}


@pytest.mark.scenario(160)
def test_facade_leaves_the_callers_context_alone() -> None:
    """A synchronous call adds no variable to the caller's context and changes none."""
    with in_thread(RawServer(_succeed)) as server, OmiClient(KEY, base_url=server.url) as client:
        before = dict(contextvars.copy_context().items())
        client.conversations.delete("conv_1")
        assert before == dict(contextvars.copy_context().items())


# Out of file descriptors

_EXHAUST = """
import asyncio, os, resource, sys, threading
from omi_async import AsyncOmiClient, OmiError, RetryPolicy
from omi_sync import OmiClient

url, operation, kind, warm = sys.argv[1:]
taken = []

def exhaust():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        pass

def relieve():
    while taken:
        os.close(taken.pop())

def arguments(name):
    return {"title": name} if operation == "update" else {}

def report(error):
    print(type(error).__name__, error.outcome, error.attempts)

def use():
    client = OmiClient(base_url=url, retry=RetryPolicy.never())
    call = getattr(client.conversations, operation)
    if warm == "warm":
        call("before", **arguments("before"))
        client._bridge.run(asyncio.sleep(0.01))  # the loop closes the connection behind the answer
    exhaust()
    try:
        call("during", **arguments("during"))
    except OmiError as error:
        report(error)
    relieve()
    call("after", **arguments("after"))
    client.close()

async def use_async():
    async with AsyncOmiClient(base_url=url, retry=RetryPolicy.never()) as client:
        call = getattr(client.conversations, operation)
        await call("before", **arguments("before"))
        exhaust()
        try:
            await call("during", **arguments("during"))
        except OmiError as error:
            report(error)
        relieve()
        await call("after", **arguments("after"))

if kind == "sync":
    use()
else:
    asyncio.run(use_async())
print(threading.active_count())
"""


async def _once(exchange: Exchange) -> None:
    """Answer and close, so that the next call needs a connection of its own."""
    await exchange.send(success(exchange).replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
    exchange.close()


@pytest.mark.scenario(162)
@pytest.mark.skipif(sys.platform != "linux", reason="sets the limit of file descriptors")
@pytest.mark.parametrize(
    ("kind", "warm"),
    [
        ("async", "warm"),
        ("sync", "warm"),
        ("sync", "cold"),
    ],
)
def test_out_of_file_descriptors(operation: str, kind: str, warm: str) -> None:
    """Out of file descriptors, a call fails as one that was not sent; once there are some again, calls work."""
    with in_thread(RawServer(_once)) as server:
        result = run(_EXHAUST, server.url, operation, kind, warm, limit=30 if warm == "warm" else 3)
        names = [exchange.path.rpartition("/")[2] for exchange in server.log]
    kinds = ["TransportError not_applied 1"] if warm == "warm" else ["TransportError not_applied 0"]
    # Where the loop could not be made, Python itself remarks on the half of it.
    assert (0, "" if warm == "warm" else result.err) == (result.code, result.err)
    assert [*kinds, "1"] == result.lines
    assert (["before"] if warm == "warm" else []) + ["after"] == names


# Out of memory


@pytest.mark.scenario(163)
@pytest.mark.parametrize("place", ["decoding", "reading"])
async def test_out_of_memory(side: Side, operation: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A MemoryError while an answer is read or decoded comes out as it is, is not retried, and the client goes on."""

    async def read_nothing(*_: object) -> Any:
        raise MemoryError

    def decode_nothing(_: object) -> Any:
        raise MemoryError

    async def script(exchange: Exchange) -> None:
        cut = -5 if place == "reading" and exchange.number == 2 else None
        await exchange.send(success(exchange)[:cut])

    async with RawServer(script) as server:
        client = side.client(server.url, max_connections=1)
        await side.call(client, operation)
        with monkeypatch.context() as patch:
            if place == "reading":
                patch.setattr(inside.direct, "read", read_nothing)
                patch.setattr(inside.session, "read", read_nothing)
            else:
                patch.setattr(inside.meaning, "parse", decode_nothing)
                patch.setattr(inside.collection, "parse_carefully", decode_nothing)
            with pytest.raises(MemoryError):
                await side.call(client, operation)
        assert 2 == len(server.log)
        await side.call(client, operation)
        # A connection whose answer was not read to its end is not used again.
        assert (2 if place == "reading" else 1) == server.connections


# Other event loops and modes

_EVERYTHING = """
import asyncio, sys
from omi_async import AsyncOmiClient, OmiError, RetryPolicy, Timeout
from omi_sync import OmiClient

url, loop = sys.argv[1:]

if loop == "uvloop":
    import uvloop
    factory = uvloop.new_event_loop
else:
    def factory():
        made = asyncio.new_event_loop.original()
        if loop == "eager":
            made.set_task_factory(asyncio.eager_task_factory)
        return made

# The private loop of the synchronous client is made the way asyncio makes all its loops.
class Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        asyncio.new_event_loop.original = super().new_event_loop
        return factory()

asyncio.set_event_loop_policy(Policy())
policy = RetryPolicy(initial=0.0)

async def outcome(awaitable):
    try:
        result = await awaitable
    except OmiError as error:
        return f"{type(error).__name__} {error.outcome} {error.attempts}"
    except asyncio.CancelledError:
        return "cancelled"
    return f"{type(result).__name__} {getattr(result, 'confirmed', getattr(result, 'id', None))}"

async def cancelled(client):
    task = asyncio.ensure_future(outcome(client.conversations.delete("hang")))
    await asyncio.sleep(0.03)
    task.cancel()
    return await task

async def on_async_side():
    async with AsyncOmiClient(base_url=url, retry=policy) as client:
        for name in ("fine", "missing", "busy", "lost", "cut"):
            print(name, await outcome(client.conversations.update(name, title="x")))
            print(name, await outcome(client.conversations.delete(name)))
        print("hang", await outcome(client.conversations.delete("hang", timeout=0.3)))
        print("hang", await cancelled(client))
        results = await asyncio.gather(*[outcome(client.conversations.delete(f"c_{n}")) for n in range(20)])
        print(set(results))
        print(len(asyncio.all_tasks()))
    print((await outcome(client.conversations.delete("closed"))).rstrip(" 01"))

def sync_outcome(call, *arguments, **settings):
    try:
        result = call(*arguments, **settings)
    except OmiError as error:
        return f"{type(error).__name__} {error.outcome} {error.attempts}"
    return f"{type(result).__name__} {getattr(result, 'confirmed', getattr(result, 'id', None))}"

def on_sync_side():
    with OmiClient(base_url=url, retry=policy) as client:
        for name in ("fine", "missing", "busy", "lost", "cut"):
            print(name, sync_outcome(client.conversations.update, name, title="x"))
            print(name, sync_outcome(client.conversations.delete, name))
        print("hang", sync_outcome(client.conversations.delete, "hang", timeout=0.3))
    print(sync_outcome(client.conversations.delete, "closed").rstrip(" 01"))

asyncio.run(on_async_side())
on_sync_side()
"""

_EACH = [
    "fine Conversation fine",
    "fine Deletion True",
    "missing NotFoundError not_applied 1",
    "missing NotFoundError not_applied 1",
    "busy Conversation busy",
    "busy Deletion True",
    "lost NotFoundError unknown 2",
    "lost Deletion False",
    "cut ResponseError unknown 3",
    "cut ResponseError unknown 3",
    "hang RequestTimeoutError unknown 1",
]

_EXPECTED = [
    *_EACH,
    "hang cancelled",
    "{'Deletion True'}",
    "1",
    "ClientClosedError not_applied",
    *_EACH,
    "ClientClosedError not_applied",
]


def _by_name() -> Script:
    """Does what the id says; "busy" and "lost" only with every other request."""
    failed: set[tuple[str, str]] = set()

    async def script(exchange: Exchange) -> None:
        name, which = exchange.path.rpartition("/")[2], (exchange.method, exchange.path)
        again = which in failed
        (failed.discard if again else failed.add)(which)
        match name:
            case "missing":
                await exchange.send(answer(404, {"detail": "Conversation not found"}))
            case "busy" if not again:
                await exchange.send(answer(503))
            case "lost":
                if again:
                    await exchange.send(answer(404, {"detail": "Conversation not found"}))
                else:
                    exchange.reset()
            case "cut":
                await exchange.send(answer(200, b'{"id": "cut", '))
            case "hang":
                await exchange.hang()
            case _:
                await exchange.succeed()

    return script


@attrs.frozen
class _Mode:
    loop: str = "default"
    options: tuple[str, ...] = STRICT
    env: dict[str, str] = attrs.field(factory=dict)


_MODES = {
    "default": _Mode(),
    "development": _Mode(options=DEVELOPMENT),
    "asyncio's debug mode": _Mode(env={"PYTHONASYNCIODEBUG": "1"}),
    "optimised": _Mode(options=(*STRICT, "-OO")),
    "aiohttp without extensions": _Mode(env={"AIOHTTP_NO_EXTENSIONS": "1"}),
    "eager tasks": _Mode("eager"),
    "eager tasks, development": _Mode("eager", options=DEVELOPMENT),
    "uvloop": _Mode("uvloop"),
}


def _skips(mode: _Mode) -> list[pytest.MarkDecorator]:
    if mode.loop == "uvloop":
        return [pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")]
    if mode.loop == "eager":
        return [pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")]
    return []


@pytest.mark.scenario(164)
@pytest.mark.parametrize("mode", [pytest.param(mode, marks=_skips(mode), id=name) for name, mode in _MODES.items()])
def test_same_results_in_every_mode(mode: _Mode) -> None:
    """Whatever event loop and mode a program runs in, its calls end the same."""
    with in_thread(RawServer(_by_name())) as server:
        result = run(_EVERYTHING, server.url, mode.loop, options=mode.options, env=mode.env)
    assert _EXPECTED == result.lines, result.err
    result.check()


# The caller's own functions: sleep, clock and random of a RetryPolicy


class _HookError(Exception):
    pass


@pytest.mark.scenario(165)
@pytest.mark.parametrize(
    "hook",
    [
        "sleep",
        "clock",
        "random",
    ],
)
async def test_policy_function_that_raises(side: Side, operation: str, hook: str) -> None:
    """What a function of the policy raises, whenever it does, comes out as it is, and nothing stays taken."""
    count, fatal = 0, 0

    def called(name: str) -> None:
        nonlocal count
        if name == hook:
            count += 1
            if count == fatal:
                raise _HookError

    async def sleep(_: float) -> None:
        called("sleep")

    def clock() -> float:
        called("clock")
        return time.monotonic()

    def random() -> float:
        called("random")
        return 0.0

    async with RawServer(_busy_at_first()) as server:
        client = side.client(
            server.url, max_connections=1, retry=RetryPolicy(sleep=sleep, clock=clock, random=random), timeout=20
        )
        transport = (client if isinstance(client, AsyncOmiClient) else client._bridge.target)._transport
        await side.call(client, operation, "counted")
        problems, most = [], count
        assert most >= 1
        for at in range(1, most + 1):
            count, fatal = 0, at
            try:
                await side.call(client, operation, f"c_{at}")
            except _HookError:
                pass
            else:
                problems.append(f"call {at} of {hook} was not noticed")
            fatal = 0
            if transport.pool.place.slots.locked():
                problems.append(f"call {at} of {hook} keeps the connection's place")
                transport.pool.place.slots.release()
        await side.call(client, operation, "after")
    assert [] == problems


@pytest.mark.scenario(165)
@pytest.mark.parametrize(
    "hook",
    [
        "sleep",
        "random",
    ],
)
async def test_error_of_another_call_in_a_policy_function(side: Side, operation: str, hook: str) -> None:
    """An error that escapes from another call made inside a policy function is not mistaken for this call's own.

    The first attempt went unanswered, so the write may have happened, whatever went wrong afterwards.
    """

    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("missing"):
            await exchange.send(answer(404, {"detail": "Conversation not found"}))
        elif exchange.number == 1:
            exchange.reset()
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        facade = OmiClient(KEY, base_url=server.url)

        async def sleep(_: float) -> None:
            if hook == "sleep":
                async with AsyncOmiClient(KEY, base_url=server.url) as nested:
                    await nested.conversations.delete("missing")

        def random() -> float:
            if hook == "random":
                # Refused before the wire: the server, which may be served by this very loop, cannot answer now.
                facade.conversations.delete("/")
            return 0.0

        client = side.client(server.url, retry=RetryPolicy(sleep=sleep, random=random))
        try:
            with pytest.raises(OmiError) as caught:
                await side.call(client, operation)
        finally:
            await asyncio.to_thread(facade.close)
        error = caught.value
        assert "unknown" == error.outcome
        assert f"conversations.{operation}" == error.operation


@pytest.mark.scenario(165)
def test_policy_function_that_blocks(operation: str) -> None:
    """A policy function that blocks keeps the loop waiting, and changes nothing about how the calls end."""

    def random() -> float:
        time.sleep(0.02)
        return 0.0

    with (
        in_thread(RawServer(_busy_at_first())) as server,
        OmiClient(KEY, base_url=server.url, retry=RetryPolicy(random=random)) as client,
    ):
        results: list[object] = []
        threads = [
            threading.Thread(target=lambda n=n: results.append(client.conversations.delete(f"c_{n}"))) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (4, 8) == (len(results), len(server.log))
