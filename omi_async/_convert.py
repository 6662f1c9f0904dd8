"""JSON bytes to models: the one cattrs converter and its hooks.

cattrs by itself coerces (`"false"` becomes True, `null` becomes `"None"`), which could turn a refusal into a
success. Every hook here accepts one JSON type only.
"""

import functools
import json
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from itertools import repeat
from math import isfinite
from operator import itemgetter
from types import NoneType, UnionType
from typing import Any, NoReturn, TypeAlias, TypeVar

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory, is_sequence
from cattrs.gen import make_dict_structure_fn

from . import models

_orjson: Any
try:
    _orjson = import_module("orjson")  # the extra `speed`
except ImportError:
    _orjson = None

T = TypeVar("T")

_Hook: TypeAlias = Callable[[Any, Any], Any]

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


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_careful_decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_refuse_duplicates)

_TRANSCRIPT = '"transcript_segments":'

_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def encode(value: object) -> bytes:
    """Write JSON as compactly as it goes; raises ValueError or TypeError for what JSON does not know."""
    # Not with orjson, which writes null for what is no number.
    return _encoder.encode(value).encode()


def parse(body: bytes) -> Any:
    """Read UTF-8 JSON strictly: no NaN, no Infinity, and outside of transcripts no name twice in one object."""
    document = None if _orjson is None else _parse_with_orjson(body)
    return _parse(body) if document is None else document


def _parse_with_orjson(body: bytes) -> Any:
    """Read what orjson reads as the standard library does; None for everything else.

    Its last member of a name wins, and its large integers are floats. But what it writes again byte for byte had
    neither, and a server's compact JSON nearly always is.
    """
    try:
        document = _orjson.loads(body)
        return document if _orjson.dumps(document) == body else None
    except (TypeError, ValueError):
        return None


def _parse(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
        document = _parse_around_transcript(text) if _TRANSCRIPT in text else None
        return _careful_decoder.decode(text) if document is None else document
    except UnicodeDecodeError:
        problem = "not UTF-8"
    except RecursionError:
        problem = "nested too deeply"
    except ValueError:
        problem = "not JSON"
    # Raised here, not above: a JSONDecodeError carries the whole document, and would hang on as the context.
    raise Unreadable(problem)


def _parse_around_transcript(text: str) -> Any:
    """Read a conversation with a transcript; None for anything else, and for anything odd.

    Looking for duplicate names makes reading half as slow again. Transcripts are most of what is read, and nothing
    depends on them; so the transcript is read without, and the rest as if it had none.
    """
    begin = text.find(_TRANSCRIPT + "[{") + len(_TRANSCRIPT)
    end = text.rfind("}]") + 2
    if begin < len(_TRANSCRIPT) or end < begin:
        return None
    try:
        segments = _decoder.decode(text[begin:end])
        document = _careful_decoder.decode(f"{text[:begin]}null{text[end:]}")
    except ValueError:
        return None
    if type(document) is not dict or document.get("transcript_segments", ...) is not None:
        return None
    document["transcript_segments"] = segments
    return document


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


_marks = itemgetter(4, 7, 10, 13, 16, 19, -1)


def _usual(text: str) -> bool:
    # What the server sends, quicker than by the expression; fromisoformat sees to the digits.
    if len(text) == 20:
        return _marks(text) == ("-", "-", "T", ":", ":", "Z", "Z") and text[11:13] != "24"
    return len(text) == 27 and _marks(text) == ("-", "-", "T", ":", ":", ".", "Z") and text[11:13] != "24"


def _time(value: Any, _: Any) -> datetime:
    """RFC 3339 date and time. A time without an offset is UTC: the server stores and means UTC."""
    if type(value) is str and (_usual(value) or _TIME.fullmatch(value)):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            pass  # raised below: fromisoformat's own message repeats the value
        else:
            # At the ends of the calendar an offset can name a moment that UTC has no date for.
            if 1 < time.year < 9999:
                return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    raise _Wrong("not a date and time" if type(value) is str else "not a string")


def _only(kind: type, name: str, hook: _Hook) -> _Hook:
    def structure(value: Any, target: Any) -> Any:
        if type(value) is not kind:
            raise _Wrong(f"not {name}")
        return hook(value, target)

    return structure


# Quick ways for what is as it should be; the rest is left to cattrs. A function is written out for each model, as attrs
# and cattrs do it, but it looks at plain values itself instead of calling a hook for each. And an instance gets its
# members all at once: the __init__ of a frozen attrs class sets each through object.__setattr__.

_CHECKS = {
    frozenset([str]): "type({0}) is not str",
    frozenset([int]): "type({0}) is not int",
    frozenset([bool]): "type({0}) is not bool",
    frozenset([float]): "type({0}) is not float or not isfinite({0})",
    frozenset([str, NoneType]): "type({0}) is not str and {0} is not None",
    frozenset([int, NoneType]): "type({0}) is not int and {0} is not None",
}
"""What makes a value need its hook, by the types of the field."""


def _object(model: type[Any], converter: cattrs.Converter) -> _Hook:
    names: dict[str, Any] = {
        "isfinite": isfinite,
        "model": model,
        "new": object.__new__,
        "set_attribute": object.__setattr__,
        "thorough": _thorough_object(model, converter),
    }
    fetches, checks, members = [], [], []
    for number, field in enumerate(attrs.fields(model)):
        kinds = _kinds(field)
        others = kinds - {NoneType}
        names[f"type{number}"] = kind = next(iter(others)) if len(others) == 1 else field.type
        names[f"hook{number}"] = converter.get_structure_hook(kind)
        check = _CHECKS.get(kinds, "{0} is not None" if NoneType in kinds else "True").format(f"value{number}")
        fetches.append(f"value{number} = given[{field.name!r}]")
        checks.append(f"if {check}: value{number} = hook{number}(value{number}, type{number})")
        members.append(f"{field.name!r}: value{number}")
    source = f"""
def structure(given, kind):
    try:
        {"; ".join(fetches)}
    except (KeyError, TypeError):
        return thorough(given, kind)
    {f"{chr(10)}    ".join(checks)}
    instance = new(model)
    set_attribute(instance, "__dict__", {{{", ".join(members)}}})
    return instance
"""
    exec(compile(source, f"<structure {model.__name__}>", "exec"), names)  # noqa: S102 - all of it is ours
    hook: _Hook = names["structure"]
    return hook


def _kinds(field: "attrs.Attribute[Any]") -> frozenset[Any]:
    return frozenset(field.type.__args__ if isinstance(field.type, UnionType) else [field.type])


_MANY = 16  # rows; below that, columns do not pay


def _array(target: Any, converter: cattrs.Converter) -> _Hook:
    """Transcripts have hundreds of segments: they are looked at column by column, and their own dicts are used."""
    model: type[Any] = target.__args__[0]
    one = converter.get_structure_hook(model)
    fields = attrs.fields(model)
    plain = all(_kinds(field) in _CHECKS for field in fields)
    columns = [(itemgetter(field.name), _kinds(field)) for field in fields]

    def good(rows: list[Any]) -> bool:
        if set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(fields)}:
            return False
        for pick, kinds in columns:
            try:
                column = list(map(pick, rows))
            except KeyError:
                return False
            if not kinds.issuperset(map(type, column)) or (float in kinds and not isfinite(sum(column))):
                return False
        return True

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _Wrong("not an array")
        if len(value) < _MANY or not plain or not good(value):
            return tuple([one(each, model) for each in value])
        instances = tuple(map(object.__new__, repeat(model, len(value))))
        deque(map(object.__setattr__, instances, repeat("__dict__"), value), 0)
        return instances

    return structure


@functools.cache
def _converter(*, detailed: bool) -> cattrs.Converter:
    """The converter; the detailed form is many times slower and only made to explain a failure."""
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
    array, attrs_class = (_thorough_array, _thorough_object) if detailed else (_array, _object)
    converter.register_structure_hook_factory(is_sequence, lambda target: array(target, converter))
    converter.register_structure_hook_factory(attrs.has, lambda target: attrs_class(target, converter))
    return converter


def _thorough_array(target: Any, converter: cattrs.Converter) -> _Hook:
    return _only(list, "an array", homogenous_tuple_structure_factory(target, converter))


def _thorough_object(target: Any, converter: cattrs.Converter) -> _Hook:
    return _only(dict, "an object", make_dict_structure_fn(target, converter))


_hooks: dict[type, _Hook] = {}


def structure(value: Any, model: type[T]) -> T:
    """Build `model` from parsed JSON, which is used up; or raise `Unreadable` with the path of the first bad field."""
    hook = _hooks.get(model) or _hooks.setdefault(model, _converter(detailed=False).get_structure_hook(model))
    try:
        instance: T = hook(value, model)
    except (KeyError, ValueError):
        pass
    else:
        return instance
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
