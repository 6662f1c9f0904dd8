"""The answer to every operation, as servers of both generations give it: read whole, and read when it is spoilt."""

import functools
import importlib
import json
import pkgutil
import random
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from omi_async import Deletion, ResponseError, models
from tests.contract.stated import CALLS
from tests.support.answers import GENERATIONS, Answered, Generation, answered
from tests.support.bodies import VALUES, compact, mutate, perturb
from tests.support.scale import times

SENT = {"NewActionItem", "NewMemory", "NewTranscriptSegment"}
"""Models that are sent and never read."""

NEWER_OPERATIONS = {
    "conversations.ask",
    "memories.search",
    "daily_summaries.list",
    "daily_summaries.get",
    "keys.current",
}

NEWER_MODELS = {"AnswerSource", "ConversationAnswer", "GoalMetric", "MemoryMatch"}
"""Those that a server of May 2026 never sends, beside all that daily summaries consist of."""

OF_ONE_RECORD = {"get", "update", "update_progress", "delete"}
"""Operations whose answer must be about the record that was asked for."""


def read_models() -> set[str]:
    """The names of all models of records."""
    found: set[str] = set()
    for room in pkgutil.iter_modules(models.__path__):
        if room.name not in ("archive", "bulk", "shared"):
            module = importlib.import_module(f"{models.__name__}.{room.name}")
            found |= {name for name, kind in vars(module).items() if isinstance(kind, type) and attrs.has(kind)}
    return {name for name in found if name not in SENT and not name.endswith("Update")}


def inner(value: Any) -> Iterator[Any]:
    """A model and all models inside it."""
    if isinstance(value, tuple):
        for each in value:
            yield from inner(each)
    elif attrs.has(type(value)):
        yield value
        for attribute in attrs.fields(type(value)):
            yield from inner(getattr(value, attribute.name))


def records(result: Any) -> Any:
    """A result without the page around it."""
    return getattr(result, "rows", result)


def sent_records(result: Any, document: Any) -> Any:
    """The part of an answer that the result was made of."""
    if isinstance(result, tuple) and isinstance(document, dict):
        (document,) = [each for each in document.values() if isinstance(each, list)]
    return document


def agrees(value: Any, document: Any) -> bool:
    """Whether a model says what the JSON says, and has its defaults where the JSON says nothing."""
    if attrs.has(type(value)):
        return all(
            agrees(getattr(value, each.name), document[each.name])
            if each.name in document
            else getattr(value, each.name) == each.default
            for each in attrs.fields(type(value))
        )
    if isinstance(value, tuple):
        return len(value) == len(document) and all(map(agrees, value, document))
    if isinstance(value, datetime):
        moment = datetime.fromisoformat(document)
        return value == (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) and value.tzinfo is not None
    return bool(value == document)


@functools.cache
def hints(model: type) -> dict[str, Any]:
    return typing.get_type_hints(model)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value, with all that is inside it, has the type that is promised for it."""
    if hint is Any:
        return True
    if isinstance(hint, types.UnionType):
        return any(fits(value, each) for each in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return type(value) is tuple and all(fits(each, typing.get_args(hint)[0]) for each in value)
    if type(value) is not hint:
        return False
    if isinstance(value, datetime):
        return value.tzinfo is not None
    if attrs.has(hint):
        return all(fits(getattr(value, name), each) for name, each in hints(hint).items())
    return True


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_every_model_is_read(generation: Generation) -> None:
    """Every operation that a server has is read as the model of its answer, which says what the answer says."""
    seen: set[str] = set()
    made = await answered(generation)
    for each in made:
        result = records(each.read(each.answer.body))
        if isinstance(result, Deletion):
            assert result.confirmed
        elif result is None:
            assert (each.operation, b"") == ("keys.revoke", each.answer.body)
        else:
            assert agrees(result, sent_records(result, json.loads(each.answer.body))), each.operation
            seen |= {type(model).__name__ for model in inner(result)}
    older = generation != "newest"
    operations = {call.method for call in CALLS.values()}
    assert operations - (NEWER_OPERATIONS if older else set()) == {each.operation for each in made}
    daily = {name for name in read_models() if name.startswith("DailySummary")}
    assert read_models() - (NEWER_MODELS | daily if older else set()) == seen


def spoilt(body: bytes, draw: random.Random) -> bytes:
    """The body with other bytes in a few places, or with other values, in which case it is still JSON."""
    if not body or draw.random() < 0.5:
        return mutate(body, draw)
    document = json.loads(body)
    for _ in range(draw.randint(1, 3)):
        document = perturb(document, draw, draw.choice(list(VALUES.values())))
    return compact(document)


def outcome(each: Answered, body: bytes) -> Any:
    """What a body is read as, or the only error that it may raise."""
    try:
        return records(each.read(body))
    except ResponseError as error:
        return error


@pytest.mark.figure
@pytest.mark.scenario(100, 101, 102, 103, 104, 105)
async def test_mutated_bodies(figure: Callable[..., None]) -> None:
    """However an answer to any operation is spoilt, it is read as its model or refused as unreadable."""
    draw = random.Random(100)
    made = [each for generation in GENERATIONS for each in await answered(generation)]
    # An empty page, the last of a list, has no model in it.
    sources = [(each, whole) for each in made if (whole := records(each.read(each.answer.body))) != ()]
    count = times(1_000_000)
    read: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for number in range(count):
        each, whole = sources[number % len(sources)]
        result = outcome(each, spoilt(each.answer.body, draw))
        if isinstance(result, ResponseError):
            assert (None, None, "unknown") == (result.__context__, result.__cause__, result.outcome)
            assert str(result).isprintable()
            assert len(str(result)) < 600
            refused[each.operation] += 1
            continue
        row = type(whole[0]) if isinstance(whole, tuple) else type(whole)
        assert fits(result, tuple[row, ...] if isinstance(whole, tuple) else row)  # type: ignore[valid-type]
        if each.operation.rpartition(".")[2] in OF_ONE_RECORD:
            assert whole.id == result.id
        read[each.operation] += 1
    operations = {call.method for call in CALLS.values()}
    assert operations == {*read} == {*refused}
    figure(
        "decode, mutated",
        bodies=count,
        operations=len(operations),
        models=len(read_models()),
        read=read.total(),
        refused=refused.total(),
        anything_else=0,
    )
