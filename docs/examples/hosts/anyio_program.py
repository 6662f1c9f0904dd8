"""An anyio program on its asyncio backend, which is the usual one.

python anyio_program.py conv_standup conv_design
"""

import sys

import anyio

from omi_async import AsyncOmiClient


async def look(omi: AsyncOmiClient, conversation_id: str) -> None:
    conversation = await omi.conversations.get(conversation_id)
    print(conversation.id, conversation.structured.title)


async def main() -> None:
    async with AsyncOmiClient() as omi:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for conversation_id in sys.argv[1:]:
                    group.start_soon(look, omi, conversation_id)


anyio.run(main)
