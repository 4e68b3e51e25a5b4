"""What becomes of stored messages: changes that later ones bring, and the end of their life.

    family  expiring
    key     time of expiry, 8 bytes | SeqId, 8 bytes | conversation, UTF-8
    value   nothing

A message is written once, and written anew by the batch of the message that changes it.
"""

from __future__ import annotations

from itertools import islice

from rocksdict import WriteBatch

from timewire.backends.rocksdb.database import EXPIRING, MESSAGES, Family
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import (
    SEQ_BYTES,
    Row,
    decode,
    pack_seq,
    prefix,
    rewritten,
    seq_of,
)
from timewire.changes import Made, Revision, revisions
from timewire.model import Draft, MessageChange, Seq


class Revisions:
    """Rewrites messages in the batches of others."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, conversation: str, seq: Seq) -> Row | None:
        """A message as it is staged."""
        key = prefix(conversation) + pack_seq(seq)
        value = self._messages().get(key)
        return None if value is None else decode(key, value)

    def stage(self, batch: WriteBatch, seq: Seq, time: int, draft: Draft) -> list[Revision]:
        """Add to a message's batch what it does to others, and perhaps to itself."""
        change = draft.change
        if not isinstance(change, MessageChange):
            return []
        row = self.find(draft.conversation, change.seq)
        if row is None or not row.payload:
            return []
        found = revisions(change, Made(draft.sender, seq, time), row.payload, draft.payload)
        for one in found:
            was = Row(time, draft.payload, False, None)
            if one.seq != seq:
                was = self.find(draft.conversation, one.seq)
            if was is not None:
                self._put(batch, draft.conversation, one.seq, was, one.payload)
            if one.expires:
                self.expect(batch, one.expires, draft.conversation, one.seq)
        return found

    def expect(self, batch: WriteBatch, expires: int, conversation: str, seq: Seq) -> None:
        """Note that a message is to be redacted at a time (ms)."""
        key = pack_seq(expires) + pack_seq(seq) + conversation.encode()
        batch.put(key, b"", self._engine.family(EXPIRING).handle)

    def sweep(self, now: int, head: Seq, limit: int) -> list[Seq]:
        """Redact messages up to ``head`` whose life is over, in a batch of their own; which."""
        expiring = self._engine.family(EXPIRING)
        batch = WriteBatch(raw_mode=True)
        gone: list[Seq] = []
        for key in islice(expiring.forward_keys(b"", pack_seq(now + 1)), limit):
            seq, conversation = seq_of(key[: 2 * SEQ_BYTES]), key[2 * SEQ_BYTES :].decode()
            if seq <= head:
                row = self.find(conversation, seq)
                if row is not None:
                    self._put(batch, conversation, seq, row, b"")
                batch.delete(key, expiring.handle)
                gone.append(seq)
        if gone:
            self._engine.write(batch)
        return gone

    def _put(
        self, batch: WriteBatch, conversation: str, seq: Seq, was: Row, payload: bytes
    ) -> None:
        key = prefix(conversation) + pack_seq(seq)
        batch.put(key, rewritten(key, was, payload), self._messages().handle)

    def _messages(self) -> Family:
        return self._engine.family(MESSAGES)
