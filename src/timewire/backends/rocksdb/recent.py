"""The newest durable messages, kept in memory for the consumers that follow the log closely."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from timewire.model import Seq, Stored

MAX_RECENT_MESSAGES: Final = 20_000
MAX_RECENT_BYTES: Final = 32 << 20
"""Of payloads."""


class Recent:
    """Every durable message past ``since``, in the batches in which they were committed."""

    def __init__(self) -> None:
        self.since: Seq = 0
        self._batches: list[list[Stored]] = []
        self._messages = 0
        self._bytes = 0

    def add(self, batch: list[Stored]) -> None:
        """The next batch; the oldest ones make room for it."""
        self._batches.append(batch)
        self._messages += len(batch)
        self._bytes += sum([len(message.payload) for message in batch])
        if self._messages > MAX_RECENT_MESSAGES or self._bytes > MAX_RECENT_BYTES:
            self._halve()

    def after(self, seq: Seq, limit: int) -> list[Stored]:
        """At most ``limit`` messages past a SeqId that is not before ``since``."""
        found: list[Stored] = []
        for at in range(bisect_right(self._batches, seq, key=_last), len(self._batches)):
            batch = self._batches[at]
            if batch[0].seq <= seq:
                batch = [message for message in batch if message.seq > seq]
            if len(found) + len(batch) > limit:
                return found or batch[:limit]
            found = found + batch if found else batch
        return found

    def redact(self, seq: Seq) -> None:
        """Forget a payload."""
        at = bisect_right(self._batches, seq - 1, key=_last)
        for message in self._batches[at] if at < len(self._batches) else ():
            if message.seq == seq:
                message.payload = b""

    def clear(self, since: Seq) -> None:
        """Keep nothing; what comes next follows ``since``."""
        self.since, self._batches, self._messages, self._bytes = since, [], 0, 0

    def _halve(self) -> None:
        keep = len(self._batches) // 2
        old, self._batches = self._batches[: len(self._batches) - keep], self._batches[-keep:]
        if not keep:
            self._batches = []
        self.since = old[-1][-1].seq
        self._messages = sum([len(batch) for batch in self._batches])
        self._bytes = sum([len(m.payload) for batch in self._batches for m in batch])


def _last(batch: list[Stored]) -> Seq:
    return batch[-1].seq
