"""Everything in memory: complete, obvious, and the model that other backends are compared with."""

from timewire.backends.memory.directory import MemoryDirectory
from timewire.backends.memory.inbox import MemoryInbox
from timewire.backends.memory.index import MemoryIndex
from timewire.backends.memory.log import MemoryLog
from timewire.backends.memory.store import MemoryStore
from timewire.backends.memory.timelines import MemoryTimelines

__all__ = [
    "MemoryDirectory",
    "MemoryInbox",
    "MemoryIndex",
    "MemoryLog",
    "MemoryStore",
    "MemoryTimelines",
]
