"""Every write of every resource with its answer lost: nothing is made twice, and nobody is told otherwise."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Literal

import attrs
import pytest

from omi_async import AsyncOmiClient, Deletion, NewActionItem, NewMemory, NewTranscriptSegment, OmiError
from omi_async.sandbox import Sandbox
from tests.contract.stated import CALLS, OPERATIONS
from tests.support.clock import VirtualClock
from tests.support.scale import times
from tests.support.sides import Side

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
GOAL = "goal_5a1d0c7e42b9"
TOKEN = Sandbox([]).id_token

LOST_AFTER: list[dict[str, Any]] = [
    {"close": "after"},
    {"status": 500, "apply": True},
    {"status": 504, "apply": True},
    {"status": 200, "body": "<html>", "apply": True},
]
LOST_BEFORE: list[dict[str, Any]] = [{"close": "before"}, {"status": 500}, {"status": 200, "body": "<html>"}]
CALLS_A_CLIENT = 15
"""A client's retry budget is made for outages; fresh ones keep the retries coming."""


@attrs.frozen(kw_only=True)
class Write:
    """One write operation: what each call says, and what the server holds afterwards."""

    operation: str
    effect: Literal["once", "repeatable"]
    said: Callable[[str], tuple[tuple[Any, ...], dict[str, Any]]]
    """The arguments of a call, of which each has a text of its own."""
    store: str
    """The records that it changes, as the sandbox names them."""
    as_asked: Callable[[Any, str], bool]
    """Whether a record is as the call with this text has asked."""
    record: str | None = None
    """The record that is changed; None where records are made."""
    makes: int = 0
    """How many records one call makes."""
    removes: bool = False


def number_in(text: str) -> int:
    return int(text.rpartition(" ")[2])


def given(*arguments: Any, **settings: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return arguments, settings


def anything(record: Any, text: str) -> bool:
    return True


WRITES = (
    Write(
        operation="conversations.create",
        effect="once",
        said=lambda text: given(text),
        store="conversations",
        as_asked=lambda record, text: record.overview == text,
        makes=1,
    ),
    Write(
        operation="conversations.create_from_segments",
        effect="repeatable",
        said=lambda text: given([NewTranscriptSegment(text=text, start=0, end=1)]),
        store="conversations",
        as_asked=lambda record, text: record.overview == text,
        makes=1,
    ),
    Write(
        operation="conversations.update",
        effect="repeatable",
        said=lambda text: given("conv_design", title=text),
        store="conversations",
        as_asked=lambda record, text: record.title == text,
        record="conv_design",
    ),
    Write(
        operation="conversations.delete",
        effect="repeatable",
        said=lambda text: given("conv_design"),
        store="conversations",
        as_asked=anything,
        record="conv_design",
        removes=True,
    ),
    Write(
        operation="memories.create",
        effect="repeatable",
        said=lambda text: given(text, category="work", tags=["a"]),
        store="memories",
        as_asked=lambda record, text: (record.content, record.category, record.tags) == (text, "work", ("a",)),
        makes=1,
    ),
    Write(
        operation="memories.create_batch",
        effect="repeatable",
        said=lambda text: given([NewMemory(text), NewMemory(f"{text} again")]),
        store="memories",
        as_asked=lambda record, text: record.content in (text, f"{text} again"),
        makes=2,
    ),
    Write(
        operation="memories.update",
        effect="repeatable",
        said=lambda text: given("mem_coffee", content=text, tags=[]),
        store="memories",
        as_asked=lambda record, text: (record.content, record.tags) == (text, ()),
        record="mem_coffee",
    ),
    Write(
        operation="memories.delete",
        effect="repeatable",
        said=lambda text: given("mem_coffee"),
        store="memories",
        as_asked=anything,
        record="mem_coffee",
        removes=True,
    ),
    Write(
        operation="action_items.create",
        effect="once",
        said=lambda text: given(text, due_at=NOON),
        store="action_items",
        as_asked=lambda record, text: (record.description, record.due_at) == (text, NOON),
        makes=1,
    ),
    Write(
        operation="action_items.create_batch",
        effect="once",
        said=lambda text: given([NewActionItem(text), NewActionItem(text)]),
        store="action_items",
        as_asked=lambda record, text: record.description == text,
        makes=2,
    ),
    Write(
        operation="action_items.update",
        effect="repeatable",
        said=lambda text: given("item_search", description=text, completed=True),
        store="action_items",
        as_asked=lambda record, text: (record.description, record.completed) == (text, True),
        record="item_search",
    ),
    Write(
        operation="action_items.delete",
        effect="repeatable",
        said=lambda text: given("item_search"),
        store="action_items",
        as_asked=anything,
        record="item_search",
        removes=True,
    ),
    Write(
        operation="goals.create",
        effect="once",
        said=lambda text: given(text, target_value=10),
        store="goals",
        as_asked=lambda record, text: record.title == text,
        makes=1,
    ),
    Write(
        operation="goals.update",
        effect="repeatable",
        said=lambda text: given(GOAL, title=text),
        store="goals",
        as_asked=lambda record, text: record.title == text,
        record=GOAL,
    ),
    Write(
        operation="goals.update_progress",
        effect="repeatable",
        said=lambda text: given(GOAL, number_in(text)),
        store="goals",
        as_asked=lambda record, text: record.metric["current"] == number_in(text),
        record=GOAL,
    ),
    # The server keeps a goal that is deleted, as one that was given up.
    Write(
        operation="goals.delete",
        effect="repeatable",
        said=lambda text: given(GOAL),
        store="goals",
        as_asked=lambda record, text: record.status == "abandoned",
        record=GOAL,
    ),
    Write(
        operation="keys.create",
        effect="once",
        said=lambda text: given(text, scopes=["memories:read"], id_token=TOKEN),
        store="keys",
        as_asked=lambda record, text: (record.name, record.scopes) == (text, ("memories:read",)),
        makes=1,
    ),
    Write(
        operation="keys.revoke",
        effect="repeatable",
        said=lambda text: given("key_read_only", id_token=TOKEN),
        store="keys",
        as_asked=anything,
        record="key_read_only",
        removes=True,
    ),
)


def test_no_write_is_left_out() -> None:
    """Every operation of the API that changes something has its row."""
    changing = {operation.id for operation in OPERATIONS if operation.method != "GET"} - {"ask"}
    assert {CALLS[name].method for name in changing} == {write.operation for write in WRITES}


@attrs.frozen
class Told:
    """What the caller of one operation was told, and what the server held before and afterwards."""

    result: Any
    error: OmiError | None
    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def made(self) -> list[Any]:
        return [record for name, record in self.after.items() if name not in self.before]


async def make(client: Any, name: str, *arguments: Any, **settings: Any) -> Any:
    method = attrgetter(name)(client)
    if isinstance(client, AsyncOmiClient):
        return await method(*arguments, **settings)
    return await asyncio.to_thread(method, *arguments, **settings)


async def held(client: Any, sandbox: Sandbox, store: str) -> dict[str, Any]:
    if store == "keys":
        return {key.id: key for key in await make(client, "keys.list", id_token=TOKEN)}
    return dict(getattr(sandbox, store))


async def tell(client: Any, sandbox: Sandbox, write: Write, text: str, faults: list[dict[str, Any]]) -> Told:
    """Make one call that meets these faults, on a sandbox as it was in the beginning."""
    sandbox.reset()
    before = await held(client, sandbox, write.store)
    sandbox.requests.clear()
    for fault in faults:
        sandbox.fail(**fault)
    arguments, settings = write.said(text)
    result, error = None, None
    try:
        result = await make(client, write.operation, *arguments, **settings)
    except OmiError as failure:
        error = failure
    assert 0 == sandbox.pending_faults
    assert (1 if write.effect == "once" else len(faults) + 1) == len(sandbox.requests)
    return Told(result, error, before, await held(client, sandbox, write.store))


def check_once(write: Write, told: Told, text: str, *, applied: bool) -> None:
    """It was made at most once, which the caller knows that nobody knows."""
    assert told.error is not None
    assert (write.operation, "unknown", False, 1) == (
        told.error.operation,
        told.error.outcome,
        told.error.retryable,
        told.error.attempts,
    )
    assert (write.makes if applied else 0) == len(told.made)
    assert all(write.as_asked(record, text) for record in told.made)
    assert told.before == {name: told.after.get(name) for name in told.before}


def check_repeatable(write: Write, told: Told, text: str, *, applied: bool) -> None:
    """The server holds what was asked for and is otherwise as it was, and the caller has the result of that."""
    assert told.error is None
    others = {name: record for name, record in told.before.items() if name != write.record}
    assert others == {name: told.after.get(name) for name in others}
    assert write.makes == len(told.made)
    assert all(write.as_asked(record, text) for record in told.made)
    if write.record is not None:
        assert write.removes == (write.record not in told.after)
        assert write.removes or write.as_asked(told.after[write.record], text)
    if isinstance(told.result, Deletion):
        # Of a record that is gone before the attempt that was answered, nobody said who removed it.
        assert Deletion(id=str(write.record), confirmed=not (write.removes and applied)) == told.result
    elif isinstance(told.result, tuple):
        assert [record.id for record in told.result] == [record.id for record in told.made]
    elif told.result is not None:
        assert told.result.id in (write.record, *(record.id for record in told.made))


@pytest.mark.figure
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.operation)
async def test_lost_answers(side: Side, write: Write, clock: VirtualClock, figure: Callable[..., None]) -> None:
    """Whatever loses an answer, what is not to be done twice is not, and what may be repeated ends as asked."""
    draw = random.Random(f"{side.name} {write.operation}")
    calls, changed = times(1000), 0
    requests = doubled = 0
    async with Sandbox(write_limit=None) as sandbox:
        for number in range(calls):
            if number % CALLS_A_CLIENT == 0:
                client = side.client(sandbox.url, api_key=sandbox.api_key, retry=clock.policy())
            text = f"Said in call {number}"
            # Every fourth call loses its answers before the change, the others the first one after it.
            applied = number % 4 != 3
            faults = [draw.choice(LOST_AFTER if applied else LOST_BEFORE)]
            if write.effect == "repeatable" and draw.random() < 0.5:
                faults.append(draw.choice(LOST_BEFORE + LOST_AFTER if applied else LOST_BEFORE))
            told = await tell(client, sandbox, write, text, faults)
            (check_once if write.effect == "once" else check_repeatable)(write, told, text, applied=applied)
            changed += applied
            requests += len(faults) + (write.effect == "repeatable")
            doubled += len(told.made) > write.makes
    figure(
        f"lost answers ({side.name}, {write.operation})",
        calls=calls,
        requests=requests,
        lost_after_the_change=changed,
        doubled=doubled,
        reported_unknown=calls if write.effect == "once" else 0,
    )
