"""The sandbox keeps memories as the real servers do, the newest and the one of May 2026."""

import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from omi_async.sandbox import Sandbox, SandboxMemory
from tests.support.caller import Answer, Caller, calling

ITEMS = "/v1/dev/user/memories"
START = datetime(2026, 9, 1, tzinfo=UTC)
WORDS = "a b c"

NO_MEMORY = b'{"detail":"Memory not found"}'
LOCKED = b'{"detail":"A paid plan is required to access this memory."}'
NOTHING = b'{"detail":"At least one field (content, visibility, tags, or category) must be provided"}'
SUCCESS = b'{"success":true}'
CATEGORIES = (
    "'interesting', 'system', 'manual', 'workflow', 'core', 'hobbies', 'lifestyle', 'interests', 'habits', 'work', "
    "'skills', 'learnings', 'other' or 'auto'"
)


def many(count: int, **more: Any) -> list[SandboxMemory]:
    """Memories m0, m1, ... from the latest change to the earliest."""
    times = [START - timedelta(hours=number) for number in range(count)]
    return [
        SandboxMemory(f"m{number}", f"{WORDS} {number}", created_at=time, updated_at=time, **more)
        for number, time in enumerate(times)
    ]


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [row["id"] for row in json.loads(answer.body)]


def problem(kind: str, field: str, message: str, echo: str, context: str = "") -> bytes:
    end = f',"ctx":{context}' if context else ""
    return f'{{"detail":[{{"type":"{kind}","loc":[{field}],"msg":"{message}","input":{echo}{end}}}]}}'.encode()


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling(Sandbox(write_limit=None)) as caller:
        yield caller


@pytest.fixture
async def older() -> AsyncIterator[Caller]:
    async with calling(Sandbox(write_limit=None, generation="2026-05")) as caller:
        yield caller


class TestList:
    async def test_rows_have_every_field(self, call: Caller) -> None:
        """The answer is a bare array; a locked memory is in it, with its beginning."""
        answer = await call("GET", ITEMS, key=call.sandbox.read_only_key)
        assert list(call.sandbox.memories) == ids(answer)
        assert answer.body.startswith(
            b'[{"id":"mem_coffee","content":"Drinks coffee black, and none after three in the afternoon.",'
            b'"category":"habits","visibility":"private","tags":[],"created_at":"2026-09-21T18:30:00Z",'
            b'"updated_at":"2026-09-21T18:30:00Z","manually_added":false,"scoring":"00_999_1790015400",'
            b'"reviewed":false,"user_review":null,"edited":false}'
        )
        locked = json.loads(answer.body)[-1]["content"]
        assert call.sandbox.memories["mem_locked"].content[:70] + "..." == locked

    async def test_what_the_server_does_not_know_is_read_as_something_else(self, call: Caller) -> None:
        """Odd categories and visibilities have a stand-in, times may be missing."""
        call.sandbox.memories.clear()
        call.sandbox.memories["m"] = SandboxMemory(
            "m", category="nope", visibility="friends", created_at=None, updated_at=None
        )
        (row,) = json.loads((await call("GET", ITEMS)).body)
        assert ("interesting", "private", None, None) == tuple(
            row[name] for name in ("category", "visibility", "created_at", "updated_at")
        )

    async def test_the_latest_change_comes_first(self, call: Caller) -> None:
        """An update moves a memory to the front; equals are in the order of their ids."""
        call.sandbox.memories.clear()
        for name in ("b", "a", "c"):
            call.sandbox.memories[name] = SandboxMemory(name)
        assert ["a", "b", "c"] == ids(await call("GET", ITEMS))
        await call("PATCH", f"{ITEMS}/c", {"tags": ["x"]})
        assert ["c", "a", "b"] == ids(await call("GET", ITEMS))

    @pytest.mark.parametrize(
        ("query", "first", "count"),
        [
            ("", 0, 25),
            ("limit=0", 0, 1),
            ("limit=-3&offset=-3", 0, 1),
            ("limit=99999", 0, 1000),
            ("limit=2&offset=3", 3, 2),
            ("limit=1000&offset=4000", 4000, 1000),
            ("limit=1000&offset=1000&categories=interesting,work", 1000, 1000),
        ],
    )
    async def test_pages(self, query: str, first: int, count: int) -> None:
        """Limits out of range become the nearest in range, a negative offset 0."""
        async with calling(Sandbox(memories=many(5001))) as call:
            answer = await call("GET", f"{ITEMS}?{query}")
            assert [f"m{first + number}" for number in range(count)] == ids(answer)
            assert "X-Omi-List-Truncated" not in answer.headers

    async def test_lists_reach_5000_far(self) -> None:
        """Beyond is 413; a filter that gave up there says so in a header, with the rows it found."""
        memories = many(5001, category="work")
        memories[1] = attrs.evolve(memories[1], category="habits")
        memories[-1] = attrs.evolve(memories[-1], category="habits")
        async with calling(Sandbox(memories=memories)) as call:
            beyond = await call("GET", f"{ITEMS}?limit=5&offset=4996")
            assert (413, b'{"detail":"Memory pagination window exceeded"}') == (beyond.status, beyond.body)
            found = await call("GET", f"{ITEMS}?categories=habits")
            assert (["m1"], "true") == (ids(found), found.headers["X-Omi-List-Truncated"])

    @pytest.mark.parametrize(("query", "expected"), [("limit=2", ["m1"]), ("limit=2&offset=2", []), ("", ["m1"])])
    async def test_unreadable_rows_leave_holes_in_pages(self, query: str, expected: list[str]) -> None:
        """They are dropped after paging, and named in no answer."""
        memories = [attrs.evolve(memory, unreadable=memory.id != "m1") for memory in many(4)]
        async with calling(Sandbox(memories=memories)) as call:
            assert expected == ids(await call("GET", f"{ITEMS}?{query}"))

    @pytest.mark.parametrize(
        ("generation", "detail"),
        [
            ("newest", "Invalid category. Please provide a valid category."),
            ("2026-05", "Invalid category 'nope' is not a valid MemoryCategory"),
        ],
    )
    async def test_an_unknown_category_is_400(self, generation: Any, detail: str) -> None:
        """Empty parts are none."""
        async with calling(Sandbox(generation=generation)) as call:
            answer = await call("GET", f"{ITEMS}?categories=work,,nope")
            assert (400, {"detail": detail}) == (answer.status, json.loads(answer.body))
            assert 7 == len(ids(await call("GET", f"{ITEMS}?categories=,")))
            assert ["mem_release"] == ids(await call("GET", f"{ITEMS}?categories=%20work"))

    async def test_the_older_server_sorts_by_score_and_hides_what_was_rejected(self) -> None:
        """Nothing is clamped: 0 means all, negative numbers break it, and so does a row it cannot send."""
        memories = many(4)
        memories[2] = attrs.evolve(memories[2], scoring="01_999_0")
        memories[0] = attrs.evolve(memories[0], user_review=False)
        async with calling(Sandbox(memories=memories, generation="2026-05")) as call:
            assert ["m2", "m1", "m3"] == ids(await call("GET", f"{ITEMS}?limit=0"))
            assert ["m2"] == ids(await call("GET", f"{ITEMS}?limit=2"))
            for query in ("limit=-1", "offset=-1"):
                assert 500 == (await call("GET", f"{ITEMS}?{query}")).status
            call.sandbox.memories["m3"] = attrs.evolve(memories[3], unreadable=True)
            assert 500 == (await call("GET", ITEMS)).status


class TestSearch:
    async def test_the_likest_come_first(self, call: Caller) -> None:
        """By common words, for want of anything better; the frame around them never changes."""
        answer = await call("GET", f"{ITEMS}/vector/search?query=coffee%20in%20Lisbon&limit=5")
        assert (
            b'{"items":[{"id":"mem_coffee","content":"Drinks coffee black, and none after three in the afternoon.",'
            b'"category":"habits","relevance_score":0.6667},{"id":"mem_lisbon","content":"Spends a week in Lisbon every'
            b' autumn, with Ana.","category":"lifestyle","relevance_score":0.6667}],"returned_count":2,'
            b'"archive_default_visible":false,"policy":{"consumer":"developer_api","app_has_default_memory_grant":true,'
            b'"archive_capability":false,"raw_provenance_capability":false}}'
        ) == answer.body

    async def test_twenty_at_most_whatever_is_asked(self) -> None:
        """Nothing is found for words that no memory has."""
        async with calling(Sandbox(memories=many(30))) as call:
            for query, count in (("a", 10), ("a&limit=100", 20), ("nowhere", 0)):
                answer = await call("GET", f"{ITEMS}/vector/search?query={query}")
                assert count == json.loads(answer.body)["returned_count"] == len(json.loads(answer.body)["items"])

    @pytest.mark.parametrize(
        ("query", "body"),
        [
            ("", problem("missing", '"query","query"', "Field required", "null")),
            (
                "query=",
                problem(
                    "string_too_short",
                    '"query","query"',
                    "String should have at least 1 character",
                    '""',
                    '{"min_length":1}',
                ),
            ),
            (
                "query=a&limit=0",
                problem(
                    "greater_than_equal",
                    '"query","limit"',
                    "Input should be greater than or equal to 1",
                    '"0"',
                    '{"ge":1}',
                ),
            ),
            (
                "query=a&limit=101",
                problem(
                    "less_than_equal",
                    '"query","limit"',
                    "Input should be less than or equal to 100",
                    '"101"',
                    '{"le":100}',
                ),
            ),
        ],
    )
    async def test_refusals(self, call: Caller, query: str, body: bytes) -> None:
        """Here a limit out of range is refused."""
        answer = await call("GET", f"{ITEMS}/vector/search?{query}")
        assert (422, body) == (answer.status, answer.body)

    async def test_the_older_server_has_none(self, older: Caller) -> None:
        """The route does not exist there."""
        answer = await older("GET", f"{ITEMS}/vector/search?query=a")
        assert (404, b'{"detail":"Not Found"}') == (answer.status, answer.body)


class TestCreate:
    async def test_a_text_is_stored_once(self, call: Caller) -> None:
        """It names its memory: a repeat changes nothing, and neither does its category."""
        first = await call("POST", ITEMS, {"content": " Likes tea. ", "tags": ["x"], "visibility": "public"})
        again = await call("POST", ITEMS, {"content": "Likes tea.", "category": "work"})
        other = await call("POST", ITEMS, {"content": "likes tea."})
        assert (200, first.body) == (again.status, again.body)
        row = json.loads(first.body)
        assert uuid.UUID(row["id"])
        assert row["id"] != json.loads(other.body)["id"]
        assert {
            "content": "Likes tea.",
            "category": "interesting",
            "visibility": "public",
            "tags": ["x"],
            "manually_added": True,
            "scoring": None,
            "reviewed": False,
            "user_review": None,
            "edited": False,
        } == {name: value for name, value in row.items() if name not in {"id", "created_at", "updated_at"}}
        assert [True, False, True] == [request.applied for request in call.sandbox.requests]
        assert 9 == len(call.sandbox.memories)

    async def test_a_deleted_text_can_be_stored_again(self, call: Caller) -> None:
        """Nothing remembers it."""
        for _ in range(2):
            name = json.loads((await call("POST", ITEMS, {"content": "Likes tea."})).body)["id"]
            assert SUCCESS == (await call("DELETE", f"{ITEMS}/{name}")).body

    async def test_the_older_server_overwrites_and_says_less(self, older: Caller) -> None:
        """Nine fields come back; any word is a visibility."""
        for category in ("work", "habits"):
            answer = await older("POST", ITEMS, {"content": "Tea.", "category": category, "visibility": "friends"})
        row = json.loads(answer.body)
        assert ("habits", "friends") == (row["category"], row["visibility"])
        left_out = {"reviewed", "user_review", "edited"}
        assert left_out == {each.name for each in attrs.fields(SandboxMemory)} - {"locked", "unreadable", *row}
        assert [True, True] == [request.applied for request in older.sandbox.requests]

    async def test_the_newest_reads_other_visibilities_as_private(self, call: Caller) -> None:
        """They are accepted nevertheless."""
        answer = await call("POST", ITEMS, {"content": "Tea.", "visibility": "friends"})
        assert (200, "private") == (answer.status, json.loads(answer.body)["visibility"])

    @pytest.mark.parametrize(
        ("sent", "body"),
        [
            ({"content": " "}, b'{"detail":"content cannot be empty"}'),
            ({}, problem("missing", '"body","content"', "Field required", "{}")),
            (
                {"content": "a" * 501},
                problem(
                    "string_too_long",
                    '"body","content"',
                    "String should have at most 500 characters",
                    f'"{"a" * 501}"',
                    '{"max_length":500}',
                ),
            ),
            (
                {"content": "a", "category": "nope"},
                problem(
                    "enum",
                    '"body","category"',
                    f"Input should be {CATEGORIES}",
                    '"nope"',
                    f'{{"expected":"{CATEGORIES}"}}',
                ),
            ),
            (
                {"content": "a", "visibility": None},
                problem("string_type", '"body","visibility"', "Input should be a valid string", "null"),
            ),
            (
                {"content": "a", "tags": None},
                problem("list_type", '"body","tags"', "Input should be a valid list", "null"),
            ),
            (
                {"content": "a", "tags": [5]},
                problem("string_type", '"body","tags",0', "Input should be a valid string", "5"),
            ),
        ],
    )
    async def test_refusals(self, call: Caller, sent: dict[str, object], body: bytes) -> None:
        """Nothing is stored."""
        answer = await call("POST", ITEMS, sent)
        assert (422, body) == (answer.status, answer.body)
        assert 7 == len(call.sandbox.memories)


class TestBatch:
    async def test_answers_come_in_the_order_of_the_input(self, call: Caller) -> None:
        """A text that comes twice has one memory and two answers."""
        sent: dict[str, object] = {"memories": [{"content": "b"}, {"content": "a"}, {"content": " b"}]}
        answer = json.loads((await call("POST", f"{ITEMS}/batch", sent)).body)
        assert (["b", "a", "b"], 3) == ([row["content"] for row in answer["memories"]], answer["created_count"])
        assert 9 == len(call.sandbox.memories)
        empty = await call("POST", f"{ITEMS}/batch", {"memories": []})
        assert (200, b'{"memories":[],"created_count":0}') == (empty.status, empty.body)
        assert [True, False] == [request.applied for request in call.sandbox.requests]

    @pytest.mark.parametrize(
        ("memories", "detail"),
        [
            ([{"content": "a"}, {"content": " "}], "All memories must have non-empty content"),
            ([{"content": "a"}] * 26, "List should have at most 25 items after validation, not 26"),
        ],
    )
    async def test_one_bad_one_stops_all(self, call: Caller, memories: object, detail: str) -> None:
        """It is not said which."""
        answer = await call("POST", f"{ITEMS}/batch", {"memories": memories})
        assert 422 == answer.status
        assert detail in answer.body.decode()
        assert 7 == len(call.sandbox.memories)


class TestUpdate:
    async def test_what_is_given_is_stored(self, call: Caller) -> None:
        """The answer is what is stored; a new content is stripped and marks the memory as edited."""
        sent: dict[str, object] = {"content": " x ", "visibility": "public", "tags": [], "category": "work"}
        answer = await call("PATCH", f"{ITEMS}/mem_lisbon", sent)
        row = json.loads(answer.body)
        assert (200, "x", "public", [], "work", True) == (
            answer.status,
            *(row[name] for name in ("content", "visibility", "tags", "category", "edited")),
        )
        stored = call.sandbox.memories["mem_lisbon"]
        assert ("x", "public", (), "work", True) == (
            stored.content,
            stored.visibility,
            stored.tags,
            stored.category,
            stored.edited,
        )

    @pytest.mark.parametrize(
        ("name", "sent", "status", "body"),
        [
            ("nope", {}, 422, NOTHING),
            ("nope", {"content": None, "tags": None}, 422, NOTHING),
            ("nope", {"content": "  "}, 422, b'{"detail":"content must not be empty"}'),
            ("nope", {"visibility": "friends"}, 422, b"{\"detail\":\"visibility must be 'public' or 'private'\"}"),
            ("nope", {"content": "a"}, 404, NO_MEMORY),
            ("nope", {"tags": []}, 404, NO_MEMORY),
            ("mem_locked", {"content": "a"}, 402, LOCKED),
            ("__x__", {"content": "a"}, 500, b"Internal Server Error"),
        ],
    )
    async def test_the_newest_looks_for_the_memory_last(
        self, call: Caller, name: str, sent: dict[str, object], status: int, body: bytes
    ) -> None:
        """What is wrong with the update itself is said first."""
        answer = await call("PATCH", f"{ITEMS}/{name}", sent)
        assert (status, body) == (answer.status, answer.body)

    @pytest.mark.parametrize(
        ("name", "sent", "status"),
        [
            ("nope", {}, 404),
            ("mem_locked", {}, 402),
            ("mem_coffee", {}, 422),
            ("mem_coffee", {"content": " "}, 200),
        ],
    )
    async def test_the_older_server_looks_for_it_first(
        self, older: Caller, name: str, sent: dict[str, object], status: int
    ) -> None:
        """And stores blanks as nothing."""
        assert status == (await older("PATCH", f"{ITEMS}/{name}", sent)).status
        assert ("" if status == 200 else "D") == older.sandbox.memories["mem_coffee"].content[:1]

    @pytest.mark.parametrize("generation", ["newest", "2026-05"])
    async def test_a_bad_visibility_is_noticed_after_the_content(self, generation: Any) -> None:
        """The refusal is half applied."""
        async with calling(Sandbox(generation=generation)) as call:
            answer = await call("PATCH", f"{ITEMS}/mem_coffee", {"content": "New.", "visibility": "friends"})
            assert (422, "New.") == (answer.status, call.sandbox.memories["mem_coffee"].content)
            assert call.sandbox.requests[0].applied


class TestDelete:
    async def test_it_is_final(self, call: Caller) -> None:
        """The second one finds nothing; a locked memory stays."""
        expected = [("mem_coffee", 200, SUCCESS), ("mem_coffee", 404, NO_MEMORY), ("mem_locked", 402, LOCKED)]
        for name, status, body in expected:
            answer = await call("DELETE", f"{ITEMS}/{name}")
            assert (status, body) == (answer.status, answer.body)
        assert {"mem_coffee"} == set(Sandbox().memories) - set(call.sandbox.memories)


class TestRules:
    async def test_one_memory_cannot_be_read(self, call: Caller) -> None:
        """There is no such route."""
        answer = await call("GET", f"{ITEMS}/mem_coffee")
        assert (405, b'{"detail":"Method Not Allowed"}') == (answer.status, answer.body)

    async def test_scopes(self, call: Caller) -> None:
        """A key that may only read may not write, whatever it sends."""
        answer = await call("POST", ITEMS, {}, key=call.sandbox.read_only_key)
        expected = b'{"detail":"Insufficient permissions. Required scope: memories:write"}'
        assert (403, expected) == (answer.status, answer.body)

    async def test_windows_of_the_newest(self) -> None:
        """Writes share one, batches and reads have others, and conversations none of these."""
        async with calling(Sandbox(write_limit=1, read_limit=1)) as call:
            writes = [await call("POST", ITEMS, {}) for _ in range(3)]
            writes += [await call("DELETE", f"{ITEMS}/x") for _ in range(3)]
            assert [422, 422, 422, 404, 404, 429] == [answer.status for answer in writes]
            assert "5" == writes[-1].headers["X-RateLimit-Limit"]
            assert [422, 429] == [(await call("POST", f"{ITEMS}/batch", {})).status for _ in range(2)]
            reads = (ITEMS, f"{ITEMS}/vector/search?query=a", ITEMS)
            assert [200, 200, 429] == [(await call("GET", path)).status for path in reads]
            assert 404 == (await call("DELETE", "/v1/dev/user/conversations/x")).status

    async def test_windows_of_the_older_server(self) -> None:
        """Only creations are counted."""
        async with calling(Sandbox(write_limit=1, read_limit=0, generation="2026-05")) as call:
            statuses = [(await call("POST", ITEMS, {})).status for _ in range(6)]
            statuses += [(await call("PATCH", f"{ITEMS}/x", {})).status, (await call("GET", ITEMS)).status]
            assert [422] * 5 + [429, 404, 200] == statuses

    async def test_scripted_refusals_are_about_memories(self, call: Caller) -> None:
        """A fault has the words that the route would have."""
        for status, body in ((404, NO_MEMORY), (402, LOCKED), (422, NOTHING)):
            call.sandbox.fail(status=status, record_id="mem_coffee")
            answer = await call("DELETE", f"{ITEMS}/mem_coffee")
            assert (status, body) == (answer.status, answer.body)
        call.sandbox.fail(status=429, path=ITEMS)
        assert "120" == (await call("GET", ITEMS)).headers["X-RateLimit-Limit"]
        call.sandbox.fail(status=200, apply=True, path=ITEMS, headers={"X-Omi-List-Truncated": "true"})
        answer = await call("GET", f"{ITEMS}?limit=2")
        assert (["mem_coffee", "mem_lisbon"], "true") == (ids(answer), answer.headers["X-Omi-List-Truncated"])

    def test_seeds(self) -> None:
        """Own ones take their place; an id twice is refused; texts are in no repr."""
        assert {} == Sandbox(memories=[]).memories
        with pytest.raises(ValueError, match="^memories has the id 'a' twice"):
            Sandbox(memories=[SandboxMemory("a"), SandboxMemory("a")])
        with pytest.raises(ValueError, match="created_at"):
            SandboxMemory("a", created_at=datetime(2026, 9, 1))
        assert "private words" not in repr(SandboxMemory("a", "private words", tags=("private words",)))

    async def test_a_reset_brings_them_back(self, call: Caller) -> None:
        """Whatever requests and tests have done."""
        await call("DELETE", f"{ITEMS}/mem_coffee")
        call.sandbox.memories["mine"] = SandboxMemory("mine")
        call.sandbox.reset()
        assert Sandbox().memories == call.sandbox.memories
