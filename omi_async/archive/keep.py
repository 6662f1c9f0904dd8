"""A copy of each conversation, on disk before its deletion is sent."""

from functools import partial

from .._database import Connection, storable
from ..errors import NotFoundError, OmiError
from ..retry import Retrier
from . import notes
from .documents import Document, Source
from .rows import now, store, writing
from .store import Archive, checked


class Keeper:
    """Puts each conversation into the archive before it is deleted."""

    def __init__(self, retrier: Retrier, archive: Archive, source: Source, windows: tuple[str, ...]) -> None:
        self.windows = windows
        self._retrier = retrier
        self._archive = checked(archive)
        self._source = source

    async def prepare(self, record_id: str) -> None:
        """Fetch the conversation with its transcript and have it on disk.

        One that is not found may have been deleted before, by a run that was interrupted: then the copy is there.
        """
        has_copy = await self._archive._run(partial(_has_copy, self._retrier.transport.server, record_id))
        try:
            document = await self._retrier.call(self._source.get(record_id), None, None)
        except NotFoundError as error:
            if has_copy and not error.from_intermediary:
                return
            failure: OmiError = error
        except OmiError as error:
            failure = error
        else:
            await self._archive._run(partial(_keep, document))
            return
        failure.advice = "It was not deleted, because no copy of it could be kept."
        raise failure.with_traceback(None)

    def done(self, record_id: str) -> None:
        """Note that the conversation is gone. Nobody waits for that: a later pull would find out by itself."""
        self._archive._later(partial(_note_gone, record_id))


def _has_copy(server: str, record_id: str, connection: Connection) -> bool:
    """Whether the archive has the whole conversation; refuses one that belongs to another server."""
    with writing(connection):
        notes.bind(connection, server)
    found = connection.execute("SELECT has_transcript FROM conversations WHERE id = ?", (storable(record_id),))
    row = found.fetchone()
    return row is not None and bool(row[0])


def _keep(document: Document, connection: Connection) -> None:
    with writing(connection):
        moment = now()
        store(connection, document, moment)
        connection.execute("UPDATE conversations SET kept_at = ? WHERE id = ?", (moment, storable(document.id)))


def _note_gone(record_id: str, connection: Connection) -> None:
    with writing(connection):
        connection.execute("UPDATE conversations SET missing_at = ? WHERE id = ?", (now(), storable(record_id)))
