"""Iterating across the bridge: inputs, callbacks, the outcomes of jobs and the rows of lists.

An input may hold a database cursor or anything else that belongs to the caller's thread, and a callback may show
something on a screen. So both run on the caller's thread, while it waits for the next outcome.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator, Sized
from contextlib import suppress
from functools import partial
from inspect import iscoroutinefunction
from math import inf
from typing import Any, Generic, Protocol, TypeVar

from omi_async._jobs.items import CONTAINERS, known_length
from omi_async._jobs.progress import watcher
from omi_async.errors import BulkStoppedError, ClientClosedError, EventLoopError, OmiError

from ._bridge import INTERRUPT_GRACE, Bridge
from ._calls import Calls

I = TypeVar("I")  # noqa: E741 - an item of the input
O = TypeVar("O")  # noqa: E741 - an outcome or a row
T = TypeVar("T")

_SLICE = 0.001  # seconds; how often a wait for an outcome looks whether it has come

# Seconds that an input waits for an outcome which is on its way: see `Feed._may_depend_on_outcome`.
_LEAST_PATIENCE, _MOST_PATIENCE = 0.05, 5.0


class Listed(Protocol[O]):
    """What the private loop gives row by row: `_rows` are at hand, and `_fill` fetches more or ends the iteration."""

    _rows: deque[O]

    async def _fill(self) -> None: ...


class Worked(Listed[O], Protocol[O]):
    """What besides works on the private loop until it is closed."""

    def _pulled(self) -> int: ...
    async def _rest(self, grace: float, *, input_lost: bool) -> None: ...
    def _ended_by(self, reason: OmiError) -> BulkStoppedError: ...
    async def aclose(self) -> None: ...


class Feed(Calls, Generic[I]):
    """A job's input and callbacks, on their way to the caller's thread."""

    def __init__(self, items: Iterable[I]) -> None:
        super().__init__()
        self.container = items
        # Python's own containers need no thread, and Ctrl-C never strikes within them.
        self._at_hand = iter(items) if type(items) in CONTAINERS else None
        self._iterator: Iterator[I] | None = None
        self._wish: asyncio.Future[I] | None = None  # the last one
        self._wishes: deque[asyncio.Future[I]] = deque()  # that nobody serves yet
        self._wished_at = 0.0
        self._granted_at = 0.0
        self._patience = inf  # seconds; until the first outcome nothing is known of how long one takes
        self.pulled: Callable[[], int] = lambda: 0
        """How many items have or will have an outcome."""
        self._taken = 0  # outcomes that the caller has

    def __length_hint__(self) -> int:
        length = known_length(self.container)
        return NotImplemented if length is None else length

    # On the loop's thread

    def __aiter__(self) -> AsyncIterator[I]:
        return self

    async def __anext__(self) -> I:
        if self._at_hand is not None:
            for item in self._at_hand:
                return item
            raise StopAsyncIteration
        wish: asyncio.Future[I] = asyncio.get_running_loop().create_future()
        self._wish = wish
        self._wished_at = time.monotonic()
        self._wishes.append(wish)
        self.wake()
        return await wish

    # On the caller's thread

    def wait(self, timeout: float) -> bool:
        """Wait until `wake` is called, but not for long; whether there is something to do."""
        if not (self._calls or self._wishes):
            self._news.acquire(timeout=timeout)
        if self._wishes and not self._calls and self._may_depend_on_outcome():
            self._news.acquire(timeout=_SLICE)
            return bool(self._calls)
        return bool(self._calls or self._wishes)

    def _may_depend_on_outcome(self) -> bool:
        """Whether the next item may only be there when the caller has seen an outcome, as with a queue.

        Asked for it, such an input would never return. So an outcome that is on its way is waited for first, for some
        times as long as outcomes have taken.
        """
        if isinstance(self.container, Sized):
            return False
        return self.pulled() > self._taken and time.monotonic() < self._wished_at + self._patience

    def outcome_taken(self) -> None:
        """Count an outcome that the caller gets, and learn how long one takes."""
        self._taken += 1
        took = 4 * (time.monotonic() - self._granted_at)
        known = 0.0 if self._patience == inf else self._patience
        self._patience = min(max(_LEAST_PATIENCE, known, took), _MOST_PATIENCE)

    def serve(self) -> None:
        """Make the callbacks that are due, and fetch an item if one is wished for."""
        self.make_calls()
        try:
            wish = self._wishes.popleft()
        except IndexError:
            return
        if not wish.done():
            self._fulfil(wish)

    def _fulfil(self, wish: "asyncio.Future[I]") -> None:
        # An interrupt leaves the wish as it is: see `was_interrupted`.
        try:
            if self._iterator is None:
                self._iterator = iter(self.container)
            answer = partial(_grant, wish, next(self._iterator))
            self._granted_at = time.monotonic()
        except StopIteration:
            answer = partial(_refuse, wish, StopAsyncIteration())
        except (Exception, asyncio.CancelledError) as failure:  # noqa: BLE001 - the job raises it to the caller
            answer = partial(_refuse, wish, failure)
        with suppress(RuntimeError):  # the loop has ended, which the waiting thread finds by itself
            wish.get_loop().call_soon_threadsafe(answer)

    def was_interrupted(self) -> bool:
        """After an interrupt: whether it struck while an item was fetched, which may be lost."""
        return self._wish is not None and not self._wish.done() and self._wish not in self._wishes

    def close(self) -> None:
        """Close a generator that was not read to its end."""
        if isinstance(self._iterator, Generator):
            self._iterator.close()


def _grant(wish: "asyncio.Future[I]", item: I) -> None:
    if not wish.done():  # or it was given up in the meantime
        wish.set_result(item)


def _refuse(wish: "asyncio.Future[I]", failure: BaseException) -> None:
    if not wish.done():
        wish.set_exception(failure)


def feed(items: Iterable[I]) -> Any:
    """A feed of the items. What cannot be an input goes through, to be refused where all arguments are."""
    return items if isinstance(items, (str, bytes)) or not isinstance(items, Iterable) else Feed(items)


def relayed(calls: object, callback: Callable[[T], None] | None) -> Callable[[T], None] | None:
    """A callback that is called on the caller's thread; what cannot be one goes through, to be refused."""
    if callback is None or not isinstance(calls, Calls) or not _is_plain(callback):
        return callback
    call, put = watcher(callback), calls.put
    return lambda value: put(partial(call, value))


def run_with(bridge: Bridge[Any], coroutine: Coroutine[Any, Any, O], calls: Calls) -> O:
    """Run a coroutine to its end, and make its callbacks here."""
    try:
        return bridge.run(coroutine, calls)
    finally:
        calls.make_calls()


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
    if fed is not None:
        fed.pulled = target._pulled
    while True:
        with suppress(IndexError):
            # Ctrl-C never strikes between the steps of a `for` over Python's own iterators: what is taken is kept.
            for outcome in map(deque.popleft, (target._rows,)):
                try:
                    if fed is not None:
                        fed.outcome_taken()
                except BaseException:
                    target._rows.appendleft(outcome)
                    raise
                return outcome
        try:
            bridge.run(target._fill(), fed)
        except (Exception, asyncio.CancelledError) as error:
            if fed is not None:
                fed.make_calls()
                fed.close()
            if isinstance(error, StopAsyncIteration):
                if target._rows:  # another consumer's last ones
                    continue
                break
            if not isinstance(error, ClientClosedError):
                raise
            bridge.wait_for_end()  # of what is under way, which the job's error counts
            reason = error.with_traceback(None)
        except BaseException:
            _rest(bridge, target, fed)
            raise
        else:
            if fed is not None:
                fed.make_calls()
            continue
        raise target._ended_by(reason)
    raise StopIteration


def close_job(bridge: Bridge[Any], target: Worked[Any], items: object) -> None:
    """End a job, and close its input on the caller's thread."""
    fed = items if isinstance(items, Feed) else None
    try:
        # A client that was closed has ended the job; on its own thread, garbage is collected without waiting.
        with suppress(EventLoopError):
            try:
                bridge.run(target.aclose(), fed)
            except ClientClosedError:
                bridge.wait_for_end()
        if fed is not None:
            fed.make_calls()
    except Exception:  # the input's own, when it was closed
        raise
    except BaseException:
        _rest(bridge, target, fed)
        raise
    finally:
        close_input(items)


def _rest(bridge: Bridge[Any], target: Worked[Any], fed: Feed[Any] | None) -> None:
    """After an interrupt: send nothing new, and end soon what is under way."""
    with suppress(OmiError):
        bridge.run(target._rest(INTERRUPT_GRACE, input_lost=fed is not None and fed.was_interrupted()))


def close_input(items: object) -> None:
    """Close a job's input, on the thread that closes or forgets the job."""
    if isinstance(items, Feed):
        items.close()
