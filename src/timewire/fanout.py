"""Fan-out: a consumer of the log that brings every message to its members.

Its effect is a function of the log: who gets a message is decided by the members' windows at its
SeqId, and how by the mode of its conversation there; so doing it again after a crash does the same.
In mode ``write`` a message goes into the inbox of each member; in every mode it is pushed to those
who are connected.  Work is cut into pieces between which everything else gets its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from timewire.bus import Bus
from timewire.directory import Directory
from timewire.errors import Retryable, UnknownOutcome
from timewire.inbox import MAX_PUT_REFS, Delivery, Inbox, Traffic
from timewire.load import Loads
from timewire.log import MessageLog
from timewire.metrics import FANOUT_MESSAGES, FANOUT_POSITION, FANOUT_REFS
from timewire.model import Stored
from timewire.news import News
from timewire.plan import plan
from timewire.sampling import Sampler

RETRY_PAUSE_S: Final = 0.5
"""Between attempts to write to inboxes that cannot be written."""

REFS_A_READ_MESSAGE: Final = 200
"""How much of a piece a message takes that only is pushed: so much as so many references."""

_WRITTEN: Final = FANOUT_MESSAGES.labels("write")

logger = structlog.get_logger("timewire.fanout")


class FanOut:
    """Delivers from where the inbox stands, for as long as ``run`` is running.

    ``news`` is told of messages that are in no inbox, ``loads`` of those in larger conversations.
    ``sampler`` chooses which messages of a busy room are pushed.
    """

    def __init__(
        self,
        log: MessageLog,
        directory: Directory,
        inbox: Inbox,
        bus: Bus,
        *,
        news: News,
        loads: Loads,
        sampler: Sampler | None = None,
    ) -> None:
        self._log = log
        self._directory = directory
        self._inbox = inbox
        self._bus = bus
        self._news = news
        self._loads = loads
        self._sampler = sampler
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
        watch = self._loads.watch_members
        for message in batch:
            conversation = self._directory.known(message.conversation)
            if conversation is None:
                conversation = await self._directory.conversation(message.conversation)
            delivery = plan(conversation, message)
            size = len(delivery.users)
            if delivery.mode == "push" and self._sampler is not None:
                delivery = self._sampler.thin(delivery)
            if delivery.mode != "write":
                size = self._note(delivery)
            elif size >= watch:
                self._loads.sent(message.conversation)
            if piece and refs + size > MAX_PUT_REFS:
                await self._put(piece)
                piece, refs = [], 0
            if delivery.mode == "write" and size > MAX_PUT_REFS:
                await self._put_large(delivery)
            else:
                piece.append(delivery)
                refs += size
        if piece:
            await self._put(piece)

    def _note(self, delivery: Delivery) -> int:
        """A message that is put into no inbox; how much of a piece it takes."""
        name = delivery.message.conversation
        if delivery.mode == "read":
            self._news.note(name, delivery.message.seq)
            self._loads.sent(name)
        return min(len(delivery.users), REFS_A_READ_MESSAGE)

    async def _put(self, piece: list[Delivery]) -> None:
        self._count(piece)
        await self._inbox.put(piece, piece[-1].message.seq)
        self._publish(piece)
        await asyncio.sleep(0)

    async def _put_large(self, delivery: Delivery) -> None:
        """A message for more inboxes than one put may hold.  It is published when it is in all."""
        message, users = delivery.message, list(delivery.users)
        self._count([delivery])
        starts = range(0, len(users), MAX_PUT_REFS)
        for start in starts:
            some = Delivery(message, users[start : start + MAX_PUT_REFS])
            await self._inbox.put([some], message.seq if start == starts[-1] else message.seq - 1)
            await asyncio.sleep(0)
        self._publish([delivery])

    def _publish(self, deliveries: list[Delivery]) -> None:
        position = deliveries[-1].message.seq
        FANOUT_POSITION.set(position)
        self._bus.publish(deliveries, position)
        self._published = position

    def _count(self, deliveries: list[Delivery]) -> None:
        """Before they are put, so that the numbers are kept with them; a repeat counts again."""
        traffic = self._inbox.traffic
        written = refs = 0
        for delivery in deliveries:
            if delivery.mode == "write":
                written += 1
                refs += len(delivery.users)
            else:
                _count_other(traffic, delivery)
        traffic.written += written
        traffic.written_receivers += refs
        _WRITTEN.inc(written)
        FANOUT_REFS.inc(refs)


def _count_other(traffic: Traffic, delivery: Delivery) -> None:
    FANOUT_MESSAGES.labels(delivery.mode).inc()
    if delivery.mode == "read":
        traffic.read += 1
        traffic.read_receivers += len(delivery.users)
    else:
        traffic.pushed += 1
        traffic.pushed_receivers += len(delivery.users)
