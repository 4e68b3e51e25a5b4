"""The server: the parts put together.  The only place, with ``library``, that chooses a backend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import structlog
from aiohttp import web

from timewire import policy as policies
from timewire import tls
from timewire.access import MediaAccess
from timewire.api import Api
from timewire.asking import ListDevices, LogOut, Search
from timewire.attachments import Attachments, Rules
from timewire.auth import Claims, Keys, verify
from timewire.backends.local_bus import LocalBus
from timewire.backends.media_stores.local import LocalMediaStore
from timewire.backends.rocksdb import RocksStore
from timewire.backends.tantivy import TantivyIndex
from timewire.backups import Snapshots
from timewire.clock import Clock, wall_clock
from timewire.config import Config
from timewire.directory import Directory
from timewire.errors import error
from timewire.explorer import Explorer
from timewire.fanout import FanOut
from timewire.gateway import Gateway, Policy
from timewire.hub import Hub
from timewire.inbox import Inbox
from timewire.index import SearchIndex
from timewire.kinds import SCHEMAS, Schemas
from timewire.lives import expire, sweep
from timewire.load import Loads
from timewire.log import MessageLog
from timewire.logins import Logins, device_rules
from timewire.media import MediaIndex, MediaStore
from timewire.modes import Modes
from timewire.news import News
from timewire.pages import Pages
from timewire.protocol import Limits, Query, ServerFrame
from timewire.queries import Queries
from timewire.retention import retention
from timewire.revocations import Revocations
from timewire.running import run_until_stopped
from timewire.sampling import Sampler
from timewire.screen import Screening, Terms, load_hook
from timewire.search import Indexer, Scopes, Searcher
from timewire.send import Intake, Sender
from timewire.signals import Signals
from timewire.signing import Signer
from timewire.sync import Sync
from timewire.timeline import TimelineStore
from timewire.webhooks import find_secrets, webhooks

HOUR_MS: Final = 60 * 60 * 1000
DAY_MS: Final = 24 * HOUR_MS
MIB: Final = 1 << 20
SEARCH: Final = "search"
"""Where in the data directory the search index is."""


logger = structlog.get_logger("timewire.server")


class Store(Protocol):
    """What a backend brings: the log with what it writes, and the inboxes."""

    @property
    def log(self) -> MessageLog: ...
    @property
    def messages(self) -> TimelineStore: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def media(self) -> MediaIndex: ...
    @property
    def inbox(self) -> Inbox: ...
    async def checkpoint(self, path: Path) -> None:
        """Make a directory that holds everything of now; see ``backups``."""
        ...

    async def aclose(self) -> None:
        """Finish and release everything."""
        ...


class Shared(NamedTuple):
    """What a server that is one of several has in place of parts of its own.

    ``patience_s``: how long a device waits that has seen more elsewhere than there is here yet.
    ``fresh`` waits until all is here that anyone can have been told of elsewhere.
    """

    intake: Intake
    bus: LocalBus
    patience_s: float
    fresh: Callable[[], Awaitable[None]]


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
        schemas: Schemas = SCHEMAS,
        policy: policies.Policy | None = None,
        shared: Shared | None = None,
    ) -> None:
        self.config = config
        self.keys = keys
        self.url = ""
        self._ring = keys.ring(config)
        self._store = store
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []
        self._shared = shared
        self._bus = shared.bus if shared else LocalBus()
        access = MediaAccess(store.media, store.directory, store.log, clock)
        self._attachments = _attachments(config, store, access, clock)
        self._sender = shared.intake if shared else sender(config, store, access, clock, schemas)
        policy = policy or policies.configured(config)
        self._fanout, self._modes, self._sync = _delivery(config, store, self._bus, policy, clock)
        patience_s = shared.patience_s if shared else 0
        self._hub = Hub(store.inbox.position, clock, patience_s=patience_s)
        self._queries = Queries(
            store.messages, store.directory, clock, page_entries=config.page_entries
        )
        self._index = index
        self._indexer, self._searcher = _search(store, index, clock)
        self._signals = Signals(self._hub, self._bus, store.directory, clock)
        self._webhooks = webhooks(
            config, store.log, store.directory, lambda user: bool(self._hub.of(user)), clock
        )
        forget = self._indexer.forget if self._indexer is not None else None
        self._retention = retention(config, store.log, store.messages, clock, forget)
        self._snapshots = Snapshots(Path(config.data), store.checkpoint)
        self._revocations = Revocations.load(Path(config.data), clock())
        self._logins = Logins(device_rules(config), self._revocations, store.directory, clock)
        self._policy = _policy(config)
        self._gateway = Gateway(
            self._policy,
            self._verify,
            clock,
            hub=self._hub,
            sender=self._sender,
            sync=self._sync,
            answer=self._answer,
            directory=store.directory,
            signals=self._signals,
            logins=self._logins,
        )
        self._runner: web.AppRunner | None = None
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
        policy: policies.Policy | None = None,
        shared: Shared | None = None,
    ) -> Server:
        """Open the data directory, finish what a crash left, and listen.

        With a ``store`` of one's own, ``index`` is what is searched (None: nothing).
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
        self._bus.subscribe(self._hub.publish)
        self._bus.subscribe(lambda _, position: self._sender.synced(position))
        behind = self._store.log.head
        self._run(self._sender.run())
        self._run(self._fanout.run())
        if self._indexer is not None:
            self._run(self._indexer.run())
        if self._webhooks is not None:
            self._run(self._webhooks.run())
        # A device may hold a position that a crash took back from fan-out: reach it first.
        await self._unless_stopped(self._hub.reached(behind))
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
        self._runner = web.AppRunner(
            self._application(), access_log=None, shutdown_timeout=self.config.drain_s
        )
        await self._runner.setup()
        host, port = self.config.host, self.config.port
        encrypted = tls.context(self.config)
        site = web.TCPSite(self._runner, host, port, ssl_context=encrypted, backlog=1024)
        try:
            await site.start()
        except OSError as problem:
            raise error("address_unusable", reason=str(problem), host=host, port=port) from None
        self.url = tls.url(self.config, *self._runner.addresses[0][:2])

    async def _stop_listening(self) -> None:
        for site in list(self._runner.sites) if self._runner is not None else ():
            await site.stop()

    async def aclose(self) -> None:
        """Drain: refuse new sends, finish what is queued, send everyone away, close the store."""
        self._stopping = True
        self._sender.close()
        await self._drain()
        await self._gateway.close()
        if self._runner is not None:
            await self._runner.cleanup()
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
                await self._hub.reached(self._store.log.head)
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
            log=self._store.log,
            hub=self._hub,
            bus=self._bus,
            sender=self._sender,
            rates=self._gateway.rates,
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
            hub=self._hub,
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


def _delivery(
    config: Config, store: Store, bus: LocalBus, policy: policies.Policy, clock: Clock
) -> tuple[FanOut, Modes, Sync]:
    """What brings messages to devices: to those who are connected, and to those who come back."""
    log, directory, inbox = store.log, store.directory, store.inbox
    loads = Loads(clock, policy.watch_members)
    news = News(store.messages, inbox.position)
    sampler = Sampler(clock, config.room_messages_per_second)
    return (
        FanOut(log, directory, inbox, bus, news=news, loads=loads, sampler=sampler),
        Modes(log, directory, inbox, loads=loads, policy=policy, clock=clock),
        Sync(
            log,
            inbox,
            clock,
            messages=store.messages,
            directory=directory,
            news=news,
            loads=loads,
        ),
    )


def _policy(config: Config) -> Policy:
    limits = Limits(
        frame_bytes=config.frame_bytes,
        body_bytes=config.body_bytes,
        page_entries=config.page_entries,
        sends_in_flight=config.sends_in_flight,
    )
    return Policy(
        limits,
        sends_per_second=config.sends_per_second,
        outbox_bytes=config.outbox_bytes,
        hello_timeout_ms=int(config.hello_timeout_s * 1000),
        silence_timeout_ms=int(config.silence_timeout_s * 1000),
        origins=config.origins,
    )


def _search(
    store: Store, index: SearchIndex | None, clock: Clock
) -> tuple[Indexer | None, Searcher | None]:
    """What keeps an index up to date and what answers from it, when there is one."""
    if index is None:
        return None, None
    scopes = Scopes(store.directory)
    indexer = Indexer(store.log, scopes, index, clock)
    return indexer, Searcher(index, indexer, scopes, store.log, clock)


def sender(
    config: Config, store: Store, access: MediaAccess, clock: Clock, schemas: Schemas = SCHEMAS
) -> Intake:
    """What decides on commands and appends them to a log."""
    make = Sender
    if config.before_send:
        signer = partial(_signer, config)
        hook = load_hook(config.before_send, signer, clock)
        terms = Terms(config.before_send_timeout_s, config.before_send_failure)
        make = partial(Screening, hook, terms)
    return make(
        store.log,
        store.directory,
        clock,
        body_bytes=config.body_bytes,
        max_members=config.members,
        edit_minutes=config.edit_minutes,
        schemas=schemas,
        media=access,
    )


def _signer(config: Config) -> Signer:
    return Signer(find_secrets(config))


def _attachments(config: Config, store: Store, access: MediaAccess, clock: Clock) -> Attachments:
    return Attachments(
        _media_store(config),
        Path(config.data) / "media" / "incoming",
        _rules(config),
        clock,
        index=store.media,
        access=access,
        log=store.log,
    )


def _media_store(config: Config) -> MediaStore:
    """Where media are kept.  Raises ``Unusable`` (bad_config)."""
    if not config.media_store:
        return LocalMediaStore(Path(config.data) / "media")
    try:
        from timewire.backends.media_stores.objects import ObjectMediaStore
    except ImportError:
        message = "media_store needs another package: pip install 'timewire[s3]'"
        raise error("bad_config", message, key="media_store") from None
    return ObjectMediaStore.at(config.media_store)


def _rules(config: Config) -> Rules:
    return Rules(
        max_bytes=config.media_mb * MIB,
        types=config.media_types,
        orphan_ms=int(config.media_orphan_hours * HOUR_MS),
    )


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()) is not None:
        logger.critical("a part of the server has stopped", exc_info=fault)
