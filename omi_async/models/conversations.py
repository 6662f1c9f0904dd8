"""Conversations: frozen values with the field names of the API's specification.

People's conversations are private, so no repr shows what was said, only what is needed to tell values apart.
Models have no slots: `_protocol.convert` fills an instance's `__dict__` in one step.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from .shared import Model

_private: dict[str, Any] = {"repr": False}


class Category(StrEnum):
    """The categories known when this version was written; the server may name others.

    A field of this type holds plain text where the server names a category that is not listed here.
    """

    PERSONAL = "personal"
    EDUCATION = "education"
    HEALTH = "health"
    FINANCE = "finance"
    LEGAL = "legal"
    PHILOSOPHY = "philosophy"
    SPIRITUAL = "spiritual"
    SCIENCE = "science"
    ENTREPRENEURSHIP = "entrepreneurship"
    PARENTING = "parenting"
    ROMANTIC = "romantic"
    TRAVEL = "travel"
    INSPIRATION = "inspiration"
    TECHNOLOGY = "technology"
    BUSINESS = "business"
    SOCIAL = "social"
    WORK = "work"
    SPORTS = "sports"
    POLITICS = "politics"
    LITERATURE = "literature"
    HISTORY = "history"
    ARCHITECTURE = "architecture"
    MUSIC = "music"
    WEATHER = "weather"
    NEWS = "news"
    ENTERTAINMENT = "entertainment"
    PSYCHOLOGY = "psychology"
    REAL = "real"
    DESIGN = "design"
    FAMILY = "family"
    ECONOMICS = "economics"
    ENVIRONMENT = "environment"
    OTHER = "other"


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class Geolocation(Model):
    """Where a conversation took place."""

    latitude: float = attrs.field(**_private)
    longitude: float = attrs.field(**_private)
    google_place_id: str | None = attrs.field(default=None, **_private)
    address: str | None = attrs.field(default=None, **_private)
    location_type: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class TranscriptSegment(Model):
    """One stretch of speech by one speaker."""

    text: str = attrs.field(**_private)
    start: float
    """Seconds from the beginning of the recording."""
    end: float
    """Seconds from the beginning of the recording."""
    id: str | None = None
    speaker_id: int | None = None
    speaker_name: str | None = attrs.field(default=None, **_private)
    """Always None in the answer to an update: names are resolved on reads only (observed behavior)."""


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class ConversationActionItem(Model):
    """A task that was heard in the conversation."""

    description: str = attrs.field(**_private)
    completed: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    due_at: datetime | None = None
    completed_at: datetime | None = None
    conversation_id: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class ConversationEvent(Model):
    """A calendar event that was heard in the conversation."""

    title: str = attrs.field(**_private)
    start: datetime
    description: str = attrs.field(default="", **_private)
    duration: int = 30
    """Minutes."""
    created: bool = False
    """Whether it was put into the user's calendar."""


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class ConversationStructured(Model):
    """What Omi made of the conversation."""

    title: str = attrs.field(**_private)
    overview: str = attrs.field(**_private)
    category: Category | str
    emoji: str = "🧠"
    action_items: tuple[ConversationActionItem, ...] = attrs.field(default=(), **_private)
    events: tuple[ConversationEvent, ...] = attrs.field(default=(), **_private)


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class Conversation(Model):
    """A conversation as the API returns it. All times are timezone-aware.

    The API does not tell whether a conversation is discarded, neither here nor on reads: a change of
    `discarded` cannot be confirmed from the answer (observed behavior).
    """

    id: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    structured: ConversationStructured
    language: str | None = None
    source: str | None = None
    transcript_segments: tuple[TranscriptSegment, ...] | None = attrs.field(default=None, **_private)
    geolocation: Geolocation | None = attrs.field(default=None, **_private)
    folder_id: str | None = None
    folder_name: str | None = attrs.field(default=None, **_private)


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class NewTranscriptSegment(Model):
    """One stretch of speech of a conversation that is to be created. None leaves a value to the server."""

    text: str = attrs.field(**_private)
    start: float
    """Seconds from the beginning of the recording."""
    end: float
    """Seconds from the beginning of the recording; later than `start`."""
    speaker: str | None = attrs.field(default=None, **_private)
    """Who spoke, as `SPEAKER_00`, which is what the server takes where nothing is said."""
    speaker_id: int | None = None
    """By default the number in `speaker`."""
    is_user: bool = False
    """Whether the key's user spoke."""
    person_id: str | None = attrs.field(default=None, **_private)
    """A person that the server knows."""


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class CreatedConversation(Model):
    """What the server made of a text or a transcript."""

    id: str
    status: str
    """`completed`, as a rule; `deleted` where the session's conversation was deleted before."""
    discarded: bool
    """Whether the server found nothing worth keeping: the conversation is there, but hidden from lists."""
    meeting_treatment_eligible: bool = False
    """Whether the server treats it as a meeting; older servers do not say so."""


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class AnswerSource(Model):
    """A conversation that an answer was made from."""

    id: str
    title: str = attrs.field(**_private)
    created_at: datetime | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class ConversationAnswer(Model):
    """What Omi found in the conversations for a question."""

    answer: str = attrs.field(**_private)
    sources: tuple[AnswerSource, ...] = attrs.field(**_private)
    """The conversations that the language model was given, whether or not it used them; none where nothing was
    found."""
