"""A message to a very large group, most of it offline: how long, and does it hold up others?"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

from bench.group import make_group
from bench.load import Pair, Turns, check, drain
from bench.pairs import open_pairs
from bench.server import ServerProcess
from bench.stats import Latencies
from bench.wire import Link, close_all, send_template

NAME: Final = "everybody"
ONLINE: Final = 5
PAIRS: Final = 10
PAUSE_S: Final = 0.02
"""Between one large message and the next: other work is measured beside them, not instead."""


class Announcer:
    """Sends one message at a time and waits until it is in every inbox."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._count = 0

    async def announce(self) -> float:
        """Seconds from the send to the ack that says ``synced``."""
        self._count += 1
        frame = send_template(NAME, ack="synced") % (self._count, self._count)
        began = perf_counter()
        await self._link.ask_raw(frame, f"{self._count:010d}")
        return perf_counter() - began

    async def announce_for(self, seconds: float) -> tuple[Latencies, int]:
        """One message after the other, with pauses: their latencies, and how many there were."""
        found, until, count = Latencies(), perf_counter() + seconds, 0
        while count < 3 or perf_counter() < until:
            found.add(await self.announce())
            count += 1
            await asyncio.sleep(PAUSE_S)
        return found, count


async def many_inboxes(server: ServerProcess, seconds: float, *, members: int) -> dict[str, float]:
    """A message to ``members`` inboxes alone, then beside one-to-one messages."""
    users = [f"e{n}" for n in range(members)]
    online = await server.door.links(users[:ONLINE])
    made = await make_group(online[0], NAME, users)
    for link in online[1:]:
        await link.reach(made)
    announcer = Announcer(online[0])
    turns = Turns()
    pairs = await open_pairs(server.door, turns, PAIRS, 1, "beside")
    links = [*online, *(link for pair in pairs for link in (pair.sender, pair.receiver))]
    try:
        await announcer.announce()
        alone, _ = await announcer.announce_for(seconds / 3)
        quiet = await _pairs_alone(turns, pairs, seconds / 3)
        pairs[0].acks.clear()
        pairs[0].deliveries.clear()
        both, count = await announcer.announce_for(seconds / 3)
        beside = pairs[0].acks.summary("beside_ack")
        beside |= pairs[0].deliveries.summary("beside_delivery")
        turns.stopped = True
        await drain(lambda: all(pair.done() for pair in pairs), links)
        check(links)
    finally:
        close_all(links)
    return {
        **alone.summary("synced"),
        **both.summary("synced_beside"),
        **quiet,
        **beside,
        "count": count,
    }


async def _pairs_alone(turns: Turns, pairs: list[Pair], seconds: float) -> dict[str, float]:
    for pair in pairs:
        turns.add(pair)
    await asyncio.sleep(seconds / 4)
    pairs[0].acks.clear()
    pairs[0].deliveries.clear()
    await asyncio.sleep(seconds * 3 / 4)
    acks, deliveries = pairs[0].acks, pairs[0].deliveries
    return acks.summary("quiet_ack") | deliveries.summary("quiet_delivery")
