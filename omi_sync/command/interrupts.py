"""What Ctrl-C, SIGTERM and SIGHUP do to a job."""

import signal
import threading
import time
from _thread import interrupt_main
from types import FrameType
from typing import Any, Self, TypeAlias

from omi_async import BulkProgress, Conversation, Deletion

from ..bulk import Bulk
from .voices import Lines

# SIGHUP comes when a terminal is closed or a connection to it is lost. Windows does not have it.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

Job: TypeAlias = Bulk[Conversation] | Bulk[Deletion]


class Interrupts:
    """The handlers of these signals while a command works.

    The first signal lets what is under way be finished, a second one does not wait for it. Before the job, and while
    it waits for the server's window, nothing is under way: the first signal ends the command.
    """

    def __init__(self, voice: Lines) -> None:
        self.job: Job | None = None
        self.over = False
        """The job has ended, and only its report is left."""
        self.waited = 0.0
        """Seconds for which the job had waited for the window when it was stopped."""
        self._voice = voice
        self._signal: int | None = None
        self._handlers_before: dict[int, Any] = {}
        self._waiting_since: float | None = None

    @property
    def asked(self) -> bool:
        """Whether somebody wants the command to stop."""
        return self._signal is not None

    @property
    def code(self) -> int:
        """128 and the signal's number, as in a shell."""
        return 128 + (self._signal or signal.SIGINT)

    def watch(self, progress: BulkProgress) -> None:
        """Take note of a wait for the window. One that begins after a signal ends at once."""
        if progress.waiting_until is None:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = time.monotonic()
        if self.asked and progress.waiting_until is not None:
            interrupt_main()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                    self._handlers_before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        first = self._signal is None
        self._signal = self._signal or number
        if self.over:
            return
        waiting = self.job is not None and self.job.progress.waiting_until is not None
        if waiting and self._waiting_since is not None:
            self.waited = time.monotonic() - self._waiting_since
        if first and self.job is not None and not waiting:
            self._voice.stopping()
            return
        raise KeyboardInterrupt
