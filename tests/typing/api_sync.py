"""Calls of the synchronous client whose types must come out exactly so; read by type checkers, never run."""

import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, assert_type

import omi_sync
from omi_sync import (
    CLEAR,
    ActionItem,
    ActionItemUpdate,
    ApiKey,
    Archive,
    ArchivedConversation,
    AttemptEnded,
    Bulk,
    BulkOutcome,
    CallEnded,
    Category,
    Conversation,
    ConversationActionItem,
    ConversationAnswer,
    ConversationEvent,
    Conversations,
    ConversationStructured,
    CreatedApiKey,
    CreatedConversation,
    DailySummary,
    Deletion,
    Folder,
    Geolocation,
    Goal,
    GoalHistoryEntry,
    Listing,
    Memory,
    MemoryMatch,
    MemoryUpdate,
    NewActionItem,
    NewMemory,
    NewTranscriptSegment,
    NotFoundError,
    OmiClient,
    OmiError,
    PermissionDeniedError,
    RateLimitError,
    RateWindow,
    RawResponse,
    Recreation,
    RequestTimeoutError,
    ResponseError,
    RetryPolicy,
    SaveResult,
    StatusError,
    Timeout,
    TranscriptSegment,
    UnprocessableEntityError,
    ValidationIssue,
    from_dict,
    to_dict,
)


class OwnClient(OmiClient):
    """A subclass is itself in a `with` block."""


def watch(event: AttemptEnded | CallEnded) -> None:
    assert_type(event.operation, str)
    assert_type(event.status, int | None)
    assert_type(event.outcome, Literal["success", "not_applied", "unknown"])
    assert_type(event.error, str | None)
    assert_type(event.seconds, float)
    assert_type(event.rate_window, RateWindow)
    assert_type(event.rate_window.remaining, int | None)
    if isinstance(event, CallEnded):
        assert_type(event.attempts, int)
        assert_type(event.each_attempt, tuple[AttemptEnded, ...])
    else:
        assert_type(event.retry_wait, float | None)


def client() -> None:
    assert_type(omi_sync.__version__, str)
    assert_type(OmiClient(), OmiClient)
    assert_type(OmiClient("omi_dev_1"), OmiClient)
    every_setting = OmiClient(
        api_key=None,
        base_url=None,
        timeout=Timeout(connect=1, attempt=None, total=2.5),
        retry=RetryPolicy(attempts=2),
        max_connections=10,
        user_agent="my-bot/1.0",
        proxy="http://proxy.example:3128",
        ssl=ssl.create_default_context(),
        on_event=watch,
    )
    assert_type(every_setting.closed, bool)
    assert_type(every_setting.conversations, Conversations)
    assert_type(every_setting.close(), None)
    OmiClient(timeout=10)
    OmiClient(timeout=1.5)
    with OmiClient() as omi:
        assert_type(omi, OmiClient)
    with OwnClient() as own:
        assert_type(own, OwnClient)


def conversations(omi: OmiClient) -> None:
    assert_type(omi.conversations.update("conv_1", title="Design review"), Conversation)
    assert_type(omi.conversations.update("conv_1", discarded=True), Conversation)
    assert_type(omi.conversations.update(conversation_id="conv_1", title=None, discarded=None), Conversation)
    assert_type(omi.conversations.update("conv_1", title="A", timeout=5, retry=RetryPolicy.never()), Conversation)
    assert_type(omi.conversations.delete("conv_1"), Deletion)
    assert_type(omi.conversations.delete(conversation_id="conv_1", timeout=Timeout(total=None), retry=None), Deletion)


def reads(omi: OmiClient, now: datetime) -> None:
    assert_type(omi.conversations.get("conv_1"), Conversation)
    assert_type(omi.conversations.get("conv_1", include_transcript=True, timeout=5), Conversation)
    listing = omi.conversations.list(
        start_date=now, end_date=None, categories=[Category.WORK, "new"], folder_id="f", starred=True, limit=5
    )
    assert_type(listing, Listing[Conversation])
    assert_type(listing.gaps, bool)
    for each in omi.conversations.list(include_transcript=True, page_size=25, retry=RetryPolicy.never()):
        assert_type(each, Conversation)
    assert_type(list(listing), list[Conversation])
    assert_type(next(listing), Conversation)


def creates(omi: OmiClient, now: datetime, place: Geolocation) -> None:
    created = omi.conversations.create("Text", text_source="message", started_at=now, geolocation=place)
    assert_type(created, CreatedConversation)
    assert_type(created.id, str)
    assert_type(created.status, str)
    assert_type(created.discarded, bool)
    segments = [NewTranscriptSegment(text="Hello.", start=0, end=1.5, speaker_id=1, is_user=True)]
    assert_type(
        omi.conversations.create_from_segments(segments, client_session_id="s", timeout=200), CreatedConversation
    )
    assert_type(omi.conversations.create_from_segments(iter(segments), source="phone"), CreatedConversation)


def archives(omi: OmiClient, archive: Archive, now: datetime) -> None:
    assert_type(omi.conversations.save_to(archive, start_date=now, full=True, on_progress=print), SaveResult)
    assert_type(omi.conversations.delete("conv_1", keep=archive), Deletion)
    assert_type(omi.conversations.delete_many(["conv_1"], keep=archive), Bulk[Deletion])
    assert_type(omi.conversations.recreate(archive, "conv_1", timeout=200), Recreation)
    assert_type(archive.get("conv_1"), ArchivedConversation | None)
    assert_type(archive.count(), int)


def others(omi: OmiClient, now: datetime, token: str) -> None:
    assert_type(omi.memories.list(categories=["work"]), Listing[Memory])
    assert_type(omi.memories.search("tea", limit=3), tuple[MemoryMatch, ...])
    assert_type(omi.memories.create("x", visibility="public", tags=["a"]), Memory)
    assert_type(omi.memories.create_batch([NewMemory("x")]), tuple[Memory, ...])
    assert_type(omi.memories.update_many([MemoryUpdate("m1", tags=[])]), Bulk[Memory])
    assert_type(omi.memories.delete_many(["m1"]), Bulk[Deletion])
    assert_type(omi.action_items.update("a1", due_at=CLEAR), ActionItem)
    assert_type(omi.action_items.update("a1", due_at=now), ActionItem)
    assert_type(omi.action_items.create_batch([NewActionItem("x", due_at=now)]), tuple[ActionItem, ...])
    assert_type(omi.action_items.update_many([ActionItemUpdate("a1", due_at=CLEAR)]), Bulk[ActionItem])
    assert_type(omi.goals.update("g1", unit=CLEAR, min_value=0), Goal)
    assert_type(omi.goals.history("g1"), tuple[GoalHistoryEntry, ...])
    assert_type(omi.folders.list(), tuple[Folder, ...])
    assert_type(omi.daily_summaries.list(start_date=now.date()), Listing[DailySummary])
    assert_type(omi.daily_summaries.list().truncated, bool)
    assert_type(omi.conversations.ask("Which door?"), ConversationAnswer)
    assert_type(omi.keys.current(), ApiKey)
    assert_type(omi.keys.create("x", scopes=["memories:read"], id_token=token), CreatedApiKey)
    omi.keys.revoke("k1", id_token=token)


def raw(omi: OmiClient) -> None:
    answer = omi.request("GET", "/v1/dev/user/memories", params={"limit": 5, "categories": "work"})
    assert_type(answer, RawResponse)
    assert_type(answer.status, int)
    assert_type(answer.headers, dict[str, str])
    omi.request("POST", "/v1/dev/user/memories", json={"content": "x"}, repeatable=True, timeout=5, retry=None)


def dictionaries(conversation: Conversation, data: dict[str, object]) -> None:
    assert_type(to_dict(conversation), dict[str, Any])
    assert_type(from_dict(Conversation, data), Conversation)
    assert_type(from_dict(BulkOutcome[Deletion], data), BulkOutcome[Deletion])


def models(conversation: Conversation, deletion: Deletion) -> None:
    assert_type(conversation.id, str)
    assert_type(conversation.created_at, datetime)
    assert_type(conversation.started_at, datetime | None)
    assert_type(conversation.finished_at, datetime | None)
    assert_type(conversation.structured, ConversationStructured)
    assert_type(conversation.language, str | None)
    assert_type(conversation.source, str | None)
    assert_type(conversation.transcript_segments, tuple[TranscriptSegment, ...] | None)
    assert_type(conversation.geolocation, Geolocation | None)
    assert_type(conversation.folder_id, str | None)
    assert_type(conversation.folder_name, str | None)

    structured = conversation.structured
    assert_type(structured.title, str)
    assert_type(structured.overview, str)
    assert_type(structured.emoji, str)
    assert_type(structured.category, Category | str)
    assert_type(structured.action_items, tuple[ConversationActionItem, ...])
    assert_type(structured.events, tuple[ConversationEvent, ...])
    for item in structured.action_items:
        assert_type(item.description, str)
        assert_type(item.completed, bool)
        assert_type(item.due_at, datetime | None)
    for event in structured.events:
        assert_type(event.start, datetime)
        assert_type(event.duration, int)
    for segment in conversation.transcript_segments or ():
        assert_type(segment.text, str)
        assert_type(segment.start, float)
        assert_type(segment.speaker_id, int | None)
        assert_type(segment.speaker_name, str | None)
    if conversation.geolocation is not None:
        assert_type(conversation.geolocation.latitude, float)
        assert_type(conversation.geolocation.address, str | None)

    assert_type(deletion.id, str)
    assert_type(deletion.confirmed, bool)


def settings() -> None:
    assert_type(Timeout().total, float | None)
    assert_type(Timeout.of(3), Timeout)
    policy = RetryPolicy(attempts=5, initial=0.5, initial_throttled=2.0, maximum=10, retry_after_limit=30)
    assert_type(policy, RetryPolicy)
    assert_type(RetryPolicy.never(), RetryPolicy)
    assert_type(policy.attempts, int)
    assert_type(policy.clock, Callable[[], float])


def errors(omi: OmiClient) -> None:
    try:
        omi.conversations.delete("conv_1")
    except RateLimitError as error:
        assert_type(error.limit, int | None)
        assert_type(error.retry_after, float | None)
    except PermissionDeniedError as error:
        assert_type(error.required_scope, str | None)
    except UnprocessableEntityError as error:
        assert_type(error.errors, tuple[ValidationIssue, ...])
        assert_type(error.errors[0].loc, tuple[str | int, ...])
    except ResponseError as error:
        assert_type(error.path, str | None)
    except (NotFoundError, StatusError) as error:
        assert_type(error.status, int | None)
    except OmiError as error:
        assert_type(error.outcome, Literal["not_applied", "unknown"])
        assert_type(error.retryable, bool)
        assert_type(error.attempts, int)
        assert_type(error.operation, str | None)
        assert_type(error.detail, str | dict[str, object] | None)
    try:
        omi.conversations.delete("conv_1")
    except TimeoutError as error:
        if isinstance(error, RequestTimeoutError):
            assert_type(error.attempts, int)


def any_result(result: Any) -> None:
    if isinstance(result, Conversation):
        assert_type(result, Conversation)
