"""The workers of a bulk job: they send items at the pace of the server's window and report each outcome once.

The job runs in tasks of its own. The caller only takes outcomes: a caller that gives up waiting, or is cancelled, loses
none of them.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from .._wire.pool import closed, running_loop
from ..errors import (
    AuthenticationError,
    BulkStoppedError,
    ClientClosedError,
    EventLoopError,
    JournalError,
    OmiError,
    PermissionDeniedError,
    RateLimitError,
    RouteNotFoundError,
)
from ..models.bulk import BulkOutcome, BulkProgress, BulkStatus
from ..retry import Call, Retrier
from .items import Intake, Item
from .progress import Tally

R = TypeVar("R")

_UNTOLD_PAUSE = 60.0  # seconds to wait after a 429 that names no time: the shortest window that makes sense

# A sleeping machine stops the timers of an event loop, so a wait for the window looks at the clocks this often.
_SLICE = 60.0  # seconds

_ROUNDING = timedelta(seconds=2)  # a window that opens no later than this after the announced time is the same one

# Errors that every remaining item would run into as well.
_FATAL = (RouteNotFoundError, ClientClosedError, EventLoopError, JournalError)

_KEY_REFUSED = (AuthenticationError, PermissionDeniedError)
"""These too, in the API's own words. Something in between may refuse a single item, for what is in it."""

_METHOD_NOT_ALLOWED = 405  # a server, or something in between, that takes no such request for any record

_MOST_BLOCKED = 5
"""So many items in a row that something in between refuses: it refuses all of them."""


def _other_loop() -> EventLoopError:
    return EventLoopError("the job belongs to the event loop that began it.", outcome="not_applied")


class Job(Generic[R]):
    """A bulk job at work. It does not know the `AsyncBulk`, so that one that is dropped ends it."""

    def __init__(
        self,
        retrier: Retrier,
        intake: Intake[R],
        window: str,
        concurrency: int,
        total: int | None,
        on_progress: Callable[[BulkProgress], object] | None,
        wait: bool,
        is_confirmed: Callable[[R], bool],
    ) -> None:
        self.ready: deque[BulkOutcome[R]] = deque()
        self.pulled = 0
        """Items of the input that have or will have an outcome in this run."""
        self._retrier = retrier
        self._gate = retrier.gate(window)
        self._intake = intake
        # More would only wait for a connection, and could run out of time there.
        self._concurrency = min(concurrency, retrier.transport.pool.most_at_once)
        self.tally = Tally(self._gate, retrier.policy.clock, total, on_progress)
        self._is_confirmed = is_confirmed
        self._wait = wait
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self._ended = False
        self._complete = False  # every item of the input was seen through
        self._closing = False
        self._stopped: BaseException | None = None  # raised once everything under way has been reported
        self._raised_as_is = False  # that error; others of ours become the reason of a `BulkStoppedError`
        self._unclean: Exception | None = None  # raised by the input when it was closed
        # Items that were throttled, or called back before they left; each has its slot.
        self._held_back: deque[Item] = deque()
        self._pulling = asyncio.Lock()
        self._window_lock = asyncio.Lock()  # one worker waits for the window, the others for it
        # An item takes a slot when it is pulled and gives it back when its outcome is taken: the job keeps pace with
        # the caller, and nothing piles up.
        self._slots = asyncio.Semaphore(self._concurrency)
        self._changed = asyncio.Event()
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._workers: set[asyncio.Task[None]] = set()
        self._idle_workers: set[asyncio.Task[None]] = set()  # without an item in hand
        self._interrupted: set[asyncio.Task[None]] = set()
        # Since the API spoke last, and only items that are new to this run: a resumed job gets past the others.
        self._blocked = 0

    # The caller's side

    async def next_outcome(self) -> BulkOutcome[R]:
        """The next outcome; waiting for it can be given up and begun again."""
        await self.outcome_ready()
        self._slots.release()
        return self.ready.popleft()

    def take_all(self) -> list[BulkOutcome[R]]:
        """Everything that is ready."""
        outcomes = list(self.ready)
        self.ready.clear()
        for _ in outcomes:
            self._slots.release()
        return outcomes

    async def outcome_ready(self) -> None:
        """Wait for an outcome. At the end of the job it raises what ended it, or StopAsyncIteration."""
        while not self.ready:
            if self._ended or (self._closing and self._running is None):
                raise self._end()
            loop = running_loop()
            if self._running is None:
                self._loop = loop
                self._running = loop.create_task(self._run())
            elif self._loop is not loop:
                raise _other_loop()
            self._may_send.set()
            self._changed.clear()
            await self._changed.wait()

    def _end(self) -> BaseException:
        if isinstance(self._stopped, OmiError) and not self._raised_as_is:
            return self.ended_by(self._stopped)
        if self._stopped is not None:
            return self._stopped
        if self._complete:
            return StopAsyncIteration()
        return self.ended_by(OmiError("the job was closed before the end of its input.", outcome="not_applied"))

    def ended_by(self, reason: OmiError) -> BulkStoppedError:
        """The error of a job that ended before its input did."""
        counts = self.tally.counts
        done = counts[BulkStatus.DONE]
        changed = any(number for status, number in counts.items() if status is not BulkStatus.FAILED)
        # Where an item was changed, the reason's sentence about its own outcome would be taken for the job's.
        why = reason._told(with_outcome=False) if changed else str(reason)
        stopped = BulkStoppedError(f"stopped with {done} items done. {why}")
        stopped.outcome = "unknown" if changed else reason.outcome
        stopped.retryable, stopped.retry_after = reason.retryable, reason.retry_after
        stopped.reason, stopped.done = reason, done
        return stopped

    async def aclose(self) -> None:
        """Send nothing new and wait for what is under way. If this is cancelled, so is what is under way.

        Even then it waits until everything is reported. It raises what the input raises when it is closed.
        """
        if self._running is None or self._ended:
            self._closing = True
            return
        if self._loop is not running_loop():
            raise _other_loop()
        self.begin_closing()
        try:
            await asyncio.wait([self._running])
        except asyncio.CancelledError:
            self._abort()
            # What was sent is reported before the caller looks, however often this is cancelled.
            while self._busy_workers():
                with suppress(asyncio.CancelledError):
                    await self._quiet()
            await asyncio.wait([self._running])
            raise
        if self._unclean is not None:
            raise self._unclean

    def begin_closing(self) -> None:
        """Send nothing new from now on."""
        self._closing = True
        self._may_send.set()
        for worker in self._idle_workers:
            worker.cancel()

    def let_go(self) -> None:
        """Begin closing, from any thread: nobody will take an outcome any more."""
        if self._loop is not None and not self._ended:
            try:
                self._loop.call_soon_threadsafe(self.begin_closing)
            except RuntimeError:  # the loop is closed
                return

    async def rest(self, grace: float, *, input_lost: bool) -> None:
        """Send nothing new until the next outcome is asked for, and end what is under way within `grace` seconds.

        An input that was interrupted may have lost an item: without it, the job cannot go on.
        """
        self._may_send.clear()
        if input_lost:
            self._stop(OmiError("the input was interrupted, and may have lost an item.", outcome="not_applied"))
        try:
            async with asyncio.timeout(grace):
                await self._quiet()
        except TimeoutError:
            for worker in self._busy_workers():
                self._interrupted.add(worker)
                worker.cancel()
            await self._quiet()

    async def _quiet(self) -> None:
        while self._busy_workers():
            self._changed.clear()
            await self._changed.wait()

    def _busy_workers(self) -> "set[asyncio.Task[None]]":
        return self._workers - self._idle_workers

    # The job's own task

    async def _run(self) -> None:
        self.tally.begin()
        try:
            self.tally.resume(await self._intake.open())
            if not self._closing:
                self._add_worker()
            await self._workers_ended()
        except Exception as failure:  # noqa: BLE001 - a journal or an input that cannot be opened
            self._stop_by_input(failure)
        finally:
            self._complete = self._intake.exhausted and not self._held_back
            self._report_held_back()
            try:
                await self._intake.aclose()
            except Exception as failure:  # noqa: BLE001 - what the input raises is raised to the caller
                self._unclean = failure
                self._stop_by_input(failure)
            finally:
                self._ended = True
                self._changed.set()

    async def _workers_ended(self) -> None:
        cancelled = False
        while self._workers:
            try:
                await asyncio.wait(self._workers)
            except asyncio.CancelledError:
                # The input is closed only after its last reader has ended.
                cancelled = True
                self._abort()
        if cancelled:
            self._closing = True
            raise asyncio.CancelledError

    def _abort(self) -> None:
        self._closing = True
        for worker in self._workers:
            worker.cancel()

    def _report_held_back(self) -> None:
        """Report what was sent, was refused for the time being and is not tried again."""
        for item in self._held_back:
            if item.failure is not None:
                status = BulkStatus.UNKNOWN if item.maybe_applied else BulkStatus.FAILED
                self._report(BulkOutcome(id=item.id, status=status, error=item.failure, attempts=item.attempts))
        self._held_back.clear()

    def _report(self, outcome: BulkOutcome[R]) -> None:
        self.tally.counts[outcome.status] += 1
        self.ready.append(outcome)
        self._changed.set()

    # The workers' side

    def _add_worker(self) -> None:
        worker = asyncio.get_running_loop().create_task(self._work())
        self._workers.add(worker)
        worker.add_done_callback(self._worker_done)

    def _worker_done(self, worker: "asyncio.Task[None]") -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (failure := worker.exception()) is not None:
            self._stop(failure)
        self._changed.set()

    async def _work(self) -> None:
        while (item := await self._next()) is not None:
            # One more for the next item, if there is one: a short job does not start them all.
            if len(self._workers) < self._concurrency and not self._intake.exhausted:
                self._add_worker()
            await self._settle(item)

    async def _next(self) -> Item | None:
        """The next item that may be sent now; None if there is none any more."""
        worker = asyncio.current_task()
        assert worker is not None  # noqa: S101 - this only ever runs in one
        self._idle_workers.add(worker)
        self._changed.set()
        try:
            while self._is_going_on() and (self._held_back or not self._intake.exhausted):
                if self._held_back:
                    item: Item | None = self._held_back.popleft()
                else:
                    await self._slots.acquire()
                    async with self._pulling:
                        item = await self._pull()
                if item is None:
                    continue
                ready = isinstance(item.request, Exception)
                try:
                    # Only now: at the end of the input there is nothing to wait for.
                    if not ready:
                        async with self._window_lock:
                            ready = await self._window_open()
                        await self._may_send.wait()
                        ready = ready and self._is_going_on()
                except BaseException:
                    ready = False
                    raise
                finally:
                    if not ready:
                        self._held_back.appendleft(item)
                if ready:
                    return item
            return None
        finally:
            self._idle_workers.discard(worker)

    def _is_going_on(self) -> bool:
        return self._stopped is None and not self._closing

    async def _pull(self) -> Item | None:
        """An item for the slot that the worker holds; one that was held back has its own."""
        if not self._held_back and not self._intake.exhausted and self._is_going_on():
            try:
                item = await self._intake.pull()
            except StopAsyncIteration:
                pass
            except asyncio.CancelledError as failure:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                self._stop_by_input(failure)  # not ours: something that the input waited for was cancelled
            except JournalError as failure:
                self._stop(failure)
            except Exception as failure:  # noqa: BLE001 - what the caller's input raises is raised to the caller
                self._stop_by_input(failure)
            else:
                self.pulled += 1
                return item
        self._slots.release()
        return self._held_back.popleft() if self._held_back else None

    async def _window_open(self) -> bool:
        """Wait until a request is worth sending, telling until when; False if the job is stopped instead."""
        while self._is_going_on() and (seconds := self._gate.closed_for()):
            if not self._wait:
                stopped = RateLimitError(
                    "the server's window is closed.", outcome="not_applied", status=429, retry_after=seconds
                )
                stopped.limit = self._gate.limit
                self._stop(stopped)
                break
            until = datetime.now(UTC) + timedelta(seconds=seconds)
            if self.tally.waiting_until is None or until > self.tally.waiting_until + _ROUNDING:
                self.tally.waiting_until = until
                self.tally.tell()
            await self._pause(min(seconds, _SLICE))
        if self.tally.waiting_until is not None:
            self.tally.waiting_until = None
            self.tally.tell()
        return self._is_going_on()

    def _pause(self, seconds: float) -> Awaitable[None]:
        transport = self._retrier.transport
        if transport.closed:
            raise closed()
        return transport.pause(self._retrier.policy.sleep, seconds)

    async def _settle(self, item: Item) -> None:
        """See one item through to its outcome, and have the next one of its id, if any, sent after it."""
        outcome, settled = await self._outcome(item)
        if outcome is None:
            return
        try:
            await self._note(item, outcome.status, settled=settled, attempts=outcome.attempts)
        finally:
            # Cancelled while it waits for the disk, the item is settled all the same: nobody else would report it.
            self._report(outcome)
            following = self._intake.following(item)
            if following is not None:
                self._held_back.appendleft(following)
        self.tally.tell()

    async def _outcome(self, item: Item) -> tuple[BulkOutcome[R] | None, bool]:
        """The outcome and whether it is final; None if there is none yet."""
        call: Call[R] | None = None
        done: BulkOutcome[R] | None = None
        try:
            await self._intake.intend(item)
            if isinstance(item.request, Exception):
                return BulkOutcome(id=item.id, status=BulkStatus.FAILED, error=item.request), True
            # Asked last of all: others may have spent the window since, and nothing comes between this and the sending.
            if not (self._wait and self._gate.closed_for()):
                call = self._retrier.prepare(item.request, maybe_applied=item.maybe_applied)
                done = self._succeeded(item, call, await call.run())
        except OmiError as error:
            failure = error
        except asyncio.CancelledError:
            pardoned = self._pardoned()
            outcome = self._cut_off(item, call, "the job was cancelled while the request was under way.")
            if outcome is None and not pardoned:
                raise
            return outcome, False
        except Exception as foreign:  # noqa: BLE001 - as a hook of the caller's session raises, for the caller to see
            self._stop(foreign)
            return self._cut_off(item, call, f"{type(foreign).__name__} while the request was under way."), False
        else:
            if done is None:
                await self._postpone(item, None)
            return done, done is not None
        return await self._failed(item, failure)

    def _succeeded(self, item: Item, call: Call[R], result: R) -> BulkOutcome[R]:
        self._blocked = 0
        status = BulkStatus.DONE if self._is_confirmed(result) else BulkStatus.UNCONFIRMED
        return BulkOutcome(id=item.id, status=status, result=result, attempts=item.attempts + call.attempts)

    async def _failed(self, item: Item, failure: OmiError) -> tuple[BulkOutcome[R] | None, bool]:
        stops = self._stops(item, failure)
        if isinstance(failure, RateLimitError) and self._wait:
            await self._postpone(item, failure)
            return None, False
        if failure.status == 503 and failure.retry_after:
            self._gate.refuse(failure.retry_after)
        if stops:
            self._stop(failure)
        unknown = failure.outcome == "unknown" or item.maybe_applied
        status = BulkStatus.UNKNOWN if unknown else BulkStatus.FAILED
        outcome: BulkOutcome[R] = BulkOutcome(
            id=item.id, status=status, error=failure, attempts=item.attempts + failure.attempts
        )
        return outcome, not unknown and not failure.retryable and not stops

    def _stops(self, item: Item, failure: OmiError) -> bool:
        """Whether every further item would fail alike."""
        if isinstance(failure, _KEY_REFUSED) and failure.from_intermediary:
            if not item.tried_before:
                self._blocked += 1
            return self._blocked >= _MOST_BLOCKED
        if failure.status is not None and not failure.from_intermediary:
            self._blocked = 0
        return isinstance(failure, (*_FATAL, *_KEY_REFUSED, RateLimitError)) or failure.status == _METHOD_NOT_ALLOWED

    def _cut_off(self, item: Item, call: Call[R] | None, text: str) -> BulkOutcome[R] | None:
        """The outcome of an item whose request may have been carried out; any other item is held back."""
        if call is None or not call.maybe_applied:
            if call is not None and call.refused is not None:
                item = item._replace(attempts=item.attempts + call.attempts, failure=call.refused)
            self._held_back.appendleft(item)
            return None
        failure = OmiError(text, retryable=True, attempts=call.attempts, operation=call.operation)
        attempts = item.attempts + call.attempts
        return BulkOutcome(id=item.id, status=BulkStatus.UNKNOWN, error=failure, attempts=attempts)

    def _pardoned(self) -> bool:
        """Whether `rest` alone has cancelled this worker: that ends its item, and the worker goes on."""
        worker = asyncio.current_task()
        if worker is None or worker not in self._interrupted:
            return False
        self._interrupted.discard(worker)
        return worker.uncancel() == 0

    async def _postpone(self, item: Item, failure: RateLimitError | None) -> None:
        if failure is not None:
            if failure.retry_after is None:
                self._gate.refuse(_UNTOLD_PAUSE)
            item = item._replace(
                maybe_applied=failure.outcome == "unknown", attempts=item.attempts + failure.attempts, failure=failure
            )
        status = BulkStatus.UNKNOWN if item.maybe_applied else BulkStatus.FAILED
        try:
            await self._note(item, status, settled=False, attempts=item.attempts)
        finally:
            self._held_back.append(item)

    async def _note(self, item: Item, status: BulkStatus, *, settled: bool, attempts: int) -> None:
        try:
            await self._intake.settle(item, status, settled=settled, attempts=attempts)
        except JournalError as failure:
            # The item has its outcome all the same; only nothing further may begin.
            self._stop(failure)
        except asyncio.CancelledError:
            if not self._pardoned():
                raise

    def _stop_by_input(self, reason: BaseException) -> None:
        """Send nothing new, because of an error that the caller gets as it is."""
        self._raised_as_is = self._raised_as_is or self._stopped is None
        self._stop(reason)

    def _stop(self, reason: BaseException) -> None:
        """Send nothing new, because of the first such reason."""
        if self._stopped is None:
            self._stopped = reason
        me = asyncio.current_task()
        for worker in self._idle_workers:
            if worker is not me:
                worker.cancel()
