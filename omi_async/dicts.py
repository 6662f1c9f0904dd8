"""Models as plain dictionaries: for what is stored, queued or sent on."""

import copy
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar, get_origin

import attrs

from ._protocol.convert import Unreadable, structure
from .errors import OmiError, to_plain
from .models.shared import Model

M = TypeVar("M", bound=Model)


def to_dict(model: Model) -> dict[str, Any]:
    """Return a model as a dictionary of JSON values, by the names of its fields.

    Everything is in it, private texts too. Times are text as in the API's answers. `from_dict` makes an equal model of
    it. Raises TypeError for anything but a model.
    """
    if not isinstance(model, Model):
        raise TypeError(f"{type(model).__name__} is not a model of this package")
    cls: Any = type(model)
    return {field.name: _plain(getattr(model, field.name)) for field in attrs.fields(cls)}


def from_dict(cls: type[M], data: Mapping[str, Any]) -> M:
    """Make a model of what `to_dict` returned.

    Values are checked like an answer of the API and never converted; names that the model does not know are ignored.
    For the outcome of a bulk job, name the class of its result: `from_dict(BulkOutcome[Deletion], data)`. Raises
    ValueError, which names the first bad field and shows no value, and TypeError for anything but a model's class.
    """
    kind = get_origin(cls) or cls
    if not (isinstance(kind, type) and issubclass(kind, Model)):
        raise TypeError("cls must be the class of a model of this package")
    if getattr(cls, "__parameters__", ()):
        raise TypeError(f"cls must name the class of the result: {kind.__name__}[...]")
    try:
        # A copy, because the values become the model's own.
        return copy.deepcopy(structure(dict(data) if isinstance(data, Mapping) else data, cls))
    except Unreadable as error:
        problem = str(error)
    except RecursionError:
        problem = "nested too deeply"
    raise ValueError(f"{kind.__name__}: {problem}")


def _plain(value: Any) -> Any:
    match value:
        case Model():
            return to_dict(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case Enum():
            return value.value
        case OmiError():
            return _plain(to_plain(value))
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(each) for each in value]
        case None | str() | int() | float():
            return value
    raise TypeError(f"{type(value).__name__} is not JSON")
