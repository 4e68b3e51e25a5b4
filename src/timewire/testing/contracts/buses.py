"""Contract of the port ``Bus``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from timewire.bus import Bus, Signal
from timewire.inbox import Delivery
from timewire.protocol import Presence, SomeoneTyping
from timewire.testing.contracts.inboxes import delivery
from timewire.testing.contracts.places import Contract, Place


class BusContract(Contract[Place[Bus]]):
    """What every bus promises: order, and nothing twice."""

    async def test_batches_arrive_in_order_and_at_most_once(self, store: Bus) -> None:
        heard: list[list[int]] = [[], []]
        stops = [
            store.subscribe(lambda _, position: heard[0].append(position)),
            store.subscribe(lambda _, position: heard[1].append(position)),
        ]
        for seq in range(1, 50):
            store.publish([delivery(seq, "team", ["alice"])], seq)
            if seq % 7 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        for stop in stops:
            stop()
        for positions in heard:
            assert positions == sorted(set(positions))
            assert set(positions) <= set(range(1, 50))

    async def test_a_batch_arrives_as_it_was_published(self, store: Bus) -> None:
        heard: list[tuple[Sequence[Delivery], int]] = []
        arrived = asyncio.Event()

        def subscriber(deliveries: Sequence[Delivery], position: int) -> None:
            heard.append((deliveries, position))
            arrived.set()

        store.subscribe(subscriber)
        async with asyncio.timeout(60):
            while not arrived.is_set():  # a batch may be lost
                store.publish([delivery(3, "team", ["alice", "bob"], 7)], 5)
                await asyncio.sleep(0.01)
        [[found], position] = heard[0]
        assert position == 5
        assert (found.message.seq, found.message.time, found.message.conversation) == (3, 7, "team")
        assert list(found.users) == ["alice", "bob"]

    async def test_signals_reach_listeners_and_them_alone(self, store: Bus) -> None:
        heard: list[Signal] = []
        arrived = asyncio.Event()
        positions: list[int] = []

        def listener(signal: Signal) -> None:
            heard.append(signal)
            arrived.set()

        store.subscribe(lambda _, position: positions.append(position))
        stop = store.listen(listener)
        async with asyncio.timeout(60):
            while not arrived.is_set():  # a signal may be lost
                store.signal(Signal(SomeoneTyping("team", "alice")))
                await asyncio.sleep(0.01)
        stop()
        stop()
        store.signal(Signal(Presence("bob", True)))
        await asyncio.sleep(0.05)
        assert {type(signal.frame) for signal in heard} == {SomeoneTyping}
        assert positions == []

    async def test_who_has_stopped_hears_nothing(self, store: Bus) -> None:
        heard: list[int] = []
        stop = store.subscribe(lambda _, position: heard.append(position))
        stop()
        stop()
        store.publish([], 1)
        await asyncio.sleep(0.05)
        assert heard == []
