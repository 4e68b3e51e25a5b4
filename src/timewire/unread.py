"""Counting what a user has not read: messages, and among them those that mention the user.

Counts are exact, however many messages there are.  They are remembered, so that the next one only
reads what is new.  What has been counted can be taken back later: a recall or the end of its life
has the count made anew.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import msgspec

from timewire.clock import Clock
from timewire.directory import Directory, Membership
from timewire.model import (
    CONTROL_KINDS,
    EVERYBODY,
    MAX_PAGE_ENTRIES,
    RECALLED,
    Entry,
    Seq,
    has_expired,
)
from timewire.timeline import TimelineStore

MAX_COUNTS_KEPT: Final = 100_000
"""Counts that are remembered."""

_NEVER: Final = 2**63


class Count(NamedTuple):
    """How many messages are unread, and how many of them mention the user."""

    unread: int
    mentioned: int


class _Counted(msgspec.Struct):
    """What was counted past ``mark``, up to ``upto``.  It holds until ``until`` (ms)."""

    mark: Seq
    hidden: int
    upto: Seq
    unread: int = 0
    mentioned: int = 0
    until: int = _NEVER


class _Target(msgspec.Struct):
    seq: Seq


class _Content(msgspec.Struct, rename={"sender": "from"}):
    sender: str
    kind: str
    body: msgspec.Raw
    mentions: list[str] = []
    expires: int = 0


_decode = msgspec.json.Decoder(_Content).decode
_decode_target = msgspec.json.Decoder(_Target).decode


class Unread:
    """Counts messages past a read mark, but not one's own and not the server's."""

    def __init__(self, messages: TimelineStore, directory: Directory, clock: Clock) -> None:
        self._messages = messages
        self._directory = directory
        self._clock = clock
        self._counts: OrderedDict[tuple[str, str], _Counted] = OrderedDict()

    async def count(self, user: str, mine: Membership) -> Count:
        """What the user has not read in one conversation."""
        key, now = (user, mine.conversation), self._clock()
        known = self._counts.pop(key, None)
        if known is None or not _holds(known, mine, now):
            known = _blank(mine)
        if not await self._go_on(user, mine, known, now):
            known = _blank(mine)
            await self._go_on(user, mine, known, now)
        self._counts[key] = known
        if len(self._counts) > MAX_COUNTS_KEPT:
            self._counts.popitem(last=False)
        return Count(known.unread, known.mentioned)

    async def _go_on(self, user: str, mine: Membership, known: _Counted, now: int) -> bool:
        """Count what is new; False when something has gone of what was counted before.

        Recalls count wherever they stand, also when the user was no member.
        """
        before = known.upto
        async for entry in self._news(mine.conversation, known.upto):
            known.upto = entry.seq
            if entry.payload and not has_expired(entry.payload, now):
                content = _decode(entry.payload)
                if content.kind == RECALLED:
                    if known.mark < _decode_target(content.body).seq <= before:
                        return False
                elif _counts_for(user, content) and await self._sees(user, mine, entry.seq):
                    _add(known, user, content)
        return True

    async def _news(self, name: str, after: Seq) -> AsyncIterator[Entry]:
        more = True
        while more:
            page = await self._messages.scan(name, after=after, limit=MAX_PAGE_ENTRIES)
            for entry in page.entries:
                yield entry
                after = entry.seq
            more = page.has_more
            if more:
                await asyncio.sleep(0)

    async def _sees(self, user: str, mine: Membership, seq: Seq) -> bool:
        if not any(window.holds(seq) for window in mine.windows):
            return False
        if not mine.hidden:
            return True
        return not await self._directory.hidden(user, mine.conversation, [seq])


def _blank(mine: Membership) -> _Counted:
    start = max(mine.read, mine.windows[0].joined - 1)
    return _Counted(mine.read, mine.hidden, start)


def _holds(known: _Counted, mine: Membership, now: int) -> bool:
    return (known.mark, known.hidden) == (mine.read, mine.hidden) and now < known.until


def _counts_for(user: str, content: _Content) -> bool:
    return content.sender != user and content.kind not in CONTROL_KINDS


def _add(known: _Counted, user: str, content: _Content) -> None:
    known.unread += 1
    known.mentioned += user in content.mentions or EVERYBODY in content.mentions
    if content.expires:
        known.until = min(known.until, content.expires)
