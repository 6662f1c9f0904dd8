"""Fork: the child starts afresh, and nothing it does or leaves undone reaches the parent's calls."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.raw import Exchange, RawServer, answer, conversation, in_thread
from tests.support.scale import FULL, times
from tests.support.specimens import Specimen
from tests.support.subprocesses import STRICT, run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# Python 3.12 and later warn of every fork among threads; that it works here is what these tests are about.
_OPTIONS = (*STRICT, "-W", "ignore:This process:DeprecationWarning")

_PRELUDE = '''
import os, signal, sys, threading, traceback
from tests.support.specimens import call, id_of

def fork(work, limit=30):
    """Run `work` in a child that ends like a program of its own; gives back the child's id."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(limit)  # a child that hangs is killed, and reported by `ended`
    try:
        work()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

def ended(pid):
    """The child's exit code, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def told(client, operation, name):
    """Whether a call was given its own answer, and not one meant for somebody else."""
    return id_of(call(client, operation, name)) == name

def worker(target):
    thread = threading.Thread(target=target)
    thread.start()
    return thread
'''


def _program(source: str) -> str:
    return _PRELUDE + "\n".join(line.removeprefix("        ") for line in source.splitlines())


async def _answer_late(exchange: Exchange) -> None:
    """Answer a little late and out of order, with the name that was sent."""
    await asyncio.sleep(exchange.number % 3 / 1000)
    if exchange.method == "POST":
        await exchange.send(answer(200, {"id": exchange.name, "status": "completed", "discarded": False}))
    else:
        await exchange.succeed()


def _names(server: RawServer) -> list[str]:
    return [exchange.name for exchange in server.log]


@pytest.mark.scenario(147)
def test_fork_before_first_use(specimen: Specimen) -> None:
    """A client built before the fork and first used after it works on both sides, each on its own connection."""
    source = """
        from omi_sync import OmiClient
        url, operation = sys.argv[1:]
        client = OmiClient(base_url=url)
        pid = fork(lambda: print(told(client, operation, "child")))
        print(ended(pid), told(client, operation, "parent"))
        client.close()
        """
    with in_thread(RawServer(_answer_late)) as server:
        result = run(_program(source), server.url, specimen.name, options=_OPTIONS).check()
        assert ["True", "0 True"] == result.lines
        assert (["child", "parent"], 2) == (_names(server), server.connections)


@pytest.mark.scenario(148)
@pytest.mark.parametrize("leaving", ["os._exit", "sys.exit", "closed", "collected"])
def test_fork_after_use(leaving: str) -> None:
    """However the child leaves its copy of a used client, its calls are its own and the parent's connection lasts."""
    source = """
        import gc
        from omi_sync import OmiClient
        url, operation, leaving = sys.argv[1:]
        client = OmiClient(base_url=url)
        print(told(client, operation, "before"))
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            if leaving != "collected":
                print(told(client, operation, "child"))
            if leaving == "closed":
                client.close()
            if leaving == "collected":
                del client
                gc.collect()
                print(True)
            sys.stdout.flush()
            if leaving == "os._exit":
                os._exit(0)
            if leaving != "sys.exit":
                sys.exit()
            client.close()
            sys.exit()
        print(ended(pid), told(client, operation, "after"))
        client.close()
        """
    with in_thread(RawServer(_answer_late)) as server:
        result = run(_program(source), server.url, "update", leaving, options=_OPTIONS).check()
        assert ["True", "True", "0 True"] == result.lines
        connections = {exchange.name: exchange.connection for exchange in server.log}
        assert 1 == connections["before"] == connections["after"]
        assert 2 == connections.get("child", 2)


@pytest.mark.scenario(148)
def test_closed_before_the_fork() -> None:
    """A client closed before the fork is closed in the child too."""
    source = """
        from omi_sync import ClientClosedError, OmiClient
        client = OmiClient(base_url=sys.argv[1])
        told(client, "delete", "before")
        client.close()

        def child():
            try:
                told(client, "delete", "child")
            except ClientClosedError:
                print(client.closed)

        print(ended(fork(child)))
        """
    with in_thread(RawServer(_answer_late)) as server:
        result = run(_program(source), server.url, options=_OPTIONS).check()
        assert (["True", "0"], ["before"]) == (result.lines, _names(server))


@pytest.mark.figure
@pytest.mark.scenario(148, 149)
def test_forks_among_calls(operation: str, figure: Callable[..., None]) -> None:
    """Forks while many threads call: parent and children go on calling, no answer is crossed, and nobody hangs."""
    forks = max(10, times(200))
    source = """
        import itertools
        from omi_sync import OmiClient
        url, operation, forks = sys.argv[1], sys.argv[2], int(sys.argv[3])
        client = OmiClient(base_url=url)
        numbers, wrong, stop = itertools.count(), [], threading.Event()

        def go_on_calling():
            while not stop.is_set():
                name = f"parent_{next(numbers)}"
                try:
                    if not told(client, operation, name):
                        wrong.append(name)
                except Exception as error:
                    wrong.append(repr(error))

        threads = [worker(go_on_calling) for _ in range(4)]
        codes = []
        for fork_number in range(forks):
            def child():
                for number in range(5):
                    assert told(client, operation, f"child_{fork_number}_{number}")
                if fork_number % 3 == 0:
                    client.close()

            pid = fork(child)
            told(client, operation, f"main_{fork_number}") or wrong.append(fork_number)
            codes.append(ended(pid))
        stop.set()
        for thread in threads:
            thread.join()
        client.close()
        print(set(codes), wrong, next(numbers))
        """
    with in_thread(RawServer(_answer_late)) as server:
        limit = 900 if FULL else 120
        result = run(_program(source), server.url, operation, forks, options=_OPTIONS, limit=limit).check()
        names = _names(server)
    parent = sum(name.startswith("parent") for name in names)
    assert f"{{0}} [] {parent}" == result.out.strip()
    assert len(set(names)) == len(names)
    assert [5 * forks, forks] == [sum(name.startswith(who) for name in names) for who in ("child", "main")]
    figure(
        f"fork, {operation}", forks=forks, calls_of_children=5 * forks, calls_of_the_parent=parent, crossed=0, hung=0
    )


@pytest.mark.figure
@pytest.mark.scenario(149)
def test_forks_while_a_journal_is_written(tmp_path: Path, figure: Callable[..., None]) -> None:
    """Forks while another thread is inside SQLite: each child can use a journal of its own."""
    forks = max(10, times(200))
    source = """
        import asyncio
        from omi_async.journal import Journal
        folder, forks = sys.argv[1], int(sys.argv[2])
        stop = threading.Event()

        async def write(name):
            journal = Journal(f"{folder}/{name}", job="conversations.delete")
            for position in range(5):
                await journal.intend(position, "conv_1", b"")
                await journal.settle(position, status="done", settled=True, attempts=1)
            await journal.aclose()

        def go_on_writing(name):
            while not stop.is_set():
                asyncio.run(write(name))

        threads = [worker(lambda name=name: go_on_writing(name)) for name in ("a", "b")]
        codes = [ended(fork(lambda: asyncio.run(write(f"child_{number}")))) for number in range(forks)]
        stop.set()
        for thread in threads:
            thread.join()
        print(set(codes))
        """
    result = run(_program(source), tmp_path, forks, options=_OPTIONS, limit=900 if FULL else 120).check()
    assert ["{0}"] == result.lines
    figure("fork, journals written", forks=forks, hung=0)


@pytest.mark.scenario(148)
def test_fork_after_a_journal_was_closed(tmp_path: Path) -> None:
    """A child leaves the files alone that were opened after a journal had been closed."""
    source = """
        import asyncio
        from omi_async.journal import Journal

        journal = Journal(sys.argv[1], job="conversations.delete")
        asyncio.run(journal.aclose())
        later = [open(os.devnull) for _ in range(4)]  # these take the first numbers that are free
        print(ended(fork(lambda: [os.fstat(file.fileno()) for file in later])))
        for file in later:
            file.close()
        """
    result = run(_program(source), tmp_path / "job.db", options=_OPTIONS).check()
    assert ["0"] == result.lines


@pytest.mark.scenario(149)
@pytest.mark.parametrize("forking", ["main thread", "other thread"])
def test_fork_while_a_call_hangs(specimen: Specimen, forking: str) -> None:
    """The parent's call under way during a fork completes after the child has called, collected and exited."""
    release = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.name == "child":
            await _answer_late(exchange)
            release.set()
        else:
            await release.wait()
            await _answer_late(exchange)

    source = """
        import gc, time
        from omi_sync import OmiClient
        url, operation, forking = sys.argv[1:]
        client = OmiClient(base_url=url)

        def child():
            gc.collect()
            print(told(client, operation, "child"))
            client.close()
            gc.collect()

        def wait_and_fork():
            while not client._bridge.target._transport.pool.place.sending:
                time.sleep(0.001)
            time.sleep(0.02)
            codes.append(ended(fork(child)))

        codes = []
        if forking == "main thread":
            thread = worker(lambda: print(told(client, operation, "parent")))
            wait_and_fork()
        else:
            thread = worker(wait_and_fork)
            print(told(client, operation, "parent"))
        thread.join()
        print(codes)
        client.close()
        """
    with in_thread(RawServer(script)) as server:
        result = run(_program(source), server.url, specimen.name, forking, options=_OPTIONS).check()
        assert ["True", "True", "[0]"] == result.lines
        assert {"parent", "child"} == set(_names(server))


@pytest.mark.scenario(149)
@pytest.mark.parametrize("moment", ["with the lock held", "with the loop starting"])
def test_fork_while_the_thread_starts(moment: str) -> None:
    """A fork in the middle of another thread's first call harms neither: the child's client starts again."""
    source = """
        import time
        from omi_sync import OmiClient, _bridge
        url, operation, moment = sys.argv[1:]
        entered, go = threading.Event(), threading.Event()

        class Slow(_bridge._LoopThread):
            def __init__(self, target):
                if moment == "with the lock held":
                    entered.set()
                    go.wait()
                super().__init__(target)

            async def _serve(self):
                if moment != "with the lock held":
                    entered.set()
                    go.wait()
                await super()._serve()

        _bridge._LoopThread = Slow
        client = OmiClient(base_url=url)
        thread = worker(lambda: print(told(client, operation, "parent")))
        entered.wait()

        def child():
            go.set()
            print(told(client, operation, "child"))
            client.close()

        pid = fork(child)
        print(ended(pid))
        sys.stdout.flush()
        go.set()
        thread.join()
        client.close()
        """
    with in_thread(RawServer(_answer_late)) as server:
        result = run(_program(source), server.url, "update", moment, options=_OPTIONS).check()
        assert ["True", "0", "True"] == result.lines
        assert ["child", "parent"] == _names(server)


@pytest.mark.scenario(148)
def test_fork_in_a_fork() -> None:
    """A grandchild calls on its own too, and all three go on."""
    source = """
        from omi_sync import OmiClient
        url, operation = sys.argv[1:]
        client = OmiClient(base_url=url)
        told(client, operation, "before")

        def grandchild():
            print(told(client, operation, "grandchild"))

        def child():
            assert told(client, operation, "child")
            print(ended(fork(grandchild)), told(client, operation, "child_again"))

        print(ended(fork(child)), told(client, operation, "after"))
        client.close()
        """
    with in_thread(RawServer(_answer_late)) as server:
        result = run(_program(source), server.url, "update", options=_OPTIONS).check()
        assert ["True", "0 True", "0 True"] == result.lines
        assert 3 == server.connections


@pytest.mark.scenario(148)
def test_sandbox_lives_in_the_parent_alone() -> None:
    """A sandbox forked while it serves stays the parent's: the child can use it, and ends without stopping it."""
    source = """
        from omi_sync import OmiClient, Sandbox
        with Sandbox() as sandbox, OmiClient(sandbox.api_key, base_url=sandbox.url) as client:
            first, second, third, *_ = sandbox.conversations

            def child():
                print(client.conversations.delete(first).confirmed)
                client.close()
                sandbox.close()

            print(ended(fork(child)))
            print(client.conversations.delete(second).confirmed)
            print([each in sandbox.conversations for each in (first, second, third)], sandbox.started)
        """
    result = run(_program(source), options=_OPTIONS).check()
    assert ["True", "0", "True", "[False, False, True] True"] == result.lines


@pytest.mark.scenario(148)
def test_async_client_in_the_child_of_its_loop() -> None:
    """In a child forked inside the loop, the asynchronous client moves to the child's and leaves the parent's alone."""
    source = """
        import asyncio, gc
        from omi_async import AsyncOmiClient

        async def main():
            async with AsyncOmiClient(base_url=sys.argv[1]) as client:
                await client.conversations.delete("before")

                def child():
                    print(asyncio.run(client.conversations.delete("child")).confirmed)

                print(ended(fork(child)))
                print((await client.conversations.delete("after")).confirmed)

        asyncio.run(main())
        """
    with in_thread(RawServer(_answer_late)) as server:
        result = run(_program(source), server.url, options=_OPTIONS).check()
        assert ["True", "0", "True"] == result.lines
        assert (["before", "child", "after"], 2) == (_names(server), server.connections)


@pytest.mark.scenario(148)
def test_async_client_collected_in_a_child() -> None:
    """An asynchronous client collected in a child forked between two runs of its loop costs the parent nothing."""
    source = """
        import asyncio, gc, warnings
        from omi_async import AsyncOmiClient

        loop = asyncio.new_event_loop()
        client = AsyncOmiClient(base_url=sys.argv[1], timeout=3)
        loop.run_until_complete(client.conversations.delete("before"))

        def child():
            global client
            warnings.simplefilter("error")  # it is not the child's to close
            sys.unraisablehook = lambda failure: os._exit(2)
            del client
            gc.collect()

        print(ended(fork(child)))
        print(loop.run_until_complete(client.conversations.delete("after")).confirmed)
        loop.run_until_complete(client.aclose())
        loop.close()
        """
    with in_thread(RawServer(_answer_late)) as server:
        result = run(_program(source), server.url, options=_OPTIONS).check()
        assert ["0", "True"] == result.lines
        assert (["before", "after"], 1) == (_names(server), server.connections)


@pytest.mark.scenario(147)
def test_listing_forked_while_it_fetches() -> None:
    """A listing that another thread waits for during a fork goes on in the child as well."""
    asked = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await asked.wait()
        else:
            asked.set()
        await exchange.send(answer(200, [conversation("conv_1")]))

    source = """
        import time
        from omi_sync import OmiClient
        client = OmiClient(base_url=sys.argv[1], timeout=20)
        rows = client.conversations.list(limit=1)
        thread = worker(lambda: print([row.id for row in rows]))
        while not client._bridge.target._transport.pool.place.sending:
            time.sleep(0.001)
        print(ended(fork(lambda: print([row.id for row in rows]))))
        thread.join()
        client.close()
        """
    with in_thread(RawServer(script)) as server:
        result = run(_program(source), server.url, options=_OPTIONS).check()
        assert ["0", "['conv_1']", "['conv_1']"] == sorted(result.lines)
        assert 2 == server.connections


_POOL = """
import multiprocessing, pickle, sys
from concurrent.futures import ProcessPoolExecutor
from omi_sync import NotFoundError, OmiClient

url, method = sys.argv[1:]
inherited = OmiClient(base_url=url)

def work(name):
    with OmiClient(base_url=url) as client:
        return client.conversations.update(name, title="title of " + name)

def use_inherited(name):
    return inherited.conversations.delete(name)

def fail(name):
    with OmiClient(base_url=url) as client:
        client.conversations.update("missing", title="x")

def use(client):
    return client.conversations.delete("never")

if __name__ == "__main__":
    inherited.conversations.delete("before")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        print([each.structured.title for each in pool.map(work, ["a", "b", "c"])])
        print([each.id for each in pool.map(use_inherited, ["d", "e", "f"])])
        try:
            pool.submit(fail, "missing").result()
        except NotFoundError as error:
            print(error.outcome, error.attempts, error.operation, error.status, error.detail)
        try:
            pool.submit(use, inherited).result()
        except TypeError as error:
            print("pickle" in str(error), "omi_dev_" in str(error))
        print(pool.submit(work, "g").result() == work("g"))
    process = multiprocessing.get_context(method).Process(target=work, args=("h",))
    process.start()
    process.join()
    print(process.exitcode)
    inherited.conversations.delete("after")
    inherited.close()
"""


@pytest.mark.scenario(150)
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_process_pools(method: str, tmp_path: Path) -> None:
    """In every kind of process pool: clients work, models and errors travel, a client is refused with a reason."""

    async def script(exchange: Exchange) -> None:
        if exchange.path.endswith("missing"):
            await exchange.send(answer(404, {"detail": "Conversation not found"}))
        else:
            await _answer_late(exchange)

    program = tmp_path / "pool.py"
    program.write_text(_POOL)
    with in_thread(RawServer(script)) as server:
        result = run(program, server.url, method, options=_OPTIONS)
        assert [
            "['title of a', 'title of b', 'title of c']",
            "['d', 'e', 'f']",
            "not_applied 1 conversations.update 404 Conversation not found",
            "True False",
            "True",
            "0",
        ] == result.lines, result.err
        result.check()
        assert "never" not in _names(server)
