"""Daily summaries: frozen values with the field names of the API's specification. No repr shows what was said or where.

The server may send null for anything but the id, so nearly every field can be None.
"""

from datetime import datetime
from typing import Any

import attrs

from .shared import Model


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class DailySummaryStats(Model):
    """What a day consisted of, in numbers."""

    total_conversations: int | None = None
    total_duration_minutes: int | None = None
    action_items_count: int | None = None
    memories_created: int | None = None
    action_items_created: int | None = None
    watching_minutes: int | None = None
    proactive_moments: int | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class DailySummaryHighlight(Model):
    """Something that mattered."""

    topic: str | None = attrs.field(default=None, repr=False)
    emoji: str | None = None
    summary: str | None = attrs.field(default=None, repr=False)
    conversation_ids: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class DailySummaryActionItem(Model):
    """A task of the day."""

    description: str | None = attrs.field(default=None, repr=False)
    priority: str | None = None
    completed: bool | None = None
    source_conversation_id: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class DailySummaryQuestion(Model):
    """A question that stayed open."""

    question: str | None = attrs.field(default=None, repr=False)
    conversation_id: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class DailySummaryDecision(Model):
    """A decision that was made."""

    decision: str | None = attrs.field(default=None, repr=False)
    conversation_id: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class DailySummaryInsight(Model):
    """Something that was learned."""

    insight: str | None = attrs.field(default=None, repr=False)
    conversation_id: str | None = None


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class DailySummaryLocation(Model):
    """Where the user was."""

    latitude: float | None = attrs.field(default=None, repr=False)
    longitude: float | None = attrs.field(default=None, repr=False)
    address: str | None = attrs.field(default=None, repr=False)
    conversation_id: str | None = None
    time: str | None = attrs.field(default=None, repr=False)
    """As `17:05`, in the user's time zone."""


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class DailySummary(Model):
    """What Omi made of a day."""

    id: str
    date: str | None = None
    """The user's day, as `2026-09-21`. Now and then a day has two summaries (observed behavior)."""
    created_at: datetime | None = None
    headline: str | None = attrs.field(default=None, repr=False)
    overview: str | None = attrs.field(default=None, repr=False)
    day_emoji: str | None = None
    stats: DailySummaryStats | None = None
    highlights: tuple[DailySummaryHighlight, ...] | None = attrs.field(default=None, repr=False)
    action_items: tuple[DailySummaryActionItem, ...] | None = attrs.field(default=None, repr=False)
    unresolved_questions: tuple[DailySummaryQuestion, ...] | None = attrs.field(default=None, repr=False)
    decisions_made: tuple[DailySummaryDecision, ...] | None = attrs.field(default=None, repr=False)
    knowledge_nuggets: tuple[DailySummaryInsight, ...] | None = attrs.field(default=None, repr=False)
    memories_learned: tuple[Any, ...] = attrs.field(default=(), repr=False, hash=False)
    """As the server sends them: their form is not settled yet."""
    locations: tuple[DailySummaryLocation, ...] | None = attrs.field(default=None, repr=False)
