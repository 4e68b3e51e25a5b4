"""Port: the message log, the one queue that every accepted message goes through.

A message's position in the log is its SeqId, in its conversation's timeline and in every inbox.

What every backend promises:

- *One order.*  ``append`` gives SeqIds in the order of its calls and of the drafts in a call.  The
  message is in its conversation's timeline (the message store) under the same SeqId, in the same
  commit; so is what its change does to the directory, and its idempotency key.
- *Staged, then durable.*  ``append`` stages at once, without waiting: when it returns, the
  directory shows the changes (the next draft can be checked against them) and the order is fixed.
  The future it returns is done when all of it is on stable storage.  Until then no message of it
  can be read by anyone: ``head``, the message store and consumers stop at the last durable one.
- *Exactly once.*  A draft whose (sender, id) is known gets the receipt of the first one, marked
  ``repeated``, after that one is durable; when conversation or payload differ, its place in the
  result is ``Invalid`` (id_reused), and the drafts beside it are not touched.  Keys live for the
  configured time (30 days at least), over restarts.  A draft with an empty id has no key.  What has
  become of the message since makes no difference.
- *Changes of messages.*  A change may rewrite one earlier message of its conversation, and redact
  it with its edits (``changes.revisions``).  That happens in the commit which stores the change.
  Readers may see it from its staging on, and do from when it is durable; a tail may give a message
  as it was committed, but never what is redacted.  What was redacted stays so.  The earlier message
  was staged by an earlier call; where there is none, nothing happens.
- *Expiry.*  A message whose draft has ``expires`` can be redacted by ``sweep`` from then on.
- *Time.*  A message's time never is smaller than that of the message before.
- *Failure.*  When the store cannot write, the future raises ``Retryable`` (storage_unavailable):
  nothing of the call happened.  When it failed half-way it raises ``UnknownOutcome``
  (outcome_unknown): all of it or nothing of it is there, and a repeat finds out.  The log tries by
  itself to write again; meanwhile reads go on.
- *Damage.*  A message that fails its checksum is given like a redacted one, so that nobody is kept
  from what comes after it; it is reported, once.
- *Epoch.*  ``epoch`` names this log's life; a log that was rebuilt or restored has another one, so
  that positions of the old one are not mistaken for its own.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from timewire.errors import TimewireError
from timewire.model import Draft, Receipt, Ref, Seq, Stored

MAX_READ_MESSAGES: Final = 1000
MAX_SWEEP_MESSAGES: Final = 1000


class MessageLog(Protocol):
    """The queue of all messages.  See the module for what holds."""

    @property
    def epoch(self) -> str:
        """The name of this log's life: a short random text."""
        ...

    @property
    def head(self) -> Seq:
        """The SeqId of the newest durable message; 0 for an empty log."""
        ...

    @property
    def writable(self) -> bool:
        """Whether the store takes writes: False from a failure until it could write again."""
        ...

    def append(self, drafts: Sequence[Draft]) -> Future[list[Receipt | TimewireError]]:
        """Stage the drafts in order; done when durable, one result a draft.

        Only the last draft of a call may carry a change.  The caller has checked that it applies:
        ``created`` for a conversation that does not exist, all others for one that does.
        """
        ...

    async def peek(self, conversation: str, seq: Seq) -> Stored | None:
        """A message with all changes that are staged, be it durable or only staged itself.

        For checking the next draft against it, not for showing it to anyone.
        """
        ...

    async def sweep(self, now: int) -> int:
        """Redact, durably, durable messages that have expired by a time (ms); how many.

        At most ``MAX_SWEEP_MESSAGES`` at once: as many mean that there may be more.
        """
        ...

    async def find(self, draft: Draft) -> Receipt | TimewireError | None:
        """What ``append`` would say of a repeat, once that is durable; None if it is none."""
        ...

    async def fetch(self, refs: Sequence[Ref]) -> list[Stored]:
        """The durable messages at these places, in the order asked for.

        At most ``MAX_READ_MESSAGES`` places.  A redacted message has an
        empty payload.  A place without a message is left out.
        """
        ...

    async def read(self, after: Seq, limit: int = MAX_READ_MESSAGES) -> list[Stored]:
        """Durable messages with ``seq > after``, in order, at most ``limit``; none at the head."""
        ...

    def tail(self, after: Seq) -> AsyncIterator[Sequence[Stored]]:
        """Every durable message with ``seq > after``, in batches of at most ``MAX_READ_MESSAGES``.

        Goes on for ever: at the head it waits for more.  Ends when the log is closed.
        """
        ...

    async def aclose(self) -> None:
        """Finish what was begun and release everything.  Closing twice is closing once."""
        ...
