"""Port: the sync store, one inbox timeline a user, with a limited life.

An inbox entry is a reference: the SeqId of a message and the conversation it is in.  All of a
user's devices read the same inbox, each with its own cursor; nothing is kept for a device.

What every backend promises:

- *One writer.*  Fan-out puts deliveries in log order and names the position it has reached.
  Entries and position become durable together, in order; a crash may lose the newest of both,
  which fan-out then makes again from the log.  Putting a delivery twice changes nothing.
- *Order.*  A scan gives references by growing SeqId, each once.
- *Modes.*  Only a delivery of mode ``write`` is put into inboxes.  Any other only counts for the
  life of its time bucket, so that the floor means the same for all messages.
- *Life.*  ``expire`` removes a prefix of every inbox: all references to messages of the oldest time
  buckets.  ``floor`` is exact: the lowest SeqId that inboxes still keep.  A reader that has
  everything up to ``floor - 1`` misses nothing; any other must start again from the message store.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Protocol

import msgspec

from timewire.epochs import ModeName
from timewire.model import (
    Ref,
    Seq,
    Stored,
)

MAX_PUT_REFS: Final = 2000
"""References in one ``put``: bounds how long one put can hold up everything else."""


class Delivery(msgspec.Struct, eq=False, gc=False):
    """A message, who gets it, and how: in mode ``write`` it goes into the users' inboxes.

    Users of another mode come as a set: they may be very many, of whom few are connected.
    """

    message: Stored
    users: Collection[str]
    mode: ModeName = "write"


class Traffic(msgspec.Struct, array_like=True):
    """Numbers of what was delivered and synced since the inboxes were made.

    By mode: messages, and their receivers (in mode ``write`` these are inbox references).
    ``pulls``: pages that devices asked for; ``pull_conversations``: the conversations of those who
    asked, added up; ``pull_scans``: conversations that were read for a page.
    """

    written: int = 0
    written_receivers: int = 0
    read: int = 0
    read_receivers: int = 0
    pushed: int = 0
    pushed_receivers: int = 0
    pulls: int = 0
    pull_conversations: int = 0
    pull_scans: int = 0


class Inbox(Protocol):
    """All inboxes.  See the module for what holds."""

    @property
    def position(self) -> Seq:
        """Every message up to this SeqId is in all inboxes it belongs to."""
        ...

    @property
    def floor(self) -> Seq:
        """The lowest SeqId that inboxes still keep; 1 when nothing has expired."""
        ...

    @property
    def traffic(self) -> Traffic:
        """For whoever delivers and syncs to count in.  Kept with the position, at the next ``put``.

        Numbers for people: a crash may lose the newest.
        """
        ...

    async def put(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        """Put references into inboxes and move the position (it never moves back).

        At most ``MAX_PUT_REFS`` references in all.  A message for more users is put in several
        calls that hold only this message, all but the last with the position before it.
        """
        ...

    async def scan(self, user: str, after: Seq, upto: Seq, limit: int) -> tuple[list[Ref], bool]:
        """References with ``after < seq <= upto``, oldest first, at most ``limit``.

        And whether there are more in the range.
        """
        ...

    async def expire(self, before: int) -> None:
        """Remove the time buckets whose messages all have ``time < before`` (ms)."""
        ...
