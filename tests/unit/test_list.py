"""`conversations.list`: its arguments, its requests, and that each conversation comes exactly once."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

import attrs
import pytest

from omi_async import (
    AsyncListing,
    AsyncOmiClient,
    BadRequestError,
    Category,
    Conversation,
    InvalidRequestError,
    RateLimitError,
    ResponseError,
)
from omi_async.paging import ByTime
from omi_async.sandbox import Sandbox, SandboxConversation
from omi_async.sandbox.allowance import Allowance, ApiKey
from omi_async.sandbox.api import Api, Incoming
from omi_async.sandbox.conversations import CONVERSATION, Conversations
from omi_async.sandbox.store import Store
from omi_sync import OmiClient
from tests.support import inside
from tests.support.clock import VirtualClock
from tests.support.raw import RawServer, answer, conversation
from tests.support.replies import in_turn
from tests.support.scale import times
from tests.support.sides import KEY, Side

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)


def select(**settings: Any) -> ByTime[Conversation]:
    filters = dict.fromkeys(["start_date", "end_date", "categories", "folder_id", "starred", "page_size"])
    return inside.conversation_pages(**{**filters, "include_transcript": False, **settings})


def listed(client: Any, **settings: Any) -> Any:
    return client.conversations.list(**settings)


async def ids(side: Side, listing: Any, most: int = 10_000) -> list[str]:
    """What a listing gives, at most so many."""
    if side.name == "async":
        found: list[str] = []
        async for each in listing:
            found.append(each.id)
            if len(found) == most:
                break
        return found
    return await asyncio.to_thread(lambda: [each.id for each in islice(listing, most)])


# What is sent


@pytest.mark.parametrize(
    ("settings", "filters"),
    [
        ({}, {"limit": "100"}),
        ({"page_size": 7}, {"limit": "7"}),
        ({"page_size": 200}, {"limit": "200"}),
        ({"page_size": 200, "include_transcript": True}, {"limit": "200", "include_transcript": "true"}),
        ({"include_transcript": True}, {"limit": "25", "include_transcript": "true"}),
        ({"start_date": NOON}, {"start_date": "2026-09-01T12:00:00Z", "limit": "100"}),
        (
            {"start_date": datetime(2026, 9, 1, 9, 30, 0, 5, tzinfo=timezone(-timedelta(hours=2, minutes=30)))},
            {"start_date": "2026-09-01T12:00:00.000005Z", "limit": "100"},
        ),
        ({"end_date": NOON}, {"end_date": "2026-09-01T12:00:00Z", "limit": "100"}),
        ({"categories": [Category.WORK]}, {"categories": "work", "limit": "100"}),
        ({"categories": iter(["work", "brand-new"])}, {"categories": "work,brand-new", "limit": "100"}),
        ({"folder_id": "a folder/&?#%é"}, {"folder_id": "a folder/&?#%é", "limit": "100"}),
        ({"starred": True}, {"starred": "true", "limit": "100"}),
        ({"starred": False}, {"starred": "false", "limit": "100"}),
    ],
)
def test_request(settings: dict[str, Any], filters: dict[str, str]) -> None:
    """A page is asked for with the given filters and nothing else, quoted so that they arrive as they are."""
    request = select(**settings).request()
    path, _, query = request.path.partition("?")
    assert ("conversations.list", "GET", "/v1/dev/user/conversations") == (request.operation, request.method, path)
    assert {**filters, "offset": "0"} == dict(parse_qsl(query, strict_parsing=True))
    assert request.path.isascii()
    assert (None, "none") == (request.body, request.effect)
    reads = "reads /v1/dev/user/conversations"
    own = (f"{reads} with transcripts",) if settings.get("include_transcript") else ()
    assert (*own, reads) == request.windows


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"start_date": datetime(2026, 9, 1)}, InvalidRequestError, "start_date must be timezone-aware"),
        ({"end_date": datetime(2026, 9, 1)}, InvalidRequestError, "end_date must be timezone-aware"),
        ({"end_date": "2026-09-01T12:00:00Z"}, TypeError, "end_date must be a datetime, not str"),
        ({"start_date": NOON.date()}, TypeError, "start_date must be a datetime, not date"),
        (
            {"end_date": datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))},
            InvalidRequestError,
            "end_date is out of range",
        ),
        ({"start_date": NOON, "end_date": NOON - timedelta(seconds=1)}, InvalidRequestError, "after end_date"),
        ({"categories": "work"}, TypeError, "categories must be an iterable"),
        ({"categories": b"work"}, TypeError, "categories must be an iterable"),
        ({"categories": 5}, TypeError, "categories must be an iterable"),
        ({"categories": ["work", 5]}, TypeError, "categories[1] must be a str"),
        ({"categories": []}, InvalidRequestError, "at least one"),
        ({"categories": ["work", " "]}, InvalidRequestError, "categories[1] must not be blank"),
        ({"categories": ["work,health"]}, InvalidRequestError, "comma"),
        ({"categories": [" work"]}, InvalidRequestError, "blank"),
        ({"folder_id": ""}, InvalidRequestError, "folder_id must not be blank"),
        ({"folder_id": 5}, TypeError, "folder_id must be a str"),
        ({"folder_id": "\ud800"}, InvalidRequestError, "folder_id must not contain lone surrogates"),
        ({"starred": 1}, TypeError, "starred must be True or False"),
        ({"include_transcript": None}, TypeError, "include_transcript must be"),
        ({"page_size": 0}, InvalidRequestError, "page_size must be from 1 to 200"),
        ({"page_size": 201}, InvalidRequestError, "page_size must be from 1 to 200"),
        ({"page_size": 201, "include_transcript": True}, InvalidRequestError, "page_size must be from 1 to 200"),
        ({"page_size": True}, TypeError, "page_size must be an int"),
        ({"page_size": "5"}, TypeError, "page_size must be an int"),
        ({"limit": 0}, InvalidRequestError, "limit must be at least 1"),
        ({"limit": 2.0}, TypeError, "limit must be an int"),
        ({"limit": True}, TypeError, "limit must be an int"),
    ],
)
def test_refusals(settings: dict[str, Any], kind: type[Exception], words: str) -> None:
    """A bad argument is refused by its name, at once and not when somebody iterates."""
    for client in (AsyncOmiClient(KEY), OmiClient(KEY)):
        with pytest.raises(kind) as caught:
            listed(client, **settings)
        assert kind is type(caught.value)
        assert words in str(caught.value)
        assert (None, None) == (caught.value.__cause__, caught.value.__context__)


# Against the sandbox


def rows(count: int) -> list[SandboxConversation]:
    """Conversations a minute apart, the newest first."""
    return [SandboxConversation(id=f"c{n}", created_at=NOON - timedelta(minutes=n)) for n in range(count)]


async def test_everything(side: Side) -> None:
    """A list gives every conversation, newest first, over as many pages as it takes, and then ends for good."""
    async with Sandbox(rows(250)) as sandbox:
        listing = listed(side.client(sandbox.url, api_key=sandbox.api_key))
        assert [f"c{n}" for n in range(250)] == await ids(side, listing)
        assert not listing.gaps
        requests = len(sandbox.requests)
        assert 5 == requests  # 100, 100 less one seen before, the rest, and two for the end
        assert [] == await ids(side, listing)
        assert requests == len(sandbox.requests)


@pytest.mark.parametrize(("limit", "requests"), [(1, 1), (10, 1), (11, 2), (19, 2), (20, 3)])
async def test_limit(side: Side, limit: int, requests: int) -> None:
    """No more come than wanted, and no page is fetched that is not needed for them."""
    async with Sandbox(rows(50)) as sandbox:
        listing = listed(side.client(sandbox.url, api_key=sandbox.api_key), limit=limit, page_size=10)
        assert [f"c{n}" for n in range(limit)] == await ids(side, listing)
        assert requests == len(sandbox.requests)


async def test_nothing_is_fetched_ahead(side: Side) -> None:
    """Pages are fetched as they are consumed, none of them before the first one is wanted."""
    async with Sandbox(rows(50)) as sandbox:
        listing = listed(side.client(sandbox.url, api_key=sandbox.api_key), page_size=10)
        assert [] == sandbox.requests
        assert 10 == len(await ids(side, listing, 10))
        assert 1 == len(sandbox.requests)


async def test_filters(side: Side) -> None:
    """Each filter reaches the server, on every page."""
    async with Sandbox() as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.api_key)

        async def found(**settings: Any) -> list[str]:
            return await ids(side, listed(client, **settings))

        every = ["conv_standup", "conv_design", "conv_lisbon", "conv_checkup"]
        assert every == await found()
        assert every == await found(page_size=2)
        assert every[:1] == await found(starred=True)
        assert every[:2] == await found(folder_id="folder_work", page_size=1)
        assert every[1:3] == await found(categories=[Category.DESIGN, "travel"])
        assert every[:2] == await found(start_date=datetime(2026, 9, 15, tzinfo=UTC))
        assert every[2:] == await found(end_date=datetime(2026, 9, 15, tzinfo=UTC), page_size=1)
        with pytest.raises(BadRequestError, match="conversations.list"):
            await found(categories=["brand-new"])


async def test_transcripts(side: Side) -> None:
    """What was said comes only where it was asked for."""
    async with Sandbox() as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.api_key)
        for wanted in (False, True):
            listing = listed(client, include_transcript=wanted, limit=1)
            (first,) = (
                [each async for each in listing] if side.name == "async" else await asyncio.to_thread(list, listing)
            )
            assert wanted == (first.transcript_segments is not None)


async def test_deleting_as_one_goes(side: Side) -> None:
    """Conversations that are deleted as they come shift what follows, and nothing of it is missed."""
    async with Sandbox(rows(40), write_limit=None) as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.api_key)
        listing = listed(client, page_size=7)
        found = []
        while some := await ids(side, listing, 3):
            for each in some:
                await side.call(client, "delete", each)
            found += some
        assert [f"c{n}" for n in range(40)] == found
        assert {} == sandbox.conversations


async def test_going_on_after_an_error(side: Side, clock: VirtualClock) -> None:
    """A page that could not be fetched ends the loop with its error, and the next loop goes on where it was."""
    async with Sandbox(rows(20)) as sandbox:
        listing = listed(side.client(sandbox.url, api_key=sandbox.api_key, retry=clock.policy()), page_size=10)
        assert 10 == len(await ids(side, listing, 10))
        sandbox.fail(status=429, headers={"Retry-After": "0", "X-RateLimit-Limit": "60"}, times=3)
        with pytest.raises(RateLimitError) as caught:
            await ids(side, listing)
        assert ("conversations.list", "not_applied") == (caught.value.operation, caught.value.outcome)
        assert [f"c{n}" for n in range(10, 20)] == await ids(side, listing)


async def test_several_consumers(side: Side) -> None:
    """Consumers of one listing share it: each conversation comes to one of them."""
    async with Sandbox(rows(60)) as sandbox:
        listing = listed(side.client(sandbox.url, api_key=sandbox.api_key), page_size=5)
        found = await asyncio.gather(*(ids(side, listing) for _ in range(4)))
        assert sorted(f"c{n}" for n in range(60)) == sorted(each for one in found for each in one)


@pytest.mark.parametrize(
    ("page", "path"),
    [
        ([conversation("a"), {**conversation("b"), "created_at": None}], "$[1].created_at"),
        ([conversation("a"), None], "$[1]"),
        ([conversation("a"), {"id": "b"}], "$[1].created_at"),
        ({"conversations": []}, "$"),
        (None, "$"),
    ],
    ids=["bad field", "null", "missing field", "object", "nothing"],
)
async def test_unreadable_pages(side: Side, clock: VirtualClock, page: object, path: str) -> None:
    """One conversation that cannot be read makes an error of the whole page: nothing is lost in silence."""
    async with RawServer(in_turn(answer(200, page))) as server:
        with pytest.raises(ResponseError) as caught:
            await ids(side, listed(side.client(server.url, retry=clock.policy())))
    assert path == caught.value.path
    assert "not_applied" == caught.value.outcome


# Against generated servers


@attrs.define
class Server(inside.Offline):
    """A server's list: which rows there are, which of them it hides, and what it does with the query."""

    rows: list[SandboxConversation]
    change: Callable[[int], None] = lambda number: None
    """Called before each request."""
    habit: Callable[[dict[str, str]], dict[str, str]] = lambda query: query
    """What it understands of a query."""
    requests: int = 0

    async def call(self, request: inside.Request[Any], timeout: object, retry: object) -> Any:
        self.requests += 1
        assert self.requests < 5000, "it does not end"
        self.change(self.requests)
        path, _, query = request.path.partition("?")
        understood = "&".join(
            f"{name}={value.replace(':', '%3A')}" for name, value in self.habit(dict(parse_qsl(query))).items()
        )
        allowance = Allowance({KEY: ApiKey("key", "Key", KEY, NOON, None)}, clock=lambda: 0.0)
        store = Store(self.rows, CONVERSATION, "rows", lenient=True)
        api = Api(Conversations(store, allowance, "2026-05").routes, allowance, "2026-05")
        reply = api.answer(
            Incoming(
                method="GET",
                path=path,
                query=understood,
                headers={"Authorization": f"Bearer {KEY}"},
                body=b"",
                origin="http://x",
            )
        )
        assert 200 == reply.status
        return inside.read(request, inside.Answer(200, body=reply.body))


def listing_of(server: Server, **settings: Any) -> AsyncListing[Conversation]:
    limit = settings.pop("limit", None)
    return AsyncListing(server, select(**settings), limit, None, None)  # type: ignore[arg-type]


def generated(draw: random.Random) -> list[SandboxConversation]:
    """Rows, newest first: alone, within one second, at one instant; some locked, now and then many in a row."""
    made: list[SandboxConversation] = []
    time = NOON
    locked_left = 0
    for number in range(draw.choice((0, 1, 5, 20, 60))):
        step = draw.choice((0, 0.1, 0.5, 1, 1, 3, 60, 3600))
        time = time.replace(microsecond=0) if draw.random() < 0.2 else time
        time -= timedelta(seconds=step)
        if not locked_left and draw.random() < 0.1:
            locked_left = draw.choice((1, 1, 2, 5, 12, 30))
        locked_left = max(0, locked_left - 1)
        made.append(SandboxConversation(id=f"c{number}", created_at=time, locked=locked_left > 0))
    return made


def bridged(rows: list[SandboxConversation], hidden: set[str], size: int) -> bool:
    """Whether every run of hidden rows is short enough to be seen beyond with two requests; from the rows alone.

    The first of the two begins with the rows of the second in which the last visible one was created.
    """
    run = 0
    for place, row in enumerate(rows):
        if row.id in hidden:
            run += 1
            continue
        before = rows[place - run - 1] if run < place else None
        second = None if before is None else before.created_at.replace(microsecond=0) + timedelta(seconds=1)
        again = [each for each in rows[: place - run] if second is not None and each.created_at <= second]
        filled = len(again) if any(each.id in hidden for each in again) else len(again) % size
        if filled + run >= 2 * size:
            return False
        run = 0
    return True


def meddle(server: Server, draw: random.Random, touched: set[str]) -> None:
    """What the consumer, or somebody else, does while a page is consumed."""
    for row in [each for each in server.rows if each.id in touched and draw.random() < 0.3]:
        match draw.choice(("delete", "discard", "restore")):
            case "delete":
                server.rows.remove(row)
            case "discard":
                row.discarded = True
            case _:
                row.discarded = False
    if touched and draw.random() < 0.3:
        later = NOON + timedelta(seconds=server.requests)
        server.rows.insert(0, SandboxConversation(id=f"new{server.requests}", created_at=later))


@pytest.mark.figure
async def test_each_exactly_once(figure: Callable[..., None]) -> None:
    """Over generated servers that change between pages, all that stayed comes exactly once, but for long gaps.

    Where more is hidden in a row than two requests can look beyond, the end may come early.
    """
    servers, requests = times(1000), 0
    within = complete = early = early_and_said = 0
    for seed in range(servers):
        draw = random.Random(seed)
        made = generated(draw)
        size = draw.choice((1, 2, 3, 5, 10, 25))
        server = Server(list(made))
        fickle = draw.random() < 0.5
        touched = {row.id for row in made if fickle and draw.random() < 0.2}
        listing = listing_of(server, page_size=size)
        found: list[str] = []
        async for each in listing:
            found.append(each.id)
            if not listing._rows:
                meddle(server, draw, touched)
        requests += server.requests
        stayed = {row.id for row in made if not row.locked and row.id not in touched}
        hidden = {row.id for row in made if row.locked} | touched
        missed = stayed - set(found)
        assert len(found) == len(set(found)), seed
        assert set() == {row.id for row in made if row.locked} & set(found), seed
        seconds = [row.created_at.replace(microsecond=0) for row in made]
        crowded = max(map(seconds.count, seconds), default=0) >= size
        if bridged(made, hidden, size) and not (crowded and touched):
            assert (seed, set()) == (seed, missed)
            within += 1
        complete += not missed
        early += bool(missed)
        early_and_said += bool(missed) and listing.gaps
    assert early < complete
    assert within > servers / 2
    figure(
        "generated lists",
        servers=servers,
        requests=requests,
        within_two_requests=within,
        complete=complete,
        early=early,
        gaps_said=early_and_said,
    )


HABITS: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
    "as it is": lambda query: query,
    "the end is ignored": lambda query: {name: value for name, value in query.items() if name != "end_date"},
    "the offset is ignored": lambda query: {**query, "offset": "0"},
    "both are ignored": lambda query: {"limit": query["limit"]},
    "pages of three at most": lambda query: {**query, "limit": str(min(3, int(query["limit"])))},
}


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 30, 95])
async def test_servers_of_another_kind(habit: str, count: int) -> None:
    """A server that ignores what it is asked, or gives less, is listed without repetition, and the list ends."""
    server = Server(rows(count), habit=HABITS[habit])
    found = [each.id async for each in listing_of(server, page_size=10)]
    seen = [f"c{n}" for n in range(count)]
    assert (seen[:10] if habit == "both are ignored" else seen) == found
    assert server.requests <= 2 * count + 4


@pytest.mark.parametrize("order", ["oldest first", "no order"])
async def test_servers_of_another_order(order: str) -> None:
    """Rows in an order that cannot be anchored are paged by their offset."""
    pages: list[list[dict[str, Any]]] = []
    made = [conversation(f"c{n}", created_at=(NOON + timedelta(hours=n)).isoformat()) for n in range(35)]
    if order == "no order":
        random.Random(3).shuffle(made)

    class Unordered(inside.Offline):
        async def call(self, request: inside.Request[Any], timeout: object, retry: object) -> Any:
            query = dict(parse_qsl(request.path.partition("?")[2]))
            end = datetime.fromisoformat(query.get("end_date", "9000-01-01T00:00:00Z"))
            kept = [row for row in made if datetime.fromisoformat(row["created_at"]) <= end]
            pages.append(kept[int(query["offset"]) :][: int(query["limit"])])
            return inside.read(request, inside.Answer(200, body=answer_body(pages[-1])))

    listing = AsyncListing(Unordered(), select(page_size=10), None, None, None)  # type: ignore[arg-type]
    assert {row["id"] for row in made} == {each.id async for each in listing}
    assert len(pages) < 10


def answer_body(document: object) -> bytes:
    return answer(200, document).partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("bound", ["inclusive", "exclusive", "cut to seconds"])
async def test_bounds(bound: str) -> None:
    """Whichever way the server understands the end, rows within one second, or at its beginning, are not lost."""
    made = [
        SandboxConversation(id=f"c{n}", created_at=NOON - timedelta(seconds=n // 4, milliseconds=333 * (n % 4)))
        for n in range(40)
    ]

    def habit(query: dict[str, str]) -> dict[str, str]:
        end = datetime.fromisoformat(query["end_date"]) if "end_date" in query else None
        if end is None or bound == "inclusive":
            return query
        end = end - timedelta(microseconds=1) if bound == "exclusive" else end.replace(microsecond=0)
        return {**query, "end_date": end.isoformat().replace("+00:00", "Z")}

    for size in (1, 2, 3, 4, 5, 7, 40):
        found = [each.id async for each in listing_of(Server(made, habit=habit), page_size=size)]
        assert (size, [row.id for row in sorted(made, key=lambda row: row.created_at, reverse=True)]) == (size, found)


@pytest.mark.parametrize(
    ("locked", "found", "gaps"),
    [
        ([], 40, False),
        ([5], 40 - 1, True),
        (range(10, 20), 30, True),  # more than the rest of a page
        (range(10, 28), 40 - 18, True),  # two requests, less the row that begins the first
        (range(10, 29), 10, False),  # one more, and it looks like the end
        (range(5, 23), 40 - 18, True),
        (range(5, 24), 5, False),
        (range(19), 40 - 19, True),
        (range(20), 0, False),
        (range(30, 40), 30, False),
    ],
    ids=str,
)
async def test_gaps(locked: Iterable[int], found: int, gaps: bool) -> None:
    """Hidden rows are looked beyond for two requests; `gaps` tells that there are some."""
    made = rows(40)
    for number in locked:
        made[number].locked = True
    listing = listing_of(Server(made), page_size=10)
    assert found == len([each async for each in listing])
    assert gaps == listing.gaps


async def test_a_crowded_second() -> None:
    """Within one second no page asks for anything newer than the caller's own end, and none is fetched again."""
    ends: list[str | None] = []
    made = [SandboxConversation(id=f"c{n}", created_at=NOON - timedelta(milliseconds=10 * n)) for n in range(1, 31)]

    def note(query: dict[str, str]) -> dict[str, str]:
        ends.append(query.get("end_date"))
        return query

    server = Server(made, habit=note)
    listing = listing_of(server, page_size=3, end_date=NOON - timedelta(milliseconds=55))
    assert [f"c{n}" for n in range(6, 31)] == [each.id async for each in listing]
    assert {"2026-09-01T11:59:59.945000Z"} == set(ends)
    assert 9 + 2 == server.requests


def test_a_listing_is_an_iterator() -> None:
    """A listing can be handed to whatever takes an iterator; the model it gives is the usual one."""
    listing: AsyncIterator[Conversation] = AsyncOmiClient(KEY).conversations.list()
    assert isinstance(listing, AsyncListing)
    assert iter(found := OmiClient(KEY).conversations.list()) is found
