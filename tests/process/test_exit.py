"""How a program ends, whatever its clients are doing at that moment."""

import asyncio
import sys
from collections.abc import Callable

import attrs
import pytest

from tests.support.raw import Exchange, RawServer, in_thread
from tests.support.scale import FULL
from tests.support.subprocesses import DEVELOPMENT, STRICT, run

# Seconds. The short run also passes on an overloaded machine, but not if the grace time of closing is waited for.
_SOON = 1.0 if FULL else 4.5

_PRELUDE = """
import asyncio, atexit, os, signal, sys, threading, time
from omi_async import AsyncOmiClient, OmiError
from omi_sync import OmiClient, Sandbox

url = sys.argv[1]

def begins():
    '''The end begins here; the test measures from the last such line.'''
    print("end", time.monotonic(), flush=True)

def say(what, name="late"):
    '''Make a call and print how it ended; a call that comes too late may fail, but must not hang.'''
    try:
        result = what.conversations.delete(name).id
    except OmiError as error:
        result = f"{type(error).__name__} {error.outcome}"
    print(result, flush=True)

def in_flight(client):
    while not client._bridge.target._transport.pool.place.sending:
        time.sleep(0.001)
    time.sleep(0.02)
"""


@attrs.frozen
class _Shape:
    source: str
    code: int = 0
    says: tuple[frozenset[str], ...] = ()
    """For each line what it may be."""
    sent: frozenset[str] | None = None
    """Which ids the server must have seen."""


def _one_of(*lines: str) -> frozenset[str]:
    return frozenset(lines)


_LATE = _one_of("late", "ClientClosedError not_applied", "ClientClosedError unknown")

_SHAPES = {
    "never used": _Shape("client = OmiClient(base_url=url); begins()", sent=_one_of()),
    "idle, never closed": _Shape(
        """
        client = OmiClient(base_url=url)
        say(client, "a")
        begins()
        """,
        says=(_one_of("a"),),
    ),
    "after close": _Shape(
        """
        with OmiClient(base_url=url) as client:
            say(client, "a")
        begins()
        """,
        says=(_one_of("a"),),
    ),
    "exit inside the block": _Shape(
        """
        with OmiClient(base_url=url) as client:
            say(client, "a")
            begins()
            sys.exit(5)
        """,
        code=5,
        says=(_one_of("a"),),
    ),
    "in flight on a daemon thread": _Shape(
        """
        client = OmiClient(base_url=url)
        threading.Thread(target=say, args=(client, "hang"), daemon=True).start()
        in_flight(client)
        begins()
        """,
        sent=_one_of("hang"),
    ),
    "daemon threads that go on calling": _Shape(
        """
        client = OmiClient(base_url=url)
        def work():
            while True:
                client.conversations.delete("a")
        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.1)
        begins()
        """,
        sent=_one_of("a"),
    ),
    "in flight in the main thread, exit in a signal's handler": _Shape(
        """
        def handle(*_):
            begins()
            sys.exit(3)
        signal.signal(signal.SIGALRM, handle)
        client = OmiClient(base_url=url)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        client.conversations.delete("hang")
        """,
        code=3,
        sent=_one_of("hang"),
    ),
    "in flight on a thread that is waited for": _Shape(
        """
        client = OmiClient(base_url=url)
        threading.Thread(target=say, args=(client, "slow")).start()
        in_flight(client)
        begins()
        """,
        says=(_one_of("slow"),),
    ),
    "first call on a thread that outlives the main thread": _Shape(
        """
        client = OmiClient(base_url=url)
        def work():
            threading.main_thread().join()
            say(client)
            client.close()
        threading.Thread(target=work).start()
        begins()
        """,
        says=(_LATE,),
    ),
    "call in atexit": _Shape(
        """
        client = OmiClient(base_url=url)
        say(client, "a")
        atexit.register(say, client)
        begins()
        """,
        says=(_one_of("a"), _LATE),
    ),
    "first call in atexit": _Shape(
        """
        client = OmiClient(base_url=url)
        atexit.register(say, client)
        begins()
        """,
        says=(_LATE,),
    ),
    "close in atexit": _Shape(
        """
        client = OmiClient(base_url=url)
        say(client, "a")
        atexit.register(client.close)
        begins()
        """,
        says=(_one_of("a"),),
    ),
    "close in atexit, never used": _Shape(
        """
        client = OmiClient(base_url=url)
        atexit.register(client.close)
        begins()
        """,
        sent=_one_of(),
    ),
    "call in __del__ at shutdown": _Shape(
        """
        class Holder:
            def __init__(self, say):
                self.say, self.client = say, OmiClient(base_url=url)
                say(self.client, "a")
            def __del__(self):
                self.say(self.client)
        holder = Holder(say)
        begins()
        """,
        says=(_one_of("a"), _LATE),
    ),
    "first call in __del__ at shutdown": _Shape(
        """
        class Holder:
            def __init__(self, say):
                self.say, self.client = say, OmiClient(base_url=url)
            def __del__(self):
                self.say(self.client)
        holder = Holder(say)
        begins()
        """,
        says=(_LATE,),
    ),
    "close in __del__ at shutdown": _Shape(
        """
        class Holder:
            def __init__(self):
                self.client = OmiClient(base_url=url)
                say(self.client, "a")
            def __del__(self):
                self.client.close()
        holder = Holder()
        begins()
        """,
        says=(_one_of("a"),),
    ),
    "os._exit in flight": _Shape(
        """
        client = OmiClient(base_url=url)
        threading.Thread(target=say, args=(client, "hang")).start()
        in_flight(client)
        begins()
        os._exit(7)
        """,
        code=7,
        sent=_one_of("hang"),
    ),
    "asynchronous client closed": _Shape(
        """
        async def main():
            async with AsyncOmiClient(base_url=url) as client:
                await client.conversations.delete("a")
        asyncio.run(main())
        begins()
        """,
        sent=_one_of("a"),
    ),
    "asynchronous client never closed": _Shape(
        """
        client = AsyncOmiClient(base_url=url)
        async def main():
            await client.conversations.delete("a")
        asyncio.run(main())
        begins()
        """,
        sent=_one_of("a"),
    ),
    "asynchronous client never closed, in flight": _Shape(
        """
        client = AsyncOmiClient(base_url=url)
        async def main():
            task = asyncio.create_task(client.conversations.delete("hang"))
            while not client._transport.pool.place.sending:
                await asyncio.sleep(0)
            await asyncio.sleep(0.02)
        asyncio.run(main())
        begins()
        """,
        sent=_one_of("hang"),
    ),
    "sandbox running": _Shape(
        """
        sandbox = Sandbox()
        sandbox.start()
        with OmiClient(sandbox.api_key, base_url=sandbox.url) as client:
            say(client, next(iter(sandbox.conversations)))
        begins()
        """,
        says=(_one_of("conv_standup"),),
    ),
    "sandbox and client running": _Shape(
        """
        sandbox = Sandbox()
        sandbox.start()
        sandbox.fail(delay=60)
        client = OmiClient(sandbox.api_key, base_url=sandbox.url)
        threading.Thread(target=say, args=(client, "conv_standup"), daemon=True).start()
        in_flight(client)
        begins()
        """,
    ),
    "unhandled error": _Shape(
        """
        client = OmiClient(base_url=url)
        sys.excepthook = lambda kind, *_: print(kind.__name__)
        begins()
        client.conversations.delete("/")
        """,
        code=1,
        says=(_one_of("InvalidRequestError"),),
    ),
}


async def _serve(exchange: Exchange) -> None:
    match exchange.path.rpartition("/")[2]:
        case "hang":
            await exchange.hang()
        case "slow":
            await asyncio.sleep(0.1)
    await exchange.succeed()


# Whole, without warnings as errors too: what is printed then is printed to everybody.
_MODES = {"strict": STRICT, "plain": (), "development": DEVELOPMENT} if FULL else {"strict": STRICT}


@pytest.mark.parametrize("options", _MODES.values(), ids=_MODES.keys())
@pytest.mark.parametrize(
    ("name", "shape"),
    _SHAPES.items(),
    ids=_SHAPES.keys(),
)
@pytest.mark.figure
@pytest.mark.scenario(158)
@pytest.mark.skipif(sys.platform == "win32", reason="signals and timeouts as on POSIX")
def test_end_of_the_program(name: str, shape: _Shape, options: tuple[str, ...], figure: Callable[..., None]) -> None:
    """A program ends soon, with its own exit code and with nothing on stderr."""
    source = _PRELUDE + "\n".join(line.removeprefix(" " * 8) for line in shape.source.splitlines())
    with in_thread(RawServer(_serve)) as server:
        result = run(source, server.url, options=options, limit=30)
        sent = {exchange.path.rpartition("/")[2] for exchange in server.log}
    assert (shape.code, "") == (result.code, result.err)
    ends = [line for line in result.lines if line.startswith("end ")]
    said = [line for line in result.lines if not line.startswith("end ")]
    assert len(shape.says) == len(said), said
    assert all(line in expected for line, expected in zip(said, shape.says, strict=True)), said
    assert shape.sent is None or shape.sent == sent
    took = result.ended - float(ends[-1].split()[1])
    assert took < _SOON
    if options == STRICT:
        figure(f"exit, {name}", ms=round(took * 1000), says=", ".join(said) or "nothing", code=result.code)
