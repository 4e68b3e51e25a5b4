"""A connection: its WebSocket in and out, around a session that says what is to be done.

Frames that come in go to the session; what the session asks for goes to the gateway.  What is to be
sent leaves by the outbox.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Protocol, cast

import structlog
from aiohttp import WSMessage, WSMsgType, web

from timewire.clock import Ticks
from timewire.coding import CODECS
from timewire.commands import Command
from timewire.errors import TimewireError, error
from timewire.metrics import BEHIND
from timewire.model import Seq
from timewire.outbox import SEND_BUFFER_BYTES, Outbox, frame
from timewire.protocol import SUBPROTOCOLS, Ack, CloseCode, ServerFrame
from timewire.session import Effects, Session
from timewire.websocket import Feed, WebSocket

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""A WebSocket message beyond this ends the connection (1009); up to it, an error is told."""

CLOSE_TIMEOUT_S: Final = 2.0
"""How long a connection that is closed may take to read what is left, and the close code."""


logger = structlog.get_logger("timewire.connection")


class Socket(Protocol):
    """A WebSocket that was accepted, as far as aiohttp's is needed."""

    @property
    def ws_protocol(self) -> str | None: ...
    def listen(self, feed: Feed) -> None:
        """Hand messages to ``feed`` as they come, from when all that waits has been received."""
        ...

    async def receive(self) -> WSMessage:
        """The next message that was not taken, or why there is none any more."""
        ...

    async def pong(self, message: bytes, /) -> None:
        """Answer a ping."""
        ...

    async def close(self, *, code: int, message: bytes, drain: bool) -> bool:
        """Say goodbye."""
        ...


class Owner(Protocol):
    """Who has the connections: the gateway, as they see it."""

    ticks: Ticks

    def carry_out(self, connection: Connection, effects: Effects) -> None:
        """Do what a session asks for, in order."""
        ...

    def logged_out(self, connection: Connection) -> None:
        """The device of a connection is none of its user's any more."""
        ...


async def accept(request: web.Request, frame_bytes: int) -> tuple[WebSocket, asyncio.Transport]:
    """The WebSocket of a request, and its transport; frames may have so many bytes."""
    ws = WebSocket(
        protocols=SUBPROTOCOLS,
        autoping=False,
        compress=False,
        max_msg_size=max(MAX_MESSAGE_BYTES, frame_bytes) + 1,
        timeout=CLOSE_TIMEOUT_S,
    )
    await ws.prepare(request)
    transport = cast(asyncio.Transport, request.transport)
    _shrink_kernel_buffer(transport)
    return ws, transport


class Connection:
    """One WebSocket, its session and its outbox."""

    __slots__ = (
        "_held",
        "_owner",
        "_pause_until",
        "_ws",
        "address",
        "codec",
        "device",
        "expires_ms",
        "heard",
        "issued_ms",
        "kind",
        "live",
        "opened",
        "outbox",
        "session",
        "text",
        "token_id",
        "told",
        "user",
    )

    def __init__(
        self, owner: Owner, ws: Socket, outbox: Outbox, session: Session, address: str = ""
    ) -> None:
        self._owner = owner
        self.address = address
        self._ws = ws
        self.outbox = outbox
        self.session = session
        self.codec = CODECS[ws.ws_protocol or SUBPROTOCOLS[0]]
        self.text = self.codec.text
        self._held = False
        """The next frame waits for ``read``, and ``read`` until it may be taken."""
        self._pause_until = 0.0
        self.live = False
        self.user = ""
        self.device = ""
        self.kind = ""
        self.token_id = ""
        self.issued_ms = 0
        self.opened = self.heard = self.told = owner.ticks()
        self.expires_ms = 0

    @property
    def position(self) -> Seq:
        """How far it has come, while it is not live."""
        return self.session.position

    # -- in -------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Take what the device sends, until there is no more."""
        ws = self._ws
        ws.listen(self._feed)
        while True:
            message = await ws.receive()
            if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                await self._ready()
                self._feed(message.data)
            elif message.type is WSMsgType.PING or message.type is WSMsgType.PONG:
                await self._ready()
                self._control(len(message.data))
                if message.type is WSMsgType.PING:
                    await ws.pong(message.data)
            else:
                return

    async def _ready(self) -> None:
        """Wait until another frame may be taken; until then none is."""
        self._held = True
        if self.outbox.is_full():
            # Its answers would pile up: who does not read is not read from.
            await self.outbox.room()
        pause_ms = self._pause_until - self._owner.ticks()
        if pause_ms > 0:
            await asyncio.sleep(pause_ms / 1000)
        self._held = False

    def _feed(self, data: str | bytes) -> bool:
        """Take a frame as it is read; False: not yet, ``read`` will."""
        if self._held:
            return False
        try:
            self.take(data)
        except Exception:
            # aiohttp calls this and would end the connection without a word.
            logger.exception("a frame failed", user=self.user, device=self.device)
            self.drop()
        if self.outbox.is_full():
            self._held = True
        return True

    def _control(self, size: int) -> None:
        """A frame that is no message."""
        now = self.heard = self._owner.ticks()
        pause_ms = self.session.meter.frame(size, now)
        if pause_ms:
            self._pause(now + pause_ms)

    def _pause(self, until: float) -> None:
        """Take nothing until a moment (ticks)."""
        self._held, self._pause_until = True, until

    def take(self, data: str | bytes) -> None:
        """A frame of the device."""
        now = self.heard = self._owner.ticks()
        session, size = self.session, _size(data)
        pause_ms = session.meter.frame(size, now)
        if pause_ms:
            self._pause(now + pause_ms)
        try:
            if size > session.limits.frame_bytes:
                raise error("frame_too_large", limit=session.limits.frame_bytes)
            decoded = self.codec.decode_client(data)
        except TimewireError as fault:
            effects = session.refuse(fault, fault.fields.get("id", ""))
        else:
            effects = session.receive(decoded, now)
        self._owner.carry_out(self, effects)

    # -- out ------------------------------------------------------------------------------------

    def send(self, answer: ServerFrame) -> None:
        """Send a frame."""
        self.outbox.put(frame(self.codec.encode(answer), self.text))

    def push(self, data: bytes, seq: Seq) -> None:
        """Hand over the frame of a message, or fall behind when too much waits already."""
        if not self.outbox.offer(data):
            BEHIND.inc()
            self._owner.carry_out(self, self.session.fall_behind(seq - 1))

    def signal(self, data: bytes) -> bool:
        """Hand over the frame of a signal, unless much waits already."""
        return self.outbox.offer_signal(data)

    def answered(self, command: Command, outcome: Ack | TimewireError) -> None:
        """The reply to a command: the sender calls it."""
        if type(outcome) is not Ack:
            self._owner.carry_out(self, self.session.answered(command, outcome))
        elif self.session.acked():
            self.outbox.put(frame(self.codec.encode(outcome), self.text))

    # -- the end --------------------------------------------------------------------------------

    def drop(self) -> None:
        """A push has failed; the device pulls what it was, on a new connection."""
        self._owner.carry_out(self, self.session.close(CloseCode.FAULT))

    def replace(self) -> None:
        """Another connection of the same device has come."""
        self.end(CloseCode.REPLACED)

    def end(self, code: CloseCode) -> None:
        """Close the connection, for a reason."""
        if code is CloseCode.LOGGED_OUT:
            self._owner.logged_out(self)
        self._owner.carry_out(self, self.session.close(code))

    async def close(self, code: CloseCode, reason: str) -> None:
        """Send what is left and the close code; whoever does not read them is cut off."""
        self.live = False
        self.outbox.abort_in(CLOSE_TIMEOUT_S)
        await self.outbox.room()
        await self._ws.close(code=code, message=reason.encode(), drain=False)

    def ended(self) -> None:
        """There is nothing to be read any more, and soon nowhere to write to."""
        self.live = False
        self.session.close(CloseCode.SILENT)
        self.outbox.abort_in(CLOSE_TIMEOUT_S)


def _size(data: str | bytes) -> int:
    """Bytes of a frame as it came over the wire."""
    return len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())


def _shrink_kernel_buffer(transport: asyncio.Transport) -> None:
    """What the kernel takes for a slow reader is lost to ``behind``: keep it small."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
