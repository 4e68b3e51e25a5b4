"""Webhooks of a cluster: the leader tells, and how far it came stands in the log.

So the next leader goes on from there.  What was told since is told twice, as after a crash.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from nats.aio.client import Client

from timewire.backends.jetstream import Names
from timewire.backends.jetstream.connection import end
from timewire.clock import Clock
from timewire.cluster.roll import Roll
from timewire.config import Config
from timewire.errors import TimewireError, error
from timewire.log import MessageLog
from timewire.model import INTERNAL, Draft, Seq, decode_stored, encode_stored
from timewire.parts import Store
from timewire.signing import Signer
from timewire.timeline import TimelineStore
from timewire.webhooks import Ledger, Progress, Webhooks

WEBHOOKS: Final = f"{INTERNAL}webhooks"
KIND: Final = "told"
SAVE_PAUSE_S: Final = 5.0


class LogLedger(Ledger):
    """A ledger in a log: its newest message in ``WEBHOOKS`` holds everything."""

    save_pause_s = SAVE_PAUSE_S

    def __init__(self, log: MessageLog, kept: dict[str, Progress]) -> None:
        super().__init__(kept)
        self._log = log
        self._active: list[Progress] = []
        self._own: Seq = 0
        self._parked = b""

    @classmethod
    async def load(cls, log: MessageLog, messages: TimelineStore) -> LogLedger:
        """What the last leader has kept."""
        newest = await messages.last(WEBHOOKS)
        body = decode_stored(newest.payload).body if newest and newest.payload else {}
        return cls(log, msgspec.convert(body, dict[str, Progress]))

    def progress(self, name: str, epoch: str, head: Seq) -> Progress:
        found = super().progress(name, epoch, head)
        self._active.append(found)
        return found

    async def keep(self, data: bytes) -> None:
        """Append it, unless nothing has happened but that it was appended before."""
        parked = msgspec.json.encode([one.parked for one in self._active])
        if parked == self._parked and all(one.position == self._own for one in self._active):
            return
        payload = encode_stored("", "", KIND, msgspec.json.decode(data))
        [kept] = await self._log.append([Draft(WEBHOOKS, "", "", payload)])
        if isinstance(kept, TimewireError):
            raise kept
        self._own, self._parked = kept.seq, parked


def check_webhooks(config: Config) -> None:
    """Raise when workers would not sign alike (bad_config)."""
    if config.webhooks and not config.webhook_secret:
        message = "workers of a cluster need a common `webhook_secret`"
        raise error("bad_config", message, key="webhook_secret")


async def tell(config: Config, store: Store, client: Client, names: Names, clock: Clock) -> None:
    """Tell every endpoint, if there is any, until cancelled.  ``store``: the lead's."""
    if not config.webhooks:
        return
    roll, log = Roll(client, names), store.log
    ledger = await LogLedger.load(log, store.messages)
    webhooks = Webhooks(
        config,
        log,
        store.directory,
        roll.is_online,
        clock,
        ledger=ledger,
        signer=Signer(config.webhook_secret),
    )
    await ledger.keep(ledger.encode())  # where a new endpoint begins
    calling = asyncio.create_task(roll.run())
    try:
        await roll.ready()
        await webhooks.run()
    finally:
        await end(calling)
