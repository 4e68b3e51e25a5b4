"""What is done to a real server and its machine: each harm hurts, waits, and makes whole again.

What a machine does not allow (a small disk without root, another clock without libfaketime) says
so in ``missing`` before a run begins.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from timewire.testing.devices import RawDevice, raw_device
from timewire.testing.relay import Relay, relaying
from timewire.testing.servers import ServerProcess

Harm = Literal["killed", "stopped", "disk full", "clock jumps", "network", "calm"]
HARMS: Final[tuple[Harm, ...]] = (
    "killed",
    "stopped",
    "disk full",
    "clock jumps",
    "network",
    "calm",
)
"""``calm`` is none: what the others are compared with."""

STOPPED_S: Final = (0.2, 3.0)
FULL_S: Final = (0.5, 3.0)
JUMPED_S: Final = (0.5, 3.0)
NETWORK_S: Final = (0.2, 3.0)
JUMPS_S: Final = (-7200, -60, 60, 7200)
"""Tokens and inboxes live longer."""

MAX_DELAY_S: Final = 0.2
BALLAST_BYTES: Final = 1 << 20
FILLER: Final = "filler"
PRESS_BYTES: Final = 30 * 1024
MAX_PRESSES: Final = 2000
LIBFAKETIME: Final = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
)


def faketime() -> str | None:
    """Where libfaketime is: Debian's package ``faketime``."""
    return next((path for path in LIBFAKETIME if Path(path).exists()), None)


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Generator[bool]:
    """A disk of this size at a directory; False where root would be needed: then it is none."""
    directory.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "timewire-soak", str(directory)]
    can = os.geteuid() == 0 and mount is not None
    done = can and subprocess.run([str(mount), *options], capture_output=True, check=False)
    mounted = bool(done) and done.returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(directory)], check=True)


class Clock:
    """The wall clock of a server: a file that libfaketime reads at every look."""

    def __init__(self, file: Path, library: str) -> None:
        self._file = file
        self.environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Be ahead of the real time by so much, from now on."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+d}")
        written.replace(self._file)


class Machine:
    """A server, the network before it, and the disk and the clock below it."""

    def __init__(
        self, server: ServerProcess, relay: Relay, disk: Path | None, clock: Clock | None
    ) -> None:
        self.server = server
        self.relay = relay
        self.disk = disk
        self.clock = clock
        self.chance = random.Random(0)

    @property
    def missing(self) -> dict[Harm, str]:
        """What cannot be done here, and why."""
        why: dict[Harm, str] = {}
        if self.disk is None:
            why["disk full"] = "a small disk is mounted by root only"
        if self.clock is None:
            why["clock jumps"] = "libfaketime is not installed"
        return why

    async def suffer(self, harm: Harm) -> None:
        """Do some harm, and return when all is whole again."""
        match harm:
            case "killed":
                await self.server.kill()
                await self.server.start()
            case "stopped":
                self.server.signal(signal.SIGSTOP)
                await self._while(STOPPED_S)
                self.server.signal(signal.SIGCONT)
            case "disk full":
                await self._fill()
            case "clock jumps":
                assert self.clock is not None
                self.clock.jump(self.chance.choice(JUMPS_S))
                await self._while(JUMPED_S)
                self.clock.jump(0)
            case "network":
                await self._disturb()
            case "calm":
                await self._while(NETWORK_S)

    async def _while(self, seconds: tuple[float, float]) -> None:
        await asyncio.sleep(self.chance.uniform(*seconds))

    async def _fill(self) -> None:
        """Have no byte left for a while, and the server notice it.

        A database has taken room ahead: it is felt when that is used up, so there is more to write.
        """
        assert self.disk is not None
        ballast = self.disk / "ballast"
        try:
            with ballast.open("ab", buffering=0) as file:
                async with raw_device(self.server.url) as device:
                    await device.hello(self.server.token(FILLER), "press")
                    for number in range(MAX_PRESSES):
                        _fill(file.fileno())
                        if await _is_refused(device, f"{time.monotonic_ns()}.{number}"):
                            break
                    else:
                        raise AssertionError("a full disk was not felt")
                await self._while(FULL_S)
        finally:
            ballast.unlink()

    async def _disturb(self) -> None:
        """Slow, held or cut connections."""
        match self.chance.choice(["slow", "held", "cut"]):
            case "slow":
                self.relay.delay_s = self.chance.uniform(0, MAX_DELAY_S)
                await self._while(NETWORK_S)
                self.relay.delay_s = 0.0
            case "held":
                self.relay.hold()
                await self._while(NETWORK_S)
                self.relay.release()
            case _:
                self.relay.cut()


async def _is_refused(device: RawDevice, id: str) -> bool:
    """Whether the server does not take a large message because it cannot write."""
    body = {"text": "x" * PRESS_BYTES}
    answer = await device.ask("send", id=id, to=f"self:{FILLER}", body=body)
    return answer.get("code") in ("storage_unavailable", "outcome_unknown")


def _fill(file: int) -> None:
    """Write until nothing more can be written."""
    for size in (BALLAST_BYTES, 4096, 1):
        try:
            while os.write(file, b"\0" * size):
                pass
        except OSError:
            continue


@asynccontextmanager
async def machine(directory: Path, disk_megabytes: int, **settings: Any) -> AsyncGenerator[Machine]:
    """A machine whose server runs, with all that can be had here; settings are the server's."""
    library = faketime()
    with small_disk(directory / "disk", disk_megabytes) as mounted:
        clock = Clock(directory / "clock", library) if library else None
        data = directory / "disk" / "data"
        server = ServerProcess(data, **settings)
        server.log = directory / "server.log"
        server.environment = clock.environment if clock is not None else {}
        try:
            await server.start()
            async with relaying(lambda: server.url) as relay:
                yield Machine(server, relay, directory / "disk" if mounted else None, clock)
        finally:
            await server.kill()
