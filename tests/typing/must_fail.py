"""Lines that a type checker must refuse, each with the code mypy gives; read by type checkers, never run.

Every line that mypy and pyright refuse is marked, and every marked line is refused by both.
"""

from typing import assert_type

import aiohttp

from omi_async import (
    AsyncOmiClient,
    Category,
    Conversation,
    Deletion,
    OmiError,
    RetryPolicy,
    Timeout,
    from_dict,
    to_dict,
)
from omi_sync import OmiClient


async def asynchronous(omi: AsyncOmiClient, session: aiohttp.ClientSession) -> None:
    await omi.conversations.update()  # error: call-arg
    await omi.conversations.update("conv_1", "Design review")  # error: call-arg
    await omi.conversations.update("conv_1", titel="Design review")  # error: call-arg
    await omi.conversations.update("conv_1", title=5)  # error: arg-type
    await omi.conversations.update("conv_1", discarded="true")  # error: arg-type
    await omi.conversations.update(1, title="Design review")  # error: arg-type
    await omi.conversations.update(None, title="Design review")  # error: arg-type
    await omi.conversations.update("conv_1", title="A", timeout="5")  # error: arg-type
    await omi.conversations.update("conv_1", title="A", retry=3)  # error: arg-type
    await omi.conversations.delete()  # error: call-arg
    await omi.conversations.delete("conv_1", 5)  # error: call-arg
    await omi.conversations.delete(b"conv_1")  # error: arg-type
    await omi.conversations.delete(["conv_1", "conv_2"])  # error: arg-type
    await omi.conversations.get("conv_1", True)  # error: call-arg
    await omi.conversations.get("conv_1", include_transcript="yes")  # error: arg-type
    await omi.conversations.list()  # error: misc
    omi.conversations.list("2026-01-20")  # error: arg-type, call-arg
    omi.conversations.list(start_date="2026-01-20")  # error: arg-type
    for row in omi.conversations.list():  # error: attr-defined
        print(row)
    await omi.conversations.create()  # error: call-arg
    await omi.conversations.create("They spoke.", text_source="email")  # error: arg-type
    await omi.conversations.create_from_segments("They spoke.")  # error: arg-type
    await omi.request("GET")  # error: call-arg
    await omi.request("GET", "/v1/dev/user/memories", params=["limit"])  # error: arg-type
    await omi.conversations.remove("conv_1")  # error: attr-defined
    await omi.close()  # error: attr-defined
    omi.conversations.delete("conv_1")  # error: unused-coroutine
    omi.closed = True  # error: misc
    with omi:  # error: attr-defined
        pass
    AsyncOmiClient("omi_dev_1", "https://api.omi.me")  # error: call-arg
    AsyncOmiClient(1)  # error: arg-type
    AsyncOmiClient(key="omi_dev_1")  # error: call-arg
    AsyncOmiClient(session="mine")  # error: arg-type
    AsyncOmiClient(max_connections="10")  # error: arg-type
    AsyncOmiClient(retry=RetryPolicy.never)  # error: arg-type
    print((await omi.conversations.delete("conv_1")).title)  # error: attr-defined


def synchronous(omi: OmiClient, session: aiohttp.ClientSession) -> None:
    omi.conversations.update()  # error: call-arg
    omi.conversations.update("conv_1", "Design review")  # error: call-arg
    omi.conversations.update("conv_1", title=5)  # error: arg-type
    omi.conversations.update("conv_1", discarded="true")  # error: arg-type
    omi.conversations.delete(1)  # error: arg-type
    omi.conversations.delete("conv_1", timeout="5")  # error: arg-type
    omi.conversations.get("conv_1", True)  # error: call-arg
    omi.conversations.list(limit="5")  # error: arg-type
    print(omi.conversations.list()[0])  # error: index
    omi.conversations.create(b"They spoke.")  # error: arg-type
    omi.conversations.create_from_segments([("They spoke.", 0.0, 1.5)])  # error: list-item
    omi.request("GET", "/v1/dev/user/memories", repeatable="no")  # error: arg-type
    omi.aclose()  # error: attr-defined
    OmiClient(session=session)  # error: call-arg
    OmiClient("omi_dev_1", "https://api.omi.me")  # error: call-arg


async def mixed_up(omi: OmiClient, other: AsyncOmiClient) -> None:
    await omi.conversations.delete("conv_1")  # error: misc
    async with omi:  # error: attr-defined
        pass
    deletion: Deletion = other.conversations.delete("conv_1")  # error: assignment
    print(deletion)


def settings() -> None:
    Timeout(5)  # error: call-arg
    Timeout(read=5)  # error: call-arg
    Timeout(total="5")  # error: arg-type
    Timeout().total = 5  # error: misc
    RetryPolicy(5)  # error: call-arg
    RetryPolicy(attempts="3")  # error: arg-type
    RetryPolicy(attempts=2.5)  # error: arg-type
    RetryPolicy(sleep=lambda seconds: None)  # error: arg-type, return-value
    RetryPolicy().attempts = 5  # error: misc


def results(conversation: Conversation, deletion: Deletion, error: OmiError) -> None:
    conversation.id = "conv_2"  # error: misc
    conversation.structured.title = "Mine"  # error: misc
    print(conversation.title)  # error: attr-defined
    print(conversation.discarded)  # error: attr-defined
    print(conversation.started_at.year)  # error: union-attr
    print(conversation.geolocation.latitude)  # error: union-attr
    deletion.confirmed = False  # error: misc
    assert_type(conversation.structured.category, Category)  # error: assert-type
    Deletion("conv_1", True)  # error: call-arg
    Deletion(id="conv_1")  # error: call-arg
    to_dict({"id": "conv_1"})  # error: arg-type
    from_dict(dict, {"id": "conv_1"})  # error: type-var
    error.outcome = "applied"  # error: assignment
    print(error.limit)  # error: attr-defined
