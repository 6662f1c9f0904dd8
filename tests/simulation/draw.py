"""Draws a script from a seed: a world with a few faults, and a user with a few wishes."""

import random
from typing import Any

from .script import Arrival, Call, Clock, Close, Job, Script, Together, Turn, User, World
from .world import PAGES, WAYS

_WITH_RECORD = {
    "update": "c",
    "delete": "d",
    "get": "c",
    "get transcript": "c",
    "update memory": "m",
    "delete memory": "n",
    "update action item": "a",
    "delete action item": "b",
    "update goal": "g",
    "delete goal": "h",
    "request": "c",
}
_LISTS = ("list", "list memories", "list action items", "list goals", "list folders", "list summaries")
_READS = (*_LISTS, "search memories", "current key", "get", "get transcript")
_WITHOUT = (
    *_LISTS,
    "search memories",
    "current key",
    "create",
    "create from segments",
    "create memory",
    "create memories",
    "create action item",
    "create action items",
    "create goal",
)
_OFTEN = ("update", "delete", "delete", "create", "get", "create from segments")
_DELETES = ("delete", "delete memory", "delete action item", "delete goal")


class _Draw:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.count = 0
        # Few kinds in one world meet each other more often than all kinds in every world.
        self.pages = self.some(tuple(PAGES))
        self.ways = self.some(WAYS)
        self.operations = self.some((*_OFTEN, *_OFTEN, *_WITH_RECORD, *_WITHOUT))
        self.endings = self.some(("timeout", "wait_for", "cancel", "cancel", "cancel twice"))
        self.sources = self.some(("list", "list", "generator", "asynchronous", "slow", "live", "failing", "cancelled"))
        self.takes = self.some(
            ("all", "all", "limit", "leave", "leave and go on", "cancel", "cancel twice", "two at once")
        )

        self.jobs = self.chance.choice((0.0, 0.1, 0.1, 0.5))

    def some(self, kinds: tuple[str, ...]) -> tuple[str, ...]:
        """A few of the kinds, or all."""
        few = self.chance.choice((1, 2, 3, len(kinds)))
        return tuple(self.chance.sample(kinds, few))

    def often(self, probability: float) -> bool:
        return self.chance.random() < probability

    def seconds(self, *choices: float) -> float:
        """One of the seconds, or about as many."""
        found = self.chance.choice(choices)
        return found if self.often(0.5) else round(found * self.chance.uniform(0.5, 1.5), 4)

    def text(self) -> str:
        self.count += 1
        return f"marker-{self.count}."

    # The world

    def world(self) -> World:
        chance = self.chance
        faulty = chance.choice((0.1, 0.3, 0.6))
        limited = self.often(0.3)
        latency = chance.choice((0.0, 0.001, 0.01, 0.2))
        return World(
            latency=latency,
            idle=max(5.0 * latency, self.seconds(0.05, 1.0, 5.0)) if self.often(0.3) else 0.0,
            arrivals=tuple(self.arrival(faulty) for _ in range(chance.randrange(6))),
            turns=tuple(self.turn(faulty) for _ in range(chance.randrange(12))),
            write_limit=chance.choice((1, 2, 3, 5)) if limited else None,
            read_limit=chance.choice((2, 3, 5)) if limited and self.often(0.5) else None,
            transcript_limit=1 if limited and self.often(0.5) else None,
            window=chance.choice((10.0, 60.0, 3600.0)),
            clocks=tuple(self.clock() for _ in range(chance.choice((0, 0, 0, 0, 1, 2)))),
        )

    def arrival(self, faulty: float) -> Arrival:
        if not self.often(faulty / 2):
            return Arrival()
        kinds = ("refused", "hangs", "speaks first", "closed at once", "closed soon", "no such name", "name hangs")
        return Arrival(kind=self.chance.choice(kinds), seconds=self.seconds(0.0, 0.001, 0.05, 1.0))

    def turn(self, faulty: float) -> Turn:
        if not self.often(faulty):
            return Turn(delay=self.seconds(0.0, 0.0, 0.05, 1.0))
        chance = self.chance
        answer = chance.choice(("api", "api", "none", "page", "page"))
        if answer == "page":
            answer = chance.choice(self.pages)
        way = chance.choice(self.ways) if answer == "api" or self.often(0.3) else "whole"
        if answer == "none":
            way = chance.choice(("closes", "silent"))
        return Turn(
            answer=answer,
            reaches=self.often(0.6),
            late=self.seconds(0.0, 0.5, 12.0) if self.often(0.3) else 0.0,
            delay=self.seconds(0.0, 0.05, 0.5, 11.0),
            way=way,
            cut=chance.randrange(300) if way in ("cut", "stops", "in pieces") else 0,
            gap=self.seconds(0.0, 0.005, 0.05, 0.5) if way in ("twice later", "in pieces", "closed later") else 0.0,
            wait=chance.choice((0, 1, 5, 70, 5000, 300_000)) if answer.endswith("waits") else 1,
        )

    def clock(self) -> Clock:
        at = self.seconds(0.1, 1.0, 10.0)
        if self.often(0.5):
            return Clock(at=at, sleeps=self.seconds(1.0, 100.0, 4000.0))
        return Clock(at=at, steps=self.chance.choice((-3600.0, -10.0, 10.0, 3600.0)))

    # The user

    def user(self) -> User:
        chance = self.chance
        steps = tuple(self.step(depth=0) for _ in range(chance.choice((1, 2, 3, 5, 8))))
        journalled = False
        for step in steps:
            journalled = journalled or (isinstance(step, Job) and step.journal)
        return User(
            steps=steps,
            max_connections=chance.choice((1, 2, 100)),
            borrowed=self.often(0.05),
            kill=chance.randrange(1, 12) if journalled and self.often(0.6) else 0,
        )

    def step(self, depth: int) -> Any:
        kind = self.chance.random()
        if kind < self.jobs and depth == 0:
            return self.job()
        if kind < self.jobs + 0.2 and depth == 0:
            steps = [self.step(depth=1) for _ in range(self.chance.randrange(2, 6))]
            if self.often(0.3):
                steps.append(self.job())
            if self.often(0.2):
                steps.append(self.job())
            return Together(steps=tuple(steps), group=self.often(0.3))
        if kind > 0.96:
            return Close(wait=self.seconds(0.0, 0.05, 0.5), limit=self.seconds(0.01, 1.0) if self.often(0.5) else 0.0)
        return self.call()

    def call(self) -> Call:
        chance = self.chance
        operation = chance.choice(self.operations)
        self.count += 1
        record = "c0"
        if operation in _WITH_RECORD:
            prefix = "x" if operation in _DELETES and self.often(0.15) else _WITH_RECORD[operation]
            number = self.count if operation in _DELETES else chance.randrange(3)
            record = f"{prefix}{number}"
        ending = chance.choice(self.endings) if self.often(0.25) else ""
        total = self.seconds(1.0, 5.0, 30.0, 60.0)
        return Call(
            operation=operation,
            id=record,
            text="" if operation in (*_READS, *_DELETES) else self.text(),
            total=total,
            attempt=chance.choice((None, 0.5, 2.0, 10.0)),
            connect=chance.choice((None, 0.5, 5.0)),
            attempts=chance.choice((1, 2, 3, 3, 5)),
            wait=self.seconds(0.0, 0.01, 0.2, 3.0, 4.5) if self.often(0.5) else 0.0,
            compute=self.seconds(0.02, 0.3, 6.0) if self.often(0.25) else 0.0,
            ending=ending,
            after=self.seconds(0.0, 0.01, 0.1, 1.0) if ending else 0.0,
            turns=chance.randrange(1, 14) if ending.startswith("cancel") and self.often(0.5) else 0,
        )

    def job(self) -> Job:
        chance = self.chance
        self.count += 1
        size = chance.choice((0, 1, 3, 5, 9))
        different = max(1, size - chance.choice((0, 0, 1, 3, 6)))
        names = [f"{'x' if self.often(0.05) else 'j'}{self.count}-{n}" for n in range(different)]
        ids = tuple(names[n] if n < different else chance.choice(names) for n in range(size))
        operation = chance.choice(("update", "delete"))
        take = chance.choice(self.takes)
        journal = self.often(0.4) and self.journals == 0
        self.journals += journal
        return Job(
            operation=operation,
            ids=ids,
            texts=tuple(self.text() for _ in ids) if operation == "update" else (),
            source=chance.choice(self.sources),
            breaks=chance.randrange(max(1, size)),
            concurrency=chance.choice((1, 2, 4, 5)),
            waits=self.often(0.8),
            journal=journal,
            take=take,
            after=self.seconds(0.01, 0.05, 0.5, 2.0),
            turns=chance.randrange(1, 30) if take.startswith("cancel") and self.often(0.5) else 0,
            taken=chance.randrange(max(1, size)),
            close_limit=self.seconds(0.001, 0.01, 0.02, 0.05, 1.0) if self.often(0.3) else 0.0,
            callback=chance.choice(("", "", "", "raises", "cancels", "calls")),
            wait=self.seconds(0.0, 0.1) if self.often(0.3) else 0.0,
        )

    journals = 0


def draw(seed: int) -> Script:
    """The script of a seed."""
    this = _Draw(seed)
    user = this.user()
    return Script(world=this.world(), user=user, seed=seed)
