"""Names inside the packages that several tests need, in one place: where they move to, this file follows."""

from collections.abc import Callable
from typing import Any

import pytest

from omi_async import AsyncOmiClient, _exchange, _protocol, _transport
from omi_async._convert import structure
from omi_async._exchange import Attempt
from omi_async._protocol import Answer, Request, delete_conversation, read, update_conversation
from omi_async._transport import Transport
from omi_sync import OmiClient

__all__ = [
    "Answer",
    "Attempt",
    "Request",
    "Transport",
    "close_at_once",
    "delete_conversation",
    "go_straight",
    "read",
    "request",
    "structure",
    "transport",
    "update_conversation",
]

_BUILDERS: dict[str, Callable[[], Any]] = {
    "update": lambda: update_conversation("conv_1", "A", None),
    "delete": lambda: delete_conversation("conv_1"),
    "create": lambda: _protocol.create_conversation("conv_1", None, None, None, None, None, None),
    "get": lambda: _protocol.get_conversation("conv_1", False),
}


def request(operation: str) -> Request[Any]:
    """The request of a specimen's usual call, as it is handed on to be made."""
    built = _BUILDERS[operation]()
    assert isinstance(built, Request)
    return built


def transport(client: AsyncOmiClient | OmiClient) -> Transport:
    """Where a client makes its attempts."""
    return (client if isinstance(client, AsyncOmiClient) else client._bridge.target)._transport


def close_at_once(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.01) -> None:
    """Let a client that closes wait hardly for what it ends."""
    monkeypatch.setattr(_transport, "_CLOSE_GRACE", seconds)


def go_straight(monkeypatch: pytest.MonkeyPatch, straight: bool) -> None:
    """Let requests go straight onto aiohttp's connections, or through its session as with an unknown aiohttp."""
    monkeypatch.setattr(_exchange, "_KNOWN", straight)
