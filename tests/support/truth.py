"""A server that knows the truth: it holds records, spoils answers on purpose, and says afterwards what happened.

For each request it may pick a fault and the moment of the fault: before the change is applied, after it, half way
(the first field stored, the others not), or with the change applied late, when the client has given up already. The
choice depends on the seed, the subject and the number of the request only, so a run can be repeated.

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
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import attrs

from tests.support import http1, operations
from tests.support.operations import OPERATIONS, Asked, Form, Record, ok
from tests.support.raw import answer

Moment = Literal["before", "after", "late", "half"]
Ending = Literal["keep", "close", "reset", "stall", "trickle"]

STALL = 30.0
"""Seconds after which a connection that was left hanging is given up; longer than any attempt in the tests."""

LATE = 0.02
"""Seconds after which a late change is applied."""


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


_HTML = b"<!doctype html><html><head><title>Sign in</title></head><body>Welcome to the hotel.</body></html>"
_STRAY = ok(b'{"success":true}')
_FOREIGN: dict[str, object] = {
    "of a router": {"detail": "Not Found"},
    "page": _HTML,
    "without a body": b"",
    "without a detail": {"message": "no Route matched with those values"},
    "of another record": {"detail": "Folder not found"},
}
_OVERSIZED = ok(_gzip(bytes(9 * 2**20)), "Content-Encoding: gzip")


@attrs.frozen(repr=False)
class Fault:
    """One way to go wrong. `reply` makes the bytes; `ending` says what becomes of the connection."""

    name: str
    reply: Callable[[Asked], bytes]
    ending: Ending = "keep"
    moments: tuple[Moment, ...] = ("before", "after")
    forms: tuple[Form, ...] = ("record", "deletion", "nothing", "value")
    done: bool = False
    """The client may take it for a success, so it only ever follows a change that was made."""
    weight: int = 20

    def __repr__(self) -> str:
        return self.name


def _fixed(data: bytes) -> Callable[[Asked], bytes]:
    return lambda _: data


def _status(status: int, body: object = b"", **headers: str) -> Callable[[Asked], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return _fixed(answer(status, body, headers=named))


def _good(status: int) -> Callable[[Asked], bytes]:
    return lambda asked: ok(asked.body(), status=status)


def _refusal(status: int, detail: object) -> Fault:
    return Fault(f"{status}", _status(status, {"detail": detail}), moments=("before",), weight=10)


def _foreign(status: int, name: str, body: object) -> Fault:
    return Fault(f"{status} {name}", _status(status, body), moments=("before",), weight=10)


def _redirect(status: int) -> Fault:
    def reply(asked: Asked) -> bytes:
        return answer(status, headers={"Location": f"http://127.0.0.1:@CANARY@/v1/dev/user/conversations/{asked.id}"})

    return Fault(f"redirect {status}", reply, weight=7)


_BEFORE_AFTER_LATE: tuple[Moment, ...] = ("before", "after", "late")
_ALL: tuple[Moment, ...] = ("before", "after", "late", "half")
_AFTER: tuple[Moment, ...] = ("after",)
_RECORD: tuple[Form, ...] = ("record",)
_DELETION: tuple[Form, ...] = ("deletion",)
_WITH_BODY: tuple[Form, ...] = ("record", "deletion", "value")
_DOCUMENT: tuple[Form, ...] = ("record", "value")

FAULTS: tuple[Fault, ...] = (
    # The connection
    Fault("close", _fixed(b""), "close", _ALL, weight=60),
    Fault("reset", _fixed(b""), "reset", _ALL, weight=60),
    Fault("stall", _fixed(b""), "stall", _BEFORE_AFTER_LATE),
    Fault("stall in the body", lambda asked: _halved(asked.good()), "stall", forms=_WITH_BODY, weight=10),
    Fault("trickle", lambda asked: asked.good(), "trickle", forms=_WITH_BODY, weight=10),
    Fault("header cut, close", lambda asked: asked.good()[:20], "close"),
    Fault("header cut, reset", lambda asked: asked.good()[:20], "reset"),
    Fault("half an answer, close", lambda asked: _halved(asked.good()), "close", forms=_WITH_BODY),
    Fault("half an answer, reset", lambda asked: _halved(asked.good()), "reset", forms=_WITH_BODY),
    # Broken HTTP
    Fault("garbage status line", _fixed(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "close"),
    Fault("binary", _fixed(bytes(range(256))), "close"),
    Fault("status 99", lambda asked: asked.good().replace(b" 200 ", b" 99 ", 1), "close", forms=_WITH_BODY),
    Fault("status 1000", lambda asked: asked.good().replace(b" 200 ", b" 1000 ", 1), "close", forms=_WITH_BODY),
    Fault("chunk size not hexadecimal", lambda asked: _chunked(asked.body(), size="zz"), "close"),
    Fault("no last chunk", lambda asked: _chunked(asked.body(), end=False), "close"),
    Fault("chunk longer than sent", lambda asked: _chunked(asked.body(), size="ffff", end=False), "close"),
    Fault("two Content-Lengths", lambda asked: ok(asked.body(), f"Content-Length: {len(asked.body()) + 1}"), "close"),
    Fault("length and chunked", lambda asked: ok(asked.body(), "Transfer-Encoding: chunked"), "close"),
    Fault("negative length", _fixed(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "close"),
    Fault("huge length", lambda asked: answer(200, asked.body(), length=2**40), "close"),
    Fault("NUL in a header", lambda asked: ok(asked.body(), "X-Odd: a\0b"), "close"),
    Fault("header of 20 KB", lambda asked: ok(asked.body(), f"X-Long: {'x' * 20_000}"), "close", weight=5),
    Fault("bytes after the body", lambda asked: asked.good() + b"HTTP/1.1 404 No\r\n", "close", _AFTER, done=True),
    Fault("no length, cut", lambda asked: _halved(b"HTTP/1.0 200 OK\r\n\r\n" + asked.body()), "close"),
    # A body that is not what was asked for
    Fault("HTML 200", _fixed(ok(_HTML))),
    Fault("null 200", _fixed(ok(b"null"))),
    Fault("cut JSON", lambda asked: ok(asked.body()[:-1])),
    Fault("more than JSON", lambda asked: ok(asked.body() + b"{}")),
    Fault("not UTF-8", _fixed(ok(b'{"success":"\xff"}'))),
    Fault("deep JSON", _fixed(ok(b"[" * 50_000)), weight=3),
    Fault("wrong types", _fixed(ok(b'{"id":1,"success":1,"structured":[]}'))),
    Fault("twice in one object", _fixed(ok(b'{"success":false,"success":true}'))),
    Fault("corrupt gzip", _fixed(ok(b"\x1f\x8bnot gzip at all", "Content-Encoding: gzip"))),
    Fault("unknown encoding", lambda asked: ok(_gzip(asked.body()), "Content-Encoding: odd")),
    Fault("oversized", _fixed(_OVERSIZED), weight=1),
    Fault("wrong id", lambda asked: ok(asked.body().replace(b'"id": "', b'"id": "x', 1)), forms=_RECORD),
    Fault("empty 200", _fixed(ok(b""))),
    *(Fault(f"empty {status}", _fixed(ok(b"", status=status)), weight=10) for status in (201, 202, 206)),
    Fault(
        "empty and chunked 200", _fixed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), weight=10
    ),
    Fault("blank 200", _fixed(ok(b" \r\n")), weight=10),
    Fault("empty 200 of a page", _fixed(answer(200, headers={"Content-Type": "text/html"})), weight=10),
    Fault("204 to anything else", _fixed(b"HTTP/1.1 204 No Content\r\n\r\n"), forms=_DOCUMENT),
    Fault("success false", _fixed(ok(b'{"success":false}')), forms=_DELETION),
    Fault('success "false"', _fixed(ok(b'{"success":"false"}')), forms=_DELETION),
    Fault('success "true"', _fixed(ok(b'{"success":"true"}')), forms=_DELETION),
    # Statuses that leave it open
    *(Fault(f"{status}", _status(status, "Internal Server Error"), moments=_ALL) for status in (500, 502, 503)),
    *(Fault(f"{status} with a good body", _good(status), forms=_WITH_BODY, weight=10) for status in (202, 203, 206)),
    *(Fault(f"{status}", _status(status)) for status in (408, 425, 460, 499, 504, 520)),
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
    # Refusals of others than the API, which let nothing through
    *(_foreign(404, name, body) for name, body in _FOREIGN.items()),
    *(_foreign(status, "page", _HTML) for status in (400, 401, 403, 409, 410, 422)),
    # Answers that nobody asked for, behind the right one
    Fault("answered twice", lambda asked: asked.good() * 2, moments=_AFTER, done=True),
    Fault("then a missing record", lambda asked: asked.good() + asked.missing(), moments=_AFTER, done=True),
    Fault("then a deletion", lambda asked: asked.good() + _STRAY, moments=_AFTER, done=True),
    Fault("an open answer, then another", lambda asked: answer(500) + asked.good(), moments=_ALL),
    # Odd, and still right
    Fault("103 first", lambda asked: b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + asked.good(), moments=_AFTER, done=True),
    Fault("close after the answer", lambda asked: asked.good(), "close", _AFTER, done=True),
    Fault("no length, complete", lambda asked: b"HTTP/1.0 200 OK\r\n\r\n" + asked.body(), "close", _AFTER, done=True),
    Fault("gzip", lambda asked: ok(_gzip(asked.body()), "Content-Encoding: gzip"), moments=_AFTER, done=True),
    Fault(
        "gzip without its trailer",
        lambda asked: ok(_gzip(asked.body())[:-8], "Content-Encoding: gzip"),
        moments=_AFTER,
        done=True,
    ),
    Fault(
        "gzip cut",
        lambda asked: ok(_gzip(asked.body())[:-12], "Content-Encoding: gzip"),
        moments=_AFTER,
        done=True,
    ),
    Fault("204 to a deletion", _fixed(b"HTTP/1.1 204 No Content\r\n\r\n"), "keep", _AFTER, _DELETION, done=True),
)

Choice = tuple[Fault, Moment]

CHOICES: dict[str, list[Choice]] = {
    operation.name: [
        (fault, moment)
        for fault in FAULTS
        if operation.form in fault.forms
        for moment in fault.moments
        if moment != "half" or operation.in_parts
    ]
    for operation in OPERATIONS
}
"""By operation."""


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
        self.strays = 0
        """Answers that were sent without a request, on connections at rest."""
        self.rate = rate
        self.script: Callable[[Asked], Choice | None] | None = None
        self.delay = delay
        self._seed = seed
        self._weights = {
            operation: list(
                itertools.accumulate(
                    0.0 if without and fault.name.startswith(without) else fault.weight / len(fault.moments)
                    for fault, _ in choices
                )
            )
            for operation, choices in CHOICES.items()
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

    def record(self, subject: str) -> Record:
        if subject not in self.records:
            self.records[subject] = Record(not subject.startswith("none_"))
        return self.records[subject]

    def settle(self) -> None:
        """Apply at once what was to be applied late."""
        for asked, timer in self._late.values():
            timer.cancel()
            asked.apply()
        self._late.clear()

    def state(self, names: list[str] | None = None, *, forget: bool = False) -> dict[str, Any]:
        """The truth, as plain values: of all records, or of those named, which are then forgotten if so wished."""
        self.settle()
        records = self.records
        if names is not None:
            records = {name: records[name] for name in names if name in records}
        if forget:
            for name in records:
                del self.records[name]
        return {
            "requests": self.requests,
            "connections": self.connections,
            "open_connections": self.open_connections,
            "in_flight": self.in_flight,
            "peak": self.peak,
            "canary": self.canary,
            "strays": self.strays,
            "faults": dict(self.faults),
            "records": {name: attrs.asdict(record) for name, record in records.items()},
        }

    def stray(self, agent: str) -> int:
        """Send an answer that nobody asked for on each connection at rest of one client; how many there were."""
        links = [link for link in self._links if link.agent == agent and link.at_rest]
        for link in links:
            link.transport.write(_STRAY)
        self.strays += len(links)
        return len(links)

    def links_of(self, agent: str) -> int:
        """Connections that one client has open."""
        return sum(link.agent == agent for link in self._links)

    def answer(self, asked: Asked) -> tuple[bytes, Ending]:
        """Apply what is to be applied, and say how to answer."""
        self.requests += 1
        asked.record.requests += 1
        choice = self._choose(asked)
        if choice is not None and choice[0].done and not asked.record.exists:
            choice = None
        if choice is None:
            return (asked.good() if asked.apply() else asked.missing()), "keep"
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
        return draw.choices(CHOICES[asked.operation.name], cum_weights=self._weights[asked.operation.name])[0]


class _Link(http1.Port):
    """One connection."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.agent = ""
        """The client that holds it."""
        self._busy = False
        self._served = False
        self._ended = False
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
        self._ended = True
        self._free()

    @property
    def at_rest(self) -> bool:
        """It has served, nothing is asked on it, and nobody has closed it."""
        return self._served and not self._busy and not self._ended and not self.transport.is_closing()

    def requested(self, request: http1.Request) -> None:
        control = _CONTROLS.get(request.path)
        if control is not None:
            self.transport.write(ok(json.dumps(control(self._truth, json.loads(request.body))).encode()))
            return
        if not self.agent:
            self.agent = request.headers.get("user-agent", "").partition(" ")[0]
        self._busy = self._served = True
        self._truth.in_flight += 1
        self._truth.peak = max(self._truth.peak, self._truth.in_flight)
        operation, subject, fields = operations.read(request)
        reply = self._truth.answer(Asked(operation, subject, fields, self._truth.record(subject)))
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


_CONTROLS: dict[str, Callable[[Truth, Any], Any]] = {
    "/truth": lambda truth, said: truth.state(said["names"], forget=said["forget"]),
    "/stray": lambda truth, said: truth.stray(said),
    "/links": lambda truth, said: truth.links_of(said),
}
"""What the server is asked about itself, by path."""


def _control(url: str, path: str, said: object) -> Any:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request("POST", path, json.dumps(said))
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def ask(url: str, names: list[str] | None = None, *, forget: bool = False) -> dict[str, Any]:
    """What the server at `url` says of itself, and of the records named, or all; blocks."""
    state: dict[str, Any] = _control(url, "/truth", {"names": names, "forget": forget})
    # The connection that asked is not one of those asked about.
    state["connections"] -= 1
    state["open_connections"] -= 1
    return state


def stray(url: str, agent: str) -> int:
    """Have an answer that nobody asked for wait on each connection at rest of one client; blocks."""
    return int(_control(url, "/stray", agent))


def seen_off(url: str, agent: str) -> bool:
    """Whether the server has seen the end of all connections of a client that is closed; blocks until then."""
    end = time.monotonic() + 10
    while _control(url, "/links", agent):
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


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
