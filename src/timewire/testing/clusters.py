"""A whole cluster on one machine, for tests and demonstrations: every part can be killed.

async with running_cluster(directory) as cluster:
    device = timewire.connect(cluster.url, cluster.token("alice"), device="phone")
    await cluster.gateways[0].kill()
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from timewire.auth import mint
from timewire.cluster import init
from timewire.errors import Retryable, Unusable
from timewire.settings import ENV_PREFIX
from timewire.testing.nats import NatsCluster, NatsServer
from timewire.testing.networks import Network
from timewire.testing.servers import START_TIMEOUT_S, STOP_TIMEOUT_S, ServerProcess

MAX_INIT_S: Final = 60.0
POLL_S: Final = 0.05
MAX_STOPPED_S: Final = 5.0
"""How long a process stands still that is stopped: long enough to be given up."""

STOPPED_SHARE: Final = 0.3
"""How often a part is stopped and not killed."""

CUT_SHARE: Final = 0.5
"""How often a cut is made where there is a network that can be cut."""

MAX_CUT_S: Final = 8.0

DOWN_S: Final = 0.5
"""How long what was killed stays dead."""


class WorkerProcess:
    """A worker in a process of its own, on a directory of its own."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data: Final = data
        self.log: Final = data.with_name(data.name + ".log")
        self._settings = {**settings, "data": str(data), "log_format": "json"}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, and return when it follows the log."""
        begun = self.log.stat().st_size if self.log.exists() else 0
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
        settings = {ENV_PREFIX + key.upper(): str(value) for key, value in self._settings.items()}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "timewire", "work", env=inherited | settings, stderr=log
            )
        async with asyncio.timeout(START_TIMEOUT_S):
            while b'"working"' not in (told := self.log.read_bytes()[begun:]):
                if self._process.returncode is not None:
                    raise RuntimeError(f"the worker ended at its start: {told}")
                await asyncio.sleep(POLL_S)

    async def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Have it finish and end (SIGTERM); its exit status."""
        return await self._end(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self.signal(number)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            return await self._process.wait()


Part = NatsServer | WorkerProcess | ServerProcess


class Cluster:
    """NATS servers, workers, gateways.  ``url`` is that of any gateway, another one each time."""

    def __init__(
        self,
        directory: Path,
        *,
        nats: int,
        workers: int,
        gateways: int,
        network: Network | None = None,
        **settings: Any,
    ) -> None:
        self.secret: Final = secrets.token_hex(20)
        self.network: Final = network
        self.nats: Final = NatsCluster(directory / "nats", nats, network)
        common = {"nats": self.nats.urls, "secret": self.secret, "search": "off", **settings}
        self.workers: Final = [
            WorkerProcess(directory / f"worker-{number + 1}", **common) for number in range(workers)
        ]
        self.gateways: Final = [
            ServerProcess(directory / f"gateway-{number + 1}", **common)
            for number in range(gateways)
        ]
        self.chance = random.Random(0)
        """Decides which part is hurt next, and how."""
        self.hurt: list[str] = []
        """What was done to which part."""

    @property
    def url(self) -> str:
        """Where a device can connect to."""
        return random.choice(self.gateways).url

    @property
    def data(self) -> Path:
        """The directory of a gateway's view: readable when the cluster has stopped."""
        return self.gateways[0].data / "view"

    def token(self, user: str, device: str | None = None) -> str:
        """A token that all gateways take."""
        return mint(self.secret, user, device)

    async def start(self) -> None:
        """Start everything; return when devices can connect."""
        await self.nats.start()
        async with asyncio.timeout(MAX_INIT_S):
            await self._init()
        await asyncio.gather(*(worker.start() for worker in self.workers))
        await asyncio.gather(*(gateway.start() for gateway in self.gateways))

    async def stop(self) -> None:
        """Have everything finish and end."""
        await asyncio.gather(*(gateway.stop() for gateway in self.gateways))
        await asyncio.gather(*(worker.stop() for worker in self.workers))
        await asyncio.gather(*(server.stop() for server in self.nats.servers))

    async def kill(self) -> None:
        """End everything at once."""
        parts: list[Part] = [*self.gateways, *self.workers, *self.nats.servers]
        await asyncio.gather(*(part.kill() for part in parts))

    async def restart(self) -> None:
        """Hurt one part, and have it back: killed, cut off or stopped for a while."""
        if self.network is not None and self.chance.random() < CUT_SHARE:
            await self._cut(self.network)
            return
        part = self.chance.choice([*self.gateways, *self.workers, *self.nats.servers])
        if self.chance.random() < STOPPED_SHARE:
            self.hurt.append(f"stopped {_name(part)}")
            part.signal(signal.SIGSTOP)
            await asyncio.sleep(self.chance.uniform(DOWN_S, MAX_STOPPED_S))
            part.signal(signal.SIGCONT)
            return
        self.hurt.append(f"killed {_name(part)}")
        await part.kill()
        await asyncio.sleep(self.chance.uniform(0, DOWN_S))
        await part.start()

    async def _cut(self, network: Network) -> None:
        """Have NATS servers not reach each other for a while; clients reach all of them."""
        one, *others = self.chance.sample(range(len(network.addresses)), len(network.addresses))
        how = self.chance.choice(["off", "half off", "from one"])
        others = others[:1] if how == "from one" else others
        self.hurt.append(f"cut {self.nats.servers[one].name} {how}")
        for other in others:
            await network.cut(one, other)
            if how != "half off":
                await network.cut(other, one)
        await asyncio.sleep(self.chance.uniform(DOWN_S, MAX_CUT_S))
        await network.heal()

    async def _init(self) -> None:
        """Make the cluster, once the NATS servers have found each other."""
        while True:
            try:
                await init(self.nats.urls, len(self.nats.servers))
            except (Retryable, Unusable):
                await asyncio.sleep(POLL_S)
            else:
                return


def _name(part: Part) -> str:
    return part.name if isinstance(part, NatsServer) else part.data.name


@asynccontextmanager
async def running_cluster(
    directory: Path,
    *,
    nats: int = 3,
    workers: int = 2,
    gateways: int = 2,
    network: Network | None = None,
    **settings: Any,
) -> AsyncGenerator[Cluster]:
    """A cluster, started; killed at the end if it still runs.

    ``settings`` are those of ``timewire.config.Config``, for workers and gateways alike.
    """
    sizes = {"nats": nats, "workers": workers, "gateways": gateways}
    cluster = Cluster(directory, **sizes, network=network, **settings)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.kill()
