"""The HTTP proxy that a client goes through, if any."""

from collections.abc import Callable
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import aiohttp
from aiohttp import hdrs
from yarl import URL

from ..errors import TransportError


class Proxy:
    """Where the proxy is, and what it is told about its user."""

    def __init__(self, url: str, authorization: Callable[[], str] | None) -> None:
        """`url` has no user and no password. As with the key, they live in the function's cell alone."""
        self.url = URL(url, encoded=True)
        self._authorization = authorization

    def headers(self) -> dict[str, str]:
        """What a request to the proxy itself carries."""
        return {} if self._authorization is None else {hdrs.PROXY_AUTHORIZATION: self._authorization()}

    def __str__(self) -> str:
        return f"the proxy {self.url.origin()}"


def refusal(proxy: Proxy | None, origin: URL, error: aiohttp.ClientHttpProxyError) -> TransportError:
    """The error for a proxy that was reached and did not connect: the request has not left for the API.

    None stands for the proxy of a borrowed session.
    """
    name, status = proxy or "the proxy", error.status
    if status == 407 and proxy is not None and proxy.headers():
        text = f"{name} refuses the user and the password that it was given (407)."
    elif status == 407:
        text = f"{name} asks for a user and a password (407)."
    elif status >= 500:
        text = f"{name} could not connect to {origin} ({status})."
    else:
        text = f"{name} refuses to connect to {origin} ({status})."
    passing = status >= 500 or status in {408, 425, 429}
    return TransportError(text, outcome="not_applied", retryable=passing)


def hint(origin: URL) -> str:
    """A sentence for a failed connection, if the environment names a proxy that other programs would have used."""
    proxies = getproxies_environment()
    named = "HTTPS_PROXY" if "https" in proxies else "ALL_PROXY" if "all" in proxies else None
    if origin.scheme != "https" or named is None or proxy_bypass_environment(str(origin.host), proxies):
        return ""
    return f" {named} is set and was not used: name the proxy as `proxy`, or for the command with --proxy."
