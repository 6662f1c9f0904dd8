"""Canned answers from a process of its own: `python -m tests.benchmarks.server` prints its ports and serves.

It reads of a request what it takes to find the end, so that what is measured is the client. Each port has its own
answer to a PATCH; every port answers a DELETE, and a GET with the number of requests answered so far.
"""

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.contenders import ID
from tests.support import bodies, http1

try:
    from uvloop import run
except ImportError:
    from asyncio import run

_DELAY = 0.02  # seconds


def conversation(segments: int) -> bytes:
    """The body of an answer to a PATCH, every field of it filled: 1.2 KB with one segment, 77 KB with 500."""
    document = bodies.full()
    document["id"] = ID
    document["structured"]["overview"] += " Green was liked, red was not, and nobody wanted to wait." * 4
    document["transcript_segments"] = [
        {
            "id": f"segment-{number:05}",
            "text": "And then we could paint the door green, or leave it as is.",
            "speaker_id": number % 3,
            "speaker_name": None,
            "start": number * 2.5,
            "end": number * 2.5 + 2.25,
        }
        for number in range(segments)
    ]
    return bodies.compact(document)


SMALL = conversation(1)
LARGE = conversation(500)


def _answer(body: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\ndate: Tue, 20 Jan 2026 10:00:00 GMT\r\nserver: canned\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


_DELETED = _answer(b'{"success":true}')


class _Port(http1.Port):
    """One connection."""

    answered = 0
    """On all ports together."""

    def __init__(self, patched: bytes, delay: float | None) -> None:
        self._patched = patched
        self._delay = delay

    def requested(self, request: http1.Request) -> None:
        if request.method == "GET":
            self.transport.write(_answer(b"%d" % _Port.answered))
            return
        _Port.answered += 1
        answer = self._patched if request.method == "PATCH" else _DELETED
        if self._delay is None:
            self.transport.write(answer)
        else:
            asyncio.get_running_loop().call_later(self._delay, self.transport.write, answer)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    small, large = _answer(SMALL), _answer(LARGE)
    ports = {}
    for name, patched, delay in (("small", small, None), ("large", large, None), ("slow", small, _DELAY)):
        server = await loop.create_server(
            lambda patched=patched, delay=delay: _Port(patched, delay),  # type: ignore[misc]
            "127.0.0.1",
            0,
            backlog=1024,
        )
        ports[name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until whoever started it is gone


class Server:
    """The running server, as the measuring side sees it."""

    def __init__(self, pid: int, ports: dict[str, int]) -> None:
        self.pid = pid
        self._ports = ports
        self._connection = http.client.HTTPConnection("127.0.0.1", ports["small"])

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self._ports[port]}"

    def answered(self) -> int:
        """How many requests were answered so far."""
        self._connection.request("GET", "/")
        return int(self._connection.getresponse().read())

    def close(self) -> None:
        self._connection.close()


@contextmanager
def process() -> Iterator[Server]:
    """The server in a process of its own, gone at the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with contextlib.closing(Server(child.pid, json.loads(child.stdout.readline()))) as server:
                yield server
        finally:
            child.stdin.close()


if __name__ == "__main__":
    run(_serve())
