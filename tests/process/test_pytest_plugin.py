"""The pytest plugin in projects of users, each in an interpreter of its own."""

import importlib.metadata
import re
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.subprocesses import ROOT, Result, run

PYTEST = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"

USERS_TESTS = """
    import asyncio
    import os

    import pytest

    from omi_async import AsyncOmiClient, ConversationUpdate, RateLimitError
    from omi_sync import OmiClient

    TWENTY = pytest.mark.parametrize("number", range(20))


    @TWENTY
    def test_synchronous(omi, omi_sandbox, number):
        omi.conversations.delete("conv_noise")
        assert "conv_noise" not in omi_sandbox.conversations
        assert ["DELETE"] == [request.method for request in omi_sandbox.requests]


    @TWENTY
    async def test_asynchronous(async_omi, omi_sandbox, number):
        updates = [async_omi.conversations.update(each, title="A") for each in ("conv_noise", "conv_standup")]
        await asyncio.gather(*updates)
        assert "A" == omi_sandbox.conversations["conv_noise"].title
        assert 2 == len(omi_sandbox.requests)


    @TWENTY
    async def test_without_waiting(async_omi, omi_no_wait, omi_sandbox, number):
        omi_sandbox.fail(status=503, headers={"Retry-After": "30"})
        await async_omi.conversations.delete("conv_noise")
        omi_sandbox.fail(status=429, headers={"Retry-After": "900"})
        with pytest.raises(RateLimitError):
            await async_omi.conversations.delete("conv_standup")
        assert [503, 200, 429] == [request.status for request in omi_sandbox.requests]


    @TWENTY
    async def test_list(async_omi, number):
        assert "conv_standup" in [each.id async for each in async_omi.conversations.list()]


    @TWENTY
    def test_client_of_the_program(omi_sandbox, number):
        with OmiClient() as omi:
            omi.conversations.update("conv_standup", title="A")
        assert "A" == omi_sandbox.conversations["conv_standup"].title
"""

MORE_TESTS = """
    def test_own_loop(async_omi):
        async def title():
            return (await async_omi.conversations.get("conv_standup")).structured.title

        assert "Monday Stand-up" == asyncio.run(title())


    def test_an_hour_passes_at_once(omi, omi_no_wait, omi_sandbox):
        updates = [ConversationUpdate("conv_standup", title=str(number)) for number in range(30)]
        with omi.conversations.update_many(updates) as job:
            assert {"done"} == {outcome.status for outcome in job}
        assert "29" == omi_sandbox.conversations["conv_standup"].title
        assert 429 in {request.status for request in omi_sandbox.requests}


    def test_own_policy(omi_no_wait, omi_sandbox):
        omi_sandbox.fail(status=503, headers={"Retry-After": "30"})
        with OmiClient(retry=omi_no_wait) as omi:
            omi.conversations.delete("conv_noise")


    def test_waiting_unless_asked(omi, omi_sandbox):
        omi_sandbox.fail(status=503, headers={"Retry-After": "30"})
        with pytest.raises(Exception, match="503"):
            omi.conversations.delete("conv_noise", timeout=20)


    @pytest.mark.parametrize("number", range(2))
    def test_a_late_change_is_for_its_own_test(omi_sandbox, omi, number):
        assert "Monday Stand-up" == omi.conversations.get("conv_standup").structured.title
        omi_sandbox.fail(delay=0.05)
        with pytest.raises(TimeoutError):
            omi.conversations.update("conv_standup", title="Late", timeout=0.01)


    def test_the_environment_is_the_users():
        assert "OMI_API_BASE" not in os.environ
"""

BY_HAND = """
    import pytest
    import pytest_asyncio

    from omi_async import AsyncOmiClient, RetryPolicy
    from omi_sync import OmiClient, Sandbox


    @pytest.fixture
    def omi_sandbox(monkeypatch):
        with Sandbox() as sandbox:
            monkeypatch.setenv("OMI_API_KEY", sandbox.api_key)
            monkeypatch.setenv("OMI_API_BASE", sandbox.url)
            yield sandbox


    @pytest.fixture
    def omi_no_wait():
        async def sleep(seconds):
            pass

        return RetryPolicy(sleep=sleep)


    @pytest.fixture
    def omi(omi_sandbox):
        with OmiClient() as client:
            yield client


    @pytest_asyncio.fixture
    async def async_omi(omi_sandbox, request):
        retry = request.getfixturevalue("omi_no_wait") if "omi_no_wait" in request.fixturenames else RetryPolicy()
        async with AsyncOmiClient(retry=retry) as client:
            yield client
"""

AUTO = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope={0}")
LOOPS = {
    "function loops": [*AUTO, "-o", "asyncio_default_test_loop_scope={0}", "function"],
    "session loops": [*AUTO, "-o", "asyncio_default_test_loop_scope={0}", "session"],
    "xdist": [*AUTO, "-n", "2", "function"],
    "anyio": ["-p", "no:asyncio", "-o", "anyio_mode=auto", ""],
}


def users_run(folder: Path, *options: str) -> Result:
    """The user's own run of pytest, where every warning is an error."""
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    settings = ("-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--rootdir", folder, "-c", folder / "pytest.ini")
    return run(PYTEST, *settings, *options, folder, env={"PYTEST_ADDOPTS": ""}, limit=200)


def options_of(loops: str) -> list[str]:
    *options, scope = LOOPS[loops]
    return [option.format(scope) for option in options]


@pytest.mark.parametrize("loops", LOOPS)
def test_users_project(loops: str, tmp_path: Path) -> None:
    """Each test has fresh records and clients of its own, whichever plugin runs its loop, and nothing is left open."""
    (tmp_path / "test_program.py").write_text(textwrap.dedent(USERS_TESTS) + textwrap.dedent(MORE_TESTS))
    result = users_run(tmp_path, *options_of(loops))
    assert result.code == 0, result.out
    assert "107 passed" in result.out


@pytest.mark.figure
@pytest.mark.parametrize("loops", ["function loops", "session loops", "xdist"])
def test_time_of_a_users_project(loops: str, tmp_path: Path, figure: Callable[..., None]) -> None:
    """A hundred tests with the plugin's fixtures, and with fixtures of the user's own."""
    seconds = {}
    for fixtures in ("plugin", "by_hand"):
        folder = tmp_path / fixtures
        folder.mkdir()
        (folder / "test_program.py").write_text(textwrap.dedent(USERS_TESTS))
        if fixtures == "by_hand":
            (folder / "conftest.py").write_text(textwrap.dedent(BY_HAND))
        begun = time.monotonic()
        result = users_run(folder, *options_of(loops), *(["-p", "no:omi"] if fixtures == "by_hand" else []))
        seconds[fixtures] = f"{time.monotonic() - begun:.2f} s"
        assert "100 passed" in result.out, result.out
    figure(f"a user's 100 tests, {loops}", **seconds)


@pytest.mark.repository
def test_the_example_of_the_docs(tmp_path: Path) -> None:
    """The tests that the sandbox's page shows pass as printed."""
    (example,) = re.findall(r"^```python\n([^`]*def test_.*?)^```", (ROOT / "docs/sandbox.md").read_text(), re.M | re.S)
    (tmp_path / "test_docs.py").write_text(example)
    result = users_run(tmp_path, "-o", "asyncio_default_fixture_loop_scope=function")
    assert "3 passed" in result.out, result.out


def test_the_plugin_is_light() -> None:
    """pytest finds the plugin by its name, and loading it loads nothing of the packages nor of what they need."""
    (plugin,) = importlib.metadata.entry_points(group="pytest11", name="omi")
    assert "omi_pytest" == plugin.value
    source = """
        import sys
        import pytest
        before = set(sys.modules)
        import omi_pytest
        print(sorted(set(sys.modules) - before))
        """
    assert ["['omi_pytest']"] == run(source).check().lines


def test_a_program_that_runs_pytest() -> None:
    """Pytest rewrites the packages of its plugins, but does not warn of these if they are imported already."""
    pytest.register_assert_rewrite("omi_async", "omi_sync")


def test_a_project_that_does_not_use_it(tmp_path: Path) -> None:
    """In a project without the fixtures nothing of the packages is loaded, and the fixtures can be seen."""
    (tmp_path / "test_other.py").write_text(
        textwrap.dedent(
            """
            import sys

            def test_nothing_is_loaded():
                assert [] == [name for name in sys.modules if name.startswith(("omi_async", "omi_sync", "aiohttp"))]
            """
        )
    )
    result = users_run(tmp_path, "-p", "no:asyncio", "-p", "no:aiohttp")
    assert "1 passed" in result.out, result.out
    listed = users_run(tmp_path, "-p", "no:asyncio", "--fixtures").out
    for fixture in ("omi_sandbox", "omi_no_wait", "omi", "async_omi"):
        assert f"{fixture} -- " in listed
