"""Contracts of the port ``Directory``: it is changed through the log that it belongs to."""

from __future__ import annotations

from timewire.conversation import Conversation, Link
from timewire.directory import Device, Membership, Reading
from timewire.epochs import SYSTEM_MODES, Epoch, Mode, ModeName, mode_at
from timewire.model import (
    Change,
    Created,
    Draft,
    Linked,
    Members,
    Read,
    Settings,
    Unlinked,
    Window,
    encode_change,
)
from timewire.testing.contracts.logs import put
from timewire.testing.contracts.places import Contract, Stores, StoresPlace


async def change(store: Stores, conversation: str, change: Change, *, sender: str = "alice") -> int:
    """Put a message with a change into the log; its SeqId."""
    payload = encode_change(sender, "", change)
    [receipt] = await put(store.log, Draft(conversation, sender, "", payload, change))
    return receipt.seq


async def switch(store: Stores, name: str, mode: ModeName, floor: int = 1) -> int:
    """Give a conversation another mode; the SeqId of the change."""
    return await change(store, SYSTEM_MODES, Mode(name, mode, floor), sender="")


async def known(store: Stores, name: str) -> Conversation:
    """A conversation that must be there."""
    found = await store.directory.conversation(name)
    assert found is not None
    return found


class DirectoryContract(Contract[StoresPlace]):
    """What every directory promises."""

    async def test_nobody_is_there_at_first(self, store: Stores) -> None:
        assert await store.directory.conversation("team") is None
        assert await store.directory.members("team") == []
        assert await store.directory.memberships("alice") == []
        assert await store.directory.read_mark("alice", "team") == 0
        assert list(await store.directory.devices("alice")) == []

    async def test_a_conversation_is_made_by_its_first_message(self, store: Stores) -> None:
        seq = await change(store, "team", Created("group", ["carol", "alice"], "The team"))

        team = await known(store, "team")
        assert (team.name, team.kind, team.title) == ("team", "group", "The team")
        assert (team.created, team.changed) == (seq, seq)
        assert team.windows == {"carol": [Window(seq)], "alice": [Window(seq)]}
        assert list(team.windows) == ["carol", "alice"]  # in the order in which they joined
        assert await store.directory.members("team") == ["alice", "carol"]
        assert await store.directory.memberships("alice") == [Membership("team", [Window(seq)], 0)]

    async def test_changes_show_as_soon_as_they_are_staged(self, store: Stores) -> None:
        created = Created("group", ["alice"])
        first = store.log.append([Draft("team", "alice", "1", b"{}", created)])
        assert (await known(store, "team")).is_member("alice")
        second = store.log.append(
            [Draft("team", "alice", "2", b"{}", Members(joined=["bob"], left=["alice"]))]
        )
        team = await known(store, "team")
        assert (team.is_member("alice"), team.is_member("bob")) == (False, True)
        assert await store.directory.members("team") == ["bob"]
        assert [m.conversation for m in await store.directory.memberships("bob")] == ["team"]
        third = store.log.append([Draft("self:bob", "bob", "3", b"{}", Read("team", 1))])
        assert await store.directory.read_mark("bob", "team") == 1
        for answer in (first, second, third):
            await answer

    async def test_windows_are_exact(self, store: Stores) -> None:
        created = await change(store, "team", Created("group", ["alice", "bob"]))
        left = await change(store, "team", Members(left=["bob"]))
        back = await change(store, "team", Members(joined=["bob", "carol"]))
        gone = await change(store, "team", Members(left=["bob", "alice"]))

        team = await known(store, "team")
        assert team.windows == {
            "alice": [Window(created, gone)],
            "bob": [Window(created, left), Window(back, gone)],
            "carol": [Window(back)],
        }
        assert team.changed == gone
        assert team.members_at(created) == ["alice", "bob"]
        assert team.members_at(left) == ["alice", "bob"]
        assert team.members_at(back) == ["alice", "bob", "carol"]
        assert team.members_at(gone) == ["alice", "bob", "carol"]
        assert team.members_at(gone + 1) == ["carol"]
        assert await store.directory.members("team") == ["carol"]
        windows = [Window(created, left), Window(back, gone)]
        assert await store.directory.memberships("bob") == [Membership("team", windows, 0)]

    async def test_joining_twice_and_leaving_from_outside_change_nothing(
        self, store: Stores
    ) -> None:
        created = await change(store, "team", Created("group", ["alice"]))
        await change(store, "team", Members(joined=["alice"], left=["bob"]))

        team = await known(store, "team")
        assert team.windows == {"alice": [Window(created)]}
        assert await store.directory.memberships("bob") == []

    async def test_members_come_in_pages_in_byte_order(self, store: Stores) -> None:
        names = ["b", "a", "aa", "A", "é", "群", "\uffff", "🙂", "z" * 128]
        await change(store, "team", Created("group", names))
        await change(store, "team:", Created("group", ["other"]))
        await change(store, "team", Members(left=["aa"]))

        present = sorted(set(names) - {"aa"}, key=str.encode)
        assert await store.directory.members("team") == present
        assert await store.directory.members("team", limit=3) == present[:3]
        assert await store.directory.members("team", after=present[2], limit=3) == present[3:6]
        assert await store.directory.members("team", after="aa") == present[present.index("b") :]
        assert await store.directory.members("team", after=present[-1]) == []

    async def test_pages_of_members_stay_in_order_while_members_come_and_go(
        self, store: Stores
    ) -> None:
        names = [f"m{n:04}" for n in range(1200)]
        for at in range(0, 1200, 400):
            some = names[at : at + 400]
            change_of = Members(joined=some) if at else Created("room", some)
            await change(store, "live", change_of)
        await change(store, "live", Members(left=names[100:1100]))

        first = await store.directory.members("live", limit=90)
        assert first == names[:90]
        await change(store, "live", Members(joined=["a", "m0099a", "m0500"], left=["m0000"]))
        page = await store.directory.members("live", after=first[-1], limit=90)
        assert page == [*names[90:100], "m0099a", "m0500", *names[1100:1178]]
        rest = await store.directory.members("live", after=page[-1], limit=90)
        assert rest == names[1178:]
        assert (await known(store, "live")).size() == 202

    async def test_who_comes_back_keeps_the_place(self, store: Stores) -> None:
        await change(store, "team", Created("group", ["alice", "bob"]))
        await change(store, "team", Members(left=["alice"]))
        await change(store, "team", Members(joined=["carol", "alice"], left=["dave"]))
        team = await known(store, "team")
        assert list(team.windows) == ["alice", "bob", "carol"]
        assert set(team.audience(team.changed)) == {"alice", "bob", "carol"}
        assert team.size() == 3

    async def test_memberships_come_in_pages_in_byte_order(self, store: Stores) -> None:
        names = ["b", "a", "direct:alice:bob", "a:", "é", "群", "\uffff", "🙂", "self:alice"]
        made = {name: await change(store, name, Created("group", ["alice"])) for name in names}
        await change(store, "c", Created("group", ["alic", "alice2"]))
        left = await change(store, "b", Members(left=["alice"]))

        found = await store.directory.memberships("alice")
        in_order = sorted(names, key=str.encode)
        assert [m.conversation for m in found] == in_order
        assert {m.conversation: m.windows for m in found} == {
            name: [Window(seq, left if name == "b" else 0)] for name, seq in made.items()
        }
        assert await store.directory.memberships("alice", limit=4) == found[:4]
        assert await store.directory.memberships("alice", after=in_order[3], limit=2) == found[4:6]
        assert await store.directory.memberships("alice", after=in_order[-1]) == []

    async def test_marks_only_grow(self, store: Stores) -> None:
        seq = await change(store, "team", Created("group", ["alice", "bob"]))
        for mark, expected in [(3, 3), (2, 3), (9, 9)]:
            await change(store, "self:alice", Read("team", mark))
            assert await store.directory.read_mark("alice", "team") == expected
        assert await store.directory.read_mark("bob", "team") == 0
        assert await store.directory.read_mark("alice", "tea") == 0
        assert await store.directory.memberships("alice") == [Membership("team", [Window(seq)], 9)]
        assert await store.directory.memberships("bob") == [Membership("team", [Window(seq)], 0)]

    async def test_settings_are_each_users_own_and_the_last_ones_hold(self, store: Stores) -> None:
        assert await store.directory.settings("alice") == Settings()
        await change(store, "self:alice", Settings("nobody"))
        assert await store.directory.settings("alice") == Settings("nobody")
        assert await store.directory.settings("alic") == Settings("all")
        await change(store, "self:alice", Settings("all"))
        assert await store.directory.settings("alice") == Settings("all")

    async def test_a_mode_counts_from_its_message_on(self, store: Stores) -> None:
        made = await change(store, "team", Created("group", ["alice", "bob"]))
        read = await switch(store, "team", "read")
        push = await switch(store, "team", "push")
        write = await switch(store, "team", "write")

        team = await known(store, "team")
        epochs = [Epoch(read, "read"), Epoch(push, "push"), Epoch(write, "write")]
        assert (team.epochs, team.changed) == (epochs, made)
        seqs = (made, read, read + 1, push, push + 1, write + 1)
        modes = ["write", "write", "read", "read", "push", "write"]
        assert [mode_at(team.epochs, seq) for seq in seqs] == modes
        assert await store.directory.conversation(SYSTEM_MODES) is None

    async def test_epochs_that_ended_before_the_floor_are_forgotten(self, store: Stores) -> None:
        await change(store, "team", Created("group", ["alice"]))
        first = await switch(store, "team", "read")
        second = await switch(store, "team", "write", first)
        third = await switch(store, "team", "read", second)
        team = await known(store, "team")
        assert team.epochs == [Epoch(first, "read"), Epoch(second, "write"), Epoch(third, "read")]
        fourth = await switch(store, "team", "write", third)
        assert (await known(store, "team")).epochs == [Epoch(third, "read"), Epoch(fourth, "write")]
        assert await store.directory.reading("alice") == Reading(["team"], 1)
        fifth = await switch(store, "team", "push", fourth + 1)
        assert (await known(store, "team")).epochs == [Epoch(fifth, "push")]
        assert await store.directory.reading("alice") == Reading([], 1)

    async def test_what_a_user_reads_is_what_was_read_while_one_is_or_was_a_member(
        self, store: Stores
    ) -> None:
        reading = store.directory.reading
        assert await reading("alice") == Reading([], 0)
        await change(store, "team", Created("group", ["alice", "bob"]))
        await change(store, "crew", Created("group", ["alice"]))
        assert await reading("alice") == Reading([], 2)
        await switch(store, "team", "read")
        assert await reading("alice") == Reading(["team"], 2)
        assert await reading("bob") == Reading(["team"], 1)
        assert await reading("carol") == Reading([], 0)
        await change(store, "team", Members(joined=["carol"], left=["bob"]))
        assert await reading("carol") == Reading(["team"], 1)
        await switch(store, "team", "write")
        assert await reading("bob") == Reading(["team"], 1)
        await change(store, "crew", Members(joined=["bob"]))
        await switch(store, "crew", "push")
        assert await reading("bob") == Reading(["team"], 2)

    async def test_a_mode_of_what_is_not_there_changes_nothing(self, store: Stores) -> None:
        await switch(store, "team", "read")
        assert await store.directory.conversation("team") is None
        await change(store, "team", Created("group", ["alice"]))
        assert (await known(store, "team")).epochs == []
        assert await store.directory.reading("alice") == Reading([], 1)

    async def test_devices_are_listed_by_name(self, store: Stores) -> None:
        for device, time in [("phone", 100), ("laptop", 200), ("phone", 300), ("平板", 5)]:
            await store.directory.seen("alice", device, time)
        await store.directory.seen("alic", "other", 1)

        devices = [Device("laptop", 200), Device("phone", 300), Device("平板", 5)]
        assert list(await store.directory.devices("alice")) == devices
        assert list(await store.directory.devices("alice", limit=2)) == devices[:2]
        assert list(await store.directory.devices("bob")) == []


class DirectoryReopenContract(Contract[StoresPlace]):
    """What a directory promises that outlives its process."""

    async def test_links_and_who_came_by_them_are_there_again(self, store: Stores) -> None:
        await change(store, "team", Created("group", ["alice"]))
        await change(store, "team", Linked("a", "admin", 2, 0))
        await change(store, "team", Linked("b", "member", 0, 9))
        await change(store, "team", Linked("c"))
        await change(store, "team", Unlinked("c"))
        await change(store, "team", Members(joined=["bob"], link="a"), sender="bob")
        await change(store, "team", Members(joined=["carol"], link="gone"), sender="carol")
        team = await known(store, "team")
        links = {"a": Link("admin", 2, 1), "b": Link("member", 0, 0, 9)}
        assert (team.links, team.roles) == (links, {"alice": "owner", "bob": "admin"})

        await self.at.close()
        store = await self.at.open()
        team = await known(store, "team")
        assert (team.links, team.roles) == (links, {"alice": "owner", "bob": "admin"})
        await change(store, "team", Members(joined=["dave"], link="a"), sender="dave")
        assert (await known(store, "team")).links["a"].is_used_up()

    async def test_everything_is_there_again(self, store: Stores) -> None:
        created = await change(store, "team", Created("group", ["bob", "alice"], "The team"))
        left = await change(store, "team", Members(joined=["carol"], left=["bob"]))
        back = await change(store, "team", Members(joined=["bob"]))
        await change(store, "self:alice", Read("team", left))
        await change(store, "self:alice", Settings("nobody"))
        await store.directory.seen("alice", "phone", 100)
        read = await switch(store, "team", "read")

        await self.at.close()
        store = await self.at.open()
        team = await known(store, "team")
        assert list(team.windows) == ["bob", "alice", "carol"]
        assert (team.size(), set(team.audience(left))) == (3, {"alice", "bob", "carol"})
        assert (team.kind, team.title) == ("group", "The team")
        assert (team.created, team.changed) == (created, back)
        assert team.windows == {
            "bob": [Window(created, left), Window(back)],
            "alice": [Window(created)],
            "carol": [Window(left)],
        }
        assert sorted(team.members_at(left)) == ["alice", "bob", "carol"]
        assert await store.directory.members("team") == ["alice", "bob", "carol"]
        assert await store.directory.memberships("alice") == [
            Membership("team", [Window(created)], left)
        ]
        assert await store.directory.read_mark("alice", "team") == left
        assert await store.directory.settings("alice") == Settings("nobody")
        assert list(await store.directory.devices("alice")) == [Device("phone", 100)]
        assert team.epochs == [Epoch(read, "read")]
        assert await store.directory.reading("carol") == Reading(["team"], 1)

        gone = await change(store, "team", Members(left=["alice"]))
        await change(store, "self:alice", Read("team", 1))
        assert (await known(store, "team")).windows["alice"] == [Window(created, gone)]
        assert await store.directory.read_mark("alice", "team") == left
