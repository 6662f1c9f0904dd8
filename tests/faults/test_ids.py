"""A million ids: what is accepted arrives as it is, what is refused does not arrive at all."""

import asyncio
import json
import random
import string
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import pytest

from omi_async import AsyncOmiClient, InvalidRequestError, RetryPolicy, Timeout
from omi_sync import OmiClient
from tests.support import http1
from tests.support.inside import Request, delete_conversation, update_conversation
from tests.support.raw import conversation
from tests.support.scale import times
from tests.support.sides import KEY

PREFIX = "/v1/dev/user/conversations/"

FIRST = string.ascii_letters + string.digits + "_-"
REST = FIRST + ".~"
_FIRST, _REST = frozenset(FIRST), frozenset(REST)

HOSTILE = [
    *(
        "/",
        "\\",
        "?",
        "#",
        "%",
        ";",
        ":",
        "@",
        "&",
        "=",
        "+",
        ",",
        "!",
        "*",
        "'",
        '"',
        "(",
        ")",
        "<",
        ">",
        "[",
        "]",
        "|",
    ),
    *("^", "`", "{", "}", "$", " ", "\t", "\n", "\r", "\r\n", "\x00", "\x0b", "\x1f", "\x7f", "\x80", "\x85", "\xa0"),
    *("%2e", "%2E%2e", "%2f", "%5c", "%00", "%0d%0a", "%252f", "../", "/..", "..\\", "//", "://", "%u002e", "&#46;"),
    *(
        "\u00e9",
        "e\u0301",
        "\u2024",
        "\uff0e",
        "\u2215",
        "\uff0f",
        "\u212a",
        "\u0131",
        "\u2028",
        "\u200b",
        "\ufeff",
        "\u202e",
    ),
    *("\ud800", "\udfff", "\ud83d\ude00", "\U0001f6aa", "\U000e0041", "\U0010ffff", "\u0661", "\uff11"),
]
SMUGGLED = [
    *(
        "../memories/{}",
        "%2e%2e/memories/{}",
        "..%2Fmemories%2F{}",
        "{}?x=y",
        "{}#y",
        "{};y",
        "//evil/{}",
        "http://evil/{}",
    ),
    *("{}/", "/{}", "{}/..", "./{}", ".{}", "~{}", " {}", "{} ", "{}\n", "{}\r\nX: y", "{} HTTP/1.1\r\n\r\nDELETE /{}"),
    *("{}\x00", "{}%00", "{}%", "%{}", "\ufeff{}", "../../../../{}", "{}/../../memories/{}", "@evil/{}", "{}\\..\\{}"),
]


def plain(text: str) -> bool:
    """The rule for ids once more, in other words than the product's."""
    return 1 <= len(text) <= 128 and text[0] in _FIRST and _REST.issuperset(text[1:])


def ids(count: int, seed: int) -> Iterator[str]:
    """Fuzzed ids: good ones, good ones with one thing wrong, known tricks, and noise."""
    draw = random.Random(seed)

    def good(longest: int = 128) -> str:
        size = draw.choice((1, 2, 3, 8, 16, 20, 32, 36, 64, 127, 128)) if longest == 128 else draw.randint(1, longest)
        return draw.choice(FIRST) + "".join(draw.choices(REST, k=size - 1))

    for _ in range(count):
        kind = draw.random()
        if kind < 0.12:
            yield good()
        elif kind < 0.5:  # one wrong thing, somewhere in a good id
            text, at = good(), draw.random()
            cut = int(at * (len(text) + 1))
            yield text[:cut] + draw.choice(HOSTILE) + text[cut:]
        elif kind < 0.7:
            yield draw.choice(SMUGGLED).format(good(12), good(12))
        elif kind < 0.8:  # too long, or begun badly
            yield draw.choice((good() + "a" * 128, "." + good(), "~" + good(), "", "." * draw.randint(1, 130)))
        elif kind < 0.9:  # noise of the characters that matter
            yield "".join(draw.choices("ab.~_-%2eE/\\?#:;@ \n\r\x00", k=draw.randint(1, 10)))
        else:  # noise of all characters, surrogates too
            yield "".join(chr(draw.randrange(0x110000)) for _ in range(draw.randint(1, 6)))


class Fast(http1.Port):
    """One connection of a server that does nothing but take down request lines and say yes."""

    def __init__(self, server: "FastServer") -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.connections += 1
        self._server.transports.add(self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.transports.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        self._server.bytes_received += len(data)
        super().data_received(data)

    def requested(self, request: http1.Request) -> None:
        self._server.lines.append(request.line)
        self.transport.write(self._server.answer(request.line))


class FastServer:
    """The log is the oracle: every request line, every connection, every byte."""

    _before, _after = json.dumps(conversation("@")).encode().split(b"@")
    _yes = b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"success":true}'

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.connections = 0
        self.bytes_received = 0
        self.transports: set[asyncio.Transport] = set()

    def answer(self, line: bytes) -> bytes:
        if line.startswith(b"DELETE"):
            return self._yes
        body = self._before + line.split(b" ")[1].rpartition(b"/")[2] + self._after
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(lambda: Fast(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for transport in list(self.transports):
            transport.abort()
        await asyncio.sleep(0)


def expected_lines(accepted: list[str]) -> Counter[bytes]:
    return Counter(
        f"{'PATCH' if number % 2 else 'DELETE'} {PREFIX}{each} HTTP/1.1".encode()
        for number, each in enumerate(accepted)
    )


@pytest.mark.figure
@pytest.mark.scenario(116, 117, 118, 119, 120, 123)
async def test_a_million_ids(figure: Callable[..., None]) -> None:
    """Every accepted id arrives byte for byte in one request, and no refused one costs a connection or a byte."""
    count = times(1_000_000)
    accepted: list[str] = []
    refused = 0
    wrong: list[str] = []
    async with (
        FastServer() as server,
        AsyncOmiClient(
            KEY,
            base_url=server.url,
            max_connections=16,
            retry=RetryPolicy.never(),
            timeout=Timeout(connect=None, attempt=None, total=None),
        ) as omi,
    ):

        async def send(number: int, each: str) -> None:
            if number % 2:
                assert each == (await omi.conversations.update(each, discarded=True)).id
            else:
                assert each == (await omi.conversations.delete(each)).id

        # The refused ones go through the public methods too, alternately; the wire must stay silent.
        for number, each in enumerate(ids(count, seed=1)):
            if plain(each):
                accepted.append(each)
                continue
            try:
                await send(number, each)
            except InvalidRequestError:
                refused += 1
            else:
                wrong.append(each)
        assert [] == wrong
        assert (0, 0) == (server.connections, server.bytes_received)

        work = iter(enumerate(accepted))

        async def worker() -> None:
            for number, each in work:
                await send(number, each)

        await asyncio.gather(*(worker() for _ in range(16)))
    assert count == refused + len(accepted)
    assert expected_lines(accepted) == Counter(server.lines)
    assert 0.1 * count < len(accepted) < 0.2 * count
    figure(
        "ids",
        fuzzed=count,
        accepted_and_sent=len(accepted),
        arrived_byte_equal=len(server.lines),
        refused=refused,
        bytes_for_refused=0,
        other_paths=0,
    )


@pytest.mark.figure
@pytest.mark.scenario(116, 117, 118, 119, 120, 123)
async def test_a_million_ids_of_the_builder(figure: Callable[..., None]) -> None:
    """Another million: a request is built exactly for the plain ids, with the id in its path and nothing else there."""
    count = times(1_000_000)
    built = 0
    wrong: list[str] = []
    for number, each in enumerate(ids(count, seed=2)):
        request = update_conversation(each, None, True) if number % 2 else delete_conversation(each)
        if isinstance(request, Request):
            built += 1
        if plain(each) != (isinstance(request, Request) and PREFIX + each == request.path):
            wrong.append(each)
    assert [] == wrong
    assert 0 < built < count
    figure("ids, requests built", fuzzed=count, built=built, refused=count - built, wrong=len(wrong))


@pytest.mark.figure
@pytest.mark.scenario(116, 117, 118, 119, 120, 123)
async def test_ids_of_the_synchronous_client(figure: Callable[..., None]) -> None:
    """The same through the synchronous client, from eight threads."""
    count = times(20_000)
    every = list(ids(count, seed=3))
    accepted = [each for each in every if plain(each)]

    def refuse(omi: OmiClient) -> list[str]:
        wrong = []
        for number, each in enumerate(every):
            if not plain(each):
                try:
                    omi.conversations.update(each, title="Title") if number % 2 else omi.conversations.delete(each)
                except InvalidRequestError:
                    continue
                wrong.append(each)
        return wrong

    def send(omi: OmiClient, share: list[tuple[int, str]]) -> None:
        for number, each in share:
            if number % 2:
                assert each == omi.conversations.update(each, title="Title").id
            else:
                assert each == omi.conversations.delete(each).id

    async with FastServer() as server:
        with OmiClient(KEY, base_url=server.url, retry=RetryPolicy.never()) as omi:
            assert [] == await asyncio.to_thread(refuse, omi)
            assert (0, 0) == (server.connections, server.bytes_received)
            numbered = list(enumerate(accepted))
            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(8) as pool:
                await asyncio.gather(*(loop.run_in_executor(pool, send, omi, numbered[n::8]) for n in range(8)))
            await asyncio.to_thread(omi.close)
    assert expected_lines(accepted) == Counter(server.lines)
    figure(
        "ids, synchronous client",
        fuzzed=count,
        accepted_and_sent=len(accepted),
        arrived_byte_equal=len(server.lines),
        refused=count - len(accepted),
        bytes_for_refused=0,
    )
