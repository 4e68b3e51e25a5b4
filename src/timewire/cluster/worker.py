"""A worker: follows the log, and leads when nobody else does.

A leader says twice a second that it is there.  A worker that has not heard of one for a while
tries to lead; the stream lets at most one of several succeed (``backends.jetstream.lead``).
"""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from timewire import parts
from timewire.access import MediaAccess
from timewire.attachments import Attachments
from timewire.backends.jetstream import Lead, LogStream, Names, View, check, connect
from timewire.backends.jetstream.connection import end, subscribe, unsubscribe
from timewire.backends.jetstream.records import Record
from timewire.backends.rocksdb import RocksStore
from timewire.clock import Clock, wall_clock
from timewire.cluster.desk import Desk
from timewire.cluster.loads import steer
from timewire.cluster.telling import check_webhooks, tell
from timewire.config import Config
from timewire.errors import Retryable, TimewireError

BEAT_S: Final = 0.5
"""Between two words of a leader that it is there."""

SILENCE_S: Final = 3.0
"""A leader that was not heard of for so long may be replaced."""

SPREAD_S: Final = 1.0
"""Workers wait for a random part of this longer, so that seldom two try at once."""

LOOK_S: Final = 0.1
FLUSH_TIMEOUT_S: Final = 1
START_PATIENCE_S: Final = 30.0
START_PAUSE_S: Final = 0.5
T = TypeVar("T")

GONE: Final = b"gone"
"""What a leader says last: another one need not wait."""

logger = structlog.get_logger("timewire.worker")


class Worker:
    """One worker.  ``run`` it; ``leads`` says whether it does."""

    def __init__(
        self,
        config: Config,
        client: Client,
        names: Names,
        view: View,
        clock: Clock = wall_clock,
    ) -> None:
        self.name: Final = secrets.token_hex(6)
        self.leads = False
        self._config = config
        self._client = client
        self._names = names
        self._stream = LogStream(client, names)
        self._view = view
        self._clock = clock
        self._heard = asyncio.get_running_loop().time()
        self._patience_s = SILENCE_S
        self._stop = asyncio.Event()
        self._lives = 0
        view.on_record = self._see

    async def run(self) -> None:
        """Follow, and lead when needed, until ``stop``; what was begun is finished then."""
        follow = asyncio.create_task(self._view.run())
        beats = await subscribe(self._client, self._names.lead, self._hear)
        try:
            while not self._stop.is_set():
                if follow.done():
                    follow.result()
                if self._is_silent():
                    await self._try_to_lead(follow)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), LOOK_S)
        finally:
            await unsubscribe(beats)
            await end(follow)

    def stop(self) -> None:
        """Hand over the lead, finish, end."""
        self._stop.set()

    async def _hear(self, message: Msg) -> None:
        now = asyncio.get_running_loop().time()
        self._patience_s = SILENCE_S + random.random() * SPREAD_S  # noqa: S311 - no secret
        self._heard = now - self._patience_s if message.data == GONE else now

    def _see(self, record: Record) -> None:
        """Another leader has begun: it was there a moment ago."""
        if record.leader != self._view.leader:
            self._heard = asyncio.get_running_loop().time()

    def _is_silent(self) -> bool:
        waited = asyncio.get_running_loop().time() - self._heard
        return self._client.is_connected and waited >= self._patience_s

    async def _try_to_lead(self, follow: asyncio.Task[None]) -> None:
        self._lives += 1
        name = f"{self.name}-{self._lives}"
        path = Path(self._config.data) / "lead"
        try:
            lead = await Lead.take(
                self._stream, self._view, path, self._clock, name, **store_options(self._config)
            )
        except TimewireError as fault:
            logger.warning("cannot lead now", reason=fault.fields.get("reason", fault.code))
            return
        self._heard = asyncio.get_running_loop().time()
        if lead is None:
            return
        logger.info("leading", name=name, position=self._view.position)
        self.leads = True
        try:
            await self._lead(lead, follow)
        finally:
            self.leads = False
            logger.info("no longer leading", name=name)

    async def _lead(self, lead: Lead, follow: asyncio.Task[None]) -> None:
        """Answer gateways for as long as the lead lasts."""
        store, config = lead.store, self._config
        access = MediaAccess(store.media, store.directory, store.log, self._clock)
        sender = parts.sender(config, store, access, self._clock)
        tasks = [asyncio.create_task(one) for one in (sender.run(), self._beat(lead.name))]
        media = parts.attachments(config, store, access, self._clock)
        desk = Desk(self._client, lead.name, store.log, sender, media)
        await desk.load(store.messages)
        asked = await subscribe(self._client, self._names.ask, desk.take)
        duties = self._duties(store, media)
        try:
            await self._while_it_lasts(lead, [follow, *tasks])
        finally:
            await unsubscribe(asked)
            for duty in duties:
                duty.cancel()
            await asyncio.wait(duties, timeout=config.drain_s)
            sender.close()
            await end(tasks[1])
            await asyncio.wait(tasks, timeout=config.drain_s)
            await desk.finish()
            await end(*duties, *tasks)
            media.close()
            await lead.aclose()
        if self._stop.is_set():
            with suppress(nats.errors.Error, TimeoutError):
                await self._client.publish(self._names.lead, GONE)
                await self._client.flush(FLUSH_TIMEOUT_S)

    def _duties(self, store: RocksStore, media: Attachments) -> list[asyncio.Task[None]]:
        """What a leader does beside deciding.  Without it the lead goes on."""
        config, client, names = self._config, self._client, self._names
        duties = [
            asyncio.create_task(tell(config, store, client, names, self._clock)),
            asyncio.create_task(steer(config, store, client, names)),
        ]
        if config.media_store:  # of files in directories none knows those of the others
            duties.append(asyncio.create_task(media.run()))
        for duty in duties:
            duty.add_done_callback(_report)
        return duties

    async def _while_it_lasts(self, lead: Lead, tasks: list[asyncio.Task[None]]) -> None:
        ends: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._stop.wait()),
            asyncio.create_task(lead.over.wait()),
            asyncio.create_task(self._overtaken(lead)),
        ]
        await asyncio.wait([*ends, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()

    async def _overtaken(self, lead: Lead) -> None:
        """Another leader's record is in the stream: this lead is over, busy or not."""
        own = False
        while not own or self._view.leader == lead.name:
            own = own or self._view.leader == lead.name
            await asyncio.sleep(LOOK_S)

    async def _beat(self, name: str) -> None:
        while True:
            with suppress(nats.errors.Error):
                await self._client.publish(self._names.lead, name.encode())
            await asyncio.sleep(BEAT_S)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()) is not None:
        logger.critical("a duty of the leader has stopped", exc_info=fault)


def store_options(config: Config) -> dict[str, Any]:
    """How a copy of the log is opened."""
    return {
        "inbox_days": config.inbox_days,
        "keys_days": config.keys_days,
        "cache_mb": config.cache_mb,
    }


async def open_view(config: Config, client: Client, names: Names) -> View:
    """This process's copy, with everything in it that the log has now.

    Raises ``Unusable``: no_cluster, nats_unfit, cluster_differs, directory_unusable.
    """
    stream = LogStream(client, names)
    shape = await _when_there(lambda: check(stream))
    path = Path(config.data) / "view"
    view = await _when_there(lambda: View.open(stream, path, shape.epoch, **store_options(config)))
    try:
        await _when_there(view.catch_up)
    except BaseException:
        await view.aclose()
        raise
    return view


async def _when_there(do: Callable[[], Awaitable[T]]) -> T:
    """Do something at the start, and again while the cluster is not there, but not for ever."""
    loop = asyncio.get_running_loop()
    until = loop.time() + START_PATIENCE_S
    while True:
        try:
            return await do()
        except Retryable as fault:
            if loop.time() > until:
                raise
            logger.warning("the cluster is not there yet", reason=fault.fields.get("reason"))
            await asyncio.sleep(START_PAUSE_S)


async def work(config: Config, names: Names | None = None) -> None:
    """Be a worker until SIGTERM or SIGINT.  Raises ``Unusable``, bad_config too."""
    check_webhooks(config)
    parts.media_store(config)  # raises now what would end the lead
    names = names or Names()
    client = await connect(config.nats, "timewire work")
    try:
        view = await open_view(config, client, names)
        try:
            worker = Worker(config, client, names, view)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, worker.stop)
            logger.info("working", name=worker.name, position=view.position)
            await worker.run()
        finally:
            await view.aclose()
    finally:
        await client.close()
