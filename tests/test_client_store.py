"""The contract of a device's store, on both of them, and what is special to the file."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.client import sqlite_store
from timewire.client import store as store_module
from timewire.client.events import Acked, Received
from timewire.client.sqlite_store import SqliteStore
from timewire.client.store import Change, MemoryStore, Owner, Saved, Store
from timewire.commands import Create, MarkRead, Send
from timewire.errors import TimewireError, Unusable
from timewire.model import Message
from timewire.protocol import Cursor

Open = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Gives the store, each time as if the app had been started anew."""
    memory = MemoryStore()
    opened: list[Store] = []

    def open_() -> Store:
        for store in opened:
            store.close()
        opened.append(memory if request.param == "memory" else SqliteStore(tmp_path / "a.db"))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


def message(seq: int, conversation: str = "team", **fields: object) -> Message:
    known = {"sender": "bob", "id": f"id{seq}", "kind": "text", "body": {"text": f"no. {seq}"}}
    return Message(conversation, seq, 1000 + seq, **(known | fields))  # pyright: ignore


def received(*seqs: int, conversation: str = "team") -> list[Received | Acked]:
    return [Received(message(seq, conversation)) for seq in seqs]


def seqs(messages: list[Message]) -> list[int]:
    return [one.seq for one in messages]


def test_a_new_store_is_empty(reopen: Open) -> None:
    store = reopen()
    assert store.load() == Saved()
    assert store.messages("team") == []
    assert store.last("team") == 0
    assert store.mark("team") == 0


def test_messages_and_cursor_are_saved_together(reopen: Open) -> None:
    numbers = reopen().apply(Change(arrivals=received(3, 5), cursor=Cursor("b", "5")))
    store = reopen()
    saved = store.load()
    assert saved.cursor == Cursor("b", "5")
    assert saved.unread == list(zip(numbers, received(3, 5), strict=True))
    assert store.messages("team") == [message(5), message(3)]
    assert store.last("team") == 5


def test_what_the_server_could_not_read_gives_way_to_whatever_comes_later(reopen: Open) -> None:
    damaged = Message("team", 3, 1003, damaged=True)
    store = reopen()
    store.apply(Change(arrivals=[Received(damaged)]))
    assert store.messages("team") == [damaged]
    store.apply(Change(arrivals=received(3)))
    assert store.messages("team") == [message(3)]
    store.apply(Change(arrivals=[Received(damaged)]))
    assert reopen().messages("team") == [message(3)]


def test_what_a_change_does_not_name_stays(reopen: Open) -> None:
    owner, cursor = Owner("alice", "laptop"), Cursor("b", "1")
    store = reopen()
    store.apply(Change(owner=owner, cursor=cursor, reset="expired"))
    store.apply(Change(arrivals=received(1)))
    saved = reopen().load()
    assert (saved.owner, saved.cursor, saved.reset) == (owner, cursor, "expired")


def test_a_message_is_new_once(reopen: Open) -> None:
    store = reopen()
    first = store.apply(Change(arrivals=received(1, 2)))
    again = store.apply(Change(arrivals=[*received(2, 3), *received(2, conversation="other")]))
    assert again[0] is None
    numbers = [number for number in first + again if number is not None]
    assert numbers == sorted(set(numbers))
    assert seqs(store.messages("team")) == [3, 2, 1]
    assert len(reopen().load().unread) == 4


def test_a_message_is_new_once_within_a_change(reopen: Open) -> None:
    one, other = reopen().apply(Change(arrivals=received(1, 1)))
    assert one is not None
    assert other is None


def test_taken_messages_are_not_unread_any_more(reopen: Open) -> None:
    store = reopen()
    numbers = store.apply(Change(arrivals=received(1, 2, 3)))
    store.apply(Change(taken=numbers[1] or 0))
    assert [event.message.seq for _, event in reopen().load().unread] == [3]


def test_numbers_grow_over_restarts_also_when_all_is_taken(reopen: Open) -> None:
    store = reopen()
    [first] = store.apply(Change(arrivals=received(1)))
    store.apply(Change(taken=first or 0))
    [second] = reopen().apply(Change(arrivals=received(2)))
    assert first is not None
    assert second is not None
    assert second > first


def test_unread_messages_keep_their_kind_of_event(reopen: Open) -> None:
    events = [Received(message(1)), Acked(message(2, sender="alice"))]
    reopen().apply(Change(arrivals=events))
    assert [event for _, event in reopen().load().unread] == events


def test_the_outbox_keeps_its_order_and_all_kinds_of_commands(reopen: Open) -> None:
    commands = [
        Send("9", "team", {"text": "hi", "n": 1.5, "deep": [None, {"x": True}]}, sent=7),
        Create("5", "team", ["bob"], "Team"),
        MarkRead("7", "team", 3),
        Send("1", "direct:alice:bob", {}, "image", ack="synced"),
    ]
    store = reopen()
    store.apply(Change(queued=commands[:2]))  # pyright: ignore
    store.apply(Change(queued=commands[2:]))  # pyright: ignore
    assert reopen().load().outbox == commands
    reopen().apply(Change(settled=["5", "never there"]))
    assert [command.id for command in reopen().load().outbox] == ["9", "7", "1"]


def test_queued_twice_is_queued_once(reopen: Open) -> None:
    send = Send("1", "team", {})
    store = reopen()
    store.apply(Change(queued=[send, Send("2", "team", {})]))
    store.apply(Change(queued=[send]))
    assert [command.id for command in reopen().load().outbox] == ["1", "2"]


def test_marks_merge_by_maximum(reopen: Open) -> None:
    store = reopen()
    store.apply(Change(marks={"team": 5, "other": 1}))
    store.apply(Change(marks={"team": 3, "other": 2}))
    assert (store.mark("team"), store.mark("other")) == (5, 2)
    assert reopen().mark("team") == 5


def test_read_messages_move_the_marks(reopen: Open) -> None:
    def read(seq: int, conversation: str, body: dict[str, object]) -> Received:
        return Received(message(seq, conversation, kind="read", body=body))

    store = reopen()
    store.apply(
        Change(
            arrivals=[
                read(10, "self:alice", {"conversation": "team", "seq": 7}),
                read(11, "self:alice", {"conversation": "team", "seq": 4}),
                # Not the server's: nobody else may say what this user has read.
                read(12, "direct:alice:bob", {"conversation": "team", "seq": 99}),
                read(13, "self:alice", {"conversation": "team"}),
            ]
        )
    )
    assert store.mark("team") == 7


def test_messages_are_paged_from_the_newest(reopen: Open) -> None:
    store = reopen()
    store.apply(Change(arrivals=received(5, 1, 9, 3) + received(4, conversation="other")))
    assert seqs(store.messages("team", limit=2)) == [9, 5]
    assert seqs(store.messages("team", before=5, limit=2)) == [3, 1]
    assert seqs(store.messages("team", before=1)) == []
    assert store.last("team") == 9


def test_a_reset_is_due_until_rebuilt(reopen: Open) -> None:
    reopen().apply(Change(reset="expired"))
    assert reopen().load().reset == "expired"
    reopen().apply(Change(rebuilt=True))
    assert reopen().load().reset is None


def test_an_expired_cursor_leaves_the_messages(reopen: Open) -> None:
    store = reopen()
    store.apply(Change(arrivals=received(1), marks={"team": 1}))
    store.apply(Change(reset="expired"))
    assert store.last("team") == store.mark("team") == 1
    assert len(store.load().unread) == 1


@pytest.mark.parametrize("reason", ["other_log", "future", "garbage", "other_user"])
def test_another_log_makes_old_messages_meaningless(reopen: Open, reason: str) -> None:
    store = reopen()
    store.apply(Change(arrivals=received(1, 2), marks={"team": 2}, queued=[Send("s", "team", {})]))
    new = Received(message(1, id="another", body={}))
    [number] = store.apply(Change(reset=reason, arrivals=[new], cursor=Cursor("c", "9")))  # pyright: ignore
    assert number is not None
    assert store.messages("team") == [new.message]
    assert store.mark("team") == 0
    saved = reopen().load()
    assert saved.unread == [(number, new)]
    assert [command.id for command in saved.outbox] == ["s"]


def test_a_memory_store_keeps_the_newest_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_MEMORY_MESSAGES", 3)
    store = MemoryStore()
    store.apply(Change(arrivals=received(1, 2, 3, 4, 5)))
    assert seqs(store.messages("team")) == [5, 4, 3]


# What messages do to others ----------------------------------------------------------------------


def control(seq: int, kind: str, body: dict[str, Any], sender: str = "bob", **more: Any) -> Message:
    return message(seq, kind=kind, body=body, sender=sender, **more)


def put(store: Store, *messages: Message) -> list[int | None]:
    return store.apply(Change(arrivals=[Received(one) for one in messages]))


def test_changes_change_what_is_kept(reopen: Open) -> None:
    edit = control(5, "edited", {"seq": 1, "body": {"text": "better"}})
    numbers = put(
        reopen(),
        *[message(seq) for seq in (1, 2, 3)],
        edit,
        control(6, "reaction", {"seq": 2, "emoji": "x", "on": True}, "eve"),
        control(7, "recalled", {"seq": 3}),
    )
    assert None not in numbers
    store = reopen()
    kept = {one.seq: one for one in store.messages("team")}
    assert (kept[1].body, kept[1].edits, kept[1].edited) == ({"text": "better"}, [5], edit.time)
    assert kept[2].reactions == {"x": ["eve"]}
    assert kept[3] == Message("team", 3, 1003)
    assert kept[5] == edit
    assert [event.message for _, event in store.load().unread][2] == kept[3]


def test_a_recall_takes_edits_too_and_stays(reopen: Open) -> None:
    store = reopen()
    edits = [control(seq, "edited", {"seq": 1, "body": {"text": f"{seq}"}}) for seq in (2, 3, 6)]
    put(store, message(1), *edits[:2], control(5, "recalled", {"seq": 1}), edits[2])
    assert put(store, message(1), message(1, version=9)) == [None, None]
    bare = {one.seq for one in reopen().messages("team") if one.kind == ""}
    assert bare == {1, 2, 3, 6}


def test_a_recall_before_its_message(reopen: Open) -> None:
    store = reopen()
    edit = control(2, "edited", {"seq": 1, "body": {"text": "better"}})
    put(store, control(3, "recalled", {"seq": 1}), edit, message(1))
    assert [one.kind for one in store.messages("team")] == ["recalled", "", ""]


def test_a_message_is_replaced_by_a_newer_state_of_it(reopen: Open) -> None:
    store = reopen()
    put(store, message(1), message(2), message(3, version=7, reactions={"x": ["bob"]}))
    own = control(9, "reaction", {"seq": 1, "emoji": "y", "on": True}, "alice")
    newer = message(1, version=8, body={"text": "newer"}, edits=[8])
    gone = Message("team", 2, 1002)
    assert put(store, own, newer, gone, message(3)) == [4, None, None, None]
    one, two, three = [m for m in store.messages("team")[::-1] if m.seq < 9]
    assert (one.body, one.reactions, one.version) == ({"text": "newer"}, {"y": ["alice"]}, 9)
    assert two == gone
    assert three.reactions == {"x": ["bob"]}


def test_changes_that_a_message_came_with_are_not_done_again(reopen: Open) -> None:
    store = reopen()
    put(store, message(1, version=7), control(6, "reaction", {"seq": 1, "emoji": "x", "on": True}))
    assert store.messages("team")[-1].reactions == {}
    put(store, control(8, "reaction", {"seq": 1, "emoji": "x", "on": True}))
    assert store.messages("team")[-1].reactions == {"x": ["bob"]}


def test_what_is_hidden_is_not_shown_whenever_it_comes(reopen: Open) -> None:
    store = reopen()
    put(store, message(1), message(2))
    for seq in (1, 3):
        hidden = message(
            10 + seq, "self:alice", kind="hidden", body={"conversation": "team", "seq": seq}
        )
        put(store, hidden)
    put(store, message(3), message(4))
    store = reopen()
    assert seqs(store.messages("team")) == [4, 2]
    assert store.last("team") == 4
    unread = {event.message.seq: event.message for _, event in store.load().unread}
    assert (unread[1].kind, unread[3].kind) == ("", "")


def test_lives_end(reopen: Open) -> None:
    store = reopen()
    edit = control(4, "edited", {"seq": 1, "body": {"text": "better"}})
    put(store, message(1, expires=50), message(2, expires=60), message(3), edit)
    assert store.messages("team")[0].expires == 50
    store.sweep(49)
    assert all(one.kind for one in store.messages("team"))
    store.sweep(50)
    store = reopen()
    assert {one.seq for one in store.messages("team") if not one.kind} == {1, 4}
    store.sweep(1000)
    assert {one.seq for one in store.messages("team") if not one.kind} == {1, 2, 4}


def test_after_a_return_what_stood_before_is_not_shown(reopen: Open) -> None:
    store = reopen()
    store.apply(Change(owner=Owner("alice", "laptop")))

    def members(seq: int, *joined: str, left: tuple[str, ...] = ()) -> Message:
        return control(seq, "members", {"joined": list(joined), "left": list(left)})

    put(store, message(1), members(2, "alice"), members(3, left=("alice",)))
    assert seqs(reopen().messages("team")) == [3, 2, 1]
    store = reopen()
    put(store, members(7, "alice"), message(8), members(5, "alice"))
    assert seqs(reopen().messages("team")) == [8, 7]
    store = reopen()
    put(store, control(9, "banned", {"users": ["alice"], "on": True}), members(12, "alice"))
    put(store, control(13, "banned", {"users": ["alice"], "on": False}), members(14, "alice"))
    assert seqs(store.messages("team")) == [14, 13, 12]


def test_what_may_be_out_of_date_is_not_shown(reopen: Open) -> None:
    store = reopen()
    store.apply(Change(arrivals=received(1, 2, 3, 4), begins={"team": 3}))
    store.apply(Change(begins={"team": 2}))
    store = reopen()
    assert seqs(store.messages("team")) == [4, 3]
    assert len(store.load().unread) == 4
    store.apply(Change(reset="other_log"))
    store.apply(Change(arrivals=received(1)))
    assert seqs(reopen().messages("team")) == [1]


# The file ----------------------------------------------------------------------------------------


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db")
    store.apply(Change(arrivals=received(1), cursor=Cursor("b", "1")))
    unstorable = Received(message(2**63, "team"))
    with pytest.raises((TimewireError, OverflowError)):
        store.apply(Change(arrivals=[*received(2), unstorable], cursor=Cursor("b", "2")))
    assert store.last("team") == 1
    assert store.load().cursor == Cursor("b", "1")
    store.apply(Change(arrivals=received(2)))
    store.close()


def test_a_file_has_one_device_at_a_time(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db")
    with pytest.raises(Unusable) as refusal:
        SqliteStore(tmp_path / "a.db")
    assert refusal.value.code == "directory_in_use"
    store.close()
    SqliteStore(tmp_path / "a.db").close()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "a.db").close()
    database = sqlite3.connect(tmp_path / "a.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(Unusable) as refusal:
        SqliteStore(tmp_path / "a.db")
    assert refusal.value.code == "directory_newer"


def test_a_file_of_an_older_version_is_taken_over(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "a.db")
    for statement in sqlite_store._SCHEMA.split(";"):  # pyright: ignore[reportPrivateUsage]
        database.execute(statement)
    json = msgspec.json.encode(message(1))
    database.execute("INSERT INTO messages VALUES ('team', 1, ?)", (json,))
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()
    store = SqliteStore(tmp_path / "a.db")
    put(store, control(2, "edited", {"seq": 1, "body": {"text": "better"}}))
    assert store.messages("team")[-1].body == {"text": "better"}
    store.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"hello, I am a text file and no database at all" * 100)
    with pytest.raises(Unusable) as refusal:
        SqliteStore(tmp_path / "a.db")
    assert refusal.value.code == "directory_unusable"
    with pytest.raises(Unusable):
        SqliteStore(tmp_path / "no such directory" / "a.db")


def test_a_closed_file_says_so_with_a_code(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db")
    store.close()
    store.close()
    with pytest.raises(TimewireError) as refusal:
        store.apply(Change(arrivals=received(1)))
    assert refusal.value.code == "storage_unavailable"


# Both are one ------------------------------------------------------------------------------------

_arrivals = st.builds(
    lambda kind, seq, conversation: kind(message(seq, conversation)),
    st.sampled_from([Received, Acked]),
    st.integers(1, 8),
    st.sampled_from(["team", "self:alice"]),
)
_controls = st.builds(
    lambda seq, body, version: Received(
        message(seq, kind=body[0], body=body[1], sender="bob", version=version)
    ),
    st.integers(1, 12),
    st.one_of(
        st.tuples(st.just("recalled"), st.fixed_dictionaries({"seq": st.integers(1, 8)})),
        st.tuples(
            st.just("edited"),
            st.fixed_dictionaries({"seq": st.integers(1, 8), "body": st.just({"text": "x"})}),
        ),
        st.tuples(
            st.just("reaction"),
            st.fixed_dictionaries(
                {"seq": st.integers(1, 8), "emoji": st.just("x"), "on": st.booleans()}
            ),
        ),
        st.tuples(
            st.just("members"),
            st.sampled_from([{"joined": ["alice"], "left": []}, {"joined": [], "left": ["alice"]}]),
        ),
        st.tuples(st.just("hidden"), st.just({"conversation": "team", "seq": 3})),
        st.tuples(st.just("text"), st.just({"text": "with news"})),
    ),
    st.integers(0, 12),
)
_changes = st.builds(
    Change,
    owner=st.sampled_from([None, Owner("alice", "laptop")]),
    arrivals=st.lists(_arrivals | _controls, max_size=4),
    begins=st.dictionaries(st.just("team"), st.integers(1, 9), max_size=1),
    cursor=st.none() | st.builds(Cursor, st.just("b"), st.sampled_from("123")),
    queued=st.lists(st.builds(Send, st.sampled_from("abc"), st.just("team"), st.just({}))),
    settled=st.lists(st.sampled_from("abc"), max_size=2),
    marks=st.dictionaries(st.sampled_from(["team", "x"]), st.integers(1, 9), max_size=2),
    reset=st.sampled_from([None, None, "expired", "other_log"]),
    rebuilt=st.booleans(),
    taken=st.integers(0, 6),
)


@given(st.lists(_changes, max_size=8))
def test_the_file_does_what_memory_does(changes: list[Change]) -> None:
    file, memory = SqliteStore(":memory:"), MemoryStore()
    for change in changes:
        assert file.apply(change) == memory.apply(change)
        assert file.load() == memory.load()
        file.sweep(1000)
        memory.sweep(1000)
        for conversation in ("team", "self:alice", "x"):
            assert file.messages(conversation) == memory.messages(conversation)
            assert file.last(conversation) == memory.last(conversation)
            assert file.mark(conversation) == memory.mark(conversation)
    file.close()
