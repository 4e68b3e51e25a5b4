"""The same shape over and over, each time larger: where does it bend?

What is found is named by size: ``at20_per_s``.
"""

from __future__ import annotations

from typing import Final

from bench.group import group
from bench.pairs import one_to_one
from bench.server import ServerProcess

PAIRS: Final = 50
WINDOWS: Final = (1, 2, 5, 10, 20, 50, 100)
MEMBERS: Final = (3, 10, 30, 100, 300, 1000)
GROUP_WINDOW: Final = 8
SHARE: Final = 0.5
"""Of the seconds that other cases take for each measurement."""

_KEPT: Final = (
    "per_s",
    "delivery_p50_ms",
    "delivery_p99_ms",
    "server_us_each",
    "server_cores",
    "generator_cores",
    "other_cores",
)


async def in_flight(server: ServerProcess, seconds: float) -> dict[str, float]:
    """One to one, with more and more messages in flight: throughput against latency."""
    found: dict[str, float] = {}
    for window in WINDOWS:
        one = await one_to_one(
            server, seconds * SHARE, pairs=PAIRS, window=window, name=f"window{window}"
        )
        found |= _named(window, one)
    return found | {"other_cores": max(found[f"at{n}_other_cores"] for n in WINDOWS)}


async def members(server: ServerProcess, seconds: float) -> dict[str, float]:
    """Groups of more and more members: what does a message cost, and what a delivery?"""
    found: dict[str, float] = {}
    for size in MEMBERS:
        one = await group(
            server, seconds * SHARE, members=size, writers=1, window=GROUP_WINDOW, name=f"of{size}"
        )
        found |= _named(size, one)
        found[f"at{size}_message_us"] = one["server_us_each"] * (size - 1)
    return found | {"other_cores": max(found[f"at{n}_other_cores"] for n in MEMBERS)}


def _named(size: int, found: dict[str, float]) -> dict[str, float]:
    return {f"at{size}_{key}": found[key] for key in _KEPT}
