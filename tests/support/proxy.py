"""A TCP proxy between the client and a server, which is bad in a chosen way in a chosen direction.

It knows nothing of HTTP or TLS: it delays, slices, stops, closes and resets streams of bytes.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

import attrs

from tests.support import http1
from tests.support.raw import end_all


@attrs.frozen(kw_only=True)
class Flow:
    """What happens to the bytes of one direction."""

    latency: float = 0.0
    """Seconds before each piece is passed on."""
    slice: int | None = None
    """Pass on in pieces of this many bytes."""
    limit: int | None = None
    """Pass on this many bytes and then do `then`; 0 does it when the first byte comes."""
    then: Literal["stall", "close", "reset"] = "stall"
    """`stall` falls silent in this direction, `close` (FIN) and `reset` (RST) end the connection for both sides."""


@attrs.frozen(kw_only=True)
class Link:
    """What happens to one connection: `up` is from the client to the server, `down` the way back."""

    up: Flow = Flow()
    down: Flow = Flow()


class Proxy:
    """Passes each connection on to a port of this machine; `plan` says for each number, from 1, how."""

    def __init__(self, port: int, plan: Callable[[int], Link] = lambda number: Link()) -> None:
        self._target = port
        self._plan = plan
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.received = bytearray()
        """Every byte that clients sent, passed on or not."""

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

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
        task = asyncio.get_running_loop().create_task(self._serve(self._plan(self.connections), reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        pumps = {
            asyncio.create_task(self._pump(link.up, reader, far_writer, self.received)),
            asyncio.create_task(self._pump(link.down, far_reader, writer, None)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
            if any(pump.done() and isinstance(pump.exception(), _Reset) for pump in pumps):
                for one in (writer, far_writer):
                    http1.reset(one.transport)
        finally:
            for pump in pumps:
                pump.cancel()
            far_writer.close()
            await asyncio.wait(pumps)

    async def _pump(
        self, flow: Flow, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: bytearray | None
    ) -> None:
        room = flow.limit
        try:
            while data := await reader.read(2**16):
                if log is not None:
                    log += data
                if room is not None:
                    data, room = data[:room], max(0, room - len(data))
                step = flow.slice or len(data) or 1
                for start in range(0, len(data), step):
                    await asyncio.sleep(flow.latency)
                    writer.write(data[start : start + step])
                    await writer.drain()
                if room == 0:
                    await self._end(flow)
            writer.write_eof()
        except OSError:
            raise _Closed from None

    async def _end(self, flow: Flow) -> None:
        match flow.then:
            case "stall":
                await asyncio.Event().wait()
            case "close":
                raise _Closed
            case "reset":
                raise _Reset


class _Closed(Exception):
    pass


class _Reset(Exception):
    pass
