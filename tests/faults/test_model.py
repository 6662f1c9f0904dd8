"""A client against the truth, step by random step: calls, faults, cancellations, closing and the passing of time."""

import asyncio
import threading
from collections import deque
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from omi_async import (
    AsyncOmiClient,
    ClientClosedError,
    Conversation,
    Deletion,
    InvalidRequestError,
    NotFoundError,
    OmiError,
    RateLimitError,
    Timeout,
)
from omi_async.retry import Budget
from omi_sync import OmiClient
from tests.support import storm
from tests.support.clock import VirtualClock
from tests.support.operations import Asked
from tests.support.raw import in_thread
from tests.support.scale import times
from tests.support.sides import KEY
from tests.support.truth import CHOICES, Choice, Truth, ask

_ATTEMPTS = 3
_CONNECTIONS = 4

_OPERATIONS = ("conversations.update", "conversations.delete")
_EVERY_CHOICE = sorted({choice for name in _OPERATIONS for choice in CHOICES[name]}, key=lambda c: (c[0].name, c[1]))
_SLOW = [choice for choice in _EVERY_CHOICE if choice[0].ending in ("stall", "trickle")]
_REFUSALS = [choice for choice in _EVERY_CHOICE if choice[0].moments == ("before",)]
_OPEN = [choice for choice in _EVERY_CHOICE if choice not in _SLOW and choice not in _REFUSALS]

_ids = st.sampled_from(["conv_a", "conv_b", "conv_c", "none_d"])
_titles = st.sampled_from([None, "One", "Two", " Three "])
_discards = st.sampled_from([None, True, False])
_faults = st.lists(st.sampled_from(_OPEN) | st.sampled_from(_REFUSALS) | st.none(), max_size=3)

State = tuple[bool, str, bool]
"""exists, title, discarded"""


class _Machine(RuleBasedStateMachine):
    """What both sides have in common. After each call, what the caller was told is held against what happened."""

    client: AsyncOmiClient | OmiClient

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.faults: deque[Choice | None] = deque()
        self.last_requests = 0
        self.was_closed = False

    @initialize(attempts=st.integers(1, _ATTEMPTS))
    def begin(self, attempts: int) -> None:
        self.clock = VirtualClock()
        self.server = self.stack.enter_context(in_thread(Truth()))
        self.server.script = self._pick
        self.client = self._make(attempts)

    def teardown(self) -> None:
        if hasattr(self, "client"):
            self.shut()
        self.stack.close()

    def _pick(self, asked: Asked) -> Choice | None:
        choice = self.faults.popleft() if self.faults else None
        return choice if choice in CHOICES[asked.operation.name] else None

    def _make(self, attempts: int) -> AsyncOmiClient | OmiClient:
        return self.make(
            base_url=self.server.url,
            timeout=Timeout(attempt=0.1),
            retry=self.clock.policy(attempts=attempts),
            max_connections=_CONNECTIONS,
        )

    # What the sides do differently

    def make(self, **arguments: Any) -> AsyncOmiClient | OmiClient:
        raise NotImplementedError

    def shut(self) -> None:
        raise NotImplementedError

    def call(self, operation: str, name: str, fields: dict[str, Any]) -> object:
        raise NotImplementedError

    def call_and_break_off(self, operation: str, name: str, fields: dict[str, Any], steps: int) -> object:
        raise NotImplementedError

    # The rules

    @rule(name=_ids, title=_titles, discarded=_discards, spoilt=_faults)
    def patch(self, name: str, title: str | None, discarded: bool | None, spoilt: list[Choice | None]) -> None:
        self.faults.extend(spoilt)
        fields = {"title": title, "discarded": discarded}
        before = self.look(name)
        self.compare("update", name, fields, before, self.call("update", name, fields))

    @rule(name=_ids, spoilt=_faults)
    def delete(self, name: str, spoilt: list[Choice | None]) -> None:
        self.faults.extend(spoilt)
        before = self.look(name)
        self.compare("delete", name, {}, before, self.call("delete", name, {}))

    @rule(name=_ids, operation=st.sampled_from(["update", "delete"]), steps=st.integers(0, 40))
    def cancel(self, name: str, operation: str, steps: int) -> None:
        """The caller gives up (or, on the synchronous side, somebody closes the client) after so many steps."""
        fields = {"title": "Cut", "discarded": True} if operation == "update" else {}
        before = self.look(name)
        self.compare(operation, name, fields, before, self.call_and_break_off(operation, name, fields, steps))

    @rule(choices=_faults)
    def fault_on(self, choices: list[Choice | None]) -> None:
        self.faults.extend(choices)

    @rule(choice=st.sampled_from(_SLOW))
    def slow_fault_on(self, choice: Choice) -> None:
        self.faults.append(choice)

    @rule()
    def fault_off(self) -> None:
        self.faults.clear()

    @rule(seconds=st.sampled_from([0.1, 1.0, 59.0, 3600.0]))
    def advance_clock(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def close(self) -> None:
        self.shut()

    @precondition(lambda self: self.client.closed)
    @rule(attempts=st.integers(1, _ATTEMPTS))
    def reopen(self, attempts: int) -> None:
        self.client = self._make(attempts)

    @invariant()
    def nothing_leaks(self) -> None:
        if hasattr(self, "client"):
            assert 0 == storm.slots_lost(storm.inner(self.client))
            assert 0 <= storm.inner(self.client)._retrier.budget.tokens <= Budget.FULL

    # The truth

    def look(self, name: str) -> State:
        state = ask(self.server.url)
        self.last_requests = state["requests"]
        self.was_closed = self.client.closed
        record = self.server.record(name)
        assert 1 >= record.deletions
        assert 0 == state["canary"]
        return record.exists, record.value("title", "Before"), record.value("discarded", False)

    def compare(self, operation: str, name: str, fields: dict[str, Any], before: State, told: object) -> None:
        earlier, was_closed = self.last_requests, self.was_closed
        after, sent = self.look(name), self.last_requests - earlier
        applied, half = self._applied(operation, fields, before)
        assert sent <= _ATTEMPTS
        match told:
            case ClientClosedError(attempts=0) | InvalidRequestError() | RateLimitError(attempts=0):
                assert (0, before) == (sent, after)
            case asyncio.CancelledError() | ClientClosedError(outcome="unknown"):
                assert after in (before, applied, half)
            case NotFoundError(outcome="not_applied", from_intermediary=False):
                assert not before[0]
                assert before == after
            case OmiError(outcome="not_applied"):
                assert before == after
            case OmiError(outcome="unknown"):
                assert after in (before, applied, half)
            case Conversation():
                assert before[0]
                assert applied == after
                assert (name, after[1]) == (told.id, told.structured.title)
            case Deletion(confirmed=True):
                assert before[0]
                assert not after[0]
            case Deletion():
                # Only an attempt in doubt before leaves it unconfirmed.
                assert sent > 1
                assert not after[0]
            case _:
                raise AssertionError(f"{told!r} is no answer")
        if isinstance(told, OmiError) and not isinstance(told, ClientClosedError):
            assert told.attempts >= sent  # an attempt may run out of time before it sends anything
        if was_closed:
            assert isinstance(told, (ClientClosedError, InvalidRequestError, asyncio.CancelledError))

    @staticmethod
    def _applied(operation: str, fields: dict[str, Any], before: State) -> tuple[State, State]:
        exists, title, discarded = before
        if not exists:
            return before, before
        if operation == "delete":
            return (False, title, discarded), (False, title, discarded)
        if fields["title"] is not None:
            title = fields["title"].strip()
        half = (True, title, discarded)
        if fields["discarded"] is not None:
            discarded = fields["discarded"]
        return (True, title, discarded), half


class AsynchronousMachine(_Machine):
    """The asynchronous client, on one loop for each run."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = self.stack.enter_context(asyncio.Runner())

    def make(self, **arguments: Any) -> AsyncOmiClient:
        return AsyncOmiClient(KEY, **arguments)

    def shut(self) -> None:
        assert isinstance(self.client, AsyncOmiClient)
        self.runner.run(self.client.aclose())

    def call(self, operation: str, name: str, fields: dict[str, Any]) -> object:
        return self.call_and_break_off(operation, name, fields, None)

    def call_and_break_off(self, operation: str, name: str, fields: dict[str, Any], steps: int | None) -> object:
        async def run() -> object:
            task = asyncio.ensure_future(getattr(self.client.conversations, operation)(name, **fields))
            if steps is not None:
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
            return (await asyncio.gather(task, return_exceptions=True))[0]

        return self.runner.run(run())


class SynchronousMachine(_Machine):
    """The synchronous client; a call is broken off by closing the client from another thread."""

    def make(self, **arguments: Any) -> OmiClient:
        return OmiClient(KEY, **arguments)

    def shut(self) -> None:
        assert isinstance(self.client, OmiClient)
        self.client.close()

    def call(self, operation: str, name: str, fields: dict[str, Any]) -> object:
        try:
            result: object = getattr(self.client.conversations, operation)(name, **fields)
        except OmiError as error:
            return error
        return result

    def call_and_break_off(self, operation: str, name: str, fields: dict[str, Any], steps: int) -> object:
        results: list[object] = []
        thread = threading.Thread(target=lambda: results.append(self.call(operation, name, fields)))
        thread.start()
        thread.join(steps / 10_000)
        self.shut()
        thread.join()
        (result,) = results
        return result


@pytest.mark.parametrize("machine", [AsynchronousMachine, SynchronousMachine])
def test_model(machine: type[_Machine]) -> None:
    """Whatever happens in whatever order, what callers are told agrees with what the server did."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=times(2_000),
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
