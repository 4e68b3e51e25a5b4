"""What becomes of stored messages: changes that later ones bring, and the end of their life.

    family  expiring
    key     time of expiry, 8 bytes | SeqId, 8 bytes | conversation, UTF-8
    value   nothing

A message is written once, and written anew by the batch of the message that changes it.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from rocksdict import WriteBatch

from timewire.backends.rocksdb.database import EXPIRING, MESSAGES, Family
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import (
    REDACTED,
    SEQ_BYTES,
    Row,
    decode,
    encode,
    pack_seq,
    pack_stamp,
    prefix,
    seq_of,
)
from timewire.changes import rewrite
from timewire.model import Draft, MessageChange, Seq


class Revision(NamedTuple):
    """A message that has another payload now; an empty one is redacted."""

    seq: Seq
    payload: bytes


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
        """Add to a message's batch what it does to earlier ones."""
        change = draft.change
        if not isinstance(change, MessageChange):
            return []
        row = self.find(draft.conversation, change.seq)
        if row is None or not row.payload:
            return []
        payload, others = rewrite(row.payload, change, draft.sender, seq, time)
        revisions = [Revision(change.seq, payload)]
        self._put(batch, draft.conversation, change.seq, row.time, payload)
        for other in others:
            edit = self.find(draft.conversation, other)
            if edit is not None:
                self._put(batch, draft.conversation, other, edit.time, b"")
                revisions.append(Revision(other, b""))
        return revisions

    def expect(self, batch: WriteBatch, expires: int, conversation: str, seq: Seq) -> None:
        """Note that a message is to be redacted at a time (ms)."""
        key = pack_seq(expires) + pack_seq(seq) + conversation.encode()
        batch.put(key, b"", self._engine.family(EXPIRING).handle)

    def sweep(self, now: int, head: Seq, limit: int) -> list[Revision]:
        """Redact messages up to ``head`` whose life is over, in a batch of their own."""
        expiring = self._engine.family(EXPIRING)
        batch = WriteBatch(raw_mode=True)
        revisions: list[Revision] = []
        due = expiring.forward_keys(b"", pack_seq(now + 1))
        for key in islice(due, limit):
            seq = seq_of(key[: 2 * SEQ_BYTES])
            if seq > head:
                continue
            conversation = key[2 * SEQ_BYTES :].decode()
            row = self.find(conversation, seq)
            if row is not None:
                self._put(batch, conversation, seq, row.time, b"")
            batch.delete(key, expiring.handle)
            revisions.append(Revision(seq, b""))
        if revisions:
            self._engine.write(batch)
        return revisions

    def _put(
        self, batch: WriteBatch, conversation: str, seq: Seq, time: int, payload: bytes
    ) -> None:
        key = prefix(conversation) + pack_seq(seq)
        stamp = pack_stamp(time, 0 if payload else REDACTED)
        batch.put(key, encode(key, stamp, payload), self._messages().handle)

    def _messages(self) -> Family:
        return self._engine.family(MESSAGES)
