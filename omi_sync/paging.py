# Made from omi_async/paging.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""Lists of records for synchronous code."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from omi_async.client import AsyncOmiClient
from omi_async.paging import AsyncListing

from ._bridge import Bridge
from ._iterate import next_row

R = TypeVar("R")


class Listing(Generic[R]):
    """The rows of a list, fetched page by page as they are consumed.

    Iterate over it, once. After an error, begin the iteration again: it goes on behind the last row that it gave out.
    Several consumers of one listing share its rows: each gets some of them.
    """

    def __init__(self, bridge: Bridge[AsyncOmiClient], target: AsyncListing[R]) -> None:
        self._bridge = bridge
        self._target = target

    @property
    def gaps(self) -> bool:
        """Whether the server hides rows, so that it cannot be known that all others were seen.

        True once a page came back with less than was asked for and was not the last. Two such pages in a row with
        nothing new on them look like the end, and may have been taken for it.
        """
        return self._target.gaps

    @property
    def truncated(self) -> bool:
        """Whether the server said of a page that it gave less than it has, so that records may be missing.

        Newer servers cut a list of memories so, where it would take them too long.
        """
        return self._target.truncated

    def __iter__(self) -> Iterator[R]:
        return self

    def __next__(self) -> R:
        return next_row(self._bridge, self._target)

    def close(self) -> None:
        """End the listing: no further page is fetched. Closing twice does nothing."""
        coroutine = self._target.aclose()
        self._bridge.run(coroutine)
