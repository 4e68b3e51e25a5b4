"""The roll of a conversation: how many members it has, and who they are, at any SeqId.

It is made once from the members' windows and then kept up with each change, at a cost that does not
grow with the members: in a room of tens of thousands somebody comes at every moment.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from timewire.model import Seq, Window


class Roll:
    """Members of a conversation by SeqId.  ``windows`` is shared: it is changed before a ``note``.

    ``created``: the SeqId of the conversation's first message.
    """

    def __init__(self, windows: Mapping[str, list[Window]], created: Seq) -> None:
        spans = [(window, user) for user, mine in windows.items() for window in mine]
        joined = sorted((window.joined, user) for window, user in spans)
        left = sorted((window.left, user) for window, user in spans if window.left)
        self._windows = windows
        self._joins = array("Q", [seq for seq, _ in joined])
        self._joiners = [user for _, user in joined]
        self._leaves = array("Q", [seq for seq, _ in left])
        self._leavers = [user for _, user in left]
        self._changes = array("Q", sorted({created, *self._joins, *self._leaves}))
        self._here: dict[str, None] | None = None
        """The members of now; made when they are first asked for."""

    def note(self, seq: Seq, joined: Sequence[str], left: Sequence[str]) -> None:
        """A message with this SeqId, the newest, has let members join and leave."""
        if not joined and not left:
            return
        self._joins.extend([seq] * len(joined))
        self._joiners += joined
        self._leaves.extend([seq] * len(left))
        self._leavers += left
        if self._changes[-1] < seq:
            self._changes.append(seq)
        if self._here is not None:
            self._here.update(dict.fromkeys(joined))
            for user in left:
                self._here.pop(user, None)

    @property
    def changes(self) -> Sequence[Seq]:
        """When members came or went, oldest first; the first is when the conversation was made."""
        return self._changes

    def size(self) -> int:
        """How many members there are now."""
        return len(self._joins) - len(self._leaves)

    def at(self, seq: Seq) -> Audience:
        """The members at a SeqId."""
        return Audience(self, seq)

    def size_at(self, seq: Seq) -> int:
        """How many members there were at a SeqId."""
        return bisect_right(self._joins, seq) - bisect_left(self._leaves, seq)

    def holds(self, user: str, seq: Seq) -> bool:
        """Whether a user was a member at a SeqId."""
        return any(window.holds(seq) for window in self._windows.get(user, ()))

    def all_at(self, seq: Seq) -> Iterable[str]:
        """All who were members at a SeqId, each once."""
        here = self._members()
        since = self._since(seq)
        if not since:
            return tuple(here)
        touched = dict.fromkeys(since)
        stayed = [user for user in here if user not in touched]
        return stayed + [user for user in touched if self.holds(user, seq)]

    def among(self, seq: Seq, users: Set[object]) -> Set[str]:
        """Those of some users who were members at a SeqId."""
        later = len(self._joins) - bisect_right(self._joins, seq)
        later += len(self._leaves) - bisect_left(self._leaves, seq)
        if len(users) <= later:
            return {user for user in users if isinstance(user, str) and self.holds(user, seq)}
        found = self._members().keys() & users
        if later:
            touched = set(self._since(seq))
            found -= touched
            found |= {user for user in touched if user in users and self.holds(user, seq)}
        return found

    def _since(self, seq: Seq) -> list[str]:
        """Those of whom more must be asked than whether they are members now."""
        joined = self._joiners[bisect_right(self._joins, seq) :]
        return joined + self._leavers[bisect_left(self._leaves, seq) :]

    def _members(self) -> dict[str, None]:
        if self._here is None:
            present = (user for user, mine in self._windows.items() if not mine[-1].left)
            self._here = dict.fromkeys(present)
        return self._here


class Audience(Set[str]):
    """The members of a conversation at a SeqId, looked up when they are asked for.

    It stays true whoever comes and goes later, so it can be kept while the roll goes on.
    """

    __slots__ = ("_roll", "_seq")

    def __init__(self, roll: Roll, seq: Seq) -> None:
        self._roll = roll
        self._seq = seq

    def __contains__(self, user: object) -> bool:
        return isinstance(user, str) and self._roll.holds(user, self._seq)

    def __iter__(self) -> Iterator[str]:
        return iter(self._roll.all_at(self._seq))

    def __len__(self) -> int:
        return self._roll.size_at(self._seq)

    def __and__(self, other: Set[object]) -> Set[str]:
        return self._roll.among(self._seq, other)
