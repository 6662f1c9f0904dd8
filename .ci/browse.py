"""Read the built site in a real browser: `python .ci/browse.py SITE PICTURES`.

Every page is opened: none may log an error, ask another machine for anything, or be wider than the screen. The search
must find a story by its words, and the dark mode must stay. PICTURES gets screenshots, narrow and wide, light and dark,
for somebody to look at. Needs playwright and Debian's chromium, and serves the site on this machine meanwhile.
"""

import contextlib
import functools
import json
import re
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, sync_playwright

MESSAGE = "goals.list: the server's window stays closed for another 3540 s; nothing was sent."
LOOKED_AT = ("", "why/", "tutorial/", "reference/conversations/", "operations/", "performance/")
WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        with contextlib.suppress(
            ConnectionError
        ):  # a browser that goes on to the next page drops what it has asked for
            super().copyfile(source, outputfile)


class Reader:
    """A browser, and what was wrong with what it read."""

    def __init__(self, browser: Browser, server: str, version: str) -> None:
        self._browser = browser
        self._server = server
        self.base = f"{server}/{version}/"
        self.problems: list[str] = []

    def page(self, width: int = 1280, scheme: str = "light") -> Page:
        context = self._browser.new_context(
            viewport={"width": width, "height": 1200}, color_scheme="dark" if scheme == "dark" else "light"
        )
        context.route("**/*", self._fence)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and self._note(page, message.text))
        page.on("pageerror", lambda error: self._note(page, str(error)))
        page.on("response", lambda answer: answer.status >= 400 and self._note(page, f"{answer.status} {answer.url}"))
        return page

    def _fence(self, route: Route) -> None:
        if route.request.url.startswith((f"{self._server}/", "data:", "blob:")):
            route.continue_()
        else:
            self.problems.append(f"asks for {route.request.url}")
            route.abort()

    def _note(self, page: Page, text: str) -> None:
        self.problems.append(f"{page.url}: {text}")

    def open(self, page: Page, path: str) -> None:
        page.goto(f"{self.base}{path}", wait_until="load")


def every_page(reader: Reader, site: Path) -> int:
    paths = sorted(str(file.parent.relative_to(site)) for file in site.rglob("index.html"))
    for width in WIDTHS:
        page = reader.page(width)
        for path in paths:
            reader.open(page, "" if path == "." else f"{path}/")
            beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if beyond > 0:
                reader.problems.append(f"{path}: {beyond} pixels wider than {width}")
        page.context.close()
    return len(paths)


def search(reader: Reader, words: str, wanted: str) -> None:
    page = reader.page()
    reader.open(page, "")
    page.keyboard.press("/")
    page.locator("input:focus").wait_for(timeout=10_000)
    page.keyboard.type(words)
    page.get_by_text(re.compile(r"^\d+ results?$")).wait_for(timeout=10_000)
    page.get_by_text(wanted).locator("visible=true").first.wait_for(timeout=10_000)
    page.screenshot(path=PICTURES / "search.png")
    page.context.close()


def dark_mode(reader: Reader) -> None:
    page = reader.page()
    reader.open(page, "")
    schemes = [page.locator("body").get_attribute("data-md-color-scheme")]
    page.locator("label[for^='__palette']").locator("visible=true").first.click()
    schemes.append(page.locator("body").get_attribute("data-md-color-scheme"))
    reader.open(page, "tutorial/")
    schemes.append(page.locator("body").get_attribute("data-md-color-scheme"))
    if schemes != ["default", "slate", "slate"]:
        reader.problems.append(f"the dark mode went through {schemes}")
    page.context.close()


def resuming(reader: Reader) -> None:
    """How to resume a job is one click from home."""
    page = reader.page()
    reader.open(page, "")
    page.get_by_role("link", name="Resuming").click()
    page.get_by_role("heading", name="Resuming").wait_for(timeout=10_000)
    page.context.close()


def versions(reader: Reader) -> None:
    page = reader.page()
    reader.open(page, "")
    page.locator(".md-version__current").wait_for(timeout=10_000)
    page.context.close()


def pictures(reader: Reader) -> None:
    for path in LOOKED_AT:
        for width in WIDTHS:
            for scheme in SCHEMES:
                page = reader.page(width, scheme)
                reader.open(page, path)
                page.wait_for_timeout(300)  # until what fades in is there
                name = path.strip("/").replace("/", "-") or "home"
                page.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png")
                page.context.close()


def main() -> int:
    site = Path(sys.argv[1]).resolve()
    PICTURES.mkdir(parents=True, exist_ok=True)
    version = json.loads((site / "versions.json").read_text(encoding="utf-8"))[0]["version"]
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        # Its own sandbox needs a user of its own; it reads nothing but this site.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        reader = Reader(browser, f"http://127.0.0.1:{server.server_port}", version)
        count = every_page(reader, site / version)
        search(reader, MESSAGE, "RateLimitError")
        search(reader, "lost answer", "An attempt whose answer was lost makes the call")
        dark_mode(reader)
        resuming(reader)
        versions(reader)
        pictures(reader)
        browser.close()
    server.shutdown()
    print("\n".join(dict.fromkeys(reader.problems)) or f"{count} pages are right; the pictures are in {PICTURES}")
    return 1 if reader.problems else 0


PICTURES = Path(sys.argv[2]) if len(sys.argv) > 2 else Path()

if __name__ == "__main__":
    sys.exit(main())
