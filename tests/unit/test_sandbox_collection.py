"""The sandbox lists and creates conversations as the real server does.

The bodies of refusals are compared byte for byte with what FastAPI 0.121, Starlette 0.49 and pydantic 2.11 send,
as read off a small replica of the handlers.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from omi_async.sandbox import Sandbox, SandboxConversation
from tests.support.caller import Answer, Caller, Clock, calling

ITEMS = "/v1/dev/user/conversations"
SEGMENTS = f"{ITEMS}/from-segments"
START = datetime(2026, 9, 1, tzinfo=UTC)
SEGMENT: dict[str, object] = {"text": "Hello there.", "start": 0.5, "end": 2.25}
AS_USUAL: dict[str, object] = {"transcript_segments": [SEGMENT]}

NO_KEY = b'{"detail":"Missing or invalid Authorization header. Must be \'Bearer API_KEY\'"}'
NO_SCOPE = b'{"detail":"Insufficient permissions. Required scope: conversations:write"}'


def problem(kind: str, place: str, message: str, echo: str, context: str = "") -> str:
    """One entry of a 422 as it is on the wire; *place*, *echo* and *context* are JSON."""
    end = f',"ctx":{context}' if context else ""
    return f'{{"type":"{kind}","loc":[{place}],"msg":"{message}","input":{echo}{end}}}'


def text_problem(place: str, echo: str) -> str:
    return problem("string_type", place, "Input should be a valid string", echo)


def date_problem(name: str, echo: str, trouble: str, place: str = "query") -> str:
    message = f"Input should be a valid datetime or date, {trouble}"
    return problem(
        "datetime_from_date_parsing", f'"{place}","{name}"', message, f'"{echo}"', f'{{"error":"{trouble}"}}'
    )


def number_problem(name: str, echo: str) -> str:
    message = "Input should be a valid integer, unable to parse string as an integer"
    return problem("int_parsing", f'"query","{name}"', message, f'"{echo}"')


def flag_problem(name: str, echo: str) -> str:
    message = "Input should be a valid boolean, unable to interpret input"
    return problem("bool_parsing", f'"query","{name}"', message, f'"{echo}"')


def refused(*problems: str) -> bytes:
    return f'{{"detail":[{",".join(problems)}]}}'.encode()


def created_body(name: str, status: str, discarded: str) -> bytes:
    row = f'"id":"{name}","status":"{status}","discarded":{discarded},"meeting_treatment_eligible":false'
    return f"{{{row}}}".encode()


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [row["id"] for row in json.loads(answer.body)]


def many(count: int) -> list[SandboxConversation]:
    """Conversations c0, c1, ... from the newest to the oldest, an hour apart."""
    return [
        SandboxConversation(
            id=f"c{index}",
            created_at=START - timedelta(hours=index),
            transcript_segments=[{"text": "Hello.", "start": 0, "end": 1}],
        )
        for index in range(count)
    ]


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling(Sandbox(write_limit=None)) as caller:
        yield caller


@pytest.fixture
async def empty() -> AsyncIterator[Caller]:
    async with calling(Sandbox([], write_limit=None)) as caller:
        yield caller


class TestList:
    async def test_the_answer_is_a_bare_array_of_what_get_answers(self, call: Caller) -> None:
        """Nothing stands around the rows; locked and discarded ones are missing; reading is enough of a scope."""
        answer = await call("GET", ITEMS, key=call.sandbox.read_only_key)
        names = ["conv_standup", "conv_design", "conv_lisbon", "conv_checkup"]
        single = [(await call("GET", f"{ITEMS}/{name}")).body for name in names]
        assert (200, b"[" + b",".join(single) + b"]") == (answer.status, answer.body)
        assert "application/json" == answer.headers["Content-Type"]

    async def test_the_newest_creation_comes_first(self, empty: Caller) -> None:
        """The order is that of `created_at`, not of the dictionary, and equals keep the dictionary's."""
        for name, day in (("b", 2), ("c", 3), ("a", 1), ("d", 3)):
            empty.sandbox.conversations[name] = SandboxConversation(id=name, created_at=START.replace(day=day))
        assert ["c", "d", "b", "a"] == ids(await empty("GET", ITEMS))

    @pytest.mark.parametrize(
        ("query", "first", "count"),
        [
            ("", 0, 25),
            ("limit=3", 0, 3),
            ("limit=200", 0, 200),
            ("limit=201", 0, 200),
            ("limit=99999999999999999999", 0, 200),
            ("limit=0", 0, 1),
            ("limit=-7", 0, 1),
            ("limit=%202.0%20", 0, 2),
            ("limit=2&limit=4", 0, 4),
            ("include_transcript=true", 0, 25),
            ("include_transcript=true&limit=201", 0, 200),
            ("offset=-3&limit=2", 0, 2),
            ("offset=2&limit=2", 2, 2),
            ("offset=200&limit=200", 200, 5),
            ("offset=205", 0, 0),
            ("offset=99999999999999999999", 0, 0),
            ("page=2&Limit=2", 0, 25),
        ],
    )
    async def test_pages_are_cut_without_a_word(self, query: str, first: int, count: int) -> None:
        """Limits out of range become the nearest in range, a negative offset 0; unknown names are ignored."""
        async with calling(Sandbox(many(205))) as call:
            assert [f"c{first + each}" for each in range(count)] == ids(await call("GET", f"{ITEMS}?{query}"))

    @pytest.mark.parametrize(
        ("query", "expected"),
        [("limit=2", []), ("limit=2&offset=1", ["c2"]), ("limit=2&offset=2", ["c2", "c3"]), ("", ["c2", "c3"])],
    )
    async def test_locked_ones_leave_holes_in_pages(self, query: str, expected: list[str]) -> None:
        """They are dropped after paging: a page may be short or empty while more follow."""
        conversations = many(4)
        conversations[0].locked = conversations[1].locked = True
        async with calling(Sandbox(conversations)) as call:
            assert expected == ids(await call("GET", f"{ITEMS}?{query}"))

    @pytest.mark.parametrize("change", [{"discarded": True}, {"status": "processing"}, {"status": "failed"}])
    async def test_discarded_and_unfinished_ones_take_no_place(self, change: dict[str, Any]) -> None:
        """They are left out before paging, and are found by id nevertheless."""
        conversations = many(3)
        for name, value in change.items():
            setattr(conversations[0], name, value)
        async with calling(Sandbox(conversations)) as call:
            assert ["c1", "c2"] == ids(await call("GET", f"{ITEMS}?limit=2"))
            assert 200 == (await call("GET", f"{ITEMS}/c0")).status

    async def test_what_cannot_be_sent_is_dropped_after_paging(
        self, call: Caller, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A broken record is missing from its page and named in the log; by id it is a 500."""
        call.sandbox.conversations["conv_standup"].events = [{"title": "no start"}]
        assert ["conv_design"] == ids(await call("GET", f"{ITEMS}?limit=2"))
        assert ["WARNING"] == [entry.levelname for entry in caplog.records]
        assert "conv_standup" in caplog.text
        assert 500 == (await call("GET", f"{ITEMS}/conv_standup")).status

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("start_date=2026-08-31T22:00:00Z", "c0 c1 c2"),
            ("start_date=2026-08-31T22:00:00.000001Z", "c0 c1"),
            ("end_date=2026-08-31T22:00:00Z", "c2 c3 c4 c5"),
            ("end_date=2026-08-31T21:59:59.999999", "c3 c4 c5"),
            ("start_date=2026-09-01", "c0"),
            ("start_date=2026-09-01T01:00:00%2B02:00", "c0 c1"),
            ("start_date=2026-08-31T18:00:00%E2%88%9205:00", "c0 c1"),
            ("start_date=2026-08-31_23:00&end_date=2026-08-31t23:00z", "c1"),
            ("start_date=1788217200&end_date=1788217200000", "c1"),
            ("start_date=2026-09-02", ""),
            ("categories=work", "c0 c2 c4"),
            ("categories=work,%20travel,,", "c0 c2 c4 c5"),
            ("categories=", "c0 c1 c2 c3 c4 c5"),
            ("categories=,", "c0 c1 c2 c3 c4 c5"),
            ("categories=music", ""),
            ("folder_id=f1", "c0 c3"),
            ("folder_id=F1", ""),
            ("starred=true", "c1 c3"),
            ("starred=0", "c0 c2 c4 c5"),
            ("starred=on&folder_id=f1&end_date=2026-09-01", "c3"),
            ("categories=work&limit=1&offset=1", "c2"),
        ],
    )
    async def test_filters_choose_before_paging(self, query: str, expected: str) -> None:
        """Both ends of a time span belong to it, times without a zone are UTC, and all filters must fit."""
        conversations = many(6)
        for index, category in enumerate(("work", "other", "work", "other", "work", "travel")):
            conversations[index].category = category
            conversations[index].folder_id = "f1" if index % 3 == 0 else None
            conversations[index].starred = index in {1, 3}
        async with calling(Sandbox(conversations)) as call:
            assert expected.split() == ids(await call("GET", f"{ITEMS}?{query}"))

    @pytest.mark.parametrize(("query", "expected"), [("", [None, None]), ("?include_transcript=yes", [["Hello."], []])])
    async def test_transcripts_come_only_on_request(self, query: str, expected: list[list[str] | None]) -> None:
        """Without include_transcript they are null, with it a list, be it empty."""
        conversations = many(2)
        conversations[1].transcript_segments = []
        async with calling(Sandbox(conversations)) as call:
            rows = [row["transcript_segments"] for row in json.loads((await call("GET", ITEMS + query)).body)]
        assert expected == [None if row is None else [segment["text"] for segment in row] for row in rows]

    @pytest.mark.parametrize("categories", ["foo", "work, Work ,foo", "it's"])
    async def test_an_unknown_category_is_400(self, call: Caller, categories: str) -> None:
        """It is not repeated."""
        answer = await call("GET", f"{ITEMS}?categories={quote(categories)}")
        assert (400, b'{"detail":"Invalid category. Please provide a valid category."}') == (answer.status, answer.body)

    @pytest.mark.parametrize(
        ("query", "problems"),
        [
            ("limit=", [number_problem("limit", "")]),
            ("limit=ten", [number_problem("limit", "ten")]),
            ("limit=1.5", [number_problem("limit", "1.5")]),
            ("limit=1e2", [number_problem("limit", "1e2")]),
            ("offset=x", [number_problem("offset", "x")]),
            ("include_transcript=", [flag_problem("include_transcript", "")]),
            ("starred=maybe", [flag_problem("starred", "maybe")]),
            ("start_date=", [date_problem("start_date", "", "input is too short")]),
            ("start_date=yesterday!", [date_problem("start_date", "yesterday!", "invalid character in year")]),
            ("end_date=2026/09/01", [date_problem("end_date", "2026/09/01", "invalid date separator, expected `-`")]),
            (
                "end_date=2026-13-01",
                [date_problem("end_date", "2026-13-01", "month value is outside expected range of 1-12")],
            ),
            ("end_date=2026-x3-01", [date_problem("end_date", "2026-x3-01", "invalid character in month")]),
            ("end_date=2026-03/01", [date_problem("end_date", "2026-03/01", "invalid date separator, expected `-`")]),
            ("end_date=2026-03-x1", [date_problem("end_date", "2026-03-x1", "invalid character in day")]),
            ("end_date=2026-02-29", [date_problem("end_date", "2026-02-29", "day value is outside expected range")]),
            (
                "limit=" + "1" * 4301,
                [
                    problem(
                        "int_parsing_size",
                        '"query","limit"',
                        "Unable to parse input string as an integer, exceeded maximum size",
                        '"' + "1" * 4301 + '"',
                    )
                ],
            ),
            (
                "end_date=2026-09-01T24:00:00Z",
                [
                    date_problem(
                        "end_date", "2026-09-01T24:00:00Z", "unexpected extra characters at the end of the input"
                    )
                ],
            ),
            (
                # A plus sign that was not quoted arrives as a blank.
                "start_date=2026-09-01T10:00:00+02:00",
                [
                    date_problem(
                        "start_date", "2026-09-01T10:00:00 02:00", "unexpected extra characters at the end of the input"
                    )
                ],
            ),
            (
                "start_date=999999999999999",
                [
                    date_problem(
                        "start_date", "999999999999999", "dates after 9999 are not supported as unix timestamps"
                    )
                ],
            ),
            (
                "start_date=-99999999999999",
                [
                    date_problem(
                        "start_date", "-99999999999999", "dates before 0000 are not supported as unix timestamps"
                    )
                ],
            ),
            (
                "start_date=0000-01-01",
                [
                    problem(
                        "datetime_parsing",
                        '"query","start_date"',
                        "Input should be a valid datetime, year 0 is out of range",
                        '"0000-01-01"',
                        '{"error":"year 0 is out of range"}',
                    )
                ],
            ),
            (
                "folder_id=",
                [
                    problem(
                        "string_too_short",
                        '"query","folder_id"',
                        "String should have at least 1 character",
                        '""',
                        '{"min_length":1}',
                    )
                ],
            ),
            (
                "starred=z&offset=y&categories=foo&limit=x&start_date=q",
                [
                    date_problem("start_date", "q", "input is too short"),
                    number_problem("limit", "x"),
                    number_problem("offset", "y"),
                    flag_problem("starred", "z"),
                ],
            ),
        ],
    )
    async def test_malformed_values_are_422(self, call: Caller, query: str, problems: list[str]) -> None:
        """Every bad value is named, in the order of the endpoint's parameters."""
        answer = await call("GET", f"{ITEMS}?{query}")
        assert (422, refused(*problems)) == (answer.status, answer.body)

    async def test_the_key_comes_before_the_query(self, call: Caller) -> None:
        """Without a key nothing is said about a bad value."""
        answer = await call("GET", f"{ITEMS}?limit=x", key=None)
        assert (401, NO_KEY) == (answer.status, answer.body)


_TEXT: dict[str, object] = {"text": "hello"}


class TestCreate:
    async def test_a_text_becomes_a_conversation(self, empty: Caller) -> None:
        """The answer is id, status and discarded; the rest is made of the text without any model."""
        before = datetime.now(UTC)
        answer = await empty(
            "POST", ITEMS, {"text": " One two three\nfour five six seven. ", "started_at": "2026-09-01T08:00:00Z"}
        )
        (created,) = empty.sandbox.conversations.values()
        assert (
            200,
            f'{{"id":"{created.id}","status":"completed","discarded":false,"meeting_treatment_eligible":false}}'.encode(),
        ) == (
            answer.status,
            answer.body,
        )
        assert str(uuid.UUID(created.id)) == created.id
        assert before <= created.created_at <= datetime.now(UTC)
        assert {
            "id": created.id,
            "created_at": created.created_at.isoformat().replace("+00:00", "Z"),
            "started_at": "2026-09-01T08:00:00Z",
            "finished_at": "2026-09-01T08:05:00Z",
            "structured": {
                "title": "One two three four five six",
                "overview": "One two three\nfour five six seven.",
                "emoji": "🧠",
                "category": "other",
                "action_items": [],
                "events": [],
            },
            "language": "en",
            "source": "external_integration",
            "transcript_segments": [],
            "geolocation": None,
            "folder_id": None,
            "folder_name": None,
        } == json.loads((await empty("GET", f"{ITEMS}/{created.id}?include_transcript=1")).body)
        assert [(200, True), (200, False)] == [(each.status, each.applied) for each in empty.sandbox.requests]

    async def test_every_call_creates_another(self, empty: Caller) -> None:
        """Nothing tells a repeat from a new conversation; all of them are listed."""
        for _ in range(3):
            assert (await empty("POST", ITEMS, _TEXT)).status == 200
        assert 3 == len(empty.sandbox.conversations)
        assert set(empty.sandbox.conversations) == set(ids(await empty("GET", ITEMS)))

    @pytest.mark.parametrize(
        ("sent", "field", "stored"),
        [
            ({"started_at": "2026-09-01T10:00:00+02:00"}, "started_at", START.replace(hour=8)),
            ({"started_at": "2026-09-01"}, "started_at", START),
            ({"started_at": 1788220800}, "started_at", START),
            ({"started_at": 1788220800000.0}, "finished_at", START + timedelta(minutes=5)),
            ({"started_at": "2026-09-01", "finished_at": "2026-09-01"}, "finished_at", START),
            ({"language": None}, "language", "en"),
            ({"language": ""}, "language", "en"),
            ({"language": "pt"}, "language", "pt"),
            (
                {"text_source": "message", "text_source_spec": "slack", "source": "omi"},
                "source",
                "external_integration",
            ),
            ({"text": "é" * 100_000}, "title", "é" * 500),
            (
                {"geolocation": {"latitude": "1.5", "longitude": -180}},
                "geolocation",
                {
                    "google_place_id": None,
                    "latitude": 1.5,
                    "longitude": -180.0,
                    "address": None,
                    "location_type": None,
                },
            ),
            ({"geolocation": {"latitude": 90.5, "longitude": 0}}, "geolocation", None),
            ({"geolocation": {"latitude": -90.5, "longitude": 0}}, "geolocation", None),
            ({"geolocation": {"latitude": 0, "longitude": 180.5}}, "geolocation", None),
            ({"geolocation": None}, "geolocation", None),
        ],
    )
    async def test_what_is_given_is_kept(
        self, empty: Caller, sent: dict[str, object], field: str, stored: object
    ) -> None:
        """Times without a zone are UTC, unknown fields are ignored, places off the Earth are forgotten."""
        assert 200 == (await empty("POST", ITEMS, {**_TEXT, **sent})).status
        (created,) = empty.sandbox.conversations.values()
        assert stored == getattr(created, field)

    @pytest.mark.parametrize(
        ("sent", "detail"),
        [
            ({"text": " \n"}, "text cannot be empty"),
            (
                {**_TEXT, "started_at": "2026-09-01T00:00:00Z", "finished_at": "2026-08-31T23:59:59Z"},
                "finished_at must be after started_at",
            ),
        ],
    )
    async def test_some_refusals_are_plain_text(self, empty: Caller, sent: dict[str, object], detail: str) -> None:
        """What the handler checks itself is 422 with a text for `detail`."""
        answer = await empty("POST", ITEMS, sent)
        assert (422, f'{{"detail":"{detail}"}}'.encode()) == (answer.status, answer.body)
        assert {} == empty.sandbox.conversations

    @pytest.mark.parametrize(
        ("sent", "problems"),
        [
            (b"", [problem("missing", '"body"', "Field required", "null")]),
            (
                b'["a"]',
                [
                    problem(
                        "model_attributes_type",
                        '"body"',
                        "Input should be a valid dictionary or object to extract fields from",
                        '["a"]',
                    )
                ],
            ),
            (b'{"language":"en"}', [problem("missing", '"body","text"', "Field required", '{"language":"en"}')]),
            (b'{"text":null}', [text_problem('"body","text"', "null")]),
            (
                b'{"text":""}',
                [
                    problem(
                        "string_too_short",
                        '"body","text"',
                        "String should have at least 1 character",
                        '""',
                        '{"min_length":1}',
                    )
                ],
            ),
            (
                b'{"text":"' + b" " * 100_001 + b'"}',
                [
                    problem(
                        "string_too_long",
                        '"body","text"',
                        "String should have at most 100000 characters",
                        '"' + " " * 100_001 + '"',
                        '{"max_length":100000}',
                    )
                ],
            ),
            (
                b'{"text":"a","text_source":null}',
                [
                    problem(
                        "enum",
                        '"body","text_source"',
                        "Input should be 'audio_transcript', 'message' or 'other_text'",
                        "null",
                        "{\"expected\":\"'audio_transcript', 'message' or 'other_text'\"}",
                    )
                ],
            ),
            (
                b'{"text":"a","started_at":true}',
                [problem("datetime_type", '"body","started_at"', "Input should be a valid datetime", "true")],
            ),
            (
                b'{"text":"a","started_at":1e30}',
                [
                    problem(
                        "datetime_parsing",
                        '"body","started_at"',
                        "Input should be a valid datetime, dates after 9999 are not supported as unix timestamps",
                        "1e+30",
                        '{"error":"dates after 9999 are not supported as unix timestamps"}',
                    )
                ],
            ),
            (
                b'{"language":5,"text":"a","finished_at":"soon"}',
                [
                    date_problem("finished_at", "soon", "input is too short", place="body"),
                    text_problem('"body","language"', "5"),
                ],
            ),
            (
                b'{"text":"a","geolocation":{"latitude":"\xd9\xa3","address":5}}',
                [
                    problem(
                        "float_parsing",
                        '"body","geolocation","latitude"',
                        "Input should be a valid number, unable to parse string as a number",
                        '"٣"',
                    ),
                    problem(
                        "missing",
                        '"body","geolocation","longitude"',
                        "Field required",
                        '{"latitude":"٣","address":5}',
                    ),
                    text_problem('"body","geolocation","address"', "5"),
                ],
            ),
        ],
    )
    async def test_each_schema_refusal_is_worded_as_by_pydantic(
        self, empty: Caller, sent: bytes, problems: list[str]
    ) -> None:
        """Every bad field is named in the order of the schema, and nothing is created."""
        answer = await empty("POST", ITEMS, body=sent)
        assert (422, refused(*problems)) == (answer.status, answer.body)
        assert {} == empty.sandbox.conversations
        assert not empty.sandbox.requests[0].applied

    @pytest.mark.parametrize(
        "sent",
        [
            b'{"text":"a","started_at":"2026-09-01T00:00:00Z","finished_at":"2026-09-02T00:00:00"}',
            b'{"text":"a","started_at":"9999-12-31T23:59:59Z"}',
            b'{"text":NaN}',
        ],
    )
    async def test_what_breaks_the_real_server_is_a_bare_500(self, empty: Caller, sent: bytes) -> None:
        """A zone in one time only, an end beyond all time, an echo that is no JSON: nothing is created."""
        answer = await empty("POST", ITEMS, body=sent)
        assert (500, b"Internal Server Error") == (answer.status, answer.body)
        assert {} == empty.sandbox.conversations

    @pytest.mark.parametrize("path", [ITEMS, SEGMENTS])
    async def test_broken_json_key_scope_and_schema_come_in_this_order(self, empty: Caller, path: str) -> None:
        """Broken JSON needs no key, and a bad body is not looked at for a key that may not write."""
        answers = [
            await empty("POST", path, body=b"{", key=None),
            await empty("POST", path, {}, key=None),
            await empty("POST", path, {}, key=empty.sandbox.read_only_key),
            await empty("POST", path, {}),
        ]
        assert [422, 401, 403, 422] == [answer.status for answer in answers]
        assert b'"json_invalid"' in answers[0].body
        assert [NO_KEY, NO_SCOPE] == [answer.body for answer in answers[1:3]]
        assert b'"missing"' in answers[3].body


_SOURCES = (
    "'friend', 'omi', 'fieldy', 'bee', 'plaud', 'frame', 'friend_com', 'apple_watch', 'phone', 'phone_call', "
    "'desktop', 'openglass', 'screenpipe', 'workflow', 'sdcard', 'external_integration', 'limitless', "
    "'rayban_meta', 'onboarding' or 'unknown'"
)
_NO_SOURCE = problem("enum", '"body","source"', f"Input should be {_SOURCES}", "1", f'{{"expected":"{_SOURCES}"}}')


def _in_segment(field: str) -> str:
    return f'"body","transcript_segments",0,"{field}"'


class TestCreateFromSegments:
    async def test_a_transcript_becomes_a_conversation(self, empty: Caller) -> None:
        """It ends with its last segment, comes from the phone, and is named by its first words."""
        segments = [
            {"text": " One two three. ", "start": 0, "end": 4},
            {"text": "Four five six seven.", "start": 4, "end": 7.5},
        ]
        answer = await empty("POST", SEGMENTS, {"transcript_segments": segments, "started_at": "2026-09-01T08:00:00Z"})
        (created,) = empty.sandbox.conversations.values()
        assert (
            200,
            f'{{"id":"{created.id}","status":"completed","discarded":false,"meeting_treatment_eligible":false}}'.encode(),
        ) == (
            answer.status,
            answer.body,
        )
        assert ("One two three. Four five six", "One two three. Four five six seven.", "other", "en", "phone") == (
            created.title,
            created.overview,
            created.category,
            created.language,
            created.source,
        )
        assert START.replace(hour=8, second=7, microsecond=500_000) == created.finished_at
        assert [("One two three.", 0.0, 4.0), ("Four five six seven.", 4.0, 7.5)] == [
            (segment["text"], segment["start"], segment["end"]) for segment in created.transcript_segments
        ]
        assert 2 == len({segment["id"] for segment in created.transcript_segments})
        assert [created.id] == ids(await empty("GET", ITEMS))
        assert [(200, True), (200, False)] == [(each.status, each.applied) for each in empty.sandbox.requests]

    async def test_without_a_session_every_call_creates_another(self, empty: Caller) -> None:
        """A null session is none."""
        for session in ({}, {}, {"client_session_id": None}):
            assert 200 == (await empty("POST", SEGMENTS, {**AS_USUAL, **session})).status
        assert 3 == len(empty.sandbox.conversations)

    @pytest.mark.parametrize("name", ["client_session_id", "client_conversation_id", "session_id", "client_id"])
    async def test_a_session_creates_once(self, empty: Caller, name: str) -> None:
        """Under whatever name and with blanks around it, a repeat answers the first result and changes nothing."""
        first = await empty("POST", SEGMENTS, {**AS_USUAL, name: "session-1"})
        again = await empty(
            "POST",
            SEGMENTS,
            {"transcript_segments": [{**SEGMENT, "text": "Else."}], "client_session_id": " session-1 "},
        )
        other = await empty("POST", SEGMENTS, {**AS_USUAL, name: "session-2"})
        assert (200, first.body) == (again.status, again.body)
        assert first.body != other.body
        assert ["Hello there."] * 2 == [each.title for each in empty.sandbox.conversations.values()]
        assert [True, False, True] == [each.applied for each in empty.sandbox.requests]

    async def test_sessions_have_the_same_id_in_every_sandbox(self) -> None:
        """The id is made of user and session only."""
        found = []
        for _ in range(2):
            async with calling(Sandbox([])) as call:
                found.append((await call("POST", SEGMENTS, {**AS_USUAL, "client_session_id": "s"})).body)
        assert found[0] == found[1]

    async def test_the_first_name_with_a_session_counts(self, empty: Caller) -> None:
        """Of several names the server's own wins, even with null."""
        both = {"client_session_id": "a", "client_id": "b"}
        first = await empty("POST", SEGMENTS, {**AS_USUAL, **both})
        assert first.body == (await empty("POST", SEGMENTS, {**AS_USUAL, "client_id": "a"})).body
        swapped = {"client_id": "b", "session_id": "b", "client_conversation_id": "a"}
        assert first.body == (await empty("POST", SEGMENTS, {**AS_USUAL, **swapped})).body
        for _ in range(2):
            await empty("POST", SEGMENTS, {**AS_USUAL, "client_session_id": None, "client_id": "a"})
        assert 3 == len(empty.sandbox.conversations)

    async def test_a_repeat_answers_what_the_conversation_is_now(self, empty: Caller) -> None:
        """A hidden or unfinished conversation is answered as such."""
        sent = {**AS_USUAL, "client_session_id": "s"}
        await empty("POST", SEGMENTS, sent)
        (created,) = empty.sandbox.conversations.values()
        created.discarded, created.status = True, "processing"
        answer = await empty("POST", SEGMENTS, sent)
        expected = {
            "id": created.id,
            "status": "processing",
            "discarded": True,
            "meeting_treatment_eligible": False,
        }
        assert (200, expected) == (answer.status, json.loads(answer.body))

    async def test_a_deleted_session_is_not_created_again(self, empty: Caller) -> None:
        """After its deletion a repeat is 200 with the same id, `deleted`, and nothing to read."""
        sent = {**AS_USUAL, "client_session_id": "s"}
        await empty("POST", SEGMENTS, sent)
        (name,) = empty.sandbox.conversations
        assert 200 == (await empty("DELETE", f"{ITEMS}/{name}")).status
        for _ in range(2):
            answer = await empty("POST", SEGMENTS, sent)
            assert (
                200,
                f'{{"id":"{name}","status":"deleted","discarded":true,"meeting_treatment_eligible":false}}'.encode(),
            ) == (
                answer.status,
                answer.body,
            )
        assert {} == empty.sandbox.conversations
        assert [True, True, False, False] == [each.applied for each in empty.sandbox.requests]
        assert 404 == (await empty("GET", f"{ITEMS}/{name}")).status

    async def test_taking_a_conversation_out_by_hand_is_no_deletion(self, empty: Caller) -> None:
        """Only a DELETE leaves something behind: an emptied dictionary is a fresh start."""
        sent = {**AS_USUAL, "client_session_id": "s"}
        first = await empty("POST", SEGMENTS, sent)
        empty.sandbox.conversations.clear()
        assert first.body == (await empty("POST", SEGMENTS, sent)).body
        assert 1 == len(empty.sandbox.conversations)

    @pytest.mark.parametrize(("session", "filed"), [({}, False), ({"session_id": "s"}, True)])
    async def test_a_session_is_filed_under_its_beginning(
        self, empty: Caller, session: dict[str, object], filed: bool
    ) -> None:
        """Only with a session does `created_at` follow `started_at`, and with it the place in the list."""
        await empty("POST", SEGMENTS, {**AS_USUAL, **session, "started_at": "2020-01-01T00:00:00Z"})
        (created,) = empty.sandbox.conversations.values()
        assert filed is (created.created_at == created.started_at)

    @pytest.mark.parametrize(
        ("sent", "speaker_id"),
        [
            ({}, 0),
            ({"speaker": "SPEAKER_03"}, 3),
            ({"speaker": "Anna"}, 0),
            ({"speaker": "SPEAKER_x"}, 0),
            ({"speaker": None}, 0),
            ({"speaker": "SPEAKER_03", "speaker_id": 7}, 7),
            ({"speaker_id": "7"}, 7),
            ({"speaker_id": 7.0, "is_user": "yes", "person_id": "p"}, 7),
        ],
    )
    async def test_speakers_are_numbered(self, empty: Caller, sent: dict[str, object], speaker_id: int) -> None:
        """The number is the given one, or that in the speaker's name, or 0."""
        await empty("POST", SEGMENTS, {"transcript_segments": [{**SEGMENT, **sent}]})
        (created,) = empty.sandbox.conversations.values()
        assert speaker_id == created.transcript_segments[0]["speaker_id"]

    @pytest.mark.parametrize(
        ("sent", "stored"),
        [({}, "phone"), ({"source": None}, "phone"), ({"source": "omi"}, "omi"), ({"source": "typewriter"}, "unknown")],
    )
    async def test_unheard_of_sources_are_unknown(self, empty: Caller, sent: dict[str, object], stored: str) -> None:
        """A text that is no known source is taken, as `unknown`."""
        await empty("POST", SEGMENTS, {**AS_USUAL, **sent})
        (created,) = empty.sandbox.conversations.values()
        assert stored == created.source

    @pytest.mark.parametrize(
        ("segment", "detail"),
        [
            ({"start": 1, "end": 1}, "Segment 1: end time must be after start time"),
            ({"start": -1, "end": -2}, "Segment 1: end time must be after start time"),
            ({"start": -1}, "Segment 1: start time cannot be negative"),
            ({"text": ""}, "Segment 1: text cannot be empty"),
            ({"text": " \t"}, "Segment 1: text cannot be empty"),
        ],
    )
    async def test_senseless_segments_are_refused_with_a_text(
        self, empty: Caller, segment: dict[str, object], detail: str
    ) -> None:
        """The first bad segment is named by its place, and nothing is created."""
        body = {"transcript_segments": [SEGMENT, {**SEGMENT, **segment}, {"text": "", "start": 0, "end": 0}]}
        answer = await empty("POST", SEGMENTS, {**body, "client_session_id": "s"})
        assert (422, f'{{"detail":"{detail}"}}'.encode()) == (answer.status, answer.body)
        assert {} == empty.sandbox.conversations

    async def test_it_must_not_end_with_its_beginning(self, empty: Caller) -> None:
        """Here the end must be later, not merely not earlier."""
        answer = await empty(
            "POST", SEGMENTS, {**AS_USUAL, "started_at": "2026-09-01T00:00:00Z", "finished_at": 1788220800}
        )
        assert (422, b'{"detail":"finished_at must be after started_at"}') == (answer.status, answer.body)

    @pytest.mark.parametrize("count", [1, 500])
    async def test_any_allowed_number_of_segments_is_taken(self, empty: Caller, count: int) -> None:
        """From 1 to 500."""
        assert 200 == (await empty("POST", SEGMENTS, {"transcript_segments": [SEGMENT] * count})).status

    @pytest.mark.parametrize(
        ("sent", "problems"),
        [
            (
                {"client_session_id": "s"},
                [problem("missing", '"body","transcript_segments"', "Field required", '{"client_session_id":"s"}')],
            ),
            (
                {"transcript_segments": "a"},
                [problem("list_type", '"body","transcript_segments"', "Input should be a valid list", '"a"')],
            ),
            (
                {"transcript_segments": []},
                [
                    problem(
                        "too_short",
                        '"body","transcript_segments"',
                        "List should have at least 1 item after validation, not 0",
                        "[]",
                        '{"field_type":"List","min_length":1,"actual_length":0}',
                    )
                ],
            ),
            (
                {"transcript_segments": [5] * 501},
                [
                    problem(
                        "too_long",
                        '"body","transcript_segments"',
                        "List should have at most 500 items after validation, not 501",
                        "[" + ",".join(["5"] * 501) + "]",
                        '{"field_type":"List","max_length":500,"actual_length":501}',
                    )
                ],
            ),
            (
                {"transcript_segments": [{"end": None, "is_user": None, "speaker_id": 1.5, "text": 5}], "source": 1},
                [
                    text_problem(_in_segment("text"), "5"),
                    problem(
                        "int_from_float",
                        _in_segment("speaker_id"),
                        "Input should be a valid integer, got a number with a fractional part",
                        "1.5",
                    ),
                    problem("bool_type", _in_segment("is_user"), "Input should be a valid boolean", "null"),
                    problem(
                        "missing",
                        _in_segment("start"),
                        "Field required",
                        '{"end":null,"is_user":null,"speaker_id":1.5,"text":5}',
                    ),
                    problem("float_type", _in_segment("end"), "Input should be a valid number", "null"),
                    _NO_SOURCE,
                ],
            ),
            (
                {"transcript_segments": [{**SEGMENT, "speaker_id": []}, 7]},
                [
                    problem("int_type", _in_segment("speaker_id"), "Input should be a valid integer", "[]"),
                    problem(
                        "model_attributes_type",
                        '"body","transcript_segments",1',
                        "Input should be a valid dictionary or object to extract fields from",
                        "7",
                    ),
                ],
            ),
            (
                {"transcript_segments": [{**SEGMENT, "speaker_id": 1e30}]},
                [
                    problem(
                        "int_parsing_size",
                        _in_segment("speaker_id"),
                        "Unable to parse input string as an integer, exceeded maximum size",
                        "1e+30",
                    )
                ],
            ),
            (
                {**AS_USUAL, "session_id": "", "client_id": "s"},
                [
                    problem(
                        "string_too_short",
                        '"body","session_id"',
                        "String should have at least 1 character",
                        '""',
                        '{"min_length":1}',
                    )
                ],
            ),
            (
                {**AS_USUAL, "client_id": "s" * 201},
                [
                    problem(
                        "string_too_long",
                        '"body","client_id"',
                        "String should have at most 200 characters",
                        '"' + "s" * 201 + '"',
                        '{"max_length":200}',
                    )
                ],
            ),
            (
                {**AS_USUAL, "client_session_id": " "},
                [
                    problem(
                        "value_error",
                        '"body","client_session_id"',
                        "Value error, client_session_id cannot be empty",
                        '" "',
                        '{"error":{}}',
                    )
                ],
            ),
        ],
    )
    async def test_each_schema_refusal_is_worded_as_by_pydantic(
        self, empty: Caller, sent: dict[str, object], problems: list[str]
    ) -> None:
        """Every bad field is named where it stands, and nothing is created."""
        answer = await empty("POST", SEGMENTS, sent)
        assert (422, refused(*problems)) == (answer.status, answer.body)
        assert {} == empty.sandbox.conversations


class TestRoutes:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", SEGMENTS, 404),
            ("PATCH", SEGMENTS, 404),
            ("DELETE", SEGMENTS, 404),
            ("PUT", SEGMENTS, 405),
            ("PUT", ITEMS, 405),
            ("PATCH", ITEMS, 405),
            ("DELETE", ITEMS, 405),
            ("POST", f"{ITEMS}/conv_standup", 405),
            ("POST", f"{SEGMENTS}/x", 404),
            ("POST", f"{SEGMENTS}/", 307),
            ("POST", f"{ITEMS}/", 307),
        ],
    )
    async def test_the_first_route_for_path_and_verb_is_taken(
        self, call: Caller, method: str, path: str, status: int
    ) -> None:
        """`from-segments` is a conversation's id to every verb but POST; a 405 names the path's first verb."""
        answer = await call(method, path, body=b'{"title":"x"}')
        assert status == answer.status
        assert ("GET" if status == 405 else None) == answer.headers.get("Allow")
        if status == 307:
            assert call.sandbox.url + path.rstrip("/") == answer.headers["Location"]

    async def test_a_conversation_of_that_name_can_be_read_and_changed(self, call: Caller) -> None:
        """Nothing but POST stands in the way of an id `from-segments`."""
        call.sandbox.conversations["from-segments"] = SandboxConversation(id="from-segments")
        assert 200 == (await call("GET", SEGMENTS)).status
        assert 200 == (await call("PATCH", SEGMENTS, {"title": "Named"})).status
        assert 200 == (await call("POST", SEGMENTS, AS_USUAL)).status
        assert 200 == (await call("DELETE", SEGMENTS)).status
        assert "from-segments" not in call.sandbox.conversations


LIST, ONE = ITEMS, f"{ITEMS}/conv_standup"
TRANSCRIPT = "?include_transcript=true"


class TestRateWindows:
    async def test_creates_share_the_window_of_the_other_writes(self) -> None:
        """A refused create creates nothing; what the handler refuses costs as much as what it takes."""
        async with calling(Sandbox(write_limit=4)) as call:
            statuses = [
                (await call("POST", ITEMS, _TEXT)).status,
                (await call("POST", SEGMENTS, {})).status,
                (await call("PATCH", ONE, {"title": "x"})).status,
                (await call("POST", SEGMENTS, AS_USUAL)).status,
                (await call("POST", SEGMENTS, AS_USUAL)).status,
                (await call("POST", ITEMS, _TEXT)).status,
            ]
            assert [200, 422, 200, 200, 429, 429] == statuses
            assert 8 == len(call.sandbox.conversations)

    async def test_by_default_reads_have_no_limit(self, call: Caller) -> None:
        """More reads than the real server allows are answered, with transcripts as well."""
        for _ in range(61):
            assert 200 == (await call("GET", LIST + TRANSCRIPT)).status

    @pytest.mark.parametrize(
        ("settings", "reads", "refused_at"),
        [
            ({"read_limit": 2}, [LIST, LIST, LIST], 2),
            ({"read_limit": 2}, [ONE, ONE, ONE], 2),
            ({"read_limit": 2}, [LIST, ONE, LIST], 2),
            ({"read_limit": 0}, [ONE], 0),
            ({"read_limit": 2}, [f"{ITEMS}/missing", f"{LIST}?limit=x", ONE], 2),
            ({"transcript_limit": 2}, [LIST + TRANSCRIPT, LIST, ONE, ONE + TRANSCRIPT, ONE, LIST + TRANSCRIPT], 5),
            ({"transcript_limit": 1}, [f"{LIST}?include_transcript=x", ONE + TRANSCRIPT, ONE + TRANSCRIPT], 2),
            ({"transcript_limit": 1}, [f"{LIST}{TRANSCRIPT}&categories=foo", ONE + TRANSCRIPT], 1),
            ({"read_limit": 2, "transcript_limit": 9}, [ONE + TRANSCRIPT, ONE + TRANSCRIPT, ONE], 2),
        ],
    )
    async def test_reads_are_counted(self, settings: dict[str, int], reads: list[str], refused_at: int) -> None:
        """All reads share one limit, those with transcripts another; a refused value costs the first only."""
        async with calling(Sandbox(**settings)) as call:  # type: ignore[arg-type]
            answers = [await call("GET", path) for path in reads]
        assert [refused_at] == [index for index, answer in enumerate(answers) if answer.status == 429]
        limit = str(next(iter(settings.values())))
        assert (limit, "0", "3600") == tuple(
            answers[refused_at].headers[name] for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "Retry-After")
        )

    @pytest.mark.parametrize(("early", "late"), [(ONE, LIST), (LIST, ONE)])
    async def test_each_kind_of_read_has_a_window_of_its_own(self, early: str, late: str) -> None:
        """When the common window ends, reads that came late in it are still held against their own kind's."""
        clock = Clock()
        async with calling(Sandbox(read_limit=3, clock=clock)) as call:
            assert 200 == (await call("GET", early)).status
            clock.now += 3000
            for _ in range(2):
                assert 200 == (await call("GET", late)).status
            clock.now += 600
            assert [200, 429] == [(await call("GET", late)).status for _ in range(2)]
            answer = await call("GET", late)
            assert (429, "3000") == (answer.status, answer.headers["Retry-After"])

    async def test_keys_do_not_share_windows_and_strangers_spend_nothing(self) -> None:
        """Each key has its own; writes and requests without a key leave the reads alone."""
        async with calling(Sandbox(read_limit=1)) as call:
            await call("GET", LIST, key=None)
            await call("POST", ITEMS, _TEXT)
            assert 200 == (await call("GET", LIST)).status
            assert 200 == (await call("GET", LIST, key=call.sandbox.read_only_key)).status
            assert 429 == (await call("GET", LIST)).status


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "created"),
        [
            ({"close": "after"}, 1),
            ({"close": "before"}, 0),
            ({"status": 504, "apply": True}, 1),
            ({"status": 500}, 0),
            ({"delay": 0.01}, 1),
        ],
    )
    @pytest.mark.parametrize(("path", "body"), [(ITEMS, _TEXT), (SEGMENTS, AS_USUAL)])
    async def test_a_lost_answer_leaves_the_conversation_behind(
        self, empty: Caller, fault: dict[str, Any], created: int, path: str, body: dict[str, object]
    ) -> None:
        """What was created can be counted whatever the client was told, and the record says so."""
        empty.sandbox.fail(**fault)
        if "close" in fault:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await empty("POST", path, body)
        else:
            assert fault.get("status", 200) == (await empty("POST", path, body)).status
        assert created == len(empty.sandbox.conversations)
        (record,) = empty.sandbox.requests
        assert ("POST", path, json.dumps(body).encode(), bool(created)) == (
            record.method,
            record.path,
            record.body,
            record.applied,
        )

    async def test_a_repeat_after_a_lost_answer_finds_the_session(self, empty: Caller) -> None:
        """The second request changes nothing: one conversation, one applied record."""
        empty.sandbox.fail(close="after")
        sent = {**AS_USUAL, "client_session_id": "s"}
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await empty("POST", SEGMENTS, sent)
        assert 200 == (await empty("POST", SEGMENTS, sent)).status
        assert 1 == len(empty.sandbox.conversations)
        assert [(None, True), (200, False)] == [(each.status, each.applied) for each in empty.sandbox.requests]

    async def test_a_delayed_creation_outlives_its_client(self, empty: Caller) -> None:
        """The conversation is made although the client gave up."""
        empty.sandbox.fail(delay=0.02, method="POST")
        task = asyncio.create_task(empty("POST", ITEMS, _TEXT))
        while not empty.sandbox.requests:
            await asyncio.sleep(0)
        assert {} == empty.sandbox.conversations
        task.cancel()
        async with asyncio.timeout(1):
            while not empty.sandbox.requests[0].applied:
                await asyncio.sleep(0.005)
        assert 1 == len(empty.sandbox.conversations)

    async def test_faults_are_chosen_by_verb_and_never_by_a_path_that_is_no_id(self, call: Caller) -> None:
        """A create is about no conversation, even where its path looks like one."""
        call.sandbox.fail(status=503, conversation_id="from-segments")
        call.sandbox.fail(status=502, method="POST")
        statuses = [
            (await call("GET", LIST)).status,
            (await call("POST", SEGMENTS, AS_USUAL)).status,
            (await call("POST", SEGMENTS, AS_USUAL)).status,
            (await call("GET", SEGMENTS)).status,
        ]
        assert [200, 502, 200, 503] == statuses

    @pytest.mark.parametrize(("settings", "limit"), [({}, "60"), ({"read_limit": 7}, "7")])
    async def test_scripted_refusals_of_reads_are_those_of_reads(self, settings: dict[str, int], limit: str) -> None:
        """A 403 names the scope of reads, a 429 the limit of reads."""
        async with calling(Sandbox(**settings)) as call:  # type: ignore[arg-type]
            call.sandbox.fail(status=403)
            assert (
                b'{"detail":"Insufficient permissions. Required scope: conversations:read"}'
                == (await call("GET", LIST)).body
            )
            call.sandbox.fail(status=429)
            answer = await call("GET", LIST)
        assert (limit, "3600") == (answer.headers["X-RateLimit-Limit"], answer.headers["Retry-After"])
