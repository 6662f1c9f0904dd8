"""Many worlds, one after the other."""

import faulthandler

from .draw import draw
from .real import differences, draw_plain
from .run import run

_PATIENCE = 60.0  # real seconds for one world; after that, something holds up the loop for good


def violations_of(first: int, last: int, *, real: bool = False) -> list[tuple[int, list[str]]]:
    """What breaks a promise in the worlds of these seeds; if `real`, each hundredth on real sockets too."""
    found = []
    for seed in range(first, last):
        faulthandler.dump_traceback_later(_PATIENCE, exit=True)
        try:
            violations = run(draw(seed)).violations
            if real and seed % 100 == 0:
                violations += differences(draw_plain(seed))
        except Exception as error:
            violations = [f"simulation: {error!r}"]
        if violations:
            found.append((seed, violations))
    faulthandler.cancel_dump_traceback_later()
    return found
