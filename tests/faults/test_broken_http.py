"""What a call reports when the answer is not, or not quite, HTTP."""

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Callable

import pytest
from aiohttp import http_parser

from omi_async import (
    Conversation,
    Deletion,
    NotFoundError,
    OmiError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ResponseError,
    RetryPolicy,
    ServerError,
    StatusError,
    Timeout,
    TransportError,
)
from tests.support.clock import VirtualClock
from tests.support.failures import INSTANT, failure
from tests.support.raw import Exchange, RawServer, answer, conversation, success
from tests.support.replies import MISSING
from tests.support.sides import Side

# aiohttp reads answers with a parser in C, or where that was not built with one in Python that differs in details;
# both are stricter under `python -X dev`.
PURE = http_parser.HttpResponseParser is http_parser.HttpResponseParserPy
STRICT = sys.flags.dev_mode


def reply(exchange: Exchange, *lines: str | bytes, status: str = "200 OK", body: bytes | None = None) -> bytes:
    """A head of these lines alone, and the body of a success."""
    if body is None:
        body = success(exchange).partition(b"\r\n\r\n")[2]
    first = f"HTTP/1.1 {status}"
    head = [line if isinstance(line, bytes) else line.encode() for line in (first, *lines)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def size(exchange: Exchange, more: int = 0) -> str:
    """The right `Content-Length` for `reply`."""
    body = success(exchange).partition(b"\r\n\r\n")[2]
    return f"Content-Length: {len(body) + more}"


def chunks(exchange: Exchange, *, size: str | None = None, end: bytes = b"0\r\n\r\n") -> bytes:
    """The answer of a success in one chunk, whose size may be a lie."""
    body = success(exchange).partition(b"\r\n\r\n")[2]
    chunk = (f"{len(body):x}" if size is None else size).encode() + b"\r\n" + body + b"\r\n" + end
    return reply(exchange, "Transfer-Encoding: chunked", body=chunk)


Bytes = Callable[[Exchange], bytes]


def case(number: int, name: str, data: Bytes, *marks: pytest.MarkDecorator) -> object:
    return pytest.param(data, id=name, marks=[pytest.mark.scenario(number), *marks])


def status_line(status: str) -> object:
    return case(27, f"status {status}", lambda exchange: reply(exchange, size(exchange), status=f"{status} Word"))


def header(number: int, name: str, *lines: str | bytes, sized: bool = True) -> object:
    return case(number, name, lambda exchange: reply(exchange, *([size(exchange)] if sized else []), *lines))


lenient_in_python = pytest.mark.skipif(PURE and not STRICT, reason="the parser in Python takes the first of the two")
quiet_in_python = pytest.mark.skipif(PURE, reason="the parser in Python drops what follows the body")

BROKEN = [
    case(25, "ssh", lambda exchange: b"SSH-2.0-OpenSSH_9.6\r\n"),
    case(25, "smtp", lambda exchange: b"220 mail.example ESMTP ready\r\n"),
    case(25, "binary", lambda exchange: bytes(range(256)) * 4),
    case(25, "tls alert", lambda exchange: b"\x15\x03\x01\x00\x02\x02\x46"),
    case(25, "html", lambda exchange: b"<html><body>200 OK</body></html>\r\n\r\n"),
    case(25, "empty lines", lambda exchange: b"\r\n\r\n\r\n\r\n"),
    case(25, "the body alone", lambda exchange: success(exchange).partition(b"\r\n\r\n")[2]),
    case(26, "http/2 preface", lambda exchange: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    case(26, "http/2 settings", lambda exchange: b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18),
    case(26, "http/2 status line", lambda exchange: success(exchange).replace(b"HTTP/1.1", b"HTTP/2", 1)),
    *[status_line(status) for status in ("99", "1000", "-1", "abc", "2", "+200", "20 0", "0x200")],
    case(29, "head cut", lambda exchange: success(exchange)[:40]),
    case(30, "one byte too few", lambda exchange: reply(exchange, size(exchange, 1))),
    case(30, "far too few", lambda exchange: reply(exchange, size(exchange, 10**6))),
    case(31, "more than its length", lambda exchange: success(exchange) + b"more", quiet_in_python),
    case(
        32,
        "two lengths",
        lambda exchange: reply(exchange, size(exchange), size(exchange, -1)),
        lenient_in_python,
    ),
    case(
        32,
        "length and chunks",
        lambda exchange: chunks(exchange).replace(b"Transfer", b"Content-Length: 9\r\nTransfer"),
    ),
    header(32, "negative length", "Content-Length: -17", sized=False),
    header(32, "length of 20 digits", "Content-Length: 99999999999999999999", sized=False),
    header(32, "length with a letter", "Content-Length: 1x", sized=False),
    header(32, "empty length", "Content-Length:", sized=False),
    case(33, "size not hexadecimal", lambda exchange: chunks(exchange, size="xyz")),
    case(33, "negative size", lambda exchange: chunks(exchange, size="-1")),
    case(33, "no last chunk", lambda exchange: chunks(exchange, end=b"")),
    case(33, "half a last chunk", lambda exchange: chunks(exchange, end=b"0\r\n")),
    case(33, "huge size", lambda exchange: chunks(exchange, size="f" * 17)),
    case(33, "large size", lambda exchange: chunks(exchange, size="fffffffff")),
    header(39, "header of 20 KB", "X-Long: " + "a" * 20_000),
    header(39, "1,000 headers", *[f"X-{number}: 1" for number in range(1000)]),
    case(39, "reason of 1 MB", lambda exchange: reply(exchange, size(exchange), status="200 " + "a" * 2**20)),
    header(40, "NUL in a header", "X-Odd: a\0b"),
    header(40, "header without a colon", "X-Odd"),
]


@pytest.mark.parametrize("data", BROKEN)
async def test_broken_answer(side: Side, operation: str, clock: VirtualClock, data: Bytes) -> None:
    """A broken answer is no refusal and no success: unknown, without a status, repeated, and nobody else's trouble."""

    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("/good"):
            await exchange.succeed()
        else:
            await exchange.send(data(exchange))
            exchange.close()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        error = await failure(side, client, operation)
        assert type(error) in (ResponseError, TransportError)
        assert ("unknown", None, True, 3) == (error.outcome, error.status, error.retryable, error.attempts)
        await side.call(client, operation, "good")
    assert [1, 2, 3, 4] == [exchange.connection for exchange in server.log]


AT_ONCE = [
    status_line("1000"),
    header(32, "negative length", "Content-Length: -17", sized=False),
    header(39, "1,000 headers", *[f"X-{number}: 1" for number in range(1000)]),
    case(33, "size not hexadecimal", lambda exchange: chunks(exchange, size="xyz")),
]


@pytest.mark.parametrize("data", AT_ONCE)
async def test_broken_answer_on_an_open_connection(
    side: Side, operation: str, clock: VirtualClock, data: Bytes
) -> None:
    """What the parser refuses is reported at once, as no proper HTTP, and its connection is closed from this side."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(data(exchange))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy(), timeout=Timeout(attempt=None, total=None))
        error = await failure(side, client, operation)
        assert (ResponseError, "unknown", None, 3) == (type(error), error.outcome, error.status, error.attempts)
        assert "not proper HTTP" in str(error)
        await _until(lambda: server.open_connections == 0)
    assert [1, 2, 3] == [exchange.connection for exchange in server.log]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.scenario(29, 30)
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_cut_anywhere(side: Side, operation: str, end: str) -> None:
    """An answer cut after any number of its bytes is unknown, and never a success."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(success(exchange)[: int(exchange.path.rpartition("/")[2])])
        (exchange.close if end == "close" else exchange.reset)()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=RetryPolicy.never())
        whole = len(answer(200, conversation("100")) if operation == "update" else answer(200, {"success": True}))
        # Every byte of the head, where the meaning is, and of the end; a sample of what lies between.
        for kept in {*range(90), *range(90, whole, 11), *range(whole - 10, whole)}:
            error = await failure(side, client, operation, f"{kept:03}")
            assert ("unknown", None) == (error.outcome, error.status), f"after {kept} bytes: {error!r}"


@pytest.mark.scenario(30)
async def test_short_body_that_would_do(side: Side, clock: VirtualClock) -> None:
    """A body shorter than announced is not trusted even if it is whole JSON; the next, whole answer is."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.send(answer(200, conversation(folder_name="cut"), length=5000))
            exchange.close()
        else:
            await exchange.send(answer(200, conversation(folder_name="whole")))

    async with RawServer(script) as server:
        result = await side.call(side.client(server.url, retry=clock.policy()), "update")
    assert isinstance(result, Conversation)
    assert "whole" == result.folder_name


# Statuses


def expected(operation: str, status: int) -> tuple[str, bool] | None:
    """Outcome and `retryable` for an answer of this status with the body of a success; None is success."""
    match status:
        case 204:
            return ("unknown", True) if operation == "update" else None
        case 200:
            return None
        case 201:
            return None if operation == "update" else ("unknown", True)
        case _ if 200 <= status < 300:
            return "unknown", True  # no word of anything that is done
        case 408 | 425 | 460 | 499:
            return "unknown", True
        case 407:
            return "not_applied", False  # a proxy that asks for a password goes on asking
        case _ if 400 <= status < 500:
            return "not_applied", True  # without a `detail` it is none of the API's
        case _ if 500 <= status < 600:
            return "unknown", status not in (501, 505, 511)
        case _:
            return "unknown", False


def family(status: int) -> type[OmiError]:
    """The error class that every answer of this status is at least."""
    if 500 <= status < 600:
        return ServerError
    return StatusError if 400 <= status < 500 else ResponseError


@pytest.mark.scenario(28)
async def test_every_status(side: Side, operation: str) -> None:
    """Each status from 200 to 999 has the outcome of its class, and none of them upsets the client."""

    async def script(exchange: Exchange) -> None:
        status = int(exchange.path.rpartition("/")[2])
        body = b"" if status in (204, 304) else success(exchange).partition(b"\r\n\r\n")[2]
        await exchange.send(answer(status, body))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=RetryPolicy.never())
        for status in range(200, 1000):
            wanted = expected(operation, status)
            if wanted is None:
                result = await side.call(client, operation, str(status))
                assert isinstance(result, Conversation) or Deletion(id=str(status), confirmed=True) == result, status
            else:
                error = await failure(side, client, operation, str(status))
                assert (*wanted, status) == (error.outcome, error.retryable, error.status), status
                assert isinstance(error, family(status)), status
    assert 800 == len(server.log)


@pytest.mark.scenario(28)
@pytest.mark.parametrize(
    ("status", "attempts"), [(300, 1), (499, 3), (520, 3), (525, 3), (530, 3), (599, 3), (600, 1), (999, 1)]
)
async def test_odd_status(side: Side, operation: str, clock: VirtualClock, status: int, attempts: int) -> None:
    """Of the statuses that no standard names, those of a failed server or of something in between are repeated."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer(status))

    async with RawServer(script) as server:
        error = await failure(side, side.client(server.url, retry=clock.policy()), operation)
    assert (attempts, attempts, status) == (error.attempts, len(server.log), error.status)


@pytest.mark.scenario(35)
@pytest.mark.parametrize("status", [100, 102, 103, 104, 199])
async def test_interim_answers(side: Side, operation: str, clock: VirtualClock, status: int) -> None:
    """Interim answers, many or with headers of their own, are passed over for the final one."""
    interim = f"HTTP/1.1 {status} Wait\r\nLink: </style.css>\r\n\r\n".encode()

    async def script(exchange: Exchange) -> None:
        await exchange.send(interim)
        await asyncio.sleep(0)
        await exchange.send(interim * 50 + success(exchange))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        await side.call(client, operation)
        await side.call(client, operation)
    assert ([1, 1], []) == ([exchange.connection for exchange in server.log], clock.sleeps)


@pytest.mark.scenario(37)
@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([], id="bare"),
        pytest.param(["Upgrade: websocket", "Connection: upgrade"], id="websocket"),
    ],
)
async def test_unasked_switch_of_protocols(side: Side, operation: str, clock: VirtualClock, lines: list[str]) -> None:
    """An answer of 101 that nobody asked for is unknown, not repeated, and ends its connection."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.send(reply(exchange, *lines, status="101 Switching Protocols"))
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        error = await failure(side, client, operation)
        assert (ResponseError, "unknown", False, 1) == (type(error), error.outcome, error.retryable, error.attempts)
        await side.call(client, operation)
    assert [1, 2] == [exchange.connection for exchange in server.log]


@pytest.mark.scenario(38)
@pytest.mark.parametrize("length", ["Content-Length: 0", "X-No: length"])
async def test_304(side: Side, operation: str, clock: VirtualClock, length: str) -> None:
    """304 says nothing about a write: unknown, and not repeated."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(reply(exchange, length, status="304 Not Modified", body=b""))

    async with RawServer(script) as server:
        error = await failure(side, side.client(server.url, retry=clock.policy()), operation)
    assert (ResponseError, "unknown", False, 1, 304) == (
        type(error),
        error.outcome,
        error.retryable,
        error.attempts,
        error.status,
    )


@pytest.mark.scenario(38)
@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content"])
@pytest.mark.parametrize("lines", [["Content-Length: 0"], []], ids=["length 0", "no length"])
async def test_success_without_a_body(
    side: Side, operation: str, clock: VirtualClock, status: str, lines: list[str]
) -> None:
    """Without a body only a 204 is a success, and only for DELETE; for PATCH, which answers the record, none is."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(reply(exchange, *lines, status=status, body=b""))
        if status[:3] == "205" and not lines:
            exchange.close()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        if operation == "delete" and status[:3] == "204":
            assert Deletion(id="conv_1", confirmed=True) == await side.call(client, operation)
            assert 1 == len(server.log)
        else:
            error = await failure(side, client, operation)
            assert (ResponseError, "unknown", int(status[:3]), 3) == (
                type(error),
                error.outcome,
                error.status,
                error.attempts,
            )


@pytest.mark.scenario(38)
@pytest.mark.parametrize(
    "when",
    [
        "with the head",
        "when idle",
        "under the next call",
    ],
)
async def test_204_with_a_body(side: Side, clock: VirtualClock, when: str) -> None:
    """A 204 with a body is a success for DELETE, if need be by the next attempt; the body troubles no later call."""
    arrived = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            head, gap, body = reply(exchange, size(exchange), status="204 No Content").partition(b"\r\n\r\n")
            await exchange.send(head + gap + (body if when == "with the head" else b""))
            if when == "when idle":
                await asyncio.sleep(0.02)
                await exchange.send(body)
            arrived.set()
        elif when == "under the next call" and exchange.connection == 1:
            await exchange.send(success(exchange).partition(b"\r\n\r\n")[2] + MISSING)
        else:
            await exchange.send(MISSING)

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        result = await side.call(client, "delete")
        assert Deletion(id="conv_1", confirmed=len(server.log) == 1) == result
        await arrived.wait()
        await asyncio.sleep(0.02 if when == "when idle" else 0)
        error = await failure(side, client, "delete", "next")
        assert (NotFoundError, "not_applied", 1) == (type(error), error.outcome, error.attempts)


@pytest.mark.scenario(34)
@pytest.mark.parametrize("line", ["Connection: close", "X-No: length"])
async def test_body_that_ends_with_the_connection(side: Side, operation: str, clock: VirtualClock, line: str) -> None:
    """A body without a length, ended by the connection, is accepted if it is whole."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(reply(exchange, line))
        exchange.close()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        await side.call(client, operation, "a")
        await side.call(client, operation, "b")
    assert ([1, 2], []) == ([exchange.connection for exchange in server.log], clock.sleeps)


@pytest.mark.scenario(34)
async def test_body_without_length_cut(side: Side, operation: str) -> None:
    """A body without a length is unknown wherever it was cut, but for DELETE when nothing of it has come."""

    async def script(exchange: Exchange) -> None:
        body = success(exchange).partition(b"\r\n\r\n")[2]
        await exchange.send(reply(exchange, body=body[: int(exchange.path.rpartition("/")[2])]))
        exchange.close()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=RetryPolicy.never())
        whole = answer(200, conversation("100")) if operation == "update" else answer(200, {"success": True})
        length = len(whole.partition(b"\r\n\r\n")[2])
        for kept in {*range(1, length, 13), *range(length - 10, length)}:
            error = await failure(side, client, operation, f"{kept:03}")
            assert (ResponseError, "unknown", 200) == (type(error), error.outcome, error.status), kept


# Too much


def _endless_interim() -> bytes:
    return b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * 100


def _endless_headers() -> bytes:
    return b"X-Header: value\r\n" * 100


def _endless_header() -> bytes:
    return b"a" * 4000


def _endless_chunks() -> bytes:
    return b"400\r\n" + b" " * 1024 + b"\r\n"


def _endless_reason() -> bytes:
    return b"a" * 4000


ENDLESS = [
    pytest.param(b"", _endless_interim, id="interim answers", marks=pytest.mark.scenario(36)),
    pytest.param(b"HTTP/1.1 200 OK\r\n", _endless_headers, id="headers", marks=pytest.mark.scenario(36)),
    pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: ", _endless_header, id="one header", marks=pytest.mark.scenario(36, 39)),
    pytest.param(b"HTTP/1.1 200 ", _endless_reason, id="reason", marks=pytest.mark.scenario(39)),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        _endless_chunks,
        id="body",
        marks=pytest.mark.scenario(36),
    ),
]


@pytest.mark.parametrize(("start", "piece"), ENDLESS)
async def test_endless_answer(side: Side, start: bytes, piece: Callable[[], bytes]) -> None:
    """An answer without an end is given up, by a limit of size or of time, as unknown; its memory stays small."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(start)
        data = piece()
        while True:
            await exchange.send(data)
            await asyncio.sleep(0)

    async with RawServer(script) as server:
        client = side.client(server.url, retry=RetryPolicy.never(), timeout=Timeout(attempt=0.2))
        gc.collect()
        tracemalloc.start()
        try:
            error = await failure(side, client, "update")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert type(error) in (ResponseError, RequestTimeoutError)
        assert "unknown" == error.outcome
        # A body is read up to 8 MiB before it is given up.
        assert peak < 24 * 2**20
        await _until(lambda: server.open_connections == 0)


# Odd, and yet HTTP to some


@pytest.mark.scenario(26)
@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/1.0"])
async def test_old_version(side: Side, operation: str, clock: VirtualClock, version: str) -> None:
    """A whole answer that calls itself HTTP/1.0 or even HTTP/0.9 is read; its connection is not kept."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(success(exchange).replace(b"HTTP/1.1", version.encode(), 1))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        await side.call(client, operation, "a")
        await side.call(client, operation, "b")
    assert ([1, 2], []) == ([exchange.connection for exchange in server.log], clock.sleeps)


def _bare_line_feeds(exchange: Exchange) -> bytes:
    head, gap, body = success(exchange).partition(b"\r\n\r\n")
    return (head + gap).replace(b"\r\n", b"\n") + body


@pytest.mark.scenario(40)
@pytest.mark.parametrize(
    ("data", "refused"),
    [
        pytest.param(_bare_line_feeds, STRICT, id="bare line feeds"),
        pytest.param(lambda exchange: reply(exchange, size(exchange), "X-Folded: a\r\n b"), STRICT, id="folded"),
    ],
)
async def test_sloppy_head(side: Side, operation: str, clock: VirtualClock, data: Bytes, refused: bool) -> None:
    """A head that is nearly right is read, under `python -X dev` refused as no proper HTTP; nothing else happens."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(data(exchange))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        if refused:
            error = await failure(side, client, operation)
            assert (ResponseError, "unknown", None, 3) == (type(error), error.outcome, error.status, error.attempts)
        else:
            await side.call(client, operation)
            assert 1 == len(server.log)


HOSTILE = "\x1b[31mred\x1b[0m \x07 a\tb \x7f \x85 \u202e \ud800 " + "long" * 200


def _hostile_reason(exchange: Exchange) -> bytes:
    return answer(403, {"detail": "no"}).replace(b"Reason", b"\xff\xfe\x1b[31mred\x1b[0m\xc3", 1)


def _hostile_header(exchange: Exchange) -> bytes:
    return reply(exchange, size(exchange), b"X-\xe9: \xff\x1b[31m", b"Retry-After: \xff\x1b[31m", status="429 Slow")


def _hostile_location(exchange: Exchange) -> bytes:
    location = b"Location: https://evil.example/\xff\x1b[31m" + b"x" * 500
    return reply(exchange, size(exchange), location, status="302 Found")


def _hostile_detail(exchange: Exchange) -> bytes:
    body = f'{{"detail": "{HOSTILE.encode("unicode_escape").decode().replace(chr(92) + "x", chr(92) + "u00")}\\n"}}'
    return answer(403, body)


def _hostile_object(exchange: Exchange) -> bytes:
    return answer(403, b'{"detail": {"code\\u001b": "a\\ud800\\n", "message": "\\u001b[31m", "x": ["\\ud800\\r"]}}')


@pytest.mark.scenario(41)
@pytest.mark.parametrize(
    "data", [_hostile_reason, _hostile_location, _hostile_detail, _hostile_object], ids=lambda data: data.__name__[9:]
)
async def test_hostile_text(side: Side, operation: str, clock: VirtualClock, data: Bytes) -> None:
    """Whatever the server writes into its answer, the error's text is printable, short, and can be written out."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(data(exchange))

    async with RawServer(script) as server:
        error = await failure(side, side.client(server.url, retry=clock.policy()), operation)
    for text in (str(error), repr(error), repr(error.detail)):
        assert text.isprintable()
        assert text.encode()
        assert len(text) < 600
    if isinstance(error.detail, str):
        assert error.detail.isprintable()
        assert error.detail.encode()
        assert 200 >= len(error.detail)
    assert isinstance(error, (PermissionDeniedError, ResponseError))
    # Some of it is more than the stricter parser lets through.
    assert (1 if error.status else 3) == error.attempts


@pytest.mark.scenario(41)
async def test_hostile_retry_after(side: Side, operation: str) -> None:
    """A header that is not text is a header that is not there."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(_hostile_header(exchange))

    async with RawServer(script) as server:
        error = await failure(side, side.client(server.url, retry=RetryPolicy.never()), operation)
    assert isinstance(error, (RateLimitError, ResponseError))
    assert error.retry_after is None
    assert str(error).isprintable()


# More than was asked for


@pytest.mark.scenario(31, 42)
@pytest.mark.parametrize("when", ["with the answer", "when idle"])
async def test_second_answer_waiting(side: Side, operation: str, clock: VirtualClock, when: str) -> None:
    """An answer that came unasked is given to no call: the next one goes over another connection and hears its own."""
    arrived = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("/second"):
            await exchange.send(answer(404, {"detail": "Conversation not found"}))
            return
        extra = answer(200, {"success": True} if operation == "delete" else conversation("second"))
        if when == "with the answer" and exchange.number == 1:
            await exchange.send(success(exchange) + extra)
        elif exchange.number == 1:
            await exchange.succeed()
            await asyncio.sleep(0.02)
            await exchange.send(extra)
        else:
            await exchange.succeed()
        arrived.set()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy())
        await side.call(client, operation, "first")
        await arrived.wait()
        await asyncio.sleep(0.02)
        error = await failure(side, client, operation, "second")
        assert (NotFoundError, "not_applied", 1) == (type(error), error.outcome, error.attempts)
        await side.call(client, operation, "third")
    assert all(exchange.connection > 1 for exchange in server.log[-2:])


@pytest.mark.scenario(31, 42)
@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(b"\r\n", id="line end"),
        pytest.param(b"x", id="a letter"),
        pytest.param(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", id="408"),
    ],
)
async def test_bytes_on_an_idle_connection(side: Side, operation: str, clock: VirtualClock, extra: bytes) -> None:
    """Bytes that arrive while a connection is idle belong to no call, and cost the next one nothing."""
    arrived = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()
        if exchange.number == 1:
            await asyncio.sleep(0.02)
            await exchange.send(extra)
            arrived.set()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=clock.policy(), timeout=Timeout(attempt=1.0))
        await side.call(client, operation, "first")
        await arrived.wait()
        await asyncio.sleep(0.02)
        await side.call(client, operation, "second")
    assert (2, []) == (len(server.log), clock.sleeps)


@pytest.mark.scenario(42)
async def test_answers_stay_with_their_calls(side: Side, operation: str) -> None:
    """Of many calls at once, over answers in pieces and with gaps, each gets the answer to its own id."""

    async def script(exchange: Exchange) -> None:
        name = exchange.path.rpartition("/")[2]
        body = answer(200, conversation(name, folder_id=name)) if exchange.method == "PATCH" else success(exchange)
        cut = len(body) * (int(name) % 7) // 7
        await exchange.send(body[:cut])
        await asyncio.sleep(0)
        await exchange.send(body[cut:])

    async with RawServer(script) as server:
        client = side.client(server.url, retry=INSTANT, max_connections=10)
        names = [str(number) for number in range(200)]
        results = await asyncio.gather(*[side.call(client, operation, name) for name in names])
    assert names == [each.id if isinstance(each, Deletion) else each.id for each in results]
    if operation == "update":
        assert names == [each.folder_id for each in results if isinstance(each, Conversation)]
