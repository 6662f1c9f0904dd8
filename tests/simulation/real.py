"""The same scripts on real sockets in real time, with either side of the client: the simulation is not believed.

Only scripts whose end does not hang on milliseconds can be compared: one call after the other, with limits that are far
from the server's delays.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from omi_async.sandbox.server import API_KEY
from omi_sync import OmiClient, OmiError, RetryPolicy, Timeout

from .run import ids_of, run
from .script import Call, Script, Turn, User
from .script import World as Worlds
from .user import CALLS, Experience, Program, Told, write_error, write_result
from .world import PAGES, Connection, World

_WAYS = ("whole", "closes", "cut", "interim", "half closed", "without a length", "chunked", "packed", "in pieces")
_OPERATIONS = ("update", "delete", "get", "create", "create from segments", "update memory", "delete goal")


def draw_plain(seed: int) -> Script:
    """A script that must end alike in any time."""
    chance = random.Random(seed)

    def turn() -> Turn:
        if chance.random() < 0.4:
            return Turn()
        answer = chance.choice(("api", "none", *(name for name in PAGES if not PAGES[name].waits)))
        way = chance.choice(_WAYS) if answer == "api" else "closes" if answer == "none" else "whole"
        return Turn(answer=answer, reaches=chance.random() < 0.5, way=way, cut=chance.randrange(300))

    def call(number: int) -> Call:
        operation = chance.choice(_OPERATIONS)
        text = "" if operation.startswith(("delete", "get")) else f"marker-{number}."
        return Call(operation=operation, id=f"{chance.choice('cx')}{number}", text=text, attempts=chance.choice((1, 2)))

    return Script(
        seed=seed,
        world=Worlds(
            latency=0.0,
            turns=tuple(turn() for _ in range(chance.randrange(1, 6))),
        ),
        user=User(steps=tuple(call(number) for number in range(chance.randrange(1, 4)))),
    )


def told_of(experience: Experience) -> list[str]:
    """What the user was told, without what differs between two clocks."""
    return [f"{told} {told.answer.split()[:1] if told.id != 'c0' else ''}" for told in experience.calls]


class _Clock:
    """The world's timetable on the event loop of its server."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.at = lambda delay, action: loop.call_later(delay, action)

    @property
    def now(self) -> float:
        return self._loop.time()


class _Wire(asyncio.Protocol):
    """One real connection, as the world sees it."""

    def __init__(self, make: Callable[["_Wire"], Connection], number: int) -> None:
        self._make, self.number, self.closed = make, number, False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._connection = self._make(self)

    def data_received(self, data: bytes) -> None:
        self._connection.left(data)
        self._connection.received(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True

    def send(self, data: bytes) -> None:
        if not self.closed:
            self._transport.write(data)

    def half_close(self) -> None:
        self._transport.write_eof()

    def close(self) -> None:
        self._transport.close()


class Server:
    """A script's world on a real port, on a thread of its own."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._loop.set_exception_handler(lambda *_: None)
        ids = ids_of(self._script.user.steps)
        ids["conversations"] |= {"probe", "c0"}
        world = self.world = World(self._script, ids, _Clock(self._loop), lambda _: None)
        numbers = iter(range(10_000))

        def wire() -> _Wire:
            arrival = world.next_arrival()
            return _Wire(lambda made: Connection(world, made, arrival), next(numbers))

        server = await self._loop.create_server(wire, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        await self._end.wait()
        server.close()
        server.close_clients() if hasattr(server, "close_clients") else None


class _RealLoop:
    """What the user's program needs of a loop, of a real one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.time, self.call_later = loop.time, loop.call_later

    @property
    def now(self) -> float:
        return self.time()


def run_asynchronously(script: Script) -> Experience:
    experience = Experience()

    async def live(url: str) -> None:
        loop = _RealLoop(asyncio.get_running_loop())
        program = Program(script.user, url, loop, experience, lambda _: None, life=0)
        await program.live("", all_well=lambda: None)

    with Server(script) as server:
        asyncio.run(live(server.url))
    return experience


def run_synchronously(script: Script) -> Experience:
    experience = Experience()
    chance = random.Random(7)
    with Server(script) as server:
        policy = RetryPolicy(random=chance.random)
        with OmiClient(API_KEY, base_url=server.url, retry=policy) as omi:
            for call in script.user.steps:
                told = Told(call.operation, call.id, call.text, "", began=time.monotonic())
                limits = Timeout(connect=call.connect, attempt=call.attempt, total=call.total)
                how = {"timeout": limits, "retry": RetryPolicy(attempts=call.attempts, random=chance.random)}
                try:
                    write_result(told, CALLS[call.operation](omi, call.id, call.text, how))  # type: ignore[arg-type]
                except OmiError as error:
                    write_error(told, error)
                experience.calls.append(told)
    return experience


def differences(script: Script) -> list[str]:
    """How the ends of a script differ: in the simulation, and on real sockets on either side."""
    simulated = run(script)
    ends = {
        "simulated": told_of(simulated.experience),
        "asynchronous": told_of(run_asynchronously(script)),
        "synchronous": told_of(run_synchronously(script)),
    }
    return simulated.violations + [
        f"real: {name}: {end} instead of {ends['simulated']}" for name, end in ends.items() if end != ends["simulated"]
    ]
