"""Many threads on one client, calls from the wrong thread, and a loop that dies."""

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import pytest

from omi_async import (
    AsyncOmiClient,
    ClientClosedError,
    EventLoopError,
    InvalidRequestError,
    NotFoundError,
    OmiError,
    RequestTimeoutError,
    RetryPolicy,
    ServerError,
    TransportError,
)
from omi_sync import OmiClient
from tests.support import specimens
from tests.support.inside import bridge
from tests.support.raw import Exchange, RawServer, answer, in_thread
from tests.support.scale import FULL, times
from tests.support.sides import KEY
from tests.support.subprocesses import run, wait_until


async def _fail_first(exchange: Exchange) -> None:
    if exchange.number % 2:
        await exchange.send(answer(503, {"detail": "busy"}))
    else:
        await exchange.succeed()


def _call(client: OmiClient, operation: str, name: str = "conv_1", **settings: Any) -> bool:
    """Whether a call was given its own answer, and not one meant for somebody else."""
    return specimens.id_of(specimens.call(client, operation, name, **settings)) == name


def _loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("omi-sync-")]


# Many threads


@pytest.mark.figure
@pytest.mark.scenario(151)
@pytest.mark.parametrize("threads", [20, 64])
def test_one_client_for_many_threads(operation: str, threads: int, figure: Callable[..., None]) -> None:
    """Threads that share a client each get their own answers, over one loop thread that is started once."""
    calls = max(5, times(1000 if threads == 64 else 200) // 4)
    started = threading.Barrier(threads)

    def work(number: int) -> list[bool]:
        started.wait(30)
        return [_call(client, operation, f"c_{number}_{each}") for each in range(calls)]

    before = set(_loop_threads())
    with (
        in_thread(RawServer(Exchange.succeed)) as server,
        OmiClient(KEY, base_url=server.url) as client,
        ThreadPoolExecutor(threads) as pool,
    ):
        results = list(pool.map(work, range(threads)))
        assert 1 == len(set(_loop_threads()) - before)
    assert [[True] * calls] * threads == results
    names = [exchange.path.rpartition("/")[2] for exchange in server.log]
    assert (threads * calls, threads * calls) == (len(names), len(set(names)))
    assert before == set(_loop_threads())
    figure(f"threads, {operation}", threads=threads, calls=threads * calls, crossed=0, lost=0)


@pytest.mark.scenario(151)
def test_clients_made_and_closed_in_a_storm() -> None:
    """Clients made, used and closed by many threads at once all work, and every loop thread ends."""
    rounds = 200 if FULL else 10

    def work(number: int) -> list[bool]:
        results = []
        for each in range(rounds):
            with OmiClient(KEY, base_url=server.url) as client:
                results.append(_call(client, "update", f"c_{number}_{each}"))
        return results

    before = set(_loop_threads())
    with in_thread(RawServer(Exchange.succeed)) as server, ThreadPoolExecutor(8) as pool:
        assert [[True] * rounds] * 8 == list(pool.map(work, range(8)))
        wait_until(lambda: server.open_connections == 0)
    assert before == set(_loop_threads())


@pytest.mark.scenario(151)
def test_one_policy_for_many_clients(operation: str) -> None:
    """Clients on several threads that share one retry policy retry independently of each other."""

    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    policy = RetryPolicy(sleep=sleep)
    seen: set[str] = set()

    async def script(exchange: Exchange) -> None:
        if exchange.path in seen:
            await exchange.succeed()
        else:
            seen.add(exchange.path)
            await exchange.send(answer(503))

    def work(number: int) -> bool:
        with OmiClient(KEY, base_url=server.url, retry=policy) as client:
            return all(_call(client, operation, f"c_{number}_{each}") for each in range(5))

    with in_thread(RawServer(script)) as server, ThreadPoolExecutor(8) as pool:
        assert [True] * 8 == list(pool.map(work, range(8)))
        assert 2 * 8 * 5 == len(server.log)


# The wrong thread


@pytest.mark.scenario(152)
@pytest.mark.parametrize("hook", ["sleep", "clock", "random", "log"])
def test_call_from_the_own_loop_thread(operation: str, hook: str) -> None:
    """A call or a close from the client's own loop thread is refused at once; the call it interrupts goes on."""
    refused: list[BaseException] = []
    logger = logging.getLogger("omi_async")

    def misuse() -> None:
        if threading.current_thread().name.startswith("omi-sync-"):
            for wrong in (lambda: _call(client, operation, "inner"), client.close):
                with pytest.raises(EventLoopError) as caught:
                    wrong()
                refused.append(caught.value)

    async def sleep(_: float) -> None:
        if hook == "sleep":
            misuse()

    def clock() -> float:
        if hook == "clock":
            misuse()
        return time.monotonic()

    def random() -> float:
        if hook == "random":
            misuse()
        return 0.0

    class Handler(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            if hook == "log":
                misuse()

    handler, level = Handler(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        policy = RetryPolicy(sleep=sleep, clock=clock, random=random)
        with in_thread(RawServer(_fail_first)) as server, OmiClient(KEY, base_url=server.url, retry=policy) as client:
            assert _call(client, operation)
            assert {"conv_1"} == {exchange.path.rpartition("/")[2] for exchange in server.log}
            assert 2 == len(server.log)
            assert not client.closed
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert len(refused) >= 2
    assert {("not_applied", 0)} == {(error.outcome, error.attempts) for error in refused if isinstance(error, OmiError)}


@pytest.mark.scenario(152)
def test_call_from_another_clients_loop_thread(operation: str) -> None:
    """One client may be called from another one's loop thread: that only keeps the other one waiting."""
    results = []

    def random() -> float:
        results.append(_call(inner, operation, "inner"))
        return 0.0

    with (
        in_thread(RawServer(_fail_first)) as server,
        in_thread(RawServer(Exchange.succeed)) as other,
        OmiClient(KEY, base_url=other.url) as inner,
        OmiClient(KEY, base_url=server.url, retry=RetryPolicy(random=random)) as outer,
    ):
        assert _call(outer, operation)
    assert [True] == results


@pytest.mark.scenario(153)
async def test_call_inside_a_running_loop(operation: str) -> None:
    """In a notebook or an async handler a synchronous call works; it keeps the caller's loop waiting, no more."""
    with in_thread(RawServer(Exchange.succeed)) as server:
        with OmiClient(KEY, base_url=server.url) as client:
            assert _call(client, operation)
            assert _call(client, operation)
        await asyncio.sleep(0)
        assert 2 == len(server.log)


# A loop that dies

_DYING = """
    import sys, threading, time
    from omi_sync import OmiClient, OmiError

    url, death = sys.argv[1:]
    threading.excepthook = lambda _: None  # the thread's own end is not what is looked at
    client = OmiClient(base_url=url)

    def say(what, call):
        begun = time.monotonic()
        try:
            call()
        except OmiError as error:
            result = f"{type(error).__name__} {error.outcome}"
        except Exception as error:
            result = repr(error)
        else:
            result = "fine"
        print(what, result, "late" if time.monotonic() - begun > 10 else "in time")

    threads = [
        threading.Thread(target=say, args=("pending", lambda: client.conversations.delete("conv_1")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    while "_thread" not in vars(client._bridge) or len(client._bridge.target._transport.pool.place.sending) < 3:
        time.sleep(0.001)
    loop = client._bridge._thread.loop
    loop.call_soon_threadsafe(loop.stop if death == "stopped" else sys.exit)
    for thread in threads:
        thread.join()
    loop_thread = client._bridge._thread._thread
    loop_thread.join()
    say("new", lambda: client.conversations.delete("conv_1"))
    say("new", lambda: client.conversations.update("conv_1", discarded=True))
    say("close", client.close)
    print(client.closed)
    """


@pytest.mark.scenario(154)
@pytest.mark.parametrize("death", ["stopped", "killed"])
@pytest.mark.parametrize(
    "part",
    [
        "pending",
        "new",
        "close",
    ],
)
def test_loop_dies(death: str, part: str) -> None:
    """When the loop's thread dies, pending and later calls fail soon with an error of ours, and closing still works."""

    async def script(exchange: Exchange) -> None:
        await exchange.hang()

    with in_thread(RawServer(script)) as server:
        result = run(_DYING, server.url, death, options=("-W", "ignore"))
    lines = [line for line in result.lines if line.startswith(part)]
    match part:
        case "pending":
            assert ["pending ClientClosedError unknown in time"] * 3 == lines
        case "new":
            assert ["new ClientClosedError not_applied in time"] * 2 == lines
        case _:
            assert (["close fine in time"], "True") == (lines, result.lines[-1])
            assert "Unclosed" not in result.err
    assert 0 == result.code


@pytest.mark.scenario(154)
def test_dead_loop_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose loop is gone without a word is given up at the next look, and says that nobody knows."""
    monkeypatch.setattr(bridge, "_POLL", 0.01)

    async def never() -> None:
        raise AssertionError

    handoff = bridge._Handoff(never(), None)
    dead = bridge._LoopThread(AsyncOmiClient(KEY))  # one that does not live, for whatever reason
    outcomes = []

    def wait() -> None:
        try:
            handoff.wait(dead)
        except ClientClosedError as error:
            outcomes.append(error.outcome)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(5)
    handoff.abandon(None)
    assert ["unknown"] == outcomes


@pytest.mark.scenario(154)
def test_call_that_meets_the_end_of_the_loop(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is handed over just as the client is closed fails as ClientClosedError, and did nothing."""
    original = bridge.Bridge._serving
    with in_thread(RawServer(Exchange.succeed)) as server:
        client = OmiClient(KEY, base_url=server.url)
        assert _call(client, operation)

        def overtaken(each: "bridge.Bridge[Any]") -> Any:
            thread = original(each)
            monkeypatch.setattr(bridge.Bridge, "_serving", original)
            with ThreadPoolExecutor(1) as other:
                other.submit(client.close).result()
            return thread

        monkeypatch.setattr(bridge.Bridge, "_serving", overtaken)
        with pytest.raises(ClientClosedError) as caught:
            _call(client, operation)
        assert ("not_applied", 1) == (caught.value.outcome, len(server.log))


# Errors on their way between threads


def _frames(trace: TracebackType | None) -> list[str]:
    """For each frame the package it belongs to."""
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in traceback.walk_tb(trace)]
    return [module.partition(".")[0] for module in modules]


async def _by_id(exchange: Exchange) -> None:
    kind = exchange.path.rpartition("/")[2]
    if kind == "hanging":
        await exchange.hang()
    await exchange.send(answer(404 if kind == "missing" else 500, {"detail": "no"}))


@pytest.mark.scenario(161)
@pytest.mark.parametrize(
    ("conversation_id", "kind"),
    [("missing", NotFoundError), ("broken", ServerError), ("hanging", RequestTimeoutError), ("/", InvalidRequestError)],
)
def test_traceback_is_short_and_honest(operation: str, conversation_id: str, kind: type[OmiError]) -> None:
    """Two frames of the facade lead to those of the asynchronous client; nothing is chained and nothing grows."""
    with (
        in_thread(RawServer(_by_id)) as server,
        OmiClient(KEY, base_url=server.url, timeout=0.1, retry=RetryPolicy(attempts=2, initial=0)) as client,
    ):
        depths = set()
        for _ in range(3):
            with pytest.raises(kind) as caught:
                _call(client, operation, conversation_id)
            frames = [frame for frame in _frames(caught.tb) if frame.startswith("omi_")]
            assert ["omi_sync"] * 2 == frames[:2]
            assert {"omi_async"} == set(frames[2:])
            assert (None, None) == (caught.value.__cause__, caught.value.__context__)
            depths.add(len(frames))
        assert 1 == len(depths)


@pytest.mark.scenario(161)
def test_each_caller_has_its_own_error() -> None:
    """Threads that fail together hold different error objects: a note or a raise of one does not show in another."""
    together = threading.Barrier(8)

    def work(number: int) -> NotFoundError:
        together.wait(30)
        with pytest.raises(NotFoundError) as caught:
            _call(client, "update", "missing")
        caught.value.add_note(f"note {number}")
        return caught.value

    with (
        in_thread(RawServer(_by_id)) as server,
        OmiClient(KEY, base_url=server.url) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        errors = list(pool.map(work, range(8)))
    assert 8 == len({id(error) for error in errors})
    assert [[f"note {number}"] for number in range(8)] == [error.__notes__ for error in errors]
    again = _frames(errors[1].__traceback__)
    with pytest.raises(NotFoundError):
        raise errors[0]
    assert again == _frames(errors[1].__traceback__)


@pytest.mark.scenario(161)
def test_refused_connection_keeps_its_two_frames() -> None:
    """An error that never reached the wire comes through the same two frames, without aiohttp's own behind it."""
    with (
        OmiClient(KEY, base_url="http://127.0.0.1:1", retry=RetryPolicy.never()) as client,
        pytest.raises(TransportError) as caught,
    ):
        _call(client, "delete")
    assert 2 == _frames(caught.tb).count("omi_sync")
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)
