"""How long a call waits, and when it does not wait at all, by what the server says."""

import math
import random
import string
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from multidict import CIMultiDict

from omi_async import RateLimitError, RetryPolicy, ServerError
from tests.support import inside
from tests.support.clock import VirtualClock
from tests.support.raw import Exchange, RawServer, Script, answer
from tests.support.replies import Call, call, outcome, succeed
from tests.support.scale import times
from tests.support.sides import Side

MONTH = 31 * 86400.0
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def http_date(time: datetime) -> str:
    return format_datetime(time, usegmt=True)


def throttled(retry_after: str | None = None, headers: Mapping[str, str] | None = None, *, status: int = 429) -> bytes:
    named = {} if retry_after is None else {"Retry-After": retry_after}
    return answer(status, {"detail": "Rate limit exceeded."}, headers={**named, **(headers or {})})


def parsed(*values: str, date: str | None = None) -> float | None:
    headers = CIMultiDict([("retry-after", value) for value in values])
    if date is not None:
        headers["Date"] = date
    return inside.retry_after(headers, NOW.timestamp())


def assert_given_up(ended: Call, retry_after: float) -> None:
    """No wait, no second request, and the server's wait in the error."""
    assert (1, [], retry_after) == (ended.requests, ended.sleeps, ended.failure.retry_after)


# Waits


@pytest.mark.scenario(82)
@pytest.mark.parametrize(("status", "jitter"), [(429, 1.0), (503, 0.25)])
async def test_wait_as_asked(side: Side, operation: str, status: int, jitter: float) -> None:
    """A call waits as long as it is asked to, and up to one first back-off longer."""
    draws = [0.0, 0.125, 0.5, 0.75, 1.0]
    waits = []
    for draw in draws:
        clock = VirtualClock(random=draw)
        ended = await call(side, operation, throttled("2", status=status), succeed, clock=clock)
        assert (None, 2) == (ended.error, ended.requests)
        waits += clock.sleeps
    assert [2.0 + draw * jitter for draw in draws] == waits


@pytest.mark.scenario(82)
async def test_not_all_at_once(side: Side, operation: str) -> None:
    """Clients that are asked to wait equally long do not return together."""
    clock = VirtualClock()
    async with RawServer(odd_ones(throttled("2"))) as server:
        for _ in range(10):
            client = side.client(server.url, retry=RetryPolicy(sleep=clock.sleep, clock=clock.monotonic))
            await side.call(client, operation)
    assert 10 == len(set(clock.sleeps)) == len(clock.sleeps)
    assert all(2.0 <= wait <= 3.0 for wait in clock.sleeps)


def odd_ones(reply: bytes) -> Script:
    """Give every odd request this reply, and let the even ones succeed."""

    async def script(exchange: Exchange) -> None:
        await (exchange.send(reply) if exchange.number % 2 else exchange.succeed())

    return script


@pytest.mark.scenario(83)
@pytest.mark.parametrize(("value", "kept"), [("0", 0.0), ("000", 0.0), ("-10", None), ("", None), ("+5", None)])
async def test_no_wait_named(side: Side, operation: str, value: str, kept: float | None) -> None:
    """Zero leaves the wait to the client's own back-off, and so does what is not a number."""
    ended = await call(side, operation, throttled(value))
    assert isinstance(ended.failure, RateLimitError)
    assert (3, [1.0, 2.0], kept) == (ended.requests, ended.sleeps, ended.failure.retry_after)


@pytest.mark.scenario(84)
@pytest.mark.parametrize(("value", "seconds"), [("61", 61.0), ("3600", 3600.0), ("999999999", MONTH)])
async def test_too_long_to_wait_for(side: Side, operation: str, value: str, seconds: float) -> None:
    """A wait above the limit is not begun: the error comes at once and names it."""
    ended = await call(side, operation, throttled(value, {"X-RateLimit-Limit": "25"}), succeed)
    assert isinstance(ended.failure, RateLimitError)
    assert_given_up(ended, seconds)
    assert ("not_applied", 25) == (ended.failure.outcome, ended.failure.limit)


@pytest.mark.scenario(84)
@pytest.mark.parametrize(
    ("total", "limit", "value"), [(10.0, 60.0, "10"), (10.0, 60.0, "59"), (10.5, 60.0, "10"), (None, 5.0, "6")]
)
async def test_longer_than_the_rest_of_the_time(
    side: Side, operation: str, total: float | None, limit: float, value: str
) -> None:
    """A wait that would outlast the call, or the caller's own limit, is not begun either."""
    ended = await call(
        side,
        operation,
        throttled(value),
        succeed,
        policy={"retry_after_limit": limit},
        settings={} if total is None else {"timeout": total},
    )
    assert_given_up(ended, float(value))


@pytest.mark.scenario(84)
async def test_as_long_as_may_be(side: Side, operation: str) -> None:
    """A wait of just the limit is waited for, where the time of the call allows it."""
    ended = await call(side, operation, throttled("60"), succeed, settings={"timeout": 100.0})
    assert (None, [61.0]) == (ended.error, ended.sleeps)


@pytest.mark.scenario(84)
async def test_unavailable_for_too_long(side: Side, operation: str) -> None:
    """The same holds for a 503, which leaves open what was applied."""
    ended = await call(side, operation, throttled("3600", status=503), succeed)
    assert isinstance(ended.failure, ServerError)
    assert_given_up(ended, 3600.0)
    assert "unknown" == ended.failure.outcome


# What is a wait

WORDS = "1e3 inf -inf nan NaN 0x10 1_0 1.5 1. .5 -1 -0 +1 ١٢ ２ ² 12s 1,2 soon 0b1 10L --1 1/2 None"
OTHERS = ["", " ", " 5", "5 ", "5\n", "1, 2", "1 2", "\t7", "5\x00", "\ud800", "1" * 10, "9" * 5000, "0" * 10]


@pytest.mark.scenario(85)
@pytest.mark.parametrize("value", WORDS.split() + OTHERS)
def test_not_a_wait(value: str) -> None:
    """Only up to nine ASCII digits are seconds; everything else is no wait."""
    assert None is parsed(value)


@pytest.mark.scenario(83, 85)
@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0.0), ("1", 1.0), ("007", 7.0), ("3600", 3600.0), ("999999999", MONTH)]
)
def test_seconds(value: str, seconds: float) -> None:
    """Digits are seconds, and never more than a month of them."""
    result = parsed(value)
    assert seconds == result
    assert float is type(result)


@pytest.mark.scenario(85)
@pytest.mark.parametrize("value", ["1e3", "inf", "nan", "0x10", "1_0", "9" * 5000, "1, 2", "1.5", "\xb2"])
async def test_not_a_wait_on_the_wire(side: Side, operation: str, value: str) -> None:
    """A header that is no wait leaves the wait to the client's own back-off."""
    ended = await call(side, operation, throttled(value))
    assert ([1.0, 2.0], None) == (ended.sleeps, ended.failure.retry_after)


@pytest.mark.scenario(86)
@pytest.mark.parametrize("skew", [timedelta(0), timedelta(days=-4000), timedelta(hours=5), timedelta(days=400)])
@pytest.mark.parametrize("seconds", [0, 1, 90, 3600])
def test_date(seconds: int, skew: timedelta) -> None:
    """A date is measured against the answer's own date, however wrong either clock is."""
    server = NOW + skew
    assert seconds == parsed(http_date(server + timedelta(seconds=seconds)), date=http_date(server))


@pytest.mark.scenario(86)
@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 01 Mar 2026 12:00:00", "0"])
def test_date_by_the_local_clock(date: str | None) -> None:
    """Where the answer has no usable date, the local clock has to do."""
    assert 30.0 == parsed(http_date(NOW + timedelta(seconds=30)), date=date)


@pytest.mark.scenario(86)
def test_date_in_the_past() -> None:
    """A date that is over means no wait, and a date in the far future no more than a month."""
    assert 0.0 == parsed(http_date(NOW - timedelta(days=1)))
    assert 0.0 == parsed("Thu, 01 Jan 1970 00:00:00 GMT")
    assert MONTH == parsed("Fri, 31 Dec 9999 23:59:59 GMT")


@pytest.mark.scenario(86)
@pytest.mark.parametrize(
    "value",
    [
        "Mon, 01 Mar 2026 12:00:30 GMT",  # a Sunday
        "Sun, 01 Mar 2026 12:00:30",
        "Sun, 01 Mar 2026 12:00:30 UTC",
        "Sun, 01 Mar 2026 12:00:30 CET",
        "Sun, 01 Mar 2026 12:00:30 +0000",
        "Sun, 01 Mar 2026 12:00:60 GMT",
        "Sun, 01 Mar 2026 24:00:00 GMT",
        "Sun, 30 Feb 2026 12:00:30 GMT",
        "Sun, 01 Mar 26 12:00:30 GMT",
        "Sun, 01 Mar 0026 12:00:30 GMT",
        "Sat, 01 Jan 100000 00:00:00 GMT",
        "sun, 01 mar 2026 12:00:30 gmt",
        "Sun,  1 Mar 2026 12:00:30 GMT",
        "Sun, 01 Mar 2026 12-00-30 GMT",
        "Sun, 01 Mär 2026 12:00:30 GMT",
        "So, 01 März 2026 12:00:30 GMT",
        "Sun, 01 Mar 2026 ١٢:00:30 GMT",
        "2026-03-01T12:00:30Z",
        "1772366430",
        "GMT",
    ],
)
def test_not_a_date(value: str) -> None:
    """A date of another form, or one that does not exist, is no wait."""
    assert None is parsed(value)


@pytest.mark.scenario(86)
async def test_date_on_the_wire(side: Side, operation: str) -> None:
    """A server whose clock is years off gets the wait that it means."""
    server = datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)
    reply = throttled(http_date(server + timedelta(seconds=2)), {"Date": http_date(server)})
    ended = await call(side, operation, reply, succeed)
    assert (None, [3.0]) == (ended.error, ended.sleeps)
    reply = throttled(http_date(server + timedelta(hours=1)), {"Date": http_date(server)})
    assert_given_up(await call(side, operation, reply, succeed), 3600.0)


@pytest.mark.scenario(87)
@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        (["2", "5"], 2.0),
        (["soon", "5", "2"], 5.0),
        (["-1", "Sun, 01 Mar 2026 12:00:09 GMT", "2"], 9.0),
        (["0", "7"], 0.0),
        (["1, 2", "3"], 3.0),
        (["soon", ""], None),
    ],
)
def test_several(values: list[str], seconds: float | None) -> None:
    """Of several headers the first that makes sense counts."""
    assert seconds == parsed(*values)


@pytest.mark.scenario(87)
async def test_several_on_the_wire(side: Side, operation: str) -> None:
    """The same on the wire, whatever the case of the names."""
    head = b"HTTP/1.1 429 X\r\nRetry-After: soon\r\nRETRY-AFTER: 2\r\nretry-after: 5\r\nContent-Length: 0\r\n\r\n"
    ended = await call(side, operation, head, succeed)
    assert (None, [3.0]) == (ended.error, ended.sleeps)


@pytest.mark.scenario(88)
@pytest.mark.parametrize("status", [500, 502, 504, 408, 425])
async def test_not_where_a_retry_is_a_guess(side: Side, operation: str, status: int) -> None:
    """On statuses other than 429 and 503 the header does not change the wait."""
    ended = await call(side, operation, throttled("30", status=status))
    assert ([0.25, 0.5], None) == (ended.sleeps, ended.failure.retry_after)


@pytest.mark.scenario(88)
@pytest.mark.parametrize("status", [301, 400, 403, 413, 422, 501])
async def test_not_where_there_is_no_retry(side: Side, operation: str, status: int) -> None:
    """The header does not start a retry where there is none."""
    ended = await call(side, operation, throttled("1", status=status), succeed)
    assert (1, [], None) == (ended.requests, ended.sleeps, ended.failure.retry_after)


@pytest.mark.scenario(91)
@pytest.mark.parametrize("attempts", [1, 2, 4])
async def test_throttled_for_good(side: Side, operation: str, attempts: int) -> None:
    """A server that throttles every attempt gets no more than the policy allows, and changed nothing."""
    reply = throttled("2", {"X-RateLimit-Limit": "25", "X-RateLimit-Remaining": "0"})
    ended = await call(side, operation, reply, policy={"attempts": attempts})
    failure = ended.failure
    assert isinstance(failure, RateLimitError)
    assert (attempts, [3.0] * (attempts - 1)) == (ended.requests, ended.sleeps)
    assert ("not_applied", 429, 2.0, 25) == (failure.outcome, failure.status, failure.retry_after, failure.limit)
    assert "Rate limit exceeded." == failure.detail


@pytest.mark.parametrize("value", ["", "-1", "1e3", "25, 25", "2" * 10, "unlimited", "\xb2\xb5"])
@pytest.mark.scenario(91)
async def test_odd_limit(side: Side, value: str) -> None:
    """A limit that is not a plain number is none."""
    ended = await call(side, "delete", throttled(None, {"X-RateLimit-Limit": value}))
    assert isinstance(ended.failure, RateLimitError)
    assert None is ended.failure.limit


@pytest.mark.scenario(92)
@pytest.mark.parametrize("jump", [-1e9, 1e9], ids=["back", "ahead"])
@pytest.mark.parametrize(("first", "wait"), [(throttled("2"), 3.0), (answer(500), 0.25)], ids=["429", "500"])
async def test_wall_clock_jumps(
    side: Side, operation: str, first: bytes, wait: float, jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wall clock that is put back or ahead by years during a wait changes neither waits nor limits."""
    clock, wall = VirtualClock(), time.time

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        monkeypatch.setattr(time, "time", lambda: wall() + jump * len(clock.sleeps))

    async with RawServer(odd_ones(first)) as server:
        client = side.client(
            server.url, retry=RetryPolicy(sleep=sleep, clock=clock.monotonic, random=lambda: 1.0), timeout=60.0
        )
        errors = [(await outcome(side, client, operation))[1] for _ in range(2)]
    monkeypatch.undo()
    assert ([None, None], [wait, wait]) == (errors, clock.sleeps)


@pytest.mark.scenario(92)
async def test_default_clock() -> None:
    """Unless told otherwise, waits and limits go by the monotonic clock."""
    assert time.monotonic is RetryPolicy().clock


# Any text at all

ALPHABETS = [
    string.digits,
    string.digits + "eE.+-_ ,xinfa",
    string.printable,
    "".join(map(chr, range(256))),
    "0123456789٠١٢²½　\u200b\ud800\U0001d7d8é",
]
DATE = "Sun, 01 Mar 2026 12:00:30 GMT"
DAYS = "Mon Tue Wed Thu Fri Sat Sun"
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"


def random_value(draw: random.Random) -> str:
    """Digits, near-numbers and noise, and dates: right, nearly right, and with a few characters replaced."""
    kind = draw.random()
    if kind < 0.5:
        return "".join(draw.choices(draw.choice(ALPHABETS), k=draw.randrange(40)))
    if kind < 0.75:
        return (
            f"{draw.choice(DAYS.split())}, {draw.randrange(34):02} {draw.choice(MONTHS.split())} "
            f"{draw.randrange(10000):04} {draw.randrange(26):02}:{draw.randrange(62):02}:{draw.randrange(62):02} GMT"
        )
    letters = list(DATE)
    for _ in range(draw.randrange(4)):
        letters[draw.randrange(len(letters))] = draw.choice(draw.choice(ALPHABETS))
    return "".join(letters)


@pytest.mark.figure
@pytest.mark.scenario(85, 86)
def test_any_text(figure: Callable[..., None]) -> None:
    """No text makes the parser raise, and what it makes of one is None or finite seconds up to a month."""
    draw = random.Random(85)
    count = times(1_000_000)
    waits = 0
    for _ in range(count):
        value = random_value(draw)
        date = random_value(draw) if draw.random() < 0.25 else None
        result = parsed(value, date=date)
        if result is None:
            assert not (value.isascii() and value.isdigit() and len(value) < 10)
            continue
        waits += 1
        assert float is type(result)
        assert math.isfinite(result)
        assert 0.0 <= result <= MONTH
        if len(value) != len(DATE):
            assert min(float(value), MONTH) == result
            assert value.isascii()
            assert value.isdigit()
    assert 0 < waits < count
    figure("Retry-After", strings=count, raised=0, outside_the_bounds=0, waits=waits)
