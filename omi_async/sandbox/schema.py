"""Requests as the endpoints take them: what a body or a query may hold, read as FastAPI does it.

A refusal is a 422 whose `detail` is a list; each entry names its place in `loc` and echoes the input.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from email.message import Message
from typing import Any, NoReturn, cast
from urllib.parse import parse_qsl

import attrs

from omi_async.sandbox.answers import UNREADABLE_BODY, RefusedError, refusal
from omi_async.sandbox.fields import (
    BadInputError,
    Field,
    bad,
    choice,
    fields_of,
    flag,
    integer,
    list_of,
    members,
    moment,
    number,
    optional,
    text,
)

TITLE_CHARACTERS = 500
"""The longest title, counted before blanks are stripped."""

SOURCES = (
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
"""Where a conversation may come from; the server files any other text under the last."""


@attrs.frozen(kw_only=True)
class ConversationUpdate:
    """A PATCH body that passed the schema; None leaves a field as it is, and so does leaving it out."""

    title: str | None
    discarded: bool | None


@attrs.frozen(kw_only=True)
class ConversationQuery:
    """The query of a list; None does not filter. `limit` and `offset` are as sent, out of range or not."""

    start_date: datetime | None
    end_date: datetime | None
    categories: str | None
    limit: int
    offset: int
    include_transcript: bool
    folder_id: str | None
    starred: bool | None


@attrs.frozen(kw_only=True)
class TextCreation:
    """A conversation to be made of a text."""

    text: str
    text_source: str
    text_source_spec: str | None
    started_at: datetime | None
    finished_at: datetime | None
    language: str | None
    geolocation: dict[str, Any] | None


@attrs.frozen(kw_only=True)
class SegmentsCreation:
    """A conversation to be made of a transcript; the same `client_session_id` means the same conversation."""

    transcript_segments: list[dict[str, Any]]
    client_session_id: str | None
    source: str | None
    started_at: datetime | None
    finished_at: datetime | None
    language: str | None
    geolocation: dict[str, Any] | None
    client_device_id: str | None
    client_platform: str | None


_TRANSCRIPT_FLAG = {"include_transcript": Field(flag, False)}
_LIST = {
    "start_date": Field(moment, None),
    "end_date": Field(moment, None),
    "categories": Field(text(), None),
    "limit": Field(integer, 25),
    "offset": Field(integer, 0),
    **_TRANSCRIPT_FLAG,
    "folder_id": Field(text(minimum=1), None),
    "starred": Field(flag, None),
}
_UPDATE = {
    "title": Field(optional(text(minimum=1, maximum=TITLE_CHARACTERS, blank="title cannot be empty")), None),
    "discarded": Field(optional(flag), None),
}
_COMMON = {
    "started_at": Field(optional(moment), None),
    "finished_at": Field(optional(moment), None),
    "language": Field(optional(text()), "en"),
    "geolocation": Field(
        optional(
            fields_of(
                {
                    "google_place_id": Field(optional(text()), None),
                    "latitude": Field(number),
                    "longitude": Field(number),
                    "address": Field(optional(text()), None),
                    "location_type": Field(optional(text()), None),
                }
            )
        ),
        None,
    ),
}
_FROM_TEXT = {
    "text": Field(text(minimum=1, maximum=100_000)),
    "text_source": Field(choice("audio_transcript", "message", "other_text"), "other_text"),
    "text_source_spec": Field(optional(text()), None),
    **_COMMON,
}
_SEGMENT = {
    "text": Field(text()),
    "speaker": Field(optional(text()), "SPEAKER_00"),
    "speaker_id": Field(optional(integer), None),
    "is_user": Field(flag, False),
    "person_id": Field(optional(text()), None),
    "start": Field(number),
    "end": Field(number),
}
_FROM_SEGMENTS = {
    "transcript_segments": Field(list_of(fields_of(_SEGMENT), minimum=1, maximum=500)),
    "client_session_id": Field(
        optional(text(minimum=1, maximum=200, blank="client_session_id cannot be empty")),
        None,
        ("client_conversation_id", "session_id", "client_id"),
    ),
    "source": Field(optional(choice(*SOURCES, other=SOURCES[-1])), "phone"),
    **_COMMON,
    "client_device_id": Field(optional(text()), None),
    "client_platform": Field(optional(text()), None),
}


def read_json(body: bytes, content_type: str | None) -> object:
    """Return the parsed *body*, the raw bytes if *content_type* is not JSON, or None if there is no body.

    This step knows nothing of the endpoint and runs before the key is looked at. Raises `RefusedError` with
    the 422 of broken JSON, or the 400 of bytes in no Unicode encoding.
    """
    if not body:
        return None
    if content_type and not _is_json(content_type):
        return body
    try:
        return cast(object, json.loads(body))
    except json.JSONDecodeError as error:
        _refuse(bad("json_invalid", ("body", error.pos), "JSON decode error", {}, {"error": error.msg}))
    except (ValueError, RecursionError) as error:
        raise RefusedError(refusal(400, UNREADABLE_BODY)) from error


def read_update(content: object) -> ConversationUpdate:
    """Return the update that *content* asks for; unknown fields are ignored.

    Raises `RefusedError` with the 422 that lists every bad field, as its siblings do.
    """
    return ConversationUpdate(**_read_body(content, _UPDATE))


def read_text_creation(content: object) -> TextCreation:
    """Return the conversation that *content* wants made of a text."""
    return TextCreation(**_read_body(content, _FROM_TEXT))


def read_segments_creation(content: object) -> SegmentsCreation:
    """Return the conversation that *content* wants made of a transcript."""
    return SegmentsCreation(**_read_body(content, _FROM_SEGMENTS))


def read_list_query(query: str) -> ConversationQuery:
    """Return what the *query* string asks to be listed."""
    return ConversationQuery(**_read_query(query, _LIST))


def read_transcript_flag(query: str) -> bool:
    """Return whether the *query* string asks for the transcript."""
    return bool(_read_query(query, _TRANSCRIPT_FLAG)["include_transcript"])


def _read_query(query: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    try:
        # Of a name that comes twice the last value counts.
        return members(dict(parse_qsl(query, keep_blank_values=True)), ("query",), fields)
    except BadInputError as error:
        _refuse(error)


def _read_body(content: object, fields: Mapping[str, Field]) -> dict[str, Any]:
    try:
        if content is None:
            raise bad("missing", ("body",), "Field required", None)
        value = content.decode() if isinstance(content, bytes) else content
        return cast(dict[str, Any], fields_of(fields)(value, ("body",)))
    except BadInputError as error:
        _refuse(error)


def _is_json(content_type: str) -> bool:
    header = Message()
    header["content-type"] = content_type
    subtype = header.get_content_subtype()
    return header.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))


def _refuse(error: BadInputError) -> NoReturn:
    raise RefusedError(refusal(422, list(error.problems))) from error
