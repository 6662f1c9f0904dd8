"""Listing conversations, page by page.

The API pages by offset, and what is deleted, hidden or added meanwhile shifts what is still to come. So pages are
anchored: rows come newest first, and each page asks for what is at most as new as the oldest row before it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise

from ._protocol import Selection, list_conversations
from .models import Conversation
from .retry import Retrier, RetryPolicy, Timeout

# Rows that the server hides take up places on the pages, so that one without a new row is not the end.
_FRUITLESS = 2  # requests in a row


class AsyncListing:
    """The conversations of a list, fetched page by page as they are consumed.

    Iterate over it, once. After an error the iteration may be begun again: it goes on behind the last conversation
    that it gave out. Several consumers of one listing share its conversations: each gets some of them.
    """

    def __init__(
        self,
        retrier: Retrier,
        selection: Selection,
        limit: int | None,
        timeout: Timeout | float | None,
        retry: RetryPolicy | None,
    ) -> None:
        self._retrier = retrier
        self._selection = selection
        self._timeout = timeout
        self._retry = retry
        self._left = limit
        self._rows: deque[Conversation] = deque()
        self._filling = asyncio.Lock()
        self._seen: set[str] = set()
        self._anchor = selection.end_date
        self._anchored = True
        self._offset = 0
        self._fruitless = 0
        self._short = False
        self._gaps = False

    @property
    def gaps(self) -> bool:
        """Whether the server hides conversations, so that it cannot be known that all others were seen.

        True once a page came back with less than was asked for and was not the last. Two such pages in a row with
        nothing new on them look like the end, and may have been taken for it.
        """
        return self._gaps

    def __aiter__(self) -> AsyncIterator[Conversation]:
        return self

    async def __anext__(self) -> Conversation:
        while not self._rows:
            await self._fill()
        return self._rows.popleft()

    async def _fill(self) -> None:
        """Have at least one row at hand; raises StopAsyncIteration where there are no more."""
        async with self._filling:
            while not self._rows:
                if self._fruitless == _FRUITLESS or self._left == 0:
                    raise StopAsyncIteration
                request = list_conversations(self._selection, self._anchor, self._offset)
                self._take(await self._retrier.call(request, self._timeout, self._retry))

    def _take(self, page: tuple[Conversation, ...]) -> None:
        new = list({row.id: row for row in page if row.id not in self._seen}.values())
        if new and self._short:
            self._gaps = True
        self._short = self._short or len(page) < self._selection.page_size
        self._move(page, fruitful=bool(new))
        self._seen.update(row.id for row in new)
        if self._left is not None:
            new = new[: self._left]
            self._left -= len(new)
        self._rows.extend(new)

    def _move(self, page: tuple[Conversation, ...], *, fruitful: bool) -> None:
        """Decide what to ask for next."""
        if not self._in_order(page):
            self._anchored = False
        if not fruitful:
            # A full page of rows seen before hides nothing; a server that ignores the offset gives no other for ever.
            if len(page) < self._selection.page_size or self._offset >= len(self._seen):
                self._fruitless += 1
            self._offset += self._selection.page_size
            return
        self._fruitless = 0
        anchor = self._after(page[-1].created_at) if self._anchored else self._anchor
        if anchor == self._anchor:  # more than a page within one second
            self._offset += len(page)
        else:
            self._anchor, self._offset = anchor, 0

    def _in_order(self, page: tuple[Conversation, ...]) -> bool:
        """Whether rows come newest first and none after the anchor; if not, there is only the offset to go by."""
        times = [row.created_at for row in page]
        return all(newer >= older for newer, older in pairwise(times)) and (
            not times or self._anchor is None or times[0] <= self._anchor
        )

    def _after(self, time: datetime) -> datetime:
        """The next whole second: right whether the server's bound is inclusive, exclusive or cut to seconds."""
        second = time.replace(microsecond=0) + timedelta(seconds=1)
        return second if self._selection.end_date is None else min(second, self._selection.end_date)
