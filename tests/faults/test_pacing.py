"""How a client that knows the server's windows spends them, in a time that passes at once."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omi_async import BulkProgress, BulkStatus, BulkStoppedError, ClientClosedError, RateLimitError
from omi_async.sandbox import Sandbox, SandboxConversation
from tests.support import scale
from tests.support.bulk import Job, ids, items
from tests.support.clock import VirtualClock
from tests.support.inside import tell_time_of_day
from tests.support.raw import Exchange, RawServer, answer, conversation
from tests.support.scale import times
from tests.support.sides import Side
from tests.support.virtual import START, Api, VirtualLoop, Window, run

DONE = BulkStatus.DONE


@pytest.mark.figure
@pytest.mark.scenario(176)
@pytest.mark.parametrize("concurrency", [1, 4, 16])
@pytest.mark.parametrize(("limit", "seconds"), [(25, 3600.0), (100, 60.0)], ids=["25 an hour", "100 a minute"])
@pytest.mark.parametrize("journalled", [False, True], ids=["", "journal"])
def test_alone_on_the_key(
    request: pytest.FixtureRequest,
    limit: int,
    seconds: float,
    concurrency: int,
    journalled: bool,
    figure: Callable[..., None],
    tmp_path: Path,
) -> None:
    """A job alone on its key is refused once in all, or once for each request of the first lesson, and ends in time."""
    count = 1000 if scale.FULL else 200
    window = Window(limit, seconds)

    async def main(loop: VirtualLoop) -> tuple[Api, float]:
        api = Api(loop, window)
        settings: dict[str, Any] = {"journal": tmp_path / "job.db"} if journalled else {}
        async with (
            api.client() as client,
            Job(client, "delete", items("delete", count), concurrency=concurrency, **settings) as job,
        ):
            outcomes = await job.rest()
        assert {DONE} == {outcome.status for outcome in outcomes}
        assert count == len(set(ids(outcomes))) == len(outcomes)
        return api, loop.now - START

    api, took = run(main, threads=journalled)
    assert count == len(api.accepted)
    assert concurrency >= len(api.refused)
    assert limit + concurrency >= window.most
    ideal = window.ideal(count, 0.2, concurrency)
    assert ideal <= took <= 1.05 * ideal
    figure(
        f"pacing, {limit} in {seconds:.0f} s, concurrency {concurrency}{', journal' * journalled}",
        items=count,
        refused=len(api.refused),
        beyond_the_ideal=f"{100 * (took / ideal - 1):.1f} %",
    )


@pytest.mark.scenario(176)
@pytest.mark.parametrize("even", [True, False], ids=["even", "uneven"])
@pytest.mark.parametrize("latency", [0.01, 1.0, 20.0])
def test_slow_answers(latency: float, even: bool) -> None:
    """The window is learned from its first request on, however long the answers take."""
    window = Window(25, 3600.0)

    async def main(loop: VirtualLoop) -> tuple[Api, float]:
        api = Api(loop, window, latency=latency, even=even)
        async with api.client() as client, Job(client, "delete", items("delete", 500)) as job:
            assert 500 == len(await job.rest())
        return api, loop.now - START

    api, seconds = run(main)
    assert 4 >= len(api.refused)
    assert 1.05 * window.ideal(500, latency) >= seconds


@pytest.mark.scenario(176)
def test_duplicates_are_paced_too() -> None:
    """Items that waited for another write of their id wait for the window as all others do."""
    window = Window(25, 3600.0)

    async def main(loop: VirtualLoop) -> Api:
        api = Api(loop, window)
        names = [f"conv_{number // 10}" for number in range(500)]
        async with api.client() as client, Job(client, "delete", names) as job:
            assert sorted(names) == sorted(ids(await job.rest()))
        return api

    assert 4 >= len(run(main).refused)


@pytest.mark.scenario(176)
def test_several_windows() -> None:
    """Where the server has several windows at once, each costs a refusal now and then, and all items get through."""
    windows = Window(100, 60.0), Window(25, 3600.0)

    async def main(loop: VirtualLoop) -> tuple[Api, float]:
        api = Api(loop, *windows)
        async with api.client() as client, Job(client, "delete", items("delete", 300)) as job:
            assert 300 == len(set(ids(await job.rest())))
        return api, loop.now - START

    api, seconds = run(main)
    assert 300 == len(set(api.accepted)) == len(api.accepted)
    assert 4 >= len(api.refused)
    assert 1.05 * windows[1].ideal(300, 0.2) >= seconds


@pytest.mark.scenario(176)
def test_a_minute_and_a_day() -> None:
    """A window within another is learned anew after the outer one was met, for a few refusals each time."""
    windows = Window(10, 60.0), Window(100, 86400.0)

    async def main(loop: VirtualLoop) -> tuple[Api, float]:
        api = Api(loop, *windows)
        async with api.client() as client, Job(client, "delete", items("delete", 500)) as job:
            assert 500 == len(set(ids(await job.rest())))
        return api, loop.now - START

    api, seconds = run(main)
    assert 500 == len(set(api.accepted)) == len(api.accepted)
    assert 5 * 2 * 4 >= len(api.refused)
    assert 1.05 * (4 * 86400.0 + 9 * 60.0) >= seconds


@pytest.mark.figure
@pytest.mark.scenario(177)
@pytest.mark.parametrize("clients", [2, 5])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_shared_key(clients: int, concurrency: int, figure: Callable[..., None]) -> None:
    """Programs that share a key and know nothing of each other all get through, nearly as fast as one would."""
    window = Window(25, 3600.0)
    count = 1000 // clients

    async def main(loop: VirtualLoop) -> tuple[Api, float]:
        api = Api(loop, window)

        async def program(number: int) -> None:
            # Not all from the same moment on.
            await asyncio.sleep(number * 7.3)
            names = [f"conv_{number}_{each}" for each in range(count)]
            async with api.client() as client, Job(client, "delete", names, concurrency=concurrency) as job:
                outcomes = await job.rest()
            assert {DONE} == {outcome.status for outcome in outcomes}

        await asyncio.gather(*(program(number) for number in range(clients)))
        return api, loop.now - START

    api, seconds = run(main)
    assert 1000 == len(set(api.accepted)) == len(api.accepted)
    ideal = window.ideal(1000, 0.2)
    assert 1.05 * ideal + 3600.0 >= seconds
    # Each meets the end of a window with what it has under way.
    assert 40 * clients * concurrency >= len(api.refused)
    figure(
        f"a key shared by {clients}, concurrency {concurrency}",
        items=1000,
        refused=len(api.refused),
        beyond_the_ideal=f"{100 * (seconds / ideal - 1):.1f} %",
    )


@pytest.mark.scenario(177)
def test_window_spent_by_another() -> None:
    """A client that learned the window while another used it up does not take the short one for the whole truth."""
    window = Window(25, 3600.0)

    async def main(loop: VirtualLoop) -> tuple[Api, float]:
        api = Api(loop, window)
        async with api.client() as other, api.client() as client:
            async with Job(other, "delete", [f"other_{number}" for number in range(24)]) as job:
                await job.rest()
            await asyncio.sleep(3000)
            async with Job(client, "delete", items("delete", 200), concurrency=1) as job:
                assert 200 == len(await job.rest())
        return api, loop.now - START

    api, seconds = run(main)
    # One for the lesson that was cut short, one for the whole one.
    assert 2 >= len(api.refused)
    assert 1.05 * (3600 * 8 + 3600) >= seconds


@pytest.mark.scenario(177)
def test_window_is_not_overrated() -> None:
    """What the client sent long before, in other windows, is not taken for the beginning of the one that is spent."""
    window = Window(25, 3600.0)

    async def main(loop: VirtualLoop) -> float:
        api = Api(loop, window)
        async with api.client() as other, api.client() as client:
            for number in range(10):
                await client.conversations.delete(f"early_{number}")
            await asyncio.sleep(23 * 3600)
            async with Job(other, "delete", [f"other_{number}" for number in range(20)]) as job:
                await job.rest()
            began = loop.now
            async with Job(client, "delete", items("delete", 105)) as job:
                assert 105 == len(await job.rest())
        return loop.now - began

    assert 1.05 * 4 * 3600 >= run(main)


@pytest.mark.scenario(89, 176)
async def test_through_the_wire(side: Side, clock: VirtualClock, figure: Callable[..., None]) -> None:
    """Against a server that counts, on either side: one refusal in all, and the windows' time and no more."""
    count = max(60, times(2000))
    conversations = [SandboxConversation(id=f"conv_{number}", title="One") for number in range(count)]
    async with Sandbox(conversations, clock=clock.monotonic) as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.api_key, retry=clock.policy())
        began = clock.now
        async with Job(client, "delete", items("delete", count), concurrency=1) as job:
            assert count == len(set(ids(await job.rest())))
        assert {} == sandbox.conversations
        assert 1 == sum(request.status == 429 for request in sandbox.requests)
        ideal = (count - 1) // 25 * 3600.0
        assert ideal <= clock.now - began <= 1.05 * ideal
    figure(f"pacing through the wire, {side.name}", items=count, refused=1)


async def throttled(exchange: Exchange) -> None:
    headers = {"Retry-After": "3600", "X-RateLimit-Limit": "25"}
    await exchange.send(answer(429, {"detail": "Rate limit exceeded."}, headers=headers))


@pytest.mark.scenario(89)
async def test_single_calls_know(
    side: Side, operation: str, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the window is known to be closed a single call fails at once, without a request, and tells how long."""
    tell_time_of_day(monkeypatch, clock.monotonic)

    async def script(exchange: Exchange) -> None:
        await (throttled(exchange) if exchange.number == 1 else exchange.succeed())

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        with pytest.raises(RateLimitError):
            await side.call(client, operation)
        for waited in (0.0, 1200.0, 2300.0):
            clock.now = 1000.0 + waited
            for each in ("update", "delete"):
                with pytest.raises(RateLimitError) as caught:
                    await side.call(client, each)
                error = caught.value
                assert (3600.0 - waited, 25, 0, "not_applied") == (
                    error.retry_after,
                    error.limit,
                    error.attempts,
                    error.outcome,
                )
                assert "nothing was sent" in str(error)
        assert 1 == len(server.log)
        clock.now = 1000.0 + 3600.0
        await side.call(client, operation)
        assert (2, []) == (len(server.log), clock.sleeps)


@pytest.mark.scenario(89)
async def test_a_short_wait_is_waited_for(side: Side, operation: str, clock: VirtualClock) -> None:
    """A window that opens within the policy's limit is waited for, and then costs one request."""

    async def script(exchange: Exchange) -> None:
        await (throttled(exchange) if exchange.number == 1 else exchange.succeed())

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        with pytest.raises(RateLimitError):
            await side.call(client, operation)
        clock.now = 1000.0 + 3570.0
        await side.call(client, operation)
        assert (2, [31.0]) == (len(server.log), clock.sleeps)


@pytest.mark.scenario(89)
async def test_the_last_of_a_window(
    side: Side, operation: str, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A success that says it was the window's last closes it until the time it names, by the server's own clock."""
    tell_time_of_day(monkeypatch, clock.monotonic)

    async def script(exchange: Exchange) -> None:
        headers = {
            "X-RateLimit-Remaining": "0" if exchange.number == 3 else "7",
            "X-RateLimit-Reset": "1767226500",
            "Date": "Thu, 01 Jan 2026 00:05:00 GMT",
        }
        body = {"success": True} if operation == "delete" else conversation(exchange.path.rpartition("/")[2])
        await exchange.send(answer(200, body, headers=headers))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        async with Job(client, operation, items(operation, 5), concurrency=1) as job:
            assert [DONE] * 5 == [outcome.status for outcome in await job.rest()]
        assert 5 == len(server.log)
        # 00:15:00 - 00:05:00, and one second for the rounding
        assert 601.0 == sum(clock.sleeps)


@pytest.mark.scenario(89, 90)
@pytest.mark.parametrize(
    "reset",
    [None, "", "-1", "0", "60", "1767226500000", "2026-01-01T00:15:00Z", "nan", "1767225000", "later", "1767226500.5"],
    ids=str,
)
async def test_a_reset_that_makes_no_sense(side: Side, reset: str | None, clock: VirtualClock) -> None:
    """Of a reset that is missing, in other units, in the past or garbage nothing is made: no wait at all."""

    async def script(exchange: Exchange) -> None:
        headers = {"X-RateLimit-Remaining": "0", "Date": "Thu, 01 Jan 2026 00:05:00 GMT"}
        if reset is not None:
            headers["X-RateLimit-Reset"] = reset
        await exchange.send(answer(200, {"success": True}, headers=headers))

    async with RawServer(script) as server:
        async with Job(side.client(server.url, retry=clock.policy()), "delete", items("delete", 6)) as job:
            assert 6 == len(await job.rest())
        assert (6, []) == (len(server.log), clock.sleeps)


@pytest.mark.scenario(91)
async def test_no_time_told(side: Side, operation: str, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a 429 that names no time a job waits a minute, whatever the retries of the call were."""
    tell_time_of_day(monkeypatch, clock.monotonic)

    async def script(exchange: Exchange) -> None:
        if exchange.number in (2, 3):
            await exchange.send(answer(429, {"detail": "Wait."}))
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy(attempts=1))
        async with Job(client, operation, items(operation, 3), concurrency=1) as job:
            assert [DONE] * 3 == [outcome.status for outcome in await job.rest()]
        assert (5, 2 * 61.0) == (len(server.log), sum(clock.sleeps))


def test_told_while_waiting() -> None:
    """Who watches is told when a wait begins, until when, and at what rate things go from then on."""

    async def main(loop: VirtualLoop) -> None:
        api = Api(loop, Window(25, 3600.0))
        told: list[BulkProgress] = []
        async with (
            api.client() as client,
            Job(client, "delete", items("delete", 60), on_progress=told.append, concurrency=1) as job,
        ):
            await job.rest()
        waits = [progress for progress in told if progress.waiting_until is not None]
        assert [25, 50] == [progress.settled for progress in waits]
        for progress in waits:
            assert 24.5 < progress.rate <= 25.0
            assert progress.estimated_end is not None
        assert waits[0].estimated_end is not None
        assert 60 == job.progress.settled
        assert None is job.progress.waiting_until

    run(main)


def test_closed_while_waiting() -> None:
    """Closing the client ends a job that waits for the window, at once and with that reason."""

    async def main(loop: VirtualLoop) -> None:
        api = Api(loop, Window(5, 3600.0))
        client = api.client()
        async with Job(client, "delete", items("delete", 60)) as job:
            following = asyncio.ensure_future(job.rest([]))
            await asyncio.sleep(1000)
            await client.aclose()
            with pytest.raises(BulkStoppedError) as caught:
                await following
        assert isinstance(caught.value.reason, ClientClosedError)
        assert (5, START + 1000) == (caught.value.done, loop.now)

    run(main)


def test_left_while_waiting() -> None:
    """A job that waits for the window is left at once."""

    async def main(loop: VirtualLoop) -> None:
        api = Api(loop, Window(5, 3600.0))
        async with api.client() as client:
            async with Job(client, "delete", items("delete", 60)) as job:
                await job.take(5)
                await asyncio.sleep(1000)
            assert START + 1010 > loop.now
            count = len(api.accepted + api.refused)
            await asyncio.sleep(10_000)
            assert count == len(api.accepted + api.refused)

    run(main)


def test_bad_items_need_no_window() -> None:
    """An item that will not be sent is reported without a wait for the window."""

    async def main(loop: VirtualLoop) -> None:
        api = Api(loop, Window(5, 3600.0))
        async with api.client() as client:
            async with Job(client, "delete", items("delete", 6), concurrency=1) as job:
                await job.take(6)
            before = loop.now
            async with Job(client, "delete", [*items("delete", 4), "../x"], concurrency=1) as job:
                await job.rest()
            assert before == pytest.approx(loop.now, abs=10)
            async with Job(client, "delete", ["../x", "", "a b"], concurrency=1) as job:
                await job.rest()
            assert before == pytest.approx(loop.now, abs=10)

    run(main)


def test_two_jobs_share_what_is_known() -> None:
    """Jobs of one client spend one allowance together: neither teaches the other anew."""

    async def main(loop: VirtualLoop) -> tuple[Api, float]:
        api = Api(loop, Window(25, 3600.0))
        async with api.client() as client:
            jobs = [
                Job(client, "delete", [f"conv_{number}_{each}" for each in range(250)], concurrency=2)
                for number in range(2)
            ]
            await asyncio.gather(*(job.rest() for job in jobs))
            for job in jobs:
                await job.close()
        return api, loop.now - START

    api, seconds = run(main)
    assert 500 == len(set(api.accepted))
    assert 4 >= len(api.refused)
    assert 1.05 * 19 * 3600 >= seconds


def test_policy_of_its_own() -> None:
    """A client without retries paces its jobs all the same."""

    async def main(loop: VirtualLoop) -> Api:
        api = Api(loop, Window(25, 3600.0))
        async with api.client(attempts=1) as client, Job(client, "delete", items("delete", 100)) as job:
            assert 100 == len(await job.rest())
        return api

    assert 4 >= len(run(main).refused)
