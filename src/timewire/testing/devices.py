"""A device as bare as can be: it sends what it is told, shows what comes, and checks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import aiohttp
import msgspec

from timewire.protocol import SUBPROTOCOLS

WAIT_S: Final = 30.0
"""How long a frame may take that must come: a test that waits longer has failed."""

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024

Frame = dict[str, Any]
Cursor = Mapping[str, str]


class Closed(Exception):
    """The connection has ended: ``code`` says why, ``seen`` holds the frames that came first."""

    def __init__(self, code: int | None, seen: list[Frame]) -> None:
        super().__init__(code, seen)
        self.code = code
        self.seen = seen


class RawDevice:
    """One WebSocket.  Frames are dictionaries, in the coding of its subprotocol."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse[Literal[True]]) -> None:
        self.ws = ws
        self.base = ""
        self._binary = ws.protocol == SUBPROTOCOLS[1]

    async def send(self, type: str, **fields: Any) -> None:
        """Send a frame."""
        frame = {"type": type, **fields}
        if self._binary:
            await self.ws.send_bytes(msgspec.msgpack.encode(frame))
        else:
            await self.ws.send_str(msgspec.json.encode(frame).decode())

    async def raw(self, data: bytes | str) -> None:
        """Send bytes (in a binary message) or text, whatever they are."""
        await (self.ws.send_str(data) if isinstance(data, str) else self.ws.send_bytes(data))

    async def next(self) -> Frame:
        """The next frame.  Raises ``Closed``, or ``TimeoutError`` when none comes."""
        message = await self.ws.receive(WAIT_S)
        if message.type is aiohttp.WSMsgType.TEXT:
            return msgspec.json.decode(message.data)
        if message.type is aiohttp.WSMsgType.BINARY:
            return msgspec.msgpack.decode(message.data)
        # When the server is gone before we answer, the socket forgets the code that it sent.
        told = message.type is aiohttp.WSMsgType.CLOSE
        raise Closed(message.data if told else self.ws.close_code, [])

    async def expect(self, type: str, **fields: Any) -> Frame:
        """The next frame, which must be of this type and have these values."""
        frame = await self.next()
        found = {key: frame.get(key) for key in fields}
        assert (frame["type"], found) == (type, fields), frame
        return frame

    async def until(self, type: str) -> list[Frame]:
        """All frames up to the next one of this type, which is the last."""
        seen: list[Frame] = []
        while not seen or seen[-1]["type"] != type:
            try:
                seen.append(await self.next())
            except Closed as closed:
                raise Closed(closed.code, seen) from None
        return seen

    async def ask(self, type: str, **fields: Any) -> Frame:
        """Send a frame with an ``id``, pass over frames without it, return its answer."""
        await self.send(type, **fields)
        while (frame := await self.next()).get("id") != fields["id"]:
            pass
        return frame

    async def closed(self) -> int | None:
        """The close code, once the server has closed; frames before it are passed over."""
        try:
            while True:
                await self.next()
        except Closed as closed:
            return closed.code

    async def hello(self, token: str, device: str, **fields: Any) -> Frame:
        """Say hello; the ``welcome``."""
        await self.send("hello", token=token, device=device, **fields)
        welcome = await self.expect("welcome")
        self.base = welcome["base"]
        return welcome

    def at(self, pos: str | int) -> Cursor:
        """The cursor of a place in this user's inbox."""
        return {"base": self.base, "pos": str(pos)}


@asynccontextmanager
async def raw_device(
    url: str, *, subprotocol: str = SUBPROTOCOLS[0], **options: Any
) -> AsyncGenerator[RawDevice]:
    """A device with an open connection that has not said hello yet.

    ``options`` are those of aiohttp's ``ws_connect``.
    """
    wanted: dict[str, Any] = {"protocols": [subprotocol], "max_msg_size": MAX_MESSAGE_BYTES}
    async with aiohttp.ClientSession() as http:
        ws: aiohttp.ClientWebSocketResponse[Literal[True]] = await http.ws_connect(
            url + "/v1/ws", decode_text=True, **(wanted | options)
        )
        try:
            yield RawDevice(ws)
        finally:
            await ws.close()


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the event loop run until the condition holds.  Raises ``TimeoutError``."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.005)
