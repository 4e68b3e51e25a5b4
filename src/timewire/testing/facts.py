"""What follows from a history: what is stored, who was to get it, and when it was known."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from timewire.epochs import ModeName
from timewire.model import (
    BANNED,
    CREATED,
    EDITED,
    HIDDEN,
    MEMBERS,
    READ,
    RECALLED,
    Message,
    Seq,
    Window,
)
from timewire.testing.history import Attempt, History, Place, Who, place


class Facts:
    """What follows from a history: the stored messages, and who was to get each.

    Members are worked out here once more, from the control messages in the log alone.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.stored: dict[Place, Message] = {}
        read = history.log or [message for read in history.reads for message in read.messages]
        recalls = {(m.conversation, m.body["seq"]) for m in read if m.kind == RECALLED}
        for message in read:
            known = self.stored.get(place(message))
            if known is None or _is_newer(message, known, recalls):
                self.stored[place(message)] = message
        self.timelines: dict[str, list[Message]] = defaultdict(list)
        self.attempts: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
        self.authors: dict[Place, tuple[str, str]] = {}
        self.edits: dict[Place, list[Attempt]] = defaultdict(list)
        """Attempts to edit a message that were not refused."""
        for attempt in history.attempts:
            self.attempts[attempt.who.user, attempt.id].append(attempt)
            if attempt.outcome == "acked":
                where = attempt.conversation, attempt.seq
                self.authors[where] = attempt.who.user, attempt.id
            if attempt.kind == EDITED and attempt.outcome != "refused":
                self.edits[attempt.conversation, attempt.body["seq"]].append(attempt)
        self.by_id: dict[tuple[str, str], list[Message]] = defaultdict(list)
        for message in sorted(self.stored.values(), key=_seq):
            self.timelines[message.conversation].append(message)
            author = self.author(message)
            if author[1]:
                self.by_id[author].append(message)
        self.hidden = {
            (message.sender, message.body["conversation"], message.body["seq"])
            for message in self.stored.values()
            if message.kind == HIDDEN
        }
        """(user, conversation, SeqId) of messages that users do not want to see."""
        self.recalled = self._recalled()
        """Where messages are of which only their place is left to be."""
        self.windows = {name: _windows(log) for name, log in self.timelines.items()}
        self._visible: dict[tuple[str, str], list[Message]] = {}
        self._inboxes: dict[str, list[Message]] = {}
        self._places: dict[str, set[Place]] = {}
        self._known: dict[Place, int] | None = None

    def _recalled(self) -> set[Place]:
        """Recalled messages, and bare ones that may be edits of them."""
        recalled = {
            (name, message.body["seq"])
            for name, log in self.timelines.items()
            for message in log
            if message.kind == RECALLED
        }
        edits = [edit for where in recalled for edit in self.edits.get(where, ())]
        told = {(edit.conversation, edit.seq) for edit in edits if edit.outcome == "acked"}
        untold = {edit.conversation for edit in edits if edit.outcome != "acked"}
        unknown = {
            where
            for where, message in self.stored.items()
            if not message.kind and where[0] in untold and where not in self.authors
        }
        return recalled | told | unknown

    def mode(self, where: Place) -> ModeName:
        """How a message was to be fanned out."""
        mode: ModeName = "write"
        for one in self.history.modes:
            if one.conversation == where[0] and one.seq < where[1]:
                mode = one.mode
        return mode

    def author(self, message: Message) -> tuple[str, str]:
        """Who has sent a message, with which id, be it recalled; empty when that is not known."""
        if message.kind:
            return message.sender, message.id
        return self.authors.get(place(message), ("", ""))

    def meant(self, message: Message) -> list[Attempt]:
        """The attempts to send a message that were not refused."""
        tried = self.attempts.get(self.author(message), ())
        return [attempt for attempt in tried if attempt.outcome != "refused"]

    def stayed(self, user: str, conversation: str) -> bool:
        """Whether the user was a member from the first message on, all the time."""
        log = self.timelines.get(conversation)
        return bool(log) and self.windows[conversation].get(user) == [Window(log[0].seq)]

    def is_member(self, user: str, where: Place) -> bool:
        """Whether the user was a member of the conversation at this SeqId."""
        windows = self.windows.get(where[0], {}).get(user, ())
        return any(window.holds(where[1]) for window in windows)

    def visible(self, user: str, conversation: str) -> list[Message]:
        """All messages of a conversation that the user may read, in order."""
        key = (user, conversation)
        if key not in self._visible:
            log = self.timelines.get(conversation, [])
            found: list[Message] = []
            for window in self.windows.get(conversation, {}).get(user, ()):
                found += _between(log, window.joined - 1, window.left or None)
            self._visible[key] = found
        return self._visible[key]

    def inbox(self, user: str, after: Seq = 0, upto: Seq | None = None) -> list[Message]:
        """Messages with ``after < seq <= upto`` that belong into a user's inbox, in order."""
        if user not in self._inboxes:
            names = [name for name, windows in self.windows.items() if user in windows]
            mine = [message for name in names for message in self.visible(user, name)]
            self._inboxes[user] = sorted(mine, key=_seq)
        return _between(self._inboxes[user], after, upto)

    def places(self, user: str) -> set[Place]:
        """Where all messages are that belong into a user's inbox."""
        if user not in self._places:
            self._places[user] = set(map(place, self.inbox(user)))
        return self._places[user]

    def wrote(self, who: Who, message: Message) -> bool:
        """Whether this very device tried to send the message."""
        tries = self.attempts.get(self.author(message), ())
        return any(attempt.who == who for attempt in tries)

    def marks(self, user: str) -> dict[str, Seq]:
        """How far the user has read each conversation, by the marks that are stored."""
        marks: dict[str, Seq] = {}
        for message in self.timelines.get(f"self:{user}", ()):
            if message.kind == READ:
                name, seq = message.body["conversation"], message.body["seq"]
                marks[name] = max(seq, marks.get(name, 0))
        return marks

    def known(self) -> dict[Place, int]:
        """When each message was first known to be stored: acked, moved to a device, or read."""
        if self._known is None:
            self._known = dict[Place, int]()
            for where, at in self._sightings():
                self._known[where] = min(at, self._known.get(where, at))
        return self._known

    def _sightings(self) -> Iterator[tuple[Place, int]]:
        for attempt in self.history.attempts:
            if attempt.outcome == "acked":
                yield (attempt.conversation, attempt.seq), attempt.ended
        for step in self.history.steps:
            for message in step.messages:
                yield place(message), step.at
        for read in self.history.reads:
            for message in read.messages:
                yield place(message), read.ended

    def observations(self) -> Iterator[tuple[str, str, Message]]:
        """Every message that anyone was given: by which way, and who."""
        for step in self.history.steps:
            for message in step.messages:
                yield f"a {step.way} to {step.who}", step.who.user, message
        for read in self.history.reads:
            for message in read.messages:
                yield f"a history page for {read.user}", read.user, message
        for holding in self.history.holdings:
            for shown in holding.shown:
                yield f"what {holding.who} has shown", holding.who.user, shown.message


def _is_newer(message: Message, known: Message, recalls: set[Place]) -> bool:
    """Whether a message was seen in a later state: recalled is the last one.

    Who has left sees a message without its content when it was edited since.
    """
    if message.kind and known.kind:
        return message.version > known.version
    whole = message if message.kind else known
    gone = place(message) in recalls
    if whole.kind == EDITED:
        gone = gone or (whole.conversation, whole.body["seq"]) in recalls
    return gone != bool(message.kind) and message.kind != known.kind


def _seq(message: Message) -> Seq:
    return message.seq


def _between(log: list[Message], after: Seq, upto: Seq | None) -> list[Message]:
    """The messages with ``after < seq <= upto`` of a list in order."""
    end = len(log) if upto is None else bisect_right(log, upto, key=_seq)
    return log[bisect_right(log, after, key=_seq) : end]


def _windows(log: list[Message]) -> dict[str, list[Window]]:
    """When everyone was a member, from a conversation's control messages."""
    windows: dict[str, list[Window]] = defaultdict(list)
    present: dict[str, Seq] = {}
    for message in log:
        joined: list[str] = []
        left: list[str] = []
        if message.kind == CREATED:
            joined = message.body["members"]
        elif message.kind == MEMBERS:
            joined, left = message.body["joined"], message.body["left"]
        elif message.kind == BANNED and message.body["on"]:
            left = message.body["users"]
        for user in joined:
            present.setdefault(user, message.seq)
        for user in left:
            if user in present:
                windows[user].append(Window(present.pop(user), message.seq))
    for user, since in present.items():
        windows[user].append(Window(since))
    return windows
