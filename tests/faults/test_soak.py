"""The soak run in small, and whether it would notice what it is for."""

import asyncio
from collections import Counter
from collections.abc import Callable

import attrs
import pytest

from tests import soak


@pytest.mark.figure
@pytest.mark.scenario(178)
def test_soak(figure: Callable[..., None]) -> None:
    """A few seconds of mixed calls and faults on both sides: nothing wrong, nothing growing."""
    lines: list[str] = []
    report = asyncio.run(soak.run(3.0, 0.3, lines.append))
    figure("soak in small", calls=report.found["calls"], **{k: round(v, 1) for k, v in report.growth().items()})
    assert len(report.samples) == len(lines)
    assert 3 <= len(lines)
    assert 100 <= report.found["calls"]
    assert report.right(), report.found
    assert report.level(), lines


_LEVEL = soak.Sample(seconds=0.0, calls=1, rss=50.0, descriptors=10, tasks=5, threads=3, p50=1.0, p99=2.0)


@pytest.mark.scenario(178)
@pytest.mark.parametrize("name", ["rss", "descriptors", "tasks", "threads"])
def test_growth_is_noticed(name: str) -> None:
    """What goes on growing fails the run; what rises in the first third only does not."""

    def report(growth: Callable[[int], int]) -> soak.Report:
        samples = [attrs.evolve(_LEVEL, **{name: getattr(_LEVEL, name) + growth(number)}) for number in range(30)]
        return soak.Report(samples, Counter())

    assert not report(lambda number: 10 * number).level()
    assert report(lambda number: 10 * min(number, 8)).level()


@pytest.mark.scenario(178)
def test_wrong_reports_are_noticed() -> None:
    """One call reported wrongly fails the run."""
    assert soak.Report([_LEVEL], Counter({"calls": 10})).right()
    assert not soak.Report([_LEVEL], Counter({"false success": 1})).right()
