"""Saving to an archive, keeping before deleting, and recreating: on both sides, against the sandbox."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

import omi_sync
from omi_async import (
    ArchiveError,
    AsyncOmiClient,
    BulkOutcome,
    BulkStatus,
    BulkStoppedError,
    ConfigurationError,
    ConflictError,
    Deletion,
    InvalidRequestError,
    NotFoundError,
    RateLimitError,
    SaveProgress,
    SaveResult,
    ServerError,
)
from omi_async.archive import Archive, notes, pull
from omi_async.archive.rows import stored_time
from omi_async.sandbox import Sandbox, SandboxConversation
from omi_sync._bridge import original
from tests.support.archives import NEWEST, conversations
from tests.support.clock import VirtualClock
from tests.support.scale import FULL
from tests.support.sides import Side

GENERATIONS = ["newest", "2026-05"]
HOUR = 3600.0


@attrs.define
class User:
    """A client of one side on a sandbox, with an archive."""

    client: Any
    archive: Any
    sandbox: Sandbox

    async def save(self, **settings: Any) -> SaveResult:
        result: SaveResult = await self._call(self.client.conversations.save_to, self.archive, **settings)
        return result

    async def get(self, conversation_id: str) -> Any:
        return await self._call(self.archive.get, conversation_id)

    async def count(self) -> int:
        return int(await self._call(self.archive.count))

    async def delete(self, conversation_id: str) -> Any:
        return await self._call(self.client.conversations.delete, conversation_id, keep=self.archive)

    async def delete_many(self, ids: list[str], **settings: Any) -> list[BulkOutcome[Deletion]]:
        job = self.client.conversations.delete_many(ids, keep=self.archive, **settings)
        if isinstance(self.client, AsyncOmiClient):
            return [each async for each in job]
        return await asyncio.to_thread(list, job)

    async def recreate(self, conversation_id: str) -> Any:
        return await self._call(self.client.conversations.recreate, self.archive, conversation_id)

    async def _call(self, method: Any, *arguments: Any, **settings: Any) -> Any:
        if isinstance(self.client, AsyncOmiClient):
            return await method(*arguments, **settings)
        return await asyncio.to_thread(method, *arguments, **settings)

    @property
    def lines(self) -> list[str]:
        return [request.method for request in self.sandbox.requests]


def words(conversation: SandboxConversation) -> Any:
    return json.loads(json.dumps(conversation.to_json(include_transcript=True)))


@pytest.fixture
def stored() -> list[SandboxConversation]:
    return conversations(450)


@pytest.fixture(params=GENERATIONS)
async def user(
    side: Side, clock: VirtualClock, stored: list[SandboxConversation], tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[User]:
    """A user of either side, on a sandbox of either generation that counts reads as the real server does."""
    limits: dict[str, Any] = {"read_limit": 60, "transcript_limit": 25}
    async with Sandbox(stored, generation=request.param, clock=clock.monotonic, **limits) as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.api_key, retry=clock.policy())
        kind = Archive if side.name == "async" else omi_sync.Archive
        user = User(client, kind(tmp_path / "archive.db"), sandbox)
        yield user
        await user._call(user.archive.aclose if side.name == "async" else user.archive.close)


newest = pytest.mark.parametrize("user", ["newest"], indirect=True)


# Saving


async def test_everything_once_and_then_nothing(user: User, stored: list[SandboxConversation]) -> None:
    """The first run saves every conversation as it is sent; the next one finds no change, in three requests."""
    first = await user.save()
    assert (450, 0, 0, (), ()) == (first.new, first.changed, first.unchanged, first.missing, first.failed)
    assert () == first.gaps
    assert first.requests == len([each for each in user.sandbox.requests if each.status == 200])
    for each in stored:
        saved = await user.get(each.id)
        assert (words(each), True, each.created_at) == (saved.json, saved.has_transcript, saved.created_at)
    user.sandbox.requests.clear()
    second = await user.save()
    assert (0, 0) == (second.new, second.changed)
    assert second.unchanged >= 168  # a week of them
    assert second.requests == len(user.sandbox.requests) <= 3
    assert not any("include_transcript" in each.path for each in user.sandbox.requests)


async def test_what_changed(user: User, stored: list[SandboxConversation]) -> None:
    """A later run fetches what is new and what has changed, and tells what is gone, which stays in the archive."""
    await user.save()
    there = user.sandbox.conversations
    there["conv_3"].title = "A new title"
    there["conv_9"].overview = "A new overview"
    there["conv_400"].title = "Behind the overlap"
    there["conv_4"].discarded = True
    del there["conv_5"]
    added = [SandboxConversation(id=f"new_{n}", created_at=NEWEST + timedelta(hours=n)) for n in range(3)]
    # One that appears late: it was recorded before others that are known already.
    added.append(SandboxConversation(id="late", created_at=NEWEST - timedelta(hours=30, minutes=1)))
    there.update({each.id: each for each in added})
    user.sandbox.requests.clear()
    result = await user.save()
    assert (4, 2, {"conv_4", "conv_5"}) == (result.new, result.changed, set(result.missing))
    assert result.requests <= 5  # one of them at older servers alone, where a page of 100 rows may be a whole one
    saved = await user.get("conv_3")
    assert ("A new title", words(there["conv_3"])) == (saved.json["structured"]["title"], saved.json)
    assert saved.first_seen_at < saved.changed_at
    gone = await user.get("conv_5")
    assert words(stored[5]) == gone.json
    assert gone.missing_at is not None
    assert [True] * 4 == [(await user.get(each.id)).has_transcript for each in added]
    there["conv_4"].discarded = False
    result = await user.save(full=True)
    assert (0, 1, 452, ()) == (result.new, result.changed, result.unchanged, result.missing)
    assert (await user.get("conv_4")).missing_at is None


async def test_gaps(user: User) -> None:
    """Where the server withholds locked conversations it is said so, by every run, until they are no longer locked."""
    user.sandbox.conversations["conv_30"].locked = True
    for result in (await user.save(), await user.save()):
        (gap,) = result.gaps
        assert gap.oldest < user.sandbox.conversations["conv_30"].created_at < gap.newest
    assert 449 == await user.count()
    user.sandbox.conversations["conv_30"].locked = False
    result = await user.save()
    assert (1, ()) == (result.new, result.gaps)


@newest
@pytest.mark.parametrize(("first", "behind"), [(0, 200), (100, 300), (150, 260), (200, 400), (200, 210)])
async def test_many_locked(user: User, stored: list[SandboxConversation], first: int, behind: int) -> None:
    """However many rows a page has left, those behind it are found, and the gap is where the locked ones are."""
    locked = stored[first:behind]
    for each in locked:
        each.locked = True
    for _ in range(2):
        result = await user.save(full=True)
        assert 450 - len(locked) == await user.count()
        assert all(any(gap.oldest < each.created_at < gap.newest for gap in result.gaps) for each in locked)
    for each in locked:
        each.locked = False
    result = await user.save(full=True)
    assert (len(locked), ()) == (result.new, result.gaps)


@newest
async def test_at_the_pace_of_the_windows(
    side: Side, clock: VirtualClock, tmp_path: Path, figure: Callable[..., None], user: User
) -> None:
    """A first run takes no longer than the windows of reads with transcripts make it, and tells when it will end."""
    count = 20000 if FULL else 450
    limits: dict[str, Any] = {"read_limit": 60, "transcript_limit": 25 if FULL else 1}
    told: list[SaveProgress] = []
    async with Sandbox(conversations(count), clock=clock.monotonic, **limits) as sandbox:
        user.client = side.client(sandbox.url, api_key=sandbox.api_key, retry=clock.policy())
        before = clock.now
        result = await user.save(on_progress=told.append)
        hours = (clock.now - before) / HOUR
    assert count == result.new
    pages = -(-count // 200)
    ideal = (pages - 1) // limits["transcript_limit"]
    assert ideal <= hours <= ideal * 1.03 + 0.01
    waits = [each for each in told if each.waiting_until is not None]
    assert waits
    assert all(each.total is not None and abs(each.total - count) <= 0.1 * count for each in waits)
    assert waits[-1].estimated_end is not None
    assert (count, count) == (told[-1].saved, told[-1].total)
    figure(f"archive, first run, {side.name}", conversations=count, hours=round(hours, 3), ideal=ideal)


@newest
async def test_without_waiting(user: User, stored: list[SandboxConversation], clock: VirtualClock) -> None:
    """With `wait=False` a run ends where the window does, keeps what it has, and the next one goes on."""
    user.sandbox._allowance.set_limits({"read_limit": 5, "transcript_limit": 1})
    errors: list[RateLimitError] = []
    held = [0]
    while held[-1] < len(stored):
        try:
            await user.save(wait=False)
        except RateLimitError as error:
            errors.append(error)
        held.append(await user.count())
        assert held[-1] > held[-2]
        clock.now += HOUR + 2
    assert errors
    assert all(0 < (each.retry_after or 0) <= HOUR + 2 for each in errors)


async def test_after_a_failure(user: User) -> None:
    """An error ends a run; what came before it is kept, and the next run goes on behind it."""
    user.sandbox.fail(status=503, headers={"Retry-After": "86400"}, path="/v1/dev/user/conversations", times=1)
    with pytest.raises(ServerError):
        await user.save()
    assert 0 == await user.count()
    if not isinstance(user.client, AsyncOmiClient):
        return  # callbacks come later there

    def stop(progress: SaveProgress) -> None:
        if progress.saved and not user.sandbox.pending_faults:
            user.sandbox.fail(status=503, headers={"Retry-After": "86400"}, path="/v1/dev/user/conversations", times=1)

    with pytest.raises(ServerError):
        await user.save(on_progress=stop)
    user.sandbox.clear_faults()
    before = await user.count()
    assert 0 < before < 450
    result = await user.save()
    assert 450 - before == result.new
    assert 450 == await user.count()


@newest
async def test_pages_that_are_too_much(user: User) -> None:
    """A page that the server or the way to it cannot bear is asked for again, shorter."""
    user.sandbox.fail(status=504, body="", path="/v1/dev/user/conversations", times=3)
    assert 450 == (await user.save()).new
    asked = [each.path for each in user.sandbox.requests if each.status == 200]
    assert "limit=50&" in asked[0]
    assert "limit=200&" in asked[3]


@newest
async def test_one_that_cannot_be_had(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation that the server always fails to give keeps no other away, and is tried again by every run."""
    asked: list[str] = []

    def fail(self: SandboxConversation, *, include_transcript: bool, real: Any = SandboxConversation.to_json) -> Any:
        if include_transcript and self.id in broken:
            asked.append(self.id)
            raise RuntimeError("a row that the server cannot read")
        return real(self, include_transcript=include_transcript)

    broken = {"conv_3", "conv_4", "conv_300"}
    with monkeypatch.context() as patch:
        patch.setattr(SandboxConversation, "to_json", fail)
        for number in (447, 0):
            result = await user.save()
            assert (number, broken) == (result.new, set(result.failed))
            assert 447 == await user.count()
        assert broken == set(asked)
        broken = {f"conv_{number}" for number in range(450)}
        user.sandbox.conversations["conv_10"].title = "Changed"
        broken -= {"conv_10"}
        assert 1 == (await user.save()).changed
    result = await user.save()
    assert (3, ()) == (result.new, result.failed)


@newest
async def test_a_server_that_fails(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no conversation can be had, it is the server: the run ends with its error, and the next one goes on."""

    def fail(self: SandboxConversation, *, include_transcript: bool, real: Any = SandboxConversation.to_json) -> Any:
        if include_transcript:
            raise RuntimeError("a server that cannot read")
        return real(self, include_transcript=include_transcript)

    with monkeypatch.context() as patch:
        patch.setattr(SandboxConversation, "to_json", fail)
        with pytest.raises(ServerError):
            await user.save()
    assert 4 == len({each.path for each in user.sandbox.requests if "/conversations/conv_" in each.path})
    assert 450 == (await user.save()).new


@newest
async def test_a_clock_that_is_set_back(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back while a run looks does not make what it has seen look missing."""
    moment = NEWEST

    def earlier() -> str:
        nonlocal moment
        moment -= timedelta(minutes=1)
        return stored_time(moment)

    await user.save()
    for module in (pull, notes):
        monkeypatch.setattr(module, "now", earlier)
    user.sandbox.conversations["conv_1"].title = "Changed"
    result = await user.save(full=True)
    assert (1, 449, ()) == (result.changed, result.unchanged, result.missing)


@newest
async def test_bounds(user: User) -> None:
    """Bounds restrict what is saved, and what lies between is saved when it is asked for."""
    day = timedelta(days=1)
    await user.save(start_date=NEWEST - 4 * day, end_date=NEWEST - 2 * day)
    assert (None, True, True, None) == tuple(
        [each and each.has_transcript for each in [await user.get(f"conv_{n}") for n in (47, 48, 96, 97)]]
    )
    await user.save(end_date=NEWEST - 10 * day)
    assert 49 + 450 - 240 == await user.count()
    result = await user.save()
    assert 450 == await user.count()
    assert (0, ()) == (result.changed, result.missing)


@newest
async def test_without_transcripts(user: User) -> None:
    """Without transcripts the cheap rows are saved; with them a later run has it all."""
    result = await user.save(include_transcripts=False)
    assert 450 == result.new
    assert not any("include_transcript" in each.path for each in user.sandbox.requests)
    assert not (await user.get("conv_1")).has_transcript
    user.sandbox.conversations["conv_1"].title = "Another"
    assert 1 == (await user.save(include_transcripts=False)).changed
    assert 450 == (await user.save()).changed
    assert words(user.sandbox.conversations["conv_1"]) == (await user.get("conv_1")).json
    assert 0 == (await user.save(include_transcripts=False)).changed


@newest
async def test_gone_before_it_was_fetched(user: User) -> None:
    """What the list showed and the server then did not give is told, and tried no further."""
    if not isinstance(user.client, AsyncOmiClient):
        pytest.skip("callbacks come later there")
    await user.save()
    user.sandbox.conversations["conv_2"].title = "A new title"

    def hide(progress: SaveProgress) -> None:
        user.sandbox.conversations["conv_2"].locked = True

    result = await user.save(on_progress=hide)
    assert ("conv_2",) == result.failed
    assert words(conversations(3)[2]) == (await user.get("conv_2")).json
    user.sandbox.requests.clear()
    assert () == (await user.save()).failed
    assert 1 == len(user.sandbox.requests)


@newest
async def test_another_server(side: Side, user: User) -> None:
    """An archive of one server is refused with another one, before anything is sent."""
    await user.save(start_date=NEWEST)
    async with Sandbox() as other:
        user.client = side.client(other.url, api_key=other.api_key)
        for attempt in (user.save(), user.delete("conv_standup")):
            with pytest.raises(ArchiveError, match="belongs to another server"):
                await attempt
        assert [] == other.requests


@newest
@pytest.mark.parametrize(
    "settings",
    [
        {"overlap": 7},
        {"overlap": timedelta(-1)},
        {"on_progress": 5},
        {"start_date": datetime(2026, 1, 1)},  # noqa: DTZ001 - that is the point
        {"start_date": NEWEST, "end_date": NEWEST - timedelta(1)},
    ],
    ids=str,
)
async def test_settings_that_cannot_work(settings: Any, user: User) -> None:
    """Settings that cannot work are refused before anything is sent or made."""
    with pytest.raises((ConfigurationError, InvalidRequestError)):
        await user.save(**settings)
    user.archive, archive = "archive.db", user.archive
    for attempt in (user.save(), user.delete("conv_1"), user.recreate("conv_1")):
        with pytest.raises(ConfigurationError, match="must be an Archive"):
            await attempt
    user.archive = archive
    assert [] == user.sandbox.requests


@newest
async def test_two_at_once(user: User) -> None:
    """An archive is filled by one run at a time."""
    found = await asyncio.gather(user.save(), user.save(), return_exceptions=True)
    refused = [each for each in found if isinstance(each, ArchiveError)]
    assert ["is being filled already"] == [str(each).partition("archive.db ")[2][:23] for each in refused]
    assert 450 == await user.count()


@newest
async def test_two_archives_of_one_file(user: User, tmp_path: Path) -> None:
    """So it is for others that have opened the same file; once the one has ended, another may fill it."""
    kind = Archive if isinstance(user.archive, Archive) else omi_sync.Archive
    other = User(user.client, kind(tmp_path / "archive.db"), user.sandbox)
    async with original(user.archive)._filled():
        with pytest.raises(ArchiveError, match="is being filled already") as refused:
            await other.save()
        assert refused.value.retryable
        assert 0 == await other.count()  # it may be read
    assert (450, 450) == ((await other.save()).new, await user.count())
    assert 450 == (await user.save(full=True)).unchanged
    await other._call(other.archive.aclose if kind is Archive else other.archive.close)


@newest
async def test_the_loop_goes_on(user: User, figure: Callable[..., None]) -> None:
    """The event loop is not held up by the disk: while a page is stored, other tasks have their turns."""
    if not isinstance(user.client, AsyncOmiClient):
        pytest.skip("the caller has no loop")
    loop, longest, over = asyncio.get_running_loop(), 0.0, False

    async def turns() -> None:
        nonlocal longest
        before = loop.time()
        while not over:
            await asyncio.sleep(0)
            longest, before = max(longest, loop.time() - before), loop.time()

    watching = loop.create_task(turns())
    async with user.archive:
        await user.save()
        over = True
        await watching
    figure("archive, longest step of the loop", milliseconds=round(longest * 1000, 1))
    assert longest < 5


# Keeping


@newest
async def test_kept_before_it_is_deleted(user: User, stored: list[SandboxConversation]) -> None:
    """A deletion with `keep` first has the conversation in the archive; what cannot be kept is not deleted."""
    user.sandbox.conversations["conv_1"].locked = True
    deletion = await user.delete("conv_0")
    assert deletion == Deletion(id="conv_0", confirmed=True)
    saved = await user.get("conv_0")
    assert (words(stored[0]), True) == (saved.json, saved.has_transcript)
    assert saved.kept_at is not None
    for name in ("conv_1", "conv_none"):
        with pytest.raises(NotFoundError) as caught:
            await user.delete(name)
        assert "not_applied" == caught.value.outcome
        assert "It was not deleted, because no copy of it could be kept." in str(caught.value)
    assert ["GET", "DELETE", "GET", "GET"] == user.lines
    assert "conv_1" in user.sandbox.conversations


@newest
async def test_many_kept_at_the_pace_of_both_windows(
    user: User, clock: VirtualClock, stored: list[SandboxConversation]
) -> None:
    """A job with `keep` waits for reads as for writes, and reports what it could not keep as failed."""
    user.sandbox.conversations["conv_7"].locked = True
    user.sandbox._allowance.set_limits({"write_limit": 10, "transcript_limit": 8, "read_limit": 100})
    before = clock.now
    outcomes = await user.delete_many([f"conv_{n}" for n in range(30)])
    failed = {each.id: each for each in outcomes if each.status is not BulkStatus.DONE}
    assert (30, {"conv_7"}) == (len(outcomes), set(failed))
    assert isinstance(failed["conv_7"].error, NotFoundError)
    # Four windows of reads at best; a copy that is made as one closes has its deletion wait for the next.
    assert 3 * HOUR <= clock.now - before <= 5 * HOUR * 1.03
    for number in {*range(30)} - {7}:
        assert words(stored[number]) == (await user.get(f"conv_{number}")).json
    assert "conv_7" in user.sandbox.conversations
    applied = [each for each in user.sandbox.requests if each.method == "DELETE" and each.applied]
    assert 29 == len(applied)


@newest
async def test_an_archive_that_fails_stops_the_job(user: User, tmp_path: Path) -> None:
    """When nothing can be stored any more, nothing further is deleted."""
    await user.delete("conv_0")
    (tmp_path / "archive.db").unlink()
    with pytest.raises(BulkStoppedError) as caught:
        await user.delete_many(["conv_1", "conv_2"], concurrency=1)
    assert isinstance(caught.value.reason, ArchiveError)
    assert {"conv_1", "conv_2"} <= set(user.sandbox.conversations)


@newest
async def test_without_waiting_for_reads(user: User) -> None:
    """With `wait=False` a job that may not read any more stops, and has deleted nothing that it did not keep."""
    user.sandbox._allowance.set_limits({"transcript_limit": 3})
    with pytest.raises(BulkStoppedError) as caught:
        await user.delete_many([f"conv_{n}" for n in range(6)], concurrency=1, wait=False)
    assert isinstance(caught.value.reason, RateLimitError)
    assert 450 - 3 == len(user.sandbox.conversations)
    assert 3 == await user.count()


@newest
async def test_resumed_after_the_deletion(user: User, tmp_path: Path) -> None:
    """A deletion that was carried out and never noted is found so by the next run, which has the copy already."""
    user.sandbox.fail(method="DELETE", close="after", times=3)
    journal = tmp_path / "job.db"
    (first,) = await user.delete_many(["conv_0"], journal=journal)
    assert first.status in (BulkStatus.UNKNOWN, BulkStatus.UNCONFIRMED)
    outcomes = await user.delete_many(["conv_0"], journal=journal)
    assert [BulkStatus.UNCONFIRMED] == [each.status for each in outcomes or [first]]


# Recreating


@newest
async def test_recreated(user: User, stored: list[SandboxConversation]) -> None:
    """A kept conversation comes back once, with its words and title, and it is said what is not as before."""
    with pytest.raises(InvalidRequestError, match="does not have the conversation"):
        await user.recreate("conv_0")
    await user.save(start_date=NEWEST)
    with pytest.raises(ConflictError, match="still has the conversation") as conflict:
        await user.recreate("conv_0")
    assert "not_applied" == conflict.value.outcome
    await user.delete("conv_0")
    made = await user.recreate("conv_0")
    again = await user.recreate("conv_0")
    assert made.id == again.id != made.recreated_from == "conv_0"
    new = user.sandbox.conversations[made.id]
    assert stored[0].title == new.title == made.conversation.structured.title
    assert [each["text"] for each in stored[0].transcript_segments] == [e["text"] for e in new.transcript_segments]
    assert stored[0].started_at == new.started_at
    assert {"id", "structured.overview", "audio", "photos"} <= set(made.differences)
    assert {"structured.title", "started_at", "language"}.isdisjoint(made.differences)
    assert made.id == (await user.get("conv_0")).recreated_as
    del user.sandbox.conversations[made.id]


@newest
async def test_recreated_with_what_the_server_does_not_take(user: User) -> None:
    """A title that is too long is cut, and a blank language is left out."""
    odd = user.sandbox.conversations["conv_0"]
    odd.title, odd.language = "long " * 200, " "
    await user.delete("conv_0")
    made = await user.recreate("conv_0")
    assert ("long " * 100).strip() == user.sandbox.conversations[made.id].title
    assert {"structured.title", "language"} <= set(made.differences)


@newest
async def test_recreated_from_very_many_segments(user: User) -> None:
    """A transcript of more segments than the server takes comes back with all its words, and it is said so."""
    long = user.sandbox.conversations["conv_0"]
    long.transcript_segments = [
        {"text": f"word{n}", "start": float(n), "end": n + 0.5, "speaker_id": n // 5 % 2} for n in range(1203)
    ]
    await user.delete("conv_0")
    made = await user.recreate("conv_0")
    segments = user.sandbox.conversations[made.id].transcript_segments
    assert 500 >= len(segments)
    assert [f"word{n}" for n in range(1203)] == " ".join(each["text"] for each in segments).split()
    assert "transcript_segments" in made.differences


@newest
async def test_deleted_after_it_was_recreated(user: User) -> None:
    """What was recreated and then deleted does not come back by repeating it, and that is said."""
    await user.delete("conv_0")
    made = await user.recreate("conv_0")
    await user._call(user.client.conversations.delete, made.id)
    again = await user.recreate("conv_0")
    assert (made.id, "deleted", None) == (again.id, again.status, again.conversation)


@newest
async def test_without_a_transcript(user: User) -> None:
    """A copy without words is no reason to make a conversation."""
    user.sandbox.conversations["conv_0"].transcript_segments = []
    await user.delete("conv_0")
    user.sandbox.requests.clear()
    with pytest.raises(InvalidRequestError, match="no transcript"):
        await user.recreate("conv_0")
    assert [] == user.sandbox.requests
