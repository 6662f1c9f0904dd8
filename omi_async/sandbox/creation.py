"""The endpoints that make conversations, of a text or of a transcript.

No language model is asked: the first words become the title and the whole text the overview.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from omi_async.sandbox.allowance import RateWindow
from omi_async.sandbox.api import Generation, Incoming, Route
from omi_async.sandbox.conversations import (
    COLLECTION,
    CONVERSATION,
    TITLE_CHARACTERS,
    WRITE,
    WRITES,
    SandboxConversation,
)
from omi_async.sandbox.fields import (
    Field,
    blank,
    choice,
    fields_of,
    flag,
    integer,
    list_of,
    number,
    optional,
    refusing,
    text,
)
from omi_async.sandbox.moments import moment, zoned_moment
from omi_async.sandbox.replies import Reply, ReplyError, json_reply, refusal
from omi_async.sandbox.schema import read_body
from omi_async.sandbox.store import Store, stored_time

_FROM_SEGMENTS_WRITES = RateWindow("dev:conversations_from_segments", 30, "writes")

_TITLE_WORDS = 6
_SESSIONS = uuid.UUID("5b0c9df6-2a0e-4f0b-9d0e-6f1a1f6c7d42")
_USER = "sandbox"

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
"""Where a conversation may come from; the server files any other text under the last."""

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
_FROM_SEGMENTS_2026_05 = {
    "transcript_segments": Field(list_of(fields_of(_SEGMENT), minimum=1, maximum=500)),
    "client_session_id": Field(
        optional(refusing(text(minimum=1, maximum=200), blank, "client_session_id cannot be empty")),
        None,
        ("client_conversation_id", "session_id", "client_id"),
    ),
    "source": Field(optional(choice(*_SOURCES, other=_SOURCES[-1])), None),
    **_COMMON,
    "client_device_id": Field(optional(text()), None),
    "client_platform": Field(optional(text()), None),
}
_FROM_SEGMENTS = {
    **_FROM_SEGMENTS_2026_05,
    "started_at": Field(optional(zoned_moment), None),
    "finished_at": Field(optional(zoned_moment), None),
    # What it holds is not checked further, and `client_processing` not at all.
    "capture_evidence": Field(optional(fields_of({})), None),
    "conversation_role": Field(optional(choice("ambient", "meeting", error="literal_error")), None),
    "conversation_finalization_reason": Field(optional(text()), None),
}


class Creation:
    """The endpoints of new conversations."""

    def __init__(self, store: Store[SandboxConversation], generation: Generation) -> None:
        self._store = store
        self._old = generation != "newest"

    @property
    def routes(self) -> tuple[Route, ...]:
        """The two creations."""
        create = partial(Route, method="POST", kind=CONVERSATION, scope=WRITE, older_windows=(WRITES,), takes_json=True)
        return (
            create(path=COLLECTION, handler=self._create, windows=(WRITES,)),
            create(
                path=f"{COLLECTION}/from-segments",
                handler=self._create_from_segments,
                windows=(WRITES, _FROM_SEGMENTS_WRITES),
            ),
        )

    def _create(self, incoming: Incoming) -> Reply:
        return self._add(incoming, _from_text(read_body(incoming.content, _FROM_TEXT)))

    def _create_from_segments(self, incoming: Incoming) -> Reply:
        fields = _FROM_SEGMENTS_2026_05 if self._old else _FROM_SEGMENTS
        source = "external_integration" if self._old else "phone"
        conversation = _from_segments(read_body(incoming.content, fields), usual_source=source)
        known = self._store.get(conversation.id)
        if known is not None:
            return self._created(known.id, known.status, known.discarded)
        if conversation.id in self._store.deleted:
            return self._created(conversation.id, "deleted", True)
        return self._add(incoming, conversation)

    def _add(self, incoming: Incoming, conversation: SandboxConversation) -> Reply:
        incoming.applied = True
        self._store.put(conversation)
        return self._created(conversation.id, conversation.status, conversation.discarded)

    def _created(self, conversation_id: str, status: str, discarded: bool) -> Reply:
        row: dict[str, object] = {"id": conversation_id, "status": status, "discarded": discarded}
        return json_reply(200, row if self._old else {**row, "meeting_treatment_eligible": False})


def _from_text(request: Mapping[str, Any]) -> SandboxConversation:
    words: str = request["text"]
    if not words.strip():
        raise _refused("text cannot be empty")
    started = request["started_at"] or _now()
    finished = request["finished_at"] or started + timedelta(minutes=5)
    # With a time zone in only one of them the comparison breaks: a 500 on the real server as well.
    if finished < started:
        raise _refused("finished_at must be after started_at")
    return SandboxConversation(
        id=str(uuid.uuid4()),
        created_at=_now(),
        started_at=stored_time(started),
        finished_at=stored_time(finished),
        title=_title(words),
        overview=words.strip(),
        language=request["language"] or "en",
        source="external_integration",
        geolocation=_usable(request["geolocation"]),
    )


def _from_segments(request: Mapping[str, Any], *, usual_source: str) -> SandboxConversation:
    segments = request["transcript_segments"]
    for index, segment in enumerate(segments):
        if segment["end"] <= segment["start"]:
            raise _refused(f"Segment {index}: end time must be after start time")
        if segment["start"] < 0:
            raise _refused(f"Segment {index}: start time cannot be negative")
        if not segment["text"].strip():
            raise _refused(f"Segment {index}: text cannot be empty")
    started = request["started_at"] or _now()
    finished = request["finished_at"] or started + timedelta(seconds=segments[-1]["end"])
    if finished <= started:
        raise _refused("finished_at must be after started_at")
    session: str | None = request["client_session_id"]
    words = " ".join(segment["text"].strip() for segment in segments)
    return SandboxConversation(
        # A session names its conversation.
        id=str(uuid.uuid4()) if session is None else str(uuid.uuid5(_SESSIONS, f"{_USER}\0{session.strip()}")),
        # The real server files a session under its beginning and everything else under the present.
        created_at=_now() if session is None else stored_time(started),
        started_at=stored_time(started),
        finished_at=stored_time(finished),
        title=_title(words),
        overview=words,
        language=request["language"] or "en",
        source=request["source"] or usual_source,
        transcript_segments=[_segment(segment) for segment in segments],
        geolocation=_usable(request["geolocation"]),
    )


def _segment(segment: dict[str, Any]) -> dict[str, Any]:
    speaker_id = segment["speaker_id"]
    return {
        "id": str(uuid.uuid4()),
        "text": segment["text"].strip(),
        "speaker_id": _speaker_id(segment["speaker"] or "") if speaker_id is None else speaker_id,
        "start": segment["start"],
        "end": segment["end"],
    }


def _speaker_id(speaker: str) -> int:
    """Return the number in a name like `SPEAKER_01`, 0 where there is none."""
    try:
        return int(speaker.partition("_")[2])
    except ValueError:
        return 0


def _title(words: str) -> str:
    return " ".join(words.split()[:_TITLE_WORDS])[:TITLE_CHARACTERS]


def _usable(place: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return *place*, or None where it is nowhere on Earth: such a place is accepted and forgotten."""
    if place is None or not (-90 <= place["latitude"] <= 90 and -180 <= place["longitude"] <= 180):
        return None
    return place


def _now() -> datetime:
    return datetime.now(UTC)


def _refused(detail: str) -> ReplyError:
    return ReplyError(refusal(422, detail))
