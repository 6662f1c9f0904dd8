"""Every scenario of the catalogue has a test, or a reason why it has none, and the page says which."""

from pathlib import Path

import pytest

from tests import catalogue

pytestmark = pytest.mark.repository

_REASONS = ("does not apply", "documented")


def test_numbers() -> None:
    """The catalogue holds the scenarios in order, the first 183 whole, each with a title of a few words."""
    numbers = list(catalogue.SCENARIOS)
    assert list(range(1, 184)) == numbers[:183]
    assert sorted(numbers) == numbers
    titles = [title for title, _ in catalogue.SCENARIOS.values()]
    assert len(titles) == len(set(titles))
    assert [] == [title for title in titles if "|" in title or not 1 <= len(title.split()) <= 10]


def test_reasons() -> None:
    """A reason says that the scenario does not apply, or where it is documented."""
    reasons = [reason for _, reason in catalogue.SCENARIOS.values() if reason is not None]
    assert [] == [reason for reason in reasons if not reason.startswith(_REASONS) or "|" in reason]


def test_marks_are_known() -> None:
    """No test claims to show a scenario that is not in the catalogue."""
    assert set() == set(catalogue.shown()) - set(catalogue.SCENARIOS)


def test_nothing_is_missing() -> None:
    """Every scenario is shown by a test or has a reason."""
    tests = catalogue.shown()
    assert [] == [n for n, (_, reason) in catalogue.SCENARIOS.items() if n not in tests and reason is None]


def test_page() -> None:
    """The page's table is the one that the tests give; `python -m tests.catalogue --write` renews it."""
    page = catalogue.PAGE.read_text(encoding="utf-8")
    cells = catalogue.rows(page)
    tests = catalogue.shown()
    assert [] == [n for n in catalogue.SCENARIOS if n not in tests and not cells.get(n, "").startswith(_REASONS)]
    assert page == catalogue.filled(page)


def test_marks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks are found on functions, classes, parameters and whole modules."""
    source = (
        "pytestmark = pytest.mark.scenario(1)\n"
        "def case(name, number): return pytest.param(name, marks=pytest.mark.scenario(number))\n"
        "def twice(number): return [case('c', number), case('d', 12)]\n"
        "CASES = [case('a', 9), case('b', number=10), *twice(11)]\n"
        "@pytest.mark.scenario(2, *range(3, 5))\n"
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.scenario(6))])\n"
        "async def test_one(): ...\n"
        "@pytest.mark.scenario(7)\n"
        "class TestTwo:\n"
        "    @pytest.mark.scenario(8)\n"
        "    def test_three(self): ...\n"
    )
    folder = tmp_path.joinpath("tests", "unit")
    folder.mkdir(parents=True)
    folder.joinpath("test_x.py").write_text(source)
    monkeypatch.setattr(catalogue, "ROOT", tmp_path)
    found = {number: sorted(files["tests/unit/test_x.py"]) for number, files in catalogue.shown().items()}
    expected = {2: ["test_one"], 3: ["test_one"], 4: ["test_one"], 6: ["test_one"], 7: ["TestTwo"], 8: ["test_three"]}
    assert {**dict.fromkeys((1, 9, 10, 11, 12), []), **expected} == found
    page = "# Title\n\n| number | scenario | shown by |\n|---|---|---|\n| 1 | old | old |\n\nThe end.\n"
    filled = catalogue.filled(page)
    assert filled == catalogue.filled(filled)
    assert ("# Title", "The end.") == (filled.splitlines()[0], filled.splitlines()[-1])
    assert "`unit/test_x.py`: test_one" == catalogue.rows(filled)[2]
