"""What is new in read mode: for each conversation, how far its messages in that mode may reach.

Fan-out notes every message in read mode here before it publishes it; a sync asks which of a user's
conversations can hold anything past a cursor.  One without news costs a look into a dictionary.

Bounded, and lost at a restart: what is not in the dictionary has nothing past ``_before``, and is
learned from the message store when a sync first asks with an older cursor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from timewire.model import Seq
from timewire.timeline import TimelineStore

MAX_NEWS: Final = 200_000
"""Conversations that are remembered; of others a sync asks the message store."""


class News:
    """Upper bounds, never too low.  ``position``: what has been published before this process."""

    def __init__(self, messages: TimelineStore, position: Seq) -> None:
        self._messages = messages
        self._newest: dict[str, Seq] = {}
        """conversation -> SeqId, noted longest ago first"""
        self._before = position
        self._latest = position

    def note(self, conversation: str, seq: Seq) -> None:
        """A message in read mode is about to be published."""
        self._newest.pop(conversation, None)
        self._keep(conversation, seq)
        self._latest = seq

    def may_have(self, conversations: Iterable[str], after: Seq) -> list[str]:
        """Those that may have messages in read mode past a SeqId, without asking anyone."""
        if self._latest <= after:
            return []
        get, before = self._newest.get, self._before
        return [name for name in conversations if get(name, before) > after]

    async def has(self, conversation: str, after: Seq) -> bool:
        """Whether one of these has: the first time it is looked up."""
        newest = self._newest.get(conversation)
        if newest is None:
            entry = await self._messages.last(conversation)
            # Meanwhile something may have been noted.
            newest = max(entry.seq if entry else 0, self._newest.get(conversation, 0))
            self._keep(conversation, newest)
        return newest > after

    def _keep(self, conversation: str, seq: Seq) -> None:
        newest = self._newest
        newest[conversation] = seq
        if len(newest) > MAX_NEWS:
            oldest = next(iter(newest))
            self._before = max(self._before, newest.pop(oldest))
