# Made from omi_async/resources/memories.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The memories resource for synchronous code."""

import os
from collections.abc import Callable, Iterable
from typing import Literal

from omi_async.client import AsyncOmiClient
from omi_async.models.bulk import BulkProgress
from omi_async.models.memories import Memory, MemoryCategory, MemoryMatch, NewMemory
from omi_async.models.shared import Deletion
from omi_async.resources.memories import MemoryUpdate
from omi_async.retry import RetryPolicy, Timeout

from ._bridge import Bridge
from ._iterate import feed, relayed
from .bulk import Bulk
from .paging import Listing


class Memories:
    """Memories of the key's user, reached as `client.memories`.

    The API has no way to get a single memory by its id.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `PermissionDeniedError` for a key without
    `memories:read` or, for writes, `memories:write`, and for an old key, which lacks a grant that new keys have;
    `AuthenticationError`; `RateLimitError`; `RouteNotFoundError` from a server that does not have the operation;
    `TransportError`, `ServerError` and `ResponseError`. The `outcome` of each tells whether the write may have been
    applied.
    """

    def __init__(self, bridge: Bridge[AsyncOmiClient]) -> None:
        self._bridge = bridge

    def list(
        self,
        *,
        categories: Iterable[MemoryCategory | str] | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Listing[Memory]:
        """List memories, at most 5000 of them, which is as far as the server goes.

        The newest servers give the latest change first. `categories` restricts the list. `limit` is how many memories
        the list gives at most; `page_size` is how many are fetched at a time, from 1 to 1000, which is the default
        and what is asked for behind a page without any. Pages are fetched as they are consumed, and the end of the list
        costs two.

        Each memory comes once. One that is changed meanwhile moves to the front, and is missed if it was still to come.
        One that is deleted meanwhile pulls the rest forward, so that another is missed. So collect ids before you
        change or delete them. `gaps` and `truncated` of the result tell what the server kept back. `timeout` and
        `retry` hold for each page.

        Bad arguments are refused at once. Iterating raises `BadRequestError` for a category that the server does not
        know.

        Source: https://docs.omi.me (listMemories) and observed behavior.
        """
        target = self._bridge.target.memories.list(
            categories=categories, limit=limit, page_size=page_size, timeout=timeout, retry=retry
        )
        return Listing(self._bridge, target)

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> tuple[MemoryMatch, ...]:
        """Find memories that mean something like `query`, the best match first.

        `limit` is 1 to 100; we have observed 20 results at most.

        Source: https://docs.omi.me and observed behavior.
        """
        coroutine = self._bridge.target.memories.search(query, limit=limit, timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)

    def create(
        self,
        content: str,
        *,
        category: MemoryCategory | str | None = None,
        visibility: Literal["public", "private"] = "private",
        tags: Iterable[str] = (),
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Memory:
        """Create a memory; repeating it makes no second one.

        `content` is 1 to 500 characters, sent stripped. Without a `category` a language model chooses one, which takes
        longer. The text decides which memory it is: where the user has it already, the newest servers give that one
        as it is, and older ones set its category, visibility and tags again. To be sure of those, update the memory.

        Source: https://docs.omi.me (createMemory) and observed behavior.
        """
        coroutine = self._bridge.target.memories.create(
            content, category=category, visibility=visibility, tags=tags, timeout=timeout, retry=retry
        )
        return self._bridge.run(coroutine)

    def create_batch(
        self,
        memories: Iterable[NewMemory],
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> tuple[Memory, ...]:
        """Create 1 to 25 memories at once, each as `create` would, and return them in the same order.

        A text that comes twice gives the same memory twice. A batch costs one request of a window of its own: we have
        observed 15 an hour.

        Source: https://docs.omi.me (createMemoriesBatch) and observed behavior.
        """
        coroutine = self._bridge.target.memories.create_batch(memories, timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)

    def update(
        self,
        memory_id: str,
        *,
        content: str | None = None,
        visibility: Literal["public", "private"] | None = None,
        tags: Iterable[str] | None = None,
        category: MemoryCategory | str | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Memory:
        """Change a memory.

        `content` is 1 to 500 characters, sent stripped. `tags` takes the place of all tags; an empty one removes them.
        None leaves a value as it is, and giving none is refused. The values are absolute, so repeating an update does
        no harm. The server stores content, visibility, and tags with category one after the other: an update of
        several whose outcome is unknown may be done in part.

        Raises `NotFoundError`, `PaymentRequiredError` for a locked memory, and `ConflictError` for one that the server
        does not let anybody change. On accounts with the newest storage a new `content` may give the memory a new id.
        After such an update the outcome of a `NotFoundError` or a `ConflictError` is unknown, and an answer with
        another id is a `ResponseError` that is not tried again.

        Source: https://docs.omi.me (updateMemory) and observed behavior.
        """
        coroutine = self._bridge.target.memories.update(
            memory_id,
            content=content,
            visibility=visibility,
            tags=tags,
            category=category,
            timeout=timeout,
            retry=retry,
        )
        return self._bridge.run(coroutine)

    def delete(
        self,
        memory_id: str,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Deletion:
        """Delete a memory for good; the conversation that it came from stays.

        If an attempt went unanswered and the next one found nothing, the memory is gone and `Deletion.confirmed` is
        False.

        Raises `NotFoundError` if no attempt before can have removed it, and `PaymentRequiredError` for a locked memory.

        Source: https://docs.omi.me (deleteMemory) and observed behavior.
        """
        coroutine = self._bridge.target.memories.delete(memory_id, timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)

    def update_many(
        self,
        updates: Iterable[MemoryUpdate],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
    ) -> Bulk[Memory]:
        """Update many memories, each as `update` would, and report each one as it completes.

        Arguments, pacing, journal and errors are those of `conversations.update_many`.
        """
        items = feed(updates)
        target = self._bridge.target.memories.update_many(
            items, concurrency=concurrency, journal=journal, on_progress=relayed(items, on_progress), wait=wait
        )
        return Bulk(self._bridge, target, items)

    def delete_many(
        self,
        ids: Iterable[str],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
    ) -> Bulk[Deletion]:
        """Delete many memories for good, each as `delete` would, and report each one as it completes.

        Arguments, pacing, journal and errors are those of `conversations.update_many`. An id whose deletion an earlier
        run may have carried out, and which is not found any more, is reported as `unconfirmed`.
        """
        items = feed(ids)
        target = self._bridge.target.memories.delete_many(
            items, concurrency=concurrency, journal=journal, on_progress=relayed(items, on_progress), wait=wait
        )
        return Bulk(self._bridge, target, items)
