"""The connection to NATS: it comes back by itself, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from timewire.errors import error

CONNECT_TIMEOUT_S: Final = 5
RECONNECT_PAUSE_S: Final = 0.25
PING_INTERVAL_S: Final = 5
"""A server that does not answer two of them is given up for another."""

CANCEL_PAUSE_S: Final = 0.1
MAX_UNSENT_BYTES: Final = 32 * 1024 * 1024
"""Waiting for a connection; beyond it publishing fails."""

Take = Callable[[Msg], Awaitable[None]]

log = structlog.get_logger("timewire.nats")


async def connect(urls: str, name: str) -> Client:
    """Connect to one of the servers (separated by commas); ``name`` is shown to operators.

    Raises ``Unusable`` (nats_unreachable).
    """
    servers = [url.strip() for url in urls.split(",") if url.strip()]

    async def failed(fault: Exception) -> None:
        log.debug("nats", reason=str(fault) or type(fault).__name__)

    async def lost() -> None:
        if client.is_closed:
            return
        log.warning("the connection to NATS is lost")

    async def back() -> None:
        log.warning("the connection to NATS is back", url=_shown(client))

    client = Client()
    options: dict[str, Any] = {
        "name": name,
        "error_cb": failed,
        "disconnected_cb": lost,
        "reconnected_cb": back,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "reconnect_time_wait": RECONNECT_PAUSE_S,
        "ping_interval": PING_INTERVAL_S,
        "pending_size": MAX_UNSENT_BYTES,
    }
    try:
        # The first time it has to work soon, later it may take as long as it takes.
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await client.connect(servers, max_reconnect_attempts=-1, **options)
    except (OSError, ValueError, nats.errors.Error) as problem:
        await client.close()
        reason = str(problem) or type(problem).__name__
        raise error("nats_unreachable", reason=reason, url=_without_password(urls)) from None
    return client


async def subscribe(client: Client, subject: str, take: Take | None = None) -> Subscription:
    """Hear what is published: by calls of ``take``, one after the other, or by ``next_msg``."""
    return await client.subscribe(subject, cb=take)  # pyright: ignore[reportUnknownMemberType]


async def unsubscribe(subscription: Subscription) -> None:
    """Hear no more."""
    with suppress(nats.errors.Error):  # the connection is closed, and the subscription with it
        await subscription.unsubscribe()


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks that use a connection, and wait for them.

    Again and again, for a cancellation that comes while nats-py flushes is lost in it.
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=CANCEL_PAUSE_S)


def _shown(client: Client) -> str:
    url = client.connected_url
    return url.netloc.rpartition("@")[2] if url else ""


def _without_password(urls: str) -> str:
    return ",".join(url.rpartition("@")[2] for url in urls.split(","))
