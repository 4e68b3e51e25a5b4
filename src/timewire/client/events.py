"""What a device tells its app: a few events, in the order in which they happened."""

from __future__ import annotations

import msgspec

from timewire.errors import TimewireError
from timewire.model import Message
from timewire.protocol import ResetReason


class Received(msgspec.Struct, frozen=True):
    """A message that this device did not have: somebody else's, or one's own from another device.

    Each message comes once.  Received messages of one conversation come in the order of their
    SeqIds; an ``Acked`` one of one's own may come before an older one of somebody else's, and after
    a ``Reset`` some may come that are older than what this device had.
    """

    message: Message


class Acked(msgspec.Struct, frozen=True):
    """A message that this device sent is stored; it has its SeqId now.  Comes once a message."""

    message: Message


class Refused(msgspec.Struct, frozen=True):
    """A message that this device sent will never be stored; ``error`` says why."""

    id: str
    conversation: str
    error: TimewireError


class Reset(msgspec.Struct, frozen=True):
    """The device was away for too long (expired), or the server's log is not the one it knew.

    Then follow, as ``Received``, the newest page of history of each conversation with news, and
    what is new.  There may be a gap before that page; it is read with ``history``.  For any other
    reason than ``expired`` the device has forgotten all that it had, and the app should too.
    """

    reason: ResetReason


class Connected(msgspec.Struct, frozen=True):
    """The server knows this device: what was queued is on its way."""


class Live(msgspec.Struct, frozen=True):
    """Nothing is missing any more; from here on messages come as they are sent."""


class Disconnected(msgspec.Struct, frozen=True):
    """The connection is gone; the device connects again by itself."""

    reason: str


class Typing(msgspec.Struct, frozen=True):
    """A member of a conversation is typing.  Good for a few seconds, never kept."""

    conversation: str
    user: str


class Presence(msgspec.Struct, frozen=True):
    """A watched user is online, or not: then ``seen`` says since when (ms; 0: not known)."""

    user: str
    online: bool
    seen: int = 0


Arrival = Received | Acked
"""The events that carry a message: they are kept in the store until the app has dealt with them."""

News = Connected | Live | Disconnected | Typing | Presence
"""The events that are soon stale."""

Event = Received | Acked | Refused | Reset | News
