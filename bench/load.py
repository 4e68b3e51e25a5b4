"""What scenarios share: turns, the window of a measurement, and its cost on both sides."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final, Protocol

from bench import machine
from bench.stats import Latencies
from bench.wire import Fault, Link, acked_number, pushed_number, send_template

DRAIN_TIMEOUT_S: Final = 60.0
WARMUP_SHARE: Final = 0.25


class Spender(Protocol):
    """Something whose processor time is known."""

    def cpu_s(self) -> float:
        """Processor time used up to now, in seconds."""
        ...


class Source(Protocol):
    """Something that sends when the server lets it."""

    def pump(self) -> None:
        """Send as much as the window allows, in one write."""
        ...


class Turns:
    """Lets sources send at most once a turn of the event loop, until ``stopped``."""

    def __init__(self) -> None:
        self.stopped = False
        self._loop = asyncio.get_running_loop()
        self._due: dict[Source, None] = {}

    def add(self, source: Source) -> None:
        """A source may have room in its window."""
        if not self._due:
            self._loop.call_soon(self._flush)
        self._due[source] = None

    def _flush(self) -> None:
        due, self._due = self._due, {}
        if not self.stopped:
            for source in due:
                source.pump()


class Pair:
    """One user writes to another; at most ``window`` messages are unacked or undelivered.

    It ends after ``limit`` messages, or when its turns are stopped.

    A conversation has one order, and so have the acks of one connection: the n-th ack and the n-th
    push must be those of the n-th message, or the measurement is void.
    """

    def __init__(self, turns: Turns, sender: Link, receiver: Link, window: int) -> None:
        self.sender = sender
        self.receiver = receiver
        self.window = window
        self.acks = Latencies()
        self.deliveries = Latencies()
        self.sent = self.acked = self.delivered = 0
        self.limit = sys.maxsize
        self._turns = turns
        self._sent_at: list[float] = []
        one, other = sorted((sender.user, receiver.user))
        self._conversation = f"direct:{one}:{other}"
        self._frame = send_template(self._conversation)

    async def open(self) -> None:
        """Have the conversation made by a first message, then take frames raw."""
        first = {"type": "send", "id": "first", "to": self._conversation, "body": {}}
        ack = await self.sender.ask({**first, "ack": "synced"}, "first")
        await self.receiver.reach(ack["seq"])
        self.listen()

    def listen(self) -> None:
        """Take the frames of both sides raw from here on."""
        self.sender.on_frame = self._on_ack
        self.receiver.on_frame = self._on_push

    def share(self, acks: Latencies, deliveries: Latencies) -> None:
        """Count latencies into these, which others use too."""
        self.acks, self.deliveries = acks, deliveries

    def pump(self) -> None:
        """Fill the window."""
        first = self.sent
        room = min(self.limit, self.window + min(self.acked, self.delivered)) - first
        if room <= 0:
            return
        self.sent = first + room
        frame = self._frame
        data = b"".join([frame % (n, n) for n in range(first, first + room)])
        self._sent_at += [perf_counter()] * room
        self.sender.transport.write(data)

    def _on_ack(self, data: bytes, start: int, end: int, now: float) -> None:
        number = acked_number(data, start, end)
        if number != self.acked:
            raise Fault(f"{self.sender.user}: ack of {number}, expected {self.acked}")
        self.acked = number + 1
        self.acks.add(now - self._sent_at[number])
        self._turns.add(self)

    def _on_push(self, data: bytes, start: int, end: int, now: float) -> None:
        number = pushed_number(data, start, end)
        if number != self.delivered:
            raise Fault(f"{self.receiver.user}: push of {number}, expected {self.delivered}")
        self.delivered = number + 1
        self.deliveries.add(now - self._sent_at[number])
        self._turns.add(self)

    def done(self) -> bool:
        """Whether everything that was sent is acked and delivered."""
        return self.sent == self.acked == self.delivered


class Cost:
    """Processor time of server, generator and everything else, from its making to ``read``."""

    def __init__(self, server: Spender) -> None:
        self._server = server
        self._began = perf_counter()
        self._cpu = self._used()

    def _used(self) -> tuple[float, float, float]:
        return self._server.cpu_s(), time.process_time(), machine.busy_s()

    def read(self, count: int) -> dict[str, float]:
        """Cores that were busy, and the server's microseconds for each of ``count``."""
        took = perf_counter() - self._began
        server, own, all_busy = (b - a for a, b in zip(self._cpu, self._used(), strict=True))
        return {
            "server_cores": server / took,
            "generator_cores": own / took,
            "other_cores": max(0.0, all_busy - server - own) / took,
            "server_us_each": server / count * 1e6 if count else 0.0,
        }


async def measure(
    server: Spender,
    seconds: float,
    counted: Callable[[], int],
    latencies: Sequence[Latencies],
) -> dict[str, float]:
    """Warm up, then count for some seconds: what a second brought, and what it cost.

    It counts on until there is something to tell, or raises ``Fault`` after a long time.
    """
    await asyncio.sleep(seconds * WARMUP_SHARE)
    for one in latencies:
        one.clear()
    cost, before, began = Cost(server), counted(), perf_counter()
    await asyncio.sleep(seconds)
    while counted() == before:
        if perf_counter() - began > DRAIN_TIMEOUT_S:
            raise Fault("nothing comes")
        await asyncio.sleep(0.01)
    count, took = counted() - before, perf_counter() - began
    return {"per_s": count / took, **cost.read(count)}


async def drain(
    done: Callable[[], bool], links: Sequence[Link], timeout_s: float = DRAIN_TIMEOUT_S
) -> None:
    """Wait until all has come.  Raises ``Fault`` when something does not in time."""
    deadline = perf_counter() + timeout_s
    while not done():
        check(links)
        if perf_counter() > deadline:
            raise Fault("acks or deliveries are missing")
        await asyncio.sleep(0.01)
    check(links)


def check(links: Sequence[Link]) -> None:
    """Raise what went wrong on one of the connections."""
    for link in links:
        if link.fault is not None:
            raise link.fault
