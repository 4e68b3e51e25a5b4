"""What is known of media, in memory."""

from __future__ import annotations

from timewire.media import Kept
from timewire.model import MAX_SEQ, Change, Media, Ref, Seq, Swept, Uploaded


class MemoryMediaIndex:
    """A ``MediaIndex`` in memory: what the log applies to it."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._uploaders: dict[str, set[str]] = {}
        self._carriers: dict[str, dict[Seq, Ref]] = {}

    def carry(self, ref: Ref, names: tuple[str, ...]) -> None:
        """Show that a message was sent with media, or was changed to refer to them."""
        for name in names:
            self._carriers.setdefault(name, {})[ref.seq] = ref

    def apply(self, seq: Seq, sender: str, change: Change) -> None:
        """Show what a message with this SeqId changes."""
        match change:
            case Uploaded(media=name):
                media = Media(name, change.bytes, change.media_type, change.width, change.height)
                first = self._kept[name].media if name in self._kept else media
                self._kept[name] = Kept(first, seq)
                self._uploaders.setdefault(name, set()).add(sender)
            case Swept(media=name):
                for known in (self._kept, self._uploaders, self._carriers):
                    known.pop(name, None)
            case _:
                pass

    async def find(self, name: str) -> Kept | None:
        return self._kept.get(name)

    async def is_uploader(self, user: str, name: str) -> bool:
        return user in self._uploaders.get(name, ())

    async def carriers(self, name: str, *, before: Seq | None = None, limit: int) -> list[Ref]:
        below = before or MAX_SEQ
        carriers = self._carriers.get(name, {})
        found = [carriers[seq] for seq in sorted(carriers, reverse=True) if seq < below]
        return found[:limit]

    async def scan(self, *, after: str = "", limit: int = 100) -> list[Kept]:
        return [self._kept[name] for name in sorted(self._kept) if name > after][:limit]
