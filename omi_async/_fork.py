"""What the child of a fork must not touch."""

import ctypes


def keep_for_ever(inherited: object) -> None:
    """Never collect an object: its finalizer would disturb the parent, with whom it shares sockets or files.

    A reference held in a module is not enough, it ends with the interpreter and the finalizers run.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
