"""The gateway of a cluster: a server like any other, on a view of the common log.

It keeps its connections when NATS is away: reads go on, sends are refused for now, and all is well
again when the connection is back.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from nats.aio.client import Client

from timewire.backends.jetstream import Names, View, connect
from timewire.backends.jetstream.connection import end
from timewire.backends.tantivy import TantivyIndex
from timewire.clock import Clock, wall_clock
from timewire.cluster.bus import ClusterBus
from timewire.cluster.forwarder import Forwarder
from timewire.cluster.loads import Reporting
from timewire.cluster.replica import Replica
from timewire.cluster.revoking import common_revocations
from timewire.cluster.roll import Answering
from timewire.cluster.worker import open_view
from timewire.config import Config
from timewire.errors import error
from timewire.parts import SEARCH, Shared
from timewire.running import run_until_stopped
from timewire.server import Server

PATIENCE_S: Final = 3.0
"""How long a device that comes from another gateway waits until this one has seen as much."""

logger = structlog.get_logger("timewire.cluster")


class Gateway:
    """A running gateway.  ``start`` one, ``aclose`` it; ``url`` says where it is."""

    def __init__(self, client: Client, view: View, forwarder: Forwarder, bus: ClusterBus) -> None:
        self._client = client
        self._view = view
        self._forwarder = forwarder
        self._bus = bus
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def start(
        cls, config: Config, names: Names | None = None, clock: Clock = wall_clock
    ) -> Gateway:
        """Connect, catch up with the log, and listen.

        Raises ``Unusable``: bad_config, nats_unreachable, no_cluster, and what ``Server`` raises.
        """
        _check(config)
        config = msgspec.structs.replace(config, webhooks=())  # the leader tells, for all
        names = names or Names()
        name = secrets.token_hex(8)
        client = await connect(config.nats, "timewire serve")
        try:
            view = await open_view(config, client, names)
        except BaseException:
            await client.close()
            raise
        forwarder = Forwarder(client, names, view, name)
        gateway = cls(client, view, forwarder, ClusterBus(client, names, name))
        try:
            await gateway._open(config, clock)
            gateway._serve_the_leader(client, names, name)
        except BaseException:
            await gateway.aclose()
            raise
        return gateway

    @property
    def server(self) -> Server:
        """What listens."""
        if self._server is None:
            raise error("closed")
        return self._server

    @property
    def url(self) -> str:
        """Where it is."""
        return self.server.url

    async def _open(self, config: Config, clock: Clock) -> None:
        self._run(self._view.run())
        self._run(self._bus.run())
        index = None
        if config.search == "on":
            index = await TantivyIndex.open(Path(config.data) / SEARCH)
        store = Replica(self._view, self._forwarder)
        revocations = await common_revocations(store.log, store.messages, self._bus)
        shared = Shared(self._forwarder, self._bus, PATIENCE_S, self._view.fresh, revocations)
        self._server = await Server.start(config, store, clock, index, shared=shared)

    def _serve_the_leader(self, client: Client, names: Names, name: str) -> None:
        """Tell what a leader wants to know: who is here, and what they do."""
        here, directory = self.server, self._view.store.directory
        self._run(Answering(client, names, name, here.hub).run())
        self._run(Reporting(client, names, name, loads=here.loads, directory=directory).run())

    async def aclose(self) -> None:
        """Drain, leave the cluster, release everything."""
        if self._server is not None:
            await self._server.aclose()
        await end(*self._tasks)
        await self._view.aclose()
        await self._client.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(_report)
        self._tasks.append(task)


async def serve(config: Config, started: Callable[[Server], None]) -> None:
    """Be a gateway until SIGTERM or SIGINT, then drain.  ``started`` is called once it listens."""
    await run_until_stopped(config, Gateway.start, lambda one: started(one.server))


def _check(config: Config) -> None:
    """Raise when a setting is missing that all gateways have to have in common."""
    if not config.secret and not config.token_keys:
        message = "gateways of a cluster need a common `secret` or `token_keys`"
        raise error("bad_config", message, key="secret")


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()) is not None:
        logger.critical("a part of the gateway has stopped", exc_info=fault)
