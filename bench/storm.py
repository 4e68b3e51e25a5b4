"""Everybody comes back at once: a server restarts, and all its connections are made anew.

Each device was told of a few messages, and comes back with a cursor from before: it has to get each
of them, once.  Pairs that are back first write to each other all the while; none of their sends may
be refused.
"""

from __future__ import annotations

import asyncio
import random
import resource
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Final

from bench.catchup import Catching
from bench.group import make_group
from bench.idle import SETTLE_S, SPARE_FILES, allow_files
from bench.load import Turns, check, drain
from bench.pairs import open_pairs
from bench.server import ServerProcess, serving
from bench.wire import Fault, Link, close_all

MEMBERS: Final = 1000
"""Of a group; as many groups as it takes."""

MISSED: Final = 5
PAIRS: Final = 10
MAX_RETRY_S: Final = 2.0
"""Somebody who does not get in waits up to so long before the next try."""

TRIES: Final = 20
STORM_TIMEOUT_S: Final = 300.0


def possible(connections: int) -> int:
    """So many connections, or as many as the limit of open files lets one process have."""
    return min(connections, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE_FILES)


class Device:
    """One that was there before the restart: who it is, and its cursor of then."""

    def __init__(self, link: Link) -> None:
        self.user = link.user
        self.cursor = {"base": link.base, "pos": link.pos}
        self.link: Link | None = None
        self.retries = 0
        self.back_at = 0.0

    async def return_to(self, server: ServerProcess) -> None:
        """Connect, say hello with the cursor, take what was missed.  Tries again when refused."""
        for _ in range(TRIES):
            try:
                self.link = await self._try(server)
            except (Fault, OSError, TimeoutError):
                self.retries += 1
                await asyncio.sleep(random.uniform(0, MAX_RETRY_S))
            else:
                self.back_at = perf_counter()
                return
        raise Fault(f"{self.user} did not get in")

    async def _try(self, server: ServerProcess) -> Link:
        link = await server.door.link(self.user, live=False)
        try:
            catching = Catching(link)
            hello = server.door.hello(link, cursor=self.cursor, credit=MISSED)
            await link.ask(hello, "live")
            catching.check(MISSED)
        except BaseException:
            link.close()
            raise
        return link


async def storm(seconds: float, *, connections: int) -> dict[str, float]:
    """Idle connections, then the restart.  ``seconds``: how long pairs write before the storm."""
    allow_files(connections + SPARE_FILES)
    count = possible(connections)
    with tempfile.TemporaryDirectory(prefix="timewire-bench-") as place:
        data = Path(place) / "data"
        async with serving(data=data, search="off") as server:
            devices, found = await _before(server, count)
        async with serving(data=data, search="off") as server:
            return found | await _after(server, devices, seconds)


async def _before(server: ServerProcess, count: int) -> tuple[list[Device], dict[str, float]]:
    """Connect all, and let something be said that they will have missed."""
    makers = await _groups(server, count)
    memory, began = server.rss_bytes(), perf_counter()
    links = await server.door.links([f"s{n}" for n in range(count)])
    took = perf_counter() - began
    await asyncio.sleep(SETTLE_S)
    found = {
        "connections": float(count),
        "kib_each": (server.rss_bytes() - memory) / count / 1024,
        "accepts_per_s": count / took,
    }
    devices = [Device(link) for link in links]
    for name, maker in makers:
        for number in range(MISSED):
            send = {"type": "send", "id": f"m{number}", "to": name, "ack": "synced"}
            await maker.ask({**send, "body": {"text": f"{number:010d}"}}, f"m{number}")
    check(links)
    close_all([*links, *(maker for _, maker in makers)])
    return devices, found


async def _groups(server: ServerProcess, count: int) -> list[tuple[str, Link]]:
    """Groups of all who will come, each with a maker of its own."""
    made: list[tuple[str, Link]] = []
    for first in range(0, count, MEMBERS):
        name = f"storm{first}"
        maker = await server.door.link(f"{name}-maker")
        await make_group(maker, name, [f"s{n}" for n in range(first, min(first + MEMBERS, count))])
        made.append((name, maker))
    return made


async def _after(server: ServerProcess, devices: list[Device], seconds: float) -> dict[str, float]:
    """All come back at once, while some who are back already write."""
    turns = Turns()
    pairs = await open_pairs(server.door, turns, PAIRS, 1, "back")
    links = [link for pair in pairs for link in (pair.sender, pair.receiver)]
    acks = pairs[0].acks
    for pair in pairs:
        turns.add(pair)
    await asyncio.sleep(seconds)
    quiet = acks.summary("quiet_ack")
    acks.clear()
    before, began = sum(pair.acked for pair in pairs), perf_counter()
    async with asyncio.timeout(STORM_TIMEOUT_S):
        await asyncio.gather(*(device.return_to(server) for device in devices))
    took = perf_counter() - began
    sent = sum(pair.acked for pair in pairs) - before
    found = quiet | acks.summary("storm_ack")
    turns.stopped = True
    await drain(lambda: all(pair.done() for pair in pairs), links)
    back = sorted(device.back_at - began for device in devices)
    close_all([*links, *(device.link for device in devices if device.link is not None)])
    return found | {
        "back_per_s": len(devices) / took,
        "back_p50_s": back[len(back) // 2],
        "back_max_s": back[-1],
        "retries": float(sum(device.retries for device in devices)),
        "storm_sends_per_s": sent / took,
    }
