"""Clients that are slow, stuck or mean, on raw sockets: they cost bounded memory and time."""

import asyncio
import base64
import os
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from timewire.api import edge, waiters
from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.connection import MAX_MESSAGE_BYTES
from timewire.metrics import POLLS
from timewire.server import Server
from timewire.testing.devices import eventually, raw_device
from timewire.testing.servers import serving

WAIT_S = 20.0
TEXT, CONTINUATION, PING = 0x1, 0x0, 0x9
FINAL = 0x80


class Raw:
    """A socket, and what is written to it byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def write(self, data: bytes) -> bool:
        """Whether the server still takes it."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            return False
        return True

    async def frame(self, first: int, payload: bytes = b"") -> bool:
        """A masked WebSocket frame; the mask is zero, so that the payload can be read."""
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", first, 0x80 | size)
        elif size < 65536:
            head = struct.pack("!BBH", first, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", first, 0x80 | 127, size)
        return await self.write(head + bytes(4) + payload)

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@asynccontextmanager
async def raw(server: Server) -> AsyncIterator[Raw]:
    at = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def socket(server: Server, extra: str = "") -> AsyncIterator[Raw]:
    """A raw WebSocket; nothing was said on it."""
    async with raw(server) as made:
        key = base64.b64encode(os.urandom(16)).decode()
        await made.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{extra}\r\n".encode()
        )
        head = await made.reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head
        assert b"permessage-deflate" not in head
        yield made


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path, MemoryStore()) as running:
        yield running


async def is_served(server: Server) -> bool:
    """Whether somebody else is served meanwhile."""
    async with raw_device(server.url) as device:
        await device.hello(mint(server.keys.secret, "bob"), "phone")
        await device.until("live")
        return (await device.ask("ping", id="p"))["type"] == "pong"


def memory_bytes() -> int:
    """What this process, the server in it, has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: b"])
async def test_a_head_that_trickles_in_has_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr("timewire.listening.IDLE_TIMEOUT_S", 0.3)
    async with serving(tmp_path, MemoryStore()) as server, raw(server) as slow:
        await slow.write(said)
        while await slow.write(b"a" if said else b""):
            if slow.reader.at_eof():
                break
            await asyncio.sleep(0.02)
        assert b"200 OK" not in await slow.rest()


async def test_a_second_head_that_trickles_in_has_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timewire.listening.IDLE_TIMEOUT_S", 0.3)
    async with serving(tmp_path, MemoryStore()) as server, raw(server) as slow:
        await slow.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nX")
        assert (await slow.rest()).count(b"200 OK") == 1


async def test_a_body_that_trickles_in_has_its_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "BODY_TIMEOUT_S", 0.2)
    token = mint(server.keys.secret, "alice")
    async with raw(server) as slow:
        await slow.write(
            b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + token.encode() + b"\r\nContent-Length: 60\r\n\r\n{"
        )
        async with asyncio.timeout(WAIT_S):
            answer = await slow.reader.readuntil(b"}")
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"the body did not come within" in answer


async def test_a_long_poll_whose_client_is_gone_frees_its_place(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiters, "LOOK_S", 0.05)
    token = mint(server.keys.secret, "alice")
    base, before = server._sync.base("alice"), POLLS._value.get()
    async with raw(server) as client:
        await client.write(
            f"GET /v1/sync?base={base}&pos=0&wait=60 HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        await eventually(lambda: POLLS._value.get() == before + 1)
    await eventually(lambda: POLLS._value.get() == before)


async def test_a_message_in_fragments_without_end_is_cut_off(server: Server) -> None:
    async with socket(server) as mean:
        before, piece = memory_bytes(), b"a" * 65_536
        going_on = await mean.frame(TEXT, piece)
        async with asyncio.timeout(WAIT_S):
            while going_on and not mean.reader.at_eof():
                going_on = await mean.frame(CONTINUATION, piece)
        assert memory_bytes() - before < 32 * MAX_MESSAGE_BYTES
        assert await is_served(server)


async def test_empty_fragments_without_end_end_with_hello_s_time(
    tmp_path: Path,
) -> None:
    async with (
        serving(tmp_path, MemoryStore(), hello_timeout_s=0.5) as server,
        socket(server) as mean,
    ):
        going_on = await mean.frame(TEXT)
        while going_on and not mean.reader.at_eof():
            going_on = await mean.frame(CONTINUATION)
            await asyncio.sleep(0.001)
        assert await is_served(server)


@pytest.mark.parametrize("offered", ["", "Sec-WebSocket-Extensions: permessage-deflate\r\n"])
async def test_a_compressed_frame_is_not_blown_up(server: Server, offered: str) -> None:
    bomb = zlib.compress(bytes(64 << 20), 9)
    assert len(bomb) < 100_000
    async with socket(server, offered) as mean:
        await mean.frame(FINAL | 0x40 | TEXT, bomb[2:-4])
        told = await mean.rest()
        assert told[:1] in (b"\x88", b"")
    assert await is_served(server)


async def test_a_compressed_body_is_not_blown_up(server: Server) -> None:
    token = mint(server.keys.secret, "alice")
    bomb = zlib.compress(b'{"id": "' + b"a" * (16 << 20) + b'"}', 9)
    async with raw(server) as mean:
        await mean.write(
            b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Encoding: deflate\r\nConnection: close\r\nAuthorization: Bearer "
            + token.encode()
            + b"\r\nContent-Length: %d\r\n\r\n" % len(bomb)
            + bomb
        )
        assert (await mean.rest()).startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))
    assert await is_served(server)


async def test_one_who_pings_and_never_reads_is_not_buffered_for(server: Server) -> None:
    """His pongs wait for him; then nothing more is read from him, and the others are served."""
    async with socket(server) as mean:
        mean.reader._transport.pause_reading()  # pyright: ignore
        ping, sent = struct.pack("!BB", FINAL | PING, 0x80 | 120) + bytes(4) + bytes(120), 0
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                while sent < 100_000:
                    assert await mean.write(ping * 100)
                    sent += 100
        assert sent * len(ping) < 12 << 20, "what the kernel and a few buffers hold"
        assert await is_served(server)


def _kept(server: Server) -> Any:
    return server._gateway._connections  # pyright: ignore


async def test_nothing_is_left_of_them(server: Server) -> None:
    for _ in range(20):
        async with socket(server) as mean:
            await mean.frame(FINAL | TEXT, b"{")
    await eventually(lambda: not _kept(server))
