"""A thousand calls on each side against a sandbox that fails at random, compared with what it holds afterwards."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from omi_async import Deletion, NotFoundError, OmiError, Timeout
from omi_async.sandbox import Sandbox, SandboxConversation
from tests.support.clock import VirtualClock
from tests.support.sides import Side

FAULTS: list[dict[str, Any]] = [
    {"close": "before"},
    {"close": "after"},
    {"status": 500},
    {"status": 500, "apply": True},
    {"status": 503},
    {"status": 504, "apply": True},
    {"status": 429, "headers": {"Retry-After": "1"}},
    {"status": 403},
    {"status": 200, "body": "<html>"},
    {"status": 200, "body": "<html>", "apply": True},
    {"status": 307, "headers": {"Location": "http://127.0.0.1:9/"}},
]


@pytest.mark.figure
async def test_mixed_calls(side: Side, clock: VirtualClock, figure: Callable[..., None]) -> None:
    """No success without the change, no "not applied" with it, and every call ends in one or the other or unknown."""
    draw = random.Random(f"sandbox {side.name}")
    ids = [f"conv_{number}" for number in range(1000)]
    counts = {"applied": 0, "not_applied": 0, "unknown": 0}
    wrong: list[str] = []
    async with Sandbox([SandboxConversation(id=each, title="old") for each in ids], write_limit=None) as sandbox:
        clients = [side.client(sandbox.url, api_key=sandbox.api_key, retry=clock.policy(), timeout=Timeout(total=None))]
        for each in ids:
            if len(clients) * 50 < draw.randrange(1, 1000):
                # A client's retry budget is made for outages; fresh ones keep the retries coming.
                clients.append(
                    side.client(sandbox.url, api_key=sandbox.api_key, retry=clock.policy(), timeout=Timeout(total=None))
                )
            for _ in range(draw.choice((0, 1, 1, 2, 3))):
                sandbox.fail(**draw.choice(FAULTS), conversation_id=each)

        async def one(each: str, operation: str) -> None:
            outcome: str = "applied"
            ended: OmiError | None = None
            try:
                result = await side.call(clients[int(each.removeprefix("conv_")) % len(clients)], operation, each)
            except OmiError as error:
                outcome, ended = error.outcome, error
            else:
                if isinstance(result, Deletion) is (operation == "update"):
                    wrong.append(f"{each}: another result")
            counts[outcome] += 1
            record = sandbox.conversations.get(each)
            changed = record is None if operation == "delete" else record is not None and record.title != "old"
            if outcome == "applied" and not changed:
                wrong.append(f"{each}: {operation} was reported done and is not")
            if outcome == "not_applied" and changed:
                wrong.append(f"{each}: {operation} was reported not applied and is ({ended!r})")
            if isinstance(ended, NotFoundError):
                wrong.append(f"{each}: was there and was not found")

        operations = {each: draw.choice(("update", "delete")) for each in ids}
        for start in range(0, len(ids), 20):
            await asyncio.gather(*(one(each, operations[each]) for each in ids[start : start + 20]))
        assert 1000 == sum(counts.values())
        assert min(counts.values()) > 20
        figure(f"sandbox storm ({side.name})", calls=1000, requests=len(sandbox.requests), wrong=len(wrong), **counts)
    assert [] == wrong
