"""The private event loop of the synchronous side, on a thread of its own.

A call hands its coroutine to the loop and waits for it. Most of this file is about Ctrl-C, fork, the end of the program
and forgotten clients.
"""

import asyncio
import itertools
import os
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from omi_async._wire.fork import keep_forever
from omi_async.client import AsyncOmiClient
from omi_async.errors import ClientClosedError, EventLoopError, OmiError, TransportError
from omi_async.events import Watcher, tell

from ._calls import Calls


class _Closable(Protocol):
    async def aclose(self) -> None: ...


R = TypeVar("R")
T = TypeVar("T", bound=_Closable)

# A waiting thread looks this often, in seconds, whether the loop's thread still lives. On Windows it is also how
# soon Ctrl-C is noticed.
_POLL = 0.5

INTERRUPT_GRACE = 1.0  # seconds that an interrupted call gets to let go of its connection

_CLOSE_LIMIT = 10.0  # seconds to wait for the loop's thread; longer than the client's own grace

_numbers = itertools.count(1)

_callers: "ContextVar[Calls]" = ContextVar("omi_callers")
"""Where the caller of a coroutine takes its callbacks from; the tasks that the coroutine starts inherit it."""


def to_caller(watcher: Watcher | None) -> Watcher | None:
    """A watcher that is called on the caller's thread; what cannot be one goes through, to be refused."""
    if watcher is None or not callable(watcher) or iscoroutinefunction(watcher):
        return watcher
    return lambda event: _callers.get().put(partial(tell, watcher, event))


def original(made: Any) -> Any:
    """What an object of this side stands for; what is none goes through, to be refused."""
    bridge = getattr(made, "_bridge", None)
    return bridge.target if isinstance(bridge, Bridge) else made


class Bridge(Generic[T]):
    """Runs the coroutines of `target` on a private event loop, which starts with the first one.

    Interrupts and the handlers of signals may strike between any two steps: each leaves things so that the next
    call, or the next close, can go on from there.
    """

    _thread: "_LoopThread"  # there from the first call on

    def __init__(self, target: T, *, calls_back: bool = False) -> None:
        self.target = target
        self._calls_back = calls_back
        self._closed = False
        self._lives_in_parent = False  # the target is the one of the process that this one was forked from
        self._owner: Bridge[T] | None = None
        """Another bridge, whose loop and thread this one uses."""
        frame = sys._getframe(2)  # the caller of the generated __init__
        self._made_at = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        _bridges.add(self)

    def sharing(self, target: T) -> "Bridge[T]":
        """A bridge to another target on the same loop."""
        bridge: Bridge[T] = object.__new__(Bridge)
        bridge.target, bridge._calls_back, bridge._closed = target, self._calls_back, False
        bridge._owner = self._owner or self
        return bridge

    def run(self, coroutine: Coroutine[Any, Any, R], calls: Calls | None = None) -> R:
        """Run a coroutine to its end and return or raise what it does; meanwhile `calls` are served from here."""
        own = Calls() if self._calls_back and calls is None else None
        handoff = _Handoff(coroutine, calls if own is None else own)
        thread: _LoopThread | None = None
        try:
            thread = self._serving()
            thread.submit(handoff.start, thread, context=copy_context())
            handoff.wait(thread)
        except BaseException:
            # Ctrl-C, most often: the request must not go on behind the caller's back.
            handoff.abandon(thread)
            if own is not None:
                own.make_calls()
            raise
        if own is not None:
            own.make_calls()
        error, handoff.error = handoff.error, None
        if error is None:
            return handoff.result
        try:
            raise error
        finally:
            del error  # or it would hang on to itself

    def close(self) -> None:
        """Close the target on its loop and end the thread; again, or in the child of a fork, it does nothing."""
        if self._owner is not None:  # its calls go on; further ones are refused on the loop, as are those of jobs
            _run_at_once(self.target.aclose())
            return
        thread = self.__dict__.get("_thread")
        if thread is not None:
            _refuse_own(thread)
        self._closed = True
        if self._lives_in_parent:
            return
        if thread is None or thread.stays_unstarted():
            _run_at_once(self.target.aclose())
        elif not thread.finished and not sys.is_finalizing():
            if thread.died():  # the target is closed on a loop that takes its place
                thread = self._thread = _LoopThread(self.target)
                thread.start()
            thread.stop()
            thread.join(_CLOSE_LIMIT)

    def wait_for_end(self) -> None:
        """Wait until a loop that is closed meanwhile has ended, and with it all that was under way."""
        thread: _LoopThread | None = (self._owner or self).__dict__.get("_thread")
        if thread is not None and not sys.is_finalizing():
            thread.join(_CLOSE_LIMIT)

    def _serving(self) -> "_LoopThread":
        thread: _LoopThread | None = self.__dict__.get("_thread")
        if self._closed:
            raise ClientClosedError("the client is closed.", outcome="not_applied")
        if sys.is_finalizing():
            raise ClientClosedError("the program is ending.", outcome="not_applied")
        if self._owner is not None:
            return self._owner._serving()
        if thread is None:
            # Of several threads, or a signal's handler in the middle of it, the first one's is taken by all.
            first: _LoopThread = self.__dict__.setdefault("_thread", _LoopThread(self.target))
            thread = first
        if not thread.started:
            try:
                thread.start()
            except OmiError:  # no loop, no thread: the next call tries again, unless another one has already
                if self.__dict__.get("_thread") is thread:
                    self.__dict__.pop("_thread", None)
                raise
        _refuse_own(thread)
        return thread

    def _after_fork_in_child(self) -> None:
        # The loop's thread was not copied, the loop's epoll object and sockets are shared with the parent: closing
        # or collecting any of it here would break the parent's requests.
        keep_forever(self.__dict__.pop("_thread", None))
        if not isinstance(self.target, AsyncOmiClient):  # which takes another loop by itself
            self._closed = self._lives_in_parent = True
            keep_forever(self.target)

    def __del__(self) -> None:
        thread = self.__dict__.get("_thread")
        if thread is None or sys.is_finalizing() or thread.stays_unstarted():
            return
        thread.stop()  # not waited for: garbage is collected on any thread, the loop's own included
        if not self._closed:
            name = type(self.target).__name__.removeprefix("Async")
            warnings.warn(f"{name} made at {self._made_at} was not closed", ResourceWarning, stacklevel=2)


class _LoopThread:
    """The loop and its thread. It knows the target but not the bridge, so a forgotten bridge can be collected."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, target: _Closable) -> None:
        self.started = False
        self.finished = False
        """The target was closed in good order."""
        self.ending = False
        """The loop begins nothing any more, as it might end in the middle of it."""
        self._target = target
        self._problem: OmiError | None = None
        self._claim = threading.Lock()  # taken by the thread that serves, or by who closes without one
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None  # the one that serves

    @property
    def ident(self) -> int | None:
        return None if self._thread is None else self._thread.ident

    def is_alive(self) -> bool:
        # While the program ends, threads like this one stand still without ending.
        return self._runs() and not sys.is_finalizing()

    def _runs(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def died(self) -> bool:
        # Another thread may be just about to start it.
        return self._ready.wait(_CLOSE_LIMIT) and not self._runs()

    def start(self) -> None:
        """Start it unless somebody has, and wait until it serves."""
        me = threading.get_ident()
        try:
            if self.__dict__.setdefault("_starter", me) == me:
                thread = threading.Thread(target=self._main, name=f"omi-sync-{next(_numbers)}", daemon=True)
                # In an empty context: nothing of the first caller's is seen by the calls of others.
                Context().run(thread.start)
        except RuntimeError:
            self._problem = _without_thread()
            self._ready.set()
        except BaseException:
            # Nobody can tell whether that one runs. The next caller starts another, and the first of them serves.
            if self.__dict__.get("_starter") == me:
                self.__dict__.pop("_starter", None)
            raise
        while not self._ready.wait(_POLL):
            if sys.is_finalizing():
                raise ClientClosedError("the program is ending.", outcome="not_applied")
        if self._problem is not None:
            raise self._problem
        self.started = True

    def stays_unstarted(self) -> bool:
        """Whether no thread serves and, from now on, none ever will."""
        if not self._claim.acquire(blocking=False):
            return False
        self.finished = True
        self._problem = ClientClosedError("the client is closed.", outcome="not_applied")  # for who just starts one
        self._ready.set()
        return True

    def submit(self, function: Callable[..., None], *args: object, context: Context | None = None) -> None:
        """Have the loop call a function soon."""
        try:
            self.loop.call_soon_threadsafe(function, *args, context=context)
        except RuntimeError:
            ended = ClientClosedError("the client is closed.", outcome="not_applied")
        else:
            return
        raise ended

    def stop(self) -> None:
        """Have it close the target and end; it may have ended already."""
        self._ready.wait(_CLOSE_LIMIT)
        with suppress(ClientClosedError, AttributeError):
            self.submit(self._stop.set)

    def join(self, timeout: float) -> None:
        if self._thread is not None:
            self._thread.join(timeout)

    def _main(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        self._thread = threading.current_thread()
        try:
            with asyncio.Runner() as runner:
                runner.run(self._serve())
        except Exception as error:
            if not self._ready.is_set():
                self._problem = _without_loop(error)
            elif not (self.finished and isinstance(error, RuntimeError)):
                raise
            # Else the program is ending: asyncio cannot start the thread on which it ends the loop's other threads.
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_default_executor(_Lookups())
        self._ready.set()
        await self._stop.wait()
        await self._target.aclose()
        self.finished = True
        # Calls that were let go of get to say so themselves: the runner would cancel them once more.
        ending = asyncio.all_tasks() - {asyncio.current_task()}
        if ending:
            await asyncio.wait(ending, timeout=INTERRUPT_GRACE)
        self.ending = True


class _Lookups(ThreadPoolExecutor):
    """Looks up host names, each on a thread that neither closing nor the end of the program waits for.

    A lookup cannot be cancelled, and where the network is down it may take half a minute.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        found: Future[Any] = Future()
        found.set_running_or_notify_cancel()

        def look_up() -> None:
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - whoever waits for the future gets it
                found.set_exception(error)
            else:
                found.set_result(result)

        threading.Thread(target=look_up, name="omi-lookup", daemon=True).start()
        return found


if sys.version_info >= (3, 12):
    _task = partial(asyncio.Task, eager_start=True)  # begins in the very turn of the loop that makes it
else:
    _task = asyncio.Task


def _refuse_own(thread: _LoopThread) -> None:
    if thread.ident == threading.get_ident() and thread.is_alive():
        raise EventLoopError(
            "called from the client's own event loop thread, which would wait for itself.", outcome="not_applied"
        )


def _run_at_once(coroutine: Coroutine[Any, Any, None]) -> None:
    """Close a target that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("a target without calls of its own waits for something")


class _Handoff(Generic[R]):
    """A coroutine on its way to the loop, and its outcome on the way back."""

    __slots__ = ("_calls", "_coroutine", "_done", "error", "result", "task")

    task: asyncio.Task[None]  # there from the moment the loop has taken the coroutine
    result: R
    error: BaseException | None  # there, like the result, when it is done

    def __init__(self, coroutine: Coroutine[Any, Any, R], calls: Calls | None) -> None:
        self._coroutine: Coroutine[Any, Any, R] | None = coroutine
        """None once it has begun."""
        self._calls = calls
        self._done = threading.Lock()
        self._done.acquire()

    def start(self, thread: _LoopThread) -> None:
        if self._coroutine is None:
            return
        if thread.ending:
            self._give_up()
            self.error = ClientClosedError("the client is closed.", outcome="not_applied")
            self._end()
        else:
            if self._calls is not None:
                _callers.set(self._calls)
            self.task = _task(self._main(self._coroutine), loop=asyncio.get_running_loop())

    async def _main(self, coroutine: Coroutine[Any, Any, R]) -> None:
        self._coroutine = None
        # Not by a callback of the task, which would take the loop another turn.
        try:
            self.result = await coroutine
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                self.error = _ended()
            else:
                # Without this frame: whoever reads the traceback looks for their own line.
                self.error = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
            if not isinstance(error, Exception):
                raise
        else:
            self.error = None
        finally:
            self._end()

    def _end(self) -> None:
        self._done.release()
        if self._calls is not None:
            self._calls.wake()

    def wait(self, thread: _LoopThread) -> None:
        while not (self._done.acquire(timeout=_POLL) if self._calls is None else self._serve(self._calls)):
            if not thread.is_alive() and not self._done.acquire(blocking=False):
                raise _ended()

    def _serve(self, calls: Calls) -> bool:
        # Work may take forever, as with an empty queue: what the coroutine has brought comes first.
        work = calls.wait(_POLL)
        if self._done.acquire(blocking=False):
            return True
        if work:
            calls.serve()
        return False

    def abandon(self, thread: _LoopThread | None) -> None:
        """Cancel the coroutine and wait for its end, but not for long."""
        if hasattr(self, "error"):
            return
        if thread is not None and thread.is_alive():
            with suppress(ClientClosedError):
                thread.submit(self._cancel)
                self._done.acquire(timeout=INTERRUPT_GRACE)
                return
        self._give_up()

    def _cancel(self) -> None:
        if hasattr(self, "error"):
            return
        if self._coroutine is None:
            self.task.cancel()
        else:
            self._give_up()
            self._done.release()

    def _give_up(self) -> None:
        """Do not even begin."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            coroutine.close()
            if hasattr(self, "task"):
                self.task.cancel()


def _without_thread() -> OmiError:
    if sys.is_finalizing() or not threading.main_thread().is_alive():
        return ClientClosedError("the program is ending, no thread can be started any more.", outcome="not_applied")
    return TransportError("no thread could be started.", outcome="not_applied", retryable=True)


def _without_loop(error: Exception) -> OmiError:
    if isinstance(error, OSError):  # no descriptor is left, as a rule
        return TransportError(
            f"no event loop could be started ({error.strerror}).", outcome="not_applied", retryable=True
        )
    return EventLoopError(f"no event loop could be started: {error}.", outcome="not_applied")


def _ended() -> ClientClosedError:
    return ClientClosedError("the client's event loop ended during the call.", outcome="unknown")


_bridges: "WeakSet[Bridge[Any]]" = WeakSet()


def _after_fork_in_child() -> None:
    for bridge in list(_bridges):
        bridge._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
