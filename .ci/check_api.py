"""Compare the public API with that of the last release: `python .ci/check_api.py OLD NEW`, two trees of the project.

Public is what `__all__` names. What would break a program is printed, and is an error unless NEW has another major
version than OLD or, before 1.0, another minor one.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import griffe

PACKAGES = ("omi_async", "omi_sync")


def load(tree: Path) -> list[griffe.Module]:
    loader = griffe.GriffeLoader(search_paths=[tree.resolve()])
    modules = [loader.load(name, try_relative_path=False) for name in PACKAGES]
    loader.resolve_aliases(external=False)
    return [module for module in modules if isinstance(module, griffe.Module)]


def breaking(old: Path, new: Path) -> Iterator[str]:
    for before, after in zip(load(old), load(new), strict=True):
        names = [str(name) for name in before.exports or ()]
        public = {place for name in names for place in (f"{before.path}.{name}", before[name].canonical_path)}
        for change in griffe.find_breaking_changes(before, after):
            if any(change.obj.path == place or change.obj.path.startswith(f"{place}.") for place in public):
                yield change.explain(griffe.ExplanationStyle.ONE_LINE)


def version(tree: Path) -> list[str]:
    """The part of the version that a breaking change has to raise."""
    numbers = re.findall(r"\d+", (tree / "omi_async/_version.py").read_text(encoding="utf-8"))
    return numbers[:2] if numbers[0] == "0" else numbers[:1]


def main() -> int:
    old, new = Path(sys.argv[1]), Path(sys.argv[2])
    found = sorted(set(breaking(old, new)))
    print("\n".join(found) or "the public API breaks nothing")
    return 1 if found and version(old) == version(new) else 0


if __name__ == "__main__":
    sys.exit(main())
