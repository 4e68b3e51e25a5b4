"""The directory in memory."""

from __future__ import annotations

from collections.abc import Sequence

from timewire import changes
from timewire.conversation import Conversation
from timewire.directory import Device, Membership, Reading
from timewire.epochs import Mode, switched, was_read
from timewire.model import Blocked, Change, Created, Hidden, Read, Seq, Settings
from timewire.names import direct


class MemoryDirectory:
    """A ``Directory`` in memory: what the log applies to it, and the devices seen."""

    def __init__(self) -> None:
        self._conversations: dict[str, Conversation] = {}
        self._marks: dict[tuple[str, str], Seq] = {}
        self._hidden: dict[tuple[str, str], set[Seq]] = {}
        self._blocks: set[tuple[str, str]] = set()
        self._settings: dict[str, Settings] = {}
        self._devices: dict[str, dict[str, int]] = {}

    def apply(self, seq: Seq, time: int, conversation: str, sender: str, change: Change) -> None:
        """Show what a message with this SeqId and time changes."""
        match change:
            case Created():
                made = Conversation.make(conversation, seq, change, sender)
                if made.kind == "direct":
                    pairs = zip(change.members, change.members[::-1], strict=True)
                    made.banned.update(two for one, two in pairs if (one, two) in self._blocks)
                self._conversations[conversation] = made
            case Mode():
                if change.conversation in self._conversations:
                    found = self._conversations[change.conversation]
                    found.epochs = switched(found.epochs, seq, change)
            case Read():
                mark = sender, change.conversation
                self._marks[mark] = max(self._marks.get(mark, 0), change.seq)
            case Hidden():
                self._hidden.setdefault((sender, change.conversation), set()).add(change.seq)
            case Blocked():
                (self._blocks.add if change.on else self._blocks.discard)((sender, change.user))
                found = self._conversations.get(direct(sender, change.user))
                if found is not None:
                    changes.block(found, change)
            case Settings():
                self._settings[sender] = change
            case _:
                if conversation in self._conversations:
                    changes.apply(self._conversations[conversation], seq, time, change)

    def reopened(self) -> MemoryDirectory:
        """A directory that knows the same devices; the log makes the rest of it again."""
        found = MemoryDirectory()
        found._devices = {user: devices.copy() for user, devices in self._devices.items()}
        return found

    def known(self, name: str) -> Conversation | None:
        return self._conversations.get(name)

    async def conversation(self, name: str) -> Conversation | None:
        return self._conversations.get(name)

    async def members(self, name: str, *, after: str = "", limit: int = 100) -> list[str]:
        found = self._conversations.get(name)
        return sorted(user for user in found.present() if user > after)[:limit] if found else []

    async def memberships(
        self, user: str, *, after: str = "", limit: int = 100
    ) -> list[Membership]:
        names = sorted(
            name
            for name, conversation in self._conversations.items()
            if name > after and user in conversation.windows
        )
        return [
            Membership(
                name,
                self._conversations[name].windows[user].copy(),
                self._marks.get((user, name), 0),
                len(self._hidden.get((user, name), ())),
            )
            for name in names[:limit]
        ]

    async def reading(self, user: str) -> Reading:
        mine = [one for one in self._conversations.values() if user in one.windows]
        return Reading(sorted(one.name for one in mine if was_read(one.epochs)), len(mine))

    async def read_mark(self, user: str, conversation: str) -> Seq:
        return self._marks.get((user, conversation), 0)

    async def hidden(self, user: str, conversation: str, seqs: Sequence[Seq]) -> set[Seq]:
        return self._hidden.get((user, conversation), set()).intersection(seqs)

    async def blocks(self, user: str, other: str) -> bool:
        return (user, other) in self._blocks

    async def blocked(self, user: str, *, after: str = "", limit: int = 100) -> list[str]:
        others = sorted(other for one, other in self._blocks if one == user and other > after)
        return others[:limit]

    async def settings(self, user: str) -> Settings:
        return self._settings.get(user, Settings())

    async def seen(self, user: str, device: str, time: int) -> None:
        devices = self._devices.setdefault(user, {})
        devices[device] = max(devices.get(device, 0), time)

    async def devices(self, user: str, limit: int = 100) -> Sequence[Device]:
        devices = sorted(self._devices.get(user, {}).items())
        return [Device(name, time) for name, time in devices[:limit]]
