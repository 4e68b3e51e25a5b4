"""Contract of the port ``TimelineStore``."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from timewire.errors import Invalid
from timewire.model import MAX_TIMELINE_BYTES, Entry, Page
from timewire.testing.contracts.places import (
    Contract,
    CrashingTimelinesPlace,
    DamagingTimelinesPlace,
    TimelinesPlace,
)
from timewire.timeline import (
    TimelineStore,
)

ODD_NAMES = [
    "a",
    "aa",
    "a:",
    "a:b",
    "a b",
    "a/b",
    "A",
    "b",
    "direct:alice:bob",
    "é",  # one code point
    "e\u0301",  # the same to the eye, two code points: another name
    "群聊",
    "\uffff",
    "🙂",
    "😀" * (MAX_TIMELINE_BYTES // 4),
]
"""Names that are easily confused, or sorted wrongly, by prefixes, encodings or normal forms."""

BAD_NAMES = ["", "a\x00", "\n", "a\u2028", "\ud800", "n" * (MAX_TIMELINE_BYTES + 1)]


def seqs(entries: Iterable[Entry]) -> list[int]:
    """The SeqIds of entries, in their order."""
    return [entry.seq for entry in entries]


async def everything(store: TimelineStore, timeline: str) -> list[Entry]:
    """A whole timeline, by pages of two, which must be exact."""
    found: list[Entry] = []
    while True:
        page = await store.scan(timeline, after=found[-1].seq if found else 0, limit=2)
        found += page.entries
        if not page.has_more:
            return found
        assert len(page.entries) == 2


async def refuses(code: str, action: object) -> None:
    """That awaiting the action raises ``Invalid`` with this code."""
    with pytest.raises(Invalid) as caught:
        await action  # pyright: ignore[reportGeneralTypeIssues]
    assert caught.value.code == code


class TimelineStoreContract(Contract[TimelinesPlace]):
    """What every timeline store promises."""

    async def test_an_unknown_timeline_is_an_empty_one(self, store: TimelineStore) -> None:
        assert await store.scan("a") == Page([], False)
        assert await store.scan_back("a") == Page([], False)
        assert await store.get("a", 1) is None
        assert await store.get_many("a", [1, 2]) == [None, None]
        assert await store.last("a") is None
        assert await store.count("a") == 0
        assert await store.floor("a") == 1
        assert await store.redact("a", 1) is False
        assert await store.timelines() == []

    async def test_entries_are_read_as_they_were_appended(self, store: TimelineStore) -> None:
        self.clock.now = 1234
        first = await store.append("a", b"\x00\xff")
        self.clock.now = 1235
        second = await store.append("a", b"")

        entries = [Entry("a", first, 1234, b"\x00\xff"), Entry("a", second, 1235, b"")]
        assert await everything(store, "a") == entries
        assert await store.get("a", first) == entries[0]
        assert await store.last("a") == entries[1]


class TimelineReopenContract(Contract[TimelinesPlace]):
    """What a timeline store promises that keeps its entries when it is closed."""


class TimelineCrashContract(Contract[CrashingTimelinesPlace]):
    """What such a store promises of a crash."""


class TimelineDamageContract(Contract[DamagingTimelinesPlace]):
    """What a timeline store promises that finds changed bytes."""
