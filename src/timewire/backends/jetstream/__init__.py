"""A log in a NATS JetStream stream, and copies of it that many processes can have.

    stream   records in order: who wrote it, and messages with their SeqIds and times
    view     a copy in RocksDB of all that the stream holds: what a process reads from
    lead     the right to append, held by one process at a time; the stream itself enforces it

Everything a view holds can be made again from the stream.
"""

from timewire.backends.jetstream.connection import connect
from timewire.backends.jetstream.lead import Lead
from timewire.backends.jetstream.names import Names
from timewire.backends.jetstream.setup import Shape, check, init
from timewire.backends.jetstream.stream import LogStream
from timewire.backends.jetstream.view import View

__all__ = ["Lead", "LogStream", "Names", "Shape", "View", "check", "connect", "init"]
