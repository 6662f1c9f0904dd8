"""No redirect is followed, wherever it points: the request carries a key and may be a deletion."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import attrs
import pytest

from omi_async import OmiError, ResponseError
from tests.support.clock import VirtualClock
from tests.support.origin import OtherOrigin
from tests.support.raw import Exchange, RawServer, answer, success
from tests.support.replies import call, outcome
from tests.support.sides import KEY, Side
from tests.support.tls import good, trust

CODES = (301, 302, 303, 307, 308)
TARGETS = ("same origin", "other port", "other host", "https to http")
HINT = "which is not followed: check the base URL"


def assert_redirect(error: OmiError | None, status: int) -> None:
    assert isinstance(error, ResponseError)
    assert ("unknown", False, 1, status) == (error.outcome, error.retryable, error.attempts, error.status)


@attrs.define
class Redirecting:
    """A server that redirects: with which status is up to the test, where to up to the target."""

    server: RawServer
    other: OtherOrigin
    elsewhere: str
    status: int = 302


@contextlib.asynccontextmanager
async def redirecting(target: str) -> AsyncIterator[Redirecting]:
    async def script(exchange: Exchange) -> None:
        location = f"{place.elsewhere}{exchange.path}"
        await exchange.send(answer(place.status, success(exchange).partition(b"\r\n\r\n")[2], headers=to(location)))

    tls = good() if target == "https to http" else None
    async with RawServer(script, tls=tls) as server:
        # The other host listens on the very port, so that nothing but the host differs.
        host, port = ("127.0.0.2", server.port) if target == "other host" else ("127.0.0.1", 0)
        async with OtherOrigin(host=host, port=port) as other:
            place = Redirecting(server, other, server.url if target == "same origin" else other.url)
            yield place


def to(location: str) -> dict[str, str]:
    return {"Location": location}


@pytest.mark.figure
@pytest.mark.scenario(93, 94, 95, 96)
async def test_not_followed(
    side: Side, figure: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A redirect is an error after one request, with nothing sent elsewhere, even where a success would follow."""
    trust(monkeypatch, tmp_path)
    calls = requests = connections = 0
    for target in TARGETS:
        async with redirecting(target) as place:
            client = side.client(place.server.url, retry=VirtualClock().policy())
            for operation, method in (("update", "PATCH"), ("delete", "DELETE")):
                for place.status in CODES:
                    result, error = await outcome(side, client, operation)
                    calls += 1
                    assert None is result
                    assert_redirect(error, place.status)
                    assert f"{place.elsewhere}/v1/dev/user/conversations/conv_1, {HINT}" in str(error)
                    assert method == place.server.log[-1].method
            requests += len(place.server.log)
        # It fails the test by itself, too.
        connections += place.other.connections
    assert (calls, 0) == (requests, connections)
    figure(
        f"redirects, {side.name}",
        calls=calls,
        followed=requests - calls,
        connections_to_the_other_origin=connections,
    )


async def test_other_origin_notices() -> None:
    """The listener that must not be connected to does fail the test when it is."""
    with pytest.raises(AssertionError, match="was connected to"):
        async with OtherOrigin() as other, aiohttp.ClientSession() as session, session.get(other.url) as response:
            assert 200 == response.status


@pytest.mark.scenario(94)
async def test_see_other_with_a_success(side: Side, operation: str) -> None:
    """A 303 is not turned into a GET, and what stands in its own body is no result."""

    async def script(exchange: Exchange) -> None:
        body = success(exchange).partition(b"\r\n\r\n")[2]
        await exchange.send(answer(303, body, headers=to("/v1/dev/user/conversations/conv_1")))

    ended = await call(side, operation, script)
    assert_redirect(ended.error, 303)
    assert ["PATCH" if operation == "update" else "DELETE"] == [exchange.method for exchange in ended.log]


@pytest.mark.scenario(97)
@pytest.mark.parametrize("status", CODES)
async def test_loop(side: Side, operation: str, status: int) -> None:
    """A server that redirects for ever is asked once."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(answer(status, headers=to(f"{exchange.path}?hop={exchange.number}")))

    assert_redirect((await call(side, operation, script)).error, status)


@pytest.mark.scenario(93, 97)
@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (None, None),
        ("", None),
        ("/v1/elsewhere?token=SECRET#SECRET", " to /v1/elsewhere,"),
        ("https://example.invalid/a/b?token=SECRET", " to https://example.invalid/a/b,"),
        ("https://user:SECRET@example.invalid:8443/a", " to https://example.invalid:8443/a,"),
        ("//user:SECRET@example.invalid/a", "//example.invalid/a,"),
        ("javascript:alert(1)//?SECRET", " to "),
        ("file:///etc/passwd", " to "),
        ("data:text/html,x?SECRET", " to "),
        ("http://[::1/", None),
        ("http://example.invalid:99999/", None),
        ("http://example.invalid:port/", None),
        (f"https://example.invalid/{KEY}/x", "omi_dev_***"),
        ("https://example.invalid/" + "x" * 5000, "..."),
        ("https://example.invalid/red\x85\xad\xff", "red???"),
        ("https://example.invalid\\@evil.invalid/", " to "),
        ("?SECRET", " to "),
    ],
)
async def test_odd_targets(side: Side, operation: str, location: str | None, shown: str | None) -> None:
    """Of whatever the server names as target, the error shows no more than origin and path, fit to be printed."""
    ended = await call(side, operation, answer(302, headers=None if location is None else to(location)))
    assert_redirect(ended.error, 302)
    text = str(ended.failure)
    if shown is None:
        assert HINT not in text
    else:
        assert shown in text
        assert HINT in text
    assert "SECRET" not in text
    assert KEY.removeprefix("omi_dev_") not in f"{text} {vars(ended.failure)}"
    assert text.isprintable()
    assert len(text) < 500


@pytest.mark.scenario(98)
@pytest.mark.parametrize("status", [300, 304, 305, 306, 309, 399])
@pytest.mark.parametrize("elsewhere", [True, False], ids=["with a target", "without"])
async def test_other_3xx(side: Side, operation: str, status: int, elsewhere: bool) -> None:
    """The other 3xx are answers that make no sense to a write: not followed, not repeated."""
    async with OtherOrigin() as other:
        ended = await call(side, operation, answer(status, headers=to(other.url) if elsewhere else None))
    assert_redirect(ended.error, status)
