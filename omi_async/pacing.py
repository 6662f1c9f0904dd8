"""What the server's 429s teach about its windows, shared by everything that uses one client.

The server counts in fixed windows: the first request opens one, `limit` requests fit in, and the next is refused
with the seconds that are left. It says none of this before the first refusal (observed behaviour), so the first
refusal is the lesson; from then on a window's allowance is spent and its end waited for.
"""

from collections import deque
from collections.abc import Callable

from .errors import RateLimitError

# The server gives whole seconds, rounded one way or the other.
_ROUNDING = 1.0  # seconds

_REMEMBERED = 4096  # times of requests; a window with a larger allowance is measured from the oldest of them


class Gate:
    """Open or closed, for the requests of one rate policy. Times are the clock's, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.limit: int | None = None
        """Requests a window; None before the first lesson."""
        self.window: float | None = None
        """Seconds from a window's first request to its end; None before the first lesson."""
        self._refused_until = 0.0  # by the server's word
        self._spent_until = 0.0  # by our own count
        self._opened = 0.0  # when the window of the present count began
        self._used = 0
        self._sent: deque[float] = deque(maxlen=_REMEMBERED)
        self._lesson_from = 0.0  # when the window of the last lesson cannot have begun yet
        self._refusals = 0  # in the last lesson

    def refused_for(self) -> float:
        """Seconds for which the server is known to refuse; 0 if it may accept."""
        return max(0.0, self._refused_until - self._clock()) if self._refused_until else 0.0

    def closed_for(self) -> float:
        """Seconds until a request is worth sending: refusals, spent allowance and rounding considered."""
        until = max(self._refused_until + _ROUNDING if self._refused_until else 0.0, self._spent_until)
        return max(0.0, until - self._clock())

    def sent(self) -> None:
        """Count a request that is about to be sent."""
        now = self._clock()
        self._sent.append(now)
        if self.limit is None or self.window is None:
            return
        if now >= self._opened + self.window:
            self._opened, self._used = now, 0
        self._used += 1
        if self._used >= self.limit:
            self._spent_until = self._opened + self.window

    def unsent(self) -> None:
        """Take back the last count: the request never left."""
        if self._sent:
            self._sent.pop()
        if self._used:
            self._used -= 1
            if self.limit is not None and self._used < self.limit:
                self._spent_until = 0.0

    def refused(self, error: RateLimitError) -> None:
        """Learn from a 429."""
        if error.retry_after is None:
            return
        now = self._clock()
        if error.limit:
            if now >= self._refused_until:
                self._lesson_from, self._refusals, self.window = self._refused_until, 0, 0.0
            # Requests that were under way together are refused together: each shows more of the same lesson.
            self._refusals += 1
            self.limit = error.limit
            self.window = max(self.window or 0.0, self._measured(now, error), error.retry_after)
        self.refuse(error.retry_after)

    def refuse(self, seconds: float) -> None:
        """Close for `seconds`, by the server's word; the next request after that opens a window."""
        self._refused_until = max(self._refused_until, self._clock() + seconds)
        self._opened, self._used, self._spent_until = float("-inf"), 0, 0.0

    def _measured(self, now: float, error: RateLimitError) -> float:
        """The window's length: it ends when the server says, and began with the first request of its allowance."""
        own = [time for time in self._sent if time >= self._lesson_from]
        accepted = len(own) - self._refusals
        # Others have spent some of it, or it is too long ago: better too short, which the next refusal corrects.
        if not error.limit or accepted < error.limit:
            return 0.0
        return now - own[-error.limit - self._refusals] + (error.retry_after or 0.0) + _ROUNDING
