"""Many deadlines, one timer: each block ends at its own time and no other."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from omi_async._wire.deadline import Deadline, Deadlines
from tests.support import virtual


def run(main: Callable[[], Awaitable[None]]) -> None:
    virtual.run(lambda _: main())


async def _block(deadlines: Deadlines, limit: float | None, lasts: float) -> tuple[str, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        with deadlines.within(limit):
            await asyncio.sleep(lasts)
    except TimeoutError:
        return "expired", loop.time() - began
    return "done", loop.time() - began


@pytest.mark.parametrize("seed", range(20))
def test_each_at_its_own_time(seed: int) -> None:
    """Blocks that begin whenever and last however long end with their work or at their limit, whichever is first."""
    draw = random.Random(seed)

    async def main() -> None:
        deadlines = Deadlines()

        async def one() -> None:
            await asyncio.sleep(draw.uniform(0, 50))
            limit = draw.choice([None, draw.uniform(0.01, 40)])
            lasts = draw.uniform(0, 40)
            how, seconds = await _block(deadlines, limit, lasts)
            in_time = limit is None or lasts < limit
            assert ("done" if in_time else "expired") == how
            assert pytest.approx(lasts if limit is None else min(lasts, limit)) == seconds

        await asyncio.gather(*(one() for _ in range(100)))
        assert 0 == len(deadlines)

    run(main)


def test_one_timer_for_all() -> None:
    """However many blocks with one limit come and go, the loop holds one timer for them."""

    async def main() -> None:
        deadlines, loop = Deadlines(), asyncio.get_running_loop()
        timers = []

        def call_at(*arguments: object) -> asyncio.TimerHandle:
            timers.append(arguments)
            return original(*arguments)  # type: ignore[arg-type]

        original, loop.call_at = loop.call_at, call_at  # type: ignore[assignment, method-assign]
        for _ in range(1000):
            with deadlines.within(30.0):
                pass
        assert 1 == len(timers)

    run(main)


def test_a_cancellation_from_elsewhere_goes_through() -> None:
    """A task that is cancelled in the block is cancelled, even if the deadline comes in the same moment."""

    async def main() -> None:
        deadlines = Deadlines()
        task = asyncio.ensure_future(_block(deadlines, 1.0, 5.0))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        task = asyncio.ensure_future(_block(deadlines, 1.0, 5.0))
        await asyncio.sleep(0.5)
        task.cancel()
        deadlines.end_all()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 0 == len(deadlines)

    run(main)


def test_the_count_of_cancellations_is_restored() -> None:
    """After a block that expired, the task counts no cancellation, and a limit around it still works."""

    async def main() -> None:
        deadlines = Deadlines()
        assert ("expired", 1.0) == await _block(deadlines, 1.0, 5.0)
        task = asyncio.current_task()
        assert task is not None
        assert 0 == task.cancelling()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await _block(deadlines, 5.0, 10.0)
        assert 0 == task.cancelling()

    run(main)


def test_ended_from_outside() -> None:
    """`end_all` ends every block that is under way, those without a limit too, and none that begins later."""

    async def main() -> None:
        deadlines = Deadlines()
        tasks = [asyncio.ensure_future(_block(deadlines, limit, 50.0)) for limit in (None, 5.0, 20.0)]
        await asyncio.sleep(1.0)
        assert 3 == len(deadlines)
        deadlines.end_all()
        deadlines.end_all()
        assert [("expired", 1.0)] * 3 == await asyncio.gather(*tasks)
        assert ("done", 2.0) == await _block(deadlines, 3.0, 2.0)

    run(main)


def test_closed() -> None:
    """Closing leaves no timer behind on the loop."""

    async def main() -> None:
        deadlines = Deadlines()
        with deadlines.within(30.0):
            pass
        timer = deadlines._timer
        assert timer is not None
        deadlines.close()
        assert timer.cancelled()
        with Deadline(deadlines, 0.0):
            pass
        assert [timer] == asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]

    run(main)
