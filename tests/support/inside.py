"""Names inside the packages that several tests need, in one place: where they move to, this file follows."""

import asyncio
import functools
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import omi_async
import omi_sync
from omi_async import AsyncListing, AsyncOmiClient, OmiError, journal, pacing
from omi_async._late import Room
from omi_async._protocol import collection, convert, meaning
from omi_async._protocol.convert import Unreadable, parse, structure
from omi_async._protocol.masking import clean
from omi_async._protocol.meaning import read, retry_after, says_missing
from omi_async._protocol.raw import raw as _raw
from omi_async._protocol.request import Answer, Refusal, Request
from omi_async._wire import connection, direct, pool, session
from omi_async._wire.connection import Attempt, Connector
from omi_async._wire.direct import Direct
from omi_async._wire.session import _guard as guard
from omi_async._wire.transport import Transport
from omi_async.resources.action_items import (
    action_item_pages,
    create_action_item,
    create_action_items,
    delete_action_item,
    update_action_item,
)
from omi_async.resources.conversations import (
    ask,
    conversation_pages,
    create_conversation,
    create_conversation_from_segments,
    delete_conversation,
    get_conversation,
    update_conversation,
)
from omi_async.resources.daily_summaries import daily_summary_pages, get_daily_summary
from omi_async.resources.folders import list_folders
from omi_async.resources.goals import (
    create_goal,
    delete_goal,
    get_goal,
    list_goal_history,
    list_goals,
    update_goal,
    update_goal_progress,
)
from omi_async.resources.keys import create_key, current_key, list_keys, revoke_key
from omi_async.resources.memories import (
    create_memories,
    create_memory,
    delete_memory,
    memory_pages,
    search_memories,
    update_memory,
)
from omi_sync import OmiClient
from omi_sync import _bridge as bridge

raw = functools.partial(_raw, windows=pacing.windows)

__all__ = [
    "LATE_NAMES",
    "ROOMS",
    "Answer",
    "AsyncListing",
    "Attempt",
    "Connector",
    "Direct",
    "Refusal",
    "Request",
    "Transport",
    "Unreadable",
    "action_item_pages",
    "ask",
    "bridge",
    "clean",
    "close_at_once",
    "collection",
    "connection",
    "conversation_pages",
    "convert",
    "create_action_item",
    "create_action_items",
    "create_conversation",
    "create_conversation_from_segments",
    "create_goal",
    "create_key",
    "create_memories",
    "create_memory",
    "current_key",
    "daily_summary_pages",
    "delete_action_item",
    "delete_conversation",
    "delete_goal",
    "delete_memory",
    "direct",
    "failed",
    "get_conversation",
    "get_daily_summary",
    "get_goal",
    "go_straight",
    "guard",
    "locks_last",
    "list_folders",
    "list_goal_history",
    "list_goals",
    "list_keys",
    "meaning",
    "memory_pages",
    "parse",
    "raw",
    "read",
    "request",
    "retry_after",
    "revoke_key",
    "says_missing",
    "search_memories",
    "session",
    "structure",
    "tell_time_of_day",
    "transport",
    "update_action_item",
    "update_conversation",
    "update_goal",
    "update_goal_progress",
    "update_memory",
]

LATE_NAMES = {"async": omi_async._HOMES, "sync": omi_sync._HOMES}
"""The public names of each side that are loaded when they are first used, and their files."""

ROOMS = tuple([name for name, value in vars(AsyncOmiClient).items() if isinstance(value, Room)])
"""The resources of a client, which are loaded when they are first used."""

_BUILDERS: dict[str, Callable[[], Any]] = {
    "update": lambda: update_conversation("conv_1", "A", None),
    "delete": lambda: delete_conversation("conv_1"),
    "create": lambda: create_conversation("conv_1", None, None, None, None, None, None),
    "get": lambda: get_conversation("conv_1", False),
}


def request(operation: str) -> Request[Any]:
    """The request of a specimen's usual call, as it is handed on to be made."""
    built = _BUILDERS[operation]()
    assert isinstance(built, Request)
    return built


def transport(client: AsyncOmiClient | OmiClient) -> Transport:
    """Where a client makes its attempts."""
    return (client if isinstance(client, AsyncOmiClient) else client._bridge.target)._transport


def failed(error: Exception, *, connected: bool, timed_out: bool = False) -> OmiError:
    """What the client makes of an attempt that ended without an answer."""
    attempt = Attempt(connect=None, limit=None, left=lambda: None, fresh=False, first=True, connected=connected)
    way = transport(AsyncOmiClient("omi_dev_test", base_url="https://api.omi.me"))
    return way._failure(error, attempt, way.pool.place, timed_out=timed_out)


class Offline:
    """In the place of a retrier, for listings: a way to nowhere, which tells the loops apart."""

    @functools.cached_property
    def transport(self) -> Transport:
        return transport(AsyncOmiClient("omi_dev_test", base_url="http://127.0.0.1:1"))


def close_at_once(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.01) -> None:
    """Let a client that closes wait hardly for what it ends."""
    monkeypatch.setattr(pool, "_CLOSE_GRACE", seconds)


def at_a_new_loop(monkeypatch: pytest.MonkeyPatch, function: Callable[[], object]) -> None:
    """Call a function just before and just after a client comes to belong to an event loop, or is refused."""
    take = pool.Place.take

    def call_and_take(place: pool.Place, loop: asyncio.AbstractEventLoop) -> None:
        function()
        try:
            take(place, loop)
        finally:
            function()

    monkeypatch.setattr(pool.Place, "take", call_and_take)


def tell_time_of_day(monkeypatch: pytest.MonkeyPatch, clock: Callable[[], float]) -> None:
    """Let the gates take the time of day from a clock of the test's."""
    monkeypatch.setattr(pacing, "time", SimpleNamespace(time=clock))


def go_straight(monkeypatch: pytest.MonkeyPatch, straight: bool) -> None:
    """Let requests go straight onto aiohttp's connections, or through its session as with an unknown aiohttp."""
    monkeypatch.setattr(direct, "_KNOWN", straight)


def locks_last(path: Path) -> bool:
    """Whether this system has locks that a read of the file in the same process leaves alone."""
    path.touch()
    descriptor = journal._lock(str(path))
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None
