# Made from omi_async/bulk.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The outcomes of bulk jobs for synchronous code."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from omi_async import AsyncBulk, AsyncOmiClient, BulkOutcome, BulkProgress

from ._bridge import Bridge, stream

R = TypeVar("R")


class Bulk(Generic[R]):
    """The outcomes of a bulk job, one for each item, in the order in which they complete.

    Iterate over it. Leave the loop early, or close it, and nothing new is sent; what was under way is finished
    first, and its outcomes are kept in `unclaimed`. The iteration raises `BulkStoppedError` when something happens
    that would fail every further item: a refused key, a closed client, an unusable journal, or, with `wait=False`, a
    closed window. An error of the input is raised after everything under way has been reported.
    """

    def __init__(self, bridge: Bridge[AsyncOmiClient], target: AsyncBulk[R], items: Any) -> None:
        self._target = target
        self._stream = stream(bridge, target, items)

    @property
    def progress(self) -> BulkProgress:
        """Where the job stands now."""
        return self._target.progress

    @property
    def unclaimed(self) -> tuple[BulkOutcome[R], ...]:
        """Outcomes that nobody took: of items that were under way when the iteration was left."""
        return self._target.unclaimed

    def __iter__(self) -> Iterator[BulkOutcome[R]]:
        return self._stream

    def close(self) -> None:
        """End the job: what is under way is finished, nothing new is sent. Closing twice does nothing."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
