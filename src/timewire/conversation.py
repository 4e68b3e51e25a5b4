"""A conversation and its members: who was there when, and what each may do and read."""

from __future__ import annotations

from collections.abc import Set
from typing import Final

import msgspec

from timewire.epochs import Epoch, first_epochs
from timewire.model import (
    GROUP_KINDS,
    ConversationKind,
    Created,
    History,
    Inviters,
    LinkRole,
    Members,
    Role,
    Seq,
    Window,
)
from timewire.roll import Roll

MAX_COUNTED_MEMBERS: Final = 64
"""In conversations of so many, members are counted each time: most need nothing but that."""


class Link(msgspec.Struct, array_like=True):
    """An invite link: what one becomes by it, how many may come, who have, until when (ms).

    0: any number; for ever.
    """

    role: LinkRole = "member"
    uses: int = 0
    used: int = 0
    expires: int = 0

    def has_ended(self, now: int) -> bool:
        """Whether nobody can join by it at a time (ms)."""
        return self.is_used_up() or self.has_expired(now)

    def is_used_up(self) -> bool:
        """Whether as many have come as may."""
        return 0 < self.uses <= self.used

    def has_expired(self, now: int) -> bool:
        """Whether its time is over."""
        return 0 < self.expires <= now


class Conversation(msgspec.Struct, eq=False):
    """A conversation and everyone who ever was a member, as of the newest change."""

    name: str
    kind: ConversationKind
    title: str
    created: Seq
    windows: dict[str, list[Window]]
    changed: Seq
    """SeqId of the newest change of its members."""
    history: History = "joined"
    invite: Inviters = "members"
    roles: dict[str, Role] = {}
    """Of owners and admins."""
    banned: set[str] = set()
    """Who may not be a member; in a direct conversation, who is blocked by the other."""
    muted: dict[str, int] = {}
    """Until when, in ms."""
    pins: list[Seq] = []
    """SeqIds of pinned messages, in the order in which they were pinned."""
    epochs: list[Epoch] = []
    mention_all: Inviters = "members"
    links: dict[str, Link] = {}
    """Invite links, by the SHA-256 of their token."""
    _present: list[str] | None = None
    _roll: Roll | None = None

    @classmethod
    def make(cls, name: str, seq: Seq, change: Created, sender: str) -> Conversation:
        """The conversation that a ``created`` message with this SeqId makes."""
        windows = {user: [Window(seq)] for user in change.members}
        made = cls(
            name, change.kind, change.title, seq, windows, seq, change.history, change.invite
        )
        made.epochs = first_epochs(change.kind, seq)
        made.mention_all = change.mention_all
        if change.kind in GROUP_KINDS and sender in windows:
            made.roles[sender] = "owner"
        return made

    def apply(self, seq: Seq, change: Members) -> list[str]:
        """Let members join and leave with a message; returns those whose windows changed.

        Who is a member already does not join again; who is none does not leave.
        """
        self.changed, self._present = seq, None
        joining = [user for user in dict.fromkeys(change.joined) if not self.is_member(user)]
        for user in joining:
            self.windows.setdefault(user, []).append(Window(seq))
        link = self.links.get(change.link) if isinstance(change.link, str) else None
        if link is not None and joining:
            link.used += len(joining)
            if link.role != "member":
                self.roles.update(dict.fromkeys(joining, link.role))
        leaving = [user for user in dict.fromkeys(change.left) if self.is_member(user)]
        for user in leaving:
            windows = self.windows[user]
            windows[-1] = Window(windows[-1].joined, seq)
            self.roles.pop(user, None)
        if self._roll is not None:
            self._roll.note(seq, joining, leaving)
        return list(dict.fromkeys(joining + leaving))

    def role(self, user: str) -> Role:
        """What a member may do: that of someone who has none is ``member``."""
        return self.roles.get(user, "member")

    def readable(self, user: str) -> list[Window]:
        """Which messages someone who is or was a member may read."""
        windows = self.windows[user]
        if self.history == "all":
            return [Window(self.created, windows[-1].left)]
        return windows

    def is_member(self, user: str) -> bool:
        """Whether the user is a member now."""
        windows = self.windows.get(user)
        return windows is not None and not windows[-1].left

    def left(self, user: str) -> Seq:
        """The SeqId with which someone who was a member left for good; 0 for a member."""
        windows = self.windows.get(user)
        return windows[-1].left if windows else 0

    def roll(self) -> Roll:
        """Its members by SeqId, kept up with every change.  Made when it is first asked for."""
        if self._roll is None:
            self._roll = Roll(self.windows, self.created)
        return self._roll

    def size(self) -> int:
        """How many members there are now."""
        if self._roll is None and len(self.windows) <= MAX_COUNTED_MEMBERS:
            return sum(not mine[-1].left for mine in self.windows.values())
        return self.roll().size()

    def audience(self, seq: Seq) -> Set[str]:
        """The members at a SeqId as a set that costs nothing to make, however many they are."""
        return self.roll().at(seq)

    def present(self) -> list[str]:
        """The members of now, in the order in which they first joined.  Do not change the list.

        Made anew after each change of them: for what goes through all of them anyway.
        """
        if self._present is None:
            self._present = [user for user, windows in self.windows.items() if not windows[-1].left]
        return self._present

    def members_at(self, seq: Seq) -> list[str]:
        """Everyone whose windows hold this SeqId, in the order in which they first joined."""
        if seq > self.changed:
            return self.present()
        return [
            user for user, windows in self.windows.items() if any(w.holds(seq) for w in windows)
        ]
