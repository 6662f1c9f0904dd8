"""`status`: how much is in an archive, and what is not."""

from .._database import Connection
from ..models.archive import ArchiveGap, ArchiveStatus
from . import notes
from .rows import time_of

_COUNT = "SELECT count(*), min(created_at), max(created_at), count(missing_at), count(kept_at) FROM conversations"


def status(connection: Connection) -> ArchiveStatus:
    """Count what is there."""
    number, oldest, newest, missing, kept = connection.execute(_COUNT).fetchone()
    saved_at = notes.note(connection, "saved_at")
    return ArchiveStatus(
        conversations=number,
        oldest=None if oldest is None else time_of(oldest),
        newest=None if newest is None else time_of(newest),
        missing=missing,
        kept=kept,
        server=notes.note(connection, "server"),
        saved_at=None if saved_at is None else time_of(saved_at),
        pending=notes.wanted(connection),
        gaps=tuple(
            [ArchiveGap(oldest=time_of(each.oldest), newest=time_of(each.newest)) for each in notes.gaps(connection)]
        ),
    )
