"""Build the site strictly and put it beside the versions that are in a directory already: `python .ci/site.py OUT`.

A version is named by the first two numbers of the package's. OUT/versions.json lists the versions for the site's
switch, and OUT/index.html leads to the newest. Zensical checks the links that people wrote; here all links of the built
pages are followed, those of the reference included, and each page must have a title and a description of its own.
"""

import collections
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
# Both need the address at which the site will be found, which Zensical is not told: without it the one is a page whose
# style and links lead nowhere, the other is empty.
NEED_AN_ADDRESS = ("404.html", "sitemap.xml")


class Page(HTMLParser):
    """What a page links to, what can be linked to in it, and what it is called."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors = {""}
        self.names: dict[str, str] = {}
        self._inside = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors.add(given.get("id") or "")
        address = given.get("href") if tag in {"a", "link"} else given.get("src")
        if address:
            self.links.append(address)
        if tag == "meta" and given.get("name") == "description":
            self.names["description"] = given.get("content") or ""
        if tag == "img" and not given.get("alt"):
            self.names[f"the picture {address}"] = ""
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.names["title"] = data
            self._inside = ""


def faults(site: Path) -> list[str]:
    pages = {file.resolve(): Page(file) for file in sorted(site.rglob("*.html"))}
    used = collections.Counter((kind, name) for page in pages.values() for kind, name in page.names.items())
    broken = [f"the {kind} of {times} pages is {name}" for (kind, name), times in used.items() if times > 1]
    broken += [f"no words for the {kind}" for kind, name in used if not name.strip()]
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
    for name in NEED_AN_ADDRESS:
        (ROOT / "site" / name).unlink()
    if broken := faults(ROOT / "site"):
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
