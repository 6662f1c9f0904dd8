"""Async-first client for the Omi Developer API.

PYTEST_DONT_REWRITE: pytest would warn a program that imports this package before it runs pytest.
"""

from typing import TYPE_CHECKING

from ._late import load as _load
from ._version import __version__
from .client import AsyncOmiClient
from .errors import (
    ArchiveError,
    AuthenticationError,
    BadRequestError,
    BulkStoppedError,
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
    RequestTimeoutError,
    ResponseError,
    RouteNotFoundError,
    ServerError,
    StatusError,
    TransportError,
    UnprocessableEntityError,
    ValidationIssue,
    is_retryable,
)
from .events import AttemptEnded, CallEnded, RateWindow
from .retry import RetryPolicy, Timeout

if TYPE_CHECKING:
    from .bulk import AsyncBulk
    from .dicts import from_dict, to_dict
    from .models.action_items import ActionItem, NewActionItem
    from .models.archive import (
        ArchivedConversation,
        ArchiveGap,
        ArchiveMatch,
        ArchiveStatus,
        ExportProgress,
        ExportResult,
        Recreation,
        SaveProgress,
        SaveResult,
    )
    from .models.bulk import BulkOutcome, BulkProgress, BulkStatus
    from .models.conversations import (
        AnswerSource,
        Category,
        Conversation,
        ConversationActionItem,
        ConversationAnswer,
        ConversationEvent,
        ConversationStructured,
        CreatedConversation,
        Geolocation,
        NewTranscriptSegment,
        TranscriptSegment,
    )
    from .models.daily_summaries import (
        DailySummary,
        DailySummaryActionItem,
        DailySummaryDecision,
        DailySummaryHighlight,
        DailySummaryInsight,
        DailySummaryLocation,
        DailySummaryQuestion,
        DailySummaryStats,
    )
    from .models.folders import Folder
    from .models.goals import Goal, GoalHistoryEntry, GoalMetric, GoalType
    from .models.keys import ApiKey, CreatedApiKey
    from .models.memories import Memory, MemoryCategory, MemoryMatch, NewMemory
    from .models.shared import CLEAR, Deletion, RawResponse
    from .paging import AsyncListing
    from .resources.action_items import ActionItemUpdate, AsyncActionItems
    from .resources.conversations import AsyncConversations, ConversationUpdate
    from .resources.daily_summaries import AsyncDailySummaries
    from .resources.folders import AsyncFolders
    from .resources.goals import AsyncGoals
    from .resources.keys import AsyncKeys
    from .resources.memories import AsyncMemories, MemoryUpdate

__all__ = [
    "ActionItem",
    "ActionItemUpdate",
    "AnswerSource",
    "ApiKey",
    "ArchiveError",
    "ArchiveGap",
    "ArchiveMatch",
    "ArchiveStatus",
    "ArchivedConversation",
    "AsyncActionItems",
    "AsyncBulk",
    "AsyncConversations",
    "AsyncDailySummaries",
    "AsyncFolders",
    "AsyncGoals",
    "AsyncKeys",
    "AsyncListing",
    "AsyncMemories",
    "AsyncOmiClient",
    "AttemptEnded",
    "AuthenticationError",
    "BadRequestError",
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
    "CreatedApiKey",
    "CreatedConversation",
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
    "Geolocation",
    "Goal",
    "GoalHistoryEntry",
    "GoalMetric",
    "GoalType",
    "InvalidRequestError",
    "JournalError",
    "Memory",
    "MemoryCategory",
    "MemoryMatch",
    "MemoryUpdate",
    "NewActionItem",
    "NewMemory",
    "NewTranscriptSegment",
    "NotFoundError",
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

# Names that are loaded when they are first used, by the file that has them.
_LATE = {
    "bulk": ("AsyncBulk",),
    "dicts": ("from_dict", "to_dict"),
    "models.action_items": ("ActionItem", "NewActionItem"),
    "models.archive": (
        "ArchiveGap",
        "ArchiveMatch",
        "ArchiveStatus",
        "ArchivedConversation",
        "ExportProgress",
        "ExportResult",
        "Recreation",
        "SaveProgress",
        "SaveResult",
    ),
    "models.bulk": ("BulkOutcome", "BulkProgress", "BulkStatus"),
    "models.conversations": (
        "AnswerSource",
        "Category",
        "Conversation",
        "ConversationActionItem",
        "ConversationAnswer",
        "ConversationEvent",
        "ConversationStructured",
        "CreatedConversation",
        "Geolocation",
        "NewTranscriptSegment",
        "TranscriptSegment",
    ),
    "models.daily_summaries": (
        "DailySummary",
        "DailySummaryActionItem",
        "DailySummaryDecision",
        "DailySummaryHighlight",
        "DailySummaryInsight",
        "DailySummaryLocation",
        "DailySummaryQuestion",
        "DailySummaryStats",
    ),
    "models.folders": ("Folder",),
    "models.goals": ("Goal", "GoalHistoryEntry", "GoalMetric", "GoalType"),
    "models.keys": ("ApiKey", "CreatedApiKey"),
    "models.memories": ("Memory", "MemoryCategory", "MemoryMatch", "NewMemory"),
    "models.shared": ("CLEAR", "Deletion", "RawResponse"),
    "paging": ("AsyncListing",),
    "resources.action_items": ("ActionItemUpdate", "AsyncActionItems"),
    "resources.conversations": ("AsyncConversations", "ConversationUpdate"),
    "resources.daily_summaries": ("AsyncDailySummaries",),
    "resources.folders": ("AsyncFolders",),
    "resources.goals": ("AsyncGoals",),
    "resources.keys": ("AsyncKeys",),
    "resources.memories": ("AsyncMemories", "MemoryUpdate"),
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _LATE.items() for name in names}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(_load(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
