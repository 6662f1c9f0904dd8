# Made from omi_async/archive/store.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The archive for synchronous code."""

import os
from types import TracebackType
from typing import Self

from omi_async.archive.store import Archive as AsyncArchive
from omi_async.models.archive import ArchivedConversation

from ._bridge import Bridge


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
