"""What a device keeps: messages, its cursor, its outbox, and which events the app has yet to see.

The one rule: messages and the cursor that moves over them are saved together or not at all
(``Store.apply``).  Then a crash at any moment costs nothing: what was not saved comes again.

Stores are called from the event loop and return at once.  A transaction of a frame or a page takes
tens of microseconds to a few milliseconds, less than handing it to a thread and back would add to
every message.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from typing import Final, Protocol

import msgspec

from timewire.client.events import Arrival
from timewire.client.revisions import FINAL, Row, add, bare
from timewire.commands import Command, Id
from timewire.model import READ, SELF, Message, Seq
from timewire.protocol import Cursor, ResetReason

MAX_MEMORY_MESSAGES: Final = 100_000

Place = tuple[str, Seq]
"""Where a message is: its conversation and its SeqId."""


class Owner(msgspec.Struct, frozen=True):
    """Whose store this is: it serves one device of one user."""

    user: str
    device: str


class Saved(msgspec.Struct, frozen=True):
    """Where a device stopped: all that it needs to go on, beside the messages.

    ``unread``: messages that the app has not dealt with, with their numbers, oldest first.
    ``reset``: why the device has to be rebuilt, when it was in the middle of that.
    """

    owner: Owner | None = None
    cursor: Cursor | None = None
    reset: ResetReason | None = None
    outbox: list[Command] = []
    unread: list[tuple[int, Arrival]] = []


class Change(msgspec.Struct):
    """What to save in one transaction.  Fields that are empty or None change nothing.

    ``settled``: ids of commands that leave the outbox.  ``marks`` merge by maximum.  ``taken``: the
    app has dealt with all unread messages up to this number.  ``begins``: what is kept of a
    conversation before this SeqId may be out of date, and is not shown any more.

    ``reset``: a rebuild is due, until ``rebuilt``.  A cursor that is only too old (expired) leaves
    the messages as they are.  Any other reason means that the SeqIds of this store may name other
    messages now, so it forgets its messages and marks, before anything else of the change.
    """

    owner: Owner | None = None
    arrivals: list[Arrival] = []
    cursor: Cursor | None = None
    queued: list[Command] = []
    settled: list[Id] = []
    marks: dict[str, Seq] = {}
    begins: dict[str, Seq] = {}
    reset: ResetReason | None = None
    rebuilt: bool = False
    taken: int = 0

    def __bool__(self) -> bool:
        return self != _NOTHING

    @property
    def forgets(self) -> bool:
        """Whether the store forgets its messages and marks."""
        return self.reset is not None and self.reset != "expired"


_NOTHING: Final = Change()


class Store(Protocol):
    """What a device keeps.  Every store passes the same contract test.

    Methods raise ``Retryable`` (storage_unavailable) when the store cannot write or read.
    """

    def load(self) -> Saved:
        """Where the device stopped; ``Saved()`` for a new store."""
        ...

    def apply(self, change: Change) -> list[int | None]:
        """Save all of a change, or nothing.  One result an arrival, in order.

        The result is the number under which the arrival is unread, growing; None when the message
        (conversation and SeqId) was there already.  Messages of kind ``read`` move the marks too;
        those that change earlier ones change them here (``revisions``).
        """
        ...

    def messages(
        self, conversation: str, *, before: Seq | None = None, limit: int = 100
    ) -> list[Message]:
        """Messages below ``before`` (None: from the newest), newest first, as they are now.

        Without those that the user has hidden, and those that may be out of date.
        """
        ...

    def sweep(self, now: int) -> None:
        """Forget what messages said whose life is over by a time (ms)."""
        ...

    def last(self, conversation: str) -> Seq:
        """The SeqId of the newest message of a conversation; 0 when there is none."""
        ...

    def mark(self, conversation: str) -> Seq:
        """How far the user has read the conversation, as far as this device knows."""
        ...

    def close(self) -> None:
        """Release everything.  Closing twice is closing once."""
        ...


def read_mark(message: Message) -> tuple[str, Seq] | None:
    """The read mark that a message carries: its conversation and SeqId."""
    if message.kind != READ or not message.conversation.startswith(SELF):
        return None
    conversation, seq = message.body.get("conversation"), message.body.get("seq")
    if isinstance(conversation, str) and isinstance(seq, int):
        return conversation, seq
    return None


# In memory -------------------------------------------------------------------------------------


class MemoryStore:
    """Keeps everything in memory, of messages the newest ``MAX_MEMORY_MESSAGES``."""

    def __init__(self) -> None:
        self._owner: Owner | None = None
        self._cursor: Cursor | None = None
        self._reset: ResetReason | None = None
        self._outbox: dict[Id, Command] = {}
        self._unread: OrderedDict[int, Arrival] = OrderedDict()
        self._number = 0
        self._rows = _MemoryRows()
        self._last: dict[str, Seq] = {}
        self._marks: dict[str, Seq] = {}

    def load(self) -> Saved:
        """Where the device stopped; ``Saved()`` for a new store."""
        outbox = list(self._outbox.values())
        unread = [(number, self._as_now(arrival)) for number, arrival in self._unread.items()]
        return Saved(self._owner, self._cursor, self._reset, outbox, unread)

    def apply(self, change: Change) -> list[int | None]:
        """Save a change; see ``Store``."""
        if change.forgets:
            self._rows = _MemoryRows()
            self._unread.clear()
            self._last.clear()
            self._marks.clear()
        self._owner = change.owner or self._owner
        self._cursor = change.cursor or self._cursor
        self._reset = None if change.rebuilt else change.reset or self._reset
        self._outbox.update((command.id, command) for command in change.queued)
        for id in change.settled:
            self._outbox.pop(id, None)
        for conversation, seq in change.marks.items():
            self._mark(conversation, seq)
        for conversation, seq in change.begins.items():
            self._rows.begin(conversation, seq)
        while self._unread and next(iter(self._unread)) <= change.taken:
            self._unread.popitem(last=False)
        return [self._add(arrival) for arrival in change.arrivals]

    def messages(
        self, conversation: str, *, before: Seq | None = None, limit: int = 100
    ) -> list[Message]:
        """Messages below ``before``, newest first."""
        found = [
            row.message
            for (name, seq), row in self._rows.rows.items()
            if name == conversation
            and (before is None or seq < before)
            and seq >= self._rows.begins.get(conversation, 0)
            and not self._rows.is_hidden(name, seq)
        ]
        return sorted(found, key=lambda message: message.seq, reverse=True)[:limit]

    def sweep(self, now: int) -> None:
        """Forget what messages said whose life is over."""
        for row in list(self._rows.rows.values()):
            if 0 < row.message.expires <= now:
                self._rows.put(Row(bare(row.message), FINAL))

    def last(self, conversation: str) -> Seq:
        """The SeqId of the newest message of a conversation; 0 when there is none."""
        return self._last.get(conversation, 0)

    def mark(self, conversation: str) -> Seq:
        """How far the user has read the conversation."""
        return self._marks.get(conversation, 0)

    def close(self) -> None:
        """Nothing to release: the store can be opened again."""

    def _add(self, arrival: Arrival) -> int | None:
        message = arrival.message
        if not add(self._rows, self._owner.user if self._owner else "", message):
            return None
        self._last[message.conversation] = max(message.seq, self.last(message.conversation))
        if mark := read_mark(message):
            self._mark(*mark)
        self._number += 1
        self._unread[self._number] = arrival
        return self._number

    def _as_now(self, arrival: Arrival) -> Arrival:
        """An event with its message as later ones have left it."""
        row = self._rows.get(arrival.message.conversation, arrival.message.seq)
        return type(arrival)(row.message) if row is not None else arrival

    def _mark(self, conversation: str, seq: Seq) -> None:
        self._marks[conversation] = max(seq, self.mark(conversation))


class _MemoryRows:
    """The ``Rows`` of a store in memory."""

    def __init__(self) -> None:
        self.rows: OrderedDict[Place, Row] = OrderedDict()
        self._notes: dict[Place, list[Seq]] = {}
        self._hidden: set[Place] = set()
        self._left: dict[str, Seq] = {}
        self.begins: dict[str, Seq] = {}

    def get(self, conversation: str, seq: Seq) -> Row | None:
        return self.rows.get((conversation, seq))

    def put(self, row: Row) -> None:
        self.rows[row.message.conversation, row.message.seq] = row
        if len(self.rows) > MAX_MEMORY_MESSAGES:
            gone, _ = self.rows.popitem(last=False)
            self._notes.pop(gone, None)
            self._hidden.discard(gone)

    def note(self, conversation: str, seq: Seq, change: Seq) -> None:
        insort(self._notes.setdefault((conversation, seq), []), change)

    def noted(self, conversation: str, seq: Seq) -> list[Message]:
        found = [self.get(conversation, note) for note in self._notes.get((conversation, seq), ())]
        return [row.message for row in found if row is not None]

    def hide(self, conversation: str, seq: Seq) -> None:
        self._hidden.add((conversation, seq))

    def begin(self, conversation: str, seq: Seq) -> None:
        self.begins[conversation] = max(seq, self.begins.get(conversation, 0))

    def leave(self, conversation: str, seq: Seq) -> None:
        self._left[conversation] = max(seq, self._left.get(conversation, 0))

    def come_back(self, conversation: str, seq: Seq) -> None:
        if 0 < self._left.get(conversation, 0) < seq:
            self.begin(conversation, seq)
            del self._left[conversation]

    def is_hidden(self, conversation: str, seq: Seq) -> bool:
        return (conversation, seq) in self._hidden
