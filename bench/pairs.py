"""One-to-one, end to end: 50 users write to 50 others, everything acked and delivered."""

from __future__ import annotations

from bench.load import Pair, Turns, drain, measure
from bench.server import ServerProcess
from bench.stats import Latencies
from bench.wire import Door, close_all


async def open_pairs(door: Door, turns: Turns, count: int, window: int, name: str) -> list[Pair]:
    """Pairs of live connections, with shared latencies, not sending yet."""
    senders = await door.links([f"{name}-from{n}" for n in range(count)])
    receivers = await door.links([f"{name}-to{n}" for n in range(count)])
    pairs = [Pair(turns, a, b, window) for a, b in zip(senders, receivers, strict=True)]
    acks, deliveries = Latencies(), Latencies()
    for pair in pairs:
        pair.share(acks, deliveries)
        await pair.open()
    return pairs


async def one_to_one(
    server: ServerProcess, seconds: float, *, pairs: int, window: int, name: str = "p"
) -> dict[str, float]:
    """Messages a second, and the latencies of acks and deliveries."""
    turns = Turns()
    opened = await open_pairs(server.door, turns, pairs, window, name)
    links = [link for pair in opened for link in (pair.sender, pair.receiver)]
    acks, deliveries = opened[0].acks, opened[0].deliveries
    for pair in opened:
        turns.add(pair)
    try:
        found = await measure(
            server, seconds, lambda: sum(p.delivered for p in opened), (acks, deliveries)
        )
        found |= acks.summary("ack") | deliveries.summary("delivery")
        turns.stopped = True
        await drain(lambda: all(pair.done() for pair in opened), links)
    finally:
        close_all(links)
    return found
