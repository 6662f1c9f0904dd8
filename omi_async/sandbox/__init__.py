"""A loopback Omi server for the quickstart, the examples and tests of programs that use the API.

It speaks the Developer API with the real server's checks, texts and limits, keeps what it holds in memory,
and can be told to fail.
"""

from omi_async.sandbox.action_items import SandboxActionItem
from omi_async.sandbox.conversations import SandboxConversation
from omi_async.sandbox.daily_summaries import SandboxDailySummary
from omi_async.sandbox.faults import Fault, RecordedRequest
from omi_async.sandbox.folders import SandboxFolder
from omi_async.sandbox.goals import SandboxGoal
from omi_async.sandbox.memories import SandboxMemory
from omi_async.sandbox.server import Sandbox

__all__ = [
    "Fault",
    "RecordedRequest",
    "Sandbox",
    "SandboxActionItem",
    "SandboxConversation",
    "SandboxDailySummary",
    "SandboxFolder",
    "SandboxGoal",
    "SandboxMemory",
]
