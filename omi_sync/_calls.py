"""Callbacks on their way to the caller's thread, which makes them while it waits for the private loop."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class Calls:
    """Functions that the loop's thread hands over, for the caller's thread to call."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._news = threading.Lock()  # released when there is something to do, and taken to do it
        self._news.acquire()

    # On the loop's thread

    def put(self, call: Callable[[], None]) -> None:
        """Have a function called on the caller's thread."""
        self._calls.append(call)
        self.wake()

    def wake(self) -> None:
        """Let the caller's thread look whether there is something to do, or its coroutine has ended."""
        with suppress(RuntimeError):  # it will look anyway
            self._news.release()

    # On the caller's thread

    def wait(self, timeout: float) -> bool:
        """Wait until `wake` is called, but not for long; whether there is something to do."""
        if not self._calls:
            self._news.acquire(timeout=timeout)
        return bool(self._calls)

    def serve(self) -> None:
        """Do what there is to do."""
        self.make_calls()

    def make_calls(self) -> None:
        """Make the callbacks that are due."""
        while self._calls:
            try:
                call = self._calls.popleft()
            except IndexError:  # another thread has made it
                return
            call()
