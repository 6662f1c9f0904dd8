"""Models as plain dictionaries, and as pydantic and FastAPI know them."""

import asyncio
import copy
import json
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
import pytest
from fastapi import Body, FastAPI
from pydantic import BaseModel, TypeAdapter, ValidationError

import omi_async
from omi_async import (
    CLEAR,
    ActionItemUpdate,
    BulkOutcome,
    BulkStatus,
    Category,
    Conversation,
    DailySummary,
    Deletion,
    Goal,
    NewMemory,
    NotFoundError,
    OmiError,
    RawResponse,
    UnprocessableEntityError,
    ValidationIssue,
    from_dict,
    to_dict,
)

NO_MODELS = {"AttemptEnded", "CallEnded", "RateWindow", "RetryPolicy", "Timeout", "ValidationIssue"}
"""Public attrs classes that hold settings, or belong to an error."""

MODELS: dict[str, Any] = {
    name: value
    for name in omi_async.__all__
    if isinstance(value := getattr(omi_async, name), type) and attrs.has(value) and name not in NO_MODELS
}
CASES = [(name, whole) for name in MODELS for whole in (True, False)]

TIME = datetime(2026, 1, 20, 10, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))


def cls_of(name: str) -> Any:
    return BulkOutcome[Deletion] if name == "BulkOutcome" else MODELS[name]


def made(name: str, whole: bool) -> Any:
    """A model with a value for all of its fields, or for those alone that must be given."""
    fields = attrs.fields(MODELS[name])
    given = {field.name: sample(field.type) for field in fields if whole or field.default is attrs.NOTHING}
    return MODELS[name](**given)


def sample(kind: Any) -> Any:
    """A value of a field's type, where there are several that is no text and not None."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        others = [each for each in arguments if each not in (NoneType, str)]
        return sample(others[-1] if others else str)
    if origin is tuple:
        return (sample(arguments[0]), sample(arguments[0]))
    if origin is dict:
        return {"content-type": "text/plain"}
    if origin is Literal:
        return arguments[-1]
    if attrs.has(kind):
        return made(kind.__name__, True)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return list(kind)[-1]
    if kind is Any:
        return {"a": [1, 2.5, None, "ä", {"b": True}]}
    if kind is OmiError:
        return NotFoundError("not there", outcome="not_applied", status=404, operation="x.delete", attempts=2)
    values = {str: "Ünï 🧠", bool: True, int: 7, float: 0.1, datetime: TIME}
    return values.get(kind, Deletion(id="a", confirmed=False))  # the result of an outcome


def typed(value: Any) -> Any:
    """A value with all the types in it: a member of a StrEnum equals its text, and True equals 1."""
    if isinstance(value, OmiError):
        return type(value), typed(value.args)
    if attrs.has(type(value)):
        return type(value), [typed(getattr(value, field.name)) for field in attrs.fields(type(value))]
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, dict):
        return {name: typed(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [typed(each) for each in value]
    return type(value), value


@pytest.mark.parametrize(("name", "whole"), CASES)
def test_exact_round_trip(name: str, whole: bool) -> None:
    """Through JSON and back a model is equal in every value and type; the dictionary stays the caller's own."""
    model = made(name, whole)
    data = json.loads(json.dumps(to_dict(model), allow_nan=False))
    kept = copy.deepcopy(data)
    again = from_dict(cls_of(name), data)
    assert typed(model) == typed(again)
    assert model == again
    assert list(data) == [field.name for field in attrs.fields(MODELS[name])]
    assert kept == data
    assert data == to_dict(again)


def test_private_texts_are_in_it() -> None:
    """What no repr shows is in the dictionary: the caller asked for it."""
    assert {"id": "g", "title": "Run"}.items() <= to_dict(made_goal()).items()
    assert "Run" not in repr(made_goal())


def made_goal() -> Goal:
    goal: Goal = made("Goal", False)
    return attrs.evolve(goal, id="g", title="Run")


def test_times_are_as_the_api_has_them() -> None:
    """UTC is Z, other offsets stay."""
    item = ActionItemUpdate("a", due_at=TIME)
    assert "2026-01-20T10:30:15.123456+02:00" == to_dict(item)["due_at"]
    assert "2026-01-20T08:30:15.123456Z" == to_dict(attrs.evolve(item, due_at=TIME.astimezone(UTC)))["due_at"]
    assert from_dict(ActionItemUpdate, to_dict(ActionItemUpdate("a", due_at=CLEAR))).due_at is CLEAR


def test_values_are_the_models_own() -> None:
    """What is changed later in the dictionary changes no model, nor the other way round."""
    data = to_dict(made("DailySummary", True))
    summary = from_dict(DailySummary, data)
    data["memories_learned"][0]["a"].clear()
    assert sample(Any) == summary.memories_learned[0]


def test_of_other_versions() -> None:
    """Names that are not known are ignored, and so is what is missing and has a default."""
    data = {**to_dict(made("Conversation", False)), "mood": "good", "new": {"a": 1}}
    del data["language"]
    data["odd"] = [object(), deep(100_000)]
    assert made("Conversation", False) == from_dict(Conversation, data)


def deep(levels: int) -> list[Any]:
    nest: list[Any] = []
    for _ in range(levels):
        nest = [nest]
    return nest


def test_errors_of_outcomes() -> None:
    """The error of an outcome comes back as the same error, with values that only its class has."""
    error = UnprocessableEntityError("bad", status=422, outcome="not_applied", detail={"detail": [1]})
    error.errors = (ValidationIssue(loc=("body", "title"), msg="too long", type="string_too_long"),)
    outcome: BulkOutcome[Deletion] = BulkOutcome(id="a", status=BulkStatus.FAILED, error=error)
    again = from_dict(BulkOutcome[Deletion], json.loads(json.dumps(to_dict(outcome))))
    assert again.error is not None
    assert (type(error), vars(error)) == (type(again.error), vars(again.error))
    others = [attrs.evolve(again, error=NotFoundError("bad", status=422)), attrs.evolve(again, error=None)]
    assert {outcome, again} == {again}
    assert not {again} & set(others)


CANARY = "canary-Zx9"


@pytest.mark.parametrize(
    ("cls", "changes", "place"),
    [
        (Conversation, {"id": 5}, "not a string at $.id"),
        (Conversation, {"created_at": CANARY}, "not a date and time at $.created_at"),
        (Conversation, {"structured": {"title": CANARY}}, "missing at $.structured.overview"),
        (NewMemory, {"visibility": CANARY}, "none of the known values at $.visibility"),
        (NewMemory, {"tags": [CANARY, 5]}, "not a string at $.tags[1]"),
        (ActionItemUpdate, {"due_at": CANARY}, "at $.due_at"),
        (BulkOutcome[Deletion], {"status": CANARY}, "none of the known values at $.status"),
        (BulkOutcome[Deletion], {"result": {"id": CANARY}}, "missing at $.result.confirmed"),
        (BulkOutcome[Deletion], {"error": {"type": CANARY, "args": []}}, "not an error of this package at $.error"),
        (BulkOutcome[Deletion], {"error": {"type": "OmiError", "args": [CANARY, [CANARY]]}}, "at $.error"),
        (BulkOutcome[Deletion], {"error": {"type": "OmiError", "args": ["a", {"outcome": CANARY}]}}, "at $.error"),
        (BulkOutcome[Deletion], {"error": {"type": "NotFoundError", "args": [{"outcome": CANARY}]}}, "at $.error"),
        (BulkOutcome[Deletion], {"error": {"type": "NotFoundError", "args": ["a", {"advice": 5}]}}, "at $.error"),
        (BulkOutcome[Deletion], {"error": {"type": "NotFoundError", "args": ["a", {"text": 5}]}}, "at $.error"),
        (Deletion, {"confirmed": "true"}, "not a boolean at $.confirmed"),
    ],
)
def test_bad_values(cls: Any, changes: dict[str, Any], place: str) -> None:
    """What is not as it should be is a ValueError, which names the place and shows no value."""
    name = (get_origin(cls) or cls).__name__
    with pytest.raises(ValueError, match=name) as caught:
        from_dict(cls, {**to_dict(made(name, False)), **changes})
    assert place in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception_only(caught.value)) + repr(caught.value.__context__)


@pytest.mark.parametrize(
    "call",
    [
        lambda: to_dict({"id": "a"}),  # type: ignore[arg-type]
        lambda: to_dict(Deletion),  # type: ignore[arg-type]
        lambda: to_dict(NewMemory(object())),  # type: ignore[arg-type]
        lambda: from_dict(dict, {}),  # type: ignore[type-var]
        lambda: from_dict(BulkOutcome, {}),
        lambda: TypeAdapter(BulkOutcome),
    ],
)
def test_no_models(call: Callable[[], Any]) -> None:
    """What is no model is refused, and an outcome that does not say what its result is."""
    with pytest.raises(TypeError):
        call()


@pytest.mark.parametrize("data", [None, 5, CANARY, [("id", CANARY)], [], made("Deletion", True)], ids=repr)
def test_no_dictionary(data: Any) -> None:
    """What is no dictionary is a ValueError like any other bad value: a cache gives null where it has nothing."""
    with pytest.raises(ValueError, match=r"^Deletion: not an object at \$$"):
        from_dict(Deletion, data)


def test_nested_too_deeply() -> None:
    """So is what is nested more deeply than Python can copy."""
    with pytest.raises(ValueError, match="^RawResponse: nested too deeply$"):
        from_dict(RawResponse, {"status": 200, "headers": {}, "json": deep(100_000)})


# pydantic


@pytest.mark.parametrize(("name", "whole"), CASES)
def test_pydantic_round_trip(name: str, whole: bool) -> None:
    """Pydantic takes each model as it is, writes it, and reads what it has written, as JSON and as Python's values."""
    adapter: TypeAdapter[Any] = TypeAdapter(cls_of(name))
    model = made(name, whole)
    assert adapter.validate_python(model) is model
    assert typed(model) == typed(adapter.validate_json(adapter.dump_json(model)))
    assert typed(model) == typed(adapter.validate_python(adapter.dump_python(model)))
    assert typed(model) == typed(from_dict(cls_of(name), json.loads(adapter.dump_json(model))))
    assert typed(model) == typed(adapter.validate_python(to_dict(model)))
    assert typed(model) == typed(adapter.validate_json(adapter.dump_json(model), strict=True))
    assert to_dict(model) == adapter.dump_python(model, mode="json")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_pydantic_describes_it(name: str, mode: Literal["validation", "serialization"]) -> None:
    """The JSON Schema of a model names its fields, and requires those without a default."""
    described = TypeAdapter(cls_of(name)).json_schema(mode=mode)
    fields = attrs.fields(MODELS[name])
    assert [field.name for field in fields] == list(described["properties"])
    assert [field.name for field in fields if field.default is attrs.NOTHING] == described.get("required", [])


class Note(BaseModel):
    conversation: Conversation
    goals: list[Goal] = []


def test_field_of_a_pydantic_model() -> None:
    """A model in a field: read from its parts, its times aware, its known words members; a bad part has its place."""
    note = Note(conversation=to_dict(made("Conversation", True)), goals=[made_goal()])  # type: ignore[arg-type]
    assert note == Note.model_validate_json(note.model_dump_json())
    assert isinstance(note.conversation.structured.category, Category)
    with pytest.raises(ValidationError) as caught:
        Note.model_validate(
            {"conversation": {**to_dict(made("Conversation", False)), "created_at": "2026-01-20T10:00:00"}}
        )
    assert [("conversation", "created_at")] == [error["loc"] for error in caught.value.errors()]


def test_what_is_left_out() -> None:
    """`include` and `exclude` hold within a model: what they leave out may be private."""
    note = Note(conversation=made("Conversation", True), goals=[made_goal()])
    assert {"conversation": {"id": "Ünï 🧠"}} == note.model_dump(include={"conversation": {"id"}})
    without: Any = {"conversation": {"structured": {"title"}, "transcript_segments": True}, "goals": {0: {"title"}}}
    for left in (note.model_dump(exclude=without), json.loads(note.model_dump_json(exclude=without))):
        assert "transcript_segments" not in left["conversation"]
        assert {"title"} == to_dict(note.conversation.structured).keys() - left["conversation"]["structured"].keys()
        assert {"title"} == to_dict(made_goal()).keys() - left["goals"][0].keys()
    assert None not in note.model_dump(exclude_none=True)["goals"][0].values()


def test_values_in_the_place_of_a_model() -> None:
    """What was put there unchecked is written as it is, as in pydantic's own models, with a warning."""
    note = Note.model_construct(conversation=to_dict(made("Conversation", False)))
    with pytest.warns(UserWarning, match="created_at"):
        assert to_dict(made("Conversation", False)) == json.loads(note.model_dump_json())["conversation"]


def test_fastapi() -> None:
    """Endpoints return models, take them as bodies, and describe them once each."""
    app = FastAPI()

    @app.get("/goals")
    async def goals() -> list[Goal]:
        return [made_goal()]

    @app.get("/goal", response_model_exclude={"title"})
    async def goal() -> Goal:
        return made_goal()

    @app.post("/memories")
    async def create(memory: Annotated[NewMemory, Body()]) -> Deletion:
        assert NewMemory("a", tags=("b",)) == memory
        return Deletion(id=memory.content, confirmed=True)

    assert (200, [json.loads(TypeAdapter(Goal).dump_json(made_goal()))]) == answer(app, "GET", "/goals")
    assert (200, {"id": "a", "confirmed": True}) == answer(app, "POST", "/memories", {"content": "a", "tags": ["b"]})
    status, told = answer(app, "GET", "/goal")
    assert (200, {"title"}) == (status, to_dict(made_goal()).keys() - told.keys())
    status, refusal = answer(app, "POST", "/memories", {"content": 5})
    assert (422, ["body", "content"]) == (status, refusal["detail"][0]["loc"])
    assert {"Deletion", "Goal", "GoalMetric", "NewMemory"} <= set(app.openapi()["components"]["schemas"])


def answer(app: FastAPI, method: str, path: str, content: object = None) -> tuple[int, Any]:
    """What an application answers, asked without a server."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"" if content is None else json.dumps(content).encode()}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))
