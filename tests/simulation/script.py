"""What happens in one simulated world, as plain values: what the world does, and what the user does.

Everything that is not said is healthy: `World()` answers each request as the API would. So a script becomes shorter by
leaving things out, and its repr can be pasted into a test.
"""

from typing import Any

import attrs


def _plain(value: Any) -> str:
    """The value as Python code, without what is at its default."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_plain, value))}{',' if len(value) == 1 else ''})"
    if not isinstance(value, Value):
        return repr(value)
    said = [
        f"{field.name}={_plain(getattr(value, field.name))}"
        for field in attrs.fields(type(value))  # type: ignore[arg-type]  # all of them are classes of attrs
        if getattr(value, field.name) != field.default
    ]
    return f"{type(value).__name__}({', '.join(said)})"


class Value:
    """A part of a script."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _plain(self)


# The world


@attrs.frozen(kw_only=True, repr=False)
class Arrival(Value):
    """What becomes of one new connection."""

    kind: str = "accepted"  # refused, hangs, speaks first, closed at once, closed soon, no such name, name hangs
    seconds: float = 0.0


@attrs.frozen(kw_only=True, repr=False)
class Turn(Value):
    """What becomes of one request, in the order of their arrival."""

    answer: str = "api"  # or a page of `world.PAGES`, or "none"
    reaches: bool = True  # the API gets the request, even if something else answers
    late: float = 0.0  # seconds after which it does
    delay: float = 0.0  # seconds before the answer
    way: str = "whole"  # how the answer goes out, see `world.WAYS`
    cut: int = 0  # bytes after which it breaks off, or stops
    gap: float = 0.0  # seconds before what follows the answer
    wait: int = 1  # what a Retry-After says


@attrs.frozen(kw_only=True, repr=False)
class Clock(Value):
    """The machine sleeps, or its time of day is set."""

    at: float
    sleeps: float = 0.0
    steps: float = 0.0


@attrs.frozen(kw_only=True, repr=False)
class World(Value):
    latency: float = 0.01
    idle: float = 0.0  # seconds after which an idle connection is closed; 0 for never
    arrivals: tuple[Arrival, ...] = ()
    turns: tuple[Turn, ...] = ()
    write_limit: int | None = None
    read_limit: int | None = None
    transcript_limit: int | None = None
    window: float = 3600.0
    clocks: tuple[Clock, ...] = ()


# The user


@attrs.frozen(kw_only=True, repr=False)
class Call(Value):
    """One call. `ending` says how the user gives it up, if at all, after so many seconds or turns of the loop."""

    operation: str = "update"
    id: str = "c0"
    text: str = ""
    total: float | None = 30.0
    attempt: float | None = 10.0
    connect: float | None = 5.0
    attempts: int = 3
    wait: float = 0.0  # seconds of waiting before
    compute: float = 0.0  # seconds for which the user's own code holds up the loop before
    ending: str = ""  # timeout, wait_for, cancel, cancel twice
    after: float = 0.0
    turns: int = 0  # where not 0, counted instead of the seconds


@attrs.frozen(kw_only=True, repr=False)
class Job(Value):
    operation: str = "update"  # or delete
    ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    source: str = "list"  # generator, asynchronous, slow, live, failing, cancelled
    breaks: int = 0  # items after which a failing or cancelled input breaks
    concurrency: int = 4
    waits: bool = True
    journal: bool = False
    attempts: int = 3
    total: float | None = 30.0
    take: str = "all"  # limit, leave, leave and go on, cancel, cancel twice, two at once
    after: float = 0.0
    turns: int = 0
    taken: int = 0  # outcomes before it is left
    close_limit: float = 0.0  # seconds after which the user gives up closing the job; 0 for never
    callback: str = ""  # raises, cancels, calls
    wait: float = 0.0


@attrs.frozen(kw_only=True, repr=False)
class Together(Value):
    """Several steps at once, in a task group or gathered."""

    steps: tuple[Any, ...] = ()
    group: bool = False


@attrs.frozen(kw_only=True, repr=False)
class Close(Value):
    wait: float = 0.0
    limit: float = 0.0  # seconds after which the user gives up closing; 0 for never


@attrs.frozen(kw_only=True, repr=False)
class User(Value):
    steps: tuple[Any, ...] = ()
    max_connections: int = 100
    borrowed: bool = False  # a session of the user's own
    kill: int = 0  # the commit of a journal at which the process is killed; 0 for never


@attrs.frozen(kw_only=True, repr=False)
class Script(Value):
    world: World = World()
    user: User = User()
    seed: int = 0
