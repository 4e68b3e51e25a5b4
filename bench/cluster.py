"""A cluster on this machine: what it carries with one NATS server and with three, and who pays.

Gateways, workers and NATS servers (JetStream, ``sync_interval: always``) are processes of their own
and share the machine with the load generator.  A gateway pushes a message to the connection that
has sent it, too; these pushes are not counted, as they are not elsewhere.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from bench.group import Group, Writer, make_group
from bench.load import Pair, Turns, check, drain, measure
from bench.machine import cpu_s
from bench.stats import Latencies
from bench.wire import Door, Link, close_all
from timewire.backends.jetstream import LogStream, Names, connect
from timewire.backends.jetstream.records import decode
from timewire.testing.clusters import Cluster, running_cluster

PAIRS: Final = 50
WINDOWS: Final = (1, 20)
MEMBERS: Final = 100
GROUP_WINDOW: Final = 8
ROLES: Final = ("gateways", "workers", "nats")

_ACK: Final = b'{"type":"ack"'


class Size(msgspec.Struct, frozen=True):
    """How many of each there are."""

    nats: int
    workers: int
    gateways: int


class Processes:
    """A running cluster, as the operating system sees it."""

    def __init__(self, cluster: Cluster) -> None:
        self.nats: Final = cluster.nats.urls
        self.doors: Final = [Door(one.url, cluster.secret) for one in cluster.gateways]
        self._pids: Final[dict[str, list[int]]] = {
            "gateways": [one.process.pid for one in cluster.gateways],
            "workers": [one.pid for one in cluster.workers],
            "nats": [one.pid for one in cluster.nats.servers],
        }

    def cpu_s(self) -> float:
        """Processor time of all processes together."""
        return sum(self.by_role().values())

    def by_role(self) -> dict[str, float]:
        """Processor time by what the processes do."""
        return {role: sum(map(cpu_s, pids)) for role, pids in self._pids.items()}


class EchoedPair(Pair):
    """A pair whose sender also gets what it has sent."""

    def listen(self) -> None:
        super().listen()
        self.sender.on_frame = self._on_either

    def _on_either(self, data: bytes, start: int, end: int, now: float) -> None:
        if data.startswith(_ACK, start):
            self._on_ack(data, start, end, now)


class EchoedWriter(Writer):
    """A writer that also gets what it has written."""

    def _on_frame(self, data: bytes, start: int, end: int, now: float) -> None:
        if data.startswith(_ACK, start):
            super()._on_frame(data, start, end, now)


async def carry(seconds: float, size: Size) -> dict[str, float]:
    """One to one with one and with many in flight, then a group, all on one cluster."""
    found: dict[str, float] = {}
    async with _running(size) as processes:
        for window in WINDOWS:
            found |= await _with_shares(f"pairs{window}", processes, _pairs, seconds, window)
        found |= await _with_shares("group", processes, _group, seconds, GROUP_WINDOW)
        found["stream_bytes_each"] = await _stream_bytes(processes.nats)
    return found | {"other_cores": max(v for key, v in found.items() if "other_cores" in key)}


Load = Callable[[Processes, float, int], Awaitable[dict[str, float]]]


async def _with_shares(
    name: str, processes: Processes, load: Load, seconds: float, window: int
) -> dict[str, float]:
    """What a load finds, and what each role has paid of it."""
    before = processes.by_role()
    found = await load(processes, seconds, window)
    used = {role: now - before[role] for role, now in processes.by_role().items()}
    whole = sum(used.values()) or 1.0
    for role, spent in used.items():
        found[f"{role}_us_each"] = found["server_us_each"] * spent / whole
    return {f"{name}_{key}": value for key, value in found.items()}


async def _pairs(processes: Processes, seconds: float, window: int) -> dict[str, float]:
    """50 users of the first gateway write to 50 of the last."""
    turns, name = Turns(), f"w{window}"
    senders = await processes.doors[0].links([f"{name}-from{n}" for n in range(PAIRS)])
    receivers = await processes.doors[-1].links([f"{name}-to{n}" for n in range(PAIRS)])
    opened = [EchoedPair(turns, a, b, window) for a, b in zip(senders, receivers, strict=True)]
    acks, deliveries = Latencies(), Latencies()
    try:
        for pair in opened:
            pair.share(acks, deliveries)
            await pair.open()
            turns.add(pair)
        found = await measure(
            processes, seconds, lambda: sum(p.delivered for p in opened), (acks, deliveries)
        )
        found |= acks.summary("ack") | deliveries.summary("delivery")
        turns.stopped = True
        await drain(lambda: all(pair.done() for pair in opened), [*senders, *receivers])
    finally:
        close_all([*senders, *receivers])
    return found


async def _group(processes: Processes, seconds: float, window: int) -> dict[str, float]:
    """One member of a group writes at the first gateway; all are online, at all gateways."""
    links = await _spread(processes.doors, MEMBERS)
    made = await make_group(links[0], "team", [link.user for link in links])
    for link in links[1:]:
        await link.reach(made)
    turns = Turns()
    team = Group(turns, links, 0, window)
    team.readers.pop(0)
    team.writers = [EchoedWriter(team, links[0])]
    turns.add(team.writers[0])
    try:
        found = await measure(processes, seconds, team.delivered, (team.acks, team.deliveries))
        found |= team.acks.summary("ack") | team.deliveries.summary("delivery")
        turns.stopped = True
        await drain(team.done, links)
        check(links)
    finally:
        close_all(links)
    found["messages_per_s"] = found["per_s"] / (MEMBERS - 1)
    return found


async def _stream_bytes(urls: str) -> float:
    """Bytes of the log's stream for each message, on one NATS server."""
    client = await connect(urls, "timewire bench")
    try:
        stream = LogStream(client, Names())
        state = (await stream.info())["state"]
        newest = decode((await stream.get(state["last_seq"])).data)
        return state["bytes"] / newest.end
    finally:
        await client.close()


async def _spread(doors: Sequence[Door], count: int) -> list[Link]:
    links: list[Link] = []
    for number, door in enumerate(doors):
        links += await door.links([f"m{n}" for n in range(number, count, len(doors))])
    return links


@asynccontextmanager
async def _running(size: Size) -> AsyncIterator[Processes]:
    with tempfile.TemporaryDirectory(prefix="timewire-bench-") as place:
        async with running_cluster(
            Path(place),
            nats=size.nats,
            workers=size.workers,
            gateways=size.gateways,
            sends_per_second=0,
            frames_per_second=0,
        ) as cluster:
            yield Processes(cluster)
            await cluster.stop()
