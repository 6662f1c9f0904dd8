"""A trio program: each call waits on a thread of trio's.

python trio_program.py conv_standup conv_design
"""

import sys
from functools import partial

import trio

from omi_sync import OmiClient


async def look(omi: OmiClient, conversation_id: str) -> None:
    conversation = await trio.to_thread.run_sync(partial(omi.conversations.get, conversation_id, timeout=10))
    print(conversation.id, conversation.structured.title)


async def main() -> None:
    with OmiClient() as omi:
        async with trio.open_nursery() as nursery:
            for conversation_id in sys.argv[1:]:
                nursery.start_soon(look, omi, conversation_id)


trio.run(main)
