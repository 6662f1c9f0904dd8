"""What the sandbox answers to every operation, in each of its generations."""

from operator import attrgetter
from typing import Any, Literal

import attrs

from omi_async import AsyncOmiClient, NewActionItem, NewMemory, NewTranscriptSegment, RouteNotFoundError
from omi_async.sandbox import Sandbox
from tests.support import inside

Generation = Literal["newest", "2026-05"]

GENERATIONS: tuple[Generation, ...] = ("newest", "2026-05")

TOKEN = Sandbox([]).id_token

_CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "conversations.list": ((), {"include_transcript": True}),
    "conversations.get": (("conv_lisbon",), {"include_transcript": True}),
    "conversations.update": (("conv_standup",), {"title": "Changed"}),
    "conversations.create": (("Bread and butter.",), {}),
    "conversations.create_from_segments": (([NewTranscriptSegment(text="Bread.", start=0, end=1)],), {}),
    "conversations.ask": (("Is the export done?",), {}),
    "conversations.delete": (("conv_noise",), {}),
    "memories.list": ((), {}),
    "memories.search": (("coffee",), {}),
    "memories.create": (("Bakes bread.",), {"tags": ["food"]}),
    "memories.create_batch": (([NewMemory("One."), NewMemory("Two.")],), {}),
    "memories.update": (("mem_coffee",), {"content": "Tea."}),
    "memories.delete": (("mem_lisbon",), {}),
    "action_items.list": ((), {}),
    "action_items.create": (("Buy flour.",), {}),
    "action_items.create_batch": (([NewActionItem("One."), NewActionItem("Two.")],), {}),
    "action_items.update": (("item_search",), {"completed": True}),
    "action_items.delete": (("item_train",), {}),
    "goals.list": ((), {"include_inactive": True}),
    "goals.get": (("goal_5a1d0c7e42b9",), {}),
    "goals.create": (("Bake",), {"target_value": 12, "unit": "loaves"}),
    "goals.update": (("goal_5a1d0c7e42b9",), {"title": "Walk"}),
    "goals.update_progress": (("goal_5a1d0c7e42b9", 7), {}),
    "goals.history": (("goal_5a1d0c7e42b9",), {}),
    "goals.delete": (("goal_2b7e9d4410cf",), {}),
    "folders.list": ((), {}),
    "daily_summaries.list": ((), {}),
    "daily_summaries.get": (("summary_2026_09_21",), {}),
    "keys.current": ((), {}),
    "keys.list": ((), {"id_token": TOKEN}),
    "keys.create": (("Laptop",), {"id_token": TOKEN}),
    "keys.revoke": (("key_read_only",), {"id_token": TOKEN}),
}


@attrs.frozen(kw_only=True)
class Answered:
    """One request and its answer."""

    generation: Generation
    request: inside.Request[Any]
    answer: inside.Answer

    @property
    def operation(self) -> str:
        return self.request.operation

    def read(self, body: bytes) -> Any:
        """What the client makes of another body in the place of the answer's own."""
        return inside.read(self.request, attrs.evolve(self.answer, body=body))


async def answered(generation: Generation) -> list[Answered]:
    """The answers to all operations that the server of a generation has."""
    found: list[Answered] = []
    async with (
        Sandbox(generation=generation) as sandbox,
        AsyncOmiClient(sandbox.api_key, base_url=sandbox.url) as client,
    ):
        transport = inside.transport(client)
        send = transport.send

        async def note(request: Any, attempt: Any) -> inside.Answer:
            answer = await send(request, attempt)
            if answer.status < 300:
                found.append(Answered(generation=generation, request=request, answer=answer))
            return answer

        transport.send = note  # type: ignore[method-assign]
        for name, (arguments, settings) in _CALLS.items():
            called = attrgetter(name)(client)(*arguments, **settings)
            try:
                if isinstance(called, inside.AsyncListing):
                    rows = [each async for each in called]
                    assert rows, name
                else:
                    await called
            except RouteNotFoundError:
                assert generation != "newest", name
    return found
