"""Look into the built wheel and sdist: what must be there is, and nothing else."""

import re
import sys
import tarfile
import zipfile
from pathlib import Path

WHEEL = (
    r"(omi_async|omi_sync)/([a-z_]+/)?[a-z_]+\.py|(omi_async|omi_sync)/py\.typed|omi_pytest\.py"
    r"|omi_async-[0-9.]+\.dist-info/.+"
)
SDIST = (
    r"omi_async-[0-9.]+/"
    r"(omi_async/.+|omi_sync/.+|omi_pytest\.py|docs/.+|CHANGELOG\.md|LICENSE|README\.md|SECURITY\.md|pyproject\.toml|PKG-INFO|\.gitignore)"
)


def main() -> int:
    dist = Path(sys.argv[1])
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    problems = []
    names = zipfile.ZipFile(wheel).namelist()
    problems += [f"wheel: {name} does not belong" for name in names if not re.fullmatch(WHEEL, name)]
    for wanted in (
        "omi_async/py.typed",
        "omi_sync/py.typed",
        "omi_sync/_bridge.py",
        "omi_sync/command/__init__.py",
        "omi_sync/command/tree.py",
        "omi_async/sandbox/server.py",
        "omi_pytest.py",
    ):
        if wanted not in names:
            problems.append(f"wheel: {wanted} is missing")
    if "omi_sync/_generate.py" in names:
        problems.append("wheel: the generator does not belong")
    if not any(name.endswith("licenses/LICENSE") for name in names):
        problems.append("wheel: the licence is missing")
    with tarfile.open(sdist) as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
    problems += [f"sdist: {name} does not belong" for name in files if not re.fullmatch(SDIST, name)]
    print("\n".join(problems) or f"{wheel.name} ({len(names)} files) and {sdist.name} ({len(files)} files) are right")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
