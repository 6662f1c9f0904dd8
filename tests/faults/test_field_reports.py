"""What people met with other clients and earlier versions of this one, where no other file has a place for it."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest

from omi_async import (
    AsyncOmiClient,
    BulkProgress,
    BulkStatus,
    BulkStoppedError,
    ClientClosedError,
    ConfigurationError,
    Conversation,
    InvalidRequestError,
    NewTranscriptSegment,
    NotFoundError,
    OmiError,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    RouteNotFoundError,
)
from omi_async._wire.fork import in_sqlite
from omi_async.journal import Journal, open_journal
from omi_sync import OmiClient, _iterate
from tests.support import inside
from tests.support.bulk import Doors, Job, ids, item, items, still, until
from tests.support.clock import VirtualClock
from tests.support.raw import Exchange, RawServer, answer, conversation, in_thread, success
from tests.support.replies import MISSING, succeed
from tests.support.sides import KEY, Side
from tests.support.subprocesses import STRICT, run

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)


async def outcome_of(side: Side, call: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    """What a call of either side gives."""
    return await call(*args, **settings) if side.name == "async" else await asyncio.to_thread(call, *args, **settings)


# Lists


@pytest.mark.scenario(262)
@pytest.mark.parametrize(("ignored", "most_requests"), [("start_date", 3), ("both", 8)])
async def test_rows_outside_the_bounds(side: Side, ignored: str, most_requests: int) -> None:
    """A server that ignores a bound gives rows beyond it: they are left out, and nothing far behind is asked for."""
    made = [(f"c{hours}", NOON - timedelta(hours=hours)) for hours in range(60)]

    async def script(exchange: Exchange) -> None:
        query = dict(parse_qsl(exchange.path.partition("?")[2]))
        end = NOON if ignored == "both" else datetime.fromisoformat(query["end_date"])
        rows = [(name, moment) for name, moment in made if moment <= end][int(query["offset"]) :][:10]
        await exchange.send(answer(200, [conversation(name, created_at=at.isoformat()) for name, at in rows]))

    def listing(client: Any) -> Any:
        start, end = NOON - timedelta(hours=14), NOON - timedelta(hours=5)
        return client.conversations.list(start_date=start, end_date=end, page_size=10)

    async with RawServer(script) as server:
        client = side.client(server.url)
        if isinstance(client, AsyncOmiClient):
            found = [row.id async for row in listing(client)]
        else:
            found = await asyncio.to_thread(lambda: [row.id for row in listing(client)])
        assert [f"c{hours}" for hours in range(5, 15)] == found
        assert len(server.log) <= most_requests


# What is read, and what an error shows


def test_a_word_within_another_is_masked() -> None:
    """Of two texts of the request that the server repeats, one within the other, nothing is left to be read."""
    request = inside.raw("POST", "/v1/dev/user/memories", None, {"tags": ["door"], "content": "the red door"}, False)
    assert isinstance(request, inside.Request)
    with pytest.raises(OmiError) as caught:
        inside.read(request, inside.Answer(422, body=b'{"detail":"no to the red door"}'))
    assert "no to ***" == caught.value.detail


@pytest.mark.parametrize("rows", [1, 50])
def test_large_integers(rows: int) -> None:
    """An integer that not every reader of JSON keeps exact is neither read nor sent."""
    request = inside.get_conversation("conv_1", True)
    assert isinstance(request, inside.Request)

    def read(number: int) -> Any:
        segment = {"id": "s", "text": "Hello.", "speaker_id": 0, "speaker_name": None, "start": 0.0, "end": 1.5}
        segments = [*[segment] * (rows - 1), {**segment, "speaker_id": number}]
        body = answer(200, conversation(transcript_segments=segments)).partition(b"\r\n\r\n")[2]
        return inside.read(request, inside.Answer(200, body=body))

    assert [2**53] == [row.speaker_id for row in read(2**53).transcript_segments[-1:]]
    for number in (2**53 + 1, -(2**53) - 1):
        with pytest.raises(ResponseError) as caught:
            read(number)
        assert f"$.transcript_segments[{rows - 1}].speaker_id" == caught.value.path
        assert isinstance(inside.raw("GET", "/v1/x", {"n": number}, None, False), InvalidRequestError)
    assert isinstance(inside.raw("GET", "/v1/x", {"n": 2**53}, None, False), inside.Request)


def test_the_first_bad_row_is_explained_alone() -> None:
    """However many rows of an answer are bad, what is wrong is found by looking at the first of them."""
    looked_at = set()

    class Row:
        """No object of JSON; notes who reads it."""

        def __getitem__(self, name: str) -> object:
            looked_at.add(id(self))
            raise KeyError(name)

    rows = [Row() for _ in range(1000)]
    with pytest.raises(inside.Unreadable) as caught:
        inside.structure(rows, tuple[Conversation, ...])
    assert ("not an object", "$[0]") == (caught.value.problem, caught.value.path)
    assert {id(rows[0])} == looked_at


# Rate windows


@pytest.mark.parametrize(
    ("spent", "held_up"),
    [
        ("transcript", {"transcript", "transcripts"}),
        ("transcripts", {"transcript", "transcripts"}),
        ("read", {"transcript", "transcripts", "read"}),
        ("segments", {"segments"}),
        ("write", {"segments", "write"}),
    ],
)
async def test_windows_by_kind(side: Side, spent: str, held_up: set[str]) -> None:
    """A refusal closes the narrowest window that counts the call; a call waits for each window that counts it."""
    throttled = answer(429, {"detail": "Rate limit exceeded."}, headers={"Retry-After": "600"})
    segment = NewTranscriptSegment(text="Hello.", start=0.0, end=1.0)

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.send(throttled)
        elif "offset" in exchange.path:
            await exchange.send(answer(200, [conversation("conv_1")]))
        elif exchange.method == "GET":
            await exchange.send(answer(200, conversation("conv_1")))
        else:
            await exchange.send(success(exchange))

    def first(client: Any, **settings: Any) -> Any:
        return next(iter(client.conversations.list(**settings)), None)

    async def first_of(client: Any, **settings: Any) -> Any:
        return await anext(aiter(client.conversations.list(**settings)), None)

    async with RawServer(script) as server:
        client = side.client(server.url, retry=VirtualClock().policy(attempts=1))
        resource: Any = client.conversations
        of_list = first_of if side.name == "async" else first
        calls: dict[str, Callable[[], Any]] = {
            "transcript": lambda: outcome_of(side, resource.get, "conv_1", include_transcript=True),
            "transcripts": lambda: outcome_of(side, of_list, client, include_transcript=True),
            "read": lambda: outcome_of(side, resource.get, "conv_1"),
            "segments": lambda: outcome_of(side, resource.create_from_segments, [segment]),
            "write": lambda: outcome_of(side, resource.delete, "conv_1"),
        }
        with pytest.raises(RateLimitError, match="429"):
            await calls[spent]()
        for name, call in calls.items():
            with pytest.raises(RateLimitError, match="nothing was sent") if name in held_up else nullcontext():
                await call()
        assert 1 + len(calls) - len(held_up) == len(server.log)


async def test_what_did_not_leave_is_not_counted(clock: VirtualClock) -> None:
    """Calls that are cancelled while they wait for a connection spend nothing of the server's window."""
    doors = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.send(answer(429, {"detail": "x"}, headers={"Retry-After": "60", "X-RateLimit-Limit": "4"}))
            return
        if exchange.number == 2:
            await doors.wait()
        await exchange.succeed()

    async with (
        RawServer(script) as server,
        AsyncOmiClient(KEY, base_url=server.url, retry=clock.policy(), max_connections=1) as client,
    ):
        with pytest.raises(RateLimitError):
            await client.conversations.delete("conv_1", retry=clock.policy(attempts=1))
        clock.now += 100.0
        one = asyncio.ensure_future(client.conversations.delete("conv_1"))
        await until(lambda: len(server.log) == 2)
        others = [asyncio.ensure_future(client.conversations.delete("conv_1")) for _ in range(5)]
        await asyncio.sleep(0)
        for each in others:
            each.cancel()
        await asyncio.wait(others)
        doors.set()
        await one
        async with Job(client, "delete", items("delete", 2)) as job:
            assert ["conv_0", "conv_1"] == sorted(ids(await job.rest()))
    assert (4, []) == (len(server.log), clock.sleeps)


# Connections on which something waits


class Chatter:
    """A server on a thread of its own, which says something while the client's loop reads nothing."""

    def __init__(self, extra: bytes) -> None:
        self._extra = extra
        self._said = threading.Event()
        self._answered: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.connection > 1:
            await exchange.send(MISSING)
            return
        self._loop, self._answered = asyncio.get_running_loop(), asyncio.Event()
        await exchange.succeed()
        await self._answered.wait()
        if self._extra:
            await exchange.send(self._extra)
        else:
            exchange.close()
        self._said.set()

    def speak(self) -> None:
        """Have it said, in sight of the client's kernel alone."""
        assert self._loop is not None
        assert self._answered is not None
        self._loop.call_soon_threadsafe(self._answered.set)
        assert self._said.wait(30.0)
        time.sleep(0.05)  # a closed connection's end is sent a turn of the server's loop later


_EXTRAS = [
    pytest.param(answer(200, {"success": True}), id="an answer"),
    pytest.param(b"", id="its end"),
]


@pytest.mark.parametrize("straight", [True, False])
@pytest.mark.parametrize("extra", _EXTRAS)
async def test_something_waits_on_a_kept_connection(
    monkeypatch: pytest.MonkeyPatch, straight: bool, extra: bytes
) -> None:
    """What came while the caller computed answers no later call: that goes over another connection at once."""
    inside.go_straight(monkeypatch, straight)
    chatter = Chatter(extra)
    with in_thread(RawServer(chatter)) as server:
        async with AsyncOmiClient(KEY, base_url=server.url, retry=RetryPolicy.never()) as client:
            await client.conversations.delete("good")
            chatter.speak()
            with pytest.raises(NotFoundError) as caught:
                await client.conversations.delete("missing")
        assert "not_applied" == caught.value.outcome
        assert [1, 2] == [exchange.connection for exchange in server.log]


@pytest.mark.parametrize("extra", _EXTRAS)
async def test_something_waits_on_a_borrowed_connection(extra: bytes) -> None:
    """The connections of a borrowed session are looked at in the same way."""
    chatter = Chatter(extra)
    with in_thread(RawServer(chatter)) as server:
        async with (
            aiohttp.ClientSession() as session,
            AsyncOmiClient(KEY, base_url=server.url, retry=RetryPolicy.never(), session=session) as client,
        ):
            await client.conversations.delete("good")
            chatter.speak()
            with pytest.raises(NotFoundError) as caught:
                await client.conversations.delete("missing")
        assert "not_applied" == caught.value.outcome
        assert [1, 2] == [exchange.connection for exchange in server.log]


@pytest.mark.parametrize("straight", [True, False])
async def test_a_server_that_speaks_first(monkeypatch: pytest.MonkeyPatch, straight: bool) -> None:
    """What a server says on a new connection before it was asked answers nothing."""
    inside.go_straight(monkeypatch, straight)
    spoken = threading.Event()
    connect = aiohttp.connector.BaseConnector.connect

    async def connect_and_wait(*args: Any) -> Any:
        connection = await connect(*args)
        assert spoken.wait(30.0)  # standing still: the loop reads nothing before the request is written
        return connection

    async def speak(writer: asyncio.StreamWriter) -> bool:
        if not spoken.is_set():
            writer.write(answer(200, {"success": True}))
            await writer.drain()
            spoken.set()
        return True

    async def script(exchange: Exchange) -> None:
        await exchange.send(MISSING)

    monkeypatch.setattr(aiohttp.connector.BaseConnector, "connect", connect_and_wait)
    with in_thread(RawServer(script, on_connect=speak)) as server:
        async with AsyncOmiClient(KEY, base_url=server.url, retry=RetryPolicy.never()) as client:
            with pytest.raises(NotFoundError):
                await client.conversations.delete("missing")
        assert [2] == [exchange.connection for exchange in server.log]


@pytest.mark.parametrize("straight", [True, False])
async def test_late_answer_to_a_cancelled_call(monkeypatch: pytest.MonkeyPatch, straight: bool) -> None:
    """The answer to a call that was cancelled is given to no later one."""
    inside.go_straight(monkeypatch, straight)
    late = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.name == "first":
            await late.wait()
            await exchange.succeed()
        else:
            await exchange.send(MISSING)

    async with (
        RawServer(script) as server,
        AsyncOmiClient(KEY, base_url=server.url, retry=RetryPolicy.never()) as client,
    ):
        first = asyncio.ensure_future(client.conversations.delete("first"))
        await until(lambda: len(server.log) == 1)
        first.cancel()
        await asyncio.wait([first])
        asyncio.get_running_loop().call_later(0.05, late.set)
        with pytest.raises(NotFoundError) as caught:
            await client.conversations.delete("second")
        assert "not_applied" == caught.value.outcome
        assert ["first", "second"] == [exchange.name for exchange in server.log]


async def test_closing_cut_short() -> None:
    """Closing that is cancelled ends the calls under way, on a borrowed session too: none is left without limits."""

    async def script(exchange: Exchange) -> None:
        await exchange.hang()

    async with RawServer(script) as server, aiohttp.ClientSession() as session:
        client = AsyncOmiClient(KEY, base_url=server.url, session=session)
        calling = asyncio.ensure_future(client.conversations.delete("conv_1"))
        await until(lambda: len(server.log) == 1)
        closing = asyncio.ensure_future(client.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        async with asyncio.timeout(5.0):
            with pytest.raises(ClientClosedError) as caught:
                await calling
    assert (True, "unknown") == (closing.cancelled(), caught.value.outcome)


# Bulk jobs


def test_settings_that_cannot_work(tmp_path: Path) -> None:
    """A set with a journal, and a function that nobody would await, are refused before anybody iterates."""

    async def watch(_: BulkProgress) -> None: ...

    bad: list[tuple[Any, dict[str, Any]]] = [
        ({"conv_1", "conv_2"}, {"journal": tmp_path / "job.db"}),
        (frozenset(["conv_1", "conv_2"]), {"journal": tmp_path / "job.db"}),
        (["conv_1"], {"on_progress": watch}),
    ]
    for client in (AsyncOmiClient(KEY), OmiClient(KEY)):
        for source, settings in bad:
            with pytest.raises(ConfigurationError):
                client.conversations.delete_many(source, **settings)
        client.conversations.delete_many(dict.fromkeys(["conv_1"]).keys(), journal=tmp_path / "job.db")
        client.conversations.delete_many({"conv_1", "conv_2"})


async def test_settled_items_leave_turns_for_others(tmp_path: Path) -> None:
    """A job that skips what earlier runs have settled lets other tasks run meanwhile."""
    turns, seen = 0, set()

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def source() -> Iterator[str]:
        for name in items("delete", 2000):
            seen.add(turns)
            yield name

    async with RawServer(succeed) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        async with Job(client, "delete", items("delete", 2000), journal=tmp_path / "job.db", concurrency=100) as job:
            await job.rest()
        running = asyncio.ensure_future(others())
        async with Job(client, "delete", source(), journal=tmp_path / "job.db") as job:
            assert [] == await job.rest()
        running.cancel()
        assert 2000 == job.progress.resumed == len(server.log)
    assert len(seen) >= 5


@pytest.mark.scenario(208)
async def test_a_refused_id_is_not_kept(side: Side, operation: str, tmp_path: Path) -> None:
    """What was given for an id and refused, even the key itself, is in no journal and no outcome, and is settled."""
    journal = tmp_path / "job.db"
    async with RawServer(succeed) as server:
        client = side.client(server.url)
        for expected in (["<key>", "private words"], []):
            source = [item(operation, KEY), item(operation, "private words")]
            async with Job(client, operation, source, journal=journal) as job:
                outcomes = await job.rest()
            assert expected == sorted(ids(outcomes))
            assert all(isinstance(outcome.error, InvalidRequestError) for outcome in outcomes)
            assert KEY not in f"{outcomes} {[str(outcome.error) for outcome in outcomes]}"
        assert 0 == server.connections
    for word in (b"omi_dev_", b"private"):
        assert all(word not in path.read_bytes() for path in tmp_path.iterdir())


async def test_a_missing_route_stops_the_job(side: Side, operation: str) -> None:
    """A server that does not have the operation is not asked for every item."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer(404, {"detail": "Not Found"}))

    outcomes: list[Any] = []
    async with (
        RawServer(script) as server,
        Job(side.client(server.url), operation, items(operation, 50), concurrency=1) as job,
    ):
        with pytest.raises(BulkStoppedError) as caught:
            await job.rest(outcomes)
        assert isinstance(caught.value.reason, RouteNotFoundError)
        assert (1, ["conv_0"]) == (len(server.log), ids(outcomes))


@pytest.mark.parametrize("left", ["a second item of the same id", "an item that was throttled"])
async def test_left_at_the_end_of_the_input(side: Side, left: str, clock: VirtualClock) -> None:
    """A job that is closed does not look finished where the input had ended and not all of it was sent."""
    doors, waiting = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def script(exchange: Exchange) -> None:
        if left == "an item that was throttled":
            await exchange.send(answer(429, {"detail": "Wait."}, headers={"Retry-After": "3600"}))
            return
        await doors.wait()
        await exchange.succeed()

    async def sleep(_: float) -> None:
        loop.call_soon_threadsafe(waiting.set)
        await asyncio.sleep(60)

    source = ["conv_0", "conv_0"] if left == "a second item of the same id" else ["conv_0"]
    policy = RetryPolicy(sleep=sleep, clock=clock.monotonic)
    async with RawServer(script) as server:
        job = Job(side.client(server.url, retry=policy), "delete", source)
        taking = asyncio.ensure_future(job.next())
        await until(lambda: len(server.log) == 1)
        if left == "an item that was throttled":
            await waiting.wait()
        else:
            await still(lambda: len(server.log))
        if side.name == "async":
            closing = asyncio.ensure_future(job.close())
        else:
            target: Any = job.bulk
            loop_of_job = target._target._job._loop
            closing = asyncio.ensure_future(
                asyncio.to_thread(loop_of_job.call_soon_threadsafe, target._target._job.begin_closing)
            )
        await asyncio.sleep(0.01)
        doors.set()
        await closing
        outcomes = [await taking]
        with pytest.raises(BulkStoppedError, match="closed before the end of its input"):
            await job.rest()
        status = BulkStatus.FAILED if left == "an item that was throttled" else BulkStatus.DONE
        assert [("conv_0", status)] == [(outcome.id, outcome.status) for outcome in outcomes if outcome is not None]
        assert 1 == len(server.log)
        await job.__aexit__(None, None, None)


@pytest.mark.scenario(263)
@pytest.mark.parametrize("kind", ["iterable", "async"])
async def test_a_foreign_cancellation_in_the_input(side: Side, operation: str, kind: str) -> None:
    """An input in which something was cancelled ends the job with that: it does not look finished."""
    if kind == "async" and side.name == "sync":
        pytest.skip("the synchronous side takes synchronous inputs")

    def iterable() -> Iterator[Any]:
        yield from items(operation, 3)
        raise asyncio.CancelledError

    async def asynchronous() -> AsyncIterator[Any]:
        producer = asyncio.ensure_future(asyncio.sleep(60))
        for each in items(operation, 3):
            yield each
        producer.cancel()
        await producer

    source = iterable() if kind == "iterable" else asynchronous()
    outcomes: list[Any] = []
    async with RawServer(succeed) as server:
        job = Job(side.client(server.url), operation, source)
        with pytest.raises(asyncio.CancelledError):
            await job.rest(outcomes)
        assert ["conv_0", "conv_1", "conv_2"] == sorted(ids(outcomes))
        with pytest.raises(asyncio.CancelledError):  # asked again, it says the same
            await asyncio.wait_for(job.next(), 30)
        await job.__aexit__(None, None, None)


@pytest.mark.scenario(263)
async def test_a_foreign_cancellation_in_on_progress(
    side: Side, operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A cancellation out of `on_progress` is its failure: it is not called again, and the job goes on."""
    calls = []

    def watch(progress: BulkProgress) -> None:
        calls.append(progress)
        raise asyncio.CancelledError

    with caplog.at_level(logging.INFO, "omi_async"):
        async with (
            RawServer(succeed) as server,
            Job(side.client(server.url), operation, items(operation, 10), on_progress=watch) as job,
        ):
            assert 10 == len(await job.rest())
    assert 1 == len(calls)
    assert 1 == sum("on_progress" in record.message for record in caplog.records)


async def test_a_live_input_starts_slowly(operation: str) -> None:
    """The synchronous side asks an input for its second item when the caller has seen the first one's outcome."""
    pulled = 0

    def source() -> Iterator[Any]:
        nonlocal pulled
        for each in items(operation, 20):
            pulled += 1
            yield each

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await asyncio.sleep(0.1)  # time for a second item to be asked for
        await exchange.succeed()

    side = Side("sync")
    async with RawServer(script) as server, Job(side.client(server.url), operation, source()) as job:
        outcomes = await job.take(1)
        assert (1, 1) == (pulled, len(server.log))
        await job.rest(outcomes)
        assert (20, 20) == (len(outcomes), pulled)
    await side.aclose()


@pytest.mark.scenario(248)
async def test_on_progress_is_called_on_the_callers_thread(operation: str) -> None:
    """The synchronous side's callback runs where the caller waits, as whatever belongs to that thread needs it."""
    threads: list[int] = []
    side = Side("sync")
    async with RawServer(succeed) as server:
        client = side.client(server.url)

        def iterate() -> int:
            job: Any = getattr(client.conversations, f"{operation}_many")
            outcomes = list(job(items(operation, 10), on_progress=lambda _: threads.append(threading.get_ident())))
            assert 10 == len(outcomes)
            return threading.get_ident()

        caller = await asyncio.to_thread(iterate)
    assert {caller} == set(threads)
    assert 10 == len(threads)
    await side.aclose()


def test_an_interrupt_loses_nothing(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between outcomes ends what is under way soon, as unknown, and the job can go on afterwards."""
    monkeypatch.setattr(_iterate, "INTERRUPT_GRACE", 0.01)
    wait, interrupt = _iterate.Feed.wait, True
    doors: list[Doors] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def script(exchange: Exchange) -> None:
        if not doors:
            doors.append(Doors())
            loops.append(asyncio.get_running_loop())
        await doors[0](exchange)

    def wait_or_interrupt(feed: Any, timeout: float) -> bool:
        if interrupt and len(server.log) == 4:
            raise KeyboardInterrupt
        return wait(feed, min(timeout, 0.01))

    with in_thread(RawServer(script)) as server, OmiClient(KEY, base_url=server.url) as client:
        job: Any = getattr(client.conversations, f"{operation}_many")(items(operation, 10))
        monkeypatch.setattr(_iterate.Feed, "wait", wait_or_interrupt)
        with pytest.raises(KeyboardInterrupt):
            next(job)
        interrupt = False
        first = {f"conv_{number}": BulkStatus.UNKNOWN for number in range(4)}
        assert first == {outcome.id: outcome.status for outcome in job.unclaimed}
        time.sleep(0.02)
        assert 4 == len(server.log)
        loops[0].call_soon_threadsafe(doors[0].open.set)
        rest = {f"conv_{number}": BulkStatus.DONE for number in range(4, 10)}
        outcomes = list(job)
        assert {**first, **rest} == {outcome.id: outcome.status for outcome in outcomes}
        assert 10 == len(outcomes) == len(server.log)


async def test_cancelled_while_opening(tmp_path: Path) -> None:
    """An opening that is cancelled leaves the journal to the next one."""
    path = tmp_path / "job.db"
    with in_sqlite:
        opening = asyncio.ensure_future(open_journal(path, job="conversations.delete"))
        await until(lambda: any(thread.name.startswith("omi-journal") for thread in threading.enumerate()))
        opening.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await opening
    await Journal(path, job="conversations.delete").aclose()


# Fork


_IMPORT = """
import os, signal, sys, threading, time
from omi_async import AsyncOmiClient

begun = threading.Event()

class Slow:
    '''Lets the import of one module take a while.'''
    def find_spec(self, name, path=None, target=None):
        if name == "omi_async.resources.conversations":
            begun.set()
            time.sleep(0.3)

sys.meta_path.insert(0, Slow())
client = AsyncOmiClient()
thread = threading.Thread(target=lambda: client.conversations)
thread.start()
begun.wait()
pid = os.fork()
if not pid:
    signal.alarm(5)
    client.conversations.update
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
thread.join()
print(code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_waits_for_an_import() -> None:
    """A fork in the middle of a late import waits for its end: the child has the whole module."""
    options = (*STRICT, "-W", "ignore:This process:DeprecationWarning")
    assert ["0"] == run(_IMPORT, options=options).check().lines
