"""Charts as SVG that stands in a page by itself: no script, no font, no file beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from app.measure.scores import DetPoint, Histogram

_WIDTH, _HEIGHT = 620, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 14, 44
_DIFFERENT, _SAME, _DARK, _GRID = "#c0392b", "#2471a3", "#222", "#ddd"
# The chart has no zero: fewer misses than this lie on its floor.
_LEAST_FNMR = 1e-4

Marks = Sequence[tuple[float, str]]
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the corners of the plot stand for, in the units of the data."""

    left: float
    right: float
    bottom: float
    top: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies, in pixels of the chart."""
        across = (x - self.left) / (self.right - self.left)
        up = (y - self.bottom) / (self.top - self.bottom)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    def column(self, x: float, label: str) -> str:
        at = self.place(x, self.bottom)
        return _line(at, self.place(x, self.top), _GRID) + _text(at[0], at[1] + 16, label, "middle")

    def row(self, y: float, label: str) -> str:
        at = self.place(self.left, y)
        return _line(at, self.place(self.right, y), _GRID) + _text(at[0] - 6, at[1] + 4, label, "end")

    def marks(self, marks: Marks) -> list[str]:
        """Dashed lines with labels, each a little lower than the one before; none beyond the frame."""
        drawn = []
        for number, (x, label) in enumerate(mark for mark in marks if self.left <= mark[0] <= self.right):
            top = self.place(x, self.top)
            drawn.append(_line(self.place(x, self.bottom), top, _DARK, dashed=True))
            drawn.append(_text(top[0] + 4, top[1] + 12 + 14 * number, label, "start"))
        return drawn

    def polyline(self, points: Points, colour: str) -> str:
        line = " ".join("{:.1f},{:.1f}".format(*self.place(*point)) for point in points)
        return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'


def det_chart(points: Sequence[DetPoint], marks: Marks) -> str:
    """False non-match rate over false-match rate, both in powers of ten.

    Args:
        points: among them that of all false matches.
        marks: false-match rates and their labels.
    """
    drawn = [
        (math.log10(point.fmr), math.log10(max(point.fnmr, _LEAST_FNMR))) for point in points if point.fmr > 0
    ]
    floor = math.log10(_LEAST_FNMR)
    frame = _Frame(min(-1, math.floor(min(x for x, _ in drawn))), 0, floor, 0)
    parts = [frame.column(power, f"1e{power}") for power in range(int(frame.left), 1)]
    parts += [frame.row(power, f"{100 * 10.0**power:g} %") for power in range(int(floor), 1)]
    parts += frame.marks([(math.log10(fmr), label) for fmr, label in marks])
    parts.append(frame.polyline(drawn, _DARK))
    return _svg(parts, "share of genuine pairs missed, over the false-match rate")


def histogram_chart(histogram: Histogram, marks: Marks) -> str:
    """Shares of pairs by cosine: of different people in red, of the same person in blue.

    Args:
        histogram: with a pair of each kind.
        marks: cosines and their labels.
    """
    pairs = list(zip(histogram.impostor, histogram.genuine, strict=True))
    filled = [number for number, shares in enumerate(pairs) if any(shares)]
    edges = [number * histogram.width - 1 for number in range(filled[0], filled[-1] + 2)]
    frame = _Frame(edges[0], edges[-1], 0, max(max(shares) for shares in pairs))
    parts = [frame.column(tick / 5, f"{tick / 5:g}") for tick in range(-5, 6) if _within(tick / 5, edges)]
    parts += [frame.row(frame.top * part / 4, f"{25 * frame.top * part:.1f} %") for part in range(5)]
    for shares, colour in ((histogram.impostor, _DIFFERENT), (histogram.genuine, _SAME)):
        steps = [
            (edge, shares[filled[0] + number])
            for number in range(len(edges) - 1)
            for edge in (edges[number], edges[number + 1])
        ]
        parts.append(frame.polyline(steps, colour))
    parts += frame.marks(marks)
    return _svg(parts, "pairs by cosine; red: different people, blue: same person")


def _within(x: float, edges: Sequence[float]) -> bool:
    return edges[0] <= x <= edges[-1]


def _line(start: tuple[float, float], end: tuple[float, float], colour: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="4 4"' if dashed else ""
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'stroke="{colour}"{dash}/>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], caption: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(caption)}">'
        f"{''.join(parts)}{_text(_WIDTH / 2, _HEIGHT - 8, caption, 'middle')}</svg>"
    )
