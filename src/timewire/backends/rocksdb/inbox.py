"""Inboxes: references, packed by put, in one family a time bucket.

    family  inbox.<end of its time, ms>
    key     user, UTF-8 | 0 | SeqId of the newest message of the put, 8 bytes
    value   for each conversation: length of its name, 2 bytes | name | number of SeqIds, 2 bytes |
            SeqIds, 8 bytes each

A put writes one row a user, however many messages it has for the user.  A row is found by any
position before it, since its key is at or past all SeqIds in it.  Position, floor and buckets are
one record, written with every put.  Nothing is synced for a put: what a crash of the machine takes
back, fan-out makes again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from itertools import takewhile
from struct import Struct
from typing import Final

import msgspec
from rocksdict import WriteBatch

from timewire.backends.rocksdb.database import META
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import PAST, pack_seq, seq_of
from timewire.errors import error
from timewire.inbox import MAX_PUT_REFS, Delivery, Traffic
from timewire.model import MAX_SEQ, Ref, Seq

_FAMILY: Final = "inbox."
STATE_KEY: Final = b"inbox"
_pack_length = Struct(">H").pack
_SINGLE_BYTES: Final = 10
"""After its conversation, in a row that holds one reference."""


class InboxState(msgspec.Struct, array_like=True):
    """What is stored of all inboxes together; ``newest``: end of a bucket -> its largest SeqId."""

    position: Seq = 0
    floor: Seq = 1
    newest: dict[int, Seq] = {}
    traffic: Traffic = msgspec.field(default_factory=Traffic)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(InboxState).decode


class RocksInbox:
    """An ``Inbox`` in RocksDB.  Times grow with SeqIds, so buckets are in order."""

    def __init__(self, engine: Engine, bucket_ms: int) -> None:
        self._engine = engine
        self._bucket_ms = bucket_ms
        self._state = InboxState()
        engine.on_reload(self._load)

    @property
    def position(self) -> Seq:
        return self._state.position

    @property
    def floor(self) -> Seq:
        return self._state.floor

    @property
    def traffic(self) -> Traffic:
        return self._state.traffic

    async def put(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        state = self._state
        if sum([len(one.users) for one in deliveries if one.mode == "write"]) > MAX_PUT_REFS:
            raise error("batch_too_large", limit=MAX_PUT_REFS)
        # What is there already, and what has expired, is not put again.
        known = max(state.position, state.floor - 1)
        fresh = [d for d in deliveries if d.message.seq > known and d.users]
        batch = WriteBatch(raw_mode=True)
        newest = self._put_buckets(batch, fresh) if fresh else state.newest
        state = InboxState(max(state.position, position), state.floor, newest, state.traffic)
        batch.put(STATE_KEY, _encode(state))
        self._engine.write(batch)
        self._state = state

    async def scan(self, user: str, after: Seq, upto: Seq, limit: int) -> tuple[list[Ref], bool]:
        found: list[Ref] = []
        start = user.encode() + b"\0"
        first, end = start + pack_seq(min(after + 1, MAX_SEQ)), start[:-1] + PAST
        for bucket, newest in self._state.newest.items():
            if newest <= after:
                continue
            rows = self._engine.family(_name(bucket)).forward(first, end)
            if not collect(found, rows, after, upto, limit + 1):
                break
        return found[:limit], len(found) > limit

    async def expire(self, before: int) -> None:
        # In their order, so that it is a prefix even when their width has been changed.
        expired = list(takewhile(lambda end: end <= before, self._state.newest))
        if expired:
            self._remove(expired)
            for bucket in expired:
                self._engine.drop(_name(bucket))

    # -- inside ---------------------------------------------------------------------------------

    def _put_buckets(self, batch: WriteBatch, fresh: list[Delivery]) -> dict[int, Seq]:
        newest = self._state.newest.copy()
        first = self._bucket(fresh[0])
        if first == self._bucket(fresh[-1]):
            self._put_bucket(batch, first, fresh, newest)
            return newest
        buckets: dict[int, list[Delivery]] = {}
        for delivery in fresh:
            buckets.setdefault(self._bucket(delivery), []).append(delivery)
        for bucket, some in buckets.items():
            self._put_bucket(batch, bucket, some, newest)
        return newest

    def _bucket(self, delivery: Delivery) -> int:
        """The end of the time bucket that a message belongs to."""
        return (delivery.message.time // self._bucket_ms + 1) * self._bucket_ms

    def _put_bucket(
        self, batch: WriteBatch, bucket: int, some: list[Delivery], newest: dict[int, Seq]
    ) -> None:
        if bucket not in newest:
            self._engine.create(_name(bucket))
        family = self._engine.family(_name(bucket))
        seq = some[-1].message.seq
        newest[bucket] = seq
        suffix = b"\0" + pack_seq(seq)
        put = batch.put
        for user, row in pack_rows(some).items():
            put(user.encode() + suffix, row, family.handle)

    def _remove(self, buckets: Iterable[int]) -> None:
        """Say that buckets are gone, before they are."""
        newest = self._state.newest.copy()
        floor = max(newest.pop(bucket) for bucket in buckets) + 1
        old = self._state
        state = InboxState(old.position, max(old.floor, floor), newest, old.traffic)
        batch = WriteBatch(raw_mode=True)
        batch.put(STATE_KEY, _encode(state))
        self._engine.write(batch)
        self._state = state

    def _load(self) -> None:
        """Read the state, and finish what a crash has left between it and the families."""
        stored = self._engine.family(META).get(STATE_KEY)
        self._state = _decode(stored) if stored else InboxState()
        there = set(self._engine.families(_FAMILY))
        named = {_name(bucket) for bucket in self._state.newest}
        lost = [bucket for bucket in self._state.newest if _name(bucket) not in there]
        if lost:
            self._remove(lost)
        for name in there - named:
            self._engine.drop(name)


def _name(bucket: int) -> str:
    return f"{_FAMILY}{bucket}"


class _Run:
    """Messages of one conversation for the same users."""

    __slots__ = ("conversation", "seqs", "users")

    def __init__(self, conversation: str, users: Collection[str], seq: Seq) -> None:
        self.conversation = conversation
        self.users = users
        self.seqs = [seq]

    def packed(self) -> bytes:
        name, seqs = self.conversation.encode(), self.seqs
        count = len(seqs)
        if count == 1:
            return b"%b%b\0\1%b" % (_pack_length(len(name)), name, pack_seq(seqs[0]))
        numbers = _numbers(count).pack(*seqs)
        return b"%b%b%b%b" % (_pack_length(len(name)), name, _pack_length(count), numbers)


def pack_rows(deliveries: list[Delivery]) -> dict[str, bytes]:
    """What to write of those in mode ``write``: user -> row."""
    newest: dict[str, _Run] = {}
    runs: list[_Run] = []
    for delivery in deliveries:
        if delivery.mode != "write":
            continue
        message, users = delivery.message, delivery.users
        run = newest.get(message.conversation)
        # Fan-out gives the same list for all messages between two changes of the members.
        if run is not None and run.users is users:
            run.seqs.append(message.seq)
        else:
            run = newest[message.conversation] = _Run(message.conversation, users, message.seq)
            runs.append(run)
    if len(runs) == 1:
        return dict.fromkeys(runs[0].users, runs[0].packed())
    rows: dict[str, bytes] = {}
    for run in runs:
        packed = run.packed()
        for user in run.users:
            before = rows.get(user)
            rows[user] = packed if before is None else before + packed
    return rows


def collect(
    found: list[Ref], rows: Iterable[tuple[bytes, bytes]], after: Seq, upto: Seq, wanted: int
) -> bool:
    """Add what rows hold of ``after < seq <= upto``; whether further rows may hold more."""
    for key, row in rows:
        start = 2 + (row[0] << 8 | row[1])
        if len(row) == start + _SINGLE_BYTES:  # one reference, as most often
            seq = int.from_bytes(row[start + 2 :], "big")
            if after < seq <= upto:
                found.append(Ref(seq, row[2:start].decode()))
        else:
            found += unpack(row, after, upto, wanted - len(found))
        if len(found) >= wanted or seq_of(key) >= upto:
            return False
    return True


def unpack(row: bytes, after: Seq, upto: Seq, room: int) -> list[Ref]:
    """A row's references with ``after < seq <= upto``, in order, at most ``room``."""
    found: list[Ref] = []
    at = runs = 0
    while at < len(row):
        start = at + 2 + (row[at] << 8 | row[at + 1])
        count = row[start] << 8 | row[start + 1]
        seqs: Sequence[Seq] = _numbers(count).unpack_from(row, start + 2)
        if seqs[0] <= after or seqs[-1] > upto or count > room:
            seqs = seqs[bisect_right(seqs, after) : bisect_right(seqs, upto)][:room]
        conversation = row[at + 2 : start].decode()
        found += [Ref(seq, conversation) for seq in seqs]
        at = start + 2 + 8 * count
        runs += 1
    if runs > 1:
        found.sort(key=_seq)
        del found[room:]
    return found


@lru_cache(maxsize=MAX_PUT_REFS)
def _numbers(count: int) -> Struct:
    return Struct(f">{count}Q")


def _seq(ref: Ref) -> Seq:
    return ref.seq
