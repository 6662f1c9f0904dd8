"""The statement agrees with the code that it speaks for, and with the API's own document where one is given."""

import inspect
import json
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from omi_async import (
    CLEAR,
    AsyncOmiClient,
    Geolocation,
    InvalidRequestError,
    NewActionItem,
    NewMemory,
    NewTranscriptSegment,
    ResponseError,
)
from tests.support import inside

from .compare import judge
from .stated import CALLS, OPERATIONS
from .statement import Field, Schema

pytestmark = pytest.mark.repository

BY_ID = {operation.id: operation for operation in OPERATIONS}


@pytest.mark.skipif("OMI_OPENAPI" not in os.environ, reason="OMI_OPENAPI names no file to compare with")
def test_document() -> None:
    """The API's document says what the statement says, but for the differences that are known."""
    verdict = judge(json.loads(Path(os.environ["OMI_OPENAPI"]).read_bytes()))
    assert ([], []) == (verdict.new, verdict.gone), "\n".join(["", *verdict.new, *verdict.gone])


# Calls


def test_every_operation_has_a_call() -> None:
    """Each stated operation names the method that makes it, and each method is named once."""
    assert list(CALLS) == list(BY_ID)
    assert len(CALLS) == len({call.method for call in CALLS.values()})


MADE_OF_OTHERS = {"conversations.recreate", "conversations.save_to"}
"""Methods that make several of the calls."""


def test_every_method_is_stated() -> None:
    """The methods of the resources, those for many records aside, are exactly those of the statement."""
    resources = [name for name, home in vars(AsyncOmiClient).items() if type(home).__name__ == "Room"]
    assert 7 == len(resources)
    methods = {
        f"{resource}.{name}"
        for resource in resources
        for name in vars(getattr(AsyncOmiClient, resource))
        if not name.startswith("_") and not name.endswith("_many")
    }
    assert {call.method for call in CALLS.values()} | MADE_OF_OTHERS == methods


@pytest.mark.parametrize("name", CALLS)
def test_arguments(name: str) -> None:
    """A method takes what the operation takes, and demands what the operation demands."""
    call, operation = CALLS[name], BY_ID[name]
    fields = {each: field.required for (_, each), field in operation.parameters.items()}
    if operation.body is not None and operation.body.schema.fields is not None:
        fields.update({each: field.required for each, field in operation.body.schema.fields.items()})
    expected = {call.renamed.get(each, each): needed for each, needed in fields.items() if each not in call.filled}
    given = inspect.signature(attrgetter(call.method)(AsyncOmiClient)).parameters
    options = {"self", "timeout", "retry", *call.own}
    assert options <= set(given)
    assert expected == {
        each: parameter.default is parameter.empty for each, parameter in given.items() if each not in options
    }


# Requests and answers


def title(characters: int) -> Any:
    return inside.update_conversation("conv_1", "x" * characters, True)


NOW = datetime(2026, 1, 20, 10, tzinfo=UTC)
PLACE = Geolocation(latitude=1.0, longitude=1.0)


def from_text(characters: int) -> Any:
    later = NOW + timedelta(hours=1)
    return inside.create_conversation("x" * characters, "message", "email", NOW, later, "en", PLACE)


def from_segments(count: int, characters: int) -> Any:
    segments = [NewTranscriptSegment(text="x", start=0.0, end=1.0)] * count
    later = NOW + timedelta(hours=1)
    return inside.create_conversation_from_segments(
        segments, "x" * characters, "phone", NOW, later, "en", PLACE, "device", "ios", "ambient", "done", {}, {}
    )


def memory(characters: int) -> Any:
    return inside.create_memory("x" * characters, "work", "private", ["a"])


def changed_memory(characters: int) -> Any:
    return inside.update_memory("conv_1", "x" * characters, "public", [], "work")


def action_item(characters: int) -> Any:
    return inside.create_action_item("x" * characters, True, NOW)


def changed_action_item(characters: int) -> Any:
    return inside.update_action_item("conv_1", "x" * characters, True, CLEAR)


def goal(characters: int) -> Any:
    return inside.create_goal("x" * characters, "x", "x", ["x"], NOW, "scale", 1, 1, 1, 1, "x")


def changed_goal(characters: int) -> Any:
    return inside.update_goal("conv_1", "x" * characters, "x", "x", ["x"], NOW, 1, 1, 1, 1, "x")


def question(characters: int) -> Any:
    return inside.ask("x" * characters, 5, "UTC")


REQUESTS: dict[str, Any] = {
    "updateConversation": title(1),
    "deleteConversation": inside.delete_conversation("conv_1"),
    "getConversation": inside.get_conversation("conv_1", True),
    "listConversations": inside.conversation_pages(NOW, NOW, ["work"], "folder", False, True, 25).request(),
    "createConversation": from_text(1),
    "createConversationFromSegments": from_segments(1, 1),
    "ask": question(1),
    "listMemories": inside.memory_pages(["work"], None).request(),
    "search_memories_vector_v1_dev_user_memories_vector_search_get": inside.search_memories("x", 10),
    "createMemory": memory(1),
    "createMemoriesBatch": inside.create_memories([NewMemory("x", category="work", tags=("a",))]),
    "updateMemory": changed_memory(1),
    "deleteMemory": inside.delete_memory("conv_1"),
    "listActionItems": inside.action_item_pages("conv_1", True, NOW, NOW).request(),
    "createActionItem": action_item(1),
    "createActionItemsBatch": inside.create_action_items([NewActionItem("x", completed=True, due_at=NOW)]),
    "updateActionItem": changed_action_item(1),
    "deleteActionItem": inside.delete_action_item("conv_1"),
    "listGoals": inside.list_goals(True),
    "getGoal": inside.get_goal("conv_1"),
    "createGoal": goal(1),
    "updateGoal": changed_goal(1),
    "updateGoalProgress": inside.update_goal_progress("conv_1", 1.5),
    "listGoalHistory": inside.list_goal_history("conv_1", 30),
    "deleteGoal": inside.delete_goal("conv_1"),
    "listFolders": inside.list_folders(),
    "listDailySummaries": inside.daily_summary_pages(NOW.date(), NOW.date(), None).request(),
    "getDailySummary": inside.get_daily_summary("conv_1"),
    "getCallingApiKey": inside.current_key(),
    "listApiKeys": inside.list_keys("token"),
    "createApiKey": inside.create_key("x", [], "token"),
    "revokeApiKey": inside.revoke_key("conv_1", "token"),
}
"""With every argument given."""


def fields(schema: Schema) -> Mapping[str, Field]:
    assert schema.fields is not None
    return schema.fields


def sample(schema: Schema, *, full: bool) -> Any:
    """A value that the schema allows, with all fields or only with those that are required."""
    if "null" in schema.types and not full:
        return None
    if schema.values is not None:
        return schema.values[0]
    if schema.items is not None:
        return [sample(schema.items, full=full)]
    if schema.fields is not None:
        return {name: sample(each.schema, full=full) for name, each in schema.fields.items() if full or each.required}
    if not schema.types:
        return {}
    (kind,) = schema.types - {"null"}
    values = {"boolean": True, "integer": 1, "number": 1.5, "string": "conv_1"}
    return "2026-01-20T10:00:00Z" if schema.limits.get("format") == "date-time" else values[kind]


@pytest.mark.parametrize("name", REQUESTS)
def test_request(name: str) -> None:
    """A request has the method, the path, the parameters and the fields of the statement."""
    operation, request = BY_ID[name], REQUESTS[name]
    path, _, query = request.path.partition("?")
    assert operation.method == request.method
    assert re.sub("{[a-z_]+}", "conv_1", operation.path) == path
    assert {each for place, each in operation.parameters if place == "query"} == set(dict(parse_qsl(query)))
    stated = None if operation.body is None else set(fields(operation.body.schema))
    assert stated == (None if request.body is None else set(json.loads(request.body)))


@pytest.mark.parametrize(
    ("name", "field", "build"),
    [
        ("updateConversation", "title", title),
        ("createConversation", "text", from_text),
        ("createConversationFromSegments", "transcript_segments", lambda count: from_segments(count, 1)),
        ("createConversationFromSegments", "client_session_id", lambda length: from_segments(1, length)),
        ("ask", "question", question),
        ("createMemory", "content", memory),
        ("updateMemory", "content", changed_memory),
        ("createActionItem", "description", action_item),
        ("updateActionItem", "description", changed_action_item),
        ("createGoal", "title", goal),
        ("updateGoal", "title", changed_goal),
    ],
)
def test_limits(name: str, field: str, build: Callable[[int], Any]) -> None:
    """The client takes values of the lengths that are stated and no others."""
    body = BY_ID[name].body
    assert body is not None
    limits: Any = fields(body.schema)[field].schema.limits
    shortest, longest = sorted(limits.values())
    lengths = (shortest - 1, shortest, longest, longest + 1)
    assert [True, False, False, True] == [isinstance(build(length), InvalidRequestError) for length in lengths]


UNREAD = {"created_count", "returned_count", "archive_default_visible", "policy"}
"""Fields around the records of an answer that no result tells."""


NEEDED = {"items"}
"""Fields that the API's file calls optional and the client asks for: an object without them is no answer."""


@pytest.mark.parametrize("name", [name for name in REQUESTS if name != "revokeApiKey"])
def test_answer(name: str) -> None:
    """The client reads an answer as it is stated, whole or with the required fields alone, and none that lacks one."""
    (status, schema), *_ = BY_ID[name].answers.items()
    assert schema is not None
    row = schema if schema.items is None else schema.items

    def read(document: Any) -> Any:
        body = json.dumps(document if row is schema else [document]).encode()
        return inside.read(REQUESTS[name], inside.Answer(int(status), body=body))

    needed = {each: value for each, value in sample(row, full=True).items() if each in NEEDED}
    for full in (name != "updateActionItem", False):  # which is asked to clear a date
        assert read({**sample(row, full=full), **needed}) is not None
    required = {each for each, field in fields(row).items() if field.required or each in needed} - UNREAD
    assert required
    for missing in required:
        with pytest.raises(ResponseError):
            read({each: value for each, value in sample(row, full=True).items() if each != missing})


def test_answer_without_a_body() -> None:
    """A revoked key has an empty answer, and nothing else means that it was revoked."""
    assert {"204": None} == BY_ID["revokeApiKey"].answers
    assert inside.read(REQUESTS["revokeApiKey"], inside.Answer(204)) is None
    for answer in (
        inside.Answer(200),
        inside.Answer(200, body=b"{}"),
        inside.Answer(202),
        inside.Answer(204, body=b"x"),
    ):
        with pytest.raises(ResponseError):
            inside.read(REQUESTS["revokeApiKey"], answer)


# The table in the documentation

ROW = re.compile(r"^\| `([a-z_.]+)` \| `([A-Z]+) ([^`]+)` \| ([^|]+) \| [^|]+ \| (read|once|repeatable) \|", re.M)


def test_table() -> None:
    """The table of operations has each method with its endpoint and with what is done after a lost answer."""
    page = (Path(__file__).resolve().parents[2] / "docs/operations.md").read_text(encoding="utf-8")
    told = {}
    for name, method, path, scope, again in ROW.findall(page):
        start = "/v1/dev" if path.startswith("/") else "/v1/dev/user/"
        told[name] = (method, start + path, "ID token" in scope, {"read": "none"}.get(again, again))
    stated = {
        call.method: (
            BY_ID[name].method,
            re.sub("{[a-z_]+}", "{id}", BY_ID[name].path),
            REQUESTS[name].authorization is not None,
            REQUESTS[name].effect,
        )
        for name, call in CALLS.items()
    }
    assert stated == told
