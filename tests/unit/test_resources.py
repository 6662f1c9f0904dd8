"""The resources beside conversations: what each operation sends, what it refuses, and what it reads."""

import copy
import json
import pickle
import traceback
import zoneinfo
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import repeat
from math import inf, nan
from typing import Any
from urllib.parse import parse_qsl

import pytest

from omi_async import (
    CLEAR,
    ActionItem,
    ActionItemUpdate,
    AnswerSource,
    ApiKey,
    AsyncOmiClient,
    ConversationAnswer,
    CreatedApiKey,
    DailySummary,
    Deletion,
    Folder,
    Goal,
    GoalHistoryEntry,
    GoalMetric,
    GoalType,
    InvalidRequestError,
    Memory,
    MemoryCategory,
    MemoryMatch,
    MemoryUpdate,
    NewActionItem,
    NewMemory,
    OmiError,
    PermissionDeniedError,
    ResponseError,
)
from omi_async.resources import action_items, memories
from omi_sync import OmiClient
from tests.support import inside
from tests.support.sides import KEY

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
EVENING = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
SECRET = "canary-of-a-text"
TOKEN = "eyJ-canary-of-a-token"

MEMORIES = "/v1/dev/user/memories"
ITEMS = "/v1/dev/user/action-items"
GOALS = "/v1/dev/user/goals"
SUMMARIES = "/v1/dev/user/daily-summaries"
CONVERSATION_READS = "reads /v1/dev/user/conversations"


def new_goal(title: Any = "Run", **settings: Any) -> Any:
    names = ["desired_outcome", "why_it_matters", "horizon_at", "goal_type"]
    names += ["target_value", "current_value", "min_value", "max_value", "unit"]
    return inside.create_goal(title, **{**dict.fromkeys(names), "success_criteria": (), **settings})


def changed_goal(goal_id: Any = "g1", **settings: Any) -> Any:
    names = ["title", "desired_outcome", "why_it_matters", "success_criteria", "horizon_at"]
    names += ["target_value", "current_value", "min_value", "max_value", "unit"]
    return inside.update_goal(goal_id, **{**dict.fromkeys(names), **settings})


# What is sent

REQUESTS: list[tuple[Any, str, str, Any, str, str]] = [
    # request, operation, method and path, body, effect, window
    (inside.list_folders(), "folders.list", "GET /v1/dev/user/folders", None, "none", CONVERSATION_READS),
    (
        inside.memory_pages(None, None).request(),
        "memories.list",
        f"GET {MEMORIES}?limit=1000&offset=0",
        None,
        "none",
        f"reads {MEMORIES}",
    ),
    (
        inside.memory_pages([MemoryCategory.WORK, "new"], 7).request(),
        "memories.list",
        f"GET {MEMORIES}?categories=work%2Cnew&limit=7&offset=0",
        None,
        "none",
        f"reads {MEMORIES}",
    ),
    (
        inside.search_memories("tea & cake", 3),
        "memories.search",
        f"GET {MEMORIES}/vector/search?query=tea%20%26%20cake&limit=3",
        None,
        "none",
        f"reads {MEMORIES}",
    ),
    (
        inside.create_memory(" Tea. ", None, "private", ()),
        "memories.create",
        f"POST {MEMORIES}",
        {"content": "Tea.", "visibility": "private", "tags": []},
        "repeatable",
        f"writes {MEMORIES}",
    ),
    (
        inside.create_memories([NewMemory("Tea."), NewMemory("Cake.", category="work", tags=("a",))]),
        "memories.create_batch",
        f"POST {MEMORIES}/batch",
        {
            "memories": [
                {"content": "Tea.", "visibility": "private", "tags": []},
                {"content": "Cake.", "category": "work", "visibility": "private", "tags": ["a"]},
            ]
        },
        "repeatable",
        f"writes {MEMORIES} in batches",
    ),
    (
        inside.update_memory("m1", None, "public", [], MemoryCategory.HABITS),
        "memories.update",
        f"PATCH {MEMORIES}/m1",
        {"visibility": "public", "tags": [], "category": "habits"},
        "repeatable",
        f"writes {MEMORIES}",
    ),
    (
        memories.update_item(MemoryUpdate("m1", content=" Tea. ")),
        "memories.update",
        f"PATCH {MEMORIES}/m1",
        {"content": "Tea."},
        "repeatable",
        f"writes {MEMORIES}",
    ),
    (
        inside.delete_memory("m1"),
        "memories.delete",
        f"DELETE {MEMORIES}/m1",
        None,
        "repeatable",
        f"writes {MEMORIES}",
    ),
    (
        inside.action_item_pages(None, None, None, None).request(),
        "action_items.list",
        f"GET {ITEMS}?limit=1000&offset=0",
        None,
        "none",
        f"reads {ITEMS}",
    ),
    (
        inside.action_item_pages("c1", False, NOON, EVENING).request(),
        "action_items.list",
        f"GET {ITEMS}?conversation_id=c1&completed=false&start_date=2026-09-01T12%3A00%3A00Z"
        "&end_date=2026-09-01T12%3A00%3A00Z&limit=1000&offset=0",
        None,
        "none",
        f"reads {ITEMS}",
    ),
    (
        inside.create_action_item(" Paint. ", False, None),
        "action_items.create",
        f"POST {ITEMS}",
        {"description": "Paint."},
        "once",
        f"writes {ITEMS}",
    ),
    (
        inside.create_action_items([NewActionItem("Paint.", completed=True, due_at=EVENING)]),
        "action_items.create_batch",
        f"POST {ITEMS}/batch",
        {"action_items": [{"description": "Paint.", "completed": True, "due_at": "2026-09-01T12:00:00Z"}]},
        "once",
        f"writes {ITEMS}",
    ),
    (
        inside.update_action_item("a1", " Paint. ", False, NOON),
        "action_items.update",
        f"PATCH {ITEMS}/a1",
        {"description": "Paint.", "completed": False, "due_at": "2026-09-01T12:00:00Z"},
        "repeatable",
        f"writes {ITEMS}",
    ),
    (
        action_items.update_item(ActionItemUpdate("a1", due_at=CLEAR)),
        "action_items.update",
        f"PATCH {ITEMS}/a1",
        {"due_at": None},
        "repeatable",
        f"writes {ITEMS}",
    ),
    (
        inside.delete_action_item("a1"),
        "action_items.delete",
        f"DELETE {ITEMS}/a1",
        None,
        "repeatable",
        f"writes {ITEMS}",
    ),
    (inside.list_goals(False), "goals.list", f"GET {GOALS}?limit=1000", None, "none", f"reads {GOALS}"),
    (
        inside.list_goals(True),
        "goals.list",
        f"GET {GOALS}?limit=1000&include_inactive=true",
        None,
        "none",
        f"reads {GOALS}",
    ),
    (inside.get_goal("g1"), "goals.get", f"GET {GOALS}/g1", None, "none", f"reads {GOALS}"),
    (new_goal(" Run "), "goals.create", f"POST {GOALS}", {"title": "Run"}, "once", f"writes {GOALS}"),
    (
        new_goal(
            success_criteria=["Three runs"], horizon_at=EVENING, goal_type=GoalType.NUMERIC, target_value=10, unit="km"
        ),
        "goals.create",
        f"POST {GOALS}",
        {
            "title": "Run",
            "success_criteria": ["Three runs"],
            "horizon_at": "2026-09-01T12:00:00Z",
            "goal_type": "numeric",
            "target_value": 10.0,
            "unit": "km",
        },
        "once",
        f"writes {GOALS}",
    ),
    (
        changed_goal(why_it_matters=CLEAR, horizon_at=CLEAR, unit=CLEAR, min_value=CLEAR, max_value=CLEAR),
        "goals.update",
        f"PATCH {GOALS}/g1",
        {"why_it_matters": None, "horizon_at": None, "min_value": None, "max_value": None, "unit": None},
        "repeatable",
        f"writes {GOALS}",
    ),
    (
        changed_goal(title=" Run ", success_criteria=[], target_value=5, current_value=0),
        "goals.update",
        f"PATCH {GOALS}/g1",
        {"title": "Run", "success_criteria": [], "target_value": 5.0, "current_value": 0.0},
        "repeatable",
        f"writes {GOALS}",
    ),
    (
        inside.update_goal_progress("g1", 1e15),
        "goals.update_progress",
        f"PATCH {GOALS}/g1/progress?current_value=1000000000000000.0",
        None,
        "repeatable",
        f"writes {GOALS}",
    ),
    (
        inside.list_goal_history("g1", 365),
        "goals.history",
        f"GET {GOALS}/g1/history?days=365",
        None,
        "none",
        f"reads {GOALS}",
    ),
    (inside.delete_goal("g1"), "goals.delete", f"DELETE {GOALS}/g1", None, "repeatable", f"writes {GOALS}"),
    (
        inside.daily_summary_pages(date(2026, 9, 1), date(2026, 9, 2), None).request(),
        "daily_summaries.list",
        f"GET {SUMMARIES}?start_date=2026-09-01&end_date=2026-09-02&limit=100&offset=0",
        None,
        "none",
        CONVERSATION_READS,
    ),
    (
        inside.get_daily_summary("s1"),
        "daily_summaries.get",
        f"GET {SUMMARIES}/s1",
        None,
        "none",
        CONVERSATION_READS,
    ),
    (
        inside.ask("Which door?", 3, " Europe/Lisbon "),
        "conversations.ask",
        "POST /v1/dev/user/ask",
        {"question": "Which door?", "limit": 3, "timezone": "Europe/Lisbon"},
        "none",
        "reads /v1/dev/user/ask",
    ),
    (inside.current_key(), "keys.current", "GET /v1/dev/key", None, "none", "reads /v1/dev/key"),
    (inside.list_keys(TOKEN), "keys.list", "GET /v1/dev/keys", None, "none", "reads /v1/dev/keys"),
    (
        inside.create_key(" Laptop ", ["memories:read"], TOKEN),
        "keys.create",
        "POST /v1/dev/keys",
        {"name": "Laptop", "scopes": ["memories:read"]},
        "once",
        "writes /v1/dev/keys",
    ),
    (
        inside.create_key("Laptop", None, TOKEN),
        "keys.create",
        "POST /v1/dev/keys",
        {"name": "Laptop"},
        "once",
        "writes /v1/dev/keys",
    ),
    (
        inside.revoke_key("k1", TOKEN),
        "keys.revoke",
        "DELETE /v1/dev/keys/k1",
        None,
        "repeatable",
        "writes /v1/dev/keys",
    ),
]


@pytest.mark.parametrize(("request_", "operation", "line", "body", "effect", "window"), REQUESTS, ids=lambda _: "")
def test_request(request_: Any, operation: str, line: str, body: Any, effect: str, window: str) -> None:
    """A call sends its values and nothing else, has the effect that it has, and counts in its window."""
    assert isinstance(request_, inside.Request), request_
    assert (operation, line) == (request_.operation, f"{request_.method} {request_.path}")
    assert body == (None if request_.body is None else json.loads(request_.body))
    assert (effect, (window,)) == (request_.effect, request_.windows)


def test_slow() -> None:
    """A call behind which a language model works has time for it."""
    slow = [inside.ask("x", 5, "UTC"), inside.create_memory("x", None, "private", ())]
    slow.append(inside.create_memories([NewMemory("x", category="work"), NewMemory("x")]))  # type: ignore[arg-type]
    quick = [inside.create_memory("x", "work", "private", ()), inside.create_action_item("x", False, None)]
    assert [True, True, True, False, False] == [getattr(each, "slow", None) for each in [*slow, *quick]]


# What is refused

Refusal = tuple[Any, type[Exception], str]

EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

REFUSALS: list[Refusal] = [
    (inside.search_memories(" ", 10), InvalidRequestError, "query must not be blank"),
    (inside.search_memories("x", 0), InvalidRequestError, "limit must be from 1 to 100"),
    (inside.search_memories("x", True), TypeError, "limit must be an int"),
    (inside.create_memory(" ", None, "private", ()), InvalidRequestError, "content must not be blank"),
    (inside.create_memory(SECRET * 50, None, "private", ()), InvalidRequestError, "content must be at most 500"),
    (inside.create_memory("x", " ", "private", ()), InvalidRequestError, "category must not be blank"),
    (inside.create_memory("x", None, "friends", ()), InvalidRequestError, "visibility must be public or private"),
    (inside.create_memory("x", None, None, ()), TypeError, "visibility must be a str"),  # type: ignore[arg-type]
    (inside.create_memory("x", None, "private", SECRET), TypeError, "tags must be an iterable of str"),
    (inside.create_memory("x", None, "private", ["a", " "]), InvalidRequestError, "tags[1] must not be blank"),
    (inside.create_memory("x", None, "private", None), TypeError, "tags must be an iterable"),  # type: ignore[arg-type]
    (inside.create_memories([]), InvalidRequestError, "memories must be 1 to 25, not none"),
    (inside.create_memories(repeat(NewMemory("x"))), InvalidRequestError, "memories must be 1 to 25, not more"),
    (inside.create_memories([NewMemory("x"), NewMemory(" ")]), InvalidRequestError, "memories[1].content must not"),
    (inside.create_memories([{"content": SECRET}]), TypeError, "memories[0] must be a NewMemory"),  # type: ignore[list-item]
    (inside.update_memory("m1", None, None, None, None), InvalidRequestError, "content, visibility, tags or category"),
    (inside.update_memory("../goals/g1", "x", None, None, None), InvalidRequestError, "memory_id must be"),
    (inside.update_memory("m1", " ", None, None, None), InvalidRequestError, "content must not be blank"),
    (inside.update_memory("m1", CLEAR, None, None, None), TypeError, "content must be a str"),  # type: ignore[arg-type]
    (inside.update_memory("m1", "x", "friends", None, None), InvalidRequestError, "visibility must be public or"),
    (memories.update_item("m1"), TypeError, "an update must be a MemoryUpdate, not str"),  # type: ignore[arg-type]
    (inside.delete_memory(""), InvalidRequestError, "memory_id must be"),
    (inside.create_action_item(" ", False, None), InvalidRequestError, "description must not be blank"),
    (inside.create_action_item("x" * 501, False, None), InvalidRequestError, "description must be at most 500"),
    # The server counts before it strips.
    (inside.create_action_item("x" * 499 + "  ", False, None), InvalidRequestError, "at most 500 characters, not 501"),
    (inside.create_action_item("x", None, None), TypeError, "completed must be True or False"),  # type: ignore[arg-type]
    (inside.create_action_item("x", False, datetime(2026, 9, 1)), InvalidRequestError, "due_at must be timezone-aware"),
    (inside.create_action_item("x", False, CLEAR), TypeError, "due_at must be a datetime"),  # type: ignore[arg-type]
    (inside.create_action_item("x", False, LATEST), InvalidRequestError, "due_at must be in a year from 2 to 9998"),
    (
        inside.create_action_items([NewActionItem("x", due_at=EARLIEST)]),
        InvalidRequestError,
        "items[0].due_at must be in a year from 2 to 9998",
    ),
    (
        inside.update_action_item("a1", None, None, datetime(9999, 1, 1, tzinfo=UTC)),
        InvalidRequestError,
        "due_at must be in a year from 2 to 9998",
    ),
    (inside.create_action_items([]), InvalidRequestError, "items must be 1 to 50, not none"),
    (inside.create_action_items([NewActionItem("x")] * 51), InvalidRequestError, "items must be 1 to 50, not more"),
    (inside.create_action_items([NewActionItem("x"), SECRET]), TypeError, "items[1] must be a NewActionItem"),  # type: ignore[list-item]
    (
        inside.create_action_items([NewActionItem("x", due_at=datetime(2026, 9, 1))]),
        InvalidRequestError,
        "items[0].due_at must be timezone-aware",
    ),
    (inside.update_action_item("a1", None, None, None), InvalidRequestError, "description, completed or due_at must"),
    (inside.update_action_item("a1", CLEAR, None, None), TypeError, "description must be a str"),  # type: ignore[arg-type]
    (inside.update_action_item("a1", None, 1, None), TypeError, "completed must be True or False"),  # type: ignore[arg-type]
    (action_items.update_item(None), TypeError, "an update must be an ActionItemUpdate"),  # type: ignore[arg-type]
    (inside.delete_action_item(KEY), InvalidRequestError, "action_item_id begins like a key"),
    (inside.list_goals(1), TypeError, "include_inactive must be True or False"),  # type: ignore[arg-type]
    (inside.get_goal("."), InvalidRequestError, "goal_id must be"),
    (new_goal(" "), InvalidRequestError, "title must not be blank"),
    (new_goal("x" * 501), InvalidRequestError, "title must be at most 500"),
    (new_goal(desired_outcome=" "), InvalidRequestError, "desired_outcome must not be blank"),
    (new_goal(why_it_matters=SECRET * 200), InvalidRequestError, "why_it_matters must be at most 2000"),
    (new_goal(success_criteria=["x"] * 21), InvalidRequestError, "success_criteria must be at most 20"),
    (new_goal(success_criteria=["x", 5]), TypeError, "success_criteria[1] must be a str"),
    (new_goal(horizon_at=datetime(2026, 9, 1)), InvalidRequestError, "horizon_at must be timezone-aware"),
    (new_goal(horizon_at=EARLIEST), InvalidRequestError, "horizon_at must be in a year from 2 to 9998"),
    (changed_goal(horizon_at=LATEST), InvalidRequestError, "horizon_at must be in a year from 2 to 9998"),
    (new_goal(target_value=nan), InvalidRequestError, "target_value must be from"),
    (new_goal(target_value=1, current_value=inf), InvalidRequestError, "current_value must be from"),
    (new_goal(target_value="1"), TypeError, "target_value must be a number"),
    (new_goal(target_value=1, min_value=2, max_value=1), InvalidRequestError, "min_value must not be above max_value"),
    (new_goal(target_value=1, unit="x" * 65), InvalidRequestError, "unit must be at most 64"),
    (new_goal(unit="km", max_value=1), InvalidRequestError, "target_value or goal_type must be given with max_value"),
    (new_goal(target_value=3, min_value=CLEAR), TypeError, "min_value must be a number, not omi_async"),
    (new_goal(target_value=3, max_value=CLEAR), TypeError, "max_value must be a number, not omi_async"),
    (new_goal(target_value=3, unit=CLEAR), TypeError, "unit must be a str, not omi_async"),
    (new_goal(why_it_matters=CLEAR), TypeError, "why_it_matters must be a str, not omi_async"),
    (new_goal(horizon_at=CLEAR), TypeError, "horizon_at must be a datetime, not omi_async"),
    (new_goal(success_criteria=CLEAR), TypeError, "success_criteria must be an iterable of str, not omi_async"),
    (inside.create_memory("x", None, "private", CLEAR), TypeError, "tags must be an iterable of str"),  # type: ignore[arg-type]
    (inside.create_memory("x", CLEAR, "private", ()), TypeError, "category must be a str"),  # type: ignore[arg-type]
    (inside.create_key("x", CLEAR, TOKEN), TypeError, "scopes must be an iterable of str"),  # type: ignore[arg-type]
    (changed_goal(), InvalidRequestError, "max_value or unit must be given"),
    (changed_goal(title=CLEAR), TypeError, "title must be a str"),
    (changed_goal(desired_outcome=CLEAR), TypeError, "desired_outcome must be a str"),
    (changed_goal(success_criteria=CLEAR), TypeError, "success_criteria must be an iterable"),
    (changed_goal(target_value=CLEAR), TypeError, "target_value must be a number"),
    (changed_goal(current_value=CLEAR), TypeError, "current_value must be a number"),
    (changed_goal(min_value=2, max_value=1), InvalidRequestError, "min_value must not be above max_value"),
    (inside.update_goal_progress("g1", nan), InvalidRequestError, "current_value must be from"),
    (inside.update_goal_progress("g1", True), TypeError, "current_value must be a number"),
    (inside.list_goal_history("g1", 366), InvalidRequestError, "days must be from 1 to 365"),
    (inside.list_goal_history("g1", None), TypeError, "days must be an int"),  # type: ignore[arg-type]
    (inside.delete_goal("__g__"), InvalidRequestError, "goal_id must be"),
    (inside.get_daily_summary("a/b"), InvalidRequestError, "summary_id must be"),
    (inside.ask(" ", 5, "UTC"), InvalidRequestError, "question must not be blank"),
    (inside.ask(SECRET * 100, 5, "UTC"), InvalidRequestError, "question must be at most 1000"),
    (inside.ask("x", 11, "UTC"), InvalidRequestError, "limit must be from 1 to 10"),
    (inside.ask("x", 5, "../etc"), InvalidRequestError, "timezone must be an IANA name"),
    (inside.ask("x", 5, ""), InvalidRequestError, "timezone must not be blank"),
    (inside.create_key(" ", None, TOKEN), InvalidRequestError, "name must not be blank"),
    (inside.create_key("x", "memories:read", TOKEN), TypeError, "scopes must be an iterable"),
    (inside.create_key("x", None, KEY), InvalidRequestError, "id_token is a key"),
    (inside.create_key("x", None, f"Bearer {TOKEN}"), InvalidRequestError, "id_token must be 1 to 8192 visible"),
    (inside.list_keys(TOKEN.encode()), TypeError, "id_token must be a str, not bytes"),  # type: ignore[arg-type]
    (inside.list_keys(f"{TOKEN}\n"), InvalidRequestError, "id_token must be 1 to 8192 visible ASCII"),
    (inside.list_keys(""), InvalidRequestError, "id_token must be 1 to 8192 visible ASCII"),
    (inside.revoke_key("a/b", TOKEN), InvalidRequestError, "key_id must be"),
]


@pytest.mark.scenario(323)
@pytest.mark.parametrize(("refusal", "kind", "words"), REFUSALS, ids=[row[2][:50] for row in REFUSALS])
def test_refusal(refusal: Any, kind: type[Exception], words: str) -> None:
    """A bad value is refused by its name, in words that do not repeat it, in a traceback without a frame."""
    assert kind is type(refusal)
    assert words in str(refusal)
    shown = "".join(traceback.format_exception(refusal))
    assert [] == [each for each in (SECRET, TOKEN, KEY) if each in shown]
    assert (None, None, None) == (refusal.__traceback__, refusal.__cause__, refusal.__context__)


LISTS: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("memories", {"categories": []}, InvalidRequestError, "at least one"),
    ("memories", {"page_size": 1001}, InvalidRequestError, "page_size must be from 1 to 1000"),
    ("memories", {"limit": 0}, InvalidRequestError, "limit must be at least 1"),
    ("action_items", {"conversation_id": ""}, InvalidRequestError, "conversation_id must be"),
    ("action_items", {"completed": 0}, TypeError, "completed must be True or False"),
    ("action_items", {"start_date": datetime(2026, 9, 1)}, InvalidRequestError, "start_date must be timezone-aware"),
    ("action_items", {"end_date": "today"}, TypeError, "end_date must be a datetime"),
    ("action_items", {"limit": "5"}, TypeError, "limit must be an int"),
    ("daily_summaries", {"start_date": NOON}, InvalidRequestError, "start_date must be a date without a time"),
    ("daily_summaries", {"end_date": "2026-09-01"}, TypeError, "end_date must be a date"),
    ("daily_summaries", {"page_size": 101}, InvalidRequestError, "page_size must be from 1 to 100"),
    ("conversations", {"end_date": LATEST}, InvalidRequestError, "end_date must be in a year from 2 to 9998"),
    ("action_items", {"end_date": LATEST}, InvalidRequestError, "end_date must be in a year from 2 to 9998"),
    ("action_items", {"start_date": EARLIEST}, InvalidRequestError, "start_date must be in a year from 2 to 9998"),
    *[
        (name, {"start_date": later, "end_date": earlier}, InvalidRequestError, "start_date must not be after end_date")
        for name, later, earlier in (
            ("conversations", NOON, NOON.replace(hour=13, tzinfo=timezone(timedelta(hours=2)))),
            ("action_items", NOON, NOON - timedelta(microseconds=1)),
            ("daily_summaries", date(2026, 9, 2), date(2026, 9, 1)),
        )
    ],
]


@pytest.mark.scenario(323, 324)
@pytest.mark.parametrize(("resource", "settings", "kind", "words"), LISTS, ids=lambda value: str(value)[:40])
def test_refusals_of_lists(resource: str, settings: dict[str, Any], kind: type[Exception], words: str) -> None:
    """A list refuses a bad argument at once and not when somebody iterates."""
    for client in (AsyncOmiClient(KEY), OmiClient(KEY)):
        with pytest.raises(kind) as caught:
            getattr(client, resource).list(**settings)
        assert kind is type(caught.value)
        assert words in str(caught.value)


# What is read

STAMP = "2026-09-01T12:00:00Z"
MEMORY = {
    "id": "m1",
    "content": "Tea.",
    "category": "habits",
    "visibility": "private",
    "tags": ["a"],
    "created_at": STAMP,
    "updated_at": None,
    "manually_added": True,
    "scoring": None,
}
FULL_MEMORY = {**MEMORY, "category": "brand-new", "reviewed": True, "user_review": True, "edited": True, "more": 1}
ITEM = {
    "id": "a1",
    "description": "Paint.",
    "completed": False,
    "created_at": STAMP,
    "updated_at": None,
    "due_at": STAMP,
    "completed_at": None,
    "conversation_id": None,
}
OLD_GOAL = {
    "id": "g1",
    "title": "Run",
    "goal_type": "scale",
    "target_value": 10,
    "current_value": 0.5,
    "min_value": 0,
    "max_value": 10,
    "unit": None,
    "is_active": True,
    "created_at": STAMP,
    "updated_at": STAMP,
}
GOAL = {
    **OLD_GOAL,
    "goal_id": "g1",
    "desired_outcome": "I run.",
    "why_it_matters": None,
    "success_criteria": ["Three runs"],
    "horizon_at": None,
    "status": "brand-new",
    "focus_rank": None,
    "metric": {"type": "numeric", "current": 0.5, "target": 10, "min": None, "max": None, "unit": None},
    "source": "user",
}
FOLDER = {
    "id": "f1",
    "name": "Work",
    "description": None,
    "color": "#fff",
    "icon": "💼",
    "created_at": STAMP,
    "updated_at": STAMP,
    "order": 2,
    "is_default": False,
    "is_system": True,
    "conversation_count": 3,
}
READ_FOLDER = Folder(
    id="f1",
    name="Work",
    color="#fff",
    icon="💼",
    created_at=NOON,
    updated_at=NOON,
    order=2,
    is_system=True,
    conversation_count=3,
)
KEY_ROW = {"id": "k1", "name": "Laptop", "key_prefix": "omi_dev_ab...yz", "created_at": "2026-09-01T12:00:00"}
NO_POLICY = {"returned_count": 1, "archive_default_visible": False, "policy": {}}
READ_MEMORY = Memory(
    id="m1", content="Tea.", category=MemoryCategory.HABITS, tags=("a",), created_at=NOON, manually_added=True
)
READ_ITEM = ActionItem(id="a1", description="Paint.", completed=False, created_at=NOON, due_at=NOON)
READ_OLD_GOAL = Goal(
    id="g1",
    title="Run",
    goal_type="scale",
    target_value=10.0,
    current_value=0.5,
    min_value=0.0,
    max_value=10.0,
    is_active=True,
    created_at=NOON,
    updated_at=NOON,
)

ANSWERS: list[tuple[Any, Any, Any]] = [
    (inside.list_folders(), [FOLDER, {**FOLDER, "category_mapping": None}], (READ_FOLDER, READ_FOLDER)),
    (inside.create_memory("x", None, "private", ()), MEMORY, READ_MEMORY),
    (
        inside.update_memory("m1", "x", None, None, None),
        FULL_MEMORY,
        Memory(
            id="m1",
            content="Tea.",
            category="brand-new",
            tags=("a",),
            created_at=NOON,
            manually_added=True,
            reviewed=True,
            user_review=True,
            edited=True,
        ),
    ),
    (inside.create_memories([NewMemory("x")]), {"memories": [MEMORY], "created_count": 1}, (READ_MEMORY,)),
    (
        inside.search_memories("x", 5),
        {
            **NO_POLICY,
            "items": [
                {"id": "m1", "content": "Tea.", "category": "habits", "relevance_score": 1, "extra": 1},
                {"id": "m2", "relevance_score": None},
            ],
        },
        (
            MemoryMatch(id="m1", content="Tea.", category=MemoryCategory.HABITS, relevance_score=1.0),
            MemoryMatch(id="m2"),
        ),
    ),
    (inside.create_action_item("x", False, None), ITEM, READ_ITEM),
    (inside.create_action_items([NewActionItem("x")]), {"action_items": [ITEM], "created_count": 1}, (READ_ITEM,)),
    (inside.get_goal("g1"), OLD_GOAL, READ_OLD_GOAL),
    (
        inside.update_goal_progress("g1", 0.5),
        GOAL,
        Goal(
            id="g1",
            goal_id="g1",
            title="Run",
            desired_outcome="I run.",
            success_criteria=("Three runs",),
            status="brand-new",
            metric=GoalMetric(type=GoalType.NUMERIC, current=0.5, target=10.0),
            source="user",
            goal_type="scale",
            target_value=10.0,
            current_value=0.5,
            min_value=0.0,
            max_value=10.0,
            is_active=True,
            created_at=NOON,
            updated_at=NOON,
        ),
    ),
    (
        inside.list_goal_history("g1", 30),
        [{"date": "2026-09-01", "value": 5, "recorded_at": "2026-09-01T12:00:00+00:00"}],
        (GoalHistoryEntry(date="2026-09-01", value=5.0, recorded_at=NOON),),
    ),
    (inside.delete_goal("g1"), {"success": True}, Deletion(id="g1", confirmed=True)),
    (inside.get_daily_summary("s1"), {"id": "s1", "visibility": "private"}, DailySummary(id="s1")),
    (
        inside.ask("x", 5, "UTC"),
        {"answer": "The red one.", "sources": [{"id": "c1", "title": "Doors", "created_at": None}]},
        ConversationAnswer(answer="The red one.", sources=(AnswerSource(id="c1", title="Doors"),)),
    ),
    (
        inside.current_key(),
        {**KEY_ROW, "last_used_at": None, "scopes": ["memories:read"]},
        ApiKey(id="k1", name="Laptop", key_prefix="omi_dev_ab...yz", created_at=NOON, scopes=("memories:read",)),
    ),
    (
        inside.create_key("x", None, TOKEN),
        {**KEY_ROW, "last_used_at": None, "scopes": None, "key": KEY},
        CreatedApiKey(id="k1", name="Laptop", key_prefix="omi_dev_ab...yz", created_at=NOON, key=KEY),
    ),
]


@pytest.mark.parametrize(("request_", "document", "result"), ANSWERS, ids=[row[0].operation for row in ANSWERS])
def test_answer(request_: Any, document: Any, result: Any) -> None:
    """The answers of both generations are read, and what a newer server adds is ignored."""
    assert result == inside.read(request_, inside.Answer(200, body=json.dumps(document).encode()))


NULLS = {"topic": None, "emoji": None, "summary": None, "conversation_ids": None}


def test_daily_summary_of_nulls() -> None:
    """Whatever the server leaves empty in a summary is None, and whatever it adds is ignored."""
    names = [
        "date created_at headline overview day_emoji stats highlights action_items unresolved_questions",
        "decisions_made knowledge_nuggets locations",
    ]
    nothing = dict.fromkeys(" ".join(names).split())
    document: dict[str, Any] = {"id": "s1", **nothing, "memories_learned": [{"a": 1}], "new": {}}
    read = inside.read(inside.get_daily_summary("s1"), inside.Answer(200, body=json.dumps(document).encode()))  # type: ignore[arg-type]
    assert DailySummary(id="s1", memories_learned=({"a": 1},)) == read
    document = {"id": "s1", "highlights": [NULLS], "stats": {"watching_minutes": None}}
    read = inside.read(inside.get_daily_summary("s1"), inside.Answer(200, body=json.dumps(document).encode()))  # type: ignore[arg-type]
    assert read.highlights is not None
    assert read.stats is not None
    assert (None, None) == (read.highlights[0].topic, read.stats.watching_minutes)


STILL_DUE = inside.update_action_item("a1", "x", None, CLEAR)

UNTRUE: list[tuple[Any, Any, str]] = [
    # An older server takes null for nothing given, and the answer shows it.
    (STILL_DUE, ITEM, "$.due_at"),
    (changed_goal(why_it_matters=CLEAR), {**GOAL, "why_it_matters": "x"}, "$.why_it_matters"),
    (changed_goal(horizon_at=CLEAR), {**GOAL, "horizon_at": STAMP}, "$.horizon_at"),
    (changed_goal(unit=CLEAR), {**GOAL, "unit": "km"}, "$.unit"),
    (changed_goal(min_value=CLEAR), {**GOAL, "metric": {"type": "scale", "current": 0, "target": 1, "min": 0}}, "$.metric.min"),  # noqa: E501
    (changed_goal(max_value=CLEAR), {**GOAL, "metric": {"type": "scale", "current": 0, "target": 1, "max": 9}}, "$.metric.max"),  # noqa: E501
    # Another record, or not as many as were sent.
    (inside.update_memory("m2", "x", None, None, None), MEMORY, "$.id"),
    (inside.create_memories([NewMemory("x")] * 2), {"memories": [MEMORY], "created_count": 1}, "$.memories"),
    (inside.create_action_items([NewActionItem("x")]), {"action_items": [], "created_count": 0}, "$.action_items"),
    (inside.create_key("x", None, TOKEN), KEY_ROW, "$.key"),
    (inside.current_key(), {**KEY_ROW, "scopes": "all"}, "$.scopes"),
    (inside.delete_goal("g1"), {"success": False}, "$.success"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "document", "path"), UNTRUE, ids=[row[2] for row in UNTRUE])
def test_success_that_is_none(request_: Any, document: Any, path: str) -> None:
    """An answer that does not show what was asked for is an error of unknown outcome that names the place."""
    with pytest.raises(ResponseError) as caught:
        inside.read(request_, inside.Answer(200, body=json.dumps(document).encode()))
    assert (path, "unknown") == (caught.value.path, caught.value.outcome)


def test_cleared() -> None:
    """What an answer shows as cleared is a success, also where a goal has no metric or the server no such field."""
    body = json.dumps({**ITEM, "due_at": None}).encode()
    assert inside.read(STILL_DUE, inside.Answer(200, body=body)).due_at is None  # type: ignore[arg-type]
    everything = changed_goal(why_it_matters=CLEAR, horizon_at=CLEAR, unit=CLEAR, min_value=CLEAR, max_value=CLEAR)
    for document in (GOAL, {**GOAL, "metric": None}, OLD_GOAL):
        assert "g1" == inside.read(everything, inside.Answer(200, body=json.dumps(document).encode())).id


def test_clear_is_one_thing() -> None:
    """`CLEAR` stays itself through copies and pickles, and shows its name."""
    assert CLEAR is copy.deepcopy(CLEAR) is pickle.loads(pickle.dumps(CLEAR))
    assert "CLEAR" == repr(CLEAR)
    assert CLEAR is not None
    assert CLEAR


# Refusals of the server that need words of their own

GRANTS = [
    {"enabled": False, "reason": "missing_app_key_scope_grant", "consumer": "developer_api", "app_id": "a"},
    {"reason": "missing_write_grant", "operation": "write", "required_scope": "memories.write"},
    {"code": "developer_memory_access_not_ready", "reason": "x"},
]
NEW_KEY = "a new key cures it"


@pytest.mark.parametrize("detail", GRANTS, ids=lambda detail: detail["reason"])
@pytest.mark.parametrize("request_", [row[0] for row in REQUESTS if row[1].startswith("memories.")], ids=lambda _: "")
def test_a_missing_grant(request_: Any, detail: dict[str, Any]) -> None:
    """Where the key lacks the grant for memories, the error says what helps."""
    with pytest.raises(PermissionDeniedError, match=NEW_KEY) as caught:
        inside.read(request_, inside.Answer(403, body=json.dumps({"detail": detail}).encode()))
    assert detail["reason"] in str(caught.value)
    rebuilt = type(caught.value)(*json.loads(json.dumps(caught.value.args)))
    assert str(caught.value) == str(rebuilt)


@pytest.mark.parametrize(
    ("request_", "detail"),
    [
        (inside.delete_memory("m1"), {"code": "account_deletion_in_progress", "status": "x", "retryable": False}),
        (inside.delete_memory("m1"), "Insufficient permissions. Required scope: memories:write"),
        (inside.delete_goal("g1"), GRANTS[0]),
    ],
)
def test_no_missing_grant(request_: Any, detail: Any) -> None:
    """An account that is being deleted, a missing scope and other resources do not ask for a new key."""
    with pytest.raises(PermissionDeniedError) as caught:
        inside.read(request_, inside.Answer(403, body=json.dumps({"detail": detail}).encode()))
    assert NEW_KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        (("New.", None, None, None), "unknown"),
        (("New.", "public", None, None), "unknown"),
        ((None, "public", None, None), "not_applied"),
        ((None, None, ["a"], "work"), "not_applied"),
    ],
)
def test_a_memory_that_may_have_moved(changes: Any, outcome: str) -> None:
    """A new text may give a memory a new id. Missed under its old one, it may have been changed."""
    request_: Any = inside.update_memory("m1", *changes)
    for document, expected in (({"detail": "Memory not found"}, outcome), ({"detail": "Not Found"}, "not_applied")):
        with pytest.raises(OmiError) as caught:
            inside.read(request_, inside.Answer(404, body=json.dumps(document).encode()))
        assert (expected, False) == (caught.value.outcome, caught.value.retryable)


@pytest.mark.scenario(367)
def test_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A zone that this machine does not know is refused, unless it has no zones to know."""
    for name in ("Europe/Lisbn", "Europe", "leapseconds"):
        assert "timezone must be an IANA name" in str(inside.ask("x", 5, name))
    assert isinstance(inside.ask("x", 5, "America/New_York"), inside.Request)

    def unknown(name: str) -> object:
        raise zoneinfo.ZoneInfoNotFoundError(name)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", unknown)
    for name in ("UTC", "Europe/Lisbon", "Europe/Lisbn"):
        assert isinstance(inside.ask("x", 5, name), inside.Request)


def test_the_token_is_in_no_error() -> None:
    """A server that repeats the ID token does not bring it into the error, which speaks of the token."""
    for status in (401, 403, 422, 500):
        body = json.dumps({"detail": f"Bad token: {TOKEN}"}).encode()
        with pytest.raises(Exception, match="answered") as caught:
            inside.read(inside.list_keys(TOKEN), inside.Answer(status, body=body))  # type: ignore[arg-type]
        assert TOKEN not in repr(vars(caught.value))
        assert (status in (401, 403)) == ("made with the ID token" in str(caught.value))
    assert TOKEN not in repr(inside.list_keys(TOKEN))


# Lists


class Server(inside.Offline):
    """Answers the requests of a listing out of its rows, as `answer` decides."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[dict[str, str]] = []

    async def call(self, request: inside.Request[Any], timeout: object, retry: object) -> Any:
        query = dict(parse_qsl(request.path.partition("?")[2]))
        self.asked.append(query)
        assert len(self.asked) < 500, "it does not end"
        rows, headers = self.answer(query)
        answer = inside.Answer(200, body=json.dumps(rows).encode())
        answer.headers.update(headers)  # type: ignore[attr-defined]
        return inside.read(request, answer)


async def listed(server: Server, pages: Any, limit: int | None = None) -> tuple[list[str], Any]:
    listing: Any = inside.AsyncListing(server, pages, limit, None, None)  # type: ignore[arg-type]
    return [row.id async for row in listing], listing


def remembered(count: int, *, hidden: Any = (), most: int = 10_000) -> Server:
    """A server with so many memories, of which it hides some after it has cut the page."""

    def answer(query: dict[str, str]) -> tuple[list[dict[str, str]], dict[str, str]]:
        offset, size = int(query["offset"]), min(int(query["limit"]), most)
        assert offset + size <= 5000, "413"
        return [{"id": f"m{n}"} for n in range(offset, min(offset + size, count)) if n not in hidden], {}

    return Server(answer)


@pytest.mark.parametrize(
    ("count", "size", "hidden", "found", "gaps"),
    [
        (0, 10, (), 0, False),
        (30, 10, (), 30, False),
        (35, 10, (), 35, False),
        (35, 10, range(12, 17), 30, True),
        (35, 10, range(10, 20), 25, True),
        (35, 10, range(30, 35), 30, False),
        (5200, 1000, (), 5000, True),
        (5200, 300, (), 5000, True),
        (5000, 999, range(4990, 5000), 4990, False),
        (60, 10, [*range(9), 10, 11], 49, True),
        (5000, 1000, [n for n in range(5000) if n % 100], 50, True),
        (5200, 1000, [n for n in range(5200) if n % 100], 50, True),
        (200, 10, [n for n in range(200) if n % 19], 11, True),
        (100, 1, [5, 6], 98, True),
        (2000, 10, range(100, 1099), 1001, True),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.scenario(320)
async def test_memories(count: int, size: int, hidden: Any, found: int, gaps: bool) -> None:
    """All memories within reach come once; short and empty pages are not the end, and `gaps` tells of hidden ones."""
    server = remembered(count, hidden=hidden)
    names, listing = await listed(server, inside.memory_pages(None, size))
    assert [f"m{n}" for n in range(count) if n not in hidden][:found] == names
    assert (gaps, False) == (listing.gaps, listing.truncated)
    assert len(server.asked) <= min(count, 5000) // size + 3


async def test_memories_of_a_server_that_gives_less() -> None:
    """A server with smaller pages than it was asked for is read whole."""
    names, _ = await listed(remembered(95, most=20), inside.memory_pages(None, 50))
    assert [f"m{n}" for n in range(95)] == names


async def test_memories_that_move() -> None:
    """A memory that is changed meanwhile moves to the front: the one that comes again for it is dropped."""
    order = [f"m{n}" for n in range(30)]

    def answer(query: dict[str, str]) -> tuple[list[dict[str, str]], dict[str, str]]:
        offset, size = int(query["offset"]), int(query["limit"])
        page = [{"id": name} for name in order[offset : offset + size]]
        order.insert(0, order.pop(25))
        return page, {}

    names, _ = await listed(Server(answer), inside.memory_pages(None, 10))
    assert sorted(names) == sorted({*names})
    assert set(names) >= {f"m{n}" for n in range(23)}


async def test_a_page_of_memories_that_moved() -> None:
    """As many changes as a page has rows bring the same page again, behind which the list goes on."""
    order = [f"m{n}" for n in range(40)]

    def answer(query: dict[str, str]) -> tuple[list[dict[str, str]], dict[str, str]]:
        offset, size = int(query["offset"]), int(query["limit"])
        page = [{"id": name} for name in order[offset : offset + size]]
        if offset == 10:
            order[:] = order[30:] + order[:30]
        return page, {}

    names, listing = await listed(Server(answer), inside.memory_pages(None, 10))
    assert ([f"m{n}" for n in range(30)], False) == (names, listing.gaps)


@pytest.mark.parametrize("count", [4, 10, 30])
async def test_a_server_that_ignores_the_offset(count: int) -> None:
    """A server that gives its first page again and again is not asked forever, and more may be behind that page."""
    rows = [{"id": f"m{n}", "date": "2026-09-01"} for n in range(count)]
    server = Server(lambda query: ({"summaries": rows[: int(query["limit"])]}, {}))
    names, listing = await listed(server, inside.daily_summary_pages(None, None, 10))
    assert ([f"m{n}" for n in range(min(count, 10))], True) == (names, listing.gaps)
    assert 3 == len(server.asked)


async def test_truncated() -> None:
    """A page that the server cut is not the end: the list goes on where it was cut, and says that it was."""
    server = Server(lambda query: ([{"id": f"m{n}"} for n in range(40)][int(query["offset"]) :][:4], CUT))
    names, listing = await listed(server, inside.memory_pages(None, 10))
    assert [f"m{n}" for n in range(40)] == names
    assert listing.truncated
    server = Server(lambda query: ([], CUT))
    assert ([], True) == ((found := await listed(server, inside.memory_pages(None, 10)))[0], found[1].truncated)
    assert 2 == len(server.asked)


CUT = {"X-Omi-List-Truncated": "true"}


async def test_daily_summaries() -> None:
    """Summaries come once, out of the object that the server puts them in."""

    def answer(query: dict[str, str]) -> tuple[Any, dict[str, str]]:
        rows = [{"id": f"s{n}", "date": "2026-09-01"} for n in range(25)]
        return {"summaries": rows[int(query["offset"]) :][: int(query["limit"])]}, {}

    names, _ = await listed(Server(answer), inside.daily_summary_pages(None, None, 10))
    assert [f"s{n}" for n in range(25)] == names


def tasks(dates: list[datetime | None], *, locked: Any = (), deaf: bool = False) -> Server:
    """A server's action items, which it sorts as far as it reads them and pages then.

    It reads 32 rows more than it is asked for and 2000 at most: with dates the newest first, else in no order.
    """
    rows: list[dict[str, Any]] = [
        {"id": f"a{n}", "description": "x", "completed": n % 3 == 0, "due_at": None, "created_at": date}
        for n, date in enumerate(dates)
    ]

    def answer(query: dict[str, str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
        start = datetime.fromisoformat(query.get("start_date", "0001-01-01T00:00:00Z"))
        end = datetime.fromisoformat(query.get("end_date", "9999-01-01T00:00:00Z"))
        found = rows
        if not deaf and ("start_date" in query or "end_date" in query):
            found = [row for row in rows if row["created_at"] is not None and start <= row["created_at"] <= end]
            found = sorted(found, key=lambda row: row["created_at"], reverse=True)
        offset, size = int(query["offset"]), int(query["limit"])
        read = found[: min(offset + size + 32, 2000)]
        page = sorted(read, key=lambda row: (row["completed"], row["id"]))[offset : offset + size]
        shown = [row for row in page if int(row["id"][1:]) not in locked]
        return [{**row, "created_at": row["created_at"] and row["created_at"].isoformat()} for row in shown], {}

    return Server(answer)


def spread(count: int, step: timedelta) -> list[datetime | None]:
    return [NOON - step * n for n in range(count)]


HOUR = timedelta(hours=1)

TASKS: list[tuple[str, list[datetime | None], Any, int, bool, int]] = [
    # dates, locked, how many come, gaps, requests at most
    ("none", [], (), 0, False, 2),
    ("few", spread(30, HOUR), (), 30, False, 2),
    ("few, some hidden", spread(30, HOUR), range(5), 25, False, 3),
    ("a thousand", spread(1000, HOUR), (), 1000, False, 10),
    ("more", spread(1001, HOUR), (), 1001, False, 10),
    ("more, all of a page hidden", spread(1500, HOUR), range(1000), 500, True, 10),
    ("more, some hidden", spread(1500, HOUR), range(0, 1500, 50), 1470, True, 12),
    ("more, the beginning hidden", spread(1500, HOUR), range(40), 1460, True, 12),
    ("many", spread(5000, timedelta(minutes=7)), (), 5000, False, 60),
    ("many within seconds", spread(4000, timedelta(milliseconds=5)), (), 4000, False, 80),
    # The server's pages do not add up, and there is nothing narrower to ask for: that some are missing is said.
    ("a thousand within a second", spread(1000, timedelta(0)), (), 1000, True, 12),
    ("more within a second", spread(1900, timedelta(0)), (), 1322, True, 12),
    ("too many within a second", spread(2500, timedelta(0)), (), 1355, True, 12),
    ("without a date", [*spread(20, HOUR), None], (), 21, False, 2),
    ("many, some without a date", [None if n % 10 == 0 else NOON - HOUR * n for n in range(3000)], (), 2836, True, 30),
]


@pytest.mark.scenario(321, 322)
@pytest.mark.parametrize(("name", "dates", "locked", "found", "gaps", "most"), TASKS, ids=[row[0] for row in TASKS])
async def test_action_items(
    name: str, dates: list[datetime | None], locked: Any, found: int, gaps: bool, most: int
) -> None:
    """All action items come once, although no page, and no two pages, of the server have them all."""
    server = tasks(dates, locked=set(locked))
    names, listing = await listed(server, inside.action_item_pages(None, None, None, None))
    assert (found, found) == (len(names), len({*names}))
    assert gaps == listing.gaps
    assert len(server.asked) <= most
    assert {"1000"} == {query["limit"] for query in server.asked if query["offset"] == "0"}


@pytest.mark.scenario(321)
async def test_action_items_of_a_page_that_comes_again() -> None:
    """Pages without dates that only repeat the first one, which is short, are not the end: slices have the rest."""
    sliced = tasks(spread(1500, HOUR))

    def answer(query: dict[str, str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
        if "start_date" in query or "end_date" in query:
            rows: tuple[list[dict[str, Any]], dict[str, str]] = sliced.answer(query)
            return rows
        return sliced.answer({"offset": "0", "limit": "960"})[0], {}

    names, listing = await listed(Server(answer), inside.action_item_pages(None, None, None, None))
    assert ({f"a{n}" for n in range(1500)}, True) == ({*names}, listing.gaps)


async def test_action_items_within_bounds() -> None:
    """Slices stay within the dates that were asked for."""
    server = tasks(spread(4000, HOUR))
    start, end = NOON - 2999 * HOUR, NOON - 500 * HOUR
    names, _ = await listed(server, inside.action_item_pages(None, None, start, end))
    assert {f"a{n}" for n in range(500, 3000)} == {*names}
    assert all("start_date" in query and "end_date" in query for query in server.asked)


async def test_action_items_of_a_server_that_ignores_dates() -> None:
    """A server that does not know the dates is not asked forever, and rows outside them are not handed out."""
    server = tasks(spread(1500, HOUR), deaf=True)
    names, listing = await listed(server, inside.action_item_pages(None, None, NOON - 99 * HOUR, None))
    assert {*names} <= {f"a{n}" for n in range(100)}
    assert len(names) > 90
    assert (1, True) == (len(server.asked), listing.gaps)
    server = tasks(spread(1500, HOUR), deaf=True)
    names, listing = await listed(server, inside.action_item_pages(None, None, None, None))
    assert (True, True) == (len({*names}) >= 1000, listing.gaps)
    assert len(server.asked) == 3


async def test_limit_of_action_items() -> None:
    """A limit ends the list."""
    names, _ = await listed(tasks(spread(1500, HOUR)), inside.action_item_pages(None, None, None, None), limit=1200)
    assert 1200 == len({*names})
