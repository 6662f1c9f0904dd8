# Made from omi_async/resources/keys.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The keys resource for synchronous code."""

from collections.abc import Iterable

from omi_async.client import AsyncOmiClient
from omi_async.models.keys import ApiKey, CreatedApiKey
from omi_async.retry import RetryPolicy, Timeout

from ._bridge import Bridge


class Keys:
    """API keys of the user, reached as `client.keys`.

    `current` is made with the client's key. The other calls need `id_token`, the ID token that a signed-in user of the
    app has for about an hour. It takes the key's place in that one call, is shown nowhere, and is not kept.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `AuthenticationError` for a refused key or token;
    `RouteNotFoundError` from a server that does not have the operation; `TransportError`, `ServerError` and
    `ResponseError`. The `outcome` of each tells whether the write may have been applied.
    """

    def __init__(self, bridge: Bridge[AsyncOmiClient]) -> None:
        self._bridge = bridge

    def current(
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
        coroutine = self._bridge.target.keys.current(timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)

    def list(
        self,
        *,
        id_token: str,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> tuple[ApiKey, ...]:
        """List the keys of the signed-in user, the newest first, without the keys themselves.

        Source: https://docs.omi.me (listApiKeys) and observed behavior.
        """
        coroutine = self._bridge.target.keys.list(id_token=id_token, timeout=timeout, retry=retry)
        del id_token  # private: a traceback that shows locals must not show it
        return self._bridge.run(coroutine)

    def create(
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
        coroutine = self._bridge.target.keys.create(
            name, scopes=scopes, id_token=id_token, timeout=timeout, retry=retry
        )
        del id_token
        return self._bridge.run(coroutine)

    def revoke(
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
        coroutine = self._bridge.target.keys.revoke(key_id, id_token=id_token, timeout=timeout, retry=retry)
        del id_token
        self._bridge.run(coroutine)
