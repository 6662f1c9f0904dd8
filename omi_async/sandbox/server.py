"""The sandbox: settings, what is stored, and what is scripted, around the server of `listener`."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from omi_async.sandbox import seeds
from omi_async.sandbox.action_items import ACTION_ITEM, ActionItems, SandboxActionItem
from omi_async.sandbox.allowance import Allowance
from omi_async.sandbox.api import Api
from omi_async.sandbox.ask import Ask
from omi_async.sandbox.control import Control
from omi_async.sandbox.conversations import CONVERSATION, Conversations, SandboxConversation
from omi_async.sandbox.creation import Creation
from omi_async.sandbox.daily_summaries import DAILY_SUMMARY, DailySummaries, SandboxDailySummary
from omi_async.sandbox.faults import Fault, FaultQueue, RecordedRequest
from omi_async.sandbox.folders import FOLDER, Folders, SandboxFolder
from omi_async.sandbox.goals import GOAL, Goals, SandboxGoal
from omi_async.sandbox.keys import Keys, first_keys
from omi_async.sandbox.listener import Listener, loopback
from omi_async.sandbox.memories import MEMORY, Memories, SandboxMemory
from omi_async.sandbox.store import Store

API_KEY = f"omi_dev_{1:032x}"
READ_ONLY_KEY = f"omi_dev_{2:032x}"
ID_TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzYW5kYm94In0.sandbox"  # noqa: S105 - published like the keys


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
        addresses = loopback(host)
        if addresses is None:
            raise ValueError("host must be in 127.0.0.0/8, ::1 or localhost: the sandbox's keys are published")
        self._bind_host, self._url_host = addresses
        if isinstance(port, bool) or not 0 <= port <= 65535:
            raise ValueError("port must be between 0 and 65535")
        if not (math.isfinite(write_window) and write_window > 0):
            raise ValueError("write_window must be a number of seconds above zero")
        if generation not in {"newest", "2026-05"}:
            raise ValueError("generation must be 'newest' or '2026-05'")
        self._port = port
        self._keep_alive = keep_alive
        lenient = generation == "newest"
        self._conversations = Store(
            seeds.conversations() if conversations is None else conversations,
            CONVERSATION,
            "conversations",
            lenient=lenient,
        )
        self._memories = Store(seeds.memories() if memories is None else memories, MEMORY, "memories", lenient=lenient)
        self._action_items = Store(
            seeds.action_items() if action_items is None else action_items,
            ACTION_ITEM,
            "action_items",
            lenient=lenient,
        )
        self._goals = Store(seeds.goals() if goals is None else goals, GOAL, "goals", lenient=lenient)
        self._folders = Store(seeds.folders() if folders is None else folders, FOLDER, "folders", lenient=lenient)
        self._daily_summaries = Store(
            seeds.daily_summaries() if daily_summaries is None else daily_summaries,
            DAILY_SUMMARY,
            "daily_summaries",
            # One odd summary breaks its page, on the newest server as well.
            lenient=False,
        )
        self._stores: dict[str, Store[Any]] = {
            "conversations": self._conversations,
            "memories": self._memories,
            "action_items": self._action_items,
            "goals": self._goals,
            "folders": self._folders,
            "daily_summaries": self._daily_summaries,
        }
        self._keys = first_keys(API_KEY, READ_ONLY_KEY)
        self._allowance = Allowance(
            self._keys,
            id_token=ID_TOKEN,
            limits={"write_limit": write_limit, "read_limit": read_limit, "transcript_limit": transcript_limit},
            write_window=write_window,
            clock=clock,
            names_mcp_keys=generation == "newest",
        )
        self._faults = FaultQueue()
        resources = (
            Conversations(self._conversations, self._allowance, generation),
            Creation(self._conversations, generation),
            Memories(self._memories, generation),
            ActionItems(self._action_items, generation),
            Goals(self._goals, generation),
            Folders(self._folders, generation),
            DailySummaries(self._daily_summaries),
            Ask(self._conversations),
            Keys(self._keys, generation),
            Control(self._stores, self._allowance, self._faults, self.reset),
        )
        routes = [route for resource in resources for route in resource.routes]
        self._api = Api(routes, self._allowance, generation)
        self._requests: list[RecordedRequest] = []
        self._listener: Listener | None = None
        self._url: str | None = None
        self._closed = False

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash; still known after closing.

        Raises RuntimeError before the start, when there is no port yet.
        """
        if self._url is None:
            raise RuntimeError("The sandbox has no URL yet: enter its context or start it first.")
        return self._url

    @property
    def api_key(self) -> str:
        """A key that may do everything; it is the same in every sandbox."""
        return API_KEY

    @property
    def read_only_key(self) -> str:
        """A key with the read scopes only."""
        return READ_ONLY_KEY

    @property
    def id_token(self) -> str:
        """The ID token of the signed-in user, who may list, create and revoke keys."""
        return ID_TOKEN

    @property
    def conversations(self) -> dict[str, SandboxConversation]:
        """The stored conversations by id; add, change and remove them at will."""
        return self._conversations.records

    @property
    def memories(self) -> dict[str, SandboxMemory]:
        """The stored memories by id; put others in, or take some out, at will."""
        return self._memories.records

    @property
    def action_items(self) -> dict[str, SandboxActionItem]:
        """The stored action items by id, likewise."""
        return self._action_items.records

    @property
    def goals(self) -> dict[str, SandboxGoal]:
        """The stored goals by id, likewise."""
        return self._goals.records

    @property
    def folders(self) -> dict[str, SandboxFolder]:
        """The stored folders by id, likewise."""
        return self._folders.records

    @property
    def daily_summaries(self) -> dict[str, SandboxDailySummary]:
        """The stored daily summaries by id, likewise."""
        return self._daily_summaries.records

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far in the order of arrival; clear the list to start afresh."""
        return self._requests

    @property
    def started(self) -> bool:
        """Whether it is serving now."""
        return self._url is not None and not self._closed

    @property
    def pending_faults(self) -> int:
        """How many scripted faults are still to be played, each counted as often as it will be."""
        return self._faults.pending

    async def start(self) -> None:
        """Begin to serve.

        Raises RuntimeError if it was started or closed before, and OSError if the port is taken.
        """
        if self._closed:
            raise RuntimeError("This sandbox is closed; make a new one.")
        if self._listener is not None:
            raise RuntimeError("This sandbox is started already.")
        self._listener = Listener(self._api, self._allowance, self._faults, self._requests, keep_alive=self._keep_alive)
        try:
            port = await self._listener.start(self._bind_host, self._port)
        except BaseException:
            self._listener = None
            raise
        self._url = f"http://{self._url_host}:{port}"

    async def aclose(self) -> None:
        """Stop serving and drop every connection, whatever it is waiting for; closing again does nothing."""
        self._closed = True
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = self._url if self.started else "closed" if self._closed else "not started"
        return f"<Sandbox {state}, {len(self._conversations.records)} conversations>"

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
        self._faults.add(
            Fault(
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
        )

    def reset(self) -> None:
        """Hold again what it held in the beginning: no requests, no faults, and every window is open."""
        if self._listener is not None:
            self._listener.reset()
        for store in self._stores.values():
            store.reset()
        self._keys.clear()
        self._keys.update(first_keys(API_KEY, READ_ONLY_KEY))
        self._allowance.reset()
        self._requests.clear()
        self._faults.clear()

    def clear_faults(self) -> None:
        """Forget the faults that are still to be played."""
        self._faults.clear()
