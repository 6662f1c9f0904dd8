"""Folders, in which the app files conversations."""

from datetime import datetime

import attrs

from .shared import Model


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class Folder(Model):
    """A folder as the API returns it. All times are timezone-aware."""

    id: str
    name: str = attrs.field(repr=False)
    description: str | None = attrs.field(default=None, repr=False)
    color: str
    """As `#3B82F6`."""
    icon: str
    created_at: datetime
    updated_at: datetime
    order: int = 0
    """The folder's place in the app's list."""
    is_default: bool = False
    is_system: bool = False
    conversation_count: int = 0
    """The server counts with some delay (observed behavior)."""
