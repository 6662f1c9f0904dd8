"""A server that knows the truth: it holds records, spoils answers on purpose, and says afterwards what happened.

For each request it may pick a fault and the moment of the fault: before the change is applied, after it, half way
(title stored, `discarded` not), or with the change applied late, when the client has given up already. The choice
depends on the seed, the record and the number of the request only, so a run can be repeated.

Ids decide what is there: `none_...` never existed, everything else exists until it is deleted. In a process of its
own: `python -m tests.support.truth --seed 1 --rate 0.75`, ended by the end of its standard input.
"""

import argparse
import asyncio
import collections
import http.client
import itertools
import json
import random
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import attrs

from tests.support import http1
from tests.support.raw import answer, conversation

Moment = Literal["before", "after", "late", "half"]
Ending = Literal["keep", "close", "reset", "stall", "trickle"]

STALL = 30.0
"""Seconds after which a connection that was left hanging is given up; longer than any attempt in the tests."""

LATE = 0.02
"""Seconds after which a late change is applied."""

_GOOD_BODY = json.dumps(conversation("@ID@", structured={"title": "@TITLE@", "overview": "", "category": "work"}))


@attrs.define(eq=False)
class Record:
    """One conversation, and all that was done to it."""

    exists: bool
    title: str = "Before"
    discarded: bool = False
    titles: list[str] = attrs.field(factory=list)
    """Every title that was stored, in order."""
    discards: list[bool] = attrs.field(factory=list)
    """Every value of `discarded` that was stored, in order."""
    deletions: int = 0
    requests: int = 0
    """Requests on the wire that named it."""


@attrs.define(eq=False)
class Asked:
    """One request."""

    method: str
    id: str
    fields: dict[str, Any]
    record: Record

    def apply(self, *, half: bool = False) -> bool:
        """Make the change, as the real server does: field after field; whether there was anything to change."""
        record = self.record
        if not record.exists:
            return False
        if self.method == "DELETE":
            record.exists = False
            record.deletions += 1
            return True
        if "title" in self.fields:
            record.title = self.fields["title"]
            record.titles.append(record.title)
        if "discarded" in self.fields and not half:
            record.discarded = self.fields["discarded"]
            record.discards.append(record.discarded)
        return True

    def body(self) -> bytes:
        if self.method == "DELETE":
            return b'{"success":true}'
        title = json.dumps(self.record.title)[1:-1]
        return _GOOD_BODY.replace("@ID@", self.id).replace("@TITLE@", title).encode()

    def good(self) -> bytes:
        return _ok(self.body())


def _ok(body: bytes, *extra: str, status: int = 200) -> bytes:
    lines = "".join(f"{line}\r\n" for line in extra)
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    return head.encode("latin-1") + body


def _chunked(body: bytes, *, size: str | None = None, end: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + (size or f"{len(body):x}").encode() + b"\r\n" + body + b"\r\n" + (b"0\r\n\r\n" if end else b"")


def _gzip(body: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=31)
    return deflate.compress(body) + deflate.flush()


def _halved(data: bytes) -> bytes:
    """An answer cut in the middle of its body."""
    head = data.index(b"\r\n\r\n") + 4
    return data[: head + max(1, (len(data) - head) // 2)]


_MISSING = answer(404, {"detail": "Conversation not found"})
_HTML = b"<!doctype html><html><head><title>Sign in</title></head><body>Welcome to the hotel.</body></html>"
_OVERSIZED = _ok(_gzip(bytes(9 * 2**20)), "Content-Encoding: gzip")


@attrs.frozen
class Fault:
    """One way to go wrong. `reply` makes the bytes; `ending` says what becomes of the connection."""

    name: str
    reply: Callable[[Asked], bytes]
    ending: Ending = "keep"
    moments: tuple[Moment, ...] = ("before", "after")
    methods: tuple[str, ...] = ("PATCH", "DELETE")
    done: bool = False
    """The client may take it for a success, so it only ever follows a change that was made."""
    weight: int = 20


def _fixed(data: bytes) -> Callable[[Asked], bytes]:
    return lambda _: data


def _status(status: int, body: object = b"", **headers: str) -> Callable[[Asked], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return _fixed(answer(status, body, headers=named))


def _refusal(status: int, detail: object) -> Fault:
    return Fault(f"{status}", _status(status, {"detail": detail}), moments=("before",), weight=10)


def _redirect(status: int) -> Fault:
    def reply(asked: Asked) -> bytes:
        return answer(status, headers={"Location": f"http://127.0.0.1:@CANARY@/v1/dev/user/conversations/{asked.id}"})

    return Fault(f"redirect {status}", reply, weight=7)


_BEFORE_AFTER_LATE: tuple[Moment, ...] = ("before", "after", "late")
_ALL: tuple[Moment, ...] = ("before", "after", "late", "half")
_AFTER: tuple[Moment, ...] = ("after",)
_PATCH, _DELETE = ("PATCH",), ("DELETE",)

FAULTS: tuple[Fault, ...] = (
    # The connection
    Fault("close", _fixed(b""), "close", _ALL, weight=60),
    Fault("reset", _fixed(b""), "reset", _ALL, weight=60),
    Fault("stall", _fixed(b""), "stall", _BEFORE_AFTER_LATE),
    Fault("stall in the body", lambda asked: _halved(asked.good()), "stall", weight=10),
    Fault("trickle", lambda asked: asked.good(), "trickle", weight=10),
    Fault("header cut, close", lambda asked: asked.good()[:30], "close"),
    Fault("header cut, reset", lambda asked: asked.good()[:30], "reset"),
    Fault("half an answer, close", lambda asked: _halved(asked.good()), "close"),
    Fault("half an answer, reset", lambda asked: _halved(asked.good()), "reset"),
    # Broken HTTP
    Fault("garbage status line", _fixed(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "close"),
    Fault("binary", _fixed(bytes(range(256))), "close"),
    Fault("status 99", lambda asked: asked.good().replace(b" 200 ", b" 99 ", 1), "close"),
    Fault("status 1000", lambda asked: asked.good().replace(b" 200 ", b" 1000 ", 1), "close"),
    Fault("chunk size not hexadecimal", lambda asked: _chunked(asked.body(), size="zz"), "close"),
    Fault("no last chunk", lambda asked: _chunked(asked.body(), end=False), "close"),
    Fault("chunk longer than sent", lambda asked: _chunked(asked.body(), size="ffff", end=False), "close"),
    Fault("two Content-Lengths", lambda asked: _ok(asked.body(), f"Content-Length: {len(asked.body()) + 1}"), "close"),
    Fault("length and chunked", lambda asked: _ok(asked.body(), "Transfer-Encoding: chunked"), "close"),
    Fault("negative length", _fixed(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "close"),
    Fault("huge length", lambda asked: answer(200, asked.body(), length=2**40), "close"),
    Fault("NUL in a header", lambda asked: _ok(asked.body(), "X-Odd: a\0b"), "close"),
    Fault("header of 20 KB", lambda asked: _ok(asked.body(), f"X-Long: {'x' * 20_000}"), "close", weight=5),
    Fault("bytes after the body", lambda asked: asked.good() + b"HTTP/1.1 404 No\r\n", "close", _AFTER, done=True),
    Fault("no length, cut", lambda asked: _halved(b"HTTP/1.0 200 OK\r\n\r\n" + asked.body()), "close"),
    # A body that is not what was asked for
    Fault("HTML 200", _fixed(_ok(_HTML))),
    Fault("null 200", _fixed(_ok(b"null"))),
    Fault("cut JSON", lambda asked: _ok(asked.body()[:-1])),
    Fault("more than JSON", lambda asked: _ok(asked.body() + b"{}")),
    Fault("not UTF-8", _fixed(_ok(b'{"success":"\xff"}'))),
    Fault("deep JSON", _fixed(_ok(b"[" * 50_000)), weight=3),
    Fault("wrong types", _fixed(_ok(b'{"id":1,"success":1,"structured":[]}'))),
    Fault("twice in one object", _fixed(_ok(b'{"success":false,"success":true}'))),
    Fault("corrupt gzip", _fixed(_ok(b"\x1f\x8bnot gzip at all", "Content-Encoding: gzip"))),
    Fault("unknown encoding", lambda asked: _ok(_gzip(asked.body()), "Content-Encoding: odd")),
    Fault("oversized", _fixed(_OVERSIZED), weight=1),
    Fault("wrong id", lambda asked: _ok(asked.body().replace(b'"id": "', b'"id": "x', 1)), methods=_PATCH),
    Fault("empty 200", _fixed(_ok(b""))),
    Fault("empty 202", _fixed(_ok(b"", status=202))),
    Fault("204 to an update", _fixed(b"HTTP/1.1 204 No Content\r\n\r\n"), methods=_PATCH),
    Fault("success false", _fixed(_ok(b'{"success":false}')), methods=_DELETE),
    Fault('success "false"', _fixed(_ok(b'{"success":"false"}')), methods=_DELETE),
    Fault('success "true"', _fixed(_ok(b'{"success":"true"}')), methods=_DELETE),
    # Statuses that leave it open
    *(Fault(f"{status}", _status(status, "Internal Server Error"), moments=_ALL) for status in (500, 502, 503)),
    *(Fault(f"{status}", _status(status)) for status in (408, 425, 504, 520)),
    *(Fault(f"{status}", _status(status, _HTML), weight=7) for status in (501, 511, 600, 999)),
    Fault("304", _fixed(b"HTTP/1.1 304 Not Modified\r\n\r\n"), weight=7),
    Fault("101", _fixed(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "close", weight=7),
    Fault("503 with Retry-After", _status(503, {"detail": "Rate limiter unavailable"}, Retry_After="1")),
    Fault("503 not retryable", _status(503, {"detail": {"code": "gone", "retryable": False}}), weight=7),
    *(_redirect(status) for status in (301, 302, 303, 307, 308)),
    # Refusals: true ones, so nothing is ever applied
    _refusal(400, "Bad request"),
    _refusal(401, "Invalid API Key"),
    _refusal(402, "A paid plan is required to access this conversation."),
    _refusal(403, {"code": "account_deletion_in_progress", "retryable": False}),
    _refusal(409, "Conflict"),
    _refusal(413, "Too large"),
    _refusal(422, [{"loc": ["body", "title"], "msg": "no", "type": "odd"}]),
    Fault("429", _status(429, {"detail": "Rate limit exceeded."}), moments=("before",), weight=40),
    Fault("429 with Retry-After", _status(429, {"detail": "Wait."}, Retry_After="1"), moments=("before",), weight=10),
    Fault("429 for an hour", _status(429, {"detail": "Wait."}, Retry_After="3600"), moments=("before",), weight=2),
    # Odd, and still right
    Fault("103 first", lambda asked: b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + asked.good(), moments=_AFTER, done=True),
    Fault("close after the answer", lambda asked: asked.good(), "close", _AFTER, done=True),
    Fault("no length, complete", lambda asked: b"HTTP/1.0 200 OK\r\n\r\n" + asked.body(), "close", _AFTER, done=True),
    Fault("gzip", lambda asked: _ok(_gzip(asked.body()), "Content-Encoding: gzip"), moments=_AFTER, done=True),
    Fault(
        "gzip without its trailer",
        lambda asked: _ok(_gzip(asked.body())[:-8], "Content-Encoding: gzip"),
        moments=_AFTER,
        done=True,
    ),
    Fault(
        "gzip cut",
        lambda asked: _ok(_gzip(asked.body())[:-12], "Content-Encoding: gzip"),
        moments=_AFTER,
        done=True,
    ),
    Fault("204 to a deletion", _fixed(b"HTTP/1.1 204 No Content\r\n\r\n"), "keep", _AFTER, _DELETE, done=True),
    Fault("202 to a deletion", lambda asked: _ok(asked.body(), status=202), "keep", _AFTER, _DELETE, done=True),
)

Choice = tuple[Fault, Moment]

CHOICES: dict[str, list[Choice]] = {
    method: [
        (fault, moment)
        for fault in FAULTS
        if method in fault.methods
        for moment in fault.moments
        if moment != "half" or method == "PATCH"
    ]
    for method in ("PATCH", "DELETE")
}


class Truth:
    """The server. `rate` is the share of requests that meet a fault; `script`, if set, picks faults instead.

    `delay` is how long an answer takes, in seconds; `without` leaves out the faults whose name begins so.
    """

    def __init__(self, *, seed: int = 0, rate: float = 0.0, delay: float = 0.0, without: str = "") -> None:
        self.records: dict[str, Record] = {}
        self.faults: collections.Counter[str] = collections.Counter()
        """By kind: the name of the fault and its moment."""
        self.requests = 0
        self.connections = 0
        self.open_connections = 0
        self.in_flight = 0
        """Requests that were neither answered nor given up by the client."""
        self.peak = 0
        """The most that were in flight at once."""
        self.canary = 0
        """Connections to the address that redirects point at."""
        self.rate = rate
        self.script: Callable[[Asked], Choice | None] | None = None
        self.delay = delay
        self._seed = seed
        self._weights = {
            method: list(
                itertools.accumulate(
                    0.0 if without and fault.name.startswith(without) else fault.weight / len(fault.moments)
                    for fault, _ in choices
                )
            )
            for method, choices in CHOICES.items()
        }
        self._servers: list[asyncio.Server] = []
        self._links: set[_Link] = set()
        self._late: dict[object, tuple[Asked, asyncio.TimerHandle]] = {}

    @property
    def port(self) -> int:
        return int(self._servers[0].sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._servers = [
            await loop.create_server(lambda: _Link(self), "127.0.0.1", 0, backlog=4096),
            await loop.create_server(lambda: _Canary(self), "127.0.0.1", 0),
        ]
        self.canary_port = str(self._servers[1].sockets[0].getsockname()[1]).encode()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for link in list(self._links):
            link.transport.abort()
        self.settle()
        await asyncio.sleep(0)

    def record(self, conversation_id: str) -> Record:
        if conversation_id not in self.records:
            self.records[conversation_id] = Record(not conversation_id.startswith("none_"))
        return self.records[conversation_id]

    def settle(self) -> None:
        """Apply at once what was to be applied late."""
        for asked, timer in self._late.values():
            timer.cancel()
            asked.apply()
        self._late.clear()

    def state(self, forget: list[str] | None = None) -> dict[str, Any]:
        """The truth, as plain values: of all records, or of some that are forgotten with it."""
        self.settle()
        records = self.records
        if forget is not None:
            records = {name: self.records.pop(name) for name in forget if name in self.records}
        return {
            "requests": self.requests,
            "connections": self.connections,
            "open_connections": self.open_connections,
            "in_flight": self.in_flight,
            "peak": self.peak,
            "canary": self.canary,
            "faults": dict(self.faults),
            "records": {name: attrs.asdict(record) for name, record in records.items()},
        }

    def answer(self, asked: Asked) -> tuple[bytes, Ending]:
        """Apply what is to be applied, and say how to answer."""
        self.requests += 1
        asked.record.requests += 1
        choice = self._choose(asked)
        if choice is not None and choice[0].done and not asked.record.exists:
            choice = None
        if choice is None:
            return (asked.good() if asked.apply() else _MISSING), "keep"
        fault, moment = choice
        self.faults[f"{fault.name} ({moment})"] += 1
        if moment == "late":
            token = object()
            self._late[token] = asked, asyncio.get_running_loop().call_later(LATE, self._apply_late, token)
        elif moment != "before":
            asked.apply(half=moment == "half")
        return fault.reply(asked).replace(b"@CANARY@", self.canary_port), fault.ending

    def _apply_late(self, token: object) -> None:
        self._late.pop(token)[0].apply()

    def _choose(self, asked: Asked) -> Choice | None:
        if self.script is not None:
            return self.script(asked)
        if not self.rate:
            return None
        draw = random.Random(zlib.crc32(f"{self._seed}/{asked.id}/{asked.record.requests}".encode()))
        if draw.random() >= self.rate:
            return None
        return draw.choices(CHOICES[asked.method], cum_weights=self._weights[asked.method])[0]


class _Link(http1.Port):
    """One connection."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._truth.connections += 1
        self._truth.open_connections += 1
        self._truth._links.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._free()
        if self._timer is not None:
            self._timer.cancel()
        self._truth.open_connections -= 1
        self._truth._links.discard(self)

    def eof_received(self) -> None:
        self._free()

    def requested(self, request: http1.Request) -> None:
        said = json.loads(request.body) if request.body else None
        if request.path == "/truth":
            self.transport.write(_ok(json.dumps(self._truth.state(said)).encode()))
            return
        self._busy = True
        self._truth.in_flight += 1
        self._truth.peak = max(self._truth.peak, self._truth.in_flight)
        name = request.name
        reply = self._truth.answer(Asked(request.method, name, said or {}, self._truth.record(name)))
        if self._truth.delay:
            self._timer = asyncio.get_running_loop().call_later(self._truth.delay, self._answer, *reply)
        else:
            self._answer(*reply)

    def _answer(self, data: bytes, ending: Ending) -> None:
        if ending == "trickle":
            self._trickle(data, 0)
            return
        if self.transport.is_closing():
            return
        if data:
            self.transport.write(data)
        if ending == "stall":
            self._timer = asyncio.get_running_loop().call_later(STALL, self.transport.abort)
            return
        self._free()
        if ending == "close":
            self.transport.close()
        elif ending == "reset":
            http1.reset(self.transport)

    def _trickle(self, data: bytes, at: int) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(data[at : at + 1])
        self._timer = asyncio.get_running_loop().call_later(0.05, self._trickle, data, at + 1)

    def _free(self) -> None:
        if self._busy:
            self._busy = False
            self._truth.in_flight -= 1


class _Canary(asyncio.Protocol):
    def __init__(self, truth: Truth) -> None:
        self._truth = truth

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._truth.canary += 1
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def ask(url: str, forget: list[str] | None = None) -> dict[str, Any]:
    """What the server at `url` says of itself, or of some records that it then forgets; blocks."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request("POST", "/truth", None if forget is None else json.dumps(forget))
        state: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    # The connection that asked is not one of those asked about.
    state["connections"] -= 1
    state["open_connections"] -= 1
    return state


@contextmanager
def process(*, seed: int = 0, rate: float = 0.0, delay: float = 0.0, without: str = "") -> Iterator[str]:
    """Run it in a process of its own, and give its URL; `ask` it for the truth."""
    settings = {"seed": seed, "rate": rate, "delay": delay, "without": without}
    options = [f"--{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "tests.support.truth", *options]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


async def _serve(truth: Truth) -> None:
    async with truth:
        print(truth.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="the server that knows the truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--without", default="")
    asyncio.run(_serve(Truth(**vars(parser.parse_args()))))
