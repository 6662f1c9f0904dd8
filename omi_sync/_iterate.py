"""Iterating across the bridge: inputs, callbacks, the outcomes of jobs and the rows of lists.

An input may hold a database cursor or anything else that belongs to the caller's thread, and a callback may show
something on a screen. So both run on the caller's thread, while it waits for the next outcome.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, ItemsView, Iterable, Iterator, KeysView, Set
from contextlib import suppress
from inspect import iscoroutinefunction
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from omi_async._jobs.items import known_length
from omi_async.errors import BulkStoppedError, ClientClosedError, EventLoopError, OmiError

from ._bridge import INTERRUPT_GRACE, Bridge

I = TypeVar("I")  # noqa: E741 - an item of the input
O = TypeVar("O")  # noqa: E741 - an outcome or a row
T = TypeVar("T")

_log = logging.getLogger("omi_async")

_PREFETCH = 16  # items of a list that are handed over together: each crossing takes a while


class Listed(Protocol[O]):
    """What the private loop gives row by row: `_rows` are at hand, and `_fill` fetches more or ends the iteration."""

    _rows: deque[O]

    async def _fill(self) -> None: ...


class Worked(Listed[O], Protocol[O]):
    """What besides works on the private loop until it is closed."""

    async def _rest(self, grace: float) -> None: ...
    def _ended_by(self, reason: OmiError) -> BulkStoppedError: ...
    async def aclose(self) -> None: ...


class Feed(Generic[I]):
    """A job's input and callbacks, on their way to the caller's thread."""

    def __init__(self, items: Iterable[I]) -> None:
        self._items = items
        self._iterator: Iterator[I] | None = None
        self.cautious = not isinstance(items, (list, tuple))
        """The second item may wait for the outcome of the first one, which the caller has yet to see."""
        self._at_once = 1 if self.cautious else _PREFETCH
        self._fetched: deque[I] = deque()
        self._failure: BaseException | None = None
        self._work: SimpleQueue[asyncio.Future[list[I]] | Callable[[], None] | None] = SimpleQueue()
        self._calls: deque[Callable[[], None]] = deque()

    def __length_hint__(self) -> int:
        length = known_length(self._items)
        return NotImplemented if length is None else length

    # On the loop's thread

    def __aiter__(self) -> AsyncIterator[I]:
        return self

    async def __anext__(self) -> I:
        if not self._fetched:
            wish: asyncio.Future[list[I]] = asyncio.get_running_loop().create_future()
            self._work.put(wish)
            self._fetched.extend(await wish)
            if not self._fetched:
                raise StopAsyncIteration
        return self._fetched.popleft()

    def relay(self, callback: Callable[[T], None]) -> Callable[[T], None]:
        """A function that has `callback` called on the caller's thread."""
        stopped = False

        def call(value: T) -> None:
            nonlocal stopped
            if stopped:
                return
            try:
                callback(value)
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 - a watcher must not change what it watches
                _log.exception("on_progress failed and is not called again")
                stopped = True

        def later(value: T) -> None:
            self._calls.append(lambda: call(value))
            self._work.put(self.make_calls)

        return later

    def wake(self) -> None:
        """Let the caller's thread see that its coroutine has ended."""
        self._work.put(None)

    # On the caller's thread

    def serve(self, timeout: float) -> None:
        """Fetch an item or make a callback, or find after `timeout` seconds that there is nothing to do."""
        try:
            work = self._work.get(timeout=timeout)
        except Empty:
            return
        if isinstance(work, asyncio.Future):
            self._fulfil(work)
        elif work is not None:
            work()

    def make_calls(self) -> None:
        """Make the callbacks that are due."""
        with suppress(IndexError):
            while True:
                self._calls.popleft()()

    def _fulfil(self, wish: "asyncio.Future[list[I]]") -> None:
        if wish.done():
            return
        items = self._fetch()
        failure = None if items else self._failure
        with suppress(RuntimeError):  # the loop has ended, which the waiting thread finds by itself
            wish.get_loop().call_soon_threadsafe(_fulfil, wish, items, failure)

    def _fetch(self) -> list[I]:
        items: list[I] = []
        try:
            if self._iterator is None:
                self._iterator = iter(self._items)
            while self._failure is None and len(items) < self._at_once:
                items.append(next(self._iterator))
        except StopIteration:
            pass
        except (Exception, asyncio.CancelledError) as failure:  # noqa: BLE001 - raised to the caller after these items
            self._failure = failure
        return items

    def close(self) -> None:
        """Close a generator that was not read to its end."""
        if isinstance(self._iterator, Generator):
            self._iterator.close()


def _fulfil(wish: "asyncio.Future[list[I]]", items: list[I], failure: BaseException | None) -> None:
    if wish.done():  # given up in the meantime
        return
    if failure is not None:
        wish.set_exception(failure)
    else:
        wish.set_result(items)


def feed(items: Iterable[I]) -> Iterable[I] | Feed[I]:
    """A feed of the items. What cannot be an input goes through, to be refused where all arguments are."""
    return Feed(items) if _is_input(items) else items


def _is_input(items: object) -> bool:
    in_order = not isinstance(items, Set) or isinstance(items, (KeysView, ItemsView))
    return isinstance(items, Iterable) and not isinstance(items, (str, bytes)) and in_order


def relayed(items: object, callback: Callable[[T], None] | None) -> Callable[[T], None] | None:
    """A callback that is called on the caller's thread; what cannot be one goes through, to be refused."""
    if callback is None or not isinstance(items, Feed) or not _is_plain(callback):
        return callback
    return items.relay(callback)


def _is_plain(callback: object) -> bool:
    return callable(callback) and not iscoroutinefunction(callback)


def next_row(bridge: Bridge[Any], target: Listed[O]) -> O:
    """The next row of a listing; only a new page is fetched on the loop."""
    while True:
        with suppress(IndexError):
            return target._rows.popleft()
        try:
            bridge.run(target._fill())
        except StopAsyncIteration:
            break
    raise StopIteration


def next_outcome(bridge: Bridge[Any], target: Worked[O], items: object) -> O:
    """The next outcome of a job. An interrupt ends what is under way soon, and loses none of it."""
    fed = items if isinstance(items, Feed) else None
    while not target._rows:
        try:
            bridge.run(target._fill(), fed)
        except (Exception, asyncio.CancelledError) as error:
            if fed is not None:
                fed.make_calls()
                fed.close()
            if isinstance(error, StopAsyncIteration):
                break
            if not isinstance(error, ClientClosedError):
                raise
            # The loop has gone, and what was under way on it has ended.
            reason = error.with_traceback(None)
        except BaseException:
            with suppress(OmiError):
                bridge.run(target._rest(INTERRUPT_GRACE))
            raise
        else:
            if fed is not None:
                fed.make_calls()
            continue
        raise target._ended_by(reason)
    with suppress(IndexError):
        return target._rows.popleft()
    raise StopIteration


def close_job(bridge: Bridge[Any], target: Worked[Any], items: object) -> None:
    """End a job, and close its input on the caller's thread."""
    fed = items if isinstance(items, Feed) else None
    try:
        # A client that was closed has ended the job; on its own thread, garbage is collected without waiting.
        with suppress(ClientClosedError, EventLoopError):
            bridge.run(target.aclose(), fed)
    finally:
        close_input(items)


def close_input(items: object) -> None:
    """Close a job's input, on the thread that closes or forgets the job."""
    if isinstance(items, Feed):
        items.close()
