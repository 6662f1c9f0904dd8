"""Single values of a body or a query, read and refused as pydantic 2 does it in its lax mode.

A reader takes a value and its place and returns what the endpoint works with, or raises `BadInputError`;
readers are put together to describe a whole request.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import attrs

Place = tuple[str | int, ...]
Reader = Callable[[object, Place], Any]

ABSENT: Any = object()
"""The default of a field where being left out differs from being null."""

_REQUIRED = object()

_TRUE_WORDS = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE_WORDS = frozenset({"false", "f", "no", "n", "off", "0"})
# Beyond 64 bits pydantic no longer looks at a number as an integer, and words its refusal differently.
_INT_LIMIT = 2**63
# What Python would refuse to convert is refused here in pydantic's words.
_INT_CHARACTERS = 4300
_INTEGER = re.compile(r"\s*[+-]?\d+(_\d+)*(\.0+)?\s*", re.ASCII)


class BadInputError(Exception):
    """A value is refused; `problems` are the entries of the answer's `detail`."""

    def __init__(self, *problems: dict[str, object]) -> None:
        super().__init__(len(problems))
        self.problems = problems


@attrs.frozen
class Field:
    """One field of an object: how it is read, what it is when absent, and the names it may also go by.

    Without a *default* the field must be there.
    """

    read: Reader
    default: object = _REQUIRED
    aliases: tuple[str, ...] = ()


def bad(kind: str, place: Place, message: str, echo: object, context: dict[str, object] | None = None) -> BadInputError:
    """Return the error of one problem in pydantic's shape."""
    problem = {"type": kind, "loc": place, "msg": message, "input": echo}
    return BadInputError(problem if context is None else {**problem, "ctx": context})


def members(values: Mapping[str, object], place: Place, fields: Mapping[str, Field], echo: object) -> dict[str, Any]:
    """Return what *values* give for *fields*, unknown names being ignored; every bad field is refused at once.

    The refusal of a missing field has *echo* as its input.
    """
    found: dict[str, Any] = {}
    problems: list[dict[str, object]] = []
    for name, field in fields.items():
        given = next((each for each in (name, *field.aliases) if each in values), None)
        try:
            if given is not None:
                found[name] = field.read(values[given], (*place, given))
            elif field.default is _REQUIRED:
                raise bad("missing", (*place, name), "Field required", echo)
            else:
                found[name] = field.default
        except BadInputError as error:
            problems += error.problems
    if problems:
        raise BadInputError(*problems)
    return found


def fields_of(shape: Mapping[str, Field]) -> Reader:
    """Return the reader of an object with the fields of *shape*."""

    def read(value: object, place: Place) -> dict[str, Any]:
        if not isinstance(value, dict):
            message = "Input should be a valid dictionary or object to extract fields from"
            raise bad("model_attributes_type", place, message, value)
        return members(cast(dict[str, object], value), place, shape, cast(object, value))

    return read


def optional(reader: Reader) -> Reader:
    """Return *reader* with null let through."""
    return lambda value, place: None if value is None else reader(value, place)


def refusing(reader: Reader, wrong: Callable[[Any], bool], message: str) -> Reader:
    """Return *reader* with a validator behind it, which says *message* to what is *wrong*."""

    def read(value: object, place: Place) -> Any:
        found = reader(value, place)
        if wrong(found):
            # The validator's exception reaches the client as an empty object.
            raise bad("value_error", place, f"Value error, {message}", value, {"error": {}})
        return found

    return read


def blank(value: str | None) -> bool:
    """Return whether a text has nothing but white space in it; null is blank."""
    return value is None or not value.strip()


def list_of(reader: Reader, *, minimum: int = 0, maximum: int | None = None) -> Reader:
    """Return the reader of a list with *minimum* to *maximum* items for *reader*."""

    def read(value: object, place: Place) -> list[Any]:
        if not isinstance(value, list):
            raise bad("list_type", place, "Input should be a valid list", value)
        items = cast(list[object], value)
        count = len(items)
        if maximum is not None and count > maximum:
            message = f"List should have at most {maximum} items after validation, not {count}"
            context: dict[str, object] = {"field_type": "List", "max_length": maximum, "actual_length": count}
            raise bad("too_long", place, message, items, context)
        found: list[Any] = []
        problems: list[dict[str, object]] = []
        for index, item in enumerate(items):
            try:
                found.append(reader(item, (*place, index)))
            except BadInputError as error:
                problems += error.problems
        if problems:
            raise BadInputError(*problems)
        if count < minimum:
            message = f"List should have at least {_counted(minimum, 'item')} after validation, not {count}"
            context = {"field_type": "List", "min_length": minimum, "actual_length": count}
            raise bad("too_short", place, message, items, context)
        return found

    return read


def text(*, minimum: int = 0, maximum: int | None = None, pattern: str | None = None) -> Reader:
    """Return the reader of a text of *minimum* to *maximum* characters in which *pattern* is found."""

    def read(value: object, place: Place) -> str:
        if not isinstance(value, str):
            raise bad("string_type", place, "Input should be a valid string", value)
        if any("\ud800" <= character <= "\udfff" for character in value):
            message = "Input should be a valid string, unable to parse raw data as a unicode string"
            raise bad("string_unicode", place, message, value)
        if len(value) < minimum:
            message = f"String should have at least {_counted(minimum, 'character')}"
            raise bad("string_too_short", place, message, value, {"min_length": minimum})
        if maximum is not None and len(value) > maximum:
            message = f"String should have at most {_counted(maximum, 'character')}"
            raise bad("string_too_long", place, message, value, {"max_length": maximum})
        if pattern is not None and not re.fullmatch(pattern, value):
            raise bad(
                "string_pattern_mismatch",
                place,
                f"String should match pattern '{pattern}'",
                value,
                {"pattern": pattern},
            )
        return value

    return read


def choice(*names: str, other: str | None = None, error: str = "enum") -> Reader:
    """Return the reader of one of *names*; with *other*, that stands for any text that is none of them.

    *error* is the type of the refusal.
    """

    def read(value: object, place: Place) -> str:
        if isinstance(value, str) and (value in names or other is not None):
            return value if value in names else cast(str, other)
        quoted = [f"'{name}'" for name in names]
        expected = f"{', '.join(quoted[:-1])} or {quoted[-1]}"
        raise bad(error, place, f"Input should be {expected}", value, {"expected": expected})

    return read


def flag(value: object, place: Place) -> bool:
    """Read a flag, which may be a word or a number."""
    if isinstance(value, str):
        word = value.lower()
        if word in _TRUE_WORDS or word in _FALSE_WORDS:
            return word in _TRUE_WORDS
    elif isinstance(value, int | float) and value in {0, 1}:
        return bool(value)
    if isinstance(value, str) or (
        isinstance(value, int | float) and value == value // 1 and -_INT_LIMIT <= value < _INT_LIMIT
    ):
        raise bad("bool_parsing", place, "Input should be a valid boolean, unable to interpret input", value)
    raise bad("bool_type", place, "Input should be a valid boolean", value)


def integer(value: object, place: Place) -> int:
    """Read a whole number, which may be a text or a float without a fraction."""
    message = "Input should be a valid integer"
    if isinstance(value, str) and len(value) <= _INT_CHARACTERS:
        if not _INTEGER.fullmatch(value):
            raise bad("int_parsing", place, f"{message}, unable to parse string as an integer", value)
        return int(value.partition(".")[0])
    if isinstance(value, float) and value % 1:
        raise bad("int_from_float", place, f"{message}, got a number with a fractional part", value)
    if isinstance(value, int) or (isinstance(value, float) and abs(value) < _INT_LIMIT):
        return int(value)
    if isinstance(value, str | float):
        message = "Unable to parse input string as an integer, exceeded maximum size"
        raise bad("int_parsing_size", place, message, value)
    raise bad("int_type", place, message, value)


def within(minimum: int | None, maximum: int | None = None) -> Reader:
    """Return the reader of a whole number from *minimum* to *maximum*."""

    def read(value: object, place: Place) -> int:
        found = integer(value, place)
        if minimum is not None and found < minimum:
            message = f"Input should be greater than or equal to {minimum}"
            raise bad("greater_than_equal", place, message, value, {"ge": minimum})
        if maximum is not None and found > maximum:
            message = f"Input should be less than or equal to {maximum}"
            raise bad("less_than_equal", place, message, value, {"le": maximum})
        return found

    return read


def finite(value: object, place: Place) -> float:
    """Read a number that is neither NaN nor infinite."""
    found = number(value, place)
    if not math.isfinite(found):
        raise bad("finite_number", place, "Input should be a finite number", value)
    return found


def number(value: object, place: Place) -> float:
    """Read a number, which may be a text."""
    if isinstance(value, str):
        try:
            # Python would read the digits of every script.
            return float(value.encode("ascii"))
        except ValueError:
            message = "Input should be a valid number, unable to parse string as a number"
            raise bad("float_parsing", place, message, value) from None
    if isinstance(value, int | float):
        return float(value)
    raise bad("float_type", place, "Input should be a valid number", value)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
