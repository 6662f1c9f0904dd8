"""The conversations a sandbox holds, and the ones it starts with."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs


def _check_aware(_: object, attribute: "attrs.Attribute[Any]", value: datetime | None) -> None:
    if value is not None and value.utcoffset() is None:
        raise ValueError(f"{attribute.name} must be a datetime with a time zone")


@attrs.define
class SandboxConversation:
    """One stored conversation; change its fields at will, the next request sees the change.

    Field names are the API's. `action_items`, `events`, `transcript_segments` and `geolocation` hold the
    objects of the API's specification as dicts: keys left out are sent with their defaults, times may be
    given as text or as aware datetimes. `discarded`, `locked`, `starred` and `status` steer the server and
    are no part of a conversation as it is sent. Raises ValueError for a time without a zone.
    """

    id: str
    created_at: datetime = attrs.field(default=datetime(2026, 9, 1, 9, 15, tzinfo=UTC), validator=_check_aware)
    started_at: datetime | None = attrs.field(default=datetime(2026, 9, 1, 9, 0, tzinfo=UTC), validator=_check_aware)
    finished_at: datetime | None = attrs.field(
        default=datetime(2026, 9, 1, 9, 14, 30, tzinfo=UTC), validator=_check_aware
    )
    title: str = "Conversation"
    overview: str = attrs.field(default="A short conversation.", repr=False)
    emoji: str = "🧠"
    category: str = "other"
    action_items: list[dict[str, Any]] = attrs.field(factory=list[dict[str, Any]], repr=False)
    events: list[dict[str, Any]] = attrs.field(factory=list[dict[str, Any]], repr=False)
    language: str | None = "en"
    source: str | None = "omi"
    transcript_segments: list[dict[str, Any]] = attrs.field(factory=list[dict[str, Any]], repr=False)
    geolocation: dict[str, Any] | None = attrs.field(default=None, repr=False)
    folder_id: str | None = None
    folder_name: str | None = None
    discarded: bool = False
    locked: bool = False
    starred: bool = False
    status: str = "completed"

    def to_json(self, *, include_transcript: bool) -> dict[str, object]:
        """Return the conversation as the server sends it: every key present, null where there is nothing."""
        segments = [_segment(segment) for segment in self.transcript_segments] if include_transcript else None
        return {
            "id": self.id,
            "created_at": _time(self.created_at),
            "started_at": _time(self.started_at),
            "finished_at": _time(self.finished_at),
            "structured": {
                "title": self.title,
                "overview": self.overview,
                "emoji": self.emoji,
                "category": self.category,
                "action_items": [_action_item(item) for item in self.action_items],
                "events": [_event(event) for event in self.events],
            },
            "language": self.language,
            "source": self.source,
            "transcript_segments": segments,
            "geolocation": None if self.geolocation is None else _geolocation(self.geolocation),
            "folder_id": self.folder_id,
            "folder_name": self.folder_name,
        }


def _action_item(item: Mapping[str, Any]) -> dict[str, object]:
    return {
        "description": item["description"],
        "completed": item.get("completed", False),
        "created_at": _time(item.get("created_at")),
        "updated_at": _time(item.get("updated_at")),
        "due_at": _time(item.get("due_at")),
        "completed_at": _time(item.get("completed_at")),
        "conversation_id": item.get("conversation_id"),
    }


def _event(event: Mapping[str, Any]) -> dict[str, object]:
    return {
        "title": event["title"],
        "description": event.get("description", ""),
        "start": _time(event["start"]),
        "duration": event.get("duration", 30),
        "created": event.get("created", False),
    }


def _segment(segment: Mapping[str, Any]) -> dict[str, object]:
    return {
        "id": segment.get("id"),
        "text": segment["text"],
        "speaker_id": segment.get("speaker_id"),
        # Names belong to people the server knows, and the sandbox knows none.
        "speaker_name": None,
        "start": float(segment["start"]),
        "end": float(segment["end"]),
    }


def _geolocation(place: Mapping[str, Any]) -> dict[str, object]:
    return {
        "google_place_id": place.get("google_place_id"),
        "latitude": float(place["latitude"]),
        "longitude": float(place["longitude"]),
        "address": place.get("address"),
        "location_type": place.get("location_type"),
    }


def _time(value: datetime | str | None) -> str | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def in_some_zone(time: datetime) -> datetime:
    """Return *time*, in UTC where it names no zone: so does the real server's database read it."""
    return time.replace(tzinfo=UTC) if time.utcoffset() is None else time


def seeded_conversations() -> list[SandboxConversation]:
    """Return the conversations of a sandbox that was given none, newest first, as new objects every time."""
    return [
        SandboxConversation(
            id="conv_standup",
            created_at=datetime(2026, 9, 21, 8, 12, 41, 318204, tzinfo=UTC),
            started_at=datetime(2026, 9, 21, 8, 0, tzinfo=UTC),
            finished_at=datetime(2026, 9, 21, 8, 11, 58, tzinfo=UTC),
            title="Monday Stand-up",
            overview="The export is done, search is still slow, and a demo was set for Friday.",
            emoji="💼",
            category="work",
            action_items=[
                {
                    "description": "Measure search on the large account",
                    "created_at": datetime(2026, 9, 21, 8, 12, 41, 318204, tzinfo=UTC),
                    "due_at": datetime(2026, 9, 23, 16, 0, tzinfo=UTC),
                    "conversation_id": "conv_standup",
                },
                {
                    "description": "Invite the support team to the demo",
                    "completed": True,
                    "created_at": datetime(2026, 9, 21, 8, 12, 41, 318204, tzinfo=UTC),
                    "updated_at": datetime(2026, 9, 21, 9, 30, tzinfo=UTC),
                    "completed_at": datetime(2026, 9, 21, 9, 30, tzinfo=UTC),
                    "conversation_id": "conv_standup",
                },
            ],
            events=[
                {
                    "title": "Demo for the support team",
                    "description": "Show the new export.",
                    "start": datetime(2026, 9, 25, 13, 0, tzinfo=UTC),
                    "duration": 45,
                }
            ],
            transcript_segments=[
                {
                    "id": "seg_standup_1",
                    "text": "Good morning. The export is finished, it went out on Friday.",
                    "speaker_id": 0,
                    "start": 0.0,
                    "end": 4.6,
                },
                {
                    "id": "seg_standup_2",
                    "text": "Search is still slow on the large account, I will measure it.",
                    "speaker_id": 1,
                    "start": 5.1,
                    "end": 9.84,
                },
            ],
            folder_id="folder_work",
            folder_name="Work",
            starred=True,
        ),
        SandboxConversation(
            id="conv_design",
            created_at=datetime(2026, 9, 18, 14, 46, 2, tzinfo=UTC),
            started_at=datetime(2026, 9, 18, 14, 0, tzinfo=UTC),
            finished_at=datetime(2026, 9, 18, 14, 45, 20, 500000, tzinfo=UTC),
            title="Talk about the new settings page",
            overview="Two layouts were compared; the one with a single column was chosen.",
            emoji="🎨",
            category="design",
            action_items=[{"description": "Draw the single-column layout", "conversation_id": "conv_design"}],
            source="desktop",
            transcript_segments=[
                {
                    "id": "seg_design_1",
                    "text": "The single column reads better on a phone.",
                    "speaker_id": 0,
                    "start": 12.0,
                    "end": 15.25,
                }
            ],
            folder_id="folder_work",
            folder_name="Work",
        ),
        SandboxConversation(
            id="conv_lisbon",
            created_at=datetime(2026, 9, 12, 17, 31, tzinfo=UTC),
            started_at=datetime(2026, 9, 12, 17, 5, tzinfo=UTC),
            finished_at=datetime(2026, 9, 12, 17, 30, tzinfo=UTC),
            title="Planos para domingo",
            overview="Ideias para um passeio de domingo em Lisboa.",
            emoji="✈️",
            category="travel",
            events=[{"title": "Passeio em Alfama", "start": datetime(2026, 9, 13, 10, 0, tzinfo=UTC)}],
            language="pt",
            source="phone",
            transcript_segments=[{"text": "Começamos em Alfama e almoçamos perto do rio.", "start": 1.2, "end": 4.9}],
            geolocation={
                "latitude": 38.7139,
                "longitude": -9.1334,
                "address": "Lisboa, Portugal",
                "location_type": "locality",
            },
        ),
        SandboxConversation(
            id="conv_checkup",
            created_at=datetime(2026, 9, 9, 10, 20, tzinfo=UTC),
            started_at=datetime(2026, 9, 9, 10, 0, tzinfo=UTC),
            finished_at=None,
            title="Yearly check-up",
            overview="Everything is fine; more sleep was advised.",
            emoji="🩺",
            category="health",
            source=None,
        ),
        SandboxConversation(
            id="conv_noise",
            created_at=datetime(2026, 9, 8, 19, 2, tzinfo=UTC),
            started_at=datetime(2026, 9, 8, 19, 1, tzinfo=UTC),
            finished_at=datetime(2026, 9, 8, 19, 1, 20, tzinfo=UTC),
            title="Background noise",
            overview="",
            transcript_segments=[{"text": "Uh-huh.", "speaker_id": 0, "start": 0.4, "end": 0.9}],
            discarded=True,
        ),
        SandboxConversation(
            id="conv_locked",
            created_at=datetime(2026, 9, 2, 12, 40, tzinfo=UTC),
            started_at=datetime(2026, 9, 2, 12, 0, tzinfo=UTC),
            finished_at=datetime(2026, 9, 2, 12, 39, tzinfo=UTC),
            title="Lunch with the founders",
            overview="How the first customers were found.",
            emoji="🍜",
            category="entrepreneurship",
            locked=True,
        ),
    ]
