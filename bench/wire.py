"""The generator's side of a connection: ready-made frames out, frames counted by their headers in.

Nothing here decodes JSON once a measurement runs.  Frames to the server are masked with the key 0,
which is a legal key, so that their bytes can be made in advance.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from timewire.auth import mint

RECEIVE_BUFFER_BYTES: Final = 1024 * 1024
ANSWER_TIMEOUT_S: Final = 60.0
CONNECTS_AT_ONCE: Final = 50

NUMBER_DIGITS: Final = 10
TEXT_BYTES: Final = 200
"""Of the text in each message's body: a number, and padding."""

PUSH_HEAD: Final = b'{"type":"push",'
ACK_HEAD: Final = b'{"type":"ack","id":"'
AT_HEAD: Final = b'{"type":"at",'
MAX_AT_BYTES: Final = 45
"""Acks and pushes are larger; ``at`` frames, which a measurement passes over, are not."""

_ID_END: Final = len(ACK_HEAD) + NUMBER_DIGITS
_TEXT: Final = b'"text":"'

OnFrame = Callable[[bytes, int, int, float], None]
"""(data, start and end of a frame's payload in it, when it came)"""


class Fault(Exception):
    """The server did not do what it promises: the measurement is void."""


def masked(payload: bytes) -> bytes:
    """A text frame from a client around a payload of less than 64 KiB."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, 0x80 | size)) + bytes(4) + payload
    return b"\x81\xfe" + size.to_bytes(2, "big") + bytes(4) + payload


PONG: Final = b"\x8a\x80" + bytes(4)


def send_template(to: str, ack: str = "stored") -> bytes:
    """A whole ``send`` frame; ``template % (number, number)`` fills in the id and the text."""
    filler = "x" * (TEXT_BYTES - NUMBER_DIGITS)
    level = "" if ack == "stored" else f',"ack":"{ack}"'
    payload = (
        f'{{"type":"send","id":"%0{NUMBER_DIGITS}d","to":"{to}"{level},'
        f'"body":{{"text":"%0{NUMBER_DIGITS}d{filler}"}}}}'
    ).encode()
    size = len(payload % (0, 0))
    return b"\x81\xfe" + size.to_bytes(2, "big").replace(b"%", b"%%") + bytes(4) + payload


def acked_number(data: bytes, start: int, end: int) -> int:
    """Which of ours an ``ack`` frame answers.  Raises ``Fault`` for any other frame."""
    if not data.startswith(ACK_HEAD, start):
        raise Fault(f"expected an ack, got {data[start : min(end, start + 300)]!r}")
    return int(data[start + len(ACK_HEAD) : start + _ID_END])


def pushed_number(data: bytes, start: int, end: int) -> int:
    """Which of ours a ``push`` frame carries.  Raises ``Fault`` for any other frame."""
    text = data.find(_TEXT, start, end) + len(_TEXT)
    if text < len(_TEXT) or not data.startswith(PUSH_HEAD, start):
        raise Fault(f"expected a push, got {data[start : min(end, start + 300)]!r}")
    return int(data[text : text + NUMBER_DIGITS])


class Link(asyncio.Protocol):
    """One WebSocket connection.

    At first frames are decoded and answers found by their ``id`` or ``type``; a measurement sets
    ``on_frame`` to take them raw.
    """

    def __init__(self, user: str, device: str) -> None:
        self.user = user
        self.device = device
        self.on_frame: OnFrame = self.on_answer
        self.base = ""
        self.pos = ""
        self.transport: asyncio.Transport
        self.fault: BaseException | None = None
        self.closing = False
        self._rest = b""
        self._upgraded: asyncio.Future[None] | None = None
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}

    # -- bytes ----------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        if self._upgraded is not None:
            data = self._upgrade(data)
        now = perf_counter()
        at, have = 0, len(data)
        try:
            while have - at >= 2:
                size, start = data[at + 1], at + 2
                if size == 126:
                    start = at + 4
                    if start > have:
                        break
                    size = data[at + 2] << 8 | data[at + 3]
                elif size == 127:
                    start = at + 10
                    if start > have:
                        break
                    size = int.from_bytes(data[at + 2 : start], "big")
                end = start + size
                if end > have:
                    break
                if data[at] == 0x81 and size > MAX_AT_BYTES:
                    self.on_frame(data, start, end, now)
                else:
                    self._control(data, at, start, end)
                at = end
        except BaseException as fault:
            self.fail(fault)
            at = have
        self._rest = data[at:] if at < have else b""

    def _upgrade(self, data: bytes) -> bytes:
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            self._rest = data
            return b""
        upgraded, self._upgraded, self._rest = self._upgraded, None, b""
        assert upgraded is not None
        if head.startswith(b"HTTP/1.1 101"):
            upgraded.set_result(None)
        else:
            upgraded.set_exception(Fault(f"no upgrade: {head[:200]!r}"))
        return rest

    def _control(self, data: bytes, at: int, start: int, end: int) -> None:
        kind = data[at] & 0x0F
        if kind == 1:
            if not data.startswith(AT_HEAD, start):
                self.on_frame(data, start, end, perf_counter())
        elif kind == 9:
            self.transport.write(PONG)
        elif kind == 8:
            raise Fault(f"{self.user}: closed by the server: {data[start:end]!r}")
        elif kind != 10:
            raise Fault(f"{self.user}: unexpected frame {data[at : at + 20]!r}")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closing:
            self.fail(exc or Fault(f"{self.user}: connection lost"))

    def fail(self, fault: BaseException) -> None:
        """Remember the first thing that went wrong, and stop waiting for answers."""
        self.fault = self.fault or fault
        waiting = [*self._answers.values(), *([self._upgraded] if self._upgraded else [])]
        for answer in waiting:
            if not answer.done():
                answer.set_exception(self.fault)

    # -- before and after a measurement ---------------------------------------------------------

    def on_answer(self, data: bytes, start: int, end: int, now: float) -> None:
        """Decode a frame, and give it to whoever waits for its id or type."""
        frame = msgspec.json.decode(data[start:end])
        self.pos = frame.get("pos", self.pos)
        self.base = frame.get("base", self.base)
        waiting = self._answers.get(frame.get("id", "")) or self._answers.get(frame["type"])
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)

    async def upgrade(self, host: str) -> None:
        """The WebSocket handshake."""
        self._upgraded = asyncio.get_running_loop().create_future()
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Protocol: timewire.json.v1\r\n\r\n".encode()
        )
        await asyncio.wait_for(self._upgraded, ANSWER_TIMEOUT_S)

    async def ask(self, frame: dict[str, Any], answer: str) -> dict[str, Any]:
        """Send a frame and wait for the one with this id or type."""
        return await self.ask_raw(masked(msgspec.json.encode(frame)), answer)

    async def ask_raw(self, frame: bytes, answer: str) -> dict[str, Any]:
        """Send a ready-made frame and wait for the one with this id or type."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[answer] = future
        try:
            self.transport.write(frame)
            found = await asyncio.wait_for(future, ANSWER_TIMEOUT_S)
        finally:
            del self._answers[answer]
        if found["type"] == "error":
            raise Fault(f"{self.user}: {found}")
        return found

    async def reach(self, pos: int) -> None:
        """Wait until the device has been given everything up to a position."""
        deadline = perf_counter() + ANSWER_TIMEOUT_S
        while int(self.pos or 0) < pos:
            if self.fault is not None:
                raise self.fault
            if perf_counter() > deadline:
                raise Fault(f"{self.user}: at {self.pos}, never reached {pos}")
            await asyncio.sleep(0.005)

    def close(self) -> None:
        """End the connection; later losses are no fault."""
        self.closing = True
        self.transport.abort()


class Door:
    """Where to connect: the server's address and the secret that signs tokens."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self._secret = secret
        address = urlsplit(url)
        self._host = address.netloc
        self._address = (address.hostname or "", address.port or 0)

    async def link(self, user: str, device: str = "d", *, live: bool = True) -> Link:
        """A connection of a device; when ``live``, it has said hello and is live."""
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(lambda: Link(user, device), *self._address)
        await link.upgrade(self._host)
        if live:
            await link.ask(self.hello(link), "live")
        return link

    def hello(self, link: Link, **more: Any) -> dict[str, Any]:
        """The hello of a device."""
        token = mint(self._secret, link.user)
        return {"type": "hello", "token": token, "device": link.device, **more}

    async def links(self, users: list[str], device: str = "d") -> list[Link]:
        """Live connections of many users, a few at a time."""
        found: list[Link] = []
        for start in range(0, len(users), CONNECTS_AT_ONCE):
            some = users[start : start + CONNECTS_AT_ONCE]
            found += await asyncio.gather(*(self.link(user, device) for user in some))
        return found


def close_all(links: list[Link]) -> None:
    """Close connections; raise what went wrong on one of them meanwhile."""
    fault = next((link.fault for link in links if link.fault is not None), None)
    for link in links:
        link.close()
    if fault is not None:
        raise fault
