"""Listing records, page by page.

`AsyncListing` hands out rows and leaves what to ask for to its pages: `ByTime` for lists that can be asked for what
is at most as new as a moment, `BySlices` for lists whose pages miss rows, `ByOffset` for all others.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Generic, Protocol, TypeVar

import attrs

from ._protocol.collection import Page
from ._protocol.request import Request
from ._wire.pool import Place
from .retry import Retrier, RetryPolicy, Timeout

R = TypeVar("R")

# Rows that the server hides take up places on the pages, so one page without a row is not the end.
_EMPTY_PAGES_TO_STOP = 2  # requests in a row


class Pages(Protocol[R]):
    """What a listing asks for next, and what it learns from each page."""

    ended: bool
    """Whether there is nothing more to ask for."""
    gaps: bool

    def request(self) -> Request[Page[R]]:
        """The request of the next page."""
        ...

    def take(self, page: Page[R]) -> list[R]:
        """The rows of a page that are new, after deciding what to ask for next."""
        ...


class AsyncListing(Generic[R]):
    """The rows of a list, fetched page by page as they are consumed.

    Iterate over it, once. After an error, begin the iteration again: it goes on behind the last row that it gave out.
    Several consumers of one listing share its rows: each gets some of them.
    """

    def __init__(
        self,
        retrier: Retrier,
        pages: Pages[R],
        limit: int | None,
        timeout: Timeout | float | None,
        retry: RetryPolicy | None,
    ) -> None:
        self._retrier = retrier
        self._pages = pages
        self._timeout = timeout
        self._retry = retry
        self._left = limit
        self._truncated = False
        self._closed = False
        self._rows: deque[R] = deque()
        self._filling = asyncio.Lock()
        self._place: Place | None = None  # where consumers wait for each other

    @property
    def gaps(self) -> bool:
        """Whether the server hides rows, so that it cannot be known that all others were seen.

        True once a page came back with less than was asked for and was not the last. Two such pages in a row with
        nothing new on them look like the end, and may have been taken for it.
        """
        return self._pages.gaps

    @property
    def truncated(self) -> bool:
        """Whether the server said of a page that it gave less than it has, so that records may be missing.

        Newer servers cut a list of memories so, where it would take them too long.
        """
        return self._truncated

    def __aiter__(self) -> AsyncIterator[R]:
        return self

    async def __anext__(self) -> R:
        while not self._rows:
            await self._fill()
        return self._rows.popleft()

    async def aclose(self) -> None:
        """End the listing: no further page is fetched. Closing twice does nothing."""
        self._closed = True
        self._rows.clear()

    async def _fill(self) -> None:
        """Have at least one row at hand; raises StopAsyncIteration if there are no more."""
        async with self._turn():
            while not self._rows:
                if self._closed or self._pages.ended or self._left == 0:
                    raise StopAsyncIteration
                page = await self._retrier.call(self._pages.request(), self._timeout, self._retry)
                self._truncated = self._truncated or page.truncated
                new = self._pages.take(page)
                if self._left is not None:
                    new = new[: self._left]
                    self._left -= len(new)
                self._rows.extend(new)

    def _turn(self) -> asyncio.Lock:
        """Whose turn it is to fetch. A loop that ended may have left it taken, so each one has its own."""
        place = self._retrier.transport.pool.here()
        if self._place is not place:
            self._place, self._filling = place, asyncio.Lock()
        return self._filling


class ByTime(Generic[R]):
    """Pages that are anchored: what is deleted, hidden or added meanwhile does not shift what is still to come.

    Rows come newest first, and each page asks for what is at most as new as the oldest row before it.
    """

    def __init__(
        self,
        page: Callable[[datetime | None, int], Request[Page[R]]],
        *,
        size: int,
        start: datetime | None,
        end: datetime | None,
        moment: Callable[[R], datetime],
    ) -> None:
        """`page` makes the request of what was created until a moment, from an offset on; `moment` dates a row."""
        self.ended = False
        self.gaps = False
        self.size = size
        """How many rows the next page is asked for."""
        self._page = page
        self._start = start
        self._end = end
        self._moment = moment
        self._seen: set[str] = set()
        self._anchor = end
        self._anchored = True
        self._offset = 0
        self._without_new = 0
        self._short = False

    @property
    def seen_from(self) -> datetime | None:
        """The moment from which on everything was seen; None before the first row, or if rows come in no order."""
        return self._anchor if self._anchored and self._seen else None

    def request(self, *, behind: int = 0) -> Request[Page[R]]:
        """The request of the next page, or of what is behind so many of its rows."""
        return self._page(self._anchor, self._offset + behind)

    def take(self, page: Page[R]) -> list[R]:
        """The new rows of a page. Some servers ignore the bounds on later pages, so rows outside are left out."""
        new = _unseen(page.rows, self._seen)
        if new and self._short:
            self.gaps = True
        self._short = self._short or len(page.rows) < self.size
        self._move(page.rows, fruitful=bool(new))
        inside = [row for row in new if self._is_inside(self._moment(row))]
        # Newest first, so a page without a row inside the bounds is behind all of them.
        behind = bool(new) and not inside and self._anchored
        self.ended = behind or self._without_new == _EMPTY_PAGES_TO_STOP
        return inside

    def _is_inside(self, moment: datetime) -> bool:
        return _is_within(moment, self._start, self._end)

    def _move(self, page: tuple[R, ...], *, fruitful: bool) -> None:
        """Decide what to ask for next."""
        if not self._in_order(page):
            self._anchored = False
        if not fruitful:
            # A full page of known rows is not the end: rows have shifted. But once the offset is past everything
            # seen, the server is ignoring it, and asking on would never stop.
            if len(page) < self.size or self._offset >= len(self._seen):
                self._without_new += 1
            self._offset += self.size
            return
        self._without_new = 0
        anchor = self._after(self._moment(page[-1])) if self._anchored else self._anchor
        if anchor == self._anchor:  # more than a page within one second
            self._offset += len(page)
        else:
            self._anchor, self._offset = anchor, 0

    def _in_order(self, page: tuple[R, ...]) -> bool:
        """Whether rows come newest first and none after the anchor; if not, there is only the offset to go by."""
        times = [self._moment(row) for row in page]
        return all(newer >= older for newer, older in pairwise(times)) and (
            not times or self._anchor is None or times[0] <= self._anchor
        )

    def _after(self, time: datetime) -> datetime:
        """The next whole second: right whether the server's bound is inclusive, exclusive or cut to seconds."""
        second = time.replace(microsecond=0) + timedelta(seconds=1)
        return second if self._end is None else min(second, self._end)


class ByOffset(Generic[R]):
    """Pages by their offset, which counts hidden rows too. Rows that come again on a later page are dropped."""

    def __init__(
        self, page: Callable[[int, int], Request[Page[R]]], *, size: int, largest: int, most: int | None = None
    ) -> None:
        """`page` makes the request of so many rows from an offset on; none beyond `most` are within reach.

        A page has `size` rows, and `largest` behind one without any: the larger it is, the more hidden rows it passes.
        """
        self.ended = False
        self.gaps = False
        self._page = page
        self._size = size
        self._largest = largest
        self._most = most
        self._seen: set[str] = set()
        self._offset = 0
        self._looks_far = False
        self._empty = 0  # pages in a row
        self._repeated = 0  # rows since the last new one
        self._short = False
        self._overlaps = False  # the next page begins before the end of the one before
        self._fills_pages = False  # but for what it hides

    def request(self) -> Request[Page[R]]:
        """The request of the next page."""
        return self._page(self._asked(), self._offset)

    def _asked(self) -> int:
        size = self._largest if self._looks_far else self._size
        return size if self._most is None else min(size, self._most - self._offset)

    def take(self, page: Page[R]) -> list[R]:
        """The new rows of a page."""
        asked, came = self._asked(), len(page.rows)
        new = _unseen(page.rows, self._seen)
        if self._overlaps and len(new) < came:  # the rows that came again have hidden ones before them
            self.gaps = self._fills_pages = True
        self._fills_pages = self._fills_pages or came >= self._size
        self.gaps = self.gaps or (self._short and bool(new))
        self._short = self._short or (came < asked and not page.truncated)
        step = self._step(asked, came, truncated=page.truncated)
        self._overlaps = 0 < step < asked
        self._offset += step
        self._looks_far = came == 0 and not page.truncated
        self._empty = 0 if came else self._empty + 1
        self._repeated = 0 if new else self._repeated + came
        # Other rows that move to the front can bring back all that were seen. More than these come back only from a
        # server that ignores the offset.
        is_endless = self._repeated > len(self._seen)
        is_out_of_reach = self._most is not None and self._offset >= self._most
        self.gaps = self.gaps or is_endless or (is_out_of_reach and came > 0)
        self.ended = is_endless or is_out_of_reach or self._empty == _EMPTY_PAGES_TO_STOP
        return new

    def _step(self, asked: int, came: int, *, truncated: bool) -> int:
        """How far it is to the next page."""
        if truncated:
            return came
        # A page is short because rows are hidden or because the server gives no more at once. Until it is known which,
        # the next page begins behind as many rows as came, so that none is passed over.
        return asked if self._fills_pages or not came else came


class BySlices(Generic[R]):
    """Lists whose pages do not add up to the whole: one that does not fit on a page is read in slices by date.

    A slice is complete if its rows fit on one page. Otherwise it is split where half of the rows seen are older.
    """

    def __init__(
        self,
        page: Callable[[datetime | None, datetime | None, int], Request[Page[R]]],
        *,
        size: int,
        most: int,
        start: datetime | None,
        end: datetime | None,
        moment: Callable[[R], datetime | None],
    ) -> None:
        """`page` makes the request of what was created between two moments, from an offset on.

        A page has `size` rows; none beyond `most` are within reach of one slice.
        """
        self.ended = False
        self.gaps = False
        self._page = page
        self._size = size
        self._most = most
        self._moment = moment
        self._bounds = (start, end)
        self._slices: list[_Slice] = [_Slice(start, end)]
        self._seen: set[str] = set()
        self._fills_pages = False  # but for what it hides

    def request(self) -> Request[Page[R]]:
        """The request of the next page."""
        current = self._slices[-1]
        return self._page(current.start, current.end, current.offset)

    def take(self, page: Page[R]) -> list[R]:
        """The new rows of a page."""
        current = self._slices[-1]
        new = _unseen(page.rows, self._seen)
        dates = [date for date in map(self._moment, page.rows) if date is not None]
        current.dates += dates
        current.has_dateless = current.has_dateless or len(dates) < len(page.rows)
        if all(_is_within(date, current.start, current.end) for date in dates):
            self._go_on(current, len(page.rows), len(new))
        else:  # the server does not know the bounds, so slices are of no use
            self.gaps = True
            self._slices.clear()
        self.ended = not self._slices
        return [row for row in new if _is_within(self._moment(row), *self._bounds)]

    def _go_on(self, current: "_Slice", came: int, new: int) -> None:
        """Decide what to ask for next, after a page of which so many rows came and so many were new."""
        is_first = current.offset == 0
        is_full = came >= self._size
        # Even rows that came before are more than a page, if they come from behind a whole one.
        is_more = is_full if is_first else new > 0 or (came > 0 and current.offset >= self._size)
        self._fills_pages = self._fills_pages or is_full or (not is_first and new < came)
        current.is_short = current.is_short or (is_first and not is_full)
        current.is_crowded = current.is_crowded or is_more
        self.gaps = self.gaps or (is_more and (current.is_short or not current.can_be_split))
        # What has no date is in no piece of the whole list, of which therefore as much is read as is within reach.
        if current.is_crowded and current.can_be_split and not (is_first and current.is_whole):
            self.gaps = self.gaps or current.has_dateless
            self._slices.pop()
            self._slices += current.split()
            return
        following = self._following(current, came, new)
        if following is not None and following < self._most:
            current.offset = following
        else:
            self._slices.pop()

    def _following(self, current: "_Slice", came: int, new: int) -> int | None:
        """The offset of the next page of a slice, or None at its end."""
        if current.offset == 0:
            # What is hidden takes up places, so a page with room on it is not the end: one more is asked for.
            return max(came, self._size) if self._fills_pages else came or self._size
        if new:
            return current.offset + came
        return self._size if came and current.offset < self._size else None


_SECOND = timedelta(seconds=1)


@attrs.define(eq=False, repr=False)
class _Slice:
    """What was created between two moments, both included; None is no bound."""

    start: datetime | None
    end: datetime | None
    offset: int = 0
    is_short: bool = False
    """Its first page had room for more."""
    is_crowded: bool = False
    """It has more than a page."""
    has_dateless: bool = False
    """A row without a date was seen of it."""
    dates: list[datetime] = attrs.field(factory=list)
    """Of the rows that were seen of it."""

    @property
    def is_whole(self) -> bool:
        """Whether it has no bounds."""
        return self.start is None and self.end is None

    @property
    def can_be_split(self) -> bool:
        """Whether there is a date to split it at, and room on both sides."""
        is_wide = self.start is None or self.end is None or self.end - self.start > 2 * _SECOND
        return is_wide and bool(self.dates)

    def split(self) -> "list[_Slice]":
        """Three slices in its place, the newest last: before a second, that second, and after it."""
        middle = sorted(self.dates)[len(self.dates) // 2].replace(microsecond=0)
        if middle == self.end:
            middle -= _SECOND
        after = middle + _SECOND
        pieces = [_Slice(self.start, middle), _Slice(middle, after), _Slice(after, self.end)]
        return [each for each in pieces if each.start is None or each.end is None or each.start < each.end]


def _is_within(moment: datetime | None, start: datetime | None, end: datetime | None) -> bool:
    # A whole second of room: servers cut bounds to seconds. What has no date is nobody's but the whole list's.
    if moment is None:
        return start is None and end is None
    return (start is None or moment > start - _SECOND) and (end is None or moment < end + _SECOND)


def _unseen(page: tuple[Any, ...], seen: set[str]) -> list[Any]:
    new = list({row.id: row for row in page if row.id not in seen}.values())
    seen.update(row.id for row in new)
    return new
