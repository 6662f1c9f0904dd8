"""Conversations, and questions about them."""

import attrs

from omi_async import Conversation, ConversationAnswer, CreatedConversation, Geolocation

from ..statement import (
    FLAG,
    INTEGER,
    NUMBER,
    SUCCESS,
    TIME,
    Call,
    Field,
    Operation,
    Schema,
    an_object,
    array,
    body,
    in_path,
    limited,
    nullable,
    read_off,
    text,
)

PREFIX = "/v1/dev/user/conversations"

_ID = in_path("conversation_id")
_WITH_TRANSCRIPT = {("query", "include_transcript"): Field(FLAG, default=False)}

_CONVERSATION = read_off(Conversation)

_COMMON = {
    "started_at": Field(nullable(TIME)),
    "finished_at": Field(nullable(TIME)),
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
        "start": Field(NUMBER, required=True),
        "end": Field(NUMBER, required=True),
        "speaker": Field(nullable(text()), default="SPEAKER_00"),
        "speaker_id": Field(nullable(INTEGER)),
        "is_user": Field(FLAG, default=False),
        "person_id": Field(nullable(text())),
    }
)

_ANY_OBJECT = Schema(types=frozenset({"object"}))

_CREATED = read_off(CreatedConversation)


OPERATIONS = (
    Operation(
        id="updateConversation",
        method="PATCH",
        path=f"{PREFIX}/{{conversation_id}}",
        parameters=_ID,
        body=body(
            {
                "title": Field(nullable(text(minLength=1, maxLength=500))),
                "discarded": Field(nullable(FLAG)),
            }
        ),
        answers={"200": _CONVERSATION},
    ),
    Operation(
        id="deleteConversation",
        method="DELETE",
        path=f"{PREFIX}/{{conversation_id}}",
        parameters=_ID,
        answers={"200": SUCCESS},
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
            ("query", "start_date"): Field(nullable(TIME)),
            ("query", "end_date"): Field(nullable(TIME)),
            ("query", "categories"): Field(nullable(text())),
            ("query", "limit"): Field(INTEGER, default=25),
            ("query", "offset"): Field(INTEGER, default=0),
            **_WITH_TRANSCRIPT,
            ("query", "folder_id"): Field(nullable(text(minLength=1))),
            ("query", "starred"): Field(nullable(FLAG)),
        },
        answers={"200": array(_CONVERSATION)},
    ),
    Operation(
        id="createConversation",
        method="POST",
        path=PREFIX,
        body=body(
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
        body=body(
            {
                "transcript_segments": Field(array(_NEW_SEGMENT, minItems=1, maxItems=500), required=True),
                "client_session_id": Field(nullable(text(minLength=1, maxLength=200))),
                "source": Field(nullable(attrs.evolve(text(), values=_SOURCES)), default="phone"),
                "client_device_id": Field(nullable(text())),
                "client_platform": Field(nullable(text())),
                "conversation_role": Field(nullable(attrs.evolve(text(), values=("ambient", "meeting")))),
                "conversation_finalization_reason": Field(nullable(text())),
                "client_processing": Field(nullable(_ANY_OBJECT)),
                "capture_evidence": Field(nullable(_ANY_OBJECT)),
                **_COMMON,
            }
        ),
        answers={"200": _CREATED},
    ),
    Operation(
        id="ask",
        method="POST",
        path="/v1/dev/user/ask",
        body=body(
            {
                "question": Field(text(minLength=1, maxLength=1000), required=True),
                "limit": Field(limited(INTEGER, 1.0, 10.0), default=5),
                "timezone": Field(text(), default="UTC"),
            }
        ),
        answers={"200": read_off(ConversationAnswer)},
    ),
)

CALLS = {
    "updateConversation": Call("conversations.update"),
    "deleteConversation": Call("conversations.delete", own=frozenset({"keep"})),
    "getConversation": Call("conversations.get"),
    "listConversations": Call(
        "conversations.list", renamed={"limit": "page_size"}, filled=frozenset({"offset"}), own=frozenset({"limit"})
    ),
    "createConversation": Call("conversations.create"),
    "createConversationFromSegments": Call(
        "conversations.create_from_segments", renamed={"transcript_segments": "segments"}
    ),
    "ask": Call("conversations.ask"),
}
"""By the operation's id."""
