"""A small bar chart as SVG, on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, log10
from typing import Final

import msgspec

BAR: Final = 16
LEFT: Final = 110
WIDTH: Final = 860
TOP: Final = 70
COLOURS: Final = {"writes": "#c2410c", "reads": "#1d4ed8"}


class Bars(msgspec.Struct, frozen=True):
    """Two bars with one name."""

    name: str
    writes: float
    reads: float


def plot(title: str, groups: Sequence[tuple[str, Sequence[Bars]]]) -> str:
    """The picture: for each group a heading, for each of its bars the numbers."""
    most = max(max(one.writes, one.reads) for _, bars in groups for one in bars)
    decades = max(1, ceil(log10(max(most, 1.0) * 1.01)))
    across = (WIDTH - LEFT - 60) / decades
    rows: list[str] = []
    y = TOP
    for heading, bars in groups:
        rows.append(_text(10, y + 14, heading, weight="bold"))
        y += 24
        for one in bars:
            rows.append(_text(LEFT - 8, y + BAR + 4, one.name, anchor="end"))
            for key, value in (("writes", one.writes), ("reads", one.reads)):
                width = max(1.0, log10(max(value, 1.0)) * across)
                rows.append(
                    f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" '
                    f'fill="{COLOURS[key]}"/>'
                )
                rows.append(_text(LEFT + width + 5, y + BAR - 4, f"{value:,.1f}", size=11))
                y += BAR
            y += 6
        y += 10
    return "\n".join([_head(title, y + 20, decades, across, y), *rows, "</svg>", ""])


def _head(title: str, height: int, decades: int, across: float, bottom: int) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(10, 24, title, size=16, weight="bold"),
    ]
    for place, (name, colour) in enumerate(COLOURS.items()):
        x = LEFT + place * 90
        lines.append(f'<rect x="{x}" y="36" width="12" height="12" fill="{colour}"/>')
        lines.append(_text(x + 18, 47, name))
    for decade in range(decades + 1):
        x = LEFT + decade * across
        lines.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#d4d4d8"/>')
        lines.append(_text(x, bottom + 14, f"{10**decade:,}", anchor="middle", size=11))
    return "\n".join(lines)


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="#18181b">{escape(text)}</text>'
    )
