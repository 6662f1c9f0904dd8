"""The server that a command line asks for, and a client for it."""

import os
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from omi_async import ConfigurationError, RetryPolicy, __version__

from ..client import OmiClient
from .voices import Lines
from .words import AUTH, NAME, USAGE, Problem, one_line, usage

_DEFAULT = "https://api.omi.me"
_NOT_READ = ("OMI_API_BASE_URL", "OMI_API_URL")
"""Variables that name the server to other tools. Whoever has set only these expects them to count here."""


def server(*, sandbox: bool, base_url: str | None, proxy: str | None) -> str:
    """The host that the command speaks to, for people."""
    if sandbox and proxy is not None:
        raise usage("--sandbox is a server inside this command: no --proxy leads to it.")
    if sandbox and base_url is not None:
        raise usage("--sandbox and --base-url name two different servers.")
    if sandbox:
        return "the sandbox"
    url = base_url if base_url is not None else os.environ.get("OMI_API_BASE")
    if not url:
        url = _DEFAULT
        for name in _NOT_READ:
            if os.environ.get(name, _DEFAULT).rstrip("/") not in ("", _DEFAULT):
                raise usage(f"{name} is set, but {NAME} reads OMI_API_BASE. Set that instead, or give --base-url.")
    try:
        host = urlsplit(url).netloc or url
    except ValueError:  # the client refuses it before anything is sent
        host = url
    return one_line(host.rpartition("@")[2])


def connect(
    stack: ExitStack, voice: Lines, *, sandbox: bool, base_url: str | None, proxy: str | None, wait: bool
) -> OmiClient:
    """A client, and its sandbox if it has one, that live as long as the stack; what cannot be used is a `Problem`."""
    settings: dict[str, Any] = {"base_url": base_url, "user_agent": f"{NAME}/{__version__}"}
    if not sandbox:
        settings["proxy"] = (os.environ.get("OMI_PROXY") or None) if proxy is None else proxy
    if not wait:
        settings["retry"] = RetryPolicy(retry_after_limit=0.0)
    if sandbox:
        from ..sandbox import Sandbox

        server = stack.enter_context(Sandbox())
        known = ", ".join(server.conversations)
        voice.notice(f"Sandbox: a server inside this command, not your account. It knows {known}.")
        settings.update(api_key=server.api_key, base_url=server.url)
    elif not os.environ.get("OMI_API_KEY"):
        raise Problem(
            AUTH,
            "AuthenticationError",
            "There is no API key. Nothing was sent. Put one into the environment variable OMI_API_KEY; keys are "
            "made in the Omi app: Settings -> Developer -> Create Key. To try it out without one: --sandbox",
        )
    try:
        return stack.enter_context(OmiClient(**settings))
    except ConfigurationError as error:
        about_key = error.text.startswith("api_key")
        text = error.text.replace("api_key", "OMI_API_KEY").replace(" (omi_mcp_...)", "")
    text = text.replace("proxy must", "The proxy (--proxy or OMI_PROXY) must")
    text = text.replace("base_url", "The base URL (--base-url or OMI_API_BASE)")
    raise Problem(AUTH if about_key else USAGE, "ConfigurationError", f"{text} Nothing was sent.")
