"""Timewire: message sync and storage for instant messaging.

``connect`` is a device of a user of a server; ``open`` is a set of timelines without one.
"""

from timewire.client import (
    Acked,
    Client,
    Connected,
    Disconnected,
    Live,
    Presence,
    Received,
    Refused,
    Reset,
    Sent,
    Typing,
    connect,
)
from timewire.errors import TimewireError
from timewire.library import open
from timewire.model import Entry, Message, Page
from timewire.timeline import Append, TimelineStore

__all__ = [
    "Acked",
    "Append",
    "Client",
    "Connected",
    "Disconnected",
    "Entry",
    "Live",
    "Message",
    "Page",
    "Presence",
    "Received",
    "Refused",
    "Reset",
    "Sent",
    "TimelineStore",
    "TimewireError",
    "Typing",
    "connect",
    "open",
]
