"""Goals: frozen values with the field names of the API's specification. No repr shows what somebody wants."""

from datetime import datetime
from enum import StrEnum

import attrs

from .shared import Model


class GoalType(StrEnum):
    """How progress is measured. A field of this type holds plain text where the server names another one."""

    BOOLEAN = "boolean"
    SCALE = "scale"
    NUMERIC = "numeric"


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class GoalMetric(Model):
    """How the progress of a goal is measured, and how far it is."""

    type: GoalType | str
    current: float = attrs.field(repr=False)
    target: float = attrs.field(repr=False)
    min: float | None = attrs.field(default=None, repr=False)
    max: float | None = attrs.field(default=None, repr=False)
    unit: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class Goal(Model):
    """A goal as the API returns it. All times are timezone-aware.

    Servers of May 2026 do not know the fields that are None or empty here by default, `unit` aside.
    """

    id: str
    goal_id: str | None = None
    """The same as `id`."""
    title: str = attrs.field(repr=False)
    desired_outcome: str | None = attrs.field(default=None, repr=False)
    why_it_matters: str | None = attrs.field(default=None, repr=False)
    success_criteria: tuple[str, ...] = attrs.field(default=(), repr=False)
    horizon_at: datetime | None = None
    status: str | None = None
    """`background`, `focused`, `paused`, `achieved` or `abandoned`; the server may name others."""
    focus_rank: int | None = None
    """The place of a focused goal."""
    metric: GoalMetric | None = attrs.field(default=None, repr=False)
    """None for a goal whose progress is not measured."""
    source: str | None = None
    """`user`, `ai_suggested` or `imported`; the server may name others."""
    goal_type: str
    """This and the four values repeat the metric. Without one they are `scale`, 0, 0, 0 and 10."""
    target_value: float = attrs.field(repr=False)
    current_value: float = attrs.field(repr=False)
    min_value: float = attrs.field(repr=False)
    max_value: float = attrs.field(repr=False)
    unit: str | None = attrs.field(default=None, repr=False)
    is_active: bool
    """Neither achieved nor abandoned."""
    created_at: datetime
    updated_at: datetime


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class GoalHistoryEntry(Model):
    """The last value of a day."""

    date: str
    """A day in UTC, as `2026-09-20`."""
    value: float = attrs.field(repr=False)
    recorded_at: datetime
