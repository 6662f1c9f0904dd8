"""Action items: what is stored, and their endpoints."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs

from omi_async.sandbox.allowance import RateWindow
from omi_async.sandbox.api import Generation, Incoming, Route
from omi_async.sandbox.fields import (
    ABSENT,
    Field,
    Reader,
    blank,
    fields_of,
    flag,
    integer,
    list_of,
    optional,
    refusing,
    text,
)
from omi_async.sandbox.moments import moment
from omi_async.sandbox.replies import Kind, Reply, ReplyError, json_reply, refusal, success
from omi_async.sandbox.schema import read_body, read_query
from omi_async.sandbox.store import (
    Store,
    check_aware,
    check_readable,
    in_some_zone,
    slice_2026_05,
    stored_time,
    wire_time,
)

ACTION_ITEM = Kind("Action item")

_COLLECTION = "/v1/dev/user/action-items"

_READS = RateWindow("dev:action_items_read", 120, "reads")
_WRITES = RateWindow("dev:action_items_write", 120, "writes")

_LARGEST_PAGE = 1000
_REACH = 2000
"""As many rows as a list reads, whatever is asked."""
_SPARE_ROWS = 32
"""As many more than asked are read before they are sorted."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_FOREVER = datetime.max.replace(tzinfo=UTC)

_LIST = {
    "conversation_id": Field(text(), None),
    "completed": Field(flag, None),
    "start_date": Field(moment, None),
    "end_date": Field(moment, None),
    "limit": Field(integer, 100),
    "offset": Field(integer, 0),
}
_CREATE = {
    "description": Field(text(minimum=1, maximum=500)),
    "completed": Field(flag, False),
    "due_at": Field(optional(moment), None),
}
_BATCH = {"action_items": Field(list_of(fields_of(_CREATE), maximum=50))}


@attrs.frozen
class SandboxActionItem:
    """One stored action item, by the API's field names; to change it, put another in its place.

    `locked` and `unreadable` steer the server and are no part of an item as it is sent: a locked one is
    missing from lists and refuses changes, an unreadable one stands for a row that the server cannot send.
    Raises ValueError for a time without a zone.
    """

    id: str
    description: str = attrs.field(default="Do something.", repr=False)
    completed: bool = False
    created_at: datetime | None = attrs.field(default=datetime(2026, 9, 1, 9, 15, tzinfo=UTC), validator=check_aware)
    updated_at: datetime | None = attrs.field(default=datetime(2026, 9, 1, 9, 15, tzinfo=UTC), validator=check_aware)
    due_at: datetime | None = attrs.field(default=None, validator=check_aware)
    completed_at: datetime | None = attrs.field(default=None, validator=check_aware)
    conversation_id: str | None = None
    locked: bool = False
    unreadable: bool = False


class ActionItems:
    """The endpoints of action items."""

    def __init__(self, store: Store[SandboxActionItem], generation: Generation) -> None:
        self._store = store
        self._old = generation != "newest"
        description: Reader = text(minimum=1, maximum=500)
        if not self._old:
            description = refusing(description, blank, "description cannot be blank")
        self._update_fields = {
            "description": Field(optional(description), None),
            "completed": Field(optional(flag), None),
            "due_at": Field(optional(moment), ABSENT),
        }

    @property
    def routes(self) -> tuple[Route, ...]:
        """All of them; the older server limits none."""
        item = f"{_COLLECTION}/{{action_item_id}}"
        write = partial(Route, kind=ACTION_ITEM, scope="action_items:write", windows=(_WRITES,))
        return (
            Route(
                method="GET",
                path=_COLLECTION,
                handler=self._list,
                kind=ACTION_ITEM,
                scope="action_items:read",
                windows=(_READS,),
            ),
            write(method="POST", path=_COLLECTION, handler=self._create, takes_json=True),
            write(method="POST", path=f"{_COLLECTION}/batch", handler=self._create_batch, takes_json=True),
            write(method="DELETE", path=item, handler=self._delete),
            write(method="PATCH", path=item, handler=self._update, takes_json=True),
        )

    def _list(self, incoming: Incoming) -> Reply:
        query = read_query(incoming.query, _LIST)
        begin = None if query["start_date"] is None else in_some_zone(query["start_date"])
        end = None if query["end_date"] is None else in_some_zone(query["end_date"])
        rows = [
            item
            for item in self._store.all()
            if query["conversation_id"] in {None, item.conversation_id}
            and query["completed"] in {None, item.completed}
            and (begin is None or (item.created_at is not None and begin <= item.created_at))
            and (end is None or (item.created_at is not None and item.created_at <= end))
        ]
        limit, offset = query["limit"], max(0, query["offset"])
        if self._old:
            rows.sort(key=_creation, reverse=True)
            # Sorted by due date only now, each page for itself.
            page = sorted(slice_2026_05(rows, offset, limit), key=_due)
        else:
            dated = begin is not None or end is not None
            rows.sort(key=_creation if dated else lambda item: item.id, reverse=dated)
            page = _page_of_beginning(rows, offset, max(1, min(limit, _LARGEST_PAGE)))
        # Only now, so that locked ones leave holes in the pages.
        return json_reply(200, self._store.rows([item for item in page if not item.locked], _to_json))

    def _create(self, incoming: Incoming) -> Reply:
        request = read_body(incoming.content, _CREATE)
        if blank(request["description"]):
            return refusal(422, "description cannot be empty")
        return json_reply(200, _to_json(self._add(incoming, request)))

    def _create_batch(self, incoming: Incoming) -> Reply:
        requests = read_body(incoming.content, _BATCH)["action_items"]
        if any(blank(request["description"]) for request in requests):
            return refusal(422, "All action items must have non-empty descriptions")
        rows = [_to_json(self._add(incoming, request)) for request in requests]
        return json_reply(200, {"action_items": rows, "created_count": len(rows)})

    def _add(self, incoming: Incoming, request: Mapping[str, Any]) -> SandboxActionItem:
        now = datetime.now(UTC)
        due_at, completed = request["due_at"], request["completed"]
        item = SandboxActionItem(
            id=secrets.token_hex(10),
            description=request["description"].strip(),
            completed=completed,
            created_at=now,
            updated_at=now,
            due_at=self._due_at(due_at),
            completed_at=now if completed else None,
        )
        incoming.applied = True
        return self._store.put(item)

    def _update(self, incoming: Incoming) -> Reply:
        update = read_body(incoming.content, self._update_fields)
        item = self._writable(incoming)
        now = datetime.now(UTC)
        changes: dict[str, Any] = {}
        if update["description"] is not None:
            changes["description"] = update["description"].strip()
        if update["completed"] is not None:
            changes.update(completed=update["completed"], completed_at=now if update["completed"] else None)
        due_at = update["due_at"]
        # To the newest server null is a value; the older one takes it for nothing given.
        if due_at is not ABSENT and not (due_at is None and self._old):
            changes["due_at"] = self._due_at(due_at)
        if not changes:
            return ACTION_ITEM.unchanged()
        incoming.applied = True
        return json_reply(200, _to_json(self._store.put(attrs.evolve(item, **changes, updated_at=now))))

    def _delete(self, incoming: Incoming) -> Reply:
        item = self._writable(incoming)
        incoming.applied = True
        self._store.delete(item.id)
        return success()

    def _due_at(self, due_at: datetime | None) -> datetime | None:
        try:
            return None if due_at is None else stored_time(due_at)
        except OverflowError:
            if self._old:
                raise
            # A date beyond all calendars is dropped without a word.
            return None

    def _writable(self, incoming: Incoming) -> SandboxActionItem:
        item = self._store.find(incoming.parameters["action_item_id"])
        if item.locked:
            raise ReplyError(ACTION_ITEM.locked())
        return item


def _page_of_beginning(rows: list[SandboxActionItem], offset: int, limit: int) -> list[SandboxActionItem]:
    """Return a page of *rows*, which the newest server sorts only as far as it reads them.

    Beyond that nothing is sent, and what it has not read may belong before what it sends.
    """
    read = rows[: min(offset + limit + _SPARE_ROWS, _REACH)]
    read.sort(key=_creation, reverse=True)
    read.sort(key=lambda item: (item.completed, _due(item)))
    return read[offset : offset + limit]


def _creation(item: SandboxActionItem) -> datetime:
    return item.created_at or _NEVER


def _due(item: SandboxActionItem) -> datetime:
    return item.due_at or _FOREVER


def _to_json(item: SandboxActionItem) -> dict[str, object]:
    check_readable(item)
    return {
        "id": item.id,
        "description": item.description,
        "completed": item.completed,
        "created_at": wire_time(item.created_at),
        "updated_at": wire_time(item.updated_at),
        "due_at": wire_time(item.due_at),
        "completed_at": wire_time(item.completed_at),
        "conversation_id": item.conversation_id,
    }
