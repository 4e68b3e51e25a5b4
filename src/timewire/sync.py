"""Sync: from a cursor to the messages that a device has missed.

A cursor is a position in the log.  ``Sync`` reads the references past it in the user's inbox, up to
a horizon that fan-out has reached, and fetches the messages they name.  Conversations in read mode
are in no inbox: their messages are read where they are, and both are merged by SeqId.  It keeps
nothing for a device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from timewire.changes import as_left, was_changed
from timewire.clock import Clock, wall_clock
from timewire.directory import Directory
from timewire.inbox import Inbox
from timewire.load import Loads
from timewire.log import MessageLog
from timewire.merge import Source, Span, merge, read_spans
from timewire.metrics import SYNC_MESSAGES, SYNC_READS
from timewire.model import MAX_SEQ, Entry, Ref, Seq, Stored, message_head, shown_json
from timewire.news import News
from timewire.protocol import Cursor, ResetReason
from timewire.timeline import TimelineStore

MAX_PULL_ENTRIES = 500
"""Messages in one page of a catch-up."""

MAX_PULL_BYTES = 256 * 1024
"""Bytes of messages in one page: it ends early, after at least one."""

SOURCES_A_TURN: Final = 50
"""Conversations that one page looks into before everything else gets its turn."""

_INBOXES_READ: Final = SYNC_READS.labels("write")
_CONVERSATIONS_READ: Final = SYNC_READS.labels("read")
_FROM_INBOXES: Final = SYNC_MESSAGES.labels("write")
_FROM_CONVERSATIONS: Final = SYNC_MESSAGES.labels("read")


class CursorLost(Exception):
    """A cursor that cannot be served: ``reason`` says why.  The device must start again."""

    def __init__(self, reason: ResetReason) -> None:
        super().__init__(reason)
        self.reason: ResetReason = reason


class Pulled(msgspec.Struct, frozen=True):
    """What a pull found: messages as JSON, the position they reach, whether there are more."""

    messages: list[bytes]
    position: Seq
    has_more: bool


class Sync:
    """Reads inboxes, and conversations in read mode."""

    def __init__(
        self,
        log: MessageLog,
        inbox: Inbox,
        clock: Clock = wall_clock,
        *,
        messages: TimelineStore,
        directory: Directory,
        news: News,
        loads: Loads,
    ) -> None:
        self._log = log
        self._inbox = inbox
        self._clock = clock
        self._messages = messages
        self._directory = directory
        self._news = news
        self._loads = loads

    def base(self, user: str) -> str:
        """The cursor base of a user: names the log's epoch and, without saying it, the user."""
        whose = blake2b(user.encode(), digest_size=8, key=self._log.epoch.encode()).hexdigest()
        return f"1.{self._log.epoch}.{whose}"

    def locate(self, user: str, cursor: Cursor, horizon: Seq) -> Seq:
        """The position a cursor names, when everything after it can still be given.

        Raises ``CursorLost`` for one that is garbage, of another user or log, from the future
        (past ``horizon``) or expired.
        """
        version, _, rest = cursor.base.partition(".")
        epoch, _, _ = rest.partition(".")
        if version != "1" or not epoch or not _is_seq(cursor.pos):
            raise CursorLost("garbage")
        if epoch != self._log.epoch:
            raise CursorLost("other_log")
        if cursor.base != self.base(user):
            raise CursorLost("other_user")
        position = int(cursor.pos)
        if position > horizon:
            raise CursorLost("future")
        self.check(position)
        return position

    def check(self, position: Seq) -> None:
        """Raise ``CursorLost`` when inboxes have forgotten something after this position."""
        if position + 1 < self._inbox.floor:
            raise CursorLost("expired")

    async def pull(self, user: str, after: Seq, upto: Seq) -> Pulled:
        """One page of what there is for a user past a position, up to the horizon ``upto``."""
        reading = await self._directory.reading(user)
        self._loads.pulled(user)
        traffic = self._inbox.traffic
        traffic.pulls += 1
        traffic.pull_conversations += reading.conversations
        _INBOXES_READ.inc()
        names = self._news.may_have(reading.names, after)
        sources = await self._sources(user, names, after, upto) if names else []
        refs, more = await self._inbox.scan(user, after, upto, MAX_PULL_ENTRIES)
        if sources:
            traffic.pull_scans += len(sources)
            _CONVERSATIONS_READ.inc(len(sources))
            found, left = await merge(refs, sources, MAX_PULL_ENTRIES)
            more = more or left
        else:
            found = refs
        stored = await self._fetch(found)
        for message in stored:
            if was_changed(message.payload):
                conversation = await self._directory.conversation(message.conversation)
                left = conversation.left(user) if conversation else 0
                message.payload = as_left(message.payload, left)
        # An expiry may have passed between the check and the scan: look again, having read.
        self.check(after)
        messages, position = _page(stored, self._clock())
        if len(messages) < len(stored):
            return Pulled(messages, position, has_more=True)
        return Pulled(messages, found[-1].seq if more else upto, more)

    async def _sources(self, user: str, names: list[str], after: Seq, upto: Seq) -> list[Source]:
        """The conversations that the user has to read for this page."""
        wanted: list[tuple[str, list[Span]]] = []
        for number, name in enumerate(names, 1):
            conversation = await self._directory.conversation(name)
            spans = read_spans(conversation, user, after, upto) if conversation else []
            if spans and await self._news.has(name, after):
                wanted.append((name, spans))
            if not number % SOURCES_A_TURN:
                await asyncio.sleep(0)
        first_entries = max(1, MAX_PULL_ENTRIES // max(1, len(wanted)))
        return [Source(self._messages, name, spans, first_entries) for name, spans in wanted]

    async def _fetch(self, found: Sequence[Ref | Entry]) -> list[Stored]:
        """The messages themselves, in order."""
        refs = [one for one in found if isinstance(one, Ref)]
        stored = await self._log.fetch(refs)
        read = [
            Stored(one.seq, one.time, one.timeline, one.payload, damaged=one.damaged)
            for one in found
            if isinstance(one, Entry)
        ]
        _FROM_INBOXES.inc(len(stored))
        _FROM_CONVERSATIONS.inc(len(read))
        return sorted(stored + read, key=_seq) if read else stored


def _seq(message: Stored) -> Seq:
    return message.seq


def _page(stored: list[Stored], now: int) -> tuple[list[bytes], Seq]:
    """The JSON of as many messages as a page may hold, and the SeqId of the last."""
    messages: list[bytes] = []
    size, position = 0, 0
    for message in stored:
        head = message_head(message.conversation)
        text = shown_json(head, message, now)
        size += len(text)
        if messages and size > MAX_PULL_BYTES:
            break
        messages.append(text)
        position = message.seq
    return messages, position


def seq_of(cursor: Cursor | None) -> Seq:
    """The position in a cursor; 0 where there is none."""
    return int(cursor.pos) if cursor is not None and _is_seq(cursor.pos) else 0


def _is_seq(pos: str) -> bool:
    return pos.isascii() and pos.isdecimal() and len(pos) <= 19 and int(pos) <= MAX_SEQ
