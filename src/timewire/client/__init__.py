"""The Python SDK: ``connect`` a device, send, and read its events.

Top to bottom: ``device`` (the face) > ``driver`` (does what the session says) > ``session`` (the
state machine, without input and output) > ``outbox``, ``store``, ``events``; ``transport`` and
``feed`` are the ends towards the server and the app.
"""

from timewire.client.device import Client, Posted, Sent, connect
from timewire.client.events import (
    Acked,
    Connected,
    Disconnected,
    Event,
    Live,
    Received,
    Refused,
    Reset,
)
from timewire.client.queries import Conversation, HistorySlice, Hit, SearchSlice
from timewire.client.session import State
from timewire.client.store import MemoryStore, SqliteStore, Store
from timewire.client.transport import Backoff

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
    "Live",
    "MemoryStore",
    "Posted",
    "Received",
    "Refused",
    "Reset",
    "SearchSlice",
    "Sent",
    "SqliteStore",
    "State",
    "Store",
    "connect",
]
