"""Many keys on one client: what they share, and what each has for itself."""

import asyncio
import gc
import os
import pickle
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from omi_async import (
    AsyncOmiClient,
    AttemptEnded,
    BulkStoppedError,
    CallEnded,
    ClientClosedError,
    ConfigurationError,
    RateLimitError,
    ServerError,
    TransportError,
)
from omi_sync import OmiClient
from tests.support import inside
from tests.support.canary import as_pytest_shows_it
from tests.support.clock import VirtualClock
from tests.support.failures import failure
from tests.support.raw import Exchange, RawServer, answer, in_thread
from tests.support.scale import times
from tests.support.sides import KEY, Side
from tests.support.subprocesses import run

OTHER = "omi_dev_of_another_user"


async def fine(exchange: Exchange) -> None:
    await exchange.succeed()


async def close(client: AsyncOmiClient | OmiClient) -> None:
    if isinstance(client, AsyncOmiClient):
        await client.aclose()
    else:
        client.close()


def keys(server: RawServer) -> list[str]:
    """The keys of the requests, in their order."""
    return [each.headers["authorization"].removeprefix("Bearer ") for each in server.log]


@pytest.mark.parametrize("straight", [True, False], ids=["straight", "through the session"])
async def test_own_key_on_shared_connections(side: Side, monkeypatch: pytest.MonkeyPatch, *, straight: bool) -> None:
    """Calls of two keys go out with their own keys, over one connection."""
    inside.go_straight(monkeypatch, straight)
    async with RawServer(fine) as server:
        client = side.client(server.url)
        other = client.with_key(OTHER)
        for each in (client, other, client, other.with_key(KEY)):
            await side.call(each, "update")
        assert [KEY, OTHER, KEY, KEY] == keys(server)
        assert 1 == server.connections


async def test_own_windows(side: Side, operation: str, clock: VirtualClock) -> None:
    """What the server refuses one key keeps no other key from asking."""

    async def script(exchange: Exchange) -> None:
        if exchange.headers["authorization"].endswith(OTHER):
            await exchange.send(answer(429, {"detail": "Rate limit exceeded"}, headers={"Retry-After": "900"}))
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        other = client.with_key(OTHER)
        for _ in range(2):
            error = await failure(side, other, operation)
            assert isinstance(error, RateLimitError)
        await side.call(client, operation)
        await side.call(client.with_key(KEY), operation)
        assert [OTHER, KEY, KEY] == keys(server)


async def test_own_budget(side: Side, clock: VirtualClock) -> None:
    """Failures of one key leave another key its retries."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer(503, {"detail": "down"}))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy(attempts=3))
        other = client.with_key(OTHER)
        for _ in range(40):
            assert isinstance(await failure(side, other, "delete"), ServerError)
        spent = len(server.log)
        assert spent < 40 * 3
        await failure(side, client, "delete")
        assert 3 == len(server.log) - spent


async def test_closing_one_key(side: Side, operation: str) -> None:
    """A closed client of another key refuses calls; the others go on, until the first one is closed."""
    async with RawServer(fine) as server:
        client = side.client(server.url)
        other, third = client.with_key(OTHER), client.with_key(OTHER)
        await side.call(other, operation)
        for _ in range(2):
            await close(other)
        assert (False, True, False) == (client.closed, other.closed, third.closed)
        assert isinstance(await failure(side, other, operation), ClientClosedError)
        await side.call(client, operation)
        await side.call(third, operation)
        await side.aclose()
        assert third.closed
        assert isinstance(await failure(side, third, operation), ClientClosedError)
        assert isinstance(await failure(side, third.with_key(OTHER), operation), ClientClosedError)
    assert (3, 1) == (len(server.log), server.connections)


async def test_closing_one_key_with_a_call_under_way(side: Side) -> None:
    """A call that is under way when its client of another key is closed ends as if nothing had happened."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def script(exchange: Exchange) -> None:
        arrived.set()
        await go_on.wait()
        await exchange.succeed()

    async with RawServer(script) as server:
        other = side.client(server.url).with_key(OTHER)
        call = asyncio.create_task(side.call(other, "delete"))
        await arrived.wait()
        await close(other)
        go_on.set()
        await call
        assert 1 == len(server.log)


async def test_closing_one_key_with_a_call_that_waits_for_a_connection(side: Side) -> None:
    """Such a call goes on too, and gives the connection back to the other keys."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def script(exchange: Exchange) -> None:
        arrived.set()
        await go_on.wait()
        await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, max_connections=1, timeout=20)
        other = client.with_key(OTHER)
        first = asyncio.create_task(side.call(client, "delete"))
        await arrived.wait()
        second = asyncio.create_task(side.call(other, "delete"))
        while not inside.transport(other).pool.place.waiting:
            await asyncio.sleep(0.001)
        await close(other)
        go_on.set()
        await asyncio.gather(first, second)
        await side.call(client, "delete")
        assert ([KEY, OTHER, KEY], 1) == (keys(server), server.connections)


async def test_closing_one_key_with_a_call_that_backs_off(side: Side, clock: VirtualClock) -> None:
    """A call that fails goes on with its retries, and ends with its own error."""
    others: list[AsyncOmiClient | OmiClient] = []

    async def script(exchange: Exchange) -> None:
        inside.transport(others[0]).leave()  # as closing does
        if exchange.number == 1:
            await exchange.send(answer(503, {"detail": "busy"}))
        elif exchange.number == 2:
            await exchange.succeed()
        else:
            exchange.reset()

    async with RawServer(script) as server:
        others.append(side.client(server.url, retry=clock.policy()).with_key(OTHER))
        await side.call(others[0], "delete")
        assert 2 == len(server.log)
        assert isinstance(await failure(side, others[0], "delete"), ClientClosedError)
        others[0] = others[0].with_key(OTHER)
        error = await failure(side, others[0], "delete")
        assert type(error) is TransportError
        assert "unknown" == error.outcome
        assert 5 == len(server.log)


async def test_closing_one_key_with_a_job_under_way(side: Side) -> None:
    """The job reports what was under way, and then that it was stopped."""
    arrived, go_on = threading.Event(), asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.name == "conv_1":
            arrived.set()
            await go_on.wait()
        await exchange.succeed()

    def work(client: OmiClient, seen: list[str]) -> None:
        for outcome in client.conversations.delete_many(["conv_0", "conv_1", "conv_2"], concurrency=1):
            seen.append(f"{outcome.id} {outcome.status}")

    async def await_work(client: AsyncOmiClient, seen: list[str]) -> None:
        async for outcome in client.conversations.delete_many(["conv_0", "conv_1", "conv_2"], concurrency=1):
            seen.append(f"{outcome.id} {outcome.status}")

    async with RawServer(script) as server:
        other = side.client(server.url).with_key(OTHER)
        seen: list[str] = []
        if isinstance(other, AsyncOmiClient):
            job = asyncio.create_task(await_work(other, seen))
        else:
            job = asyncio.create_task(asyncio.to_thread(work, other, seen))
        await asyncio.to_thread(arrived.wait)
        await close(other)
        go_on.set()
        with pytest.raises(BulkStoppedError) as caught:
            await job
        assert isinstance(caught.value.reason, ClientClosedError)
        assert (2, "unknown") == (caught.value.done, caught.value.outcome)
        assert ["conv_0 done", "conv_1 done", "conv_2 failed"] == seen
        assert 2 == len(server.log)


async def test_made_of_another_key(side: Side) -> None:
    """A client that was made of another key's is closed with the first one only."""
    async with RawServer(fine) as server:
        other = side.client(server.url).with_key(OTHER)
        third = other.with_key(KEY)
        await close(other)
        await side.call(third, "delete")
        await side.call(other.with_key(OTHER), "delete")
        await side.aclose()
        assert third.closed
        assert [KEY, OTHER] == keys(server)


async def test_a_window_that_a_job_waits_for(side: Side, clock: VirtualClock) -> None:
    """A job that waits for the window of a closed client ends, and does not wait for the window's end."""

    async def script(exchange: Exchange) -> None:
        inside.transport(other).leave()
        await exchange.send(answer(429, {"detail": "Rate limit exceeded"}, headers={"Retry-After": "900"}))

    async with RawServer(script) as server:
        other = side.client(server.url, retry=clock.policy()).with_key(OTHER)
        job: Any = other.conversations.delete_many(["conv_1"])
        with pytest.raises(BulkStoppedError, match="client is closed"):
            if isinstance(other, AsyncOmiClient):
                [each async for each in job]
            else:
                await asyncio.to_thread(list, job)
        assert (1, []) == (len(server.log), clock.sleeps)


@pytest.mark.parametrize(
    "key", ["", None, 7, "omi_mcp_canary", "Bearer omi_dev_canary", "omi_dev_canary of a key", "omi_dev_canary\n"]
)
async def test_refused_key(side: Side, key: str) -> None:
    """What cannot be a key is refused at once, and no report of the error shows it."""
    client = side.client("http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="key") as caught:
        client.with_key(key)
    error = caught.value
    del caught, key
    assert error.__context__ is None
    assert "canary" not in as_pytest_shows_it(error)


async def test_private(side: Side) -> None:
    """Neither key is in what a client shows of itself, and a client is not pickled."""
    client = side.client("http://127.0.0.1:9")
    other = client.with_key(OTHER)
    assert repr(client) == repr(other)
    for each in (client, other):
        assert OTHER not in repr(each) + repr(vars(each))
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(each)


async def test_forgotten_first_client(side: Side) -> None:
    """The connections stay as long as a client of any key does."""
    async with RawServer(fine) as server:
        other = (AsyncOmiClient if side.name == "async" else OmiClient)(KEY, base_url=server.url).with_key(OTHER)
        gc.collect()
        for _ in range(2):
            await side.call(other, "delete")
        assert 1 == server.connections
        kept = [other]
        del other

        def forget() -> None:
            kept.clear()
            gc.collect()

        with pytest.warns(ResourceWarning, match="was not closed"):
            forget()


async def test_observed(side: Side) -> None:
    """The function that observes the client is told of all keys' calls, on the caller's thread."""
    events: list[tuple[int, str]] = []

    def on_event(event: AttemptEnded | CallEnded) -> None:
        events.append((threading.get_ident(), type(event).__name__))
        assert KEY not in repr(event)
        assert OTHER not in repr(event)

    async with RawServer(fine) as server:
        other = side.client(server.url, on_event=on_event).with_key(OTHER)
        if isinstance(other, AsyncOmiClient):
            await other.conversations.delete("conv_1")
            thread = threading.get_ident()
        else:

            def call() -> int:
                other.conversations.delete("conv_1")
                return threading.get_ident()

            thread = await asyncio.to_thread(call)
    assert [(thread, "AttemptEnded"), (thread, "CallEnded")] == events


async def test_jobs_of_two_keys(side: Side, tmp_path: Path) -> None:
    """Jobs of two keys run side by side on one client, each with its own key."""
    ids = [f"conv_{number}" for number in range(20)]

    def work(client: OmiClient, name: str) -> int:
        with client.conversations.delete_many(ids, journal=tmp_path / name) as job:
            return sum(outcome.error is None for outcome in job)

    async def await_work(client: AsyncOmiClient, name: str) -> int:
        async with client.conversations.delete_many(ids, journal=tmp_path / name) as job:
            return sum([outcome.error is None async for outcome in job])

    async with RawServer(fine) as server:
        client = side.client(server.url)
        other = client.with_key(OTHER)
        if isinstance(client, AsyncOmiClient):
            assert isinstance(other, AsyncOmiClient)
            done = await asyncio.gather(await_work(client, "a"), await_work(other, "b"))
        else:
            assert isinstance(other, OmiClient)
            done = await asyncio.gather(asyncio.to_thread(work, client, "a"), asyncio.to_thread(work, other, "b"))
        assert [20, 20] == list(done)
        assert (20, 20) == (keys(server).count(KEY), keys(server).count(OTHER))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_the_child_of_a_fork() -> None:
    """In a forked child the clients of all keys start afresh together; the parent's go on."""
    source = """
        import os, sys
        from omi_sync import OmiClient

        client = OmiClient("omi_dev_first", base_url=sys.argv[1])
        other = client.with_key("omi_dev_second")
        client.conversations.delete("a")
        other.conversations.delete("a")
        child = os.fork()
        if child == 0:
            other.conversations.delete("a")
            client.conversations.delete("a")
            client.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        other.conversations.delete("a")
        client.close()
        """
    with in_thread(RawServer(fine)) as server:
        run(source, server.url, options=("-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning")).check()
        first, second = "omi_dev_first", "omi_dev_second"
        assert [first, second, second, first, second] == keys(server)
        assert 2 == server.connections


def test_ten_thousand_keys() -> None:
    """Each further key costs neither a descriptor nor a thread, and at most 4 KB of memory once it was used."""
    number = times(10_000)
    with in_thread(RawServer(fine)) as server, OmiClient(KEY, base_url=server.url) as client:
        kept = [client.with_key(f"omi_dev_warm_{each}") for each in range(3)]
        for each in kept:
            each.conversations.delete("conv_1")
        before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0, threading.active_count()
        tracemalloc.start()
        try:
            for count in range(number):
                other = client.with_key(f"omi_dev_{count:032}")
                other.conversations.delete("conv_1")
                kept.append(other)
                server.log.clear()
            gc.collect()
            own = tracemalloc.take_snapshot().filter_traces(
                [tracemalloc.Filter(True, "*/omi_*"), tracemalloc.Filter(True, "<attrs*")]
            )
        finally:
            tracemalloc.stop()
        size = sum(trace.size for trace in own.traces)
        after = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0, threading.active_count()
        print(f"keys of one client: keys {number}, bytes a key {size / number:.0f}, descriptors and threads {after}")
        assert before == after
        assert size / number < 4096
        assert 1 == server.connections
