"""What a call makes of the body of an answer: only what was asked for is a result, however the rest is spoilt."""

import asyncio
import contextlib
import gzip
import json
import random
import traceback
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp
import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from omi_async import (
    AsyncOmiClient,
    Conversation,
    Deletion,
    NotFoundError,
    OmiError,
    ResponseError,
    ServerError,
    StatusError,
)
from tests.support import inside
from tests.support.bodies import TIME, VALUES, bomb, compact, full, mutate, packed, perturb
from tests.support.clock import VirtualClock
from tests.support.inside import Answer, Request
from tests.support.raw import Exchange, RawServer, answer, conversation, in_thread
from tests.support.replies import FAILED, Call, Step, call, outcome, succeed
from tests.support.scale import times
from tests.support.sides import KEY, Side
from tests.support.subprocesses import run

MIB = 2**20
HTML = "<!doctype html><html><head><title>Sign in</title></head><body>SECRET, welcome to the hotel.</body></html>"

GOOD: dict[str, dict[str, Any]] = {"update": conversation(), "delete": {"success": True}}


def good(operation: str) -> bytes:
    return json.dumps(GOOD[operation], ensure_ascii=False).encode()


def assert_good(ended: Call, operation: str) -> None:
    if operation == "delete":
        assert Deletion(id="conv_1", confirmed=True) == ended.result
    else:
        assert "🚪" == ended.conversation.structured.emoji
    assert 1 == ended.requests


def assert_unreadable(ended: Call, path: str = "$") -> None:
    """The error of an answer that cannot be trusted: repeated, open, and without anything of the body."""
    failure = ended.failure
    assert isinstance(failure, ResponseError)
    assert ("unknown", 3, path) == (failure.outcome, ended.requests, failure.path)
    assert "SECRET" not in "".join(traceback.format_exception(failure)) + str(vars(failure))


def encoded(encoding: str, body: bytes, *, status: int = 200, length: int | None = None) -> bytes:
    return answer(status, body, headers={"Content-Encoding": encoding}, length=length)


# Not what was asked for


@pytest.mark.scenario(99)
@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/json"])
async def test_page(side: Side, operation: str, content_type: str) -> None:
    """A page of somebody in between, a hotel's for instance, is no result."""
    assert_unreadable(await call(side, operation, answer(200, HTML, headers={"Content-Type": content_type})))


@pytest.mark.scenario(99, 100)
@pytest.mark.parametrize(
    "content_type",
    ["text/html", "text/plain", "", "odd", "application/octet-stream", "application/problem+json; x=y"]
    + [f"application/json; charset={name}" for name in ("latin-1", "utf-16", "no-such-charset", '"', "utf-8-sig")],
)
async def test_wrong_media_type(side: Side, operation: str, content_type: str) -> None:
    """The media type and its charset decide nothing: a good body in UTF-8 is a good answer."""
    reply = answer(200, good(operation), headers={"Content-Type": content_type})
    assert_good(await call(side, operation, reply), operation)


@pytest.mark.scenario(100)
@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
@pytest.mark.parametrize("kind", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1252", "stray byte", "surrogate"])
async def test_not_utf_8(side: Side, operation: str, kind: str, charset: str) -> None:
    """A body in anything but UTF-8 without a mark is not read, even if the header announces it."""
    spoilt = {"stray byte": b'"\xff"', "surrogate": b'"\xed\xa0\x80"', "cp1252": '"é"'.encode("cp1252")}
    if kind in spoilt:
        body = good(operation)[:-1] + b', "more": ' + spoilt[kind] + b"}"
    else:
        body = good(operation).decode().encode(kind)
    reply = answer(200, body, headers={"Content-Type": f"application/json; charset={charset}"})
    assert_unreadable(await call(side, operation, reply))


@pytest.mark.scenario(101, 102, 103, 104)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda body: body[:-1], id="cut"),
        pytest.param(lambda body: body + b"}", id="longer"),
        pytest.param(lambda body: body + body, id="twice"),
        pytest.param(lambda body: body + b"\x00", id="NUL"),
        pytest.param(lambda body: b" ", id="blank"),
        pytest.param(lambda body: b"SECRET", id="text"),
        pytest.param(lambda body: b'"SECRET"', id="JSON text"),
        pytest.param(lambda body: b"[" + body + b"]", id="in an array"),
        pytest.param(lambda body: b'{"SECRET": ' + body + b"}", id="in an object"),
        pytest.param(lambda body: b"[" * 100_000, id="deep, open"),
        pytest.param(lambda body: body[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep, unread"),
        pytest.param(lambda body: body[:-1] + b', "x": NaN}', id="NaN"),
        pytest.param(lambda body: body[:-1] + b', "x": -Infinity}', id="Infinity"),
        pytest.param(lambda body: body[:-1] + b', "x": ' + b"1" * 5000 + b"}", id="5000 digits"),
    ],
)
async def test_not_json(side: Side, operation: str, change: Callable[[bytes], bytes]) -> None:
    """A body that is not exactly one good JSON document is no result, and no error shows any of it."""
    path = "$"
    body = change(good(operation))
    if body.startswith(b'{"SECRET"'):
        path = "$.id" if operation == "update" else "$.success"
    assert_unreadable(await call(side, operation, answer(200, body)), path)


@pytest.mark.scenario(104)
@pytest.mark.parametrize(
    "body",
    [
        '{"success": false, "success": true}',
        '{"success": true, "success": true}',
        '{"success": true, "more": {"a": 1, "a": 2}}',
    ],
)
async def test_name_twice_after_a_delete(side: Side, body: str) -> None:
    """A DELETE is not settled by an answer that gives a name twice: other readers may read it otherwise."""
    assert_unreadable(await call(side, "delete", answer(200, body)))


@pytest.mark.scenario(104)
async def test_name_twice_in_a_record(side: Side) -> None:
    """In a record the last of several values of one name counts, as with most readers."""
    body = good("update")[:-1] + b', "language": "fr", "language": "it"}'
    assert "it" == (await call(side, "update", answer(200, body))).conversation.language


@pytest.mark.scenario(103)
async def test_number_too_large(side: Side) -> None:
    """A number beyond every float is refused where a number is read."""
    body = compact(full()).replace(b'"latitude":52.5', b'"latitude":1e400')
    assert_unreadable(await call(side, "update", answer(200, body)), "$.geolocation.latitude")


@pytest.mark.scenario(105, 107)
async def test_wrong_field(side: Side) -> None:
    """A field of a wrong kind is named in the error, its value is not."""
    document = full()
    document["structured"]["action_items"][0]["completed"] = "SECRET"
    ended = await call(side, "update", answer(200, document))
    assert_unreadable(ended, "$.structured.action_items[0].completed")
    assert "not a boolean at $.structured.action_items[0].completed" in str(ended.failure)


@pytest.mark.scenario(106, 108, 110)
async def test_newer_server(side: Side) -> None:
    """Fields and categories that did not exist yet, and odd characters, do no harm."""
    document = {**full(), "starred": {"by": ["x"]}, "source": "ring\u202e", "language": "\ud800"}
    document["structured"].update(category="gardening", mood=5, title="\x00 \ud800 \u202e")
    ended = await call(side, "update", answer(200, json.dumps(document)))
    assert "gardening" == ended.conversation.structured.category
    assert ("ring\u202e", "\ud800") == (ended.conversation.source, ended.conversation.language)
    assert "\x00 \ud800 \u202e" == ended.conversation.structured.title
    assert repr(ended.conversation).isprintable()


@pytest.mark.scenario(109)
@pytest.mark.parametrize(("text", "good"), [("2026-01-20T10:00:00", True), ("2026-01-20", False), (1768903200, False)])
async def test_times(side: Side, text: object, good: bool) -> None:
    """A time without an offset is UTC; a date, or a number, is none."""
    ended = await call(side, "update", answer(200, conversation(created_at=text)))
    if good:
        assert "2026-01-20T10:00:00+00:00" == ended.conversation.created_at.isoformat()
    else:
        assert_unreadable(ended, "$.created_at")


# Encodings


@pytest.mark.scenario(113)
async def test_gzip(side: Side, operation: str) -> None:
    """Only gzip is asked for, and read; a plain answer is as good."""
    for reply in (encoded("gzip", gzip.compress(good(operation))), encoded("identity", good(operation))):
        ended = await call(side, operation, reply)
        assert_good(ended, operation)
        assert ended.log[0].headers["accept-encoding"] in ("gzip", "gzip, identity")


def cut_deflate(body: bytes) -> bytes:
    """A gzip body whose last byte of text is missing, and everything behind it."""
    deflate = zlib.compressobj(wbits=31)
    return deflate.compress(body[:-1]) + deflate.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.scenario(113)
@pytest.mark.parametrize(
    ("encoding", "change"),
    [
        pytest.param("gzip", cut_deflate, id="cut"),
        pytest.param("gzip", lambda body: gzip.compress(gzip.compress(body)), id="twice"),
        pytest.param("gzip, gzip", lambda body: gzip.compress(gzip.compress(body)), id="twice, as it says"),
        pytest.param("x-odd", lambda body: gzip.compress(body), id="unknown"),
        pytest.param("compress", lambda body: body[::-1], id="old"),
        pytest.param("", lambda body: gzip.compress(body), id="unsaid"),
    ],
)
async def test_spoilt_encoding(side: Side, operation: str, encoding: str, change: Callable[[bytes], bytes]) -> None:
    """A compressed body that is cut, or of another form than asked for, is an answer that cannot be read."""
    ended = await call(side, operation, encoded(encoding, change(good(operation))))
    assert isinstance(ended.failure, ResponseError)
    assert ("unknown", 3) == (ended.failure.outcome, ended.requests)


def wrong_checksum(body: bytes) -> bytes:
    packed = gzip.compress(body)
    return packed[:-8] + bytes(4) + packed[-4:]


@pytest.mark.scenario(113)
@pytest.mark.parametrize(
    ("encoding", "change"),
    [
        pytest.param("gzip", wrong_checksum, id="checksum"),
        pytest.param("gzip", lambda body: gzip.compress(body)[:15] + b"\xff" * 40, id="garbage inside"),
        pytest.param("gzip", lambda body: body, id="not gzip"),
        pytest.param("gzip", lambda body: b"\x1f\x8b" + body, id="beginning only"),
        # Whether aiohttp can unpack these depends on what else is installed.
        pytest.param("br", lambda body: b"\x0b\x02\x80" + body, id="br"),
        pytest.param("zstd", lambda body: b"\x28\xb5\x2f\xfd" + body, id="zstd"),
    ],
)
async def test_corrupt_encoding(side: Side, operation: str, encoding: str, change: Callable[[bytes], bytes]) -> None:
    """A corrupt body leaves open what was applied, is repeated, and does not harm the next attempt."""
    reply = encoded(encoding, change(good(operation)))
    ended = await call(side, operation, reply)
    assert ("unknown", True, 3) == (ended.failure.outcome, ended.failure.retryable, ended.requests)
    ended = await call(side, operation, reply, succeed)
    assert (None, 2) == (ended.error, ended.requests)


@pytest.mark.scenario(113)
async def test_update_cut_after_the_header(side: Side) -> None:
    """A compressed answer of which only the header arrived is no conversation."""
    assert_unreadable(await call(side, "update", encoded("gzip", packed(conversation())[:10])))


@pytest.mark.scenario(113)
@pytest.mark.parametrize("success", [True, False])
async def test_delete_cut_after_the_header(side: Side, success: bool) -> None:
    """A compressed answer of which only the header arrived is not an empty one: it may have denied success."""
    ended = await call(side, "delete", encoded("gzip", packed({"success": success})[:10]))
    assert isinstance(ended.failure, ResponseError)
    assert ("unknown", 3) == (ended.failure.outcome, ended.requests)


@pytest.mark.scenario(113)
async def test_kind_of_corrupt_gzip(side: Side, operation: str) -> None:
    """A corrupt body came over a connection that held: it is the answer that cannot be trusted."""
    ended = await call(side, operation, encoded("gzip", wrong_checksum(good(operation))))
    assert isinstance(ended.failure, ResponseError)


@pytest.mark.scenario(113)
async def test_gzip_with_any_byte_replaced(side: Side, operation: str) -> None:
    """Whichever byte of a compressed body is wrong, the call ends with what was sent or with an error of ours."""
    body = gzip.compress(good(operation), mtime=0)
    draw = random.Random(113)
    replaced = iter(range(len(body)))
    errors = 0

    async def script(exchange: Exchange) -> None:
        at = next(replaced)
        byte = (body[at] + 1 + draw.randrange(255)) % 256
        await exchange.send(encoded("gzip", body[:at] + bytes([byte]) + body[at + 1 :]))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=VirtualClock().policy(attempts=1))
        for _ in body:
            result, error = await outcome(side, client, operation)
            if error is None:
                expected = Deletion(id="conv_1", confirmed=True)
                assert result == expected or isinstance(result, Conversation)
            else:
                errors += 1
                assert "unknown" == error.outcome
    assert errors >= len(body) // 2


# Size


@pytest.mark.scenario(111)
@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param("gzip", bomb(9), id="bomb"),
        pytest.param("gzip", gzip.compress(b" " * 9 * MIB + b"{}"), id="blanks"),
        pytest.param("deflate", zlib.compress(bytes(9 * MIB)), id="deflate"),
        pytest.param("identity", bytes(9 * MIB), id="plain"),
    ],
)
async def test_too_large(side: Side, operation: str, encoding: str, body: bytes) -> None:
    """A body that grows beyond the cap is an error that is not repeated, and its connection is not used again."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            with contextlib.suppress(ConnectionError):
                await exchange.send(encoded(encoding, body))
        else:
            await exchange.succeed()

    async with RawServer(script) as server:
        client = side.client(server.url, retry=VirtualClock().policy())
        _, error = await outcome(side, client, operation)
        assert isinstance(error, ResponseError)
        assert ("unknown", False, 1, 200) == (error.outcome, error.retryable, error.attempts, error.status)
        assert "larger" in str(error)
        await side.call(client, operation)
        assert [1, 2] == [exchange.connection for exchange in server.log]


@pytest.mark.scenario(111)
@pytest.mark.parametrize("size", [8 * MIB, 8 * MIB - 1])
@pytest.mark.parametrize("zipped", [True, False], ids=["gzip", "plain"])
async def test_just_not_too_large(side: Side, operation: str, zipped: bool, size: int) -> None:
    """A body of the size of the cap is read."""
    body = good(operation)
    body += b" " * (size - len(body))
    reply = encoded("gzip", gzip.compress(body, 1)) if zipped else answer(200, body)
    assert_good(await call(side, operation, reply), operation)


@pytest.mark.scenario(112)
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_announced_as_too_large(side: Side, operation: str, encoding: str) -> None:
    """A body that is announced as too large is refused before any of it is read."""
    reply = encoded(encoding, b"", length=100 * MIB)
    ended = await call(side, operation, reply, settings={"timeout": 0.3})
    assert isinstance(ended.failure, ResponseError)
    assert ("unknown", False, 1) == (ended.failure.outcome, ended.failure.retryable, ended.requests)


async def endless(exchange: Exchange, head: bytes, sent: list[int]) -> None:
    """Send chunks until the client has had enough."""
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with contextlib.suppress(ConnectionError):
        await exchange.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            await exchange.send(chunk)
            sent[-1] += 65536


@pytest.mark.scenario(112)
async def test_endless(side: Side, operation: str) -> None:
    """A body without end is read up to the cap, and the server notices that nobody reads any more."""
    sent = [0]

    async def script(exchange: Exchange) -> None:
        await endless(exchange, b"HTTP/1.1 200 OK\r\n", sent)

    ended = await call(side, operation, script)
    assert isinstance(ended.failure, ResponseError)
    assert ("unknown", False, 1) == (ended.failure.outcome, ended.failure.retryable, ended.requests)
    assert 8 * MIB < sent[0] < 32 * MIB  # what the buffers of both kernels hold comes on top


@pytest.mark.scenario(114)
@pytest.mark.parametrize("form", ["endless", "announced", "gzip"])
@pytest.mark.parametrize("status", [404, 422, 503])
async def test_error_without_end(side: Side, operation: str, status: int, form: str) -> None:
    """Of a huge error body a little is read, the connection is dropped, and the status stands.

    It is none of the API's, so it is asked again.
    """
    sent: list[int] = []

    async def script(exchange: Exchange) -> None:
        sent.append(0)
        head = f"HTTP/1.1 {status} Reason\r\n".encode()
        if form == "endless":
            await endless(exchange, head, sent)
        elif form == "gzip":
            with contextlib.suppress(ConnectionError):
                await exchange.send(encoded("gzip", bomb(9), status=status))
        else:
            with contextlib.suppress(ConnectionError):
                await exchange.send(head + b"Content-Length: 1073741824\r\n\r\n")
                while True:
                    await exchange.send(b"x" * 65536)
                    sent[-1] += 65536

    ended = await call(side, operation, script)
    assert isinstance(ended.failure, ServerError if status == 503 else StatusError)
    assert (status, None) == (ended.failure.status, ended.failure.detail)
    assert (3, [1, 2, 3]) == (ended.requests, [each.connection for each in ended.log])
    assert ("unknown" if status == 503 else "not_applied") == ended.failure.outcome
    assert all(size < 24 * MIB for size in sent)


@pytest.mark.scenario(114)
async def test_error_that_breaks_off(side: Side, operation: str) -> None:
    """A refusal whose explanation breaks off is still a refusal, but in nobody's words: it is asked again."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer(404, b'{"detail": "Conv', length=40))
        exchange.close()

    ended = await call(side, operation, script)
    assert isinstance(ended.failure, NotFoundError)
    assert ("not_applied", 3, None) == (ended.failure.outcome, ended.requests, ended.failure.detail)


# Cookies


@pytest.mark.scenario(115)
async def test_cookies(side: Side, operation: str) -> None:
    """A cookie is neither kept nor sent back."""

    async def script(exchange: Exchange) -> None:
        reply = answer(200, GOOD[operation], headers={"Set-Cookie": "session=SECRET; Path=/"})
        await exchange.send(reply if exchange.number != 2 else FAILED.replace(b"\r\n", b"\r\nSet-Cookie: a=b\r\n", 1))

    async with RawServer(script) as server:
        client = side.client(server.url, retry=VirtualClock().policy())
        for _ in range(3):
            await side.call(client, operation)
        assert 4 == len(server.log)
        assert all("cookie" not in exchange.headers for exchange in server.log)


@pytest.mark.scenario(115)
async def test_cookies_of_a_borrowed_session(operation: str) -> None:
    """Nor are the cookies of a session that was lent to the client sent."""
    jar = aiohttp.CookieJar(unsafe=True)
    headers = {"Set-Cookie": "session=SECRET; Path=/"}
    async with RawServer(lambda exchange: exchange.send(answer(200, GOOD[operation], headers=headers))) as server:
        async with (
            aiohttp.ClientSession(cookie_jar=jar, cookies={"mine": "SECRET"}) as session,
            AsyncOmiClient(KEY, base_url=server.url, session=session) as client,
        ):
            for _ in range(2):
                await Side("async").call(client, operation)
        assert 2 == len(server.log)
        assert all("cookie" not in exchange.headers for exchange in server.log)


# Any body at all

UPDATE, DELETE = inside.update_conversation("conv_1", "After", None), inside.delete_conversation("conv_1")


def read(request: object, body: bytes, status: int = 200) -> Conversation | Deletion | OmiError:
    """What a body is read as: a result or an error of the kind that is expected; anything else fails the test."""
    assert isinstance(request, Request)
    try:
        result = request.decode(Answer(status, body=body)) if status == 200 else None
        result = result if status == 200 else inside.read(request, Answer(status, body=body))
    except ResponseError as error:
        assert 200 == status
        return checked(error)
    except StatusError as error:
        assert 200 != status
        return checked(error)
    assert 200 == status
    if request is DELETE:
        assert Deletion(id="conv_1", confirmed=True) == result
    else:
        assert Conversation is type(result)
        assert "conv_1" == result.id
        assert None is not result.created_at.utcoffset()
    return result


def checked(error: OmiError) -> OmiError:
    assert None is error.__context__
    assert None is error.__cause__
    text = str(error)
    assert text.isprintable()
    assert len(text) < 600
    return error


@pytest.mark.figure
@pytest.mark.scenario(75, 79)
def test_mutated_error_bodies(figure: Callable[..., None]) -> None:
    """However the body of an error is changed, the error is what its status says."""
    draw = random.Random(75)
    issue = {"type": "string_too_long", "loc": ["body", "title", 3], "msg": f"Too long {KEY}", "input": "x"}
    details = ["Words.", [issue, issue], {"code": "odd", "retryable": False, "more": [{"a": KEY}]}]
    count = times(200_000)
    for number in range(count):
        body = mutate(compact({"detail": details[number % 3]}), draw)
        read(DELETE, body, draw.choice((400, 403, 422, 429, 500, 503)))
    figure("decode, mutated errors", bodies=count, anything_else=0)


any_text = st.text(max_size=20)
any_json = st.recursive(
    st.sampled_from(list(VALUES.values())) | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)


def at_offset(moment: datetime, minutes: int | None) -> str:
    zone = None if minutes is None else timezone(timedelta(minutes=minutes))
    return moment.replace(tzinfo=zone).isoformat()


def valid() -> st.SearchStrategy[Any]:
    """Documents as the server may send them, by the fields of the specification."""
    offsets = st.none() | st.integers(-1439, 1439)
    moments = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1))
    time = st.just(TIME) | st.builds(at_offset, moments, offsets)
    number = st.floats(-(2**53), 2**53) | st.integers(-(2**53), 2**53)
    words = any_text
    structured = {
        "title": words,
        "overview": words,
        "emoji": words,
        "category": words | st.sampled_from(["work", "other"]),
        "action_items": st.lists(st.fixed_dictionaries({"description": words, "due_at": st.none() | time}), max_size=2),
        "events": st.lists(st.fixed_dictionaries({"title": words, "start": time}), max_size=2),
    }
    segment = {"text": words, "start": number, "end": number, "speaker_id": st.none() | st.integers(-(2**53), 2**53)}
    return st.fixed_dictionaries(
        {
            "id": st.just("conv_1"),
            "created_at": time,
            "started_at": st.none() | time,
            "finished_at": st.none() | time,
            "structured": st.fixed_dictionaries(structured),
        },
        optional={
            "language": st.none() | words,
            "source": st.none() | words,
            "transcript_segments": st.none() | st.lists(st.fixed_dictionaries(segment), max_size=2),
            "geolocation": st.none() | st.fixed_dictionaries({"latitude": number, "longitude": number}),
            "unknown": any_json,
        },
    )


structured_run = settings(
    max_examples=times(25_000),
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.figure
@pytest.mark.scenario(105, 106, 108, 109, 110)
def test_structured_bodies(figure: Callable[..., None]) -> None:
    """Every document that keeps to the specification is a model, with the values that it holds."""
    runs = 0

    @structured_run
    @given(valid())
    def check(document: dict[str, Any]) -> None:
        nonlocal runs
        runs += 1
        try:
            body = json.dumps(document, allow_nan=False)
        except ValueError:  # in the unknown field, and not JSON
            del document["unknown"]
            body = json.dumps(document)
        result = read(UPDATE, body.encode())
        assert isinstance(result, Conversation)
        assert document["structured"]["title"] == result.structured.title
        assert document.get("language") == result.language
        assert len(document["structured"]["events"]) == len(result.structured.events)
        assert repr(result).isprintable()

    check()
    figure("decode, structured", bodies=runs, refused=0)


@pytest.mark.figure
@pytest.mark.scenario(103, 105, 107)
def test_perturbed_bodies(figure: Callable[..., None]) -> None:
    """A document with values of any kind in one to three places is a model or refused as unreadable."""
    runs = 0
    draw = random.Random(105)

    @structured_run
    @given(st.sampled_from([full(), conversation(), {"success": True}]), st.lists(any_json, min_size=1, max_size=3))
    def check(document: dict[str, Any], values: list[object]) -> None:
        nonlocal runs
        runs += 1
        for value in values:
            document = perturb(document, draw, value)
        body = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
        read(UPDATE, body)
        read(DELETE, body)

    check()
    figure("decode, perturbed", bodies=runs, anything_else=0)


# How much memory a hostile answer takes, seen from outside

MEASURE = """
import asyncio, gc, json, resource, sys
from omi_async import AsyncOmiClient, OmiError, RetryPolicy
from omi_sync import OmiClient

def peak():
    # VmHWM is what ru_maxrss reports, without what the parent process had when it started this one.
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (20 if sys.platform == "darwin" else 10)

def forget_peak():
    try:
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
    except OSError:
        pass

def summary(error):
    return [type(error).__name__, error.outcome, error.retryable, error.attempts, error.status]

policy = RetryPolicy(initial=0.0, initial_throttled=0.0)
settings = {"base_url": sys.argv[1], "retry": policy}
arguments = {"update": {"title": "After"}, "delete": {}}
seen, growth = [], []

def begin():
    gc.collect()
    forget_peak()
    return peak()

async def asynchronous():
    async with AsyncOmiClient(**settings) as client:
        for operation, more in arguments.items():
            await getattr(client.conversations, operation)("warm", **more)
            before = begin()
            try:
                await getattr(client.conversations, operation)("conv_1", **more)
            except OmiError as error:
                seen.append(summary(error))
            growth.append(peak() - before)

def synchronous():
    with OmiClient(**settings) as client:
        for operation, more in arguments.items():
            getattr(client.conversations, operation)("warm", **more)
            before = begin()
            try:
                getattr(client.conversations, operation)("conv_1", **more)
            except OmiError as error:
                seen.append(summary(error))
            growth.append(peak() - before)

asyncio.run(asynchronous())
synchronous()
print(json.dumps({"seen": seen, "growth": growth}))
"""


async def plain_100_mb(exchange: Exchange) -> None:
    with contextlib.suppress(ConnectionError):
        await exchange.send(answer(200, length=100 * MIB))
        for _ in range(1600):
            await exchange.send(b" " * 65536)


async def endless_chunks(exchange: Exchange) -> None:
    await endless(exchange, b"HTTP/1.1 200 OK\r\n", [0])


@attrs.frozen
class Layout:
    """A way to be too large, and how the call must end."""

    step: Callable[[], Step]
    ending: list[object]


TOO_LARGE: list[object] = ["ResponseError", "unknown", False, 1, 200]

LAYOUTS = {
    "1 GiB as 1 MB of gzip": Layout(lambda: encoded("gzip", bomb()), TOO_LARGE),
    "gzip of gzip": Layout(lambda: encoded("gzip", gzip.compress(bomb())), ["ResponseError", "unknown", True, 3, 200]),
    # Refused by aiohttp after a thousand members: what kind of error that is stands in another test.
    "500,000 empty members": Layout(lambda: encoded("gzip", gzip.compress(b"") * 500_000), []),
    "100 MB plain": Layout(lambda: plain_100_mb, TOO_LARGE),
    "endless chunks": Layout(lambda: endless_chunks, TOO_LARGE),
    "error of 1 GiB": Layout(
        lambda: encoded("gzip", bomb(), status=404), ["NotFoundError", "not_applied", True, 3, 404]
    ),
}


@pytest.mark.figure
@pytest.mark.scenario(111, 112, 114)
@pytest.mark.parametrize("layout", LAYOUTS)
async def test_memory(layout: str, figure: Callable[..., None]) -> None:
    """No answer makes the process grow by more than 16 MB, for either operation on either side."""
    step, ending = LAYOUTS[layout].step(), LAYOUTS[layout].ending

    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("/warm"):
            await exchange.succeed()
        elif isinstance(step, bytes):
            with contextlib.suppress(ConnectionError):
                await exchange.send(step)
        else:
            await step(exchange)

    with in_thread(RawServer(script)) as server:
        result = json.loads((await asyncio.to_thread(run, MEASURE, server.url)).check().out)
    assert 4 == len(result["seen"]) == len(result["growth"])
    for seen in result["seen"]:
        assert ending == (seen if ending else [])
        assert "unknown" == seen[1] or seen[0] == "NotFoundError"
    assert max(result["growth"]) <= 16.0
    figure(f"size, {layout}", calls=4, most_growth_in_MB=round(max(result["growth"]), 1))


def test_bomb_is_one() -> None:
    """The bomb is correct gzip, a thousandth of what it unpacks to."""
    assert bytes(3 * MIB) == gzip.decompress(bomb(3))
    assert 2**30 == int.from_bytes(bomb()[-4:], "little")
    assert len(bomb()) < 1.2 * MIB
    assert {"success": True} == json.loads(gzip.decompress(packed({"success": True})))
