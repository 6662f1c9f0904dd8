"""pip's constraints that pin each dependency to the lowest release that pyproject.toml allows, for the extras named."""

import re
import sys
import tomllib
from pathlib import Path


def main() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *(each for extra in sys.argv[1:] for each in extras[extra])]:
        found = re.match(r"([A-Za-z0-9.-]+)>=([0-9.]+)", requirement)
        if found is None:
            sys.exit(f"{requirement} has no floor")
        print(f"{found[1]}=={found[2]}")


if __name__ == "__main__":
    main()
