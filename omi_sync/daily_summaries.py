# Made from omi_async/resources/daily_summaries.py by: python omi_sync/_generate.py
# Change the original and run it again; changes made here are lost.

"""The daily summaries resource for synchronous code."""

from datetime import date

from omi_async.client import AsyncOmiClient
from omi_async.models.daily_summaries import DailySummary
from omi_async.retry import RetryPolicy, Timeout

from ._bridge import Bridge
from .paging import Listing


class DailySummaries:
    """What Omi made of the days of the key's user, reached as `client.daily_summaries`.

    Servers of May 2026 do not have them. Each request is one of the reads that the server allows for conversations.

    Every method takes `timeout` and `retry`, which replace the client's for that call. Beside its own errors it raises:
    `InvalidRequestError` or TypeError before anything is sent; `PermissionDeniedError` for a key without
    `conversations:read`; `AuthenticationError`; `RateLimitError`; `RouteNotFoundError` from a server that does not have
    the operation; `TransportError`, `ServerError` and `ResponseError`.
    """

    def __init__(self, bridge: Bridge[AsyncOmiClient]) -> None:
        self._bridge = bridge

    def list(
        self,
        *,
        start_date: date | None = None,
        end_date: date | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        timeout: Timeout | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Listing[DailySummary]:
        """List the summaries of days, the latest day first.

        `start_date` and `end_date` are days of the user, both included. `limit` is how many summaries the list gives at
        most; `page_size` is how many are fetched at a time, from 1 to 100, which is the default. Pages are fetched as
        they are consumed, and the end of the list costs two. Each summary comes once. `timeout` and `retry` hold for
        each page.

        Bad arguments are refused at once. A single summary that the server cannot send makes it fail for the whole
        page (`ServerError`).

        Source: https://docs.omi.me (listDailySummaries) and observed behavior.
        """
        target = self._bridge.target.daily_summaries.list(
            start_date=start_date, end_date=end_date, limit=limit, page_size=page_size, timeout=timeout, retry=retry
        )
        return Listing(self._bridge, target)

    def get(
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
        coroutine = self._bridge.target.daily_summaries.get(summary_id, timeout=timeout, retry=retry)
        return self._bridge.run(coroutine)
