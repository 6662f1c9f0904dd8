"""A plain HTTP caller for a sandbox, which knows nothing of the client."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping

import aiohttp
import attrs
from yarl import URL

from omi_async.sandbox import Sandbox


@attrs.frozen
class Answer:
    """What came back: status, body, headers."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Caller:
    """A plain aiohttp session that sends to one sandbox, with its full key unless told otherwise."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession, url: str | None = None) -> None:
        self.sandbox = sandbox
        self.session = session
        self.url = sandbox.url if url is None else url

    async def __call__(
        self,
        method: str,
        path: str,
        json_body: dict[str, object] | None = None,
        *,
        body: bytes | None = None,
        key: str | None = "",
        authorization: str | None = None,
        headers: dict[str, str] | None = None,
        content_type: str | None = "application/json",
    ) -> Answer:
        sent = dict(headers or {})
        if authorization is not None:
            sent["Authorization"] = authorization
        elif key is not None:
            sent["Authorization"] = f"Bearer {key or self.sandbox.api_key}"
        if json_body is not None:
            body = json.dumps(json_body).encode()
        if body is not None and content_type is not None:
            sent["Content-Type"] = content_type
        async with self.session.request(
            method,
            URL(self.url + path, encoded=True),
            data=body,
            headers=sent,
            skip_auto_headers=["Content-Type"],
            allow_redirects=False,
        ) as response:
            return Answer(response.status, await response.read(), response.headers)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def calling(sandbox: Sandbox) -> AsyncIterator[Caller]:
    """Serve *sandbox* and hand out a caller for it."""
    async with sandbox, aiohttp.ClientSession() as session:
        yield Caller(sandbox, session)
