"""A device that was away: from its hello to live, over everything that it has missed."""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any, Final

from bench.load import Pair, Turns, drain
from bench.server import ServerProcess
from bench.wire import Fault, Link, close_all, masked

CREDIT: Final = masked(b'{"type":"credit","pages":1}')
CREDIT_PAGES: Final = 16
REPEATS: Final = 5
_NUMBER = re.compile(rb'"text":"(\d{10})')


class Catching:
    """Takes pages raw, allows the next, and ends at ``live``."""

    def __init__(self, link: Link) -> None:
        self.pages: list[bytes] = []
        self.first_at = 0.0
        self._link = link
        link.on_frame = self._on_frame

    def _on_frame(self, data: bytes, start: int, end: int, now: float) -> None:
        if data.startswith(b'{"type":"page"', start):
            self._link.transport.write(CREDIT)
            self.pages.append(data[start:end])
            self.first_at = self.first_at or now
        else:
            self._link.on_answer(data, start, end, now)

    def numbers(self) -> list[int]:
        """The numbers of all messages, in the order in which they came."""
        return [int(number) for page in self.pages for number in _NUMBER.findall(page)]

    def check(self, entries: int) -> None:
        """Every message once, in order.  Raises ``Fault``."""
        found = self.numbers()
        if found != list(range(entries)):
            raise Fault(f"{len(found)} messages in the pages, {entries} expected")


async def catch_up(server: ServerProcess, *, entries: int) -> dict[str, float]:
    """Milliseconds from the hello of a device with ``entries`` missed messages to ``live``.

    The median of several devices, one after the other: each reads the same inbox.
    """
    door = server.door
    sender, receiver = await door.links(["away-from", "away-to"])
    turns = Turns()
    pair = Pair(turns, sender, receiver, 500)
    await pair.open()
    cursor = {"base": receiver.base, "pos": receiver.pos}
    pair.limit = entries
    turns.add(pair)
    await drain(lambda: pair.delivered == pair.acked == entries, [sender, receiver])
    took: list[float] = []
    first: list[float] = []
    try:
        for n in range(REPEATS):
            device = await door.link("away-to", f"late{n}", live=False)
            catching = Catching(device)
            began = perf_counter()
            await device.ask(_hello(door.hello(device), cursor), "live")
            took.append(perf_counter() - began)
            first.append(catching.first_at - began)
            catching.check(entries)
            close_all([device])
    finally:
        close_all([sender, receiver])
    took.sort()
    return {
        "catch_up_ms": took[len(took) // 2] * 1000,
        "catch_up_max_ms": took[-1] * 1000,
        "first_page_ms": sorted(first)[len(first) // 2] * 1000,
        "entries_per_s": entries / took[len(took) // 2],
    }


def _hello(hello: dict[str, Any], cursor: dict[str, str]) -> dict[str, Any]:
    return {**hello, "cursor": cursor, "credit": CREDIT_PAGES}
