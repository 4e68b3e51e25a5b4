"""Port: the sync store, one inbox timeline a user, with a limited life.

An inbox entry is a reference: the SeqId of a message and the conversation it is in.  All of a
user's devices read the same inbox, each with its own cursor; nothing is kept for a device.

What every backend promises:

- *One writer.*  Fan-out puts deliveries in log order and names the position it has reached.
  Entries and position become durable together, in order; a crash may lose the newest of both,
  which fan-out then makes again from the log.  Putting a delivery twice changes nothing.
- *Order.*  A scan gives references by growing SeqId, each once.
- *Life.*  ``expire`` removes a prefix of every inbox: all references to messages of the oldest time
  buckets.  ``floor`` is exact: the lowest SeqId that inboxes still keep.  A reader that has
  everything up to ``floor - 1`` misses nothing; any other must start again from the message store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from timewire.model import Ref, Seq, Stored

MAX_PUT_REFS: Final = 2000
"""References in one ``put``: bounds how long one put can hold up everything else."""


class Delivery(msgspec.Struct, eq=False, gc=False):
    """A message and the inboxes it goes to."""

    message: Stored
    users: Sequence[str]


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
