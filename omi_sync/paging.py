# Made from omi_async/paging.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""Lists of conversations for synchronous code."""

from collections.abc import Iterator

from omi_async import AsyncListing, AsyncOmiClient, Conversation

from ._bridge import Bridge, following


class Listing:
    """The conversations of a list, fetched page by page as they are consumed.

    Iterate over it, once. After an error the iteration may be begun again: it goes on behind the last conversation
    that it gave out. Several consumers of one listing share its conversations: each gets some of them.
    """

    def __init__(self, bridge: Bridge[AsyncOmiClient], target: AsyncListing) -> None:
        self._bridge = bridge
        self._target = target

    @property
    def gaps(self) -> bool:
        """Whether the server hides conversations, so that it cannot be known that all others were seen.

        True once a page came back with less than was asked for and was not the last. Two such pages in a row with
        nothing new on them look like the end, and may have been taken for it.
        """
        return self._target.gaps

    def __iter__(self) -> Iterator[Conversation]:
        return self

    def __next__(self) -> Conversation:
        return following(self._bridge, self._target)
