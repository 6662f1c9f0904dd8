# Made from omi_async/__init__.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""Synchronous client for the Omi Developer API: `omi_async` on a private event loop.

PYTEST_DONT_REWRITE: pytest would warn a program that imports this package before it runs pytest.
"""

from typing import TYPE_CHECKING

import omi_async
from omi_async import (
    ArchiveError,
    AttemptEnded,
    AuthenticationError,
    BadRequestError,
    BulkStoppedError,
    CallEnded,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    EventLoopError,
    InvalidRequestError,
    JournalError,
    NotFoundError,
    OmiError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RateWindow,
    RequestTimeoutError,
    ResponseError,
    RetryPolicy,
    RouteNotFoundError,
    ServerError,
    StatusError,
    Timeout,
    TransportError,
    UnprocessableEntityError,
    ValidationIssue,
    __version__,
    is_retryable,
)
from omi_async._late import load as _load

from .client import OmiClient

if TYPE_CHECKING:
    from omi_async import (
        CLEAR,
        ActionItem,
        ActionItemUpdate,
        AnswerSource,
        ApiKey,
        ArchivedConversation,
        ArchiveGap,
        ArchiveMatch,
        ArchiveStatus,
        BulkOutcome,
        BulkProgress,
        BulkStatus,
        Category,
        Conversation,
        ConversationActionItem,
        ConversationAnswer,
        ConversationEvent,
        ConversationStructured,
        ConversationUpdate,
        CreatedApiKey,
        CreatedConversation,
        DailySummary,
        DailySummaryActionItem,
        DailySummaryDecision,
        DailySummaryHighlight,
        DailySummaryInsight,
        DailySummaryLocation,
        DailySummaryQuestion,
        DailySummaryStats,
        Deletion,
        ExportProgress,
        ExportResult,
        Folder,
        Geolocation,
        Goal,
        GoalHistoryEntry,
        GoalMetric,
        GoalType,
        Memory,
        MemoryCategory,
        MemoryMatch,
        MemoryUpdate,
        NewActionItem,
        NewMemory,
        NewTranscriptSegment,
        RawResponse,
        Recreation,
        SaveProgress,
        SaveResult,
        TranscriptSegment,
        from_dict,
        to_dict,
    )

    from .action_items import ActionItems
    from .archive import Archive
    from .bulk import Bulk
    from .conversations import Conversations
    from .daily_summaries import DailySummaries
    from .folders import Folders
    from .goals import Goals
    from .keys import Keys
    from .memories import Memories
    from .paging import Listing
    from .sandbox import Sandbox

__all__ = [
    "ActionItem",
    "ActionItemUpdate",
    "ActionItems",
    "AnswerSource",
    "ApiKey",
    "Archive",
    "ArchiveError",
    "ArchiveGap",
    "ArchiveMatch",
    "ArchiveStatus",
    "ArchivedConversation",
    "AttemptEnded",
    "AuthenticationError",
    "BadRequestError",
    "Bulk",
    "BulkOutcome",
    "BulkProgress",
    "BulkStatus",
    "BulkStoppedError",
    "CLEAR",
    "CallEnded",
    "Category",
    "ClientClosedError",
    "ConfigurationError",
    "ConflictError",
    "Conversation",
    "ConversationActionItem",
    "ConversationAnswer",
    "ConversationEvent",
    "ConversationStructured",
    "ConversationUpdate",
    "Conversations",
    "CreatedApiKey",
    "CreatedConversation",
    "DailySummaries",
    "DailySummary",
    "DailySummaryActionItem",
    "DailySummaryDecision",
    "DailySummaryHighlight",
    "DailySummaryInsight",
    "DailySummaryLocation",
    "DailySummaryQuestion",
    "DailySummaryStats",
    "Deletion",
    "EventLoopError",
    "ExportProgress",
    "ExportResult",
    "Folder",
    "Folders",
    "Geolocation",
    "Goal",
    "GoalHistoryEntry",
    "GoalMetric",
    "GoalType",
    "Goals",
    "InvalidRequestError",
    "JournalError",
    "Keys",
    "Listing",
    "Memories",
    "Memory",
    "MemoryCategory",
    "MemoryMatch",
    "MemoryUpdate",
    "NewActionItem",
    "NewMemory",
    "NewTranscriptSegment",
    "NotFoundError",
    "OmiClient",
    "OmiError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "RateWindow",
    "RawResponse",
    "Recreation",
    "RequestTimeoutError",
    "ResponseError",
    "RetryPolicy",
    "RouteNotFoundError",
    "Sandbox",
    "SaveProgress",
    "SaveResult",
    "ServerError",
    "StatusError",
    "Timeout",
    "TranscriptSegment",
    "TransportError",
    "UnprocessableEntityError",
    "ValidationIssue",
    "__version__",
    "from_dict",
    "is_retryable",
    "to_dict",
]

# Names that are loaded when they are first used, and their files. All others are those of omi_async.
_HOMES = {
    "ActionItems": "omi_sync.action_items",
    "Archive": "omi_sync.archive",
    "Bulk": "omi_sync.bulk",
    "Conversations": "omi_sync.conversations",
    "DailySummaries": "omi_sync.daily_summaries",
    "Folders": "omi_sync.folders",
    "Goals": "omi_sync.goals",
    "Keys": "omi_sync.keys",
    "Listing": "omi_sync.paging",
    "Memories": "omi_sync.memories",
    "Sandbox": "omi_sync.sandbox",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None and name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(omi_async if home is None else _load(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
