"""`save_to`: what the archive does not have yet, at the pace of the server's windows.

A look goes through the list without transcripts, which is cheap, from the newest conversation to the oldest. It notes
what is new or has changed as wanted. That is fetched with its transcript, as soon as there is enough of it for a whole
page, as each read costs the same. Every page is committed with how far it reaches: a run that was interrupted goes on.
"""

import functools
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from inspect import iscoroutinefunction
from typing import TypeVar

import attrs

from .._database import Connection
from .._jobs.progress import watcher
from .._jobs.windows import Windows
from .._protocol import arguments
from .._protocol.arguments import misconfigured
from .._protocol.collection import Page
from .._protocol.request import Request
from ..errors import NotFoundError, OmiError, RateLimitError, RequestTimeoutError, ResponseError, ServerError
from ..models.archive import ArchiveGap, SaveProgress, SaveResult
from ..paging import ByTime
from ..retry import Retrier
from . import notes
from .documents import Document, Source
from .notes import BEGINNING, Look, Span
from .rows import now, stored_time, time_of, writing
from .store import Archive, checked

R = TypeVar("R")

_USUAL_SIZES = (25, 100)
"""So many rows some servers give of a longer page."""

_MOST_FAILURES = 3
"""So many conversations in a row may be answered with errors, alone as on a page; one more, and the server fails."""

_EXACTNESS = 1.1
"""The factor that the number of conversations is known to."""


@attrs.frozen(kw_only=True)
class _Wish:
    """What is to be saved."""

    start: datetime | None
    end: datetime | None
    transcripts: bool
    overlap: timedelta | None
    """How far back to look for changes; None: at everything."""


async def save(
    retrier: Retrier,
    archive: Archive,
    source: Source,
    *,
    start_date: datetime | None,
    end_date: datetime | None,
    include_transcripts: bool,
    overlap: timedelta,
    full: bool,
    on_progress: Callable[[SaveProgress], object] | None,
    wait: bool,
) -> SaveResult:
    """Save what is new and what has changed; raises for arguments that cannot work."""
    start = arguments.optional(arguments.utc, start_date, "start_date")
    end = arguments.optional(arguments.utc, end_date, "end_date")
    arguments.check_order(start, end)
    if not isinstance(overlap, timedelta) or overlap < timedelta(0):
        raise misconfigured("overlap must be a timedelta that is not negative.")
    if on_progress is not None and (not callable(on_progress) or iscoroutinefunction(on_progress)):
        raise misconfigured("on_progress must be a plain function.")
    wish = _Wish(
        start=start,
        end=end,
        transcripts=arguments.flag(include_transcripts, "include_transcripts"),
        overlap=None if arguments.flag(full, "full") else overlap,
    )
    return await _Pull(retrier, checked(archive), source, wish, on_progress, wait=wait).run()


class _Pull:
    """One run of `save_to`."""

    def __init__(
        self,
        retrier: Retrier,
        archive: Archive,
        source: Source,
        wish: _Wish,
        on_progress: Callable[[SaveProgress], object] | None,
        *,
        wait: bool,
    ) -> None:
        self._retrier = retrier
        self._archive = archive
        self._source = source
        self._wish = wish
        self._on_progress = None if on_progress is None else watcher(on_progress)
        self._wait = wait
        self._windows: dict[tuple[str, ...], Windows] = {}
        self._asked: Windows | None = None  # for the request that was made last
        self._counts: Counter[str] = Counter()
        self._requests = 0
        self._total: int | None = None
        self._sizes = {True: _Sizes(), False: _Sizes()}  # of pages with transcripts and without
        self._missing: list[str] = []
        self._failed: list[str] = []
        self._began_at = ""
        """When the look began: what is seen in it was seen later, even if the clock is set back meanwhile."""
        self._longest = self._sizes[True].largest
        """How long a page with transcripts may be for the server to bear it."""
        self._passed: set[str] = set()
        """What the server answers with an error: wanted still, but not in this run."""
        self._failures = 0  # in a row

    async def run(self) -> SaveResult:
        """Save what there is to be saved."""
        async with self._archive._filled():
            await self._look_at_all()
            await self._fetch(1)
            gaps = await self._do(self._end)
            self._failed += sorted(self._passed)
            self._total = self._looked_at
            self._tell()
        return SaveResult(
            new=self._counts["new"],
            changed=self._counts["changed"],
            unchanged=self._counts["unchanged"],
            missing=tuple(self._missing),
            failed=tuple(self._failed),
            gaps=tuple([ArchiveGap(oldest=time_of(each.oldest), newest=time_of(each.newest)) for each in gaps]),
            requests=self._requests,
        )

    def _begin(self, connection: Connection) -> Look | None:
        notes.bind(connection, self._retrier.transport.server)
        return notes.look(connection)

    def _known(self, connection: Connection) -> list[Span]:
        return notes.spans(connection, transcripts=self._wish.transcripts)

    def _end(self, connection: Connection) -> list[Span]:
        notes.set_note(connection, "saved_at", now())
        return notes.gaps(connection)

    async def _do(self, work: Callable[[Connection], R]) -> R:
        """Change the archive in one step, or not at all."""

        def change(connection: Connection) -> R:
            with writing(connection):
                return work(connection)

        return await self._archive._run(change)

    # Looks

    async def _look_at_all(self) -> None:
        """End a look that was interrupted, look at what is new or may have changed, and at what was never seen."""
        oldest = BEGINNING if self._wish.start is None else stored_time(self._wish.start)
        until = notes.END if self._wish.end is None else stored_time(self._wish.end)
        interrupted = await self._do(self._begin)
        if interrupted is not None and interrupted.transcripts == self._wish.transcripts:
            await self._look(interrupted, looks_behind=True)
        else:
            interrupted = None
        known = await self._do(self._known)
        bottom = oldest
        if known and self._wish.overlap is not None:
            bottom = max(oldest, stored_time(time_of(known[0].newest) - self._wish.overlap))
        if interrupted is not None and interrupted.oldest <= bottom:
            bottom = max(oldest, known[0].newest if known else oldest)
        if bottom < until:
            await self._look(Look(bottom, until, now(), self._wish.transcripts), looks_behind=not known)
        if known:
            for hole in notes.holes(known, oldest, min(known[0].newest, until)):
                await self._look(Look(hole.oldest, hole.newest, now(), self._wish.transcripts), looks_behind=True)

    async def _look(self, look: Look, *, looks_behind: bool) -> None:
        self._began_at = look.began_at
        reached = look.until if look.reached is None else look.reached
        end = None if reached == notes.END else _whole_second(reached)
        sweep = _Sweep(functools.partial(self._source.page, transcripts=False), self._sizes[False], look.oldest, end)
        sweep.looks_behind = looks_behind
        while (page := await self._next(sweep)) is not None:
            before = look
            look = look._replace(newest=look.newest or page.newest or None, reached=page.reached)

            def compare(
                connection: Connection, page: _Page = page, before: Look = before, look: Look = look
            ) -> list[str]:
                page.note(connection, before)
                notes.set_look(connection, look)
                seen_at = self._now()
                return [notes.look_at(connection, row, seen_at, transcripts=look.transcripts) for row in page.rows]

            self._count(await self._do(compare))
            if self._total is None and not sweep.is_over and self._on_progress is not None:
                self._total = await self._estimate(look.oldest, end, len(page.rows))
                self._tell()
            await self._fetch(self._sizes[True].largest)
        self._missing += await self._do(functools.partial(notes.end_look, look))

    async def _next(self, sweep: "_Sweep") -> "_Page | None":
        """The next page of a sweep; a shorter one where a long one is more than the way or the server can bear."""
        while not sweep.is_over:
            try:
                rows = (await self._ask(sweep.request())).rows
                if sweep.may_be_cut(rows):
                    sweep.learn_cut(rows, (await self._ask(sweep.request_behind(rows))).rows)
                return sweep.take(rows)
            except (RequestTimeoutError, ResponseError, ServerError) as error:
                if error.retry_after or not sweep.shorten():
                    raise
        return None

    # What is wanted

    async def _fetch(self, least: int) -> None:
        """Fetch what is wanted with its transcript, as long as there is so much of it."""
        alone: str | None = None
        sizes = self._sizes[True]
        while self._wish.transcripts and await self._do(notes.wanted) >= least:
            largest = min(self._longest, sizes.largest)
            wanted, number, size = await self._do(
                functools.partial(notes.next_wanted, largest=largest, without=self._passed)
            )
            if wanted is None:
                return
            if number > 1 and alone != wanted.id:
                try:
                    end = _whole_second(wanted.created_at)
                    page = await self._ask(self._source.page(transcripts=True, size=size, end=end, offset=0))
                except (RequestTimeoutError, ResponseError, ServerError) as error:
                    if error.retry_after:
                        raise
                    self._longest = max(1, size // 4)
                    continue
                alone = wanted.id  # if it is not on the page
                sizes.learn(size, len(page.rows))
                self._longest = min(2 * largest, sizes.largest)
                least = min(least, sizes.largest)
                await self._keep(page.rows)
            else:
                await self._fetch_one(wanted.id)
                self._longest = min(2 * largest, sizes.largest)

    async def _fetch_one(self, record_id: str) -> None:
        try:
            document = await self._ask(self._source.get(record_id))
        except NotFoundError as error:
            if error.from_intermediary:
                raise
            await self._do(functools.partial(notes.give_up, record_id=record_id))
            self._failed.append(record_id)
        except (RequestTimeoutError, ResponseError, ServerError) as error:
            # One that cannot be had must not keep all others away. If nothing can be had, it is the server.
            self._failures += 1
            if error.retry_after or self._failures > _MOST_FAILURES:
                raise
            self._passed.add(record_id)
        else:
            await self._keep((document,))

    async def _keep(self, documents: tuple[Document, ...]) -> None:
        self._failures = 0
        self._count(await self._do(functools.partial(notes.fetched, documents=documents, moment=self._now())))

    def _now(self) -> str:
        return max(now(), self._began_at)

    # Requests and progress

    async def _estimate(self, oldest: str, end: datetime | None, known: int) -> int | None:
        """How many conversations the list has, about: a few cheap looks at ever higher offsets, and then in between."""
        lower, upper = known, None
        while upper is None or upper > lower * _EXACTNESS:
            offset = 4 * lower if upper is None else int((lower * upper) ** 0.5)
            try:
                request = self._source.page(transcripts=False, size=_USUAL_SIZES[0], end=end, offset=offset)
                rows = (await self._ask(request)).rows
            except OmiError:  # progress is a nicety, which must not end the run
                return None
            if any(stored_time(each.created_at) >= oldest for each in rows):
                lower = offset
            else:
                upper = offset
        return int((lower * upper) ** 0.5)

    async def _ask(self, request: Request[R]) -> R:
        """Make a read when the windows allow it."""
        windows = self._windows.get(request.windows)
        if windows is None:
            windows = self._windows[request.windows] = Windows(self._retrier, request.windows, wait=self._wait)
        while True:
            self._asked = windows
            await windows.opened(self._tell)
            try:
                answer = await self._retrier.call(request, None, None)
            except RateLimitError as error:
                if not self._wait:
                    raise
                windows.refused(error)
            else:
                self._requests += 1
                return answer

    def _count(self, found: list[str]) -> None:
        self._counts.update(found)
        self._tell()

    def _tell(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self._progress())

    @property
    def _looked_at(self) -> int:
        return self._counts["new"] + self._counts["changed"] + self._counts["unchanged"]

    def _progress(self) -> SaveProgress:
        return SaveProgress(
            saved=self._counts["new"] + self._counts["changed"],
            unchanged=self._counts["unchanged"],
            total=None if self._total is None else max(self._total, self._looked_at),
            waiting_until=None if self._asked is None else self._asked.waiting_until,
            estimated_end=self._estimated_end(),
        )

    def _estimated_end(self) -> datetime | None:
        if self._total is None or self._asked is None:
            return None
        rate = self._asked.rate()
        pages = -(-max(0, self._total - self._looked_at) // self._sizes[self._wish.transcripts].largest)
        return None if rate is None else self._asked.estimated_end(pages, rate)


class _Sizes:
    """How long pages are: as long as the server gives them."""

    def __init__(self) -> None:
        self.largest = 200
        self._most = 0

    def learn(self, asked: int, came: int) -> None:
        """Learn from a page. Some servers give less than was asked for and do not say so."""
        self._most = max(self._most, came)
        if came in _USUAL_SIZES and came == self._most < asked:
            self.largest = came


class _Sweep:
    """The pages of a stretch of the list, the newest first."""

    def __init__(
        self, page: Callable[..., Request[Page[Document]]], sizes: _Sizes, oldest: str, end: datetime | None
    ) -> None:
        self.is_over = False
        self.looks_behind = False
        """Whether it sees what is behind a short page at its end: only then is something missing from that."""
        self._sizes = sizes
        self._oldest = oldest
        self._pages: ByTime[Document] = ByTime(
            lambda end, offset: page(size=self._pages.size, end=end, offset=offset),
            size=sizes.largest,
            start=time_of(oldest) if oldest else None,
            end=end,
            moment=lambda document: document.created_at,
        )

    def request(self) -> Request[Page[Document]]:
        """The request of the next page."""
        return self._pages.request()

    def shorten(self) -> bool:
        """Ask for a shorter page; False if it cannot be shorter."""
        could = self._pages.size > 1
        self._pages.size = max(1, self._pages.size // 4)
        return could

    def may_be_cut(self, rows: tuple[Document, ...]) -> bool:
        """Whether it may be the server's limit that a page of these rows is short."""
        return len(rows) in _USUAL_SIZES and len(rows) < self._pages.size

    def request_behind(self, rows: tuple[Document, ...]) -> Request[Page[Document]]:
        """The request of the one row behind the first ones of a page, which are as many as came."""
        size, self._pages.size = self._pages.size, 1
        request = self._pages.request(behind=len(rows))
        self._pages.size = size
        return request

    def learn_cut(self, rows: tuple[Document, ...], behind: tuple[Document, ...]) -> None:
        """Learn how long pages are if what is behind as many rows as came was not on the page."""
        if not {each.id for each in behind} <= {each.id for each in rows}:
            self._sizes.largest = self._pages.size = len(rows)

    def take(self, rows: tuple[Document, ...]) -> "_Page":
        """The page of these rows, after deciding what to ask for next."""
        pages, sizes = self._pages, self._sizes
        is_short = len(rows) < pages.size
        new = pages.take(Page(rows, truncated=False))
        reached = None if pages.seen_from is None else stored_time(pages.seen_from)
        is_behind = reached is not None and reached <= self._oldest
        self.is_over = pages.ended or (is_behind and not (is_short and self.looks_behind))
        pages.size = min(pages.size * 2, sizes.largest)  # a shorter one was for the rows of that page
        return _Page(rows, new, reached, is_short=is_short)


@attrs.frozen(eq=False)
class _Page:
    rows_seen: tuple[Document, ...]
    rows: list[Document]
    """Those that are new to the sweep and within its bounds."""
    reached: str | None
    """Everything of the sweep from this moment on was seen; None if that is not known."""
    is_short: bool = attrs.field(kw_only=True)

    @property
    def newest(self) -> str:
        """The moment of the newest row; empty if there is none."""
        return max((stored_time(each.created_at) for each in self.rows), default="")

    def note(self, connection: Connection, look: Look) -> None:
        """Note what the page says of gaps, in a look that is where it was before the page."""
        times = [stored_time(each.created_at) for each in self.rows_seen]
        if times:
            span = Span(min(times), max(times))
            notes.page_seen(connection, span, look.reached or look.until)
        elif look.reached is None:  # all that would be on the first page is withheld, or there is nothing
            span = Span(*[min(look.until, look.began_at)] * 2)
        else:
            return
        if self.is_short:
            notes.short_page(connection, span)


def _whole_second(text: str) -> datetime:
    """A moment, rounded up: some servers cut the end of a list to whole seconds."""
    moment = time_of(text)
    return moment if not moment.microsecond else moment.replace(microsecond=0) + timedelta(seconds=1)
