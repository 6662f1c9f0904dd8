"""`python -m tests.simulation --seeds N [--jobs N] [--first SEED] [--replay SEED]`."""

import argparse
import functools
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from .draw import draw
from .many import violations_of
from .run import run
from .shrink import as_test, rules_of, shortest

_TOGETHER = 50  # seeds that a process is given at once


def _replay(seed: int) -> int:
    script = draw(seed)
    result = run(script)
    print(script, *result.log, *result.violations, sep="\n")
    if result.violations:
        print("\n" + as_test(shortest(script)))
    return bool(result.violations)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Worlds drawn from seeds.")
    parser.add_argument("--seeds", type=int, default=1000, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--jobs", type=int, default=1, metavar="N")
    parser.add_argument("--replay", type=int, metavar="SEED", help="one world with its log, and its shortest program")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        return _replay(arguments.replay)
    began = time.perf_counter()
    last = arguments.first + arguments.seeds
    starts = range(arguments.first, last, _TOGETHER)
    failed = 0
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        for found in pool.map(
            functools.partial(violations_of, real=True), starts, [min(start + _TOGETHER, last) for start in starts]
        ):
            for seed, violations in found:
                failed += 1
                print(f"seed {seed}:", *violations, sep="\n  ")
                if failed <= 3 and not rules_of(violations) & {"simulation", "real"}:
                    print(as_test(shortest(draw(seed))), flush=True)
    rate = arguments.seeds / (time.perf_counter() - began)
    print(f"{arguments.seeds} worlds, {failed} with a broken promise, {rate:.0f} worlds a second")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
