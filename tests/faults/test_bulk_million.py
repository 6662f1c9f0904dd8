"""A million items through one job: all reported, little remembered."""

import sys
from collections.abc import Callable

import pytest

from tests.support import scale
from tests.support.bulk_rates import CONCURRENCY, cheap_server, work

AHEAD = {"async": CONCURRENCY, "sync": 2 * CONCURRENCY + 16}
"""How far the input may be read beyond what was taken: threads hand over all that is ready, and fetch 16 at a time."""


@pytest.mark.figure
@pytest.mark.scenario(168, 179)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("side", ["async", "sync"])
def test_a_million_items(side: str, figure: Callable[..., None]) -> None:
    """Each item is reported once, the input is read as the job goes, and memory does not grow with the items."""
    count = 1_000_000 if scale.FULL else 2_000
    with cheap_server() as server:
        found = work(side, count, server.url)
    assert (count, count, 0, 0) == (found["reported"], found["distinct"], found["twice"], found["not_done"])
    assert AHEAD[side] >= found["ahead"]
    assert 20 * 2**20 >= found["growth"]
    assert 2 * count == server.requests
    # While one of the two works, the other's connections may still be kept.
    assert 2 * CONCURRENCY >= server.peak
    figure(
        f"bulk deletion, {side}",
        items=count,
        reported_twice=0,
        growth_MB=round(found["growth"] / 2**20, 1),
        items_a_second=round(found["rate"]),
        bare_aiohttp=round(found["bare_rate"]),
        ratio=f"{found['rate'] / found['bare_rate']:.2f}",
    )
