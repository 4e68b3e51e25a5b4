"""Messages that pass aiohttp's queue: taken as they are read, in order, and never lost."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMessage, WSMsgType, web

from timewire.testing.devices import eventually
from timewire.websocket import QUEUE_BYTES, WebSocket

FRAME_BYTES = 1000


class Desk:
    """The server's end of one WebSocket: what was taken as it was read, and what was received."""

    def __init__(self) -> None:
        self.ws: WebSocket
        self.open = True
        self.taken: list[str | bytes] = []
        self.received: list[WSMessage] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.over = asyncio.Event()

    def feed(self, data: str | bytes) -> bool:
        if self.open:
            self.taken.append(data)
        return self.open

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.ws = WebSocket(autoping=False, compress=False, max_msg_size=FRAME_BYTES + 1)
        await self.ws.prepare(request)
        self.ws.listen(self.feed)
        while True:
            await self.reading.wait()
            message = await self.ws.receive()
            self.received.append(message)
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR):
                self.over.set()
                return self.ws

    async def texts(self, count: int) -> list[str | bytes]:
        """What has come by either way, once there is so much."""
        await eventually(lambda: len(self.taken) + len(self.queued()) >= count)
        return [*self.taken, *self.queued()]

    def queued(self) -> list[str | bytes]:
        return [m.data for m in self.received if m.type in (WSMsgType.TEXT, WSMsgType.BINARY)]


@asynccontextmanager
async def calling(desk: Desk) -> AsyncIterator[ClientWebSocketResponse]:
    app = web.Application()
    app.router.add_get("/", desk.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with ClientSession() as session, session.ws_connect(f"http://{host}:{port}/") as ws:
            yield ws
    finally:
        await runner.cleanup()


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@pytest.fixture
async def ws(desk: Desk) -> AsyncIterator[ClientWebSocketResponse]:
    async with calling(desk) as opened:
        yield opened


async def test_messages_are_taken_as_they_are_read(desk: Desk, ws: ClientWebSocketResponse) -> None:
    for number in range(5):
        await ws.send_str(str(number))
    await ws.send_bytes(b"\0\1")
    assert await desk.texts(6) == ["0", "1", "2", "3", "4", b"\0\1"]
    # The queue was not used: this is what a newer aiohttp may undo.
    assert len(desk.taken) == 6
    assert desk.received == []


async def test_what_is_not_taken_is_received_and_nothing_passes_it(
    desk: Desk, ws: ClientWebSocketResponse
) -> None:
    desk.reading.clear()
    await ws.send_str("0")
    await desk.texts(1)
    await ws.send_str("1")  # ends the wait that is under way
    await desk.texts(2)
    desk.open = False
    for number in range(2, 5):
        await ws.send_str(str(number))
    await asyncio.sleep(0.05)
    desk.open = True
    await ws.send_str("5")
    await asyncio.sleep(0.05)
    assert desk.taken == ["0", "1"]
    desk.reading.set()
    assert await desk.texts(6) == ["0", "1", "2", "3", "4", "5"]
    await ws.send_str("6")
    await desk.texts(7)
    assert desk.taken == ["0", "1", "6"]


async def test_fragments_are_one_message(desk: Desk, ws: ClientWebSocketResponse) -> None:
    transport: asyncio.Transport = ws._response.connection.transport  # pyright: ignore
    for head, part in ((b"\x01", b"one "), (b"\x00", b"mess"), (b"\x80", b"age")):
        transport.write(head + bytes((0x80 | len(part),)) + bytes(4) + part)
        await asyncio.sleep(0.01)
    assert await desk.texts(1) == ["one message"]


async def test_control_frames_are_received(desk: Desk, ws: ClientWebSocketResponse) -> None:
    await ws.ping(b"?")
    await ws.send_str("text")
    await ws.close(code=1000, message=b"bye")
    await asyncio.wait_for(desk.over.wait(), 10)
    assert [m.type for m in desk.received if m.type is not WSMsgType.TEXT] == [
        WSMsgType.PING,
        WSMsgType.CLOSE,
    ]
    assert await desk.texts(1) == ["text"]
    assert ws.close_code == 1000


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\xfe" + (FRAME_BYTES + 2).to_bytes(2, "big") + bytes(4), 1009),
        (b"\x81\x82" + bytes(4) + b"\xff\xff", 1007),
        (b"\x80\x81" + bytes(4) + b"x", 1002),
    ],
    ids=["too large", "no text", "nothing to continue"],
)
async def test_what_is_no_message_ends_it(
    desk: Desk, ws: ClientWebSocketResponse, frame: bytes, code: int
) -> None:
    ws._response.connection.transport.write(frame)  # pyright: ignore
    message = await ws.receive(10)
    assert (message.type, message.data) == (WSMsgType.CLOSE, code)
    await asyncio.wait_for(desk.over.wait(), 10)
    assert desk.taken == []


async def test_a_queue_that_nobody_reads_is_bounded(
    desk: Desk, ws: ClientWebSocketResponse
) -> None:
    desk.open = False
    desk.reading.clear()
    text = "x" * (FRAME_BYTES - 10)
    sent = 0

    async def send() -> None:
        nonlocal sent
        while sent < 50_000:
            await ws.send_str(text)
            sent += 1

    task = asyncio.create_task(send())
    await asyncio.sleep(0.5)
    queue = ws and desk.ws._queue  # pyright: ignore
    assert queue is not None
    waiting = queue._size  # pyright: ignore
    assert QUEUE_BYTES < waiting < 4 * QUEUE_BYTES + os.sysconf("SC_PAGE_SIZE")
    assert not task.done()
    desk.reading.set()
    await asyncio.wait_for(task, 60)
    assert len(await desk.texts(sent)) == sent


async def test_the_end_of_a_connection_is_received(desk: Desk) -> None:
    async with calling(desk) as ws:
        await ws.send_str("last")
        await desk.texts(1)
        ws._response.connection.transport.abort()  # pyright: ignore
        await asyncio.wait_for(desk.over.wait(), 10)
        assert desk.taken == ["last"]
