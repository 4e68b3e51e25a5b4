"""Questions: history, conversations, members; never more than one may see, always all of it."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timewire import queries as module
from timewire import unread
from timewire.asking import GetHistory, ListBans, ListConversations, ListMembers, ReadBy
from timewire.backends.memory import MemoryStore
from timewire.errors import TimewireError
from timewire.model import (
    MAX_SEQ,
    Appointed,
    Banned,
    Blocked,
    Change,
    Created,
    Draft,
    Edited,
    Hidden,
    Members,
    Muted,
    Pinned,
    Read,
    Receipt,
    Seq,
    Settings,
    StoredBody,
    Updated,
    decode_message,
    encode_body,
    encode_change,
    encode_stored,
)
from timewire.protocol import (
    BanPage,
    ConversationPage,
    ConversationState,
    HistoryPage,
    MemberPage,
    ReaderPage,
)
from timewire.queries import MAX_ANSWER_BYTES, Queries

PAGE = 10


def _paged(query: dict[str, Any]) -> dict[str, Any]:
    """A question's fields, with a limit if it has none."""
    return {"limit": PAGE} | query


class Archive:
    """A message store that can be written to, and the questions it answers."""

    def __init__(self) -> None:
        self.now = 1000
        self.store = MemoryStore(lambda: self.now)
        self.queries = Queries(
            self.store.messages, self.store.directory, lambda: self.now, page_entries=PAGE
        )

    async def change(self, name: str, change: Change, sender: str = "alice") -> Seq:
        return await self._append(
            Draft(name, sender, "", encode_change(sender, "", change), change)
        )

    async def say(self, name: str, sender: str = "alice", **body: Any) -> Seq:
        return await self._append(Draft(name, sender, "", encode_stored(sender, "", "text", body)))

    async def expiring(self, name: str, expires: int) -> Seq:
        payload = encode_body(StoredBody("alice", "", "text", {"x": 1}, expires=expires))
        return await self._append(Draft(name, "alice", "", payload, expires=expires))

    async def state(self, user: str) -> ConversationState:
        [state] = [s for s in (await self.conversations(user))[0] if s.conversation == "team"]
        return state

    async def readers(self, user: str, seq: Seq, **query: Any) -> tuple[list[str], bool]:
        answer = await self.queries.answer(user, ReadBy("r", "team", seq, **_paged(query)))
        assert isinstance(answer, ReaderPage)
        return answer.readers, answer.has_more

    async def _append(self, draft: Draft) -> Seq:
        [receipt] = await self.store.log.append([draft])
        assert isinstance(receipt, Receipt)
        return receipt.seq

    async def group(self, name: str, *members: str) -> Seq:
        return await self.change(name, Created("group", list(members), f"The {name}"), members[0])

    async def history(self, user: str, name: str = "team", **query: Any) -> tuple[list[Seq], bool]:
        """The SeqIds of a page, and whether there is more."""
        answer = await self.queries.answer(user, GetHistory("h", name, **_paged(query)))
        assert isinstance(answer, HistoryPage)
        assert (answer.id, answer.conversation) == ("h", name)
        return [decode_message(message).seq for message in answer.messages], answer.has_more

    async def conversations(self, user: str, **query: Any) -> tuple[list[ConversationState], bool]:
        answer = await self.queries.answer(user, ListConversations("c", **_paged(query)))
        assert isinstance(answer, ConversationPage)
        return answer.conversations, answer.has_more

    async def unread(self, user: str) -> int:
        [state] = (await self.conversations(user))[0]
        return state.unread

    async def members(self, user: str, **query: Any) -> tuple[list[str], bool]:
        answer = await self.queries.answer(user, ListMembers("m", "team", **_paged(query)))
        assert isinstance(answer, MemberPage)
        return answer.members, answer.has_more

    async def refused(
        self, user: str, query: GetHistory | ListConversations | ListMembers | ListBans | ReadBy
    ) -> TimewireError:
        with pytest.raises(TimewireError) as caught:
            await self.queries.answer(user, query)
        return caught.value


@pytest.fixture
def archive() -> Archive:
    return Archive()


# -- history -------------------------------------------------------------------------------------


async def test_history_shows_the_messages(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    await archive.say("team", x=1)
    answer = await archive.queries.answer("bob", GetHistory("h", "team", limit=1))
    assert isinstance(answer, HistoryPage)
    newest = decode_message(answer.messages[0])
    assert (newest.conversation, newest.seq, newest.sender, newest.body) == (
        "team",
        2,
        "alice",
        {"x": 1},
    )


async def test_history_runs_both_ways_and_from_any_point(archive: Archive) -> None:
    await archive.group("team", "alice")
    for _ in range(7):
        await archive.say("team")
    assert await archive.history("alice", limit=3) == ([8, 7, 6], True)
    assert await archive.history("alice", before=6, limit=5) == ([5, 4, 3, 2, 1], False)
    assert await archive.history("alice", before=6, limit=4) == ([5, 4, 3, 2], True)
    assert await archive.history("alice", after=0, limit=3) == ([1, 2, 3], True)
    assert await archive.history("alice", after=3, limit=5) == ([4, 5, 6, 7, 8], False)
    assert await archive.history("alice", after=8) == ([], False)
    assert await archive.history("alice", before=1) == ([], False)
    assert await archive.history("alice", before=0) == ([], False)
    assert await archive.history("alice", after=MAX_SEQ) == ([], False)
    assert await archive.history("alice", before=MAX_SEQ, limit=1) == ([8], True)


async def test_history_holds_only_what_was_said_while_one_was_a_member(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")  # 1
    await archive.say("team")  # 2
    await archive.change("team", Members(left=["bob"]))  # 3: bob's last
    await archive.say("team")  # 4
    await archive.change("team", Members(joined=["bob"]))  # 5: bob again
    await archive.say("team")  # 6
    await archive.change("team", Members(left=["bob"]))  # 7
    await archive.say("team")  # 8
    assert await archive.history("bob", after=0) == ([1, 2, 3, 5, 6, 7], False)
    assert await archive.history("bob") == ([7, 6, 5, 3, 2, 1], False)
    assert await archive.history("bob", after=2, limit=2) == ([3, 5], True)
    assert await archive.history("bob", after=3) == ([5, 6, 7], False)
    assert await archive.history("bob", before=5, limit=2) == ([3, 2], True)
    assert await archive.history("bob", before=4) == ([3, 2, 1], False)
    assert await archive.history("bob", after=7) == ([], False)
    assert await archive.history("alice", after=0) == (list(range(1, 9)), False)


async def test_a_page_is_as_long_as_was_asked_for_and_has_a_limit(archive: Archive) -> None:
    await archive.group("team", "alice")
    for limit in (0, -1, PAGE + 1, 10**30):
        for query in (
            GetHistory("h", "team", limit=limit),
            ListConversations("c", limit=limit),
            ListMembers("m", "team", limit=limit),
        ):
            fault = await archive.refused("alice", query)
            assert (fault.code, fault.fields["largest"]) == ("bad_limit", PAGE)
    assert await archive.history("alice") == ([1], False)


@pytest.mark.parametrize(
    "query", [{"after": 1, "before": 5}, {"after": 0, "before": 0}, {"after": -1}, {"before": -5}]
)
async def test_a_range_that_cannot_be(archive: Archive, query: dict[str, int]) -> None:
    await archive.group("team", "alice")
    fault = await archive.refused("alice", GetHistory("h", "team", limit=PAGE, **query))
    assert fault.code == "bad_range"


@pytest.mark.parametrize("query", [{"after": 2**63}, {"before": 2**63}, {"after": 10**30}])
async def test_a_place_beyond_all_places(archive: Archive, query: dict[str, int]) -> None:
    await archive.group("team", "alice")
    fault = await archive.refused("alice", GetHistory("h", "team", limit=PAGE, **query))
    assert fault.code in ("bad_range", "bad_seq")


async def test_history_of_what_is_not_ones_own(archive: Archive) -> None:
    await archive.group("team", "alice")
    for name in ("nowhere", "", "x" * 5000, "team\x00", "direct:alice:bob"):
        fault = await archive.refused("alice", GetHistory("h", name, limit=PAGE))
        assert fault.code == "unknown_conversation"
    assert (await archive.refused("eve", GetHistory("h", "team", limit=1))).code == "not_member"


async def test_a_page_of_large_messages_ends_early(archive: Archive) -> None:
    await archive.group("team", "alice")
    for _ in range(5):
        await archive.say("team", x="x" * (MAX_ANSWER_BYTES // 2 - 100))
    await archive.say("team", x="x" * (2 * MAX_ANSWER_BYTES))
    assert await archive.history("alice", after=1) == ([2, 3], True)
    assert await archive.history("alice", after=5) == ([6], True)
    assert await archive.history("alice", after=6) == ([7], False)
    assert await archive.history("alice") == ([7], True)


@settings(max_examples=60)
@given(
    acts=st.lists(st.sampled_from(["join", "leave", "say"]), max_size=25),
    limit=st.integers(1, PAGE),
    size=st.sampled_from([1, 100, MAX_ANSWER_BYTES]),
)
async def test_pages_put_together_are_all_that_one_may_see(
    acts: Sequence[str], limit: int, size: int
) -> None:
    archive = Archive()
    mine: list[Seq] = [await archive.group("team", "alice", "bob")]
    present = True
    for act in acts:
        was_present = present
        if act == "say":
            seq = await archive.say("team")
        else:
            present = act == "join"
            change = Members(joined=["bob"]) if present else Members(left=["bob"])
            seq = await archive.change("team", change)
        if present or was_present:
            mine.append(seq)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_ANSWER_BYTES", size)
        forward, backward = await _walk(archive, limit)
    assert forward == mine
    assert backward == mine[::-1]


async def _walk(archive: Archive, limit: int) -> tuple[list[Seq], list[Seq]]:
    """All of bob's history, page by page, oldest first and newest first."""
    forward: list[Seq] = []
    more = True
    while more:
        after = forward[-1] if forward else 0
        page, more = await archive.history("bob", after=after, limit=limit)
        assert len(page) <= limit
        forward += page
    backward: list[Seq] = []
    more = True
    while more:
        before = backward[-1] if backward else None
        page, more = await archive.history("bob", before=before, limit=limit)
        backward += page
    return forward, backward


# -- conversations -------------------------------------------------------------------------------


async def test_a_conversation_as_its_member_sees_it(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    await archive.say("team", x=1)
    [state], more = await archive.conversations("bob")
    assert not more
    last = state.last
    assert msgspec.structs.replace(state, last=None) == ConversationState(
        "team", "group", "The team", member=True, read=0, unread=1
    )
    assert last is not None
    assert last.body == {"x": 1}


async def test_conversations_come_by_name_in_pages(archive: Archive) -> None:
    names = ["b", "a", "é", "direct:alice:bob", "Z"]
    for name in names:
        await archive.group(name, "alice", "bob")
    await archive.group("hidden", "carol")
    in_order = sorted(names, key=str.encode)
    found, more = await archive.conversations("bob", limit=3)
    assert ([s.conversation for s in found], more) == (in_order[:3], True)
    found, more = await archive.conversations("bob", after=in_order[2], limit=2)
    assert ([s.conversation for s in found], more) == (in_order[3:], False)
    assert await archive.conversations("eve") == ([], False)
    assert await archive.conversations("bob", after="\U0010ffff") == ([], False)


async def test_a_page_of_large_last_messages_ends_early(archive: Archive) -> None:
    for name in "abcd":
        await archive.group(name, "alice")
        await archive.say(name, x="x" * (MAX_ANSWER_BYTES // 2 - 100))
    found, more = await archive.conversations("alice")
    assert ([s.conversation for s in found], more) == (["a", "b"], True)
    found, more = await archive.conversations("alice", after="b", limit=2)
    assert ([s.conversation for s in found], more) == (["c", "d"], False)


async def test_one_who_has_left_sees_the_conversation_as_it_was(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    await archive.say("team")
    left = await archive.change("team", Members(left=["bob"]))
    await archive.say("team")
    [state], _ = await archive.conversations("bob")
    assert (state.member, state.unread) == (False, 1)
    assert state.last is not None
    assert state.last.seq == left


# -- unread --------------------------------------------------------------------------------------


async def test_unread_does_not_count_ones_own_and_the_servers(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    await archive.say("team", "bob")
    await archive.say("team", "alice")
    await archive.change("team", Members(joined=["carol"]))
    assert await archive.unread("bob") == 1
    assert await archive.unread("alice") == 1
    assert await archive.unread("carol") == 0


async def test_unread_starts_after_the_mark_and_follows_it(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    seqs = [await archive.say("team") for _ in range(5)]
    assert await archive.unread("bob") == 5
    assert await archive.unread("bob") == 5
    await archive.change("self:bob", Created("self", ["bob"]), "bob")
    await archive.change("self:bob", Read("team", seqs[2]), "bob")
    states, _ = await archive.conversations("bob")
    team = next(state for state in states if state.conversation == "team")
    assert (team.read, team.unread) == (seqs[2], 2)
    await archive.say("team")
    states, _ = await archive.conversations("bob")
    assert [s.unread for s in states if s.conversation == "team"] == [3]
    await archive.change("self:bob", Read("team", seqs[-1] + 3), "bob")
    states, _ = await archive.conversations("bob")
    assert [s.unread for s in states if s.conversation == "team"] == [0]


async def test_unread_counts_only_what_one_may_see(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    await archive.say("team")
    assert await archive.unread("bob") == 1
    await archive.change("team", Members(left=["bob"]))
    await archive.say("team")
    assert await archive.unread("bob") == 1
    await archive.change("team", Members(joined=["bob"]))
    await archive.say("team")
    assert await archive.unread("bob") == 2


async def test_unread_is_exact_however_many(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    payload = encode_stored("alice", "", "text", {})
    drafts = [Draft("team", "alice", "", payload) for _ in range(1000)]
    for _ in range(3):
        await archive.store.log.append(drafts)
    assert await archive.unread("bob") == 3000


async def test_counts_that_are_not_remembered_are_counted_again(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unread, "MAX_COUNTS_KEPT", 1)
    for name in ("a", "b", "c"):
        await archive.group(name, "alice", "bob")
        await archive.say(name)
    for _ in range(2):
        states, _ = await archive.conversations("bob")
        assert [state.unread for state in states] == [1, 1, 1]


async def test_a_removed_message_is_not_unread(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    removed = await archive.say("team")
    await archive.say("team")
    await archive.store.messages.redact("team", removed)
    assert await archive.unread("bob") == 1


# -- members -------------------------------------------------------------------------------------


async def test_members_come_by_name_in_pages(archive: Archive) -> None:
    await archive.group("team", "carol", "alice", "dave", "bob", "erin")
    await archive.change("team", Members(left=["dave"]))
    assert await archive.members("bob", limit=2) == (["alice", "bob"], True)
    assert await archive.members("bob", after="bob", limit=2) == (["carol", "erin"], False)


async def test_only_members_see_the_members(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    await archive.change("team", Members(left=["bob"]))
    for user in ("bob", "eve"):
        assert (await archive.refused(user, ListMembers("m", "team", limit=1))).code == "not_member"
    fault = await archive.refused("alice", ListMembers("m", "nowhere", limit=1))
    assert fault.code == "unknown_conversation"


# -- settings, hidden messages, receipts ---------------------------------------------------------


async def test_the_history_of_a_group_may_be_open_to_all_members(archive: Archive) -> None:
    await archive.group("team", "alice")
    for _ in range(3):
        await archive.say("team")
    await archive.change("team", Members(joined=["bob"]))
    assert await archive.history("bob") == ([5], False)
    await archive.change("team", Updated(history="all"))
    assert await archive.history("bob") == ([6, 5, 4, 3, 2, 1], False)
    assert await archive.history("bob", after=0, limit=2) == ([1, 2], True)
    assert await archive.unread("bob") == 0
    await archive.change("team", Members(left=["bob"]))
    await archive.say("team")
    assert await archive.history("bob", limit=2) == ([7, 6], True)


async def test_an_empty_page_says_why(archive: Archive) -> None:
    async def why(user: str, **query: Any) -> str | None:
        answer = await archive.queries.answer(user, GetHistory("h", "team", **_paged(query)))
        assert isinstance(answer, HistoryPage)
        return answer.why

    await archive.group("team", "alice")
    await archive.say("team")
    await archive.change("team", Members(joined=["bob"]))
    assert await why("bob", before=3) == "before_joining"
    assert await why("bob", before=4) is None
    assert await why("bob", after=3) is None
    assert await why("alice", before=1) is None
    await archive.change("team", Members(left=["bob"]))
    await archive.say("team")
    assert await why("bob", after=4) == "after_leaving"
    assert await why("bob", after=3) is None


async def test_what_one_hides_is_left_out(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    seqs = [await archive.say("team") for _ in range(30)]
    for seq in [*seqs[10:25], seqs[-1]]:
        await archive.change("self:bob", Hidden("team", seq), "bob")
    shown = [1, *seqs[:10], *seqs[25:-1]]
    assert await archive.history("bob") == (shown[:4:-1], True)
    assert await archive.history("bob", after=8) == (shown[8:], False)
    assert await archive.history("bob", after=8, limit=7) == (shown[8:15], len(shown) > 15)
    assert (await archive.history("alice", limit=2))[0] == seqs[:-3:-1]
    state = await archive.state("bob")
    assert state.last
    assert (state.last.seq, state.unread) == (seqs[-2], 14)


async def test_a_conversation_of_which_everything_is_hidden(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    await archive.change("team", Members(left=["bob"]))
    for seq in (1, 2):
        await archive.change("self:bob", Hidden("team", seq), "bob")
    assert await archive.history("bob") == ([], False)
    assert (await archive.state("bob")).last is None


async def test_what_has_expired_is_not_shown(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    await archive.expiring("team", 1100)

    async def body() -> object:
        answer = await archive.queries.answer("bob", GetHistory("h", "team", limit=1))
        assert isinstance(answer, HistoryPage)
        state = await archive.state("bob")
        assert state.last
        shown = decode_message(answer.messages[0])
        assert shown == state.last
        return shown.body, state.unread

    archive.now = 1099
    assert await body() == ({"x": 1}, 1)
    archive.now = 1100
    assert await body() == ({}, 0)


async def test_who_has_left_is_not_shown_later_edits(archive: Archive) -> None:
    await archive.group("team", "alice", "bob")
    seq = await archive.say("team", x=1)
    await archive.change("team", Members(left=["bob"]))
    await archive.change("team", Edited(seq, {"x": 2}))
    bodies: list[object] = []
    for user in ("alice", "bob"):
        answer = await archive.queries.answer(user, GetHistory("h", "team", after=1, limit=1))
        assert isinstance(answer, HistoryPage)
        bodies.append(decode_message(answer.messages[0]).body)
    assert bodies == [{"x": 2}, {}]


async def test_a_conversation_as_its_members_see_it(archive: Archive) -> None:
    await archive.change("team", Created("group", ["alice", "bob"], "The team", "all", "admins"))
    seq = await archive.say("team")
    await archive.change("team", Appointed("bob", "admin"))
    await archive.change("team", Muted("bob", 5000))
    await archive.change("team", Pinned(seq))
    mine, other = await archive.state("alice"), await archive.state("bob")
    assert (mine.role, mine.muted, mine.pins) == ("owner", 0, [seq])
    assert (other.role, other.muted, other.pins) == ("admin", 5000, [seq])
    assert (mine.history, mine.invite) == ("all", "admins")
    page = await archive.queries.answer("bob", ListMembers("m", "team", limit=PAGE))
    assert isinstance(page, MemberPage)
    assert (page.roles, page.muted) == ({"alice": "owner", "bob": "admin"}, {"bob": 5000})
    page = await archive.queries.answer("bob", ListMembers("m", "team", "alice", PAGE))
    assert isinstance(page, MemberPage)
    assert (page.members, page.roles) == (["bob"], {"bob": "admin"})


async def test_who_has_read_a_message(archive: Archive) -> None:
    await archive.group("team", "alice", "bob", "carol", "dave")
    seq = await archive.say("team", "bob")
    for user, mark in [("alice", seq), ("bob", seq), ("carol", seq - 1), ("dave", seq + 5)]:
        await archive.change(f"self:{user}", Read("team", mark), user)
    assert await archive.readers("carol", seq) == (["alice", "dave"], False)
    assert await archive.readers("carol", seq, limit=1) == (["alice"], True)
    assert await archive.readers("carol", seq, after="alice") == (["dave"], False)
    await archive.store.messages.redact("team", seq)
    assert (await archive.readers("carol", seq))[0] == ["alice", "bob", "dave"]
    for unknown in (0, seq + 1, 2**62):
        fault = await archive.refused("carol", ReadBy("r", "team", unknown))
        assert fault.code == "bad_limit"
        fault = await archive.refused("carol", ReadBy("r", "team", unknown, limit=PAGE))
        assert fault.code == "unknown_message"
    await archive.change("team", Members(joined=["eve"]))
    fault = await archive.refused("eve", ReadBy("r", "team", seq, limit=PAGE))
    assert fault.code == "unknown_message"


async def test_in_a_crowd_it_is_not_told(archive: Archive) -> None:
    crowd = [f"user{number}" for number in range(501)]
    await archive.group("team", *crowd)
    fault = await archive.refused(crowd[0], ReadBy("r", "team", 1, limit=PAGE))
    assert (fault.code, fault.fields) == ("group_too_large", {"limit": 500})


async def test_owners_and_admins_see_who_is_banned(archive: Archive) -> None:
    await archive.change("team", Created("group", ["alice", "bob"]))
    await archive.change("team", Banned(["eve", "dan", "fay"]))
    page = await archive.queries.answer("alice", ListBans("b", "team", limit=2))
    assert page == BanPage("b", "team", ["dan", "eve"], True)
    page = await archive.queries.answer("alice", ListBans("b", "team", "eve", 2))
    assert page == BanPage("b", "team", ["fay"], False)
    assert (await archive.refused("bob", ListBans("b", "team", limit=1))).code == "not_admin"
    assert (await archive.refused("eve", ListBans("b", "team", limit=1))).code == "not_member"


async def test_one_sees_whom_one_blocks_and_what_one_has_set(archive: Archive) -> None:
    page = await archive.queries.answer("alice", ListBans("b", "self:alice", limit=2))
    assert page == BanPage("b", "self:alice", [], False)
    await archive.change("self:alice", Created("self", ["alice"]))
    for user in ("eve", "dan", "fay"):
        await archive.change("self:alice", Blocked(user))
    page = await archive.queries.answer("alice", ListBans("b", "self:alice", limit=2))
    assert page == BanPage("b", "self:alice", ["dan", "eve"], True)
    page = await archive.queries.answer("alice", ListBans("b", "self:alice", "eve", 2))
    assert page == BanPage("b", "self:alice", ["fay"], False)
    assert (await archive.refused("bob", ListBans("b", "self:alice", limit=1))).code == "not_member"
    for visibility in ("all", "nobody"):
        await archive.change("self:alice", Settings(visibility))
        [state], _ = await archive.conversations("alice")
        assert (state.conversation, state.presence) == ("self:alice", visibility)


async def test_nothing_is_counted_in_rooms(archive: Archive) -> None:
    await archive.change("party", Created("room", ["alice", "bob"]))
    last = await archive.say("party", text="hi")
    page = await archive.queries.answer("bob", ListConversations("c", limit=PAGE))
    assert isinstance(page, ConversationPage)
    [state] = page.conversations
    assert (state.kind, state.unread, state.mentioned) == ("room", 0, 0)
    assert state.last is not None
    assert state.last.seq == last
