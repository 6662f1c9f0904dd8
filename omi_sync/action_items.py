# Made from omi_async/resources/action_items.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The action items resource for synchronous code."""

import os
from collections.abc import Callable, Iterable
from datetime import datetime

from omi_async.client import AsyncOmiClient
from omi_async.models.action_items import ActionItem, NewActionItem
from omi_async.models.bulk import BulkProgress
from omi_async.models.shared import Clear, Deletion
from omi_async.resources.action_items import ActionItemUpdate
from omi_async.retry import RetryPolicy, Timeout

from ._bridge import Bridge
from ._iterate import feed, relayed
from .bulk import Bulk
from .paging import Listing


class ActionItems:
    """Action items of the key's user, reached as `client.action_items`.

    The API has no way to get a single action item by its id.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `PermissionDeniedError` for a key without
    `action_items:read` or, for writes, `action_items:write`; `AuthenticationError`; `RateLimitError`;
    `RouteNotFoundError` from a server that does not have the operation; `TransportError`, `ServerError` and
    `ResponseError`. The `outcome` of each tells whether the write may have been applied.
    """

    def __init__(self, bridge: Bridge[AsyncOmiClient]) -> None:
        self._bridge = bridge

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
    ) -> Listing[ActionItem]:
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
        target = self._bridge.target.action_items.list(
            conversation_id=conversation_id,
            completed=completed,
            start_date=start_date,
            end_date=end_date,
            limit=limit,
            timeout=timeout,
            retry=retry,
        )
        return Listing(self._bridge, target)

    def create(
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
        coroutine = self._bridge.target.action_items.create(
            description, completed=completed, due_at=due_at, timeout=timeout, retry=retry
        )
        return self._bridge.run(coroutine)

    def create_batch(
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
        coroutine = self._bridge.target.action_items.create_batch(items, timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)

    def update(
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
        coroutine = self._bridge.target.action_items.update(
            action_item_id, description=description, completed=completed, due_at=due_at, timeout=timeout, retry=retry
        )
        return self._bridge.run(coroutine)

    def delete(
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
        coroutine = self._bridge.target.action_items.delete(action_item_id, timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)

    def update_many(
        self,
        updates: Iterable[ActionItemUpdate],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
    ) -> Bulk[ActionItem]:
        """Update many action items, each as `update` would, and report each one as it completes.

        Arguments, pacing, journal and errors are those of `conversations.update_many`.
        """
        items = feed(updates)
        target = self._bridge.target.action_items.update_many(
            items, concurrency=concurrency, journal=journal, on_progress=relayed(items, on_progress), wait=wait
        )
        return Bulk(self._bridge, target, items)

    def delete_many(
        self,
        ids: Iterable[str],
        *,
        concurrency: int = 4,
        journal: str | os.PathLike[str] | None = None,
        on_progress: Callable[[BulkProgress], None] | None = None,
        wait: bool = True,
    ) -> Bulk[Deletion]:
        """Delete many action items for good, each as `delete` would, and report each one as it completes.

        Arguments, pacing, journal and errors are those of `conversations.update_many`. An id whose deletion an earlier
        run may have carried out, and which is not found any more, is reported as `unconfirmed`.
        """
        items = feed(ids)
        target = self._bridge.target.action_items.delete_many(
            items, concurrency=concurrency, journal=journal, on_progress=relayed(items, on_progress), wait=wait
        )
        return Bulk(self._bridge, target, items)
