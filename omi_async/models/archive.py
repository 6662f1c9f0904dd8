"""What an archive holds of a conversation, and what is reported of filling it."""

from datetime import datetime
from typing import Any

import attrs

from .conversations import Conversation
from .shared import Model


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ArchivedConversation(Model):
    """A conversation as an archive has it."""

    id: str
    created_at: datetime
    json: dict[str, Any] = attrs.field(repr=False)
    """The server's JSON document, with fields that this version does not know; `from_dict` makes a `Conversation`."""
    has_transcript: bool
    first_seen_at: datetime
    """When it was stored first."""
    seen_at: datetime
    """When the server showed it last."""
    changed_at: datetime
    """When the server showed it first as it is here."""
    missing_at: datetime | None
    """When the server's list had it no more: it was deleted or hidden, or it is locked."""
    kept_at: datetime | None
    """When it was stored in order to be deleted."""
    recreated_as: str | None
    """The id of the conversation that `recreate` made of it last."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ArchiveGap(Model):
    """A stretch of time in which the server withholds conversations: locked ones, or some that it cannot read."""

    oldest: datetime
    """When the oldest conversation around was created."""
    newest: datetime
    """When the newest one was."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ArchiveMatch(Model):
    """A conversation that a search has found, and the line in it that matches best."""

    id: str
    created_at: datetime
    title: str = attrs.field(repr=False)
    line: str = attrs.field(repr=False)
    """Of the transcript, of the overview, or the title."""
    speaker: str | None = attrs.field(repr=False)
    """Who said the line; None if it is none of the transcript."""
    start: float | None
    """When it was said, in seconds from the beginning of the recording; None if it is none of the transcript."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ArchiveStatus(Model):
    """What an archive has."""

    conversations: int
    oldest: datetime | None
    """When the oldest conversation was created; None if there is none."""
    newest: datetime | None
    """When the newest one was."""
    missing: int
    """Conversations that the server's list had no more: deleted, hidden or locked."""
    kept: int
    """Conversations that were stored in order to be deleted."""
    server: str | None
    """The server to which the archive belongs; None before it has stored anything."""
    saved_at: datetime | None
    """When `save_to` came to its end last; None if it never did."""
    pending: int
    """Conversations that an interrupted `save_to` has seen in the list, and not fetched yet."""
    gaps: tuple[ArchiveGap, ...]
    """Where the server withholds conversations, which are not in the archive."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ExportProgress(Model):
    """How far `export` is."""

    exported: int
    total: int


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ExportResult(Model):
    """What `export` has done. The names of files are relative to the folder."""

    conversations: int
    written: int
    """Files that are new or were written again."""
    unchanged: int
    """Files that were as they should be, and were left as they are."""
    edited: tuple[str, ...] = attrs.field(repr=False)
    """Files that a person has edited, and whose conversations have not changed since: they were left as they are."""
    kept: tuple[str, ...] = attrs.field(repr=False)
    """Edited files whose conversations have changed: they have these names now, beside the new ones."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class SaveProgress(Model):
    """How far `save_to` is."""

    saved: int
    """Conversations that this run stored, new and changed ones."""
    unchanged: int
    """Conversations that this run found as they were."""
    total: int | None
    """Conversations to be looked at in all, as far as that is known."""
    waiting_until: datetime | None
    """When the server's window opens again, while the run waits for it."""
    estimated_end: datetime | None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class SaveResult(Model):
    """What a run of `save_to` has found. Everything that the server shows is in the archive now."""

    new: int
    changed: int
    unchanged: int
    missing: tuple[str, ...]
    """Ids of the archive that the server's list had no more: deleted, hidden or locked. The archive keeps them."""
    failed: tuple[str, ...]
    """Ids of the server's list that it did not give when they were asked for: deleted or locked meanwhile."""
    gaps: tuple[ArchiveGap, ...]
    """Where the server withholds conversations, which are not in the archive."""
    requests: int
    """How many reads this run cost."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Recreation(Model):
    """A conversation that was made of one in an archive, and what is not as before."""

    id: str
    """Of the new conversation."""
    recreated_from: str
    """The id in the archive."""
    status: str
    """`completed`, as a rule; `deleted` where an earlier recreation was deleted, which the server does not repeat."""
    conversation: Conversation | None = attrs.field(repr=False)
    """The new conversation as the server tells it; None where it was deleted."""
    differences: tuple[str, ...]
    """The fields that are not as they were, as `id` and `structured.overview`; and `audio` and `photos`, which the API
    neither tells nor takes."""
