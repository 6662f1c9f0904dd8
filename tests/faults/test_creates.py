"""Creates whose answer is lost: one conversation at most, and nobody is told otherwise."""

import asyncio
from typing import Any

import pytest

from omi_async import (
    ConflictError,
    CreatedConversation,
    InvalidRequestError,
    NewTranscriptSegment,
    RequestTimeoutError,
    ResponseError,
    ServerError,
    Timeout,
    TransportError,
    UnprocessableEntityError,
)
from omi_sync import OmiClient
from tests.support.canary import Watch, channels, hits, paths
from tests.support.clock import VirtualClock
from tests.support.raw import RawServer, answer, in_thread
from tests.support.replies import FAILED, THROTTLED, Call, Step, call, close, in_turn, reset, succeed
from tests.support.sides import Side

MADE = CreatedConversation(id="conv_1", status="completed", discarded=False)
SEGMENTS = [NewTranscriptSegment(text="Hello.", start=0.0, end=1.5)]
BUSY = answer(409, {"detail": "Conversation is already being processed"})

LOST: dict[str, Step] = {
    "closed": close,
    "reset": reset,
    "no JSON": answer(200, "<html>"),
    "wrong shape": answer(200, {"id": "conv_1"}),
    "408": answer(408),
    "499": answer(499, "client closed request"),
    "500": FAILED,
    "503": answer(503, {"detail": {"code": "x", "retryable": True}}),
    "504": answer(504),
}


async def from_segments(side: Side, *steps: Step, **settings: Any) -> Call:
    return await call(side, "conversations.create_from_segments", *steps, subject=SEGMENTS, **settings)


@pytest.mark.parametrize("name", LOST)
async def test_a_session_is_sent_again(side: Side, name: str) -> None:
    """A transcript is sent again, under the same session's name, and has its result."""
    done = await from_segments(side, LOST[name], succeed)
    assert (MADE, 2) == (done.result, done.requests)
    assert done.log[0].body == done.log[1].body
    assert b"client_session_id" in done.log[0].body


async def test_in_progress(side: Side) -> None:
    """A conflict after an unanswered attempt is that attempt still at work: it is waited for."""
    done = await from_segments(side, close, BUSY, succeed)
    assert (MADE, 3) == (done.result, done.requests)
    assert 8.0 == done.sleeps[1]
    done = await from_segments(side, close, BUSY)
    assert (ConflictError, 3) == (type(done.failure), done.requests)
    assert ("unknown", True) == (done.failure.outcome, done.failure.retryable)


@pytest.mark.parametrize("before", [[], [THROTTLED]])
async def test_in_progress_for_another(side: Side, before: list[Step]) -> None:
    """A conflict without an unanswered attempt before it is somebody else's: refused, and nothing was made."""
    done = await from_segments(side, *before, BUSY)
    assert (ConflictError, len(before) + 1) == (type(done.failure), done.requests)
    assert ("not_applied", False) == (done.failure.outcome, done.failure.retryable)
    done = await call(side, "update", close, BUSY)
    assert (2, False) == (done.requests, done.failure.retryable)


# What was said

CANARIES = {"text": "canary-of-a-text", "place": "canary-of-a-place", "speaker": "canary-of-a-speaker"}
TEXT = CANARIES["text"]


async def hangs(exchange: Any) -> None:
    await exchange.hang()


PROVOCATIONS: dict[str, tuple[type[Exception], Step, dict[str, Any]]] = {
    "too long": (InvalidRequestError, succeed, {"times": 7000}),
    "bad end": (InvalidRequestError, succeed, {"end": -1.0}),
    "bad type": (TypeError, succeed, {"encode": True}),
    "reset": (TransportError, reset, {}),
    "silence": (RequestTimeoutError, hangs, {"timeout": Timeout(total=0.1)}),
    "422": (
        UnprocessableEntityError,
        answer(422, {"detail": [{"loc": ["body", "text"], "msg": "no", "type": "x", "input": TEXT}], "echo": TEXT}),
        {},
    ),
    "500": (ServerError, answer(500, TEXT), {}),
    "no JSON": (ResponseError, answer(200, TEXT), {}),
    "wrong shape": (ResponseError, answer(200, {"id": [TEXT], "status": TEXT, "discarded": TEXT}), {}),
}


@pytest.mark.parametrize("name", PROVOCATIONS)
async def test_nothing_said_is_shown(side: Side, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No text, no speaker and no place is in an error, in what a traceback shows, in a log or in the client."""
    kind, step, twist = PROVOCATIONS[name]
    settings = {"timeout": twist["timeout"]} if "timeout" in twist else {}
    if "times" in twist:
        settings["client_session_id"] = "s" * 201

    def subject() -> Any:
        words: Any = TEXT.encode() if "encode" in twist else TEXT * twist.get("times", 1)
        return [NewTranscriptSegment(text=words, start=0.0, end=twist.get("end", 1.0), speaker=CANARIES["speaker"])]

    with Watch(monkeypatch) as watch, in_thread(RawServer(in_turn(step))) as server:
        client: Any = side.client(server.url, retry=VirtualClock().policy())
        if isinstance(client, OmiClient):
            await asyncio.to_thread(client._bridge.run, asyncio.sleep(0))
            watch.overhear(client._bridge._thread.loop)
        with pytest.raises(kind) as caught:
            await side.call(client, "conversations.create_from_segments", subject(), **settings)
        assert kind is type(caught.value)
        texts = [*channels(caught.value), *paths(vars(caught.value)), *paths(client)]
    assert [] == hits([*texts, *watch.texts], CANARIES)
    assert watch.texts or kind in (InvalidRequestError, TypeError)
