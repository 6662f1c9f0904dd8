"""Records as JSON: in a file for the command line, in a body for the control path."""

from collections.abc import Mapping
from datetime import datetime
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
    kinds = get_args(kind) if get_origin(kind) is not tuple else (kind,)
    if isinstance(value, str) and (kind is datetime or datetime in kinds):
        return _time(value, place)
    if isinstance(value, list) and any(get_origin(each) is tuple for each in kinds):
        # Of what stands in lists, the sandbox wants this one time as such: the one in the history of a goal.
        return tuple(
            {**each, "recorded_at": _time(each["recorded_at"], f"{place}.recorded_at")}
            if isinstance(each, dict) and "recorded_at" in each
            else each
            for each in value
        )
    return value


def _time(text: object, place: str) -> datetime:
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"{place} is no date and time") from None
    if time.utcoffset() is None:
        raise ValueError(f"{place} must name its zone")
    return time
