"""Calls by the thousand against the truth-model server, and the judgement over what they reported.

A story is a few calls that follow each other on one subject. Stories depend on their number only; clients serve a
few stories each, so that the retry budget of one does not end the storm. `run` does it all, for a process of its own.
"""

import asyncio
import contextlib
import gc
import operator
import os
import random
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, Literal, Self

import aiohttp
import attrs
import pytest

from omi_async import (
    AsyncListing,
    AsyncOmiClient,
    ClientClosedError,
    Deletion,
    NewActionItem,
    NewMemory,
    NewTranscriptSegment,
    NotFoundError,
    OmiError,
    RetryPolicy,
    Timeout,
)
from omi_sync import Listing, OmiClient
from tests.support import inside, truth
from tests.support.clock import SleepyClock
from tests.support.operations import BY_NAME, Operation
from tests.support.sides import KEY

Result = Literal["success", "unconfirmed", "not_applied", "unknown", "cancelled", "crossed", "lost"]

TOTAL = 8.0  # seconds
LIMITS = Timeout(connect=5.0, attempt=0.25, total=TOTAL)
_LATE = 15.0  # seconds; a busy machine takes its time, and a call that hangs would end with the server's patience
ATTEMPTS = 4
CONNECTIONS = 8


# What is called: a row for each operation

Arguments = Callable[[str], tuple[tuple[Any, ...], dict[str, Any]]]


def _by_id(subject: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (subject,), {}


def _with_token(subject: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (subject,), {"id_token": subject}


_ARGUMENTS: dict[str, Arguments] = {
    "conversations.list": lambda subject: ((), {"folder_id": subject, "limit": 1}),
    "conversations.create_from_segments": lambda subject: (
        ([NewTranscriptSegment(text="Hello.", start=0.0, end=1.0)],),
        {"client_session_id": subject},
    ),
    "memories.list": lambda subject: ((), {"categories": [subject], "limit": 1}),
    "memories.create": lambda subject: ((subject,), {"category": "work"}),
    "memories.create_batch": lambda subject: (([NewMemory(subject), NewMemory(f"{subject}_more")],), {}),
    "action_items.list": lambda subject: ((), {"conversation_id": subject, "limit": 1}),
    "action_items.create_batch": lambda subject: (([NewActionItem(subject), NewActionItem(f"{subject}_more")],), {}),
    "keys.list": lambda subject: ((), {"id_token": subject}),
    "keys.create": _with_token,
    "keys.revoke": _with_token,
}
"""What a call is given beside its fields; by default the subject."""

_FIELDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "conversations.update": lambda number: {"title": f"t{number}", "discarded": True},
    "memories.update": lambda number: {"content": f"t{number}", "tags": [f"t{number}"]},
    "action_items.update": lambda number: {"description": f"t{number}", "completed": True},
    "goals.update": lambda number: {"title": f"t{number}", "desired_outcome": f"t{number}"},
    "goals.update_progress": lambda number: {"current_value": float(number)},
}
"""What updates change."""

_CHAINS = ("conversations", "memories", "action_items", "goals")
_OFTEN = ("conversations.update", "conversations.delete")
_OTHERS = tuple([name for name in BY_NAME if name not in _OFTEN])


def _made(subject: str) -> str:
    return f"made_{subject}"


_IS_ANSWER: dict[str, Callable[[Any, str], bool]] = {
    "conversations.list": lambda told, subject: [row.folder_id for row in told] == [subject],
    "conversations.ask": lambda told, subject: told.answer == subject,
    "memories.list": lambda told, subject: [row.category for row in told] == [subject],
    # An answer without results is one, too.
    "memories.search": lambda told, subject: {row.content for row in told} <= {subject},
    "memories.create_batch": lambda told, subject: (
        [row.id for row in told] == [_made(subject), _made(f"{subject}_more")]
    ),
    "action_items.list": lambda told, subject: [row.conversation_id for row in told] == [subject],
    "action_items.create_batch": lambda told, subject: (
        [row.id for row in told] == [_made(subject), _made(f"{subject}_more")]
    ),
    "goals.history": lambda told, subject: {row.date for row in told} <= {subject},
    "keys.list": lambda told, subject: [row.name for row in told] == [subject],
    "keys.revoke": lambda told, subject: told is None,
}
"""Whether a result is the answer to this call; by default by its id."""


@attrs.define(eq=False, slots=True)
class Call:
    """One call: what was asked, and what the caller was told."""

    operation: str
    fields: dict[str, Any] = attrs.field(factory=dict)
    cancel_after: float | None = None
    """Seconds after which the caller loses patience."""
    result: Result = "lost"
    error: str = ""
    missing: bool = False
    """The caller was told that there is no such record."""
    made: bool = False
    attempts: int = 0
    reported: int | None = None
    """The attempts that the error tells of."""
    seconds: float = 0.0

    @property
    def done(self) -> bool:
        return self.result in ("success", "unconfirmed")

    @property
    def kind(self) -> Operation:
        return BY_NAME[self.operation]


@attrs.define(eq=False, slots=True)
class Story:
    """What happens to one subject, call after call."""

    id: str
    calls: list[Call]


def story(number: int, name: str, *, cancels: bool) -> Story:
    """The story of that number; `name` keeps the subjects of several runs apart."""
    draw = random.Random(number)
    kind = draw.random()
    patience = draw.uniform(0.0, 0.03) if cancels and draw.random() < 0.03 else None
    if kind < 0.1:
        # The second deletion finds the record gone, if the first was not refused.
        resource = draw.choice(_CHAINS)
        calls = [
            *(
                Call(f"{resource}.update", {field: value})
                for field, value in _FIELDS[f"{resource}.update"](number).items()
            ),
            Call(f"{resource}.delete", cancel_after=patience),
            Call(f"{resource}.delete"),
        ]
        return Story(f"chain_{name}_{number}", calls)
    operation = draw.choice(_OFTEN if kind < 0.3 else _OTHERS)
    fields = _FIELDS[operation](number) if operation in _FIELDS else {}
    if len(fields) > 1 and draw.random() < 0.5:
        fields.popitem()
    # What is created needs no record.
    there = BY_NAME[operation].effect in ("make", "keep", "revoke") or draw.random() < 0.9
    return Story(f"{'conv' if there else 'none'}_{name}_{number}", [Call(operation, fields, patience)])


@attrs.define(eq=False, slots=True)
class Group:
    """The stories that one client tells, and what happens to it meanwhile."""

    name: str
    """The client's, by which the server knows it."""
    stories: list[Story]
    stray: bool = False
    """Half way, an answer waits on each of its connections that nobody asked for."""
    close_after: float | None = None
    """Seconds after half way when it is closed, though calls are under way."""
    cut: bool = False
    """That closing is cut short."""
    suspended: bool = False
    """The machine sleeps now and then: its clock stands still or jumps."""


def groups(calls: int, name: str, *, size: int, cancels: bool) -> Iterator[Group]:
    """Stories of at least so many calls in all, `size` stories a group."""
    number = 0
    while calls > 0:
        draw = random.Random(f"{name} {number}")
        yield (
            group := Group(
                f"{name}-{number}",
                [story(number + index, name, cancels=cancels) for index in range(size)],
                stray=draw.random() < 0.3,
                close_after=draw.uniform(0.0, 0.05) if draw.random() < 0.04 else None,
                cut=draw.random() < 0.7,
                suspended=draw.random() < 0.2,
            )
        )
        number += size
        calls -= sum(len(each.calls) for each in group.stories)


_call: ContextVar[Call] = ContextVar("call")


async def _no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


POLICY = RetryPolicy(attempts=ATTEMPTS, sleep=_no_wait)


def count_attempts(client: AsyncOmiClient) -> None:
    """Count each attempt for the call that makes it."""
    send = client._transport.send

    async def counting(request: Any, attempt: Any) -> Any:
        _call.get().attempts += 1
        return await send(request, attempt)

    client._transport.send = counting  # type: ignore[method-assign]


def _note(call: Call, outcome: object, began: float, subject: str) -> None:
    call.seconds = time.monotonic() - began
    match outcome:
        case OmiError():
            call.result = outcome.outcome
            call.error = type(outcome).__name__
            named = bool(call.kind.record)  # else there is no record that could be missing
            call.missing = named and isinstance(outcome, NotFoundError) and not outcome.from_intermediary
            # A client that was closed tells of the step that met it, which is not that of a list's page.
            call.reported = None if isinstance(outcome, ClientClosedError) else outcome.attempts
        case asyncio.CancelledError():
            call.result = "cancelled"
        case Exception():  # none of ours: the judge counts it as lost
            call.error = repr(outcome)
        case Deletion(confirmed=False) if outcome.id == subject and call.kind.form == "deletion":
            call.result = "unconfirmed"
        case _:
            call.result = "success" if _is_answer(call, outcome, subject) else "crossed"
            call.error = type(outcome).__name__


def _is_answer(call: Call, told: Any, subject: str) -> bool:
    if call.operation in _IS_ANSWER:
        return _IS_ANSWER[call.operation](told, subject)
    if told is None or told.id != (_made(subject) if call.kind.form == "value" else subject):
        return False
    shown = getattr(told, "structured", told)
    return all(_plain(getattr(shown, name, value)) == value for name, value in call.fields.items())


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _begin(client: Any, call: Call, subject: str) -> Any:
    """Make the call: its result, or what gives the result when it is waited for or read."""
    positional, named = _ARGUMENTS.get(call.operation, _by_id)(subject)
    return operator.attrgetter(call.operation)(client)(*positional, **named, **call.fields)


def _goes_on(call: Call) -> bool:
    # After a refused deletion, the next one would blur whether the refusal was true.
    return call.kind.effect == "update" or call.result != "not_applied"


async def _rows(listing: AsyncListing[Any]) -> list[Any]:
    return [row async for row in listing]


async def tell(client: AsyncOmiClient, told: Story) -> None:
    for call in told.calls:
        began = time.monotonic()
        token = _call.set(call)
        call.made = True
        outcome: object
        try:
            running = _begin(client, call, told.id)
            if isinstance(running, AsyncListing):
                running = _rows(running)
            if call.cancel_after is None:
                outcome = await running
            else:
                task = asyncio.ensure_future(running)
                await asyncio.wait([task], timeout=call.cancel_after)
                task.cancel()
                outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        except Exception as error:
            outcome = error
        finally:
            _call.reset(token)
        _note(call, outcome, began, told.id)
        if not _goes_on(call):
            break


FAILINGS = (
    "false success",
    "false not_applied",
    "false not found",
    "crossed",
    "lost",
    "hung",
    "resent",
    "twice",
    "told wrong",
)
"""What `judge` may never find."""


@attrs.define
class Leaks:
    """What was left behind; each is to be 0."""

    slots: int = 0
    sockets: int = 0
    tasks: int = 0
    threads: int = 0
    warnings: int = 0
    """Of any kind: a forgotten coroutine or socket gives one."""

    @classmethod
    def sum(cls, leaks: Iterable[Self]) -> Self:
        return cls(*map(sum, zip(*map(attrs.astuple, leaks), strict=True)))


def inner(client: AsyncOmiClient | OmiClient) -> AsyncOmiClient:
    """The asynchronous client that does the work."""
    return client if isinstance(client, AsyncOmiClient) else client._bridge.target


def slots_lost(client: AsyncOmiClient) -> int:
    transport = client._transport
    return (
        transport.pool.max_connections
        - transport.pool.place.slots._value
        + len(transport.pool.place.sending)
        + len(transport.pool.place.waiting)
    )


@contextlib.asynccontextmanager
async def _client(url: str, group: Group, *, borrowed: bool) -> AsyncIterator[AsyncOmiClient]:
    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession()) if borrowed else None
        yield await stack.enter_async_context(AsyncOmiClient(KEY, session=session, **_settings(url, group)))


def _settings(url: str, group: Group) -> dict[str, Any]:
    return {
        "base_url": url,
        "timeout": LIMITS,
        "retry": SleepyClock(group.name).policy(attempts=ATTEMPTS) if group.suspended else POLICY,
        "max_connections": CONNECTIONS,
        "user_agent": group.name,
    }


async def _close_early(client: AsyncOmiClient, group: Group) -> None:
    if group.close_after is not None:
        await asyncio.sleep(group.close_after)
        closing = asyncio.ensure_future(client.aclose())
        if group.cut:
            await asyncio.sleep(0)
            closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)


async def run_async(
    url: str, work: Iterator[Group], *, clients: int, borrowed: bool = False, leaks: Leaks
) -> list[Story]:
    """Tell the stories, a client a group, so many clients at once; every other one may borrow its session."""
    told: list[Story] = []

    async def worker(number: int) -> None:
        for group in work:
            half = len(group.stories) // 2
            async with _client(url, group, borrowed=borrowed and number % 2 == 0) as client:
                count_attempts(client)
                await asyncio.gather(*[tell(client, each) for each in group.stories[:half]])
                if group.stray:
                    truth.stray(url, group.name)  # on purpose in the loop's way, which must not read before it writes
                later = [tell(client, each) for each in group.stories[half:]]
                await asyncio.gather(_close_early(client, group), *later)
                leaks.slots += slots_lost(client)
            told.extend(group.stories)

    before = len(asyncio.all_tasks())
    await asyncio.gather(*[worker(number) for number in range(clients)])
    await asyncio.sleep(0)
    leaks.tasks += len(asyncio.all_tasks()) - before
    return told


def tell_sync(client: OmiClient, told: Story) -> None:
    for call in told.calls:
        began = time.monotonic()
        token = _call.set(call)
        call.made = True
        outcome: object
        try:
            outcome = _begin(client, call, told.id)
            if isinstance(outcome, Listing):
                outcome = list(outcome)
        except Exception as error:
            outcome = error
        finally:
            _call.reset(token)
        _note(call, outcome, began, told.id)
        if not _goes_on(call):
            break


def run_sync(url: str, work: Iterator[Group], *, clients: int, threads: int, leaks: Leaks) -> list[Story]:
    """The same with the synchronous client, each used by several threads at once."""
    told: list[Story] = []
    lock = threading.Lock()

    def worker() -> None:
        with ThreadPoolExecutor(threads) as pool:
            while True:
                with lock:
                    group = next(work, None)
                if group is None:
                    return
                half = len(group.stories) // 2
                with OmiClient(KEY, **_settings(url, group)) as client:
                    count_attempts(inner(client))
                    list(pool.map(lambda each: tell_sync(client, each), group.stories[:half]))
                    if group.stray:
                        truth.stray(url, group.name)
                    later = [pool.submit(tell_sync, client, each) for each in group.stories[half:]]
                    if group.close_after is not None:
                        time.sleep(group.close_after)
                        client.close()
                    for each in later:
                        each.result()
                    lost = slots_lost(inner(client))
                with lock:
                    leaks.slots += lost
                    told.extend(group.stories)

    workers = [threading.Thread(target=worker) for _ in range(clients)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    return told


def descriptors() -> int:
    """Open file descriptors of this process, after what is garbage was collected."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


_NO_RECORD: Mapping[str, Any] = {"stored": {}, "deletions": 0, "made": 0, "requests": 0}


def judge(stories: list[Story], records: dict[str, dict[str, Any]]) -> Counter[str]:
    """Compare what callers were told with the truth.

    `told wrong` counts errors whose `attempts` differ from what was counted, `resent` the records that saw more
    requests than there were attempts, `twice` those deleted more than once, and creations that must be made once and
    were made again. Not a failing: `not sent`, attempts of calls that were not cancelled and that the server never saw,
    as their time ran out before.
    """
    found: Counter[str] = Counter()
    for told in stories:
        existed = not told.id.startswith("none_")
        record = records.get(told.id) or {**_NO_RECORD, "exists": existed}
        made = [call for call in told.calls if call.made]
        found["calls"] += len(made)
        found["attempts"] += sum(call.attempts for call in made)
        if not any(call.result == "cancelled" for call in made):
            found["not sent"] += sum(call.attempts for call in made) - record["requests"]
        found["resent"] += record["requests"] > sum(call.attempts for call in made)
        found["twice"] += record["deletions"] > 1 or record["made"] > 1
        may_be_gone = not existed
        for call in made:
            for wrong in _wrong(call, record, existed=existed, may_be_gone=may_be_gone):
                found[wrong] += 1
                print(f"{wrong}: {call} of {told.id}: {record}", file=sys.stderr)
            if call.kind.form == "deletion" and call.result != "not_applied":
                may_be_gone = True
    return found


def _wrong(call: Call, record: dict[str, Any], *, existed: bool, may_be_gone: bool) -> Iterator[str]:
    match call.kind.effect:
        case "update":
            stored = [value in record["stored"].get(name, []) for name, value in call.fields.items()]
            applied, touched = existed and all(stored), any(stored)
        case "make" | "keep":
            applied = touched = record["made"] > 0
        case "none":
            applied, touched = True, call.result == "unknown"
            if call.result == "unknown":
                yield "told wrong"
        case _:
            applied = record["deletions"] == 1 or (call.result == "unconfirmed" and not record["exists"])
            touched = record["deletions"] > 0 and not may_be_gone
    if call.done and not applied:
        yield "false success"
    if call.result == "not_applied" and touched:
        yield "false not_applied"
    if call.missing and call.result == "not_applied" and not may_be_gone:
        yield "false not found"
    if call.result in ("lost", "crossed"):
        yield call.result
    if call.seconds > TOTAL + _LATE:
        yield "hung"
    if call.reported is not None and call.reported != call.attempts:
        yield "told wrong"


@contextlib.contextmanager
def watched() -> Iterator[Leaks]:
    """Count what the work within leaves behind in this process."""
    leaks = Leaks()
    complaints: list[object] = []
    sys.unraisablehook = complaints.append
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        handles, threads = descriptors(), threading.active_count()
        yield leaks
        leaks.sockets = descriptors() - handles
        leaks.threads = threading.active_count() - threads
    leaks.warnings = len(caught) + len(complaints)


def prepare(way: str) -> None:
    """Set up this process for good: the way of its requests, and a time of day that goes on while the clocks sleep."""
    patch = pytest.MonkeyPatch()
    if way == "session":
        inside.go_straight(patch, False)
    inside.tell_time_of_day(patch, SleepyClock.time_of_day)


def run(side: str, way: str, url: str, calls: int) -> tuple[Counter[str], Leaks]:
    """So many calls from one side, straight or through aiohttp's session, judged; and what was left behind."""
    prepare(way)
    name = f"{side}-{way}"
    with watched() as leaks:
        work = groups(calls, name, size=12, cancels=side == "async")
        if side == "async":
            told = asyncio.run(run_async(url, work, clients=16, borrowed=way == "session", leaks=leaks))
        else:
            told = run_sync(url, work, clients=6, threads=6, leaks=leaks)
    return judge(told, truth.ask(url, [each.id for each in told], forget=True)["records"]), leaks
