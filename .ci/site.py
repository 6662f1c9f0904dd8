"""Build the site strictly and put it beside the versions that are in a directory already: `python .ci/site.py OUT`.

A version is named by the first two numbers of the package's. OUT/versions.json lists the versions for the site's
switch, and OUT/index.html leads to the newest.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    out = Path(sys.argv[1])
    version = re.findall(r'"(\d+\.\d+)', (ROOT / "omi_async/_version.py").read_text(encoding="utf-8"))[0]
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=ROOT, check=True)
    shutil.rmtree(out / version, ignore_errors=True)
    shutil.copytree(ROOT / "site", out / version)
    found = [place.name for place in out.iterdir() if re.fullmatch(r"\d+\.\d+", place.name)]
    versions = sorted(found, key=lambda name: [int(part) for part in name.split(".")], reverse=True)
    entries = [{"version": name, "title": name, "aliases": []} for name in versions]
    entries[0]["aliases"] = ["latest"]
    (out / "versions.json").write_text(json.dumps(entries), encoding="utf-8")
    (out / "index.html").write_text(
        f'<!doctype html><meta charset="utf-8"><title>omi-async</title>'
        f'<meta http-equiv="refresh" content="0; url={versions[0]}/"><a href="{versions[0]}/">omi-async</a>\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
