"""Compare the project's statement of the API with an OpenAPI file: `python -m tests.contract path/to/openapi.json`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .compare import judge
from .stated import OPERATIONS


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every difference; 1 if there is one that is not known, or a known one that is gone."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract", description=__doc__)
    parser.add_argument("file", type=Path)
    path = parser.parse_args(arguments).file
    try:
        verdict = judge(json.loads(path.read_bytes()))
    except (OSError, ValueError) as problem:
        parser.error(f"{path} cannot be compared: {problem}")
    for difference in verdict.new:
        print(f"new: {difference}")
    for difference in verdict.gone:
        print(f"no longer so: {difference}")
    for difference, reason in verdict.accepted.items():
        print(f"known: {difference} Accepted: {reason}")
    print(
        f"{len(OPERATIONS)} operations compared: {len(verdict.new)} new differences, "
        f"{len(verdict.gone)} known ones no longer so, {len(verdict.accepted)} known."
    )
    return 1 if verdict.new or verdict.gone else 0


if __name__ == "__main__":
    sys.exit(main())
