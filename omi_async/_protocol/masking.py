"""What an error shows of the server's words: no key, and nothing that the request itself said.

A server repeats what it was sent as it stands, within a URL, as JSON or as Python shows it. So a text is looked for as
it stands and with the escapes of each kind undone.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from .convert import parse
from .request import Request

_TEXT_LIMIT = 200  # characters of the server's text that an error shows
_LOOKED_AT = 4 * _TEXT_LIMIT  # characters of the server's text that are looked at, as masking makes it shorter

# A key must not come back through an error text, even if the server repeats it.
_KEY = re.compile(r"omi_(dev|mcp)_\S+", re.IGNORECASE)

_SHORTEST = 4  # characters; a shorter text or number of the request may stand in the server's words by chance
_BEGINNING = 20  # characters; that much of the beginning of a longer text is masked too, as a server may cut it

_WHOLE = re.compile(r"(-?[0-9]+)(?:\.0)?")

_MASK = "***"


def clean(text: str, limit: int = _TEXT_LIMIT) -> str:
    """Make text from the wire fit to be shown: no key, nothing unprintable, not long."""
    text = _KEY.sub(r"omi_\1_***", text[: 4 * limit])
    text = "".join([character if character.isprintable() else "?" for character in text])
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


class Mask:
    """Masks the texts and numbers of a request, and the token in the key's place, where the server repeats them."""

    def __init__(self, request: Request[Any]) -> None:
        self._said: set[str] = set()
        if request.body is not None:
            self._collect(parse(request.body))
        for _, value in parse_qsl(urlsplit(request.path).query):
            self._add(value, *_forms(value))
        if request.authorization is not None:
            self._add(request.authorization().removeprefix("Bearer "))
        # By their beginnings, which makes looking for a thousand texts as quick as looking for one.
        self._short: dict[str, list[str]] = {}
        self._long: dict[str, list[str]] = {}
        for text in {text[:_LOOKED_AT] for text in self._said}:
            if len(text) < _BEGINNING:
                self._short.setdefault(_lowered(text[:_SHORTEST]), []).append(_lowered(text))
            else:
                self._long.setdefault(_lowered(text[:_BEGINNING]), []).append(text)

    def _collect(self, value: object) -> None:
        match value:
            case str():
                self._add(value, value.strip())
            case dict():
                for each in value.values():
                    self._collect(each)
            case list():
                for each in value:
                    self._collect(each)
            case int() | float() if type(value) is not bool:
                self._add(*_forms(repr(value)))

    def _add(self, *texts: str) -> None:
        self._said.update([text for text in texts if len(text) >= _SHORTEST])

    def text(self, text: str) -> str:
        """The server's text, fit to be shown."""
        text = text[:_LOOKED_AT]
        shown, end = [], 0
        for start, stop in sorted(span for view in _views(text) for span in self._found(view)):
            if start >= end:
                shown += [text[end:start], _MASK]
            end = max(end, stop)
        return clean("".join([*shown, text[end:]]))

    def value(self, value: object, depth: int = 4) -> object:
        """Any value of the server's JSON, fit to be shown."""
        match value:
            case str():
                return self.text(value)
            case dict() if depth:
                return {self.text(name): self.value(each, depth - 1) for name, each in value.items()}
            case list() if depth:
                return [self.value(each, depth - 1) for each in value]
            case dict() | list():
                return "..."
            case int() | float() if type(value) is not bool and repr(value) in self._said:
                return _MASK
            case _:
                return value

    def _found(self, view: "_View") -> Iterator[tuple[int, int]]:
        """Where the request's texts begin and end in the text behind a view."""
        text = _lowered(view.text)
        for place in range(len(text) - _SHORTEST + 1):
            for short in self._short.get(text[place : place + _SHORTEST], ()):
                if text.startswith(short, place):
                    yield view.starts[place], view.starts[place + len(short)]
            for long in self._long.get(text[place : place + _BEGINNING], ()):
                yield view.starts[place], view.starts[place + _common(_lowered(long), text[place:])]


def _forms(number: str) -> Iterable[str]:
    """A number as it is written; a whole one with and without its fraction, since servers change one to the other."""
    whole = _WHOLE.fullmatch(number)
    return (whole[1], f"{whole[1]}.0") if whole else (number,)


def _lowered(text: str) -> str:
    """Lower case, character by character: no character becomes two, and none depends on its neighbors."""
    if text.isascii():
        return text.lower()
    return "".join([low if len(low := character.lower()) == 1 else character for character in text])


def _common(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if other.startswith(one[:middle]):
            least = middle
        else:
            most = middle - 1
    return least


# Escapes


class _View(NamedTuple):
    """A text with escapes undone, and where each of its characters, and its end, begins in the text behind it."""

    text: str
    starts: Sequence[int]


_BACKSLASH = re.compile(
    r"(?:\\u[0-9a-fA-F]{4})+|\\x[0-9a-fA-F]{2}|\\U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|\\[^uxU]", re.S
)
_PERCENT = re.compile("(?:%[0-9a-fA-F]{2})+")
_PLUS = re.compile(r"\+")

_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def _views(text: str) -> Iterator[_View]:
    """The text as it stands, as JSON and Python escape it, as a URL does, and as both do."""
    views = [_View(text, range(len(text) + 1))]
    if "\\" in text:
        views.append(_undone(views[0], _BACKSLASH, _of_backslash))
    for view in views:
        yield view
        if "%" in view.text:
            yield _undone(view, _PERCENT, _of_percent)
        if "+" in view.text:
            yield _undone(_undone(view, _PLUS, _of_plus), _PERCENT, _of_percent)


def _undone(view: _View, escapes: re.Pattern[str], undo: Callable[[str], Iterator[tuple[str, int]]]) -> _View:
    """A view with escapes of one kind undone; `undo` gives the characters of an escape and what each takes of it."""
    pieces, starts, end = [], list[int](), 0
    for found in escapes.finditer(view.text):
        place = found.start()
        pieces.append(view.text[end:place])
        starts += view.starts[end:place]
        for character, length in undo(found[0]):
            pieces.append(character)
            starts.append(view.starts[place])
            place += length
        end = place
    return _View("".join([*pieces, view.text[end:]]), [*starts, *view.starts[end:]])


def _of_backslash(escape: str) -> Iterator[tuple[str, int]]:
    if escape[1] == "u":
        for character in bytes.fromhex(escape.replace("\\u", "")).decode("utf-16-be", "surrogatepass"):
            yield character, 12 if character > "\uffff" else 6
    elif escape[1] in "xU":
        yield chr(int(escape[2:], 16)), len(escape)
    else:
        yield _LETTERS.get(escape[1], escape[1]), 2


def _of_percent(escape: str) -> Iterator[tuple[str, int]]:
    for character in bytes.fromhex(escape.replace("%", "")).decode("utf-8", "surrogateescape"):
        yield character, 3 * len(character.encode("utf-8", "surrogateescape"))


def _of_plus(_: str) -> Iterator[tuple[str, int]]:
    yield " ", 1
