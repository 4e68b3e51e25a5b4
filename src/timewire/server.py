"""The server: its parts put together, started in order, and ended without loss."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from timewire import policy as policies
from timewire.access import MediaAccess
from timewire.api import Api
from timewire.asking import ListDevices, LogOut, Search
from timewire.auth import Claims, Keys, verify
from timewire.backends.local_bus import LocalBus
from timewire.backends.rocksdb import RocksStore
from timewire.backends.tantivy import TantivyIndex
from timewire.backups import Snapshots
from timewire.clock import Clock, Ticks, steady_ticks, wall_clock
from timewire.config import Config
from timewire.errors import error
from timewire.explorer import Explorer
from timewire.gateway import Gateway
from timewire.hub import Hub
from timewire.index import SearchIndex
from timewire.kinds import SCHEMAS, Schemas
from timewire.listening import Listener
from timewire.lives import expire, sweep
from timewire.load import Loads
from timewire.logins import Logins, device_rules
from timewire.pages import Pages
from timewire.parts import (
    DAY_MS,
    SEARCH,
    Shared,
    Store,
    attachments,
    delivery,
    gateway_policy,
    searching,
    sender,
    steering,
)
from timewire.protocol import Query, ServerFrame
from timewire.queries import Queries
from timewire.quotas import Quotas
from timewire.retention import retention
from timewire.revocations import Revocations
from timewire.running import run_until_stopped
from timewire.signals import Signals
from timewire.webhooks import webhooks

logger = structlog.get_logger("timewire.server")


class Server:
    """A running server.  ``start`` one, ``aclose`` it; ``url`` says where it is."""

    def __init__(
        self,
        config: Config,
        keys: Keys,
        store: Store,
        *,
        index: SearchIndex | None = None,
        clock: Clock = wall_clock,
        ticks: Ticks = steady_ticks,
        schemas: Schemas = SCHEMAS,
        policy: policies.Policy | None = None,
        shared: Shared | None = None,
    ) -> None:
        self.config = config
        self.keys = keys
        self.url = ""
        self._ring = keys.ring(config)
        self._store = store
        self._clock, self._ticks = clock, ticks
        self._tasks: list[asyncio.Task[None]] = []
        self._shared = shared
        self._bus = shared.bus if shared else LocalBus()
        access = MediaAccess(store.media, store.directory, store.log, clock)
        self._attachments = attachments(config, store, access, clock)
        self._sender = (
            shared.intake if shared else sender(config, store, access, clock, schemas, ticks=ticks)
        )
        policy = policy or policies.configured(config)
        self.loads = Loads(ticks, policy.watch_members)
        self._modes = steering(store, self.loads, policy, ticks)
        self._fanout, self._sync = delivery(
            config, store, self._bus, self.loads, clock=clock, ticks=ticks
        )
        patience_s = shared.patience_s if shared else 0
        self.hub = Hub(store.inbox.position, clock, patience_s=patience_s)
        self._queries = Queries(
            store.messages, store.directory, clock, page_entries=config.page_entries
        )
        self._index = index
        self._indexer, self._searcher = searching(store, index, clock)
        self._signals = Signals(self.hub, self._bus, store.directory, ticks)
        self._webhooks = webhooks(
            config, store.log, store.directory, lambda user: bool(self.hub.of(user)), clock
        )
        forget = self._indexer.forget if self._indexer is not None else None
        self._retention = retention(config, store.log, store.messages, clock, forget)
        self._snapshots = Snapshots(Path(config.data), store.checkpoint)
        self._revocations = (
            shared.revocations if shared else Revocations.load(Path(config.data), clock())
        )
        self._logins = Logins(device_rules(config), self._revocations, store.directory, clock)
        self._policy = gateway_policy(config)
        self._quotas = Quotas(config, ticks)
        self._gateway = Gateway(
            self._policy,
            self._verify,
            clock,
            ticks,
            hub=self.hub,
            sender=self._sender,
            sync=self._sync,
            answer=self._answer,
            directory=store.directory,
            signals=self._signals,
            logins=self._logins,
            quotas=self._quotas,
        )
        self._listener: Listener | None = None
        self._stopping = False

    @classmethod
    async def start(
        cls,
        config: Config,
        store: Store | None = None,
        clock: Clock = wall_clock,
        index: SearchIndex | None = None,
        schemas: Schemas = SCHEMAS,
        *,
        ticks: Ticks = steady_ticks,
        policy: policies.Policy | None = None,
        shared: Shared | None = None,
    ) -> Server:
        """Open the data directory, finish what a crash left, and listen.

        With a ``store`` of one's own, ``index`` is what is searched (None: nothing).
        ``ticks`` measures what lasts, ``clock`` says what time it is.
        ``schemas``: the message kinds whose bodies are checked.
        ``policy`` chooses the modes of conversations; else the one that the configuration names.
        ``shared``: parts that it has in common with others, when it is one of several.
        Raises ``Unusable`` when the directory or the address cannot be had.
        """
        directory = Path(config.data)
        if store is None:
            store = await RocksStore.open(
                directory,
                clock=clock,
                durability=config.durability,
                sync_interval_ms=config.sync_interval_ms,
                inbox_days=config.inbox_days,
                keys_days=config.keys_days,
                cache_mb=config.cache_mb,
            )
            own = config.search == "on"
        else:
            own = False
        try:
            keys = Keys.load(config, directory)
            if own:
                index = await TantivyIndex.open(directory / SEARCH)
            server = cls(
                config,
                keys,
                store,
                index=index,
                clock=clock,
                ticks=ticks,
                schemas=schemas,
                policy=policy,
                shared=shared,
            )
        except BaseException:
            if own and index is not None:
                await index.aclose()
            await store.aclose()
            raise
        try:
            await server._open()
        except BaseException:
            await server.aclose()
            raise
        return server

    async def _open(self) -> None:
        self._bus.subscribe(self.hub.publish)
        self._bus.subscribe(lambda _, position: self._sender.synced(position))
        behind = self._store.log.head
        self._run(self._sender.run())
        self._run(self._fanout.run())
        if self._indexer is not None:
            self._run(self._indexer.run())
        if self._webhooks is not None:
            self._run(self._webhooks.run())
        # A device may hold a position that a crash took back from fan-out: reach it first.
        await self._unless_stopped(self.hub.reached(behind))
        # What is in every inbox already will not be published again.
        self._sender.synced(self.hub.position)
        self._run(self._gateway.run())
        self._run(self._signals.run())
        await self._snapshots.remove()
        self._attachments.clear()
        if self._shared is None:  # of several, none knows what another does just now
            self._run(self._attachments.run())
            self._run(self._modes.run())
        self._run(expire(self._store.inbox, self.config.inbox_days * DAY_MS, self._clock))
        self._run(sweep(self._store.log, self._clock))
        if self._retention is not None:
            self._run(self._retention.run())
        await self._listen()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for something, or raise why a part that it needs has stopped."""
        waiting = asyncio.get_running_loop().create_task(work)
        try:
            await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks:
                if task.done():
                    task.result()
        finally:
            waiting.cancel()

    async def _listen(self) -> None:
        self._listener = Listener(self.config, self._application())
        await self._listener.start()
        self.url = self._listener.url

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            await self._listener.stop()

    async def aclose(self) -> None:
        """Drain: refuse new sends, finish what is queued, send everyone away, close the store."""
        self._stopping = True
        self._sender.close()
        await self._drain()
        await self._gateway.close()
        if self._listener is not None:
            await self._listener.aclose()
        self._attachments.close()
        for task in self._tasks[1:]:
            task.cancel()
        _, late = (
            await asyncio.wait(self._tasks, timeout=self.config.drain_s)
            if self._tasks
            else ((), ())
        )
        for task in late:
            task.cancel()
        if self._index is not None:
            await self._index.aclose()
        await self._store.aclose()

    async def _drain(self) -> None:
        """Have what is queued answered and delivered while everybody is still there."""
        await self._stop_listening()
        try:
            async with asyncio.timeout(self.config.drain_s):
                if self._tasks:
                    await asyncio.wait(self._tasks[:1])
                await self.hub.reached(self._store.log.head)
        except TimeoutError:
            logger.warning("draining took too long")

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=self.config.frame_bytes)
        application.router.add_get("/v1/ws", self._gateway.handle)
        self._api = Api(
            self.config,
            self.keys,
            self._verify,
            self._clock,
            self._ticks,
            log=self._store.log,
            hub=self.hub,
            bus=self._bus,
            sender=self._sender,
            quotas=self._quotas,
            sync=self._sync,
            answer=self._answer,
            indexer=self._indexer,
            attachments=self._attachments,
            logins=self._logins,
            webhooks=self._webhooks,
            snapshots=self._snapshots,
            explorer=self._explorer(),
            stopping=lambda: self._stopping,
        )
        self._api.install(application)
        Pages(self.config, self.keys, self._clock).install(application)
        return application

    def _explorer(self) -> Explorer:
        store = self._store
        return Explorer(
            store.log,
            store.inbox,
            store.directory,
            hub=self.hub,
            indexer=self._indexer,
            webhooks=self._webhooks,
            clock=self._clock,
        )

    async def _answer(self, user: str, query: Query) -> ServerFrame:
        if self._shared is not None:
            await self._shared.fresh()
        if isinstance(query, ListDevices | LogOut):
            return await self._logins.answer(user, query)
        if not isinstance(query, Search):
            return await self._queries.answer(user, query)
        if self._searcher is None:
            raise error("search_off")
        return await self._searcher.answer(user, query)

    def _verify(self, token: str, device: str | None) -> Claims:
        claims = verify(self._ring, token, device, self._clock())
        self._revocations.check(claims, device)
        return claims

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(_report)
        self._tasks.append(task)


def _nothing(server: Server) -> None:
    """Nobody wants to know that the server has started."""


async def run(config: Config, started: Callable[[Server], None] = _nothing) -> None:
    """Serve until SIGTERM or SIGINT, then drain.  ``started`` is called once it listens."""
    await run_until_stopped(config, Server.start, started)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()) is not None:
        logger.critical("a part of the server has stopped", exc_info=fault)
