"""Messages that fail their checksums: what is left of them is shown, and each is reported once.

A consumer of the log that stopped at one would keep everybody from all that comes after it.
"""

from __future__ import annotations

from typing import Final

import structlog

from timewire.backends.rocksdb.entries import content, peek
from timewire.errors import Damaged
from timewire.metrics import LOG_DAMAGED
from timewire.model import Seq, Stored

MAX_REPORTED_MESSAGES: Final = 10_000
"""Damaged messages that are remembered; then all may be reported again."""

logger = structlog.get_logger("timewire.rocksdb")


class Damage:
    """Reads stored messages, whole or not.  ``reported``: the SeqIds of those that were not."""

    def __init__(self) -> None:
        self.reported: set[Seq] = set()

    def stored(self, key: bytes, value: bytes, conversation: str, seq: Seq) -> Stored:
        """A stored message; one that is damaged has no payload, and perhaps a wrong time."""
        try:
            time, payload = content(key, value)
        except Damaged:
            self._report(conversation, seq)
            return Stored(seq, peek(value)[0], conversation, b"", damaged=True)
        return Stored(seq, time, conversation, payload)

    def _report(self, conversation: str, seq: Seq) -> None:
        if seq not in self.reported:
            if len(self.reported) >= MAX_REPORTED_MESSAGES:
                self.reported.clear()
            self.reported.add(seq)
            LOG_DAMAGED.inc()
            logger.error("a message fails its checksum", conversation=conversation, seq=seq)
