"""Fixtures that every folder of tests shares."""

import signal
from collections.abc import AsyncIterator, Callable

import pytest

pytest.register_assert_rewrite("tests.support")  # first of all: so that they assert under -O as well

from tests.support import inside, specimens
from tests.support.clock import VirtualClock
from tests.support.sides import Side
from tests.support.specimens import Specimen


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--through-session", action="store_true", help="as with an aiohttp that is not known: all through its session"
    )


def pytest_configure() -> None:
    # A shell lets its background jobs ignore SIGINT, nohup lets them ignore SIGHUP, and what ignores a signal starts
    # programs that ignore it too. With a handler here, they begin with the usual dispositions.
    for name in ("SIGINT", "SIGHUP", "SIGTERM", "SIGQUIT"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else lambda *_: None)


@pytest.fixture(autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.config.getoption("--through-session"):
        inside.go_straight(monkeypatch, False)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it."""
    proxies = [f"{scheme}_PROXY" for scheme in ("HTTP", "HTTPS", "ALL", "NO")]
    for name in ("OMI_API_KEY", "OMI_API_BASE", "OMI_PROXY", *proxies, *map(str.lower, proxies)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["async", "sync"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    """The asynchronous and the synchronous client in turn."""
    side = Side(request.param)
    yield side
    await side.aclose()


@pytest.fixture(params=specimens.SPECIMENS, ids=lambda specimen: specimen.name)
def specimen(request: pytest.FixtureRequest) -> Specimen:
    """An operation of each effect in turn: for the laws."""
    assert isinstance(request.param, Specimen)
    return request.param


@pytest.fixture(params=specimens.CHANGES)
def operation(request: pytest.FixtureRequest) -> str:
    """PATCH and DELETE in turn: for what is sent and read."""
    return str(request.param)


@pytest.fixture
def clock() -> VirtualClock:
    """A virtual clock; use `clock.policy()` as the retry policy."""
    return VirtualClock()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Note what a run measured, `figure("fault storm", calls=100_000, false_success=0)`: the summary prints it."""

    def note(name: str, **values: object) -> None:
        text = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in values.items())
        request.node.user_properties.append(("figure", f"{name}: {text}"))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = [
        text
        for report in terminalreporter.getreports("passed")
        for kind, text in getattr(report, "user_properties", ())
        if kind == "figure" and report.when == "call"
    ]
    if figures:
        terminalreporter.section("figures")
        for text in sorted(figures):
            terminalreporter.line(str(text))
