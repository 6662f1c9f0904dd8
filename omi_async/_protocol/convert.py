"""JSON to models, by the types of their fields alone: a hook for each type, and cattrs for what lacks fields.

cattrs by itself coerces (`"false"` becomes True, `null` becomes `"None"`), which could turn a refusal into a success.
So every hook here accepts one JSON type only. No model is known by name: a new one needs nothing here.
"""

import functools
import json
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum, StrEnum
from importlib import import_module
from itertools import repeat
from math import isfinite
from operator import itemgetter
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs

from .. import errors
from .._late import load
from .readers import Field, written

if TYPE_CHECKING:
    import cattrs

_orjson: Any
try:
    _orjson = import_module("orjson")  # the extra `speed`
except ImportError:
    _orjson = None

T = TypeVar("T")

_Hook: TypeAlias = Callable[[Any, Any], Any]

_LARGEST = 2**53  # beyond it not every reader of JSON keeps an integer exact

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


# Bytes and JSON


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return members


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_careful_decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_refuse_duplicates)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _refuse_type(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} is not JSON")


# The standard library makes a new one for each text, which takes longer than using it.
_make_encoder: Any = getattr(json.encoder, "c_make_encoder", None)
_pieces = _make_encoder and _make_encoder(
    None, _refuse_type, json.encoder.encode_basestring, None, ":", ",", False, False, False
)


def encode(value: object) -> bytes:
    """Write JSON as compactly as it goes; raises ValueError or TypeError for what JSON does not know."""
    # Not with orjson, which writes null for NaN.
    return ("".join(_pieces(value, 0)) if _pieces else _encoder.encode(value)).encode()


def parse(body: bytes) -> Any:
    """Read UTF-8 JSON without NaN and Infinity. Of a name that stands twice in one object the last counts."""
    if _orjson is not None:
        try:
            return _orjson.loads(body)
        except ValueError:
            pass  # the standard library accepts a little more, and says what is wrong with the rest
    return _parse(body, _decoder)


def parse_carefully(body: bytes) -> Any:
    """Read JSON as `parse` does, but refuse a name that stands twice in one object."""
    return _parse(body, _careful_decoder)


def _parse(body: bytes, decoder: json.JSONDecoder) -> Any:
    try:
        text = body.decode("utf-8")
        if text[:1] in ("{", "["):  # no blanks in front, which only `decode` skips
            document, end = decoder.raw_decode(text)
            if end == len(text):
                return document
        return decoder.decode(text)
    except UnicodeDecodeError:
        problem = "not UTF-8"
    except RecursionError:
        problem = "nested too deeply"
    except ValueError:
        problem = "not JSON"
    # Raised here, not above: a JSONDecodeError carries the whole document, and would stay as the context.
    raise Unreadable(problem)


# Single values


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
    if abs(value) > _LARGEST:
        raise _Wrong("too large an integer")
    return value


def _number(value: Any, _: Any) -> float:
    # orjson reads a very large integer as a float: both are refused, so that its presence changes no result.
    if type(value) not in (int, float) or abs(value) > _LARGEST or not isfinite(value):
        raise _Wrong("not a finite number")
    return float(value)


def _dictionary(value: Any, _: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise _Wrong("not an object")
    return value


def _anything(value: Any, _: Any) -> Any:
    return value


def _error(value: Any, _: Any) -> errors.OmiError:
    try:
        return errors.from_plain(value)
    except ValueError as failure:
        problem = str(failure)
    raise _Wrong(problem)


def is_readable(time: datetime) -> bool:
    """Whether a time is read: at the ends of the calendar an offset can name a moment that UTC has no date for."""
    return 1 < time.year < 9999


def _time(value: Any, _: Any) -> datetime:
    """RFC 3339 date and time. A time without an offset is UTC: the server stores and means UTC."""
    if type(value) is not str:
        raise _Wrong("not a string")
    # The server's own forms are told by every third character, which is quicker than the expression.
    # fromisoformat checks the digits.
    marks = value[4::3]
    usual = (marks == "--T::Z" or (marks[:6] == "--T::." and len(value) == 27 and value[26] == "Z")) and (
        value[11:13] != "24"
    )
    if usual or _TIME.fullmatch(value):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            pass  # raised below: fromisoformat's own message repeats the value
        else:
            if 1 < time.year < 9999:
                return time if usual or time.tzinfo is not None else time.replace(tzinfo=UTC)
    raise _Wrong("not a date and time")


# Types of fields


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)


def _without_none(kind: Any) -> Any:
    """The type of a field where its value is not None."""
    others = [each for each in _alternatives(kind) if each is not NoneType]
    return functools.reduce(lambda one, other: one | other, others)


def _is_optional(kind: Any) -> bool:
    return NoneType in _alternatives(kind) and kind is not NoneType


def _is_open_enum(kind: Any) -> bool:
    """Whether a type is `SomeEnum | str`: known values are members, all others stay text."""
    alternatives = _alternatives(kind)
    return (
        len(alternatives) == 2
        and str in alternatives
        and any(isinstance(each, type) and issubclass(each, StrEnum) for each in alternatives)
    )


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _is_time(kind: Any) -> bool:
    # freezegun, for instance, gives modules that are imported while it is at work another class of this name.
    return isinstance(kind, type) and issubclass(kind, datetime)


def _is_array(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _is_dictionary(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin is dict


def _hook(kind: Any) -> _Hook:
    """The function that reads a type."""
    return _hooks.get(kind) or _hooks.setdefault(kind, _made_hook(kind))


def _made_hook(kind: Any) -> _Hook:
    if _is_time(kind):
        return _time
    if _is_optional(kind):
        return _optional(kind)
    if _is_open_enum(kind):
        return _open_enum(kind)
    if _is_array(kind):
        return _array(kind)
    if attrs.has(kind):
        return _object(kind)
    if _is_dictionary(kind):
        return _dictionary
    if get_origin(kind) is Literal:
        return _one_of({value: value for value in get_args(kind)})
    if _is_enum(kind):
        return _one_of({member.value: member for member in kind})
    if len(_alternatives(kind)) > 1:
        return _either(kind)
    raise TypeError(f"no model may have a field of type {kind}")


_hooks: dict[Any, _Hook] = {
    str: _string,
    bool: _boolean,
    int: _integer,
    float: _number,
    Any: _anything,
    errors.OmiError: _error,
}


def _optional(kind: Any) -> _Hook:
    other = _without_none(kind)
    hook = _hook(other)
    return lambda value, _: None if value is None else hook(value, other)


def _open_enum(kind: Any) -> _Hook:
    (enum,) = [each for each in _alternatives(kind) if each is not str]
    members = {member.value: member for member in enum}

    def structure(value: Any, _: Any) -> Any:
        text = _string(value, str)
        return members.get(text, text)

    return structure


def _one_of(values: dict[Any, Any]) -> _Hook:
    def structure(value: Any, _: Any) -> Any:
        found = values.get(_string(value, str))
        if found is None:
            raise _Wrong("none of the known values")
        return found

    return structure


def _either(kind: Any) -> _Hook:
    *others, last = [(_hook(each), each) for each in _alternatives(kind)]

    def structure(value: Any, _: Any) -> Any:
        for hook, each in others:
            try:
                return hook(value, each)
            except ValueError:
                pass
        hook, each = last
        return hook(value, each)

    return structure


# Objects and arrays

_PLAIN = (str, bool)
"""Types that are right as they come."""


def _object(model: type[Any]) -> _Hook:
    """Read a model whose fields are all there. cattrs reads the others, and fills in defaults."""
    by_cattrs = functools.cache(lambda: _by_cattrs(model))
    fields = [(each.name, _without_none(each.type), _is_optional(each.type)) for each in attrs.fields(model)]
    if len(fields) < 2 or not (get_origin(model) or model).__dictoffset__:  # with slots, or of a single field
        return lambda given, _: by_cattrs()(given)
    return written(
        model,
        [
            Field(name, kind if kind in _PLAIN else None, may_be_none, _hook(kind), kind)
            for name, kind, may_be_none in fields
        ],
        lambda given: by_cattrs()(given),
    )


def _by_cattrs(model: type[Any]) -> Callable[[Any], Any]:
    converter: cattrs.Converter = load("cattrs").Converter(detailed_validation=False)
    converter.register_structure_hook_factory(lambda _: True, _hook)
    enums = [field.type for field in attrs.fields(model) if _is_enum(field.type)]
    for leaf in (str, bool, int, float, *enums):  # which cattrs would read by hooks of its own
        converter.register_structure_hook(leaf, _hook(leaf))
    hook: _Hook = load("cattrs.gen").make_dict_structure_fn(model, converter)
    return lambda value: hook(_dictionary(value, model), model)


_MANY = 16  # rows; for fewer, looking at columns takes longer


def _array(kind: Any) -> _Hook:
    """Read an array of anything. Of many rows with plain fields, whole columns are checked at once."""
    element = get_args(kind)[0]
    one = _hook(element)
    has_columns = attrs.has(element) and all(
        frozenset(_alternatives(field.type)) <= {NoneType, int, float, *_PLAIN} for field in attrs.fields(element)
    )
    good = _columns_checker(element) if has_columns else None

    def structure(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _Wrong("not an array")
        if not value:
            return ()
        if good is None or len(value) < _MANY or not good(value):
            return tuple([one(each, element) for each in value])
        # The rows' own dicts become the instances'.
        instances = tuple(map(object.__new__, repeat(element, len(value))))
        deque(map(object.__setattr__, instances, repeat("__dict__"), value), 0)
        return instances

    return structure


def _columns_checker(model: type[Any]) -> Callable[[list[Any]], bool]:
    fields = attrs.fields(model)
    columns = [(itemgetter(field.name), frozenset(_alternatives(field.type))) for field in fields]

    def good(rows: list[Any]) -> bool:
        if set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(fields)}:
            return False
        for pick, allowed in columns:
            try:
                column = list(map(pick, rows))
            except KeyError:
                return False
            if not allowed.issuperset(map(type, column)):
                return False
            if not allowed.isdisjoint((int, float)):
                numbers = [each for each in column if each is not None] if NoneType in allowed else column
                # JSON has no NaN, and an infinity is beyond any bound.
                if numbers and not -_LARGEST <= min(numbers) <= max(numbers) <= _LARGEST:
                    return False
        return True

    return good


def structure(value: Any, model: type[T]) -> T:
    """Build `model` from parsed JSON, which is used up; or raise `Unreadable` with the path of the first bad field."""
    try:
        instance: T = _hook(model)(value, model)
    except (KeyError, ValueError):
        pass
    else:
        return instance
    raise Unreadable(*_explain(value, model, "$"))


def _explain(value: Any, kind: Any, path: str) -> tuple[str, str]:
    """What is wrong with the first bad field, and its path. Each level reads no more than what is bad below it."""
    if _is_optional(kind):
        return _explain(value, _without_none(kind), path)
    if attrs.has(kind) and type(value) is dict:
        for field in attrs.fields(kind):
            if field.name in value:
                type_ = field.type[get_args(kind)] if getattr(field.type, "__parameters__", ()) else field.type
                if not _is_good(value[field.name], type_):
                    return _explain(value[field.name], type_, f"{path}.{field.name}")
            elif field.default is attrs.NOTHING:
                return "missing", f"{path}.{field.name}"
    if _is_array(kind) and type(value) is list:
        element = get_args(kind)[0]
        for position, each in enumerate(value):
            if not _is_good(each, element):
                return _explain(each, element, f"{path}[{position}]")
    try:
        _hook(kind)(value, kind)
    except ValueError as failure:
        return str(failure), path
    raise AssertionError("a value was refused that is good in all its parts")


def _is_good(value: Any, kind: Any) -> bool:
    try:
        _hook(kind)(value, kind)
    except (KeyError, ValueError):
        return False
    return True
