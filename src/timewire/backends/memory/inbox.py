"""Inboxes in memory."""

from __future__ import annotations

from collections.abc import Sequence

from timewire.errors import error
from timewire.inbox import MAX_PUT_REFS, Delivery, Traffic
from timewire.model import Ref, Seq


class MemoryInbox:
    """An ``Inbox`` in memory.  A message belongs to the time bucket ``time // bucket_ms``.

    Times grow with SeqIds, so that the oldest buckets are a prefix of every inbox.
    """

    def __init__(self, bucket_ms: int) -> None:
        self._bucket_ms = bucket_ms
        self._refs: dict[str, dict[Seq, str]] = {}
        """user -> SeqId -> conversation"""
        self._newest: dict[int, Seq] = {}
        """bucket -> the largest SeqId that was put into it"""
        self._position: Seq = 0
        self._floor: Seq = 1
        self.traffic = Traffic()

    @property
    def position(self) -> Seq:
        return self._position

    @property
    def floor(self) -> Seq:
        return self._floor

    async def put(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        if sum(len(one.users) for one in deliveries if one.mode == "write") > MAX_PUT_REFS:
            raise error("batch_too_large", limit=MAX_PUT_REFS)
        for delivery in deliveries:
            message = delivery.message
            if message.seq < self._floor or not delivery.users:
                continue  # what has expired does not come back
            bucket = message.time // self._bucket_ms
            self._newest[bucket] = max(self._newest.get(bucket, 0), message.seq)
            for user in delivery.users if delivery.mode == "write" else ():
                self._refs.setdefault(user, {})[message.seq] = message.conversation
        self._position = max(self._position, position)

    async def scan(self, user: str, after: Seq, upto: Seq, limit: int) -> tuple[list[Ref], bool]:
        refs = sorted(self._refs.get(user, {}).items())
        found = [Ref(seq, conversation) for seq, conversation in refs if after < seq <= upto]
        return found[:limit], len(found) > limit

    async def expire(self, before: int) -> None:
        expired = [b for b in self._newest if (b + 1) * self._bucket_ms <= before]
        for bucket in expired:
            self._floor = max(self._floor, self._newest.pop(bucket) + 1)
        for user, refs in self._refs.items():
            self._refs[user] = {seq: name for seq, name in refs.items() if seq >= self._floor}
