"""Many worlds, one after the other."""

import faulthandler

from .draw import draw
from .run import run

_PATIENCE = 60.0  # real seconds for one world; after that, something holds up the loop for good


def violations_of(first: int, last: int) -> list[tuple[int, list[str]]]:
    """What breaks a promise in the worlds of these seeds."""
    found = []
    for seed in range(first, last):
        faulthandler.dump_traceback_later(_PATIENCE, exit=True)
        try:
            violations = run(draw(seed)).violations
        except Exception as error:
            violations = [f"simulation: {error!r}"]
        if violations:
            found.append((seed, violations))
    faulthandler.cancel_dump_traceback_later()
    return found
