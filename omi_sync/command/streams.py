"""Standard input, output and error."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO


def write(stream: TextIO, text: str, end: str = "\n") -> None:
    """Write text and its end in one piece, since two threads may write at the same time."""
    stream.write(text + end)
    stream.flush()


def write_from_signal(text: str) -> None:
    """Write a line to standard error from a signal handler, which may interrupt another write."""
    os.write(sys.stderr.fileno(), f"{text}\n".encode())


def read(source: str) -> bytes:
    """Read a file, or standard input where the source is `-`."""
    return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()


def ask(question: str, *, on_terminal: bool) -> str | None:
    """Ask a person and return the answer; None if there is no terminal.

    `on_terminal` asks on the controlling terminal itself, because standard input brought the ids.
    """
    if on_terminal:
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
        answer = sys.stdin.readline()
        return answer
    finally:
        if not answer:  # Ctrl-D and Ctrl-C leave the cursor behind the question
            write(sys.stderr, "")


def discard_output() -> None:
    """Send standard output to nowhere: its reader has left, and Python would write the rest once more at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
