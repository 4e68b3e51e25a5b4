"""Who may see a medium: who has uploaded it, and who may read a message that refers to it.

One who may not is told the same as for a medium that does not exist, so nothing can be probed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from timewire.clock import Clock
from timewire.directory import Directory
from timewire.errors import TimewireError, error
from timewire.log import MessageLog
from timewire.media import Kept, MediaIndex, is_name, references
from timewire.model import Ref, Stored, decode_stored, has_expired

MAX_CARRIERS: Final = 2_000
"""Messages with one medium among which one is sought that the user may read: the newest."""

CARRIERS_A_PAGE: Final = 200

ATTACHING_MS: Final = 10 * 60_000
"""A message whose media were found good is in the log within this time, or never."""

MAX_ATTACHED: Final = 10_000
"""Media of which it is remembered that they were found good just now."""


class MediaAccess:
    """Looks up media for users, and for the system, which may see all."""

    def __init__(
        self, index: MediaIndex, directory: Directory, log: MessageLog, clock: Clock
    ) -> None:
        self._index = index
        self._directory = directory
        self._log = log
        self._clock = clock
        self._attached: OrderedDict[str, int] = OrderedDict()

    async def find(self, user: str | None, name: str) -> Kept:
        """A medium that a user may see (None: the system).  Raises ``NotFound`` (unknown_media)."""
        kept = await self._index.find(name) if is_name(name) else None
        if kept is None or not (user is None or await self._may_see(user, name)):
            raise error("unknown_media", media=name[:64])
        return kept

    async def attach(self, user: str | None, names: Iterable[str]) -> None:
        """Allow a message of a user (None: the system) to refer to media.

        Raises ``NotFound`` (unknown_media).
        """
        for name in names:
            # First the note, then the look: so it is either kept for the message, or not found.
            before, self._attached[name] = self._attached.get(name), self._clock()
            self._attached.move_to_end(name)
            if len(self._attached) > MAX_ATTACHED:
                self._attached.popitem(last=False)
            try:
                await self.find(user, name)
            except TimewireError:
                if before is None:
                    self._attached.pop(name, None)
                raise

    def is_being_attached(self, name: str) -> bool:
        """Whether a message may be on its way into the log that refers to a medium."""
        return self._clock() - self._attached.get(name, -ATTACHING_MS) < ATTACHING_MS

    async def is_alive(self, name: str) -> bool:
        """Whether any message still refers to a medium."""
        return await self._carried(name, None)

    async def _may_see(self, user: str, name: str) -> bool:
        return await self._index.is_uploader(user, name) or await self._carried(name, user)

    async def _carried(self, name: str, user: str | None) -> bool:
        """Whether a message refers to a medium that the user (None: anybody) may read."""
        before, left = None, MAX_CARRIERS
        while left > 0:
            page = await self._index.carriers(name, before=before, limit=CARRIERS_A_PAGE)
            refs = [ref for ref in page if user is None or await self._may_read(user, ref)]
            found, now = await self._log.fetch(refs), self._clock()
            if any(_refers(one, name, now) for one in found):
                return True
            if len(page) < CARRIERS_A_PAGE:
                return False
            before, left = page[-1].seq, left - len(page)
            await asyncio.sleep(0)
        return user is None

    async def _may_read(self, user: str, ref: Ref) -> bool:
        conversation = await self._directory.conversation(ref.conversation)
        if conversation is None or user not in conversation.windows:
            return False
        return any(window.holds(ref.seq) for window in conversation.readable(user))


def _refers(message: Stored, name: str, now: int) -> bool:
    """Whether a message refers to a medium now: it may be recalled, changed, or expired."""
    if name.encode() not in message.payload or has_expired(message.payload, now):
        return False
    try:
        return name in references(decode_stored(message.payload).body)
    except TimewireError:
        return False
