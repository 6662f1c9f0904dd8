"""Standard input, output and error, in whatever state the command finds them.

A service may start without them, a disk may be full, a reader may leave, a terminal may be closed, and the encoding
may lack a character. Within `standard_streams` none of this ends the command in the middle of its work: standard
output raises `OutputLost`, standard error drops what it cannot write, and a missing stream is an empty one.
"""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any, TextIO, cast

LARGEST_INPUT = 64 * 2**20  # bytes


class OutputLost(Exception):
    """Standard output takes no more."""

    def __init__(self, error: OSError) -> None:
        # Windows reports a pipe without a reader as EINVAL.
        self.reader_left = isinstance(error, BrokenPipeError) or error.errno == errno.EINVAL
        self.name = "BrokenPipeError" if self.reader_left else "OSError"
        super().__init__(
            "nobody reads standard output any more"
            if self.reader_left
            else f"standard output takes no more ({error.strerror or error})"
        )


class _Guarded:
    """A stream for writing. What it fails to write is dropped, or, where that matters, raises `OutputLost`."""

    def __init__(self, stream: Any, *, matters: bool) -> None:
        self._stream = stream
        self._matters = matters
        self._failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def buffer(self) -> "_Guarded":
        """The stream of bytes below, which click uses for completion and where the encoding is ASCII."""
        below = _Guarded(self._stream.buffer, matters=self._matters)
        below._failure = self._failure
        return below

    def write(self, data: str | bytes) -> int:
        self._try(lambda: self._stream.write(data))
        return len(data)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        if self._failure is None:
            try:
                action()
            except OSError as error:
                self._failure = error
                self._send_rest_to_nowhere()
        if self._failure is not None and self._matters:
            raise OutputLost(self._failure)

    def _send_rest_to_nowhere(self) -> None:
        """Python tries to write the rest at its end. There it must not fail once more."""
        with suppress(OSError):
            number = self._stream.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Guard the standard streams for as long as the command runs."""
    before = sys.stdin, sys.stdout, sys.stderr
    with ExitStack() as stack:
        try:
            # In this order: a missing stream gets the lowest free descriptor, which is its own.
            sys.stdin = _present(stack, sys.stdin, "r")
            sys.stdout = cast(TextIO, _Guarded(_writable(stack, sys.stdout), matters=True))
            sys.stderr = cast(TextIO, _Guarded(_writable(stack, sys.stderr), matters=False))
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = before


def _present(stack: ExitStack, stream: TextIO | None, mode: str) -> TextIO:
    if stream is not None and not stream.closed:
        return stream
    return cast(TextIO, stack.enter_context(open(os.devnull, mode, encoding="utf-8")))


def _writable(stack: ExitStack, stream: TextIO | None) -> TextIO:
    present = _present(stack, stream, "w")
    if isinstance(present, io.TextIOWrapper):
        stack.callback(present.reconfigure, errors=present.errors)
        present.reconfigure(errors="backslashreplace")  # what the encoding lacks
    return present


def write(stream: TextIO, text: str, end: str = "\n") -> None:
    """Write text and its end in one piece, since two threads may write at the same time."""
    stream.write(text + end)
    stream.flush()


def write_from_signal(text: str) -> None:
    """Write a line to standard error from a signal handler, which may interrupt another write."""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{text}\n".encode())


def read_input(source: str) -> bytes:
    """Read a file, or standard input where the source is `-`; one that is too large is read to the limit and a byte."""
    with nullcontext(sys.stdin.buffer) if source == "-" else open(source, "rb") as file:
        with suppress(OSError, AttributeError):  # Python 3.11 on Windows lacks it
            os.set_blocking(file.fileno(), True)  # a non-blocking pipe could seem to end in the middle of an id
        return file.read(LARGEST_INPUT + 1)


def ask(question: str, *, on_terminal: bool) -> str | None:
    """Ask a person and return the answer; None if there is no terminal.

    `on_terminal` asks on the controlling terminal itself, because standard input brought the ids. So does a standard
    error that is no terminal, where the question would not be seen.
    """
    if on_terminal or (sys.stdin.isatty() and not sys.stderr.isatty()):
        try:
            with open("/dev/tty", "r+b", buffering=0) as terminal:
                terminal.write(question.encode())
                return terminal.readline().decode(errors="replace")
        except OSError:
            return None
    if not sys.stdin.isatty():
        return None
    write(sys.stderr, question, end="")
    answer = ""
    try:
        answer = sys.stdin.buffer.readline().decode(errors="replace")
        return answer
    except OSError:  # the terminal is gone
        return None
    finally:
        if not answer:  # Ctrl-D and Ctrl-C leave the cursor behind the question
            write(sys.stderr, "")
