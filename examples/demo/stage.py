"""What the day is played on: one server, or a whole cluster.  Parts of it are killed on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from timewire.auth import mint
from timewire.testing.clusters import Cluster, WorkerProcess, running_cluster
from timewire.testing.history import ModeChange
from timewire.testing.servers import ServerProcess, running_server

DAY_S = 24 * 3600


class Part(Protocol):
    """A process that can be killed, and started again on the same data."""

    async def kill(self) -> None: ...
    async def start(self) -> None: ...


class Blow(NamedTuple):
    """When in the day which part is killed: its share, a name, and who that is by then."""

    at: float
    name: str
    victim: Callable[[], Part]


class Stage(ABC):
    """Servers that devices can connect to."""

    summary: str
    """What there is, in a few words."""

    blows: Sequence[Blow]

    @property
    @abstractmethod
    def url(self) -> str:
        """Where a device can connect to."""

    @property
    @abstractmethod
    def addresses(self) -> Sequence[tuple[str, str]]:
        """What is where."""

    @abstractmethod
    def token(self, user: str, *, life_s: int = DAY_S) -> str:
        """A token for a user."""

    @abstractmethod
    def modes(self) -> Sequence[ModeChange] | None:
        """The changes of the channel's mode up to now; None where modes stay as they are."""

    @abstractmethod
    async def stop(self) -> None:
        """Have everything finish and end."""


class OneServer(Stage):
    """One process on one directory."""

    summary = "server"

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.blows = [Blow(1 / 2, "the server", lambda: server)]

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def addresses(self) -> Sequence[tuple[str, str]]:
        return [("server", self.url)]

    def token(self, user: str, *, life_s: int = DAY_S) -> str:
        return self._server.token(user, life_s=life_s)

    def modes(self) -> Sequence[ModeChange]:
        return list(mode_changes(self._server.log))

    async def stop(self) -> None:
        await self._server.stop()


class WholeCluster(Stage):
    """Gateways, workers and NATS servers, all on this machine."""

    def __init__(self, cluster: Cluster, changes_modes: bool) -> None:
        self._cluster = cluster
        self._changes_modes = changes_modes
        parts = len(cluster.gateways) + len(cluster.workers) + len(cluster.nats.servers)
        self.summary = f"{parts} processes"
        self.blows = [
            Blow(1 / 4, "a NATS server", lambda: cluster.nats.servers[0]),
            Blow(1 / 2, "a gateway", lambda: cluster.gateways[0]),
            Blow(3 / 4, "the leading worker", lambda: max(cluster.workers, key=_led_at)),
        ]

    @property
    def url(self) -> str:
        return self._cluster.url

    @property
    def addresses(self) -> Sequence[tuple[str, str]]:
        gateways = [("gateway", gateway.url) for gateway in self._cluster.gateways]
        return gateways + [(one.name, one.url) for one in self._cluster.nats.servers]

    def token(self, user: str, *, life_s: int = DAY_S) -> str:
        return mint(self._cluster.secret, user, None, life_s=life_s)

    def modes(self) -> Sequence[ModeChange] | None:
        if not self._changes_modes:
            return None
        told = [change for one in self._cluster.workers for change in mode_changes(one.log)]
        return sorted(told, key=lambda change: change.seq)

    async def stop(self) -> None:
        await self._cluster.stop()


@asynccontextmanager
async def one_server(directory: Path, port: int, **settings: Any) -> AsyncGenerator[Stage]:
    """A server on its own data directory."""
    async with running_server(directory / "data", port=port, **settings) as server:
        yield OneServer(server)


@asynccontextmanager
async def whole_cluster(directory: Path, **settings: Any) -> AsyncGenerator[Stage]:
    """Three NATS servers, two workers, two gateways."""
    async with running_cluster(directory, **settings) as cluster:
        yield WholeCluster(cluster, "fanout_policy" in settings)


def mode_changes(log: Path) -> Iterator[ModeChange]:
    """The changes of the channel's mode that a server has written into its log."""
    for line in log.read_text(encoding="utf-8").splitlines():
        if '"another mode"' in line:
            told = msgspec.json.decode(line)
            yield ModeChange(told["conversation"], told["seq"], told["mode"])


def _led_at(worker: WorkerProcess) -> str:
    """When a worker began to lead, by its log."""
    lines = map(msgspec.json.decode, worker.log.read_bytes().splitlines())
    return max((one["timestamp"] for one in lines if one["event"] == "leading"), default="")
