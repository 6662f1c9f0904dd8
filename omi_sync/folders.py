# Made from omi_async/resources/folders.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The folders resource for synchronous code."""

from omi_async.client import AsyncOmiClient
from omi_async.models.folders import Folder
from omi_async.retry import RetryPolicy, Timeout

from ._bridge import Bridge


class Folders:
    """Folders of the key's user, reached as `client.folders`. The API reads them and cannot change them.

    The method takes `timeout` and `retry`, which replace the client's for that call. It raises `PermissionDeniedError`
    for a key without `conversations:read`; `AuthenticationError`; `RateLimitError`; `RouteNotFoundError` from a server
    that does not have the operation; `TransportError`, `ServerError` and `ResponseError`.
    """

    def __init__(self, bridge: Bridge[AsyncOmiClient]) -> None:
        self._bridge = bridge

    def list(
        self,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> tuple[Folder, ...]:
        """List all folders, in the order of the app.

        There are none for a user who never opened the app's list of folders. A folder's `id` is what
        `conversations.list` takes as `folder_id`. It costs one of the reads that the server allows for conversations.

        Source: https://docs.omi.me (listFolders) and observed behavior.
        """
        coroutine = self._bridge.target.folders.list(timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)
