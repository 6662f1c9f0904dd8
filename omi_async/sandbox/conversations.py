"""Conversations: what is stored, and the endpoints that list, read, change and delete it.

New ones are made in `creation`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs

from omi_async.sandbox.allowance import Allowance, RateWindow
from omi_async.sandbox.api import Generation, Incoming, Route
from omi_async.sandbox.fields import Field, Reader, blank, flag, integer, optional, refusing, text
from omi_async.sandbox.moments import moment
from omi_async.sandbox.replies import Kind, Reply, ReplyError, json_reply, success
from omi_async.sandbox.schema import read_body, read_categories, read_query
from omi_async.sandbox.store import Store, check_aware, in_some_zone, wire_time

CONVERSATION = Kind("Conversation", "At least one field (title or discarded) must be provided")

COLLECTION = "/v1/dev/user/conversations"
READ, WRITE = "conversations:read", "conversations:write"

WRITES = RateWindow("dev:conversations", 25, "writes")
"""Shared by all writes to conversations."""

ALL_READS = RateWindow("dev:conversation_reads_total", 60, "reads")
"""Shared by all reads of conversations, folders and summaries; each kind has another of its own."""
LISTS = RateWindow("dev:conversations_read", 60, "reads")
DETAILS = RateWindow("dev:conversation_detail_read", 60, "reads")

_TRANSCRIPTS = RateWindow("dev:conversation_transcript_read", 25, "transcripts")
"""For the reads that ask for transcripts, of either kind; they spend the others as well."""

TITLE_CHARACTERS = 500
"""The longest title, counted before blanks are stripped."""

_CATEGORIES = (
    "personal",
    "education",
    "health",
    "finance",
    "legal",
    "philosophy",
    "spiritual",
    "science",
    "entrepreneurship",
    "parenting",
    "romantic",
    "travel",
    "inspiration",
    "technology",
    "business",
    "social",
    "work",
    "sports",
    "politics",
    "literature",
    "history",
    "architecture",
    "music",
    "weather",
    "news",
    "entertainment",
    "psychology",
    "real",
    "design",
    "family",
    "economics",
    "environment",
    "other",
)
_TRANSCRIPT_FLAG = {"include_transcript": Field(flag, False)}
_LIST = {
    "start_date": Field(moment, None),
    "end_date": Field(moment, None),
    "categories": Field(text(), None),
    "limit": Field(integer, 25),
    "offset": Field(integer, 0),
    **_TRANSCRIPT_FLAG,
    "folder_id": Field(text(minimum=1), None),
    "starred": Field(flag, None),
}


@attrs.define
class SandboxConversation:
    """One stored conversation; change its fields at will, the next request sees the change.

    Field names are the API's. `action_items`, `events`, `transcript_segments` and `geolocation` hold the
    objects of the API's specification as dicts: keys left out are sent with their defaults, times may be
    given as text or as aware datetimes. `discarded`, `locked`, `starred` and `status` steer the server and
    are no part of a conversation as it is sent. Raises ValueError for a time without a zone.
    """

    id: str
    created_at: datetime = attrs.field(default=datetime(2026, 9, 1, 9, 15, tzinfo=UTC), validator=check_aware)
    started_at: datetime | None = attrs.field(default=datetime(2026, 9, 1, 9, 0, tzinfo=UTC), validator=check_aware)
    finished_at: datetime | None = attrs.field(
        default=datetime(2026, 9, 1, 9, 14, 30, tzinfo=UTC), validator=check_aware
    )
    title: str = attrs.field(default="Conversation", repr=False)
    overview: str = attrs.field(default="A short conversation.", repr=False)
    emoji: str = "🧠"
    category: str = "other"
    action_items: list[dict[str, Any]] = attrs.field(factory=list[dict[str, Any]], repr=False)
    events: list[dict[str, Any]] = attrs.field(factory=list[dict[str, Any]], repr=False)
    language: str | None = "en"
    source: str | None = "omi"
    transcript_segments: list[dict[str, Any]] = attrs.field(factory=list[dict[str, Any]], repr=False)
    geolocation: dict[str, Any] | None = attrs.field(default=None, repr=False)
    folder_id: str | None = None
    folder_name: str | None = attrs.field(default=None, repr=False)
    discarded: bool = False
    locked: bool = False
    starred: bool = False
    status: str = "completed"

    def to_json(self, *, include_transcript: bool) -> dict[str, object]:
        """Return the conversation as the server sends it: every key present, null where there is nothing."""
        segments = [_segment(segment) for segment in self.transcript_segments] if include_transcript else None
        return {
            "id": self.id,
            "created_at": wire_time(self.created_at),
            "started_at": wire_time(self.started_at),
            "finished_at": wire_time(self.finished_at),
            "structured": {
                "title": self.title,
                "overview": self.overview,
                "emoji": self.emoji,
                "category": self.category,
                "action_items": [_action_item(item) for item in self.action_items],
                "events": [_event(event) for event in self.events],
            },
            "language": self.language,
            "source": self.source,
            "transcript_segments": segments,
            "geolocation": None if self.geolocation is None else _geolocation(self.geolocation),
            "folder_id": self.folder_id,
            "folder_name": self.folder_name,
        }


def _action_item(item: Mapping[str, Any]) -> dict[str, object]:
    return {
        "description": item["description"],
        "completed": item.get("completed", False),
        "created_at": wire_time(item.get("created_at")),
        "updated_at": wire_time(item.get("updated_at")),
        "due_at": wire_time(item.get("due_at")),
        "completed_at": wire_time(item.get("completed_at")),
        "conversation_id": item.get("conversation_id"),
    }


def _event(event: Mapping[str, Any]) -> dict[str, object]:
    return {
        "title": event["title"],
        "description": event.get("description", ""),
        "start": wire_time(event["start"]),
        "duration": event.get("duration", 30),
        "created": event.get("created", False),
    }


def _segment(segment: Mapping[str, Any]) -> dict[str, object]:
    return {
        "id": segment.get("id"),
        "text": segment["text"],
        "speaker_id": segment.get("speaker_id"),
        # Names belong to people the server knows, and the sandbox knows none.
        "speaker_name": None,
        "start": float(segment["start"]),
        "end": float(segment["end"]),
    }


def _geolocation(place: Mapping[str, Any]) -> dict[str, object]:
    return {
        "google_place_id": place.get("google_place_id"),
        "latitude": float(place["latitude"]),
        "longitude": float(place["longitude"]),
        "address": place.get("address"),
        "location_type": place.get("location_type"),
    }


class Conversations:
    """The endpoints of stored conversations."""

    def __init__(self, store: Store[SandboxConversation], allowance: Allowance, generation: Generation) -> None:
        self._store = store
        self._allowance = allowance
        self._old = generation != "newest"
        title: Reader = text(minimum=1, maximum=TITLE_CHARACTERS)
        if not self._old:
            title = refusing(title, blank, "title cannot be blank")
        self._update_fields = {"title": Field(optional(title), None), "discarded": Field(optional(flag), None)}

    @property
    def routes(self) -> tuple[Route, ...]:
        """Everything but the creations."""
        item = f"{COLLECTION}/{{conversation_id}}"
        read = partial(Route, method="GET", kind=CONVERSATION, scope=READ)
        write = partial(Route, path=item, kind=CONVERSATION, scope=WRITE, windows=(WRITES,))
        return (
            read(path=COLLECTION, handler=self._list, windows=(ALL_READS, LISTS)),
            read(path=item, handler=self._get, windows=(ALL_READS, DETAILS)),
            write(method="DELETE", handler=self._delete),
            write(method="PATCH", handler=self._update, takes_json=True),
        )

    def _list(self, incoming: Incoming) -> Reply:
        query = read_query(incoming.query, _LIST)
        include_transcript: bool = query["include_transcript"]
        self._spend_transcripts(incoming, include_transcript)
        # More is asked for in vain: the server hands out that much without a word.
        largest = 200 if not self._old else 25 if include_transcript else 100
        first = max(0, query["offset"])
        last = first + max(1, min(query["limit"], largest))
        listed = self._selection(query)
        rows = [conversation for conversation in self._store.all() if listed(conversation)]
        rows.sort(key=lambda conversation: conversation.created_at, reverse=True)
        # Only now, so that locked ones leave holes in the pages.
        page = [conversation for conversation in rows[first:last] if not conversation.locked]
        return json_reply(200, self._store.rows(page, lambda each: each.to_json(include_transcript=include_transcript)))

    def _get(self, incoming: Incoming) -> Reply:
        include_transcript: bool = read_query(incoming.query, _TRANSCRIPT_FLAG)["include_transcript"]
        self._spend_transcripts(incoming, include_transcript)
        conversation = self._store.find(incoming.parameters["conversation_id"])
        # A locked conversation does not exist for readers; only writers are told that it is locked.
        if conversation.locked:
            return CONVERSATION.missing()
        return json_reply(200, conversation.to_json(include_transcript=include_transcript))

    def _update(self, incoming: Incoming) -> Reply:
        update = read_body(incoming.content, self._update_fields)
        conversation = self._writable(incoming)
        title, discarded = update["title"], update["discarded"]
        if title is None and discarded is None:
            return CONVERSATION.unchanged()
        incoming.applied = True
        if title is not None:
            conversation.title = title.strip()
        if discarded is not None:
            conversation.discarded = discarded
        # The real server forgets to leave the transcript out here.
        return json_reply(200, conversation.to_json(include_transcript=True))

    def _delete(self, incoming: Incoming) -> Reply:
        conversation = self._writable(incoming)
        incoming.applied = True
        # A session that is sent again must not bring its conversation back: the store remembers the id.
        self._store.delete(conversation.id)
        return success()

    def _writable(self, incoming: Incoming) -> SandboxConversation:
        conversation = self._store.find(incoming.parameters["conversation_id"])
        if conversation.locked:
            raise ReplyError(CONVERSATION.locked())
        return conversation

    def _spend_transcripts(self, incoming: Incoming, include_transcript: bool) -> None:
        if include_transcript and incoming.key is not None and not self._old:
            self._allowance.spend(incoming.key, _TRANSCRIPTS)

    def _selection(self, query: Mapping[str, Any]) -> Callable[[SandboxConversation], bool]:
        """Return whether a conversation belongs to the list that *query* asks for, page aside."""
        categories = read_categories(query["categories"], _CATEGORIES, "CategoryEnum", quoted=self._old)
        begin = None if query["start_date"] is None else in_some_zone(query["start_date"])
        end = None if query["end_date"] is None else in_some_zone(query["end_date"])

        def listed(conversation: SandboxConversation) -> bool:
            return (
                not conversation.discarded
                and conversation.status == "completed"
                and (begin is None or begin <= conversation.created_at)
                and (end is None or conversation.created_at <= end)
                and (not categories or conversation.category in categories)
                and query["folder_id"] in {None, conversation.folder_id}
                and query["starred"] in {None, conversation.starred}
            )

        return listed
