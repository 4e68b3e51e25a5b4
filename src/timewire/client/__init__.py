"""The Python SDK: ``connect`` a device, send, and read its events.

Top to bottom: ``device`` and ``acts`` (the face) > ``driver`` (does what the session says) >
``session`` (the state machine, without input and output) > ``outbox``, ``store``, ``revisions``,
``events``; ``transport`` and ``feed`` are the ends towards the server and the app.
"""

from timewire.client.acts import Invite, Posted, Sent
from timewire.client.device import Client, connect
from timewire.client.events import (
    Acked,
    Connected,
    Disconnected,
    Event,
    Live,
    Presence,
    Received,
    Refused,
    Reset,
    Typing,
)
from timewire.client.queries import Conversation, HistorySlice, Hit, Member, SearchSlice
from timewire.client.session import State
from timewire.client.sqlite_store import SqliteStore
from timewire.client.store import MemoryStore, Store
from timewire.client.transport import Backoff
from timewire.model import Media

__all__ = [
    "Acked",
    "Backoff",
    "Client",
    "Connected",
    "Conversation",
    "Disconnected",
    "Event",
    "Hit",
    "HistorySlice",
    "Invite",
    "Live",
    "Media",
    "Member",
    "MemoryStore",
    "Posted",
    "Presence",
    "Received",
    "Refused",
    "Reset",
    "SearchSlice",
    "Sent",
    "SqliteStore",
    "State",
    "Store",
    "Typing",
    "connect",
]
