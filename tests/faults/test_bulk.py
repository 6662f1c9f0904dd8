"""What a bulk job sends, reports and leaves behind."""

import asyncio
import contextlib
import itertools
import json
import logging
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from omi_async import (
    AsyncOmiClient,
    AuthenticationError,
    BulkProgress,
    BulkStatus,
    BulkStoppedError,
    ClientClosedError,
    ConfigurationError,
    Conversation,
    ConversationUpdate,
    Deletion,
    InvalidRequestError,
    JournalError,
    NotFoundError,
    OmiError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from omi_async._wire.fork import in_sqlite
from omi_async.journal import Journal
from omi_sync import OmiClient
from tests.support.bulk import TITLE, Counting, Doors, Input, Job, ids, item, items, reach, still, until
from tests.support.clock import VirtualClock
from tests.support.raw import Exchange, RawServer, answer
from tests.support.scale import times
from tests.support.sides import KEY, Side
from tests.support.subprocesses import start

DONE, UNCONFIRMED, FAILED, UNKNOWN = BulkStatus.DONE, BulkStatus.UNCONFIRMED, BulkStatus.FAILED, BulkStatus.UNKNOWN


class OwnError(Exception):
    """What a caller's own code raises."""


async def aclose(client: AsyncOmiClient | OmiClient) -> None:
    if isinstance(client, AsyncOmiClient):
        await client.aclose()
    else:
        await asyncio.to_thread(client.close)


# What is reported


@pytest.mark.scenario(168, 169)
async def test_each_item_is_reported_once(side: Side, operation: str, clock: VirtualClock) -> None:
    """Whatever becomes of an item it is reported once, with its status, result or error, and number of requests."""

    async def script(exchange: Exchange) -> None:
        kind = exchange.path.rpartition("_")[2]
        first = 1 == sum(exchange.path == each.path for each in server.log)
        match kind:
            case "missing":
                await exchange.send(answer(404, {"detail": "Conversation not found"}))
            case "locked":
                await exchange.send(answer(402, {"detail": "A paid plan is required."}))
            case "broken":
                await exchange.send(answer(500, "Internal Server Error"))
            case "lost" if first:
                exchange.reset()
            case "lost":
                await exchange.send(answer(404, {"detail": "Conversation not found"}))
            case "flaky" if first:
                await exchange.send(answer(503, {"detail": "Later"}))
            case _:
                await exchange.succeed()

    kinds = ("good", "missing", "locked", "broken", "lost", "flaky")
    names = [f"conv_{number}_{kind}" for number in range(8) for kind in kinds]
    lost: tuple[Any, ...] = (UNCONFIRMED, None, 2) if operation == "delete" else (UNKNOWN, NotFoundError, 2)
    expected: dict[str, tuple[Any, ...]] = {
        "good": (DONE, None, 1),
        "missing": (FAILED, NotFoundError, 1),
        "locked": (FAILED, OmiError, 1),
        "broken": (UNKNOWN, ServerError, 3),
        "lost": lost,
        "flaky": (DONE, None, 2),
    }
    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        async with Job(client, operation, [item(operation, name) for name in names]) as job:
            outcomes = await job.rest()
            assert None is await job.next()
    assert sorted(names) == sorted(ids(outcomes))
    result = Deletion if operation == "delete" else Conversation
    for outcome in outcomes:
        status, error, attempts = expected[outcome.id.rpartition("_")[2]]
        assert (status, attempts) == (outcome.status, outcome.attempts), outcome
        assert isinstance(outcome.error, error) if error else outcome.error is None
        assert isinstance(outcome.result, result) if error is None else outcome.result is None
    assert dict.fromkeys(names, 1) == Counter(ids(outcomes))
    assert [] == job.unclaimed


@pytest.mark.scenario(169)
@pytest.mark.parametrize("input_kind", ["iterable", "async"])
async def test_bad_items_fail_alone(side: Side, operation: str, input_kind: str, clock: VirtualClock) -> None:
    """An item that cannot be sent fails by itself, costs no request and stops nothing."""
    bad: list[tuple[Any, str]]
    if operation == "delete":
        bad = [
            ("", ""),
            ("../memories/m1", "../memories/m1"),
            ("a?b", "a?b"),
            ("\udcff", "\udcff"),
            (5, "<int>"),
            (None, "<NoneType>"),
            (b"conv", "<bytes>"),
        ]
    else:
        bad = [
            (ConversationUpdate("conv_a"), "conv_a"),
            (ConversationUpdate("conv_b", title=" "), "conv_b"),
            (ConversationUpdate("conv_c", title="x" * 501), "conv_c"),
            (ConversationUpdate("..", title="x"), ".."),
            (ConversationUpdate(7, title="x"), "<int>"),  # type: ignore[arg-type]
            (ConversationUpdate("conv_d", discarded="no"), "conv_d"),  # type: ignore[arg-type]
            ("conv_e", "conv_e"),
            ({"conversation_id": "conv_f"}, "<dict>"),
        ]
    good = items(operation, 20)
    mixed = [each for pair in zip([value for value, _ in bad], good, strict=False) for each in pair]
    source = Input([*mixed, *good[len(bad) :]])
    if input_kind == "async" and side.name == "sync":
        pytest.skip("the synchronous side takes synchronous inputs")
    async with RawServer(Counting()) as server:
        client = side.client(server.url, retry=clock.policy())
        async with Job(client, operation, source.read() if input_kind == "iterable" else source.stream()) as job:
            outcomes = await job.rest()
    failed = [outcome for outcome in outcomes if outcome.status is not DONE]
    assert sorted(f"conv_{number}" for number in range(20)) == sorted(ids(set(outcomes) - set(failed)))
    assert Counter((name, InvalidRequestError) for _, name in bad) == Counter(
        (outcome.id, type(outcome.error)) for outcome in failed
    )
    assert {(FAILED, 0)} == {(outcome.status, outcome.attempts) for outcome in failed}
    assert all(str(outcome.error).endswith(". Nothing was sent.") for outcome in failed)
    assert 20 == len(server.log)


@pytest.mark.scenario(169)
async def test_nothing_but_poison(side: Side, operation: str, clock: VirtualClock) -> None:
    """A job whose every item fails reports every item and ends without an error of its own."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer(422, {"detail": "No"}))

    async with (
        RawServer(script) as server,
        Job(side.client(server.url, retry=clock.policy()), operation, items(operation, 30)) as job,
    ):
        outcomes = await job.rest()
    assert 30 == len(set(ids(outcomes)))
    assert {FAILED} == {outcome.status for outcome in outcomes}
    assert (0, 30, 30) == (job.progress.done, job.progress.failed, job.progress.settled)


async def test_nothing_at_all(side: Side, operation: str) -> None:
    """A job without items ends at once and opens no connection."""

    async def script(exchange: Exchange) -> None:
        raise AssertionError

    async with RawServer(script) as server:
        async with Job(side.client(server.url), operation, []) as job:
            assert [] == await job.rest()
        assert 0 == server.connections


# How the input is read


@pytest.mark.scenario(168, 169)
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("input_kind", ["iterable", "async"])
async def test_no_further_than_needed(side: Side, operation: str, concurrency: int, input_kind: str) -> None:
    """A slow consumer holds the job up: the input is read, and requests are made, only a little beyond it."""
    if input_kind == "async" and side.name == "sync":
        pytest.skip("the synchronous side takes synchronous inputs")
    source = Input(item(operation, f"conv_{number}") for number in itertools.count())
    counting = Counting()
    async with RawServer(counting) as server:
        client = side.client(server.url)
        held = concurrency if side.name == "async" else 2 * concurrency
        stream = source.read() if input_kind == "iterable" else source.stream()
        async with Job(client, operation, stream, concurrency=concurrency) as job:
            assert 0 == source.pulled
            for taken in range(1, 20):
                assert await job.next() is not None
                if taken in (1, 2, 7, 19):
                    assert taken + reach(client, concurrency) >= await still(lambda: source.pulled)
                    assert taken + held >= len(server.log)
        assert source.closed
        assert concurrency >= counting.peak


async def test_input_is_read_on_the_callers_thread() -> None:
    """A synchronous input is read where the caller iterates, whatever thread-bound thing it is made of."""
    caller: set[int] = set()
    async with RawServer(Counting()) as server:

        def job() -> int:
            caller.add(threading.get_ident())
            connection = sqlite3.connect(":memory:")
            with contextlib.closing(connection), OmiClient(KEY, base_url=server.url) as omi:
                connection.execute("CREATE TABLE ids (id TEXT)")
                connection.executemany("INSERT INTO ids VALUES (?)", [(each,) for each in items("delete", 100)])
                rows = (str(row[0]) for row in connection.execute("SELECT id FROM ids"))
                watched = Input(rows)
                with omi.conversations.delete_many(watched.read()) as bulk:
                    count = sum(outcome.status is DONE for outcome in bulk)
                assert caller == watched.threads
                return count

        assert 100 == await asyncio.to_thread(job)


@pytest.mark.scenario(169)
@pytest.mark.parametrize("input_kind", ["iterable", "async"])
async def test_input_that_raises(side: Side, operation: str, input_kind: str, clock: VirtualClock) -> None:
    """An error of the input is the caller's again, after everything that was under way has been reported."""
    if input_kind == "async" and side.name == "sync":
        pytest.skip("the synchronous side takes synchronous inputs")
    doors = Doors(free=3)
    source = Input(items(operation, 6), failure=OwnError("the cursor is gone"))
    async with RawServer(doors) as server:
        client = side.client(server.url, retry=clock.policy())
        stream = source.read() if input_kind == "iterable" else source.stream()
        async with Job(client, operation, stream) as job:
            outcomes = await job.take(3)
            following = asyncio.ensure_future(job.rest(outcomes))
            await until(lambda: doors.arrived == 6 and source.closed)
            doors.open.set()
            with pytest.raises(OwnError, match="the cursor is gone"):
                await following
            with pytest.raises(OwnError):
                await job.next()
    assert {f"conv_{number}": 1 for number in range(6)} == Counter(ids(outcomes))
    assert 6 == len(server.log)


async def test_input_that_cannot_begin(
    request: pytest.FixtureRequest, side: Side, operation: str, tmp_path: Path
) -> None:
    """An input that fails when it is asked for its first item leaves a journal that can be used again at once."""

    class Stillborn:
        def __iter__(self) -> Iterator[Any]:
            raise OwnError

    journal = tmp_path / "job.db"
    async with RawServer(Counting()) as server:
        client = side.client(server.url)
        async with Job(client, operation, Stillborn(), journal=journal) as first:
            with pytest.raises(OwnError):
                await first.next()
        try:
            async with Job(client, operation, items(operation, 3), journal=journal) as job:
                assert 3 == len(await job.rest())
        finally:
            await first.let_go_of_journal()


async def test_input_that_fails_to_clean_up(
    request: pytest.FixtureRequest, side: Side, operation: str, tmp_path: Path
) -> None:
    """An input whose own clean-up raises is reported so, and the journal can be used again at once."""

    def source() -> Iterator[Any]:
        try:
            yield from items(operation, 100)
        finally:
            raise OwnError

    journal = tmp_path / "job.db"
    async with RawServer(Counting()) as server:
        client = side.client(server.url)
        first = Job(client, operation, source(), journal=journal)
        assert await first.next() is not None
        with pytest.raises(OwnError):
            async with first:
                pass
        try:
            async with Job(client, operation, items(operation, 100), journal=journal) as job:
                await job.rest()
        finally:
            await first.let_go_of_journal()


# Concurrency and order


@pytest.mark.scenario(166, 168)
@pytest.mark.parametrize("concurrency", [1, 3, 10])
async def test_no_more_in_flight_than_said(side: Side, operation: str, concurrency: int) -> None:
    """As many requests are under way as may be, and never one more."""
    doors = Doors()
    counting = Counting(doors)
    async with RawServer(counting) as server:
        client = side.client(server.url)
        async with Job(client, operation, items(operation, 120), concurrency=concurrency) as job:
            following = asyncio.ensure_future(job.rest())
            await until(lambda: doors.arrived == concurrency)
            doors.open.set()
            assert 120 == len(set(ids(await following)))
        assert concurrency >= counting.peak
        assert concurrency >= server.connections


@pytest.mark.figure
@pytest.mark.scenario(170)
async def test_duplicates(side: Side, operation: str, figure: Callable[..., None]) -> None:
    """Writes to one id never overlap and keep the input's order, however many there are in one job."""
    count = times(10_000)
    names = [f"conv_{number * number % 17}" for number in range(count)]
    values = [item(operation, name, f"Title {number}") for number, name in enumerate(names)]
    gone: set[str] = set()

    async def script(exchange: Exchange) -> None:
        if exchange.path in gone:
            await exchange.send(answer(404, {"detail": "Conversation not found"}))
            return
        if operation == "delete":
            gone.add(exchange.path)
        await exchange.succeed()

    counting = Counting(script)
    async with RawServer(counting) as server:
        client = side.client(server.url, max_connections=16)
        async with Job(client, operation, values, concurrency=8) as job:
            outcomes = await job.rest()
        assert count == len(server.log)
    assert Counter(names) == Counter(ids(outcomes))
    assert 1 == counting.peak_of_one
    assert 8 >= counting.peak > 1
    if operation == "update":
        for name in set(names):
            asked = [f"Title {number}" for number, each in enumerate(names) if each == name]
            assert asked == [json.loads(body)["title"] for body in counting.bodies[name]]
    else:
        assert Counter(set(names)) == Counter(ids(outcome for outcome in outcomes if outcome.status is DONE))
    figure(f"duplicates, {operation}, {side.name}", items=count, ids=len(set(names)), in_flight_for_one_id=1)


@pytest.mark.scenario(170)
async def test_two_jobs_on_the_same_ids(side: Side, figure: Callable[..., None]) -> None:
    """Each of two jobs keeps its own order for an id; the server decides between them, and both tell the truth."""
    names = [f"conv_{number % 10}" for number in range(times(10_000))]
    updates = [item("update", name, f"Title {number}") for number, name in enumerate(names)]
    truth: dict[str, list[str]] = {name: [] for name in names}
    gone: set[str] = set()

    async def script(exchange: Exchange) -> None:
        name = exchange.path.rpartition("/")[2]
        if name in gone:
            await exchange.send(answer(404, {"detail": "Conversation not found"}))
        elif exchange.method == "DELETE":
            gone.add(name)
            await exchange.succeed()
        else:
            truth[name].append(json.loads(exchange.body)["title"])
            await exchange.succeed()

    async with RawServer(Counting(script)) as server:
        client = side.client(server.url)
        async with Job(client, "update", updates) as one, Job(client, "delete", list(reversed(names))) as other:
            updated, deleted = await asyncio.gather(one.rest(), other.rest())
    assert (Counter(names), Counter(names)) == (Counter(ids(updated)), Counter(ids(deleted)))
    assert Counter(set(names)) == Counter(ids(outcome for outcome in deleted if outcome.status is DONE))
    for name, titles in truth.items():
        asked = [update.title for update in updates if update.conversation_id == name]
        assert asked[: len(titles)] == titles
        statuses = [outcome.status for outcome in updated if outcome.id == name]
        assert [DONE] * len(titles) + [FAILED] * (len(asked) - len(titles)) == statuses


# Ends before the end


@pytest.mark.scenario(168, 169)
@pytest.mark.parametrize("way", ["close", "with", "let go"])
async def test_leaving_early(side: Side, operation: str, way: str) -> None:
    """Who leaves early finds the input closed, nothing sent any more, and the outcomes of what was under way."""
    doors = Doors(free=4)
    source = Input(items(operation, 1000))

    async def script(exchange: Exchange) -> None:
        if exchange.number == 5:
            await until(lambda: doors.arrived == 7)
            await exchange.succeed()
        else:
            await doors(exchange)

    async with RawServer(script) as server:
        job = Job(side.client(server.url), operation, source.read())
        taken = await job.take(5)
        if way == "let go":
            bulk: Any = job.bulk
            left: Any = (bulk if side.name == "async" else bulk._target)._job.ready  # nothing but the outcomes
            del job.bulk, job._outcomes, bulk
            assert side.name == "async" or source.closed  # at once, on the thread that forgot the job
            doors.open.set()
            await until(lambda: source.closed and 5 + len(left) == len(server.log))
        else:
            leaving = asyncio.ensure_future(job.close() if way == "close" else job.leave())
            await asyncio.sleep(0.01)
            doors.open.set()
            await leaving
            left = job.unclaimed
            assert source.closed
            rest: list[Any] = []
            with pytest.raises(BulkStoppedError, match="closed before the end of its input"):
                await job.rest(rest)
            assert left == rest
            await job.__aexit__(None, None, None)  # again, it does nothing
        assert 5 == len(taken)
        assert {DONE} == {outcome.status for outcome in left}
        assert sorted(exchange.path.rpartition("/")[2] for exchange in server.log) == sorted(ids(taken) + ids(left))
        count = await still(lambda: len(server.log))
        assert 9 >= count >= 8


@pytest.mark.scenario(168)
async def test_handed_over_and_not_taken(side: Side, operation: str) -> None:
    """Outcomes that were ready, and that the caller did not come to, are not lost when the job is closed."""
    source = Input(items(operation, 1000))
    async with RawServer(Counting()) as server:
        job = Job(side.client(server.url), operation, source.read(), concurrency=6)
        taken = await job.take(4)
        await still(lambda: len(server.log))
        await job.__aexit__(None, None, None)
        assert sorted(exchange.path.rpartition("/")[2] for exchange in server.log) == sorted(
            ids(taken) + ids(job.unclaimed)
        )
        assert len(ids(taken) + ids(job.unclaimed)) == len(set(ids(taken) + ids(job.unclaimed)))


async def test_closed_before_it_began(side: Side, operation: str) -> None:
    """A job that nobody iterated over reads and sends nothing."""
    source = Input(items(operation, 3))
    async with RawServer(Counting()) as server:
        async with Job(side.client(server.url), operation, source.read()) as job:
            pass
        assert (0, []) == (source.pulled, job.unclaimed)
        assert 0 == server.connections


async def test_waiting_given_up(operation: str, tmp_path: Path) -> None:
    """Who is cancelled or timed out while waiting for an outcome asks again, and nothing was lost or sent twice."""
    doors = Doors(free=2)
    source = Input(items(operation, 100))
    async with (
        RawServer(doors) as server,
        AsyncOmiClient(KEY, base_url=server.url) as client,
        Job(client, operation, source.stream(), journal=tmp_path / "job.db") as job,
    ):
        outcomes = await job.take(2)
        await until(lambda: doors.arrived == 6)
        waiting = asyncio.ensure_future(job.next())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await job.next()
        doors.open.set()
        await job.rest(outcomes)
        assert 100 == len(server.log)
    assert dict.fromkeys([f"conv_{number}" for number in range(100)], 1) == Counter(ids(outcomes))
    assert {DONE} == {outcome.status for outcome in outcomes}


async def test_closed_while_opening(operation: str, tmp_path: Path) -> None:
    """Closed while the journal is being opened, a job sends nothing and leaves the journal to the next one."""
    path = tmp_path / "job.db"
    async with RawServer(Doors()) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        job = Job(client, operation, items(operation, 8), journal=path)
        with in_sqlite:
            waiting = asyncio.ensure_future(job.next())
            await until(lambda: any(thread.name.startswith("omi-journal") for thread in threading.enumerate()))
            closing = asyncio.ensure_future(job.close())
            await asyncio.sleep(0)
        with pytest.raises(BulkStoppedError):
            await waiting
        await closing
        assert 0 == server.connections
        await Journal(path, job=f"conversations.{operation}").aclose()


async def test_cancelled_while_noting(operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An item whose end is on its way to the disk when the job is cancelled is reported all the same."""
    original, noting = Journal.settle, asyncio.Event()

    async def settle(journal: Journal, position: int, **how: Any) -> None:
        await original(journal, position, **how)
        noting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Journal, "settle", settle)
    async with RawServer(Doors(free=9)) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        job = Job(client, operation, items(operation, 1), journal=tmp_path / "job.db")
        waiting = asyncio.ensure_future(job.next())
        await noting.wait()
        waiting.cancel()
        closing = asyncio.ensure_future(job.close())
        await asyncio.sleep(0)
        closing.cancel()
        for cancelled in (waiting, closing):
            with pytest.raises(asyncio.CancelledError):
                await cancelled
        assert [("conv_0", DONE)] == [(outcome.id, outcome.status) for outcome in job.unclaimed]
        assert 1 == job.progress.done


async def test_cancelled_while_closing(operation: str, tmp_path: Path) -> None:
    """Closing that is itself cancelled ends what is under way and reports it; the journal is free for the next job."""
    doors = Doors(free=1)
    journal = tmp_path / "job.db"
    async with RawServer(doors) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        job = Job(client, operation, items(operation, 100), journal=journal)
        await job.take(1)
        await until(lambda: doors.arrived == 5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await job.close()
        assert not client._transport.pool.place.sending
        left = {outcome.id: (outcome.status, outcome.attempts) for outcome in job.unclaimed}
        assert {f"conv_{number}": (UNKNOWN, 1) for number in range(1, 5)} == left
        doors.open.set()
        async with Job(client, operation, items(operation, 8), journal=journal) as again:
            assert {f"conv_{number}" for number in range(1, 8)} == set(ids(await again.rest()))
        assert 1 == again.progress.resumed


@pytest.mark.scenario(169)
@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthenticationError), (403, PermissionDeniedError)], ids=["401", "403"]
)
async def test_a_refused_key_stops_the_job(
    side: Side, operation: str, status: int, kind: type[OmiError], clock: VirtualClock
) -> None:
    """What would fail every item stops the job: the items under way are reported, then the reason is raised."""
    doors = Doors(free=4)
    source = Input(items(operation, 1000))

    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("conv_5"):
            await until(lambda: doors.arrived == 7)
            await exchange.send(answer(status, {"detail": "No"}))
        else:
            await doors(exchange)

    async with RawServer(script) as server:
        async with Job(side.client(server.url, retry=clock.policy()), operation, source.read()) as job:
            outcomes = await job.take(4)
            following = asyncio.ensure_future(job.rest(outcomes))
            await until(lambda: len(outcomes) == 5)
            await asyncio.sleep(0.01)
            doors.open.set()
            with pytest.raises(BulkStoppedError) as caught:
                await following
        stopped = caught.value
        assert (kind, status, 7) == (type(stopped.reason), stopped.reason.status, stopped.done)
        assert 8 == len(server.log)
        assert sorted(exchange.path.rpartition("/")[2] for exchange in server.log) == sorted(ids(outcomes))
        assert [("conv_5", FAILED, kind)] == [
            (outcome.id, outcome.status, type(outcome.error)) for outcome in outcomes if outcome.status is not DONE
        ]
        assert source.closed
        assert (stopped.__cause__, stopped.__context__) == (None, None)


@pytest.mark.scenario(169)
async def test_closed_client_stops_the_job(request: pytest.FixtureRequest, side: Side) -> None:
    """A client that is closed within the loop ends the job with that reason, after what was under way."""
    source = Input(items("delete", 1000))
    async with RawServer(Counting()) as server:
        client = side.client(server.url)
        job = Job(client, "delete", source.read())
        outcomes = await job.take(3)
        await aclose(client)
        with pytest.raises(BulkStoppedError) as caught:
            await job.rest(outcomes)
        await job.__aexit__(None, None, None)
        assert isinstance(caught.value.reason, ClientClosedError)
        sent = {exchange.path.rpartition("/")[2] for exchange in server.log}
        done = ids(outcome for outcome in [*outcomes, *job.unclaimed] if outcome.status is DONE)
        assert sorted(sent) == sorted(done)
        assert source.closed


async def test_client_closed_before_the_job_is_let_go_of(side: Side) -> None:
    """A loop that was left may be forgotten after its client was closed: nothing is said and nothing leaks."""
    source = Input(items("delete", 1000))
    async with RawServer(Counting()) as server:
        client = side.client(server.url)
        job = Job(client, "delete", source.read())
        await job.take(1)
        await aclose(client)
        await job.close()
        assert source.closed
        await job.__aexit__(None, None, None)


@pytest.mark.scenario(91)
async def test_not_waiting_for_the_window(side: Side, operation: str, clock: VirtualClock) -> None:
    """With `wait=False` a closed window ends the job: what met it is reported as failed, nothing waits."""

    async def script(exchange: Exchange) -> None:
        if exchange.number <= 3:
            await exchange.succeed()
        else:
            headers = {"Retry-After": "3600", "X-RateLimit-Limit": "3"}
            await exchange.send(answer(429, {"detail": "Rate limit exceeded."}, headers=headers))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        outcomes: list[Any] = []
        async with Job(client, operation, items(operation, 50), concurrency=1, wait=False) as job:
            with pytest.raises(BulkStoppedError) as caught:
                await job.rest(outcomes)
        assert [DONE, DONE, DONE, FAILED] == [outcome.status for outcome in outcomes]
        assert isinstance(caught.value.reason, RateLimitError)
        assert (3600.0, 3, 3) == (caught.value.reason.retry_after, caught.value.reason.limit, caught.value.done)
        assert (True, 3600.0) == (caught.value.retryable, caught.value.retry_after)
        # The next job knows without asking.
        async with Job(client, operation, items(operation, 50), wait=False) as job:
            with pytest.raises(BulkStoppedError) as caught:
                await job.rest(outcomes)
        assert isinstance(caught.value.reason, RateLimitError)
        assert (4, 4, []) == (len(outcomes), len(server.log), clock.sleeps)


@pytest.mark.scenario(66, 169)
@pytest.mark.parametrize("end", ["closed", "refused key", "input"])
async def test_throttled_items_are_reported_at_the_end(side: Side, end: str, clock: VirtualClock) -> None:
    """An item that was sent, and that waits for the window when the job ends, is reported: it may be applied."""
    slept = asyncio.Event()
    sleeping = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def sleep(seconds: float) -> None:
        if seconds >= 60:
            loop.call_soon_threadsafe(sleeping.set)
            await asyncio.sleep(60)

    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("first"):
            await exchange.succeed()
        elif exchange.path.endswith("conv_0"):
            if 1 == sum(each.path == exchange.path for each in server.log):
                exchange.reset()  # and perhaps it was applied
            else:
                await until(lambda: any(each.path.endswith("conv_1") for each in server.log))
                await exchange.send(answer(429, {"detail": "Wait."}, headers={"Retry-After": "3600"}))
        else:
            await slept.wait()
            await exchange.send(answer(401, {"detail": "Invalid API Key"}))

    source = Input(["first", "conv_0", "conv_1"], failure=OwnError() if end == "input" else None)
    policy = clock.policy()
    policy = type(policy)(sleep=sleep, clock=policy.clock, random=policy.random)
    async with RawServer(script) as server:
        job = Job(side.client(server.url, retry=policy), "delete", source.read(), concurrency=2)
        outcomes: list[Any] = []
        following = asyncio.ensure_future(job.rest(outcomes))
        await until(lambda: len(server.log) >= 4)
        if end == "input":
            slept.set()
            with pytest.raises((OwnError, BulkStoppedError)):
                await following
        elif end == "refused key":
            await sleeping.wait()
            slept.set()
            with pytest.raises(BulkStoppedError):
                await following
        else:
            await sleeping.wait()
            slept.set()
            if side.name == "async":
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await following
            else:
                with contextlib.suppress(BulkStoppedError):
                    await following
        await job.__aexit__(None, None, None)
        assert ("conv_0", UNKNOWN) in [(outcome.id, outcome.status) for outcome in [*outcomes, *job.unclaimed]]


async def test_requests_of_a_throttled_item(side: Side, operation: str, clock: VirtualClock) -> None:
    """`attempts` counts every request that an item cost, those before a wait for the window included."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.send(answer(429, {"detail": "Wait."}, headers={"Retry-After": "3600"}))
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        async with Job(side.client(server.url, retry=clock.policy()), operation, items(operation, 1)) as job:
            (outcome,) = await job.rest()
        assert (DONE, 2) == (outcome.status, len(server.log))
        assert 2 == outcome.attempts


async def test_throttled_item_and_an_idle_input(clock: VirtualClock) -> None:
    """An item that was throttled is sent again when the window opens, even if the input has nothing new to say."""
    reported = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield "conv_0"
        await reported.wait()
        yield "conv_1"

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.send(answer(429, {"detail": "Wait."}, headers={"Retry-After": "3600"}))
        else:
            await exchange.succeed()

    async with (
        RawServer(script) as server,
        AsyncOmiClient(KEY, base_url=server.url, retry=clock.policy()) as client,
        Job(client, "delete", source()) as job,
    ):
        async with asyncio.timeout(0.3):
            outcome = await job.next()
        assert outcome is not None
        assert ("conv_0", DONE) == (outcome.id, outcome.status)
        reported.set()
        assert ["conv_1"] == ids(await job.rest())


# Settings


@pytest.mark.parametrize(
    ("source", "settings"),
    [
        (["conv_1"], {"concurrency": 0}),
        (["conv_1"], {"concurrency": -1}),
        (["conv_1"], {"concurrency": True}),
        (["conv_1"], {"concurrency": 2.0}),
        (["conv_1"], {"concurrency": None}),
        ("conv_1", {}),
        (b"conv_1", {}),
        (None, {}),
        (5, {}),
        (ConversationUpdate("conv_1", title="One"), {}),
    ],
    ids=str,
)
async def test_settings_that_cannot_work(side: Side, operation: str, source: Any, settings: dict[str, Any]) -> None:
    """A setting that cannot work is refused at once, before anybody iterates."""
    client = side.client("http://127.0.0.1:9")
    with pytest.raises(ConfigurationError) as caught:
        getattr(client.conversations, f"{operation}_many")(source, **settings)
    assert "not_applied" == caught.value.outcome


# Progress


async def test_progress(side: Side, operation: str, clock: VirtualClock, tmp_path: Path) -> None:
    """Progress counts what was reported, knows the total where the input does, and is told after every item."""

    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("_3"):
            await exchange.send(answer(404, {"detail": "Conversation not found"}))
        elif exchange.path.endswith("_4"):
            await exchange.send(answer(500, "Oh"))
        else:
            await exchange.succeed()

    told: list[BulkProgress] = []
    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        settings: dict[str, Any] = {"on_progress": told.append, "journal": tmp_path / "job.db", "concurrency": 1}
        async with Job(client, operation, items(operation, 6), **settings) as job:
            before = job.progress
            await job.rest()
            after = job.progress
        assert (0, 0, 6, None, None, 0.0) == (
            before.settled,
            before.resumed,
            before.total,
            before.waiting_until,
            before.estimated_end,
            before.rate,
        )
        assert (4, 0, 1, 1) == (after.done, after.unconfirmed, after.failed, after.unknown)
        assert (6, 0, 6) == (after.settled, after.resumed, after.total)
        assert [1, 2, 3, 4, 5, 6] == [progress.settled for progress in told]
        assert after.estimated_end is not None
        assert after.estimated_end >= datetime(2026, 1, 1, tzinfo=UTC)
        # Of the earlier run, all but the unknown one is settled.
        async with Job(client, operation, iter(items(operation, 6)), **settings) as job:
            outcomes = await job.rest()
        assert ["conv_4"] == ids(outcomes)
        assert (5, 6, 6) == (job.progress.resumed, job.progress.settled, job.progress.total)
        async with Job(client, operation, (each for each in items(operation, 6)), concurrency=1) as job:
            await job.rest()
        assert (None, None, 0) == (job.progress.total, job.progress.estimated_end, job.progress.resumed)


async def test_observer_that_raises(
    side: Side, operation: str, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What watches the job and fails is logged once, is not asked again, and changes nothing."""
    calls = []

    def watch(progress: BulkProgress) -> None:
        calls.append(progress)
        raise OwnError("observer")

    async with RawServer(Counting()) as server:
        client = side.client(server.url)
        with caplog.at_level(logging.INFO, "omi_async"):
            async with Job(client, operation, items(operation, 10), on_progress=watch) as job:
                assert 10 == len(await job.rest())
    assert 1 == len(calls)
    assert 1 == sum("on_progress" in record.message for record in caplog.records)


# The journal, as a job meets it


async def test_resumed(side: Side, operation: str, clock: VirtualClock, tmp_path: Path) -> None:
    """A second run sends and reports only what the first left open, and knows what may have been applied."""
    journal = tmp_path / "job.db"
    doors = Doors(free=3)

    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("conv_2") and doors.open.is_set():
            await exchange.send(answer(404, {"detail": "Conversation not found"}))
        elif exchange.path.endswith("conv_2"):
            exchange.reset()
        elif exchange.path.endswith("conv_3"):
            await exchange.send(answer(404, {"detail": "Conversation not found"}))
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        async with Job(client, operation, items(operation, 6), journal=journal) as job:
            first = {outcome.id: outcome.status for outcome in await job.rest()}
        assert {"conv_2": UNKNOWN, "conv_3": FAILED} == {name: each for name, each in first.items() if each != DONE}
        doors.open.set()
        count = len(server.log)
        async with Job(client, operation, items(operation, 8), journal=journal) as job:
            second = {outcome.id: outcome.status for outcome in await job.rest()}
        gone = UNCONFIRMED if operation == "delete" else UNKNOWN
        assert {"conv_2": gone, "conv_6": DONE, "conv_7": DONE} == second
        assert {"conv_2", "conv_6", "conv_7"} == {exchange.path.rpartition("/")[2] for exchange in server.log[count:]}
    for text in (TITLE, "omi_dev_"):
        assert text.encode() not in journal.read_bytes()


async def test_journal_of_another_job(side: Side, operation: str, tmp_path: Path) -> None:
    """A journal of the other operation, and a file that is none, are refused before anything is sent."""
    other = "update" if operation == "delete" else "delete"
    foreign = tmp_path / "notes.txt"
    foreign.write_text("no database at all, but a text of some length" * 100)
    async with RawServer(Counting()) as server:
        client = side.client(server.url)
        async with Job(client, other, [], journal=tmp_path / "job.db") as job:
            await job.rest()
        for path, words in (
            (tmp_path / "job.db", "another kind of job"),
            (foreign, "is not a journal"),
            (tmp_path, "is a directory"),
            (tmp_path / "none" / "job.db", "does not exist"),
        ):
            source = Input(items(operation, 3))
            async with Job(client, operation, source.read(), journal=path) as job:
                with pytest.raises(JournalError, match=words):
                    await job.next()
            assert 0 == source.pulled
        assert 0 == server.connections


async def test_changed_input(side: Side, operation: str, tmp_path: Path) -> None:
    """An input that differs from the journal's stops the job before the first item that differs is sent."""
    journal = tmp_path / "job.db"
    async with RawServer(Counting()) as server:
        client = side.client(server.url)
        async with Job(client, operation, items(operation, 5), journal=journal) as job:
            await job.rest()
        changed = items(operation, 4) + [item(operation, "conv_new")]
        if operation == "update":
            changed[3] = item(operation, "conv_3", "Another title")
        async with Job(client, operation, changed, journal=journal) as job:
            with pytest.raises(BulkStoppedError) as caught:
                await job.rest()
        assert isinstance(caught.value.reason, JournalError)
        assert f"position {3 if operation == 'update' else 4}" in str(caught.value.reason)
        assert 5 == caught.value.done
        assert 5 == len(server.log)


async def test_journal_in_use(side: Side, tmp_path: Path) -> None:
    """A journal that another run holds, in this process or in another, is refused, and free when that has ended."""
    journal = tmp_path / "job.db"
    source = f"""
import asyncio, sys
from omi_async.journal import Journal
journal = Journal({str(journal)!r}, job="conversations.delete")
print("open", flush=True)
import time
time.sleep(60)
"""
    async with RawServer(Counting()) as server:
        client = side.client(server.url)
        async with Job(client, "delete", items("delete", 50), journal=journal) as job:
            await job.next()
            async with Job(client, "delete", items("delete", 50), journal=journal) as second:
                with pytest.raises(JournalError, match="in use by another run"):
                    await second.next()
            await job.rest()
        count = len(server.log)
        with start(source) as process:
            assert process.stdout is not None
            assert "open\n" == await asyncio.to_thread(process.stdout.readline)
            async with Job(client, "delete", items("delete", 50), journal=journal) as job:
                with pytest.raises(JournalError, match="in use by another run"):
                    await job.next()
        assert count == len(server.log) == 50
        async with Job(client, "delete", items("delete", 51), journal=journal) as job:
            assert ["conv_50"] == ids(await job.rest())


async def test_disk_full(side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: VirtualClock) -> None:
    """A disk that fills up stops the job: what was sent is reported, nothing is sent that could not be noted."""
    opened = Journal._open
    full = True

    def small(self: Journal, job: str, server: str | None) -> None:
        opened(self, job, server)
        if full:
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            self._connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    monkeypatch.setattr(Journal, "_open", small)
    journal = tmp_path / "job.db"
    async with RawServer(Counting()) as server:
        client = side.client(server.url, retry=clock.policy())
        outcomes: list[Any] = []
        async with Job(client, "delete", items("delete", 500), journal=journal) as job:
            with pytest.raises(BulkStoppedError) as caught:
                await job.rest(outcomes)
        assert isinstance(caught.value.reason, JournalError)
        assert "disk is full" in str(caught.value.reason)
        done = ids(outcome for outcome in outcomes if outcome.status is DONE)
        assert sorted(done) == sorted(exchange.path.rpartition("/")[2] for exchange in server.log)
        assert 0 < len(done) < 500
        assert {0} == {outcome.attempts for outcome in outcomes if outcome.status is not DONE}
        # With room again it goes on; only what could not be noted is done once more.
        full = False
        async with Job(client, "delete", items("delete", 500), journal=journal) as job:
            again = await job.rest()
        assert {f"conv_{number}" for number in range(500)} == {*done, *ids(again)}
        assert 4 >= len(done) + len(again) - 500
