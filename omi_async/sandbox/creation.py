"""New conversations out of create requests.

No language model is asked: the first words become the title and the whole text the overview.
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from omi_async.sandbox.answers import RefusedError, refusal
from omi_async.sandbox.records import SandboxConversation, in_some_zone
from omi_async.sandbox.schema import TITLE_CHARACTERS, SegmentsCreation, TextCreation

_TITLE_WORDS = 6
_SESSIONS = uuid.UUID("5b0c9df6-2a0e-4f0b-9d0e-6f1a1f6c7d42")
_USER = "sandbox"


def from_text(request: TextCreation) -> SandboxConversation:
    """Return the conversation made of a text; raises `RefusedError` with a 422 whose detail is text."""
    if not request.text.strip():
        raise _refused("text cannot be empty")
    started = _now() if request.started_at is None else request.started_at
    finished = started + timedelta(minutes=5) if request.finished_at is None else request.finished_at
    # With a time zone in only one of them the comparison breaks: a 500 on the real server as well.
    if finished < started:
        raise _refused("finished_at must be after started_at")
    return SandboxConversation(
        id=str(uuid.uuid4()),
        created_at=_now(),
        started_at=in_some_zone(started),
        finished_at=in_some_zone(finished),
        title=_title(request.text),
        overview=request.text.strip(),
        language=request.language or "en",
        source="external_integration",
        geolocation=_usable(request.geolocation),
    )


def from_segments(request: SegmentsCreation) -> SandboxConversation:
    """Return the conversation made of a transcript; raises `RefusedError` with a 422 whose detail is text.

    Its id is that of the session, if there is one.
    """
    segments = request.transcript_segments
    for index, segment in enumerate(segments):
        if segment["end"] <= segment["start"]:
            raise _refused(f"Segment {index}: end time must be after start time")
        if segment["start"] < 0:
            raise _refused(f"Segment {index}: start time cannot be negative")
        if not segment["text"].strip():
            raise _refused(f"Segment {index}: text cannot be empty")
    started = _now() if request.started_at is None else request.started_at
    duration = timedelta(seconds=segments[-1]["end"])
    finished = started + duration if request.finished_at is None else request.finished_at
    if finished <= started:
        raise _refused("finished_at must be after started_at")
    session = request.client_session_id
    words = " ".join(segment["text"].strip() for segment in segments)
    return SandboxConversation(
        id=str(uuid.uuid4()) if session is None else str(uuid.uuid5(_SESSIONS, f"{_USER}\0{session.strip()}")),
        # The real server files a session under its beginning and everything else under the present.
        created_at=_now() if session is None else in_some_zone(started),
        started_at=in_some_zone(started),
        finished_at=in_some_zone(finished),
        title=_title(words),
        overview=words,
        language=request.language or "en",
        source=request.source or "phone",
        transcript_segments=[_segment(segment) for segment in segments],
        geolocation=_usable(request.geolocation),
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


def _refused(detail: str) -> RefusedError:
    return RefusedError(refusal(422, detail))
