"""A chart of lines as SVG, both scales logarithmic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import floor, log10
from typing import Final

import msgspec

WIDTH: Final = 860
HEIGHT: Final = 460
LEFT: Final = 80
RIGHT: Final = 190
TOP: Final = 50
BOTTOM: Final = 56
LABEL_GAP: Final = 15
COLOURS: Final = ("#c2410c", "#1d4ed8", "#15803d", "#7e22ce", "#a16207", "#0e7490", "#be123c")
GRID: Final = "#e4e4e7"
INK: Final = "#18181b"

Point = tuple[float, float]


class Line(msgspec.Struct, frozen=True):
    """Points with one name, in the order in which they are joined; none of them is 0 or less."""

    name: str
    points: Sequence[Point]


class Scale(msgspec.Struct, frozen=True):
    """Where the values of one axis stand: powers of ten at equal distances."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The place of a value, in pixels."""
        part = (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return self.start + part * (self.end - self.start)

    def ticks(self) -> Iterator[float]:
        """1, 2 and 5 of every power of ten on the axis."""
        for power in range(floor(log10(self.low)), floor(log10(self.high)) + 1):
            for step in (1, 2, 5):
                value = step * 10.0**power
                if self.low * 0.999 <= value <= self.high * 1.001:
                    yield value


def chart(title: str, across: str, up: str, lines: Sequence[Line]) -> str:
    """The picture: ``across`` and ``up`` say what the axes are.  Needs at least one point."""
    points = [point for line in lines for point in line.points]
    x = _scale([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y = _scale([y for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(10, 26, title, size=16, weight="bold"),
        *_grid(x, y),
        _text((x.start + x.end) / 2, HEIGHT - 14, across, anchor="middle"),
        _text(10, TOP - 8, up),
    ]
    for line, colour in zip(lines, _colours(len(lines)), strict=True):
        placed = [(x.at(a), y.at(b)) for a, b in line.points]
        joined = " ".join(f"{a:.1f},{b:.1f}" for a, b in placed)
        parts.append(
            f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in placed]
    parts += _names(lines, y)
    return "\n".join([*parts, "</svg>", ""])


def _scale(values: Sequence[float], start: float, end: float) -> Scale:
    """A little more than the values need, so that none lies on the frame."""
    return Scale(min(values) / 1.3, max(values) * 1.3, start, end)


def _grid(x: Scale, y: Scale) -> Iterator[str]:
    for value in x.ticks():
        at = x.at(value)
        yield _rule(at, y.start, at, y.end)
        yield _text(at, y.start + 18, _short(value), anchor="middle", size=11)
    for value in y.ticks():
        at = y.at(value)
        yield _rule(x.start, at, x.end, at)
        yield _text(x.start - 6, at + 4, _short(value), anchor="end", size=11)


def _names(lines: Sequence[Line], y: Scale) -> Iterator[str]:
    """Each line's name beside its last point, moved down where it would cover another one."""
    named = zip(lines, _colours(len(lines)), strict=True)
    lowest = 0.0
    for line, colour in sorted(named, key=lambda one: y.at(one[0].points[-1][1])):
        lowest = max(y.at(line.points[-1][1]), lowest + LABEL_GAP)
        yield _text(WIDTH - RIGHT + 8, lowest + 4, line.name, colour=colour)


def _colours(count: int) -> list[str]:
    return [COLOURS[n % len(COLOURS)] for n in range(count)]


def _short(value: float) -> str:
    """As people write it beside a tick: 0.5, 200, 5k, 2M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{GRID}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    size: int = 13,
    weight: str = "normal",
    colour: str = INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )
