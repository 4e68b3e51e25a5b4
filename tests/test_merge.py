"""Merging by SeqId: spans that are exact, sources that are read a few at a time."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire import merge as module
from timewire.backends.memory import MemoryTimelines
from timewire.conversation import Conversation
from timewire.epochs import Epoch, ModeName, mode_at
from timewire.merge import Source, Span, merge, read_spans
from timewire.model import Ref, Window


def conversation(epochs: list[tuple[int, ModeName]], *windows: Window) -> Conversation:
    known = [Epoch(since, mode) for since, mode in epochs]
    return Conversation("team", "group", "", 1, {"alice": list(windows)}, 1, epochs=known)


def test_a_span_is_where_an_epoch_and_a_window_overlap() -> None:
    team = conversation([(10, "read"), (20, "write"), (30, "read")], Window(5, 15), Window(18))
    assert read_spans(team, "alice", 0, 99) == [Span(11, 15), Span(18, 20), Span(31, 99)]
    assert read_spans(team, "alice", 12, 40) == [Span(13, 15), Span(18, 20), Span(31, 40)]
    assert read_spans(team, "alice", 20, 30) == []
    assert read_spans(team, "alice", 19, 20) == [Span(20, 20)]
    assert read_spans(team, "bob", 0, 99) == []


def test_only_mode_read_is_read() -> None:
    assert read_spans(conversation([], Window(1)), "alice", 0, 99) == []
    assert read_spans(conversation([(1, "push")], Window(1)), "alice", 0, 99) == []


@given(data=st.data())
def test_spans_hold_exactly_what_is_read(data: st.DataObject) -> None:
    places = st.lists(st.integers(1, 30), min_size=2, max_size=6, unique=True).map(sorted)
    modes: st.SearchStrategy[ModeName] = st.sampled_from(["write", "read", "push"])
    epochs = [Epoch(since, data.draw(modes)) for since in data.draw(places)]
    ends = data.draw(places)
    windows = [Window(a, b) for a, b in zip(ends[::2], ends[1::2], strict=False)]
    team = Conversation("team", "group", "", 1, {"alice": windows}, 1, epochs=epochs)
    after, upto = data.draw(st.integers(0, 31)), data.draw(st.integers(0, 31))
    spans = read_spans(team, "alice", after, upto)
    found = [seq for span in spans for seq in range(span.first, span.last + 1)]
    assert found == [
        seq
        for seq in range(after + 1, upto + 1)
        if mode_at(team.epochs, seq) == "read" and any(window.holds(seq) for window in windows)
    ]


async def timelines(**seqs: list[int]) -> MemoryTimelines:
    store = MemoryTimelines()
    for name, places in seqs.items():
        for seq in places:
            await store.append(name, b"%d" % seq, seq=seq)
    return store


async def test_a_source_gives_what_is_in_its_spans() -> None:
    store = await timelines(team=list(range(1, 20)))
    source = Source(store, "team", [Span(2, 4), Span(7, 7), Span(30, 40)], 2)
    found: list[int] = []
    while (entry := await source.head()) is not None:
        assert await source.head() is entry
        found.append(entry.seq)
        source.take()
    assert found == [2, 3, 4, 7]


async def test_a_source_without_messages_has_no_head() -> None:
    assert await Source(MemoryTimelines(), "team", [Span(1, 9)], 2).head() is None
    assert await Source(MemoryTimelines(), "team", [], 2).head() is None


@given(data=st.data())
async def test_the_merge_is_in_order_complete_and_knows_if_there_is_more(
    data: st.DataObject,
) -> None:
    numbers = list(range(1, data.draw(st.integers(2, 30))))
    owners = [data.draw(st.sampled_from(["inbox", "a", "b", "c"])) for _ in numbers]
    mine = {
        name: [n for n, owner in zip(numbers, owners, strict=True) if owner == name]
        for name in ["inbox", "a", "b", "c"]
    }
    store = await timelines(**{name: seqs for name, seqs in mine.items() if name != "inbox"})
    limit = data.draw(st.integers(1, 40))
    refs = [Ref(seq, "inbox") for seq in mine["inbox"]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "REFILL_ENTRIES", data.draw(st.integers(1, 3)))
        first = data.draw(st.integers(1, 3))
        sources = [Source(store, name, [Span(1, 99)], first) for name in "abc"]
        found, more = await merge(refs, sources, limit)
    assert [one.seq for one in found] == numbers[:limit]
    assert more == (len(numbers) > limit)
    kinds = ["inbox" if isinstance(one, Ref) else one.timeline for one in found]
    assert kinds == list(itertools.islice(owners, limit))
