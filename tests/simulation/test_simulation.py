"""Random users in random worlds: a thousand on every run, and what makes them worth believing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omi_async._protocol import meaning
from omi_async._wire import connection

from .draw import draw
from .many import violations_of
from .real import differences, draw_plain
from .run import run
from .script import Call, Clock, Close, Job, Script, Together, Turn, User, World
from .shrink import as_test, shortest

_WORLDS = 1000
_AT_ONCE = 50
_LOG = "import sys; from tests.simulation.run import run; from tests.simulation.draw import draw\n" + (
    "sys.stdout.write('\\n'.join(line for seed in range(30) for line in run(draw(seed)).log))"
)


@pytest.mark.parametrize("first", range(0, _WORLDS, _AT_ONCE))
def test_no_promise_is_broken(first: int) -> None:
    """What a user is told agrees with what happened, in each world; `--replay SEED` shows one that fails."""
    assert violations_of(first, first + _AT_ONCE) == []


def test_the_same_seed_gives_the_same_log() -> None:
    """Byte for byte, in this process and in another with other hashes."""
    here = "\n".join(line for seed in range(30) for line in run(draw(seed)).log)
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    there = subprocess.run(
        [sys.executable, "-c", _LOG], cwd=Path(__file__).parents[2], env=environment, capture_output=True, check=True
    )
    assert there.stdout.decode() == here


@pytest.mark.parametrize("seed", range(10))
def test_real_sockets_end_alike(seed: int) -> None:
    """What the user is told does not depend on whether the world is simulated, or on the side of the client."""
    assert differences(draw_plain(seed)) == []


# Each mistake is put into the client, and must be seen.

_GATEWAY = Script(
    world=World(turns=(Turn(answer="502", reaches=False), Turn(answer="404"))),
    user=User(steps=(Call(id="d1", operation="delete"),)),
)
_ANSWERED_TWICE = Script(
    world=World(turns=(Turn(way="twice later", gap=0.05),)),
    user=User(steps=(Call(id="d1", operation="delete"), Call(id="x2", operation="delete", compute=0.3))),
)


def test_sees_a_page_that_is_taken_for_the_apis_word(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(_GATEWAY).violations == []
    monkeypatch.setattr(meaning, "_speaks", lambda *_: True)
    assert [each for each in run(_GATEWAY).violations if each.startswith(("no_false_success", "only_the_apis_words"))]


def test_sees_an_answer_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(_ANSWERED_TWICE).violations == []
    monkeypatch.setattr(connection, "_watch", lambda _: lambda: False)
    assert [each for each in run(_ANSWERED_TWICE).violations if each.startswith("no_false_success")]


# What the simulation has found


def test_found_a_storm_after_the_clock_was_set_forth() -> None:
    """A job asked a closed window again and again, because it believed the older of two words."""
    script = Script(
        world=World(write_limit=1, clocks=(Clock(at=10.0, steps=3600.0),)),
        user=User(
            steps=(
                Call(operation="delete", id="d5"),
                Call(text="marker-8.", compute=0.3),
                Job(operation="delete", ids=("j11-2",), source="slow"),
            )
        ),
    )
    assert run(script).violations == []


def test_found_a_closed_client_that_waited_for_a_window() -> None:
    """A call of a closed client was refused with the seconds until a window opens, which it would never use."""
    script = Script(
        world=World(write_limit=1),
        user=User(
            steps=(
                Call(id="d1", operation="delete"),
                Call(id="d2", operation="delete"),
                Close(),
                Call(text="marker-3."),
            )
        ),
    )
    assert run(script).violations == []


def test_found_an_item_that_was_sent_and_not_reported() -> None:
    """A gateway had refused it, and the job was cancelled before it was tried again."""
    job = Job(ids=("j1",), texts=("marker-1.",), take="cancel", after=0.5, close_limit=1.0)
    assert run(Script(world=World(turns=(Turn(answer="409"),)), user=User(steps=(job,)))).violations == []


def test_found_a_retry_into_a_closed_window() -> None:
    """Another item had learned of the closed window while this one waited to be tried again."""
    script = Script(
        world=World(turns=(Turn(), Turn(answer="404 json")), write_limit=2),
        user=User(steps=(Job(operation="delete", ids=("j1", "j2", "j3", "j2"), concurrency=2),)),
    )
    assert run(script).violations == []


def test_found_a_window_that_was_forgotten() -> None:
    """A refusal that came a little early, by rounding, made the window as short as what was left of it."""
    script = Script(
        world=World(write_limit=2, window=60.0),
        user=User(steps=(Job(operation="delete", ids=tuple(f"j{n}" for n in range(9))),)),
    )
    result = run(script)
    assert result.violations == []
    assert sum(seen.status == 429 for seen in result.world.record.requests) < 20


def test_found_an_item_that_was_given_up_for_good() -> None:
    """It found no free connection in time, which the journal took for a refusal: no later run sent it."""
    together = Together(
        steps=(
            Call(operation="list", total=77.0, attempt=None),
            Job(operation="delete", ids=("j1",), journal=True, wait=0.1),
        )
    )
    script = Script(world=World(turns=(Turn(answer="none"),)), user=User(steps=(together,), max_connections=1))
    assert run(script).violations == []


def test_a_failure_is_made_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a script that fails is a test that can be pasted."""
    monkeypatch.setattr(meaning, "_speaks", lambda *_: True)
    steps = (Call(operation="get"), Call(operation="delete", id="d1", compute=0.1), Call(text="marker-1.", attempts=1))
    turns = (Turn(), Turn(answer="502", reaches=False), Turn(answer="404", delay=0.1), Turn(way="chunked"))
    short = shortest(Script(world=World(latency=0.2, turns=turns), user=User(steps=steps)))
    assert as_test(short) == (
        "def test_found() -> None:\n"
        "    script = Script(world=World(turns=(Turn(answer='502', reaches=False), Turn(answer='404'))), "
        "user=User(steps=(Call(operation='delete', id='d1'),)))\n"
        "    assert run(script).violations == []\n"
    )
