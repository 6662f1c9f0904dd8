"""Bodies of answers: a full one, every way in which a field can be wrong, and the compressed ones that explode."""

import copy
import functools
import gzip
import json
import random
import types
import typing
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import attrs

from omi_async import Category, Conversation

TIME = "2026-01-20T10:00:00Z"


def full() -> dict[str, Any]:
    """A conversation with every field that the models know, each filled."""
    return {
        "id": "conv_1",
        "created_at": "2026-01-20T10:00:00.123456Z",
        "started_at": TIME,
        "finished_at": "2026-01-20T12:00:00+02:00",
        "structured": {
            "title": "Design review",
            "overview": "They spoke about the door.",
            "emoji": "🚪",
            "category": "work",
            "action_items": [
                {
                    "description": "Paint the door",
                    "completed": True,
                    "created_at": TIME,
                    "updated_at": TIME,
                    "due_at": TIME,
                    "completed_at": TIME,
                    "conversation_id": "conv_1",
                }
            ],
            "events": [
                {"title": "Opening", "description": "Cake", "start": TIME, "duration": 45, "created": True},
            ],
        },
        "language": "en",
        "source": "omi",
        "transcript_segments": [
            {"id": "s1", "text": "Hello.", "speaker_id": 0, "speaker_name": "Ann", "start": 0.0, "end": 1.5},
        ],
        "geolocation": {
            "latitude": 52.5,
            "longitude": 13,
            "google_place_id": "p",
            "address": "Here",
            "location_type": "approximate",
        },
        "folder_id": "f1",
        "folder_name": "Doors",
    }


# Every field and what it takes

VALUES: dict[str, object] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "an integer": 7,
    "a negative one": -1,
    "a huge one": 10**400,
    "a fraction": 1.5,
    "a round fraction": 2.0,
    "text": "text",
    "empty text": "",
    "digits": "12",
    "the word false": "false",
    "a time": TIME,
    "a date": "2026-01-20",
    "an empty array": [],
    "an array": ["text"],
    "an array of null": [None],
    "an empty object": {},
    "an object": {"text": "text"},
}
"""One JSON value of each kind, and those that a lenient reader would turn into another kind."""


@attrs.frozen
class Field:
    """One field of the answer: where it stands and what the model says of it."""

    path: tuple[str | int, ...]
    type: Any
    default: Any

    @property
    def text(self) -> str:
        """The path as errors name it."""
        return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)

    def holder(self, document: dict[str, Any]) -> dict[str, Any]:
        """The object in the document that has the field."""
        for part in self.path[:-1]:
            document = document[part]  # type: ignore[index]
        return document

    def read(self, model: Any) -> Any:
        """The field of the model that was made of the document."""
        for part in self.path:
            model = model[part] if isinstance(part, int) else getattr(model, part)
        return model


def fields(model: type[Any] = Conversation, path: tuple[str | int, ...] = ()) -> Iterator[Field]:
    """Every field of the answer, those inside other fields included."""
    hints = typing.get_type_hints(model)
    for attribute in attrs.fields(model):
        here = (*path, attribute.name)
        yield Field(here, hints[attribute.name], attribute.default)
        for inner in _members(hints[attribute.name]):
            if typing.get_origin(inner) is tuple:
                yield from fields(typing.get_args(inner)[0], (*here, 0))
            elif attrs.has(inner):
                yield from fields(inner, here)


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def accepts(hint: Any, value: object) -> bool:
    """Whether a field of this type may hold this value of `VALUES`; written apart from the converter."""
    if isinstance(hint, types.UnionType):
        return any(accepts(member, value) for member in _members(hint))
    if typing.get_origin(hint) is tuple:
        return type(value) is list and all(accepts(typing.get_args(hint)[0], item) for item in value)
    if hint is float:
        return type(value) in (int, float) and abs(value) <= 2**53  # type: ignore[arg-type]
    if hint is int:
        return isinstance(value, int) and type(value) is int and abs(value) <= 2**53
    if hint is datetime:
        return value == TIME
    if hint is Category:
        return value in list(Category)
    return type(value) is hint  # an object without any of the required fields is none of ours


def with_field(field: Field, value: object) -> dict[str, Any]:
    document = full()
    field.holder(document)[field.path[-1]] = value  # type: ignore[index]
    return document


def without_field(field: Field) -> dict[str, Any]:
    document = full()
    del field.holder(document)[field.path[-1]]  # type: ignore[arg-type]
    return document


# Any bytes at all

TOKENS = [
    *b'null true false {} [] [ ] { } , : "" " \\ \\ud800 \\u0000 1e400 -1 0 1.5 NaN Infinity "id" "text"'.split(),
    b'"success":true',
    b'"success":false',
    b'"id":"conv_1"',
    b"\xff",
    b"\xef\xbb\xbf",
    b"\x00",
    b"[" * 2000,
    b"9" * 5000,
    b'"9999-12-31T23:59:59-14:00"',
]


def mutate(body: bytes, draw: random.Random) -> bytes:
    """The body with one to four changes: bytes, tokens, pieces of itself; replaced, put in, or taken out."""
    data = bytearray(body)
    for _ in range(1 + int(draw.random() * 4)):
        at = int(draw.random() * (len(data) + 1))
        kind = draw.random()
        if kind < 0.3:
            data[at : at + 1] = bytes([int(draw.random() * 256)])
        elif kind < 0.6:
            size = int(draw.random() * 8)
            data[at : at + size] = TOKENS[int(draw.random() * len(TOKENS))]
        elif kind < 0.75:
            del data[at : at + 1 + int(draw.random() * 16)]
        elif kind < 0.85:
            start = int(draw.random() * (len(data) + 1))
            data[at:at] = data[start : start + int(draw.random() * 64)]
        elif kind < 0.9:
            del data[at:]
        else:  # a value for a value: the result is mostly still JSON
            start, end = data.find(b":", at) + 1, data.find(b",", at)
            if 0 < start < end:
                data[start:end] = TOKENS[int(draw.random() * len(TOKENS))]
    return bytes(data)


def perturb(document: dict[str, Any], draw: random.Random, value: object) -> dict[str, Any]:
    """A copy with one place, chosen anywhere in it, replaced by the value, taken out, or doubled."""
    changed = copy.deepcopy(document)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(changed)
    if not places:
        return changed
    node, key = draw.choice(places)
    kind = draw.random()
    if kind < 0.7:
        node[key] = value
    elif kind < 0.85:
        del node[key]
    elif isinstance(node, list):
        node.append(value)
    else:
        node[f"{key}_more"] = value
    return changed


# Small on the wire, large in memory


@functools.cache
def bomb(mebibytes: int = 1024) -> bytes:
    """That many MiB of zeros as one gzip member, 1 KiB for each: made from one block that repeats, and correct."""
    zeros = bytes(2**20)
    deflate = zlib.compressobj(9, wbits=-15)
    block = deflate.compress(zeros) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(mebibytes):
        checksum = zlib.crc32(zeros, checksum)
    end = zlib.compressobj(9, wbits=-15).flush()
    size = mebibytes * 2**20 % 2**32
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return head + block * mebibytes + end + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")


def compact(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def packed(document: object) -> bytes:
    """The document as gzip."""
    return gzip.compress(compact(document), mtime=0)
