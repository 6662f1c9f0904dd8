"""The memories resource: the requests it builds, and one short method for each operation."""

import functools
import os
from collections.abc import Callable, Iterable
from typing import Any, Literal

import attrs

from .._jobs.items import Items
from .._protocol import arguments
from .._protocol.arguments import refused
from .._protocol.collection import Collection, part
from .._protocol.request import Request, builder
from ..bulk import AsyncBulk, start
from ..models.bulk import BulkProgress
from ..models.memories import Memory, MemoryCategory, MemoryMatch, NewMemory
from ..models.shared import Deletion, Model, kept
from ..pacing import windows
from ..paging import AsyncListing, ByOffset
from ..retry import Retrier, RetryPolicy, Timeout

_MEMORIES = Collection("memories", "/v1/dev/user/memories", "Memory", Memory, needs_grant=True)

_BATCH_WINDOWS = windows("POST", _MEMORIES.of("batch"))

_CONTENT_LENGTH = 500  # characters
_VISIBILITIES = ("public", "private")
_LARGEST_PAGE = 1000
_REACH = 5000  # rows; the server lists none beyond
_LARGEST_BATCH = 25
_MOST_MATCHES = 100


@attrs.frozen(eq=False, repr=False)
class MemoryUpdate(Model):
    """One item of `update_many`; the fields are the arguments of `update`."""

    memory_id: str
    content: str | None = attrs.field(default=None, kw_only=True, repr=False)
    visibility: Literal["public", "private"] | None = attrs.field(default=None, kw_only=True)
    tags: tuple[str, ...] | None = attrs.field(default=None, kw_only=True, repr=False, converter=kept)
    category: MemoryCategory | str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class _Batch:
    memories: tuple[Memory, ...]


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class _Found:
    items: tuple[MemoryMatch, ...]


# Requests


def memory_pages(categories: Iterable[MemoryCategory | str] | None, page_size: int | None) -> ByOffset[Memory]:
    """Build the pages of `list`; raises for a bad argument."""
    filters = {} if categories is None else {"categories": arguments.words(categories, "categories")}
    size = arguments.size(page_size, "page_size", largest=_LARGEST_PAGE)
    return ByOffset(functools.partial(_MEMORIES.page, filters), size=size, largest=_LARGEST_PAGE, most=_REACH)


@builder
def search_memories(query: str, limit: int) -> Request[tuple[MemoryMatch, ...]]:
    """Build the request of `search`."""
    asked = {"query": arguments.word(query, "query"), "limit": str(_checked_limit(limit))}
    path = _MEMORIES.of("vector/search") + arguments.query(asked)
    return _MEMORIES.read("search", path, part(_Found, "items"))


def _checked_limit(limit: int) -> int:
    return arguments.whole(limit, "limit", largest=_MOST_MATCHES)


@builder
def create_memory(
    content: str, category: MemoryCategory | str | None, visibility: str, tags: Iterable[str]
) -> Request[Memory]:
    """Build the request of `create`."""
    # The server makes the id of the text, so a repeated creation makes no second memory.
    request = _MEMORIES.create(_fields(content, category, visibility, tags, ""), effect="repeatable")
    request.slow = category is None
    return request


@builder
def create_memories(memories: Iterable[NewMemory]) -> Request[tuple[Memory, ...]]:
    """Build the request of `create_batch`."""
    taken = arguments.many(memories, "memories", largest=_LARGEST_BATCH, what="NewMemory")
    fields = [_new(memory, f"memories[{position}]") for position, memory in enumerate(taken)]
    request: Request[tuple[Memory, ...]] = _MEMORIES.write(
        "create_batch",
        _MEMORIES.of("batch"),
        {"memories": fields},
        part(_Batch, "memories", count=len(fields)),
        effect="repeatable",
    )
    request.windows = _BATCH_WINDOWS
    request.slow = any(memory.category is None for memory in taken)
    return request


def _new(memory: NewMemory, name: str) -> dict[str, object]:
    if not isinstance(memory, NewMemory):
        raise TypeError(f"{name} must be a NewMemory, not {arguments.kind(memory)}")
    return _fields(memory.content, memory.category, memory.visibility, memory.tags, f"{name}.")


def _fields(content: Any, category: Any, visibility: Any, tags: Any, of: str) -> dict[str, object]:
    fields: dict[str, object] = {"content": _content(content, f"{of}content")}
    if category is not None:
        fields["category"] = arguments.word(category, f"{of}category")
    # The server takes any word for it, and reads most as private.
    fields["visibility"] = _visibility(visibility, f"{of}visibility")
    fields["tags"] = _tags(tags, f"{of}tags")
    return fields


def _content(content: str, name: str) -> str:
    return arguments.text(content, name, longest=_CONTENT_LENGTH, strip=True)


def _tags(tags: Iterable[str], name: str) -> tuple[str, ...]:
    return arguments.listed(tags, name, check=arguments.word)


def _visibility(visibility: str, name: str) -> str:
    if arguments.text(visibility, name) not in _VISIBILITIES:
        raise refused(f"{name} must be public or private.")
    return str.__str__(visibility)


@builder
def update_memory(
    memory_id: str,
    content: str | None,
    visibility: str | None,
    tags: Iterable[str] | None,
    category: MemoryCategory | str | None,
) -> Request[Memory]:
    """Build the request of `update`."""
    record_id = arguments.identifier(memory_id, "memory_id")
    changes = arguments.changes(
        content=arguments.optional(_content, content, "content"),
        visibility=arguments.optional(_visibility, visibility, "visibility"),
        tags=arguments.optional(_tags, tags, "tags"),
        category=arguments.optional(arguments.word, category, "category"),
    )
    return _MEMORIES.update(record_id, changes, may_change_id=content is not None)


@builder
def update_item(item: MemoryUpdate) -> Request[Memory]:
    """Build the request of one item of `update_many`."""
    if not isinstance(item, MemoryUpdate):
        raise TypeError(f"an update must be a MemoryUpdate, not {arguments.kind(item)}")
    made = update_memory(item.memory_id, item.content, item.visibility, item.tags, item.category)
    if isinstance(made, Exception):
        raise made
    return made


@builder
def delete_memory(memory_id: str) -> Request[Deletion]:
    """Build the request of `delete`."""
    return _MEMORIES.delete(arguments.identifier(memory_id, "memory_id"))


# Calls


class AsyncMemories:
    """Memories of the key's user, reached as `client.memories`.

    The API has no way to get a single memory by its id.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `PermissionDeniedError` for a key without
    `memories:read` or, for writes, `memories:write`, and for an old key, which lacks a grant that new keys have;
    `AuthenticationError`; `RateLimitError`; `RouteNotFoundError` from a server that does not have the operation;
    `TransportError`, `ServerError` and `ResponseError`. The `outcome` of each tells whether the write may have been
    applied.
    """

    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier

    def list(
        self,
        *,
        categories: Iterable[MemoryCategory | str] | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AsyncListing[Memory]:
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
        pages = memory_pages(categories, page_size)
        return AsyncListing(self._retrier, pages, arguments.limit(limit), timeout, retry)

    async def search(
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
        return await self._retrier.call(search_memories(query, limit), timeout, retry)

    async def create(
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
        return await self._retrier.call(create_memory(content, category, visibility, tags), timeout, retry)

    async def create_batch(
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
        return await self._retrier.call(create_memories(memories), timeout, retry)

    async def update(
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
        return await self._retrier.call(update_memory(memory_id, content, visibility, tags, category), timeout, retry)

    async def delete(
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
        return await self._retrier.call(delete_memory(memory_id), timeout, retry)

    def update_many(
        self,
        updates: Items[MemoryUpdate],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
    ) -> AsyncBulk[Memory]:
        """Update many memories, each as `update` would, and report each one as it completes.

        Arguments, pacing, journal and errors are those of `conversations.update_many`.
        """
        return start(
            self._retrier,
            updates,
            update_item,
            id_of=lambda update: getattr(update, "memory_id", update),
            kind="memories.update",
            window=_MEMORIES.writes,
            concurrency=concurrency,
            journal=journal,
            on_progress=on_progress,
            wait=wait,
        )

    def delete_many(
        self,
        ids: Items[str],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
    ) -> AsyncBulk[Deletion]:
        """Delete many memories for good, each as `delete` would, and report each one as it completes.

        Arguments, pacing, journal and errors are those of `conversations.update_many`. An id whose deletion an earlier
        run may have carried out, and which is not found any more, is reported as `unconfirmed`.
        """
        return start(
            self._retrier,
            ids,
            delete_memory,
            is_confirmed=lambda deletion: deletion.confirmed,
            kind="memories.delete",
            window=_MEMORIES.writes,
            concurrency=concurrency,
            journal=journal,
            on_progress=on_progress,
            wait=wait,
        )
