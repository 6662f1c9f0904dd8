"""A scripted HTTP/1.1 server on raw sockets: it says what the test tells it to, byte for byte, and logs the rest.

The log is the oracle: how many connections, how many requests, which bytes.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import attrs

from tests.support import http1

S = TypeVar("S", bound=AbstractAsyncContextManager[Any])


def conversation(conversation_id: str = "conv_1", **fields: Any) -> dict[str, Any]:
    """A conversation as PATCH answers it; `fields` replace top-level ones."""
    return {
        "id": conversation_id,
        "created_at": "2026-01-20T10:00:00.123456Z",
        "started_at": "2026-01-20T10:00:00Z",
        "finished_at": None,
        "structured": {
            "title": "Design review",
            "overview": "They spoke about the door.",
            "emoji": "🚪",
            "category": "work",
            "action_items": [{"description": "Paint the door", "completed": False}],
            "events": [],
        },
        "language": "en",
        "source": "omi",
        "transcript_segments": [
            {"id": "s1", "text": "Hello.", "speaker_id": 0, "speaker_name": None, "start": 0.0, "end": 1.5}
        ],
        "geolocation": None,
        "folder_id": None,
        "folder_name": None,
        **fields,
    }


def answer(
    status: int = 200,
    body: object = b"",
    *,
    reason: str = "Reason",
    headers: Mapping[str, str] | None = None,
    length: int | None = None,
) -> bytes:
    """One complete answer. A body that is not bytes or text is sent as JSON; `length` lies about its size."""
    if isinstance(body, str):
        raw = body.encode()
    elif isinstance(body, bytes):
        raw = body
    else:
        raw = json.dumps(body, ensure_ascii=False).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(raw) if length is None else length)}
    lines.update(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode("latin-1") + raw


def success(exchange: "Exchange") -> bytes:
    """What the real server answers when all is well."""
    if exchange.method == "DELETE":
        return answer(200, {"success": True})
    if exchange.method == "POST":
        return answer(200, {"id": "conv_1", "status": "completed", "discarded": False})
    told = conversation(exchange.name)
    if exchange.method == "PATCH":
        told["structured"]["title"] = json.loads(exchange.body).get("title", "Design review")
    return answer(200, told)


@attrs.define(eq=False)
class Exchange:
    """One request as it arrived, and the means to answer it."""

    number: int
    """Counted over the whole server, from 1."""
    connection: int
    """Which connection, from 1."""
    request: int
    """Which request on that connection, from 1."""
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    writer: asyncio.StreamWriter = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """The id that it names, or the text of which it makes a conversation."""
        if self.method == "POST":
            return str(json.loads(self.body).get("text"))
        return self.path.rpartition("/")[2]

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_slowly(self, data: bytes, *, step: int = 1, gap: float = 0.01) -> None:
        for start in range(0, len(data), step):
            await self.send(data[start : start + step])
            await asyncio.sleep(gap)

    async def succeed(self) -> None:
        await self.send(success(self))

    def close(self) -> None:
        """Close in good order (FIN)."""
        self.writer.close()

    def reset(self) -> None:
        """Close with RST."""
        http1.reset(self.writer.transport)

    def half_close(self) -> None:
        """Send FIN and go on reading."""
        self.writer.write_eof()

    async def hang(self) -> None:
        """Say nothing more until the server is closed."""
        await asyncio.Event().wait()


Script = Callable[[Exchange], Awaitable[None]]


class RawServer:
    """Runs `script` for every request that arrives whole; `on_connect` runs before the first byte is read.

    `on_connect(writer)` returns False to stop serving that connection (it must close it, or leave it hanging).
    """

    def __init__(
        self,
        script: Script,
        *,
        on_connect: Callable[[asyncio.StreamWriter], Awaitable[bool]] | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._script = script
        self._on_connect = on_connect
        self._tls = tls
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.log: list[Exchange] = []
        self.connections = 0
        self.bytes_received = 0
        """HTTP bytes, after TLS; those of a request that broke off too."""
        self.open_connections = 0

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, self._port, ssl=self._tls, backlog=4096)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await end_all(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not in the task: one that is cancelled before its first step runs none of its own code.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        connection, count = self.connections, 0
        try:
            if self._on_connect is not None and not await self._on_connect(writer):
                return
            requests = http1.Reader()
            while data := await reader.read(2**16):
                self.bytes_received += len(data)
                requests.feed(data)
                while (request := requests.next()) is not None:
                    count += 1
                    exchange = Exchange(
                        number=len(self.log) + 1,
                        connection=connection,
                        request=count,
                        method=request.method,
                        path=request.path,
                        headers=request.headers,
                        body=request.body,
                        writer=writer,
                    )
                    self.log.append(exchange)
                    await self._script(exchange)
                    if writer.is_closing():
                        return
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            self.open_connections -= 1


async def end_all(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel the tasks of a closed server, those of connections that it was just taking in included."""
    for _ in range(2):
        for _ in range(5):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
    for _ in range(5):
        await asyncio.sleep(0)


@contextmanager
def in_thread(server: S) -> Iterator[S]:
    """Run a server on a thread and loop of its own, for synchronous tests and for other processes' clients."""
    ready = threading.Event()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        async with server:
            end = asyncio.Event()
            loop = asyncio.get_running_loop()
            stop.append(lambda: loop.call_soon_threadsafe(end.set))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="raw-server", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        stop[0]()
        thread.join()
