"""Servers for tests: in this process, or as a process of their own that can be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from timewire.auth import find_secret, mint
from timewire.backends.memory import MemoryIndex
from timewire.clock import Clock, Ticks, steady_ticks, wall_clock
from timewire.config import Config
from timewire.parts import Store
from timewire.policy import Policy
from timewire.server import Server
from timewire.settings import ENV_PREFIX

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.02


@asynccontextmanager
async def serving(
    data: Path,
    store: Store | None = None,
    clock: Clock = wall_clock,
    policy: Policy | None = None,
    ticks: Ticks | None = None,
    **settings: Any,
) -> AsyncGenerator[Server]:
    """A server in this process, on a free port.

    A ``clock`` of one's own is also what it measures by, unless there are ``ticks`` beside it.
    """
    config = msgspec.structs.replace(Config(data=str(data), port=0), **settings)
    # A store in memory is searched in memory.
    index = MemoryIndex() if store is not None else None
    ticks = ticks or (steady_ticks if clock is wall_clock else clock)
    server = await Server.start(config, store, clock, index, ticks=ticks, policy=policy)
    try:
        yield server
    finally:
        await server.aclose()


class ServerProcess:
    """A server in a process of its own.  Its port stays the same over restarts.

    What it logs is in ``log``, one JSON object a line.  ``environment``: more variables for it.
    """

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self.log = data.with_name(data.name + ".log")
        self.environment: dict[str, str] = {}
        self.url = ""
        self._settings = {"port": 0, **settings, "data": str(data), "log_format": "json"}
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The running process."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process

    def token(self, user: str, device: str | None = None, *, life_s: int = 24 * 3600) -> str:
        """A token of this server."""
        return mint(
            find_secret(Config(data=str(self.data)), self.data), user, device, life_s=life_s
        )

    async def start(self) -> None:
        """Start it, and return when it listens."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
        settings = {ENV_PREFIX + key.upper(): str(value) for key, value in self._settings.items()}
        environment = inherited | self.environment | settings
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "timewire",
                "serve",
                env=environment,
                stderr=log,
            )
        async with asyncio.timeout(START_TIMEOUT_S):
            while not (url := self._listens_at()):
                if self.process.returncode is not None:
                    raise RuntimeError(f"the server ended at its start: {self._log()}")
                await asyncio.sleep(POLL_S)
        self.url = url
        self._settings["port"] = url.rpartition(":")[2]

    async def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        if self._process is not None:
            await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Have it drain and end (SIGTERM); its exit status."""
        return await self._end(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def restart(self) -> None:
        """Kill it if it runs, and start it again."""
        await self.kill()
        await self.start()

    async def _end(self, number: signal.Signals) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            return await self.process.wait()

    def _listens_at(self) -> str:
        for line in self._log().splitlines():
            if b'"listening"' in line:
                return msgspec.json.decode(line)["url"]
        return ""

    def _log(self) -> bytes:
        """What this run has logged, in whole lines."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().rpartition(b"\n")[0]


@asynccontextmanager
async def running_server(data: Path, **settings: Any) -> AsyncGenerator[ServerProcess]:
    """A server in a process of its own, started; killed at the end if it still runs.

    ``settings`` are those of ``timewire.config.Config``; the port is a free one unless given.
    """
    server = ServerProcess(data, **settings)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()
