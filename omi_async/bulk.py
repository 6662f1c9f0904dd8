"""Many writes as one job: bounded, paced by the server's window, resumable by a journal.

The caller iterates over an `AsyncBulk` and gets one `BulkOutcome` for each item as it completes. `_jobs` does the work.
"""

import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ._jobs.items import Intake, Items, known_length, refuse_unusable
from ._jobs.windows import Guard
from ._jobs.workers import Job
from ._protocol.arguments import misconfigured
from ._protocol.request import Refusal, Request
from .errors import BulkStoppedError, OmiError
from .models.bulk import BulkOutcome, BulkProgress
from .retry import Retrier

I = TypeVar("I")  # noqa: E741 - an item of the input
R = TypeVar("R")


class AsyncBulk(Generic[R]):
    """The outcomes of a bulk job, one for each item, in the order in which they complete.

    Iterate over it. Waiting for the next outcome may be given up, by a timeout or a cancellation, and begun again:
    nothing is lost. Several consumers of one job share its outcomes. Close the job, or drop it, and nothing new is
    sent; what was under way is finished first, and its outcomes are kept in `unclaimed`. A job that is kept without
    being asked goes on until `concurrency` outcomes wait.

    The iteration raises `BulkStoppedError` if the job ended before its input did: something happened that would fail
    every further item (a refused key, a closed client, an unusable journal or, with `wait=False`, a closed window), or
    the job was closed. An error of the input is raised after everything under way has been reported.
    """

    def __init__(self, job: Job[R]) -> None:
        self._job = job
        self._rows: deque[BulkOutcome[R]] = deque()

    @property
    def progress(self) -> BulkProgress:
        """How far the job is now."""
        return self._job.tally.progress()

    @property
    def unclaimed(self) -> tuple[BulkOutcome[R], ...]:
        """Outcomes that nobody took: of items that were under way when the iteration was left."""
        return (*self._rows, *self._job.ready)

    def __aiter__(self) -> AsyncIterator[BulkOutcome[R]]:
        return self

    async def __anext__(self) -> BulkOutcome[R]:
        return await self._job.next_outcome()

    async def _fill(self) -> None:
        """Have outcomes at hand in `_rows`; raises StopAsyncIteration at the end."""
        await self._job.outcome_ready()
        self._rows.extend(self._job.take_all())

    def _pulled(self) -> int:
        """How many items of the input have or will have an outcome in this run."""
        return self._job.pulled

    async def _rest(self, grace: float, *, input_lost: bool) -> None:
        """End what is under way within `grace` seconds; unless its input is lost, the job can go on."""
        await self._job.rest(grace, input_lost=input_lost)

    def _ended_by(self, reason: OmiError) -> BulkStoppedError:
        return self._job.ended_by(reason)

    async def aclose(self) -> None:
        """End the job: what is under way is finished, nothing new is sent. Closing twice does nothing."""
        await self._job.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._job.let_go()


def start(
    retrier: Retrier,
    items: Items[I],
    request: Callable[[I], Request[R] | Refusal],
    *,
    id_of: Callable[[Any], object] = lambda item: item,
    is_confirmed: Callable[[R], bool] = lambda _: True,
    kind: str,
    window: str,
    concurrency: int,
    journal: str | os.PathLike[str] | None,
    on_progress: Callable[[BulkProgress], None] | None,
    wait: bool,
    guard: Guard | None = None,
) -> AsyncBulk[R]:
    """A job that begins when somebody iterates over it; bad settings raise `ConfigurationError` at once.

    `request` builds the request of an item and `id_of` names it; `is_confirmed` tells whether the server confirmed a
    result. `kind` tells the journals of different jobs apart;
    `window` is the rate window that the requests are counted in, and `guard` what lets an item be sent.
    """
    if type(concurrency) is not int or concurrency < 1:
        raise misconfigured("concurrency must be a whole number of at least 1.")
    if on_progress is not None and (not callable(on_progress) or iscoroutinefunction(on_progress)):
        raise misconfigured("on_progress must be a plain function.")
    refuse_unusable(items, journal)
    intake = Intake(items, request, id_of, kind, journal, retrier.transport.server)
    job = Job(retrier, intake, window, concurrency, known_length(items), on_progress, wait, is_confirmed, guard)
    return AsyncBulk(job)
