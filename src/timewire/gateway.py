"""The gateway: WebSocket connections in, the effects of their sessions carried out.

It decides nothing: frames go to the session, the session's effects go to the sender, the queries,
the sync, and back as frames.  Everything that can wait has a limit.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

import structlog
from aiohttp import WSMessage, WSMsgType, web

from timewire.auth import Claims
from timewire.clock import Clock
from timewire.coding import CODECS
from timewire.commands import Command
from timewire.directory import Directory
from timewire.errors import TimewireError, error
from timewire.hub import Hub
from timewire.logins import Logins
from timewire.metrics import BEHIND, PAGES, RESETS
from timewire.model import Seq
from timewire.names import check_name
from timewire.outbox import PING_FRAME, SEND_BUFFER_BYTES, Flusher, Outbox, frame
from timewire.protocol import (
    COMMANDS,
    MAX_TOLD_PAUSE_MS,
    QUERIES,
    SUBPROTOCOLS,
    Ack,
    At,
    CloseCode,
    Hello,
    Limits,
    Query,
    Renew,
    Renewed,
    Reset,
    ServerFrame,
    SyncPage,
    Typing,
    Watch,
    closing,
)
from timewire.rates import Rate, Rates
from timewire.send import Intake, Request
from timewire.session import Answer, Close, Effects, Pull, Session, Start
from timewire.signals import Signals
from timewire.sync import CursorLost, Sync, seq_of

MAX_MESSAGE_BYTES: Final = 1024 * 1024
"""A WebSocket message beyond this ends the connection (1009); up to it, an error is told."""

AT_INTERVAL_MS: Final = 25_000
"""How often a quiet connection is told where it stands, and pinged."""

MAX_KIND_CHARS: Final = 32
TICK_S: Final = 1.0
COMING_BACK_PER_MS: Final = 2
"""Devices that come back at once after a stop: each is told how long to stay away."""

CLOSE_TIMEOUT_S: Final = 2.0
"""How long a connection that is closed may take to read what is left, and the close code."""


log = structlog.get_logger("timewire.gateway")
Verify = Callable[[str, str | None], Claims]
"""(token, device; None over HTTP) -> who it is.  Raises ``Forbidden``."""


class Policy:
    """What a gateway allows: limits and times, as the configuration has them."""

    def __init__(
        self,
        limits: Limits,
        *,
        sends_per_second: int,
        outbox_bytes: int,
        hello_timeout_ms: int,
        silence_timeout_ms: int,
        origins: tuple[str, ...],
    ) -> None:
        self.limits = limits
        self.sends_per_second = sends_per_second
        self.outbox_bytes = outbox_bytes
        self.hello_timeout_ms = hello_timeout_ms
        self.silence_timeout_ms = silence_timeout_ms
        self.origins = origins

    def check_origin(self, request: web.Request) -> None:
        """Refuse a browser's page of a foreign origin (cross-site WebSocket hijacking)."""
        origin = request.headers.get("Origin")
        if origin is None or origin in self.origins or "*" in self.origins:
            return
        if self.origins or urlsplit(origin).netloc != request.host:
            raise error("bad_origin", origin=origin[:300])


class Socket(Protocol):
    """A WebSocket that was accepted, as far as aiohttp's is needed."""

    @property
    def ws_protocol(self) -> str | None: ...
    async def receive(self) -> WSMessage:
        """The next message, or why there is none any more."""
        ...

    async def pong(self, message: bytes, /) -> None:
        """Answer a ping."""
        ...

    async def close(self, *, code: int, message: bytes, drain: bool) -> bool:
        """Say goodbye."""
        ...


class Connection:
    """One WebSocket, its session and its outbox."""

    __slots__ = (
        "_gateway",
        "codec",
        "device",
        "expires_ms",
        "heard",
        "kind",
        "live",
        "opened",
        "outbox",
        "session",
        "text",
        "token_id",
        "told",
        "user",
        "ws",
    )

    def __init__(self, gateway: Gateway, ws: Socket, outbox: Outbox, session: Session) -> None:
        self._gateway = gateway
        self.ws = ws
        self.outbox = outbox
        self.session = session
        self.codec = CODECS[ws.ws_protocol or SUBPROTOCOLS[0]]
        self.text = self.codec.text
        self.live = False
        self.user = ""
        self.device = ""
        self.kind = ""
        self.token_id = ""
        self.opened = self.heard = self.told = gateway.clock()
        self.expires_ms = 0

    @property
    def position(self) -> Seq:
        """How far it has come, while it is not live."""
        return self.session.position

    def push(self, data: bytes, seq: Seq) -> None:
        """Hand over the frame of a message, or fall behind when too much waits already."""
        if not self.outbox.offer(data):
            BEHIND.inc()
            self._gateway.carry_out(self, self.session.fall_behind(seq - 1))

    def signal(self, data: bytes) -> bool:
        """Hand over the frame of a signal, unless much waits already."""
        return self.outbox.offer_signal(data)

    def answered(self, command: Command, outcome: Ack | TimewireError) -> None:
        """The reply to a command: the sender calls it."""
        if type(outcome) is not Ack:
            self._gateway.carry_out(self, self.session.answered(command, outcome))
        elif self.session.acked():
            self.outbox.put(frame(self.codec.encode(outcome), self.text))

    def drop(self) -> None:
        """A push has failed; the device pulls what it was, on a new connection."""
        self._gateway.carry_out(self, self.session.close(CloseCode.FAULT))

    def replace(self) -> None:
        """Another connection of the same device has come."""
        self.end(CloseCode.REPLACED)

    def end(self, code: CloseCode) -> None:
        """Close the connection, for a reason."""
        if code is CloseCode.LOGGED_OUT:
            self._gateway.logged_out(self)
        self._gateway.carry_out(self, self.session.close(code))


class Gateway:
    """Accepts WebSockets and serves them until ``close``."""

    def __init__(
        self,
        policy: Policy,
        verify: Verify,
        clock: Clock,
        *,
        hub: Hub,
        sender: Intake,
        sync: Sync,
        answer: Answer,
        directory: Directory,
        signals: Signals,
        logins: Logins,
    ) -> None:
        self.clock = clock
        self._policy = policy
        self._verify = verify
        self._hub = hub
        self._sender = sender
        self._sync = sync
        self._answer = answer
        self._directory = directory
        self._signals = signals
        self._logins = logins
        self.rates = Rates(policy.sends_per_second)
        self._flusher = Flusher(asyncio.get_running_loop())
        self._connections: dict[Connection, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._spread_ms = 0
        spawn = self._spawn
        self._doers: dict[type, Callable[[Connection, Any], None]] = {
            **dict.fromkeys(COMMANDS, self._submit),
            **dict.fromkeys(QUERIES, lambda to, query: spawn(self._ask(to, query))),
            Watch: lambda to, watch: spawn(self._ask(to, watch)),
            Typing: lambda to, typing: spawn(signals.typing(to, typing.conversation)),
            Pull: lambda to, pull: spawn(self._pull(to, pull.after)),
            Close: lambda to, close: spawn(self._close(to, close.code)),
            Hello: self._greet,
            Renew: self._renew,
            SyncPage: self._send_page,
            Reset: self._send_reset,
        }
        """What to do for an effect; all others are frames to be sent."""

    # -- a connection ---------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The aiohttp handler of the WebSocket path."""
        if self._closed:
            raise error("shutting_down")
        self._policy.check_origin(request)
        ws = web.WebSocketResponse(
            protocols=SUBPROTOCOLS,
            autoping=False,
            compress=False,
            max_msg_size=max(MAX_MESSAGE_BYTES, self._policy.limits.frame_bytes) + 1,
            timeout=CLOSE_TIMEOUT_S,
        )
        await ws.prepare(request)
        transport = cast(asyncio.Transport, request.transport)
        _shrink_kernel_buffer(transport)
        await self.serve(ws, transport)
        return ws

    async def serve(self, ws: Socket, transport: asyncio.WriteTransport) -> None:
        """A connection from beginning to end.  Frames are read from ``ws``, written to its
        transport."""
        outbox = Outbox(transport, self._policy.outbox_bytes, self._flusher)
        session = Session(self._policy.limits, Rate(self._policy.sends_per_second))
        connection = Connection(self, ws, outbox, session)
        self._connections[connection] = None
        try:
            await self._read(connection)
        finally:
            del self._connections[connection]
            connection.live = False
            session.close(CloseCode.SILENT)
            self._hub.leave(connection)
            self._logins.leave(connection)
            self._leave(connection)
            outbox.abort_in(CLOSE_TIMEOUT_S)

    async def _read(self, connection: Connection) -> None:
        ws = connection.ws
        while True:
            message = await ws.receive()
            if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                self._take(connection, message.data)
                if connection.outbox.is_full():
                    # Its answers would pile up: who does not read is not read from.
                    await connection.outbox.room()
            elif message.type is WSMsgType.PING:
                connection.heard = self.clock()
                await ws.pong(message.data)
            elif message.type is WSMsgType.PONG:
                connection.heard = self.clock()
            else:
                return

    def _take(self, connection: Connection, data: str | bytes) -> None:
        now = connection.heard = self.clock()
        try:
            if _size(data) > self._policy.limits.frame_bytes:
                raise error("frame_too_large", limit=self._policy.limits.frame_bytes)
            decoded = connection.codec.decode_client(data)
        except TimewireError as fault:
            effects = connection.session.refuse(fault, fault.fields.get("id", ""))
        else:
            effects = connection.session.receive(decoded, now)
        self.carry_out(connection, effects)

    # -- effects --------------------------------------------------------------------------------

    def carry_out(self, connection: Connection, effects: Effects) -> None:
        """Do what a session asks for, in order."""
        for effect in effects:
            self._doers.get(type(effect), self._send)(connection, effect)
        connection.live = connection.session.state == "live"

    def _submit(self, connection: Connection, command: Command) -> None:
        self._sender.submit(Request(connection.user, command, connection.answered, connection))

    def _send(self, connection: Connection, answer: ServerFrame) -> None:
        connection.outbox.put(frame(connection.codec.encode(answer), connection.text))

    def _send_page(self, connection: Connection, page: SyncPage) -> None:
        PAGES.inc()
        self._send(connection, page)

    def _send_reset(self, connection: Connection, reset: Reset) -> None:
        RESETS.labels(reset.reason).inc()
        self._send(connection, reset)

    def _greet(self, connection: Connection, hello: Hello) -> None:
        session = connection.session
        try:
            device = check_name(hello.device)
            claims = self._verify(hello.token, device)
            connection.user, connection.device = claims.user, device
            connection.kind, connection.token_id = hello.kind[:MAX_KIND_CHARS], claims.id
            self._logins.join(connection)
            session.rate = self.rates.of(claims.user)
        except TimewireError as fault:
            connection.user = ""
            self.carry_out(connection, session.reject(fault))
            return
        connection.expires_ms = claims.expires_s * 1000
        if seq_of(hello.cursor) <= self._hub.position or not self._hub.patience_s:
            self._welcome(connection, hello)
        else:
            self._spawn(self._welcome_later(connection, hello))

    async def _welcome_later(self, connection: Connection, hello: Hello) -> None:
        """The device was elsewhere, and what it has seen there may not have come here yet."""
        await self._hub.near(seq_of(hello.cursor))
        if connection.session.state == "checking":
            self._welcome(connection, hello)

    def _welcome(self, connection: Connection, hello: Hello) -> None:
        user, device, now = connection.user, connection.device, self.clock()
        start = self._start(user, hello)
        self._hub.join(connection)
        self._signals.joined(user)
        self._spawn(self._directory.seen(user, device, now))
        number, expires = secrets.token_hex(8), connection.expires_ms
        self.carry_out(
            connection,
            connection.session.welcome(user, device, number, start, now, expires=expires),
        )

    def _renew(self, connection: Connection, renew: Renew) -> None:
        try:
            claims = self._verify(renew.token, connection.device)
            if claims.user != connection.user:
                raise error("bad_token", "the token is another user's; connect anew for them")
        except TimewireError as fault:
            self.carry_out(connection, connection.session.refuse(fault, renew.id))
            return
        connection.expires_ms, connection.token_id = claims.expires_s * 1000, claims.id
        self._send(connection, Renewed(renew.id, connection.expires_ms, self.clock()))

    def _start(self, user: str, hello: Hello) -> Start:
        base, horizon = self._sync.base(user), self._hub.position
        if hello.cursor is None:
            return Start(base, horizon, new=True)
        try:
            return Start(base, self._sync.locate(user, hello.cursor, horizon))
        except CursorLost as lost:
            return Start(base, horizon, reset=lost.reason)

    async def _pull(self, connection: Connection, after: Seq) -> None:
        session = connection.session
        await connection.outbox.room()
        try:
            page = await self._sync.pull(session.user, after, self._hub.position)
        except CursorLost as lost:
            effects = session.lost(lost.reason, self._hub.position)
        except Exception as fault:
            log.error("catch-up failed", user=session.user, exc_info=fault)
            effects = session.close(CloseCode.FAULT)
        else:
            effects = session.pulled(page, self._hub.position)
        self.carry_out(connection, effects)

    async def _ask(self, connection: Connection, query: Query | Watch) -> None:
        await connection.outbox.room()
        try:
            answer = await self._find(connection, query)
        except TimewireError as fault:
            answer = fault
        except Exception:
            log.exception("a question failed", user=connection.user)
            answer = error("server_fault")
        self.carry_out(connection, connection.session.answered(query, answer))

    async def _find(self, connection: Connection, query: Query | Watch) -> ServerFrame:
        if isinstance(query, Watch):
            return await self._signals.watch(connection, query)
        return await self._answer(connection.user, query)

    def logged_out(self, connection: Connection) -> None:
        """The device of a connection is none of its user's any more."""
        if connection.user:
            self._hub.leave(connection)
            self._logins.leave(connection)
            self._signals.left(connection)
            connection.user = ""

    def _leave(self, connection: Connection) -> None:
        """A connection has ended: its user was here until now."""
        if connection.user:
            self._signals.left(connection)
            now = self.clock()
            self._spawn(self._directory.seen(connection.user, connection.device, now))

    async def _close(self, connection: Connection, code: CloseCode) -> None:
        connection.live = False
        connection.outbox.abort_in(CLOSE_TIMEOUT_S)
        await connection.outbox.room()
        pause_ms = 0
        if code is CloseCode.SHUTTING_DOWN:
            pause_ms = round(random.random() * self._spread_ms)  # noqa: S311 - only spreads
        await connection.ws.close(code=code, message=closing(code, pause_ms).encode(), drain=False)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            log.error("a connection's task failed", exc_info=fault)

    # -- time -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch the time: those who never say hello, who fell silent, whose token expired."""
        while True:
            await asyncio.sleep(TICK_S)
            now = self.clock()
            for connection in list(self._connections):
                self._watch(connection, now)

    def _watch(self, connection: Connection, now: int) -> None:
        session, policy = connection.session, self._policy
        if session.state == "new" and now - connection.opened > policy.hello_timeout_ms:
            self.carry_out(connection, session.close(CloseCode.HELLO_TIMEOUT))
        elif now - connection.heard > policy.silence_timeout_ms:
            self.carry_out(connection, session.close(CloseCode.SILENT))
        elif connection.expires_ms and now >= connection.expires_ms:
            self.carry_out(connection, session.close(CloseCode.TOKEN_EXPIRED))
        elif connection.live and now - connection.told > AT_INTERVAL_MS:
            connection.told = now
            self._send(connection, At(str(self._hub.position)))
            connection.outbox.put(PING_FRAME)

    async def close(self) -> None:
        """Tell every connection to come back later, and end it; take no new ones."""
        self._closed = True
        self._spread_ms = min(MAX_TOLD_PAUSE_MS, len(self._connections) // COMING_BACK_PER_MS)
        for connection in list(self._connections):
            self.carry_out(connection, connection.session.close(CloseCode.SHUTTING_DOWN))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * CLOSE_TIMEOUT_S)


def _size(data: str | bytes) -> int:
    """Bytes of a frame as it came over the wire."""
    return len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())


def _shrink_kernel_buffer(transport: asyncio.Transport) -> None:
    """What the kernel takes for a slow reader is lost to ``behind``: keep it small."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
