"""The sandbox serves daily summaries as the newest server does; the one of May 2026 has none."""

import json
from datetime import datetime
from typing import Any

import pytest

from omi_async.sandbox import Sandbox, SandboxDailySummary
from tests.support.caller import Answer, calling

SUMMARIES = "/v1/dev/user/daily-summaries"
NO_SUMMARY = b'{"detail":"Daily summary not found"}'


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [row["id"] for row in json.loads(answer.body)["summaries"]]


def problem(kind: str, field: str, message: str, echo: str, context: str) -> bytes:
    return (
        f'{{"detail":[{{"type":"{kind}","loc":["query","{field}"],"msg":"{message}","input":"{echo}",'
        f'"ctx":{context}}}]}}'
    ).encode()


class TestGet:
    async def test_every_field_may_be_null(self) -> None:
        """But for what was learned, which is then empty."""
        async with calling(Sandbox(daily_summaries=[SandboxDailySummary("s")])) as call:
            answer = await call("GET", f"{SUMMARIES}/s", key=call.sandbox.read_only_key)
        assert (
            b'{"id":"s","date":"2026-09-01","created_at":null,"headline":null,"overview":null,"day_emoji":null,'
            b'"stats":null,"highlights":null,"action_items":null,"unresolved_questions":null,"decisions_made":null,'
            b'"knowledge_nuggets":null,"locations":null,"memories_learned":[]}'
        ) == answer.body

    async def test_unknown_fields(self) -> None:
        """They are passed on from the summary and dropped from the objects in it, where others are null."""
        summary = SandboxDailySummary(
            "s",
            stats={"total_conversations": 2, "moons": 1},
            highlights=({"topic": "a", "color": "b"},),
            more={"x": [1]},
        )
        async with calling(Sandbox(daily_summaries=[summary])) as call:
            row = json.loads((await call("GET", f"{SUMMARIES}/s")).body)
        assert (2, None, [1]) == (row["stats"]["total_conversations"], row["stats"]["memories_created"], row["x"])
        assert 7 == len(row["stats"])
        assert [{"topic": "a", "emoji": None, "summary": None, "conversation_ids": None}] == row["highlights"]

    @pytest.mark.parametrize(
        ("name", "status"), [("nope", 404), ("%20", 500), ("a..b", 500), ("a%5Cb", 500), ("__x__", 500)]
    )
    async def test_summaries_that_are_not_there(self, name: str, status: int) -> None:
        """Some ids break the server."""
        async with calling(Sandbox()) as call:
            answer = await call("GET", f"{SUMMARIES}/{name}")
        assert (status, NO_SUMMARY if status == 404 else b"Internal Server Error") == (answer.status, answer.body)


class TestList:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", "21 18 12"),
            ("limit=1", "21"),
            ("limit=1&offset=1", "18"),
            ("offset=3", ""),
            ("start_date=2026-09-18", "21 18"),
            ("end_date=2026-09-18", "18 12"),
            ("start_date=2026-09-13&end_date=2026-99-99", "21 18"),
        ],
    )
    async def test_days_and_pages(self, query: str, expected: str) -> None:
        """The latest day first; both ends of a span belong to it; no calendar is asked."""
        async with calling(Sandbox()) as call:
            found = ids(await call("GET", f"{SUMMARIES}?{query}"))
        assert [f"summary_2026_09_{day}" for day in expected.split()] == found

    @pytest.mark.parametrize(
        ("query", "body"),
        [
            (
                "limit=0",
                problem("greater_than_equal", "limit", "Input should be greater than or equal to 1", "0", '{"ge":1}'),
            ),
            (
                "limit=101",
                problem("less_than_equal", "limit", "Input should be less than or equal to 100", "101", '{"le":100}'),
            ),
            (
                "offset=-1",
                problem("greater_than_equal", "offset", "Input should be greater than or equal to 0", "-1", '{"ge":0}'),
            ),
            (
                "end_date=2026-9-1",
                problem(
                    "string_pattern_mismatch",
                    "end_date",
                    r"String should match pattern '^\\d{4}-\\d{2}-\\d{2}$'",
                    "2026-9-1",
                    r'{"pattern":"^\\d{4}-\\d{2}-\\d{2}$"}',
                ),
            ),
        ],
    )
    async def test_refusals(self, query: str, body: bytes) -> None:
        """Here numbers out of range are refused."""
        async with calling(Sandbox()) as call:
            answer = await call("GET", f"{SUMMARIES}?{query}")
        assert (422, body) == (answer.status, answer.body)

    async def test_one_unreadable_summary_breaks_its_page(self) -> None:
        """And no other page."""
        summaries = [SandboxDailySummary("a", "2026-09-02"), SandboxDailySummary("u", unreadable=True)]
        async with calling(Sandbox(daily_summaries=summaries)) as call:
            assert [500, 200] == [(await call("GET", f"{SUMMARIES}?{query}")).status for query in ("", "limit=1")]


class TestRules:
    async def test_windows(self) -> None:
        """Both reads count with those of conversations, each with its own kind."""
        clock = [0.0]
        async with calling(Sandbox(read_limit=2, clock=lambda: clock[0])) as call:
            assert 404 == (await call("GET", f"{SUMMARIES}/x")).status
            clock[0] = 3599
            assert 200 == (await call("GET", SUMMARIES)).status
            clock[0] = 3600
            paths = (SUMMARIES, "/v1/dev/user/folders")
            assert [200, 429] == [(await call("GET", path)).status for path in paths]

    @pytest.mark.parametrize("path", [SUMMARIES, f"{SUMMARIES}/summary_2026_09_21"])
    async def test_the_older_server_has_none(self, path: str) -> None:
        """The routes do not exist there."""
        async with calling(Sandbox(generation="2026-05")) as call:
            answer = await call("GET", path)
        assert (404, b'{"detail":"Not Found"}') == (answer.status, answer.body)

    def test_seeds(self) -> None:
        """One of them has a place; own ones take their place; neither places nor texts are in a repr."""
        assert 1 == sum(bool(each.locations) for each in Sandbox().daily_summaries.values())
        assert "38.7" not in repr(Sandbox().daily_summaries)
        assert "Alfama" not in repr(Sandbox().daily_summaries)
        assert {} == Sandbox(daily_summaries=[]).daily_summaries
        with pytest.raises(ValueError, match="^daily_summaries has the id 'a' twice"):
            Sandbox(daily_summaries=[SandboxDailySummary("a"), SandboxDailySummary("a")])
        naive: Any = datetime(2026, 9, 1)
        with pytest.raises(ValueError, match="created_at"):
            SandboxDailySummary("a", created_at=naive)
