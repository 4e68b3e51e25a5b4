"""Lives that end: what is past its life is removed from the store, for as long as a server runs.

Nobody is shown any of it from the moment its life is over; this only frees the place.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from timewire.clock import Clock
from timewire.errors import TimewireError
from timewire.inbox import Inbox
from timewire.log import MAX_SWEEP_MESSAGES, MessageLog

EXPIRY_PASSES: Final = 20
"""How often within an inbox's life the oldest entries are removed."""

MAX_EXPIRY_PAUSE_S: Final = 3600.0
SWEEP_PAUSE_S: Final = 1.0
"""Between two looks for messages whose life is over."""

logger = structlog.get_logger("timewire.lives")


async def expire(inbox: Inbox, life_ms: float, clock: Clock) -> None:
    """Remove inbox entries at the end of their life."""
    while True:
        await asyncio.sleep(min(MAX_EXPIRY_PAUSE_S, life_ms / 1000 / EXPIRY_PASSES))
        try:
            await inbox.expire(int(clock() - life_ms))
        except TimewireError as fault:
            logger.warning("expiry failed, and is tried again", code=fault.code)


async def sweep(log: MessageLog, clock: Clock) -> None:
    """Redact messages at the end of their life."""
    while True:
        await asyncio.sleep(SWEEP_PAUSE_S)
        try:
            more = True
            while more:
                more = await log.sweep(clock()) == MAX_SWEEP_MESSAGES
        except TimewireError as fault:
            logger.warning("a sweep failed, and is tried again", code=fault.code)
