"""The contract of a device's store, on both of them, and what is special to the file."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
_changes = st.builds(
    Change,
    arrivals=st.lists(_arrivals, max_size=4),
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
        for conversation in ("team", "self:alice", "x"):
            assert file.messages(conversation) == memory.messages(conversation)
            assert file.last(conversation) == memory.last(conversation)
            assert file.mark(conversation) == memory.mark(conversation)
    file.close()
