"""Axes and marks of the plots: small SVG that takes its colours from the page, and says in words what it shows."""

import math
from collections.abc import Sequence
from html import escape

from msgspec import Struct

WIDTH = 420
BOTTOM = 34  # for the numbers and the name of the horizontal axis
RIGHT = 14


class Axis(Struct, frozen=True, kw_only=True):
    """From numbers to places: `start` and `end` are pixels, `low` and `high` what stands there."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where a number stands."""
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = math.log10(low), math.log10(high), math.log10(value)
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def ticks(self) -> list[float]:
        """Return round numbers inside of it."""
        return _decade_ticks(self.low, self.high) if self.logarithmic else _even_ticks(self.low, self.high)


def linear_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Return an axis a little wider than the numbers; a single number has room on both sides."""
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or max(abs(high) * 0.05, 1e-3)
    return Axis(low=low - room, high=high + room, start=start, end=end)


def log_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Return a logarithmic axis a little wider than numbers above 0."""
    return Axis(low=min(values) / 1.25, high=max(values) * 1.25, start=start, end=end, logarithmic=True)


def picture(title: str, about: str, height: float, marks: Sequence[str]) -> str:
    """Return an SVG with a title and a description, which stand for it where it is not seen."""
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}">'
        f"<title>{escape(title)}</title><desc>{escape(about)}</desc>{''.join(marks)}</svg>"
    )


def across(axis: Axis, top: float, bottom: float, name: str) -> list[str]:
    """Return lines and numbers of a horizontal axis, its name below."""
    marks = []
    for tick in axis.ticks():
        x = axis.place(tick)
        marks.append(f'<path class="grid" d="M{x:.1f} {top:.1f}V{bottom:.1f}"/>')
        marks.append(text(x, bottom + 13, f"{tick:g}", "middle", "tick"))
    marks.append(text((axis.start + axis.end) / 2, bottom + 28, name, "middle", "name"))
    return marks


def upright(axis: Axis, left: float, right: float) -> list[str]:
    """Return lines and numbers of a vertical axis."""
    marks = []
    for tick in axis.ticks():
        y = axis.place(tick)
        marks.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
        marks.append(text(left - 6, y + 4, f"{tick:g}", "end", "tick"))
    return marks


def text(x: float, y: float, words: str, anchor: str = "start", look: str = "") -> str:
    """Return words at a place."""
    kind = f' class="{look}"' if look else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'


def mark(shape: str, x: float, y: float, look: str, words: str) -> str:
    """Return a mark with words that appear when it is pointed at: disc, ring, diamond, or a small dot."""
    name = f"<title>{escape(words)}</title>" if words else ""
    if shape == "diamond":
        path = f"M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z"
        return f'<path class="{look} disc" d="{path}">{name}</path>'
    radius = 2.5 if shape == "dot" else 4
    return f'<circle class="{look} {shape}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{name}</circle>'


def shortened(words: str, most: int) -> str:
    """Return words of at most so many characters, an ellipsis for the rest."""
    return words if len(words) <= most else words[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _even_ticks(low: float, high: float) -> list[float]:
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next((times for times in (1, 2, 5) if (high - low) / (step * times) <= 5), 10)
    first = math.ceil(low / step)
    # Multiples of the step, rounded so that 0.30000000000000004 is not printed.
    return [round(step * at, 12) for at in range(first, math.floor(high / step) + 1)]


def _decade_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if high / low > 200 else (1, 2, 5) if high / low > 10 else (1, 1.5, 2, 3, 4, 6, 8)
    ticks = [times * 10.0**decade for decade in decades for times in steps]
    return [float(f"{tick:.6g}") for tick in ticks if low <= tick <= high]
