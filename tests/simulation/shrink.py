"""Makes a script that fails shorter, as long as it breaks the same promise."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from .run import run
from .script import Job, Script, Together


def rules_of(violations: list[str]) -> set[str]:
    """The names of the rules that are broken."""
    return {violation.partition(":")[0] for violation in violations}


def shortest(script: Script, fails: Callable[[Script], bool] | None = None, *, most: int = 1500) -> Script:
    """A script from which nothing can be left out: without any part of it, it does not fail in the same way."""
    if fails is None:
        broken = rules_of(run(script).violations)

        def fails(shorter: Script) -> bool:
            return bool(broken & rules_of(run(shorter).violations))

    tries = 0
    found = True
    while found:
        found = False
        for shorter in itertools.chain(_shorter(script), _without_a_step_and_its_turn(script)):
            tries += 1
            if tries > most:
                return script
            if fails(shorter):
                script, found = shorter, True
                break
    return script


def _shorter(value: Any) -> Iterator[Any]:
    """The same value with one thing less, the largest things first."""
    if isinstance(value, tuple):
        half = len(value) // 2
        if half > 1:
            yield value[:half]
            yield value[half:]
        for place in range(len(value)):
            yield value[:place] + value[place + 1 :]
        for place, each in enumerate(value):
            if isinstance(each, Together):
                yield value[:place] + each.steps + value[place + 1 :]
            for less in _shorter(each):
                yield (*value[:place], less, *value[place + 1 :])
    elif isinstance(value, Job):
        for place in range(len(value.ids)):
            texts = value.texts[:place] + value.texts[place + 1 :]
            yield attrs.evolve(value, ids=value.ids[:place] + value.ids[place + 1 :], texts=texts)
        yield from _plainer(value, but=("ids", "texts", "operation"))
    elif attrs.has(type(value)):
        yield from _plainer(value, but=("seed", "text", "id"))


def _without_a_step_and_its_turn(script: Script) -> Iterator[Script]:
    """A step takes its turns along, or the turns of the others would be others."""
    steps, turns = script.user.steps, script.world.turns
    for step in range(len(steps)):
        user = attrs.evolve(script.user, steps=steps[:step] + steps[step + 1 :])
        for first in range(len(turns)):
            for last in range(first + 1, min(first + 4, len(turns) + 1)):
                world = attrs.evolve(script.world, turns=turns[:first] + turns[last:])
                yield attrs.evolve(script, user=user, world=world)


def _plainer(value: Any, but: tuple[str, ...]) -> Iterator[Any]:
    for field in attrs.fields(type(value)):
        now = getattr(value, field.name)
        if field.name in but or field.default is attrs.NOTHING:
            continue
        if isinstance(now, tuple) or attrs.has(type(now)):
            for less in _shorter(now):
                yield attrs.evolve(value, **{field.name: less})
        elif now != field.default:
            yield attrs.evolve(value, **{field.name: field.default})


def as_test(script: Script) -> str:
    """The script as a test that can be pasted."""
    return f"def test_found() -> None:\n    script = {script!r}\n    assert run(script).violations == []\n"
