"""Sync: from a cursor to the messages that a device has missed.

A cursor is a position in the user's inbox.  ``Sync`` reads references past it, up to a horizon that
fan-out has reached, and fetches the messages they name.  It keeps nothing for a device.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from timewire.changes import as_left, was_changed
from timewire.clock import Clock, wall_clock
from timewire.directory import Directory
from timewire.inbox import Inbox
from timewire.log import MessageLog
from timewire.model import MAX_SEQ, Seq, Stored, message_head, message_json
from timewire.protocol import Cursor, ResetReason

MAX_PULL_ENTRIES = 500
"""Messages in one page of a catch-up."""

MAX_PULL_BYTES = 256 * 1024
"""Bytes of messages in one page: it ends early, after at least one."""


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
    """Reads inboxes."""

    def __init__(
        self,
        log: MessageLog,
        inbox: Inbox,
        clock: Clock = wall_clock,
        *,
        directory: Directory,
    ) -> None:
        self._log = log
        self._inbox = inbox
        self._clock = clock
        self._directory = directory

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
        """One page of what the user's inbox holds after a position, up to the horizon ``upto``."""
        refs, more = await self._inbox.scan(user, after, upto, MAX_PULL_ENTRIES)
        stored = await self._log.fetch(refs)
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
        return Pulled(messages, refs[-1].seq if more else upto, more)


def _page(stored: list[Stored], now: int) -> tuple[list[bytes], Seq]:
    """The JSON of as many messages as a page may hold, and the SeqId of the last."""
    messages: list[bytes] = []
    size, position = 0, 0
    for message in stored:
        head = message_head(message.conversation)
        text = message_json(head, message.seq, message.time, message.payload, now)
        size += len(text)
        if messages and size > MAX_PULL_BYTES:
            break
        messages.append(text)
        position = message.seq
    return messages, position


def _is_seq(pos: str) -> bool:
    return pos.isascii() and pos.isdecimal() and len(pos) <= 19 and int(pos) <= MAX_SEQ
