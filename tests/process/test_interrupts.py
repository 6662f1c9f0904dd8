"""Ctrl-C and other signals in the middle of a synchronous call: out soon, and nothing goes on behind the caller."""

import asyncio
import gc
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import attrs
import pytest

from omi_async import RequestTimeoutError, RetryPolicy, Timeout
from omi_sync import OmiClient
from tests.support.inside import bridge
from tests.support.raw import Exchange, RawServer, answer, in_thread, success
from tests.support.scale import FULL, times
from tests.support.sides import KEY, Side
from tests.support.specimens import Specimen
from tests.support.subprocesses import DEVELOPMENT, run, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as on POSIX")

_SOON = 1.0 if FULL else 10.0  # seconds; the short run also passes where the machine is overloaded

_PRELUDE = """
import os, signal, sys, threading, time
from omi_sync import OmiClient, OmiError, RetryPolicy, Timeout, _bridge
from tests.support.specimens import call

sent = 0.0

def interrupt(ready, number=signal.SIGINT, delay=0.03):
    '''Send this process a signal as soon as `ready()` holds, and a little later, so that all is at rest.'''
    def work():
        global sent
        while not ready():
            time.sleep(0.001)
        time.sleep(delay)
        sent = time.monotonic()
        os.kill(os.getpid(), number)
    threading.Thread(target=work).start()
"""


def _program(source: str) -> str:
    return _PRELUDE + "\n".join(line.removeprefix("        ") for line in source.splitlines())


def _left(exchange: Exchange) -> bool:
    """Whether the client has closed the connection of this request."""
    reader: asyncio.StreamReader = vars(exchange.writer)["_reader"]
    # The kernel resets a connection that is closed while bytes of the answer are still unread.
    return reader.at_eof() or isinstance(reader.exception(), ConnectionError)


def _names(server: RawServer) -> list[str]:
    return [exchange.name for exchange in server.log]


async def _wait(exchange: Exchange) -> None:
    if exchange.number == 1:
        await exchange.hang()
    await exchange.succeed()


async def _body(exchange: Exchange) -> None:
    data = success(exchange)
    await exchange.send(data if exchange.number > 1 else data[:-5])


async def _busy(exchange: Exchange) -> None:
    if exchange.number == 1:
        await exchange.send(answer(429))
    else:
        await exchange.succeed()


@attrs.frozen
class _Phase:
    script: Callable[[Exchange], Any]
    settings: str = ""
    at_rest: str = "client.transport.pool.place.sending"


_PHASES = {
    "waiting": _Phase(_wait),
    "reading": _Phase(_body),
    "backing off": _Phase(
        _busy,
        "retry=RetryPolicy(initial_throttled=600.0, maximum=600.0, random=lambda: 1.0), timeout=Timeout(total=None)",
        "client.transport.pool.place.waiting",
    ),
}


@pytest.mark.scenario(155)
@pytest.mark.parametrize("phase", _PHASES.values(), ids=_PHASES.keys())
def test_interrupted_call(specimen: Specimen, phase: _Phase) -> None:
    """Ctrl-C in a call surfaces soon, drops the connection, starts nothing more, and the next call works."""
    source = f"""
        client = OmiClient(base_url=sys.argv[1], {phase.settings})
        client.transport = client._bridge.target._transport
        interrupt(lambda: {phase.at_rest})
        try:
            call(client, sys.argv[2], "interrupted")
        except KeyboardInterrupt:
            print(time.monotonic() - sent)
        call(client, sys.argv[2], "next")
        client.close()
        """
    with in_thread(RawServer(phase.script)) as server:
        result = run(_program(source), server.url, specimen.name, options=DEVELOPMENT).check()
        assert float(result.out) < _SOON
        assert ["interrupted", "next"] == _names(server)
        wait_until(lambda: all(_left(exchange) for exchange in server.log))


@pytest.mark.scenario(155)
def test_interrupted_while_securing_the_connection() -> None:
    """Ctrl-C while a TLS handshake hangs surfaces soon and closes the connection, over which nothing went."""
    source = """
        client = OmiClient(base_url=sys.argv[1].replace("http", "https"), retry=RetryPolicy.never())
        interrupt(lambda: client._bridge.target._transport.pool.place.sending)
        try:
            call(client, sys.argv[2])
        except KeyboardInterrupt:
            print(time.monotonic() - sent)
        try:
            call(client, sys.argv[2])
        except OmiError as error:
            print(type(error).__name__, error.outcome)
        client.close()
        """
    gone = threading.Event()

    async def on_connect(writer: asyncio.StreamWriter) -> bool:
        if server.connections == 1:
            reader: asyncio.StreamReader = vars(writer)["_reader"]
            await reader.read()
            gone.set()
        return False

    with in_thread(RawServer(_wait, on_connect=on_connect)) as server:
        result = run(_program(source), server.url, "update", options=DEVELOPMENT).check()
        assert float(result.lines[0]) < _SOON
        assert "TransportError not_applied" == result.lines[1]
        wait_until(gone.is_set)
        assert 0 == len(server.log)


@pytest.mark.scenario(155)
def test_interrupted_while_waiting_for_a_slot() -> None:
    """Ctrl-C while all connections are in use surfaces soon; nothing is sent, and no connection stays taken."""
    source = """
        url, operation = sys.argv[1:]
        client = OmiClient(base_url=url, max_connections=1)
        transport = client._bridge.target._transport
        other = threading.Thread(target=call, args=(client, operation, "first"))
        other.start()
        while not transport.pool.place.sending:
            time.sleep(0.001)
        interrupt(lambda: transport.pool.place.waiting)
        try:
            call(client, operation, "interrupted")
        except KeyboardInterrupt:
            print(time.monotonic() - sent)
        with OmiClient(base_url=url) as another:
            call(another, operation, "release")
        other.join()
        call(client, operation, "next")
        client.close()
        """
    release = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("first"):
            await release.wait()
        release.set()
        await exchange.succeed()

    with in_thread(RawServer(script)) as server:
        result = run(_program(source), server.url, "update", options=DEVELOPMENT).check()
        assert float(result.out) < _SOON
        assert ["first", "release", "next"] == _names(server)


_STUBBORN = """
        import asyncio
        entered = threading.Event()

        async def sleep(seconds):
            '''Does not let itself be cancelled.'''
            while True:
                try:
                    entered.set()
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    cancelled.set()

        cancelled = threading.Event()
        _bridge.INTERRUPT_GRACE = float(sys.argv[3])
        client = OmiClient(base_url=sys.argv[1], retry=RetryPolicy(sleep=sleep))
        interrupt(entered.is_set)
        if sys.argv[4] == "twice":
            interrupt(cancelled.is_set)
        try:
            call(client, sys.argv[2])
        except KeyboardInterrupt:
            print(time.monotonic() - sent, threading.active_count())
        sys.stdout.flush()
        os._exit(0)
        """


@pytest.mark.scenario(155)
@pytest.mark.parametrize(("grace", "times"), [(0.1, "once"), (3600.0, "twice")])
def test_interrupted_call_that_does_not_end(grace: float, times: str) -> None:
    """A call that cannot be cancelled is waited for a while only, and a second Ctrl-C leaves at once."""
    with in_thread(RawServer(_busy)) as server:
        result = run(_program(_STUBBORN), server.url, "update", grace, times).check()
        assert float(result.out.split()[0]) < _SOON + 0.1
        assert 1 == len(server.log)


@pytest.mark.figure
@pytest.mark.scenario(155)
def test_interrupts_at_random_moments(operation: str, figure: Callable[..., None]) -> None:
    """Whenever Ctrl-C comes, it surfaces within a second, and no request of the interrupted call starts later."""
    number = max(10, times(100))
    source = """
        import itertools, queue, random
        from tests.support.inside import Transport
        url, operation, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
        chance = random.Random(4711)
        begun, surfaced, problems, slowest, caught, name = [], {}, [], 0.0, 0, ""
        send = Transport.send

        async def noted(self, request, attempt):
            begun.append((request.path.rpartition("/")[2], time.monotonic()))
            return await send(self, request, attempt)

        Transport.send = noted
        client = OmiClient(base_url=url, retry=RetryPolicy(initial=0.01))
        client.conversations  # loaded here: an import that is interrupted leaves a file to Python, which remarks on it
        numbers = itertools.count()
        delays = queue.SimpleQueue()

        def send_signals():
            global sent
            while (delay := delays.get()) is not None:
                time.sleep(delay)
                sent = time.monotonic()
                os.kill(os.getpid(), signal.SIGINT)

        sender = threading.Thread(target=send_signals)
        sender.start()
        for _ in range(number):
            delay = chance.uniform(0.0, 0.03)
            try:
                delays.put(delay)
                while True:
                    name = f"c_{next(numbers)}"
                    try:
                        call(client, operation, name)
                    except OmiError as error:
                        problems.append(repr(error))
            except KeyboardInterrupt:
                now = time.monotonic()
                caught += 1
                surfaced[name] = now
                slowest = max(slowest, now - sent)
        delays.put(None)
        sender.join()
        time.sleep(0.05)
        late = [name for name, at in begun if at > surfaced.get(name, at)]
        client.close()
        print(caught, late, problems, threading.active_count())
        print(slowest)
        """

    async def script(exchange: Exchange) -> None:
        if exchange.number % 7 == 3:
            await exchange.send(answer(503))
        elif exchange.number % 11 == 5:
            await exchange.hang()
        else:
            await asyncio.sleep(exchange.number % 5 / 1000)
            await exchange.succeed()

    with in_thread(RawServer(script)) as server:
        result = run(_program(source), server.url, operation, number, limit=300 if FULL else 60)
        assert 0 == result.code, result.err
        # An interrupt in the very moment between making a coroutine and handing it over leaves Python's own remark.
        assert "" == result.err or "never awaited" in result.err
        assert f"{number} [] [] 1" == result.lines[0]
        order = [int(name.partition("_")[2]) for name in _names(server)]
        assert order == sorted(order)
    slowest = float(result.lines[1])
    assert slowest < _SOON
    figure(f"SIGINT, {operation}", signals=number, slowest_ms=round(slowest * 1000, 1), started_afterwards=0, hung=0)


# A KeyboardInterrupt at chosen places: where Python looks for signals when it enters or leaves a function


class _Interrupter:
    """Raises KeyboardInterrupt at the k-th entry to or return from a function of the facade, in this thread."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.where: str | None = None

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if "omi_sync" not in code.co_filename or code.co_name == "__del__":
            return None
        if event in ("call", "return"):
            self._left -= 1
            if self._left == 0:
                self.where = f"{event} of {code.co_qualname}"
                raise KeyboardInterrupt
        return self


def _interrupted(action: Callable[[], object], at: int) -> tuple[str | None, BaseException | None]:
    """Where it was, if there are that many places, and what came out."""
    interrupter = _Interrupter(at)
    before = sys.gettrace()
    try:
        sys.settrace(interrupter)
        try:
            action()
        finally:
            sys.settrace(before)
    except BaseException as error:
        return interrupter.where, error.with_traceback(None)
    return interrupter.where, None


def _loop_threads() -> int:
    return sum(thread.name.startswith("omi-sync-") for thread in threading.enumerate())


def _settle(threads: int) -> int:
    """How many loop threads there are, once those that are ending have ended."""
    end = time.monotonic() + 0.2
    while _loop_threads() > threads and time.monotonic() < end:
        time.sleep(0.002)
    return _loop_threads() - threads


@pytest.mark.scenario(155)
@pytest.mark.parametrize(
    "part",
    [
        "first call",
        "later call",
        "close",
        "close unused",
    ],
)
def test_interrupt_at_every_place(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A KeyboardInterrupt in any function of the facade comes out as it is; calls and closing work afterwards."""
    monkeypatch.setattr(bridge, "INTERRUPT_GRACE", 0.02)

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    problems, at, where = [], 0, "begin"
    with in_thread(RawServer(script)) as server, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*was never awaited", RuntimeWarning)
        while where:
            at += 1
            threads = _loop_threads()
            client = OmiClient(KEY, base_url=server.url)
            if part in ("later call", "close"):
                client.conversations.delete("before")
            action = client.close if "close" in part else lambda client=client: client.conversations.delete("during")
            found, error = _interrupted(action, at)
            where = found or ""
            if type(error) is not (KeyboardInterrupt if where else type(None)):
                problems.append(f"{where}: {error!r}")
            if "close" not in part:
                client.conversations.delete("after")
            client.close()
            # Interrupted, closing may still be under way on the loop's thread.
            end = time.monotonic() + 0.2
            while not client.closed and time.monotonic() < end:
                time.sleep(0.002)
            if not client.closed:
                problems.append(f"{where}: not closed")
            if _settle(threads):
                problems.append(f"{where}: a thread is left")
            del action, client
            gc.collect()
    assert at > 2
    assert [] == problems


@pytest.mark.scenario(155)
def test_interrupt_just_after_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt that meets a call which has just ended comes out at once: there is nothing to wait for."""
    monkeypatch.setattr(bridge, "INTERRUPT_GRACE", 2.0)

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    original = bridge._Handoff.wait

    def interrupted(handoff: "bridge._Handoff[Any]", thread: Any) -> None:
        original(handoff, thread)
        raise KeyboardInterrupt

    with in_thread(RawServer(script)) as server, OmiClient(KEY, base_url=server.url) as client:
        monkeypatch.setattr(bridge._Handoff, "wait", interrupted)
        begun = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.conversations.delete("conv_1")
        assert time.monotonic() - begun < 2.0
        monkeypatch.undo()


# Other signals


@pytest.mark.scenario(156)
@pytest.mark.parametrize(
    ("number", "handler", "code"),
    [
        (signal.SIGTERM, "sys.exit(3)", 3),
        (signal.SIGALRM, "raise LookupError('on purpose')", 1),
        (signal.SIGTERM, "client.close(); sys.exit(4)", 4),
    ],
    ids=["SIGTERM exits", "SIGALRM raises", "SIGTERM closes and exits"],
)
def test_other_signals(number: signal.Signals, handler: str, code: int) -> None:
    """What a signal's handler raises in the middle of a call leaves it soon, ends the request, and nothing hangs."""
    source = f"""
        import omi_async._wire.pool
        omi_async._wire.pool._CLOSE_GRACE = 0.05

        def handle(*_):
            {handler}

        signal.signal({int(number)}, handle)
        client = OmiClient(base_url=sys.argv[1])
        interrupt(lambda: client._bridge.target._transport.pool.place.sending, {int(number)})
        try:
            call(client, sys.argv[2])
        finally:
            print(time.monotonic() - sent)
        """
    with in_thread(RawServer(_wait)) as server:
        result = run(_program(source), server.url, "update", options=DEVELOPMENT)
        assert code == result.code, result.err
        assert ("LookupError" in result.err) == (code == 1)
        assert code == 1 or "" == result.err
        assert float(result.out) < _SOON
        assert 1 == len(server.log)
        wait_until(lambda: _left(server.log[0]))


@pytest.mark.scenario(156)
def test_handler_that_goes_on() -> None:
    """A signal whose handler just returns does not disturb the call, nor does one that makes a call of its own."""
    source = """
        url, operation = sys.argv[1:]
        client = OmiClient(base_url=url)
        signal.signal(signal.SIGUSR1, lambda *_: None)
        signal.signal(signal.SIGUSR2, lambda *_: call(client, operation, "release"))
        interrupt(lambda: client._bridge.target._transport.pool.place.sending, signal.SIGUSR1)
        interrupt(lambda: client._bridge.target._transport.pool.place.sending, signal.SIGUSR2, delay=0.06)
        call(client, operation, "long")
        client.close()
        print("done")
        """
    release = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("long"):
            await release.wait()
        release.set()
        await exchange.succeed()

    with in_thread(RawServer(script)) as server:
        result = run(_program(source), server.url, "update", options=DEVELOPMENT).check()
        assert ("done\n", ["long", "release"]) == (result.out, _names(server))


@pytest.mark.scenario(156)
@pytest.mark.parametrize("action", ["client.close()", "call(client, 'delete', 'inner')"], ids=["close", "call"])
def test_handler_while_the_thread_starts(action: str) -> None:
    """A signal's handler that uses or closes the client in the middle of its first call does not wait forever."""
    source = f"""
        class Slow(_bridge._LoopThread):
            def __init__(self, *arguments):
                _bridge._LoopThread = Slow.__base__
                signal.raise_signal(signal.SIGTERM)
                super().__init__(*arguments)

        def handle(*_):
            {action}

        signal.signal(signal.SIGTERM, handle)
        _bridge._LoopThread = Slow
        client = OmiClient(base_url=sys.argv[1])
        try:
            call(client, "delete", "outer")
        except OmiError as error:
            print(type(error).__name__)
        client.close()
        print(client.closed)
        """

    async def script(exchange: Exchange) -> None:
        await exchange.succeed()

    with in_thread(RawServer(script)) as server:
        result = run(_program(source), server.url, limit=4).check()
    assert "True" == result.lines[-1]


# Limits in time


@pytest.mark.scenario(157)
async def test_sync_time_limit(operation: str) -> None:
    """A synchronous call's limit ends the request itself: the connection goes, and nothing follows on the wire."""
    side = Side("sync")
    async with RawServer(_wait) as server:
        client = side.client(server.url, retry=RetryPolicy(attempts=5, initial=0))
        for timeout in (0.2, Timeout(attempt=0.2, total=None)):
            server.log.clear()
            retry = None if timeout == 0.2 else RetryPolicy.never()
            with pytest.raises(RequestTimeoutError) as caught:
                await side.call(client, operation, timeout=timeout, retry=retry)
            assert ("unknown", 1) == (caught.value.outcome, caught.value.attempts)
            async with asyncio.timeout(30):
                while not all(_left(exchange) for exchange in server.log):
                    await asyncio.sleep(0.001)
            assert 1 == len(server.log)
        await side.aclose()
