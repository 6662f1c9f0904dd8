"""The action items resource: the requests it builds, and one short method for each operation."""

import functools
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import attrs

from .._jobs.items import Items
from .._protocol import arguments
from .._protocol.collection import Collection, Page, part
from .._protocol.request import Request, builder
from ..bulk import AsyncBulk, start
from ..models.action_items import ActionItem, NewActionItem
from ..models.bulk import BulkProgress
from ..models.shared import CLEAR, Clear, Deletion, Model
from ..paging import AsyncListing, BySlices
from ..retry import Retrier, RetryPolicy, Timeout

_ACTION_ITEMS = Collection("action_items", "/v1/dev/user/action-items", "Action item", ActionItem)

_DESCRIPTION_LENGTH = 500  # characters
_LARGEST_BATCH = 50
_PAGE = 1000
_REACH = 2000  # rows of one list that the server looks at, whatever it is asked


@attrs.frozen(eq=False, repr=False)
class ActionItemUpdate(Model):
    """One item of `update_many`; the fields are the arguments of `update`."""

    action_item_id: str
    description: str | None = attrs.field(default=None, kw_only=True, repr=False)
    completed: bool | None = attrs.field(default=None, kw_only=True)
    due_at: datetime | Clear | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class _Batch:
    action_items: tuple[ActionItem, ...]


# Requests


def action_item_pages(
    conversation_id: str | None, completed: bool | None, start_date: datetime | None, end_date: datetime | None
) -> BySlices[ActionItem]:
    """Build the pages of `list`; raises for a bad argument."""
    filters = {}
    if conversation_id is not None:
        filters["conversation_id"] = arguments.identifier(conversation_id, "conversation_id")
    if completed is not None:
        filters["completed"] = "true" if arguments.flag(completed, "completed") else "false"
    start = arguments.optional(arguments.utc, start_date, "start_date")
    end = arguments.optional(arguments.utc, end_date, "end_date")
    arguments.check_order(start, end)
    return BySlices(
        functools.partial(_page, filters),
        size=_PAGE,
        most=_REACH,
        start=start,
        end=end,
        moment=lambda item: item.created_at,
    )


def _page(
    filters: dict[str, str], start: datetime | None, end: datetime | None, offset: int
) -> Request[Page[ActionItem]]:
    """One page of what was created between two moments."""
    bounds = {} if start is None else {"start_date": arguments.moment(start, "start_date")}
    if end is not None:
        bounds["end_date"] = arguments.moment(end, "end_date")
    return _ACTION_ITEMS.page({**filters, **bounds}, min(_PAGE, _REACH - offset), offset)


@builder
def create_action_item(description: str, completed: bool, due_at: datetime | None) -> Request[ActionItem]:
    """Build the request of `create`."""
    return _ACTION_ITEMS.create(_fields(description, completed, due_at, ""))


@builder
def create_action_items(items: Iterable[NewActionItem]) -> Request[tuple[ActionItem, ...]]:
    """Build the request of `create_batch`."""
    taken = arguments.many(items, "items", largest=_LARGEST_BATCH, what="NewActionItem")
    fields = [_new(item, f"items[{position}]") for position, item in enumerate(taken)]
    request: Request[tuple[ActionItem, ...]] = _ACTION_ITEMS.write(
        "create_batch",
        _ACTION_ITEMS.of("batch"),
        {"action_items": fields},
        part(_Batch, "action_items", count=len(fields)),
        effect="once",
    )
    return request


def _new(item: NewActionItem, name: str) -> dict[str, object]:
    if not isinstance(item, NewActionItem):
        raise TypeError(f"{name} must be a NewActionItem, not {arguments.kind(item)}")
    return _fields(item.description, item.completed, item.due_at, f"{name}.")


def _fields(description: Any, completed: Any, due_at: Any, of: str) -> dict[str, object]:
    fields: dict[str, object] = {"description": _description(description, f"{of}description")}
    if arguments.flag(completed, f"{of}completed"):
        fields["completed"] = True
    if due_at is not None:
        fields["due_at"] = arguments.moment(due_at, f"{of}due_at")
    return fields


def _description(description: str, name: str) -> str:
    return arguments.text(description, name, longest=_DESCRIPTION_LENGTH, strip=True)


@builder
def update_action_item(
    action_item_id: str, description: str | None, completed: bool | None, due_at: datetime | Clear | None
) -> Request[ActionItem]:
    """Build the request of `update`."""
    record_id = arguments.identifier(action_item_id, "action_item_id")
    changes = arguments.changes(
        description=arguments.optional(_description, description, "description"),
        completed=arguments.optional(arguments.flag, completed, "completed"),
        due_at=arguments.clearable(arguments.moment, due_at, "due_at"),
    )
    # Older servers take null for nothing given.
    return _ACTION_ITEMS.update(record_id, changes, cleared=["due_at"] if due_at is CLEAR else ())


@builder
def update_item(item: ActionItemUpdate) -> Request[ActionItem]:
    """Build the request of one item of `update_many`."""
    if not isinstance(item, ActionItemUpdate):
        raise TypeError(f"an update must be an ActionItemUpdate, not {arguments.kind(item)}")
    made = update_action_item(item.action_item_id, item.description, item.completed, item.due_at)
    if isinstance(made, Exception):
        raise made
    return made


@builder
def delete_action_item(action_item_id: str) -> Request[Deletion]:
    """Build the request of `delete`."""
    return _ACTION_ITEMS.delete(arguments.identifier(action_item_id, "action_item_id"))


# Calls


class AsyncActionItems:
    """Action items of the key's user, reached as `client.action_items`.

    The API has no way to get a single action item by its id.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `PermissionDeniedError` for a key without
    `action_items:read` or, for writes, `action_items:write`; `AuthenticationError`; `RateLimitError`;
    `RouteNotFoundError` from a server that does not have the operation; `TransportError`, `ServerError` and
    `ResponseError`. The `outcome` of each tells whether the write may have been applied.
    """

    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier

    def list(
        self,
        *,
        conversation_id: str | None = None,
        completed: bool | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        limit: int | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AsyncListing[ActionItem]:
        """List action items, all of them, although the server's pages are not complete.

        Each filter restricts the list; the dates are those of creation and must be timezone-aware. `limit` is how many
        action items the list gives at most, all by default.

        The server looks at no more than 2000 rows for one list and orders what it looks at, so its pages can miss rows.
        The list therefore reads 1000 at once, and where there are more it reads slices by the date of creation. Each
        action item comes once. Up to 1000 come in the order of the server: open ones first, each by its due date.
        Beyond that there is no order. Locked ones are left out; `gaps` of the result tells more, also where more than
        1000 were created within a second. What has no date of creation is in no slice and is looked for among the first
        2000 rows only; where there is any beside slices, `gaps` is True. Pages are fetched as they are consumed. A list
        costs two requests at least. `timeout` and `retry` hold for each page.

        Bad arguments are refused at once.

        Source: https://docs.omi.me (listActionItems) and observed behavior.
        """
        pages = action_item_pages(conversation_id, completed, start_date, end_date)
        return AsyncListing(self._retrier, pages, arguments.limit(limit), timeout, retry)

    async def create(
        self,
        description: str,
        *,
        completed: bool = False,
        due_at: datetime | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> ActionItem:
        """Create an action item.

        `description` is 1 to 500 characters, sent stripped; `due_at` must be timezone-aware, and has the server send a
        message to the user's devices.

        The server cannot tell a repeated action item from a second one, so an attempt that may have been carried out
        is not repeated: the error's `outcome` is then `unknown`, and making the call again may make a second one.

        Source: https://docs.omi.me (createActionItem) and observed behavior.
        """
        return await self._retrier.call(create_action_item(description, completed, due_at), timeout, retry)

    async def create_batch(
        self,
        items: Iterable[NewActionItem],
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> tuple[ActionItem, ...]:
        """Create 1 to 50 action items at once, all or none, and return them in the same order.

        As with `create`, an attempt that may have been carried out is not repeated.

        Source: https://docs.omi.me (createActionItemsBatch) and observed behavior.
        """
        return await self._retrier.call(create_action_items(items), timeout, retry)

    async def update(
        self,
        action_item_id: str,
        *,
        description: str | None = None,
        completed: bool | None = None,
        due_at: datetime | Clear | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> ActionItem:
        """Change an action item.

        `description` is 1 to 500 characters, sent stripped. `due_at` must be timezone-aware; `CLEAR` takes it away.
        None leaves a value as it is, and giving none is refused. The values are absolute, so repeating an update does
        no harm, but `completed=True` sets `completed_at` again, and a `due_at` may remind the user again.

        Raises `NotFoundError`, and `PaymentRequiredError` for a locked action item. Servers of May 2026 cannot clear
        `due_at`: `UnprocessableEntityError` where nothing else is given, else `ResponseError`.

        Source: https://docs.omi.me (updateActionItem) and observed behavior.
        """
        return await self._retrier.call(
            update_action_item(action_item_id, description, completed, due_at), timeout, retry
        )

    async def delete(
        self,
        action_item_id: str,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Deletion:
        """Delete an action item for good.

        If an attempt went unanswered and the next one found nothing, the action item is gone and `Deletion.confirmed`
        is False.

        Raises `NotFoundError` if no attempt before can have removed it, and `PaymentRequiredError` for a locked action
        item.

        Source: https://docs.omi.me (deleteActionItem) and observed behavior.
        """
        return await self._retrier.call(delete_action_item(action_item_id), timeout, retry)

    def update_many(
        self,
        updates: Items[ActionItemUpdate],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
    ) -> AsyncBulk[ActionItem]:
        """Update many action items, each as `update` would, and report each one as it completes.

        Arguments, pacing, journal and errors are those of `conversations.update_many`.
        """
        return start(
            self._retrier,
            updates,
            update_item,
            id_of=lambda update: getattr(update, "action_item_id", update),
            kind="action_items.update",
            window=_ACTION_ITEMS.writes,
            concurrency=concurrency,
            journal=journal,
            on_progress=on_progress,
            wait=wait,
        )

    def delete_many(
        self,
        ids: Items[str],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
    ) -> AsyncBulk[Deletion]:
        """Delete many action items for good, each as `delete` would, and report each one as it completes.

        Arguments, pacing, journal and errors are those of `conversations.update_many`. An id whose deletion an earlier
        run may have carried out, and which is not found any more, is reported as `unconfirmed`.
        """
        return start(
            self._retrier,
            ids,
            delete_action_item,
            is_confirmed=lambda deletion: deletion.confirmed,
            kind="action_items.delete",
            window=_ACTION_ITEMS.writes,
            concurrency=concurrency,
            journal=journal,
            on_progress=on_progress,
            wait=wait,
        )
