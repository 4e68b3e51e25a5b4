"""A user's windows as what an index can keep to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timewire.backends.memory import MemoryIndex
from timewire.errors import TimewireError
from timewire.finding import Document, Scope
from timewire.model import Created, Seq, Window
from timewire.names import direct
from timewire.search import Scopes, indexer
from timewire.search import scopes as module

from .conftest import Desk


@pytest.fixture
def desk() -> Desk:
    return Desk(MemoryIndex())


async def holds(desk: Desk, scope: Scope, seq: Seq, name: str = "team") -> bool:
    """Whether a message is in a scope, by the audience with which it is indexed."""
    audience = await desk.scopes.audience(name, seq)
    return scope.holds(Document(seq, 0, name, audience, "alice", "text", ""))


async def test_who_was_there_from_the_beginning_has_the_whole(desk: Desk) -> None:
    await desk.group("team", "alice", "bob")
    assert await desk.scopes.everything("alice") == Scope(frozenset({"team"}))
    assert await desk.scopes.named("bob", "team") == Scope(frozenset({"team"}))
    await desk.join("team", "carol")
    await desk.leave("team", "bob")
    assert await desk.scopes.everything("alice") == Scope(frozenset({"team"}))


async def test_windows_become_audiences(desk: Desk) -> None:
    await desk.group("team", "alice")  # 1
    await desk.join("team", "bob")  # 2
    await desk.say()  # 3
    await desk.join("team", "carol")  # 4
    await desk.say()  # 5
    await desk.leave("team", "bob")  # 6
    await desk.say()  # 7
    await desk.join("team", "bob")  # 8
    bob = await desk.scopes.everything("bob")
    assert bob == Scope(audiences=frozenset({("team", 2), ("team", 4), ("team", 8)}))
    assert [await desk.scopes.audience("team", seq) for seq in range(1, 10)] == [
        *(1, 2, 2, 4, 4, 6, 6, 8, 8)
    ]
    assert [seq for seq in range(1, 12) if await holds(desk, bob, seq)] == [
        *(2, 3, 4, 5, 8, 9, 10, 11)
    ]


async def test_a_window_over_very_many_audiences_is_a_range(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_AUDIENCES", 3)
    await desk.group("team", "alice")
    await desk.join("team", "bob")
    for n in range(3):
        await desk.join("team", f"user{n}")
    assert await desk.scopes.named("bob", "team") == Scope(parts=(("team", Window(2)),))
    await desk.leave("team", "bob")
    assert await desk.scopes.named("bob", "team") == Scope(parts=(("team", Window(2, 6)),))


async def test_direct_conversations_are_whole(desk: Desk) -> None:
    name = direct("alice", "bob")
    await desk.change(name, Created("direct", ["alice", "bob"]))
    await desk.change("self:alice", Created("self", ["alice"]))
    assert await desk.scopes.everything("alice") == Scope(frozenset({name, "self:alice"}))
    assert await desk.scopes.everything("carol") == Scope()


async def test_a_conversation_of_others_is_refused(desk: Desk) -> None:
    await desk.group("team", "alice")
    for name, code in (("team", "not_member"), ("nowhere", "unknown_conversation")):
        with pytest.raises(TimewireError) as caught:
            await desk.scopes.named("bob", name)
        assert caught.value.code == code


async def test_very_many_conversations(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 3)
    for n in range(10):
        await desk.group(f"g{n}", "alice")
        await desk.join(f"g{n}", "bob")
    assert len((await desk.scopes.everything("alice")).whole) == 10
    assert len((await desk.scopes.everything("bob")).audiences) == 10
    monkeypatch.setattr(module, "MAX_CONVERSATIONS", 9)
    with pytest.raises(TimewireError) as caught:
        await Scopes(desk.store.directory).everything("bob")
    assert caught.value.code == "too_broad"


MOVES = st.tuples(
    st.sampled_from(["join", "leave", "make", "ask"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["bob", "carol"]),
)


@settings(max_examples=50)
@given(st.lists(MOVES, max_size=40), st.sampled_from([1, 3, 1000]), st.sampled_from([1, 1000]))
async def test_what_is_kept_is_never_behind_the_index(
    moves: list[tuple[str, str, str]], changes: int, shares: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_CHANGES_KEPT", changes)
        patch.setattr(module, "MAX_SHARES_KEPT", shares)
        patch.setattr(indexer, "SHOW_S", 0)
        async with Desk(MemoryIndex()).running() as desk:
            there: set[str] = set()
            for act, name, user in moves:
                if act == "ask":
                    await desk.settle()
                    fresh = Scopes(desk.store.directory)
                    assert await desk.scopes.everything(user) == await fresh.everything(user)
                elif act == "make" and name not in there:
                    await desk.group(name, "alice", user)
                elif act != "make" and name in there:
                    await (desk.join if act == "join" else desk.leave)(name, user)
                there |= {name} if act == "make" else set()


async def test_a_scope_that_nothing_has_changed_is_the_same_object(desk: Desk) -> None:
    await desk.group("team", "alice")
    first = await desk.scopes.everything("alice")
    assert await desk.scopes.everything("alice") is first
    desk.scopes.changed(50, "elsewhere", ["bob"])
    assert await desk.scopes.everything("alice") is first
    desk.scopes.changed(51, "team", ["bob"])
    assert await desk.scopes.everything("alice") is not first


async def test_changes_that_were_told_before_are_passed_over(desk: Desk) -> None:
    await desk.group("team", "alice")
    desk.scopes.changed(50, "team", [])
    first = await desk.scopes.everything("alice")
    desk.scopes.changed(50, "team", [])
    desk.scopes.changed(7, "team", [])
    assert await desk.scopes.everything("alice") is first


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["bob", "carol", "dora"])), max_size=30))
async def test_a_scope_holds_exactly_the_windows(moves: list[tuple[bool, str]]) -> None:
    desk = Desk(MemoryIndex())
    await desk.group("team", "alice")
    for joins, user in moves:
        await (desk.join if joins else desk.leave)("team", user)
        await desk.say()
    head = desk.store.log.head
    for user in ("alice", "bob", "carol", "dora"):
        scope, windows = await desk.scopes.everything(user), await desk.windows(user, "team")
        # The message of leaving is one that the server writes: it is never indexed.
        lefts = {window.left for window in windows}
        for seq in set(range(1, head + 3)) - lefts:
            assert await holds(desk, scope, seq) == any(window.holds(seq) for window in windows)
