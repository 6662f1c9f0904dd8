"""The sandbox lists folders as the real servers do."""

import json
from datetime import datetime
from typing import Any

import attrs
import pytest

from omi_async.sandbox import Sandbox, SandboxFolder
from tests.support.caller import calling

FOLDERS = "/v1/dev/user/folders"


async def test_rows_have_every_field() -> None:
    """In the order of `order`."""
    async with calling(Sandbox()) as call:
        answer = await call("GET", FOLDERS, key=call.sandbox.read_only_key)
    assert 200 == answer.status
    assert (
        '[{"id":"folder_other","name":"Other","description":null,"color":"#6B7280","icon":"📁",'
        '"created_at":"2026-09-01T09:00:00Z","updated_at":"2026-09-01T09:00:00Z","order":0,"is_default":true,'
        '"is_system":true,"conversation_count":0},'
    ).encode() == answer.body[: answer.body.index(b'{"id":"folder_work"')]
    assert ["folder_other", "folder_work", "folder_travel"] == [row["id"] for row in json.loads(answer.body)]


async def test_the_older_server_has_one_field_more() -> None:
    """`category_mapping`, which may be null."""
    folders = [SandboxFolder("a", category_mapping="work"), SandboxFolder("b", order=1)]
    async with calling(Sandbox(folders=folders, generation="2026-05")) as call:
        rows = json.loads((await call("GET", FOLDERS)).body)
    assert ["work", None] == [row["category_mapping"] for row in rows]


@pytest.mark.parametrize(("generation", "expected"), [("newest", ["b"]), ("2026-05", None)])
async def test_some_folders_are_not_listed(generation: Any, expected: list[str] | None) -> None:
    """Those without an order, and unreadable ones, which break the older server."""
    folders = [SandboxFolder("a", order=None), SandboxFolder("b", order=2), SandboxFolder("c", unreadable=True)]
    async with calling(Sandbox(folders=folders, generation=generation)) as call:
        answer = await call("GET", FOLDERS)
    assert expected == (None if answer.status == 500 else [row["id"] for row in json.loads(answer.body)])


async def test_they_are_counted_with_the_lists_of_conversations() -> None:
    """In both of their windows."""
    async with calling(Sandbox(read_limit=2)) as call:
        reads = (FOLDERS, "/v1/dev/user/conversations", FOLDERS)
        assert [200, 200, 429] == [(await call("GET", path)).status for path in reads]
        assert 405 == (await call("POST", FOLDERS, {})).status
        assert 404 == (await call("GET", f"{FOLDERS}/folder_work")).status


def test_seeds() -> None:
    """The conversations' folder is there; own ones take their place; names are in no repr."""
    sandbox = Sandbox()
    assert {each.folder_id for each in sandbox.conversations.values()} <= {None, *sandbox.folders}
    assert {} == Sandbox(folders=[]).folders
    with pytest.raises(ValueError, match="^folders has the id 'a' twice"):
        Sandbox(folders=[SandboxFolder("a"), SandboxFolder("a")])
    with pytest.raises(ValueError, match="updated_at"):
        attrs.evolve(SandboxFolder("a"), updated_at=datetime(2026, 9, 1))
    assert "private" not in repr(SandboxFolder("a", "private", "private"))
