# Made from omi_async/bulk.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The outcomes of bulk jobs for synchronous code."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from omi_async.bulk import AsyncBulk
from omi_async.client import AsyncOmiClient
from omi_async.models.bulk import BulkOutcome, BulkProgress

from ._bridge import Bridge
from ._iterate import close_input, close_job, next_outcome

R = TypeVar("R")


class Bulk(Generic[R]):
    """The outcomes of a bulk job, one for each item, in the order in which they complete.

    Iterate over it. Waiting for the next outcome may be given up, by a timeout or a cancellation, and begun again:
    nothing is lost. Several consumers of one job share its outcomes. Close the job, or drop it, and nothing new is
    sent; what was under way is finished first, and its outcomes are kept in `unclaimed`. A job that is kept without
    being asked goes on until `concurrency` outcomes wait.

    The iteration raises `BulkStoppedError` if the job ended before its input did: something happened that would fail
    every further item (a refused key, a closed client, an unusable journal or, with `wait=False`, a closed window), or
    the job was closed. An error of the input is raised after everything under way has been reported.
    """

    def __init__(self, bridge: Bridge[AsyncOmiClient], target: AsyncBulk[R], items: Any) -> None:
        self._bridge = bridge
        self._target = target
        self._items = items

    @property
    def progress(self) -> BulkProgress:
        """How far the job is now."""
        return self._target.progress

    @property
    def unclaimed(self) -> tuple[BulkOutcome[R], ...]:
        """Outcomes that nobody took: of items that were under way when the iteration was left."""
        return self._target.unclaimed

    def __iter__(self) -> Iterator[BulkOutcome[R]]:
        return self

    def __next__(self) -> BulkOutcome[R]:
        return next_outcome(self._bridge, self._target, self._items)

    def close(self) -> None:
        """End the job: what is under way is finished, nothing new is sent. Closing twice does nothing."""
        close_job(self._bridge, self._target, self._items)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        close_input(self._items)
