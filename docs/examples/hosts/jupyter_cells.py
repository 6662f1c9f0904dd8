"""Cells of a notebook, in the percent format that Jupytext and editors know."""

# %%
from omi_async import AsyncOmiClient
from omi_sync import OmiClient

omi, async_omi = OmiClient(), AsyncOmiClient()

# %%
[conversation.structured.title for conversation in omi.conversations.list(limit=3)]

# %%
conversation = await async_omi.conversations.update("conv_standup", title="From a notebook")
conversation.structured.title

# %%
[conversation.id async for conversation in async_omi.conversations.list(limit=3)]
