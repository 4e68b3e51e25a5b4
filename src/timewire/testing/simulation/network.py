"""A simulated network: connections that are slow, stall and break, as those of TCP do.

What is sent on a connection arrives in order or not at all.  When it breaks, all that is under way
is lost, and each side learns of it at its own time, the server perhaps never.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, cast

import aiohttp
from aiohttp import WSMessage, WSMsgType

from timewire.client.transport import ABNORMAL, PING_S, Link, WebSocketLink
from timewire.coding import Codec
from timewire.connection import Socket
from timewire.errors import error
from timewire.testing.simulation.loop import Process, SimulatedLoop
from timewire.websocket import Feed

KERNEL_BYTES: Final = 4096
"""What the kernels on the way take; more waits at its sender."""

MAX_LATENCY_S: Final = 0.05
_DATA: Final = (WSMsgType.TEXT, WSMsgType.BINARY)
_OPEN: Final = (*_DATA, WSMsgType.PING, WSMsgType.PONG)
_END: Final = WSMessage(WSMsgType.CLOSED, None, None)

Accept = Callable[[Socket, asyncio.WriteTransport], Awaitable[None]]
"""Serves a connection."""


class Pipe:
    """One direction of a connection: what is put in comes out in order, later."""

    def __init__(self, loop: SimulatedLoop, chance: Random, arrive: Callable[[Any], None]) -> None:
        self.waiting_bytes = 0
        self.broken = False
        self.bytes_a_second = chance.choice([1e9, 1e9, 200_000.0, 20_000.0])
        self._loop = loop
        self._chance = chance
        self._arrive = arrive
        self._latency_s = chance.choice([0.0001, 0.001, MAX_LATENCY_S])
        self._free_at = 0.0
        self._held_until = 0.0
        self._under_way: deque[tuple[float, int, Any]] = deque()

    def put(self, item: Any, size: int) -> None:
        """Send something of a size in bytes.  Once broken, it is lost."""
        self.waiting_bytes += size
        if not self.broken:
            now = self._loop.time()
            delay = self._chance.random() * self._latency_s
            self._free_at = max(self._free_at, now + delay) + size / self.bytes_a_second
            self._under_way.append((self._free_at, size, item))
            if len(self._under_way) == 1:
                self._loop.call_at(self._free_at, self._deliver)

    def hold(self, seconds: float) -> None:
        """Let nothing through for so long."""
        self._held_until = self._loop.time() + seconds

    def cut(self) -> None:
        """Lose what is under way, and all that comes.  It is not noticed by the sender."""
        self.broken = True

    def _deliver(self) -> None:
        if self.broken:
            return
        now = self._loop.time()
        if now < self._held_until:
            self._loop.call_at(self._held_until, self._deliver)
            return
        while self._under_way and self._under_way[0][0] <= now and not self.broken:
            _, size, item = self._under_way.popleft()
            self.waiting_bytes -= size
            self._arrive(item)
        if self._under_way:
            self._loop.call_at(max(now, self._under_way[0][0]), self._deliver)


class Connection:
    """A WebSocket between a device and the server."""

    def __init__(self, loop: SimulatedLoop, chance: Random, subprotocol: str, server: Process):
        self.loop = loop
        self.chance = chance
        self.up = Pipe(loop, chance, self._arrive_above)
        self.down = Pipe(loop, chance, self._arrive_below)
        self.client = ClientEnd(self)
        self.server = ServerEnd(self, subprotocol)
        self.process = server

    @property
    def is_broken(self) -> bool:
        """Whether nothing gets through any more."""
        return self.up.broken

    def cut(self, client_notices_s: float | None, server_notices_s: float | None) -> None:
        """Break it.  Each side notices after a time, or not at all."""
        self.up.cut()
        self.down.cut()
        if client_notices_s is not None:
            self.loop.call_later(client_notices_s, self.client.put, _END)
        if server_notices_s is not None:
            self.loop.call_later(server_notices_s, self.server.put, _END)

    def _arrive_above(self, message: WSMessage) -> None:
        self.server.put(message)

    def _arrive_below(self, item: bytes | WSMessage) -> None:
        if isinstance(item, bytes):
            for message in frames(item):
                if message.type is WSMsgType.PING:
                    self.up.put(WSMessage(WSMsgType.PONG, b"", None), 2)
                else:
                    self.client.put(message)
        else:
            self.client.put(item)


class _Inbox:
    """What has arrived at one end and was not read yet."""

    def __init__(self) -> None:
        self.ended = False
        self._messages: deque[WSMessage] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._feed: Feed = _nobody

    def put(self, message: WSMessage) -> None:
        """A message has arrived.  After the last one nothing does."""
        if not self.ended:
            if message.type in _DATA and not self._messages and self._feed(message.data):
                return
            self.ended = message.type not in _OPEN
            self._messages.append(message)
            if self._reader is not None and not self._reader.done():
                self._reader.set_result(None)

    def listen(self, feed: Feed) -> None:
        """Hand messages to ``feed`` as they come, from when all that waits has been received."""
        self._feed = feed

    async def receive(self) -> WSMessage:
        """The next message, or the last one again."""
        while not self._messages:
            if self.ended:
                return _END
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self._messages.popleft()


class ClientEnd(_Inbox):
    """The device's end, as aiohttp's client has it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.close_code: int | None = None
        self._connection = connection

    async def receive(self) -> WSMessage:
        message = await super().receive()
        if message.type is WSMsgType.CLOSE:
            self.close_code = message.data
        return message

    async def send_str(self, text: str) -> None:
        """Send a text message."""
        self._send(WSMessage(WSMsgType.TEXT, text, None), len(text))

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        self._send(WSMessage(WSMsgType.BINARY, data, None), len(data))

    def _send(self, message: WSMessage, size: int) -> None:
        if self.ended:
            raise ConnectionResetError("the connection is gone")
        self._connection.up.put(message, size)

    async def close(self) -> bool:
        """End the connection from this side."""
        if not self.ended:
            self._connection.up.put(WSMessage(WSMsgType.CLOSE, 1000, None), 4)
        self.put(_END)
        return True


class ServerEnd(_Inbox):
    """The server's end, as aiohttp's server has it, and its transport."""

    def __init__(self, connection: Connection, subprotocol: str) -> None:
        super().__init__()
        self.ws_protocol: str | None = subprotocol
        self.dead = False
        """The server has been killed."""
        self._connection = connection
        self._closing = False

    async def pong(self, message: bytes, /) -> None:
        """Answer a ping.  Devices do not look at it."""

    async def close(self, *, code: int, message: bytes, drain: bool) -> bool:
        """End the connection with a code, after all that was written."""
        if not self.dead and not self._closing:
            self._connection.down.put(WSMessage(WSMsgType.CLOSE, code, message.decode()), 4)
        self._closing = True
        self.put(_END)
        return True

    def listen(self, feed: Feed) -> None:
        """Hand messages to ``feed``, in its process."""
        process = self._connection.process
        super().listen(lambda data: process.enter(feed, data))

    # As a transport

    def write(self, data: bytes) -> None:
        """Send whole frames."""
        if not self.dead and not self._closing:
            self._connection.down.put(data, len(data))

    def get_write_buffer_size(self) -> int:
        """Bytes that nobody has taken yet."""
        return max(0, self._connection.down.waiting_bytes - KERNEL_BYTES)

    def is_closing(self) -> bool:
        """Whether it has come to an end."""
        return self._closing or self.ended

    def abort(self) -> None:
        """End it at once."""
        self._closing = True
        self.put(_END)
        if not self.dead and not self._connection.is_broken:
            self._connection.cut(self._connection.chance.random(), 0.0)


class Network:
    """Connects devices to the server, if there is one that listens."""

    def __init__(self, loop: SimulatedLoop, chance: Random) -> None:
        self.connections: list[Connection] = []
        self._loop = loop
        self._chance = chance
        self._listening: tuple[Process, Accept] | None = None

    def listen(self, process: Process, accept: Accept) -> None:
        """A server takes connections from now on."""
        self._listening = process, accept

    def stop_listening(self, process: Process) -> None:
        """A server takes no more connections; those that it has go on."""
        if self._listening is not None and self._listening[0] is process:
            self._listening = None

    def shut(self, *, noticed: bool) -> None:
        """The server is gone, at once.  Devices are told by its machine, if that still runs."""
        self._listening = None
        for connection in self.alive():
            connection.server.dead = True
            told = self._chance.random() * MAX_LATENCY_S if noticed else None
            connection.cut(told, None)
        self.connections.clear()

    def alive(self) -> list[Connection]:
        """The connections over which something gets through."""
        self.connections = [one for one in self.connections if not one.is_broken]
        return self.connections

    async def dial(self, codec: Codec) -> Link:
        """Open a connection.  Raises ``Retryable`` (not_connected)."""
        await asyncio.sleep(self._chance.random() * MAX_LATENCY_S)
        if self._listening is None or self._chance.random() < 0.02:
            raise error("not_connected", reason="nobody listens")
        process, accept = self._listening
        connection = Connection(self._loop, self._chance, codec.name, process)
        self.connections.append(connection)
        end = connection.server
        process.call(
            lambda: process.run(_serve(accept, connection)) if process.alive else end.put(_END)
        )
        await asyncio.sleep(self._chance.random() * MAX_LATENCY_S)
        socket = cast(aiohttp.ClientWebSocketResponse, connection.client)
        return WebSocketLink(socket, codec, PING_S)


async def _serve(accept: Accept, connection: Connection) -> None:
    await accept(connection.server, cast(asyncio.WriteTransport, connection.server))
    if not connection.server.dead and not connection.is_broken:
        # aiohttp ends the connection when its handler returns; what was written still arrives.
        connection.down.put(WSMessage(WSMsgType.CLOSED, None, None), 0)


def frames(data: bytes) -> list[WSMessage]:
    """The WebSocket messages in what a server has written: whole frames, without a mask."""
    found: list[WSMessage] = []
    at = 0
    while at < len(data):
        kind, size = data[at] & 15, data[at + 1]
        at += 2
        if size > 125:
            width = 2 if size == 126 else 8
            size = int.from_bytes(data[at : at + width], "big")
            at += width
        payload = data[at : at + size]
        at += size
        if kind == 1:
            found.append(WSMessage(WSMsgType.TEXT, payload.decode(), None))
        elif kind == 2:
            found.append(WSMessage(WSMsgType.BINARY, payload, None))
        else:
            found.append(WSMessage(WSMsgType.PING, payload, None))
    return found


def _nobody(data: str | bytes) -> bool:
    """Takes nothing."""
    return False


__all__ = ["ABNORMAL", "Accept", "Connection", "Network", "Pipe", "frames"]
