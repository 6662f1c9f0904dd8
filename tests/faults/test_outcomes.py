"""What a call reports when the connection or the answer fails: the laws, on one operation of each effect."""

import pytest

from omi_async import Deletion, NotFoundError, RateLimitError, RequestTimeoutError, Timeout, TransportError
from tests.support.clock import VirtualClock
from tests.support.failures import failure
from tests.support.raw import Exchange, RawServer, answer
from tests.support.replies import FAILED, MISSING, THROTTLED, Call, Step, call, close, in_turn, reset, succeed
from tests.support.sides import Side
from tests.support.specimens import CREATE, DELETE, GET, Specimen, id_of


async def break_off(exchange: Exchange) -> None:
    await exchange.send(answer(200, "{", length=99))
    exchange.close()


LOST: dict[str, Step] = {
    "closed": close,
    "reset": reset,
    "broken off": break_off,
    "no HTTP": b"nothing of the kind\r\n\r\n",
    "no JSON": answer(200, "<html>"),
    "wrong shape": answer(200, []),
    "408": answer(408),
    "499": answer(499, "client closed request"),
    "500": FAILED,
    "503": answer(503, {"detail": "Rate limiter unavailable"}),
    "504": answer(504),
}
"""Ends of an attempt of which nobody can tell whether it changed something."""


def told(done: Call) -> tuple[str, bool, int]:
    return done.failure.outcome, done.failure.retryable, done.requests


@pytest.mark.parametrize("name", LOST)
async def test_lost_once(side: Side, specimen: Specimen, name: str) -> None:
    """What is lost is asked for again, on a new connection, unless a second one would do harm."""
    done = await call(side, specimen.name, LOST[name], succeed)
    if specimen is CREATE:
        assert ("unknown", False, 1) == told(done)
    else:
        assert ("conv_1", 2) == (id_of(done.result), done.requests)
        assert [1, 2] == [exchange.connection for exchange in done.log]
        assert 1 == len(done.sleeps)  # the second request is ours, not aiohttp's


@pytest.mark.parametrize("name", LOST)
async def test_lost_for_good(side: Side, specimen: Specimen, name: str) -> None:
    """A write that was lost every time may have happened; a read changed nothing."""
    done = await call(side, specimen.name, LOST[name])
    assert {
        CREATE: ("unknown", False, 1),
        GET: ("not_applied", True, 3),
    }.get(specimen, ("unknown", True, 3)) == told(done)


@pytest.mark.scenario(65)
@pytest.mark.parametrize("name", LOST)
async def test_lost_and_then_missing(side: Side, specimen: Specimen, name: str) -> None:
    """A record that is missing after a lost attempt: gone by a deletion, in doubt for an update, absent for a read."""
    done = await call(side, specimen.name, LOST[name], MISSING)
    if specimen is DELETE:
        assert (Deletion(id="conv_1", confirmed=False), 2) == (done.result, done.requests)
    elif specimen is not CREATE:
        assert NotFoundError is type(done.failure)
        assert ("not_applied" if specimen is GET else "unknown", False, 2) == told(done)


REFUSED = {str(status): answer(status, {"detail": "No."}) for status in (400, 401, 402, 403, 409, 422)}


@pytest.mark.parametrize("reply", [*REFUSED.values(), MISSING], ids=[*REFUSED, "404"])
async def test_refused(side: Side, specimen: Specimen, reply: bytes) -> None:
    """What the server refuses was not applied, and is not asked for again."""
    done = await call(side, specimen.name, reply)
    assert ("not_applied", False, 1) == told(done)


@pytest.mark.parametrize("status", [400, 403, 404, 409])
async def test_refused_on_the_way(side: Side, specimen: Specimen, status: int) -> None:
    """What something in between refuses was not applied and may be asked for again; a lost attempt stays lost."""
    page = answer(status, "<html>")
    assert ("not_applied", True, 3) == told(await call(side, specimen.name, page))
    assert "conv_1" == id_of((await call(side, specimen.name, page, succeed)).result)
    assert {
        CREATE: ("unknown", False, 1),
        GET: ("not_applied", True, 3),
    }.get(specimen, ("unknown", True, 3)) == told(await call(side, specimen.name, close, page))


async def test_throttled(side: Side, specimen: Specimen) -> None:
    """A 429 changed nothing, so everything is asked for again after it; what is lost then is lost."""
    done = await call(side, specimen.name, THROTTLED, succeed)
    assert ("conv_1", [1.0]) == (id_of(done.result), done.sleeps)
    done = await call(side, specimen.name, THROTTLED)
    assert RateLimitError is type(done.failure)
    assert ("not_applied", True, 3) == told(done)
    done = await call(side, specimen.name, THROTTLED, close, THROTTLED)
    assert {
        CREATE: ("unknown", False, 2),
        GET: ("not_applied", True, 3),
    }.get(specimen, ("unknown", True, 3)) == told(done)


async def test_no_connection(side: Side, specimen: Specimen, clock: VirtualClock) -> None:
    """Where no connection could be made nothing was sent, and any call is tried again."""
    error = await failure(side, side.client("http://127.0.0.1:1", retry=clock.policy()), specimen.name)
    assert isinstance(error, TransportError)
    assert ("not_applied", True, 3) == (error.outcome, error.retryable, error.attempts)


@pytest.mark.parametrize(("status", "tried_again"), [(302, False), (501, False), (511, False), (425, True)])
async def test_which_are_repeated(side: Side, specimen: Specimen, status: int, tried_again: bool) -> None:
    """Whether a strange answer is worth another attempt is the same for all that may be repeated."""
    done = await call(side, specimen.name, answer(status))
    again = tried_again and specimen is not CREATE
    assert ("not_applied" if specimen is GET else "unknown", again, 3 if again else 1) == told(done)


async def test_silence(side: Side, specimen: Specimen) -> None:
    """A call that nobody answers ends in time: a write in doubt, a read without."""
    async with RawServer(lambda exchange: exchange.hang()) as server:
        error = await failure(side, side.client(server.url), specimen.name, timeout=Timeout(total=0.1))
    assert isinstance(error, RequestTimeoutError)
    assert ("not_applied" if specimen is GET else "unknown") == error.outcome


@pytest.mark.scenario(13)
async def test_kept_connections(side: Side, specimen: Specimen, clock: VirtualClock) -> None:
    """Calls share a connection until an answer on it could not be read; what is done once takes a new one each time.

    The server may be about to close a kept connection, and such an operation could not be repeated then.
    """
    async with RawServer(in_turn(succeed, succeed, LOST["no JSON"], succeed)) as server:
        client = side.client(server.url, retry=clock.policy())
        await side.call(client, specimen.name)
        await side.call(client, specimen.name)
        if specimen is CREATE:
            await failure(side, client, specimen.name)
        await side.call(client, specimen.name)
        assert ([1, 2, 3, 4] if specimen is CREATE else [1, 1, 1, 2]) == [each.connection for each in server.log]
