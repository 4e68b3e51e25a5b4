"""Load as it is observed: messages of conversations and syncs of users, as moving averages.

Nothing here is exact or kept over a restart: it only helps a policy to choose.
"""

from __future__ import annotations

from collections import OrderedDict
from math import exp
from typing import Final, Protocol

from timewire.clock import Ticks
from timewire.conversation import Conversation

AVERAGE_S: Final = 60.0
"""After so long without events an average has fallen to a third (1/e)."""

MAX_WATCHED: Final = 10_000
"""Conversations whose messages are counted: those that had one last."""

MAX_SYNCING_USERS: Final = 100_000
"""Users whose syncs are counted: those that synced last."""

MAX_SAMPLED_MEMBERS: Final = 500
"""Members of a conversation whose syncs are added up; for more it is an estimate."""


class Average:
    """Events a second, of which older ones count less and less."""

    __slots__ = ("_at", "_rate", "since")

    def __init__(self, now: float) -> None:
        self.since = now
        self._at = now
        self._rate = 0.0

    def add(self, now: float, events: int = 1) -> None:
        """Events have happened at a time (in ticks)."""
        self._rate = self.read(now) + events / AVERAGE_S
        self._at = max(now, self._at)

    def read(self, now: float) -> float:
        """Events a second at a time (in ticks)."""
        return self._rate * exp(-max(0, now - self._at) / 1000 / AVERAGE_S)


class Observations(Protocol):
    """What is known of the load of conversations that are of interest."""

    def watched(self) -> list[str]:
        """The conversations that are counted."""
        ...

    def watched_s(self, conversation: str) -> float:
        """For how long it has been counted."""
        ...

    def messages_per_s(self, conversation: str) -> float:
        """Messages of a conversation."""
        ...

    def syncs_per_s(self, conversation: Conversation) -> float:
        """Syncs of its members, of all together."""
        ...

    def drop(self, conversation: str) -> None:
        """Count a conversation no longer, until its next message."""
        ...


class Loads:
    """The ``Observations`` of one process: counts messages and syncs.

    ``watch_members``: smaller conversations are of no interest.
    """

    def __init__(self, ticks: Ticks, watch_members: int) -> None:
        self.watch_members = watch_members
        self._ticks = ticks
        self._messages: OrderedDict[str, Average] = OrderedDict()
        self._syncs: OrderedDict[str, Average] = OrderedDict()

    def sent(self, conversation: str) -> None:
        """A message of a conversation that is of interest has been fanned out."""
        self._count(self._messages, conversation, MAX_WATCHED)

    def pulled(self, user: str) -> None:
        """A device of the user has asked for a page."""
        self._count(self._syncs, user, MAX_SYNCING_USERS)

    def watched(self) -> list[str]:
        """The conversations that are counted."""
        return list(self._messages)

    def watched_s(self, conversation: str) -> float:
        """For how long it has been counted."""
        found = self._messages.get(conversation)
        return max(0, self._ticks() - found.since) / 1000 if found else 0.0

    def messages_per_s(self, conversation: str) -> float:
        """Messages of a conversation."""
        return self._read(self._messages, conversation)

    def syncs_per_s(self, conversation: Conversation) -> float:
        """Syncs of its members, of all together."""
        members = conversation.present()
        step = -(-len(members) // MAX_SAMPLED_MEMBERS) or 1
        sampled = range(0, len(members), step)
        found = sum(self._read(self._syncs, members[place]) for place in sampled)
        return found * len(members) / len(sampled) if members else 0.0

    def drop(self, conversation: str) -> None:
        """Count a conversation no longer, until its next message."""
        self._messages.pop(conversation, None)

    def _count(self, averages: OrderedDict[str, Average], name: str, limit: int) -> None:
        now = self._ticks()
        found = averages.get(name)
        if found is None:
            found = averages[name] = Average(now)
            if len(averages) > limit:
                averages.popitem(last=False)
        else:
            averages.move_to_end(name)
        found.add(now)

    def _read(self, averages: OrderedDict[str, Average], name: str) -> float:
        found = averages.get(name)
        return found.read(self._ticks()) if found else 0.0
