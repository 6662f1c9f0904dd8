"""The sandbox answers as the real server does, fails as it is told to, and ends at once.

The bodies are compared byte for byte with what FastAPI 0.121, Starlette 0.49 and pydantic 2.11 send, as read
off a small replica of the two handlers.
"""

import asyncio
import contextlib
import inspect
import io
import json
import os
import pickle
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from yarl import URL

from omi_async.sandbox import Fault, RecordedRequest, Sandbox, SandboxConversation
from omi_async.sandbox.records import read_records
from tests.support.caller import Caller, Clock, calling

ITEMS = "/v1/dev/user/conversations"
STANDUP = f"{ITEMS}/conv_standup"
ROOT = Path(__file__).parents[2]

NO_KEY = b'{"detail":"Missing or invalid Authorization header. Must be \'Bearer API_KEY\'"}'
UNKNOWN_KEY = b'{"detail":"Invalid API Key"}'
NO_SCOPE = b'{"detail":"Insufficient permissions. Required scope: conversations:write"}'
NO_CONVERSATION = b'{"detail":"Conversation not found"}'
LOCKED = b'{"detail":"A paid plan is required to access this conversation."}'
NOTHING_TO_CHANGE = b'{"detail":"At least one field (title or discarded) must be provided"}'
NO_ROUTE = b'{"detail":"Not Found"}'
BROKEN_JSON = (
    b'{"detail":[{"type":"json_invalid","loc":["body",1],"msg":"JSON decode error","input":{},'
    b'"ctx":{"error":"Expecting property name enclosed in double quotes"}}]}'
)
BLANK_TITLE = (
    b'{"detail":[{"type":"value_error","loc":["body","title"],"msg":"Value error, title cannot be blank",'
    b'"input":" ","ctx":{"error":{}}}]}'
)


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling(Sandbox()) as caller:
        yield caller


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def limited(clock: Clock) -> AsyncIterator[Caller]:
    async with calling(Sandbox(write_limit=3, clock=clock)) as caller:
        yield caller


class TestConversations:
    async def test_patch_answers_the_whole_conversation_with_its_transcript(self, call: Caller) -> None:
        """The answer of a PATCH is compact JSON with every key, the transcript included."""
        answer = await call("PATCH", f"{ITEMS}/conv_lisbon", {"title": "  Domingo em Lisboa  "})
        expected = (
            '{"id":"conv_lisbon","created_at":"2026-09-12T17:31:00Z","started_at":"2026-09-12T17:05:00Z",'
            '"finished_at":"2026-09-12T17:30:00Z","structured":{"title":"Domingo em Lisboa",'
            '"overview":"Ideias para um passeio de domingo em Lisboa.","emoji":"✈️","category":"travel",'
            '"action_items":[],"events":[{"title":"Passeio em Alfama","description":"",'
            '"start":"2026-09-13T10:00:00Z","duration":30,"created":false}]},"language":"pt","source":"phone",'
            '"transcript_segments":[{"id":null,"text":"Começamos em Alfama e almoçamos perto do rio.",'
            '"speaker_id":null,"speaker_name":null,"start":1.2,"end":4.9}],"geolocation":{"google_place_id":null,'
            '"latitude":38.7139,"longitude":-9.1334,"address":"Lisboa, Portugal","location_type":"locality"},'
            '"folder_id":null,"folder_name":null}'
        )
        assert (200, expected.encode()) == (answer.status, answer.body)
        assert answer.headers["Content-Type"] == "application/json"
        assert call.sandbox.conversations["conv_lisbon"].title == "Domingo em Lisboa"

    @pytest.mark.parametrize(
        ("value", "stored"),
        [
            *((value, True) for value in (True, 1, 1.0, "1", "true", "T", "yes", "Y", "ON")),
            *((value, False) for value in (False, 0, 0.0, "0", "False", "f", "no", "n", "oFF")),
        ],
    )
    async def test_discarded_is_read_leniently(self, call: Caller, value: object, stored: bool) -> None:
        """Everything pydantic takes for a flag is taken for one, and the answer does not show it."""
        call.sandbox.conversations["conv_standup"].discarded = not stored
        answer = await call("PATCH", STANDUP, {"discarded": value, "starred": True})
        assert answer.status == 200
        assert b"discarded" not in answer.body
        assert call.sandbox.conversations["conv_standup"].discarded is stored
        assert call.sandbox.conversations["conv_standup"].title == "Monday Stand-up"

    async def test_discarded_conversations_can_be_read_changed_and_restored(self, call: Caller) -> None:
        """A discarded conversation answers like any other."""
        assert (await call("GET", f"{ITEMS}/conv_noise")).status == 200
        assert (await call("PATCH", f"{ITEMS}/conv_noise", {"discarded": False})).status == 200
        assert not call.sandbox.conversations["conv_noise"].discarded

    async def test_null_leaves_a_field_as_it_is(self, call: Caller) -> None:
        """A null beside a value is the same as leaving the field out."""
        answer = await call("PATCH", STANDUP, {"title": "Named", "discarded": None})
        assert (200, "Named", False) == (
            answer.status,
            call.sandbox.conversations["conv_standup"].title,
            call.sandbox.conversations["conv_standup"].discarded,
        )

    @pytest.mark.parametrize("length", [1, 500])
    async def test_titles_of_any_allowed_length_are_stored(self, call: Caller, length: int) -> None:
        """Length counts characters, not bytes."""
        title = "😀" * length
        assert (await call("PATCH", STANDUP, {"title": title})).status == 200
        assert call.sandbox.conversations["conv_standup"].title == title

    async def test_delete_is_final(self, call: Caller) -> None:
        """The first DELETE succeeds, the second finds nothing."""
        first, second = [await call("DELETE", STANDUP) for _ in range(2)]
        assert (200, b'{"success":true}') == (first.status, first.body)
        assert (404, NO_CONVERSATION) == (second.status, second.body)
        assert "conv_standup" not in call.sandbox.conversations

    @pytest.mark.parametrize(
        ("query", "segments"),
        [("", None), ("?include_transcript=true", 2), ("?include_transcript=on", 2), ("?include_transcript=0", None)],
    )
    async def test_get_sends_the_transcript_only_on_request(
        self, call: Caller, query: str, segments: int | None
    ) -> None:
        """Without include_transcript the key is there and null."""
        answer = await call("GET", STANDUP + query, key=call.sandbox.read_only_key)
        found = json.loads(answer.body)["transcript_segments"]
        assert (200, segments) == (answer.status, None if found is None else len(found))

    async def test_edits_by_the_user_are_live(self, call: Caller) -> None:
        """The dict of conversations is the server's own memory."""
        call.sandbox.conversations["mine"] = SandboxConversation(id="mine", title="Mine")
        assert json.loads((await call("GET", f"{ITEMS}/mine")).body)["structured"]["title"] == "Mine"
        del call.sandbox.conversations["mine"]
        assert (await call("GET", f"{ITEMS}/mine")).status == 404

    async def test_ids_are_decoded_once(self, call: Caller) -> None:
        """An id with blanks, percent signs and accents arrives as it was meant."""
        call.sandbox.conversations["a b%é"] = SandboxConversation(id="a b%é")
        answer = await call("GET", f"{ITEMS}/a%20b%25%C3%A9")
        assert (200, "a b%é") == (answer.status, json.loads(answer.body)["id"])


class TestOrderOfChecks:
    async def test_a_stale_start_time_comes_first(self, call: Caller) -> None:
        """A request that claims to be older than ten minutes is 408, without `detail`, whatever else is wrong."""
        started = time.time() - 601
        answer = await call("PATCH", "/nowhere", body=b"{", key=None, headers={"x-request-start-time": str(started)})
        body = json.loads(answer.body)
        assert answer.status == 408
        assert ["error", "message", "server_time", "client_time", "skew_seconds", "hint"] == list(body)
        assert ("clock_skew", started) == (body["error"], body["client_time"])
        assert 601 <= body["skew_seconds"] < 620

    @pytest.mark.parametrize("started", ["now", "nan", ""])
    async def test_fresh_and_senseless_start_times_are_ignored(self, call: Caller, started: str) -> None:
        """Only an old start time is refused."""
        value = str(time.time() - 590) if started == "now" else started
        assert (await call("GET", STANDUP, headers={"x-request-start-time": value})).status == 200

    async def test_broken_json_comes_before_the_key(self, call: Caller) -> None:
        """Broken JSON is 422 even without a key, and costs nothing."""
        for key in (None, call.sandbox.read_only_key):
            answer = await call("PATCH", f"{ITEMS}/missing", body=b"{", key=key)
            assert (422, BROKEN_JSON) == (answer.status, answer.body)

    @pytest.mark.parametrize(
        ("authorization", "body"),
        [
            (None, NO_KEY),
            ("bearer {key}", NO_KEY),
            ("Bearer", NO_KEY),
            ("{key}", NO_KEY),
            ("Bearer  {key}", UNKNOWN_KEY),
            ("Bearer omi_dev_" + "f" * 32, UNKNOWN_KEY),
            ("Bearer eyJhbGciOi", UNKNOWN_KEY),
            (
                "Bearer omi_mcp_" + "0" * 32,
                b'{"detail":"MCP API keys (omi_mcp_...) only authenticate the MCP endpoints under /v1/mcp/ (for'
                b" example GET /v1/mcp/memories, GET /v1/mcp/conversations) and the MCP server at /v1/mcp/sse. This"
                b' endpoint requires a Developer API key (Settings -> Developer -> Create Key)."}',
            ),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
    async def test_the_key_comes_before_the_schema(
        self, call: Caller, method: str, authorization: str | None, body: bytes
    ) -> None:
        """A bad key is 401 in its own words, before the body's shape or the conversation is looked at."""
        header = None if authorization is None else authorization.format(key=call.sandbox.api_key)
        sent = b'{"title":5}' if method == "PATCH" else None
        answer = await call(method, f"{ITEMS}/missing", body=sent, key=None, authorization=header)
        assert (401, body) == (answer.status, answer.body)

    async def test_the_scope_comes_before_schema_and_conversation(self, call: Caller) -> None:
        """A read-only key is 403 on writes, whatever their body, and 200 on reads."""
        key = call.sandbox.read_only_key
        for answer in (
            await call("PATCH", f"{ITEMS}/missing", {"title": 5}, key=key),
            await call("DELETE", f"{ITEMS}/missing", key=key),
        ):
            assert (403, NO_SCOPE) == (answer.status, answer.body)
        assert (await call("GET", STANDUP, key=key)).status == 200

    async def test_the_rate_window_comes_before_the_schema(self, limited: Caller) -> None:
        """Once the window is spent, a bad title is 429 and no longer 422."""
        for _ in range(3):
            assert (await limited("PATCH", STANDUP, {"title": 5})).status == 422
        assert (await limited("PATCH", STANDUP, {"title": 5})).status == 429

    async def test_the_schema_comes_before_the_conversation(self, call: Caller) -> None:
        """An invalid title on a missing or locked conversation is 422."""
        for name in ("missing", "conv_locked"):
            assert (await call("PATCH", f"{ITEMS}/{name}", {"title": 5})).status == 422

    async def test_the_conversation_comes_before_the_empty_update(self, call: Caller) -> None:
        """An empty PATCH is 404 on a missing, 402 on a locked, and 422 with text on an ordinary conversation."""
        expected = {"missing": (404, NO_CONVERSATION), "conv_locked": (402, LOCKED)}
        for name, answer in expected.items():
            found = await call("PATCH", f"{ITEMS}/{name}", {})
            assert answer == (found.status, found.body)
        empty: list[dict[str, object]] = [{}, {"title": None, "discarded": None}, {"starred": True}]
        for body in empty:
            found = await call("PATCH", STANDUP, body)
            assert (422, NOTHING_TO_CHANGE) == (found.status, found.body)

    async def test_locked_is_402_for_writers_and_404_for_readers(self, call: Caller) -> None:
        """Readers are not told that a locked conversation exists."""
        path = f"{ITEMS}/conv_locked"
        found = [await call("PATCH", path, {"title": "x"}), await call("DELETE", path), await call("GET", path)]
        assert [(402, LOCKED), (402, LOCKED), (404, NO_CONVERSATION)] == [(one.status, one.body) for one in found]
        assert call.sandbox.conversations["conv_locked"].title == "Lunch with the founders"


def _detail(kind: str, place: str, message: str, echo: str, context: str = "") -> bytes:
    end = f',"ctx":{context}' if context else ""
    return f'{{"type":"{kind}","loc":[{place}],"msg":"{message}","input":{echo}{end}}}'.encode()


_NO_DICT = "Input should be a valid dictionary or object to extract fields from"
_NO_FLAG = "Input should be a valid boolean"
_UNCLEAR_FLAG = "Input should be a valid boolean, unable to interpret input"


class TestSchema:
    @pytest.mark.parametrize(
        ("sent", "problem"),
        [
            (b"", _detail("missing", '"body"', "Field required", "null")),
            (b"null", _detail("missing", '"body"', "Field required", "null")),
            (b"[]", _detail("model_attributes_type", '"body"', _NO_DICT, "[]")),
            (b"true", _detail("model_attributes_type", '"body"', _NO_DICT, "true")),
            (
                b'{"title":""}',
                _detail(
                    "string_too_short",
                    '"body","title"',
                    "String should have at least 1 character",
                    '""',
                    '{"min_length":1}',
                ),
            ),
            (
                b'{"title":"' + b" " * 501 + b'"}',
                _detail(
                    "string_too_long",
                    '"body","title"',
                    "String should have at most 500 characters",
                    '"' + " " * 501 + '"',
                    '{"max_length":500}',
                ),
            ),
            (b'{"title":5}', _detail("string_type", '"body","title"', "Input should be a valid string", "5")),
            (
                b'{"title":["\xc3\xa9"]}',
                _detail("string_type", '"body","title"', "Input should be a valid string", '["é"]'),
            ),
            (b'{"discarded":2}', _detail("bool_parsing", '"body","discarded"', _UNCLEAR_FLAG, "2")),
            (b'{"discarded":2.0}', _detail("bool_parsing", '"body","discarded"', _UNCLEAR_FLAG, "2.0")),
            (b'{"discarded":" yes"}', _detail("bool_parsing", '"body","discarded"', _UNCLEAR_FLAG, '" yes"')),
            (b'{"discarded":1.5}', _detail("bool_type", '"body","discarded"', _NO_FLAG, "1.5")),
            (b'{"discarded":{}}', _detail("bool_type", '"body","discarded"', _NO_FLAG, "{}")),
            (
                b'{"discarded":9223372036854775808}',
                _detail("bool_type", '"body","discarded"', _NO_FLAG, "9223372036854775808"),
            ),
            (
                b'{"discarded":"x","title":""}',
                _detail(
                    "string_too_short",
                    '"body","title"',
                    "String should have at least 1 character",
                    '""',
                    '{"min_length":1}',
                )
                + b","
                + _detail("bool_parsing", '"body","discarded"', _UNCLEAR_FLAG, '"x"'),
            ),
        ],
    )
    async def test_each_refusal_is_worded_as_by_pydantic(self, call: Caller, sent: bytes, problem: bytes) -> None:
        """Every bad body is 422 with a list of what is wrong, in the order of the fields."""
        answer = await call("PATCH", STANDUP, body=sent)
        assert (422, b'{"detail":[' + problem + b"]}") == (answer.status, answer.body)
        assert call.sandbox.conversations["conv_standup"].title == "Monday Stand-up"

    async def test_a_blank_title_is_refused_with_a_list(self, call: Caller) -> None:
        """Blanks alone are no title."""
        answer = await call("PATCH", STANDUP, {"title": " "})
        assert (422, BLANK_TITLE) == (answer.status, answer.body)

    async def test_an_odd_query_flag_is_refused(self, call: Caller) -> None:
        """An include_transcript that is no flag is 422 and names the query, after the key was checked."""
        answer = await call("GET", f"{ITEMS}/missing?include_transcript=maybe")
        problem = _detail("bool_parsing", '"query","include_transcript"', _UNCLEAR_FLAG, '"maybe"')
        assert (422, b'{"detail":[' + problem + b"]}") == (answer.status, answer.body)
        assert (await call("GET", f"{STANDUP}?include_transcript=maybe", key=None)).status == 401

    @pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8", "Application/merge-patch+JSON"])
    async def test_json_types_and_no_type_are_accepted(self, call: Caller, content_type: str | None) -> None:
        """A PATCH without Content-Type is read as JSON."""
        assert (await call("PATCH", STANDUP, {"title": "x"}, content_type=content_type)).status == 200

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
    async def test_other_types_are_not_parsed(self, call: Caller, content_type: str) -> None:
        """With any other type the body is an unread text, so it is no object."""
        answer = await call("PATCH", STANDUP, body=b'{"title":"x"}', content_type=content_type)
        problem = _detail("model_attributes_type", '"body"', _NO_DICT, '"{\\"title\\":\\"x\\"}"')
        assert (422, b'{"detail":[' + problem + b"]}") == (answer.status, answer.body)

    async def test_bytes_in_no_encoding_are_400(self, call: Caller) -> None:
        """Bytes that are no Unicode are refused before the key is looked at."""
        answer = await call("PATCH", STANDUP, body=b'{"title":"\xff"}', key=None)
        assert (400, b'{"detail":"There was an error parsing the body"}') == (answer.status, answer.body)

    @pytest.mark.parametrize("sent", [b'{"title":"\\ud800"}', b'{"title":NaN}', b'{"discarded":Infinity}'])
    async def test_what_cannot_be_echoed_is_a_bare_500(self, call: Caller, sent: bytes) -> None:
        """The real server breaks over echoing such an input, and so does this one; nothing is changed."""
        answer = await call("PATCH", STANDUP, body=sent)
        assert (500, b"Internal Server Error") == (answer.status, answer.body)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert not call.sandbox.requests[0].applied


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        ["/", "/nowhere", "/v1/dev/user/people/p1", f"{ITEMS}/a%2Fb", f"{ITEMS}/../memories/m1", f"{STANDUP}/x/"],
    )
    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE", "POST"])
    async def test_unknown_paths_are_404(self, call: Caller, method: str, path: str) -> None:
        """Nothing is normalised: dot segments and encoded slashes lead nowhere, with or without a key."""
        answer = await call(method, path, key=None)
        assert (404, NO_ROUTE) == (answer.status, answer.body)
        assert answer.headers["Content-Type"] == "application/json"

    @pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
    async def test_other_verbs_are_405(self, call: Caller, method: str) -> None:
        """A known path with another verb is 405 with the one verb Starlette names."""
        answer = await call(method, STANDUP, key=None)
        assert (405, b'{"detail":"Method Not Allowed"}') == (answer.status, answer.body)
        assert answer.headers["Allow"] == "GET"

    @pytest.mark.parametrize(
        ("path", "target"),
        [
            (f"{STANDUP}/", STANDUP),
            (f"{STANDUP}//?a=b", f"{STANDUP}?a=b"),
            (f"{ITEMS}/", ITEMS),
            (f"{ITEMS}/%C3%A9%2F", f"{ITEMS}/%C3%A9"),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
    async def test_trailing_slashes_are_redirected(self, call: Caller, method: str, path: str, target: str) -> None:
        """A trailing slash, or an empty id, is 307 to the path without it, with an empty body and no change."""
        answer = await call(method, path)
        assert (307, b"") == (answer.status, answer.body)
        assert answer.headers["Location"] == call.sandbox.url + target
        assert "Content-Type" not in answer.headers
        assert "conv_standup" in call.sandbox.conversations


class TestRateWindow:
    async def test_the_429_names_limit_and_seconds_left(self, limited: Caller, clock: Clock) -> None:
        """Only the 429 has rate headers; its seconds are what is left of the window."""
        for _ in range(3):
            answer = await limited("PATCH", STANDUP, {"discarded": True})
            assert answer.status == 200
            assert not [name for name in answer.headers if name.startswith("X-RateLimit") or name == "Retry-After"]
            clock.now += 10
        answer = await limited("DELETE", STANDUP)
        assert (429, b'{"detail":"Rate limit exceeded. Try again in 3570s."}') == (answer.status, answer.body)
        assert {"X-RateLimit-Limit": "3", "X-RateLimit-Remaining": "0", "Retry-After": "3570"} == {
            name: answer.headers[name] for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "Retry-After")
        }
        assert "conv_standup" in limited.sandbox.conversations

    async def test_the_window_opens_with_the_first_call_and_is_not_extended(
        self, limited: Caller, clock: Clock
    ) -> None:
        """Refused calls are counted but do not move the end; in the last half second Retry-After is 0."""
        clock.now += 5_000
        for _ in range(3):
            await limited("DELETE", f"{ITEMS}/missing")
        clock.now += 3_599.75
        for _ in range(2):
            refused = await limited("DELETE", STANDUP)
            assert (429, "0") == (refused.status, refused.headers["Retry-After"])
        clock.now += 0.25
        assert (await limited("DELETE", STANDUP)).status == 200

    async def test_refusals_of_the_handler_cost_a_token(self, limited: Caller) -> None:
        """404, 402 and 422 are counted."""
        assert (await limited("DELETE", f"{ITEMS}/missing")).status == 404
        assert (await limited("DELETE", f"{ITEMS}/conv_locked")).status == 402
        assert (await limited("PATCH", STANDUP, {})).status == 422
        assert (await limited("DELETE", STANDUP)).status == 429

    async def test_earlier_refusals_and_reads_cost_nothing(self, limited: Caller) -> None:
        """401, 403, broken JSON, unknown paths and reads are not counted."""
        for _ in range(4):
            await limited("DELETE", STANDUP, key=None)
            await limited("DELETE", STANDUP, key=limited.sandbox.read_only_key)
            await limited("PATCH", STANDUP, body=b"{")
            await limited("DELETE", f"{STANDUP}/")
            await limited("GET", STANDUP)
        for _ in range(3):
            assert (await limited("PATCH", STANDUP, {"discarded": True})).status == 200

    @pytest.mark.parametrize(("limit", "expected"), [(0, 429), (None, 200)])
    async def test_the_limit_can_be_nothing_or_none(self, limit: int | None, expected: int) -> None:
        """A limit of 0 refuses every write, None refuses none."""
        async with calling(Sandbox(write_limit=limit)) as call:
            for _ in range(30):
                assert (await call("PATCH", STANDUP, {"discarded": True})).status == expected

    async def test_the_usual_limit_is_25(self, call: Caller) -> None:
        """By default the 26th write is refused."""
        statuses = [(await call("PATCH", STANDUP, {"discarded": True})).status for _ in range(26)]
        assert [200] * 25 + [429] == statuses


class TestFaults:
    @pytest.mark.parametrize(
        ("status", "body", "content_type"),
        [
            (400, b'{"detail":"There was an error parsing the body"}', "application/json"),
            (401, UNKNOWN_KEY, "application/json"),
            (402, LOCKED, "application/json"),
            (403, NO_SCOPE, "application/json"),
            (404, NO_CONVERSATION, "application/json"),
            (409, b'{"detail":"Conflict"}', "application/json"),
            (422, NOTHING_TO_CHANGE, "application/json"),
            (429, b'{"detail":"Rate limit exceeded. Try again in 3600s."}', "application/json"),
            (500, b"Internal Server Error", "text/plain; charset=utf-8"),
            (502, b'{"detail":"Bad Gateway"}', "application/json"),
            (503, b'{"detail":"Rate limiter unavailable"}', "application/json"),
            (504, b"", None),
            (307, b"", None),
            (599, b'{"detail":"Status 599"}', "application/json"),
        ],
    )
    async def test_a_status_comes_with_the_real_servers_body(
        self, call: Caller, status: int, body: bytes, content_type: str | None
    ) -> None:
        """A scripted status changes nothing, is played once, and needs no body of its own."""
        call.sandbox.fail(status=status)
        answer = await call("DELETE", STANDUP)
        assert (status, body, content_type) == (answer.status, answer.body, answer.headers.get("Content-Type"))
        assert "conv_standup" in call.sandbox.conversations
        assert (status, False) == (call.sandbox.requests[0].status, call.sandbox.requests[0].applied)
        assert (await call("DELETE", STANDUP)).status == 200

    async def test_a_scripted_408_is_the_clock_skew_answer(self, call: Caller) -> None:
        """The scripted 408 has no `detail` either."""
        call.sandbox.fail(status=408)
        body = json.loads((await call("GET", STANDUP)).body)
        assert ("clock_skew", 1200) == (body["error"], round(body["skew_seconds"]))

    async def test_a_scripted_429_has_the_rate_headers(self, call: Caller) -> None:
        """A given Retry-After, however spelled, is used in the text as well."""
        call.sandbox.fail(status=429, headers={"retry-after": "7"})
        answer = await call("DELETE", STANDUP)
        assert answer.body == b'{"detail":"Rate limit exceeded. Try again in 7s."}'
        assert ("25", "0") == (answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"])
        assert ["7"] == [value for name, value in answer.headers.items() if name.lower() == "retry-after"]

    @pytest.mark.parametrize(
        ("body", "sent", "content_type"),
        [
            ("<h1>é</h1>", "<h1>é</h1>".encode(), "text/plain; charset=utf-8"),
            (b"{bro", b"{bro", "application/json"),
            ({"détail": None}, '{"détail":null}'.encode(), "application/json"),
            ([1, 2], b"[1,2]", "application/json"),
            ("", b"", "text/plain; charset=utf-8"),
        ],
    )
    async def test_a_body_takes_the_place_of_the_real_one(
        self, call: Caller, body: Any, sent: bytes, content_type: str
    ) -> None:
        """Text goes out as plain text, bytes as they are, the rest as compact JSON."""
        call.sandbox.fail(status=503, body=body)
        answer = await call("DELETE", STANDUP)
        assert (503, sent, content_type) == (answer.status, answer.body, answer.headers["Content-Type"])

    async def test_given_headers_win(self, call: Caller) -> None:
        """A given Content-Type replaces the usual one."""
        call.sandbox.fail(status=502, body="<html>", headers={"content-type": "text/html", "Via": "lb"})
        answer = await call("DELETE", STANDUP)
        assert ("text/html", "lb") == (answer.headers["Content-Type"], answer.headers["Via"])

    @pytest.mark.parametrize(("close", "applied"), [("before", False), ("after", True)])
    async def test_a_connection_can_be_dropped_without_an_answer(self, call: Caller, close: Any, applied: bool) -> None:
        """The client hears nothing; `"after"` has carried the change out, `"before"` has not."""
        call.sandbox.fail(close=close)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await call("PATCH", STANDUP, {"title": "Changed"})
        assert (call.sandbox.conversations["conv_standup"].title == "Changed") is applied
        record = call.sandbox.requests[-1]
        assert (None, applied, 1) == (record.status, record.applied, len(call.sandbox.requests))

    async def test_apply_carries_the_change_out_before_the_failing_answer(self, call: Caller) -> None:
        """A 500 after the commit: the client sees a failure, the title is changed, a token is spent."""
        call.sandbox.fail(status=500, apply=True)
        assert (await call("PATCH", STANDUP, {"title": "Changed"})).status == 500
        assert call.sandbox.conversations["conv_standup"].title == "Changed"
        assert (500, True) == (call.sandbox.requests[0].status, call.sandbox.requests[0].applied)

    async def test_apply_changes_nothing_the_real_server_would_refuse(self, call: Caller) -> None:
        """The request is handled in full, so a missing scope still prevents the change."""
        call.sandbox.fail(status=504, apply=True)
        assert (await call("DELETE", STANDUP, key=call.sandbox.read_only_key)).status == 504
        assert "conv_standup" in call.sandbox.conversations
        assert not call.sandbox.requests[0].applied

    async def test_a_delay_alone_is_merely_slow(self, call: Caller) -> None:
        """The answer comes late and is the usual one."""
        call.sandbox.fail(delay=0.02)
        begun = time.monotonic()
        assert (await call("DELETE", STANDUP)).status == 200
        assert time.monotonic() - begun >= 0.02

    async def test_a_delayed_change_outlives_its_client(self, call: Caller) -> None:
        """The record is there at once, and the change is made although the client gave up."""
        call.sandbox.fail(delay=0.02)
        task = asyncio.create_task(call("DELETE", STANDUP))
        while not call.sandbox.requests:
            await asyncio.sleep(0)
        assert (None, False) == (call.sandbox.requests[0].status, call.sandbox.requests[0].applied)
        task.cancel()
        async with asyncio.timeout(1):
            while not call.sandbox.requests[0].applied:
                await asyncio.sleep(0.005)
        assert "conv_standup" not in call.sandbox.conversations

    async def test_the_oldest_matching_fault_is_taken(self, call: Caller) -> None:
        """Verb and conversation choose among the faults; each is played as often as it was asked for."""
        call.sandbox.fail(status=503, method="delete")
        call.sandbox.fail(status=502, conversation_id="conv_design", times=2)
        call.sandbox.fail(status=500)
        assert call.sandbox.pending_faults == 4
        statuses = [
            (await call("PATCH", f"{ITEMS}/conv_design", {"title": "x"})).status,
            (await call("GET", STANDUP)).status,
            (await call("GET", STANDUP)).status,
            (await call("DELETE", f"{ITEMS}/conv_design")).status,
            (await call("DELETE", f"{ITEMS}/conv_design")).status,
            (await call("DELETE", f"{ITEMS}/conv_design")).status,
        ]
        assert [502, 500, 200, 503, 502, 200] == statuses
        assert call.sandbox.pending_faults == 0

    async def test_faults_meet_every_path_of_the_api_and_no_other(self, call: Caller) -> None:
        """Paths outside the Developer API are left alone; inside it even a redirect can fail."""
        call.sandbox.fail(status=503, times=2)
        assert (await call("GET", "/v1/developer")).status == 404
        assert (await call("GET", "/v1/dev/user/memories")).status == 503
        assert (await call("GET", f"{ITEMS}/")).status == 503

    async def test_path_and_record_choose_as_well(self, call: Caller) -> None:
        """A path is compared as sent and without its query, a record's id wherever a path names it."""
        call.sandbox.fail(status=503, path=ITEMS)
        call.sandbox.fail(status=502, record_id="conv_design")
        call.sandbox.fail(status=504, path=f"{ITEMS}/%C3%A9")
        statuses = [
            (await call("GET", STANDUP)).status,
            (await call("GET", f"{ITEMS}/conv_design")).status,
            (await call("GET", f"{ITEMS}?limit=1")).status,
            (await call("GET", f"{ITEMS}/%c3%a9")).status,
            (await call("GET", f"{ITEMS}/%C3%A9")).status,
        ]
        assert [200, 502, 503, 404, 504] == statuses

    async def test_the_usual_answer_can_have_other_headers(self, call: Caller) -> None:
        """With the status it would have had anyway and `apply`, an answer keeps its body."""
        call.sandbox.fail(status=200, apply=True, headers={"X-Note": "n"})
        answer = await call("DELETE", STANDUP)
        assert (200, b'{"success":true}', "n") == (answer.status, answer.body, answer.headers["X-Note"])

    async def test_faults_can_be_forgotten(self, call: Caller) -> None:
        """After clear_faults the server behaves again."""
        call.sandbox.fail(status=503, times=5)
        call.sandbox.clear_faults()
        assert call.sandbox.pending_faults == 0
        assert (await call("GET", STANDUP)).status == 200

    async def test_scripted_answers_cost_no_token(self, limited: Caller) -> None:
        """A fault that does not reach the server leaves the rate window alone."""
        limited.sandbox.fail(status=503, times=5)
        for _ in range(5):
            await limited("DELETE", STANDUP)
        assert (await limited("DELETE", STANDUP)).status == 200

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({}, "status"),
            ({"status": 199}, "status"),
            ({"status": 600}, "status"),
            ({"status": True}, "status"),
            ({"delay": -1.0}, "delay"),
            ({"delay": float("nan")}, "delay"),
            ({"close": "later"}, "close"),
            ({"status": 500, "close": "after"}, "close"),
            ({"close": "before", "apply": True}, "apply"),
            ({"delay": 1.0, "apply": True}, "apply"),
            ({"close": "before", "body": b"x"}, "body"),
            ({"delay": 1.0, "headers": {"A": "b"}}, "headers"),
            ({"status": 429, "headers": {"Retry-After": 5}}, "headers"),
            ({"status": 500, "body": {"a": float("nan")}}, "body"),
            ({"status": 500, "body": [object()]}, "body"),
            ({"status": 500, "path": "conversations"}, "path"),
            ({"status": 500, "path": f"{ITEMS}?limit=1"}, "path"),
            ({"status": 500, "record_id": "a", "conversation_id": "a"}, "record_id"),
            ({"status": 500, "times": 0}, "times"),
            ({"status": 500, "times": 1.5}, "times"),
        ],
    )
    def test_senseless_faults_are_refused(self, arguments: dict[str, Any], named: str) -> None:
        """A fault that means nothing is a ValueError that names the argument."""
        sandbox = Sandbox()
        with pytest.raises(ValueError, match=rf"^{named}\b"):
            sandbox.fail(**arguments)
        with pytest.raises(ValueError, match=rf"^{named}\b"):
            Fault(**arguments)
        assert sandbox.pending_faults == 0


class TestRecords:
    async def test_requests_are_recorded_in_order_and_without_the_key(self, call: Caller) -> None:
        """Verb, raw target, headers, body, status and effect are kept; the key is not."""
        await call("PATCH", f"{STANDUP}?a=%20b", {"title": "x"}, headers={"X-Note": "n"})
        await call("DELETE", f"{ITEMS}/%C3%A9", authorization="Basic c2VjcmV0")
        first, second = call.sandbox.requests
        assert ("PATCH", f"{STANDUP}?a=%20b", b'{"title": "x"}', 200, True) == (
            first.method,
            first.path,
            first.body,
            first.status,
            first.applied,
        )
        assert ("Bearer ***", "n") == (first.headers["Authorization"], first.headers["X-Note"])
        assert ("DELETE", f"{ITEMS}/%C3%A9", 401, False) == (second.method, second.path, second.status, second.applied)
        assert second.headers["Authorization"] == "***"
        kept = repr(call.sandbox.requests).encode() + pickle.dumps(call.sandbox.requests)
        assert call.sandbox.api_key.encode() not in kept
        assert b"c2VjcmV0" not in kept

    async def test_records_are_frozen_and_show_no_contents(self, call: Caller) -> None:
        """The repr has neither query nor headers nor body."""
        await call("PATCH", f"{STANDUP}?query=secret", {"title": "secret title"}, headers={"X-Note": "secret note"})
        record = call.sandbox.requests[0]
        assert f"RecordedRequest(method='PATCH', path='{STANDUP}', status=200, applied=True)" == repr(record)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            record.status = 500  # type: ignore[misc]

    async def test_large_bodies_are_not_kept_whole(self, call: Caller) -> None:
        """The record of a body ends after two mebibytes; the request is handled with all of it."""
        body = io.BytesIO(json.dumps({"note": "x" * 3_000_000, "title": "Named"}).encode())
        sent = {"Authorization": f"Bearer {call.sandbox.api_key}", "Content-Type": "application/json"}
        async with call.session.patch(call.url + STANDUP, data=body, headers=sent) as response:
            assert (200, 2 * 1024 * 1024) == (response.status, len(call.sandbox.requests[0].body))

    async def test_repeated_headers_are_joined(self, call: Caller) -> None:
        """Nothing of a header sent twice is lost."""
        reader, writer = await asyncio.open_connection(*_address(call.sandbox))
        writer.write(
            f"GET {STANDUP} HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\nX-A: 2\r\nConnection: close\r\n\r\n".encode()
        )
        await reader.read()
        writer.close()
        await writer.wait_closed()
        assert call.sandbox.requests[0].headers["X-A"] == "1, 2"

    async def test_the_list_may_be_cleared_at_any_time(self, call: Caller) -> None:
        """A request that is still being handled does not come back into a cleared list."""
        call.sandbox.fail(delay=0.01)
        task = asyncio.create_task(call("GET", STANDUP))
        while not call.sandbox.requests:
            await asyncio.sleep(0)
        call.sandbox.requests.clear()
        assert (await task).status == 200
        assert [] == call.sandbox.requests

    async def test_requests_that_break_off_are_neither_recorded_nor_handled(
        self, call: Caller, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A client that leaves in the middle of its body leaves no trace and makes no noise."""
        _, writer = await asyncio.open_connection(*_address(call.sandbox))
        writer.write(
            f"DELETE {STANDUP} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {call.sandbox.api_key}\r\n"
            "Content-Length: 100\r\n\r\nabc".encode()
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert (await call("GET", STANDUP)).status == 200
        assert ["GET"] == [record.method for record in call.sandbox.requests]
        assert [] == caplog.records

    async def test_what_the_user_breaks_is_a_logged_500(self, call: Caller, caplog: pytest.LogCaptureFixture) -> None:
        """A stored record that cannot be sent is a 500 after the write, as on the real server."""
        call.sandbox.conversations["conv_standup"].geolocation = {"latitude": "at home", "longitude": 0}
        answer = await call("PATCH", STANDUP, {"title": "x"})
        assert (500, b"Internal Server Error") == (answer.status, answer.body)
        assert (500, True) == (call.sandbox.requests[0].status, call.sandbox.requests[0].applied)
        assert [("omi_async.sandbox", "ERROR")] == [(entry.name, entry.levelname) for entry in caplog.records]
        assert "could not handle PATCH" in caplog.text
        assert "_geolocation" in caplog.text
        assert "at home" not in caplog.text


class TestStoredConversation:
    def test_only_the_id_is_required(self) -> None:
        """Everything else has a believable value, and every key of the wire form is there."""
        sent = SandboxConversation(id="c").to_json(include_transcript=True)
        assert {
            "id": "c",
            "created_at": "2026-09-01T09:15:00Z",
            "started_at": "2026-09-01T09:00:00Z",
            "finished_at": "2026-09-01T09:14:30Z",
            "structured": {
                "title": "Conversation",
                "overview": "A short conversation.",
                "emoji": "🧠",
                "category": "other",
                "action_items": [],
                "events": [],
            },
            "language": "en",
            "source": "omi",
            "transcript_segments": [],
            "geolocation": None,
            "folder_id": None,
            "folder_name": None,
        } == sent

    def test_times_are_sent_in_utc_with_microseconds_only_when_there_are_any(self) -> None:
        """Times of other zones become UTC, ending in Z."""
        sent = SandboxConversation(
            id="c",
            created_at=datetime(2026, 1, 1, 1, 0, 0, 5, tzinfo=timezone(timedelta(hours=2))),
            finished_at=None,
            action_items=[{"description": "d", "due_at": "2026-02-01T00:00:00Z"}],
        ).to_json(include_transcript=False)
        assert ("2025-12-31T23:00:00.000005Z", None) == (sent["created_at"], sent["finished_at"])
        structured: Any = sent["structured"]
        assert {
            "description": "d",
            "completed": False,
            "created_at": None,
            "updated_at": None,
            "due_at": "2026-02-01T00:00:00Z",
            "completed_at": None,
            "conversation_id": None,
        } == structured["action_items"][0]

    def test_times_without_a_zone_are_refused(self) -> None:
        """At the start and when changed."""
        with pytest.raises(ValueError, match="created_at"):
            SandboxConversation(id="c", created_at=datetime(2026, 1, 1))
        conversation = SandboxConversation(id="c", started_at=datetime(2026, 1, 1, tzinfo=UTC))
        with pytest.raises(ValueError, match="started_at"):
            conversation.started_at = datetime(2026, 1, 1)

    def test_what_was_said_is_not_in_the_repr(self) -> None:
        """The repr names the conversation, not its contents."""
        shown = repr(
            SandboxConversation(id="c", title="private", overview="private", transcript_segments=[{"text": "private"}])
        )
        assert "id='c'" in shown
        assert "private" not in shown


class TestSeeds:
    def test_a_sandbox_starts_with_believable_conversations(self) -> None:
        """Six of them, one locked, one discarded, one with a place, in several categories."""
        seeds = list(Sandbox().conversations.values())
        assert [seed.id for seed in seeds] == list(Sandbox().conversations)
        assert ["conv_locked"] == [seed.id for seed in seeds if seed.locked]
        assert ["conv_noise"] == [seed.id for seed in seeds if seed.discarded]
        assert ["conv_lisbon"] == [seed.id for seed in seeds if seed.geolocation]
        assert len({seed.category for seed in seeds}) == 6
        assert any(seed.action_items and seed.events and seed.transcript_segments for seed in seeds)
        for seed in seeds:
            json.dumps(seed.to_json(include_transcript=True))

    def test_sandboxes_share_nothing(self) -> None:
        """Each sandbox has conversations of its own."""
        one, other = Sandbox(), Sandbox()
        one.conversations["conv_standup"].action_items.clear()
        del one.conversations["conv_noise"]
        assert other.conversations["conv_standup"].action_items
        assert "conv_noise" in other.conversations

    def test_own_conversations_take_their_place(self) -> None:
        """A list is taken in its order, an empty one means none, and an id twice is refused."""
        given = [SandboxConversation(id="b"), SandboxConversation(id="a")]
        assert ["b", "a"] == list(Sandbox(given).conversations)
        assert Sandbox(given).conversations["b"] is given[0]
        assert {} == Sandbox([]).conversations
        with pytest.raises(ValueError, match="conversations"):
            Sandbox([given[0], given[0]])


def _address(sandbox: Sandbox) -> tuple[str, int]:
    url = URL(sandbox.url)
    assert url.host is not None
    assert url.port is not None
    return url.host, url.port


class TestHosts:
    @pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST:80", "127.9.9.9:1", "[::1]:80", "[::1]"])
    async def test_names_of_this_machine_are_answered(self, call: Caller, host: str) -> None:
        """With any port, because something may forward one."""
        assert (await call("GET", STANDUP, headers={"Host": host})).status == 200

    @pytest.mark.parametrize("host", ["example.org", "127.0.0.1.nip.io", "localhost.example.org:80", "", "[::2]:80"])
    async def test_other_names_are_turned_away(self, call: Caller, host: str) -> None:
        """A page whose name was pointed at this machine gets nothing, changes nothing and is no redirect's target."""
        for method, path in (("DELETE", STANDUP), ("GET", f"{STANDUP}/")):
            answer = await call(method, path, headers={"Host": host})
            assert (421, None) == (answer.status, answer.headers.get("Location"))
        assert "conv_standup" in call.sandbox.conversations
        assert [(421, False)] * 2 == [(record.status, record.applied) for record in call.sandbox.requests]


class TestReset:
    async def test_everything_is_as_in_the_beginning(self, limited: Caller) -> None:
        """Records, window, faults and requests; the dictionary stays the same one, and a reset can be repeated."""
        kept = limited.sandbox.conversations
        for _ in range(2):
            for _ in range(3):
                assert (await limited("PATCH", STANDUP, {"title": "x"})).status == 200
            kept["conv_standup"].action_items.clear()
            del kept["conv_noise"]
            limited.sandbox.fail(status=503)
            limited.sandbox.reset()
            assert kept is limited.sandbox.conversations
            assert Sandbox().conversations == kept
            assert (0, []) == (limited.sandbox.pending_faults, limited.sandbox.requests)

    async def test_what_is_delayed_is_not_carried_out(self, call: Caller) -> None:
        """A request that still waits is for what was there before: it is dropped, and later ones are answered."""
        call.sandbox.fail(delay=0.1)
        late = asyncio.create_task(call("PATCH", STANDUP, {"title": "Late"}))
        while not call.sandbox.requests or call.sandbox.pending_faults:
            await asyncio.sleep(0.001)
        call.sandbox.reset()
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await late
        assert call.sandbox.conversations["conv_standup"].title == "Monday Stand-up"
        assert [] == call.sandbox.requests
        assert (await call("DELETE", STANDUP)).status == 200

    async def test_a_deleted_session_can_be_created_again(self) -> None:
        """Nothing is remembered of what was deleted."""
        sent: dict[str, object] = {
            "transcript_segments": [{"text": "a", "start": 0, "end": 1}],
            "client_session_id": "s",
        }
        async with calling(Sandbox([])) as call:
            created = json.loads((await call("POST", f"{ITEMS}/from-segments", sent)).body)
            await call("DELETE", f"{ITEMS}/{created['id']}")
            call.sandbox.reset()
            assert created == json.loads((await call("POST", f"{ITEMS}/from-segments", sent)).body)


class TestLifecycle:
    @pytest.mark.parametrize("keep_alive", [True, False])
    async def test_connections_end_where_they_are_not_kept(self, keep_alive: bool) -> None:
        """Without `keep_alive` each answer says that it is the connection's last."""
        async with calling(Sandbox(keep_alive=keep_alive)) as call:
            answer = await call("GET", STANDUP)
        assert (None if keep_alive else "close") == answer.headers.get("Connection")

    def test_keys_look_real_and_never_change(self) -> None:
        """Both keys are the prefix and 32 hex digits, the same in every sandbox."""
        for key in (Sandbox().api_key, Sandbox().read_only_key):
            assert re.fullmatch("omi_dev_[0-9a-f]{32}", key)
        assert Sandbox().api_key == Sandbox().api_key != Sandbox().read_only_key

    def test_there_is_no_url_before_the_start(self) -> None:
        """Asking too early is a clear RuntimeError."""
        sandbox = Sandbox()
        with pytest.raises(RuntimeError, match="start it first"):
            _ = sandbox.url
        assert not sandbox.started
        assert repr(sandbox) == "<Sandbox not started, 6 conversations>"

    async def test_it_starts_once_and_closes_as_often_as_asked(self) -> None:
        """A closed sandbox stays closed; a second start is refused."""
        sandbox = Sandbox()
        await sandbox.start()
        assert sandbox.started
        assert repr(sandbox) == f"<Sandbox {sandbox.url}, 6 conversations>"
        with pytest.raises(RuntimeError, match="started already"):
            await sandbox.start()
        url = sandbox.url
        await sandbox.aclose()
        await sandbox.aclose()
        assert (False, url) == (sandbox.started, sandbox.url)
        assert repr(sandbox) == "<Sandbox closed, 6 conversations>"
        with pytest.raises(RuntimeError, match="make a new one"):
            await sandbox.start()
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(url)

    async def test_closing_before_the_start_is_final(self) -> None:
        """A sandbox that was closed unused cannot be started."""
        sandbox = Sandbox()
        await sandbox.aclose()
        with pytest.raises(RuntimeError, match="make a new one"):
            await sandbox.start()

    async def test_a_taken_port_is_an_error_that_leaves_nothing_behind(self) -> None:
        """The start fails with OSError and can be repeated once the port is free."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            sandbox = Sandbox(port=port)
            with pytest.raises(OSError, match="in use"):
                await sandbox.start()
            assert not sandbox.started
        async with sandbox:
            assert sandbox.url == f"http://127.0.0.1:{port}"

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "LocalHost", "::1"])
    async def test_loopback_hosts_are_served(self, host: str) -> None:
        """Every loopback address can be listened on and is reachable by its URL."""
        if host == "::1" and not socket.has_ipv6:
            pytest.skip("no IPv6 here")
        try:
            async with calling(Sandbox(host=host)) as call:
                assert (await call("GET", STANDUP)).status == 200
        except OSError:
            if host == "127.0.0.1":
                raise
            pytest.skip(f"{host} cannot be bound here")

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", "", "127.0.0.1.nip.io", "::2"])
    def test_other_hosts_are_refused(self, host: str) -> None:
        """The keys are published, so nobody else may reach the server."""
        with pytest.raises(ValueError, match="^host "):
            Sandbox(host=host)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"port": -1},
            {"port": 65536},
            {"port": True},
            {"write_limit": -1},
            {"write_limit": True},
            {"read_limit": -1},
            {"transcript_limit": True},
            {"write_window": 0.0},
            {"write_window": float("nan")},
            {"generation": "2025-01"},
        ],
    )
    def test_senseless_settings_are_refused(self, arguments: dict[str, Any]) -> None:
        """A setting out of range is a ValueError that names it."""
        with pytest.raises(ValueError, match=f"^{next(iter(arguments))} "):
            Sandbox(**arguments)

    async def test_closing_ends_hanging_requests_and_idle_connections(self) -> None:
        """Close takes a fifth of a second at most, whatever is open, and leaves no task behind."""
        before = asyncio.all_tasks()
        async with aiohttp.ClientSession() as session:
            sandbox = Sandbox()
            await sandbox.start()
            call = Caller(sandbox, session)
            assert (await call("GET", STANDUP)).status == 200
            sandbox.fail(delay=60, times=5)
            hanging = [asyncio.create_task(call("PATCH", STANDUP, {"title": "late"})) for _ in range(5)]
            idle = await asyncio.open_connection(*_address(sandbox))
            half = await asyncio.open_connection(*_address(sandbox))
            half[1].write(f"PATCH {STANDUP} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab".encode())
            while len(sandbox.requests) < 6:
                await asyncio.sleep(0)
            begun = time.monotonic()
            await sandbox.aclose()
            assert time.monotonic() - begun < 0.2
            results = await asyncio.gather(*hanging, return_exceptions=True)
            assert all(isinstance(result, aiohttp.ServerDisconnectedError) for result in results)
            for reader, writer in (idle, half):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()
        assert [(None, False)] * 5 == [(record.status, record.applied) for record in sandbox.requests[1:]]
        assert sandbox.conversations["conv_standup"].title == "Monday Stand-up"
        assert before == asyncio.all_tasks()


class TestSurface:
    def test_it_knows_nothing_of_the_client(self) -> None:
        """It is a witness of its own: no file of it imports the client, and all of them can be read in one go."""
        files = sorted((ROOT / "omi_async" / "sandbox").glob("*.py"))
        assert files
        for path in files:
            lines = path.read_text().splitlines()
            imported = [line.split()[1] for line in lines if re.match(r"\s*(from|import) omi_", line)]
            assert [] == [name for name in imported if not f"{name}.".startswith("omi_async.sandbox.")], path.name
            assert len(lines) < 350, path.name

    def test_docstrings_fit_a_synchronous_twin(self) -> None:
        """Everything public is documented in words that hold for both ways of calling it."""
        for name, member in inspect.getmembers(Sandbox):
            if not name.startswith("_"):
                assert member.__doc__, name
                assert not re.search(r"\b(async|await|coroutine)", member.__doc__), name
                assert isinstance(member, property) or inspect.isfunction(member), name
        assert Sandbox.__doc__
        assert not re.search(r"\b(async|await|coroutine)", Sandbox.__doc__)

    def test_records_can_be_built_by_hand(self) -> None:
        """Tests of others may want one."""
        record = RecordedRequest(method="GET", path="/", headers={}, body=b"")
        assert (None, False) == (record.status, record.applied)


class TestControl:
    async def test_faults(self, call: Caller) -> None:
        """Faults are scripted as by `fail`, met by later requests, and taken back."""
        assert (
            await call("POST", "/sandbox/faults", {"status": 503, "times": 2, "record_id": "conv_standup"})
        ).status == 204
        assert [503, 200] == [(await call("GET", path)).status for path in (STANDUP, f"{ITEMS}/conv_noise")]
        assert 1 == call.sandbox.pending_faults
        assert (await call("DELETE", "/sandbox/faults")).status == 204
        assert (await call("GET", STANDUP)).status == 200

    async def test_bodies_of_any_type(self, call: Caller) -> None:
        """Curl says by itself that a body is a form."""
        form = "application/x-www-form-urlencoded"
        for body, status in ((b'{"status": 503}', 204), (b"status=503", 422), (b"", 422)):
            assert (await call("POST", "/sandbox/faults", body=body, content_type=form)).status == status
        assert 1 == call.sandbox.pending_faults

    async def test_limits(self, call: Caller) -> None:
        """Limits hold from the next request on, each by itself, until the sandbox is reset."""
        assert (await call("PUT", "/sandbox/limits", {"read_limit": 1})).status == 204
        assert [200, 429] == [(await call("GET", STANDUP)).status for _ in range(2)]
        assert (await call("PUT", "/sandbox/limits", {"read_limit": None, "write_limit": 0})).status == 204
        assert (await call("GET", STANDUP)).status == 200
        assert (await call("PATCH", STANDUP, {"title": "A"})).status == 429
        assert (await call("POST", "/sandbox/reset")).status == 204
        assert (await call("PATCH", STANDUP, {"title": "A"})).status == 200

    async def test_records(self, call: Caller) -> None:
        """Kinds that are named are replaced, the others stay; a reset brings the first ones back."""
        goal = {
            "id": "goal_1",
            "history": [{"date": "2026-09-20", "value": 1, "recorded_at": "2026-09-20T10:00:00+02:00"}],
        }
        summary = {"id": "day_1", "highlights": [{"topic": "A"}], "created_at": "2026-09-20T10:00:00Z"}
        records: dict[str, object] = {
            "conversations": [
                {"id": "conv_1", "title": "One", "created_at": "2026-09-20T10:00:00Z", "started_at": None}
            ],
            "goals": [goal],
            "daily_summaries": [summary],
            "memories": [],
        }
        assert (await call("PUT", "/sandbox/records", records)).status == 204
        assert ["conv_1"] == [each["id"] for each in json.loads((await call("GET", ITEMS)).body)]
        history = await call("GET", "/v1/dev/user/goals/goal_1/history")
        assert b"2026-09-20T08:00:00Z" in history.body
        assert (await call("GET", "/v1/dev/user/daily-summaries/day_1")).status == 200
        assert ({}, Sandbox().folders) == (call.sandbox.memories, call.sandbox.folders)
        assert (await call("POST", "/sandbox/reset")).status == 204
        assert Sandbox().conversations == call.sandbox.conversations

    @pytest.mark.parametrize(
        ("method", "path", "body", "message"),
        [
            ("POST", "faults", {"status": 1}, "status must be between"),
            ("POST", "faults", {"state": 503}, "state is not one of"),
            ("POST", "faults", {"status": "503"}, "status must be between"),
            ("POST", "faults", {"status": 503.5}, "status must be between"),
            ("POST", "faults", {"delay": "1"}, "delay must be a number"),
            ("POST", "faults", {"delay": True}, "delay must be a number"),
            ("POST", "faults", {"close": ["after"]}, "close must be"),
            ("POST", "faults", {"status": 503, "apply": "yes"}, "apply must be"),
            ("POST", "faults", {"status": 503, "method": 5}, "method must be text"),
            ("POST", "faults", {"status": 503, "path": 5}, "path must be text"),
            ("POST", "faults", {"status": 503, "record_id": 7}, "record_id must be text"),
            ("POST", "faults", {"status": 503, "headers": [["a", "b"]]}, "headers must map"),
            ("POST", "faults", {"status": 503, "headers": {"a": "b\r\nc: d"}}, "headers must map"),
            ("POST", "faults", {"status": 503, "body": 5}, "body must be text"),
            ("POST", "faults", [], "must be a JSON object"),
            ("PUT", "limits", {"read_limit": "5"}, "read_limit must be zero or more"),
            ("PUT", "limits", {"limit": 5}, "limit is not one of"),
            ("PUT", "records", [], "must be an object of lists"),
            ("PUT", "records", {"people": []}, "people is no kind of records"),
            ("PUT", "records", {"goals": {}}, "goals must be a list"),
            ("PUT", "records", {"goals": [{}]}, "goals[0] must be an object with an id"),
            ("PUT", "records", {"goals": [{"id": "a"}, {"id": "a"}]}, "goals has an id twice"),
            ("PUT", "records", {"goals": [{"id": "a", "name": "A"}]}, "goals[0].name is no field of SandboxGoal"),
            ("PUT", "records", {"goals": [{"id": "a", "created_at": "today"}]}, "goals[0].created_at is no date"),
            ("PUT", "records", {"goals": [{"id": "a", "created_at": "2026-09-20T10:00"}]}, "must name its zone"),
            ("PUT", "records", {"goals": [{"id": "a", "created_at": 5}]}, "goals[0].created_at must be a date"),
            ("PUT", "records", {"goals": [{"id": "a", "created_at": None}]}, "goals[0].created_at must be a date"),
            ("PUT", "records", {"goals": [{"id": "a", "focus_rank": "1"}]}, "goals[0].focus_rank must be a whole"),
            ("PUT", "records", {"goals": [{"id": "a", "metric": []}]}, "goals[0].metric must be an object"),
            ("PUT", "records", {"goals": [{"id": "a", "history": [5]}]}, "goals[0].history[0] must be an object"),
            ("PUT", "records", {"memories": [{"id": "a", "tags": "b"}]}, "memories[0].tags must be a list"),
            ("PUT", "records", {"memories": [{"id": "a", "tags": [5]}]}, "memories[0].tags[0] must be text"),
            ("PUT", "records", {"folders": [{"id": "a", "order": True}]}, "folders[0].order must be a whole"),
            ("PUT", "records", {"conversations": [{"id": "a", "locked": "no"}]}, "locked must be true or false"),
            ("PUT", "records", {"conversations": [{"id": "a", "title": None}]}, "title must be text"),
        ],
    )
    async def test_senseless_bodies(self, call: Caller, method: str, path: str, body: Any, message: str) -> None:
        """What makes no sense is a 422 that says what, and nothing is changed."""
        answer = await call(method, f"/sandbox/{path}", body)
        assert answer.status == 422
        assert message in json.loads(answer.body)["detail"]
        assert (0, Sandbox().goals) == (call.sandbox.pending_faults, call.sandbox.goals)
        assert (await call("GET", STANDUP)).status == 200

    def test_every_field_can_be_given(self) -> None:
        """The records that a sandbox begins with can be written as JSON, each of them."""
        kinds = ("conversations", "memories", "action_items", "goals", "folders", "daily_summaries")

        def told(records: dict[str, list[Any]]) -> Any:
            plain = {kind: list(map(attrs.asdict, each)) for kind, each in records.items()}
            return json.loads(json.dumps(plain, default=lambda time: time.isoformat()))

        begun = told({kind: list(getattr(Sandbox(), kind).values()) for kind in kinds})
        assert begun == told(read_records(begun))

    async def test_it_wants_a_key(self, call: Caller) -> None:
        """A page in a browser does not have one."""
        assert (await call("POST", "/sandbox/reset", key=None)).status == 401
        assert (await call("POST", "/sandbox/reset", key=call.sandbox.read_only_key)).status == 204


async def _served(
    *arguments: str, use: Callable[[Caller], Any] | None, stop: signal.Signals
) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-m", "omi_async.sandbox", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    shown = ""
    async with asyncio.timeout(30):
        while "Ctrl-C" not in shown:
            line = await process.stdout.readline()
            assert line, (shown, await process.communicate())
            shown += line.decode()
        if use is not None:
            async with aiohttp.ClientSession() as session:
                await use(Caller(Sandbox(), session, re.findall(r"http://[\d.:]+", shown)[0]))
        process.send_signal(stop)
        _, errors = await process.communicate()
    return process.returncode, shown, errors.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="signals cannot be sent to a process on Windows")
class TestCommand:
    @pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
    async def test_it_serves_until_it_is_stopped(self, stop: signal.Signals) -> None:
        """It prints URL, key and an example, serves, and ends quietly with 0."""

        async def use(call: Caller) -> None:
            assert (await call("PATCH", STANDUP, {"title": "x"})).status == 200
            assert (await call("PATCH", STANDUP, {"title": "x"})).status == 429

        code, shown, errors = await _served("--port", "0", "--write-limit", "1", use=use, stop=stop)
        assert (0, "") == (code, errors)
        assert Sandbox().api_key in shown
        assert re.search(rf"curl -X PATCH http://127\.0\.0\.1:\d+{STANDUP} ", shown)

    async def test_the_limit_can_be_switched_off(self) -> None:
        """`--write-limit none` allows any number of writes."""

        async def use(call: Caller) -> None:
            statuses = {(await call("PATCH", STANDUP, {"title": "x"})).status for _ in range(30)}
            assert {200} == statuses

        code, _, errors = await _served("--write-limit", "none", use=use, stop=signal.SIGINT)
        assert (0, "") == (code, errors)

    async def test_it_can_be_pointed_to_slowed_down_and_made_to_fail(self) -> None:
        """The lines for the shell, limits of reads, the older server, faults in their order."""

        async def use(call: Caller) -> None:
            assert [503, 200] == [(await call("GET", STANDUP)).status for _ in range(2)]
            assert 404 == (await call("GET", "/v1/dev/key")).status

        faults = ("--fail", '{"status": 503}', "--fail", '{"delay": 0.01}')
        limits = ("--read-limit", "1", "--transcript-limit", "none", "--generation", "2026-05")
        code, shown, errors = await _served(*faults, *limits, use=use, stop=signal.SIGTERM)
        assert (0, "") == (code, errors)
        assert f"\nexport OMI_API_KEY={Sandbox().api_key}\n" in shown
        assert re.search(r"\nexport OMI_API_BASE=http://127\.0\.0\.1:\d+\n", shown)

    async def test_it_takes_records_and_shows_requests(self, tmp_path: Path) -> None:
        """A kind in the file takes the place of the usual ones; a line has a request without query, key and texts."""
        path = tmp_path / "records.json"
        path.write_text(json.dumps({"conversations": [{"id": "conv_1", "title": "Eïns"}]}), encoding="utf-8")

        async def use(call: Caller) -> None:
            assert "Eïns" in (await call("GET", f"{ITEMS}/conv_1?include_transcript=true")).body.decode()
            assert (await call("PATCH", f"{ITEMS}/conv_1", {"title": "Private"})).status == 200
            assert (await call("DELETE", f"{ITEMS}/{call.sandbox.api_key}")).status == 404
            assert (await call("POST", "/sandbox/faults", {"close": "before"})).status == 204
            with pytest.raises(aiohttp.ClientError):
                await call("PATCH", f"{ITEMS}/conv_1", {"title": "Private"})

        code, shown, errors = await _served("--records", str(path), "--log", use=use, stop=signal.SIGTERM)
        assert 0 == code
        assert "conversations  conv_1\n" in shown
        assert [
            f"GET {ITEMS}/conv_1 200",
            f"PATCH {ITEMS}/conv_1 200, applied",
            f"DELETE {ITEMS}/omi_dev_*** 404",
            "POST /sandbox/faults 204",
            f"PATCH {ITEMS}/conv_1 dropped",
        ] == [re.sub(r"^[0-9:]{8} ", "", line) for line in errors.splitlines()]

    @pytest.mark.repository
    async def test_the_container_starts_it(self) -> None:
        """The command in the container file is one that works."""
        text = (ROOT / "docs/examples/sandbox/Containerfile").read_text()
        python, *command = json.loads(re.findall(r"^ENTRYPOINT (.*)$", text, re.M)[0])
        assert ["python", "-m", "omi_async.sandbox"] == [python, *command[:2]]
        arguments = ["0" if each == "8080" else each for each in command[2:]]
        code, shown, errors = await _served(*arguments, use=None, stop=signal.SIGTERM)
        assert (0, "") == (code, errors)
        assert "Omi sandbox on" in shown

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["--records", "no such file"], 2, "No such file"),
            (["--records", "pyproject.toml"], 2, "pyproject.toml: "),
            (["--host", "0.0.0.0"], 2, "host must be"),
            (["--write-limit", "many"], 2, "--write-limit: must be a whole number or none"),
            (["--fail", "{"], 2, "--fail: Expecting"),
            (["--fail", '{"status": 1}'], 2, "--fail: status must be"),
            (["--fail", '{"state": 1}'], 2, "--fail: state is not one of"),
            (["--fail", "[]"], 2, "--fail: a fault must be a JSON object"),
        ],
    )
    async def test_senseless_arguments_end_it_with_a_message(
        self, arguments: list[str], code: int, message: str
    ) -> None:
        """Wrong arguments are named on standard error."""
        assert (code, True) == await _refused(arguments, message)

    async def test_a_taken_port_ends_it_with_a_message(self) -> None:
        """The exit code is 1."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            assert (1, True) == await _refused(["--port", port], "cannot listen")


async def _refused(arguments: list[str], message: str) -> tuple[int | None, bool]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-m", "omi_async.sandbox", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    async with asyncio.timeout(30):
        _, errors = await process.communicate()
    text = errors.decode()
    return process.returncode, message in text and "Traceback" not in text
