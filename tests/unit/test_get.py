"""`conversations.get`: what is sent for it and what the server's answers become."""

from typing import Any

import pytest

from omi_async import Conversation, InvalidRequestError, NotFoundError, PermissionDeniedError
from omi_async.sandbox import Sandbox
from tests.support import inside
from tests.support.sides import Side


@pytest.mark.parametrize(("transcript", "query"), [(False, ""), (True, "?include_transcript=true")])
def test_request(transcript: bool, query: str) -> None:
    """A read asks for the transcript only where it is wanted, sends no body and counts as a read."""
    request = inside.get_conversation("conv_1", transcript)
    assert isinstance(request, inside.Request)
    assert ("conversations.get", "GET") == (request.operation, request.method)
    assert f"/v1/dev/user/conversations/conv_1{query}" == request.path
    assert (None, "none") == (request.body, request.effect)
    reads = "reads /v1/dev/user/conversations"
    assert ((f"{reads} with transcripts", reads) if transcript else (reads,)) == request.windows


@pytest.mark.parametrize(
    ("arguments", "kind", "name"),
    [
        (("../memories", False), InvalidRequestError, "conversation_id"),
        ((None, False), TypeError, "conversation_id"),
        (("conv_1", 1), TypeError, "include_transcript"),
        (("conv_1", "false"), TypeError, "include_transcript"),
        (("conv_1", None), TypeError, "include_transcript"),
    ],
)
def test_refusals(arguments: Any, kind: type[Exception], name: str) -> None:
    """A bad argument is refused by its name."""
    refusal = inside.get_conversation(*arguments)
    assert kind is type(refusal)
    assert name in str(refusal)


async def test_sandbox(side: Side) -> None:
    """A conversation is found, with its transcript only where that was asked for; a discarded one is found too."""
    async with Sandbox() as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.api_key)
        plain = await side.call(client, "get", "conv_standup")
        whole = await side.call(client, "get", "conv_standup", include_transcript=True)
        discarded = await side.call(client, "get", "conv_noise")
    assert isinstance(plain, Conversation)
    assert isinstance(whole, Conversation)
    assert ("Monday Stand-up", None) == (plain.structured.title, plain.transcript_segments)
    assert 2 == len(whole.transcript_segments or ())
    assert isinstance(discarded, Conversation)
    assert "conv_noise" == discarded.id


@pytest.mark.parametrize("conversation_id", ["conv_unheard_of", "conv_locked"])
async def test_not_found(side: Side, conversation_id: str) -> None:
    """A locked conversation is as absent to a read as one that never was."""
    async with Sandbox() as sandbox:
        with pytest.raises(NotFoundError) as caught:
            await side.call(side.client(sandbox.url, api_key=sandbox.api_key), "get", conversation_id)
    assert ("conversations.get", "not_applied", 1) == (
        caught.value.operation,
        caught.value.outcome,
        caught.value.attempts,
    )


async def test_a_read_only_key_suffices(side: Side) -> None:
    """A key without the write scope may read, and may not write."""
    async with Sandbox() as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.read_only_key)
        assert isinstance(await side.call(client, "get", "conv_design"), Conversation)
        with pytest.raises(PermissionDeniedError):
            await side.call(client, "update", "conv_design")
