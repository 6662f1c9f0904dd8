"""Records as JSON: in a file for the command line, in a body for the control path."""

from collections.abc import Mapping
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import attrs

from omi_async.sandbox.action_items import SandboxActionItem
from omi_async.sandbox.conversations import SandboxConversation
from omi_async.sandbox.daily_summaries import SandboxDailySummary
from omi_async.sandbox.folders import SandboxFolder
from omi_async.sandbox.goals import SandboxGoal
from omi_async.sandbox.memories import SandboxMemory

_KINDS: Mapping[str, Any] = {
    "conversations": SandboxConversation,
    "memories": SandboxMemory,
    "action_items": SandboxActionItem,
    "goals": SandboxGoal,
    "folders": SandboxFolder,
    "daily_summaries": SandboxDailySummary,
}

_WORDS: Mapping[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    list: "a list",
    tuple: "a list",
    dict: "an object",
    Mapping: "an object",
}


def read_records(document: object) -> dict[str, list[Any]]:
    """Return the records of *document* by kind, as `{"conversations": [{"id": "conv_1", "title": "One"}]}`.

    A record has the fields of its class; times are text and name their zone. Raises ValueError with the place
    of what is wrong.
    """
    if not isinstance(document, dict):
        raise ValueError("records must be an object of lists, one for each kind")
    records = {}
    for kind, rows in document.items():
        if kind not in _KINDS:
            raise ValueError(f"{kind} is no kind of records: {', '.join(_KINDS)} are")
        if not isinstance(rows, list):
            raise ValueError(f"{kind} must be a list")
        records[kind] = [_record(_KINDS[kind], row, f"{kind}[{index}]") for index, row in enumerate(rows)]
        if len({record.id for record in records[kind]}) < len(rows):
            raise ValueError(f"{kind} has an id twice")
    return records


def _record(cls: Any, row: object, place: str) -> Any:
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise ValueError(f"{place} must be an object with an id")
    fields = {field.name: field.type for field in attrs.fields(cls)}
    values = {}
    for name, value in row.items():
        if name not in fields:
            raise ValueError(f"{place}.{name} is no field of {cls.__name__}")
        values[name] = _value(value, fields[name], f"{place}.{name}")
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _value(value: Any, kind: Any, place: str) -> Any:
    """Return the value of a field of this type that JSON has at *place*."""
    if get_origin(kind) is UnionType:
        if value is None:
            return None
        (kind,) = [each for each in get_args(kind) if each is not NoneType]
    origin = get_origin(kind) or kind
    if origin is datetime:
        return _time(value, place)
    if origin in (list, tuple) and isinstance(value, list):
        element = get_args(kind)[0]
        return origin([_value(each, element, f"{place}[{index}]") for index, each in enumerate(value)])
    if origin in (dict, Mapping) and isinstance(value, dict):
        # Of what stands in objects, the sandbox wants this one time as such: the one in the history of a goal.
        moments = {name: _time(value[name], f"{place}.{name}") for name in ("recorded_at",) if name in value}
        return {**value, **moments}
    if type(value) is not origin:
        raise ValueError(f"{place} must be {_WORDS[origin]}")
    return value


def _time(text: object, place: str) -> datetime:
    if not isinstance(text, str):
        raise ValueError(f"{place} must be a date and time, as text")
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{place} is no date and time") from None
    if time.utcoffset() is None:
        raise ValueError(f"{place} must name its zone")
    return time
