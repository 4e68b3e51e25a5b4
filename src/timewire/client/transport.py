"""Sockets: one WebSocket as a stream of frames, and the pauses between connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from timewire import coding
from timewire import protocol as wire
from timewire.errors import TimewireError, error

PATH: Final = "/v1/ws"
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
MAX_BATCH_FRAMES: Final = 64
MAX_BACKLOG_FRAMES: Final = 256
"""Frames that were read from the socket and not handled yet; then the socket waits."""

PING_S: Final = 20.0
"""A ping goes out so often; nothing heard between two of them means a dead connection."""

CONNECT_S: Final = 15.0
CLOSE_S: Final = 2.0
ABNORMAL: Final = 1006
"""WebSocket's code for a connection that broke without a close frame."""

_TIMEOUT: Final = aiohttp.ClientWSTimeout(ws_close=CLOSE_S)  # pyright: ignore[reportCallIssue]
_DATA: Final = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)


class Link(Protocol):
    """An open connection.  ``code`` and ``reason`` say why it ended, once it has."""

    code: int
    reason: str

    def send(self, frame: wire.ClientFrame) -> None:
        """Have a frame sent, after those before it.  On a link that has ended it does nothing."""
        ...

    def batches(self) -> AsyncIterator[list[wire.ServerFrame]]:
        """What arrives, all that is there at a time together, until the link ends."""
        ...

    def hang_up(self) -> None:
        """Begin to end the link from this side; ``batches`` ends soon."""
        ...

    async def close(self) -> None:
        """Release the link."""
        ...


Dial = Callable[[], Awaitable[Link]]
"""Opens a connection.  Raises ``Retryable`` (not_connected)."""


class Backoff:
    """Pauses that grow with the number of attempts: anything up to ``base_s * 2**attempt``.

    The whole pause is random, so that a million devices do not come back in the same second.
    """

    def __init__(
        self,
        base_s: float = 0.5,
        max_s: float = 30.0,
        *,
        rng: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._rng = rng
        self._sleep = sleep

    async def pause(self, attempt: int, told_s: float = 0.0) -> None:
        """Wait after the given failed attempt (the first is 0), and as long as we were told to."""
        limit_s = min(self._max_s, self._base_s * 2 ** min(attempt, 32))
        await self._sleep(told_s + self._rng() * limit_s)


def socket_url(url: str) -> str:
    """The address of the WebSocket of the server at an http(s) or ws(s) URL.

    Raises ``Unusable`` (bad_config).
    """
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise error("bad_config", "a server's URL looks like https://chat.example.com", url=url)
    path = parts.path.rstrip("/")
    return urlunsplit((scheme, parts.netloc, path if path.endswith(PATH) else path + PATH, "", ""))


class Dialer:
    """Opens WebSockets at one address (see ``socket_url``), as often as it takes."""

    def __init__(
        self, url: str, codec: coding.Codec = coding.JSON, *, ping_s: float = PING_S
    ) -> None:
        self._url = url
        self._codec = codec
        self._ping_s = ping_s
        self._http = aiohttp.ClientSession()

    async def __call__(self) -> Link:
        """Open a connection.  Raises ``Retryable`` (not_connected)."""
        try:
            async with asyncio.timeout(CONNECT_S):
                socket = await self._http.ws_connect(
                    self._url,
                    protocols=(self._codec.name,),
                    max_msg_size=MAX_FRAME_BYTES,
                    timeout=_TIMEOUT,
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as failure:
            reason = str(failure) or type(failure).__name__
            raise error("not_connected", reason=reason) from None
        return WebSocketLink(socket, self._codec, self._ping_s)

    async def close(self) -> None:
        """Release the sockets."""
        await self._http.close()


class WebSocketLink:
    """A link over aiohttp: one task reads, one writes, one notices when the other side is gone."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, codec: coding.Codec, ping_s: float
    ) -> None:
        self.code = ABNORMAL
        self.reason = ""
        self._socket = socket
        self._codec = codec
        self._ping_s = ping_s
        self._heard = 0
        self._incoming: asyncio.Queue[wire.ServerFrame | None] = asyncio.Queue(MAX_BACKLOG_FRAMES)
        # Bounded by what a session has in flight.
        self._outgoing: asyncio.Queue[wire.ClientFrame] = asyncio.Queue()
        self._tasks = [
            asyncio.create_task(part()) for part in (self._read, self._write, self._beat)
        ]

    def send(self, frame: wire.ClientFrame) -> None:
        """Have a frame sent, after those before it."""
        self._outgoing.put_nowait(frame)

    async def batches(self) -> AsyncIterator[list[wire.ServerFrame]]:
        """What arrives, until the link ends."""
        while (frame := await self._incoming.get()) is not None:
            batch = [frame]
            while len(batch) < MAX_BATCH_FRAMES and not self._incoming.empty():
                frame = self._incoming.get_nowait()
                if frame is None:
                    yield batch
                    return
                batch.append(frame)
            yield batch

    def hang_up(self) -> None:
        """Begin to end the link from this side."""
        self._tasks.append(asyncio.create_task(self._shut()))

    async def close(self) -> None:
        """Release the link."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()

    async def _read(self) -> None:
        try:
            while (message := await self._socket.receive()).type in _DATA:
                self._heard += 1
                await self._incoming.put(self._codec.decode_server(message.data))
            # When the server is gone before we answer, the socket forgets the code that it sent.
            told = message.data if message.type is aiohttp.WSMsgType.CLOSE else None
            self.code = told or self._socket.close_code or ABNORMAL
            self.reason = self.reason or message.extra or f"closed with {self.code}"
        except TimewireError as unreadable:
            self.reason = str(unreadable)
        await self._incoming.put(None)

    async def _write(self) -> None:
        try:
            while True:
                data = self._codec.encode(await self._outgoing.get())
                if self._codec.text:
                    await self._socket.send_str(data.decode())
                else:
                    await self._socket.send_bytes(data)
        except (aiohttp.ClientError, OSError) as failure:
            # The reading side notices it too, and ends the link.
            self.reason = str(failure)

    async def _beat(self) -> None:
        await asyncio.sleep(self._ping_s)
        heard = -1
        while heard != self._heard:
            heard = self._heard
            self.send(wire.Ping())
            await asyncio.sleep(self._ping_s)
        self.reason = "the server fell silent"
        await self._shut()

    async def _shut(self) -> None:
        await self._socket.close()
