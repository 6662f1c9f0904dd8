"""Time limits for any number of calls, with one timer of the loop for all of them.

`asyncio.timeout` sets and cancels a timer for each call, though hardly any call runs into its limit. That takes several
percent of what a request costs.
"""

import asyncio
from math import inf
from types import TracebackType


class Deadline:
    """A block that ends with TimeoutError when its time has come; a cancellation from elsewhere goes through it.

    Counted and told apart as `asyncio.timeout` does it, by `Task.uncancel`.
    """

    __slots__ = ("_cancelling", "_deadlines", "_task", "expired", "when")

    def __init__(self, deadlines: "Deadlines", when: float) -> None:
        self._deadlines = deadlines
        self.when = when
        """By the loop's clock; infinity for never."""
        self.expired = False

    def __enter__(self) -> "Deadline":
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - calls are made in tasks
        self._task, self._cancelling = task, task.cancelling()
        self._deadlines.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._deadlines.discard(self)
        if self.expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from None

    def end(self) -> None:
        """End the block now."""
        if not self.expired:
            self.expired = True
            self._task.cancel()


class Deadlines:
    """The deadlines that are in force."""

    def __init__(self) -> None:
        self._in_force: dict[Deadline, None] = {}  # in the order in which they began
        self._timer: asyncio.TimerHandle | None = None
        self._next = inf  # when the timer goes off

    def __len__(self) -> int:
        return len(self._in_force)

    def within(self, seconds: float | None) -> Deadline:
        """A deadline so many seconds from now, or none."""
        return Deadline(self, inf if seconds is None else asyncio.get_running_loop().time() + seconds)

    def add(self, deadline: Deadline) -> None:
        self._in_force[deadline] = None
        if deadline.when < self._next:
            self._set(deadline.when)

    def discard(self, deadline: Deadline) -> None:
        # The timer stays: most calls have the same limits, and the next one's deadline is later than this one's.
        self._in_force.pop(deadline, None)

    def end_all(self) -> None:
        for deadline in list(self._in_force):
            deadline.end()

    def close(self) -> None:
        """Let go of the timer; deadlines in force, and later ones, are of no effect any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._next = None, -inf

    def _set(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._next = asyncio.get_running_loop().call_at(when, self._wake), when

    def _wake(self) -> None:
        self._timer, self._next = None, inf
        now = asyncio.get_running_loop().time()
        for deadline in [each for each in self._in_force if each.when <= now]:
            deadline.end()
        following = min([each.when for each in self._in_force if not each.expired], default=inf)
        if following < inf:
            self._set(following)
