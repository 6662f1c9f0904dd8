"""What a call reports when the connection or the answer fails."""

import pytest

from omi_async import Deletion
from tests.support.clock import VirtualClock
from tests.support.raw import Exchange, RawServer, answer
from tests.support.sides import Side


@pytest.mark.scenario(13)
async def test_one_request_an_attempt(side: Side, operation: str, clock: VirtualClock) -> None:
    """A connection closed before any answer costs one request an attempt, and the repeated one succeeds."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            exchange.close()
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        await side.call(side.client(server.url, retry=clock.policy()), operation)
        assert [1, 2] == [exchange.connection for exchange in server.log]
        assert 1 == len(clock.sleeps)  # the second one is ours, not aiohttp's


@pytest.mark.scenario(65)
async def test_lost_answer_of_a_delete(side: Side, clock: VirtualClock) -> None:
    """A DELETE that was applied, lost its answer and then finds nothing is a success that says so."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            exchange.reset()
        else:
            await exchange.send(answer(404, {"detail": "Conversation not found"}))

    async with RawServer(script) as server:
        result = await side.call(side.client(server.url, retry=clock.policy()), "delete")
    assert Deletion(conversation_id="conv_1", confirmed=False) == result
    assert 2 == len(server.log)
