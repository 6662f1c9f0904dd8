"""What this project believes of the endpoints that it wraps, to be compared with an OpenAPI document."""

from . import action_items, conversations, daily_summaries, folders, goals, keys, memories

_RESOURCES = (conversations, memories, action_items, goals, folders, daily_summaries, keys)

OPERATIONS = tuple(operation for resource in _RESOURCES for operation in resource.OPERATIONS)

CALLS = {name: call for resource in _RESOURCES for name, call in resource.CALLS.items()}
"""By the operation's id."""
