"""The daily summaries resource: the requests it builds, and one short method for each operation."""

import functools
from datetime import date, datetime

import attrs

from .._protocol import arguments
from .._protocol.arguments import refused
from .._protocol.collection import Collection, Page, page, part
from .._protocol.request import Request, builder
from ..models.daily_summaries import DailySummary
from ..pacing import windows
from ..paging import AsyncListing, ByOffset
from ..retry import Retrier, RetryPolicy, Timeout

_DAILY_SUMMARIES = Collection(
    "daily_summaries",
    "/v1/dev/user/daily-summaries",
    "Daily summary",
    DailySummary,
    reads=windows("GET", "/v1/dev/user/daily-summaries")[0],
)

_LARGEST_PAGE = 100


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class _Summaries:
    summaries: tuple[DailySummary, ...]


# Requests


def daily_summary_pages(
    start_date: date | None, end_date: date | None, page_size: int | None
) -> ByOffset[DailySummary]:
    """Build the pages of `list`; raises for a bad argument."""
    bounds = {"start_date": start_date, "end_date": end_date}
    filters = {name: _day(day, name) for name, day in bounds.items() if day is not None}
    arguments.check_order(start_date, end_date)
    size = arguments.size(page_size, "page_size", largest=_LARGEST_PAGE)
    return ByOffset(functools.partial(_page, filters), size=size, largest=_LARGEST_PAGE)


def _page(filters: dict[str, str], size: int, offset: int) -> Request[Page[DailySummary]]:
    request = _DAILY_SUMMARIES.page(filters, size, offset)
    request.decode = page(part(_Summaries, "summaries"))
    return request


def _day(day: date, name: str) -> str:
    if not isinstance(day, date):
        raise TypeError(f"{name} must be a date, not {arguments.kind(day)}")
    if isinstance(day, datetime):
        raise refused(f"{name} must be a date without a time: whose day it is in depends on the time zone.")
    return day.isoformat()


@builder
def get_daily_summary(summary_id: str) -> Request[DailySummary]:
    """Build the request of `get`."""
    return _DAILY_SUMMARIES.get(arguments.identifier(summary_id, "summary_id"))


# Calls


class AsyncDailySummaries:
    """What Omi made of the days of the key's user, reached as `client.daily_summaries`.

    Servers of May 2026 do not have them. Each request is one of the reads that the server allows for conversations.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `PermissionDeniedError` for a key without
    `conversations:read`; `AuthenticationError`; `RateLimitError`; `RouteNotFoundError` from a server that does not have
    the operation; `TransportError`, `ServerError` and `ResponseError`.
    """

    def __init__(self, retrier: Retrier) -> None:
        self._retrier = retrier

    def list(
        self,
        *,
        start_date: date | None = None,
        end_date: date | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> AsyncListing[DailySummary]:
        """List the summaries of days, the latest day first.

        `start_date` and `end_date` are days of the user, both included. `limit` is how many summaries the list gives at
        most; `page_size` is how many are fetched at a time, from 1 to 100, which is the default. Pages are fetched as
        they are consumed, and the end of the list costs two. Each summary comes once. `timeout` and `retry` hold for
        each page.

        Bad arguments are refused at once. A single summary that the server cannot send makes it fail for the whole
        page (`ServerError`).

        Source: https://docs.omi.me (listDailySummaries) and observed behavior.
        """
        pages = daily_summary_pages(start_date, end_date, page_size)
        return AsyncListing(self._retrier, pages, arguments.limit(limit), timeout, retry)

    async def get(
        self,
        summary_id: str,
        *,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> DailySummary:
        """Fetch the summary of a day by its id.

        Raises `NotFoundError`.

        Source: https://docs.omi.me (getDailySummary) and observed behavior.
        """
        return await self._retrier.call(get_daily_summary(summary_id), timeout, retry)
