"""The server's rate windows, and what its 429s teach about them, shared by everything that uses one client.

The server counts in fixed windows: the first request opens one, `limit` requests fit in, and the next one is refused
with the seconds that are left. It says none of this before the first refusal (observed behavior), so the first
refusal teaches it. From then on the client counts what it sends, and waits for the end of a window that is spent.
"""

import re
import time
from collections.abc import Callable
from typing import NamedTuple

from ._protocol.request import window
from .errors import RateLimitError

_CONVERSATIONS = "/v1/dev/user/conversations"
_SEGMENTS = f"{_CONVERSATIONS}/from-segments"
_MEMORIES_BATCH = "/v1/dev/user/memories/batch"
_ASK = "/v1/dev/user/ask"
# Folders and summaries are counted with the conversations.
_READ_WITH_CONVERSATIONS = ("/v1/dev/user/folders", "/v1/dev/user/daily-summaries")
_WITH_TRANSCRIPT = re.compile("include_transcript=(true|1|on|yes|t|y)", re.IGNORECASE)

# The server gives whole seconds, rounded one way or the other.
_ROUNDING = 1.0  # seconds

_REMEMBERED = 4096  # times of requests; a window with a larger allowance is measured from the oldest of them

_LONGEST = 86400.0  # seconds; the longest window seen is an hour, and a wrong word must not close a client for longer


def windows(method: str, target: str) -> tuple[str, ...]:
    """The rate windows that count a request, whose path may have a query.

    A 429 is taken for the first one's; the others only count.
    """
    path, _, query = target.partition("?")
    usual = window(method, path)
    if method == "POST" and path == _MEMORIES_BATCH:
        return (f"{usual} in batches",)
    if method == "POST" and path == _SEGMENTS:
        return f"{usual} from segments", usual
    if method == "POST" and path == _ASK:
        return (window("GET", path),)
    if method == "GET" and path.startswith(_READ_WITH_CONVERSATIONS):
        return (window(method, _CONVERSATIONS),)
    if method == "GET" and path.startswith(_CONVERSATIONS) and any(map(_WITH_TRANSCRIPT.fullmatch, query.split("&"))):
        # A transcript read counts as a read too, and is refused by itself.
        return f"{usual} with transcripts", usual
    return (usual,)


class _Moment(NamedTuple):
    """A moment by two clocks. The client's own may stand still while the machine sleeps; the time of day goes on."""

    clock: float
    day: float


_PAST = _Moment(0.0, 0.0)


class Gate:
    """Open or closed, for the requests of one rate window. Times are the clock's, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.limit: int | None = None
        """Requests a window; None before the first lesson."""
        self.window: float | None = None
        """Seconds from a window's first request to its end; None before the first lesson."""
        self._refused_until = _PAST  # by the server's word
        self._spent_until = _PAST  # by our own count
        self._opened = 0.0  # when the window of the present count began
        self._used = 0
        self._sent: list[float] = []
        self._earliest_opening = 0.0  # the window of the last lesson cannot have begun before
        self._refusals = 0  # in the last lesson

    def refused_for(self) -> float:
        """Seconds for which the server is known to refuse; 0 if it may accept."""
        return self._left(self._refused_until) if self._refused_until.clock else 0.0

    def closed_for(self) -> float:
        """Seconds until a request is worth sending: refusals, spent allowance and rounding considered."""
        refused = self._left(self._refused_until, _ROUNDING) if self._refused_until.clock else 0.0
        return max(refused, self._left(self._spent_until))

    def _left(self, until: _Moment, more: float = 0.0) -> float:
        return max(0.0, min(until.clock - self._clock(), until.day - time.time()) + more)

    def _after(self, seconds: float) -> _Moment:
        return _Moment(self._clock() + seconds, time.time() + seconds)

    def sent(self) -> float:
        """Count a request that is about to be sent; the moment by which `unsent` takes it back."""
        now = self._clock()
        self._sent.append(now)
        if len(self._sent) > _REMEMBERED:
            del self._sent[0]
        if self.limit is not None and self.window is not None:
            if now >= self._opened + self.window:
                self._opened, self._used = now, 0
            self._used += 1
            if self._used >= self.limit:
                self._spent_until = self._after(self._opened + self.window - now)
        return now

    def unsent(self, moment: float) -> None:
        """Take back one count: that request never left."""
        if moment in self._sent:
            self._sent.remove(moment)
        if self._used and moment >= self._opened:
            self._used -= 1
            if self.limit is not None and self._used < self.limit:
                self._spent_until = _PAST

    def refused(self, error: RateLimitError) -> None:
        """Learn from a 429."""
        if error.retry_after is None:
            return
        now = self._clock()
        if error.limit:
            # One that comes a little early, by rounding, is refused for no time at all: it shows nothing new.
            if now >= self._refused_until.clock + _ROUNDING:
                self._earliest_opening, self._refusals, self.window = self._refused_until.clock, 0, 0.0
            # Requests that were under way together are refused together: each shows more of the same lesson.
            self._refusals += 1
            self.limit = error.limit
            window = max(self.window or 0.0, self._measured(now, error), error.retry_after)
            self.window = min(window, _LONGEST)
        self.refuse(error.retry_after)

    def refuse(self, seconds: float) -> None:
        """Close for `seconds`, a day at most; the next request after that opens a window."""
        known, told = self._refused_until, self._after(min(seconds, _LONGEST))
        # By each clock: where the time of day was set forth, what it was told before lies in the past.
        self._refused_until = _Moment(max(known.clock, told.clock), max(known.day, told.day))
        self._opened, self._used, self._spent_until = float("-inf"), 0, _PAST

    def _measured(self, now: float, error: RateLimitError) -> float:
        """The window's length: it ends when the server says, and began with the first request of its allowance."""
        own = [time for time in self._sent if time >= self._earliest_opening]
        accepted = len(own) - self._refusals
        # Others have spent some of it, or it is too long ago: better too short, which the next refusal corrects.
        if not error.limit or accepted < error.limit:
            return 0.0
        return now - own[-error.limit - self._refusals] + (error.retry_after or 0.0) + _ROUNDING
