"""One call against a server that answers in turn, and all that can be known of it afterwards."""

import contextlib
from collections.abc import Sequence
from typing import Any

import attrs

from omi_async import AsyncOmiClient, Conversation, CreatedConversation, Deletion, OmiError
from omi_sync import OmiClient
from tests.support import specimens
from tests.support.clock import VirtualClock
from tests.support.raw import Exchange, RawServer, Script, answer
from tests.support.sides import Side

Step = bytes | Script
"""What to do with one request: send these bytes, or run this."""

MISSING = answer(404, {"detail": "Conversation not found"})
FAILED = answer(500, "Internal Server Error")
THROTTLED = answer(429, {"detail": "Rate limit exceeded."})


async def succeed(exchange: Exchange) -> None:
    await exchange.succeed()


async def close(exchange: Exchange) -> None:
    exchange.close()


async def reset(exchange: Exchange) -> None:
    exchange.reset()


def in_turn(*steps: Step) -> Script:
    """The first step for the first request, and so on; the last one for all that follow."""

    async def script(exchange: Exchange) -> None:
        step = steps[min(exchange.number, len(steps)) - 1]
        if not isinstance(step, bytes):
            await step(exchange)
            return
        with contextlib.suppress(ConnectionError):  # the client need not read to the end
            await exchange.send(step)

    return script


@attrs.frozen(kw_only=True)
class Call:
    """A call that has ended: with a result, or with an error of the client's own."""

    result: Conversation | CreatedConversation | Deletion | None
    error: OmiError | None
    log: Sequence[Exchange] = attrs.field(repr=False)
    """The requests."""
    sleeps: list[float]
    """The waits between them."""

    @property
    def requests(self) -> int:
        return len(self.log)

    @property
    def failure(self) -> OmiError:
        assert self.error is not None, self.result
        return self.error

    @property
    def conversation(self) -> Conversation:
        assert isinstance(self.result, Conversation), self.error
        return self.result


async def call(
    side: Side,
    operation: str,
    *steps: Step,
    clock: VirtualClock | None = None,
    policy: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    **arguments: Any,
) -> Call:
    """Make one call with a new client; `policy` and `settings` are those of the client.

    What holds for every error is asserted here: it says which call it was, it counted the requests on the wire,
    and no other exception hangs on it.
    """
    clock = clock or VirtualClock()
    async with RawServer(in_turn(*steps)) as server:
        client = side.client(server.url, retry=clock.policy(**(policy or {})), **(settings or {}))
        result, error = await outcome(side, client, operation, **arguments)
        if error is not None:
            assert len(server.log) == error.attempts
        return Call(result=result, error=error, log=server.log, sleeps=clock.sleeps)


async def outcome(
    side: Side, client: AsyncOmiClient | OmiClient, operation: str, **arguments: Any
) -> tuple[Conversation | CreatedConversation | Deletion | None, OmiError | None]:
    """The result or the error of one call."""
    try:
        return await side.call(client, operation, **arguments), None
    except OmiError as error:
        failure = error
    assert specimens.whole_name(operation) == failure.operation
    assert failure.__cause__ is None
    assert failure.__context__ is None
    return None, failure
