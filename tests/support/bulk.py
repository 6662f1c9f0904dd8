"""Bulk jobs of both sides behind one face, inputs that remember how they were read, and servers that count."""

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from omi_async import AsyncBulk, AsyncOmiClient, BulkOutcome, BulkProgress, ConversationUpdate
from omi_sync import Bulk, OmiClient
from tests.support.raw import Exchange

TITLE = "Design review"


def item(operation: str, conversation_id: str, title: str = TITLE) -> Any:
    """One item of the input: an id, or an update of its title."""
    return conversation_id if operation == "delete" else ConversationUpdate(conversation_id, title=title)


def items(operation: str, count: int) -> list[Any]:
    """Items of `conv_0`, `conv_1` and so on."""
    return [item(operation, f"conv_{number}") for number in range(count)]


def ids(outcomes: Iterable[BulkOutcome[Any]]) -> list[str]:
    return [outcome.id for outcome in outcomes]


def reach(client: AsyncOmiClient | OmiClient, concurrency: int) -> int:
    """How far the input may be read beyond what the caller took.

    The synchronous side hands over all that is ready at once.
    """
    return concurrency if isinstance(client, AsyncOmiClient) else 2 * concurrency


class _Rows:
    """Like the result of a query: to ask for its length would be a query too."""

    def __init__(self, read: Callable[[], Iterator[Any]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Any]:
        return self._read()

    def __len__(self) -> int:
        raise AssertionError("nobody needs it")


class Input:
    """Items one by one, a note of how far and on which threads they were read, and whether the end was told."""

    def __init__(self, items: Iterable[Any], *, failure: Exception | None = None) -> None:
        self._items = items
        self._failure = failure
        self.pulled = 0
        self.threads: set[int] = set()
        self.closed = False

    def _next(self) -> None:
        self.pulled += 1
        self.threads.add(threading.get_ident())

    def read(self) -> Iterable[Any]:
        """With a length, so that both sides ask for as many items as may be under way."""
        return _Rows(self.read_one_by_one)

    def read_one_by_one(self) -> Iterator[Any]:
        """Without one: the synchronous side asks for an item when the outcome before it was taken."""
        try:
            for each in self._items:
                self._next()
                yield each
            if self._failure is not None:
                raise self._failure
        finally:
            self.closed = True

    async def stream(self) -> AsyncIterator[Any]:
        try:
            for each in self._items:
                await asyncio.sleep(0)
                self._next()
                yield each
            if self._failure is not None:
                raise self._failure
        finally:
            await asyncio.sleep(0)
            self.closed = True


_END = object()


class Job:
    """A bulk job of either client; the synchronous one's caller is a thread of its own."""

    def __init__(self, client: AsyncOmiClient | OmiClient, operation: str, source: Any, **settings: Any) -> None:
        self._thread = None if isinstance(client, AsyncOmiClient) else ThreadPoolExecutor(1, "caller")
        self.bulk: AsyncBulk[Any] | Bulk[Any] = getattr(client.conversations, f"{operation}_many")(source, **settings)
        self._outcomes: Any = aiter(self.bulk) if isinstance(self.bulk, AsyncBulk) else iter(self.bulk)

    @property
    def progress(self) -> BulkProgress:
        return self.bulk.progress

    @property
    def unclaimed(self) -> list[BulkOutcome[Any]]:
        return list(self.bulk.unclaimed)

    async def on_its_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def next(self) -> BulkOutcome[Any] | None:
        """The next outcome; None at the end."""
        if self._thread is None:
            outcome: Any = await anext(self._outcomes, _END)
        else:
            outcome = await self.on_its_thread(lambda: next(self._outcomes, _END))
        return None if outcome is _END else outcome

    async def take(self, count: int) -> list[BulkOutcome[Any]]:
        found = [await self.next() for _ in range(count)]
        return [outcome for outcome in found if outcome is not None]

    async def rest(self, into: list[BulkOutcome[Any]] | None = None) -> list[BulkOutcome[Any]]:
        """All that is left; `into` has what came before an error."""
        found: list[BulkOutcome[Any]] = [] if into is None else into
        while (outcome := await self.next()) is not None:
            found.append(outcome)
        return found

    async def close(self) -> None:
        if isinstance(self.bulk, AsyncBulk):
            await self.bulk.aclose()
        else:
            await self.on_its_thread(self.bulk.close)

    async def leave(self) -> None:
        """End the job's own `with` block."""
        if isinstance(self.bulk, AsyncBulk):
            await self.bulk.__aexit__(None, None, None)
        else:
            bulk = self.bulk
            await self.on_its_thread(lambda: bulk.__exit__(None, None, None))

    async def let_go_of_journal(self) -> None:
        """Close the journal even where the job failed to: what is left open disturbs the tests that follow."""
        target = self.bulk if isinstance(self.bulk, AsyncBulk) else self.bulk._target
        journal = target._job._intake._journal
        if journal is not None:
            await journal.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.close()
        finally:
            if self._thread is not None:
                self._thread.shutdown()


class Counting:
    """A script that counts what is in flight, in all and for each id, before it lets another script answer."""

    def __init__(self, script: Callable[[Exchange], Awaitable[None]] | None = None) -> None:
        self._script = script
        self._now: Counter[str] = Counter()
        self.peak = 0
        self.peak_of_one = 0
        self.bodies: defaultdict[str, list[bytes]] = defaultdict(list)
        """By id, in the order of arrival."""

    async def __call__(self, exchange: Exchange) -> None:
        name = exchange.path.rpartition("/")[2]
        self._now[name] += 1
        self.bodies[name].append(exchange.body)
        self.peak = max(self.peak, self._now.total())
        self.peak_of_one = max(self.peak_of_one, self._now[name])
        # Long enough for whoever would come too early to be seen.
        await asyncio.sleep(0.001)
        self._now[name] -= 1
        if self._script is None:
            await exchange.succeed()
        else:
            await self._script(exchange)


class Doors:
    """A script that answers the first `free` requests and lets the others wait until `open` is set."""

    def __init__(self, free: int = 0) -> None:
        self.open = asyncio.Event()
        self.arrived = 0
        self._free = free

    async def __call__(self, exchange: Exchange) -> None:
        self.arrived += 1
        if self.arrived > self._free:
            await self.open.wait()
        await exchange.succeed()


async def until(condition: Callable[[], bool], *, limit: float = 30.0) -> None:
    """Wait for something that the other threads or tasks are about to do."""
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.001)


async def still(number: Callable[[], int]) -> int:
    """The number once it has stopped to change."""
    value, calm = number(), 0
    while calm < 30:
        await asyncio.sleep(0.001)
        value, calm = (value, calm + 1) if number() == value else (number(), 0)
    return value
