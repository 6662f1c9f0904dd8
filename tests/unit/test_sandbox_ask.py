"""The sandbox answers questions as the newest server does, without its language model."""

import json
from collections.abc import AsyncIterator

import pytest

from omi_async.sandbox import Sandbox
from tests.support.caller import Caller, calling

ASK = "/v1/dev/user/ask"
IANA = "timezone must be a valid IANA timezone"


@pytest.fixture
async def call() -> AsyncIterator[Caller]:
    async with calling(Sandbox()) as caller:
        yield caller


async def test_the_answer_names_its_sources(call: Caller) -> None:
    """Those that are most like the question, as far as the limit goes; reading is enough of a scope."""
    sent: dict[str, object] = {"question": "When is the demo of the export?", "limit": 1, "timezone": " Europe/Lisbon "}
    answer = await call("POST", ASK, sent, key=call.sandbox.read_only_key)
    assert (
        b'{"answer":"The export is done, search is still slow, and a demo was set for Friday.","sources":['
        b'{"id":"conv_standup","title":"Monday Stand-up","created_at":"2026-09-21T08:12:41.318204Z"}]}'
    ) == answer.body
    assert not call.sandbox.requests[0].applied


@pytest.mark.parametrize("question", ["Zebras?", "Background noise", "founders"])
async def test_nothing_found(call: Caller, question: str) -> None:
    """Hidden and locked conversations are never used."""
    answer = await call("POST", ASK, {"question": question})
    assert (
        b'{"answer":"I couldn\'t find any of your conversations relevant to that question.","sources":[]}'
        == answer.body
    )


async def test_a_blank_question_is_400(call: Caller) -> None:
    """The one refusal of this kind."""
    answer = await call("POST", ASK, {"question": "  "})
    assert (400, b'{"detail":"question must not be empty"}') == (answer.status, answer.body)


@pytest.mark.parametrize(
    ("sent", "kind", "message"),
    [
        ({}, "missing", "Field required"),
        ({"question": "a" * 1001}, "string_too_long", "String should have at most 1000 characters"),
        ({"question": "a", "limit": 0}, "greater_than_equal", "Input should be greater than or equal to 1"),
        ({"question": "a", "limit": 11}, "less_than_equal", "Input should be less than or equal to 10"),
        ({"question": "a", "timezone": None}, "string_type", "Input should be a valid string"),
        ({"question": "a", "timezone": "Mars/Base"}, "value_error", f"Value error, {IANA}"),
        ({"question": "a", "timezone": " "}, "value_error", f"Value error, {IANA}"),
        ({"question": "a", "timezone": "x" * 65}, "value_error", f"Value error, {IANA}"),
        (
            {"question": "a", "timezone": "../x"},
            "value_error",
            "Value error, ZoneInfo keys must refer to subdirectories of TZPATH, got: ../x",
        ),
    ],
)
async def test_refusals(call: Caller, sent: dict[str, object], kind: str, message: str) -> None:
    """Each is a 422 with a list."""
    answer = await call("POST", ASK, sent)
    (found,) = json.loads(answer.body)["detail"]
    assert (422, kind, message) == (answer.status, found["type"], found["msg"])


async def test_it_has_a_window_of_its_own() -> None:
    """Which belongs to the reads, though it is a POST; the older server has no such route."""
    async with calling(Sandbox(read_limit=2, write_limit=0)) as call:
        assert [200, 429] == [(await call("POST", ASK, {"question": "a"})).status for _ in range(2)]
        assert 200 == (await call("GET", "/v1/dev/user/conversations")).status
    async with calling(Sandbox(generation="2026-05")) as call:
        assert b'{"detail":"Not Found"}' == (await call("POST", ASK, {"question": "a"})).body
