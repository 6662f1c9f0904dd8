"""What is particular to reads: answers that only they can get, and rate windows of their own."""

import pytest

from omi_async import RateLimitError
from tests.support.clock import VirtualClock
from tests.support.raw import RawServer, answer, conversation
from tests.support.replies import call, in_turn, succeed
from tests.support.sides import Side


@pytest.mark.parametrize("reply", [answer(200, conversation("conv_2")), answer(200)], ids=["another one", "empty"])
async def test_a_wrong_answer(side: Side, reply: bytes) -> None:
    """Another conversation, or none, is not the answer: it is asked for again, and nothing is in doubt."""
    done = await call(side, "get", reply, succeed)
    assert ("conv_1", 2) == (done.conversation.id, done.requests)
    done = await call(side, "get", reply)
    assert ("not_applied", True, 3) == (done.failure.outcome, done.failure.retryable, done.requests)


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
