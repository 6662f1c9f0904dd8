"""The user of a script at work: makes the calls, gives them up, and writes down what it was told.

What is written down holds plain values of the client's answers. The oracle compares them with the world's record.
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import aiohttp
import attrs

from omi_async import (
    AsyncOmiClient,
    BulkStoppedError,
    ConversationUpdate,
    NewActionItem,
    NewMemory,
    NewTranscriptSegment,
    OmiError,
    RetryPolicy,
    Timeout,
)
from omi_async.sandbox.server import API_KEY

from .script import Call, Close, Job, Together, User

CALLS: dict[str, Callable[[AsyncOmiClient, str, str, dict[str, Any]], Awaitable[Any]]] = {
    "update": lambda omi, id_, text, how: omi.conversations.update(id_, title=text, **how),
    "delete": lambda omi, id_, _, how: omi.conversations.delete(id_, **how),
    "get": lambda omi, id_, _, how: omi.conversations.get(id_, **how),
    "get transcript": lambda omi, id_, _, how: omi.conversations.get(id_, include_transcript=True, **how),
    "list": lambda omi, _, __, how: _all(omi.conversations.list(page_size=3, limit=7, **how)),
    "list memories": lambda omi, _, __, how: _all(omi.memories.list(page_size=2, **how)),
    "list action items": lambda omi, _, __, how: _all(omi.action_items.list(**how)),
    "list goals": lambda omi, _, __, how: omi.goals.list(**how),
    "list folders": lambda omi, _, __, how: omi.folders.list(**how),
    "list summaries": lambda omi, _, __, how: _all(omi.daily_summaries.list(**how)),
    "search memories": lambda omi, _, __, how: omi.memories.search("it was", **how),
    "current key": lambda omi, _, __, how: omi.keys.current(**how),
    "create memories": lambda omi, _, text, how: omi.memories.create_batch([NewMemory(text), NewMemory("more")], **how),
    "create action items": lambda omi, _, text, how: omi.action_items.create_batch([NewActionItem(text)], **how),
    "create": lambda omi, _, text, how: omi.conversations.create(text, **how),
    "create from segments": lambda omi, _, text, how: omi.conversations.create_from_segments(
        [NewTranscriptSegment(text=text, start=0.0, end=1.0)], client_session_id=text, **how
    ),
    "create memory": lambda omi, _, text, how: omi.memories.create(text, **how),
    "update memory": lambda omi, id_, text, how: omi.memories.update(id_, content=text, **how),
    "delete memory": lambda omi, id_, _, how: omi.memories.delete(id_, **how),
    "create action item": lambda omi, _, text, how: omi.action_items.create(text, **how),
    "update action item": lambda omi, id_, text, how: omi.action_items.update(id_, description=text, **how),
    "delete action item": lambda omi, id_, _, how: omi.action_items.delete(id_, **how),
    "create goal": lambda omi, _, text, how: omi.goals.create(text, **how),
    "update goal": lambda omi, id_, text, how: omi.goals.update(id_, title=text, **how),
    "delete goal": lambda omi, id_, _, how: omi.goals.delete(id_, **how),
    "request": lambda omi, id_, text, how: omi.request(
        "PATCH", f"/v1/dev/user/conversations/{id_}", json={"title": text}, **how
    ),
}


async def _all(listing: Any) -> list[Any]:
    return [row async for row in listing]


@attrs.define
class Told:
    """What the user was told of one write or read: of a call, or of an item of a job."""

    operation: str
    id: str
    text: str
    how: str  # result, unconfirmed, error, cancelled, timeout, or an exception's name
    began: float = 0.0
    ended: float = 0.0
    took: float = 0.0  # by the client's clock, which stands still while the machine sleeps
    limit: float | None = None
    allowed: int = 3  # attempts
    attempt: float | None = None  # limit of one attempt
    job: int | None = None
    error: str = ""  # class of the error
    outcome: str = ""
    attempts: int | None = None
    status: int | None = None
    retry_after: float | None = None
    intermediary: bool = False
    answer: str = ""  # whose answer it is: the id and the text in it
    text_of_error: str = ""
    lost: bool = False  # the user gave it up
    after_close: bool = False

    def __str__(self) -> str:
        said = f"{self.operation} {self.id} {self.text}: {self.how}"
        return said + (f" {self.error} {self.outcome} {self.status} in {self.attempts}" if self.error else "")


@attrs.define
class JobTold:
    """What the user was told of one job."""

    number: int
    job: Job
    life: int
    ends: list[str] = attrs.field(factory=list)  # how the iteration ended: complete, or an error
    told: list[Told] = attrs.field(factory=list)
    unclaimed: int = 0
    pulled: int = 0
    began: float = 0.0
    ended: float = 0.0
    resumed: int = 0
    finished: bool = False


@attrs.define
class Experience:
    calls: list[Told] = attrs.field(factory=list)
    jobs: list[JobTold] = attrs.field(factory=list)
    closed_at: float | None = None
    strange: list[str] = attrs.field(factory=list)  # exceptions that are nobody's business
    left_behind: list[str] = attrs.field(factory=list)
    probe: Told | None = None
    killed: bool = False
    lives: list[float] = attrs.field(factory=list)  # when each began


class InputError(Exception):
    """Raised by an input that fails."""


class Program:
    """One life of the user's program: from making the client to closing it."""

    def __init__(
        self, user: User, base_url: str, loop: Any, experience: Experience, log: Callable[[str], None], *, life: int
    ) -> None:
        self._user, self._loop, self._experience, self._log, self._life = user, loop, experience, log, life
        self._base_url = base_url
        self._random = random.Random(7)
        self._journal = ""
        self._extra: list[asyncio.Task[None]] = []

    def bury(self) -> None:
        """Nobody is told anything any more: the process was killed."""
        kept = self._experience
        now = self._loop.now
        kept.jobs = [
            attrs.evolve(job, ends=list(job.ends), told=list(job.told), ended=job.ended if job.finished else now)
            for job in kept.jobs
        ]
        self._experience, self._log = Experience(), lambda _: None

    def _policy(self, attempts: int) -> RetryPolicy:
        return RetryPolicy(attempts=attempts, clock=self._loop.time, random=self._random.random)

    async def live(self, journal: str, *, all_well: Callable[[], None]) -> None:
        self._journal = journal
        self._experience.lives.append(self._loop.now)
        session = aiohttp.ClientSession() if self._user.borrowed else None
        self._omi = AsyncOmiClient(
            API_KEY,
            base_url=self._base_url,
            retry=self._policy(3),
            session=session,
            max_connections=self._user.max_connections,
        )
        try:
            for step in self._user.steps:
                with suppress(Exception):  # each step has written down what it met
                    await self._step(step)
            if self._extra:
                await asyncio.wait(self._extra)
            all_well()
            if self._life:
                await asyncio.sleep(5.0)
            if self._life and self._experience.closed_at is None:
                self._experience.probe = await self._call(
                    Call(operation="get", id="probe", text="probe", total=60.0, attempt=20.0)
                )
        finally:
            await self._omi.aclose()
            if session is not None:
                await session.close()

    async def _step(self, step: Any) -> None:
        match step:
            case Call():
                told = await self._call(step)
                self._experience.calls.append(told)
                if told.how not in ("result", "unconfirmed"):
                    raise InputError  # the end of a task in a group
            case Job():
                await self._job(step)
            case Together():
                await self._together(step)
            case Close():
                await self._close(step)

    async def _together(self, step: Together) -> None:
        if not step.group:
            await asyncio.gather(*map(self._step, step.steps), return_exceptions=True)
            return
        async with asyncio.TaskGroup() as group:
            for each in step.steps:
                group.create_task(self._step(each))

    async def _close(self, step: Close) -> None:
        await asyncio.sleep(step.wait)
        self._log("user    closes the client")
        if self._experience.closed_at is None:
            self._experience.closed_at = self._loop.now
        began = self._loop.time()
        try:
            async with asyncio.timeout(step.limit or None):
                await self._omi.aclose()
        except TimeoutError:
            self._log("user    gave up closing")
        if self._loop.time() - began > 15.0:
            self._experience.strange.append("closing took longer than 15 s")

    # Calls

    async def _call(self, call: Call) -> Told:
        if call.wait:
            await asyncio.sleep(call.wait)
        if call.compute:
            self._loop.block(call.compute)
        told = Told(call.operation, call.id, call.text, "", limit=call.total)
        told.after_close = self._experience.closed_at is not None
        told.allowed, told.attempt = call.attempts, call.attempt
        told.began, told.took = self._loop.now, -self._loop.time()
        how = {
            "timeout": Timeout(connect=call.connect, attempt=call.attempt, total=call.total),
            "retry": self._policy(call.attempts),
        }
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        started = CALLS[call.operation](self._omi, call.id, call.text, how)
        self._log(f"user    {call.operation} {call.id} {call.text}")
        try:
            result = await self._given_up(call, started)
        except asyncio.CancelledError:
            told.how, told.lost = "cancelled", True
            if task is not None and task.cancelling() > before:
                self._finish(told)
                self._experience.calls.append(told)
                raise
            if not call.ending.startswith("cancel"):
                told.how = "CancelledError"
        except OmiError as error:
            write_error(told, error)
        except TimeoutError:
            told.how, told.lost = "timeout", True
            if call.ending not in ("timeout", "wait_for"):
                told.how = "TimeoutError"
        except Exception as error:
            told.how = type(error).__name__
            told.text_of_error = repr(error)
        else:
            write_result(told, result)
        self._finish(told)
        # Until Python 3.12 wait_for itself swallows a cancellation that comes with the result.
        swallows = call.ending == "wait_for" and sys.version_info < (3, 12)
        if task is not None and task.cancelling() > before and not swallows:
            self._experience.strange.append(f"the task counts as cancelled after {told}")
        return told

    def _finish(self, told: Told) -> None:
        told.ended = self._loop.now
        told.took += self._loop.time()
        self._log(f"user    {told}")

    async def _given_up(self, call: Call, started: Awaitable[Any]) -> Any:
        if not call.ending:
            return await started
        if call.ending == "timeout":
            async with asyncio.timeout(call.after):
                return await started
        if call.ending == "wait_for":
            return await asyncio.wait_for(started, call.after)
        task = asyncio.ensure_future(started)
        again = call.ending == "cancel twice"

        def cancel() -> None:
            task.cancel()
            if again:
                self._loop.after_turns(1, task.cancel)

        if call.turns:
            self._loop.after_turns(call.turns, cancel)
        else:
            self._loop.call_later(call.after, cancel)
        try:
            return await task
        except asyncio.CancelledError:
            if not task.done():  # this one was cancelled
                task.cancel()
                await asyncio.wait([task])
            raise

    # Jobs

    async def _job(self, step: Job) -> None:
        await asyncio.sleep(step.wait)
        told = JobTold(len(self._experience.jobs), step, self._life)
        self._experience.jobs.append(told)
        told.began = self._loop.now
        seen = asyncio.Semaphore(step.concurrency)
        items = _Input(step, told, seen, self._loop)
        call = (
            self._omi.conversations.update_many if step.operation == "update" else self._omi.conversations.delete_many
        )
        self._log(f"user    job {told.number} begins")
        try:
            job = call(
                items.of_its_kind(),
                concurrency=step.concurrency,
                wait=step.waits,
                journal=self._journal if step.journal else None,
                on_progress=self._callback(step) if step.callback else None,
            )
        except OmiError as error:
            told.ends.append(type(error).__name__)
            told.finished = True
            return
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        taking = asyncio.ensure_future(self._take(step, job, told, seen))
        if step.take.startswith("cancel"):
            if step.turns:
                self._loop.after_turns(step.turns, taking.cancel)
            else:
                self._loop.call_later(step.after, taking.cancel)
            if step.take == "cancel twice":
                self._loop.call_later(step.after + 0.01, taking.cancel)
        try:
            await taking
        except asyncio.CancelledError:
            if not taking.done():
                taking.cancel()
                await asyncio.wait([taking])
            if task is not None and task.cancelling() > before:
                raise
        finally:
            if job.progress.resumed:
                told.resumed = job.progress.resumed
            try:
                with suppress(InputError):
                    await self._close_job(step, job)
                if step.take == "leave":  # a closed job hands out what it has, and then says that it was left
                    await self._take_all(step, job, told, seen)
            finally:
                for outcome in job.unclaimed:
                    told.unclaimed += 1
                    self._note(told, step, outcome)
                told.ended, told.finished = self._loop.now, True
                settled = job.progress.settled
                self._log(f"user    job {told.number} {told.ends} {settled} settled, {told.unclaimed} unclaimed")

    async def _close_job(self, step: Job, job: Any) -> None:
        if not step.close_limit:
            await job.aclose()
            return
        closing = asyncio.ensure_future(job.aclose())

        def cancel() -> None:  # and again, as some frameworks do
            closing.cancel()
            for turns in (1, 2, 3):
                self._loop.after_turns(turns, closing.cancel)

        self._loop.call_later(step.close_limit, cancel)
        try:
            await asyncio.wait([closing])
        except asyncio.CancelledError:
            closing.cancel()
            await asyncio.wait([closing])
            raise
        if not closing.cancelled():
            closing.result()

    def _callback(self, step: Job) -> Callable[[Any], None]:
        def called(_: Any) -> None:
            match step.callback:
                case "raises":
                    raise ValueError("callback")
                case "cancels":
                    raise asyncio.CancelledError
                case "calls":
                    if not self._extra:
                        self._extra.append(asyncio.ensure_future(self._extra_call()))

        return called

    async def _extra_call(self) -> None:
        self._experience.calls.append(await self._call(Call(operation="get", id="c0")))

    async def _take(self, step: Job, job: Any, told: JobTold, seen: asyncio.Semaphore) -> None:
        if step.take == "two at once":
            await asyncio.gather(*(self._take_all(step, job, told, seen) for _ in range(2)))
        elif step.take == "leave":
            await self._take_some(step, job, told, seen)
        else:
            if step.take == "leave and go on":
                await self._take_some(step, job, told, seen)
                await asyncio.sleep(step.after)
            await self._take_all(step, job, told, seen)
            if step.take == "all" and step.concurrency % 2:  # the end stays the end
                await self._take_all(step, job, told, seen)

    async def _take_some(self, step: Job, job: Any, told: JobTold, seen: asyncio.Semaphore) -> None:
        taken = 0
        try:
            while taken < step.taken:
                self._note(told, step, await anext(job))
                seen.release()
                taken += 1
        except Exception:
            return
        except asyncio.CancelledError:
            if step.source != "cancelled":
                raise

    async def _take_all(self, step: Job, job: Any, told: JobTold, seen: asyncio.Semaphore) -> None:
        patience = step.after
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        while True:
            try:
                if step.take == "limit":
                    patience *= 1.5
                    outcome = await asyncio.wait_for(anext(job), patience)
                else:
                    outcome = await anext(job)
            except StopAsyncIteration:
                told.ends.append("complete")
                return
            except TimeoutError:
                continue
            except BulkStoppedError as error:
                told.ends.append(f"BulkStoppedError by {type(error.reason).__name__}")
                return
            except asyncio.CancelledError:
                if task is not None and task.cancelling() > before:
                    told.ends.append("cancelled")
                    raise
                told.ends.append("CancelledError")
                return
            except Exception as error:
                told.ends.append(type(error).__name__)
                return
            self._note(told, step, outcome)
            seen.release()

    def _note(self, told: JobTold, step: Job, outcome: Any) -> None:
        each = Told(step.operation, outcome.id, "", str(outcome.status), job=told.number)
        each.attempts = outcome.attempts
        each.ended = self._loop.now
        if outcome.error is not None:
            write_error(each, outcome.error)
            each.how = str(outcome.status)
        if outcome.result is not None and step.operation == "update":
            each.answer = f"{outcome.result.id} {outcome.result.structured.title}"
            each.text = outcome.result.structured.title
        told.told.append(each)
        self._log(f"user    job {told.number} is told {each}")


class _Input:
    """The input of a job, of the kind that the script wants."""

    def __init__(self, step: Job, told: JobTold, seen: asyncio.Semaphore, loop: Any) -> None:
        self._step, self._told, self._seen, self._loop = step, told, seen, loop
        self._items: list[Any] = list(step.ids)
        if step.operation == "update":
            self._items = [ConversationUpdate(i, title=t) for i, t in zip(step.ids, step.texts, strict=True)]

    def of_its_kind(self) -> Iterable[Any] | AsyncIterator[Any]:
        match self._step.source:
            case "list":
                self._told.pulled = len(self._items)
                return self._items
            case "generator":
                return self._generator()
            case _:
                return self._asynchronous()

    def _generator(self) -> Iterable[Any]:
        for item in self._items:
            self._told.pulled += 1
            yield item

    async def _asynchronous(self) -> AsyncIterator[Any]:
        source = self._step.source
        try:
            for number, item in enumerate(self._items):
                if source == "slow":
                    await asyncio.sleep(0.3)
                if source == "live":
                    await self._seen.acquire()
                if number == self._step.breaks and source == "failing":
                    raise InputError
                if number == self._step.breaks and source == "cancelled":
                    producer = asyncio.ensure_future(asyncio.sleep(9))
                    producer.cancel()
                    await producer
                self._told.pulled += 1
                yield item
        finally:
            if source in ("slow", "asynchronous"):
                await asyncio.sleep(0.2)


def write_error(told: Told, error: OmiError) -> None:
    told.how = "error"
    told.error, told.outcome = type(error).__name__, error.outcome
    told.attempts, told.status, told.retry_after = error.attempts, error.status, error.retry_after
    told.intermediary = error.from_intermediary
    told.text_of_error = f"{error} {error!r} {error.args}"


def write_result(told: Told, result: Any) -> None:
    told.how = "result"
    match told.operation:
        case "update" | "get" | "get transcript":
            told.answer = f"{result.id} {result.structured.title}"
        case "update memory" | "create memory":
            told.answer = f"{result.id} {result.content}"
        case "update action item" | "create action item":
            told.answer = f"{result.id} {result.description}"
        case "update goal" | "create goal":
            told.answer = f"{result.id} {result.title}"
        case "delete" | "delete memory" | "delete action item" | "delete goal":
            told.answer = result.id
            told.how = "result" if result.confirmed else "unconfirmed"
        case "create memories" | "create action items":
            first = result[0]
            told.answer = f"{first.id} {first.content if told.operation == 'create memories' else first.description}"
        case "list" | "list memories" | "list action items" | "list goals":
            told.answer = " ".join(row.id for row in result)
