"""What the gate of a rate window learns and when it opens."""

from types import SimpleNamespace

import pytest

from omi_async import AsyncOmiClient, RateLimitError, pacing
from omi_async.pacing import Gate
from tests.support.sides import KEY


class Time:
    now = 1000.0
    asleep = 0.0
    """Seconds that the client's own clock has missed."""

    def __call__(self) -> float:
        return self.now

    def day(self) -> float:
        return 1_000_000.0 + self.now + self.asleep


def refusal(retry_after: float | None, limit: int | None = 25) -> RateLimitError:
    error = RateLimitError("Rate limit exceeded.", status=429, retry_after=retry_after)
    error.limit = limit
    return error


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(pacing, "time", SimpleNamespace(time=made.day))
    return made


@pytest.fixture
def gate(time: Time) -> Gate:
    return Gate(time)


def send(gate: Gate, time: Time, count: int, *, every: float = 0.0) -> None:
    for _ in range(count):
        time.now += every
        gate.sent()


def test_knows_nothing(gate: Gate, time: Time) -> None:
    """Before the first refusal a gate is open, whatever was sent."""
    send(gate, time, 10_000)
    assert (0.0, 0.0, None, None) == (gate.closed_for(), gate.refused_for(), gate.limit, gate.window)


def test_first_lesson(gate: Gate, time: Time) -> None:
    """A refusal tells the allowance and when the window ends; it began with the first request of its allowance."""
    send(gate, time, 26, every=10.0)
    gate.refused(refusal(3350.0))
    assert (25, 3601.0) == (gate.limit, gate.window)  # 250 s from the first to the refused, and one for the rounding
    assert (3350.0, 3351.0) == (gate.refused_for(), gate.closed_for())


def test_spends_what_is_allowed(gate: Gate, time: Time) -> None:
    """Once it has learned, it closes with the last request of an allowance, and opens with the next window."""
    send(gate, time, 26)
    gate.refused(refusal(3600.0))
    time.now += 3601.0
    for _ in range(3):
        opened = time.now
        send(gate, time, 24, every=10.0)
        assert 0.0 == gate.closed_for()
        send(gate, time, 1)
        # Counted from the window's first request; nobody was refused.
        assert opened + 10.0 + 3601.0 - time.now == gate.closed_for()
        assert 0.0 == gate.refused_for()
        time.now += gate.closed_for()


def test_refused_together(gate: Gate, time: Time) -> None:
    """Requests refused together are one lesson: the later ones do not spoil it."""
    send(gate, time, 25, every=10.0)
    send(gate, time, 4)
    for left in (3360.0, 3359.0, 3359.0, 3358.0):
        gate.refused(refusal(left))
        time.now += 0.5
    assert 25 == gate.limit
    assert gate.window is not None
    assert 3600.0 <= gate.window <= 3602.0
    assert 3358.0 <= gate.refused_for() <= 3360.0


@pytest.mark.parametrize("retry_after", [None, 0.0, 0.5])
def test_little_to_learn(gate: Gate, time: Time, retry_after: float | None) -> None:
    """A refusal without a time teaches nothing; one that names none to wait closes for the rounding only."""
    send(gate, time, 26)
    gate.refused(refusal(retry_after))
    assert (0.0 if retry_after is None else retry_after + 1.0) == gate.closed_for()
    assert (None if retry_after is None else 25) == gate.limit


@pytest.mark.parametrize("limit", [None, 0])
def test_no_limit_told(gate: Gate, time: Time, limit: int | None) -> None:
    """Without a limit the refusal is obeyed, and nothing is counted afterwards."""
    send(gate, time, 26)
    gate.refused(refusal(100.0, limit))
    assert (None, 101.0) == (gate.limit, gate.closed_for())
    time.now += 101.0
    send(gate, time, 1000)
    assert 0.0 == gate.closed_for()


def test_learns_again(gate: Gate, time: Time) -> None:
    """When the server turns out to allow less, or longer, the new lesson replaces the old one."""
    send(gate, time, 101)
    gate.refused(refusal(60.0, 100))
    time.now += 61.0
    send(gate, time, 11)
    gate.refused(refusal(3600.0, 10))
    assert (10, 3601.0) == (gate.limit, gate.window)
    time.now += 3601.0
    send(gate, time, 10)
    assert 3601.0 == gate.closed_for()


def test_shared_with_another(gate: Gate, time: Time) -> None:
    """Where another program has spent most of a window, its length is taken from what is known: never too short."""
    send(gate, time, 3)
    gate.refused(refusal(1800.0))
    assert gate.window is not None
    assert 1800.0 <= gate.window <= 1801.0
    time.now += 1801.0
    # Too short a lesson is mended by the next one.
    send(gate, time, 26, every=1.0)
    gate.refused(refusal(3574.0))
    assert (25, 3600.0) == (gate.limit, gate.window)


def test_taken_back(gate: Gate, time: Time) -> None:
    """A request that never left does not count."""
    send(gate, time, 26)
    gate.refused(refusal(3600.0))
    time.now += 3601.0
    send(gate, time, 24)
    gate.unsent(gate.sent())
    assert 0.0 == gate.closed_for()
    send(gate, time, 1)
    assert 3601.0 == gate.closed_for()


def test_taken_back_too_late(gate: Gate, time: Time) -> None:
    """A request of an earlier window that turns out not to have left gives nothing back of the present one."""
    send(gate, time, 26)
    gate.refused(refusal(3600.0))
    time.now += 3601.0
    earlier = gate.sent()
    time.now += 3601.0
    send(gate, time, 25)
    gate.unsent(earlier)
    assert 3601.0 == gate.closed_for()


def test_taken_back_of_too_many(gate: Gate, time: Time) -> None:
    """Where more than the allowance left, one that did not leave changes nothing: the window is spent."""
    send(gate, time, 26)
    gate.refused(refusal(3600.0))
    time.now += 3601.0
    send(gate, time, 27)  # repeated attempts are made without asking the gate
    gate.unsent(gate.sent())
    assert 3601.0 == gate.closed_for()


def test_nothing_to_take_back(gate: Gate) -> None:
    """Taking back before anything was sent is harmless."""
    gate.unsent(0.0)
    assert 0.0 == gate.closed_for()


def test_refused_by_word(gate: Gate, time: Time) -> None:
    """Word of a closed window closes at once, and a shorter word does not open it earlier."""
    gate.refuse(600.0)
    gate.refuse(10.0)
    assert (600.0, 601.0) == (gate.refused_for(), gate.closed_for())
    time.now += 600.5
    assert (0.0, 0.5) == (gate.refused_for(), gate.closed_for())
    time.now += 0.5
    assert 0.0 == gate.closed_for()


def test_a_machine_that_sleeps(gate: Gate, time: Time) -> None:
    """A gate opens by the time of day where the client's own clock stood still, by either way of closing."""
    send(gate, time, 26)
    gate.refused(refusal(3600.0))
    time.asleep += 3590.0
    assert (10.0, 11.0) == (gate.refused_for(), gate.closed_for())
    time.asleep += 11.0
    assert 0.0 == gate.closed_for()
    time.now += 3601.0
    send(gate, time, 25)
    assert 3601.0 == gate.closed_for()
    time.asleep += 3601.0
    assert 0.0 == gate.closed_for()


def test_a_clock_that_is_set_back(gate: Gate, time: Time) -> None:
    """A gate does not close for longer because somebody sets the time of day back."""
    gate.refuse(600.0)
    time.asleep -= 86_400.0
    assert (600.0, 601.0) == (gate.refused_for(), gate.closed_for())


@pytest.mark.parametrize("limit", [25, None])
def test_a_day_at_most(gate: Gate, time: Time, limit: int | None) -> None:
    """No word of a server closes a gate for longer than a day, or makes a window longer than one."""
    send(gate, time, 26)
    gate.refused(refusal(10.0 * 86_400.0, limit))
    assert (86_400.0, 86_401.0) == (gate.refused_for(), gate.closed_for())
    assert (None if limit is None else 86_400.0) == gate.window


def test_much_is_forgotten(gate: Gate, time: Time) -> None:
    """A window with a large allowance is measured too short at worst, which costs a refusal."""
    send(gate, time, 10_001, every=1.0)
    gate.refused(refusal(76_400.0, 10_000))
    assert gate.window is not None
    assert 76_400.0 <= gate.window < 86_402.0
    assert 4096 == len(gate._sent)


async def test_gates_of_a_client() -> None:
    """Each of the server's windows has a gate of its own, shared by all calls of one client and by no other."""
    async with AsyncOmiClient(KEY) as one, AsyncOmiClient(KEY) as other:
        writes = one._retrier.gate("writes")
        writes.refuse(100.0)
        assert writes is one._retrier.gate("writes")
        assert 0.0 == one._retrier.gate("reads").closed_for()
        assert 0.0 == other._retrier.gate("writes").closed_for()
        assert 99.0 < one._retrier.gate("writes").refused_for() <= 100.0


def test_a_clock_that_is_set_forth(gate: Gate, time: Time) -> None:
    """What the server says after the time of day was set forth counts, even if the window ends when it did before."""
    gate.refused(refusal(3600.0, limit=1))
    time.now += 10.0
    time.asleep += 3600.0
    assert gate.refused_for() == 0.0
    gate.refused(refusal(3589.0, limit=1))  # rounded
    assert 3589.0 <= gate.refused_for() <= 3590.0


def test_refused_a_little_early(gate: Gate, time: Time) -> None:
    """A refusal within the rounding of the one before teaches no shorter window."""
    send(gate, time, 3)
    gate.refused(refusal(53.0, limit=2))
    learned = gate.window
    time.now += 53.1
    gate.sent()
    gate.refused(refusal(0.0, limit=2))
    assert learned is not None
    assert gate.window is not None
    assert gate.window >= learned
    send(gate, time, 2)
    assert gate.closed_for() > 50.0
