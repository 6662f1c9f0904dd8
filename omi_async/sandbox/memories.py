"""Memories: what is stored, and their endpoints."""

import hashlib
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs

from omi_async.sandbox.allowance import RateWindow
from omi_async.sandbox.api import Generation, Incoming, Route
from omi_async.sandbox.fields import Field, blank, choice, fields_of, integer, list_of, optional, text, within
from omi_async.sandbox.replies import Kind, Reply, ReplyError, json_reply, refusal, success
from omi_async.sandbox.schema import read_body, read_categories, read_query
from omi_async.sandbox.store import Store, check_aware, check_readable, slice_2026_05, wire_time
from omi_async.sandbox.words import likeness

MEMORY = Kind("Memory", "At least one field (content, visibility, tags, or category) must be provided")

_COLLECTION = "/v1/dev/user/memories"

_READS = RateWindow("dev:memories_read", 120, "reads")
_WRITES = RateWindow("dev:memories", 120, "writes")
_BATCHES = RateWindow("dev:memories_batch", 15, "writes")

_CATEGORIES = (
    "interesting",
    "system",
    "manual",
    "workflow",
    "core",
    "hobbies",
    "lifestyle",
    "interests",
    "habits",
    "work",
    "skills",
    "learnings",
    "other",
    "auto",
)

_LARGEST_PAGE = 1000
_REACH = 5000
"""As far as lists go: nothing is handed out beyond, and filters look no further."""

_MOST_MATCHES = 20

_LOCKED_CHARACTERS = 70

_NEVER = datetime.min.replace(tzinfo=UTC)

_LIST = {"limit": Field(integer, 25), "offset": Field(integer, 0), "categories": Field(text(), None)}
_SEARCH = {"query": Field(text(minimum=1)), "limit": Field(within(1, 100), 10)}
_CREATE = {
    "content": Field(text(minimum=1, maximum=500)),
    "category": Field(optional(choice(*_CATEGORIES)), None),
    "visibility": Field(text(), "private"),
    "tags": Field(list_of(text()), ()),
}
_BATCH = {"memories": Field(list_of(fields_of(_CREATE), maximum=25))}
_UPDATE = {
    "content": Field(optional(text(minimum=1, maximum=500)), None),
    "visibility": Field(optional(text()), None),
    "tags": Field(optional(list_of(text())), None),
    "category": Field(optional(choice(*_CATEGORIES)), None),
}


@attrs.frozen
class SandboxMemory:
    """One stored memory, by the API's field names; to change it, put another in its place.

    `locked` and `unreadable` steer the server and are no part of a memory as it is sent: of a locked one
    lists show the beginning, an unreadable one stands for a row that the server cannot send. Raises
    ValueError for a time without a zone.
    """

    id: str
    content: str = attrs.field(default="A memory.", repr=False)
    category: str = "interesting"
    visibility: str = "private"
    tags: tuple[str, ...] = attrs.field(default=(), repr=False)
    created_at: datetime | None = attrs.field(default=datetime(2026, 9, 1, 9, 15, tzinfo=UTC), validator=check_aware)
    updated_at: datetime | None = attrs.field(default=datetime(2026, 9, 1, 9, 15, tzinfo=UTC), validator=check_aware)
    manually_added: bool = False
    scoring: str | None = None
    reviewed: bool = False
    user_review: bool | None = None
    edited: bool = False
    locked: bool = False
    unreadable: bool = False


def _category(memory: SandboxMemory) -> str:
    return memory.category if memory.category in _CATEGORIES else "interesting"


def _shown_content(memory: SandboxMemory) -> str:
    if memory.locked and len(memory.content) > _LOCKED_CHARACTERS:
        return f"{memory.content[:_LOCKED_CHARACTERS]}..."
    return memory.content


def _id(content: str) -> str:
    """Return the id of a new memory with this text."""
    return str(uuid.UUID(bytes=hashlib.sha256(content.encode()).digest()[:16], version=4))


class Memories:
    """The endpoints of memories."""

    def __init__(self, store: Store[SandboxMemory], generation: Generation) -> None:
        self._store = store
        self._old = generation != "newest"

    @property
    def routes(self) -> tuple[Route, ...]:
        """All of them."""
        item = f"{_COLLECTION}/{{memory_id}}"
        read = partial(Route, method="GET", kind=MEMORY, scope="memories:read", windows=(_READS,))
        write = partial(Route, kind=MEMORY, scope="memories:write", takes_json=True)
        once, many = (_WRITES,), (_BATCHES,)
        return (
            read(path=_COLLECTION, handler=self._list),
            read(path=f"{_COLLECTION}/vector/search", handler=self._search, older_windows=None),
            write(method="POST", path=_COLLECTION, handler=self._create, windows=once, older_windows=once),
            write(
                method="POST", path=f"{_COLLECTION}/batch", handler=self._create_batch, windows=many, older_windows=many
            ),
            write(method="DELETE", path=item, handler=self._delete, windows=once, takes_json=False),
            write(method="PATCH", path=item, handler=self._update, windows=once),
        )

    def _list(self, incoming: Incoming) -> Reply:
        query = read_query(incoming.query, _LIST)
        categories = read_categories(query["categories"], _CATEGORIES, "MemoryCategory", quoted=self._old)
        limit, offset = query["limit"], query["offset"]
        if self._old:
            rows = [memory for memory in self._store.all() if not categories or memory.category in categories]
            rows.sort(key=lambda memory: (memory.scoring or "", memory.created_at or _NEVER), reverse=True)
            page = [memory for memory in slice_2026_05(rows, offset, limit) if memory.user_review is not False]
            return json_reply(200, self._store.rows(page, self._to_json))
        limit, offset = max(1, min(limit, _LARGEST_PAGE)), max(0, offset)
        if offset + limit > _REACH:
            return refusal(413, "Memory pagination window exceeded")
        everything = self._newest_first()
        rows = [memory for memory in everything[:_REACH] if not categories or _category(memory) in categories]
        page = rows[offset : offset + limit]
        cut = len(everything) > _REACH and bool(categories) and len(page) < limit
        # The filter gave up: what was found is a beginning, and the end is not known.
        headers = {"X-Omi-List-Truncated": "true"} if cut else None
        return json_reply(200, self._store.rows(page, self._to_json), headers)

    def _search(self, incoming: Incoming) -> Reply:
        query = read_query(incoming.query, _SEARCH)
        scored = [(likeness(query["query"], memory.content), memory) for memory in self._newest_first()]
        scored = [pair for pair in scored if pair[0] > 0 and not pair[1].unreadable]
        scored.sort(key=lambda pair: pair[0], reverse=True)
        found = [
            {
                "id": memory.id,
                "content": _shown_content(memory),
                "category": _category(memory),
                "relevance_score": round(score, 4),
            }
            for score, memory in scored[: min(query["limit"], _MOST_MATCHES)]
        ]
        policy = {
            "consumer": "developer_api",
            "app_has_default_memory_grant": True,
            "archive_capability": False,
            "raw_provenance_capability": False,
        }
        reply = {"items": found, "returned_count": len(found), "archive_default_visible": False, "policy": policy}
        return json_reply(200, reply)

    def _create(self, incoming: Incoming) -> Reply:
        request = read_body(incoming.content, _CREATE)
        if blank(request["content"]):
            return refusal(422, "content cannot be empty")
        return json_reply(200, self._created(self._add(incoming, request)))

    def _create_batch(self, incoming: Incoming) -> Reply:
        requests = read_body(incoming.content, _BATCH)["memories"]
        if any(blank(request["content"]) for request in requests):
            return refusal(422, "All memories must have non-empty content")
        rows = [self._created(self._add(incoming, request)) for request in requests]
        return json_reply(200, {"memories": rows, "created_count": len(rows)})

    def _add(self, incoming: Incoming, request: Mapping[str, Any]) -> SandboxMemory:
        content = request["content"].strip()
        known = self._store.get(_id(content))
        if known is not None and not self._old:
            return known
        incoming.applied = True
        now = datetime.now(UTC)
        return self._store.put(
            SandboxMemory(
                id=_id(content),
                content=content,
                # No language model is asked for a better one.
                category=request["category"] or "interesting",
                visibility=request["visibility"],
                tags=tuple(request["tags"]),
                created_at=now,
                updated_at=now,
                manually_added=True,
                scoring=f"01_999_{int(now.timestamp()):010d}",
                reviewed=True,
                user_review=True,
            )
        )

    def _created(self, memory: SandboxMemory) -> dict[str, object]:
        """Return what a creation answers, which is not all that is stored."""
        row = self._to_json(memory)
        if self._old:
            return {name: value for name, value in row.items() if name not in {"reviewed", "user_review", "edited"}}
        return {**row, "scoring": None, "reviewed": False, "user_review": None, "edited": False}

    def _update(self, incoming: Incoming) -> Reply:
        update = read_body(incoming.content, _UPDATE)
        memory_id = incoming.parameters["memory_id"]
        if self._old:
            self._writable(memory_id)
        if all(value is None for value in update.values()):
            return MEMORY.unchanged()
        content, visibility = update["content"], update["visibility"]
        if content is not None:
            if blank(content) and not self._old:
                return refusal(422, "content must not be empty")
            self._change(incoming, memory_id, content=content.strip(), edited=True)
        if visibility is not None:
            if visibility not in {"public", "private"}:
                # The content has been stored by now, on the real server as well.
                return refusal(422, "visibility must be 'public' or 'private'")
            self._change(incoming, memory_id, visibility=visibility)
        rest: dict[str, Any] = {}
        if update["tags"] is not None:
            rest["tags"] = tuple(update["tags"])
        if update["category"] is not None:
            rest["category"] = update["category"]
        if rest:
            self._change(incoming, memory_id, **rest)
        return json_reply(200, self._to_json(self._store.find(memory_id)))

    def _delete(self, incoming: Incoming) -> Reply:
        memory = self._writable(incoming.parameters["memory_id"])
        incoming.applied = True
        self._store.delete(memory.id)
        return success()

    def _change(self, incoming: Incoming, memory_id: str, **changes: Any) -> None:
        memory = self._writable(memory_id)
        incoming.applied = True
        self._store.put(attrs.evolve(memory, **changes, updated_at=datetime.now(UTC)))

    def _writable(self, memory_id: str) -> SandboxMemory:
        memory = self._store.find(memory_id)
        if memory.locked:
            raise ReplyError(MEMORY.locked())
        return memory

    def _newest_first(self) -> list[SandboxMemory]:
        rows = sorted(self._store.all(), key=lambda memory: memory.id)
        rows.sort(key=lambda memory: memory.updated_at or memory.created_at or _NEVER, reverse=True)
        return rows

    def _to_json(self, memory: SandboxMemory) -> dict[str, object]:
        check_readable(memory)
        known = memory.visibility in {"public", "private"}
        return {
            "id": memory.id,
            "content": _shown_content(memory),
            "category": memory.category if self._old else _category(memory),
            "visibility": memory.visibility if known or self._old else "private",
            "tags": memory.tags,
            "created_at": wire_time(memory.created_at),
            "updated_at": wire_time(memory.updated_at),
            "manually_added": memory.manually_added,
            "scoring": memory.scoring,
            "reviewed": memory.reviewed,
            "user_review": memory.user_review,
            "edited": memory.edited,
        }
