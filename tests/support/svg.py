"""Drawings for the documentation: the few shapes of SVG that they need, written the same way every time."""

from collections.abc import Iterable
from html import escape

INK, FAINT, LINE, PAPER = "#1f2933", "#616e7c", "#cbd2d9", "#ffffff"
GREEN, AMBER, RED, BLUE = "#2f855a", "#b7791f", "#c53030", "#3f51b5"


class Drawing:
    """A drawing on white paper, so that it can be read on any page."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            f'font-family="system-ui, -apple-system, Segoe UI, sans-serif" font-size="13">'
            f"<title>{escape(title)}</title>"
        )
        self._shapes: list[str] = []
        self.box(0, 0, width, height, fill=PAPER)

    def box(self, x: float, y: float, width: float, height: float, *, fill: str, edge: str = "none") -> None:
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}" stroke="{edge}"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        ink: str = INK,
        anchor: str = "start",
        bold: bool = False,
        size: int = 13,
    ) -> None:
        style = f'fill="{ink}" text-anchor="{anchor}" font-size="{size}"' + (' font-weight="600"' if bold else "")
        self._shapes.append(f'<text x="{x:g}" y="{y:g}" {style}>{escape(text)}</text>')

    def line(
        self, points: Iterable[tuple[float, float]], *, ink: str = INK, width: float = 1.5, dash: str = ""
    ) -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self._shapes.append(f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="{width:g}"{dashed}/>')

    def arrow(self, start: tuple[float, float], end: tuple[float, float], *, ink: str = INK) -> None:
        """A level arrow."""
        self.line([start, end], ink=ink)
        (x, y), back = end, -8 if end[0] > start[0] else 8
        self._shapes.append(
            f'<polygon points="{x:g},{y:g} {x + back:g},{y - 4:g} {x + back:g},{y + 4:g}" fill="{ink}"/>'
        )

    def svg(self) -> str:
        return "\n".join([self._head, *self._shapes, "</svg>\n"])
