"""Running: from the start of something that listens until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import structlog

from timewire.config import Config

COLLECTOR_THRESHOLDS: Final = (50_000, 20, 50)
"""Of Python's garbage collector, by generation."""

logger = structlog.get_logger("timewire.server")


class Running(Protocol):
    """What listens at a URL."""

    @property
    def url(self) -> str: ...
    async def aclose(self) -> None:
        """Drain and end."""
        ...


R = TypeVar("R", bound=Running)


async def run_until_stopped(
    config: Config, start: Callable[[Config], Awaitable[R]], started: Callable[[R], None]
) -> None:
    """Start something, and drain it at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await start(config)
    _tame_collector()
    logger.info("listening", url=server.url, data=config.data)
    started(server)
    try:
        await stop.wait()
    finally:
        logger.info("draining")
        await server.aclose()


def _tame_collector() -> None:
    """Have the garbage collector look seldom: messages leave no cycles, and there are many.

    A tenth of the processor's time is saved by it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
