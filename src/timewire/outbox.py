"""What waits to be written to a connection: joined, bounded, one write a turn of the event loop.

A socket write costs microseconds however little it carries, so everything that is put for a
connection within a turn leaves in one.  Frames from the server are unmasked (RFC 6455, 5.1), so
the bytes of one frame serve every connection.
"""

from __future__ import annotations

import asyncio
from typing import Final

SEND_BUFFER_BYTES: Final = 64 * 1024
"""The kernel's buffer for a connection: what is in it cannot be taken back from a slow reader."""

MIN_ROOM_POLL_S: Final = 0.001
MAX_ROOM_POLL_S: Final = 0.032
"""How often it is looked whether a connection has read everything: seldom for one that is slow."""

SIGNAL_SHARE: Final = 4
"""Signals are let go when a quarter of what may wait for a connection does."""

PING_FRAME: Final = b"\x89\x00"


def frame(data: bytes, text: bool) -> bytes:
    """A whole, final, unmasked WebSocket frame around a payload."""
    size = len(data)
    kind = b"\x81" if text else b"\x82"
    if size < 126:
        return b"%b%c%b" % (kind, size, data)
    if size < 65536:
        return b"%b\x7e%b%b" % (kind, size.to_bytes(2, "big"), data)
    return b"%b\x7f%b%b" % (kind, size.to_bytes(8, "big"), data)


class Flusher:
    """Writes all outboxes that have something, once a turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[Outbox] = []

    def add(self, outbox: Outbox) -> None:
        """Have an outbox written at the end of this turn."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(outbox)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for outbox in waiting:
            outbox.flush()


class Outbox:
    """The frames on their way to one connection."""

    __slots__ = ("_flusher", "_frames", "_limit_bytes", "_size", "_transport", "_unwritten")

    def __init__(
        self, transport: asyncio.WriteTransport, limit_bytes: int, flusher: Flusher
    ) -> None:
        self._transport = transport
        self._limit_bytes = limit_bytes
        self._flusher = flusher
        self._frames: list[bytes] = []
        self._size = 0
        self._unwritten = 0

    def put(self, data: bytes) -> None:
        """Have a frame's bytes written with this turn."""
        if not self._frames:
            self._flusher.add(self)
        self._frames.append(data)
        self._size += len(data)

    def offer(self, data: bytes) -> bool:
        """Put a frame's bytes, unless as much waits for this connection as may."""
        if self._size + self._unwritten > self._limit_bytes and self.is_full():
            return False
        if not self._frames:
            self._flusher.add(self)
        self._frames.append(data)
        self._size += len(data)
        return True

    def offer_signal(self, data: bytes) -> bool:
        """Put a frame's bytes, unless so much waits that they could cost a message its place."""
        if (self._size + self._unwritten) * SIGNAL_SHARE > self._limit_bytes:
            self._unwritten = self._transport.get_write_buffer_size()
            if (self._size + self._unwritten) * SIGNAL_SHARE > self._limit_bytes:
                return False
        self.put(data)
        return True

    def is_full(self) -> bool:
        """Whether as much waits for this connection as may."""
        if self._size + self._unwritten <= self._limit_bytes:
            return False
        self._unwritten = self._transport.get_write_buffer_size()
        return self._size + self._unwritten > self._limit_bytes

    def flush(self) -> None:
        """Write what was put.  What the kernel does not take stays with the transport."""
        frames, self._frames, self._size = self._frames, [], 0
        if not self._transport.is_closing():
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
            self._unwritten = self._transport.get_write_buffer_size()

    async def room(self) -> None:
        """Wait until the kernel has taken everything, or the connection is gone."""
        pause = MIN_ROOM_POLL_S
        while self._frames or self._transport.get_write_buffer_size():
            if self._transport.is_closing():
                return
            await asyncio.sleep(0 if self._frames else pause)
            pause = min(2 * pause, MAX_ROOM_POLL_S)

    def abort_in(self, seconds: float) -> None:
        """End the connection then, with what it has not read by then."""
        asyncio.get_running_loop().call_later(seconds, self._transport.abort)
