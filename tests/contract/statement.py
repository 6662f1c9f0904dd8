"""What this project believes of the endpoints that it wraps, to be compared with an OpenAPI document.

Answers are read off the models, so that a wrong model is a wrong statement; requests are written out.
"""

import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from omi_async import Category, Conversation, CreatedConversation, Geolocation

PREFIX = "/v1/dev/user/conversations"
"""Every operation from here on is expected to be wrapped."""


@attrs.frozen(kw_only=True)
class Schema:
    """A JSON value: its types, and what else a JSON Schema says of it."""

    types: frozenset[str]
    """Names of JSON Schema, among them "null"; empty: any value."""
    limits: Mapping[str, object] = attrs.field(factory=dict)
    """format, minLength, maximum and every other keyword that is not named here."""
    values: tuple[object, ...] | None = None
    """Those of an enum."""
    items: "Schema | None" = None
    """Of an array."""
    fields: "Mapping[str, Field] | None" = None
    """Of an object."""
    name: str | None = attrs.field(default=None, eq=False)
    """What differences call it; a document may call it otherwise."""


@attrs.frozen
class Field:
    """A field of an object, a parameter, or a body."""

    schema: Schema
    required: bool = False
    default: object = attrs.field(default=None, kw_only=True)
    """None where there is none; a default of null says no more than that the field is optional."""


@attrs.frozen(kw_only=True)
class Operation:
    """One method of one path."""

    id: str
    method: str
    path: str
    parameters: Mapping[tuple[str, str], Field] = attrs.field(factory=dict)
    """By place ("path", "query", ...) and name."""
    body: Field | None = None
    answers: Mapping[str, Schema | None]
    """By status, those that mean success; None where there is no body."""
    security: str = "http bearer"
    deprecated: bool = False


@attrs.frozen
class Call:
    """The method of `AsyncConversations` that makes an operation's requests."""

    method: str
    renamed: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    """Parameter or body field -> argument, where the names differ."""
    filled: frozenset[str] = attrs.field(default=frozenset(), kw_only=True)
    """Parameters that the method itself fills in."""
    own: frozenset[str] = attrs.field(default=frozenset(), kw_only=True)
    """Arguments that are not sent."""


# Answers: out of the models

_LEAVES: dict[object, Schema] = {
    str: Schema(types=frozenset({"string"})),
    bool: Schema(types=frozenset({"boolean"})),
    int: Schema(types=frozenset({"integer"})),
    float: Schema(types=frozenset({"number"})),
    datetime: Schema(types=frozenset({"string"}), limits={"format": "date-time"}),
    # An open enum: what the model takes besides is a matter of older clients, not of the contract.
    Category | str: Schema(types=frozenset({"string"}), values=tuple(Category)),
}


def read_off(hint: Any) -> Schema:
    """The JSON that becomes a value of this type."""
    if hint in _LEAVES:
        return _LEAVES[hint]
    if isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint):
        (member,) = [each for each in typing.get_args(hint) if each is not type(None)]
        return nullable(read_off(member))
    if typing.get_origin(hint) is tuple:
        return array(read_off(typing.get_args(hint)[0]))
    hints = typing.get_type_hints(hint)
    fields = {each.name: Field(read_off(hints[each.name]), **_optional(each.default)) for each in attrs.fields(hint)}
    return attrs.evolve(an_object(fields), name=hint.__name__)


def _optional(default: Any) -> dict[str, Any]:
    if default is attrs.NOTHING:
        return {"required": True}
    return {} if default is None else {"default": list(default) if isinstance(default, tuple) else default}


# Requests: by hand


def nullable(schema: Schema) -> Schema:
    return attrs.evolve(schema, types=schema.types | {"null"})


def array(items: Schema, **limits: object) -> Schema:
    return Schema(types=frozenset({"array"}), items=items, limits=limits)


def an_object(fields: Mapping[str, Field]) -> Schema:
    return Schema(types=frozenset({"object"}), fields=fields)


def text(**limits: object) -> Schema:
    return Schema(types=frozenset({"string"}), limits=limits)


_FLAG = read_off(bool)
_TIME = read_off(datetime)
_NUMBER = read_off(float)
_INTEGER = read_off(int)

_ID = {("path", "conversation_id"): Field(text(), required=True)}
_WITH_TRANSCRIPT = {("query", "include_transcript"): Field(_FLAG, default=False)}

_CONVERSATION = read_off(Conversation)

_COMMON = {
    "started_at": Field(nullable(_TIME)),
    "finished_at": Field(nullable(_TIME)),
    "language": Field(nullable(text()), default="en"),
    "geolocation": Field(nullable(read_off(Geolocation))),
}

_TEXT_SOURCES = ("audio_transcript", "message", "other_text")
_SOURCES = (
    "friend",
    "omi",
    "fieldy",
    "bee",
    "plaud",
    "frame",
    "friend_com",
    "apple_watch",
    "phone",
    "phone_call",
    "desktop",
    "openglass",
    "screenpipe",
    "workflow",
    "sdcard",
    "external_integration",
    "limitless",
    "rayban_meta",
    "onboarding",
    "unknown",
)

_NEW_SEGMENT = an_object(
    {
        "text": Field(text(), required=True),
        "start": Field(_NUMBER, required=True),
        "end": Field(_NUMBER, required=True),
        "speaker": Field(nullable(text()), default="SPEAKER_00"),
        "speaker_id": Field(nullable(_INTEGER)),
        "is_user": Field(_FLAG, default=False),
        "person_id": Field(nullable(text())),
    }
)

_CREATED = read_off(CreatedConversation)


def _body(fields: Mapping[str, Field]) -> Field:
    return Field(an_object(fields), required=True)


OPERATIONS = (
    Operation(
        id="updateConversation",
        method="PATCH",
        path=f"{PREFIX}/{{conversation_id}}",
        parameters=_ID,
        body=_body(
            {
                "title": Field(nullable(text(minLength=1, maxLength=500))),
                "discarded": Field(nullable(_FLAG)),
            }
        ),
        answers={"200": _CONVERSATION},
    ),
    Operation(
        id="deleteConversation",
        method="DELETE",
        path=f"{PREFIX}/{{conversation_id}}",
        parameters=_ID,
        # Not read off `Deletion`: that says what became of the conversation, whatever the answer was.
        answers={"200": an_object({"success": Field(_FLAG, required=True)})},
    ),
    Operation(
        id="getConversation",
        method="GET",
        path=f"{PREFIX}/{{conversation_id}}",
        parameters={**_ID, **_WITH_TRANSCRIPT},
        answers={"200": _CONVERSATION},
    ),
    Operation(
        id="listConversations",
        method="GET",
        path=PREFIX,
        parameters={
            ("query", "start_date"): Field(nullable(_TIME)),
            ("query", "end_date"): Field(nullable(_TIME)),
            ("query", "categories"): Field(nullable(text())),
            ("query", "limit"): Field(_INTEGER, default=25),
            ("query", "offset"): Field(_INTEGER, default=0),
            **_WITH_TRANSCRIPT,
            ("query", "folder_id"): Field(nullable(text(minLength=1))),
            ("query", "starred"): Field(nullable(_FLAG)),
        },
        answers={"200": array(_CONVERSATION)},
    ),
    Operation(
        id="createConversation",
        method="POST",
        path=PREFIX,
        body=_body(
            {
                "text": Field(text(minLength=1, maxLength=100_000), required=True),
                "text_source": Field(attrs.evolve(text(), values=_TEXT_SOURCES), default="other_text"),
                "text_source_spec": Field(nullable(text())),
                **_COMMON,
            }
        ),
        answers={"200": _CREATED},
    ),
    Operation(
        id="createConversationFromSegments",
        method="POST",
        path=f"{PREFIX}/from-segments",
        body=_body(
            {
                "transcript_segments": Field(array(_NEW_SEGMENT, minItems=1, maxItems=500), required=True),
                "client_session_id": Field(nullable(text(minLength=1, maxLength=200))),
                "source": Field(nullable(attrs.evolve(text(), values=_SOURCES)), default="phone"),
                "client_device_id": Field(nullable(text())),
                "client_platform": Field(nullable(text())),
                **_COMMON,
            }
        ),
        answers={"200": _CREATED},
    ),
)

CALLS = {
    "updateConversation": Call("update"),
    "deleteConversation": Call("delete"),
    "getConversation": Call("get"),
    "listConversations": Call(
        "list", renamed={"limit": "page_size"}, filled=frozenset({"offset"}), own=frozenset({"limit"})
    ),
    "createConversation": Call("create"),
    "createConversationFromSegments": Call("create_from_segments", renamed={"transcript_segments": "segments"}),
}
"""By the operation's id."""
