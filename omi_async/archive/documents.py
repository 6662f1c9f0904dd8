"""A conversation as the server gave it: the text of its JSON object, and the little that is read of it.

A document stays whole whatever its fields: a newer server's are kept as well, and so is one that no model can hold.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn

import attrs

from .._protocol.collection import Page
from .._protocol.convert import Unreadable, structure
from .._protocol.meaning import done, unreadable
from .._protocol.request import Answer, Refusal, Request

_TRANSCRIPT = "transcript_segments"

_BLANKS = " \t\n\r"
_BLANK = frozenset(_BLANKS)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse)

# A text without blanks between its words is one word to SQLite. These scripts are searched character by character.
_UNSPACED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


@attrs.frozen(eq=False, slots=False)
class _Heading:
    id: str
    created_at: datetime


@attrs.frozen(eq=False)
class Document:
    """One conversation of an answer. Its text alone is kept: read, it takes many times the room."""

    id: str
    created_at: datetime
    text: str = attrs.field(repr=False)
    """The JSON object, exactly as it came."""
    has_transcript: bool
    """Whether it was asked for with its transcript, which may be empty."""

    def read(self) -> "Contents":
        """Read the text."""
        return Contents(_decoder.decode(self.text))


@attrs.frozen(eq=False, slots=False)
class Contents:
    """What is in a document."""

    members: dict[str, Any] = attrs.field(repr=False)

    @property
    def words(self) -> tuple[str, str, str]:
        """Title, overview and transcript, as they are searched."""
        structured = _object(self.members.get("structured"))
        said = [_text(_object(each).get("text")) for each in _list(self.members.get(_TRANSCRIPT))]
        return (
            searchable(_text(structured.get("title"))),
            searchable(_text(structured.get("overview"))),
            searchable("\n".join(said)),
        )

    @property
    def digest(self) -> bytes:
        """Tells whether anything but the transcript has changed."""
        return _digest({name: value for name, value in self.members.items() if name != _TRANSCRIPT})

    @property
    def whole_digest(self) -> bytes:
        """Tells whether anything has changed."""
        return _digest(self.members)

    def column(self, name: str) -> str | None:
        """A text of the document by its name, also one of `structured`; None for anything else."""
        value = self.members.get(name, _object(self.members.get("structured")).get(name))
        return value if isinstance(value, str) else None


def searchable(text: str) -> str:
    """Text as it is indexed and searched."""
    return text if text.isascii() else _UNSPACED.sub(r" \1 ", text)


@attrs.frozen
class Source:
    """Where conversations come from: the usual requests, whose answers are taken as documents."""

    page_request: Callable[[dict[str, str], int, datetime | None, int], Request[Any]]
    get_request: Callable[[str, bool], Request[Any] | Refusal]

    def page(self, *, transcripts: bool, size: int, end: datetime | None, offset: int) -> Request[Page[Document]]:
        """One page of what was created until a moment, the newest first."""
        filters = {"include_transcript": "true"} if transcripts else {}
        request = self.page_request(filters, size, end, offset)
        return attrs.evolve(request, decode=partial(_read_page, transcripts))

    def get(self, record_id: str) -> Request[Document]:
        """One conversation with its transcript."""
        request = self.get_request(record_id, True)
        if isinstance(request, Exception):
            raise request
        return attrs.evolve(request, decode=partial(_read_record, record_id))


def of_text(text: str, *, has_transcript: bool = False) -> Document:
    """The document of a JSON object's text."""
    return _document(text, _decoder.decode(text), has_transcript)


def _read_record(record_id: str, answer: Answer) -> Document:
    done(answer, 200)
    (document,) = _read(answer, lambda text: [of_text(text.strip(_BLANKS), has_transcript=True)])
    if document.id != record_id:
        raise unreadable(answer, "the server answered with another record than the one asked for.", path="$.id")
    return document


def _read_page(transcripts: bool, answer: Answer) -> Page[Document]:
    done(answer, 200)
    return Page(tuple(_read(answer, partial(_elements, transcripts))), truncated=False)


def _read(answer: Answer, elements: Callable[[str], list[Document]]) -> list[Document]:
    try:
        return elements(answer.body.decode())
    except Unreadable as failure:
        problem, path = failure.problem, failure.path
    except (ValueError, RecursionError):
        problem, path = "not JSON", "$"
    raise unreadable(
        answer, f"the server answered {answer.status} with a body that cannot be read ({problem} at {path}).", path=path
    )


def _elements(transcripts: bool, text: str) -> list[Document]:
    """The documents of an array, each with its own part of the text."""
    found: list[Document] = []
    at = _after(text, 0, "[")
    while text[at : at + 1] != "]":
        if found:
            at = _after(text, at, ",")
        members, end = _decoder.raw_decode(text, at)
        try:
            found.append(_document(text[at:end], members, transcripts))
        except Unreadable as failure:
            problem, path = failure.problem, failure.path
        else:
            at = _skip(text, end)
            continue
        raise Unreadable(problem, f"$[{len(found)}]{path[1:]}")
    if text[at + 1 :].strip(_BLANKS):
        raise ValueError("more than one value")
    return found


def _after(text: str, at: int, mark: str) -> int:
    """The place of what follows a mark, which must stand here."""
    at = _skip(text, at)
    if text[at : at + 1] != mark:
        raise Unreadable("not an array")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] in _BLANK:
        at += 1
    return at


def _document(text: str, members: Any, has_transcript: bool) -> Document:
    heading = structure(dict(members) if isinstance(members, dict) else members, _Heading)
    has_one = has_transcript or members.get(_TRANSCRIPT) is not None
    return Document(heading.id, heading.created_at.astimezone(UTC), text, has_one)


def _digest(members: dict[str, Any]) -> bytes:
    # Surrogates may stand alone in a document: JSON can spell them.
    plain = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).digest()


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
