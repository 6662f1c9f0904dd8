"""A listener that nobody may talk to: the place where a redirect points."""

import asyncio
from types import TracebackType
from typing import Self


class OtherOrigin:
    """Listens, counts, and fails the test when anything connects.

    `async with OtherOrigin() as other:` raises AssertionError at the end if there was a connection, unless the
    test has failed by itself already.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.received = bytearray()
        """What was sent here, for the message."""

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self._port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, self._port)
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        # A connection that is on its way has been accepted by the kernel: let the loop see it.
        for _ in range(3):
            await asyncio.sleep(0)
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if error is None:
            assert 0 == self.connections, f"{self.url} was connected to and got {bytes(self.received)!r}"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer with a success, so that a client that follows does not fail by luck."""
        try:
            while chunk := await reader.read(65536):
                self.received += chunk
                writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"success":true}')
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
