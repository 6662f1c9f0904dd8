"""Calls by the thousand against the truth-model server, and the judgement over what they reported.

A story is a few calls that follow each other on one record. Stories depend on their number only; clients serve a
few stories each, so that the retry budget of one does not end the storm. `run` does it all, for a process of its own.
"""

import asyncio
import gc
import os
import random
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, Literal

import attrs

from omi_async import AsyncOmiClient, Deletion, NotFoundError, OmiError, RetryPolicy, Timeout
from omi_sync import OmiClient
from tests.support import truth
from tests.support.sides import KEY

Result = Literal["success", "unconfirmed", "not_applied", "unknown", "cancelled", "lost"]

TOTAL = 8.0  # seconds
LIMITS = Timeout(connect=5.0, attempt=0.25, total=TOTAL)
ATTEMPTS = 4
CONNECTIONS = 8


@attrs.define(eq=False, slots=True)
class Call:
    """One call: what was asked, and what the caller was told."""

    operation: Literal["update", "delete"]
    title: str | None = None
    discarded: bool | None = None
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


@attrs.define(eq=False, slots=True)
class Story:
    """What happens to one record, call after call."""

    id: str
    calls: list[Call]


def story(number: int, name: str, *, cancels: bool) -> Story:
    """The story of that number; `name` keeps the ids of several runs apart."""
    draw = random.Random(number)
    kind = draw.random()
    patience = draw.uniform(0.0, 0.03) if cancels and draw.random() < 0.03 else None
    if kind < 0.1:
        # The second deletion finds the record gone, if the first was not refused.
        calls = [
            Call("update", title=f"t{number}"),
            Call("update", discarded=True),
            Call("delete", cancel_after=patience),
            Call("delete"),
        ]
        return Story(f"chain_{name}_{number}", calls)
    if kind < 0.55:
        discarded = True if draw.random() < 0.5 else None
        call = Call("update", title=f"t{number}", discarded=discarded, cancel_after=patience)
    else:
        call = Call("delete", cancel_after=patience)
    return Story(f"{'none' if draw.random() < 0.1 else 'conv'}_{name}_{number}", [call])


def groups(calls: int, name: str, *, size: int, cancels: bool) -> Iterator[list[Story]]:
    """Stories of at least so many calls in all, `size` stories a group."""
    number = 0
    while calls > 0:
        group = [story(number + index, name, cancels=cancels) for index in range(size)]
        number += size
        calls -= sum(len(each.calls) for each in group)
        yield group


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


def _note(call: Call, outcome: object, began: float) -> None:
    call.seconds = time.monotonic() - began
    match outcome:
        case OmiError():
            call.result = outcome.outcome
            call.error = type(outcome).__name__
            call.missing = isinstance(outcome, NotFoundError)
            call.reported = outcome.attempts
        case asyncio.CancelledError():
            call.result = "cancelled"
        case Deletion(confirmed=False):
            call.result = "unconfirmed"
        case Deletion():
            call.result = "success"
        case _:
            title = getattr(getattr(outcome, "structured", None), "title", None)
            # Anything but the record itself is no answer at all; the judge counts it as lost.
            if call.operation == "update" and title is not None and call.title in (None, title):
                call.result = "success"
            call.error = type(outcome).__name__


def _settings(call: Call) -> dict[str, Any]:
    return {"title": call.title, "discarded": call.discarded} if call.operation == "update" else {}


def _goes_on(call: Call) -> bool:
    # After a refused deletion, the next one would blur whether the refusal was true.
    return call.operation == "update" or call.result != "not_applied"


async def tell(client: AsyncOmiClient, told: Story) -> None:
    for call in told.calls:
        began = time.monotonic()
        token = _call.set(call)
        call.made = True
        outcome: object
        try:
            method = getattr(client.conversations, call.operation)
            running = method(told.id, **_settings(call))
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
        _note(call, outcome, began)
        if not _goes_on(call):
            break


FAILINGS = ("false success", "false not_applied", "false not found", "lost", "hung", "resent", "twice", "told wrong")
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


def inner(client: AsyncOmiClient | OmiClient) -> AsyncOmiClient:
    """The asynchronous client that does the work."""
    return client if isinstance(client, AsyncOmiClient) else client._bridge.target


def slots_lost(client: AsyncOmiClient) -> int:
    transport = client._transport
    return transport.max_connections - transport._slots._value + len(transport._sending) + len(transport._waiting)


async def run_async(url: str, work: Iterator[list[Story]], *, clients: int, leaks: Leaks) -> list[Story]:
    """Tell the stories, a client a group, so many clients at once."""
    told: list[Story] = []

    async def worker() -> None:
        for group in work:
            async with AsyncOmiClient(
                KEY, base_url=url, timeout=LIMITS, retry=POLICY, max_connections=CONNECTIONS
            ) as client:
                count_attempts(client)
                await asyncio.gather(*[tell(client, each) for each in group])
                leaks.slots += slots_lost(client)
            told.extend(group)

    before = len(asyncio.all_tasks())
    await asyncio.gather(*[worker() for _ in range(clients)])
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
            outcome = getattr(client.conversations, call.operation)(told.id, **_settings(call))
        except Exception as error:
            outcome = error
        finally:
            _call.reset(token)
        _note(call, outcome, began)
        if not _goes_on(call):
            break


def run_sync(url: str, work: Iterator[list[Story]], *, clients: int, threads: int, leaks: Leaks) -> list[Story]:
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
                with OmiClient(KEY, base_url=url, timeout=LIMITS, retry=POLICY, max_connections=CONNECTIONS) as client:
                    count_attempts(inner(client))
                    list(pool.map(lambda each: tell_sync(client, each), group))
                    lost = slots_lost(inner(client))
                with lock:
                    leaks.slots += lost
                    told.extend(group)

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


_NO_RECORD: dict[str, Any] = {"titles": [], "discards": [], "deletions": 0, "requests": 0}


def judge(stories: list[Story], records: dict[str, dict[str, Any]]) -> Counter[str]:
    """Compare what callers were told with the truth.

    `told wrong` counts errors whose `attempts` differ from what was counted, `resent` the records that saw more
    requests than there were attempts, `twice` those deleted more than once. Not a failing: `not sent`, attempts of
    calls that were not cancelled and that the server never saw, as their time ran out before.
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
        found["twice"] += record["deletions"] > 1
        may_be_gone = not existed
        for call in made:
            for wrong in _wrong(call, record, existed=existed, may_be_gone=may_be_gone):
                found[wrong] += 1
            if call.operation == "delete" and call.result != "not_applied":
                may_be_gone = True
    return found


def _wrong(call: Call, record: dict[str, Any], *, existed: bool, may_be_gone: bool) -> Iterator[str]:
    if call.operation == "update":
        title = call.title is None or call.title in record["titles"]
        discarded = call.discarded is None or call.discarded in record["discards"]
        applied = existed and title and discarded
        touched = (call.title is not None and title) or (call.discarded is not None and discarded)
    else:
        applied = record["deletions"] == 1 or (call.result == "unconfirmed" and not record["exists"])
        touched = record["deletions"] > 0 and not may_be_gone
    if call.done and not applied:
        yield "false success"
    if call.result == "not_applied" and touched:
        yield "false not_applied"
    if call.missing and call.result == "not_applied" and not may_be_gone:
        yield "false not found"
    if call.result == "lost":
        yield "lost"
    if call.seconds > TOTAL + 1.0:
        yield "hung"
    if call.reported is not None and call.reported != call.attempts:
        yield "told wrong"


def run(side: str, url: str, calls: int) -> tuple[Counter[str], Leaks]:
    """So many calls from one side, judged; and what was left behind in this process."""
    leaks = Leaks()
    complaints: list[object] = []
    sys.unraisablehook = complaints.append
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        handles, threads = descriptors(), threading.active_count()
        if side == "async":
            work = groups(calls, side, size=12, cancels=True)
            told = asyncio.run(run_async(url, work, clients=16, leaks=leaks))
        else:
            work = groups(calls, side, size=12, cancels=False)
            told = run_sync(url, work, clients=6, threads=6, leaks=leaks)
        leaks.sockets = descriptors() - handles
        leaks.threads = threading.active_count() - threads
    leaks.warnings = len(caught) + len(complaints)
    return judge(told, truth.ask(url)["records"]), leaks
