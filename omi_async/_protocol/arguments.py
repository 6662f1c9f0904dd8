"""Checks of single arguments. Each returns the value in the form that is sent, or raises with the argument's name.

A subclass of `str` may compare, print and format itself as it likes. So every check takes the text itself out of it.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from ..errors import ConfigurationError, InvalidRequestError
from ..models.shared import CLEAR
from .convert import encode, is_readable

T = TypeVar("T")

LARGEST_INTEGER = 2**53  # what every reader of JSON keeps exact

# An id goes into the path. One with a slash, a question mark, a percent sign or a dot in front could name another
# resource: `../memories/m1` deletes a memory. The server can store no id with two underscores on either side.
# And a key that was taken for an id must not be sent, shown or stored.
_ID = re.compile(r"(?!__.*__$)(?!(?i:omi_(dev|mcp)_))[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}")

_KEY = re.compile(r"omi_(dev|mcp)_", re.IGNORECASE)
_WHOLE_KEY = re.compile(r"omi_(dev|mcp)_[^\s/]{16}", re.IGNORECASE)

_SURROGATE = re.compile("[\ud800-\udfff]")

# Text that shows nothing: blanks, zero-width characters, and letters that are drawn as blanks.
_UNSEEN_CATEGORIES = ("Cc", "Cf", "Zl", "Zp", "Zs")
_UNSEEN_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"


def refused(problem: str) -> InvalidRequestError:
    """The error for an argument that is not sent."""
    return InvalidRequestError(problem, outcome="not_applied")


def misconfigured(problem: str) -> ConfigurationError:
    """The error for a setting that cannot work."""
    return ConfigurationError(problem, outcome="not_applied")


def kind(value: object) -> str:
    """The name of a value's type, with its module where it is not Python's own: numpy has a `bool` too."""
    module, name = type(value).__module__, type(value).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def is_key(value: str) -> bool:
    """Whether a text begins like a key, which is never sent, shown or stored as an id."""
    return _KEY.match(value) is not None


def identifier(value: str, name: str) -> str:
    """Accept an id that is one plain segment of a path."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {kind(value)}")
    identity = str.__str__(value)
    if not _ID.fullmatch(identity):
        if is_key(identity):
            raise refused(f"{name} begins like a key; a key is never sent, shown or stored as an id.")
        raise refused(
            f"{name} must be 1 to 128 of the characters A-Z a-z 0-9 _ - . ~, not begin with . or ~, and not both "
            "begin and end with __."
        )
    return identity


def text(value: str, name: str, *, longest: int | None = None, strip: bool = False) -> str:
    """Accept text that is not blank. `longest` counts it as given, like the server; `strip` sends it stripped."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {kind(value)}")
    plain = str.__str__(value)
    length = len(plain)
    if strip:
        plain = plain.strip()
    if not any(map(_is_seen, plain)):
        raise refused(f"{name} must not be blank.")
    if longest is not None:
        check_length(length, name, longest)
    if _SURROGATE.search(plain):
        raise refused(f"{name} must not contain lone surrogates: they are not text.")
    return plain


def word(value: str, name: str, *, longest: int | None = None, strip: bool = False) -> str:
    """Accept text that names or finds something, unlike what people write: it contains no key."""
    plain = text(value, name, longest=longest, strip=strip)
    check_no_key(plain, name)
    return plain


def check_no_key(value: str, name: str) -> None:
    """Refuse a text with a key in it, such as a path or a filter, which logs and errors show."""
    if _WHOLE_KEY.search(value):
        raise refused(f"{name} contains a key; a key is never sent or shown as anything else.")


def check_length(length: int, name: str, longest: int) -> None:
    """Refuse a text of more characters."""
    if length > longest:
        raise refused(f"{name} must be at most {longest} characters, not {length}.")


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN_CATEGORIES and character not in _UNSEEN_LETTERS


def texts(**values: str | None) -> dict[str, object]:
    """The fields of those texts that were given, none of which people write."""
    return {name: word(value, name) for name, value in values.items() if value is not None}


def flag(value: bool, name: str) -> bool:
    """Accept True or False."""
    if type(value) is not bool:
        raise TypeError(f"{name} must be True or False, not {kind(value)}")
    return value


def number(value: float, name: str, *, lowest: float, highest: float) -> float:
    """Accept a number within bounds, which NaN is not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {kind(value)}")
    if not lowest <= value <= highest:
        raise refused(f"{name} must be from {lowest:.0f} to {highest:.0f}.")
    return float(value)


def utc(value: datetime, name: str) -> datetime:
    """Accept a moment with a timezone."""
    if not isinstance(value, datetime):
        raise TypeError(f"{name} must be a datetime, not {kind(value)}")
    try:
        aware = value.utcoffset() is not None
        moved = value.astimezone(UTC) if aware else value
    except OverflowError:
        problem = f"{name} is out of range."
    except Exception:  # noqa: BLE001 - as pandas' NaT raises, which is a datetime, and timezones of the caller's
        problem = f"{name} is not a moment in time."
    else:
        if aware and is_readable(moved):
            return moved
        # The server would store such a year, and no list with it could be read.
        years = f"{name} must be in a year from 2 to 9998."
        problem = years if aware else f"{name} must be timezone-aware: the server would take it for UTC."
    raise refused(problem)


def check_order(start_date: date | None, end_date: date | None) -> None:
    """Refuse bounds with nothing between them."""
    if start_date is not None and end_date is not None and start_date > end_date:
        raise refused("start_date must not be after end_date.")


def moment(value: datetime, name: str) -> str:
    """Write a moment with a timezone in UTC."""
    return utc(value, name).isoformat().replace("+00:00", "Z")


def many(values: Iterable[T], name: str, *, largest: int, what: str) -> tuple[T, ...]:
    """Accept 1 to `largest` values. All are taken first: if the caller's iterable fails, none has been read."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be an iterable of {what}, not {kind(values)}")
    taken = tuple(islice(values, largest + 1))
    if not 1 <= len(taken) <= largest:
        raise refused(f"{name} must be 1 to {largest}, not {'more' if taken else 'none'}.")
    return taken


def listed(
    values: Iterable[str], name: str, *, largest: int | None = None, check: Callable[[str, str], str] = text
) -> tuple[str, ...]:
    """Accept any number of texts, none as well, each of which `check` accepts."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be an iterable of str, not {kind(values)}")
    taken = tuple(values if largest is None else islice(values, largest + 1))
    if largest is not None and len(taken) > largest:
        raise refused(f"{name} must be at most {largest}.")
    return tuple([check(value, f"{name}[{position}]") for position, value in enumerate(taken)])


def words(values: Iterable[str], name: str) -> str:
    """Accept words that are sent as one text, joined by commas."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be an iterable of {name}, not {kind(values)}")
    taken = [word(value, f"{name}[{position}]") for position, value in enumerate(values)]
    if not taken:  # the server takes that for no restriction, and would list everything
        raise refused(f"{name} must name at least one; None does not restrict them.")
    if any(re.search(r"[,\s]", each) for each in taken):
        raise refused(f"{name} must not contain a comma or a blank.")
    return ",".join(taken)


def size(value: int | None, name: str, *, largest: int) -> int:
    """Accept how many rows a page has; None means the largest page."""
    if value is None:
        return largest
    if type(value) is not int:
        raise TypeError(f"{name} must be an int or None, not {kind(value)}")
    if not 1 <= value <= largest:
        raise refused(f"{name} must be from 1 to {largest}.")
    return value


def whole(value: int, name: str, *, largest: int) -> int:
    """Accept a whole number of at least 1."""
    if type(value) is not int:
        raise TypeError(f"{name} must be an int, not {kind(value)}")
    if not 1 <= value <= largest:
        raise refused(f"{name} must be from 1 to {largest}.")
    return value


def limit(value: int | None) -> int | None:
    """Accept how many rows a listing gives at most."""
    if value is not None and type(value) is not int:
        raise TypeError(f"limit must be an int or None, not {kind(value)}")
    if value is not None and value < 1:
        raise refused("limit must be at least 1; None means no limit.")
    return value


def optional(check: Callable[..., T], value: Any, name: str, **more: Any) -> T | None:
    """Check a value that was given; None is none."""
    return None if value is None else check(value, name, **more)


def clearable(check: Callable[..., T], value: Any, name: str, **more: Any) -> object:
    """Check a value that was given and is not `CLEAR`."""
    return value if value is None or value is CLEAR else check(value, name, **more)


def document(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Accept an object of JSON, whatever is in it."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {kind(value)}")
    plain = dict(value)
    try:
        encode(plain)
    except (TypeError, ValueError, RecursionError):
        pass
    else:
        return plain
    raise refused(f"{name} must hold what JSON knows.")


def changes(**values: object) -> dict[str, object]:
    """The fields that were given; None leaves a value as it is, `CLEAR` sends null. Giving none is refused."""
    given = {name: None if value is CLEAR else value for name, value in values.items() if value is not None}
    if not given:
        *others, last = values
        raise refused(f"{', '.join(others)} or {last} must be given: there is nothing to change.")
    return given


def query(values: dict[str, str]) -> str:
    """Write the query of a path, with its question mark where there is any."""
    if any(_SURROGATE.search(each) for pair in values.items() for each in pair):
        raise refused("params must not contain lone surrogates: they are not text.")
    return f"?{urlencode(values, quote_via=quote)}" if values else ""
