# Made from omi_async/sandbox/server.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The sandbox for synchronous code."""

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from omi_async.sandbox.action_items import SandboxActionItem
from omi_async.sandbox.conversations import SandboxConversation
from omi_async.sandbox.daily_summaries import SandboxDailySummary
from omi_async.sandbox.faults import RecordedRequest
from omi_async.sandbox.folders import SandboxFolder
from omi_async.sandbox.goals import SandboxGoal
from omi_async.sandbox.memories import SandboxMemory
from omi_async.sandbox.server import Sandbox as AsyncSandbox

from ._bridge import Bridge


class Sandbox:
    """A server on this machine that behaves like the Omi Developer API and keeps everything in memory.

    It starts with what it is given of each kind, or else with a few believable records. *host* must be a
    loopback address, because the keys are published; *port* 0 takes a free one. A key may make *write_limit*
    writes to conversations (None: any number) in *write_window* seconds, counted from its first write as
    *clock* tells the time. Likewise it may make *read_limit* reads of conversations an hour,
    *transcript_limit* of them with transcripts: any number unless you say so, 60 and 25 on the real server.
    Other limits of the server grow and shrink with these. *generation* chooses the server that is played:
    the `"newest"`, or the one of `"2026-05"`, which others may still run. Without *keep_alive* each
    connection ends with its answer, so that a client leaves none behind. Use it as a context manager, or
    start and close it yourself.

    Raises ValueError for a host that is not loopback, for a port, limit or window out of range, and for an
    unknown generation.
    """

    def __init__(
        self,
        conversations: Iterable[SandboxConversation] | None = None,
        *,
        memories: Iterable[SandboxMemory] | None = None,
        action_items: Iterable[SandboxActionItem] | None = None,
        goals: Iterable[SandboxGoal] | None = None,
        folders: Iterable[SandboxFolder] | None = None,
        daily_summaries: Iterable[SandboxDailySummary] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        write_limit: int | None = 25,
        write_window: float = 3600.0,
        read_limit: int | None = None,
        transcript_limit: int | None = None,
        generation: Literal["newest", "2026-05"] = "newest",
        keep_alive: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        target = AsyncSandbox(
            conversations,
            memories=memories,
            action_items=action_items,
            goals=goals,
            folders=folders,
            daily_summaries=daily_summaries,
            host=host,
            port=port,
            write_limit=write_limit,
            write_window=write_window,
            read_limit=read_limit,
            transcript_limit=transcript_limit,
            generation=generation,
            keep_alive=keep_alive,
            clock=clock,
        )
        self._bridge = Bridge(target)

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash; still known after closing.

        Raises RuntimeError before the start, when there is no port yet.
        """
        return self._bridge.target.url

    @property
    def api_key(self) -> str:
        """A key that may do everything; it is the same in every sandbox."""
        return self._bridge.target.api_key

    @property
    def read_only_key(self) -> str:
        """A key with the read scopes only."""
        return self._bridge.target.read_only_key

    @property
    def id_token(self) -> str:
        """The ID token of the signed-in user, who may list, create and revoke keys."""
        return self._bridge.target.id_token

    @property
    def conversations(self) -> dict[str, SandboxConversation]:
        """The stored conversations by id; add, change and remove them at will."""
        return self._bridge.target.conversations

    @property
    def memories(self) -> dict[str, SandboxMemory]:
        """The stored memories by id; put others in, or take some out, at will."""
        return self._bridge.target.memories

    @property
    def action_items(self) -> dict[str, SandboxActionItem]:
        """The stored action items by id, likewise."""
        return self._bridge.target.action_items

    @property
    def goals(self) -> dict[str, SandboxGoal]:
        """The stored goals by id, likewise."""
        return self._bridge.target.goals

    @property
    def folders(self) -> dict[str, SandboxFolder]:
        """The stored folders by id, likewise."""
        return self._bridge.target.folders

    @property
    def daily_summaries(self) -> dict[str, SandboxDailySummary]:
        """The stored daily summaries by id, likewise."""
        return self._bridge.target.daily_summaries

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far in the order of arrival; clear the list to start afresh."""
        return self._bridge.target.requests

    @property
    def started(self) -> bool:
        """Whether it is serving now."""
        return self._bridge.target.started

    @property
    def pending_faults(self) -> int:
        """How many scripted faults are still to be played, each counted as often as it will be."""
        return self._bridge.target.pending_faults

    def start(self) -> None:
        """Begin to serve.

        Raises RuntimeError if it was started or closed before, and OSError if the port is taken.
        """
        coroutine = self._bridge.target.start()
        self._bridge.run(coroutine)

    def close(self) -> None:
        """Stop serving and drop every connection, whatever it is waiting for; closing again does nothing."""
        self._bridge.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if "_bridge" not in self.__dict__:  # in the traceback of a refused setting
            return "<Sandbox not made>"
        return repr(self._bridge.target)

    def fail(
        self,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | dict[str, Any] | list[Any] | None = None,
        delay: float = 0.0,
        close: Literal["before", "after"] | None = None,
        apply: bool = False,
        method: str | None = None,
        path: str | None = None,
        record_id: str | None = None,
        conversation_id: str | None = None,
        times: int = 1,
    ) -> None:
        """Script a fault for the next *times* requests.

        It can be meant for those of one *method*, of one *path* (as sent, without the query), or about one
        record of any kind (*record_id*) or one conversation (*conversation_id*). A request meets the oldest
        fault that matches it. It first waits *delay* seconds. With *status* it is answered with that,
        *headers* and *body* (text as plain text, anything else as JSON) taking the place of the real
        server's; nothing is checked or changed, unless *apply* has the request handled before it is answered
        so. With *close* the connection is dropped without an answer, `"before"` the request is
        handled or `"after"`. With *delay* alone the request is merely slow.

        Raises ValueError naming the argument that is out of range or contradicts another.
        """
        self._bridge.target.fail(
            status=status,
            headers=headers,
            body=body,
            delay=delay,
            close=close,
            apply=apply,
            method=method,
            path=path,
            record_id=record_id,
            conversation_id=conversation_id,
            times=times,
        )

    def reset(self) -> None:
        """Hold again what it held in the beginning: no requests, no faults, and every window is open."""
        self._bridge.target.reset()

    def clear_faults(self) -> None:
        """Forget the faults that are still to be played."""
        self._bridge.target.clear_faults()
