"""API keys: frozen values with the field names of the API's specification. No repr shows a key or its name."""

from datetime import datetime

import attrs

from .shared import Model


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class ApiKey(Model):
    """What is known of a key, which is not the key itself. All times are timezone-aware."""

    id: str
    name: str = attrs.field(repr=False)
    key_prefix: str = attrs.field(repr=False)
    """The beginning and the end of the key, to tell it by."""
    created_at: datetime
    last_used_at: datetime | None = None
    scopes: tuple[str, ...] | None = None
    """What the key may do, as `memories:read`. None, of an old key, stands for all reads."""


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class CreatedApiKey(Model):
    """A new key. The server shows it this once."""

    id: str
    name: str = attrs.field(repr=False)
    key_prefix: str = attrs.field(repr=False)
    created_at: datetime
    last_used_at: datetime | None = None
    scopes: tuple[str, ...] | None = None
    key: str = attrs.field(repr=False)
    """The key itself: keep it where you keep secrets."""
