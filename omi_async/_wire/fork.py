"""What the child of a fork must not touch, and what a fork must wait for."""

import os
import threading

from .._late import load

in_sqlite = threading.RLock()
"""Held by a thread that is inside SQLite, whose own locks would never be free again in a child that was forked then."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=in_sqlite.acquire, after_in_parent=in_sqlite.release, after_in_child=in_sqlite.release)


def keep_forever(inherited: object) -> None:
    """Keep an object from ever being collected: the child's finalizer would close what the parent still uses.

    A reference in a module is not enough: it ends with the interpreter, and then the finalizers run.
    """
    ctypes = load("ctypes")  # which takes as long as a tenth of all our own modules
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
