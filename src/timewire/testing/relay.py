"""A relay between devices and a server: the network, which delays, holds and breaks connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

MAX_CHUNK_BYTES: Final = 64 * 1024


class Relay:
    """Passes on what comes, to where ``target`` says at each connection.

    ``delay_s``: how late every piece is passed on.  ``hold``: nothing passes until ``release``.
    """

    def __init__(self, target: Callable[[], str]) -> None:
        self.url = ""
        self.delay_s = 0.0
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._passing: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def aclose(self) -> None:
        """Break all connections, and listen no more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def cut(self) -> None:
        """Break all connections at once: what is under way is lost."""
        for task in self._passing:
            task.cancel()

    def hold(self) -> None:
        """Let nothing through; connections stay."""
        self._open.clear()

    def release(self) -> None:
        """Let through what has waited, in order, and all that comes."""
        self._open.set()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        try:
            where = urlsplit(self._target())
            with suppress(OSError):
                onward = await asyncio.open_connection(where.hostname, where.port)
                await self._join((reader, writer), onward)
        except asyncio.CancelledError:
            pass  # cut: asyncio's server would log it
        finally:
            self._passing.discard(task)
            writer.transport.abort()

    async def _join(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Pass on both ways, until one of them ends."""
        ways = [
            asyncio.create_task(self._pass(near[0], far[1])),
            asyncio.create_task(self._pass(far[0], near[1])),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            far[1].transport.abort()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(MAX_CHUNK_BYTES):
                await asyncio.sleep(self.delay_s)
                await self._open.wait()
                sink.write(data)
                await sink.drain()


@asynccontextmanager
async def relaying(target: Callable[[], str]) -> AsyncGenerator[Relay]:
    """A relay to where ``target`` says, as an URL."""
    relay = Relay(target)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.aclose()
