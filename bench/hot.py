"""A message's way through the server, in this process and without sockets.

Frames are handed to the gateway as aiohttp would hand them over, and what is to be written goes
nowhere.  All between is real: session, sender, RocksDB with its syncs, fan-out, hub.  So a change
of the code shows, where on a shared machine a whole server would drown it in noise.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import msgspec

from bench.wire import TEXT_BYTES
from timewire.auth import mint
from timewire.connection import Connection
from timewire.gateway import Gateway
from timewire.outbox import Outbox
from timewire.quotas import Meter
from timewire.server import Server
from timewire.session import Session
from timewire.settings import load

_FRAME: Final = b'{"type":"'
"""With which every frame of the server begins."""


class Goal:
    """Frames that are awaited from the server."""

    def __init__(self) -> None:
        self._missing = 0
        self._reached = asyncio.Event()

    def expect(self, frames: int) -> None:
        """So many more have to come."""
        self._missing += frames
        self._reached.clear()

    def came(self, frames: int) -> None:
        """So many have come."""
        self._missing -= frames
        if self._missing <= 0:
            self._reached.set()

    async def reach(self) -> None:
        """Wait until all have come."""
        await self._reached.wait()


class Sink(asyncio.Transport):
    """The far end of a connection: it takes everything at once."""

    def __init__(self, goal: Goal) -> None:
        super().__init__()
        self._goal = goal

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._goal.came(bytes(data).count(_FRAME))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        """Nothing to end."""


class _Socket:
    """What the gateway asks of a WebSocket here."""

    ws_protocol = None


class Pairs:
    """Users who write to each other through a server of this process."""

    def __init__(self, server: Server, goal: Goal) -> None:
        self.server = server
        self._goal = goal
        self._gateway: Gateway = server._gateway
        self._senders: list[tuple[Connection, str]] = []
        self._number = 0

    def _connect(self, user: str) -> Connection:
        gateway, policy = self._gateway, self._gateway._policy
        outbox = Outbox(Sink(self._goal), policy.outbox_bytes, gateway._flusher)
        session = Session(policy.limits, Meter())
        connection = Connection(gateway, cast(Any, _Socket()), outbox, session)
        token = mint(self.server.keys.secret, user)
        hello = {"type": "hello", "token": token, "device": "d"}
        self._goal.expect(2)  # welcome and live
        connection.take(msgspec.json.encode(hello).decode())
        return connection

    async def open(self, count: int) -> None:
        """Connect so many pairs, each with its conversation."""
        filler = "x" * (TEXT_BYTES - 10)
        for number in range(count):
            one, other = f"hot-from{number}", f"hot-to{number}"
            connection, _ = self._connect(one), self._connect(other)
            await self._goal.reach()
            to = f"direct:{one}:{other}"
            frame = '{"type":"send","id":"%010d","to":"' + to + '","body":{"text":"%010d' + filler
            self._senders.append((connection, frame + '"}}'))
        self._goal.expect(2 * count)  # what makes each conversation is pushed to both
        await self.exchange(1)

    async def exchange(self, window: int) -> None:
        """Everyone sends so many messages at once; until all are acked and delivered."""
        first = self._number
        self._number += window
        self._goal.expect(2 * window * len(self._senders))
        for number in range(first, first + window):
            for connection, frame in self._senders:
                connection.take(frame % (number, number))
        await self._goal.reach()


@asynccontextmanager
async def pairs(count: int) -> AsyncIterator[Pairs]:
    """So many connected pairs, with a server of their own in this process, without search."""
    with tempfile.TemporaryDirectory(prefix="timewire-bench-") as place:
        unlimited = {"sends_per_second": 0, "frames_per_second": 0}
        config = load({"data": place, "port": 0, "search": "off", **unlimited}, {}, None)
        server = await Server.start(config)
        try:
            opened = Pairs(server, Goal())
            await opened.open(count)
            yield opened
        finally:
            await server.aclose()
