"""Every operation beside those of conversations, once on both sides against the sandbox, and with its answer lost."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Any

import attrs
import pytest

from omi_async import (
    CLEAR,
    ActionItemUpdate,
    AsyncOmiClient,
    AuthenticationError,
    BadRequestError,
    BulkStatus,
    ClientClosedError,
    Deletion,
    MemoryCategory,
    MemoryUpdate,
    NewActionItem,
    NewMemory,
    NotFoundError,
    OmiError,
    PaymentRequiredError,
    PermissionDeniedError,
    ResponseError,
    RouteNotFoundError,
    TransportError,
    UnprocessableEntityError,
)
from omi_async.sandbox import Sandbox, SandboxActionItem, SandboxMemory
from tests.support import inside
from tests.support.canary import channels, hits, paths
from tests.support.clock import VirtualClock
from tests.support.sides import Side

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
GENERATIONS = ["newest", "2026-05"]
GOAL = "goal_5a1d0c7e42b9"


@attrs.frozen
class Caller:
    """A client of one side on a sandbox."""

    client: Any
    sandbox: Sandbox

    async def call(self, name: str, *arguments: Any, **settings: Any) -> Any:
        """Call an operation by its name, as `memories.update`."""
        method = attrgetter(name)(self.client)
        if isinstance(self.client, AsyncOmiClient):
            return await method(*arguments, **settings)
        return await asyncio.to_thread(method, *arguments, **settings)

    async def all(self, name: str, *arguments: Any, **settings: Any) -> list[Any]:
        """Everything that a list or a job gives."""
        found = attrgetter(name)(self.client)(*arguments, **settings)
        if isinstance(self.client, AsyncOmiClient):
            return [each async for each in found]
        return await asyncio.to_thread(list, found)

    @property
    def lines(self) -> list[str]:
        return [f"{request.method} {request.path.partition('?')[0]}" for request in self.sandbox.requests]


@pytest.fixture
async def on(side: Side, clock: VirtualClock, request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    """A caller on a sandbox of the generation that the test names, by default the newest."""
    async with Sandbox(generation=getattr(request, "param", "newest"), write_limit=None) as sandbox:
        yield Caller(side.client(sandbox.url, api_key=sandbox.api_key, retry=clock.policy()), sandbox)


both = pytest.mark.parametrize("on", GENERATIONS, indirect=True)
older = pytest.mark.parametrize("on", ["2026-05"], indirect=True)


# Round trips


@both
async def test_folders(on: Caller) -> None:
    """Folders come in the order of the app, and name the conversations in them."""
    folders = await on.call("folders.list")
    assert ["folder_other", "folder_work", "folder_travel"] == [folder.id for folder in folders]
    found = await on.all("conversations.list", folder_id=folders[1].id)
    assert folders[1].conversation_count == len(found)


@both
async def test_memories(on: Caller) -> None:
    """A memory is made, found in the list, changed and deleted."""
    made = await on.call("memories.create", " Likes tea. ", category=MemoryCategory.HABITS, tags=["tea"])
    assert ("Likes tea.", "habits", "private", ("tea",)) == (made.content, made.category, made.visibility, made.tags)
    assert made.id in {each.id for each in await on.all("memories.list")}
    assert {"mem_coffee", made.id} == {each.id for each in await on.all("memories.list", categories=["habits"])}
    changed = await on.call("memories.update", made.id, content="Likes cake.", visibility="public", tags=[])
    assert ("Likes cake.", "public", (), True) == (changed.content, changed.visibility, changed.tags, changed.edited)
    assert Deletion(id=made.id, confirmed=True) == await on.call("memories.delete", made.id)
    assert made.id not in on.sandbox.memories
    for name in ("memories.update", "memories.delete"):
        more = {"content": "x"} if name == "memories.update" else {}
        with pytest.raises(NotFoundError):
            await on.call(name, made.id, **more)
        with pytest.raises(PaymentRequiredError):
            await on.call(name, "mem_locked", **more)
    with pytest.raises(BadRequestError):
        await on.all("memories.list", categories=["brand-new"])


@pytest.mark.parametrize(("on", "category"), [("newest", "habits"), ("2026-05", "work")], indirect=["on"])
async def test_a_memory_twice(on: Caller, category: str) -> None:
    """The same text is the same memory; an older server sets its category anew."""
    first = await on.call("memories.create", "Likes tea.", category="habits")
    again = await on.call("memories.create", "Likes tea.", category="work")
    assert (first.id, category) == (again.id, again.category)


@both
async def test_memories_in_a_batch(on: Caller) -> None:
    """A batch answers in its order; a text that comes twice is one memory."""
    made = await on.call(
        "memories.create_batch", [NewMemory("One.", category="work"), NewMemory("Two."), NewMemory("One.")]
    )
    assert ["One.", "Two.", "One."] == [each.content for each in made]
    assert made[0].id == made[2].id
    assert 9 == len(on.sandbox.memories)


async def test_memories_search(on: Caller) -> None:
    """What is alike comes with its score, the best first."""
    found = await on.call("memories.search", "coffee black in the afternoon", limit=2)
    assert ("mem_coffee", MemoryCategory.HABITS) == (found[0].id, found[0].category)
    assert 2 == len(found)
    assert found[0].relevance_score > found[1].relevance_score
    assert () == await on.call("memories.search", "xylophone")


async def test_beyond_the_reach(side: Side) -> None:
    """5000 memories come, and that there are more is told; a filter that gives up is told as well."""
    rows = [SandboxMemory(id=f"m{n:04}", category="work" if n % 5 == 0 else "habits") for n in range(5100)]
    async with Sandbox(memories=rows) as sandbox:
        caller = Caller(side.client(sandbox.url, api_key=sandbox.api_key), sandbox)
        cases: list[Any] = [({}, 5000, True, False), ({"categories": ["work"]}, 1000, False, True)]
        for settings, count, gaps, truncated in cases:
            listing = caller.client.memories.list(**settings)
            if side.name == "async":
                found = [each.id async for each in listing]
            else:
                found = [each.id for each in await asyncio.to_thread(list, listing)]
            assert (count, count) == (len(found), len({*found}))
            assert (gaps, truncated) == (listing.gaps, listing.truncated)


@pytest.mark.scenario(320)
@pytest.mark.parametrize("generation", GENERATIONS)
async def test_most_memories_hidden(side: Side, generation: Any) -> None:
    """Hidden memories have their places on the pages: all others come, and `gaps` tells of the hidden ones."""
    hidden: dict[str, Any] = {"unreadable": True} if generation == "newest" else {"user_review": False}
    rows = [SandboxMemory(id=f"m{n:04}", **(hidden if n < 9 or n in (10, 11) else {})) for n in range(60)]
    async with Sandbox(memories=rows, generation=generation) as sandbox:
        listing: Any = side.client(sandbox.url, api_key=sandbox.api_key).memories.list(page_size=10)
        if side.name == "async":
            found = [each.id async for each in listing]
        else:
            found = [each.id for each in await asyncio.to_thread(list, listing)]
        assert {row.id for row in rows[9:10] + rows[12:]} == {*found}
        assert (49, True) == (len(found), listing.gaps)


@pytest.mark.scenario(323)
@pytest.mark.parametrize("due_at", [datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)])
async def test_the_first_and_the_last_moment(on: Caller, due_at: datetime) -> None:
    """The first and the last moment that can be given come back, in the list too."""
    made = await on.call("action_items.create", "Paint the door.", due_at=due_at)
    assert due_at == made.due_at
    assert due_at in [each.due_at for each in await on.all("action_items.list")]


@both
async def test_action_items(on: Caller) -> None:
    """An action item is made, found in the list, changed and deleted."""
    made = await on.call("action_items.create", " Paint the door. ", due_at=NOON)
    assert ("Paint the door.", False, NOON) == (made.description, made.completed, made.due_at)
    assert 6 == len(await on.all("action_items.list"))
    assert [made.id] == [each.id for each in await on.all("action_items.list", start_date=NOON.replace(month=10))]
    assert {"item_search", "item_invite"} == {
        each.id for each in await on.all("action_items.list", conversation_id="conv_standup")
    }
    completed = await on.all("action_items.list", completed=True)
    assert [True, True] == [each.completed for each in completed]
    changed = await on.call("action_items.update", made.id, description="Paint it.", completed=True)
    assert ("Paint it.", True, NOON) == (changed.description, changed.completed, changed.due_at)
    assert changed.completed_at is not None
    assert (await on.call("action_items.delete", made.id)).confirmed
    with pytest.raises(NotFoundError):
        await on.call("action_items.delete", made.id)
    with pytest.raises(PaymentRequiredError):
        await on.call("action_items.update", "item_locked", completed=True)


async def test_clearing(on: Caller) -> None:
    """A date that is cleared is gone, and None leaves it."""
    kept = await on.call("action_items.update", "item_search", completed=True, due_at=None)
    assert kept.due_at is not None
    cleared = await on.call("action_items.update", "item_search", due_at=CLEAR)
    assert (None, True) == (cleared.due_at, cleared.completed)


@older
async def test_clearing_on_an_older_server(on: Caller) -> None:
    """A server that ignores the clearing is not reported as having done it."""
    with pytest.raises(UnprocessableEntityError) as refused:
        await on.call("action_items.update", "item_search", due_at=CLEAR)
    assert "not_applied" == refused.value.outcome
    with pytest.raises(ResponseError) as caught:
        await on.call("action_items.update", "item_search", completed=True, due_at=CLEAR)
    assert ("unknown", "$.due_at", 1) == (caught.value.outcome, caught.value.path, caught.value.attempts)
    assert on.sandbox.action_items["item_search"].due_at is not None


@both
async def test_action_items_in_a_batch(on: Caller) -> None:
    """A batch answers in its order, and makes each item however often it is there."""
    made = await on.call("action_items.create_batch", [NewActionItem("One."), NewActionItem("One.", completed=True)])
    assert ["One.", "One."] == [each.description for each in made]
    assert [False, True] == [each.completed for each in made]
    assert 2 == len({each.id for each in made})


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_all_action_items(side: Side, generation: Any) -> None:
    """More action items than a page has come all, and once."""
    rows = [
        SandboxActionItem(id=f"a{n}", created_at=NOON + timedelta(minutes=10 * n), locked=n % 100 == 7)
        for n in range(2500)
    ]
    async with Sandbox(action_items=rows, generation=generation) as sandbox:
        caller = Caller(side.client(sandbox.url, api_key=sandbox.api_key), sandbox)
        found = [each.id for each in await caller.all("action_items.list")]
        assert {f"a{n}" for n in range(2500) if n % 100 != 7} == {*found}
        assert 2475 == len(found)
        assert len(sandbox.requests) < 40


async def test_goals(on: Caller) -> None:
    """A goal is made, read, changed, moved on and given up."""
    made = await on.call("goals.create", " Paint ten doors ", target_value=10, unit="doors", why_it_matters="Color.")
    assert ("Paint ten doors", 10.0, "doors", True) == (made.title, made.target_value, made.unit, made.is_active)
    assert made == await on.call("goals.get", made.id)
    assert made.id == (await on.call("goals.list"))[-1].id
    assert 5 == len(await on.call("goals.list", include_inactive=True))
    assert 2 == len(await on.call("goals.list", limit=2))
    moved = await on.call("goals.update_progress", made.id, 2.5)
    assert (2.5, 2.5) == (moved.current_value, moved.metric.current)
    assert [2.5] == [entry.value for entry in await on.call("goals.history", made.id)]
    changed = await on.call(
        "goals.update", made.id, title="Paint them", why_it_matters=CLEAR, unit=CLEAR, horizon_at=NOON, max_value=20
    )
    assert ("Paint them", None, None, NOON) == (changed.title, changed.why_it_matters, changed.unit, changed.horizon_at)
    assert 20.0 == changed.metric.max
    cleared = await on.call("goals.update", made.id, horizon_at=CLEAR, max_value=CLEAR, min_value=CLEAR)
    assert (None, None, None) == (cleared.horizon_at, cleared.metric.max, cleared.metric.min)
    for _ in range(2):
        assert Deletion(id=made.id, confirmed=True) == await on.call("goals.delete", made.id)
    assert "abandoned" == (await on.call("goals.get", made.id)).status
    with pytest.raises(NotFoundError):
        await on.call("goals.get", "goal_unheard_of")
    assert () == await on.call("goals.history", "goal_unheard_of", days=1)


@older
async def test_goals_of_an_older_server(on: Caller) -> None:
    """An older server has fewer fields, needs a target, and deletes what is deleted."""
    with pytest.raises(UnprocessableEntityError):
        await on.call("goals.create", "Paint")
    made = await on.call("goals.create", "Paint", target_value=10, desired_outcome="Doors.")
    assert ("Paint", None, None, None) == (made.title, made.goal_id, made.desired_outcome, made.metric)
    assert (10.0, "scale") == (made.target_value, made.goal_type)
    assert 3.0 == (await on.call("goals.update_progress", made.id, 3)).current_value
    assert "km" == (await on.call("goals.update", made.id, unit="km")).unit
    assert (await on.call("goals.update", made.id, unit=CLEAR)).unit is None
    assert 1 == len(await on.call("goals.history", made.id))
    assert (await on.call("goals.delete", made.id)).confirmed
    with pytest.raises(NotFoundError):
        await on.call("goals.delete", made.id)


async def test_daily_summaries(on: Caller) -> None:
    """Summaries come by day, the latest first, and one by its id."""
    found = await on.all("daily_summaries.list")
    assert ["2026-09-21", "2026-09-18", "2026-09-12"] == [each.date for each in found]
    some = await on.all("daily_summaries.list", start_date=date(2026, 9, 12), end_date=date(2026, 9, 18), page_size=1)
    assert found[1:] == some
    assert found[0] == await on.call("daily_summaries.get", found[0].id)
    assert ("Demo", ("conv_standup",)) == (found[0].highlights[0].topic, found[0].highlights[0].conversation_ids)
    assert 38.7139 == found[2].locations[0].latitude
    with pytest.raises(NotFoundError):
        await on.call("daily_summaries.get", "summary_unheard_of")


async def test_ask(on: Caller) -> None:
    """An answer names what it was made from; where there is nothing it says so."""
    answer = await on.call("conversations.ask", "Is the export done?", limit=1, timezone="Europe/Lisbon")
    assert "export" in answer.answer
    assert ["conv_standup"] == [source.id for source in answer.sources]
    assert () == (await on.call("conversations.ask", "Xylophone?")).sources


async def test_keys(on: Caller) -> None:
    """A key is made, works, says what it may do, and works no more once it is revoked."""
    token = on.sandbox.id_token
    current = await on.call("keys.current")
    assert ("key_full", 8) == (current.id, len(current.scopes))
    made = await on.call("keys.create", " Laptop ", scopes=["memories:read"], id_token=token)
    assert ("Laptop", ("memories:read",)) == (made.name, made.scopes)
    async with AsyncOmiClient(made.key, base_url=on.sandbox.url) as other:
        assert made.id == (await other.keys.current()).id
        assert 7 == len([each async for each in other.memories.list()])
        assert made.id == (await on.call("keys.list", id_token=token))[0].id
        assert await on.call("keys.revoke", made.id, id_token=token) is None
        with pytest.raises(AuthenticationError):
            await other.keys.current()
    assert await on.call("keys.revoke", made.id, id_token=token) is None
    with pytest.raises(BadRequestError):
        await on.call("keys.create", "x", scopes=["doors:open"], id_token=token)
    with pytest.raises(AuthenticationError, match="made with the ID token"):
        await on.call("keys.list", id_token="eyJ-another")
    # The client's own key goes with everything else.
    assert "key_full" == (await on.call("keys.current")).id


@older
async def test_keys_of_an_older_server(on: Caller) -> None:
    """Times without a zone are UTC."""
    keys = await on.call("keys.list", id_token=on.sandbox.id_token)
    assert ["key_read_only", "key_full"] == [each.id for each in keys]
    assert UTC == keys[0].created_at.tzinfo


@older
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("memories.search", ("tea",)),
        ("conversations.ask", ("Which door?",)),
        ("daily_summaries.get", ("s1",)),
        ("keys.current", ()),
    ],
)
async def test_what_an_older_server_lacks(on: Caller, name: str, arguments: tuple[Any, ...]) -> None:
    """An operation that the server does not have is told apart from a record that it does not have."""
    with pytest.raises(RouteNotFoundError) as caught:
        await on.call(name, *arguments)
    assert ("not_applied", name) == (caught.value.outcome, caught.value.operation)
    with pytest.raises(RouteNotFoundError):
        await on.all("daily_summaries.list")


@pytest.mark.parametrize(
    ("name", "arguments", "scope"),
    [
        ("memories.create", ("x",), "memories:write"),
        ("action_items.delete", ("a1",), "action_items:write"),
        ("goals.update_progress", (GOAL, 1), "goals:write"),
    ],
)
async def test_scopes(side: Side, name: str, arguments: tuple[Any, ...], scope: str) -> None:
    """A key that may only read is told what it lacks."""
    async with Sandbox() as sandbox:
        caller = Caller(side.client(sandbox.url, api_key=sandbox.read_only_key), sandbox)
        with pytest.raises(PermissionDeniedError) as caught:
            await caller.call(name, *arguments)
        assert scope == caught.value.required_scope


# Many


@pytest.mark.parametrize(
    ("name", "items", "store"),
    [
        ("memories.delete_many", ["mem_coffee", "mem_locked", "mem_guitar"], "memories"),
        ("action_items.delete_many", ["item_search", "item_locked", "item_train"], "action_items"),
        (
            "memories.update_many",
            [MemoryUpdate(each, tags=["x"]) for each in ("mem_coffee", "mem_locked", "mem_guitar")],
            "memories",
        ),
        (
            "action_items.update_many",
            [ActionItemUpdate(each, due_at=CLEAR) for each in ("item_search", "item_locked", "item_train")],
            "action_items",
        ),
    ],
)
async def test_many(on: Caller, tmp_path: Any, name: str, items: list[Any], store: str) -> None:
    """Each item of a job is done and reported once, a locked one fails alone, and a second run finds nothing to do."""
    journal = tmp_path / "journal.db"
    outcomes = await on.all(name, items, journal=journal)
    names = [each if isinstance(each, str) else next(iter(attrs.asdict(each).values())) for each in items]
    assert dict(zip(names, ["done", "failed", "done"], strict=True)) == {each.id: each.status for each in outcomes}
    (failed,) = [each for each in outcomes if each.status == BulkStatus.FAILED]
    assert isinstance(failed.error, PaymentRequiredError)
    requests = len(on.sandbox.requests)
    await on.all(name, items, journal=journal)
    # Failures are tried again, what is done is not.
    assert len(on.sandbox.requests) <= requests + 1
    kept = getattr(on.sandbox, store)
    assert ("delete" in name) == (names[0] not in kept)


# Lost answers

READS: list[tuple[str, tuple[Any, ...]]] = [
    ("folders.list", ()),
    ("goals.list", ()),
    ("memories.search", ("coffee",)),
    ("conversations.ask", ("Is the export done?",)),
    ("daily_summaries.get", ("summary_2026_09_21",)),
    ("keys.current", ()),
]


@pytest.mark.parametrize("fault", [{"close": "after"}, {"close": "before"}, {"status": 500}], ids=str)
@pytest.mark.parametrize(("name", "arguments"), READS, ids=[row[0] for row in READS])
async def test_lost_reads(on: Caller, name: str, arguments: tuple[Any, ...], fault: dict[str, Any]) -> None:
    """A read whose answer is lost is made again, and ends as if nothing had happened."""
    on.sandbox.fail(**fault)
    result = await on.call(name, *arguments)
    assert (2, 0) == (len(on.lines), on.sandbox.pending_faults)
    assert 1 == len({*on.lines})
    again = await on.call(name, *arguments)
    assert (type(result), getattr(result, "id", None)) == (type(again), getattr(again, "id", None))


@older
async def test_a_lost_deletion_of_a_goal(on: Caller) -> None:
    """An older server deletes a goal, and the repeated deletion finds nothing."""
    on.sandbox.fail(close="after")
    assert Deletion(id=GOAL, confirmed=False) == await on.call("goals.delete", GOAL)


# The ID token


@pytest.mark.parametrize("straight", [True, False])
async def test_the_token_takes_the_keys_place(side: Side, straight: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call with an ID token carries it in place of the key, on either way, and the next call carries the key."""
    inside.go_straight(monkeypatch, straight)
    async with Sandbox() as sandbox:
        caller = Caller(side.client(sandbox.url, api_key=sandbox.api_key), sandbox)
        assert 2 == len(await caller.call("keys.list", id_token=sandbox.id_token))
        assert "key_full" == (await caller.call("keys.current")).id
        assert 2 == len(await caller.call("keys.list", id_token=sandbox.id_token))
        with pytest.raises(AuthenticationError):
            await caller.call("keys.list", id_token="eyJ-another")


@pytest.mark.parametrize("provoked", ["refused", "lost", "closed", "bad name"])
async def test_the_token_is_shown_nowhere(on: Caller, provoked: str, caplog: pytest.LogCaptureFixture) -> None:
    """No error, no traceback with the locals of our frames, no log and no client holds the token."""
    caplog.set_level("DEBUG")
    token = f"eyJ-canary-{provoked.replace(' ', '-')}"
    if provoked == "lost":
        on.sandbox.fail(close="after")
    if provoked == "closed":
        await on.call("aclose" if isinstance(on.client, AsyncOmiClient) else "close")
    expected: dict[str, type[OmiError]] = {
        "refused": AuthenticationError,
        "lost": TransportError,
        "closed": ClientClosedError,
        "bad name": OmiError,
    }
    with pytest.raises(expected[provoked]) as caught:
        await on.call("keys.create", " " if provoked == "bad name" else "Laptop", id_token=token)
    texts = [*channels(caught.value), *paths(vars(caught.value)), *paths(on.client)]
    texts += [("log", message) for message in caplog.messages]
    assert [] == hits(texts, {"token": token})
