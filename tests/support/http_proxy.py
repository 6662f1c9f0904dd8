"""An HTTP proxy for tests: it opens tunnels, passes plain requests on, and may want a password or refuse."""

import asyncio
from base64 import b64encode
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support import http1
from tests.support.raw import answer, end_all


class HttpProxy:
    """Passes on to ports of this machine, whatever the host is called.

    `user` is "name:password". `refusal` is the status for every request; `says` is what it says as soon as somebody
    connects, and instead of an answer.
    """

    def __init__(self, *, user: str | None = None, refusal: int | None = None, says: bytes | None = None) -> None:
        self._wanted = user and f"Basic {b64encode(user.encode()).decode()}"
        self._refusal = refusal
        self._says = says
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.lines: list[str] = []
        """The first line of every request that it was asked to pass on."""
        self.received = bytearray()
        """Every byte that clients sent."""

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url_for(self, user: str) -> str:
        return f"http://{user}@127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await end_all(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._says is not None:
            writer.write(self._says)
        requests = http1.Reader()
        while data := await self._read(reader):
            requests.feed(data)
            while (request := requests.next()) is not None:
                self.lines.append(request.line.decode("latin-1"))
                if self._says is not None:
                    return
                if self._wanted is not None and request.headers.get("proxy-authorization") != self._wanted:
                    writer.write(answer(407, "who?", headers={"Proxy-Authenticate": "Basic"}))
                elif self._refusal is not None:
                    writer.write(answer(self._refusal, "no"))
                elif request.method == "CONNECT":
                    await self._tunnel(int(request.path.rpartition(":")[2]), reader, writer)
                    return
                else:
                    writer.write(await self._passed_on(request))

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        data = await reader.read(2**16)
        self.received += data
        return data

    async def _tunnel(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def down() -> None:
            while data := await far_reader.read(2**16):
                writer.write(data)
            writer.close()

        back = asyncio.create_task(down())
        try:
            while data := await self._read(reader):
                far_writer.write(data)
        finally:
            back.cancel()
            far_writer.close()
            await asyncio.wait([back])

    async def _passed_on(self, request: http1.Request) -> bytes:
        """A plain request's answer, from the server that its whole URL names."""
        url = urlsplit(request.path)
        lines = request.head.decode("latin-1").split("\r\n")
        kept = [line for line in lines[1:] if not line.lower().startswith(("proxy-", "connection:"))]
        head = "\r\n".join([lines[0].replace(f"http://{url.netloc}", "", 1), *kept, "Connection: close"])
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.port or 80))
        writer.write(head.encode("latin-1") + b"\r\n\r\n" + request.body)
        size = 0
        data = await reader.readuntil(b"\r\n\r\n")
        for line in data.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        data += await reader.readexactly(size)
        writer.close()
        return data
