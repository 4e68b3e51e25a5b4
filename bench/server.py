"""The server under measurement: a process of its own, in a directory of its own."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench import machine
from bench.wire import Door

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 60.0
COMMAND_VARIABLE: Final = "BENCH_SERVER"
"""Another command than ``python -m timewire serve``, to compare servers."""


class ServerProcess:
    """A running server and what the operating system knows of it."""

    def __init__(self, process: asyncio.subprocess.Process, door: Door) -> None:
        self.door = door
        self.pid = process.pid
        self._process = process

    def cpu_s(self) -> float:
        """Processor time that the server has used, all threads."""
        return machine.cpu_s(self.pid)

    def rss_bytes(self) -> int:
        """Memory that the server has resident."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def stop(self) -> None:
        """Ask it to end, and wait."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise


@asynccontextmanager
async def serving(data: Path | None = None, **settings: object) -> AsyncIterator[ServerProcess]:
    """A server on a free port, with its data in ``data`` or in a directory that is removed."""
    with tempfile.TemporaryDirectory(prefix="timewire-bench-") as own:
        server = await _start(data or Path(own) / "data", Path(own) / "log", settings)
        try:
            yield server
        finally:
            await server.stop()


async def _start(data: Path, log: Path, settings: dict[str, object]) -> ServerProcess:
    secret = secrets.token_urlsafe(32)
    given = {
        "data": data,
        "port": 0,
        "log_format": "json",
        "sends_per_second": 0,
        "frames_per_second": 0,
        **settings,
    }
    flags = [text for key, value in given.items() for text in _flag(key, value)]
    command = shlex.split(os.environ.get(COMMAND_VARIABLE, "")) or [
        sys.executable,
        "-m",
        "timewire",
        "serve",
    ]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            *flags,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "TIMEWIRE_SECRET": secret},
        )
    try:
        url = await asyncio.wait_for(_listening(process, log), START_TIMEOUT_S)
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    return ServerProcess(process, Door(url, secret))


def _flag(key: str, value: object) -> tuple[str, str]:
    return "--" + key.replace("_", "-"), str(value)


async def _listening(process: asyncio.subprocess.Process, log: Path) -> str:
    """The address that the server says it listens at."""
    while True:
        text = log.read_text(errors="replace")
        for line in text.splitlines():
            if line.startswith("{") and '"listening"' in line:
                return str(json.loads(line)["url"])
        if process.returncode is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{text[-4000:]}")
        await asyncio.sleep(0.02)
