"""What a hostile reader tried on the client: false words, lost words and hangs, each with what is right."""

import asyncio
import enum
import gc
import gzip
import json
import math
import os
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from omi_async import (
    AsyncOmiClient,
    BulkStatus,
    BulkStoppedError,
    ConfigurationError,
    Deletion,
    InvalidRequestError,
    JournalError,
    NotFoundError,
    OmiError,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    RouteNotFoundError,
    Timeout,
    TransportError,
)
from omi_async.journal import Journal, open_journal
from omi_sync import OmiClient, _bridge
from tests.support import inside
from tests.support.bulk import Doors, Job, ids, item, items, until
from tests.support.clock import VirtualClock
from tests.support.failures import failure
from tests.support.raw import Exchange, RawServer, answer, in_thread
from tests.support.replies import FAILED, MISSING, close, in_turn, succeed
from tests.support.scale import FULL, times
from tests.support.sides import KEY, Side
from tests.support.subprocesses import run

NEVER = RetryPolicy.never()
OK = answer(200, {"success": True})
PAGE = answer(404, "<html>default backend - 404</html>", headers={"Content-Type": "text/html"})
ROUTER = answer(404, {"detail": "Not Found"})
DELETES = "conversations.delete"
DIGEST = b"d" * 32


# Answers that nobody asked for


class Strays:
    """Answers every request rightly, and then once more with the opposite, which the client's loop has not read yet."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = asyncio.Event()
        self._said = threading.Event()

    async def __call__(self, exchange: Exchange) -> None:
        self._loop = asyncio.get_running_loop()
        right, wrong = (MISSING, OK) if exchange.name.startswith("missing") else (OK, MISSING)
        await exchange.send(right)
        await self._asked.wait()
        self._asked.clear()
        await exchange.send(wrong)
        self._said.set()

    def speak(self, seconds: float) -> None:
        """Have the stray answer sent, and let the caller's thread be busy."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._asked.set)
        assert self._said.wait(30.0)
        self._said.clear()
        time.sleep(seconds)


@pytest.mark.scenario(184)
@pytest.mark.figure
@pytest.mark.parametrize("way", ["direct", "through the session", "borrowed"])
async def test_stray_answers(
    side: Side, way: str, monkeypatch: pytest.MonkeyPatch, figure: Callable[..., None]
) -> None:
    """An answer that was there before the request is never taken for the request's own."""
    if side.name == "sync" and way == "borrowed":
        pytest.skip("the synchronous side takes no session")
    inside.go_straight(monkeypatch, way == "direct")
    count, draw, strays = times(1000), random.Random(12), Strays()
    wrong = failed = 0
    with in_thread(RawServer(strays)) as server:
        session = aiohttp.ClientSession() if way == "borrowed" else None
        client = side.client(server.url, retry=NEVER, **({} if session is None else {"session": session}))
        for number in range(count):
            name = f"{'missing' if number % 2 else 'good'}_{number}"
            try:
                result = await side.call(client, "delete", name)
            except NotFoundError:
                wrong += not number % 2
            except OmiError:
                failed += 1
            else:
                wrong += bool(number % 2) or result != Deletion(id=name, confirmed=True)
            keep_busy(client, lambda: strays.speak(draw.uniform(0.0, 0.05)))
        if session is not None:
            await session.close()
        assert count == len(server.log)
    figure(f"stray answers ({side.name}, {way})", calls=count, wrong=wrong, failed=failed)
    assert (0, 0) == (wrong, failed)


def keep_busy(client: AsyncOmiClient | OmiClient, work: Callable[[], None]) -> None:
    """Do something on the thread of the client's event loop, which reads nothing meanwhile."""
    if isinstance(client, AsyncOmiClient):
        work()
    else:
        client._bridge._thread.loop.call_soon_threadsafe(work)


@pytest.mark.scenario(185)
@pytest.mark.parametrize("way", ["direct", "through the session", "borrowed"])
async def test_a_server_that_always_speaks_first(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What speaks before it is asked is sent nothing, and is not besieged with connections."""
    inside.go_straight(monkeypatch, way == "direct")
    spoken: asyncio.Queue[None] = asyncio.Queue()
    connect = aiohttp.connector.BaseConnector.connect

    async def connect_and_wait(*args: Any, **settings: Any) -> Any:
        connection = await connect(*args, **settings)
        await spoken.get()
        return connection

    async def speak(writer: asyncio.StreamWriter) -> bool:
        writer.write(OK)
        spoken.put_nowait(None)
        return True

    monkeypatch.setattr(aiohttp.connector.BaseConnector, "connect", connect_and_wait)
    async with RawServer(succeed, on_connect=speak) as server, aiohttp.ClientSession() as session:
        settings = {"session": session} if way == "borrowed" else {}
        async with AsyncOmiClient(KEY, base_url=server.url, retry=NEVER, **settings) as client:  # type: ignore[arg-type]
            with pytest.raises(TransportError) as caught:
                await client.conversations.delete("conv_1")
        assert ("not_applied", True) == (caught.value.outcome, caught.value.retryable)
        assert (0, True) == (len(server.log), server.connections <= 8)


@pytest.mark.scenario(186)
async def test_creates_on_connections_that_have_ended(side: Side) -> None:
    """What is done once never goes out on a connection that the server may have closed already."""

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()
        exchange.close()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=NEVER)
        for _ in range(10):
            await side.call(client, "get")
            await side.call(client, "create")
    assert 10 == sum(exchange.method == "POST" for exchange in server.log)


@pytest.mark.scenario(187)
@pytest.mark.parametrize(
    "reply",
    [PAGE, ROUTER, answer(404, {}), answer(404, {"detail": "No memory"})],
    ids=["page", "router", "empty", "other"],
)
async def test_a_404_that_says_nothing_of_the_record(side: Side, reply: bytes, clock: VirtualClock) -> None:
    """A gateway's or a router's 404 after a lost answer leaves the outcome open; alone it changed nothing."""
    async with RawServer(in_turn(close, reply)) as server:
        error = await failure(side, side.client(server.url, retry=clock.policy(attempts=2)), "delete")
        assert "unknown" == error.outcome
    async with RawServer(in_turn(reply)) as server:
        error = await failure(side, side.client(server.url, retry=NEVER), "delete")
        assert ("not_applied", reply is ROUTER) == (error.outcome, isinstance(error, RouteNotFoundError))


@pytest.mark.scenario(187)
async def test_a_foreign_404_settles_nothing(side: Side, operation: str, tmp_path: Path) -> None:
    """What something in front of the API says of an item is no result: the next run sends it again."""
    async with RawServer(in_turn(PAGE, succeed)) as server:
        client = side.client(server.url, retry=NEVER)
        for status in (BulkStatus.FAILED, BulkStatus.DONE):
            async with Job(client, operation, items(operation, 1), journal=tmp_path / "job.db") as job:
                assert [status] == [outcome.status for outcome in await job.rest()]
        assert 2 == len(server.log)


@pytest.mark.scenario(213)
async def test_an_empty_answer_to_a_deletion(side: Side) -> None:
    """An empty body is a success with 204 alone."""
    for status in (200, 202):
        async with RawServer(in_turn(answer(status, b""))) as server:
            error = await failure(side, side.client(server.url, retry=NEVER), "delete")
            assert ("unknown", ResponseError) == (error.outcome, type(error))
    async with RawServer(in_turn(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        assert Deletion(id="conv_1", confirmed=True) == await side.call(side.client(server.url), "delete")


@pytest.mark.scenario(188)
@pytest.mark.parametrize("row", [b"0", b"{}", b'{"id":1}'])
async def test_a_small_answer_with_many_wrong_rows(row: bytes) -> None:
    """However many rows of an answer are wrong, one of them is explained: nothing is made of the others."""
    body = gzip.compress(b"[" + row + (b"," + row) * 200_000 + b"]")
    looked_at = 0
    explain = inside.convert._explain

    def counting(*args: Any) -> tuple[str, str]:
        nonlocal looked_at
        looked_at += 1
        return explain(*args)

    async with RawServer(in_turn(answer(200, body, headers={"Content-Encoding": "gzip"}))) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inside.convert, "_explain", counting)
            async with AsyncOmiClient(KEY, base_url=server.url, retry=NEVER) as client:
                with pytest.raises(ResponseError) as caught:
                    await anext(aiter(client.conversations.list()))
    assert str(caught.value.path).startswith("$[0]")
    assert looked_at <= 4


# Jobs


@pytest.mark.scenario(189)
async def test_a_limit_on_the_wait_for_an_outcome(operation: str) -> None:
    """Waiting for an outcome can be given up and begun again, as often as one likes."""
    doors, found = Doors(), 0
    async with (
        RawServer(doors) as server,
        AsyncOmiClient(KEY, base_url=server.url) as client,
        Job(client, operation, items(operation, 8), concurrency=4) as job,
    ):
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.0):
                    await job.next()
        doors.open.set()
        found = len(await job.rest())
        assert (8, [], 8) == (found, job.unclaimed, len(server.log))


@pytest.mark.scenario(190)
async def test_cancelled_twice(operation: str) -> None:
    """A job that is cancelled again while it winds up ends as cancelled, and reports what it sent."""
    winding_up = asyncio.Event()

    async def source() -> AsyncIterator[Any]:
        try:
            for each in items(operation, 50):
                yield each
                if each == items(operation, 4)[-1]:
                    await asyncio.Event().wait()
        finally:
            winding_up.set()
            await asyncio.sleep(0.01)

    async with RawServer(succeed) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        job, taken = Job(client, operation, source()), list[Any]()

        async def consume() -> None:
            async with job:
                await job.rest(taken)

        running = asyncio.ensure_future(consume())
        await until(lambda: len(taken) == 4)
        running.cancel()
        await winding_up.wait()
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        assert len(server.log) == len(taken) + len(job.unclaimed)


@pytest.mark.scenario(191)
async def test_the_last_write_wins_in_a_resumed_job(side: Side, tmp_path: Path) -> None:
    """Of two updates to one record, the later one is the last on the wire in every run."""
    pair = [item("update", "conv_1", title) for title in ("first", "last")]
    async with RawServer(in_turn(FAILED, succeed)) as server:
        client = side.client(server.url, retry=NEVER)
        for _ in range(2):
            async with Job(client, "update", pair, journal=tmp_path / "job.db") as job:
                await job.rest()
        titles = [json.loads(exchange.body)["title"] for exchange in server.log]
    assert ["first", "last", "first", "last"] == titles


@pytest.mark.scenario(192)
async def test_closing_that_is_cut_off() -> None:
    """A call under way ends soon after a closing that was itself cancelled, even one without any limit of its own."""
    async with RawServer(Exchange.hang) as server:
        client = AsyncOmiClient(KEY, base_url=server.url, retry=NEVER, timeout=Timeout(total=None, attempt=None))
        calling = asyncio.ensure_future(client.conversations.delete("conv_1"))
        await until(lambda: len(server.log) == 1)
        closing = asyncio.ensure_future(client.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing, calling], timeout=30.0)
        error = calling.exception()
    assert isinstance(error, OmiError)
    assert "unknown" == error.outcome


@pytest.mark.scenario(193)
async def test_one_window_of_several(side: Side, clock: VirtualClock) -> None:
    """The refusal of one kind of call closes nothing for the others."""
    throttled = answer(429, {"detail": "x"}, headers={"Retry-After": "600"})
    async with RawServer(in_turn(throttled, succeed)) as server:
        client = side.client(server.url, retry=clock.policy(attempts=1))
        await failure(side, client, "delete")
        await side.call(client, "get")
        assert "nothing was sent" in str(await failure(side, client, "update"))
        assert 2 == len(server.log)


@pytest.mark.scenario(194)
async def test_cancelled_before_they_left(clock: VirtualClock) -> None:
    """Calls that were cancelled while they waited for a connection are not counted by the gate."""
    doors = Doors(free=0)
    async with (
        RawServer(doors) as server,
        AsyncOmiClient(KEY, base_url=server.url, max_connections=1, retry=clock.policy()) as client,
    ):
        calls = [asyncio.ensure_future(client.conversations.delete("conv_1")) for _ in range(30)]
        await until(lambda: doors.arrived == 1)
        for call in calls[1:]:
            call.cancel()
        await asyncio.wait(calls[1:])
        (gate,) = client._retrier._gates.values()
        assert 1 == len(gate._sent)
        doors.open.set()
        await calls[0]


@pytest.mark.scenario(209)
async def test_a_long_wait_after_a_503(side: Side, operation: str, clock: VirtualClock) -> None:
    """A server that names a time of return is left alone until then, by all of the job's items."""
    away = answer(503, {"detail": "maintenance"}, headers={"Retry-After": "600"})
    async with RawServer(in_turn(away)) as server:
        client = side.client(server.url, retry=clock.policy(), timeout=Timeout(total=None))
        async with Job(client, operation, items(operation, 4), concurrency=1) as job:
            outcomes = await job.rest()
    assert [BulkStatus.UNKNOWN] * 4 == [outcome.status for outcome in outcomes]
    assert 4 == len(server.log)
    assert clock.now - 1000.0 >= 3 * 600.0


# The journal


async def written(path: Path, count: int, *, first: int = 0) -> Journal:
    """A journal that is still open, with so many items done."""
    journal = await open_journal(path, job=DELETES)
    for position in range(first, first + count):
        await journal.intend(position, f"conv_{position}", DIGEST)
        await journal.settle(position, status="done", settled=True, attempts=1)
    return journal


def refusal(path: str | os.PathLike[str]) -> str:
    with pytest.raises(JournalError) as caught:
        Journal(path, job=DELETES)
    return str(caught.value)


@pytest.mark.scenario(195)
async def test_skipping_leaves_room(tmp_path: Path) -> None:
    """A limit in time ends a job that only skips what was done before."""
    names = [f"conv_{number}" for number in range(3000)]
    async with RawServer(succeed) as server, AsyncOmiClient(KEY, base_url=server.url) as client:
        async with Job(client, "delete", names, journal=tmp_path / "job.db", concurrency=100) as job:
            await job.rest()
        pulled = 0

        def source() -> Iterator[str]:
            nonlocal pulled
            for name in names:
                pulled += 1
                yield name

        async with Job(client, "delete", source(), journal=tmp_path / "job.db") as job:
            waiting = asyncio.ensure_future(job.next())
            await until(lambda: pulled > 0)
            waiting.cancel()
            await asyncio.wait([waiting])
            await job.close()
    assert 0 < pulled < 3000


@pytest.mark.scenario(196)
async def test_the_wal_is_removed_during_a_run(tmp_path: Path) -> None:
    """A run that loses the file beside its journal stops, and what it knew is kept."""
    path = tmp_path / "job.db"
    journal = await written(path, 10)
    Path(f"{path}-wal").unlink()
    with pytest.raises(JournalError, match="-wal, which was removed or replaced during the run"):
        await journal.intend(10, "conv_10", DIGEST)
    await journal.aclose()
    journal = Journal(path, job=DELETES)
    assert {"done": 10} == journal.counts()
    entry = journal.recall(10, "conv_10", DIGEST)
    assert entry is not None
    assert not entry.settled
    await journal.aclose()


@pytest.mark.scenario(196)
async def test_the_wal_is_removed_during_a_job(side: Side, operation: str, tmp_path: Path) -> None:
    """A job stops then as for every other fault of its journal; the next run goes on behind what was done."""
    path = tmp_path / "job.db"
    async with RawServer(succeed) as server:
        client, outcomes = side.client(server.url), list[Any]()
        async with Job(client, operation, items(operation, 60), journal=path, concurrency=1) as job:
            outcomes += await job.take(5)
            Path(f"{path}-wal").unlink()
            with pytest.raises(BulkStoppedError) as caught:
                await job.rest(outcomes)
        assert isinstance(caught.value.reason, JournalError)
        async with Job(client, operation, items(operation, 60), journal=path) as job:
            outcomes += await job.rest()
        done = [outcome for outcome in outcomes if outcome.status is BulkStatus.DONE]
        assert {f"conv_{number}" for number in range(60)} == set(ids(done))
        assert all(isinstance(outcome.error, JournalError) for outcome in outcomes if outcome not in done)
        assert len(server.log) <= 61


@pytest.mark.scenario(196)
@pytest.mark.parametrize("closed", [False, True], ids=["killed", "closed"])
async def test_the_main_file_alone(tmp_path: Path, closed: bool) -> None:
    """The main file of a run that was killed is no journal by itself; that of a run which ended is a whole one."""
    path, copy = tmp_path / "job.db", tmp_path / "copy.db"
    journal = await written(path, 10)
    if closed:
        await journal.aclose()
    shutil.copy(path, copy)
    await journal.aclose()
    if closed:
        moved = Journal(copy, job=DELETES)
        assert {"done": 10} == moved.counts()
        await moved.aclose()
    else:
        assert "its other file, the same name with -wal, is missing" in refusal(copy)
        assert "its other file" in refusal(copy)  # which looking at it did not change


@pytest.mark.scenario(196)
async def test_both_files_of_a_killed_run(tmp_path: Path) -> None:
    """The two files together are the journal, wherever they are moved."""
    path, copy = tmp_path / "job.db", tmp_path / "copy.db"
    journal = await written(path, 10)
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", f"{copy}{end}")
    await journal.aclose()
    moved = Journal(copy, job=DELETES)
    assert {"done": 10} == moved.counts()
    await moved.aclose()


class Odd(os.PathLike[Any]):
    def __init__(self, path: object) -> None:
        self._path = path

    def __fspath__(self) -> Any:
        return self._path

    def __repr__(self) -> str:
        return f"Odd({self._path!r})"


@pytest.mark.scenario(199)
@pytest.mark.parametrize("path", ["", b"job.db", 5, "a\0b", "a\ud800", Odd(""), Odd(b"job.db"), Odd("a\0b")], ids=ascii)
def test_paths_that_cannot_be(path: Any) -> None:
    """What is no path is refused before anybody iterates."""
    for client in (AsyncOmiClient(KEY), OmiClient(KEY)):
        with pytest.raises(ConfigurationError, match="journal must be a path"):
            client.conversations.delete_many(["conv_1"], journal=path)


@pytest.mark.scenario(199)
@pytest.mark.skipif(os.name != "posix", reason="devices and pipes with names")
def test_paths_that_are_no_files(tmp_path: Path) -> None:
    """A device or a pipe is no place for a journal."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in ("/dev/null", "/dev/zero", pipe):
        assert "is no regular file" in refusal(path)
    assert "is a directory" in refusal(tmp_path)


@pytest.mark.scenario(200)
@pytest.mark.parametrize("status", ["'paused'", "NULL", "7"])
async def test_results_of_a_later_version(side: Side, tmp_path: Path, status: str) -> None:
    """A result that this version does not know is a journal it cannot use, and lets go of."""
    path = tmp_path / "job.db"
    await (await written(path, 3)).aclose()
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE items SET status = {status} WHERE position = 1")  # noqa: S608
    database.close()
    async with RawServer(succeed) as server:
        async with Job(side.client(server.url), "delete", ["conv_1"], journal=path) as job:
            with pytest.raises(JournalError, match="results that this version of omi-async does not know"):
                await job.rest()
        assert [] == server.log
    with sqlite3.connect(path, timeout=1.0) as database:  # nobody holds it
        database.execute("UPDATE items SET status = 'done' WHERE position = 1")
    database.close()
    journal = Journal(path, job=DELETES)
    assert {"done": 3} == journal.counts()
    await journal.aclose()


@pytest.mark.scenario(201)
@pytest.mark.skipif(os.name != "posix", reason="such locks are POSIX's")
async def test_the_journal_is_read_while_it_is_held(tmp_path: Path) -> None:
    """A copy made in the process that runs the job lets nobody else in."""
    if not inside.locks_last(tmp_path / "other.db"):
        pytest.skip("this system has no locks of open files")
    path = tmp_path / "job.db"
    journal = await written(path, 3)
    path.read_bytes()
    program = "import sys\nfrom omi_async.journal import Journal\nJournal(sys.argv[1], job='conversations.delete')"
    other = await asyncio.to_thread(run, program, path)
    assert "is in use by another run" in other.err
    assert "is in use by another run" in refusal(path)
    await journal.intend(3, "conv_3", DIGEST)
    await journal.aclose()
    again = Journal(path, job=DELETES)
    assert {"done": 3} == again.counts()
    await again.aclose()


@pytest.mark.scenario(202)
@pytest.mark.skipif(os.name != "posix", reason="modes of files")
async def test_an_empty_file_that_others_can_read(tmp_path: Path) -> None:
    """A file that becomes a journal is its owner's alone; a journal keeps the mode that its owner gave it."""
    path = tmp_path / "job.db"
    path.touch()
    path.chmod(0o644)
    journal = await written(path, 1)
    assert [0o600, 0o600] == [each.stat().st_mode & 0o777 for each in tmp_path.iterdir()]
    await journal.aclose()
    path.chmod(0o640)
    await (await written(path, 1, first=1)).aclose()
    assert 0o640 == path.stat().st_mode & 0o777


# Settings and arguments


class Method(str, enum.Enum):  # noqa: UP042 - the form that prints its name
    DELETE = "DELETE"


class Word(str, enum.Enum):  # noqa: UP042
    WORK = "work"


class Smuggler(str):
    """Says that it equals anything, and prints as two requests."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("GET")

    def __str__(self) -> str:
        return "GET /v1/a HTTP/1.1\r\n\r\nDELETE"

    def __format__(self, _: str) -> str:
        return str(self)


@pytest.mark.scenario(197)
async def test_text_by_other_classes(side: Side) -> None:
    """A member of an enumeration goes out by its value, and no class of text goes out as it prints itself."""

    async def call(client: Any, *args: Any, **settings: Any) -> Any:
        if side.name == "async":
            return await client.request(*args, **settings)
        return await asyncio.to_thread(client.request, *args, **settings)

    async with RawServer(in_turn(answer(200, {}))) as server:
        client = side.client(server.url, retry=NEVER)
        await call(client, Method.DELETE, "/v1/x", params={Word.WORK: Word.WORK})
        await call(client, Smuggler("GET"), Smuggler("/v1/x"), params={Smuggler("a"): Smuggler("b")})
        with pytest.raises(InvalidRequestError):
            await call(client, Smuggler("TRACE"), "/v1/x")
    assert [("DELETE", "/v1/x?work=work"), ("GET", "/v1/x?a=b")] == [(each.method, each.path) for each in server.log]


IMPOSSIBLE = ["a..b", ".a", ".", "a" * 64, "xn--a", "XN--a.b", "xn--", "1.2.3.999", "127.1", ".".join(["a" * 60] * 5)]


@pytest.mark.scenario(198)
@pytest.mark.parametrize("host", IMPOSSIBLE)
def test_host_names_that_cannot_be(host: str) -> None:
    """A name that no resolver takes is refused at construction."""
    for kind in (AsyncOmiClient, OmiClient):
        with pytest.raises(ConfigurationError, match="base_url must name a host"):
            kind(KEY, base_url=f"https://{host}")


@pytest.mark.scenario(198)
@pytest.mark.parametrize("host", ["a", "a.b.", "a_b.c", "xn--mnchen-3ya.de", "3com.com", "a" * 63, "10.0.0.1", "[::1]"])
def test_host_names_that_can(host: str) -> None:
    """Odd names that can be looked up are nobody's business but the resolver's."""
    assert f"https://{host}" in repr(AsyncOmiClient(KEY, base_url=f"https://{host}"))


@pytest.mark.scenario(212)
@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("api.omi.me", "must begin with https://"),
        ("localhost:8000", "must begin with https://"),
        ("//api.omi.me", "must begin with https://"),
        ("https://api.omi.me/v1", "must end before /v1"),
        ("https://api.omi.me/v1/dev/", "must end before /v1"),
        ("https://api.omi.me/gateway/v1/dev/user", "must end before /v1"),
        ("https://api.omi.me/v1/dev/user/conversations", "must end before /v1"),
    ],
)
def test_base_urls_with_too_much_or_too_little(url: str, hint: str) -> None:
    """A base URL copied from a page of the API, or without its scheme, is refused with what to do."""
    for kind in (AsyncOmiClient, OmiClient):
        with pytest.raises(ConfigurationError, match=hint):
            kind(KEY, base_url=url)
    for good in ("https://a/v1x", "https://a/v1/omi"):
        assert good in repr(AsyncOmiClient(KEY, base_url=good))


class Endless:
    def __iter__(self) -> Iterator[str]:
        return iter(["conv_1"])

    def __length_hint__(self) -> int:
        return 2**62


@pytest.mark.scenario(203)
async def test_lengths_beyond_all_bounds(side: Side) -> None:
    """The progress of a job whose input claims to be endless has no end, and no error."""
    async with RawServer(succeed) as server:
        client = side.client(server.url)
        for source in (range(10**19), Endless()):
            async with Job(client, "delete", source) as job:
                await job.next()
                assert job.progress.estimated_end is None


@pytest.mark.scenario(203)
@pytest.mark.parametrize(
    "number",
    [10**5000, -(10**20), 2**53 + 1, math.inf, -math.inf, math.nan],
    ids=["long", "negative", "just beyond", "infinity", "minus infinity", "NaN"],
)
async def test_numbers_beyond_all_bounds(number: float) -> None:
    """Numbers that no reader of JSON keeps are refused, however many digits they have."""
    async with AsyncOmiClient(KEY, base_url="https://127.0.0.1:9") as client:
        with pytest.raises(InvalidRequestError):
            await client.request("GET", "/v1/x", params={"n": number})


@pytest.mark.scenario(210)
@pytest.mark.parametrize("number", ["1e999", "-1e999", "1e308", str(10**30), "[[1e400]]", '{"a": 9007199254740993}'])
async def test_numbers_in_answers_that_nobody_keeps(number: str) -> None:
    """A raw answer with an infinity, or a number that readers of JSON give differently, is not handed out."""
    async with (
        RawServer(in_turn(answer(200, number))) as server,
        AsyncOmiClient(KEY, base_url=server.url, retry=NEVER) as client,
    ):
        with pytest.raises(ResponseError):
            await client.request("GET", "/v1/x")


@pytest.mark.scenario(208)
@pytest.mark.parametrize("record_id", ["omi_dev_0123", "OMI_DEV_x", "omi_mcp_x", "__x__", "____"])
async def test_ids_that_no_record_has(side: Side, record_id: str) -> None:
    """A key that was taken for an id is not sent, and neither is an id that the server could never store."""
    async with RawServer(succeed) as server:
        client = side.client(server.url)
        for operation in ("get", "update", "delete"):
            error = await failure(side, client, operation, record_id)
            assert isinstance(error, InvalidRequestError)
            assert record_id not in str(error)
        assert 0 == server.connections


# Threads, windows, words


def no_thread(*_: object) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.scenario(204)
async def test_no_thread_for_a_lookup(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be had, a call may be made again later: the program is not ending."""
    async with AsyncOmiClient(KEY, base_url="https://localhost:9", retry=NEVER) as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(TransportError) as caught:
                await getattr(client.conversations, operation)(
                    "conv_1", **({"title": "A"} if operation == "update" else {})
                )
    assert ("not_applied", True) == (caught.value.outcome, caught.value.retryable)


@pytest.mark.scenario(204)
def test_no_thread_for_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The synchronous side says the same, and serves the next call."""
    with in_thread(RawServer(succeed)) as server, OmiClient(KEY, base_url=server.url) as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(TransportError) as caught:
                client.conversations.delete("conv_1")
        assert ("not_applied", True) == (caught.value.outcome, caught.value.retryable)
        assert client.conversations.delete("conv_1").confirmed


@pytest.mark.scenario(205)
def test_a_late_failure_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that learns late of a failed start leaves the loop alone that another thread has started since."""
    start = _bridge._LoopThread.start
    with in_thread(RawServer(succeed)) as server, OmiClient(KEY, base_url=server.url) as client:

        def fail_late(thread: "_bridge._LoopThread") -> None:
            monkeypatch.setattr(_bridge._LoopThread, "start", start)
            del client._bridge.__dict__["_thread"]  # as the first of two that failed has done
            assert client.conversations.delete("conv_1").confirmed
            raise TransportError("no thread could be started.", outcome="not_applied", retryable=True)

        monkeypatch.setattr(_bridge._LoopThread, "start", fail_late)
        with pytest.raises(TransportError):
            client.conversations.delete("conv_1")
        assert client.conversations.delete("conv_1").confirmed


@pytest.mark.scenario(206)
@pytest.mark.parametrize("value", ["999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_a_retry_after_of_years(
    side: Side, clock: VirtualClock, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No word of a server closes a client's window for longer than a day."""
    inside.tell_time_of_day(monkeypatch, clock.monotonic)
    throttled = answer(429, {"detail": "x"}, headers={"Retry-After": value})
    async with RawServer(in_turn(throttled, succeed)) as server:
        client = side.client(server.url, retry=clock.policy(attempts=1))
        assert isinstance(await failure(side, client, "delete"), RateLimitError)
        assert "nothing was sent" in str(await failure(side, client, "delete"))
        clock.now += 86_401.0
        assert await side.call(client, "delete")


SAID = "A very private sentence"


@pytest.mark.scenario(207)
@pytest.mark.parametrize("status", [400, 422, 503])
@pytest.mark.parametrize(
    "detail",
    [
        f"Title '{SAID}' is not allowed",
        {"message": SAID, SAID: [SAID, {SAID: SAID}]},
        [{"loc": ["body", SAID], "msg": f"no {SAID}", "type": SAID, "input": SAID}],
    ],
)
async def test_refusals_that_repeat_what_was_sent(side: Side, status: int, detail: Any) -> None:
    """A text of the request is in no part of an error, wherever the server puts it."""
    async with RawServer(in_turn(answer(status, {"detail": detail}))) as server:
        client = side.client(server.url, retry=NEVER)
        error = await failure(side, client, "conversations.update", "conv_1", title=SAID)
    assert status == error.status
    assert SAID not in f"{error} {error!r} {error.args} {vars(error)}"


@pytest.mark.scenario(211)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_last_reference_goes_elsewhere() -> None:
    """A client that another thread forgets just as its loop ends leaves no task behind."""
    complaints: list[dict[str, Any]] = []
    with in_thread(RawServer(succeed)) as server:
        for number in range(60 if FULL else 10):
            held: list[AsyncOmiClient] = []

            async def use(held: list[AsyncOmiClient] = held) -> None:
                asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
                client = AsyncOmiClient(KEY, base_url=server.url)
                await client.conversations.delete("conv_1")
                held.append(client)

            def forget(number: int = number, held: list[AsyncOmiClient] = held) -> None:
                while not held:
                    time.sleep(0)
                time.sleep(number % 7 * 0.0005)
                held.clear()

            other = threading.Thread(target=forget)
            other.start()
            asyncio.run(use())
            other.join()
            gc.collect()
    assert [] == complaints
