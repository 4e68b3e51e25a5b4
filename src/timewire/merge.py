"""Merging by SeqId: an inbox's references with conversations that are read themselves.

What a user may read of a conversation is a list of spans: where its epochs of mode ``read`` and
the user's windows overlap.  Everything else of it is in the inbox, or was only pushed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Final, NamedTuple

from timewire.conversation import Conversation
from timewire.model import Entry, Ref, Seq
from timewire.timeline import TimelineStore

REFILL_ENTRIES: Final = 64
"""How many more messages are read of a conversation when those read first are used up."""


class Span(NamedTuple):
    """SeqIds from ``first`` to ``last``, both included."""

    first: Seq
    last: Seq


def read_spans(conversation: Conversation, user: str, after: Seq, upto: Seq) -> list[Span]:
    """What a user may read of a conversation in ``after < seq <= upto``, oldest first."""
    windows = conversation.windows.get(user, ())
    ends = [epoch.since for epoch in conversation.epochs[1:]]
    epochs = zip(conversation.epochs, [*ends, upto], strict=False)
    return [
        Span(first, last)
        for epoch, end in epochs
        if epoch.mode == "read"
        for window in windows
        if (first := max(epoch.since + 1, window.joined, after + 1))
        <= (last := min(end, window.left or upto, upto))
    ]


class Source:
    """One conversation's messages in some spans, oldest first, read a few at a time."""

    def __init__(
        self, messages: TimelineStore, name: str, spans: Sequence[Span], first_entries: int
    ) -> None:
        self._messages = messages
        self._name = name
        self._spans = list(reversed(spans))
        self._limit = first_entries
        self._ready: list[Entry] = []
        """Newest first."""

    async def head(self) -> Entry | None:
        """The next message, left where it is; None at the end."""
        while not self._ready and self._spans:
            span = self._spans.pop()
            page = await self._messages.scan(
                self._name, after=span.first - 1, upto=span.last, limit=self._limit
            )
            self._limit = REFILL_ENTRIES
            self._ready = page.entries[::-1]
            if page.has_more:
                self._spans.append(Span(page.entries[-1].seq + 1, span.last))
        return self._ready[-1] if self._ready else None

    def take(self) -> None:
        """Pass over the next message."""
        self._ready.pop()


async def merge(
    refs: Sequence[Ref], sources: Iterable[Source], limit: int
) -> tuple[list[Ref | Entry], bool]:
    """The first ``limit`` of all by SeqId, and whether there are more.

    If ``refs`` are not all that the inbox has, they must be at least ``limit``.
    """
    heads = [
        (entry.seq, number, entry, source)
        for number, source in enumerate(sources)
        if (entry := await source.head()) is not None
    ]
    heapify(heads)
    merged: list[Ref | Entry] = []
    taken = 0
    while len(merged) < limit and (heads or taken < len(refs)):
        if not heads or (taken < len(refs) and refs[taken].seq < heads[0][0]):
            merged.append(refs[taken])
            taken += 1
            continue
        _, number, entry, source = heads[0]
        merged.append(entry)
        source.take()
        following = await source.head()
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (following.seq, number, following, source))
    return merged, bool(heads) or taken < len(refs)
