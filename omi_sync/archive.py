# Made from omi_async/archive/store.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The archive for synchronous code."""

import os
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from omi_async.archive.store import Archive as AsyncArchive
from omi_async.models.archive import ArchivedConversation, ArchiveMatch, ArchiveStatus, ExportProgress, ExportResult

from ._bridge import Bridge
from ._calls import Calls
from ._iterate import relayed, run_with


class Archive:
    """Conversations with their transcripts as the server gave them, in one file that only its owner may read.

    `omi.conversations.save_to` fills it, and `keep` of a deletion adds to it. The file is made if it is not there.
    Several programs may use it at the same time, of which one writes at a time. An archive belongs to one account: it
    refuses another server, but cannot tell two accounts of one server.

    Nothing is opened before the first use. Close the archive when done, or use it as a context manager. Raises
    `ConfigurationError` for what cannot be a path, and `ArchiveError` for a file that cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        target = AsyncArchive(path)
        self._bridge = Bridge(target)

    def get(self, conversation_id: str) -> ArchivedConversation | None:
        """Return a conversation by its id, or None if the archive does not have it."""
        coroutine = self._bridge.target.get(conversation_id)
        return self._bridge.run(coroutine)

    def count(self) -> int:
        """Return how many conversations the archive has."""
        coroutine = self._bridge.target.count()
        return self._bridge.run(coroutine)

    def search(self, words: str, *, limit: int = 20) -> tuple[ArchiveMatch, ...]:
        """Return the conversations in which all these words are, the best match first.

        Titles, overviews and transcripts are searched, whatever case and accents words have. `"in quotes"` words
        follow each other, and `begin*` stands for all words that begin so.
        """
        coroutine = self._bridge.target.search(words, limit=limit)
        return self._bridge.run(coroutine)

    def status(self) -> ArchiveStatus:
        """Return how much is in the archive, from when to when, and what is not."""
        coroutine = self._bridge.target.status()
        return self._bridge.run(coroutine)

    def export(
        self,
        folder: str | os.PathLike[str],
        *,
        format: Literal["markdown", "jsonl", "csv"] = "markdown",  # noqa: A002 - the usual word for it
        timezone: str | None = None,
        on_progress: Callable[[ExportProgress], None] | None = None,
    ) -> ExportResult:
        """Write all conversations of the archive to files in a folder, which is made if it is not there.

        `markdown` writes a note for each conversation, `YEAR/MONTH/DAY TIME TITLE ID.md`. A note is written again only
        when its conversation has changed. One that a person has edited is left alone until then; after that, it is kept
        beside the new one. `jsonl` writes `conversations.jsonl`, each line the server's JSON document, and `csv` writes
        `conversations.csv`, a row for each conversation, without transcripts; these two are always written as a whole.
        Files appear at once and complete, and are for their owner's eyes only.

        `timezone` is an IANA name for days and times; by default it is this machine's. `on_progress` is called with an
        `ExportProgress` as the export goes on. Raises `ArchiveError` if the folder cannot be written; what was written
        before is whole, and exporting again goes on from there.
        """
        calls = Calls()
        coroutine = self._bridge.target.export(
            folder, format=format, timezone=timezone, on_progress=relayed(calls, on_progress)
        )
        return run_with(self._bridge, coroutine, calls)

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        self._bridge.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if "_bridge" not in self.__dict__:  # in the traceback of a refused setting
            return "<Archive not made>"
        return repr(self._bridge.target)
