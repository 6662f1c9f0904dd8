"""The mutants fit the code as it is: `python -m tests.mutants` can run every one of them."""

import ast

import pytest

from tests.mutants import MUTANTS, ROOT, Mutant, mutated

pytestmark = pytest.mark.repository


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_fits(mutant: Mutant) -> None:
    """The text to replace occurs exactly once, and what replaces it is other, valid code."""
    text = mutated(mutant, ROOT)
    assert (ROOT / mutant.file).read_text(encoding="utf-8") != text
    compile(text, mutant.file, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_has_tests(mutant: Mutant) -> None:
    """The tests that are to notice it exist."""
    for test in [each for each in mutant.tests if not each.startswith("--")]:
        name, _, function = test.partition("::")
        assert (ROOT / name).exists()
        if function:
            tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
            assert function in {getattr(node, "name", "") for node in tree.body}


def test_mutants_are_many_and_different() -> None:
    """At least 36 mutants, no two the same."""
    assert 36 <= len(MUTANTS)
    assert len(MUTANTS) == len({mutant.name for mutant in MUTANTS})
    assert len(MUTANTS) == len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS})
