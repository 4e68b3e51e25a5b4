"""What waits for a connection: joined into one write a turn, and counted."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvloop
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from timewire.outbox import SIGNAL_SHARE, Flusher, Outbox, frame
from timewire.testing.devices import raw_device

LIMIT_BYTES = 1000
LOOP = uvloop.new_event_loop


class Recorded:
    """A real transport that notes each ``write``."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[Recorded, socket.socket]]:
    """A transport, and the socket at its other end, from which nobody reads by itself."""
    near, far = socket.socketpair()
    far.setblocking(False)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    try:
        yield Recorded(cast(asyncio.Transport, transport)), far
    finally:
        transport.abort()
        far.close()


def outbox(transport: Recorded, flusher: Flusher | None = None) -> Outbox:
    return Outbox(
        cast(asyncio.WriteTransport, transport),
        LIMIT_BYTES,
        flusher or Flusher(asyncio.get_running_loop()),
    )


async def test_what_is_put_in_one_turn_leaves_in_one_write() -> None:
    async with connection() as (one, _), connection() as (other, _):
        flusher = Flusher(asyncio.get_running_loop())
        first, second = outbox(one, flusher), outbox(other, flusher)
        for part in (b"a", b"b", b"c"):
            first.put(part)
            second.put(part.upper())
        assert one.writes == []
        await asyncio.sleep(0)
        assert (one.writes, other.writes) == ([b"abc"], [b"ABC"])
        first.put(b"d")
        await asyncio.sleep(0)
        assert (one.writes, other.writes) == ([b"abc", b"d"], [b"ABC"])


async def test_it_is_full_when_too_much_waits_and_not_when_it_has_left() -> None:
    async with connection() as (transport, far):
        box = outbox(transport)
        box.put(b"x" * LIMIT_BYTES)
        assert not box.is_full()
        box.put(b"x")
        assert box.is_full()
        await asyncio.sleep(0)  # the kernel takes it all
        assert not box.is_full()
        while not box.is_full():  # until it does not
            box.put(b"x" * 500)
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() > LIMIT_BYTES - 500
        room = asyncio.create_task(box.room())
        await asyncio.sleep(0)
        assert not room.done()
        loop = asyncio.get_running_loop()
        reading = asyncio.create_task(_read(loop, far))
        await asyncio.wait_for(room, 10)
        assert not box.is_full()
        reading.cancel()


async def test_signals_are_let_go_long_before_it_is_full() -> None:
    async with connection() as (transport, far):
        box = outbox(transport)
        assert box.offer_signal(b"s" * 10)
        box.put(b"x" * (LIMIT_BYTES // SIGNAL_SHARE))
        assert not box.offer_signal(b"s")
        assert not box.is_full()
        await asyncio.sleep(0)  # the kernel takes it all
        assert box.offer_signal(b"s")
        while not transport.get_write_buffer_size():
            box.put(b"x" * 500)
            await asyncio.sleep(0)
        assert not box.offer_signal(b"s")
        assert box.offer(b"x")
        far.close()


async def _read(loop: asyncio.AbstractEventLoop, far: socket.socket) -> None:
    while await loop.sock_recv(far, 65_536):
        pass


async def test_room_is_there_when_everything_put_has_left() -> None:
    async with connection() as (transport, _):
        box = outbox(transport)
        box.put(b"x")
        await box.room()
        assert transport.writes == [b"x"]


async def test_a_connection_that_is_gone_takes_nothing_and_stops_nobody() -> None:
    async with connection() as (gone, _), connection() as (there, _):
        flusher = Flusher(asyncio.get_running_loop())
        first, second = outbox(gone, flusher), outbox(there, flusher)
        first.put(b"x")
        second.put(b"y")
        gone.abort()
        await asyncio.sleep(0)
        assert (gone.writes, there.writes) == ([], [b"y"])
        first.put(b"x")
        await asyncio.wait_for(first.room(), 10)
        assert not first.is_full()


@pytest.mark.parametrize("text", [True, False])
@given(size=st.integers(0, 70_000))
@example(125)
@example(126)
@example(65_535)
@example(65_536)
def test_a_frame_says_its_length(text: bool, size: int) -> None:
    data = frame(b"x" * size, text)
    head = data[: len(data) - size]
    assert head[0] == (0x81 if text else 0x82)
    length = head[1] if head[1] < 126 else int.from_bytes(head[2:], "big")
    assert length == size
    assert len(head) == (2 if size < 126 else 4 if size < 65_536 else 10)


async def test_frames_are_understood_by_a_websocket() -> None:
    payloads = ["", "x" * 125, "é" * 63, "x" * 65_535, "x" * 65_536, "x" * 300_000]

    async def handle(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        transport = request.transport
        assert transport is not None
        transport.write(b"".join(frame(text.encode(), text=True) for text in payloads))
        await ws.receive()
        return ws

    application = web.Application()
    application.router.add_get("/v1/ws", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        async with raw_device(f"http://{host}:{port}") as device:
            assert [(await device.ws.receive()).data for _ in payloads] == payloads
    finally:
        await runner.cleanup()
