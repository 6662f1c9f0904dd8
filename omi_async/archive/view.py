"""What people read of a document.

It is read leniently: a document that no model can hold, as a newer server may give one, is shown as far as it goes.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any

import attrs

from .._late import load
from .._protocol.arguments import misconfigured

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@attrs.frozen(eq=False)
class Said:
    """One stretch of speech."""

    start: float
    """Seconds from the beginning of the recording."""
    speaker: str = attrs.field(repr=False)
    text: str = attrs.field(repr=False)
    is_named: bool
    """Whether the speaker has a name, and not a number alone."""


@attrs.frozen(eq=False)
class Task:
    """An action item."""

    text: str = attrs.field(repr=False)
    is_done: bool
    due: datetime | None


@attrs.frozen(eq=False)
class Event:
    """A calendar event."""

    start: datetime | None
    title: str = attrs.field(repr=False)
    description: str = attrs.field(repr=False)


@attrs.frozen(eq=False)
class View:
    """A conversation; texts that it lacks are empty."""

    id: str
    created: datetime | None
    started: datetime | None
    finished: datetime | None
    title: str = attrs.field(repr=False)
    emoji: str = attrs.field(repr=False)
    overview: str = attrs.field(repr=False)
    category: str
    folder: str = attrs.field(repr=False)
    language: str
    source: str
    place: str = attrs.field(repr=False)
    tasks: tuple[Task, ...] = attrs.field(repr=False)
    events: tuple[Event, ...] = attrs.field(repr=False)
    said: tuple[Said, ...] = attrs.field(repr=False)

    @property
    def people(self) -> list[str]:
        """The speakers that have names, each once, in the order in which they spoke."""
        return list(dict.fromkeys(each.speaker for each in self.said if each.is_named))

    @property
    def digest(self) -> str:
        """Tells whether anything has changed that people read."""
        plain = json.dumps(attrs.astuple(self), default=str, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()[:16]


def view(text: str) -> View:
    """Read a document's text."""
    members = _Members(json.loads(text))
    structured = members.inner("structured")
    return View(
        id=members.text("id"),
        created=members.time("created_at"),
        started=members.time("started_at"),
        finished=members.time("finished_at"),
        title=structured.text("title"),
        emoji=structured.text("emoji"),
        overview=structured.text("overview"),
        category=structured.text("category"),
        folder=members.text("folder_name") or members.text("folder_id"),
        language=members.text("language"),
        source=members.text("source"),
        place=members.inner("geolocation").text("address"),
        tasks=tuple(
            [
                Task(each.text("description"), each.of.get("completed") is True, each.time("due_at"))
                for each in structured.several("action_items")
            ]
        ),
        events=tuple(
            [
                Event(each.time("start"), each.text("title"), each.text("description"))
                for each in structured.several("events")
            ]
        ),
        said=tuple([_said(each) for each in members.several("transcript_segments")]),
    )


class _Members:
    """The members of a JSON object, of whatever type they are."""

    def __init__(self, of: object) -> None:
        self.of: dict[str, Any] = of if isinstance(of, dict) else {}

    def text(self, name: str) -> str:
        value = self.of.get(name)
        return value if isinstance(value, str) else ""

    def time(self, name: str) -> datetime | None:
        try:
            moment = datetime.fromisoformat(self.text(name))
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    def inner(self, name: str) -> "_Members":
        return _Members(self.of.get(name))

    def several(self, name: str) -> "Iterator[_Members]":
        value = self.of.get(name)
        return map(_Members, value if isinstance(value, list) else [])


def _said(segment: _Members) -> Said:
    start, number = segment.of.get("start"), segment.of.get("speaker_id")
    name = " ".join(segment.text("speaker_name").split())
    return Said(
        start=float(start) if isinstance(start, (int, float)) and 0 <= start < 1e9 else 0.0,
        speaker=name or f"Speaker {number if isinstance(number, int) else 0}",
        text=segment.text("text"),
        is_named=bool(name),
    )


def plain(text: str) -> str:
    """Text with line feeds alone, and a sign in the place of what no text file should have."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def zone_of(timezone: str | None) -> tzinfo | None:
    """The time zone of an IANA name; None for this machine's."""
    if timezone is None:
        return None
    zoneinfo = load("zoneinfo")
    try:
        zone: tzinfo = zoneinfo.ZoneInfo(timezone)
    except (zoneinfo.ZoneInfoNotFoundError, TypeError, ValueError, OSError):
        pass
    else:
        return zone
    hint = " Windows knows them once the package tzdata is installed." if os.name == "nt" else ""
    raise misconfigured(f"timezone must be an IANA name, such as Europe/Lisbon, or None.{hint}")


def local(moment: datetime, zone: tzinfo | None) -> datetime:
    """The moment in a time zone, or in UTC where it would lie before year 1 or after 9999."""
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return moment
