"""Action items: frozen values with the field names of the API's specification. No repr shows what is to be done."""

from datetime import datetime

import attrs

from .shared import Model


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class ActionItem(Model):
    """A task as the API returns it. All times are timezone-aware."""

    id: str
    description: str = attrs.field(repr=False)
    completed: bool
    created_at: datetime | None = None
    updated_at: datetime | None = None
    due_at: datetime | None = None
    completed_at: datetime | None = None
    conversation_id: str | None = None
    """The conversation in which it was heard; None for one that was made through this API."""


@attrs.frozen(eq=False, repr=False)
class NewActionItem(Model):
    """A task that is to be created; the fields are the arguments of `create`."""

    description: str = attrs.field(repr=False)
    completed: bool = attrs.field(default=False, kw_only=True)
    due_at: datetime | None = attrs.field(default=None, kw_only=True)
