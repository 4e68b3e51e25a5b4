"""What every server is asked to do: pairs that write to each other, and a group.

A message is in flight until all who are to get it have it.  Each must come to each of them once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Final, Protocol

from bench.load import DRAIN_TIMEOUT_S, WARMUP_SHARE, Turns
from bench.stats import Latencies
from bench.wire import NUMBER_DIGITS, TEXT_BYTES, Fault

PAIRS: Final = 50
MEMBERS: Final = 100
GROUP_WINDOW: Final = 8
FILLER: Final = "x" * (TEXT_BYTES - NUMBER_DIGITS)


class Client(Protocol):
    """Somebody who is connected."""

    fault: BaseException | None
    on_number: Callable[[int, float], None]
    """Called with the number in a message that came, and when."""

    def say(self, numbers: range) -> None:
        """Send messages with these numbers, to where the client was told to talk."""
        ...


class Speaker:
    """A client who writes, and those who hear it; at most ``window`` messages in flight."""

    def __init__(
        self, turns: Turns, sender: Client, hearers: Sequence[Client], window: int
    ) -> None:
        self.heard = 0
        self.latencies = Latencies()
        self._turns = turns
        self._sender = sender
        self._window = window
        self._in_flight = 0
        self._sent_at: list[float] = []
        self._missing: list[int] = []
        self._hearers = len(hearers)
        for hearer in hearers:
            hearer.on_number = self._hearer(set())

    def pump(self) -> None:
        """Fill the window."""
        room, first = self._window - self._in_flight, len(self._sent_at)
        if room <= 0:
            return
        self._sent_at += [perf_counter()] * room
        self._missing += [self._hearers] * room
        self._in_flight += room
        self._sender.say(range(first, first + room))

    def _hearer(self, seen: set[int]) -> Callable[[int, float], None]:
        def on_number(number: int, now: float) -> None:
            if number in seen:
                raise Fault(f"message {number} came twice")
            seen.add(number)
            self.heard += 1
            self.latencies.add(now - self._sent_at[number])
            self._missing[number] -= 1
            if not self._missing[number]:
                self._in_flight -= 1
                self._turns.add(self)

        return on_number

    def done(self) -> bool:
        """Whether all have everything."""
        return not self._in_flight


class Server(Protocol):
    """A server under measurement."""

    def cpu_s(self) -> float:
        """Processor time that it has used, its database included."""
        ...

    async def pairs(self, count: int) -> list[tuple[Client, Client]]:
        """Clients who can write to each other; the first of each pair talks."""
        ...

    async def group(self, members: int) -> list[Client]:
        """Members of a group; the first talks to it."""
        ...

    async def leave(self) -> None:
        """End all connections."""
        ...


async def run_pairs(server: Server, window: int, seconds: float) -> dict[str, float]:
    """50 pairs, so many in flight for each."""
    turns = Turns()
    clients = await server.pairs(PAIRS)
    speakers = [Speaker(turns, one, [other], window) for one, other in clients]
    return await _run(server, turns, speakers, [c for pair in clients for c in pair], seconds)


async def run_group(server: Server, seconds: float) -> dict[str, float]:
    """One member of a group of 100 writes, 8 in flight.  Its own copies are not counted."""
    turns = Turns()
    members = await server.group(MEMBERS)
    speakers = [Speaker(turns, members[0], members[1:], GROUP_WINDOW)]
    return await _run(server, turns, speakers, members, seconds)


async def _run(
    server: Server,
    turns: Turns,
    speakers: Sequence[Speaker],
    clients: Sequence[Client],
    seconds: float,
) -> dict[str, float]:
    shared = Latencies()
    for speaker in speakers:
        speaker.latencies = shared
        turns.add(speaker)
    await asyncio.sleep(seconds * WARMUP_SHARE)
    shared.clear()
    before, cpu, began = sum(s.heard for s in speakers), server.cpu_s(), perf_counter()
    await asyncio.sleep(seconds)
    while (count := sum(s.heard for s in speakers) - before) == 0:
        await _settle(lambda: sum(s.heard for s in speakers) > before, clients)
    took = perf_counter() - began
    found = {
        "per_s": count / took,
        "p50_ms": shared.percentile_ms(50),
        "p99_ms": shared.percentile_ms(99),
        "cores": (server.cpu_s() - cpu) / took,
    }
    turns.stopped = True
    await _settle(lambda: all(s.done() for s in speakers), clients)
    return found


async def _settle(done: Callable[[], bool], clients: Sequence[Client]) -> None:
    """Until all has come.  Raises ``Fault`` when something does not."""
    deadline = perf_counter() + DRAIN_TIMEOUT_S
    while True:
        for client in clients:
            if client.fault is not None:
                raise client.fault
        if done():
            return
        if perf_counter() > deadline:
            raise Fault("messages are missing")
        await asyncio.sleep(0.01)


SHAPES: Final[dict[str, Callable[[Server, float], Awaitable[dict[str, float]]]]] = {
    "pairs-1": lambda server, s: run_pairs(server, 1, s),
    "pairs-20": lambda server, s: run_pairs(server, 20, s),
    "group": run_group,
}
"""By name.  Each begins with nobody connected."""
