# Made from omi_async/client.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The client for synchronous code."""

from collections.abc import Callable, Mapping
from ssl import SSLContext
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from omi_async._late import Room
from omi_async.client import AsyncOmiClient
from omi_async.events import AttemptEnded, CallEnded
from omi_async.models.shared import RawResponse
from omi_async.retry import DEFAULT_TIMEOUT, RetryPolicy, Timeout

from ._bridge import Bridge, to_caller

if TYPE_CHECKING:
    from .action_items import ActionItems
    from .conversations import Conversations
    from .daily_summaries import DailySummaries
    from .folders import Folders
    from .goals import Goals
    from .keys import Keys
    from .memories import Memories


class OmiClient:
    """A client of the Omi Developer API.

    `api_key` comes from the argument or from `OMI_API_KEY`; `base_url` from the argument, from `OMI_API_BASE`, or
    is `https://api.omi.me`. The key is `omi_dev_...`, made in the Omi app under Settings -> Developer. The base
    URL must be https; plain http is accepted for loopback hosts only. Without `timeout` a call has the limits of
    `Timeout()`, and longer ones where a language model answers; a plain number is its `total`. At most
    `max_connections` requests are on the wire at once, further ones wait. `user_agent` is put before the client's own.

    `proxy` is the HTTP proxy to go through, `http://user:password@host:port`; none is taken from the environment.
    `ssl` is a context of yours, with the certificates that are to be trusted. `on_event` is called, where the call was
    made, with an `AttemptEnded` after each request and a `CallEnded` after each call; what it raises is only logged.

    Nothing is opened before the first call. Close the client when done, or use it as a context manager: calls under
    way get up to five seconds to finish. Raises `ConfigurationError` for a setting that cannot work.
    """

    conversations = Room["Conversations"]("omi_sync.conversations:Conversations", of="_bridge")
    """Conversations of the key's user."""

    memories = Room["Memories"]("omi_sync.memories:Memories", of="_bridge")
    """Memories of the key's user."""

    folders = Room["Folders"]("omi_sync.folders:Folders", of="_bridge")
    """Folders of the key's user."""

    action_items = Room["ActionItems"]("omi_sync.action_items:ActionItems", of="_bridge")
    """Action items of the key's user."""

    goals = Room["Goals"]("omi_sync.goals:Goals", of="_bridge")
    """Goals of the key's user."""

    daily_summaries = Room["DailySummaries"]("omi_sync.daily_summaries:DailySummaries", of="_bridge")
    """What Omi made of the user's days."""

    keys = Room["Keys"]("omi_sync.keys:Keys", of="_bridge")
    """API keys of the user."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: Timeout | float = DEFAULT_TIMEOUT,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        proxy: str | None = None,
        ssl: SSLContext | None = None,
        max_connections: int = 100,
        user_agent: str | None = None,
        on_event: Callable[[AttemptEnded | CallEnded], object] | None = None,
    ) -> None:
        try:
            target = AsyncOmiClient(
                api_key,
                base_url=base_url,
                timeout=timeout,
                retry=retry,
                proxy=proxy,
                ssl=ssl,
                max_connections=max_connections,
                user_agent=user_agent,
                on_event=to_caller(on_event),
            )
        finally:
            del api_key, proxy  # private: a traceback that shows locals must not show them
        self._bridge = Bridge(target, calls_back=on_event is not None)

    @property
    def closed(self) -> bool:
        """Whether the client was closed; a closed client raises `ClientClosedError` on every call."""
        return self._bridge.target.closed

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | float] | None = None,
        json: object = None,
        repeatable: bool = False,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> RawResponse:
        """Call an operation of the API that has no method yet, by the rules of those that have one.

        `method` is GET, POST, PUT, PATCH or DELETE; `path` begins with `/v1/` and has no query, which goes into
        `params`. `json` is sent as the body; None sends none. The key, timeouts, retries and errors are those of
        all calls. A GET is taken for a read and repeated freely; anything else is not repeated once it may have been
        carried out, unless `repeatable` says that doing it twice is no worse than once. `timeout` and `retry` replace
        the client's for this call.

        Raises `InvalidRequestError` or TypeError before anything is sent; the errors of the statuses; `TransportError`
        and `ResponseError`, whose `outcome` tells whether it may have been carried out.
        """
        coroutine = self._bridge.target.request(
            method, path, params=params, json=json, repeatable=repeatable, timeout=timeout, retry=retry
        )
        return self._bridge.run(coroutine)

    def with_key(self, api_key: str) -> Self:
        """A client with another key, which uses the connections of this one.

        Settings are those of this client, `on_event` included. What the server refuses a key is remembered for that
        key alone: each has rate windows and a budget for retries of its own. All share `max_connections`. They are
        closed with the client that was made first, without `with_key`. Closing another one closes nothing else: its
        calls under way go on, and further ones raise `ClientClosedError`. The new client has the methods of a
        subclass, and nothing that its `__init__` sets. Raises `ConfigurationError` for what cannot be a key.
        """
        try:
            target = self._bridge.target.with_key(api_key)
        finally:
            del api_key
        made = object.__new__(type(self))
        made._bridge = self._bridge.sharing(target)
        return made

    def close(self) -> None:
        """Close the client and its connections; calls under way get up to five seconds to finish.

        A call that does not finish raises `ClientClosedError`. Closing twice does nothing.
        """
        self._bridge.close()

    def __enter__(self) -> Self:
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
            return "<OmiClient not made>"
        return repr(self._bridge.target).replace("AsyncOmiClient", "OmiClient", 1)

    def __reduce__(self) -> NoReturn:
        self._bridge.target.__reduce__()
