"""SQLite files of ours: how one is made, who may be inside SQLite, and what goes wrong with it.

The journal and the archive say in words of their own what each problem means for them.
"""

import errno
import functools
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import ParamSpec, TypeAlias, TypeVar

from ._wire.fork import in_sqlite

P = ParamSpec("P")
R = TypeVar("R")

Connection: TypeAlias = sqlite3.Connection


class Problem(Enum):
    """What can be wrong with a file."""

    BUSY = auto()
    DAMAGED = auto()
    DISK = auto()
    FORBIDDEN = auto()
    FOREIGN = auto()
    FULL = auto()
    IS_DIRECTORY = auto()
    NO_DIRECTORY = auto()
    NO_FILE = auto()
    NO_PARENT = auto()
    OTHER = auto()


_SQLITE = {
    sqlite3.SQLITE_BUSY: Problem.BUSY,
    sqlite3.SQLITE_CANTOPEN: Problem.FORBIDDEN,
    sqlite3.SQLITE_CORRUPT: Problem.DAMAGED,
    sqlite3.SQLITE_ERROR: Problem.DAMAGED,  # a table or a column is missing
    sqlite3.SQLITE_FULL: Problem.FULL,
    sqlite3.SQLITE_IOERR: Problem.DISK,
    sqlite3.SQLITE_IOERR_LOCK: Problem.FORBIDDEN,  # so it is for a file that can be read only
    sqlite3.SQLITE_NOTADB: Problem.FOREIGN,
    sqlite3.SQLITE_PERM: Problem.FORBIDDEN,
    sqlite3.SQLITE_READONLY: Problem.FORBIDDEN,
}
_OS = {
    errno.ENOENT: Problem.NO_DIRECTORY,
    errno.ENOTDIR: Problem.NO_PARENT,
    errno.EISDIR: Problem.IS_DIRECTORY,
    errno.ENODEV: Problem.NO_FILE,
    errno.EAGAIN: Problem.BUSY,
    errno.EACCES: Problem.FORBIDDEN,
    errno.EPERM: Problem.FORBIDDEN,
    errno.EROFS: Problem.FORBIDDEN,
    errno.ENOSPC: Problem.FULL,
}


def problem_of(error: Exception) -> Problem:
    """What an error of SQLite or of the system says about the file."""
    if isinstance(error, OSError):
        return _OS.get(error.errno or 0, Problem.OTHER)
    code = getattr(error, "sqlite_errorcode", 0)
    return _SQLITE.get(code) or _SQLITE.get(code & 0xFF, Problem.OTHER)  # the upper bits are details


def alone(function: Callable[P, R]) -> Callable[P, R]:
    """Run it while no other thread of this process is inside SQLite, and no fork happens.

    Besides, closing any descriptor of a file drops all of the process's locks on it (POSIX): the one that made a file
    must be closed before SQLite, for another user of the file, locks it.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with in_sqlite:
            return function(*args, **kwargs)

    return run


def make(file: str) -> None:
    """Make the file, if it is not there, for its owner's eyes only; SQLite's own files beside it follow its mode."""
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        status = os.stat(file)
    else:
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENODEV, "")
    if not status.st_size:  # it becomes ours now; one that exists keeps the mode that its owner gave it
        with suppress(PermissionError):
            os.chmod(file, 0o600)


def identity(file: str) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None if there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def storable(text: str) -> str:
    """Itself; lone surrogates, which SQLite cannot store, are spelled out."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
