"""The client: settings, the session, and the resources.

`AsyncOmiClient` alone takes `session`: an `aiohttp.ClientSession` of the caller's, for its connection pool and
whatever else it has. The client never closes it. Its cookies, redirects, timeouts and middlewares do not apply:
every request brings its own.
"""

import os
import re
import sys
import warnings
from base64 import b64encode
from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction
from ipaddress import IPv4Address, IPv6Address, ip_address
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self
from urllib.parse import unquote, urlsplit

from aiohttp import ClientSession

from ._late import Room, load
from ._protocol.arguments import misconfigured
from ._version import __version__
from ._wire.pool import Pool
from ._wire.proxy import Proxy
from ._wire.transport import Transport
from .errors import ConfigurationError
from .events import AttemptEnded, CallEnded
from .models.shared import RawResponse
from .pacing import windows
from .retry import DEFAULT_TIMEOUT, Retrier, RetryPolicy, Timeout

if TYPE_CHECKING:
    from .resources.action_items import AsyncActionItems
    from .resources.conversations import AsyncConversations
    from .resources.daily_summaries import AsyncDailySummaries
    from .resources.folders import AsyncFolders
    from .resources.goals import AsyncGoals
    from .resources.keys import AsyncKeys
    from .resources.memories import AsyncMemories

_DEFAULT_BASE_URL = "https://api.omi.me"
_HOST_LIMIT = 253  # characters; so many a name in the DNS may have
_LABEL_LIMIT = 63  # characters between two dots
_LAST_PORT = 65535
_WRONG_SCHEME = "base_url must begin with https://; http:// is for loopback hosts only."
_KEY_LIMIT = 512  # characters; real keys have 40
_USER_AGENT_LIMIT = 256  # characters


class AsyncOmiClient:
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

    conversations = Room["AsyncConversations"]("omi_async.resources.conversations:AsyncConversations", of="_retrier")
    """Conversations of the key's user."""
    memories = Room["AsyncMemories"]("omi_async.resources.memories:AsyncMemories", of="_retrier")
    """Memories of the key's user."""
    folders = Room["AsyncFolders"]("omi_async.resources.folders:AsyncFolders", of="_retrier")
    """Folders of the key's user."""
    action_items = Room["AsyncActionItems"]("omi_async.resources.action_items:AsyncActionItems", of="_retrier")
    """Action items of the key's user."""
    goals = Room["AsyncGoals"]("omi_async.resources.goals:AsyncGoals", of="_retrier")
    """Goals of the key's user."""
    daily_summaries = Room["AsyncDailySummaries"](
        "omi_async.resources.daily_summaries:AsyncDailySummaries", of="_retrier"
    )
    """What Omi made of the user's days."""
    keys = Room["AsyncKeys"]("omi_async.resources.keys:AsyncKeys", of="_retrier")
    """API keys of the user."""

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: Timeout | float = DEFAULT_TIMEOUT,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        session: ClientSession | None = None,
        proxy: str | None = None,
        ssl: SSLContext | None = None,
        max_connections: int = 100,
        user_agent: str | None = None,
        on_event: Callable[[AttemptEnded | CallEnded], object] | None = None,
    ) -> None:
        made = _made(api_key, base_url, timeout, retry, session, proxy, ssl, max_connections, user_agent, on_event)
        del api_key, proxy  # private: a traceback that shows locals must not show them
        if isinstance(made, ConfigurationError):
            raise made
        self._base_url, self._transport, self._retrier = made
        self._owner: Self | None = None
        frame = sys._getframe(1)
        self._made_at = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    @property
    def closed(self) -> bool:
        """Whether the client was closed; a closed client raises `ClientClosedError` on every call."""
        return self._transport.closed

    async def request(
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
        request = load("omi_async._protocol.raw").raw(method, path, params, json, repeatable, windows)
        return await self._retrier.call(request, timeout, retry)

    def with_key(self, api_key: str) -> Self:
        """A client with another key, which uses the connections of this one.

        Settings are those of this client, `on_event` included. What the server refuses a key is remembered for that
        key alone: each has rate windows and a budget for retries of its own. All share `max_connections`. They are
        closed with the client that was made first, without `with_key`. Closing another one closes nothing else: its
        calls under way go on, and further ones raise `ClientClosedError`. The new client has the methods of a
        subclass, and nothing that its `__init__` sets. Raises `ConfigurationError` for what cannot be a key.
        """
        made = _with_key(self._transport, api_key)
        del api_key
        if isinstance(made, ConfigurationError):
            raise made
        client = object.__new__(type(self))
        client._base_url, client._transport = self._base_url, made
        client._retrier = self._retrier.with_transport(made)
        client._owner = self._owner or self
        return client

    async def aclose(self) -> None:
        """Close the client and its connections; calls under way get up to five seconds to finish.

        A call that does not finish raises `ClientClosedError`. Closing twice does nothing.
        """
        if self._owner is None:
            await self._transport.pool.aclose()
        else:
            self._transport.leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        if "_transport" not in self.__dict__:  # in the traceback of a refused setting
            return f"<{type(self).__name__} not made>"
        return f"<{type(self).__name__} {self._base_url} {'closed' if self.closed else 'open'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Omi client holds a key and connections and is not pickled; make one in each process")

    def __del__(self) -> None:
        transport = self.__dict__.get("_transport")  # missing where __init__ refused a setting
        if transport is None or self._owner is not None:
            return
        shown = repr(self)
        if transport.pool.abandon() and not sys.is_finalizing():
            warnings.warn(f"{shown} made at {self._made_at} was not closed", ResourceWarning, stacklevel=2)


def _made(
    api_key: str | None,
    base_url: str | None,
    timeout: Timeout | float,
    retry: RetryPolicy,
    session: ClientSession | None,
    proxy: str | None,
    ssl: SSLContext | None,
    max_connections: int,
    user_agent: str | None,
    on_event: Callable[[AttemptEnded | CallEnded], object] | None,
) -> tuple[str, Transport, Retrier] | ConfigurationError:
    """What a client is made of, or the refusal of a setting: a value, so that no frame with the key is in its trace."""
    try:
        if type(max_connections) is not int or max_connections < 1:
            raise misconfigured("max_connections must be a whole number of at least 1.")
        if not isinstance(retry, RetryPolicy):
            raise misconfigured("retry must be a RetryPolicy.")
        if on_event is not None and (not callable(on_event) or iscoroutinefunction(on_event)):
            raise misconfigured("on_event must be a plain function of one argument, and no coroutine function.")
        if session is not None and (proxy is not None or ssl is not None):
            name = "ssl" if proxy is None else "proxy"
            raise misconfigured(f"{name} cannot be given together with session: the session has its own.")
        limits = Timeout.of(timeout)
        url = _checked_base_url((os.environ.get("OMI_API_BASE") or _DEFAULT_BASE_URL) if base_url is None else base_url)
        transport = Transport(
            Pool(max_connections, session, None if ssl is None else _checked_context(ssl)),
            api_key=_checked_key(os.environ.get("OMI_API_KEY") if api_key is None else api_key),
            base_url=url,
            user_agent=_checked_user_agent(user_agent),
            proxy=None if proxy is None else _checked_proxy(proxy, url),
        )
    except ConfigurationError as error:
        refusal = error.with_traceback(None)
    else:
        return url, transport, Retrier(transport, limits, retry, () if on_event is None else (on_event,))
    return refusal


def _with_key(transport: Transport, api_key: str) -> Transport | ConfigurationError:
    """The other key's way, or the refusal of the key, as with `_made`."""
    try:
        return transport.with_key(_checked_key(api_key))
    except ConfigurationError as error:
        refusal = error.with_traceback(None)
    return refusal


def _checked_key(key: str | None) -> str:
    """Refuse what cannot be a key, without ever repeating it."""
    if not key:
        raise misconfigured("no API key: pass api_key or set OMI_API_KEY.")
    if not isinstance(key, str):
        raise misconfigured("api_key must be a str.")
    key = str.__str__(key)  # the text itself, whatever a subclass makes of str() or format()
    if key.lower().startswith("bearer"):
        raise misconfigured("api_key is the key alone, without the word Bearer in front.")
    if key.endswith(("\n", "\r")):
        raise misconfigured("api_key ends with a line break, as text read from a file does: strip it.")
    if any(character.isspace() for character in key):
        raise misconfigured("api_key contains a blank: strip it.")
    if key[0] in "\"'" or key[-1] in "\"'":
        raise misconfigured("api_key has a quotation mark in front or at its end, which is no part of it: take it off.")
    if key.startswith("omi_mcp_"):
        raise misconfigured(
            "api_key is an MCP key (omi_mcp_...); this API takes a Developer API key: "
            "Settings -> Developer -> Create Key in the Omi app."
        )
    if not re.fullmatch(r"omi_dev_[\x21-\x7e]+", key):
        raise misconfigured("api_key must be omi_dev_ followed by visible ASCII characters.")
    if len(key) > _KEY_LIMIT:
        raise misconfigured(f"api_key is longer than {_KEY_LIMIT} characters.")
    return key


def _checked_base_url(url: str) -> str:
    if not isinstance(url, str) or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise misconfigured("base_url must be a str of visible ASCII characters, without blanks.")
    url = str.__str__(url)
    if not url.lower().startswith(("https://", "http://")):
        raise misconfigured(_WRONG_SCHEME)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None  # refused below, where the parser's error is not the context
    if "@" in parts.netloc:
        raise misconfigured("base_url must not carry a user name or password.")
    if "?" in url or "#" in url:
        raise misconfigured("base_url must not have a query or a fragment.")
    if (
        not parts.hostname
        or port == 0
        or not re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", parts.netloc)
        or not _is_host(parts.hostname)
    ):
        raise misconfigured("base_url must name a host, and a port other than 0 if any.")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise misconfigured(_WRONG_SCHEME)
    path = parts.path.removesuffix("/")
    if re.search("/v1(/dev(/.*)?)?$", path):
        raise misconfigured("base_url must end before /v1: the client adds the rest of the path itself.")
    if not re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", path):
        raise misconfigured("base_url must have a plain path, or best none.")
    return f"{parts.scheme}://{parts.netloc.lower()}{path}"


def _checked_proxy(proxy: str, base_url: str) -> Proxy:
    """Refuse what cannot be a proxy, without ever repeating it: it may hold a password."""
    if not isinstance(proxy, str) or not re.fullmatch(r"[\x21-\x7e]+", proxy):
        raise misconfigured("proxy must be a str of visible ASCII characters, without blanks.")
    scheme, found, rest = str.__str__(proxy).partition("://")
    if scheme.lower() != "http" or not found:
        raise misconfigured("proxy must begin with http://; other kinds of proxies are not supported.")
    user, at, place = rest.rpartition("@")
    named = re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?", place)
    host = named[1].strip("[]") if named else ""
    if named is None or not _is_host(host.lower()) or (named[2] and not 1 <= int(named[2]) <= _LAST_PORT):
        raise misconfigured("proxy must name a host, and a port other than 0 if any, and nothing behind them.")
    if re.search("[/?#@]", user):
        raise misconfigured("proxy must have /, ?, # and @ in a user name or password written with %, as %40.")
    if base_url.startswith("http://") and not _is_loopback(host.lower()):
        raise misconfigured("proxy must be on this machine if base_url is plain http: it would be sent the key.")
    return Proxy(f"http://{place.removesuffix('/').lower()}", _authorization(user) if at else None)


def _authorization(user: str) -> Callable[[], str]:
    name, _, password = user.partition(":")
    credentials = b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return lambda: f"Basic {credentials}"


def _checked_context(context: SSLContext) -> SSLContext:
    if not isinstance(context, SSLContext) or context.protocol == PROTOCOL_TLS_SERVER:
        raise misconfigured("ssl must be an ssl.SSLContext for clients, such as ssl.create_default_context() makes.")
    return context


def _is_host(name: str) -> bool:
    """Whether a name can be looked up at all, or is an address."""
    labels = name.removesuffix(".").split(".")
    if ":" in name or labels[-1].isdigit():
        return _address(name) is not None
    if len(name) > _HOST_LIMIT or not all(1 <= len(label) <= _LABEL_LIMIT for label in labels):
        return False
    try:
        for label in labels:
            if label.startswith("xn--"):
                label.encode().decode("idna")
    except UnicodeError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _checked_user_agent(user_agent: str | None) -> str:
    own = f"omi-async/{__version__}"
    if user_agent is None:
        return own
    if not isinstance(user_agent, str) or not re.fullmatch(r"[\x21-\x7e]+( [\x21-\x7e]+)*", user_agent):
        raise misconfigured("user_agent must be visible ASCII words, such as my-bot/1.0.")
    if len(user_agent) > _USER_AGENT_LIMIT:
        raise misconfigured(f"user_agent is longer than {_USER_AGENT_LIMIT} characters.")
    return f"{str.__str__(user_agent)} {own}"
