"""Both sides behind one face, so that one test body serves the asynchronous and the synchronous client."""

import asyncio
from typing import Any

from omi_async import AsyncOmiClient, Conversation, CreatedConversation, Deletion
from omi_sync import OmiClient
from tests.support import specimens

KEY = "omi_dev_0123456789abcdef0123456789abcdef"


class Side:
    """`client(...)` makes a client of this side, `call(...)` makes one call on it; all are closed at the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._clients: list[AsyncOmiClient | OmiClient] = []

    def client(self, base_url: str, **settings: Any) -> AsyncOmiClient | OmiClient:
        kind = AsyncOmiClient if self.name == "async" else OmiClient
        client = kind(settings.pop("api_key", KEY), base_url=base_url, **settings)
        self._clients.append(client)
        return client

    async def call(
        self, client: AsyncOmiClient | OmiClient, operation: str, subject: Any = "conv_1", **settings: Any
    ) -> Conversation | CreatedConversation | Deletion:
        """Call a specimen by its short name, or another operation by its whole one."""
        if isinstance(client, AsyncOmiClient):
            result = await specimens.call(client, operation, subject, **settings)
        else:
            result = await asyncio.to_thread(specimens.call, client, operation, subject, **settings)
        assert isinstance(result, (Conversation, CreatedConversation, Deletion))
        return result

    async def aclose(self) -> None:
        for client in self._clients:
            if isinstance(client, AsyncOmiClient):
                await client.aclose()
            else:
                await asyncio.to_thread(client.close)
