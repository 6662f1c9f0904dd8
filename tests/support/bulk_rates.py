"""How fast a bulk job goes through very many items, and what stays in memory: measured in processes of their own.

`python -m tests.support.bulk_rates serve` answers every request with a success and looks at nothing but its length; at
the end of its standard input it says how many it answered and how many connections there were at most.
`python -m tests.support.bulk_rates work async 100000 http://127.0.0.1:1234` sends that many deletions through one job,
takes turns with a bare aiohttp session, and prints what it found as JSON.
"""

import asyncio
import gc
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp

from omi_async import AsyncOmiClient, BulkStatus
from omi_sync import OmiClient
from tests.support import http1
from tests.support.sides import KEY
from tests.support.subprocesses import ROOT, environment

CONCURRENCY = 8
TURNS = 10
"""How often the job and the bare session take turns."""

_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"success":true}'


class _Link(http1.Port):
    requests = 0
    open = 0
    peak = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        _Link.open += 1
        _Link.peak = max(_Link.peak, _Link.open)

    def connection_lost(self, exc: Exception | None) -> None:
        _Link.open -= 1

    def requested(self, request: http1.Request) -> None:
        _Link.requests += 1
        self.transport.write(_ANSWER)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Link, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()
    print(json.dumps({"requests": _Link.requests, "peak": _Link.peak}), flush=True)


class CheapServer:
    """The server as a process; `requests` and `peak`, the most connections at once, are known after the block."""

    url = ""
    requests = 0
    peak = 0


@contextmanager
def cheap_server() -> Iterator[CheapServer]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.bulk_rates", "serve"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    server = CheapServer()
    try:
        assert process.stdout is not None
        server.url = process.stdout.readline().strip()
        yield server
        said = json.loads(process.communicate("", timeout=30)[0])
        server.requests, server.peak = said["requests"], said["peak"]
    finally:
        process.kill()
        process.communicate()


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def bare(url: str, count: int) -> float:
    """Seconds that as many workers take on a bare session for as many deletions, answers read as JSON."""
    numbers = iter(range(count))
    # As the client does: its own slots limit, not the connector.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def worker() -> None:
            for number in numbers:
                address = f"{url}/v1/dev/user/conversations/conv_{number}"
                async with session.delete(address, headers={"Authorization": f"Bearer {KEY}"}) as response:
                    assert (await response.json())["success"] is True

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
        return time.perf_counter() - began


class _Tally:
    """Which items were reported, at a bit each, and how much memory that took over time."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pulled = 0
        self.reported = 0
        self.twice = 0
        self.not_done = 0
        self.ahead = 0
        self.first = 0
        self.growth = 0
        self._seen = bytearray(count)
        self._warm = min(10_000, count // 5)

    def ids(self) -> Iterator[str]:
        for number in range(self.count):
            self.pulled += 1
            yield f"conv_{number}"

    def take(self, conversation_id: str, status: BulkStatus) -> None:
        number = int(conversation_id[5:])
        self.twice += self._seen[number]
        self._seen[number] = 1
        self.not_done += status is not BulkStatus.DONE
        self.reported += 1
        self.ahead = max(self.ahead, self.pulled - self.reported)
        if self.reported == self._warm:
            gc.collect()
            self.first = resident()
        elif self.reported > self._warm and self.reported % 1000 == 0:
            self.growth = max(self.growth, resident() - self.first)

    def found(self, own: float, other: float) -> dict[str, Any]:
        return {
            "reported": self.reported,
            "distinct": sum(self._seen),
            "twice": self.twice,
            "not_done": self.not_done,
            "ahead": self.ahead,
            "growth": self.growth,
            "rate": self.count / own,
            "bare_rate": self.count / other,
        }


def _turns(count: int) -> list[int]:
    return [count // TURNS + (turn < count % TURNS) for turn in range(TURNS)]


async def _work_async(count: int, url: str) -> dict[str, Any]:
    tally, own, other = _Tally(count), 0.0, 0.0
    async with (
        AsyncOmiClient(KEY, base_url=url) as omi,
        omi.conversations.delete_many(tally.ids(), concurrency=CONCURRENCY) as job,
    ):
        outcomes = aiter(job)
        for size in _turns(count):
            other += await bare(url, size)
            began = time.perf_counter()
            for _ in range(size):
                outcome = await anext(outcomes)
                tally.take(outcome.id, outcome.status)
            own += time.perf_counter() - began
        assert [outcome async for outcome in outcomes] == []
    return tally.found(own, other)


def _work_sync(count: int, url: str) -> dict[str, Any]:
    tally, own, other = _Tally(count), 0.0, 0.0
    loop = asyncio.new_event_loop()
    with (
        OmiClient(KEY, base_url=url) as omi,
        omi.conversations.delete_many(tally.ids(), concurrency=CONCURRENCY) as job,
    ):
        outcomes = iter(job)
        for size in _turns(count):
            other += loop.run_until_complete(bare(url, size))
            began = time.perf_counter()
            for outcome in itertools.islice(outcomes, size):
                tally.take(outcome.id, outcome.status)
            own += time.perf_counter() - began
        assert list(outcomes) == []
    loop.close()
    assert threading.active_count() == 1
    return tally.found(own, other)


def work(side: str, count: int, url: str) -> dict[str, Any]:
    """What a process of its own found out."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.support.bulk_rates", "work", side, str(count), url],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120 + count / 200,
        check=False,
    )
    assert (0, "") == (result.returncode, result.stderr), result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            asyncio.run(_serve())
        case ["work", "async", count, url]:
            print(json.dumps(asyncio.run(_work_async(int(count), url))))
        case ["work", "sync", count, url]:
            print(json.dumps(_work_sync(int(count), url)))
        case _:
            sys.exit(__doc__)
