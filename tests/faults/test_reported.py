"""What other clients' users reported, tried here: the bulk job on both sides, mocks, hints, hosts, errors in queues."""

import asyncio
import contextlib
import copy
import datetime as dt
import functools
import gc
import inspect
import json
import logging
import pickle
import queue
import sys
import threading
import time
import typing
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock, create_autospec

import aiohttp
import pytest

import omi_async
import omi_sync
from omi_async import (
    AsyncOmiClient,
    BulkProgress,
    BulkStatus,
    BulkStoppedError,
    ConfigurationError,
    EventLoopError,
    InvalidRequestError,
    OmiError,
    RetryPolicy,
    StatusError,
    Timeout,
    TransportError,
    is_retryable,
)
from omi_async._wire.fork import in_sqlite
from omi_async.archive import Archive
from omi_async.archive.keep import Keeper
from omi_sync import OmiClient, _iterate
from tests.support import inside
from tests.support.bulk import Counting, Doors, Input, Job, ids, item, items, still, until
from tests.support.clock import VirtualClock
from tests.support.failures import failure
from tests.support.raw import Exchange, RawServer, answer, conversation, in_thread
from tests.support.replies import MISSING, succeed
from tests.support.sides import KEY, Side
from tests.support.specimens import Specimen
from tests.support.subprocesses import run

DONE, UNKNOWN = BulkStatus.DONE, BulkStatus.UNKNOWN


class OwnError(Exception):
    pass


def many(client: Any, operation: str) -> Callable[..., Any]:
    method: Callable[..., Any] = getattr(client.conversations, f"{operation}_many")
    return method


def names(server: RawServer) -> list[str]:
    return [exchange.path.rpartition("/")[2] for exchange in server.log]


# Waiting for a job


@pytest.mark.scenario(189)
async def test_a_limit_on_each_wait(operation: str) -> None:
    """Waiting for one outcome may be given up again and again: in the end every item was reported once."""
    doors = Doors()
    async with RawServer(doors) as server:
        async with AsyncOmiClient(KEY, base_url=server.url) as omi:
            job, found, given_up = many(omi, operation)(items(operation, 8)), [], 0
            while True:
                try:
                    found.append(await asyncio.wait_for(anext(job), 0.01))
                except TimeoutError:
                    given_up += 1
                    if given_up == 3:
                        doors.open.set()
                except StopAsyncIteration:
                    break
        assert {f"conv_{number}": 1 for number in range(8)} == Counter(ids(found))
        assert {DONE} == {outcome.status for outcome in found}
        assert 8 == len(server.log)


@pytest.mark.scenario(190)
@pytest.mark.parametrize("way", ["iterating", "closing"])
async def test_cancelled_again_and_again(operation: str, way: str) -> None:
    """However often a task is cancelled, it ends with that, what was sent is reported, and the input is closed."""
    closed = asyncio.Event()

    async def source() -> AsyncIterator[Any]:
        try:
            for each in items(operation, 50):
                yield each
        finally:
            await asyncio.sleep(0.05)
            closed.set()

    doors = Doors()
    async with RawServer(doors) as server, AsyncOmiClient(KEY, base_url=server.url) as omi:
        job = many(omi, operation)(source())

        async def iterate() -> None:
            async with contextlib.aclosing(job):
                async for _ in job:
                    pass

        task = asyncio.ensure_future(iterate())
        await until(lambda: doors.arrived == 4)
        if way == "closing":
            closing = asyncio.ensure_future(job.aclose())
            await asyncio.sleep(0)
            task, iterating = closing, task
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled()
        reported = list(job.unclaimed)
        if way == "closing":
            with pytest.raises(BulkStoppedError):
                await iterating
            assert 4 == job.progress.unknown
        else:
            assert {f"conv_{number}": UNKNOWN for number in range(4)} == {each.id: each.status for each in reported}
            assert 4 == len(reported)
        await asyncio.wait_for(closed.wait(), 30)


@pytest.mark.scenario(190)
async def test_cancelled_while_the_journal_waits(operation: str, tmp_path: Path) -> None:
    """However often closing is cancelled, what was sent is reported when it ends, though the disk is slow."""
    doors = Doors()
    async with RawServer(doors) as server, AsyncOmiClient(KEY, base_url=server.url) as omi:
        job = many(omi, operation)(items(operation, 50), journal=tmp_path / "job.db")
        taking = asyncio.ensure_future(anext(job))
        await until(lambda: doors.arrived == 4)
        in_sqlite.acquire()
        asyncio.get_running_loop().call_later(0.05, in_sqlite.release)
        closing = asyncio.ensure_future(job.aclose())
        await asyncio.sleep(0)
        while not closing.done():
            closing.cancel()
            await asyncio.sleep(0)
        assert closing.cancelled()
        assert 4 == job.progress.unknown
        assert UNKNOWN == (await taking).status


async def test_cut_off_between_attempts(operation: str) -> None:
    """An item that was refused and waits for its next attempt is reported, though its job is cut off."""

    async def refuse(exchange: Exchange) -> None:
        await exchange.send(answer(403, "<html>", headers={"Content-Type": "text/html"}))

    async def wait(seconds: float) -> None:
        await asyncio.Event().wait()

    async with (
        RawServer(refuse) as server,
        AsyncOmiClient(KEY, base_url=server.url, retry=RetryPolicy(sleep=wait)) as omi,
    ):
        job = many(omi, operation)(items(operation, 3), concurrency=1)
        waiting = asyncio.ensure_future(anext(job))
        await until(lambda: bool(omi._transport.pool.place.waiting))
        closing = asyncio.ensure_future(job.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        outcome = await waiting
        assert ("conv_0", BulkStatus.FAILED, 1) == (outcome.id, outcome.status, outcome.attempts)
        assert ["conv_0"] == names(server)
        with pytest.raises(BulkStoppedError):
            await anext(job)


@pytest.mark.scenario(232)
async def test_two_consumers(side: Side, operation: str) -> None:
    """Two tasks, or two threads, that iterate over one job share its outcomes: none is lost, none comes twice."""
    async with RawServer(Counting()) as server:
        client = side.client(server.url)
        job = many(client, operation)(items(operation, 60))

        async def consume() -> list[str]:
            return [outcome.id async for outcome in job]

        def consume_here() -> list[str]:
            return [outcome.id for outcome in job]

        consumers = [consume() if side.name == "async" else asyncio.to_thread(consume_here) for _ in range(2)]
        found = [each for part in await asyncio.gather(*consumers) for each in part]
        assert {f"conv_{number}": 1 for number in range(60)} == Counter(found)


@pytest.mark.scenario(233)
async def test_a_job_that_is_dropped(operation: str) -> None:
    """A job that nobody holds any more ends: its input is closed, nothing new is sent, nothing warns."""
    source = Input(items(operation, 1000))
    async with RawServer(Counting()) as server, AsyncOmiClient(KEY, base_url=server.url) as omi:
        async for _ in many(omi, operation)(source.stream()):
            break
        gc.collect()
        await until(lambda: source.closed)
        assert await still(lambda: len(server.log)) <= 1 + 4 + 1


@pytest.mark.scenario(234)
async def test_a_job_of_another_loop(operation: str) -> None:
    """A job that one event loop has begun says so on another one, and where there is none."""
    doors = Doors()
    async with RawServer(doors) as server, AsyncOmiClient(KEY, base_url=server.url) as omi:
        job = many(omi, operation)(items(operation, 2))
        waiting = asyncio.ensure_future(anext(job))
        await until(lambda: doors.arrived == 2)
        calls: list[Callable[[], Any]] = [job.__anext__, job.aclose]
        for call in calls:
            with pytest.raises(EventLoopError, match="belongs to the event loop"):
                await asyncio.to_thread(asyncio.run, call())
        doors.open.set()
        assert {"conv_0", "conv_1"} == {(await waiting).id, (await anext(job)).id}


# Inputs


@pytest.mark.scenario(235)
@pytest.mark.parametrize("kind", ["iter", "generator"])
async def test_an_input_that_the_loop_fills(operation: str, kind: str) -> None:
    """A queue that the loop over the outcomes fills never holds up the loop that fills it."""
    async with RawServer(Counting()) as server:

        def iterate() -> list[str]:
            todo: queue.Queue[Any] = queue.Queue()
            todo.put(item(operation, "conv_0"))

            def rows() -> Iterator[Any]:
                while (each := todo.get()) is not None:
                    yield each

            found = []
            with OmiClient(KEY, base_url=server.url) as omi:
                for outcome in many(omi, operation)(iter(todo.get, None) if kind == "iter" else rows()):
                    found.append(outcome.id)
                    todo.put(item(operation, f"conv_{len(found)}") if len(found) < 10 else None)
            return found

        assert [f"conv_{number}" for number in range(10)] == await asyncio.wait_for(asyncio.to_thread(iterate), 30)


@pytest.mark.scenario(235)
async def test_an_asynchronous_input_that_the_loop_fills(operation: str) -> None:
    """The same with a queue of asyncio's, whose items may be under way together."""
    async with RawServer(Counting()) as server, AsyncOmiClient(KEY, base_url=server.url) as omi:
        todo: asyncio.Queue[Any] = asyncio.Queue()
        todo.put_nowait(item(operation, "conv_0"))

        async def rows() -> AsyncIterator[Any]:
            while (each := await todo.get()) is not None:
                yield each

        found = []
        async with asyncio.timeout(30):
            async for outcome in many(omi, operation)(rows()):
                found.append(outcome.id)
                todo.put_nowait(item(operation, f"conv_{len(found)}") if len(found) < 10 else None)
        assert [f"conv_{number}" for number in range(10)] == found


class Query:
    """Iterable in both ways, and asking for its length is a query that fails where a loop runs."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        raise OwnError

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    async def __aiter__(self) -> AsyncIterator[Any]:
        for each in self._rows:
            yield each


@pytest.mark.scenario(236)
async def test_nobody_asks_for_a_length(side: Side, operation: str) -> None:
    """An input is not asked for a length, which can be a query: the total is unknown then."""
    async with RawServer(succeed) as server, Job(side.client(server.url), operation, Query(items(operation, 9))) as job:
        assert job.progress.total is None
        assert 9 == len(await job.rest())


@pytest.mark.scenario(236)
async def test_an_iterator_whose_hint_fails(side: Side) -> None:
    """A hint of the length that fails does not cost the input."""

    class Rows:
        def __init__(self) -> None:
            self._left = ["conv_0", "conv_1"]

        def __length_hint__(self) -> int:
            raise OwnError

        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            if not self._left:
                raise StopIteration
            return self._left.pop()

    async with RawServer(succeed) as server, Job(side.client(server.url), "delete", Rows()) as job:
        assert job.progress.total is None
        assert 2 == len(await job.rest())


@pytest.mark.scenario(237)
async def test_an_input_that_raises_an_error_of_ours(side: Side, operation: str) -> None:
    """An input that fails with an error of the client's own, as a listing does, raises just that."""
    own = StatusError("the list is gone", outcome="not_applied", status=410)
    source = Input(items(operation, 3), failure=own)
    outcomes: list[Any] = []
    async with RawServer(succeed) as server, Job(side.client(server.url), operation, source.read_one_by_one()) as job:
        with pytest.raises(StatusError) as caught:
            await job.rest(outcomes)
        assert caught.value is own
        assert 3 == len(outcomes) == len(server.log)


@pytest.mark.scenario(238)
@pytest.mark.parametrize("kind", ["set", "frozenset", "dict"])
async def test_sets(side: Side, kind: str, tmp_path: Path) -> None:
    """A set has no order that a journal could resume; without a journal it serves, and so does a dict with one."""
    kinds: dict[str, Callable[[list[str]], Any]] = {"set": set, "frozenset": frozenset, "dict": dict.fromkeys}
    source = kinds[kind](["conv_0", "conv_1", "conv_2"])
    threads: set[int] = set()

    def watch(progress: BulkProgress) -> None:
        threads.add(threading.get_ident())

    async with RawServer(succeed) as server:
        client = side.client(server.url)
        if kind != "dict":
            with pytest.raises(ConfigurationError, match="sorted"):
                client.conversations.delete_many(source, journal=tmp_path / "job.db")
        journal = tmp_path / "job.db" if kind == "dict" else None
        async with Job(client, "delete", source, journal=journal, on_progress=watch) as job:
            assert 3 == job.progress.total
            assert ["conv_0", "conv_1", "conv_2"] == sorted(ids(await job.rest()))
            caller = await job.on_its_thread(threading.get_ident)
        if side.name == "sync":
            assert {caller} == threads


@pytest.mark.scenario(191)
async def test_one_id_twice_and_resumed(side: Side, tmp_path: Path) -> None:
    """Of two titles of one conversation, the later one is there after a resumed run too."""
    bodies: list[str] = []

    async def script(exchange: Exchange) -> None:
        bodies.append(json.loads(exchange.body)["title"])
        await (exchange.send(answer(503, {"detail": "later"})) if exchange.number == 1 else exchange.succeed())

    source = [item("update", "conv_0", "first"), item("update", "conv_0", "last")]
    async with RawServer(script) as server:
        for _ in range(2):
            client = side.client(server.url, retry=RetryPolicy.never())
            async with Job(client, "update", source, journal=tmp_path / "job.db") as job:
                outcomes = await job.rest()
        assert "last" == bodies[-1]
        assert {DONE} == {outcome.status for outcome in outcomes}


@pytest.mark.scenario(239)
@pytest.mark.parametrize("done", [0, 2])
@pytest.mark.parametrize("end", ["closed", "refused"])
async def test_stopped_after_items_were_done(side: Side, operation: str, done: int, end: str) -> None:
    """The error of a job that stopped claims that nothing was changed only where nothing was."""

    async def script(exchange: Exchange) -> None:
        if exchange.number <= done:
            await exchange.succeed()
        else:
            await exchange.send(answer(401, {"detail": "Invalid API Key"}))

    async with (
        RawServer(script) as server,
        Job(side.client(server.url), operation, items(operation, 9), concurrency=1) as job,
    ):
        await job.take(done)
        if end == "closed":
            await job.close()
        with pytest.raises(BulkStoppedError) as caught:
            await job.rest()
    stopped = caught.value
    done = stopped.done  # closing lets what is under way finish
    assert ("unknown" if done else "not_applied") == stopped.outcome
    assert bool(done) is ("Nothing was changed" not in str(stopped))
    assert str(stopped).startswith(f"stopped with {done} items done. ")
    assert "not_applied" == stopped.reason.outcome


# Ctrl-C on the synchronous side


class Interrupted:
    """A job whose caller is interrupted where the test says, and everything that is known of it afterwards."""

    def __init__(self, operation: str, source: Any, server: RawServer, **settings: Any) -> None:
        self.omi = OmiClient(KEY, base_url=server.url)
        self.job = many(self.omi, operation)(source, **settings)
        self.found: list[Any] = []

    def iterate(self) -> None:
        self.found.extend(self.job)

    def __enter__(self) -> "Interrupted":
        return self

    def __exit__(self, *_: object) -> None:
        self.omi.close()


@pytest.mark.parametrize("late", [True, False])
def test_interrupted_while_the_thread_starts(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """Ctrl-C while the loop's thread is started leaves one that serves at most, and a client that works and closes."""
    name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
    start, held = getattr(threading, name), threading.Event()

    def interrupted(bootstrap: Callable[..., None], *args: Any, **named: Any) -> None:
        def run(*args: Any) -> None:
            held.wait(10)
            bootstrap(*args)

        monkeypatch.undo()
        start(run, *args, **named)
        if not late:
            held.set()
        raise KeyboardInterrupt

    with in_thread(RawServer(succeed)) as server, OmiClient(KEY, base_url=server.url) as omi:
        monkeypatch.setattr(threading, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            omi.conversations.delete("conv_0")
        omi.conversations.delete("conv_1")
        held.set()
        assert 2 == len(list(omi.conversations.delete_many(["conv_2", "conv_3"])))
    for thread in [thread for thread in threading.enumerate() if thread.name.startswith("omi-sync")]:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.scenario(240)
@pytest.mark.parametrize("source", ["a list", "a query", "a generator"])
def test_interrupted_while_waiting(monkeypatch: pytest.MonkeyPatch, operation: str, source: str) -> None:
    """Ctrl-C while the loop waits: what was sent is reported as unknown, and the job goes on with the rest."""
    monkeypatch.setattr(_iterate, "INTERRUPT_GRACE", 0.01)
    wait, interrupt, opened = _iterate.Feed.wait, True, threading.Event()

    async def script(exchange: Exchange) -> None:
        while not opened.is_set():
            await asyncio.sleep(0.001)
        await exchange.succeed()

    def wait_or_interrupt(feed: Any, timeout: float) -> bool:
        if interrupt and len(server.log) == expected:
            raise KeyboardInterrupt
        return wait(feed, min(timeout, 0.01))

    rows = Input(items(operation, 10))
    given: Any = {"a list": items(operation, 10), "a query": rows.read(), "a generator": rows.read_one_by_one()}
    expected = 1 if source == "a generator" else 4
    with in_thread(RawServer(script)) as server, Interrupted(operation, given[source], server) as known:
        monkeypatch.setattr(_iterate.Feed, "wait", wait_or_interrupt)
        with pytest.raises(KeyboardInterrupt):
            known.iterate()
        interrupt = False
        assert [UNKNOWN] * expected == [outcome.status for outcome in known.job.unclaimed]
        assert expected == known.job.progress.unknown
        time.sleep(0.02)
        assert expected == len(server.log)
        opened.set()
        known.iterate()
        assert {f"conv_{number}": 1 for number in range(10)} == Counter(ids(known.found)) == Counter(names(server))


@pytest.mark.scenario(240)
def test_interrupted_with_a_second_item_of_the_same_id(monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    """Ctrl-C sends nothing new, not even the item that waits for another one of its id; nothing of it is lost."""
    monkeypatch.setattr(_iterate, "INTERRUPT_GRACE", 0.01)
    wait, interrupt, opened = _iterate.Feed.wait, True, threading.Event()

    async def script(exchange: Exchange) -> None:
        while not opened.is_set():
            await asyncio.sleep(0.001)
        await exchange.succeed()

    def wait_or_interrupt(feed: Any, timeout: float) -> bool:
        if interrupt and server.log:
            raise KeyboardInterrupt
        return wait(feed, min(timeout, 0.01))

    source = [item(operation, "conv_0", title) for title in ("first", "second", "last")]
    with in_thread(RawServer(script)) as server, Interrupted(operation, source, server) as known:
        monkeypatch.setattr(_iterate.Feed, "wait", wait_or_interrupt)
        with pytest.raises(KeyboardInterrupt):
            known.iterate()
        interrupt = False
        time.sleep(0.02)
        assert 1 == len(server.log)
        opened.set()
        known.iterate()
        assert [UNKNOWN, DONE, DONE] == [outcome.status for outcome in known.found]
        if operation == "update":
            assert ["first", "second", "last"] == [json.loads(exchange.body)["title"] for exchange in server.log]


@pytest.mark.scenario(241)
@pytest.mark.parametrize("kind", ["generator", "query"])
def test_interrupted_within_the_input(operation: str, kind: str) -> None:
    """Ctrl-C in the middle of the input, which may lose an item, ends the job: it does not look finished or hang."""
    strike = True

    def rows() -> Iterator[Any]:
        nonlocal strike
        yield from items(operation, 3)
        if strike:
            strike = False
            raise KeyboardInterrupt
        yield item(operation, "conv_3")

    class Rows:
        def __len__(self) -> int:
            raise AssertionError

        def __iter__(self) -> Iterator[Any]:
            return rows()

    source = rows() if kind == "generator" else Rows()
    with in_thread(RawServer(succeed)) as server, Interrupted(operation, source, server) as known:
        with pytest.raises(KeyboardInterrupt):
            known.iterate()
        for _ in range(2):
            with pytest.raises(BulkStoppedError, match="the input was interrupted"):
                known.iterate()
        assert ["conv_0", "conv_1", "conv_2"] == sorted(ids(known.found))
        assert 3 == known.job.progress.done == len(server.log)


@pytest.mark.scenario(242)
def test_interrupted_while_closing(monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    """Ctrl-C while a job is closed cancels what is under way, as unknown; nothing that was sent is missing."""
    wait, interrupt = _iterate.Feed.wait, False

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.succeed()
        else:
            await exchange.hang()

    def wait_or_interrupt(feed: Any, timeout: float) -> bool:
        if interrupt:
            raise KeyboardInterrupt
        return wait(feed, min(timeout, 0.01))

    with in_thread(RawServer(script)) as server, Interrupted(operation, items(operation, 50), server) as known:
        known.found.append(next(known.job))
        while len(server.log) < 5:
            time.sleep(0.001)
        monkeypatch.setattr(_iterate.Feed, "wait", wait_or_interrupt)
        interrupt = True
        with pytest.raises(KeyboardInterrupt):
            known.job.close()
        interrupt = False
        assert sorted(names(server)) == sorted(ids(known.found) + ids(known.job.unclaimed))
        assert {UNKNOWN} == {outcome.status for outcome in known.job.unclaimed}


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")
@pytest.mark.scenario(243)
@pytest.mark.parametrize("moment", ["in the loop's body", "while waiting", "within the input"])
def test_a_signal_at_any_moment(moment: str) -> None:
    """A real SIGINT, whenever it strikes: each request that arrived has its outcome, seen or unclaimed, just once."""
    result = run(
        f"""
        import signal, sys, threading, time, collections
        from omi_sync import OmiClient, Sandbox, BulkStoppedError
        from omi_async.sandbox import SandboxConversation
        moment = {moment!r}

        def strike():
            threading.Timer(0.02, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)).start()

        def rows():
            for number in range(12):
                if moment == "within the input" and number == 5:
                    strike()
                    time.sleep(30)
                yield f"conv_{{number}}"

        with Sandbox([SandboxConversation(id=f"conv_{{n}}") for n in range(12)], write_limit=None) as sandbox:
            with OmiClient(sandbox.api_key, base_url=sandbox.url) as omi:
                if moment == "while waiting":
                    sandbox.fail(delay=5.0, record_id="conv_6")
                job = omi.conversations.delete_many(rows() if moment == "within the input" else list(rows()))
                found, interrupts = [], 0
                while True:
                    try:
                        for outcome in job:
                            found.append(outcome)
                            if len(found) == 5 and moment != "within the input" and not interrupts:
                                strike()
                                if moment == "in the loop's body":
                                    time.sleep(30)
                        break
                    except KeyboardInterrupt:
                        interrupts += 1
                    except BulkStoppedError as error:
                        assert moment == "within the input", error
                        break
                sent = collections.Counter(request.path.rpartition("/")[2] for request in sandbox.requests)
                assert sent == collections.Counter(each.id for each in [*found, *job.unclaimed]), (sent, found)
                assert interrupts == 1
                print(len(sent))
        """
    )
    assert ["5" if moment == "within the input" else "12"] == result.check().lines


# Callbacks


@pytest.mark.scenario(244)
@pytest.mark.parametrize("kind", ["function", "object", "partial", "lambda"])
async def test_callbacks_that_nobody_would_await(side: Side, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A callback that has to be awaited is refused at once, or found out at its first call and not called again."""
    calls: list[object] = []

    async def watch(progress: BulkProgress) -> None:
        raise AssertionError("nobody awaits it")

    class Watcher:
        async def __call__(self, progress: BulkProgress) -> None:
            raise AssertionError("nobody awaits it")

    def deferred(progress: BulkProgress) -> Any:
        calls.append(progress)
        return watch(progress)

    given: dict[str, Any] = {
        "function": watch,
        "partial": functools.partial(watch),
        "object": Watcher(),
        "lambda": deferred,
    }
    async with RawServer(succeed) as server:
        client = side.client(server.url)
        if kind in ("function", "partial"):
            with pytest.raises(ConfigurationError, match="on_progress"):
                client.conversations.delete_many(["conv_0"], on_progress=given[kind])
            return
        with caplog.at_level(logging.ERROR, "omi_async"):
            async with Job(client, "delete", items("delete", 6), on_progress=given[kind]) as job:
                assert 6 == len(await job.rest())
        assert 1 == sum("on_progress" in record.message for record in caplog.records)
        assert (1 if kind == "lambda" else 0) == len(calls)


@pytest.mark.scenario(245)
def test_callbacks_that_use_the_client(operation: str) -> None:
    """A synchronous callback may call the client and look at the job; one that closes the job ends it."""
    seen: list[Any] = []
    with in_thread(RawServer(Counting())) as server, OmiClient(KEY, base_url=server.url) as omi:

        def look(progress: BulkProgress) -> None:
            omi.request("DELETE", f"/v1/dev/user/conversations/other_{len(seen)}")
            seen.append(job.progress.done)

        job = many(omi, operation)(items(operation, 6), on_progress=look)
        assert 6 == len(list(job)) == len(seen)
        assert 12 == len(server.log)

        def close(progress: BulkProgress) -> None:
            job.close()

        job = many(omi, operation)(items(operation, 100), on_progress=close)
        with pytest.raises(BulkStoppedError, match="closed before the end"):
            list(job)


@pytest.mark.scenario(245)
async def test_asynchronous_callbacks_that_use_the_client(operation: str) -> None:
    """An asynchronous job's callback may begin tasks, and close the job in one."""
    tasks: list[asyncio.Task[None]] = []
    async with RawServer(Counting()) as server, AsyncOmiClient(KEY, base_url=server.url) as omi:

        def close(progress: BulkProgress) -> None:
            tasks.append(asyncio.ensure_future(job.aclose()))

        job = many(omi, operation)(items(operation, 100), on_progress=close)
        found = []
        with pytest.raises(BulkStoppedError, match="closed before the end"):
            async for outcome in job:
                found.append(outcome)
        await asyncio.gather(*tasks)
        assert sorted(names(server)) == sorted(ids(found))


# Connections, loops and threads


@pytest.mark.scenario(246)
@pytest.mark.parametrize("limit", ["max_connections", "limit", "limit_per_host"])
async def test_more_at_once_than_connections(operation: str, limit: str) -> None:
    """A job has no more under way than there are connections: nothing runs out of time while it waits for one."""
    counting = Counting()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(RawServer(counting))
        settings: dict[str, Any] = {"max_connections": 2}
        if limit != "max_connections":
            limits: dict[str, Any] = {limit: 2}
            connector = aiohttp.TCPConnector(**limits)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            settings = {"session": session}
        omi = await stack.enter_async_context(AsyncOmiClient(KEY, base_url=server.url, **settings))
        found = [outcome async for outcome in many(omi, operation)(items(operation, 40), concurrency=20)]
        assert {(DONE, 1)} == {(outcome.status, outcome.attempts) for outcome in found}
        assert 2 == counting.peak


@pytest.mark.scenario(247)
@pytest.mark.parametrize("what", ["call", "listing", "job"])
def test_without_asyncio(what: str) -> None:
    """Under another library's event loop, where asyncio has none, the error is the client's own and says so."""
    omi = AsyncOmiClient(KEY, base_url="http://127.0.0.1:9")
    calls: dict[str, Callable[[], Any]] = {
        "call": lambda: omi.conversations.get("conv_1"),
        "listing": lambda: anext(omi.conversations.list()),
        "job": lambda: anext(omi.conversations.delete_many(["conv_1"])),
    }
    waiting = calls[what]()
    with pytest.raises(EventLoopError, match="asyncio") as caught:
        waiting.send(None)
    assert ("not_applied", None) == (caught.value.outcome, caught.value.__context__)


def _without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.scenario(204)
@pytest.mark.parametrize("session", ["own", "borrowed"])
async def test_no_thread_for_a_lookup(monkeypatch: pytest.MonkeyPatch, session: str) -> None:
    """Where no thread can be had, the call fails as one without a connection does: it may be made again."""
    async with contextlib.AsyncExitStack() as stack:
        settings: dict[str, Any] = {}
        if session == "borrowed":
            settings["session"] = await stack.enter_async_context(aiohttp.ClientSession())
        omi = await stack.enter_async_context(
            AsyncOmiClient(KEY, base_url="https://unheard.example", retry=RetryPolicy.never(), **settings)
        )
        with monkeypatch.context() as patch:
            _without_threads(patch)
            with pytest.raises(TransportError, match="no thread could be started") as caught:
                await omi.conversations.update("conv_1", title="A")
        # Of a borrowed session's connections nobody knows how far they came.
        assert ("not_applied" if session == "own" else "unknown") == caught.value.outcome
        assert caught.value.retryable


@pytest.mark.scenario(204)
def test_no_thread_for_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The synchronous client needs a thread: without one it says so, and the next call tries again."""
    with in_thread(RawServer(succeed)) as server, OmiClient(KEY, base_url=server.url) as omi:
        for _ in range(2):
            with monkeypatch.context() as patch:
                _without_threads(patch)
                with pytest.raises(TransportError, match="no thread could be started") as caught:
                    omi.conversations.delete("conv_1")
                assert ("not_applied", True) == (caught.value.outcome, caught.value.retryable)
        assert omi.conversations.delete("conv_1").confirmed


@pytest.mark.scenario(249)
async def test_an_error_that_is_not_ours(monkeypatch: pytest.MonkeyPatch, side: Side) -> None:
    """A ban on sockets, or any other error of somebody else's, goes through as it is, out of a job too."""

    def banned(*_: object, **__: object) -> Any:
        raise OwnError("no sockets here")

    client = side.client("http://127.0.0.1:9", retry=RetryPolicy.never())
    monkeypatch.setattr(aiohttp.connector.TCPConnector, "_create_direct_connection", banned)
    with pytest.raises(OwnError, match="no sockets here"):
        await side.call(client, "delete")
    job = Job(client, "delete", items("delete", 3))
    with pytest.raises(OwnError):
        await job.rest()
    assert [] == job.unclaimed
    with pytest.raises(OwnError):
        await job.next()
    await job.__aexit__(None, None, None)


@pytest.mark.scenario(249)
async def test_a_hook_that_fails_after_the_request_was_sent(operation: str) -> None:
    """A hook of the caller's session that fails when an item was sent ends the job, and the item is reported."""
    hooks = aiohttp.TraceConfig()

    async def fail(*_: object) -> None:
        if len(server.log) == 3:
            raise OwnError

    hooks.on_response_chunk_received.append(fail)
    hooks.on_request_end.append(fail)
    async with RawServer(succeed) as server, aiohttp.ClientSession(trace_configs=[hooks]) as session:
        omi = AsyncOmiClient(KEY, base_url=server.url, session=session)
        found = []
        with pytest.raises(OwnError):
            async for outcome in many(omi, operation)(items(operation, 50), concurrency=1):
                found.append(outcome)
        assert ["conv_0", "conv_1", "conv_2"] == ids(found) == names(server)
        assert [DONE, DONE, UNKNOWN] == [outcome.status for outcome in found]
        await omi.aclose()


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.scenario(250)
@pytest.mark.parametrize(
    "problem", [RuntimeError("no second loop"), OwnError("blocked"), OSError(24, "Too many files")]
)
def test_no_loop_for_the_synchronous_side(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    """A private loop that cannot be made is an error of the client's own, and the next call tries again."""

    def refuse() -> asyncio.AbstractEventLoop:
        raise problem

    with in_thread(RawServer(succeed)) as server, OmiClient(KEY, base_url=server.url) as omi:
        for _ in range(2):
            with monkeypatch.context() as patch:
                patch.setattr(asyncio.events, "new_event_loop", refuse)
                with pytest.raises(OmiError, match="no event loop could be started") as caught:
                    omi.conversations.delete("conv_1")
                assert isinstance(caught.value, TransportError if isinstance(problem, OSError) else EventLoopError)
                with pytest.raises(OmiError, match="no event loop could be started"):
                    list(omi.conversations.delete_many(["conv_1"]))
        assert omi.conversations.delete("conv_1").confirmed


@pytest.mark.scenario(251)
def test_a_lookup_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name that is looked up for ever holds up neither the end of the call nor that of the client."""
    found = threading.Event()

    def hang(*_: object, **__: object) -> Any:
        found.wait(60)
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", hang)
    omi = OmiClient(KEY, base_url="https://unheard.example", timeout=0.05, retry=RetryPolicy.never())
    with pytest.raises(OmiError) as caught:
        omi.conversations.delete("conv_1")
    assert "not_applied" == caught.value.outcome
    thread = omi._bridge._thread
    omi.close()
    assert not thread.is_alive()
    lookups = [each for each in threading.enumerate() if each.name == "omi-lookup"]
    assert lookups
    assert all(each.daemon for each in lookups)
    found.set()
    for each in lookups:
        each.join()


@pytest.mark.scenario(251)
def test_a_first_call_at_exit() -> None:
    """A very first call when the program ends, with a host name, is made or says that nothing was sent.

    Python 3.12 starts no thread any more when it ends.
    """
    result = run(
        """
        import atexit
        from omi_sync import ClientClosedError, OmiClient, RetryPolicy, TransportError

        def flush():
            with OmiClient(base_url="https://localhost:9", retry=RetryPolicy.never()) as omi:
                try:
                    omi.conversations.delete("conv_1")
                except (ClientClosedError, TransportError) as error:
                    print(error.outcome)

        atexit.register(flush)
        """
    )
    assert ["not_applied"] == result.check().lines


@pytest.mark.scenario(252)
async def test_a_machine_that_sleeps(monkeypatch: pytest.MonkeyPatch, clock: VirtualClock) -> None:
    """While a machine sleeps its clocks stand still but for the time of day: a job goes on when the window is open."""
    day = [1_000_000.0]
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 1:  # the lid is closed for an hour, right after the first minute
            day[0] += 3600.0
        await clock.sleep(seconds)

    inside.tell_time_of_day(monkeypatch, lambda: day[0] + clock.now)
    policy = RetryPolicy(sleep=sleep, clock=clock.monotonic, random=lambda: 1.0)

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.send(answer(429, {"detail": "Wait."}, headers={"Retry-After": "3600"}))
        else:
            await exchange.succeed()

    async with RawServer(script) as server, AsyncOmiClient(KEY, base_url=server.url, retry=policy) as omi:
        found = [outcome.status async for outcome in omi.conversations.delete_many(["conv_0"])]
    assert [DONE] == found
    assert [60.0, 60.0] == waits


# Names, hints and mocks


@pytest.mark.scenario(253)
@pytest.mark.parametrize("client", [AsyncOmiClient, OmiClient])
@pytest.mark.parametrize("mock", [lambda kind: create_autospec(kind, instance=True), lambda kind: MagicMock(spec=kind)])
def test_mocks_know_the_resources(client: type, mock: Callable[[type], Any]) -> None:
    """A mock made from a client's class has its resources."""
    made = mock(client)
    assert made.conversations is not None
    with pytest.raises(AttributeError):
        made.unheard_of  # noqa: B018
    assert AsyncMock(spec=client).conversations is not None


def _public() -> Iterator[tuple[str, Callable[..., Any]]]:
    for package in (omi_async, omi_sync):
        for name in package.__all__:
            each = getattr(package, name)
            if inspect.isclass(each):
                for method, function in inspect.getmembers(each, inspect.isfunction):
                    yield f"{package.__name__}.{name}.{method}", function
            elif inspect.isfunction(each):
                yield f"{package.__name__}.{name}", each
    for client in (AsyncOmiClient(KEY), OmiClient(KEY)):
        for name in dir(type(client)):
            resource = None if name.startswith("_") else getattr(client, name)
            if resource is not None and type(resource).__module__.startswith("omi_"):
                for method, function in inspect.getmembers(type(resource), inspect.isfunction):
                    yield f"{type(resource).__name__}.{method}", function


_LATE = {"Archive": Archive, "Keeper": Keeper}
"""What bears a name for type checkers alone until an archive is used: it would load SQLite with the conversations."""


@pytest.mark.repository
@pytest.mark.scenario(254)
def test_hints_can_be_resolved() -> None:
    """Whoever reads the types of the public functions at run time, as frameworks do, finds what they name."""
    checked = 0
    for name, function in _public():
        try:
            typing.get_type_hints(function, localns=_LATE)
            inspect.signature(function, locals=_LATE, eval_str=True)
        except NameError as error:
            raise AssertionError(name) from error
        checked += 1
    assert checked > 100


@pytest.mark.scenario(254)
@pytest.mark.parametrize("package", ["omi_async", "omi_sync"])
def test_hints_of_classes_can_be_resolved(package: str) -> None:
    """The types of a public class can be read as well, when nothing of it has been used before."""
    result = run(
        """
        import importlib, inspect, sys, typing

        package = importlib.import_module(sys.argv[1])
        for name in package.__all__:
            if inspect.isclass(each := getattr(package, name)):
                typing.get_type_hints(each)
                print(name)
        """,
        package,
    )
    assert set(result.check().lines) >= {"ConversationUpdate", "OmiError", "RetryPolicy"}
    assert any("OmiClient" in name for name in result.lines)


@pytest.mark.scenario(255)
async def test_listings_can_be_closed(side: Side) -> None:
    """A listing is closed as other iterators are; it then ends, and closing it again does nothing."""
    rows = [conversation(f"c{number}", created_at="2026-09-01T12:00:00+00:00") for number in range(3)]

    async with RawServer(lambda exchange: exchange.send(answer(200, rows))) as server:
        client = side.client(server.url)
        if isinstance(client, AsyncOmiClient):
            async with contextlib.aclosing(client.conversations.list()) as listing:
                assert "c0" == (await anext(listing)).id
            await listing.aclose()
            assert [] == [row async for row in listing]
        else:

            def close() -> None:
                with contextlib.closing(client.conversations.list()) as listing:
                    assert "c0" == next(listing).id
                listing.close()
                assert [] == list(listing)

            await asyncio.to_thread(close)
        assert 1 == len(server.log)


# Arguments


class NotATime(dt.datetime):
    def utcoffset(self) -> Any:
        raise ValueError("NaTType does not support utcoffset")


class Unmovable(dt.datetime):
    def astimezone(self, tz: Any = None) -> Any:
        raise TypeError("Cannot convert")


class OddZone(dt.tzinfo):
    def utcoffset(self, _: object) -> Any:
        raise OwnError

    def dst(self, _: object) -> Any:
        raise OwnError

    def tzname(self, _: object) -> Any:
        raise OwnError


@pytest.mark.scenario(256)
@pytest.mark.parametrize(
    "moment",
    [NotATime(2026, 1, 1), Unmovable(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 1, 1, tzinfo=OddZone())],
    ids=["NaT", "unmovable", "zone"],
)
async def test_moments_that_are_none(side: Side, moment: dt.datetime) -> None:
    """A datetime that cannot be one, as pandas' NaT, is refused by the name of its argument, and not sent."""
    client: Any = side.client("http://127.0.0.1:9")
    for name, call in (
        ("start_date", lambda: client.conversations.list(start_date=moment)),
        ("started_at", lambda: client.conversations.create("text", started_at=moment)),
    ):
        with pytest.raises(InvalidRequestError, match=f"{name} is not a moment in time"):
            waiting = await asyncio.to_thread(call)
            if inspect.iscoroutine(waiting):
                await waiting


@pytest.mark.scenario(257)
async def test_types_of_other_libraries_are_named_with_their_module(side: Side) -> None:
    """A flag of numpy's, whose type is called bool as well, is refused with a text that tells the two apart."""
    foreign = type("bool", (), {"__module__": "numpy"})()
    client: Any = side.client("http://127.0.0.1:9")
    with pytest.raises(TypeError, match=r"discarded must be True or False, not numpy\.bool"):
        await side.call(client, "update", discarded=foreign)


@pytest.mark.scenario(258)
@pytest.mark.parametrize("title", ["\u200b", "\u2060\u3164", "\ufeff", "\u00ad\u200d", "\u2800", "\t\u200c\n"])
async def test_titles_that_show_nothing(side: Side, title: str) -> None:
    """A title of nothing but characters without ink is blank: it is not sent, alone or in a job."""
    async with RawServer(succeed) as server:
        client = side.client(server.url)
        error = await failure(side, client, "update", title=title)
        assert "title must not be blank" in error.text
        async with Job(client, "update", [item("update", "conv_0", title)]) as job:
            (outcome,) = await job.rest()
        assert (BulkStatus.FAILED, InvalidRequestError) == (outcome.status, type(outcome.error))
        assert [] == server.log


# Errors on their way


def _errors() -> list[type[OmiError]]:
    def family(kind: type[OmiError]) -> Iterator[type[OmiError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from family(child)

    return sorted(
        {each for each in family(OmiError) if each.__module__ == "omi_async.errors"}, key=lambda e: e.__name__
    )


@pytest.mark.scenario(259)
@pytest.mark.parametrize("kind", _errors())
def test_errors_survive_queues_of_tasks(kind: type[OmiError]) -> None:
    """What rebuilds an error from its class and args, through JSON too, gets the whole error, `unknown` included."""
    error = kind(
        "the server answered 500.",
        outcome="unknown",
        operation="conversations.delete",
        status=500,
        attempts=2,
        retryable=True,
        retry_after=3.0,
        detail={"code": 1},
    )
    copies = [
        type(error)(*error.args),
        type(error)(*json.loads(json.dumps(error.args))),
        pickle.loads(pickle.dumps(error)),
        copy.deepcopy(error),
    ]
    for each in copies:
        assert (vars(error), str(error), repr(error)) == (vars(each), str(each), repr(each))
    # From a text alone: nothing is claimed.
    assert "unknown" == kind("a text").outcome == type(error)(f"more: {error}").outcome
    # What shows `message`, and what shows the repr, shows operation and outcome.
    assert str(error) == error.message
    assert "conversations.delete" in error.message
    assert "conversations.delete" in repr(error)
    assert "unknown" in repr(error)
    assert is_retryable(error)
    assert not is_retryable(OwnError())


GATEWAY = b"<html>default backend</html>"


@pytest.mark.scenario(260)
@pytest.mark.parametrize("status", [401, 403, 404, 407, 410, 422, 429, 503])
async def test_a_page_in_place_of_an_answer(side: Side, specimen: Specimen, status: int) -> None:
    """A page of something in between keeps its status, is told from the API's own word, and proves nothing."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            exchange.reset()
        else:
            await exchange.send(answer(status, GATEWAY, headers={"Content-Type": "text/html"}))

    policy = VirtualClock().policy(attempts=2)
    async with RawServer(script) as server:
        error = await failure(side, side.client(server.url, retry=policy), specimen.name)
        once = specimen.effect == "once"
        assert (1 if once else 2) == len(server.log)
        assert ("not_applied" if specimen.effect == "none" else "unknown") == error.outcome
        if not once:
            assert (status, True) == (error.status, error.from_intermediary or status == 503)


@pytest.mark.scenario(260)
async def test_a_page_settles_nothing(side: Side, operation: str, tmp_path: Path) -> None:
    """An item that a gateway's 404 met is sent again by the next run; one that the API does not know is not."""
    pages = True

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer(404, GATEWAY, headers={"Content-Type": "text/html"}) if pages else MISSING)

    async with RawServer(script) as server:
        client = side.client(server.url, retry=RetryPolicy.never())
        for run_number, sent in enumerate([2, 4, 4]):
            pages = run_number == 0
            async with Job(client, operation, items(operation, 2), journal=tmp_path / "job.db") as job:
                with contextlib.suppress(BulkStoppedError):
                    await job.rest()
            assert sent == len(server.log)


@pytest.mark.scenario(261)
async def test_a_limit_of_none(side: Side) -> None:
    """For a client, None is no limit; for a call it is the client's, and `Timeout(total=None)` is no limit."""
    client = side.client("http://127.0.0.1:9", timeout=Timeout(total=1e-9), retry=RetryPolicy.never())
    assert "the whole call" in (await failure(side, client, "delete", timeout=None)).text
    assert "no connection" in (await failure(side, client, "delete", timeout=Timeout(total=None))).text
    with pytest.raises(OmiError):
        side.client("http://127.0.0.1:9", timeout=Timeout(total=0))


@pytest.mark.scenario(264)
async def test_traces_see_why_a_connection_was_lost() -> None:
    """Who traces a session of their own reads that the connection was lost, and how."""
    seen: list[BaseException] = []

    async def note(_session: object, _context: object, params: aiohttp.TraceRequestExceptionParams) -> None:
        seen.append(params.exception)

    async def script(exchange: Exchange) -> None:
        exchange.close()

    traces = aiohttp.TraceConfig()
    traces.on_request_exception.append(note)
    async with (
        RawServer(script) as server,
        aiohttp.ClientSession(trace_configs=[traces]) as session,
        AsyncOmiClient(KEY, base_url=server.url, session=session, retry=RetryPolicy.never()) as omi,
    ):
        with pytest.raises(TransportError):
            await omi.conversations.delete("conv_1")
    assert ["the connection was lost (ServerDisconnectedError)"] == [str(error) for error in seen]
