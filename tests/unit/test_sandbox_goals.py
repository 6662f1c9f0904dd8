"""The sandbox keeps goals as the real servers do, the newest and the one of May 2026."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from omi_async.sandbox import Sandbox, SandboxGoal
from tests.support.caller import Answer, Caller, calling

GOALS = "/v1/dev/user/goals"
RUN, RUST, SLEEP, SONG = "goal_5a1d0c7e42b9", "goal_91c3f0aa6d15", "goal_2b7e9d4410cf", "goal_c06f8812be73"
START = datetime(2026, 9, 1, tzinfo=UTC)

NO_GOAL = b'{"detail":"Goal not found"}'
NOTHING = b'{"detail":"At least one field must be provided"}'
SUCCESS = b'{"success":true}'
BROKEN = b"Internal Server Error"

# As on the wire: a metric's five aliases, with the unit.
ALIASES = ("goal_type", "target_value", "current_value", "min_value", "max_value", "unit")


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [row["id"] for row in json.loads(answer.body)]


def aliases(answer: Answer) -> tuple[Any, ...]:
    assert answer.status == 200, answer
    row = json.loads(answer.body)
    return tuple(row[name] for name in ALIASES)


def problem(kind: str, field: str, message: str, echo: str, context: str = "") -> bytes:
    end = f',"ctx":{context}' if context else ""
    return f'{{"detail":[{{"type":"{kind}","loc":[{field}],"msg":"{message}","input":{echo}{end}}}]}}'.encode()


def refused_value(field: str, echo: str, message: str) -> bytes:
    return problem("value_error", f'"body","{field}"', f"Value error, {message}", echo, '{"error":{}}')


def many(count: int, **more: Any) -> list[SandboxGoal]:
    """Goals g0, g1, ... from the newest to the oldest."""
    return [SandboxGoal(f"g{number}", created_at=START - timedelta(hours=number), **more) for number in range(count)]


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling(Sandbox(write_limit=None)) as caller:
        yield caller


@pytest.fixture
async def older() -> AsyncIterator[Caller]:
    async with calling(Sandbox(write_limit=None, generation="2026-05")) as caller:
        yield caller


class TestReads:
    async def test_a_goal_has_every_field(self, call: Caller) -> None:
        """Twenty of them, the parts of its metric twice."""
        answer = await call("GET", f"{GOALS}/{RUN}", key=call.sandbox.read_only_key)
        assert (
            b'{"id":"goal_5a1d0c7e42b9","goal_id":"goal_5a1d0c7e42b9","title":"Run ten kilometers",'
            b'"desired_outcome":"I run ten kilometers without a break.",'
            b'"why_it_matters":"The doctor advised more exercise.","success_criteria":["Three runs a week"],'
            b'"horizon_at":"2026-12-01T00:00:00Z","status":"focused","focus_rank":1,"metric":{"type":"numeric",'
            b'"current":6.5,"target":10.0,"min":0.0,"max":10.0,"unit":"km"},"source":"user","goal_type":"numeric",'
            b'"target_value":10.0,"current_value":6.5,"min_value":0.0,"max_value":10.0,"unit":"km","is_active":true,'
            b'"created_at":"2026-08-03T07:30:00Z","updated_at":"2026-09-20T09:15:00Z"}'
        ) == answer.body

    async def test_the_older_server_has_eleven_fields(self, older: Caller) -> None:
        """Without a metric the aliases are numbers all the same."""
        answer = await older("GET", f"{GOALS}/{SLEEP}")
        assert (
            b'{"id":"goal_2b7e9d4410cf","title":"Sleep eight hours","goal_type":"scale","target_value":0.0,'
            b'"current_value":0.0,"min_value":0.0,"max_value":10.0,"unit":null,"is_active":true,'
            b'"created_at":"2026-09-09T11:00:00Z","updated_at":"2026-09-09T11:00:00Z"}'
        ) == answer.body

    @pytest.mark.parametrize(("name", "status", "body"), [("nope", 404, NO_GOAL), ("__x__", 500, BROKEN)])
    async def test_goals_that_are_not_there(self, call: Caller, name: str, status: int, body: bytes) -> None:
        """An id that cannot be stored breaks the server."""
        answer = await call("GET", f"{GOALS}/{name}")
        assert (status, body) == (answer.status, answer.body)

    @pytest.mark.parametrize(
        ("generation", "query", "expected"),
        [
            ("newest", "", "g4 g3 g1 g0"),
            ("newest", "limit=2", "g1 g0"),
            ("newest", "limit=0", "g0"),
            ("newest", "include_inactive=1", "g0 g1 g2 g3 g4"),
            ("newest", "include_inactive=1&limit=2", "g0 g1"),
            ("2026-05", "limit=2", "g1 g0"),
            ("2026-05", "limit=0", "g4 g3 g1 g0"),
            ("2026-05", "include_inactive=1&limit=2", "g0 g1 g2 g3 g4"),
        ],
    )
    async def test_lists(self, generation: Any, query: str, expected: str) -> None:
        """Active ones from the oldest, chosen before they are sorted; all of them from the newest."""
        goals = many(5)
        goals[2] = attrs.evolve(goals[2], status="achieved")
        async with calling(Sandbox(goals=goals, generation=generation)) as call:
            assert expected.split() == ids(await call("GET", f"{GOALS}?{query}"))

    async def test_unreadable_goals(self) -> None:
        """The newest server leaves them out, the older one breaks, also over a limit below zero."""
        goals = [*many(1), SandboxGoal("u", unreadable=True)]
        async with calling(Sandbox(goals=goals)) as call:
            assert ["g0"] == ids(await call("GET", GOALS))
        async with calling(Sandbox(goals=goals, generation="2026-05")) as call:
            assert 500 == (await call("GET", GOALS)).status
            assert 500 == (await call("GET", f"{GOALS}?limit=-1")).status


class TestCreate:
    async def test_of_a_title(self, call: Caller) -> None:
        """Without a value or a type there is no metric, and its other parts are dropped."""
        answer = await call("POST", GOALS, {"title": " Read ", "max_value": 5, "unit": "books"})
        row = json.loads(answer.body)
        assert re.fullmatch("goal_[0-9a-f]{12}", row["id"])
        assert ("Read", "Read", None, [], "background", None, "user", True) == tuple(
            row[name]
            for name in (
                *("title", "desired_outcome", "why_it_matters", "success_criteria"),
                *("status", "metric", "source", "is_active"),
            )
        )
        assert ("scale", 0, 0, 0, 10, None) == aliases(answer)
        assert row["id"] in call.sandbox.goals
        assert call.sandbox.requests[0].applied

    async def test_of_everything(self, call: Caller) -> None:
        """What is given is kept, and every call makes another goal."""
        sent: dict[str, object] = {
            "title": "Read",
            "desired_outcome": " More books. ",
            "why_it_matters": "Fun",
            "success_criteria": ["a", "b"],
            "horizon_at": "2027-01-01T00:00:00+01:00",
            "goal_type": "numeric",
            "target_value": 12,
            "current_value": "3",
            "min_value": 1,
            "max_value": 20,
            "unit": "books",
        }
        answers = [await call("POST", GOALS, sent) for _ in range(2)]
        row = json.loads(answers[0].body)
        assert ("numeric", 12, 3, 1, 20, "books") == aliases(answers[0])
        assert ("More books.", "Fun", ["a", "b"], "2026-12-31T23:00:00Z") == tuple(
            row[name] for name in ("desired_outcome", "why_it_matters", "success_criteria", "horizon_at")
        )
        assert 6 == len(call.sandbox.goals)

    @pytest.mark.parametrize(
        ("sent", "expected"),
        [
            ({"target_value": 50}, ("scale", 50, 0, 0, 50, None)),
            ({"goal_type": "boolean"}, ("boolean", 0, 0, 0, 10, None)),
        ],
    )
    async def test_a_value_or_a_type_makes_a_metric(
        self, call: Caller, sent: dict[str, object], expected: tuple[object, ...]
    ) -> None:
        """The largest value is ten or the target."""
        assert expected == aliases(await call("POST", GOALS, {"title": "a", **sent}))

    @pytest.mark.parametrize(
        ("sent", "status", "body"),
        [
            (b'{"title":" "}', 422, b'{"detail":"title cannot be empty"}'),
            (b'{"title":"a","target_value":1,"min_value":2,"max_value":1}', 500, BROKEN),
            (b'{"title":"a","goal_type":"scale","unit":"' + b"u" * 65 + b'"}', 500, BROKEN),
            (b'{"title":"a","desired_outcome":" "}', 500, BROKEN),
            (b'{"title":"a","target_value":NaN}', 500, BROKEN),
            (
                b'{"title":"a","target_value":"1e999"}',
                422,
                problem("finite_number", '"body","target_value"', "Input should be a finite number", '"1e999"'),
            ),
            (
                b'{"title":"a","goal_type":"x"}',
                422,
                problem(
                    "enum",
                    '"body","goal_type"',
                    "Input should be 'boolean', 'scale' or 'numeric'",
                    '"x"',
                    "{\"expected\":\"'boolean', 'scale' or 'numeric'\"}",
                ),
            ),
            (
                b'{"title":"a","success_criteria":null}',
                422,
                problem("list_type", '"body","success_criteria"', "Input should be a valid list", "null"),
            ),
        ],
    )
    async def test_refusals(self, call: Caller, sent: bytes, status: int, body: bytes) -> None:
        """Nothing is stored, whether it is noticed early or late."""
        answer = await call("POST", GOALS, body=sent)
        assert (status, body, 4) == (answer.status, answer.body, len(call.sandbox.goals))
        assert not call.sandbox.requests[0].applied

    async def test_the_older_server_needs_a_target_and_pushes_the_oldest_out(self, older: Caller) -> None:
        """Four goals stay active; the newer fields are not known there."""
        answer = await older("POST", GOALS, {"title": "a"})
        assert problem("missing", '"body","target_value"', "Field required", '{"title":"a"}') == answer.body
        for number in range(2):
            sent: dict[str, object] = {"title": "a", "target_value": 20, "unit": "x" * 65, "desired_outcome": 5}
            answer = await older("POST", GOALS, sent)
            assert ("scale", 20, 0, 0, 10, "x" * 65) == aliases(answer)
            assert (RUN if number else SONG) in {goal.id for goal in older.sandbox.goals.values() if not goal.is_active}
        assert 4 == len(ids(await older("GET", GOALS)))


class TestUpdate:
    @pytest.mark.parametrize(
        ("sent", "expected"),
        [
            ({"unit": "miles"}, {"unit": "miles", "target_value": 10}),
            ({"unit": None, "min_value": None, "max_value": None}, {"unit": None, "min_value": 0, "max_value": 10}),
            ({"max_value": None, "target_value": 42}, {"max_value": 42}),
            (
                {"title": " Walk ", "why_it_matters": None, "horizon_at": None},
                {"title": "Walk", "why_it_matters": None},
            ),
            ({"success_criteria": [], "desired_outcome": " x "}, {"success_criteria": [], "desired_outcome": "x"}),
        ],
    )
    async def test_what_is_given_is_stored(
        self, call: Caller, sent: dict[str, object], expected: dict[str, object]
    ) -> None:
        """Some nulls clear."""
        row = json.loads((await call("PATCH", f"{GOALS}/{RUN}", sent)).body)
        assert expected == {name: row[name] for name in expected}
        assert row == json.loads((await call("GET", f"{GOALS}/{RUN}")).body)

    async def test_a_value_makes_a_metric(self, call: Caller) -> None:
        """Of the type `scale`, with the usual values where none is given."""
        answer = await call("PATCH", f"{GOALS}/{SLEEP}", {"current_value": 2})
        assert ("scale", 0, 2, 0, 10, None) == aliases(answer)
        assert {"type": "scale", "current": 2, "target": 0, "min": None, "max": None, "unit": None} == json.loads(
            answer.body
        )["metric"]

    @pytest.mark.parametrize(
        ("name", "sent", "status", "body"),
        [
            ("nope", {}, 422, NOTHING),
            ("nope", {"goal_type": "scale"}, 422, NOTHING),
            ("nope", {"title": "a"}, 404, NO_GOAL),
            (
                RUN,
                {"title": None},
                422,
                refused_value("title", "null", "required goal text cannot be null or blank"),
            ),
            (
                RUN,
                {"desired_outcome": " "},
                422,
                refused_value("desired_outcome", '" "', "required goal text cannot be null or blank"),
            ),
            (
                RUN,
                {"success_criteria": None},
                422,
                refused_value(
                    "success_criteria", "null", "success_criteria cannot be null; use an empty list to clear it"
                ),
            ),
            (RUN, {"target_value": None}, 422, refused_value("target_value", "null", "metric value cannot be null")),
            (RUN, {"current_value": None}, 422, refused_value("current_value", "null", "metric value cannot be null")),
            (RUN, {"min_value": 11}, 500, BROKEN),
            (RUN, {"unit": "u" * 65}, 500, BROKEN),
        ],
    )
    async def test_refusals(self, call: Caller, name: str, sent: dict[str, object], status: int, body: bytes) -> None:
        """What is wrong with the update is said before the goal is looked for; nothing is stored."""
        answer = await call("PATCH", f"{GOALS}/{name}", sent)
        assert (status, body) == (answer.status, answer.body)
        assert Sandbox().goals == call.sandbox.goals

    async def test_the_older_server_stores_nulls_and_breaks_from_then_on(self, older: Caller) -> None:
        """The answer, the goal and the whole list are 500."""
        assert 200 == (await older("PATCH", f"{GOALS}/{RUST}", {"title": "  ", "unit": None})).status
        answers = [
            await older("PATCH", f"{GOALS}/{RUN}", {"target_value": None}),
            await older("GET", f"{GOALS}/{RUN}"),
            await older("GET", GOALS),
        ]
        assert [500, 500, 500] == [answer.status for answer in answers]
        assert "" == older.sandbox.goals[RUST].title


class TestProgress:
    async def test_the_last_value_of_a_day_counts(self, call: Caller) -> None:
        """The value is in the query; every day has one entry in the history."""
        for value in ("7", "7.5"):
            answer = await call("PATCH", f"{GOALS}/{RUN}/progress?current_value={value}")
        assert 7.5 == json.loads(answer.body)["current_value"]
        entries = json.loads((await call("GET", f"{GOALS}/{RUN}/history?days=2")).body)
        assert [7.5, 6.5] == [entry["value"] for entry in entries]
        assert entries[0]["date"] == entries[0]["recorded_at"][:10]

    async def test_a_goal_without_a_metric_gets_one(self, call: Caller) -> None:
        """A number to count up, and no target."""
        answer = await call("PATCH", f"{GOALS}/{SLEEP}/progress?current_value=3")
        assert ("numeric", 0, 3, 0, 10, None) == aliases(answer)

    @pytest.mark.parametrize(
        ("query", "body"),
        [
            ("", problem("missing", '"query","current_value"', "Field required", "null")),
            (
                "current_value=nan",
                problem("finite_number", '"query","current_value"', "Input should be a finite number", '"nan"'),
            ),
            (
                "current_value=x",
                problem(
                    "float_parsing",
                    '"query","current_value"',
                    "Input should be a valid number, unable to parse string as a number",
                    '"x"',
                ),
            ),
        ],
    )
    async def test_refusals(self, call: Caller, query: str, body: bytes) -> None:
        """A body is not looked at."""
        answer = await call("PATCH", f"{GOALS}/nope/progress?{query}", {"current_value": 5})
        assert (422, body) == (answer.status, answer.body)

    async def test_an_unknown_goal(self, call: Caller) -> None:
        """It has no progress, and an empty history."""
        answer = await call("PATCH", f"{GOALS}/nope/progress?current_value=1")
        assert (404, NO_GOAL) == (answer.status, answer.body)
        history = await call("GET", f"{GOALS}/nope/history")
        assert (200, b"[]") == (history.status, history.body)

    async def test_the_older_server_takes_nan(self, older: Caller) -> None:
        """And cannot answer any more."""
        assert 500 == (await older("PATCH", f"{GOALS}/{RUN}/progress?current_value=nan")).status
        assert 500 == (await older("GET", GOALS)).status


class TestHistory:
    async def test_the_newest_entry_comes_first(self, call: Caller) -> None:
        """`days` counts entries."""
        answer = await call("GET", f"{GOALS}/{RUN}/history?days=1")
        assert b'[{"date":"2026-09-20","value":6.5,"recorded_at":"2026-09-20T09:15:00Z"}]' == answer.body
        assert 3 == len(json.loads((await call("GET", f"{GOALS}/{RUN}/history")).body))

    @pytest.mark.parametrize(
        ("generation", "days", "status"),
        [("newest", 0, 422), ("newest", 366, 422), ("2026-05", 0, 200), ("2026-05", 366, 422), ("2026-05", -1, 500)],
    )
    async def test_numbers_out_of_range(self, generation: Any, days: int, status: int) -> None:
        """The older server has no lower bound; its times are written otherwise."""
        async with calling(Sandbox(generation=generation)) as call:
            answer = await call("GET", f"{GOALS}/{RUN}/history?days={days}")
            assert status == answer.status
            assert status != 200 or b'"recorded_at":"2026-09-20T09:15:00+00:00"' in answer.body


class TestDelete:
    async def test_the_newest_server_gives_up_instead(self, call: Caller) -> None:
        """The goal stays readable, a repeat is 200 and changes nothing."""
        for _ in range(2):
            assert SUCCESS == (await call("DELETE", f"{GOALS}/{RUN}")).body
        row = json.loads((await call("GET", f"{GOALS}/{RUN}")).body)
        assert ("abandoned", False, None) == (row["status"], row["is_active"], row["focus_rank"])
        assert RUN not in ids(await call("GET", GOALS))
        assert RUN in ids(await call("GET", f"{GOALS}?include_inactive=true"))
        assert [True, False] == [request.applied for request in call.sandbox.requests[:2]]
        assert NO_GOAL == (await call("DELETE", f"{GOALS}/nope")).body

    async def test_the_older_server_deletes(self, older: Caller) -> None:
        """The second one finds nothing."""
        assert [SUCCESS, NO_GOAL] == [(await older("DELETE", f"{GOALS}/{RUN}")).body for _ in range(2)]
        assert RUN not in older.sandbox.goals


class TestRules:
    async def test_scopes(self, call: Caller) -> None:
        """A key that may only read may not write."""
        answer = await call("PATCH", f"{GOALS}/{RUN}/progress", key=call.sandbox.read_only_key)
        expected = b'{"detail":"Insufficient permissions. Required scope: goals:write"}'
        assert (403, expected) == (answer.status, answer.body)

    @pytest.mark.parametrize(("generation", "status"), [("newest", 429), ("2026-05", 422)])
    async def test_windows(self, generation: Any, status: int) -> None:
        """Writes share one, reads another; the older server has none."""
        async with calling(Sandbox(write_limit=1, read_limit=1, generation=generation)) as call:
            writes = [
                await call("POST", GOALS, {}),
                await call("PATCH", f"{GOALS}/x", {}),
                await call("PATCH", f"{GOALS}/x/progress"),
                await call("DELETE", f"{GOALS}/x"),
                await call("POST", GOALS, {}),
                await call("POST", GOALS, {}),
            ]
            assert [422, 422, 422, 404, 422, status] == [answer.status for answer in writes]
            reads = [(await call("GET", path)).status for path in (GOALS, f"{GOALS}/x", f"{GOALS}/x/history")]
            assert [200, 404, 429 if status == 429 else 200] == reads

    def test_seeds(self) -> None:
        """Own ones take their place; texts and values are in no repr."""
        assert {} == Sandbox(goals=[]).goals
        with pytest.raises(ValueError, match="^goals has the id 'a' twice"):
            Sandbox(goals=[SandboxGoal("a"), SandboxGoal("a")])
        with pytest.raises(ValueError, match="horizon_at"):
            SandboxGoal("a", horizon_at=datetime(2026, 9, 1))
        assert "private" not in repr(
            SandboxGoal("a", "private", "private", "private", ("private",), metric={"unit": "private"})
        )
