"""A connection without a network: what is taken at once, what waits, and what a fault does."""

import asyncio
from typing import Any, cast

import msgspec
from aiohttp import WSMessage, WSMsgType

from timewire.connection import Connection, Socket
from timewire.outbox import Flusher, Outbox
from timewire.protocol import CloseCode, Limits
from timewire.quotas import Meter
from timewire.rates import Rates
from timewire.session import Close, Effects, Session
from timewire.testing.devices import eventually
from timewire.websocket import Feed

OUTBOX_BYTES = 100
PING = msgspec.json.encode({"type": "ping", "id": "1"}).decode()


class Line(asyncio.Transport):
    """What was written; ``reading``: the other end takes it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.waiting = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.reading:
            self.waiting += len(data)

    def get_write_buffer_size(self) -> int:
        return 0 if self.reading else self.waiting

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.reading = True


class Wire:
    """A WebSocket: ``put`` is what arrives."""

    ws_protocol = None

    def __init__(self) -> None:
        self.feed: Feed
        self.queue: asyncio.Queue[WSMessage] = asyncio.Queue()

    def listen(self, feed: Feed) -> None:
        self.feed = feed

    def put(self, text: str) -> bool:
        """Whether it was taken as it came."""
        taken = self.queue.empty() and self.feed(text)
        if not taken:
            self.queue.put_nowait(WSMessage(WSMsgType.TEXT, text, None))
        return taken

    async def receive(self) -> WSMessage:
        return await self.queue.get()


class House:
    """What sessions ask for."""

    def __init__(self) -> None:
        self.effects: list[Any] = []
        self.fails = False
        self.now = 1000.0

    def ticks(self) -> float:
        return self.now

    def carry_out(self, connection: Connection, effects: Effects) -> None:
        self.effects += effects
        if self.fails:
            self.fails = False
            raise RuntimeError("broken")

    def logged_out(self, connection: Connection) -> None:
        """Nobody was logged in."""


def make(meter: Meter | None = None) -> tuple[Connection, Wire, Line, House]:
    wire, line, house = Wire(), Line(), House()
    outbox = Outbox(line, OUTBOX_BYTES, Flusher(asyncio.get_running_loop()))
    limits = Limits(frame_bytes=1000, body_bytes=1000, page_entries=10, sends_in_flight=10)
    session = Session(limits, meter or Meter())
    return Connection(house, cast(Socket, wire), outbox, session), wire, line, house


async def test_who_does_not_read_is_not_read_from() -> None:
    connection, wire, line, house = make()
    reading = asyncio.create_task(connection.read())
    await asyncio.sleep(0)
    assert wire.put(PING)
    line.reading = False
    connection.outbox.put(b"x" * (OUTBOX_BYTES + 1))
    assert wire.put(PING)  # the last one before it is seen
    assert not wire.put(PING)
    assert not wire.put(PING)
    await asyncio.sleep(0.02)
    assert len(house.effects) == 2
    line.reading = True
    await eventually(lambda: len(house.effects) == 4)
    assert wire.put(PING)
    reading.cancel()


async def test_who_sends_too_much_is_not_read_from_for_a_while() -> None:
    meter = Meter()
    meter.add(Rates(2, "user"), Rates(0, "user"), Rates(0, "user"), "alice")
    connection, wire, _, house = make(meter)
    reading = asyncio.create_task(connection.read())
    await asyncio.sleep(0)
    assert [wire.put(PING) for _ in range(4)] == [True, True, True, False]
    await asyncio.sleep(0.01)
    assert len(house.effects) == 3
    house.now += 499
    await eventually(lambda: len(house.effects) == 4)
    reading.cancel()


async def test_a_frame_that_fails_ends_the_connection() -> None:
    connection, wire, _, house = make()
    reading = asyncio.create_task(connection.read())
    await asyncio.sleep(0)
    house.fails = True
    assert wire.put(PING)
    assert house.effects[-1] == Close(CloseCode.FAULT)
    assert connection.session.state == "closed"
    reading.cancel()


async def test_a_frame_that_is_too_large_is_refused() -> None:
    connection, _, _, house = make()
    connection.take("x" * 1001)
    assert house.effects[-1].code == "frame_too_large"
    connection.take("ä" * 501)
    assert house.effects[-1].code == "frame_too_large"
    connection.take("ä" * 500)
    assert house.effects[-1].code == "bad_frame"
