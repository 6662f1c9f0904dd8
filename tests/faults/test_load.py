"""Many calls at once, outages, and what stays behind of a great many calls."""

import asyncio
import gc
import logging
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from omi_async import (
    AsyncOmiClient,
    Conversation,
    Deletion,
    OmiError,
    RequestTimeoutError,
    RetryPolicy,
    ServerError,
    Timeout,
)
from omi_async.retry import Budget
from omi_sync import OmiClient, _bridge
from tests.support import storm, truth
from tests.support.clock import VirtualClock
from tests.support.inside import Answer
from tests.support.operations import BY_NAME, Asked, Record
from tests.support.raw import Exchange, RawServer, answer, in_thread
from tests.support.scale import times
from tests.support.sides import KEY, Side
from tests.support.truth import CHOICES, Choice, Truth


def _fault(asked: Asked, name: str, moment: str = "before") -> Choice:
    return next(choice for choice in CHOICES[asked.operation.name] if (choice[0].name, choice[1]) == (name, moment))


def _always(name: str, moment: str = "before") -> Callable[[Asked], Choice]:
    return lambda asked: _fault(asked, name, moment)


async def _no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


async def _outcomes(client: AsyncOmiClient | OmiClient, operation: str, ids: list[str]) -> list[object]:
    """One call for each id, all at once: on the synchronous side, as many as 64 threads make."""
    settings: dict[str, Any] = {"title": "Design review"} if operation == "update" else {}
    method = getattr(client.conversations, operation)
    if isinstance(client, AsyncOmiClient):
        return list(await asyncio.gather(*[method(each, **settings) for each in ids], return_exceptions=True))

    def call(each: str) -> object:
        try:
            result: object = method(each, **settings)
        except OmiError as error:
            return error
        return result

    def all_of_them() -> list[object]:
        with ThreadPoolExecutor(64) as pool:
            return list(pool.map(call, ids))

    return await asyncio.to_thread(all_of_them)


def _ids(count: int) -> list[str]:
    return [f"conv_{number}" for number in range(count)]


@pytest.mark.figure
@pytest.mark.scenario(166)
async def test_ten_thousand_at_once(side: Side, operation: str, figure: Callable[..., None]) -> None:
    """All of 10,000 calls at once are answered, none waits in vain, and no more than allowed are on the wire."""
    ids, began = _ids(times(10_000)), time.monotonic()
    with truth.process(delay=0.005) as url:
        client = side.client(url, max_connections=50)
        outcomes = await _outcomes(client, operation, ids)
        state = await asyncio.to_thread(truth.ask, url)
    seconds = time.monotonic() - began
    figure(f"at once, {side.name} {operation}", calls=len(ids), seconds=round(seconds, 2), most_in_flight=state["peak"])
    kind = Conversation if operation == "update" else Deletion
    assert Counter({kind: len(ids)}) == Counter(map(type, outcomes))
    assert len(ids) == state["requests"]
    assert 50 >= state["peak"]
    assert 50 >= state["connections"]


@pytest.mark.figure
@pytest.mark.scenario(167)
async def test_cancel_ten_thousand(operation: str, figure: Callable[..., None]) -> None:
    """10,000 calls under way are cancelled together: all end, nothing leaks, the next call works."""
    ids, before = _ids(times(10_000)), len(asyncio.all_tasks())
    async with Truth() as server:
        server.script = _always("stall")
        async with AsyncOmiClient(KEY, base_url=server.url, max_connections=50) as client:
            settings: dict[str, Any] = {"title": "Design review"} if operation == "update" else {}
            method = getattr(client.conversations, operation)
            tasks = [asyncio.create_task(method(each, **settings)) for each in ids]
            while server.in_flight < 50:
                await asyncio.sleep(0.01)
            began = time.monotonic()
            for task in tasks:
                task.cancel()
            ended, pending = await asyncio.wait(tasks, timeout=20)
            seconds = time.monotonic() - began
            figure(f"cancel at once, {operation}", calls=len(ids), seconds=round(seconds, 3))
            assert set() == pending
            assert all(task.cancelled() for task in ended)
            assert 0 == storm.slots_lost(client)
            assert before == len(asyncio.all_tasks())
            assert Budget.FULL == client._retrier.budget.tokens
            server.script = None
            await method("conv_next", **settings)
        await asyncio.sleep(0.05)
        assert 0 == server.open_connections


@pytest.mark.figure
@pytest.mark.scenario(172)
@pytest.mark.parametrize("outage", ["reset", "close", "500", "stall"])
async def test_total_outage(outage: str, figure: Callable[..., None]) -> None:
    """A server that is down gets at most 1.1 requests a call, and exactly one request an attempt."""
    # A hanging server needs real time, and room for every attempt to be sent within its limit.
    calls, at_once = (max(50, times(2_000)), 50) if outage == "stall" else (times(10_000), 100)
    outcomes: list[object] = []
    async with Truth() as server:
        server.script = _always(outage)
        async with AsyncOmiClient(
            KEY,
            base_url=server.url,
            timeout=Timeout(attempt=0.3 if outage == "stall" else 20.0),
            retry=RetryPolicy(sleep=_no_wait),
        ) as client:
            for first in range(0, calls, at_once):
                outcomes += await _outcomes(client, "delete", [f"conv_{first + index}" for index in range(at_once)])
    attempts = sum(error.attempts for error in outcomes if isinstance(error, OmiError))
    figure(
        f"total outage, {outage}, delete",
        calls=calls,
        requests_a_call=server.requests / calls,
        requests_an_attempt=server.requests / attempts,
    )
    assert calls == sum(isinstance(outcome, OmiError) for outcome in outcomes)
    assert server.requests <= attempts
    if outage != "stall":  # with a limit that short, a busy machine may not get to sending
        assert server.requests == attempts
    assert max(1.1 * calls, calls + Budget.FULL // Budget.RETRY_COST) >= server.requests


@pytest.mark.scenario(172)
async def test_budget_on_a_closed_port(side: Side, operation: str) -> None:
    """Connections that are refused are charged to the retry budget as well."""
    async with Truth() as server:
        url = server.url
    client = side.client(url, retry=RetryPolicy(sleep=_no_wait))
    outcomes = await _outcomes(client, operation, _ids(100))
    errors = [error for error in outcomes if isinstance(error, OmiError)]
    assert Counter({"not_applied": 100}) == Counter(error.outcome for error in errors)
    assert 100 + Budget.FULL // Budget.RETRY_COST == sum(error.attempts for error in errors)


@pytest.mark.scenario(173)
async def test_recovery(side: Side, clock: VirtualClock) -> None:
    """After an outage of 10 s every call works at once, and the budget is full again after one refill."""
    end = clock.now + 10.0

    async def script(exchange: Exchange) -> None:
        await (exchange.succeed() if clock.now >= end else exchange.send(answer(500)))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy(initial=0.01, maximum=0.01))
        failed = 0
        while clock.now < end:
            (outcome,) = await _outcomes(client, "update", ["conv_1"])
            failed += isinstance(outcome, ServerError)
            clock.now += 0.1
        assert Budget.FULL // Budget.RETRY_COST == len(server.log) - failed
        for _ in range(Budget.FULL):
            (outcome,) = await _outcomes(client, "update", ["conv_1"])
            assert isinstance(outcome, (Conversation, Deletion))
        budget = storm.inner(client)._retrier.budget
        assert Budget.FULL == budget.tokens
        before, end = len(server.log), clock.now + 10.0
        await _outcomes(client, "update", ["conv_1"])
        assert 3 == len(server.log) - before


@pytest.mark.scenario(173)
async def test_no_thundering_herd(operation: str) -> None:
    """Calls that failed in the same instant return spread over the whole wait, none outside it."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    draw = random.Random(1).random
    policy = RetryPolicy(attempts=2, initial=1.0, sleep=note, random=draw)
    async with Truth() as server:
        server.script = _always("500")
        for _ in range(10):
            async with AsyncOmiClient(KEY, base_url=server.url, retry=policy) as client:
                await _outcomes(client, operation, _ids(30))
    tenths = Counter(int(wait * 10) for wait in waits)
    assert 300 == len(waits)
    assert set(range(10)) == set(tenths)
    assert 15 <= min(tenths.values())
    assert 60 >= max(tenths.values())


@pytest.mark.figure
@pytest.mark.scenario(174)
async def test_budget_under_load(side: Side, figure: Callable[..., None]) -> None:
    """Thousands of calls share the budget: it never leaves its bounds, and successes fill it to the brim."""
    seen: list[int] = []

    async def note(seconds: float) -> None:
        seen.append(budget.tokens)
        await asyncio.sleep(0)
        seen.append(budget.tokens)

    async with Truth(seed=3) as server:
        server.script = lambda asked: (
            _fault(asked, "500") if random.Random(f"{asked.id}/{asked.record.requests}").random() < 0.2 else None
        )
        client = side.client(server.url, retry=RetryPolicy(sleep=note))
        budget = storm.inner(client)._retrier.budget
        ids = _ids(times(10_000))
        await _outcomes(client, "update", ids)
        low = min(seen)
        figure(f"retry budget, {side.name} update", calls=len(ids), lowest=low, highest=max(seen))
        assert 0 <= low
        assert Budget.FULL >= max(seen)
        server.script = None
        await _outcomes(client, "update", [f"after_{number}" for number in range(Budget.FULL)])
        assert Budget.FULL == budget.tokens


@pytest.mark.scenario(174)
async def test_budget_given_back(side: Side, operation: str) -> None:
    """Retries that succeed give back what they took, however many are under way at once."""
    low: list[int] = []

    async def note(seconds: float) -> None:
        low.append(budget.tokens)
        await asyncio.sleep(0)

    async with Truth() as server:
        server.script = lambda asked: _fault(asked, "500") if asked.record.requests == 1 else None
        client = side.client(server.url, retry=RetryPolicy(sleep=note))
        budget = storm.inner(client)._retrier.budget
        await _outcomes(client, operation, _ids(30))
    assert Budget.FULL > min(low)
    assert Budget.FULL == budget.tokens


@pytest.mark.scenario(174, 138)
async def test_budget_after_cancellation(operation: str) -> None:
    """A call that is cancelled while it waits for its retry has not made it, and gives its tokens back."""
    waiting: list[float] = []

    async def for_ever(seconds: float) -> None:
        waiting.append(seconds)
        await asyncio.Event().wait()

    async with Truth() as server:
        server.script = _always("500")
        async with AsyncOmiClient(KEY, base_url=server.url, retry=RetryPolicy(sleep=for_ever)) as client:
            calls = asyncio.create_task(_outcomes(client, operation, _ids(20)))
            while len(waiting) < 20:
                await asyncio.sleep(0.005)
            budget = client._retrier.budget
            assert Budget.FULL - 20 * Budget.RETRY_COST == budget.tokens
            calls.cancel()
            await asyncio.wait([calls])
            assert 0 == storm.slots_lost(client)
            assert Budget.FULL == budget.tokens


@pytest.mark.scenario(175)
async def test_slow_server(side: Side) -> None:
    """Time-outs and their retries never raise the number of requests on the wire above the limit."""
    async with Truth() as server:
        server.script = _always("stall")
        client = side.client(
            server.url, timeout=Timeout(attempt=0.05), retry=RetryPolicy(sleep=_no_wait), max_connections=10
        )
        outcomes = await _outcomes(client, "update", _ids(100))
        assert Counter({RequestTimeoutError: 100}) == Counter(map(type, outcomes))
        # The server hears of the end of an attempt after the client has begun the next one.
        assert 10 <= server.peak <= 2 * 10
        assert 100 < server.requests


@pytest.mark.scenario(50, 175)
async def test_queue_counts_to_the_whole_call_only(side: Side) -> None:
    """Waiting behind others does not use up the limit of an attempt."""

    async def script(exchange: Exchange) -> None:
        await asyncio.sleep(0.015)
        await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, timeout=Timeout(attempt=0.6), retry=RetryPolicy.never(), max_connections=1)
        outcomes = await _outcomes(client, "update", _ids(60))
    assert [] == [outcome for outcome in outcomes if isinstance(outcome, OmiError)]


@pytest.mark.scenario(151)
def test_no_thread_is_left(operation: str) -> None:
    """However many synchronous clients come and go, each one's thread has ended when its `close` returns."""
    before = set(threading.enumerate())
    with in_thread(Truth()) as server:
        serving = set(threading.enumerate()) - before
        for number in range(20):
            with OmiClient(KEY, base_url=server.url) as client:
                if operation == "update":
                    client.conversations.update(f"conv_{number}", title="Design review")
                else:
                    client.conversations.delete(f"conv_{number}")
            assert serving == set(threading.enumerate()) - before


@pytest.mark.scenario(143, 151)
def test_close_while_the_thread_starts(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is closed while another thread's first call starts its loop has one loop, which ends."""
    starting, go_on = threading.Event(), threading.Event()
    before = set(threading.enumerate())

    class Slow(threading.Thread):
        def start(self) -> None:
            if not starting.is_set():
                starting.set()
                go_on.wait()
            super().start()

    names = {name: getattr(threading, name) for name in dir(threading) if not name.startswith("__")}
    monkeypatch.setattr(_bridge, "threading", SimpleNamespace(**{**names, "Thread": Slow}))
    client = OmiClient(KEY, base_url="http://127.0.0.1:9")
    call = threading.Thread(target=lambda: asyncio.run(_outcomes(client, operation, ["conv_1"])))
    call.start()
    starting.wait()
    close = threading.Thread(target=client.close)
    close.start()
    close.join(0.1)  # it may wait for the other
    go_on.set()
    call.join()
    close.join()
    left = set(threading.enumerate()) - before
    assert set() == left


@pytest.mark.scenario(50)
async def test_slot_of_a_late_call(operation: str, clock: VirtualClock) -> None:
    """A call whose time is over by the moment it gets its connection sends nothing and leaves the connection free."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def script(exchange: Exchange) -> None:
        arrived.set()
        await go_on.wait()
        await exchange.succeed()

    async with RawServer(script) as server:
        async with AsyncOmiClient(KEY, base_url=server.url, retry=clock.policy(), max_connections=1) as client:
            first = asyncio.create_task(_outcomes(client, operation, ["conv_first"]))
            await arrived.wait()
            second = asyncio.create_task(_outcomes(client, operation, ["conv_second"]))
            await asyncio.sleep(0.01)
            clock.now += 100.0
            go_on.set()
            assert isinstance((await first)[0], (Conversation, Deletion))
            (late,) = await second
            assert isinstance(late, RequestTimeoutError)
            assert "not_applied" == late.outcome
            assert 0 == storm.slots_lost(client)
            assert isinstance((await _outcomes(client, operation, ["conv_third"]))[0], (Conversation, Deletion))
        assert ["conv_first", "conv_third"] == [exchange.path.rpartition("/")[2] for exchange in server.log]


@pytest.mark.figure
@pytest.mark.scenario(179)
async def test_nothing_is_kept(
    side: Side, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, figure: Callable[..., None]
) -> None:
    """A million calls on as many ids leave no object behind."""
    caplog.set_level(logging.CRITICAL, logger="omi_async")  # pytest keeps the records of all failures
    body = Asked(BY_NAME["conversations.delete"], "any", {}, Record(True)).body()
    missing = Answer(404, body=b'{"detail":"Conversation not found"}')
    count = 0

    async def send(request: Any, attempt: Any) -> Answer:
        nonlocal count
        count += 1
        # Every tenth is refused, so that errors are among them.
        return missing if count % 10 == 0 else Answer(200, body=body)

    client = side.client("http://127.0.0.1:9")
    monkeypatch.setattr(storm.inner(client)._transport, "send", send)
    rounds = times(500_000)

    async def calls(number: int) -> None:
        if isinstance(client, AsyncOmiClient):
            for index in range(number):
                try:
                    await client.conversations.delete(f"conv_{count}_{index}")
                except OmiError:
                    pass
        else:
            await asyncio.to_thread(blocking_calls, client, number)

    def blocking_calls(client: OmiClient, number: int) -> None:
        for index in range(number):
            try:
                client.conversations.delete(f"conv_{count}_{index}")
            except OmiError:
                pass

    await calls(6_000)
    gc.collect()
    before = sys.getallocatedblocks()
    await calls(rounds)
    gc.collect()
    grown = sys.getallocatedblocks() - before
    figure(f"nothing is kept, {side.name}", calls=rounds, memory_blocks_more=grown)
    assert 1_000 > grown
