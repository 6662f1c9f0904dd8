"""Build the site strictly and put it beside the versions that are in a directory already: `python .ci/site.py OUT`.

A version is named by the first two numbers of the package's. OUT/versions.json lists the versions for the site's
switch, and OUT/index.html leads to the newest. Zensical checks the links that people wrote; here all links of the built
pages are followed, those of the reference included.
"""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors = {""}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors.add(given.get("id") or "")
        address = given.get("href") if tag in {"a", "link"} else given.get("src")
        if address:
            self.links.append(address)


def broken_links(site: Path) -> list[str]:
    pages = {file.resolve(): Page(file) for file in sorted(site.rglob("*.html")) if file.name != "404.html"}
    broken = []
    for file, page in pages.items():
        for link in page.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (file.parent / unquote(address.path)).resolve() if address.path else file
            target = target / "index.html" if target.is_dir() else target
            anchors = pages[target].anchors if target in pages else {"", address.fragment}
            if not target.exists() or unquote(address.fragment) not in anchors:
                broken.append(f"{file.relative_to(site.resolve())}: {link} leads nowhere")
    return broken


def main() -> None:
    out = Path(sys.argv[1])
    version = re.findall(r'"(\d+\.\d+)', (ROOT / "omi_async/_version.py").read_text(encoding="utf-8"))[0]
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "--clean"], cwd=ROOT, check=True)
    if broken := broken_links(ROOT / "site"):
        sys.exit("\n".join(broken))
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
