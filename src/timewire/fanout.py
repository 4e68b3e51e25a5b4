"""Fan-out: a consumer of the log that puts every message into the inboxes of its members.

Its effect is a function of the log: who gets a message is decided by the members' windows at its
SeqId, so doing it again after a crash puts the same.  Work is cut into pieces between which
everything else gets its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from timewire.bus import Bus
from timewire.directory import Directory
from timewire.errors import Retryable, UnknownOutcome
from timewire.inbox import MAX_PUT_REFS, Delivery, Inbox
from timewire.log import MessageLog
from timewire.metrics import FANOUT_MESSAGES, FANOUT_POSITION, FANOUT_REFS
from timewire.model import Stored

RETRY_PAUSE_S: Final = 0.5
"""Between attempts to write to inboxes that cannot be written."""

logger = structlog.get_logger("timewire.fanout")


class FanOut:
    """Delivers from where the inbox stands, for as long as ``run`` is running."""

    def __init__(self, log: MessageLog, directory: Directory, inbox: Inbox, bus: Bus) -> None:
        self._log = log
        self._directory = directory
        self._inbox = inbox
        self._bus = bus
        self._published = inbox.position

    async def run(self) -> None:
        """Follow the log until it is closed.  While the inboxes cannot be written, try again."""
        while True:
            try:
                # Not from the inbox's position: what was put there may not be published yet.
                async for batch in self._log.tail(self._published):
                    await self.deliver(batch)
                return
            except (Retryable, UnknownOutcome) as fault:
                logger.warning("fan-out waits", code=fault.code, position=self._published)
                await asyncio.sleep(RETRY_PAUSE_S)

    async def deliver(self, batch: Sequence[Stored]) -> None:
        """Put a batch of messages, in log order, into inboxes and onto the bus."""
        piece: list[Delivery] = []
        refs = 0
        for message in batch:
            conversation = self._directory.known(message.conversation)
            if conversation is None:
                conversation = await self._directory.conversation(message.conversation)
            users = conversation.members_at(message.seq) if conversation else ()
            if piece and refs + len(users) > MAX_PUT_REFS:
                await self._put(piece, refs)
                piece, refs = [], 0
            if len(users) > MAX_PUT_REFS:
                await self._put_large(message, users)
            else:
                piece.append(Delivery(message, users))
                refs += len(users)
        if piece:
            await self._put(piece, refs)

    async def _put(self, piece: list[Delivery], refs: int) -> None:
        await self._inbox.put(piece, piece[-1].message.seq)
        self._publish(piece, refs)
        await asyncio.sleep(0)

    async def _put_large(self, message: Stored, users: Sequence[str]) -> None:
        """A message for more inboxes than one put may hold.  It is published when it is in all."""
        starts = range(0, len(users), MAX_PUT_REFS)
        for start in starts:
            some = Delivery(message, users[start : start + MAX_PUT_REFS])
            await self._inbox.put([some], message.seq if start == starts[-1] else message.seq - 1)
            await asyncio.sleep(0)
        self._publish([Delivery(message, users)], len(users))

    def _publish(self, deliveries: list[Delivery], refs: int) -> None:
        position = deliveries[-1].message.seq
        FANOUT_MESSAGES.inc(len(deliveries))
        FANOUT_REFS.inc(refs)
        FANOUT_POSITION.set(position)
        self._bus.publish(deliveries, position)
        self._published = position
