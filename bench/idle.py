"""What an idle connection costs the server in memory."""

from __future__ import annotations

import asyncio
import resource
from time import perf_counter
from typing import Final

from bench.server import ServerProcess
from bench.wire import close_all

SETTLE_S: Final = 1.0
WARM_CONNECTIONS: Final = 100
SPARE_FILES: Final = 200


async def idle(server: ServerProcess, *, connections: int) -> dict[str, float]:
    """KiB of the server's resident memory for each of many live, idle connections."""
    allow_files(connections + SPARE_FILES)
    warm = await server.door.links([f"warm{n}" for n in range(WARM_CONNECTIONS)])
    await asyncio.sleep(SETTLE_S)
    before, began = server.rss_bytes(), perf_counter()
    links = await server.door.links([f"idle{n}" for n in range(connections)])
    took = perf_counter() - began
    await asyncio.sleep(SETTLE_S)
    grown = server.rss_bytes() - before
    close_all(warm + links)
    return {
        "kib_each": grown / connections / 1024,
        "base_mib": before / 2**20,
        "accepts_per_s": connections / took,
    }


def allow_files(count: int) -> None:
    """Raise this process's limit of open files, which its children inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(count, soft), hard), hard))
