"""The machine that the server runs on: its process, its disk, and how it is started and killed."""

from __future__ import annotations

import asyncio
from typing import Final

from timewire.auth import Keys, mint
from timewire.config import Config
from timewire.errors import TimewireError
from timewire.model import Ref, Seq, Stored
from timewire.policy import Policy
from timewire.server import Server
from timewire.testing.crash import read_refs
from timewire.testing.history import InboxDump
from timewire.testing.simulation.disk import Disk, SimulatedStore
from timewire.testing.simulation.loop import Process, SimulatedLoop
from timewire.testing.simulation.network import Network

BEGINNING_MS: Final = 1_800_000_000_000
LIFE_S: Final = 40.0
"""How long inboxes keep what is new."""

KEYS: Final = Keys("a secret of the simulation, long enough", "and its admin key")
TOKEN: Final = 10**9


class WallClock:
    """The server's clock, which jumps."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.ahead_ms = 0
        self._loop = loop

    def __call__(self) -> int:
        return BEGINNING_MS + int(self._loop.time() * 1000) + self.ahead_ms


class SimulatedServer(Server):
    """The server as it is, but for the socket that it listens on."""

    def begin_on(self, network: Network, process: Process) -> None:
        """Where it is to listen."""
        self._network, self._process = network, process

    async def begin(self) -> None:
        """Start all parts, and listen."""
        await self._open()

    async def _listen(self) -> None:
        self._network.listen(self._process, self._gateway.serve)

    async def _stop_listening(self) -> None:
        self._network.stop_listening(self._process)

    @property
    def reached(self) -> Seq:
        """How far fan-out has published."""
        return self.hub.position


class Machine:
    """Runs the server on a disk."""

    def __init__(
        self,
        loop: SimulatedLoop,
        network: Network,
        disk: Disk,
        config: Config,
        policy: Policy | None,
    ) -> None:
        self.clock = WallClock(loop)
        self.server: SimulatedServer | None = None
        self.store = SimulatedStore(self.clock, disk, int(LIFE_S * 1000 / 8))
        self.faults: list[str] = []
        self._loop = loop
        self._network = network
        self._config = config
        self._policy = policy
        self._process: Process | None = None

    @property
    def is_on(self) -> bool:
        """Whether the server runs, or begins to."""
        return self._process is not None

    def _ticks(self) -> float:
        return self._loop.time() * 1000

    def token(self, user: str) -> str:
        """A token that never expires."""
        return mint(KEYS.secret, user, life_s=TOKEN, clock=self.clock)

    def start(self) -> None:
        """Start the server."""
        if self._process is None:
            process = self._process = Process(self._loop, "server")
            process.run(self._run(process))

    async def _run(self, process: Process) -> None:
        try:
            server = SimulatedServer(
                self._config,
                KEYS,
                self.store,
                clock=self.clock,
                ticks=self._ticks,
                policy=self._policy,
            )
            server.begin_on(self._network, process)
            await server.begin()
            self.server = server
        except TimewireError as fault:
            self.faults.append(f"the server did not start: {fault!r}")

    def kill(self, *, power: bool) -> None:
        """End the server at once, or switch off its machine."""
        if self._process is not None:
            found = self.store.crashed(power=power)
            self._network.shut(noticed=not power)
            self._process.kill()
            self._process, self.server, self.store = None, None, found

    async def restart(self) -> None:
        """Have the server end properly, and start it again."""
        server, process = self.server, self._process
        if server is None or process is None:
            return
        await asyncio.wait([process.run(server.aclose())])
        if self._process is process:
            self.kill(power=False)
            self.start()

    async def log(self) -> list[Stored]:
        """All messages, as they are stored."""
        found: list[Stored] = []
        while batch := await self.store.log.read(found[-1].seq if found else 0):
            found += batch
        return found

    async def inbox(self, user: str) -> InboxDump:
        """A user's inbox, as it is stored."""
        inbox, refs, more = self.store.inbox, list[Ref](), True
        while more:
            after = refs[-1].seq if refs else 0
            found, more = await inbox.scan(user, after, self.store.log.head, 1000)
            refs += found
        read = tuple(await read_refs(self.store, user))
        return InboxDump(user, inbox.floor, inbox.position, tuple(refs), read)
