"""The command for people: `omi-conversations` lists and shows conversations, renames, hides, restores and deletes them,
and saves them in an archive, out of which it searches, exports and recreates them.

    tree        what may be typed; click reads it
    items       the conversations, out of arguments, a file or standard input, checked before anything is sent
    run         the job, from the first request to the last word about it
    reading     list and get
    saving      save
    archives    search, export and status
    recreating  recreate
    interrupts  what Ctrl-C, SIGTERM and SIGHUP do to a job
    client      the server that was asked for, and a client for it
    words       names, exit codes, and errors in plain English
    voices      the same report in plain lines, on a terminal, and for programs
    streams     standard input, output and error

click and rich belong to the extra `cli`. `main` loads the rooms only after it has found both.
"""

import sys
from collections.abc import Sequence

from .streams import standard_streams, write


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `omi-conversations` with these arguments, or the program's own, and return the exit code."""
    with standard_streams():
        try:
            import click  # noqa: F401
            import rich  # noqa: F401 - only a terminal needs it, but a missing one is reported at once
        except ModuleNotFoundError:
            write(sys.stderr, "omi-conversations needs two more libraries: install omi-async[cli]")
            return 1
        from .tree import run

        return run(list(sys.argv[1:] if arguments is None else arguments))
