"""What a chat client knows: its conversations, their newest messages, what is unread or on its way.

State only: it is told what has happened and never asks for anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from timewire import showing
from timewire.changes import Made, change_in, revise
from timewire.client import Conversation
from timewire.model import (
    CONTROL_KINDS,
    MEMBERS,
    READ,
    SELF,
    Hidden,
    Message,
    MessageChange,
    Seq,
)

MAX_LINES: Final = 2000
"""Lines that a room keeps; older ones can be asked for again."""

LineState = Literal["sending", "stored", "event", "refused", "note"]
"""``event``: stored too, but said by nobody; ``note``: shown here only."""

_STORED: Final = ("stored", "event")


class Line(msgspec.Struct, eq=False):
    """One line of a room.  ``seq``: of the message, or of the one that another line follows.

    ``counted``: unread until one's mark reaches it.  ``message``: as later ones have left it.
    """

    who: str
    text: str
    time: int
    state: LineState = "stored"
    seq: Seq = 0
    id: str = ""
    counted: bool = False
    message: Message | None = None


class Room(msgspec.Struct, eq=False):
    """A conversation: stored lines by SeqId, and after them those that have none yet."""

    name: str
    label: str
    title: str = ""
    member: bool = True
    read: Seq = 0
    unread: int = 0
    last: Seq = 0
    stored: list[Line] = []
    pending: list[Line] = []
    older: bool = True
    """Whether there may be messages before the oldest line."""

    begins: Seq | None = None
    """The SeqId up to which history was loaded, lines or not; None: none was."""

    @property
    def first(self) -> Seq | None:
        """The SeqId of the oldest message known here; None without messages."""
        first = next((line.seq for line in self.stored if line.state in _STORED), None)
        known = [seq for seq in (first, self.begins) if seq is not None]
        return min(known, default=None)

    def newest(self, sender: str | None = None) -> Message | None:
        """The newest message that somebody, or this user, has said and that can be changed."""
        for line in reversed(self.stored):
            message = line.message if line.state == "stored" else None
            if message and message.kind and sender in (None, message.sender):
                return message
        return None

    @property
    def lines(self) -> list[Line]:
        """All lines, in the order in which they are shown."""
        return self.stored + self.pending


class Rooms:
    """All conversations of one user, and which one is open."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.open: Room | None = None
        self._rooms: dict[str, Room] = {}

    def listed(self) -> list[Room]:
        """The rooms to choose from: the newest message first."""
        return sorted(self._rooms.values(), key=lambda room: (-room.last, room.label))

    def room(self, name: str) -> Room:
        """The room of a conversation, made when it is not known yet."""
        if name not in self._rooms:
            self._rooms[name] = Room(name, showing.printable(showing.label(name, self.user)))
        return self._rooms[name]

    # -- what the server tells ------------------------------------------------------------------

    def state(self, state: Conversation) -> None:
        """A conversation from the list."""
        room = self.room(state.name)
        room.title, room.member = showing.printable(state.title), state.member
        room.read, room.unread = max(room.read, state.read), state.unread
        if state.last is not None:
            self._place(room, state.last)
            room.last = max(room.last, state.last.seq)

    def history(self, name: str, messages: Iterable[Message], has_more: bool) -> None:
        """A page of messages from before the oldest line."""
        room = self.room(name)
        room.older = has_more
        for message in messages:
            self._place(room, message)
            room.begins = min(message.seq, room.begins or message.seq)

    def receive(self, message: Message) -> Room:
        """A message that was synced or pushed; one that is known changes nothing."""
        room = self.room(message.conversation)
        change = change_in(message)
        if message.kind == READ and message.conversation == SELF + self.user:
            self._mark(message)
        elif isinstance(change, MessageChange):
            room.last = max(room.last, message.seq)
            self._revise(room, message, change)
        elif isinstance(change, Hidden):
            self._hide(self.room(change.conversation), change.seq)
        elif self._place(room, message):
            room.unread += self._counts(message) and message.seq > room.read
            self._follow_membership(room, message)
        return room

    # -- what the user does ---------------------------------------------------------------------

    def sending(self, name: str, id: str, text: str, time: int) -> Line:
        """A message of one's own is on its way."""
        line = Line(self.user, showing.printable(text), time, "sending", 0, id)
        self.room(name).pending.append(line)
        return line

    def acked(self, name: str, id: str, seq: Seq, time: int) -> None:
        """It is stored, and takes its place among the others."""
        room = self.room(name)
        line = next((line for line in room.pending if line.id == id), None)
        if line is not None:
            room.pending.remove(line)
            line.state, line.seq, line.time = "stored", seq, time
            self._insert(room, line)

    def refused(self, name: str, id: str, why: str) -> None:
        """It was refused, and stays where it was written, with the reason."""
        room = self.room(name)
        line = next((line for line in room.pending if line.id == id), None)
        if line is not None:
            room.pending.remove(line)
            line.state, line.seq = "refused", room.last
            line.text = f"{line.text}  ({showing.printable(why)})"
            self._insert(room, line)

    def note(self, text: str, time: int) -> None:
        """Something to be read once, in the open room."""
        if self.open is not None:
            line = Line("", showing.printable(text), time, "note", self.open.last)
            self._insert(self.open, line)

    def read(self, name: str) -> Seq:
        """The user has seen everything; how far that is, or 0 when nothing was unread."""
        room = self.room(name)
        if room.last <= room.read or not room.unread:
            return 0
        room.read, room.unread = room.last, 0
        return room.last

    # -- inside ---------------------------------------------------------------------------------

    def _place(self, room: Room, message: Message) -> bool:
        """Put a message in its place; whether it was new.

        Changes of earlier messages have none: in history these are as they are now.
        """
        if isinstance(change_in(message), MessageChange | Hidden):
            return False
        for line in room.pending:
            if line.id and line.id == message.id and message.sender == self.user:
                self.acked(room.name, line.id, message.seq, message.time)
                line.message = message
                return True
        line = Line(
            showing.printable(message.sender),
            showing.content(message),
            message.time,
            "event" if message.kind in CONTROL_KINDS else "stored",
            message.seq,
            message.id,
            self._counts(message),
            message,
        )
        return self._insert(room, line)

    def _insert(self, room: Room, line: Line) -> bool:
        """Put a line behind those with its SeqId or a lower one; a message only once."""
        lines, place = room.stored, len(room.stored)
        while place and lines[place - 1].seq > line.seq:
            place -= 1
        if line.state in _STORED:
            same = place
            while same and lines[same - 1].seq == line.seq:
                same -= 1
                if lines[same].state in _STORED:
                    return False
            room.last = max(room.last, line.seq)
        lines.insert(place, line)
        if len(lines) > MAX_LINES:
            del lines[0]
            room.older = True
        return True

    def _counts(self, message: Message) -> bool:
        return message.sender != self.user and message.kind not in CONTROL_KINDS

    def _revise(self, room: Room, message: Message, change: MessageChange) -> None:
        """A message changes an earlier one, if that is here."""
        for line in room.stored:
            was = line.message if line.seq == change.seq else None
            if was is not None and was.kind and message.seq > was.version:
                now = revise(was, change, Made(message.sender, message.seq, message.time))
                line.message = now or Message(was.conversation, was.seq, was.time)
                line.text = showing.content(line.message)
                if now is None:
                    self._uncount(room, line)

    def _hide(self, room: Room, seq: Seq) -> None:
        """The user does not want to see a message any more."""
        for line in [one for one in room.stored if one.seq == seq and one.state == "stored"]:
            self._uncount(room, line)
            room.stored.remove(line)

    def _uncount(self, room: Room, line: Line) -> None:
        if line.counted and line.seq > room.read:
            room.unread = max(0, room.unread - 1)
        line.counted = False

    def _mark(self, message: Message) -> None:
        """Another device has read: marks only grow."""
        name, seq = message.body.get("conversation"), message.body.get("seq")
        if isinstance(name, str) and isinstance(seq, int):
            room = self.room(name)
            room.read = max(room.read, seq)
            newer = sum(line.counted and line.seq > room.read for line in room.stored)
            room.unread = min(room.unread, newer)

    def _follow_membership(self, room: Room, message: Message) -> None:
        if message.kind == MEMBERS:
            if self.user in message.body.get("left", ()):
                room.member = False
            elif self.user in message.body.get("joined", ()):
                room.member = True
