"""The folders resource."""

from .._protocol.collection import Collection, rows
from .._protocol.request import Request, builder
from ..models.folders import Folder
from ..pacing import windows
from ..retry import Retrier, RetryPolicy, Timeout

_FOLDERS = Collection(
    "folders", "/v1/dev/user/folders", "Folder", Folder, reads=windows("GET", "/v1/dev/user/folders")[0]
)


@builder
def list_folders() -> Request[tuple[Folder, ...]]:
    """Build the request of `list`."""
    return _FOLDERS.read("list", _FOLDERS.path, rows(Folder))


class AsyncFolders:
    """Folders of the key's user, reached as `client.folders`. The API reads them and cannot change them.

    The method takes `timeout` and `retry`, which replace the client's for that call. It raises `PermissionDeniedError`
    for a key without `conversations:read`; `AuthenticationError`; `RateLimitError`; `RouteNotFoundError` from a server
    that does not have the operation; `TransportError`, `ServerError` and `ResponseError`.
    """

    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier

    async def list(
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
        return await self._retrier.call(list_folders(), timeout, retry)
