"""JSON bytes to models: the one cattrs converter and its hooks.

cattrs by itself coerces (`"false"` becomes True, `null` becomes `"None"`), which could turn a refusal into a
success. Every hook here accepts one JSON type only.
"""

import functools
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite
from typing import Any, NoReturn, TypeVar

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory, is_sequence
from cattrs.gen import make_dict_structure_fn

from . import models

T = TypeVar("T")

_CATEGORIES: dict[str, models.Category] = {category.value: category for category in models.Category}


# fromisoformat reads dates, week dates, compact forms and, in newer Pythons, hour 24 as well.
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


class Unreadable(Exception):
    """The bytes are not what they should be. `path` names the field, nothing shows its value."""

    def __init__(self, problem: str, path: str = "$") -> None:
        super().__init__(f"{problem} at {path}")
        self.problem = problem
        self.path = path


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return members


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_refuse_duplicates)


def parse(body: bytes) -> Any:
    """Read UTF-8 JSON strictly: no NaN, no Infinity, no name twice in one object."""
    try:
        return _decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        problem = "not UTF-8"
    except RecursionError:
        problem = "nested too deeply"
    except ValueError:
        problem = "not JSON"
    # Raised here, not above: a JSONDecodeError carries the whole document, and would hang on as the context.
    raise Unreadable(problem)


class _Wrong(ValueError):
    """A value of the wrong kind; the text is ours and repeats nothing of the answer."""


def _string(value: Any, _: Any) -> str:
    if type(value) is not str:
        raise _Wrong("not a string")
    return value


def _boolean(value: Any, _: Any) -> bool:
    if type(value) is not bool:
        raise _Wrong("not a boolean")
    return value


def _integer(value: Any, _: Any) -> int:
    if type(value) is not int:
        raise _Wrong("not an integer")
    return value


def _number(value: Any, _: Any) -> float:
    if type(value) is int and abs(value) < 2**53:
        return float(value)
    if type(value) is not float or not isfinite(value):
        raise _Wrong("not a finite number")
    return value


def _category(value: Any, _: Any) -> models.Category | str:
    text = _string(value, str)
    return _CATEGORIES.get(text, text)


def _time(value: Any, _: Any) -> datetime:
    """RFC 3339 date and time. A time without an offset is UTC: the server stores and means UTC."""
    text = _string(value, str)
    if not _TIME.fullmatch(text):
        raise _Wrong("not a date and time")
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    # At the ends of the calendar an offset can name a moment that UTC has no date for.
    if time is None or not 1 < time.year < 9999:  # raised here: fromisoformat's own message repeats the value
        raise _Wrong("not a date and time")
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _only(kind: type, name: str, hook: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def structure(value: Any, target: Any) -> Any:
        if type(value) is not kind:
            raise _Wrong(f"not {name}")
        return hook(value, target)

    return structure


@functools.cache
def _converter(*, detailed: bool) -> cattrs.Converter:
    """The converter; the detailed form is several times slower and only made to explain a failure."""
    converter = cattrs.Converter(detailed_validation=detailed)
    for leaf, hook in (
        (str, _string),
        (bool, _boolean),
        (int, _integer),
        (float, _number),
        (datetime, _time),
        (models.Category | str, _category),
    ):
        converter.register_structure_hook(leaf, hook)
    converter.register_structure_hook_factory(
        is_sequence,
        lambda target: _only(list, "an array", homogenous_tuple_structure_factory(target, converter)),
    )
    converter.register_structure_hook_factory(
        attrs.has,
        lambda target: _only(dict, "an object", make_dict_structure_fn(target, converter)),
    )
    return converter


def structure(value: Any, model: type[T]) -> T:
    """Build `model` from parsed JSON, or raise `Unreadable` with the path of the first bad field."""
    try:
        return _converter(detailed=False).structure(value, model)
    except (KeyError, ValueError):
        pass
    raise Unreadable(*_explain(value, model))


def _explain(value: Any, model: type) -> tuple[str, str]:
    try:
        _converter(detailed=True).structure(value, model)
    except (cattrs.BaseValidationError, ValueError) as failure:
        problem, path = cattrs.transform_error(failure, format_exception=_describe)[0].rsplit(" @ ", 1)
        return problem, path
    raise AssertionError("the detailed converter accepted what the plain one refused")


def _describe(failure: BaseException, _: type | None) -> str:
    return "missing" if isinstance(failure, KeyError) else str(failure)
