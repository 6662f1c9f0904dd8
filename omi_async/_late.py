"""Modules that are loaded when they are first used.

A fork in the middle of an import would leave the child with half a module forever. So late imports hold a lock, and a
fork waits for it. No module of ours loads another one late while it is itself being imported: such an import holds a
lock of its own, and two threads could wait for each other.
"""

import concurrent.futures.thread  # noqa: F401 - registers a lock for forks, before ours is
import logging  # noqa: F401 - as concurrent.futures
import os
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, Generic, TypeVar, overload

from .errors import ClientClosedError

T = TypeVar("T")

_importing = threading.RLock()

if hasattr(os, "register_at_fork"):
    # A fork takes locks in the reverse order of their registration: this one first, and logging's later, as a module
    # does that makes a logger while it is imported. And no module may register a lock while a fork waits here: the fork
    # would release it without having taken it. So both modules that do are imported above.
    os.register_at_fork(
        before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release
    )


def load(module: str) -> ModuleType:
    """Import a module by its full name. Raises `ClientClosedError` if the program is ending."""
    try:
        with _importing:
            return import_module(module)
    except ImportError:
        if not sys.is_finalizing():
            raise
    # Reading an answer loads modules too, so the server may have done what it was asked.
    raise ClientClosedError("the program is ending.", outcome="unknown")


class Room(Generic[T]):
    """A resource of a client, whose file is loaded when the attribute is first used.

    On an instance it is the resource, made of the client's attribute `of`. On the class it is the resource's class, so
    that mocks with a `spec` know its methods.
    """

    def __init__(self, home: str, *, of: str) -> None:
        """`home` names the module and the class in it, as `omi_async.resources.folders:AsyncFolders`."""
        self._module, self._class = home.split(":")
        self._of = of

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, client: None, owner: type) -> type[T]: ...

    @overload
    def __get__(self, client: object, owner: type) -> T: ...

    def __get__(self, client: Any, owner: type) -> T | type[T]:
        made: Callable[..., T] = getattr(load(self._module), self._class)
        if client is None:
            return made  # type: ignore[return-value]  # it is the class itself
        # The instance's own attribute from now on. Threads that come at once get the first one's.
        resource: T = client.__dict__.setdefault(self._name, made(getattr(client, self._of)))
        return resource
