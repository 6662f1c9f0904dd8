"""The diagrams of the documentation: `python -m tests.pictures` draws them anew, from what the code does.

The plots of measurements are drawn by `python -m tests.benchmarks --plot`.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict

from omi_async import OmiError
from tests.support import inside
from tests.support.inside import Answer
from tests.support.raw import conversation
from tests.support.svg import AMBER, BLUE, FAINT, GREEN, LINE, RED, Drawing

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"

Ending = tuple[str, bool]
"""The outcome, and whether it is tried again."""

MISSING = "Conversation not found"


def of_answer(operation: str, status: int, body: bytes) -> Ending:
    """How an attempt ends by the client's own reading of this answer."""
    answer = Answer(status, CIMultiDict({"Content-Type": "application/json"}), body)
    try:
        inside.read(inside.request(operation), answer)
    except OmiError as error:
        return error.outcome, error.retryable
    return "applied", False


def of_failure(error: Exception, *, connected: bool, timed_out: bool = False) -> Ending:
    """How an attempt without an answer ends, by the transport's own rule."""
    failure = inside.failed(error, connected=connected, timed_out=timed_out)
    return failure.outcome, failure.retryable


def of_statuses() -> Iterator[tuple[Ending, str]]:
    """Every status that an update can be answered with, in the API's own words; what most of a hundred share is one."""
    for hundred in range(1, 7):
        shared: dict[Ending, list[int]] = defaultdict(list)
        for status in range(100 * hundred, 100 * hundred + 100):
            refusal = {"detail": MISSING if status == 404 else "No."}
            body = json.dumps(conversation() if hundred == 2 else refusal).encode()
            shared[of_answer("update", status, body)].append(status)
        most = max(shared, key=lambda ending: len(shared[ending]))
        for ending, statuses in shared.items():
            other = f"{'other ' * (len(shared) > 1)}{hundred}xx"
            yield ending, other if ending == most else ", ".join(map(str, statuses))


def causes() -> dict[Ending, list[str]]:
    """What leads to each ending."""
    key = ConnectionKey("api.omi.me", 443, True, True, None, None, None, None)
    untrusted = aiohttp.ClientConnectorCertificateError(key, Exception("no"))
    lost = aiohttp.ServerDisconnectedError()
    found: dict[Ending, list[str]] = defaultdict(list)
    for ending, text in of_statuses():
        found[ending].append(text)
    for ending, text in (
        (of_answer("delete", 204, b""), "204 after a delete"),
        (of_answer("delete", 200, b'{"success": false}'), "200 that denies success"),
        (of_answer("update", 200, b"<html>"), "200 that cannot be read"),
        (of_answer("update", 403, b"<html>"), "4xx in other words: a gateway's"),
        (of_failure(aiohttp.ClientConnectorError(key, OSError()), connected=False), "no connection"),
        (of_failure(untrusted, connected=False), "a bad certificate"),
        (of_failure(lost, connected=True), "the connection is lost"),
        (of_failure(lost, connected=True, timed_out=True), "no answer in time"),
        (of_failure(aiohttp.ClientPayloadError(), connected=True), "the answer breaks off"),
        (of_failure(aiohttp.ClientResponseError(None, ()), connected=True), "the answer is not HTTP"),  # type: ignore[arg-type]
    ):
        found[ending].append(text)
    return found


def wrapped(items: Iterable[str], width: int) -> list[str]:
    """Texts with dots between them, in lines of so many characters."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(item) + 3 <= width:
            lines[-1] += f" · {item}"
        else:
            lines.append(item)
    return lines


BANDS = (
    ("applied", "applied", "The call returns a result.", GREEN),
    ("not_applied", "not applied", "Certainly nothing was changed.", BLUE),
    ("unknown", "unknown", "It may have happened. Nobody on this side can tell.", AMBER),
)


def outcomes() -> str:
    """What one attempt to write says about the write."""
    found = causes()
    assert {outcome for outcome, _ in found} == {name for name, *_ in BANDS}
    parts = []
    for name, title, meaning, color in BANDS:
        again, ended = wrapped(found.get((name, True), ()), 50), wrapped(found.get((name, False), ()), 50)
        rows = [("tried again:", line) for line in again] + [("not again:" if again else "", line) for line in ended]
        parts.append((title, meaning, color, rows))
    drawing = Drawing(520, 60 + sum(62 + 20 * len(rows) for *_, rows in parts), "What one attempt to write says")
    drawing.text(16, 30, "One attempt to write: what came back, and what it says", bold=True, size=15)
    y = 48
    for title, meaning, color, rows in parts:
        height = 50 + 20 * len(rows)
        drawing.box(12, y, 496, height, fill="none", edge=LINE)
        drawing.box(12, y, 6, height, fill=color)
        drawing.text(30, y + 24, title, ink=color, bold=True, size=15)
        drawing.text(140, y + 24, meaning, ink=FAINT)
        before = ""
        for number, (label, line) in enumerate(rows):
            drawing.text(30, y + 50 + 20 * number, label if label != before else "", ink=FAINT)
            drawing.text(140 if label else 30, y + 50 + 20 * number, line)
            before = label
        y += height + 12
    return drawing.svg()


def lost_answer() -> str:
    """Who knew what when an answer to a delete was lost."""
    drawing = Drawing(520, 452, "Who knew what when the answer to a delete was lost")
    you, server = 165, 355
    for x, name, does in ((you, "your program", "knows"), (server, "the server", "has")):
        drawing.text(x, 28, name, anchor="middle", bold=True, size=15)
        drawing.text(x + (-60 if x == you else 60), 50, does, anchor="middle", ink=FAINT)
        drawing.line([(x, 40), (x, 330)], ink=LINE, width=2)
    for y, side, text, color in (
        (78, you, "it is there", FAINT),
        (78, server, "it is there", FAINT),
        (118, server, "deleted it", GREEN),
        (172, you, "connection lost:", AMBER),
        (190, you, "nobody can tell", AMBER),
        (248, server, "nothing to delete", GREEN),
        (296, you, "404:", AMBER),
        (314, you, "and now?", AMBER),
    ):
        drawing.text(side + (-12 if side == you else 12), y, text, ink=color, anchor="end" if side == you else "start")
    middle = (you + server) / 2
    drawing.arrow((you, 100), (server, 100))
    drawing.text(middle, 93, "DELETE conv_noise", anchor="middle")
    drawing.line([(server, 150), (middle + 8, 150)], dash="5 4", ink=RED)
    drawing.text(middle + 50, 143, "200", anchor="middle", ink=RED)
    drawing.line([(middle - 7, 143), (middle + 7, 157)], ink=RED, width=3)
    drawing.line([(middle - 7, 157), (middle + 7, 143)], ink=RED, width=3)
    drawing.text(middle, 176, "lost on the way", anchor="middle", ink=RED)
    drawing.arrow((you, 230), (server, 230))
    drawing.text(middle, 223, "DELETE conv_noise, again", anchor="middle")
    drawing.arrow((server, 278), (you, 278))
    drawing.text(middle, 271, "404 Not Found", anchor="middle")
    for y, color, reading, report in (
        (346, RED, "The 404 alone", "“There was no such conversation.” It had just been deleted."),
        (396, GREEN, "The 404 after an unknown", "Deletion(confirmed=False): it is gone, nobody said by whom."),
    ):
        drawing.box(12, y, 496, 44, fill="none", edge=color)
        drawing.text(24, y + 18, reading, ink=color, bold=True)
        drawing.text(24, y + 36, report)
    return drawing.svg()


PICTURES = {"outcomes.svg": outcomes, "lost-answer.svg": lost_answer}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
