"""Contract of the port ``TimelineStore``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable

import pytest

from timewire.errors import Invalid, Unusable
from timewire.model import MAX_PAGE_ENTRIES, MAX_SEQ, Entry, Page
from timewire.names import MAX_TIMELINE_BYTES
from timewire.testing.contracts.places import Contract, TimelinesPlace
from timewire.timeline import (
    MAX_APPEND_ENTRIES,
    MAX_KEY_BYTES,
    MAX_PAYLOAD_BYTES,
    Append,
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
    "\uffff",  # in UTF-16 it sorts after the next one, in UTF-8 before
    "🙂",
    "😀" * (MAX_TIMELINE_BYTES // 4),
]
"""Names that are easily confused, or sorted wrongly, by prefixes, encodings or normal forms."""

BAD_NAMES = ["", "a\x00", "\n", "a\u2028", "\ud800", "n" * (MAX_TIMELINE_BYTES + 1)]


def seqs(entries: Iterable[Entry]) -> list[int]:
    """The SeqIds of entries, in their order."""
    return [entry.seq for entry in entries]


def payloads(entries: Iterable[Entry]) -> list[bytes]:
    """The payloads of entries, in their order."""
    return [entry.payload for entry in entries]


async def everything(store: TimelineStore, timeline: str) -> list[Entry]:
    """A whole timeline, by pages of two, which must be exact."""
    found: list[Entry] = []
    while True:
        page = await store.scan(timeline, after=found[-1].seq if found else 0, limit=2)
        found += page.entries
        if not page.has_more:
            return found
        assert len(page.entries) == 2


async def refuses(code: str, action: Awaitable[object]) -> None:
    """Check that the action raises ``Invalid`` with this code."""
    with pytest.raises(Invalid) as caught:
        await action
    assert caught.value.code == code


class TimelineStoreContract(Contract[TimelinesPlace]):
    """What every timeline store promises."""

    # Order and reading

    async def test_an_unknown_timeline_is_an_empty_one(self, store: TimelineStore) -> None:
        assert await store.scan("a") == Page([], False)
        assert await store.scan_back("a") == Page([], False)
        assert await store.get("a", 1) is None
        assert await store.get_many("a", [1, 2]) == [None, None]
        assert await store.last("a") is None
        assert await store.count("a") == 0
        assert await store.floor("a") == 1
        assert await store.redact("a", 1) is False
        await store.trim("a", 5)
        assert await store.floor("a") == 1
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
        assert (await store.scan_back("a")).entries == entries[::-1]

    async def test_the_largest_payload_is_taken(self, store: TimelineStore) -> None:
        seq = await store.append("a", b"x" * MAX_PAYLOAD_BYTES)
        found = await store.get("a", seq)
        assert found is not None
        assert found.payload == b"x" * MAX_PAYLOAD_BYTES

    async def test_scans_go_both_ways_within_their_bounds(self, store: TimelineStore) -> None:
        for seq in (2, 3, 5, 7, 11):
            await store.append("a", b"%d" % seq, seq=seq)

        assert seqs((await store.scan("a", after=2)).entries) == [3, 5, 7, 11]
        assert seqs((await store.scan("a", after=2, upto=7)).entries) == [3, 5, 7]
        assert seqs((await store.scan("a", after=3, upto=6)).entries) == [5]
        assert seqs((await store.scan("a", upto=1)).entries) == []
        assert seqs((await store.scan("a", after=7, upto=3)).entries) == []
        assert seqs((await store.scan("a", after=11)).entries) == []
        assert seqs((await store.scan_back("a")).entries) == [11, 7, 5, 3, 2]
        assert seqs((await store.scan_back("a", before=7)).entries) == [5, 3, 2]
        assert seqs((await store.scan_back("a", before=8, downto=3)).entries) == [7, 5, 3]
        assert seqs((await store.scan_back("a", before=2)).entries) == []
        assert seqs((await store.scan_back("a", before=3, downto=5)).entries) == []

    async def test_has_more_is_exact(self, store: TimelineStore) -> None:
        for seq in (1, 2, 3, 4):
            await store.append("a", b"", seq=seq)
        await store.append("aa", b"", seq=5)

        assert (await store.scan("a", limit=3)).has_more
        assert not (await store.scan("a", limit=4)).has_more
        assert not (await store.scan("a", limit=MAX_PAGE_ENTRIES)).has_more
        assert (await store.scan("a", after=1, upto=3, limit=1)).has_more
        assert not (await store.scan("a", after=1, upto=3, limit=2)).has_more
        assert (await store.scan_back("a", limit=3)).has_more
        assert not (await store.scan_back("a", limit=4)).has_more
        assert (await store.scan_back("a", before=4, downto=2, limit=1)).has_more
        assert not (await store.scan_back("a", before=4, downto=2, limit=2)).has_more

    async def test_get_many_answers_in_the_order_asked_for(self, store: TimelineStore) -> None:
        for seq in (1, 3, 5):
            await store.append("a", b"%d" % seq, seq=seq)
        await store.append("b", b"other", seq=2)

        found = await store.get_many("a", [5, 2, 1, 5, 9])
        assert [entry and entry.payload for entry in found] == [b"5", None, b"1", b"5", None]
        assert await store.get_many("a", []) == []

    async def test_count_is_what_a_scan_gives(self, store: TimelineStore) -> None:
        for seq in (2, 3, 5, 7):
            await store.append("a", b"", seq=seq)
        for after, upto, expected in [(0, None, 4), (2, None, 3), (2, 5, 2), (7, None, 0)]:
            assert await store.count("a", after=after, upto=upto) == expected
            page = await store.scan("a", after=after, upto=upto)
            assert len(page.entries) == expected

    async def test_names_are_kept_apart_and_listed_in_byte_order(
        self, store: TimelineStore
    ) -> None:
        for name in ODD_NAMES:
            await store.append(name, name.encode(), seq=7)

        for name in ODD_NAMES:
            assert payloads(await everything(store, name)) == [name.encode()]
            assert payloads((await store.scan_back(name)).entries) == [name.encode()]
            assert await store.last(name) == await store.get(name, 7)
        in_order = sorted(ODD_NAMES, key=str.encode)
        assert await store.timelines() == in_order
        assert await store.timelines(limit=3) == in_order[:3]
        assert await store.timelines(after=in_order[2], limit=3) == in_order[3:6]
        assert await store.timelines(after="a:a") == in_order[in_order.index("a:b") :]
        assert await store.timelines(after=in_order[-1]) == []

    # Two ways to number

    async def test_the_store_numbers_over_all_timelines(self, store: TimelineStore) -> None:
        given = [await store.append(name, b"") for name in ("a", "b", "a", "c", "b")]
        assert given == sorted(set(given))
        assert given[0] >= 1
        assert seqs(await everything(store, "a")) == [given[0], given[2]]

    async def test_simultaneous_appends_are_numbered_in_the_order_of_their_calls(
        self, store: TimelineStore
    ) -> None:
        appends = [store.append("a", b"%d" % i, durable=i % 5 > 0) for i in range(50)]
        given = await asyncio.gather(*appends)
        assert given == sorted(set(given))
        assert payloads(await everything(store, "a")) == [b"%d" % i for i in range(50)]

    async def test_readers_see_a_prefix_that_only_grows(self, store: TimelineStore) -> None:
        writing = asyncio.gather(*(store.append("a", b"", durable=i % 3 > 0) for i in range(60)))
        seen: list[list[int]] = []
        while not writing.done():
            await asyncio.sleep(0)
            seen.append(seqs((await store.scan("a")).entries))
        given = await writing
        for found in seen:
            assert found == given[: len(found)]
        assert [len(found) for found in seen] == sorted(len(found) for found in seen)

    async def test_callers_number_up_to_the_largest_seqid(self, store: TimelineStore) -> None:
        for seq in (1, 255, 256, 2**32, MAX_SEQ - 1, MAX_SEQ):
            assert await store.append("a", b"%d" % seq, seq=seq) == seq

        assert seqs(await everything(store, "a")) == [1, 255, 256, 2**32, MAX_SEQ - 1, MAX_SEQ]
        assert seqs((await store.scan("a", after=MAX_SEQ - 1)).entries) == [MAX_SEQ]
        assert seqs((await store.scan("a", after=MAX_SEQ)).entries) == []
        assert seqs((await store.scan_back("a", before=MAX_SEQ, limit=1)).entries) == [MAX_SEQ - 1]
        assert await store.count("a", after=2**32, upto=MAX_SEQ) == 2
        await refuses("seq_regressed", store.append("a", b"", seq=MAX_SEQ - 2))

    async def test_large_numbers_of_callers_leave_the_stores_own_alone(
        self, store: TimelineStore
    ) -> None:
        await store.append("manual", b"", seq=MAX_SEQ)
        first = await store.append("auto", b"")
        assert first < await store.append("auto", b"") < MAX_SEQ

    async def test_the_first_append_decides_who_numbers(self, store: TimelineStore) -> None:
        seq = await store.append("auto", b"")
        await refuses("seq_mode", store.append("auto", b"", seq=seq + 10))
        await store.append("manual", b"", seq=1)
        await refuses("seq_mode", store.append("manual", b""))
        await refuses("seq_mode", store.append_many([Append("c", b""), Append("c", b"", 9)]))
        await store.append("c", b"", seq=4)

    async def test_collisions_and_regressions_are_refused(self, store: TimelineStore) -> None:
        await store.append("a", b"four", seq=4)
        await store.append("a", b"nine", seq=9)
        before = await everything(store, "a")

        await refuses("seq_taken", store.append("a", b"other", seq=9))
        await refuses("seq_taken", store.append("a", b"other", seq=4))
        await refuses("seq_regressed", store.append("a", b"four", seq=5))
        await refuses("seq_regressed", store.append("a", b"four", seq=1))
        assert await everything(store, "a") == before

    async def test_an_identical_repeat_changes_nothing(self, store: TimelineStore) -> None:
        await store.append("a", b"four", seq=4)
        await store.append("a", b"nine", seq=9)
        before = await everything(store, "a")
        self.clock.now += 1000

        assert await store.append("a", b"four", seq=4) == 4
        assert await store.append("a", b"nine", seq=9) == 9
        assert await store.append_many([Append("a", b"nine", 9), Append("a", b"ten", 10)]) == [
            9,
            10,
        ]
        assert (await everything(store, "a"))[:2] == before
        assert await store.count("a") == 3

    # Idempotency

    async def test_a_known_key_gives_the_first_seqid(self, store: TimelineStore) -> None:
        first = await store.append("a", b"x", key=b"k")
        second = await store.append("a", b"x", key=b"k2")
        before = await everything(store, "a")
        self.clock.now += 1000

        assert await store.append("a", b"x", key=b"k") == first
        assert await store.append("a", b"x", key=b"k2", durable=False) == second
        await refuses("key_reused", store.append("a", b"y", key=b"k"))
        assert await everything(store, "a") == before

    async def test_keys_belong_to_their_timeline(self, store: TimelineStore) -> None:
        # Names and keys that would be one, were they only put side by side.
        pairs = [("a", b"ab"), ("aa", b"b"), ("b", b"ab"), ("a", b"\x00\xff"), ("a:b", b"k" * 256)]
        given = [await store.append(name, name.encode(), key=key) for name, key in pairs]
        assert len(set(given)) == len(pairs)
        again = [await store.append(name, name.encode(), key=key) for name, key in pairs]
        assert again == given

    async def test_keys_work_beside_given_seqids(self, store: TimelineStore) -> None:
        assert await store.append("a", b"x", seq=5, key=b"k") == 5
        assert await store.append("a", b"y", seq=6, key=b"k2") == 6
        assert await store.append("a", b"x", seq=5, key=b"k") == 5
        await refuses("key_reused", store.append("a", b"z", seq=7, key=b"k"))
        assert seqs(await everything(store, "a")) == [5, 6]

    async def test_a_key_is_known_while_its_first_append_is_on_its_way(
        self, store: TimelineStore
    ) -> None:
        given = await asyncio.gather(*(store.append("a", b"x", key=b"k") for _ in range(5)))
        assert len(set(given)) == 1
        assert await store.count("a") == 1

    # All or nothing

    async def test_append_many_applies_all_in_order(self, store: TimelineStore) -> None:
        before = await store.append("a", b"0")
        given = await store.append_many(
            [
                Append("a", b"1"),
                Append("b", b"2"),
                Append("m", b"3", seq=9),
                Append("a", b"4", key=b"k"),
                Append("a", b"4", key=b"k"),
                Append("m", b"3", seq=9),
            ]
        )
        assert before < given[0] < given[1] < given[3]
        assert given[2:] == [9, given[3], given[3], 9]
        assert payloads(await everything(store, "a")) == [b"0", b"1", b"4"]
        assert payloads(await everything(store, "m")) == [b"3"]
        assert await store.append_many([]) == []

    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            (Append("m", b"", seq=4), "seq_regressed"),
            (Append("m", b"", seq=5), "seq_taken"),
            (Append("m", b""), "seq_mode"),
            (Append("a", b"other", key=b"old"), "key_reused"),
            (Append("a", b"other", key=b"new"), "key_reused"),
            (Append("", b""), "bad_timeline"),
            (Append("a", b"", seq=0), "bad_seq"),
            (Append("a", b"", key=b""), "bad_key"),
            (Append("a", b"x" * (MAX_PAYLOAD_BYTES + 1)), "payload_too_large"),
        ],
        ids=lambda value: value if isinstance(value, str) else None,
    )
    async def test_append_many_applies_all_or_none(
        self, store: TimelineStore, bad: Append, code: str
    ) -> None:
        await store.append("a", b"", key=b"old")
        await store.append("m", b"five", seq=5)
        before = [await everything(store, name) for name in ("a", "m")]
        good = [Append("a", b"new", key=b"new"), Append("m", b"six", seq=6), Append("c", b"")]

        await refuses(code, store.append_many([*good, bad]))
        assert [await everything(store, name) for name in ("a", "m")] == before
        assert await store.timelines() == ["a", "m"]
        # Neither key, number nor way of numbering is taken.
        await store.append("a", b"another", key=b"new")
        await store.append("m", b"another", seq=6)
        await store.append("c", b"", seq=1)

    async def test_the_largest_batch_is_applied_and_a_larger_one_refused(
        self, store: TimelineStore
    ) -> None:
        batch = [Append("a", b"") for _ in range(MAX_APPEND_ENTRIES)]
        await refuses("batch_too_large", store.append_many([*batch, Append("a", b"")]))
        assert await store.count("a") == 0
        given = await store.append_many(batch, durable=False)
        assert given == sorted(set(given))
        assert await store.count("a") == MAX_APPEND_ENTRIES
        page = await store.scan("a", limit=MAX_PAGE_ENTRIES)
        assert (seqs(page.entries), page.has_more) == (given[:MAX_PAGE_ENTRIES], True)

    async def test_a_non_durable_append_is_readable_at_once(self, store: TimelineStore) -> None:
        seq = await store.append("a", b"x", durable=False)
        assert seqs((await store.scan("a")).entries) == [seq]

    # Redacting and the end of life

    async def test_a_redacted_entry_keeps_its_place_only(self, store: TimelineStore) -> None:
        first = await store.append("a", b"secret", key=b"k")
        second = await store.append("a", b"other")

        assert await store.redact("a", first) is True
        assert await store.redact("a", first) is True
        assert await store.redact("a", second + 1) is False
        assert await store.redact("aa", first) is False

        gone = Entry("a", first, self.clock.now, b"", redacted=True)
        other = Entry("a", second, self.clock.now, b"other")
        assert await store.get("a", first) == gone
        assert await store.get_many("a", [first]) == [gone]
        assert await everything(store, "a") == [gone, other]
        assert (await store.scan_back("a")).entries == [other, gone]
        assert await store.count("a") == 2
        assert await store.append("a", b"secret", key=b"k") == first
        assert await store.get("a", first) == gone

    async def test_trim_removes_the_oldest_end(self, store: TimelineStore) -> None:
        for seq in (1, 2, 3, 10):
            await store.append("a", b"", seq=seq)
            await store.append("aa", b"", seq=seq)

        await store.trim("a", 3)
        assert seqs(await everything(store, "a")) == [3, 10]
        assert await store.floor("a") == 3
        assert await store.get("a", 2) is None
        assert await store.redact("a", 2) is False
        assert await store.count("a") == 2
        await store.trim("a", 1)
        assert await store.floor("a") == 3
        assert seqs((await store.scan_back("a")).entries) == [10, 3]
        assert seqs(await everything(store, "aa")) == [1, 2, 3, 10]
        assert await store.floor("aa") == 1

    async def test_a_floor_past_the_end_is_one_past_the_last(self, store: TimelineStore) -> None:
        given = [await store.append("a", b"") for _ in range(3)]
        await store.trim("a", MAX_SEQ)
        assert await store.floor("a") == given[-1] + 1
        assert await store.last("a") is None
        assert await store.timelines() == []
        # What comes later has its place above all that ever was.
        assert await store.append("a", b"") > given[-1]
        assert await store.count("a") == 1

    async def test_removed_seqids_are_never_given_again(self, store: TimelineStore) -> None:
        await store.append("a", b"x", seq=5)
        await store.trim("a", 6)
        await refuses("seq_regressed", store.append("a", b"x", seq=5))
        await refuses("seq_mode", store.append("a", b"x"))
        assert await store.append("a", b"x", seq=6) == 6

    async def test_expire_removes_the_old_of_every_timeline(self, store: TimelineStore) -> None:
        for time, name, seq in [(100, "a", 1), (200, "a", 2), (200, "b", 5), (300, "a", 3)]:
            self.clock.now = time
            await store.append(name, b"", seq=seq)

        assert await store.expire(100) == 0
        assert await store.floor("a") == 1
        assert await store.expire(201) == 3
        assert seqs(await everything(store, "a")) == [3]
        assert (await store.floor("a"), await store.floor("b")) == (3, 6)
        assert await store.timelines() == ["a"]
        assert await store.expire(201) == 0

    async def test_expire_never_removes_a_middle(self, store: TimelineStore) -> None:
        for time in (100, 300, 100, 300):  # the clock went back once
            self.clock.now = time
            await store.append("a", b"%d" % time)

        assert await store.expire(200) == 1
        assert payloads(await everything(store, "a")) == [b"300", b"100", b"300"]

    # Arguments and closing

    @pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
    async def test_bad_names_are_refused(self, store: TimelineStore, name: str) -> None:
        await refuses("bad_timeline", store.append(name, b""))
        await refuses("bad_timeline", store.scan(name))
        await refuses("bad_timeline", store.get(name, 1))

    @pytest.mark.parametrize("seq", [0, -1, MAX_SEQ + 1, 2**64])
    async def test_bad_seqids_are_refused(self, store: TimelineStore, seq: int) -> None:
        await refuses("bad_seq", store.append("a", b"", seq=seq))
        await refuses("bad_seq", store.get("a", seq))
        await refuses("bad_seq", store.get_many("a", [1, seq]))
        await refuses("bad_seq", store.redact("a", seq))

    @pytest.mark.parametrize("seq", [-1, MAX_SEQ + 1])
    async def test_bad_bounds_are_refused(self, store: TimelineStore, seq: int) -> None:
        await refuses("bad_seq", store.scan("a", after=seq))
        await refuses("bad_seq", store.scan("a", upto=seq))
        await refuses("bad_seq", store.scan_back("a", before=seq))
        await refuses("bad_seq", store.scan_back("a", downto=seq))
        await refuses("bad_seq", store.count("a", after=seq))
        await refuses("bad_seq", store.trim("a", seq))

    @pytest.mark.parametrize("limit", [0, -1, MAX_PAGE_ENTRIES + 1])
    async def test_bad_limits_are_refused(self, store: TimelineStore, limit: int) -> None:
        await refuses("bad_limit", store.scan("a", limit=limit))
        await refuses("bad_limit", store.scan_back("a", limit=limit))
        await refuses("bad_limit", store.timelines(limit=limit))
        await refuses("bad_limit", store.get_many("a", [1] * (MAX_PAGE_ENTRIES + 1)))

    async def test_bad_keys_are_refused(self, store: TimelineStore) -> None:
        await refuses("bad_key", store.append("a", b"", key=b""))
        await refuses("bad_key", store.append("a", b"", key=b"k" * (MAX_KEY_BYTES + 1)))
        assert await store.timelines() == []

    async def test_a_closed_store_says_so(self, store: TimelineStore) -> None:
        last_call = asyncio.ensure_future(store.append("a", b""))
        await asyncio.sleep(0)
        await store.aclose()
        await store.aclose()
        assert await last_call >= 1
        for action in [
            store.append("a", b""),
            store.append("a", b"", durable=False),
            store.append_many([]),
            store.get("a", 1),
            store.get_many("a", [1]),
            store.scan("a"),
            store.scan_back("a"),
            store.last("a"),
            store.count("a"),
            store.redact("a", 1),
            store.trim("a", 2),
            store.expire(0),
            store.floor("a"),
            store.timelines(),
        ]:
            with pytest.raises(Unusable) as caught:
                await action
            assert caught.value.code == "closed"
