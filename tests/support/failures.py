"""Calls that are expected to fail, and a policy that does not wait."""

from typing import Any

import pytest

from omi_async import AsyncOmiClient, OmiError, RetryPolicy
from omi_sync import OmiClient
from tests.support.sides import Side

INSTANT = RetryPolicy(initial=0.0, initial_throttled=0.0)
"""Retries at once, on the real clock: for tests of limits in time."""


async def failure(
    side: Side, client: AsyncOmiClient | OmiClient, operation: str, *args: str, **settings: Any
) -> OmiError:
    """Make a call that must raise one of the client's own errors, and give it back."""
    with pytest.raises(OmiError) as caught:
        await side.call(client, operation, *args, **settings)
    return caught.value
