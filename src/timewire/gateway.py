"""The gateway: who is connected, and the effects of their sessions carried out.

It decides nothing: what a session asks for goes to the sender, the queries, the sync, and comes
back as frames.  Everything that can wait has a limit.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from timewire.auth import Claims
from timewire.clock import Clock, Ticks
from timewire.commands import Command
from timewire.connection import CLOSE_TIMEOUT_S, Connection, Socket, accept
from timewire.directory import Directory
from timewire.errors import TimewireError, error
from timewire.hub import Hub
from timewire.logins import Logins
from timewire.metrics import PAGES, RESETS
from timewire.model import Seq
from timewire.names import check_name
from timewire.outbox import PING_FRAME, Flusher, Outbox
from timewire.protocol import (
    COMMANDS,
    MAX_TOLD_PAUSE_MS,
    QUERIES,
    At,
    CloseCode,
    Hello,
    Limits,
    Ping,
    Pong,
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
from timewire.quotas import Quotas
from timewire.send import Intake, Request
from timewire.session import Answer, Close, Effects, Pull, Session, Start
from timewire.signals import Signals
from timewire.sync import CursorLost, Sync, seq_of

AT_INTERVAL_MS: Final = 25_000
"""How often a quiet connection is told where it stands, and pinged."""

MAX_KIND_CHARS: Final = 32
TICK_S: Final = 1.0
COMING_BACK_PER_MS: Final = 2
"""Devices that come back at once after a stop: each is told how long to stay away."""

log = structlog.get_logger("timewire.gateway")
Verify = Callable[[str, str | None], Claims]
"""(token, device; None over HTTP) -> who it is.  Raises ``Forbidden``."""


class Policy:
    """What a gateway allows: limits and times, as the configuration has them."""

    def __init__(
        self,
        limits: Limits,
        *,
        outbox_bytes: int,
        hello_timeout_ms: int,
        silence_timeout_ms: int,
        origins: tuple[str, ...],
    ) -> None:
        self.limits = limits
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


class Gateway:
    """Accepts WebSockets and serves them until ``close``."""

    def __init__(
        self,
        policy: Policy,
        verify: Verify,
        clock: Clock,
        ticks: Ticks,
        *,
        hub: Hub,
        sender: Intake,
        sync: Sync,
        answer: Answer,
        directory: Directory,
        signals: Signals,
        logins: Logins,
        quotas: Quotas,
    ) -> None:
        self.ticks = ticks
        self._clock = clock
        self._policy = policy
        self._verify = verify
        self._hub = hub
        self._sender = sender
        self._sync = sync
        self._answer = answer
        self._directory = directory
        self._signals = signals
        self._logins = logins
        self._quotas = quotas
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
            Ping: self._pong,
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
        address = self._quotas.caller(request)
        with self._quotas.connection(address):
            ws, transport = await accept(request, self._policy.limits.frame_bytes)
            await self.serve(ws, transport, address)
        return ws

    async def serve(self, ws: Socket, transport: asyncio.WriteTransport, address: str = "") -> None:
        """A connection from beginning to end.  Frames are read from ``ws``, written to its
        transport.  ``address``: for whom it counts."""
        outbox = Outbox(transport, self._policy.outbox_bytes, self._flusher)
        session = Session(self._policy.limits, self._quotas.meter(address=address))
        connection = Connection(self, ws, outbox, session, address)
        self._connections[connection] = None
        try:
            await connection.read()
        finally:
            del self._connections[connection]
            connection.ended()
            self._hub.leave(connection)
            self._logins.leave(connection)
            self._leave(connection)

    # -- effects --------------------------------------------------------------------------------

    def carry_out(self, connection: Connection, effects: Effects) -> None:
        """Do what a session asks for, in order."""
        for effect in effects:
            self._doers.get(type(effect), Connection.send)(connection, effect)
        connection.live = connection.session.state == "live"

    def _submit(self, connection: Connection, command: Command) -> None:
        self._sender.submit(Request(connection.user, command, connection.answered, connection))

    def _send_page(self, connection: Connection, page: SyncPage) -> None:
        PAGES.inc()
        connection.send(page)

    def _send_reset(self, connection: Connection, reset: Reset) -> None:
        RESETS.labels(reset.reason).inc()
        connection.send(reset)

    def _greet(self, connection: Connection, hello: Hello) -> None:
        session = connection.session
        try:
            device = check_name(hello.device)
            claims = self._verify(hello.token, device)
            connection.user, connection.device = claims.user, device
            connection.kind = hello.kind[:MAX_KIND_CHARS]
            connection.token_id, connection.issued_ms = claims.id, claims.issued_ms
            self._logins.join(connection)
            session.meter = self._quotas.meter(
                address=connection.address, user=claims.user, device=device
            )
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
        user, device, now = connection.user, connection.device, self._clock()
        start = self._start(user, hello)
        self._hub.join(connection)
        self._signals.joined(user)
        self._spawn(self._directory.seen(user, device, now))
        number, expires = secrets.token_hex(8), connection.expires_ms
        self.carry_out(
            connection,
            connection.session.welcome(user, device, number, start, now, expires=expires),
        )

    def _pong(self, connection: Connection, ping: Ping) -> None:
        connection.send(Pong(ping.id, self._clock()))

    def _renew(self, connection: Connection, renew: Renew) -> None:
        try:
            claims = self._verify(renew.token, connection.device)
            if claims.user != connection.user:
                raise error("bad_token", "the token is another user's; connect anew for them")
        except TimewireError as fault:
            self.carry_out(connection, connection.session.refuse(fault, renew.id))
            return
        connection.expires_ms = claims.expires_s * 1000
        connection.token_id, connection.issued_ms = claims.id, claims.issued_ms
        connection.send(Renewed(renew.id, connection.expires_ms, self._clock()))

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
            now = self._clock()
            self._spawn(self._directory.seen(connection.user, connection.device, now))

    async def _close(self, connection: Connection, code: CloseCode) -> None:
        pause_ms = 0
        if code is CloseCode.SHUTTING_DOWN:
            pause_ms = round(random.random() * self._spread_ms)  # noqa: S311 - only spreads
        await connection.close(code, closing(code, pause_ms))

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
            now = self.ticks()
            for connection in list(self._connections):
                self._watch(connection, now)

    def _watch(self, connection: Connection, now: float) -> None:
        session, policy = connection.session, self._policy
        if session.state == "new" and now - connection.opened > policy.hello_timeout_ms:
            self.carry_out(connection, session.close(CloseCode.HELLO_TIMEOUT))
        elif now - connection.heard > policy.silence_timeout_ms:
            self.carry_out(connection, session.close(CloseCode.SILENT))
        elif connection.expires_ms and self._clock() >= connection.expires_ms:
            self.carry_out(connection, session.close(CloseCode.TOKEN_EXPIRED))
        elif connection.live and now - connection.told > AT_INTERVAL_MS:
            connection.told = now
            connection.send(At(str(self._hub.position)))
            connection.outbox.put(PING_FRAME)

    async def close(self) -> None:
        """Tell every connection to come back later, and end it; take no new ones."""
        self._closed = True
        self._spread_ms = min(MAX_TOLD_PAUSE_MS, len(self._connections) // COMING_BACK_PER_MS)
        for connection in list(self._connections):
            self.carry_out(connection, connection.session.close(CloseCode.SHUTTING_DOWN))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * CLOSE_TIMEOUT_S)
