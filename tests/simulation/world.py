"""The server and all that stands in between, as one script has it; and the record of what really happened.

The API's own answers are the sandbox's. The record is the truth that the oracle goes by: what arrived, what was
applied, and who answered with what.
"""

import gzip
from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
from multidict import CIMultiDict

from omi_async.sandbox import Sandbox, SandboxConversation
from omi_async.sandbox.action_items import SandboxActionItem
from omi_async.sandbox.api import Incoming
from omi_async.sandbox.goals import SandboxGoal
from omi_async.sandbox.memories import SandboxMemory

from .script import Arrival, Script, Turn


class Page(NamedTuple):
    """An answer that is not the API's."""

    status: int
    kind: str
    body: bytes
    may_follow_the_change: bool
    """Whether it can be the answer to a request that the API has carried out."""
    waits: bool = False
    """It says when to come again."""


_HTML = "text/html"
_JSON = "application/json"
_SORRY = b"<html><body>sorry</body></html>"

PAGES = {
    "400": Page(400, _HTML, _SORRY, False),
    "401": Page(401, _HTML, _SORRY, False),
    "403": Page(403, _HTML, _SORRY, False),
    "404": Page(404, _HTML, b"default backend - 404", False),
    "404 json": Page(404, _JSON, b'{"error":"no upstream"}', False),
    "404 of another": Page(404, _JSON, b'{"detail":"Service not found"}', False),
    "404 router": Page(404, _JSON, b'{"detail":"Not Found"}', False),
    "408": Page(408, _HTML, _SORRY, True),
    "409": Page(409, _HTML, _SORRY, False),
    "410": Page(410, _HTML, _SORRY, False),
    "425": Page(425, _HTML, _SORRY, True),
    "429": Page(429, _HTML, _SORRY, False),
    "429 waits": Page(429, _HTML, _SORRY, False, waits=True),
    "500": Page(500, "text/plain", b"Internal Server Error", True),
    "501": Page(501, _HTML, _SORRY, True),
    "502": Page(502, _HTML, _SORRY, True),
    "503": Page(503, _HTML, _SORRY, True),
    "503 waits": Page(503, _HTML, _SORRY, True, waits=True),
    "503 never": Page(503, _JSON, b'{"detail":{"retryable":false}}', True),
    "503 repeats": Page(503, _JSON, b'{"detail":"cannot be stored: %b"}', True),
    "504": Page(504, _HTML, _SORRY, True),
    "200 login": Page(200, _HTML, b"<html><form>please sign in</form></html>", True),
    "200 empty": Page(200, _JSON, b"", True),
    "200 null": Page(200, _JSON, b"null", True),
    "200 denied": Page(200, _JSON, b'{"success":false}', True),
    "200 cut": Page(200, _JSON, b'{"success":tr', True),
    "200 object": Page(200, _JSON, b'{"status":"ok"}', True),
    "302": Page(302, _HTML, b"", True),
    "101": Page(101, _HTML, b"", True),
    "garbage": Page(0, "", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", True),
}

WAYS = (
    "whole", "closes", "cut", "stops", "twice", "twice later", "interim", "in pieces", "half closed", "closed later",
    "without a length", "chunked", "packed",
)  # fmt: skip


@attrs.define
class Seen:
    """One request as it arrived, and what became of it."""

    number: int
    wire: int
    nth: int  # request on its connection
    at: float
    method: str
    path: str
    body: bytes
    key: str
    applied: float | None = None  # when
    status: int | None = None  # of the API's answer, even if the client got another's
    answered: float | None = None  # when the answer began to go out
    answer: str = ""
    proper: bool = False  # the API's own answer went out whole
    waits: float | None = None  # seconds that the answer asks to wait
    dropped: float | None = None  # when the client closed the connection, if this was the last request on it
    strayed: bool = False  # an answer that nobody had asked for may have come in the place of its own
    overlapped: bool = False  # came before the last one on its connection was answered


@attrs.define
class Record:
    """What really happened."""

    requests: list[Seen] = attrs.field(factory=list)
    left: list[tuple[float, bytes]] = attrs.field(factory=list)
    """Whatever the client has written and when, arrived or not."""
    arrivals: int = 0


class Timetable:
    """What the world needs of the run."""

    now: float

    def at(self, delay: float, action: Callable[[], object]) -> None: ...


class World:
    def __init__(self, script: Script, ids: dict[str, set[str]], timetable: Any, log: Callable[[str], None]) -> None:
        world = script.world
        self.record = Record()
        self.sandbox = Sandbox(
            [SandboxConversation(id=each, title="as it was") for each in sorted(ids["conversations"])],
            memories=[SandboxMemory(id=each, content="as it was") for each in sorted(ids["memories"])],
            action_items=[SandboxActionItem(id=each, description="as it was") for each in sorted(ids["action_items"])],
            goals=[SandboxGoal(id=each, title="as it was") for each in sorted(ids["goals"])],
            folders=(),
            daily_summaries=(),
            write_limit=world.write_limit,
            read_limit=world.read_limit,
            transcript_limit=world.transcript_limit,
            write_window=world.window,
            clock=lambda: self.timetable.now,
        )
        self.script = world
        self.timetable = timetable
        self.log = log
        self.recovered = False
        self._turns = list(world.turns)
        self._arrivals = list(world.arrivals)

    def recover(self) -> None:
        """From now on all is well."""
        self.recovered = True
        self._turns.clear()
        self._arrivals.clear()

    def next_arrival(self) -> Arrival:
        self.record.arrivals += 1
        return self._arrivals.pop(0) if self._arrivals else Arrival()

    def next_turn(self) -> Turn:
        return self._turns.pop(0) if self._turns else Turn()

    def ask_api(self, seen: Seen, headers: CIMultiDict[str]) -> Any:
        """Have the API carry out the request; its reply."""
        path, _, query = seen.path.partition("?")
        incoming = Incoming(
            method=seen.method, path=path, query=query, headers=headers, body=seen.body, origin="http://localhost"
        )
        reply = self.sandbox._api.answer(incoming)
        seen.status = reply.status
        if incoming.applied:
            seen.applied = self.timetable.now
        self.log(f"api     #{seen.number} {reply.status}{' applied' if incoming.applied else ''}")
        return reply


class Connection:
    """The world's side of one connection."""

    def __init__(self, world: World, wire: Any, arrival: Arrival) -> None:
        self._world = world
        self._wire = wire
        self._buffer = b""
        self._requests = 0
        self._seen: Seen | None = None
        self._answering = False
        self._last = 0
        self._stray_until = -1.0
        at = world.timetable.at
        match arrival.kind:
            case "speaks first":
                at(arrival.seconds, lambda: self._stray(_message(200, _JSON, b'{"success":true}')))
            case "closed at once":
                wire.close()
            case "closed soon":
                at(arrival.seconds, wire.close)
        self._rest()

    def left(self, data: bytes) -> None:
        self._world.record.left.append((self._world.timetable.now, data))

    def received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            first, *lines = head.decode("latin-1").split("\r\n")
            headers: CIMultiDict[str] = CIMultiDict()
            for line in lines:
                name, _, text = line.partition(": ")
                headers.add(name, text)
            size = int(headers.get("Content-Length", 0))
            if len(rest) < size:
                return
            self._buffer = rest[size:]
            method, path, _ = first.split(" ")
            self._take(method, path, headers, rest[:size])

    def client_closed(self) -> None:
        self._world.log(f"world   connection {self._wire.number} closed by the client")
        if self._seen is not None:
            self._seen.dropped = self._world.timetable.now - self._world.script.latency
        self._wire.close()

    def _take(self, method: str, path: str, headers: CIMultiDict[str], body: bytes) -> None:
        world, at = self._world, self._world.timetable.at
        self._requests += 1
        self._last += 1
        key = headers.get("Authorization", "").removeprefix("Bearer ")
        seen = Seen(
            len(world.record.requests), self._wire.number, self._requests, world.timetable.now, method, path, body, key
        )
        before = self._seen if self._answering else None
        seen.strayed = world.timetable.now <= self._stray_until or (before is not None and before.strayed)
        seen.overlapped, self._seen = before is not None and not seen.strayed, seen
        world.record.requests.append(seen)
        turn = world.next_turn()
        world.log(f"world   #{seen.number} {method} {path} {body.decode()} on {self._wire.number}: {turn!r}")
        self._answering = True
        if turn.answer == "api":
            at(turn.delay, lambda: self._answer(seen, turn, world.ask_api(seen, headers)))
            return
        page = PAGES.get(turn.answer)
        if turn.reaches and (page is None or page.may_follow_the_change):
            at(turn.late, lambda: world.ask_api(seen, headers))
        at(turn.delay, lambda: self._answer(seen, turn, page))

    def _answer(self, seen: Seen, turn: Turn, reply: Any) -> None:
        world, wire, at = self._world, self._wire, self._world.timetable.at
        seen.answered, seen.answer = world.timetable.now, turn.answer
        if turn.way == "in pieces":
            seen.answered += turn.gap
        if reply is None:  # nobody answers
            if turn.way == "closes":
                wire.close()
            return
        headers = "" if isinstance(reply, Page) else "".join(f"{k}: {v}\r\n" for k, v in reply.headers.items())
        if isinstance(reply, Page) and reply.waits:
            headers += f"Retry-After: {turn.wait}\r\n"
            seen.waits = float(turn.wait)
        elif not isinstance(reply, Page) and "Retry-After" in reply.headers:
            seen.waits = float(reply.headers["Retry-After"])
        kind = reply.kind if isinstance(reply, Page) else None
        if isinstance(reply, Page) and b"%b" in reply.body:
            reply = reply._replace(body=reply.body % seen.body.replace(b'"', b"'"))
        message = reply.body if reply.status == 0 else _message(reply.status, kind, reply.body, headers, turn.way)
        seen.proper = not isinstance(reply, Page) and turn.way not in ("cut", "stops") and not wire.closed
        self._answering = False
        if seen.strayed:  # the client has taken another answer for this one, and may take this for the next
            self._stray(message)
            return
        match turn.way:
            case "cut" | "stops":
                wire.send(message[: 1 + turn.cut % max(1, len(message) - 1)])
                if turn.way == "cut":
                    wire.close()
            case "twice":
                wire.send(message + message)
            case "twice later":
                wire.send(message)
                at(turn.gap, lambda: self._stray(message))
            case "in pieces":
                middle = turn.cut % len(message)
                wire.send(message[:middle])
                at(turn.gap, lambda: wire.send(message[middle:]))
            case "half closed":
                wire.send(message)
                wire.half_close()
            case "closed later":
                wire.send(message)
                at(turn.gap, wire.close)
            case "closes" | "without a length":
                wire.send(message)
                wire.close()
            case _:
                wire.send(message)
        self._rest()

    def _stray(self, message: bytes) -> None:
        """Send what nobody has asked for."""
        self._wire.send(message)
        self._stray_until = self._world.timetable.now + 2 * self._world.script.latency
        if self._answering and self._seen is not None:
            self._seen.strayed = True

    def _rest(self) -> None:
        """Close the connection if it stays idle."""
        self._last += 1
        last, idle = self._last, self._world.script.idle
        if idle and not self._world.recovered:
            self._world.timetable.at(idle, lambda: self._wire.close() if self._last == last else None)


def _message(status: int, kind: str | None, body: bytes, headers: str = "", way: str = "whole") -> bytes:
    if kind is not None:
        headers += f"Content-Type: {kind}\r\n"
    if status == 302:
        headers += "Location: http://localhost:8000/elsewhere\r\n"
    if way == "packed":
        body = gzip.compress(body, mtime=0)
        headers += "Content-Encoding: gzip\r\n"
    if way == "closes":
        headers += "Connection: close\r\n"
    if status in (101, 204):
        body = b""
    elif way == "chunked":
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:]) if part) + b"0\r\n\r\n"
        headers += "Transfer-Encoding: chunked\r\n"
    elif way == "without a length":
        headers += "Connection: close\r\n"
    else:
        headers += f"Content-Length: {len(body)}\r\n"
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" if way == "interim" else b""
    return interim + f"HTTP/1.1 {status} Whatever\r\n{headers}\r\n".encode() + body
