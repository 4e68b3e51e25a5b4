"""Contracts of the port ``MessageLog`` and of the message store that the log writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TypeVar

import pytest

from timewire.errors import TimewireError, Unusable
from timewire.log import MAX_READ_MESSAGES, MessageLog
from timewire.model import Change, Created, Draft, Members, Receipt, Ref, Stored, encode_stored
from timewire.testing.contracts.places import (
    KEYS_DAYS,
    Contract,
    Stores,
    StoresPlace,
)

DAY_MS = 24 * 60 * 60 * 1000

T = TypeVar("T")


def draft(
    conversation: str,
    id: str,
    text: str = "hello",
    *,
    sender: str = "alice",
    change: Change | None = None,
    origin: object = None,
) -> Draft:
    """A draft whose payload says what is in it."""
    payload = encode_stored(sender, id, "text", {"text": text})
    return Draft(conversation, sender, id, payload, change, origin)


async def within(action: Awaitable[T]) -> T:
    """The action's result; a minute without one is a failure, not a hanging test."""
    async with asyncio.timeout(60):
        return await action


async def put(log: MessageLog, *drafts: Draft) -> list[Receipt]:
    """Append drafts none of which may be refused."""
    results = await within(log.append(drafts))
    receipts = [result for result in results if isinstance(result, Receipt)]
    assert len(receipts) == len(drafts), results
    return receipts


async def take(tail: AsyncIterator[Sequence[Stored]], count: int) -> list[Stored]:
    """The next messages of a tail: batches until there are ``count``, and no more than that."""
    found: list[Stored] = []
    while len(found) < count:
        batch = await within(anext(tail))
        assert 1 <= len(batch) <= MAX_READ_MESSAGES
        found += batch
    assert len(found) == count
    return found


def plain(messages: Sequence[Stored]) -> list[tuple[int, int, str, bytes]]:
    """What is stored of messages, to be compared."""
    return [(m.seq, m.time, m.conversation, m.payload) for m in messages]


def code(result: Receipt | TimewireError | None) -> str | None:
    """The code of a refusal."""
    return result.code if isinstance(result, TimewireError) else None


class MessageLogContract(Contract[StoresPlace]):
    """What every message log promises."""

    # One order

    async def test_an_empty_log(self, store: Stores) -> None:
        assert store.log.head == 0
        assert store.log.epoch
        assert await store.log.read(0) == []
        assert await store.log.fetch([Ref(1, "team")]) == []
        assert await within(store.log.append([])) == []
        assert await store.log.find(draft("team", "1")) is None

    async def test_order_is_that_of_calls_and_drafts(self, store: Stores) -> None:
        calls = [[draft("ab"[i % 2], f"{n}.{i}") for i in range(n)] for n in (3, 1, 4)]
        answers = await asyncio.gather(*(store.log.append(call) for call in calls))

        given = [
            result.seq for answer in answers for result in answer if isinstance(result, Receipt)
        ]
        assert len(given) == 8
        assert given == sorted(set(given))
        assert given[0] >= 1
        assert store.log.head == given[-1]
        stored = await store.log.read(0)
        assert [m.seq for m in stored] == given
        assert [m.payload for m in stored] == [d.payload for call in calls for d in call]
        assert [m.conversation for m in stored] == [d.conversation for call in calls for d in call]

    async def test_messages_are_in_their_conversations(self, store: Stores) -> None:
        self.clock.now = 1234
        names = ["team", "direct:alice:bob", "team:", "群聊", "team"]
        drafts = [draft(name, str(i)) for i, name in enumerate(names)]
        receipts = await put(store.log, *drafts)

        for name in set(names):
            page = await store.messages.scan(name)
            assert [(e.timeline, e.seq, e.time, e.payload) for e in page.entries] == [
                (name, r.seq, 1234, d.payload)
                for d, r in zip(drafts, receipts, strict=True)
                if d.conversation == name
            ]
        assert await store.messages.timelines() == sorted(set(names), key=str.encode)
        assert await store.messages.count("team") == 2
        last = await store.messages.last("team")
        assert last is not None
        assert last.seq == store.log.head

    async def test_times_never_go_back(self, store: Stores) -> None:
        times: list[int] = []
        for now in (5000, 4000, 4500, 6000, 1):
            self.clock.now = now
            times.append((await put(store.log, draft("team", str(now))))[0].time)
        assert times == [5000, 5000, 5000, 6000, 6000]
        assert [m.time for m in await store.log.read(0)] == times

    # Staged, then durable

    async def test_nothing_is_readable_before_it_is_durable(self, store: Stores) -> None:
        await put(store.log, draft("team", "1"))
        head = store.log.head
        staged = store.log.append([draft("team", "2"), draft("new", "3")])

        assert not staged.done()
        assert store.log.head == head
        while not staged.done():
            before = store.log.head
            messages = await store.log.read(head)
            count = await store.messages.count("new")
            if store.log.head == before == head:  # whoever reads sees no more than the head says
                assert (messages, count) == ([], 0)
            await asyncio.sleep(0)

        results = await staged
        last = results[-1]
        assert isinstance(last, Receipt)
        assert store.log.head == last.seq
        assert len(await store.log.read(head)) == 2
        assert await store.messages.count("new") == 1

    async def test_head_never_is_past_what_can_be_read(self, store: Stores) -> None:
        calls = [store.log.append([draft("team", f"{i}.{j}") for j in range(3)]) for i in range(20)]
        appending = asyncio.gather(*calls)
        while not appending.done():
            head = store.log.head
            stored = await store.log.read(0)
            assert (stored[-1].seq if stored else 0) >= head
            assert await store.messages.count("team") >= len(stored)
            await asyncio.sleep(0)
        await appending

    async def test_one_who_stops_waiting_stops_nothing(self, store: Stores) -> None:
        first = store.log.append([draft("team", "1")])
        second = store.log.append([draft("team", "2")])
        first.cancel()
        assert isinstance((await within(second))[0], Receipt)
        again = await put(store.log, draft("team", "1"), draft("team", "3"))
        assert [r.repeated for r in again] == [True, False]

    # Exactly once

    async def test_a_repeat_gets_the_first_receipt(self, store: Stores) -> None:
        [first] = await put(store.log, draft("team", "1"))
        self.clock.now += 1000
        [again] = await put(store.log, draft("team", "1"))

        assert (first.repeated, again.repeated) == (False, True)
        assert (again.seq, again.time) == (first.seq, first.time)
        assert store.log.head == first.seq
        assert await store.messages.count("team") == 1

    async def test_repeats_within_a_call_and_in_flight(self, store: Stores) -> None:
        call = [draft("team", "1"), draft("team", "2"), draft("team", "1")]
        one, two = store.log.append(call), store.log.append([draft("team", "2")])
        answers = [*await within(one), *await within(two)]

        receipts = [r for r in answers if isinstance(r, Receipt)]
        assert [r.repeated for r in receipts] == [False, False, True, True]
        assert receipts[2].seq == receipts[0].seq
        assert receipts[3].seq == receipts[1].seq
        assert store.log.head == receipts[1].seq
        assert len(await store.log.read(0)) == 2

    async def test_a_repeat_in_flight_is_answered_when_the_first_is_durable(
        self, store: Stores
    ) -> None:
        first = store.log.append([draft("team", "1")])
        found = asyncio.ensure_future(store.log.find(draft("team", "1")))
        repeat = store.log.append([draft("team", "1")])
        await within(repeat)
        assert first.done()
        receipt = await within(found)
        assert isinstance(receipt, Receipt)
        assert store.log.head == receipt.seq

    async def test_a_reused_id_leaves_its_neighbours_alone(self, store: Stores) -> None:
        await put(store.log, draft("team", "1"))
        answers = await within(
            store.log.append(
                [
                    draft("team", "before"),
                    draft("team", "1", "another text"),
                    draft("other", "1"),
                    draft("team", "1"),
                    draft("team", "after"),
                ]
            )
        )
        assert [code(answer) for answer in answers] == [None, "id_reused", "id_reused", None, None]
        texts = [m.payload for m in await store.log.read(0)]
        assert texts == [draft("team", id).payload for id in ("1", "before", "after")]
        assert await store.messages.timelines() == ["team"]

    async def test_ids_are_their_senders_own(self, store: Stores) -> None:
        senders = [("alice", "1"), ("bob", "1"), ("a", "lice1"), ("al", "ice1"), ("alice", "11")]
        drafts = [draft("team", id, sender=sender) for sender, id in senders]
        given = [r.seq for r in await put(store.log, *drafts)]
        assert len(set(given)) == len(senders)
        assert [r.seq for r in await put(store.log, *drafts)] == given

    async def test_a_draft_without_an_id_has_no_key(self, store: Stores) -> None:
        receipts = await put(store.log, draft("team", ""), draft("team", ""))
        assert [r.repeated for r in receipts] == [False, False]
        assert await store.log.find(draft("team", "")) is None
        assert len(await store.log.read(0)) == 2

    async def test_find_says_what_append_would(self, store: Stores) -> None:
        [first] = await put(store.log, draft("team", "1"))
        head = store.log.head

        found = await store.log.find(draft("team", "1"))
        assert found == Receipt(first.seq, first.time, repeated=True)
        assert code(await store.log.find(draft("team", "1", "another text"))) == "id_reused"
        assert code(await store.log.find(draft("other", "1"))) == "id_reused"
        assert await store.log.find(draft("team", "2")) is None
        assert store.log.head == head

    async def test_ids_live_for_their_time(self, store: Stores) -> None:
        [first] = await put(store.log, draft("team", "1"))
        self.clock.now += KEYS_DAYS * DAY_MS - 1
        [again] = await put(store.log, draft("team", "1"))
        assert (again.seq, again.repeated) == (first.seq, True)

    async def test_a_repeated_change_is_applied_once(self, store: Stores) -> None:
        await put(store.log, draft("team", "1", change=Created("group", ["alice", "bob"])))
        leave = draft("team", "2", sender="bob", change=Members(left=["bob"]))
        join = draft("team", "3", change=Members(joined=["bob"]))
        for change in (leave, join, leave):
            await put(store.log, change)
        assert await store.directory.members("team") == ["alice", "bob"]

    async def test_a_refused_change_is_not_applied(self, store: Stores) -> None:
        await put(store.log, draft("team", "1", change=Created("group", ["alice"])))
        reused = draft("team", "1", "another text", change=Members(joined=["bob"]))
        [answer] = await within(store.log.append([reused]))
        assert code(answer) == "id_reused"
        assert await store.directory.members("team") == ["alice"]

    # Reading

    async def test_read_goes_on_from_any_point(self, store: Stores) -> None:
        given = [r.seq for r in await put(store.log, *(draft("team", str(i)) for i in range(7)))]

        assert [m.seq for m in await store.log.read(given[2])] == given[3:]
        assert [m.seq for m in await store.log.read(given[2], limit=2)] == given[3:5]
        assert [m.seq for m in await store.log.read(0, limit=1)] == given[:1]
        assert await store.log.read(given[-1]) == []
        assert await store.log.read(given[-1] + 100) == []

    async def test_read_is_bounded(self, store: Stores) -> None:
        many = [draft("team", str(i)) for i in range(MAX_READ_MESSAGES + 5)]
        given = [r.seq for r in await put(store.log, *many)]
        assert [m.seq for m in await store.log.read(0)] == given[:MAX_READ_MESSAGES]
        found = await take(store.log.tail(0), len(given))
        assert [m.seq for m in found] == given

    async def test_fetch_answers_in_the_order_asked_for(self, store: Stores) -> None:
        a1, b2, a3 = await put(store.log, draft("a", "1"), draft("b", "2"), draft("a", "3"))
        refs = [
            Ref(a3.seq, "a"),
            Ref(a1.seq, "b"),  # not there
            Ref(b2.seq, "b"),
            Ref(a3.seq + 100, "a"),  # not yet
            Ref(a1.seq, "a"),
        ]
        stored = {m.seq: m for m in await store.log.read(0)}
        expected = [stored[r.seq] for r in (a3, b2, a1)]
        assert plain(await store.log.fetch(refs)) == plain(expected)
        assert await store.log.fetch([]) == []

    async def test_a_redacted_message_is_empty_everywhere(self, store: Stores) -> None:
        one, two = await put(store.log, draft("team", "1"), draft("team", "2"))
        assert await store.messages.redact("team", one.seq)

        places = [Ref(one.seq, "team"), Ref(two.seq, "team")]
        for found in [
            await store.log.read(0),
            await store.log.fetch(places),
            await take(store.log.tail(0), 2),
        ]:
            assert [m.payload for m in found] == [b"", draft("team", "2").payload]
        [again] = await put(store.log, draft("team", "1"))
        assert (again.seq, again.repeated) == (one.seq, True)

    async def test_a_tail_starts_anywhere_and_waits_for_more(self, store: Stores) -> None:
        given = await put(store.log, *(draft("team", str(i)) for i in range(5)))
        tail = store.log.tail(given[1].seq)
        found = await take(tail, 3)
        waiting = asyncio.ensure_future(take(tail, 2))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        given += await put(store.log, draft("other", "a"), draft("team", "b"))
        found += await within(waiting)

        assert [m.seq for m in found] == [r.seq for r in given[2:]]
        assert plain(found) == plain(await store.log.read(given[1].seq))

    async def test_tails_are_independent(self, store: Stores) -> None:
        tails = [store.log.tail(0) for _ in range(3)]
        reading = [asyncio.ensure_future(take(tail, 40)) for tail in tails]
        for i in range(20):
            store.log.append([draft("team", f"{i}.1"), draft("team", f"{i}.2")])
            if i % 3 == 0:
                await asyncio.sleep(0)
        found = await within(asyncio.gather(*reading))
        assert plain(found[0]) == plain(found[1]) == plain(found[2])
        assert plain(found[0]) == plain(await store.log.read(0))

    async def test_a_tail_past_the_head_waits_for_its_place(self, store: Stores) -> None:
        [one] = await put(store.log, draft("team", "1"))
        tail = store.log.tail(one.seq)
        [two] = await put(store.log, draft("team", "2"))
        assert [m.seq for m in await take(tail, 1)] == [two.seq]

    async def test_a_tail_ends_when_the_log_is_closed(self, store: Stores) -> None:
        async def read_all() -> list[int]:
            return [m.seq async for batch in store.log.tail(0) for m in batch]

        reading = asyncio.ensure_future(read_all())
        [one] = await put(store.log, draft("team", "1"))
        await asyncio.sleep(0)
        await store.log.aclose()
        assert await within(reading) in ([], [one.seq])

    async def test_a_closed_log_says_so(self, store: Stores) -> None:
        last_call = store.log.append([draft("team", "1")])
        await store.log.aclose()
        await store.log.aclose()
        assert isinstance((await within(last_call))[0], Receipt)

        async def append() -> object:
            return await store.log.append([draft("team", "2")])

        for action in [
            append(),
            store.log.read(0),
            store.log.fetch([]),
            store.log.find(draft("a", "1")),
        ]:
            with pytest.raises(Unusable) as caught:
                await action
            assert caught.value.code == "closed"


class LogOriginContract(Contract[StoresPlace]):
    """What a log promises whose consumers live in the same process: a tail hands on the origin."""

    async def test_a_tail_at_the_head_hands_on_the_origin(self, store: Stores) -> None:
        tail = store.log.tail(0)
        waiting = asyncio.ensure_future(take(tail, 2))
        await asyncio.sleep(0)
        origin = object()
        await put(store.log, draft("team", "1", origin=origin), draft("team", "2"))
        assert [m.origin for m in await within(waiting)] == [origin, None]
