"""The pytest plugin: fixtures for tests of programs that use the API.

pytest imports it in every project that has it installed, so it lies outside of the packages and imports nothing of them
until a fixture is used.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from omi_async import AsyncOmiClient, RetryPolicy
    from omi_sync import OmiClient, Sandbox


class _Clock:
    """Real time, and the waits that were left out of it."""

    def __init__(self) -> None:
        self._left_out = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._left_out

    async def leave_out(self, seconds: float) -> None:
        import asyncio

        self._left_out += seconds
        await asyncio.sleep(0)  # others get their turn, as in any wait


@pytest.fixture(scope="session")
def _omi_clock() -> _Clock:
    return _Clock()


@pytest.fixture(scope="session")
def _omi_server(_omi_clock: _Clock) -> "Iterator[Sandbox]":
    from omi_sync import Sandbox

    # It serves on a thread of its own, so it does not matter which event loop a test has. And asyncio warns of each
    # connection that is kept when its loop is closed, which is before the fixtures' end under anyio.
    with Sandbox(keep_alive=False, clock=_omi_clock) as sandbox:
        yield sandbox


@pytest.fixture
def omi_sandbox(_omi_server: "Sandbox", monkeypatch: pytest.MonkeyPatch) -> "Sandbox":
    """An Omi server on this machine with fresh records, which `OMI_API_KEY` and `OMI_API_BASE` point to."""
    _omi_server.reset()
    monkeypatch.setenv("OMI_API_KEY", _omi_server.api_key)
    monkeypatch.setenv("OMI_API_BASE", _omi_server.url)
    return _omi_server


@pytest.fixture
def omi_no_wait(_omi_clock: _Clock) -> "RetryPolicy":
    """A retry policy whose waits take no time. The other fixtures use it where a test asks for it."""
    from omi_async import RetryPolicy

    return RetryPolicy(sleep=_omi_clock.leave_out, clock=_omi_clock)


@pytest.fixture
def _omi_policy(request: pytest.FixtureRequest) -> "RetryPolicy":
    from omi_async import RetryPolicy

    asked_for = "omi_no_wait" in request.fixturenames
    policy: RetryPolicy = request.getfixturevalue("omi_no_wait") if asked_for else RetryPolicy()
    return policy


@pytest.fixture
def omi(omi_sandbox: "Sandbox", _omi_policy: "RetryPolicy") -> "Iterator[OmiClient]":
    """An `OmiClient` of the sandbox."""
    from omi_sync import OmiClient

    with OmiClient(omi_sandbox.api_key, base_url=omi_sandbox.url, retry=_omi_policy) as client:
        yield client


@pytest.fixture
def async_omi(omi_sandbox: "Sandbox", _omi_policy: "RetryPolicy") -> "Iterator[AsyncOmiClient]":
    """An `AsyncOmiClient` of the sandbox, for the event loop that uses it first, whichever plugin runs that."""
    from omi_async import AsyncOmiClient

    client = AsyncOmiClient(omi_sandbox.api_key, base_url=omi_sandbox.url, retry=_omi_policy)
    yield client
    # Not `aclose`, which needs the client's loop: now it does not run, or is closed already.
    client._transport.pool.abandon()
