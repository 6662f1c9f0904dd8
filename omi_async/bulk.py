"""Many writes as one job: bounded, paced by the server's window, resumable by a journal.

The caller iterates over an `AsyncBulk` and gets one `BulkOutcome` for each item as it completes. Behind it a
`_Job` lets a few workers pull items, make calls and report; nobody runs ahead of the caller.
"""

import asyncio
import hashlib
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import length_hint
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeAlias, TypeVar

import attrs

from ._protocol import Refusal, Request
from .errors import (
    AuthenticationError,
    BulkStoppedError,
    ClientClosedError,
    ConfigurationError,
    EventLoopError,
    JournalError,
    OmiError,
    PermissionDeniedError,
    RateLimitError,
)
from .models import Deletion
from .retry import Retrier

if TYPE_CHECKING:
    from .journal import Journal

I = TypeVar("I")  # noqa: E741 - an item of the input
R = TypeVar("R")

Items: TypeAlias = Iterable[I] | AsyncIterable[I]
"""What a job takes its items from; it is pulled as the job goes, not read in advance."""

_log = logging.getLogger("omi_async")

_UNTOLD_PAUSE = 60.0  # seconds to wait after a 429 that names no time: the shortest window that makes sense

# What would meet every further item in the same way.
_FATAL = (AuthenticationError, PermissionDeniedError, ClientClosedError, EventLoopError, JournalError)


class BulkStatus(StrEnum):
    """How an item ended."""

    DONE = "done"
    """The server confirmed it."""
    UNCONFIRMED = "unconfirmed"
    """A conversation is gone, but no answer said that this job removed it; see `Deletion.confirmed`."""
    FAILED = "failed"
    """Certainly not applied; `BulkOutcome.error` says why."""
    UNKNOWN = "unknown"
    """May or may not have been applied."""


@attrs.frozen
class ConversationUpdate:
    """One item of `update_many`; title and discarded as in `update`."""

    conversation_id: str
    title: str | None = attrs.field(default=None, kw_only=True, repr=False)
    discarded: bool | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(kw_only=True)
class BulkOutcome(Generic[R]):
    """What became of one item; `result` and `error` are None where there is none."""

    conversation_id: str
    status: BulkStatus
    result: R | None = None
    error: OmiError | TypeError | None = None
    attempts: int = 0


@attrs.frozen(kw_only=True)
class BulkProgress:
    """Where a job stands. The counts include what earlier runs with the same journal had settled."""

    done: int
    unconfirmed: int
    failed: int
    unknown: int
    resumed: int
    """How many of these an earlier run had settled."""
    total: int | None
    """Items in all, where the input tells its length."""
    rate: float
    """Items an hour: by the server's window once it is known, otherwise as measured in this run."""
    waiting_until: datetime | None
    """When the server's window opens again, while the job waits for it."""
    estimated_end: datetime | None

    @property
    def settled(self) -> int:
        """Items that were reported, in this run or an earlier one."""
        return self.done + self.unconfirmed + self.failed + self.unknown


class _Item(NamedTuple):
    position: int
    conversation_id: str
    request: Request[Any] | Refusal
    maybe_applied: bool = False
    attempts: int = 0
    """Requests that were throttled."""
    failure: RateLimitError | None = None
    """What throttled it last."""

    @property
    def journalled_id(self) -> str:
        # What was refused may be anything, a key or a whole text included.
        return "<refused>" if isinstance(self.request, Exception) else self.conversation_id

    def digest(self, kind: str) -> bytes:
        """What is asked for, without saying it: titles are private."""
        body = b"" if isinstance(self.request, Exception) else self.request.body or b""
        return hashlib.sha256(f"{kind} {self.journalled_id} ".encode() + body).digest()


class AsyncBulk(Generic[R]):
    """The outcomes of a bulk job, one for each item, in the order in which they complete.

    Iterate over it. Leave the loop early, or close it, and nothing new is sent; what was under way is finished
    first, and its outcomes are kept in `unclaimed`. The iteration raises `BulkStoppedError` when something happens
    that would fail every further item: a refused key, a closed client, an unusable journal, or, with `wait=False`, a
    closed window. An error of the input is raised after everything under way has been reported.
    """

    def __init__(self, job: "_Job[R]") -> None:
        self._job = job
        self._stream = job.outcomes()

    @property
    def progress(self) -> BulkProgress:
        """Where the job stands now."""
        return self._job.progress()

    @property
    def unclaimed(self) -> tuple[BulkOutcome[R], ...]:
        """Outcomes that nobody took: of items that were under way when the iteration was left."""
        return tuple(self._job.ready)

    def __aiter__(self) -> AsyncIterator[BulkOutcome[R]]:
        # The generator itself: a loop that is left lets go of it, which closes the job.
        return self._stream

    async def _take(self) -> list[BulkOutcome[R]]:
        """At least one outcome, and all that are there; the synchronous side pays for each crossing."""
        first = await anext(self._stream)
        return [first, *self._job.taken()]

    def _give_back(self, outcomes: Iterable[BulkOutcome[R]]) -> None:
        self._job.ready.extendleft(reversed(list(outcomes)))

    def _ended_by(self, reason: OmiError) -> BulkStoppedError:
        return self._job.ended_by(reason)

    async def aclose(self) -> None:
        """End the job: what is under way is finished, nothing new is sent. Closing twice does nothing."""
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def start(
    retrier: Retrier,
    items: Items[I],
    request: Callable[[I], Request[R] | Refusal],
    *,
    kind: str,
    concurrency: int,
    journal: str | os.PathLike[str] | None,
    on_progress: Callable[[BulkProgress], None] | None,
    wait: bool,
) -> AsyncBulk[R]:
    """A job that begins when somebody iterates over it; bad settings raise `ConfigurationError` at once."""
    if type(concurrency) is not int or concurrency < 1:
        raise ConfigurationError("concurrency must be a whole number of at least 1.")
    if isinstance(items, (str, bytes)) or not isinstance(items, (Iterable, AsyncIterable)):
        raise ConfigurationError("the items must be an iterable; for a single one there is the plain call.")
    return AsyncBulk(_Job(retrier, items, request, kind, concurrency, journal, on_progress, wait))


class _Job(Generic[R]):
    """The work itself. It does not know the `AsyncBulk`, so that one that is let go of ends it."""

    def __init__(
        self,
        retrier: Retrier,
        items: Items[Any],
        request: Callable[[Any], Request[R] | Refusal],
        kind: str,
        concurrency: int,
        journal: str | os.PathLike[str] | None,
        on_progress: Callable[[BulkProgress], None] | None,
        wait: bool,
    ) -> None:
        self.ready: deque[BulkOutcome[R]] = deque()
        self._retrier = retrier
        self._clock = retrier.policy.clock
        self._gate = retrier.gate("writes")
        self._items = items
        self._request = request
        self._kind = kind
        self._concurrency = concurrency
        self._journal_path = journal
        self._journal: Journal | None = None
        self._on_progress = on_progress
        self._wait = wait
        self._counts = dict.fromkeys(BulkStatus, 0)
        self._resumed = 0
        hint = length_hint(items, -1)
        self._total = None if hint < 0 else hint
        self._began = 0.0
        self._waiting_until: datetime | None = None
        self._position = 0
        self._exhausted = False
        self._closing = False
        self._stopped: BaseException | None = None  # raised once everything under way has been reported
        self._again: deque[_Item] = deque()  # throttled; tried again when the window opens
        self._busy: dict[str, deque[_Item]] = {}  # ids with a write under way, and the items that wait for its end
        self._pulling = asyncio.Lock()
        self._opening = asyncio.Lock()  # one worker waits for the window, the others for it
        # An item takes a place when it is pulled and gives it back when its outcome is taken: the job keeps pace
        # with the caller, and nothing piles up.
        self._places = asyncio.Semaphore(concurrency)
        self._news = asyncio.Event()
        self._workers: set[asyncio.Task[None]] = set()
        self._between: set[asyncio.Task[None]] = set()  # workers that have no item in hand

    # The caller's side

    async def outcomes(self) -> AsyncGenerator[BulkOutcome[R], None]:
        self._began = self._clock()
        source = _Source(self._items)
        if self._journal_path is not None:
            from .journal import open_journal  # SQLite is loaded for those who use it

            self._journal = await open_journal(self._journal_path, job=self._kind)
            for status, count in self._journal.counts().items():
                self._counts[BulkStatus(status)] = count
                self._resumed += count
        try:
            self._add_worker(source)
            while True:
                while self.ready:
                    self._places.release()
                    yield self.ready.popleft()
                if not self._workers and not self._report_throttled():
                    break
                if not self.ready:
                    self._news.clear()
                    await self._news.wait()
        except asyncio.CancelledError:
            for worker in self._workers:
                worker.cancel()
            raise
        finally:
            await self._wind_up(source)
        if isinstance(self._stopped, OmiError):
            raise self.ended_by(self._stopped)
        if self._stopped is not None:
            raise self._stopped

    def ended_by(self, reason: OmiError) -> BulkStoppedError:
        done = self._counts[BulkStatus.DONE]
        stopped = BulkStoppedError(f"stopped with {done} items done. {reason}")
        stopped.reason, stopped.done = reason, done
        return stopped

    def taken(self) -> list[BulkOutcome[R]]:
        """Everything that is ready, handed over."""
        outcomes = list(self.ready)
        self.ready.clear()
        for _ in outcomes:
            self._places.release()
        return outcomes

    async def _wind_up(self, source: "_Source") -> None:
        """Begin nothing new, and let what is under way end."""
        self._exhausted = self._closing = True
        self._busy.clear()
        for worker in self._between:
            worker.cancel()
        try:
            if self._workers:
                await asyncio.wait(self._workers)
        finally:
            # Only an impatient caller leaves workers behind here.
            for worker in self._workers:
                worker.cancel()
            self._report_throttled()
            try:
                await source.aclose()
            finally:
                if self._journal is not None:
                    await self._journal.aclose()

    def _report_throttled(self) -> bool:
        """Report what was sent, was throttled and is not tried again; whether there was any."""
        reported = bool(self._again)
        for item in self._again:
            status = BulkStatus.UNKNOWN if item.maybe_applied else BulkStatus.FAILED
            self._counts[status] += 1
            self.ready.append(
                BulkOutcome(
                    conversation_id=item.conversation_id, status=status, error=item.failure, attempts=item.attempts
                )
            )
        self._again.clear()
        return reported

    def progress(self) -> BulkProgress:
        settled = sum(self._counts.values())
        rate = self._rate(settled - self._resumed)
        left = None if self._total is None else max(0, self._total - settled)
        end = None if left is None or not rate else self._end(left, rate)
        return BulkProgress(
            done=self._counts[BulkStatus.DONE],
            unconfirmed=self._counts[BulkStatus.UNCONFIRMED],
            failed=self._counts[BulkStatus.FAILED],
            unknown=self._counts[BulkStatus.UNKNOWN],
            resumed=self._resumed,
            total=self._total,
            rate=rate,
            waiting_until=self._waiting_until,
            estimated_end=end,
        )

    def _end(self, left: int, rate: float) -> datetime:
        if self._waiting_until is not None and self._gate.limit and self._gate.window:
            windows = -(-left // self._gate.limit)  # the one that is waited for included
            return self._waiting_until + timedelta(seconds=max(0, windows - 1) * self._gate.window)
        return max(
            datetime.now(UTC) + timedelta(hours=left / rate), self._waiting_until or datetime.min.replace(tzinfo=UTC)
        )

    def _rate(self, settled: int) -> float:
        if self._gate.limit and self._gate.window:
            return self._gate.limit / self._gate.window * 3600.0
        elapsed = self._clock() - self._began
        return settled / elapsed * 3600.0 if elapsed > 0 else 0.0

    # The workers' side

    def _add_worker(self, source: "_Source") -> None:
        worker = asyncio.get_running_loop().create_task(self._work(source))
        self._workers.add(worker)
        worker.add_done_callback(self._worker_done)

    def _worker_done(self, worker: "asyncio.Task[None]") -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (failure := worker.exception()) is not None:
            self._stop(failure)
        self._news.set()

    async def _work(self, source: "_Source") -> None:
        while (item := await self._next(source)) is not None:
            # One more for the next item, if there is one: a short job does not start them all.
            if len(self._workers) < self._concurrency and not self._exhausted:
                self._add_worker(source)
            following: _Item | None = item
            while following is not None:
                following = await self._settle(following)

    async def _next(self, source: "_Source") -> _Item | None:
        """The next item that may be sent now; None if there is none any more."""
        worker = asyncio.current_task()
        assert worker is not None  # noqa: S101 - this only ever runs in one
        self._between.add(worker)
        try:
            while self._stopped is None and not self._closing and (self._again or not self._exhausted):
                if self._again:
                    item: _Item | None = self._again.popleft()
                else:
                    await self._places.acquire()
                    async with self._pulling:
                        item = await self._take(source)
                if item is None:
                    continue
                ready = isinstance(item.request, Exception)
                try:
                    # Only now: at the end of the input there is nothing to wait for.
                    if not ready:
                        async with self._opening:
                            ready = await self._window_open()
                finally:
                    if not ready and item.failure is not None:
                        self._again.appendleft(item)
                if ready:
                    return item
            return None
        finally:
            self._between.discard(worker)

    async def _take(self, source: "_Source") -> _Item | None:
        """An item for the place that the worker holds; a throttled one has its own."""
        if not self._again and not self._exhausted and self._stopped is None:
            try:
                value = await source.next()
            except StopAsyncIteration:
                self._exhausted = True
            except Exception as failure:  # noqa: BLE001 - what the caller's input raises is raised to the caller
                self._stop(failure)
            else:
                return self._admitted(value)
        self._places.release()
        return self._again.popleft() if self._again else None

    def _admitted(self, value: Any) -> _Item | None:
        """An item of the input with its place taken; None if it needs no sending, or not now."""
        name = getattr(value, "conversation_id", value)
        item = _Item(
            self._position, name if isinstance(name, str) else f"<{type(name).__name__}>", self._request(value)
        )
        self._position += 1
        if self._journal is not None:
            entry = self._journal.recall(item.position, item.journalled_id, item.digest(self._kind))
            if entry is not None:
                if entry.settled:
                    self._places.release()
                    return None
                # Only a failure on record is certain to have changed nothing.
                item = item._replace(maybe_applied=entry.status != BulkStatus.FAILED)
        if isinstance(item.request, Exception):
            return item
        waiting = self._busy.get(item.conversation_id)
        if waiting is None:
            self._busy[item.conversation_id] = deque()
            return item
        waiting.append(item)
        return None

    async def _window_open(self) -> bool:
        """Wait until a request is worth sending, telling until when; False if the job is stopped instead."""
        while self._stopped is None and (seconds := self._gate.closed_for()):
            if not self._wait:
                stopped = RateLimitError("the server's window is closed.", status=429, retry_after=seconds)
                stopped.limit = self._gate.limit
                self._stop(stopped)
                break
            self._waiting_until = datetime.now(UTC) + timedelta(seconds=seconds)
            self._tell()
            await self._retrier.transport.pause(self._retrier.policy.sleep(seconds))
        if self._waiting_until is not None:
            self._waiting_until = None
            self._tell()
        return self._stopped is None

    async def _settle(self, item: _Item) -> _Item | None:
        """See one item through to its outcome; the item of the same id that waited for it, if any."""
        outcome, settled = await self._outcome(item)
        if outcome is None:
            return None
        try:
            await self._note(item, outcome.status, settled=settled, attempts=outcome.attempts)
        finally:
            # Cancelled while it waits for the disk, the item is settled all the same: nobody else would report it.
            self._counts[outcome.status] += 1
            self.ready.append(outcome)
            self._news.set()
        self._tell()
        return None if isinstance(item.request, Exception) else self._following(item.conversation_id)

    def _following(self, conversation_id: str) -> _Item | None:
        """What waited for the end of a write to this id; while there is something, the id stays busy."""
        waiting = self._busy.get(conversation_id)
        if waiting and self._stopped is None:
            return waiting.popleft()
        self._busy.pop(conversation_id, None)
        return None

    async def _outcome(self, item: _Item) -> tuple[BulkOutcome[R] | None, bool]:
        """The outcome and whether it is final; None if the item has to wait for the window."""
        try:
            if self._journal is not None:
                await self._journal.intend(item.position, item.journalled_id, item.digest(self._kind))
            if isinstance(item.request, Exception):
                return BulkOutcome(
                    conversation_id=item.conversation_id, status=BulkStatus.FAILED, error=item.request
                ), True
            # Asked last of all: others may have spent the window since, and nothing comes between this and the sending.
            if self._wait and self._gate.closed_for():
                await self._postpone(item, None)
                return None, False
            call = self._retrier.prepare(item.request, maybe_applied=item.maybe_applied)
            result: R = await call.run()
        except OmiError as error:
            failure = error
        else:
            gone = isinstance(result, Deletion) and not result.confirmed
            status = BulkStatus.UNCONFIRMED if gone else BulkStatus.DONE
            return BulkOutcome(
                conversation_id=item.conversation_id,
                status=status,
                result=result,
                attempts=item.attempts + call.attempts,
            ), True
        if isinstance(failure, RateLimitError) and self._wait:
            await self._postpone(item, failure)
            return None, False
        fatal = isinstance(failure, (*_FATAL, RateLimitError))
        if fatal:
            self._stop(failure)
        status = BulkStatus.UNKNOWN if failure.outcome == "unknown" else BulkStatus.FAILED
        outcome: BulkOutcome[R] = BulkOutcome(
            conversation_id=item.conversation_id,
            status=status,
            error=failure,
            attempts=item.attempts + failure.attempts,
        )
        return outcome, status is BulkStatus.FAILED and not failure.retryable and not fatal

    async def _postpone(self, item: _Item, failure: RateLimitError | None) -> None:
        if failure is not None:
            if failure.retry_after is None:
                self._gate.refuse(_UNTOLD_PAUSE)
            item = item._replace(
                maybe_applied=failure.outcome == "unknown", attempts=item.attempts + failure.attempts, failure=failure
            )
        status = BulkStatus.UNKNOWN if item.maybe_applied else BulkStatus.FAILED
        await self._note(item, status, settled=False, attempts=item.attempts)
        self._again.append(item)

    async def _note(self, item: _Item, status: BulkStatus, *, settled: bool, attempts: int) -> None:
        if self._journal is None:
            return
        try:
            await self._journal.settle(item.position, status=status, settled=settled, attempts=attempts)
        except JournalError as failure:
            # The item has its outcome all the same; only nothing further may begin.
            self._stop(failure)

    def _stop(self, reason: BaseException) -> None:
        """Send nothing new, because of the first such reason."""
        if self._stopped is None:
            self._stopped = reason
        me = asyncio.current_task()
        for worker in self._between:
            if worker is not me:
                worker.cancel()

    def _tell(self) -> None:
        if self._on_progress is None:
            return
        try:
            self._on_progress(self.progress())
        except Exception:  # noqa: BLE001 - what watches the work must not change it
            _log.exception("on_progress failed and is not called again")
            self._on_progress = None


class _Source:
    """The input, whichever kind it is."""

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
