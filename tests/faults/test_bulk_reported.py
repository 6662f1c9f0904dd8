"""What strangers met with bulk jobs and journals."""

import asyncio
import sqlite3
import sys
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from omi_async import (
    BulkStoppedError,
    InvalidRequestError,
    JournalError,
    MemoryUpdate,
    NewMemory,
    OmiError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
)
from omi_async.resources import memories
from omi_async.sandbox import Sandbox
from omi_sync import OmiClient, _iterate
from tests.support import inside
from tests.support.bulk import Job, ids, items
from tests.support.raw import Exchange, RawServer, answer, success
from tests.support.replies import succeed
from tests.support.sides import Side
from tests.support.subprocesses import run

MEMORIES: list[Callable[[Any], Any]] = [
    lambda tags: MemoryUpdate("mem_coffee", tags=tags),
    lambda tags: NewMemory("Tea.", tags=tags),
]


async def results(side: Side, start: Callable[[], Any]) -> list[Any]:
    """All that a job of either side gives."""
    if side.name == "async":
        return [each async for each in start()]
    return await asyncio.to_thread(lambda: list(start()))


# Items


@pytest.mark.scenario(341)
@pytest.mark.parametrize("made", MEMORIES)
@pytest.mark.parametrize("given", [iter, list, dict.fromkeys, lambda texts: dict.fromkeys(texts).keys()])
def test_texts_are_kept(made: Callable[[Any], Any], given: Callable[[list[str]], Iterable[str]]) -> None:
    """However the tags are given, and however the caller's own change, an item has the same ones at every use."""
    texts = given(["b", "a"])
    model = made(texts)
    if isinstance(texts, list):
        texts.append("c")
    assert [("b", "a")] * 2 == [model.tags, model.tags]


@pytest.mark.scenario(341)
async def test_an_item_is_used_twice(side: Side) -> None:
    """An item whose tags came from a generator sets the same ones in a second job."""
    async with Sandbox() as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.api_key)
        item = MemoryUpdate("mem_coffee", tags=(tag for tag in ["drinks", "mornings"]))
        for _ in range(2):
            (outcome,) = await results(side, lambda: client.memories.update_many([item]))
            assert ("done", ("drinks", "mornings")) == (outcome.status, outcome.result.tags)


@pytest.mark.parametrize("made", MEMORIES)
@pytest.mark.parametrize(
    ("tags", "kind", "words"),
    [
        ("drinks", TypeError, "tags must be an iterable of str, not str"),
        (b"drinks", TypeError, "tags must be an iterable of str, not bytes"),
        (5, TypeError, "tags must be an iterable of str, not int"),
        ({5, "a"}, TypeError, "tags[0] must be a str, not int"),
        (["a", " "], InvalidRequestError, "tags[1] must not be blank"),
    ],
)
def test_what_is_no_collection_of_texts(
    made: Callable[[Any], Any], tags: Any, kind: type[Exception], words: str
) -> None:
    """Tags that are none are refused where the request is made, as they are in a call."""
    model = made(tags)
    request = memories.update_item(model) if isinstance(model, MemoryUpdate) else inside.create_memories([model])
    assert type(request) is kind
    assert words in str(request)


@pytest.mark.scenario(342)
@pytest.mark.parametrize("kind", ["set", "frozenset"])
def test_texts_in_a_set(kind: str) -> None:
    """A set has another order in each process. What is sent of it has not, so that a journal knows its item."""
    program = f"""
        from omi_async import MemoryUpdate
        from omi_async.resources.memories import update_item
        print(update_item(MemoryUpdate("m1", tags={kind}("abcdefgh"))).body.decode())
    """
    bodies = {run(program, env={"PYTHONHASHSEED": seed}).check().out for seed in ("1", "2")}
    assert {'{"tags":["a","b","c","d","e","f","g","h"]}\n'} == bodies


# The server of a journal


async def run_of(client: Any, journal: Path, count: int) -> list[Any]:
    """What a run of deletions reports."""
    async with Job(client, "delete", items("delete", count), journal=journal) as job:
        return await job.rest()


@pytest.mark.scenario(340)
@pytest.mark.parametrize("path", ["", "/proxy"])
async def test_a_journal_on_another_server(side: Side, tmp_path: Path, path: str) -> None:
    """What was done on one server is not done on another: the journal refuses it, and sends nothing."""
    journal = tmp_path / "job.db"
    async with RawServer(succeed) as first, RawServer(succeed) as second:
        other = first.url + path if path else second.url
        await run_of(side.client(first.url), journal, 2)
        with pytest.raises(JournalError) as caught:
            await run_of(side.client(other), journal, 2)
        assert f"belongs to another server ({first.url}, not {other})" in str(caught.value)
        assert (2, 0) == (len(first.log), len(second.log))
        # On its own it goes on.
        assert ["conv_2"] == ids(await run_of(side.client(f"{first.url}/"), journal, 3))


@pytest.mark.scenario(340)
async def test_a_journal_that_knows_no_server(side: Side, tmp_path: Path) -> None:
    """A journal of an earlier version belongs to the first server that it is opened for."""
    journal = tmp_path / "job.db"
    async with RawServer(succeed) as first, RawServer(succeed) as second:
        await run_of(side.client(first.url), journal, 2)
        with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
            connection.execute("DELETE FROM meta WHERE name = 'server'")
        assert [] == await run_of(side.client(second.url), journal, 2)
        with pytest.raises(JournalError, match="belongs to another server"):
            await run_of(side.client(first.url), journal, 2)


@pytest.mark.scenario(345)
@pytest.mark.parametrize("left", [0, 2])
async def test_a_shorter_input(side: Side, tmp_path: Path, left: int) -> None:
    """An input that ends before the journal's items do was changed: the job does not look finished."""
    journal = tmp_path / "job.db"
    async with RawServer(succeed) as server:
        client = side.client(server.url)
        await run_of(client, journal, 5)
        with pytest.raises(BulkStoppedError, match=f"knows 5 items of the input, which has {left} now") as caught:
            await run_of(client, journal, left)
        assert isinstance(caught.value.reason, JournalError)
        assert 5 == len(server.log)


# Refusals


PAGE = answer(403, "<html>Blocked</html>", headers={"Content-Type": "text/html"})


@pytest.mark.scenario(343)
async def test_one_item_is_blocked(side: Side, tmp_path: Path) -> None:
    """An item that a firewall refuses fails alone, is tried again by the next run, and stops neither."""
    blocked = {f"conv_{number}" for number in range(1, 8)}

    async def script(exchange: Exchange) -> None:
        await exchange.send(PAGE if exchange.name in blocked else success(exchange))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=RetryPolicy.never())
        for count, sent in [(5, 5), (9, 13), (9, 20)]:
            async with Job(
                client, "delete", items("delete", 9)[:count], journal=tmp_path / "job.db", concurrency=1
            ) as job:
                outcomes = await job.rest()
            failures = [outcome for outcome in outcomes if outcome.status == "failed"]
            assert set(ids(failures)) == blocked & {f"conv_{number}" for number in range(count)}
            assert all(isinstance(outcome.error, PermissionDeniedError) for outcome in failures)
            assert sent == len(server.log)


@pytest.mark.scenario(343)
@pytest.mark.parametrize("status", [401, 403])
async def test_everything_is_blocked(side: Side, tmp_path: Path, status: int) -> None:
    """A page that answers everything stops the job after five items, and settles none of them."""
    page = answer(status, "<html>Blocked</html>", headers={"Content-Type": "text/html"})
    pages = True

    async def script(exchange: Exchange) -> None:
        await exchange.send(page if pages else success(exchange))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=RetryPolicy.never())
        outcomes: list[Any] = []
        async with Job(client, "delete", items("delete", 100), journal=tmp_path / "job.db", concurrency=1) as job:
            with pytest.raises(BulkStoppedError, match="answered") as caught:
                await job.rest(outcomes)
        assert status == caught.value.reason.status
        assert ["failed"] * 5 == [outcome.status for outcome in outcomes]
        assert 5 == len(server.log)
        pages = False
        assert 100 == len(await run_of(client, tmp_path / "job.db", 100))


@pytest.mark.scenario(344)
async def test_a_method_that_is_not_allowed(side: Side, operation: str, tmp_path: Path) -> None:
    """A server without the operation stops the job at once; when it has it, all items are sent."""
    refusal = answer(405, {"detail": "Method Not Allowed"}, headers={"Allow": "GET"})
    allowed = False

    async def script(exchange: Exchange) -> None:
        await exchange.send(success(exchange) if allowed else refusal)

    async with RawServer(script) as server:
        client = side.client(server.url, retry=RetryPolicy.never())
        given: dict[str, Any] = {"journal": tmp_path / "job.db", "concurrency": 1}
        async with Job(client, operation, items(operation, 9), **given) as job:
            with pytest.raises(BulkStoppedError) as caught:
                await job.rest()
        assert (405, 1) == (caught.value.reason.status, len(server.log))
        allowed = True
        async with Job(client, operation, items(operation, 9), **given) as job:
            assert 9 == len(await job.rest())


# Windows

KNOWN: list[tuple[str, str, Any]] = [
    ("POST", "/v1/dev/user/memories/batch", inside.create_memories([NewMemory("Tea.")])),
    ("POST", "/v1/dev/user/memories", inside.create_memory("Tea.", None, "private", ())),
    ("GET", "/v1/dev/user/conversations/c?include_transcript=true", inside.get_conversation("c", True)),
    ("GET", "/v1/dev/user/conversations/c", inside.get_conversation("c", False)),
    ("GET", "/v1/dev/user/folders", inside.list_folders()),
    ("GET", "/v1/dev/user/daily-summaries/s", inside.get_daily_summary("s")),
]


@pytest.mark.scenario(346)
@pytest.mark.parametrize(("method", "target", "known"), KNOWN)
def test_windows_of_known_operations(method: str, target: str, known: Any) -> None:
    """`client.request` counts an operation in the same windows as its method."""
    path, _, query = target.partition("?")
    request: Any = inside.raw(method, path, {"include_transcript": True} if query else None, None, False)
    assert known.windows == request.windows


@pytest.mark.scenario(346)
async def test_a_refused_batch(side: Side) -> None:
    """A 429 to a batch by `client.request` closes the window of batches, and no other."""

    async def script(exchange: Exchange) -> None:
        limits = {"Retry-After": "3600", "X-RateLimit-Limit": "15"}
        batch = exchange.path.endswith("/batch")
        await exchange.send(answer(429, {"detail": "Too many"}, headers=limits) if batch else success(exchange))

    async with RawServer(script) as server:
        client: Any = side.client(server.url, retry=RetryPolicy.never())

        async def call(method: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
            made = method(*arguments, **settings)
            return await made if side.name == "async" else made

        async def both() -> None:
            with pytest.raises(RateLimitError):
                await call(client.request, "POST", "/v1/dev/user/memories/batch", json={"memories": []})
            await call(client.memories.delete, "m1")
            with pytest.raises(RateLimitError, match="nothing was sent"):
                await call(client.memories.create_batch, [NewMemory("Tea.")])

        if side.name == "async":
            await both()
        else:
            await asyncio.to_thread(asyncio.run, both())
        assert 2 == len(server.log)


# Interrupts


class Struck(BaseException):
    """As Ctrl-C."""


class Finished:
    """A job whose outcomes are all at hand."""

    def __init__(self, outcomes: Iterable[str]) -> None:
        self._rows = deque(outcomes)

    async def _fill(self) -> None:
        raise StopAsyncIteration

    def _pulled(self) -> int:
        return 3

    async def _rest(self, grace: float, *, input_lost: bool) -> None:
        raise AssertionError("it has ended")

    def _ended_by(self, reason: OmiError) -> BulkStoppedError:
        raise AssertionError("it has ended")

    async def aclose(self) -> None:
        raise AssertionError("it has ended")


@pytest.mark.scenario(347)
@pytest.mark.parametrize("items", [["a", "b", "c"], iter("abc")], ids=["a list", "an iterator"])
def test_interrupts_while_an_outcome_is_taken(items: Any) -> None:
    """Wherever a call begins or ends within the taking, Ctrl-C there leaves the outcome to be taken again."""
    feed = _iterate.feed(items)

    def take(job: Finished, strike: int) -> tuple[list[str], int]:
        """All outcomes, where the interrupt strikes at this event; and how many events there were."""
        seen, taken = 0, []

        def watch(frame: FrameType, event: str, _: object) -> None:
            nonlocal seen
            if frame.f_code.co_filename != _iterate.__file__ or (event == "return" and frame.f_code is code):
                return
            seen += 1
            if seen == strike:
                raise Struck

        code = _iterate.next_outcome.__code__
        for _ in range(4):
            sys.setprofile(watch)
            try:
                taken.append(_iterate.next_outcome(bridge, job, feed))
            except (Struck, StopIteration):
                pass
            finally:
                sys.setprofile(None)
        return taken, seen

    with OmiClient("omi_dev_key", base_url="http://127.0.0.1:9") as client:
        bridge = client._bridge
        strike, events = 1, 1
        while strike <= events:
            taken, events = take(Finished("abc"), strike)
            assert ["a", "b", "c"][: len(taken)] == taken, strike
            assert len(taken) == 3 or strike > events
            strike += 1
        assert strike > 6
