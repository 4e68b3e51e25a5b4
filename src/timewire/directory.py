"""Port: who is there: users, their devices, conversations, members with windows, read marks.

The directory is a projection of the log: conversations, members, read marks and what users hide or
block change only by the changes that messages carry (``model.Change``, ``changes.apply``), in the
commit that stores the message.  So it can always be made again, and who gets what is decided by the
log alone.

What every backend promises:

- *As staged.*  It shows every change that the log has staged, durable or not.  Readers compare
  windows with SeqIds that are durable, so they never see too much.
- *Exact windows.*  A member who joins with message s has the window from s; for one who leaves with
  message s, s is the last.  Someone may have several windows.  Windows are never forgotten.
- *Marks.*  A read mark only grows.  What is hidden once stays hidden.
- *Bounded.*  What is cached has a limit; lists come in pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from timewire.conversation import Conversation
from timewire.model import Seq, Settings, Window


class Device(msgspec.Struct, frozen=True):
    """A device that has connected: its name and when it last was known to be there (ms)."""

    name: str
    seen: int


class Membership(msgspec.Struct, frozen=True):
    """One user's side of one conversation."""

    conversation: str
    windows: list[Window]
    read: Seq
    hidden: int = 0
    """How many of its messages the user has hidden."""


class Reading(msgspec.Struct, frozen=True):
    """What a user's sync has to look at besides the inbox.

    ``names``: conversations that the user is or was in and that are or were in mode ``read``, as
    far back as any device can sync.  ``conversations``: how many the user is or was in at all.
    """

    names: Sequence[str]
    conversations: int


class Directory(Protocol):
    """Who is there.  See the module for what holds."""

    def known(self, name: str) -> Conversation | None:
        """The conversation of this name when it is at hand without waiting, as ``conversation``.

        None says nothing: ask ``conversation``.
        """
        ...

    async def conversation(self, name: str) -> Conversation | None:
        """The conversation of this name, or None.

        The object is the directory's own: do not change it.
        """
        ...

    async def members(self, name: str, *, after: str = "", limit: int = 100) -> list[str]:
        """Names of present members past ``after``, in byte order.

        Empty for an unknown conversation.
        """
        ...

    async def memberships(
        self, user: str, *, after: str = "", limit: int = 100
    ) -> list[Membership]:
        """The conversations a user is or was in, past ``after``, in byte order of their names."""
        ...

    async def reading(self, user: str) -> Reading:
        """Where a user's messages may be that are in no inbox.  Asked at every sync: kept ready."""
        ...

    async def read_mark(self, user: str, conversation: str) -> Seq:
        """How far the user has read the conversation; 0 at first."""
        ...

    async def hidden(self, user: str, conversation: str, seqs: Sequence[Seq]) -> set[Seq]:
        """Those of these messages that the user has hidden; at most ``MAX_PAGE_ENTRIES``."""
        ...

    async def blocks(self, user: str, other: str) -> bool:
        """Whether the user takes no messages from the other one."""
        ...

    async def blocked(self, user: str, *, after: str = "", limit: int = 100) -> list[str]:
        """From whom the user takes no messages, past ``after``, in byte order."""
        ...

    async def settings(self, user: str) -> Settings:
        """What the user has set."""
        ...

    async def seen(self, user: str, device: str, time: int) -> None:
        """Note that a device is connected, or was until now.

        Not durable at once: a crash may forget the newest.
        """
        ...

    async def devices(self, user: str, limit: int = 100) -> Sequence[Device]:
        """The devices of a user, by name."""
        ...
