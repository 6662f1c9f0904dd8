"""Reads that fail: repeated freely, and never in doubt, for they change nothing."""

import pytest

from omi_async import NotFoundError, RateLimitError, RequestTimeoutError, Timeout
from tests.support.clock import VirtualClock
from tests.support.raw import Exchange, RawServer, answer, conversation
from tests.support.replies import FAILED, MISSING, THROTTLED, Step, call, close, in_turn, reset, succeed
from tests.support.sides import Side


async def break_off(exchange: Exchange) -> None:
    await exchange.send(answer(200, "{", length=99))
    exchange.close()


LOST: dict[str, Step] = {
    "closed": close,
    "reset": reset,
    "broken off": break_off,
    "no HTTP": b"nothing of the kind\r\n\r\n",
    "no JSON": answer(200, "<html>"),
    "wrong shape": answer(200, []),
    "another one": answer(200, conversation("conv_2")),
    "empty": answer(200, b""),
    "408": answer(408),
    "500": FAILED,
    "503": answer(503, {"detail": "Rate limiter unavailable"}),
    "504": answer(504),
}
"""Ends of an attempt of which nobody could tell, after a write, whether it was applied."""


@pytest.mark.parametrize("name", LOST)
async def test_repeated_freely(side: Side, name: str) -> None:
    """A read that got no good answer is made again, and has its result."""
    done = await call(side, "get", LOST[name], succeed)
    assert ("conv_1", 2) == (done.conversation.id, done.requests)


@pytest.mark.parametrize("name", LOST)
async def test_nothing_was_applied(side: Side, name: str) -> None:
    """However often a read fails and however the last time, its outcome is that nothing was applied."""
    done = await call(side, "get", LOST[name])
    assert ("not_applied", True, 3) == (done.failure.outcome, done.failure.retryable, done.requests)


@pytest.mark.parametrize("name", LOST)
async def test_a_lost_read_marks_nothing(side: Side, name: str) -> None:
    """What is not found after a lost read was not there: an error, and one without doubt."""
    done = await call(side, "get", LOST[name], MISSING)
    assert NotFoundError is type(done.failure)
    assert ("not_applied", 2) == (done.failure.outcome, done.requests)


@pytest.mark.parametrize(("status", "tried_again"), [(302, False), (501, False), (511, False), (425, True)])
async def test_which_are_repeated(side: Side, status: int, tried_again: bool) -> None:
    """Whether an answer is worth another attempt is the same for reads and writes."""
    for operation in ("get", "update"):
        done = await call(side, operation, answer(status))
        assert (tried_again, 3 if tried_again else 1) == (done.failure.retryable, done.requests)


async def test_the_next_attempt_has_a_new_connection(side: Side) -> None:
    """After a good answer and an unreadable one, a read goes on over a connection that is new."""
    clock = VirtualClock()
    async with RawServer(in_turn(succeed, LOST["no JSON"], succeed)) as server:
        client = side.client(server.url, retry=clock.policy())
        await side.call(client, "get")
        await side.call(client, "get")
        assert [1, 1, 2] == [exchange.connection for exchange in server.log]


async def test_silence(side: Side) -> None:
    """A read that nobody answers ends in time, without a doubt."""
    async with RawServer(lambda exchange: exchange.hang()) as server:
        with pytest.raises(RequestTimeoutError) as caught:
            await side.call(side.client(server.url), "get", timeout=Timeout(total=0.1))
    assert "not_applied" == caught.value.outcome


@pytest.mark.parametrize(("spent", "other"), [("get", "update"), ("update", "get"), ("delete", "get")])
async def test_windows_of_their_own(side: Side, spent: str, other: str) -> None:
    """A spent allowance of reads holds up reads alone, and one of writes holds up writes alone."""
    clock = VirtualClock()
    throttled = answer(429, {"detail": "x"}, headers={"Retry-After": "600", "X-RateLimit-Limit": "1"})
    async with RawServer(in_turn(throttled, succeed)) as server:
        client = side.client(server.url, retry=clock.policy())
        for _ in range(2):
            with pytest.raises(RateLimitError):
                await side.call(client, spent)
        await side.call(client, other)
        assert [spent == "get", other == "get"] == [exchange.method == "GET" for exchange in server.log]


async def test_throttled(side: Side) -> None:
    """A throttled read waits as long as it is told to, and has its result."""
    done = await call(side, "get", THROTTLED, succeed)
    assert ("conv_1", [1.0]) == (done.conversation.id, done.sleeps)
