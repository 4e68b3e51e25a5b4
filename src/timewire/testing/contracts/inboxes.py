"""Contracts of the port ``Inbox``."""

from __future__ import annotations

from collections.abc import Iterable

from timewire.inbox import MAX_PUT_REFS, Delivery, Inbox, Traffic
from timewire.model import MAX_SEQ, Ref, Stored
from timewire.testing.contracts.places import (
    BUCKET_MS,
    Contract,
    CrashingStoresPlace,
    Stores,
    StoresPlace,
)


def delivery(seq: int, conversation: str, users: Iterable[str], time: int = 0) -> Delivery:
    """A message and the inboxes it goes to."""
    return Delivery(Stored(seq, time, conversation, b""), list(users))


async def inbox_of(inbox: Inbox, user: str) -> list[Ref]:
    """A user's whole inbox, by pages of two, which must be exact."""
    found: list[Ref] = []
    while True:
        refs, has_more = await inbox.scan(user, found[-1].seq if found else 0, MAX_SEQ, 2)
        found += refs
        if not has_more:
            return found
        assert len(refs) == 2


class InboxContract(Contract[StoresPlace]):
    """What every inbox promises."""

    async def test_an_empty_inbox(self, store: Stores) -> None:
        assert (store.inbox.position, store.inbox.floor) == (0, 1)
        assert await store.inbox.scan("alice", 0, MAX_SEQ, 10) == ([], False)
        await store.inbox.put([], 0)
        await store.inbox.expire(10**15)
        assert (store.inbox.position, store.inbox.floor) == (0, 1)

    async def test_references_are_in_the_order_of_their_seqids(self, store: Stores) -> None:
        inbox = store.inbox
        await inbox.put([delivery(1, "team", ["alice", "bob"]), delivery(2, "x", ["bob"])], 2)
        await inbox.put([delivery(255, "a", ["alice"]), delivery(256, "b", ["alice", "bob"])], 300)

        alice = [Ref(1, "team"), Ref(255, "a"), Ref(256, "b")]
        assert await inbox_of(inbox, "alice") == alice
        assert await inbox_of(inbox, "bob") == [Ref(1, "team"), Ref(2, "x"), Ref(256, "b")]
        assert await inbox_of(inbox, "carol") == []
        assert inbox.position == 300

    async def test_a_scan_keeps_within_its_bounds(self, store: Stores) -> None:
        inbox = store.inbox
        await inbox.put([delivery(seq, "team", ["alice"]) for seq in (2, 3, 5, 7)], 7)

        async def seqs(after: int, upto: int, limit: int) -> tuple[list[int], bool]:
            refs, has_more = await inbox.scan("alice", after, upto, limit)
            return [ref.seq for ref in refs], has_more

        assert await seqs(2, 5, 10) == ([3, 5], False)
        assert await seqs(2, 6, 2) == ([3, 5], False)
        assert await seqs(0, 7, 4) == ([2, 3, 5, 7], False)
        assert await seqs(0, 7, 3) == ([2, 3, 5], True)
        assert await seqs(0, 5, 2) == ([2, 3], True)
        assert await seqs(7, MAX_SEQ, 5) == ([], False)
        assert await seqs(5, 3, 5) == ([], False)

    async def test_users_are_kept_apart(self, store: Stores) -> None:
        users = ["a", "aa", "A", "é", "e\u0301", "用户", "🙂", "b" * 128]
        await store.inbox.put([delivery(i, u, [u]) for i, u in enumerate(users, 1)], len(users))
        for i, user in enumerate(users, 1):
            assert await inbox_of(store.inbox, user) == [Ref(i, user)]

    async def test_putting_twice_changes_nothing(self, store: Stores) -> None:
        inbox = store.inbox
        deliveries = [delivery(1, "team", ["alice", "bob"]), delivery(2, "x", ["alice"])]
        await inbox.put(deliveries, 2)
        await inbox.put(deliveries, 2)
        await inbox.put(deliveries[:1], 1)

        assert await inbox_of(inbox, "alice") == [Ref(1, "team"), Ref(2, "x")]
        assert inbox.position == 2  # it never moves back

    async def test_the_position_moves_over_what_is_in_no_inbox(self, store: Stores) -> None:
        await store.inbox.put([], 5)
        assert store.inbox.position == 5
        await store.inbox.put([delivery(6, "empty", [])], 6)
        assert store.inbox.position == 6

    async def test_only_what_is_in_mode_write_is_put_into_inboxes(self, store: Stores) -> None:
        inbox = store.inbox
        many = frozenset(f"u{i}" for i in range(2 * MAX_PUT_REFS))
        pushed = Delivery(Stored(3, 0, "room", b""), frozenset(["alice"]), "push")
        read = Delivery(Stored(2, 0, "crowd", b""), many | {"alice"}, "read")
        await inbox.put([delivery(1, "team", ["alice"]), read, pushed], 3)
        await inbox.put([read], 3)
        assert await inbox_of(inbox, "alice") == [Ref(1, "team")]
        assert await inbox_of(inbox, "u0") == []
        assert inbox.position == 3

    async def test_the_floor_passes_what_is_in_no_inbox_too(self, store: Stores) -> None:
        inbox = store.inbox
        late = Delivery(Stored(2, BUCKET_MS, "crowd", b""), frozenset(["alice"]), "read")
        await inbox.put([delivery(1, "team", ["alice"], 0), late], 2)
        await inbox.put([delivery(3, "team", ["alice"], 2 * BUCKET_MS)], 3)
        await inbox.expire(2 * BUCKET_MS)
        assert (inbox.floor, await inbox_of(inbox, "alice")) == (3, [Ref(3, "team")])

    async def test_traffic_is_there_to_be_counted_in(self, store: Stores) -> None:
        assert store.inbox.traffic == Traffic()
        store.inbox.traffic.pulls += 2
        await store.inbox.put([delivery(1, "team", ["alice"])], 1)
        assert store.inbox.traffic == Traffic(pulls=2)

    async def test_a_large_message_is_put_in_pieces(self, store: Stores) -> None:
        inbox = store.inbox
        users = [f"u{i}" for i in range(2 * MAX_PUT_REFS + 1)]
        pieces = [users[i : i + MAX_PUT_REFS] for i in range(0, len(users), MAX_PUT_REFS)]
        await inbox.put([delivery(1, "x", ["u0"])], 1)
        for piece in pieces:
            last = piece is pieces[-1]
            await inbox.put([delivery(2, "crowd", piece)], 2 if last else 1)
            assert inbox.position == (2 if last else 1)
        for user in (users[1], users[MAX_PUT_REFS], users[-1]):
            assert await inbox_of(inbox, user) == [Ref(2, "crowd")]
        assert await inbox_of(inbox, "u0") == [Ref(1, "x"), Ref(2, "crowd")]

    async def test_expiry_removes_whole_buckets_from_every_inbox(self, store: Stores) -> None:
        inbox = store.inbox
        await inbox.put(
            [
                delivery(1, "team", ["alice", "bob"], 0),
                delivery(2, "team", ["alice"], BUCKET_MS - 1),
                delivery(3, "team", ["alice", "bob"], BUCKET_MS),
                delivery(4, "team", ["carol"], 2 * BUCKET_MS),
            ],
            4,
        )
        await inbox.expire(BUCKET_MS - 1)  # the first bucket still has a younger message
        assert inbox.floor == 1
        await inbox.expire(BUCKET_MS)
        assert inbox.floor == 3
        assert await inbox_of(inbox, "alice") == [Ref(3, "team")]
        assert await inbox_of(inbox, "bob") == [Ref(3, "team")]
        await inbox.expire(0)
        await inbox.expire(2 * BUCKET_MS - 1)
        assert inbox.floor == 3
        await inbox.expire(10 * BUCKET_MS)
        assert inbox.floor == 5
        assert [await inbox_of(inbox, user) for user in ("alice", "bob", "carol")] == [[], [], []]
        assert inbox.position == 4

    async def test_what_has_expired_does_not_come_back(self, store: Stores) -> None:
        inbox = store.inbox
        old = [delivery(1, "team", ["alice"], 0), delivery(2, "team", ["alice"], 1)]
        await inbox.put(old, 2)
        await inbox.expire(BUCKET_MS)
        await inbox.put(old, 2)
        assert (await inbox_of(inbox, "alice"), inbox.floor) == ([], 3)

    async def test_what_comes_late_is_kept_until_the_next_expiry(self, store: Stores) -> None:
        # Fan-out may be behind: the floor promises that nothing above it is missing.
        inbox = store.inbox
        await inbox.put([delivery(1, "team", ["alice"], 0)], 1)
        await inbox.expire(BUCKET_MS)
        await inbox.put([delivery(2, "team", ["alice"], BUCKET_MS - 1)], 2)
        assert (await inbox_of(inbox, "alice"), inbox.floor) == ([Ref(2, "team")], 2)
        await inbox.put([delivery(3, "team", ["alice"], BUCKET_MS)], 3)
        await inbox.expire(BUCKET_MS)
        assert (await inbox_of(inbox, "alice"), inbox.floor) == ([Ref(3, "team")], 3)


class InboxReopenContract(Contract[StoresPlace]):
    """What an inbox promises that outlives its process."""

    async def test_references_position_and_floor_are_there_again(self, store: Stores) -> None:
        await store.inbox.put(
            [
                delivery(1, "team", ["alice", "bob"], 0),
                delivery(2, "team", ["alice"], BUCKET_MS),
                delivery(3, "x", ["bob"], 2 * BUCKET_MS),
            ],
            7,
        )
        store.inbox.traffic.read += 5
        await store.inbox.expire(BUCKET_MS)

        await self.at.close()
        store = await self.at.open()
        assert (store.inbox.position, store.inbox.floor) == (7, 2)
        assert store.inbox.traffic == Traffic(read=5)
        assert await inbox_of(store.inbox, "alice") == [Ref(2, "team")]
        assert await inbox_of(store.inbox, "bob") == [Ref(3, "x")]
        await store.inbox.put([delivery(1, "team", ["alice"], 0)], 1)
        await store.inbox.expire(2 * BUCKET_MS)
        assert (store.inbox.position, store.inbox.floor) == (7, 3)
        assert await inbox_of(store.inbox, "alice") == []

    async def test_all_can_expire_before_reopening(self, store: Stores) -> None:
        await store.inbox.put([delivery(4, "team", ["alice"], 0)], 4)
        await store.inbox.expire(BUCKET_MS)

        await self.at.close()
        store = await self.at.open()
        assert (store.inbox.position, store.inbox.floor) == (4, 5)
        await store.inbox.put([delivery(5, "team", ["alice"], 5 * BUCKET_MS)], 5)
        assert await inbox_of(store.inbox, "alice") == [Ref(5, "team")]


class InboxCrashContract(Contract[CrashingStoresPlace]):
    """What such an inbox promises of a crash."""

    async def test_position_and_references_are_lost_together_from_the_end(
        self, store: Stores
    ) -> None:
        for seq in range(1, 21):
            users = ["alice", "bob"] if seq % 2 else ["alice"]
            await store.inbox.put([delivery(seq, "team", users, seq * BUCKET_MS // 4)], seq)

        await self.at.crash()
        store = await self.at.open()
        position = store.inbox.position
        assert 0 <= position <= 20
        alice = [ref.seq for ref in await inbox_of(store.inbox, "alice")]
        bob = [ref.seq for ref in await inbox_of(store.inbox, "bob")]
        # Everything up to the position is there: fan-out makes the rest again.
        assert [seq for seq in alice if seq <= position] == list(range(1, position + 1))
        assert [seq for seq in bob if seq <= position] == list(range(1, position + 1, 2))
        for seq in range(position + 1, 21):
            users = ["alice", "bob"] if seq % 2 else ["alice"]
            await store.inbox.put([delivery(seq, "team", users, seq * BUCKET_MS // 4)], seq)
        assert [ref.seq for ref in await inbox_of(store.inbox, "alice")] == list(range(1, 21))
        assert [ref.seq for ref in await inbox_of(store.inbox, "bob")] == list(range(1, 21, 2))
