"""Cancelling a call, from outside or by a timeout around it, leaves nothing behind and is never mistaken.

The server runs in the same loop as the client, so that a call's way can be walked one loop step at a time.
"""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs
import pytest
import trustme

from omi_async import AsyncOmiClient, ClientClosedError, RequestTimeoutError, RetryPolicy, Timeout
from omi_async.retry import Budget
from tests.support.raw import Exchange, RawServer, answer, success
from tests.support.scale import times
from tests.support.sides import KEY
from tests.support.specimens import Specimen, call

_CA = trustme.CA()

_SLOW = 8  # loop steps that slow servers and waits take between two signs of life


async def _steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _succeed(exchange: Exchange) -> None:
    await exchange.succeed()


async def _answer_in_pieces(exchange: Exchange) -> None:
    data = success(exchange)
    head, body = data[:40], data[40:]
    for piece in (head, body[:-20], body[-20:-1], body[-1:]):
        await exchange.send(piece)
        await _steps(_SLOW // 2)


async def _fail_first(exchange: Exchange) -> None:
    if exchange.number % 2:
        await exchange.send(answer(429, {"detail": "busy"}))
    else:
        await exchange.succeed()


async def _answer_late(exchange: Exchange) -> None:
    await _steps(_SLOW)
    await exchange.succeed()


async def _wait_a_little(_: float) -> None:
    await _steps(_SLOW)


@attrs.frozen
class _Phase:
    """What the server does, and whether the walk begins with a connection, or behind another call."""

    script: Callable[[Exchange], Awaitable[None]]
    warm: bool = True
    tls: bool = False
    behind_another: bool = False


_PHASES = {
    "connecting": _Phase(_succeed, warm=False),
    "securing": _Phase(_succeed, warm=False, tls=True),
    "on a kept connection": _Phase(_succeed),
    "on a kept secure connection": _Phase(_succeed, tls=True),
    "reading": _Phase(_answer_in_pieces),
    "backing off": _Phase(_fail_first, warm=False),
    "waiting for a slot": _Phase(_answer_late, behind_another=True),
}


def _server(phase: _Phase) -> RawServer:
    if not phase.tls:
        return RawServer(phase.script)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _CA.issue_cert("127.0.0.1").configure_cert(context)
    return RawServer(phase.script, tls=context)


@asynccontextmanager
async def _client(phase: _Phase, server: RawServer) -> AsyncIterator[AsyncOmiClient]:
    policy = RetryPolicy(sleep=_wait_a_little)
    if not phase.tls:
        async with AsyncOmiClient(KEY, base_url=server.url, retry=policy, max_connections=1) as client:
            yield client
        return
    context = ssl.create_default_context()
    _CA.configure_trust(context)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        AsyncOmiClient(KEY, base_url=server.url, retry=policy, max_connections=1, session=session) as client,
    ):
        yield client


async def _becomes(expected: object, look: Callable[[], object]) -> None:
    """The loop needs a few steps to bury what was cancelled; then there must be nothing left."""
    end = time.monotonic() + 5
    while look() != expected and time.monotonic() < end:
        await asyncio.sleep(0.001)
    assert expected == look()


def _own_tasks(server: RawServer) -> set[asyncio.Task[Any]]:
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current and task not in server._tasks}


def _in_use(client: AsyncOmiClient) -> tuple[object, ...]:
    transport = client._transport
    session = transport.pool.place.session
    taken = 0 if session is None or session.connector is None else len(session.connector._acquired)
    return (
        transport.pool.max_connections - transport.pool.place.slots._value,
        len(transport.pool.place.sending),
        len(transport.pool.place.waiting),
        taken,
    )


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.figure
@pytest.mark.scenario(138)
@pytest.mark.parametrize("phase", _PHASES.values(), ids=_PHASES.keys())
async def test_cancelled_at_every_step(specimen: Specimen, phase: _Phase, figure: Callable[..., None]) -> None:
    """Wherever a call is cancelled, the cancellation comes out, nothing stays taken, and the next call works."""
    files = _open_files()
    slowest, arrived, step = 0.0, 0, -1
    async with _server(phase) as server:
        under_way = True
        while under_way:
            step += 1
            assert step < 1000
            async with _client(phase, server) as client:
                if phase.warm:
                    await call(client, specimen.name)
                other = asyncio.create_task(call(client, specimen.name)) if phase.behind_another else None
                if other is not None:
                    await _steps(1)
                before = len(server.log)
                task = asyncio.create_task(call(client, specimen.name))
                await _steps(step)
                under_way = task.cancel()
                asked = time.perf_counter()
                await asyncio.wait([task], timeout=10)
                slowest = max(slowest, time.perf_counter() - asked)
                assert under_way == task.cancelled(), f"step {step}: {task}"
                if other is not None:
                    await other
                await _becomes(set(), lambda: _own_tasks(server))
                assert (0, 0, 0, 0) == _in_use(client), f"step {step}"
                arrived += len(server.log) - before - phase.behind_another > 0
                if phase.script is _fail_first and len(server.log) % 2:
                    await call(client, specimen.name)  # the server is due to succeed
                await call(client, specimen.name)
    assert step > 3
    await _becomes(files, _open_files)
    name = next(name for name, each in _PHASES.items() if each is phase)
    figure(
        f"cancellation {name}, {specimen.name}",
        steps=step,
        requests_that_had_arrived=arrived,
        leaks=0,
        slowest_ms=round(slowest * 1000, 1),
    )


@pytest.mark.scenario(138)
async def test_cancelled_while_the_client_closes() -> None:
    """A call cancelled at any step of the client's closing leaves nothing behind, and the closing ends."""
    files, step, under_way = _open_files(), -1, True
    async with RawServer(_answer_late) as server:
        while under_way:
            step += 1
            client = AsyncOmiClient(KEY, base_url=server.url)
            task = asyncio.create_task(call(client, "update"))
            while not client._transport.pool.place.sending:
                await asyncio.sleep(0)
            closing = asyncio.create_task(client.aclose())
            await _steps(step)
            under_way = task.cancel()
            await asyncio.wait([task, closing], timeout=10)
            assert (under_way, True, None) == (task.cancelled(), closing.done(), closing.exception())
            await _becomes(set(), lambda: _own_tasks(server))
    assert step > 3
    await _becomes(files, _open_files)


@pytest.mark.scenario(138)
async def test_closing_cancelled() -> None:
    """Cancelling the closing itself, at any step, still closes: the call under way ends and nothing leaks."""
    files, step, under_way = _open_files(), -1, True
    async with RawServer(_answer_late) as server:
        while under_way:
            step += 1
            client = AsyncOmiClient(KEY, base_url=server.url)
            task = asyncio.create_task(call(client, "update"))
            while not client._transport.pool.place.sending:
                await asyncio.sleep(0)
            closing = asyncio.create_task(client.aclose())
            await _steps(step)
            under_way = closing.cancel()
            done, _ = await asyncio.wait([task, closing], timeout=10)
            assert {task, closing} == done
            assert under_way == closing.cancelled()
            error = task.exception()
            assert error is None or isinstance(error, ClientClosedError), f"step {step}: {error!r}"
            if step:  # cancelled before its first step, a coroutine does nothing at all
                assert client.closed
            await client.aclose()
            await _becomes(set(), lambda: _own_tasks(server))
    assert step > 3
    await _becomes(files, _open_files)


@pytest.mark.scenario(138)
async def test_cancelled_wait_costs_no_budget() -> None:
    """A retry that was cancelled before it was made is given back to the client's budget."""
    waiting = asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    async with (
        RawServer(_fail_first) as server,
        AsyncOmiClient(KEY, base_url=server.url, retry=RetryPolicy(sleep=sleep)) as client,
    ):
        task = asyncio.create_task(call(client, "update"))
        await waiting.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert Budget.FULL == client._retrier.budget.tokens


async def _hang(exchange: Exchange) -> None:
    await exchange.hang()


async def _by_timeout(call: Coroutine[Any, Any, object]) -> None:
    async with asyncio.timeout(0.25):
        await call


async def _by_wait_for(call: Coroutine[Any, Any, object]) -> None:
    await asyncio.wait_for(call, 0.25)


@pytest.mark.scenario(139)
@pytest.mark.parametrize("limited", [_by_timeout, _by_wait_for], ids=["timeout", "wait_for"])
async def test_time_limit_of_the_caller(limited: Callable[[Coroutine[Any, Any, object]], Awaitable[None]]) -> None:
    """A time limit around a call stays the caller's own TimeoutError, and no cancellation is left over."""
    async with RawServer(_hang) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        with pytest.raises(TimeoutError) as caught:
            await limited(call(client, "update"))
        assert TimeoutError is caught.type
        task = asyncio.current_task()
        assert task is not None
        assert 0 == task.cancelling()
        assert 1 == len(server.log)


@pytest.mark.scenario(139)
async def test_both_limits_at_once() -> None:
    """Where the caller's limit and the attempt's run out in one loop step, a TimeoutError comes out, and once."""
    task = asyncio.current_task()
    assert task is not None
    async with RawServer(_hang) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        for limit in (0.030, 0.040, 0.050):
            asyncio.get_running_loop().call_later(0.025, time.sleep, 0.03)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.04):
                    await client.conversations.delete(
                        "conv_1", timeout=Timeout(attempt=limit), retry=RetryPolicy.never()
                    )
            assert 0 == task.cancelling()
            await asyncio.sleep(0.01)
        assert (0, 0, 0, 0) == _in_use(client)


@pytest.mark.scenario(139)
async def test_own_limit_under_a_longer_one() -> None:
    """An attempt's own limit inside a longer one of the caller's is retried, and does not count as cancelling."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.hang()
        await exchange.succeed()

    policy = RetryPolicy(initial=0.0)
    async with (
        RawServer(script) as server,
        AsyncOmiClient(KEY, base_url=server.url, timeout=Timeout(attempt=0.2), retry=policy) as client,
        asyncio.timeout(30),
    ):
        await call(client, "update")
        task = asyncio.current_task()
        assert task is not None
        assert (0, 2) == (task.cancelling(), len(server.log))


@pytest.mark.scenario(139)
async def test_cancelled_twice() -> None:
    """A second cancellation adds nothing: one CancelledError, both counted, one request."""
    async with RawServer(_hang) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        task = asyncio.create_task(call(client, "update"))
        await _becomes(1, lambda: len(server.log))
        task.cancel("first")
        task.cancel("second")
        await asyncio.wait([task], timeout=10)
        assert (True, 2) == (task.cancelled(), task.cancelling())
        await _becomes(set(), lambda: _own_tasks(server))
        assert 1 == len(server.log)
        assert (0, 0, 0, 0) == _in_use(client)


@pytest.mark.scenario(139)
async def test_task_group() -> None:
    """A call in a task group whose other task fails is cancelled and adds no error of its own."""
    async with RawServer(_hang) as server, AsyncOmiClient(KEY, base_url=server.url) as client:

        async def fail() -> None:
            await _becomes(1, lambda: len(server.log))
            raise LookupError("on purpose")

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(call(client, "update"))
                group.create_task(fail())
        assert [LookupError] == [type(error) for error in caught.value.exceptions]
        assert task.cancelled()
        assert (0, 0, 0, 0) == _in_use(client)


@pytest.mark.scenario(139)
async def test_caller_catches_the_cancellation() -> None:
    """A caller that catches the cancellation, and takes it back, can call again from the same task."""
    async with RawServer(_succeed) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await call(client, "update")
        task.uncancel()
        await call(client, "update")
        with pytest.raises(RequestTimeoutError):
            await client.conversations.delete("conv_1", timeout=1e-9)


@pytest.mark.figure
@pytest.mark.scenario(140)
async def test_cancelled_as_the_answer_arrives(operation: str, figure: Callable[..., None]) -> None:
    """A cancellation that meets the answer ends in the result or in the cancellation, never in anything else."""
    cancelled, done, rounds = 0, 0, times(10_000)
    gate = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await gate.wait()
        await exchange.succeed()

    async with RawServer(script) as server, AsyncOmiClient(KEY, base_url=server.url, max_connections=1) as client:
        for number in range(rounds):
            gate.clear()
            arrived = len(server.log)
            task = asyncio.create_task(call(client, operation))
            while len(server.log) == arrived:
                await asyncio.sleep(0)
            gate.set()
            await _steps(number % 8)
            asked = task.cancel()
            await asyncio.wait([task], timeout=10)
            if task.cancelled():
                assert asked
                cancelled += 1
            else:
                task.result()
                done += 1
            assert (0, 0, 0, 0) == _in_use(client)
            assert arrived + 1 == len(server.log)
        await _becomes(set(), lambda: _own_tasks(server))
    assert cancelled > 0
    assert done > 0
    figure(f"cancelled with the answer, {operation}", races=rounds, results=done, cancellations=cancelled, others=0)
