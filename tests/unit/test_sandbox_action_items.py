"""The sandbox keeps action items as the real servers do, the newest and the one of May 2026."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from omi_async.sandbox import Sandbox, SandboxActionItem
from tests.support.caller import Answer, Caller, calling

ITEMS = "/v1/dev/user/action-items"
START = datetime(2026, 9, 1, tzinfo=UTC)

NO_ITEM = b'{"detail":"Action item not found"}'
LOCKED = b'{"detail":"A paid plan is required to access this action item."}'
NOTHING = b'{"detail":"At least one field must be provided"}'
BLANK = (
    b'{"detail":[{"type":"value_error","loc":["body","description"],"msg":"Value error, description cannot be blank",'
    b'"input":"  ","ctx":{"error":{}}}]}'
)


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [row["id"] for row in json.loads(answer.body)]


def many(count: int, **more: Any) -> list[SandboxActionItem]:
    """Items i0000, i0001, ..., each due a day earlier and made an hour earlier than the one before."""
    return [
        SandboxActionItem(
            f"i{number:04d}",
            created_at=START - timedelta(hours=number),
            due_at=START - timedelta(days=number),
            **more,
        )
        for number in range(count)
    ]


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
        """Open ones first, by due date, then the newest; locked ones are missing."""
        answer = await call("GET", ITEMS, key=call.sandbox.read_only_key)
        assert ["item_search", "item_train", "item_layout", "item_invite", "item_strings"] == ids(answer)
        assert answer.body.startswith(
            b'[{"id":"item_search","description":"Measure search on the large account","completed":false,'
            b'"created_at":"2026-09-21T08:12:41.318204Z","updated_at":"2026-09-21T08:12:41.318204Z",'
            b'"due_at":"2026-09-23T16:00:00Z","completed_at":null,"conversation_id":"conv_standup"}'
        )

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("completed=true", "item_invite item_strings"),
            ("conversation_id=conv_standup", "item_search item_invite"),
            ("conversation_id=", ""),
            ("start_date=2026-09-16T20:05:00Z", "item_search item_train item_layout item_invite"),
            ("end_date=2026-09-16T20:05:00", "item_train item_strings"),
            ("start_date=2026-09-17&completed=0", "item_search item_layout"),
            ("limit=2&offset=1", "item_train item_layout"),
            ("limit=0&offset=-5", "item_search"),
            ("limit=3&offset=3", "item_invite item_strings"),
        ],
    )
    async def test_filters_and_pages(self, call: Caller, query: str, expected: str) -> None:
        """Both ends of a span belong to it; a limit out of range becomes the nearest in range."""
        assert expected.split() == ids(await call("GET", f"{ITEMS}?{query}"))

    async def test_locked_and_unreadable_rows_leave_holes(self) -> None:
        """A page may be empty while more follow."""
        items = many(4)
        items[3] = attrs.evolve(items[3], locked=True)
        items[2] = attrs.evolve(items[2], unreadable=True)
        async with calling(Sandbox(action_items=items)) as call:
            assert [[], ["i0001", "i0000"]] == [
                ids(await call("GET", f"{ITEMS}?limit=2&offset={offset}")) for offset in (0, 2)
            ]

    @pytest.mark.parametrize(
        ("query", "first", "last"),
        [
            ("limit=1", "i0032", "i0032"),
            ("limit=100&offset=50", "i0131", "i0032"),
            ("limit=1000", "i1031", "i0032"),
            ("limit=1000&offset=1000", "i0999", "i0000"),
            ("limit=1&start_date=2000-01-01", "i0032", "i0032"),
        ],
    )
    async def test_only_the_rows_that_were_read_are_sorted(self, query: str, first: str, last: str) -> None:
        """By due date the last one would be first; it is not read until all 2000 are."""
        async with calling(Sandbox(action_items=many(2100))) as call:
            found = ids(await call("GET", f"{ITEMS}?{query}"))
            assert (first, last) == (found[0], found[-1])

    async def test_nothing_beyond_2000_is_read(self) -> None:
        """One more row is never sent, whatever the page."""
        async with calling(Sandbox(action_items=many(2001))) as call:
            assert 10 == len(ids(await call("GET", f"{ITEMS}?limit=1000&offset=1990")))
            assert [] == ids(await call("GET", f"{ITEMS}?offset=2000"))

    async def test_the_older_server_sorts_each_page_for_itself(self) -> None:
        """Pages are cut by creation; 0 is all; negative limits and rows it cannot send break it."""
        async with calling(Sandbox(action_items=many(6), generation="2026-05")) as call:
            pages = [ids(await call("GET", f"{ITEMS}?limit=3&offset={offset}")) for offset in (0, 3)]
            assert [["i0002", "i0001", "i0000"], ["i0005", "i0004", "i0003"]] == pages
            assert 6 == len(ids(await call("GET", f"{ITEMS}?limit=0&offset=-1")))
            assert 500 == (await call("GET", f"{ITEMS}?limit=-1")).status
            call.sandbox.action_items["i0000"] = SandboxActionItem("i0000", unreadable=True)
            assert 500 == (await call("GET", ITEMS)).status

    async def test_malformed_values_are_422(self, call: Caller) -> None:
        """Each is named."""
        answer = await call("GET", f"{ITEMS}?completed=&start_date=soon&limit=x")
        problems = [(each["loc"][1], each["type"]) for each in json.loads(answer.body)["detail"]]
        expected = [
            ("completed", "bool_parsing"),
            ("start_date", "datetime_from_date_parsing"),
            ("limit", "int_parsing"),
        ]
        assert (422, expected) == (answer.status, problems)


class TestCreate:
    async def test_every_call_makes_another(self, call: Caller) -> None:
        """The text is stored stripped, a time without a zone is UTC."""
        for _ in range(2):
            sent: dict[str, object] = {"description": " Call. ", "due_at": "2026-10-01T10:00:00", "completed": "yes"}
            answer = await call("POST", ITEMS, sent)
        row = json.loads(answer.body)
        assert re.fullmatch("[0-9a-zA-Z]{20}", row["id"])
        assert ("Call.", True, "2026-10-01T10:00:00Z", None) == tuple(
            row[name] for name in ("description", "completed", "due_at", "conversation_id")
        )
        assert row["completed_at"] == row["created_at"] == row["updated_at"]
        assert 8 == len(call.sandbox.action_items)
        assert [True, True] == [request.applied for request in call.sandbox.requests]

    @pytest.mark.parametrize(
        ("sent", "part"),
        [
            ({"description": " "}, '{"detail":"description cannot be empty"}'),
            ({}, '"type":"missing"'),
            ({"description": "a" * 501}, '"type":"string_too_long"'),
            ({"description": "a", "completed": None}, '"type":"bool_type"'),
            ({"description": "a", "due_at": ""}, '"type":"datetime_from_date_parsing"'),
        ],
    )
    async def test_refusals(self, call: Caller, sent: dict[str, object], part: str) -> None:
        """Nothing is stored."""
        answer = await call("POST", ITEMS, sent)
        assert (422, True) == (answer.status, part in answer.body.decode())
        assert 6 == len(call.sandbox.action_items)

    @pytest.mark.parametrize(("generation", "status"), [("newest", 200), ("2026-05", 500)])
    async def test_dates_beyond_all_calendars(self, generation: Any, status: int) -> None:
        """The newest stores the item without, the older one breaks."""
        async with calling(Sandbox(generation=generation)) as call:
            answer = await call("POST", ITEMS, {"description": "a", "due_at": "9999-12-31T23:59:59-12:00"})
            assert status == answer.status
            assert 7 - (status == 500) == len(call.sandbox.action_items)
            assert status == 500 or json.loads(answer.body)["due_at"] is None


class TestBatch:
    async def test_all_are_made_in_the_order_of_the_input(self, call: Caller) -> None:
        """Repeats are made twice; nothing is made of nothing."""
        sent: dict[str, object] = {"action_items": [{"description": "b"}, {"description": "a"}, {"description": "b"}]}
        answer = json.loads((await call("POST", f"{ITEMS}/batch", sent)).body)
        made = [row["description"] for row in answer["action_items"]]
        assert (["b", "a", "b"], 3, 9) == (made, answer["created_count"], len(call.sandbox.action_items))
        empty = await call("POST", f"{ITEMS}/batch", {"action_items": []})
        assert (200, b'{"action_items":[],"created_count":0}') == (empty.status, empty.body)

    @pytest.mark.parametrize(
        ("items", "detail"),
        [
            ([{"description": "a"}, {"description": " "}], "All action items must have non-empty descriptions"),
            ([{"description": "a"}] * 51, "List should have at most 50 items after validation, not 51"),
        ],
    )
    async def test_one_bad_one_stops_all(self, call: Caller, items: object, detail: str) -> None:
        """It is not said which."""
        answer = await call("POST", f"{ITEMS}/batch", {"action_items": items})
        assert (422, True) == (answer.status, detail in answer.body.decode())
        assert 6 == len(call.sandbox.action_items)


class TestUpdate:
    async def test_completing_and_opening_again(self, call: Caller) -> None:
        """The time of completion goes with it."""
        done = json.loads((await call("PATCH", f"{ITEMS}/item_search", {"completed": True})).body)
        assert (True, done["updated_at"]) == (done["completed"], done["completed_at"])
        sent: dict[str, object] = {"completed": False, "description": " x "}
        again = json.loads((await call("PATCH", f"{ITEMS}/item_search", sent)).body)
        assert (False, None, "x") == (again["completed"], again["completed_at"], again["description"])
        assert "x" == call.sandbox.action_items["item_search"].description

    @pytest.mark.parametrize(
        ("generation", "sent", "status", "due"),
        [
            ("newest", {"due_at": None}, 200, None),
            ("2026-05", {"due_at": None}, 422, "2026-09-23T16:00:00Z"),
            ("2026-05", {"due_at": None, "completed": True}, 200, "2026-09-23T16:00:00Z"),
            ("newest", {"due_at": 1790208000}, 200, "2026-09-24T00:00:00Z"),
            ("newest", {"description": "x"}, 200, "2026-09-23T16:00:00Z"),
        ],
    )
    async def test_due_dates(self, generation: Any, sent: dict[str, object], status: int, due: str | None) -> None:
        """The newest server clears one with null, to the older one null is nothing."""
        async with calling(Sandbox(generation=generation)) as call:
            answer = await call("PATCH", f"{ITEMS}/item_search", sent)
            assert status == answer.status
            stored = call.sandbox.action_items["item_search"].due_at
            assert due == (None if stored is None else stored.isoformat().replace("+00:00", "Z"))
            assert status == 422 or due == json.loads(answer.body)["due_at"]

    @pytest.mark.parametrize(
        ("name", "sent", "status", "body"),
        [
            ("nope", {"description": "  "}, 422, BLANK),
            ("nope", {}, 404, NO_ITEM),
            ("item_locked", {}, 402, LOCKED),
            ("item_search", {}, 422, NOTHING),
            ("item_search", {"description": None, "completed": None}, 422, NOTHING),
            ("__x__", {}, 500, b"Internal Server Error"),
        ],
    )
    async def test_the_order_of_checks(
        self, call: Caller, name: str, sent: dict[str, object], status: int, body: bytes
    ) -> None:
        """Schema, item, lock, and only then whether there is something to do."""
        answer = await call("PATCH", f"{ITEMS}/{name}", sent)
        assert (status, body) == (answer.status, answer.body)

    async def test_the_older_server_stores_blanks(self, older: Caller) -> None:
        """As nothing."""
        assert 200 == (await older("PATCH", f"{ITEMS}/item_search", {"description": "  "})).status
        assert "" == older.sandbox.action_items["item_search"].description

    async def test_an_unreadable_item_is_changed_and_answered_500(self, call: Caller) -> None:
        """The change comes before the answer."""
        call.sandbox.action_items["u"] = SandboxActionItem("u", unreadable=True)
        answer = await call("PATCH", f"{ITEMS}/u", {"completed": True})
        assert (500, True, True) == (
            answer.status,
            call.sandbox.action_items["u"].completed,
            call.sandbox.requests[0].applied,
        )


class TestDelete:
    async def test_it_is_final(self, call: Caller) -> None:
        """The second one finds nothing; a locked item stays."""
        expected = [
            ("item_train", 200, b'{"success":true}'),
            ("item_train", 404, NO_ITEM),
            ("item_locked", 402, LOCKED),
        ]
        for name, status, body in expected:
            answer = await call("DELETE", f"{ITEMS}/{name}")
            assert (status, body) == (answer.status, answer.body)
        assert {"item_train"} == set(Sandbox().action_items) - set(call.sandbox.action_items)


class TestRules:
    async def test_one_item_cannot_be_read(self, call: Caller) -> None:
        """There is no such route."""
        assert 405 == (await call("GET", f"{ITEMS}/item_search")).status

    async def test_scopes(self, call: Caller) -> None:
        """A key that may only read may not write."""
        answer = await call("POST", f"{ITEMS}/batch", {}, key=call.sandbox.read_only_key)
        expected = b'{"detail":"Insufficient permissions. Required scope: action_items:write"}'
        assert (403, expected) == (answer.status, answer.body)

    @pytest.mark.parametrize(("generation", "status"), [("newest", 429), ("2026-05", 422)])
    async def test_all_writes_share_one_window(self, generation: Any, status: int) -> None:
        """Batches too; the older server has no limit at all."""
        async with calling(Sandbox(write_limit=1, read_limit=0, generation=generation)) as call:
            writes = [
                await call("POST", ITEMS, {}),
                await call("POST", f"{ITEMS}/batch", {}),
                await call("PATCH", f"{ITEMS}/x", {}),
                await call("DELETE", f"{ITEMS}/x"),
                await call("POST", ITEMS, {}),
                await call("POST", f"{ITEMS}/batch", {}),
            ]
            assert [422, 422, 404, 404, 422, status] == [answer.status for answer in writes]
            assert (429 if status == 429 else 200) == (await call("GET", ITEMS)).status

    def test_seeds(self) -> None:
        """Own ones take their place; an id twice is refused; texts are in no repr."""
        assert {} == Sandbox(action_items=[]).action_items
        with pytest.raises(ValueError, match="^action_items has the id 'a' twice"):
            Sandbox(action_items=[SandboxActionItem("a"), SandboxActionItem("a")])
        with pytest.raises(ValueError, match="due_at"):
            SandboxActionItem("a", due_at=datetime(2026, 9, 1))
        assert "private words" not in repr(SandboxActionItem("a", "private words"))
