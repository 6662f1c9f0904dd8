"""How large the long runs are: whole with `OMI_TEST_FULL=1`, a hundredth otherwise."""

import os

FULL = os.environ.get("OMI_TEST_FULL") == "1"


def times(full: int) -> int:
    """`full` repetitions in the whole run, a hundredth (at least one) in the default suite."""
    return full if FULL else max(1, full // 100)
