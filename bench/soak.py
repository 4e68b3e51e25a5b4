"""Cost growth: is a server with many stored messages as fast as an empty one?"""

from __future__ import annotations

from typing import Final

from bench.cases import Case, Found, Target
from bench.load import Turns, drain
from bench.pairs import one_to_one, open_pairs
from bench.server import ServerProcess
from bench.wire import close_all

PAIRS: Final = 50
WINDOW: Final = 20
FILL_WINDOW: Final = 100
FILL_TIMEOUT_S: Final = 4 * 3600.0


def soak(messages: int) -> Case:
    """Throughput before and after ``messages`` were stored."""

    async def run(server: ServerProcess, seconds: float) -> Found:
        empty = await one_to_one(server, seconds, pairs=PAIRS, window=WINDOW, name="empty")
        before = server.rss_bytes()
        await fill(server, messages)
        full = await one_to_one(server, seconds, pairs=PAIRS, window=WINDOW, name="full")
        return {
            "ratio": full["per_s"] / empty["per_s"],
            "empty_per_s": empty["per_s"],
            "full_per_s": full["per_s"],
            "full_p99_ms": full["delivery_p99_ms"],
            "empty_p99_ms": empty["delivery_p99_ms"],
            "empty_mib": before / 2**20,
            "full_mib": server.rss_bytes() / 2**20,
        }

    return Case(
        "soak",
        f"Growth: one to one, with {messages:,} messages stored",
        {"messages": messages, "pairs": PAIRS, "window": WINDOW},
        (
            Target("ratio", "of the rate of an empty store", "x", 0.8, 0.95),
            Target("empty_per_s", "messages, empty", "/s"),
            Target("full_per_s", "messages, full", "/s"),
            Target("empty_p99_ms", "delivery p99, empty", "ms"),
            Target("full_p99_ms", "delivery p99, full", "ms"),
            Target("empty_mib", "server memory, empty", "MiB", higher_is_better=False),
            Target("full_mib", "server memory, full", "MiB", higher_is_better=False),
        ),
        against=run,
    )


async def fill(server: ServerProcess, messages: int) -> None:
    """Store that many messages, as fast as it goes."""
    turns = Turns()
    pairs = await open_pairs(server.door, turns, PAIRS, FILL_WINDOW, "fill")
    links = [link for pair in pairs for link in (pair.sender, pair.receiver)]
    for pair in pairs:
        pair.limit = messages // PAIRS
        turns.add(pair)
    try:
        await drain(
            lambda: all(p.sent == p.limit and p.done() for p in pairs), links, FILL_TIMEOUT_S
        )
    finally:
        close_all(links)
