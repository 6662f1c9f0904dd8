"""Plots for the documentation, drawn from the figures that `python -m tests.benchmarks --record` has written."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.svg import AMBER, BLUE, FAINT, GREEN, LINE, RED, Drawing
from tests.support.virtual import START, Api, VirtualLoop, Window, run

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
FIGURES = FOLDER / "figures.json"

_OURS = ("omi_async", "omi_sync")


GROWTH = 1.03  # of a count of instructions; more than that is a loss


def record(figures: dict[str, Any]) -> None:
    """Put these figures into the file, in the place of older ones of the same modes."""
    known = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    FIGURES.write_text(json.dumps({**known, **figures}, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def grown(figures: dict[str, Any]) -> list[str]:
    """Which of our clients take more instructions than recorded, both against bare aiohttp in the same run."""
    found, recorded = (
        {name: each / counted["bare aiohttp"] for name, each in counted.items()}
        for counted in (
            figures["thousand_instructions"],
            json.loads(FIGURES.read_text(encoding="utf-8"))["thousand_instructions"],
        )
    )
    return [
        f"{name}: {found[name]:.3f} of bare aiohttp, recorded {recorded[name]:.3f}"
        for name in ("omi_async", "omi_sync")
        if found[name] > recorded[name] * GROWTH
    ]


def pace(items: int, limit: int, seconds: float) -> dict[str, Any]:
    """How a job of so many deletions keeps to a window, in virtual time: when each item was done, in seconds."""

    async def main(loop: VirtualLoop) -> tuple[list[float], int]:
        api = Api(loop, Window(limit, seconds))
        async with api.client() as client:
            job = client.conversations.delete_many([f"conv_{number}" for number in range(items)])
            return [loop.now - START async for _ in job], len(api.refused)

    moments, refused = run(main)
    done = [round(moment, 1) for moment in moments]
    return {"limit": limit, "window": seconds, "done": done, "refused": refused}


def cost(figures: dict[str, Any]) -> str:
    """Instructions of a call, beside other clients."""
    counted: dict[str, float] = figures["thousand_instructions"]
    groups = (
        ("Asynchronous", ("omi_async", "bare aiohttp", "aiohttp in tenacity", "httpx.AsyncClient")),
        ("Synchronous", ("omi_sync", "http.client", "urllib3", "httpx.Client", "requests, one Session a thread")),
    )
    longest = max(counted.values())
    drawing = Drawing(520, 330, "Instructions of one call, beside other clients")
    drawing.text(16, 28, "What one PATCH costs the client", bold=True, size=15)
    drawing.text(16, 46, "thousand instructions, counted by cachegrind", ink=FAINT)
    y = 74
    for title, names in groups:
        drawing.text(16, y, title, bold=True)
        y += 10
        for name in names:
            ours = name in _OURS
            drawing.text(150, y + 15, name.partition(",")[0], anchor="end", bold=ours)
            width = 300 * counted[name] / longest
            drawing.box(158, y + 3, width, 16, fill=BLUE if ours else LINE)
            drawing.text(164 + width, y + 15, f"{counted[name]:.0f}", ink=FAINT)
            y += 22
        y += 26
    return drawing.svg()


def growth(figures: dict[str, Any]) -> str:
    """Memory over many calls."""
    recorded = figures["growth"]
    calls, curves = recorded["calls"], recorded["kib"]
    highest = max(64.0, *(value for values in curves.values() for value in values))
    drawing = Drawing(520, 300, "Growth of memory over many calls")
    drawing.text(16, 28, f"Growth of the process over {calls[-1]:,} calls", bold=True, size=15)
    drawing.text(16, 46, "KiB in use beyond those after the first calls", ink=FAINT)
    _axes(drawing, [(call / calls[-1], f"{call // 1000}k") for call in calls[::2]], highest, "KiB")
    for number, ((name, values), ink) in enumerate(zip(curves.items(), (FAINT, BLUE, GREEN), strict=True)):
        drawing.line(_curve([call / calls[-1] for call in calls], [value / highest for value in values]), ink=ink)
        above = 6 if number < 2 else -15  # the last two are close together
        y = _BOTTOM - values[-1] / highest * _HEIGHT - above
        drawing.text(_LEFT + _WIDTH - 4, y, name, ink=ink, anchor="end")
    return drawing.svg()


def rate(figures: dict[str, Any]) -> str:
    """A job's pace beside the limit of the window."""
    recorded = figures["pace"]
    done, limit, window = recorded["done"], recorded["limit"], recorded["window"]
    hours, items = done[-1] / window, len(done)
    drawing = Drawing(520, 300, "A job's pace beside the window's limit")
    drawing.text(16, 28, f"A job of {items} deletions, {limit} allowed an hour", bold=True, size=15)
    drawing.text(16, 46, "items done (blue) beside what the window allows (dashed)", ink=FAINT)
    end = hours * 1.02
    _axes(drawing, [(hour / end, f"{hour} h") for hour in range(int(hours) + 1)], items, "")
    allowed = [(0.0, 0.0)]
    for opened in range(int(hours) + 1):
        allowed += [
            (opened / end, min(opened * limit, items) / items),
            (opened / end, min((opened + 1) * limit, items) / items),
        ]
    allowed.append((1.0, allowed[-1][1]))
    points = [(0.0, 0.0)]
    for number, moment in enumerate(done, 1):
        points += [(moment / window / end, (number - 1) / items), (moment / window / end, number / items)]
    drawing.line(_curve(*zip(*points, strict=True)), ink=BLUE, width=4)
    drawing.line(_curve(*zip(*allowed, strict=True)), ink=AMBER, dash="5 4")
    told = f"{recorded['refused']} requests refused in all"
    drawing.text(_LEFT + _WIDTH - 4, _BOTTOM - 12, told, ink=RED, anchor="end")
    return drawing.svg()


_LEFT, _BOTTOM, _WIDTH, _HEIGHT = 56, 262, 440, 196


def _axes(drawing: Drawing, across: Sequence[tuple[float, str]], highest: float, unit: str) -> None:
    for part in range(5):
        y = _BOTTOM - part / 4 * _HEIGHT
        drawing.line([(_LEFT, y), (_LEFT + _WIDTH, y)], ink=LINE, width=1)
        drawing.text(
            _LEFT - 6,
            y + 4,
            f"{highest * part / 4:.0f}{f' {unit}' if unit and part == 4 else ''}",
            ink=FAINT,
            anchor="end",
            size=11,
        )
    for place, label in across:
        drawing.text(_LEFT + place * _WIDTH, _BOTTOM + 18, label, ink=FAINT, anchor="middle", size=11)


def _curve(across: Sequence[float], up: Sequence[float]) -> list[tuple[float, float]]:
    return [(_LEFT + x * _WIDTH, _BOTTOM - y * _HEIGHT) for x, y in zip(across, up, strict=True)]


PLOTS = {"cost.svg": cost, "growth.svg": growth, "pace.svg": rate}


def draw() -> dict[str, str]:
    """Every plot, by the name of its file."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    return {name: plot(figures) for name, plot in PLOTS.items()}
