"""A client that openapi-python-client makes of the API's OpenAPI file, and one round of every operation with it."""

import importlib
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from omi_sync import Sandbox

PACKAGE = "omi_generated"


def check(path: Path) -> Iterator[str]:
    """Give a sentence for each operation that the generated client does not understand."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / PACKAGE
        command = ("-m", "openapi_python_client", "generate", "--meta", "none")
        subprocess.run(
            [sys.executable, *command, "--path", str(path), "--output-path", str(target)],
            check=True,
            # It says at length what it leaves out: the refusals, whose schema it does not understand.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        sys.path.insert(0, folder)
        try:
            done = yield from _round(target)
        finally:
            sys.path.remove(folder)
    print(f"generated client: {done} operations")


def _round(target: Path) -> Any:
    models = importlib.import_module(f"{PACKAGE}.models")
    client_class = importlib.import_module(f"{PACKAGE}.client").AuthenticatedClient
    called: set[str] = set()
    with Sandbox(write_limit=None) as sandbox:
        client = client_class(sandbox.url, sandbox.api_key, raise_on_unexpected_status=True)
        user = client_class(sandbox.url, sandbox.id_token, raise_on_unexpected_status=True)

        def call(room: str, name: str, *arguments: object, status: int = 200, **more: object) -> Any:
            called.add(name)
            module = importlib.import_module(f"{PACKAGE}.api.{room}.{name}")
            answer = module.sync_detailed(*arguments, client=user if room == "api_keys" else client, **more)
            assert answer.status_code == status, (name, answer.status_code)
            return answer.parsed

        for story in (_conversations, _memories, _action_items, _goals, _keys):
            try:
                story(call, models)
            except Exception as error:
                line = traceback.extract_tb(error.__traceback__)[1].line
                yield f"{story.__name__.strip('_')}: {type(error).__name__}: {error} in {line}"
    generated = {each.stem for each in (target / "api").glob("*/*.py") if each.stem != "__init__"}
    for name in sorted(generated - called):
        yield f"{name} was not called"
    return len(called)


def _conversations(call: Callable[..., Any], models: Any) -> None:
    room = "conversations"
    created = call(room, "create_conversation", body=models.CreateConversationRequest(text="Bread and butter"))
    segment = models.CreateConversationTranscriptSegment(text="Hello", start=0.0, end=1.0)
    call(
        room,
        "create_conversation_from_segments",
        body=models.CreateConversationFromTranscriptRequest(transcript_segments=[segment]),
    )
    assert call(room, "get_conversation", created.id, include_transcript=True).transcript_segments == []
    changed = call(room, "update_conversation", created.id, body=models.UpdateConversationRequest(title="Named"))
    assert changed.structured.title == "Named"
    assert len(call(room, "list_conversations", include_transcript=True)) == 6
    answer = call(room, "ask", body=models.DeveloperAskRequest(question="Bread with butter?"))
    assert answer.sources[0].id == created.id
    assert call(room, "delete_conversation", created.id).success
    assert len(call("folders", "list_folders")) == 3


def _memories(call: Callable[..., Any], models: Any) -> None:
    request = models.CreateMemoryRequest(content="Bakes bread")
    created = call("memories", "create_memory", body=request)
    batch = call("memories", "create_memories_batch", body=models.BatchMemoriesRequest(memories=[request]))
    assert [created.id] == [each.id for each in batch.memories]
    changed = call("memories", "update_memory", created.id, body=models.UpdateMemoryRequest(tags=["food"]))
    assert changed.tags == ["food"]
    assert call("memories", "list_memories")[0].id == created.id
    search = "search_memories_vector_v1_dev_user_memories_vector_search_get"
    assert call("developer", search, query="bread").items[0].id == created.id
    assert call("memories", "delete_memory", created.id).success


def _action_items(call: Callable[..., Any], models: Any) -> None:
    request = models.CreateActionItemRequest(description="Buy flour")
    created = call("action_items", "create_action_item", body=request)
    batch = call(
        "action_items", "create_action_items_batch", body=models.BatchActionItemsRequest(action_items=[request])
    )
    assert batch.created_count == 1
    changed = call(
        "action_items", "update_action_item", created.id, body=models.UpdateActionItemRequest(completed=True)
    )
    assert changed.completed_at is not None
    assert created.id in {each.id for each in call("action_items", "list_action_items", completed=True)}
    assert call("action_items", "delete_action_item", created.id).success


def _goals(call: Callable[..., Any], models: Any) -> None:
    request = models.CreateGoalRequest(title="Bake", goal_type=models.GoalType.NUMERIC, target_value=12.0)
    created = call("goals", "create_goal", body=request)
    assert created.metric.target == 12.0
    assert call("goals", "update_goal", created.id, body=models.UpdateGoalRequest(unit="loaves")).unit == "loaves"
    assert call("goals", "update_goal_progress", created.id, current_value=3.0).current_value == 3.0
    assert [3.0] == [each.value for each in call("goals", "list_goal_history", created.id)]
    assert call("goals", "delete_goal", created.id).success
    assert call("goals", "get_goal", created.id).status == "abandoned"
    assert created.id in {each.id for each in call("goals", "list_goals", include_inactive=True)}


def _keys(call: Callable[..., Any], models: Any) -> None:
    created = call("api_keys", "create_api_key", body=models.DevApiKeyCreate(name="Mine"))
    assert created.key.startswith("omi_dev_")
    assert created.id in {each.id for each in call("api_keys", "list_api_keys")}
    call("api_keys", "revoke_api_key", created.id, status=204)
