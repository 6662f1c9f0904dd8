"""A pool of greenlets that share a client.

python gevent_pool.py conv_standup conv_design
"""

from gevent import monkey

monkey.patch_all()

import sys

from gevent.pool import Pool

from omi_sync import Conversation, OmiClient

omi = OmiClient()  # one for the process: a second one raises EventLoopError


def look(conversation_id: str) -> Conversation:
    return omi.conversations.get(conversation_id)


for conversation in Pool(20).imap_unordered(look, sys.argv[1:]):
    print(conversation.id, conversation.structured.title)
