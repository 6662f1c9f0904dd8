"""One script from its beginning to its end, in virtual time; the same script gives the same log, byte for byte."""

import asyncio
import functools
import gc
import logging
import random
import shutil
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from . import oracle
from .loop import HOST, PORT, Endless, Killed, Standstill, VirtualLoop, clocks_of
from .script import Call, Job, Script, Together
from .user import Experience, Program
from .world import Connection, World

_RESOURCES = {"memory": "memories", "action item": "action_items", "goal": "goals"}


@attrs.define
class Run:
    """What came of a script."""

    script: Script
    log: list[str]
    violations: list[str]
    world: World
    experience: Experience


def ids_of(steps: tuple[Any, ...]) -> dict[str, set[str]]:
    """The records that the steps speak of, by resource; an id that begins with x is of no record."""
    ids: dict[str, set[str]] = defaultdict(set)
    for step in steps:
        if isinstance(step, Together):
            for name, more in ids_of(step.steps).items():
                ids[name] |= more
        elif isinstance(step, Job):
            ids["conversations"] |= set(step.ids)
        elif isinstance(step, Call):
            name = next((name for word, name in _RESOURCES.items() if step.operation.endswith(word)), "conversations")
            ids[name].add(step.id)
    return defaultdict(set, {name: {each for each in more if not each.startswith("x")} for name, more in ids.items()})


def run(script: Script) -> Run:
    """Let the script happen, and hold what the user was told against what happened."""
    log: list[str] = []
    experience = Experience()
    loop = VirtualLoop()

    def write(line: str) -> None:
        log.append(f"{loop.now:11.4f} {line}")

    with clocks_of(loop), _quiet(), tempfile.TemporaryDirectory(dir=_fast_directory()) as directory:
        ids = ids_of(script.user.steps)
        ids["conversations"] |= {"probe", "c0"}
        world = World(script, ids, loop, write)
        journals = Path(directory)
        life = 1
        _live(loop, world, script, experience, write, journals / "1.db", life)
        has_journal = any(step.journal for step in _jobs(script.user.steps))
        while has_journal and life < 3:
            # The next life, in which all is well and the same jobs are run to their end.
            loop = _next_loop(loop)
            life += 1
            world.timetable = loop
            world.recover()
            again = attrs.evolve(
                script.user, steps=tuple(map(_to_the_end, _jobs(script.user.steps))), kill=0, borrowed=False
            )
            calmed = attrs.evolve(script, user=again, world=attrs.evolve(script.world, clocks=()))
            write(f"life {life}")
            with clocks_of(loop):
                _live(
                    loop,
                    world,
                    calmed,
                    experience,
                    write,
                    journals / f"{life}.db",
                    life,
                    before=journals / f"{life - 1}.db",
                )
        loop.close()
    violations = oracle.judge(script, world.record, experience, world)
    return Run(script, log, violations, world, experience)


def _live(
    loop: VirtualLoop,
    world: World,
    script: Script,
    experience: Experience,
    write: Callable[[str], None],
    journal: Path,
    life: int,
    before: Path | None = None,
) -> None:
    """One life of the user's program in the world."""
    chance = random.Random(script.seed)
    commits = 0

    def store(work: Callable[[], Any]) -> tuple[Any, float]:
        nonlocal commits
        result = work()
        commits += 1
        if life == 1 and commits == script.user.kill:
            _copy(journal, journal.parent / "killed")
            loop.killed = True
        return result, chance.choice((0.0, 0.001, 0.02))

    def arrive() -> Any:
        arrival = world.next_arrival()
        write(f"world   a new connection: {arrival!r}")
        if arrival.kind == "refused":
            return arrival.seconds
        if arrival.kind == "hangs":
            return 1e9
        return loop.new_wire(script.world.latency, lambda wire: Connection(world, wire, arrival))

    def resolve() -> float | None:
        if world._arrivals and world._arrivals[0].kind in ("no such name", "name hangs"):
            arrival = world.next_arrival()
            write(f"world   a name is looked up: {arrival!r}")
            return None if arrival.kind == "no such name" else arrival.seconds
        return 0.0

    loop.arrive, loop.resolve, loop.store = arrive, resolve, store
    for clock in script.world.clocks:
        loop.at(clock.at, functools.partial(_turn, loop, clock, write))
    if before is not None:
        name = "killed" if life == 2 and experience.killed else before.name
        _copy(before.parent / name, journal)
    strange = experience.strange
    loop.set_exception_handler(
        lambda _, context: strange.append(f"{context.get('message')}: {context.get('exception')!r}")
    )
    asyncio.set_event_loop(loop)
    program = Program(script.user, f"http://{HOST}:{PORT}", loop, experience, write, life=life)
    main = loop.create_task(program.live(str(journal), all_well=world.recover))
    try:
        loop.run_until_complete(main)
        # What a healthy program leaves to its loop's last turns is done by now.
        loop.run_until_complete(asyncio.sleep(1.0))
    except Killed:
        write("killed")
        experience.killed = True
        program.bury()
        loop.run_out(1e5)
        _bury(loop)
    except Standstill:
        strange.append("standstill: something waits for what will never happen")
    except Endless:
        strange.append("the program goes round and round")
    except Exception as error:
        strange.append(f"the user's program ends with {error!r}")
    else:
        experience.left_behind += [f"a task: {task.get_coro()!r}".split(" at ")[0] for task in asyncio.all_tasks(loop)]
        experience.left_behind += [f"connection {wire.number}" for wire in loop.open_wires]
        loop.run_out(1e5)
    if not experience.killed:
        _bury(loop)
    asyncio.set_event_loop(None)


def _bury(loop: VirtualLoop) -> None:
    """End what is left of a life, so that it keeps no thread, file or socket; the world sees nothing of that."""
    loop.killed, loop.cut_off = False, True
    loop.store, loop.arrive = (lambda work: (work(), 0.0)), (lambda: 0.0)
    loop.set_exception_handler(lambda *_: None)
    for _ in range(3):
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        loop.begin_again()
        with suppress(Exception):
            loop.run_until_complete(asyncio.wait(tasks, timeout=60.0))
    gc.collect()  # here, and not in the middle of another life


def _copy(one: Path, other: Path) -> None:
    for ending in ("", "-wal"):
        with suppress(FileNotFoundError):
            shutil.copy(f"{one}{ending}", f"{other}{ending}")


def _turn(loop: VirtualLoop, clock: Any, write: Callable[[str], None]) -> None:
    write(f"world   {clock!r}")
    loop.stepped += clock.steps
    if clock.sleeps:
        loop.slept += clock.sleeps
        loop.now += clock.sleeps


def _next_loop(loop: VirtualLoop) -> VirtualLoop:
    following = VirtualLoop()
    loop.run_out(0.01)
    following.now, following.slept, following.stepped = loop.now, loop.slept, loop.stepped
    loop.close()
    return following


def _jobs(steps: tuple[Any, ...]) -> Iterator[Job]:
    for step in steps:
        if isinstance(step, Job) and step.journal:
            yield step
        elif isinstance(step, Together):
            yield from _jobs(step.steps)


def _to_the_end(job: Job) -> Job:
    return Job(operation=job.operation, ids=job.ids, texts=job.texts, journal=True)


def _fast_directory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@contextmanager
def _quiet() -> Iterator[None]:
    """The client's log and warnings about what a killed life leaves behind are no part of the experience."""
    logger = logging.getLogger("omi_async")
    disabled, logger.disabled = logger.disabled, True
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled
        sys.unraisablehook = hook
