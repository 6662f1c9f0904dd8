"""Memories: frozen values with the field names of the API's specification. No repr shows what is remembered."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

import attrs

from .shared import Model, kept


class MemoryCategory(StrEnum):
    """The categories known when this version was written; the server may name others.

    A field of this type holds plain text where the server names a category that is not listed here.
    """

    INTERESTING = "interesting"
    SYSTEM = "system"
    MANUAL = "manual"
    WORKFLOW = "workflow"
    CORE = "core"
    HOBBIES = "hobbies"
    LIFESTYLE = "lifestyle"
    INTERESTS = "interests"
    HABITS = "habits"
    WORK = "work"
    SKILLS = "skills"
    LEARNINGS = "learnings"
    OTHER = "other"
    AUTO = "auto"


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class Memory(Model):
    """A memory as the API returns it. All times are timezone-aware."""

    id: str
    content: str = attrs.field(default="", repr=False)
    """Of a locked memory, older servers show the first 70 characters and `...`; nothing else tells that it is locked
    (observed behavior)."""
    category: MemoryCategory | str = MemoryCategory.INTERESTING
    visibility: str | None = "private"
    """`public` or `private`."""
    tags: tuple[str, ...] = attrs.field(default=(), repr=False)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    manually_added: bool = False
    scoring: str | None = None
    reviewed: bool = False
    """The answer to a creation does not tell this, nor the next two (observed behavior)."""
    user_review: bool | None = None
    edited: bool = False


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class MemoryMatch(Model):
    """A memory that a search has found."""

    id: str
    content: str = attrs.field(default="", repr=False)
    category: MemoryCategory | str | None = None
    relevance_score: float | None = None
    """The higher, the more alike."""


@attrs.frozen(eq=False, repr=False)
class NewMemory(Model):
    """A memory that is to be created; the fields are the arguments of `create`."""

    content: str = attrs.field(repr=False)
    category: MemoryCategory | str | None = attrs.field(default=None, kw_only=True)
    visibility: Literal["public", "private"] = attrs.field(default="private", kw_only=True)
    tags: tuple[str, ...] = attrs.field(default=(), kw_only=True, repr=False, converter=kept)
