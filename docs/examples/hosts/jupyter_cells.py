"""Cells of a notebook, in the percent format that Jupytext and editors know."""

# %%
import asyncio

from omi_async import AsyncOmiClient
from omi_sync import OmiClient

omi, async_omi = OmiClient(), AsyncOmiClient()

# %%
[conversation.structured.title for conversation in omi.conversations.list(limit=3)]

# %%
conversation = await async_omi.conversations.update("conv_standup", title="From a notebook")
conversation.structured.title

# %%
found = await asyncio.gather(*(async_omi.conversations.get(name) for name in ("conv_standup", "conv_design")))
[conversation.id for conversation in found]
