"""What strangers met with bulk jobs and journals."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from omi_async import InvalidRequestError, MemoryUpdate, NewMemory
from omi_async.resources import memories
from omi_async.sandbox import Sandbox
from tests.support import inside
from tests.support.sides import Side
from tests.support.subprocesses import run

MEMORIES: list[Callable[[Any], Any]] = [
    lambda tags: MemoryUpdate("mem_coffee", tags=tags),
    lambda tags: NewMemory("Tea.", tags=tags),
]


async def results(side: Side, start: Callable[[], Any]) -> list[Any]:
    """All that a job of either side gives."""
    if side.name == "async":
        return [each async for each in start()]
    return await asyncio.to_thread(lambda: list(start()))


# Items


@pytest.mark.scenario(341)
@pytest.mark.parametrize("made", MEMORIES)
@pytest.mark.parametrize("given", [iter, list, dict.fromkeys, lambda texts: dict.fromkeys(texts).keys()])
def test_texts_are_kept(made: Callable[[Any], Any], given: Callable[[list[str]], Iterable[str]]) -> None:
    """However the tags are given, and however the caller's own change, an item has the same ones at every use."""
    texts = given(["b", "a"])
    model = made(texts)
    if isinstance(texts, list):
        texts.append("c")
    assert [("b", "a")] * 2 == [model.tags, model.tags]


@pytest.mark.scenario(341)
async def test_an_item_is_used_twice(side: Side) -> None:
    """An item whose tags came from a generator sets the same ones in a second job."""
    async with Sandbox() as sandbox:
        client = side.client(sandbox.url, api_key=sandbox.api_key)
        item = MemoryUpdate("mem_coffee", tags=(tag for tag in ["drinks", "mornings"]))
        for _ in range(2):
            (outcome,) = await results(side, lambda: client.memories.update_many([item]))
            assert ("done", ("drinks", "mornings")) == (outcome.status, outcome.result.tags)


@pytest.mark.parametrize("made", MEMORIES)
@pytest.mark.parametrize(
    ("tags", "kind", "words"),
    [
        ("drinks", TypeError, "tags must be an iterable of str, not str"),
        (b"drinks", TypeError, "tags must be an iterable of str, not bytes"),
        (5, TypeError, "tags must be an iterable of str, not int"),
        ({5, "a"}, TypeError, "tags[0] must be a str, not int"),
        (["a", " "], InvalidRequestError, "tags[1] must not be blank"),
    ],
)
def test_what_is_no_collection_of_texts(
    made: Callable[[Any], Any], tags: Any, kind: type[Exception], words: str
) -> None:
    """Tags that are none are refused where the request is made, as they are in a call."""
    model = made(tags)
    request = memories.update_item(model) if isinstance(model, MemoryUpdate) else inside.create_memories([model])
    assert type(request) is kind
    assert words in str(request)


@pytest.mark.scenario(342)
@pytest.mark.parametrize("kind", ["set", "frozenset"])
def test_texts_in_a_set(kind: str) -> None:
    """A set has another order in each process. What is sent of it has not, so that a journal knows its item."""
    program = f"""
        from omi_async import MemoryUpdate
        from omi_async.resources.memories import update_item
        print(update_item(MemoryUpdate("m1", tags={kind}("abcdefgh"))).body.decode())
    """
    bodies = {run(program, env={"PYTHONHASHSEED": seed}).check().out for seed in ("1", "2")}
    assert {'{"tags":["a","b","c","d","e","f","g","h"]}\n'} == bodies
