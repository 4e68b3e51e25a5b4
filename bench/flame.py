"""Stacks as a flame graph in SVG: a box is as wide as the time spent in it and above it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final
from zlib import crc32

WIDTH: Final = 1200
ROW: Final = 17
TOP: Final = 34
MIN_WIDTH: Final = 1.5
"""Narrower boxes are left out."""

CHARACTER_WIDTH: Final = 6.2


class Box:
    """A function called by the one below it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.above: dict[str, Box] = {}

    def add(self, stack: list[str], count: int) -> None:
        """Samples of a stack that begins here."""
        box = self
        box.count += count
        for name in stack:
            box = box.above.setdefault(name, Box(name))
            box.count += count


def grow(collapsed: str) -> Box:
    """The tree of collapsed stacks (``a;b;c count`` a line), its root counting all samples."""
    root = Box("all")
    for line in collapsed.splitlines():
        stack, _, number = line.rpartition(" ")
        if number.isdecimal():
            root.add([_short(frame) for frame in stack.split(";")], int(number))
    return root


def draw(title: str, root: Box) -> str:
    """The picture."""
    boxes = list(_placed(root, 0.0, 0, WIDTH / max(1, root.count)))
    height = TOP + ROW * (1 + max((depth for _, _, depth, _ in boxes), default=0)) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for box, x, depth, width in boxes:
        y = height - 8 - ROW * (depth + 1)
        share = box.count / root.count
        lines.append(
            f"<g><title>{escape(box.name)}: {share:.1%}</title>"
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" '
            f'fill="{_colour(box.name)}"/>'
        )
        room = int((width - 4) / CHARACTER_WIDTH)
        if room >= 3:
            lines.append(f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(box.name[:room])}</text>')
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def _placed(
    box: Box, x: float, depth: int, scale: float
) -> Iterator[tuple[Box, float, int, float]]:
    width = box.count * scale
    if width < MIN_WIDTH:
        return
    yield box, x, depth, width
    for above in sorted(box.above.values(), key=lambda one: one.name):
        yield from _placed(above, x, depth + 1, scale)
        x += above.count * scale


def _short(frame: str) -> str:
    """``name (package/module.py:12)`` is ``name module``."""
    name, _, place = frame.partition(" (")
    module = place.rstrip(")").rpartition(":")[0].rpartition("/")[2].removesuffix(".py")
    return f"{name} {module}".strip()


def _colour(name: str) -> str:
    """A warm colour, the same for a module in every picture."""
    tone = crc32(name.rpartition(" ")[2].encode())
    return f"rgb({205 + tone % 50},{110 + (tone >> 8) % 110},{60 + (tone >> 16) % 50})"
