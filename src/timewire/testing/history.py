"""What happened, as the devices of a run saw it: the input of the checker.

A run records every attempt to send, every frame that moved a device on, every page of history that
was read, every connection's beginning, and at its end, when all is quiet: what each device holds,
and each conversation read in full by everyone who was ever in it.  The messages that were read
from history are the truth that all else is compared with.

Times are whole numbers of one clock of the run: only their order counts.  Positions are SeqIds: a
recorder reads them from the cursors of a one-log server, whose text they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from timewire.epochs import SYSTEM_MODES, ModeName
from timewire.model import (
    Message,
    Ref,
    Seq,
    Stored,
    decode_stored,
)

Place = tuple[str, Seq]
"""Where a message is: its conversation and its SeqId."""

Outcome = Literal["acked", "refused", "unknown"]
Way = Literal["page", "push", "ack", "history"]


class Who(msgspec.Struct, frozen=True, order=True):
    """A device of a user."""

    user: str
    device: str

    def __str__(self) -> str:
        return f"{self.user}/{self.device}"


class Attempt(msgspec.Struct, frozen=True):
    """One try of one command, and what the message is to be; a retry is another attempt.

    ``ended`` is the time of the answer; an attempt whose answer never came is ``unknown``.
    """

    who: Who
    id: str
    conversation: str
    kind: str
    body: dict[str, Any]
    began: int
    ended: int
    outcome: Outcome
    seq: Seq = 0
    time: int = 0
    code: str = ""


class Start(msgspec.Struct, frozen=True):
    """A connection's beginning: the cursor given (None: a new device) and the position told.

    ``cursor_is`` says what the run knows of the cursor; ``reset`` what the server said of it.
    ``base`` names the user's inbox of this log.
    """

    who: Who
    connection: int
    at: int
    position: Seq
    cursor: Seq | None = None
    cursor_is: Literal["good", "garbage", "other_user", "other_log", "future", "expired"] = "good"
    reset: str | None = None
    base: str = ""


class Step(msgspec.Struct, frozen=True):
    """A frame that moved a device from one position to another: page, push, live or at."""

    who: Who
    connection: int
    at: int
    way: Literal["page", "push", "live", "at"]
    after: Seq
    upto: Seq
    messages: tuple[Message, ...] = ()


class HistoryRead(msgspec.Struct, frozen=True):
    """A page of history: forward past ``after``, or backward below ``before`` (None: newest)."""

    user: str
    conversation: str
    began: int
    ended: int
    limit: int
    messages: tuple[Message, ...]
    has_more: bool
    after: Seq | None = None
    before: Seq | None = None


class Shown(msgspec.Struct, frozen=True):
    """A message that a device has shown to its app, and how it got there."""

    message: Message
    way: Way


class Holding(msgspec.Struct, frozen=True):
    """What a device has at the end: everything with ``after < seq <= upto``, as it was shown.

    Own messages past ``upto`` may be there as well: an ack does not move the cursor.
    ``marks``: how far each conversation is read, as far as the device knows.  ``kept``: its
    messages as they are now in its store, where it has one.
    """

    who: Who
    after: Seq
    upto: Seq
    shown: tuple[Shown, ...]
    marks: dict[str, Seq] = {}
    kept: tuple[Message, ...] | None = None


class InboxDump(msgspec.Struct, frozen=True):
    """A user's inbox as it is stored.  ``position``: fan-out has reached it.

    ``read``: what is not in the inbox, but read in its conversation instead.
    """

    user: str
    floor: Seq
    position: Seq
    refs: tuple[Ref, ...]
    read: tuple[Ref, ...] = ()

    @property
    def kept(self) -> set[Place]:
        """Where all messages are that can be synced."""
        return {(ref.conversation, ref.seq) for ref in (*self.refs, *self.read)}


class Restore(msgspec.Struct, frozen=True):
    """The log was set back at a time, to what it held up to a SeqId; all after it never was."""

    at: int
    upto: Seq


class ModeChange(msgspec.Struct, frozen=True):
    """From the message after a SeqId on, a conversation has another mode of fan-out."""

    conversation: str
    seq: Seq
    mode: ModeName


class Restart(msgspec.Struct, frozen=True):
    """The server was hurt, without warning, and was whole again at this time."""

    at: int
    how: str = "killed"


class History(msgspec.Struct):
    """All that happened in a run.

    ``log``: all messages as they are stored in the end, where a run can look; else what was read
    from history is all that there is.  ``modes``: the changes of fan-out in it.  ``damaged``: what
    was made to fail its checksum; ``parked``: what the server reported as such.  ``troubles``: what
    else should not have been, in words.
    """

    attempts: list[Attempt] = []
    starts: list[Start] = []
    steps: list[Step] = []
    reads: list[HistoryRead] = []
    holdings: list[Holding] = []
    inboxes: list[InboxDump] = []
    restarts: list[Restart] = []
    log: list[Message] = []
    modes: list[ModeChange] = []
    restores: list[Restore] = []
    damaged: list[Place] = []
    parked: list[Place] = []
    troubles: list[str] = []


def modes_in(log: Iterable[Stored]) -> list[ModeChange]:
    """The changes of mode in a log."""
    found: list[ModeChange] = []
    for stored in log:
        if stored.conversation == SYSTEM_MODES:
            body: dict[str, Any] = decode_stored(stored.payload).body
            found.append(ModeChange(body["conversation"], stored.seq, body["mode"]))
    return found


def place(message: Message) -> Place:
    """Where a message is."""
    return message.conversation, message.seq


def named(message: Message) -> str:
    """A message, for people: where it is, who sent it and what it is."""
    return f"{message.conversation} {message.seq} ({message.sender}'s {message.id or message.kind})"


def acked_seq(attempts: Iterable[Attempt]) -> Seq:
    """The SeqId that was told of a send that was acked."""
    return next(attempt.seq for attempt in attempts if attempt.outcome == "acked")
