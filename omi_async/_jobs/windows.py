"""The rate windows of a job: when its next request is worth sending, and when all of them will have been."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from .._wire.pool import closed
from ..errors import RateLimitError
from ..pacing import Gate
from ..retry import Retrier

# A sleeping machine stops the timers of an event loop, so a wait for the window looks at the clocks this often.
_SLICE = 60.0  # seconds

_UNTOLD_PAUSE = 60.0  # seconds to wait after a 429 that names no time: the shortest window that makes sense

_ROUNDING = timedelta(seconds=2)  # a window that opens no later than this after the announced time is the same one


class Guard(Protocol):
    """What has to be done before the request of an item may be sent."""

    windows: tuple[str, ...]
    """The rate windows that count what it sends."""

    async def prepare(self, record_id: str) -> None:
        """Do it; an item for which it fails is not sent and fails with its error."""
        ...

    def done(self, record_id: str) -> None:
        """Take note that the item's request was carried out."""
        ...


class Windows:
    """The windows that count a job's requests. All of them must be open for one."""

    def __init__(self, retrier: Retrier, names: tuple[str, ...], *, wait: bool) -> None:
        self.waiting_until: datetime | None = None
        """When a request is worth sending again, while the job waits for that."""
        self._retrier = retrier
        self._gates = retrier.gates(names)
        self._wait = wait

    @property
    def slowest(self) -> Gate:
        """The gate that lets the fewest requests through, as far as that is known."""
        known = [gate for gate in self._gates if gate.limit and gate.window]
        return min(known, key=lambda gate: (gate.limit or 0) / (gate.window or 1.0), default=self._gates[0])

    def closed_for(self) -> float:
        """Seconds until a request is worth sending."""
        return max(gate.closed_for() for gate in self._gates)

    async def opened(self, tell: Callable[[], object], is_going_on: Callable[[], bool] = lambda: True) -> bool:
        """Wait until a request is worth sending; False if the job no longer goes on.

        `tell` is called when a wait begins, and when it ends. Raises `RateLimitError` if the job is not to wait.
        """
        while is_going_on() and (seconds := self.closed_for()):
            if not self._wait:
                self.check()
            until = datetime.now(UTC) + timedelta(seconds=seconds)
            if self.waiting_until is None or until > self.waiting_until + _ROUNDING:
                self.waiting_until = until
                tell()
            if self._retrier.transport.closed:
                raise closed()
            await self._retrier.transport.pause(self._retrier.policy.sleep, min(seconds, _SLICE))
        if self.waiting_until is not None:
            self.waiting_until = None
            tell()
        return is_going_on()

    def check(self) -> None:
        """Raise `RateLimitError` unless a request is worth sending now."""
        gate = max(self._gates, key=Gate.closed_for)
        seconds = gate.closed_for()
        if seconds:
            closed = RateLimitError(
                "the server's window is closed.", outcome="not_applied", status=429, retry_after=seconds
            )
            closed.limit = gate.limit
            raise closed

    def refused(self, failure: RateLimitError) -> None:
        """Wait for a while after a 429 that does not say how long."""
        if failure.retry_after is None:
            self._gates[0].refuse(_UNTOLD_PAUSE)

    def rate(self) -> float | None:
        """Requests an hour, once a window is known."""
        gate = self.slowest
        return gate.limit / gate.window * 3600.0 if gate.limit and gate.window else None

    def estimated_end(self, left: int, rate: float) -> datetime | None:
        """When so many further requests will have been sent, at so many an hour where no window is waited for."""
        gate = self.slowest
        try:
            if self.waiting_until is not None and gate.limit and gate.window:
                windows = -(-left // gate.limit)  # the one that is waited for included
                return self.waiting_until + timedelta(seconds=max(0, windows - 1) * gate.window)
            end = datetime.now(UTC) + timedelta(hours=left / rate)
        except OverflowError:  # past the end of the calendar
            return None
        return max(end, self.waiting_until or end)
