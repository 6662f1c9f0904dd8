"""The fault storm: every kind of fault at once, and not one wrong word about a write."""

import asyncio
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import attrs
import pytest

from omi_async import AsyncOmiClient, BulkStatus
from tests.support import storm, storm_jobs, truth
from tests.support.scale import FULL, times
from tests.support.sides import KEY

_RATE = 0.78
_CALLS = 100_000
_RATE_OF_JOBS = 0.3
_WAYS = [(side, way) for way in ("straight", "session") for side in ("async", "sync")]


def _children() -> float:
    """Processor time of the processes that have ended, in seconds: the callers and the server."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.figure
@pytest.mark.scenario(13, 17, 18, 65, 66, 67, 68, 69, 71)
def test_fault_storm(figure: Callable[..., None]) -> None:
    """Among faults of every kind, no call is reported wrongly, lost or late, and nothing is left behind."""
    began, used = time.monotonic(), _children()
    with (
        truth.process(seed=1, rate=_RATE) as url,
        ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool,
    ):
        runs = [pool.submit(storm.run, *way, url, times(_CALLS + 4_000) // len(_WAYS)) for way in _WAYS]
        results = [run.result() for run in runs]
        state = truth.ask(url, [])
    found = sum([found for found, _ in results], Counter[str]())
    left = storm.Leaks.sum([leaks for _, leaks in results])
    kinds = {name.rpartition(" (")[0] for name in state["faults"]}
    faults = sum(state["faults"].values())
    failings = {name: found[name] for name in storm.FAILINGS}
    seconds, cpu = round(time.monotonic() - began, 1), round(_children() - used, 1)
    figure(
        "fault storm",
        calls=found["calls"],
        wire_requests=state["requests"],
        attempts=found["attempts"],
        not_sent=found["not sent"],
        faults=faults,
        kinds=len(kinds),
        kinds_with_their_moments=len(state["faults"]),
        **failings,
        strays=state["strays"],
        **{f"leaked_{name}": count for name, count in attrs.asdict(left).items()},
        open_connections=state["open_connections"],
        seconds=seconds,
        processor_seconds=cpu,
    )
    assert dict.fromkeys(storm.FAILINGS, 0) == failings
    assert storm.Leaks() == left
    assert (0, 0, 0) == (state["open_connections"], state["in_flight"], state["canary"])
    assert times(_CALLS) <= found["calls"]
    assert (140_000 if FULL else times(_CALLS)) <= faults
    assert 25 <= len(kinds)
    assert state["requests"] <= found["attempts"]
    if FULL:  # what the machine did meanwhile for others does not count
        assert 300 > min(seconds, cpu / 2)


@pytest.mark.figure
def test_fault_storm_of_jobs(tmp_path: Path, figure: Callable[..., None]) -> None:
    """Left, cancelled, interrupted and resumed among faults, jobs report each item that was sent once, and rightly."""
    # The short run has many short jobs, as it is their ends that matter.
    jobs, items = (1_000, 100) if FULL else (100, 10)
    began = time.monotonic()
    with (
        truth.process(seed=3, rate=_RATE_OF_JOBS) as url,
        ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool,
    ):
        runs = [pool.submit(storm_jobs.run, *way, url, jobs // len(_WAYS), items, tmp_path) for way in _WAYS]
        results = [run.result() for run in runs]
        state = truth.ask(url, [])
    found = sum([found for found, _ in results], Counter[str]())
    left = storm.Leaks.sum([leaks for _, leaks in results])
    failings = {name: found[name] for name in storm_jobs.FAILINGS}
    said = ("jobs", "items", "journals", "complete", "runs", "interrupts", "outcomes", *BulkStatus)
    figure(
        "fault storm of jobs",
        **{name: found[name] for name in said},
        wire_requests=state["requests"],
        faults=sum(state["faults"].values()),
        **failings,
        **{f"leaked_{name}": count for name, count in attrs.asdict(left).items()},
        seconds=round(time.monotonic() - began, 1),
    )
    assert dict.fromkeys(storm_jobs.FAILINGS, 0) == failings
    assert storm.Leaks() == left
    assert (0, 0) == (state["open_connections"], state["in_flight"])
    assert (jobs, jobs * items) == (found["jobs"], found["items"])
    assert min(found[name] for name in BulkStatus) > 0
    assert found["interrupts"]
    assert found["journals"] * 0.9 <= found["complete"]


@pytest.mark.figure
def test_fault_storm_on_one_budget(figure: Callable[..., None]) -> None:
    """One client alone in a storm spends its retry budget, then answers at once, and is right all the same."""

    async def run(url: str) -> list[storm.Story]:
        told: list[storm.Story] = []
        async with AsyncOmiClient(KEY, base_url=url, timeout=storm.LIMITS, retry=storm.POLICY) as client:
            storm.count_attempts(client)
            for group in storm.groups(times(8_000), "one", size=100, cancels=True):
                await asyncio.gather(*[storm.tell(client, each) for each in group.stories])
                told.extend(group.stories)
        return told

    with truth.process(seed=2, rate=_RATE, without="429 ") as url:
        told = asyncio.run(run(url))
        state = truth.ask(url)
    found = storm.judge(told, state["records"])
    ratio = state["requests"] / found["calls"]
    figure("fault storm on one budget", calls=found["calls"], wire_requests_a_call=round(ratio, 3))
    assert dict.fromkeys(storm.FAILINGS, 0) == {name: found[name] for name in storm.FAILINGS}
    assert 1.1 * found["calls"] + 100 >= state["requests"]
