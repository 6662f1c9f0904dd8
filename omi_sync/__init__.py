# Made from omi_async/__init__.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""Synchronous client for the Omi Developer API: `omi_async` on a private event loop."""

from typing import TYPE_CHECKING

from omi_async import (
    AuthenticationError,
    BadRequestError,
    BulkOutcome,
    BulkProgress,
    BulkStatus,
    BulkStoppedError,
    Category,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    Conversation,
    ConversationActionItem,
    ConversationEvent,
    ConversationStructured,
    ConversationUpdate,
    CreatedConversation,
    Deletion,
    EventLoopError,
    Geolocation,
    InvalidRequestError,
    JournalError,
    NewTranscriptSegment,
    NotFoundError,
    OmiError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RawResponse,
    RequestTimeoutError,
    ResponseError,
    RetryPolicy,
    ServerError,
    StatusError,
    Timeout,
    TranscriptSegment,
    TransportError,
    UnprocessableEntityError,
    ValidationIssue,
    __version__,
)

from .bulk import Bulk
from .client import OmiClient
from .conversations import Conversations
from .paging import Listing

if TYPE_CHECKING:
    from .sandbox import Sandbox

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "Bulk",
    "BulkOutcome",
    "BulkProgress",
    "BulkStatus",
    "BulkStoppedError",
    "Category",
    "ClientClosedError",
    "ConfigurationError",
    "ConflictError",
    "Conversation",
    "ConversationActionItem",
    "ConversationEvent",
    "ConversationStructured",
    "ConversationUpdate",
    "Conversations",
    "CreatedConversation",
    "Deletion",
    "EventLoopError",
    "Geolocation",
    "InvalidRequestError",
    "JournalError",
    "Listing",
    "NewTranscriptSegment",
    "NotFoundError",
    "OmiClient",
    "OmiError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "RateLimitError",
    "RawResponse",
    "RequestTimeoutError",
    "ResponseError",
    "RetryPolicy",
    "Sandbox",
    "ServerError",
    "StatusError",
    "Timeout",
    "TranscriptSegment",
    "TransportError",
    "UnprocessableEntityError",
    "ValidationIssue",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name == "Sandbox":  # its web server is several times the size of the client
        from .sandbox import Sandbox

        return Sandbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
