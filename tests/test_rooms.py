from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from timewire.client import Conversation
from timewire.model import Message
from timewire.rooms import MAX_LINES, Room, Rooms

ME = "alice"


def message(seq: int, sender: str = "bob", conversation: str = "team", id: str = "") -> Message:
    return Message(conversation, seq, seq * 10, sender, id, "text", {"text": f"m{seq}"})


def control(seq: int, kind: str, conversation: str = "team", /, **body: Any) -> Message:
    return Message(conversation, seq, seq * 10, "bob", "", kind, body)


def state(name: str = "team", **values: Any) -> Conversation:
    given = {"kind": "group", "title": "", "member": True, "read": 0, "unread": 0} | values
    return Conversation(name, **given)


def seqs(room: Room) -> list[int]:
    return [line.seq for line in room.stored if line.state == "stored"]


@given(st.lists(st.integers(1, 30), max_size=60))
def test_lines_are_in_order_and_each_message_is_there_once(order: list[int]) -> None:
    rooms = Rooms(ME)
    for seq in order:
        rooms.receive(message(seq))
    room = rooms.room("team")

    assert seqs(room) == sorted(set(order))
    assert room.unread == len(set(order))
    assert room.last == max(order, default=0)


def test_a_room_of_the_list_shows_its_newest_message_and_the_counts_of_the_server() -> None:
    rooms = Rooms(ME)
    rooms.state(state(title="Team\x1b", read=4, unread=3, last=message(9)))
    room = rooms.room("team")

    assert (room.title, room.read, room.unread, room.last) == ("Team�", 4, 3, 9)
    assert [line.text for line in room.lines] == ["m9"]
    assert room.older


def test_the_newest_conversation_is_listed_first() -> None:
    rooms = Rooms(ME)
    rooms.receive(message(1, conversation="b"))
    rooms.receive(message(2, conversation="direct:alice:bob"))
    rooms.state(state("a"))
    assert [room.label for room in rooms.listed()] == ["@bob", "b", "a"]


def test_history_goes_above_what_is_there() -> None:
    rooms = Rooms(ME)
    rooms.receive(message(9))
    rooms.history("team", [message(8), message(7)], has_more=False)
    room = rooms.room("team")

    assert seqs(room) == [7, 8, 9]
    assert room.unread == 1
    assert not room.older


def test_ones_own_message_waits_below_and_then_takes_its_place() -> None:
    rooms = Rooms(ME)
    rooms.receive(message(1))
    line = rooms.sending("team", "x1", "hello", 5)
    rooms.receive(message(3))
    room = rooms.room("team")
    assert [one.text for one in room.lines] == ["m1", "m3", "hello"]
    assert line.state == "sending"

    rooms.acked("team", "x1", 2, 20)
    assert [one.text for one in room.lines] == ["m1", "hello", "m3"]
    assert (line.state, line.seq, line.time) == ("stored", 2, 20)
    assert room.pending == []


def test_the_echo_of_ones_own_message_is_the_same_line_whichever_comes_first() -> None:
    rooms = Rooms(ME)
    rooms.sending("team", "x1", "hello", 5)
    rooms.receive(message(2, ME, id="x1"))
    rooms.acked("team", "x1", 2, 20)
    rooms.sending("team", "x2", "again", 6)
    rooms.acked("team", "x2", 3, 30)
    rooms.receive(message(3, ME, id="x2"))

    assert [line.text for line in rooms.room("team").lines] == ["hello", "again"]
    assert rooms.room("team").unread == 0


def test_an_id_of_another_user_does_not_take_the_place_of_ones_own() -> None:
    rooms = Rooms(ME)
    rooms.sending("team", "x1", "hello", 5)
    rooms.receive(message(2, "bob", id="x1"))
    assert [line.state for line in rooms.room("team").lines] == ["stored", "sending"]


def test_a_refused_message_stays_with_the_reason() -> None:
    rooms = Rooms(ME)
    rooms.receive(message(4))
    rooms.sending("team", "x1", "hello", 5)
    rooms.refused("team", "x1", "not a member")
    rooms.receive(message(5))
    shown = [(line.state, line.text) for line in rooms.room("team").lines]
    assert shown == [("stored", "m4"), ("refused", "hello  (not a member)"), ("stored", "m5")]

    rooms.refused("team", "unknown", "late")
    rooms.acked("team", "unknown", 9, 9)
    assert len(rooms.room("team").lines) == 3


def test_a_note_stands_where_it_was_made_and_hides_no_message() -> None:
    rooms = Rooms(ME)
    rooms.note("nowhere", 1)
    rooms.open = rooms.room("team")
    rooms.receive(message(4))
    rooms.note("one", 1)
    rooms.note("two", 1)
    rooms.receive(message(5))
    rooms.receive(message(4))
    assert [line.text for line in rooms.open.lines] == ["m4", "one", "two", "m5"]


def test_reading_marks_the_newest_once() -> None:
    rooms = Rooms(ME)
    assert rooms.read("team") == 0
    rooms.receive(message(4))
    rooms.receive(message(6))
    assert rooms.read("team") == 6
    assert rooms.read("team") == 0
    assert rooms.room("team").unread == 0


def test_marks_of_other_devices_only_grow() -> None:
    rooms = Rooms(ME)
    for seq in (4, 5, 6):
        rooms.receive(message(seq))
    mark = {"conversation": "team", "seq": 5}
    rooms.receive(control(7, "read", "self:alice", **mark))
    assert rooms.room("team").unread == 1
    rooms.receive(control(8, "read", "self:alice", **mark | {"seq": 2}))
    assert (rooms.room("team").read, rooms.room("team").unread) == (5, 1)
    rooms.receive(control(9, "read", "self:alice", conversation=3, seq=None))
    assert rooms.room("team").unread == 1
    assert rooms.room("self:alice").lines == []


def test_control_messages_are_shown_and_not_counted() -> None:
    rooms = Rooms(ME)
    rooms.receive(control(1, "members", joined=["carol"]))
    assert [line.text for line in rooms.room("team").lines] == ["added carol"]
    assert rooms.room("team").unread == 0


def test_membership_follows_the_messages() -> None:
    rooms = Rooms(ME)
    rooms.receive(control(1, "members", left=[ME]))
    assert not rooms.room("team").member
    rooms.receive(control(2, "members", joined=[ME]))
    assert rooms.room("team").member


def test_a_room_keeps_its_newest_lines() -> None:
    rooms = Rooms(ME)
    rooms.history("team", [], has_more=False)
    for seq in range(1, MAX_LINES + 3):
        rooms.receive(message(seq))
    room = rooms.room("team")
    assert len(room.stored) == MAX_LINES
    assert seqs(room)[0] == 3
    assert room.older


# What becomes of messages


def texts(room: Room) -> list[str]:
    return [line.text for line in room.stored]


def test_messages_change_in_their_place() -> None:
    rooms = Rooms(ME)
    for seq in (1, 2, 3):
        rooms.receive(message(seq))
    rooms.receive(control(4, "edited", seq=1, body={"text": "better"}))
    rooms.receive(control(5, "reaction", seq=2, emoji="👍", on=True))
    rooms.receive(control(6, "recalled", seq=3))
    rooms.receive(control(7, "edited", seq=99, body={}))
    room = rooms.room("team")
    assert texts(room) == ["better (edited)", "m2 👍1", "(removed)"]
    assert (room.unread, room.last) == (2, 7)
    assert rooms.read("team") == 7


def test_what_history_has_taken_in_is_not_done_again() -> None:
    rooms = Rooms(ME)
    now = Message("team", 1, 10, "bob", "", "text", {"text": "newest"}, version=6, edits=[4, 6])
    events = [
        control(4, "edited", seq=1, body={"text": "older"}),
        control(6, "edited", seq=1, body={"text": "newest"}),
    ]
    rooms.history("team", [*events[::-1], now], has_more=True)
    room = rooms.room("team")
    assert texts(room) == ["newest (edited)"]
    rooms.receive(events[0])
    assert texts(room) == ["newest (edited)"]


def test_history_of_changes_only_goes_on_before_them() -> None:
    rooms = Rooms(ME)
    rooms.receive(message(9))
    rooms.history("team", [control(seq, "recalled", seq=1) for seq in (8, 7)], has_more=True)
    assert rooms.room("team").first == 7


def test_what_one_hides_goes() -> None:
    rooms = Rooms(ME)
    for seq in (1, 2):
        rooms.receive(message(seq))
    rooms.receive(control(3, "hidden", "self:alice", conversation="team", seq=1))
    room = rooms.room("team")
    assert (texts(room), room.unread) == (["m2"], 1)


def test_the_newest_message_that_can_be_changed() -> None:
    rooms = Rooms(ME)
    room = rooms.room("team")
    assert room.newest() is None
    for seq, sender in [(1, ME), (2, "bob"), (3, ME)]:
        rooms.receive(message(seq, sender))
    rooms.receive(control(4, "recalled", seq=3))
    rooms.receive(control(5, "members", joined=["eve"], left=[]))
    found = [room.newest(), room.newest(ME), room.newest("eve")]
    assert [one and one.seq for one in found] == [2, 1, None]
