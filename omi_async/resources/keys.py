"""The keys resource: the requests it builds, and one short method for each operation.

All but `current` are made with the ID token of the signed-in user in the place of the client's key.
"""

import re
from collections.abc import Callable, Iterable

from .._protocol import arguments
from .._protocol.arguments import refused
from .._protocol.collection import Collection, rows, value
from .._protocol.meaning import unreadable
from .._protocol.request import Answer, Request, builder, window
from ..models.keys import ApiKey, CreatedApiKey
from ..retry import Retrier, RetryPolicy, Timeout

_KEYS = Collection("keys", "/v1/dev/keys", "Key", ApiKey)

_CURRENT = "/v1/dev/key"

_TOKEN_LENGTH = 8192  # characters; real ones have about a thousand


# Requests


@builder
def current_key() -> Request[ApiKey]:
    """Build the request of `current`."""
    return Request("keys.current", "GET", _CURRENT, value(ApiKey), (window("GET", _CURRENT),), effect="none")


@builder
def list_keys(id_token: str) -> Request[tuple[ApiKey, ...]]:
    """Build the request of `list`."""
    request: Request[tuple[ApiKey, ...]] = _KEYS.read("list", _KEYS.path, rows(ApiKey))
    request.authorization = _authorization(id_token)
    return request


@builder
def create_key(name: str, scopes: Iterable[str] | None, id_token: str) -> Request[CreatedApiKey]:
    """Build the request of `create`."""
    fields: dict[str, object] = {"name": arguments.word(name, "name", strip=True)}
    if scopes is not None:
        fields["scopes"] = arguments.listed(scopes, "scopes", check=arguments.word)
    request: Request[CreatedApiKey] = _KEYS.write("create", _KEYS.path, fields, value(CreatedApiKey), effect="once")
    request.authorization = _authorization(id_token)
    return request


@builder
def revoke_key(key_id: str, id_token: str) -> Request[None]:
    """Build the request of `revoke`."""
    path = _KEYS.of(arguments.identifier(key_id, "key_id"))
    request: Request[None] = Request("keys.revoke", "DELETE", path, _revoked, (_KEYS.writes,))
    request.authorization = _authorization(id_token)
    return request


def _authorization(id_token: str) -> Callable[[], str]:
    """What the request carries; an ID token is never repeated in an error."""
    if not isinstance(id_token, str):
        raise TypeError(f"id_token must be a str, not {arguments.kind(id_token)}")
    token = str.__str__(id_token)
    if token.lower().startswith("omi_"):
        raise refused("id_token is a key; this call takes the ID token of the signed-in user.")
    if not re.fullmatch(rf"[\x21-\x7e]{{1,{_TOKEN_LENGTH}}}", token):
        raise refused(f"id_token must be 1 to {_TOKEN_LENGTH} visible ASCII characters, without the word Bearer.")
    return lambda: f"Bearer {token}"


def _revoked(answer: Answer) -> None:
    if answer.body or answer.status != 204:
        raise unreadable(answer, f"the server answered {answer.status} where it says nothing of a revoked key.")


# Calls


class AsyncKeys:
    """API keys of the user, reached as `client.keys`.

    `current` is made with the client's key. The other calls need `id_token`, the ID token that a signed-in user of the
    app has for about an hour. It takes the key's place in that one call, is shown nowhere, and is not kept.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `AuthenticationError` for a refused key or token;
    `RouteNotFoundError` from a server that does not have the operation; `TransportError`, `ServerError` and
    `ResponseError`. The `outcome` of each tells whether the write may have been applied.
    """

    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier

    async def current(
        self,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> ApiKey:
        """Ask what the client's own key is and may do: the way to check a key before a long job.

        A revoked key can be let in for up to an hour. Raises `RateLimitError`, and `RouteNotFoundError` from servers
        of May 2026.

        Source: https://docs.omi.me (getCallingApiKey) and observed behavior.
        """
        return await self._retrier.call(current_key(), timeout, retry)

    async def list(
        self,
        *,
        id_token: str,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> tuple[ApiKey, ...]:
        """List the keys of the signed-in user, the newest first, without the keys themselves.

        Source: https://docs.omi.me (listApiKeys) and observed behavior.
        """
        request = list_keys(id_token)
        del id_token  # private: a traceback that shows locals must not show it
        return await self._retrier.call(request, timeout, retry)

    async def create(
        self,
        name: str,
        *,
        scopes: Iterable[str] | None = None,
        id_token: str,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> CreatedApiKey:
        """Create a key. Its `key` is shown this once.

        `scopes` says what the key may do, as `memories:read`; None lets it read everything, and an empty one nothing.
        A write scope does not include the read.

        The server makes another key for every request, so an attempt that may have been carried out is not repeated:
        the error's `outcome` is then `unknown`, and a key that nobody knows may be in the list. Raises
        `BadRequestError` for a scope that the server does not know.

        Source: https://docs.omi.me (createApiKey) and observed behavior.
        """
        request = create_key(name, scopes, id_token)
        del id_token
        return await self._retrier.call(request, timeout, retry)

    async def revoke(
        self,
        key_id: str,
        *,
        id_token: str,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        """Revoke a key, which stops working at once.

        The server says the same of an id that does not exist: to be sure, look at the list.

        Source: https://docs.omi.me (revokeApiKey) and observed behavior.
        """
        request = revoke_key(key_id, id_token)
        del id_token
        await self._retrier.call(request, timeout, retry)
