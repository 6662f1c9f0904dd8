"""The clients that are compared, each used as its documentation says.

Nothing but `json` and `asyncio` is imported before a contender is opened: the cold start is measured too.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

ID = "2f1c9a7e-4b0d-4a6e-9d53-8c7be1f0a6d2"
KEY = "omi_dev_0123456789abcdef0123456789abcdef"
HEADERS = {"Authorization": f"Bearer {KEY}"}
PATH = f"/v1/dev/user/conversations/{ID}"
TITLE = "Design review, second part"


class Async:
    """A client for asynchronous code; `patch` and `delete` give back whatever the client makes of the answer."""

    title: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    uvloop: ClassVar[bool] = False

    def __init__(self, base: str) -> None:
        self.base = base
        self.url = base + PATH

    async def open(self) -> None:
        raise NotImplementedError

    async def patch(self) -> object:
        raise NotImplementedError

    async def delete(self) -> object:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class Sync:
    """A client for synchronous code; one object is used by all threads."""

    title: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, base: str, threads: int) -> None:
        self.base = base
        self.url = base + PATH
        self.threads = threads

    def open(self) -> None:
        raise NotImplementedError

    def patch(self) -> object:
        raise NotImplementedError

    def delete(self) -> object:
        raise NotImplementedError

    def close(self) -> None:
        """Leave the connections to the end of the process."""


class Aiohttp(Async):
    title = "bare aiohttp"

    async def open(self) -> None:
        import aiohttp

        self.session = aiohttp.ClientSession()

    async def patch(self) -> object:
        async with self.session.patch(self.url, json={"title": TITLE}, headers=HEADERS) as response:
            response.raise_for_status()
            return json.loads(await response.read())

    async def delete(self) -> object:
        async with self.session.delete(self.url, headers=HEADERS) as response:
            response.raise_for_status()
            return json.loads(await response.read())

    async def close(self) -> None:
        await self.session.close()


class AiohttpUvloop(Aiohttp):
    title = "bare aiohttp, uvloop"
    needs = ("uvloop",)
    uvloop = True


class Tenacity(Aiohttp):
    title = "aiohttp in tenacity"

    async def open(self) -> None:
        import aiohttp
        import tenacity

        await super().open()
        repeated = tenacity.retry(
            stop=tenacity.stop_after_attempt(3),
            wait=tenacity.wait_random_exponential(multiplier=0.25, max=8.0),
            retry=tenacity.retry_if_exception_type((aiohttp.ClientError, TimeoutError)),
            reraise=True,
        )
        self._patch: Callable[[], Coroutine[Any, Any, object]] = repeated(super().patch)
        self._delete: Callable[[], Coroutine[Any, Any, object]] = repeated(super().delete)

    async def patch(self) -> object:
        return await self._patch()

    async def delete(self) -> object:
        return await self._delete()


class HttpxAsync(Async):
    title = "httpx.AsyncClient"
    needs = ("httpx",)

    async def open(self) -> None:
        import httpx

        # By default a task that waits 5 s for one of 100 connections gives up: too soon on a busy machine.
        self.client = httpx.AsyncClient(timeout=httpx.Timeout(5.0, pool=None))

    async def patch(self) -> object:
        response = await self.client.patch(self.url, json={"title": TITLE}, headers=HEADERS)
        return response.raise_for_status().json()

    async def delete(self) -> object:
        response = await self.client.delete(self.url, headers=HEADERS)
        return response.raise_for_status().json()

    async def close(self) -> None:
        await self.client.aclose()


class OursAsync(Async):
    title = "omi_async"

    async def open(self) -> None:
        from omi_async import AsyncOmiClient

        self.client = AsyncOmiClient(KEY, base_url=self.base)

    async def patch(self) -> object:
        return await self.client.conversations.update(ID, title=TITLE)

    async def delete(self) -> object:
        return await self.client.conversations.delete(ID)

    async def close(self) -> None:
        await self.client.aclose()


class OursAsyncUvloop(OursAsync):
    title = "omi_async, uvloop"
    needs = ("uvloop",)
    uvloop = True


class HttpClient(Sync):
    title = "http.client"

    def open(self) -> None:
        import threading

        self.local = threading.local()  # a connection serves one thread

    def _call(self, method: str, body: str | None, headers: dict[str, str]) -> object:
        import http.client

        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPConnection(self.base.removeprefix("http://"))
        connection.request(method, PATH, body, headers)
        response = connection.getresponse()
        document: object = json.loads(response.read())
        if response.status != 200:
            raise OSError(response.status)
        return document

    def patch(self) -> object:
        return self._call("PATCH", json.dumps({"title": TITLE}), {**HEADERS, "Content-Type": "application/json"})

    def delete(self) -> object:
        return self._call("DELETE", None, HEADERS)


class Urllib3(Sync):
    title = "urllib3"
    needs = ("urllib3",)

    def open(self) -> None:
        import urllib3

        self.pool = urllib3.PoolManager(maxsize=self.threads, block=True, retries=False)

    def patch(self) -> object:
        return self._read(self.pool.request("PATCH", self.url, json={"title": TITLE}, headers=HEADERS))

    def delete(self) -> object:
        return self._read(self.pool.request("DELETE", self.url, headers=HEADERS))

    def _read(self, response: Any) -> object:
        if response.status != 200:
            raise OSError(response.status)
        return response.json()


class Requests(Sync):
    title = "requests, one Session a thread"
    needs = ("requests",)

    def open(self) -> None:
        import threading

        self.local = threading.local()  # a Session is not for several threads

    def _session(self) -> Any:
        import requests

        session = getattr(self.local, "session", None)
        if session is None:
            session = self.local.session = requests.Session()
        return session

    def patch(self) -> object:
        response = self._session().patch(self.url, json={"title": TITLE}, headers=HEADERS)
        response.raise_for_status()
        return response.json()

    def delete(self) -> object:
        response = self._session().delete(self.url, headers=HEADERS)
        response.raise_for_status()
        return response.json()


class HttpxSync(Sync):
    title = "httpx.Client"
    needs = ("httpx",)

    def open(self) -> None:
        import httpx

        self.client = httpx.Client(timeout=httpx.Timeout(5.0, pool=None))

    def patch(self) -> object:
        return self.client.patch(self.url, json={"title": TITLE}, headers=HEADERS).raise_for_status().json()

    def delete(self) -> object:
        return self.client.delete(self.url, headers=HEADERS).raise_for_status().json()

    def close(self) -> None:
        self.client.close()


class OursSync(Sync):
    title = "omi_sync"

    def open(self) -> None:
        from omi_sync import OmiClient

        self.client = OmiClient(KEY, base_url=self.base)

    def patch(self) -> object:
        return self.client.conversations.update(ID, title=TITLE)

    def delete(self) -> object:
        return self.client.conversations.delete(ID)

    def close(self) -> None:
        self.client.close()


class _Decoding(Sync):
    """No call at all: `patch` makes something of the body of an answer."""

    def __init__(self, base: str, threads: int) -> None:
        from tests.benchmarks import server

        self.body = {"small": server.SMALL, "large": server.LARGE}[base]


class DecodeJson(_Decoding):
    title = "json.loads"

    def open(self) -> None:
        pass

    def patch(self) -> object:
        return json.loads(self.body)


class DecodeParse(_Decoding):
    title = "omi_async: bytes to JSON"

    def open(self) -> None:
        from omi_async._protocol.convert import parse

        self.parse = parse

    def patch(self) -> object:
        return self.parse(self.body)


class DecodeStructure(_Decoding):
    title = "omi_async: JSON to model"

    def open(self) -> None:
        from omi_async import Conversation
        from omi_async._protocol.convert import parse, structure

        self.document = parse(self.body)
        self.structure, self.model = structure, Conversation

    def patch(self) -> object:
        return self.structure(self.document, self.model)


class DecodeOurs(_Decoding):
    title = "omi_async: bytes to model"

    def open(self) -> None:
        from omi_async import Conversation
        from omi_async._protocol.convert import parse, structure

        self.parse, self.structure, self.model = parse, structure, Conversation

    def patch(self) -> object:
        return self.structure(self.parse(self.body), self.model)


class DecodeCattrs(_Decoding):
    title = "json.loads and cattrs as it comes"

    def open(self) -> None:
        from cattrs.preconf.json import make_converter

        from omi_async import Category, Conversation

        self.converter, self.model = make_converter(), Conversation
        # The one type that it cannot read by itself.
        self.converter.register_structure_hook(Category | str, lambda value, _: value)

    def patch(self) -> object:
        return self.converter.structure(json.loads(self.body), self.model)


CONTENDERS: dict[str, type[Async] | type[Sync]] = {
    "aiohttp": Aiohttp,
    "aiohttp-uvloop": AiohttpUvloop,
    "tenacity": Tenacity,
    "httpx-async": HttpxAsync,
    "ours": OursAsync,
    "ours-uvloop": OursAsyncUvloop,
    "http.client": HttpClient,
    "urllib3": Urllib3,
    "requests": Requests,
    "httpx": HttpxSync,
    "ours-sync": OursSync,
    "json": DecodeJson,
    "parse": DecodeParse,
    "structure": DecodeStructure,
    "decode": DecodeOurs,
    "cattrs": DecodeCattrs,
}


def once(name: str, base: str) -> None:
    """One call from beginning to end."""
    kind = CONTENDERS[name]
    if issubclass(kind, Async):
        asyncio.run(_once(kind(base)))
    else:
        contender = kind(base, 1)
        contender.open()
        contender.patch()
        contender.close()


async def _once(contender: Async) -> None:
    await contender.open()
    await contender.patch()
    await contender.close()
