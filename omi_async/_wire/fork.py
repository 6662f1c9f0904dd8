"""What the child of a fork must not touch."""

import ctypes


def keep_forever(inherited: object) -> None:
    """Keep an object from ever being collected: the child's finalizer would close what the parent still uses.

    A reference in a module is not enough: it ends with the interpreter, and then the finalizers run.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
