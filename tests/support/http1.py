"""How every scripted server of the tests reads requests: the one parser of HTTP/1.1 under `tests`.

A `Reader` is handed the bytes of one connection as they come and gives out whole requests, one at a time. It knows no
chunked bodies: the client sends none. `Port` is a connection of a server that answers within one step.
"""

import asyncio
import re
import socket
import struct
from functools import cached_property
from typing import cast

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Request:
    """One request as it arrived. Its head is taken apart only for who asks."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.head = head
        """The request line and the headers, without the empty line."""
        self.body = body

    @cached_property
    def line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def method(self) -> str:
        return self.line.partition(b" ")[0].decode("latin-1")

    @property
    def path(self) -> str:
        return self.line.split(b" ", 2)[1].decode("latin-1")

    @property
    def name(self) -> str:
        """The last part of the path: an id, for a request that names a record."""
        return self.path.rpartition("/")[2]

    @cached_property
    def headers(self) -> dict[str, str]:
        """Names in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


class Reader:
    """The requests of one connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Request | None:
        """The next request, if it has arrived whole."""
        end = self._buffer.find(_END)
        if end < 0:
            return None
        length = _LENGTH.search(self._buffer, 0, end)
        start = end + len(_END)
        stop = start + (int(length[1]) if length else 0)
        if len(self._buffer) < stop:
            return None
        request = Request(bytes(self._buffer[:end]), bytes(self._buffer[start:stop]))
        del self._buffer[:stop]
        return request


class Port(asyncio.Protocol):
    """One connection of a server, which calls `requested` for every request that has arrived whole."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone
        self._reader = Reader()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (request := self._reader.next()) is not None:
            self.requested(request)

    def requested(self, request: Request) -> None:
        raise NotImplementedError


def reset(transport: asyncio.BaseTransport) -> None:
    """Close a connection with RST."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    cast(asyncio.Transport, transport).abort()
