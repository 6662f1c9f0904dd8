"""`python -m tests.benchmarks` measures calls that were really made; how fast they were is not asked here."""

import json
import re
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import plots, server
from tests.support import subprocesses

pytestmark = pytest.mark.repository


def test_calls_are_answered_and_reported() -> None:
    """Each mode ends in a table with a line of figures above zero for each contender."""
    program = "import runpy; runpy.run_module('tests.benchmarks', run_name='__main__', alter_sys=True)"
    modes = ["patch-large", "delete"]
    result = subprocesses.run(program, *modes, "--quick", "--calls", 3, "--only", "aiohttp", "ours").check()
    rows = [line.strip("| ").split(" | ") for line in result.lines if re.match(r"\| \S", line)]
    assert ["bare aiohttp", "omi_async"] * 2 == [name for name, *_ in rows]
    assert modes == re.findall(r"^### .*\(`(.+)`\)$", result.out, re.M)
    for _, *figures in rows:
        assert 4 == len(figures)
        assert 0 < min(float(number) for figure in figures for number in re.findall(r"[0-9]+(?:\.[0-9]+)?", figure))


class Deaf(server.Server):
    """Claims that nothing was ever asked of it."""

    def url(self, port: str) -> str:
        return port

    def answered(self) -> int:
        return 0


def test_unanswered_calls_are_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    """A contender that is quick because it asks nobody ends the run; no table is printed."""
    size = benchmarks.Size(rounds=1, turns=1, repeats=1, memory=1, calls=2)
    bench = benchmarks.Bench(Deaf(0, {"small": 0}), size, only=[], speed=False)
    with pytest.raises(RuntimeError, match="json: 0 requests for 10 calls"):
        bench.race(benchmarks.Mode("patch", "PATCH", ("json",), calls=2))
    assert "" == capsys.readouterr().out


@pytest.mark.parametrize(("body", "kilobytes"), [(server.SMALL, 1.2), (server.LARGE, 77)])
def test_bodies_have_their_sizes(body: bytes, kilobytes: float) -> None:
    """The bodies are as large as the tables say."""
    assert kilobytes == pytest.approx(len(body) / 1000, rel=0.05)


def test_growth_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A client that takes over 3 % more instructions than recorded is named; what all take more is the machine's."""
    recorded = {"bare aiohttp": 100.0, "omi_async": 80.0, "omi_sync": 90.0}
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"thousand_instructions": recorded}))
    monkeypatch.setattr(plots, "FIGURES", file)
    assert [] == plots.grown({"thousand_instructions": {name: each * 1.5 for name, each in recorded.items()}})
    assert ["omi_async: 0.840 of bare aiohttp, recorded 0.800"] == plots.grown(
        {"thousand_instructions": {**recorded, "omi_async": 84.0, "omi_sync": 92.0}}
    )
