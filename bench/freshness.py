"""How soon what is sent can be found: the age of the oldest message that cannot, under a load."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from statistics import median
from time import perf_counter
from typing import Final

import aiohttp

from bench.server import ServerProcess
from bench.stats import Latencies
from bench.wire import Link, acked_number, close_all, send_template

TURN_S: Final = 0.01
SAMPLE_S: Final = 0.05
SETTLE_S: Final = 1.0
GROUP: Final = "fresh"
_SEQ: Final = re.compile(rb'"seq":(\d+)')
_POSITION: Final = re.compile(rb"^timewire_search_position_seq (\S+)", re.MULTILINE)


class Writer:
    """Sends at a rate, and remembers when each message was acked."""

    def __init__(self, link: Link) -> None:
        self.seqs: list[int] = []
        self.times: list[float] = []
        self.acks = Latencies()
        self._sent: list[float] = []
        self._link = link
        link.on_frame = self._on_frame

    def _on_frame(self, data: bytes, start: int, end: int, now: float) -> None:
        number = acked_number(data, start, end)
        found = _SEQ.search(data, start, end)
        assert found is not None
        self.seqs.append(int(found[1]))
        self.times.append(now)
        self.acks.add(now - self._sent[number])

    async def write(self, rate: int, seconds: float) -> None:
        """Send so many messages a second, whatever comes back."""
        template = send_template(GROUP, "stored")
        began = perf_counter()
        while (passed := perf_counter() - began) < seconds:
            first, last = len(self._sent), int(passed * rate)
            frames = [template % (number, number) for number in range(first, last)]
            self._sent += [perf_counter()] * len(frames)
            self._link.transport.write(b"".join(frames))
            await asyncio.sleep(TURN_S)

    def age(self, position: int, now: float) -> float:
        """How long the oldest message past a position has been acked."""
        at = bisect_right(self.seqs, position)
        return now - self.times[at] if at < len(self.seqs) else 0.0


async def freshness(server: ServerProcess, seconds: float, *, rate: int) -> dict[str, float]:
    """The median and the highest age of what cannot be found yet, at so many messages a second."""
    [link] = await server.door.links(["writer"])
    create = {"type": "create", "id": "c", "conversation": GROUP, "members": ["reader"]}
    await link.ask(create, "c")
    writer = Writer(link)
    ages: list[float] = []
    cpu, began = server.cpu_s(), perf_counter()
    async with aiohttp.ClientSession(server.door.url) as session:
        writing = asyncio.create_task(writer.write(rate, SETTLE_S + seconds))
        await asyncio.sleep(SETTLE_S)
        while not writing.done():
            async with session.get("/metrics") as response:
                found = _POSITION.search(await response.read())
            assert found is not None
            ages.append(writer.age(int(float(found[1])), perf_counter()))
            await asyncio.sleep(SAMPLE_S)
        await writing
    passed = perf_counter() - began
    close_all([link])
    return {
        "lag_p50_ms": median(ages) * 1000,
        "lag_max_ms": max(ages) * 1000,
        "per_s": len(writer.seqs) / passed,
        "server_cores": (server.cpu_s() - cpu) / passed,
        **writer.acks.summary("ack"),
    }
