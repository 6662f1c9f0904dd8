"""The items of a bulk job: where they come from, when they may be sent, and what the journal knows of them."""

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    ItemsView,
    Iterable,
    KeysView,
    Set,
)
from operator import length_hint
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from .._late import load
from .._protocol.arguments import is_key, misconfigured
from .._protocol.request import Refusal, Request
from ..errors import InvalidRequestError, OmiError
from ..models.bulk import BulkStatus

if TYPE_CHECKING:
    from ..journal import Journal

I = TypeVar("I")  # noqa: E741 - an item of the input
R = TypeVar("R")

Items: TypeAlias = Iterable[I] | AsyncIterable[I]
"""What a job takes its items from, one at a time as it goes."""

CONTAINERS: tuple[type, ...] = (
    list,
    tuple,
    dict,
    set,
    frozenset,
    range,
    deque,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)
"""Python's own containers: their items are there, and their lengths cost nothing."""

_SKIPPED_IN_A_ROW = 256  # settled items, after which other tasks get their turn


class Item(NamedTuple):
    """One item of the input, and what earlier attempts at it have shown."""

    position: int
    id: str
    request: Request[Any] | InvalidRequestError
    maybe_applied: bool = False
    tried_before: bool = False
    """By an earlier run."""
    attempts: int = 0
    """Requests that were throttled, or refused by something in between."""
    failure: OmiError | None = None
    """The last error of these."""

    @property
    def journalled_id(self) -> str:
        """The id as the journal stores it: a refused "id" can be anything, even a key or a whole text."""
        return "<refused>" if isinstance(self.request, Exception) else self.id

    def digest(self, kind: str) -> bytes:
        """What is asked for, without saying it: texts are private."""
        body = b"" if isinstance(self.request, Exception) else self.request.body or b""
        verb = kind.rpartition(".")[2]  # a journal belongs to one resource anyway
        return hashlib.sha256(f"{verb} {self.journalled_id} ".encode() + body).digest()


def refuse_unusable(items: object, journal: object) -> None:
    """Raise `ConfigurationError` for what cannot be the input of a job."""
    if isinstance(items, (str, bytes)) or not isinstance(items, (Iterable, AsyncIterable)):
        raise misconfigured("the items must be an iterable; for a single one there is the plain call.")
    if journal is None:
        return
    path = os.fspath(journal) if isinstance(journal, (str, os.PathLike)) else None
    if not isinstance(path, str) or not path:
        raise misconfigured("journal must be a path.")
    if "\0" in path or not _is_encodable(path):
        raise misconfigured("journal must be a path, without a NUL character and lone surrogates.")
    container = getattr(items, "container", items)
    if isinstance(container, Set) and not isinstance(container, (KeysView, ItemsView)):
        raise misconfigured(
            "a set has another order in each run, which a journal cannot resume: give a list, as sorted(...)."
        )


def _is_encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def known_length(items: object) -> int | None:
    """The number of items, if it can be had for nothing.

    A length can be a query to a database, so only Python's own containers are asked, and what offers a hint.
    """
    try:
        if isinstance(items, CONTAINERS):
            return len(items)  # type: ignore[arg-type]  # all of them have one
        if hasattr(type(items), "__length_hint__"):
            hint = length_hint(items, -1) if not hasattr(type(items), "__len__") else -1
            return None if hint < 0 else hint
    except Exception:  # noqa: BLE001 - the total is a nicety, which must not cost the input
        pass
    return None


def _shown(name: object) -> str:
    """What an outcome shows of an item's id, which may be refused because it is none."""
    if not isinstance(name, str):
        return f"<{type(name).__name__}>"
    return "<key>" if is_key(name) else name


class Intake(Generic[R]):
    """Gives the workers their items: each of the input once, never two of one id at the same time."""

    def __init__(
        self,
        items: Items[Any],
        request: Callable[[Any], Request[R] | Refusal],
        id_of: Callable[[Any], object],
        kind: str,
        journal: str | os.PathLike[str] | None,
        server: str,
    ) -> None:
        self.exhausted = False
        """The input has come to its end."""
        self._input = items
        self._request = request
        self._id_of = id_of
        self._kind = kind
        self._journal_path = journal
        self._server = server
        self._journal: Journal | None = None
        self._source: _Source | None = None
        self._position = 0
        # Ids with a write under way, and the items that wait for its end.
        self._in_flight: dict[str, deque[Item]] = {}

    async def open(self) -> dict[str, int]:
        """Open the journal, if there is one; how many items earlier runs settled, by status."""
        if self._journal_path is not None:
            journal = load("omi_async.journal")  # SQLite is loaded for those who use it
            self._journal = await journal.open_journal(self._journal_path, job=self._kind, server=self._server)
        self._source = _Source(self._input)
        return {} if self._journal is None else self._journal.counts()

    async def pull(self) -> Item | None:
        """The next item that is not settled; None if it has to wait for another of its id.

        Raises StopAsyncIteration at the end of the input, and `JournalError` if earlier runs had more. Settled items
        are skipped here, and other tasks get their turn meanwhile.
        """
        assert self._source is not None  # noqa: S101 - opened before
        while True:
            try:
                value = await self._source.next()
            except StopAsyncIteration:
                self.exhausted = True
                if self._journal is not None:
                    self._journal.end(self._position)
                raise
            item = self._made(value)
            if self._journal is not None:
                entry = self._journal.recall(item.position, item.journalled_id, item.digest(self._kind))
                if entry is not None and entry.settled:
                    if item.position % _SKIPPED_IN_A_ROW == 0:
                        await asyncio.sleep(0)
                    continue
                if entry is not None:
                    # Only a failure on record is certain to have changed nothing.
                    item = item._replace(maybe_applied=entry.status != BulkStatus.FAILED, tried_before=True)
            return self._admitted(item)

    def _admitted(self, item: Item) -> Item | None:
        if isinstance(item.request, Exception):
            return item
        waiting = self._in_flight.get(item.id)
        if waiting is None:
            self._in_flight[item.id] = deque()
            return item
        waiting.append(item)
        return None

    def _made(self, value: Any) -> Item:
        name = self._id_of(value)
        request = self._request(value)
        if isinstance(request, TypeError):
            request = InvalidRequestError(f"{request}.")
        if isinstance(request, InvalidRequestError):
            request.outcome = "not_applied"
        item = Item(self._position, _shown(name), request)
        self._position += 1
        return item

    def following(self, item: Item) -> Item | None:
        """The item that waited for the end of this one; while there is one, its id stays in flight."""
        if isinstance(item.request, Exception):
            return None
        waiting = self._in_flight[item.id]
        if waiting:
            return waiting.popleft()
        del self._in_flight[item.id]
        return None

    async def intend(self, item: Item) -> None:
        """Note that the item's request is about to be sent."""
        if self._journal is not None:
            await self._journal.intend(item.position, item.journalled_id, item.digest(self._kind))

    async def settle(self, item: Item, status: BulkStatus, *, settled: bool, attempts: int) -> None:
        """Note how the item ended."""
        if self._journal is not None:
            await self._journal.settle(item.position, status=status, settled=settled, attempts=attempts)

    async def aclose(self) -> None:
        """Close the input, if it is a generator, and the journal. No worker may be waiting for the input."""
        try:
            if self._source is not None:
                await self._source.aclose()
        finally:
            if self._journal is not None:
                await self._journal.aclose()


class _Source:
    """The input, of whichever kind it is."""

    def __init__(self, items: Items[Any]) -> None:
        self._items = aiter(items) if isinstance(items, AsyncIterable) else iter(items)

    async def next(self) -> Any:
        if isinstance(self._items, AsyncIterator):
            return await anext(self._items)
        for item in self._items:
            return item
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Close a generator that was not read to its end."""
        if isinstance(self._items, AsyncGenerator):
            await self._items.aclose()
        elif isinstance(self._items, Generator):
            self._items.close()
