"""A device's state machine: transcripts, and any order of events against a model of the server."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from timewire import asking, commands
from timewire import protocol as wire
from timewire.client import session as session_module
from timewire.client.events import (
    Acked,
    Arrival,
    Connected,
    Disconnected,
    Event,
    Live,
    Presence,
    Received,
    Refused,
    Reset,
    Typing,
)
from timewire.client.session import Effects, Session, State
from timewire.client.sqlite_store import SqliteStore
from timewire.client.store import Change, MemoryStore, Owner, Saved, Store
from timewire.commands import PutSettings, Send
from timewire.errors import Forbidden, Invalid, Retryable, TimewireError, Unusable
from timewire.model import Message
from timewire.protocol import Cursor

LIMITS = wire.Limits(frame_bytes=4096, body_bytes=1024, page_entries=50, sends_in_flight=3)


def message(seq: int, sender: str = "bob", conversation: str = "team", id: str = "") -> Message:
    return Message(conversation, seq, 1000 + seq, sender, id or f"m{seq}", "text", {"n": seq})


def raw(*messages: Message) -> list[msgspec.Raw]:
    return [msgspec.Raw(msgspec.json.encode(one)) for one in messages]


def welcome(pos: str = "0", user: str = "alice", base: str = "base") -> wire.Welcome:
    return wire.Welcome(user, "laptop", "s", base, pos, 1, LIMITS)


def page(*messages: Message, pos: str | None = None) -> wire.SyncPage:
    return wire.SyncPage(raw(*messages), pos or str(messages[-1].seq))


def push(one: Message) -> wire.Push:
    return wire.Push(str(one.seq), raw(one)[0])


def send(id: str, to: str = "team") -> Send:
    return Send(id, to, {"text": id})


def played(session: Session, *frames: wire.ServerFrame) -> Effects:
    """What is to be done after these frames, all in one."""
    session.effects()
    for frame in frames:
        session.receive(frame)
    return session.effects()


def online(saved: Saved | None = None) -> Session:
    """A session that is live at position 0."""
    session = Session(saved or Saved(), "laptop")
    session.opened("token")
    session.receive(welcome())
    session.receive(wire.Live("0"))
    session.effects()
    return session


def sent_ids(effects: Effects) -> list[str]:
    return [frame.id for frame in effects.frames if isinstance(frame, Send)]


# Coming online -----------------------------------------------------------------------------------


def test_a_new_device_says_hello_without_a_cursor_and_keeps_the_one_it_gets() -> None:
    session = Session(Saved(), "laptop")
    session.opened("secret")
    assert session.effects().frames == [wire.Hello("secret", "laptop", None, 4)]
    done = played(session, welcome("17"), wire.Live("17"))
    assert done.change == Change(owner=Owner("alice", "laptop"), cursor=Cursor("base", "17"))
    assert done.events == [Connected(), Live()]
    assert session.user == "alice"
    assert session.state is State.LIVE


def test_a_known_device_shows_its_cursor_and_does_not_move_it_by_the_welcome() -> None:
    saved = Saved(Owner("alice", "laptop"), Cursor("base", "5"))
    session = Session(saved, "laptop")
    session.opened("token")
    assert session.effects().frames == [wire.Hello("token", "laptop", Cursor("base", "5"), 4)]
    assert not played(session, welcome("5")).change
    assert session.state is State.CATCHING_UP


def test_pages_are_saved_with_their_cursor_and_give_credit_back() -> None:
    session = Session(Saved(Owner("alice", "laptop"), Cursor("base", "5")), "laptop")
    session.opened("token")
    first, second = message(6), message(9)
    done = played(session, welcome("5"), page(first), page(second, pos="12"))
    assert done.change == Change(
        arrivals=[Received(first), Received(second)], cursor=Cursor("base", "12")
    )
    assert done.frames == [wire.Credit(1), wire.Credit(1)]
    assert session.unsaved == 0


def test_pushes_and_heartbeats_move_the_cursor() -> None:
    session = online()
    done = played(session, push(message(3)), wire.At("8"))
    assert done.change.arrivals == [Received(message(3))]
    assert done.change.cursor == Cursor("base", "8")
    assert done.frames == []


def test_a_device_that_is_behind_catches_up_and_is_live_again() -> None:
    session = online()
    done = played(session, wire.Behind("4"))
    assert done.change.cursor is None
    assert session.state is State.BEHIND
    done = played(session, page(message(5)), wire.Live("5"))
    assert session.state is State.LIVE
    assert done.events == [Received(message(5)), Live()]


def test_sync_frames_before_the_welcome_are_not_taken() -> None:
    session = Session(Saved(), "laptop")
    session.opened("token")
    assert not played(session, push(message(1)), wire.At("4")).change


def test_connections_are_told_once_each() -> None:
    session = online()
    session.closed(1006, "broke")
    session.closed(1006, "no way")
    assert session.effects().events == [Disconnected("broke")]
    session.opened("token")
    assert played(session, welcome()).events == [Connected()]


# Writing -----------------------------------------------------------------------------------------


def test_a_command_waits_for_the_welcome_and_is_saved_at_once() -> None:
    session = Session(Saved(), "laptop")
    session.put(send("a"))
    done = session.effects()
    assert done.change == Change(queued=[send("a")])
    assert done.frames == []
    session.opened("token")
    assert played(session, welcome()).frames == [send("a")]


def test_an_ack_makes_the_message() -> None:
    session = online()
    session.put(send("a"))
    ack = wire.Ack("a", 7, 1007)
    done = played(session, ack)
    stored = Message("team", 7, 1007, "alice", "a", "text", {"text": "a"})
    assert done.change == Change(arrivals=[Acked(stored)], settled=["a"])
    assert done.events == [Acked(stored)]
    assert done.answers == [("a", ack)]
    assert session.outbox == 0
    assert not played(session, ack).change


@pytest.mark.parametrize(
    ("command", "conversation", "kind", "body"),
    [
        (
            commands.Create("a", "team", ["bob", "alice", "bob"], "Team"),
            "team",
            "created",
            {"kind": "group", "members": ["alice", "bob"], "title": "Team"},
        ),
        (
            commands.Add("a", "team", ["eve", "eve"]),
            "team",
            "members",
            {"joined": ["eve"], "left": []},
        ),
        (commands.Remove("a", "team", ["bob"]), "team", "members", {"joined": [], "left": ["bob"]}),
        (
            commands.MarkRead("a", "team", 5),
            "self:alice",
            "read",
            {"conversation": "team", "seq": 5},
        ),
    ],
)
def test_every_command_becomes_the_message_that_others_get(
    command: Any, conversation: str, kind: str, body: dict[str, Any]
) -> None:
    session = online()
    session.put(command)
    done = played(session, wire.Ack("a", 7, 1007))
    assert done.events == [Acked(Message(conversation, 7, 1007, "alice", "a", kind, body))]


def test_one_s_own_message_in_a_page_is_no_foreign_one() -> None:
    session = online()
    session.put(send("a"))
    mine, other_device = message(7, "alice", id="a"), message(8, "alice", id="b")
    done = played(session, page(mine, other_device))
    assert done.events == [Acked(mine), Received(other_device)]
    assert session.outbox == 1


def test_no_more_than_the_server_allows_is_in_flight() -> None:
    session = online()
    for id in "abcde":
        session.put(send(id))
    assert sent_ids(session.effects()) == ["a", "b", "c"]
    assert sent_ids(played(session, wire.Ack("b", 1, 1))) == ["d"]
    assert sent_ids(played(session, wire.Ack("a", 2, 1), wire.Ack("c", 3, 1))) == ["e"]


def test_after_a_lost_connection_all_that_has_no_answer_goes_again_in_order() -> None:
    session = online()
    for id in "abcd":
        session.put(send(id))
    played(session, wire.Ack("b", 1, 1))
    session.closed(1006, "broke")
    session.opened("token")
    done = played(session, welcome())
    assert done.frames == [send("a"), send("c"), send("d")]


def test_a_restored_outbox_goes_first() -> None:
    session = Session(Saved(outbox=[send("old")]), "laptop")
    session.put(send("new"))
    session.opened("token")
    assert sent_ids(played(session, welcome())) == ["old", "new"]


def test_what_the_server_cannot_do_now_goes_again_after_a_pause_in_order() -> None:
    session = online()
    for id in "abcd":
        session.put(send(id))
    session.effects()
    busy = [wire.Problem("rate_limited", "", id, retry=True) for id in "ab"]
    done = played(session, *busy, wire.Ack("c", 1, 1))
    assert done.pause
    assert done.frames == []
    session.put(send("e"))
    assert session.effects().frames == []
    session.resume()
    assert sent_ids(session.effects()) == ["a", "b", "d"]


def test_a_second_refusal_within_a_pause_asks_for_no_second_pause() -> None:
    session = online()
    session.put(send("a"))
    session.put(send("b"))
    assert played(session, wire.Problem("too_busy", "", "a", retry=True)).pause
    assert not played(session, wire.Problem("too_busy", "", "b", retry=True)).pause


@pytest.mark.parametrize(
    ("told", "pause_ms"), [(250, 250), (10_000_000, 60_000), (-5, 0), ("soon", 0), (None, 0)]
)
def test_a_server_that_asks_to_wait_is_heeded_within_reason(told: Any, pause_ms: int) -> None:
    session = online()
    session.put(send("a"))
    fields = {"retry_after": told}
    done = played(session, wire.Problem("rate_limited", "", "a", retry=True, fields=fields))
    assert (done.pause, done.pause_ms) == (True, pause_ms)


def test_a_new_connection_ends_the_pause() -> None:
    session = online()
    session.put(send("a"))
    played(session, wire.Problem("outcome_unknown", "", "a", retry=True))
    session.closed(4000, "shutting_down")
    session.opened("token")
    assert sent_ids(played(session, welcome())) == ["a"]


def test_a_final_refusal_ends_a_command_and_lets_the_next_go() -> None:
    session = online()
    for id in "abcd":
        session.put(send(id))
    done = played(session, wire.Problem("not_member", "no", "b", fields={"conversation": "team"}))
    [(id, fault)] = done.answers
    assert id == "b"
    assert isinstance(fault, Forbidden)
    assert (fault.code, fault.fields) == ("not_member", {"conversation": "team"})
    assert done.events == [Refused("b", "team", fault)]
    assert done.change == Change(settled=["b"])
    assert sent_ids(done) == ["d"]


@pytest.mark.parametrize(("retry", "kind"), [(True, Retryable), (False, Invalid)])
def test_a_code_of_a_newer_server_is_still_an_error(retry: bool, kind: type[TimewireError]) -> None:
    session = online()
    session.put(send("a"))
    done = played(session, wire.Problem("brand_new", "what?", "a", retry=retry))
    assert done.pause == retry
    if not retry:
        assert [(type(fault), fault.code) for _, fault in done.answers] == [(kind, "brand_new")]  # pyright: ignore


def test_a_command_that_is_too_large_is_refused_here_and_holds_up_nobody() -> None:
    session = Session(Saved(), "laptop")
    session.put(Send("huge", "team", {"text": "x" * 5000}))
    session.put(send("small"))
    session.opened("token")
    done = played(session, welcome())
    assert sent_ids(done) == ["small"]
    [(id, fault)] = done.answers
    assert (id, fault.code) == ("huge", "frame_too_large")  # pyright: ignore
    assert done.change.settled == ["huge"]


def test_the_same_command_is_queued_once_and_another_with_its_id_is_refused() -> None:
    session = online()
    session.put(send("a"))
    session.put(send("a"))
    assert sent_ids(session.effects()) == ["a"]
    with pytest.raises(Invalid) as refusal:
        session.put(send("a", to="other"))
    assert refusal.value.code == "id_reused"


def test_the_outbox_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timewire.client.outbox.MAX_OUTBOX_COMMANDS", 2)
    session = Session(Saved(), "laptop")
    session.put(send("a"))
    session.put(send("b"))
    with pytest.raises(Retryable) as refusal:
        session.put(send("c"))
    assert refusal.value.code == "too_busy"
    assert len(session.effects().change.queued) == 2


# Asking ------------------------------------------------------------------------------------------


def test_a_query_is_asked_again_until_it_is_answered() -> None:
    session = Session(Saved(), "laptop")
    query = asking.GetHistory("q", "team", limit=10)
    session.ask(query)
    session.opened("token")
    assert played(session, welcome()).frames == [query]
    session.closed(1006, "broke")
    session.opened("token")
    assert played(session, welcome()).frames == [query]
    answer = wire.HistoryPage("q", "team", [], False)
    assert played(session, answer).answers == [("q", answer)]
    assert played(session, answer).answers == []


def test_a_query_asks_for_no_more_than_a_page_may_hold() -> None:
    session = online()
    session.ask(asking.ListMembers("q", "team", limit=1000))
    assert session.effects().frames == [asking.ListMembers("q", "team", limit=50)]


def test_a_forgotten_query_is_not_asked_again() -> None:
    session = online()
    session.ask(asking.ListConversations("q"))
    session.forget("q")
    session.closed(1006, "broke")
    session.opened("token")
    assert played(session, welcome()).frames == []


def test_a_query_that_the_server_cannot_answer_now_goes_again_after_a_pause() -> None:
    session = online()
    query = asking.ListConversations("q", limit=50)
    session.ask(query)
    assert played(session, wire.Problem("too_busy", "", "q", retry=True)).pause
    session.resume()
    assert session.effects().frames == [query]


def test_a_query_can_be_refused() -> None:
    session = online()
    session.ask(asking.ListMembers("q", "team"))
    [(id, fault)] = played(session, wire.Problem("not_member", "", "q")).answers
    assert id == "q"
    assert isinstance(fault, Forbidden)


def test_a_forgotten_query_does_not_hinder_the_end_of_a_pause() -> None:
    session = online()
    session.ask(asking.ListConversations("q"))
    played(session, wire.Problem("too_busy", "", "q", retry=True))
    session.forget("q")
    session.resume()
    assert session.effects().frames == []


# Resets ------------------------------------------------------------------------------------------


def test_a_reset_saves_the_new_cursor_with_the_duty_to_rebuild() -> None:
    session = Session(Saved(Owner("alice", "laptop"), Cursor("old", "5")), "laptop")
    session.opened("token")
    done = played(session, welcome("90"), wire.Reset("expired", "new", "90"), wire.Live("90"))
    assert done.change == Change(cursor=Cursor("new", "90"), reset="expired")
    assert done.events == [Connected(), Reset("expired")]
    assert done.rebuild
    assert session.state is State.RESET


def resetting() -> Session:
    session = Session(Saved(Owner("alice", "laptop"), Cursor("old", "5")), "laptop")
    session.opened("token")
    played(session, welcome("90"), wire.Reset("expired", "new", "90"), wire.Live("90"))
    return session


def test_while_it_is_rebuilt_a_device_takes_no_pushes_but_answers() -> None:
    session = resetting()
    session.put(send("a"))
    session.ask(asking.ListConversations("q"))
    answer = wire.ConversationPage("q", [], False)
    done = played(session, push(message(91)), wire.At("95"), wire.Ack("a", 92, 1), answer)
    assert [event.message.seq for event in done.change.arrivals] == [92]
    assert done.change.cursor is None
    assert [id for id, _ in done.answers] == ["a", "q"]


def test_after_the_rebuild_all_that_was_let_go_comes_again() -> None:
    session = resetting()
    played(session, push(message(91)))
    session.fetched([message(80), message(81)], {"team": 80}, {})
    done = session.effects()
    assert done.change == Change(
        arrivals=[Received(message(80)), Received(message(81))], marks={"team": 80}
    )
    session.rebuilt()
    done = session.effects()
    assert done.change == Change(rebuilt=True)
    assert done.reconnect
    assert played(session, push(message(92))).change == Change()
    session.closed(1000, "")
    session.opened("token")
    assert session.effects() == Effects(
        frames=[wire.Hello("token", "laptop", Cursor("new", "90"), 4)]
    )
    done = played(session, welcome("90", base="new"), page(message(91), message(92)))
    assert done.events == [Received(message(91)), Received(message(92))]
    assert done.change.cursor == Cursor("new", "92")


def test_a_rebuild_that_was_broken_off_is_due_after_a_restart() -> None:
    saved = Saved(Owner("alice", "laptop"), Cursor("new", "90"), "expired")
    session = Session(saved, "laptop")
    done = session.effects()
    assert done.events == [Reset("expired")]
    assert done.rebuild
    session.opened("token")
    done = played(session, welcome("90"), page(message(91)))
    assert session.state is State.RESET
    assert not done.change
    assert not done.rebuild


def test_a_lost_connection_does_not_begin_the_rebuild_anew() -> None:
    session = resetting()
    session.closed(1006, "broke")
    session.opened("token")
    assert not played(session, welcome("90", base="new")).rebuild


# An app that is slow -----------------------------------------------------------------------------


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "MAX_UNREAD_EVENTS", 4)
    monkeypatch.setattr(session_module, "LOW_UNREAD_EVENTS", 2)


@pytest.mark.usefixtures("_small")
def test_pages_are_paid_for_when_the_app_has_room() -> None:
    session = online()
    played(session, wire.Behind("0"))
    assert played(session, page(message(1), message(2))).frames == [wire.Credit(1)]
    assert played(session, page(message(3)), page(message(4))).frames == []
    session.taken(3)
    assert session.effects().frames == []
    session.taken(2)
    assert session.effects().frames == [wire.Credit(2)]
    session.taken(1)
    assert session.effects().frames == []


@pytest.mark.usefixtures("_small")
def test_a_device_with_too_much_unread_lets_pushes_go_and_comes_again() -> None:
    session = online()
    done = played(session, *[push(message(seq)) for seq in range(1, 8)], wire.At("9"))
    assert [event.message.seq for event in done.change.arrivals] == [1, 2, 3, 4]
    assert done.change.cursor == Cursor("base", "4")
    session.put(send("a"))
    assert played(session, wire.Ack("a", 10, 1)).change.settled == ["a"]
    session.taken(3)
    assert not session.effects().reconnect
    assert not played(session, push(message(11))).change
    session.taken(2)
    assert session.effects().reconnect
    session.taken(1)
    assert not session.effects().reconnect
    assert session.closed(1000, "")[0] == "reconnect"
    session.opened("token")
    assert session.effects().events == []
    assert played(session, welcome("4"), page(message(5))).events == [Received(message(5))]


# The end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "advice", "fault"),
    [
        (1006, "reconnect", "not_connected"),
        (4000, "reconnect", "not_connected"),
        (4100, "renew", "bad_token"),
        (4101, "renew", "token_expired"),
        (4200, "stop", "replaced"),
        (4201, "stop", "bad_frame"),
    ],
)
def test_what_a_close_code_means(code: int, advice: str, fault: str) -> None:
    told, error = online().closed(code, "why")
    assert (told, error.code) == (advice, fault)


def test_what_the_server_said_last_explains_the_end() -> None:
    session = Session(Saved(), "laptop")
    session.opened("token")
    session.receive(wire.Problem("bad_device", "the token is for another device"))
    advice, fault = session.closed(4100, "bad_token")
    assert (advice, fault.code) == ("renew", "bad_device")
    assert session.closed(1006, "broke")[1].code == "not_connected"


def test_a_hello_that_is_refused_is_not_said_again() -> None:
    session = Session(Saved(), "laptop")
    session.opened("token")
    with pytest.raises(Invalid) as refusal:
        session.receive(wire.Problem("frame_too_large", ""))
    assert refusal.value.code == "frame_too_large"
    session = online()
    assert played(session, wire.Problem("bad_frame", "")) == Effects()


def test_a_store_serves_one_device_of_one_user() -> None:
    saved = Saved(Owner("alice", "laptop"))
    with pytest.raises(Unusable) as refusal:
        Session(saved, "phone")
    assert refusal.value.code == "wrong_store"
    session = Session(saved, "laptop")
    session.opened("token of bob")
    with pytest.raises(Unusable) as refusal:
        session.receive(welcome(user="bob"))
    assert refusal.value.code == "wrong_store"


# Any order of events -----------------------------------------------------------------------------

PAGE = 2
EXAMPLES = 200


class Server:
    """The server as a device can know it: a log, and one connection of alice's laptop."""

    def __init__(self) -> None:
        self.log: list[Message] = []
        self.floor = 1
        self.published = 0
        self.inbound: deque[wire.ClientFrame] = deque()
        self.outbound: deque[wire.ServerFrame] = deque()
        self.open = False
        self.position = 0
        self.credit = 0
        self.live = False
        self.connection = 0
        self.busy = False
        self.refused = ""
        self.origins: dict[int, int] = {}

    def append(self, sender: str, id: str, conversation: str, body: dict[str, Any]) -> Message:
        known = [one for one in self.log if (one.sender, one.id) == (sender, id)]
        if known:
            return known[0]
        seq = len(self.log) + 1
        self.log.append(Message(conversation, seq, 1000 + seq, sender, id, "text", body))
        return self.log[-1]

    def publish(self) -> None:
        """Fan-out reaches the next message."""
        self.published += 1
        one = self.log[self.published - 1]
        if self.live:
            self.position = self.published
            if self.origins.get(one.seq) != self.connection:
                self.outbound.append(push(one))

    def connect(self) -> None:
        self.inbound.clear()
        self.outbound.clear()
        self.open, self.live, self.connection = True, False, self.connection + 1
        self.busy, self.refused = False, ""

    def drop(self) -> None:
        self.open = self.live = False

    def handle(self) -> None:
        """One frame of the device."""
        match self.inbound.popleft():
            case wire.Hello() as hello:
                self.greet(hello)
            case wire.Credit() as credit:
                self.credit += credit.pages
                self.pull()
            case Send() as sent if self.busy or self.refused not in ("", sent.id):
                # Nothing after a command that was refused for now, until that is repeated.
                self.busy = False
                self.refused = self.refused or sent.id
                self.outbound.append(wire.Problem("too_busy", "", sent.id, retry=True))
            case Send() as sent:
                self.refused = ""
                fresh = len(self.log)
                one = self.append("alice", sent.id, sent.to, sent.body)
                if len(self.log) > fresh:
                    self.origins[one.seq] = self.connection
                self.outbound.append(wire.Ack(sent.id, one.seq, one.time))
            case asking.ListConversations() as query:
                self.outbound.append(wire.ConversationPage(query.id, [], False))
            case other:
                raise AssertionError(other)

    def greet(self, hello: wire.Hello) -> None:
        self.credit = hello.credit
        self.position = self.published if hello.cursor is None else int(hello.cursor.pos)
        assert self.position <= self.published
        self.outbound.append(welcome(str(self.position)))
        self.pull()

    def pull(self) -> None:
        while self.credit and not self.live:
            if self.position + 1 < self.floor:
                self.position = self.published
                self.outbound.append(wire.Reset("expired", "base", str(self.position)))
            rest = self.log[self.position : self.published]
            if not rest:
                self.live = True
                self.outbound.append(wire.Live(str(self.position)))
            else:
                self.credit -= 1
                self.position += len(rest[:PAGE])
                self.outbound.append(page(*rest[:PAGE], pos=str(self.position)))


class Devices(RuleBasedStateMachine):
    """Alice's laptop under any order of frames, losses, refusals and crashes of its app."""

    store: Store

    @initialize(file=st.booleans())
    def install(self, file: bool) -> None:
        self.store = SqliteStore(":memory:") if file else MemoryStore()
        self.server = Server()
        self.seen: list[Event] = []
        self.sent = 0
        self.resets = 0
        self.start()
        self.connect()
        self.settle()

    def start(self) -> None:
        """The app starts: all it has is the store."""
        saved = self.store.load()
        self.session = Session(saved, "laptop")
        self.feed: deque[tuple[int, Event]] = deque(saved.unread)
        self.resting = self.rebuilding = self.leaving = False
        self.act()

    def act(self) -> None:
        effects = self.session.effects()
        numbers = iter(self.store.apply(effects.change))
        for event in effects.events:
            if not isinstance(event, Arrival):
                self.resets += isinstance(event, Reset)
            elif (number := next(numbers)) is not None:
                self.feed.append((number, event))
        self.session.unread = len(self.feed)
        if self.server.open:
            self.server.inbound.extend(effects.frames)
        self.resting |= effects.pause
        self.rebuilding |= effects.rebuild
        self.leaving |= effects.reconnect

    def hang_up(self) -> None:
        self.server.drop()
        self.session.closed(1006, "broke")
        self.leaving = False
        self.act()

    @rule(
        senders=st.lists(st.sampled_from(["bob", "phone"]), min_size=1, max_size=4),
        conversation=st.sampled_from(["team", "direct"]),
    )
    def others_send(self, senders: list[str], conversation: str) -> None:
        for sender in senders:
            # The phone is another device of alice.
            name = "alice" if sender == "phone" else sender
            self.server.append(name, f"{sender}{len(self.server.log)}", conversation, {})

    @rule()
    def alice_sends(self) -> None:
        self.sent += 1
        self.session.put(Send(f"{self.sent}", "team", {"n": self.sent}))
        self.act()

    @precondition(lambda self: self.server.published < len(self.server.log))
    @rule(count=st.integers(1, 8))
    def fan_out(self, count: int) -> None:
        for _ in range(min(count, len(self.server.log) - self.server.published)):
            self.server.publish()

    @precondition(lambda self: self.server.inbound)
    @rule()
    def to_server(self) -> None:
        self.server.handle()

    @rule()
    def too_busy(self) -> None:
        self.server.busy = True

    @precondition(lambda self: self.server.open and self.server.outbound)
    @rule(count=st.integers(1, 8))
    def to_device(self, count: int) -> None:
        for _ in range(min(count, len(self.server.outbound))):
            self.session.receive(self.server.outbound.popleft())
        self.act()

    @precondition(lambda self: self.resting)
    @rule()
    def rested(self) -> None:
        self.resting = False
        self.session.resume()
        self.act()

    @precondition(lambda self: self.server.open)
    @rule()
    def lose_connection(self) -> None:
        self.hang_up()

    @precondition(lambda self: not self.server.open)
    @rule()
    def connect(self) -> None:
        self.server.connect()
        self.session.opened("token")
        self.act()

    @precondition(lambda self: self.leaving)
    @rule()
    def leave(self) -> None:
        self.hang_up()

    @rule()
    def crash(self) -> None:
        self.server.drop()
        self.start()

    @precondition(lambda self: self.feed)
    @rule()
    def read_event(self) -> None:
        number, event = self.feed.popleft()
        self.seen.append(event)
        self.store.apply(Change(taken=number))
        self.session.taken(len(self.feed))
        self.act()

    @precondition(lambda self: self.rebuilding and self.server.open)
    @rule()
    def rebuild(self) -> None:
        """History comes all at once here, up to the head: further than the cursor."""
        self.rebuilding = False
        # One's own unacked messages are in history too.
        self.session.fetched(self.server.log, {}, {})
        self.act()
        self.session.rebuilt()
        self.act()

    @rule()
    def expire(self) -> None:
        self.server.floor = self.server.published + 1

    @invariant()
    def the_cursor_never_passes_what_is_not_stored(self) -> None:
        if not hasattr(self, "store"):
            return
        saved = self.store.load()
        if saved.reset or not saved.cursor:
            return
        queued = {command.id for command in saved.outbox}
        for one in self.server.log[: int(saved.cursor.pos)]:
            mine = one.sender == "alice" and one.id in queued
            assert mine or one in self.store.messages(one.conversation, limit=1000)

    def settle(self) -> None:
        """Let everything that is under way come to its end."""
        while True:
            if self.leaving:
                self.leave()
            elif not self.server.open:
                self.connect()
            elif self.server.outbound:
                self.to_device(1)
            elif self.server.inbound:
                self.to_server()
            elif self.server.published < len(self.server.log):
                self.fan_out(1)
            elif self.resting:
                self.rested()
            elif self.rebuilding:
                self.rebuild()
            elif self.feed:
                self.read_event()
            else:
                break

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.settle()
        log = self.server.log
        assert self.session.state is State.LIVE
        assert self.session.outbox == 0
        assert not self.store.load().outbox
        shown = [event.message for event in self.seen if isinstance(event, Arrival)]
        # Each exactly once, and nothing altered.
        assert sorted(shown, key=lambda one: one.seq) == log
        for conversation in ("team", "direct"):
            kept = self.store.messages(conversation, limit=1000)
            assert kept == [one for one in reversed(log) if one.conversation == conversation]
            others = [
                event.message.seq
                for event in self.seen
                if isinstance(event, Received) and event.message.conversation == conversation
            ]
            assert others == sorted(others)
        # What this device sent kept its order, and is there once.
        mine = [int(one.id) for one in log if one.sender == "alice" and one.id.isdigit()]
        assert mine == list(range(1, self.sent + 1))
        assert max(Counter(mine).values(), default=1) == 1
        own = [event.message for event in self.seen if isinstance(event, Acked)]
        assert all(one.sender == "alice" for one in own)
        self.store.close()


def test_a_device_under_any_order_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    # Small, so that an app that is slow is met often.
    monkeypatch.setattr(session_module, "MAX_UNREAD_EVENTS", 4)
    monkeypatch.setattr(session_module, "LOW_UNREAD_EVENTS", 2)
    run_state_machine_as_test(Devices, settings=settings(max_examples=EXAMPLES))


# Signals -----------------------------------------------------------------------------------------


def test_what_is_watched_is_watched_on_every_connection() -> None:
    session = Session(Saved(), "laptop")
    watch = wire.Watch("w", ["bob"])
    session.watch(watch)
    session.typing("team")
    assert session.effects().frames == []
    for _ in range(2):
        session.opened("token")
        session.effects()
        assert watch in played(session, welcome()).frames
        session.closed(1006, "gone")
    session.opened("token")
    played(session, welcome())
    other = wire.Watch("v", [])
    session.watch(other)
    session.typing("team")
    assert session.effects().frames == [other, wire.Typing("team")]


def test_signals_become_events_and_move_nothing() -> None:
    session = online()
    done = played(
        session,
        wire.SomeoneTyping("team", "bob"),
        wire.Watching("w", [wire.Presence("bob", True), wire.Presence("eve", False, 5)]),
        wire.Presence("bob", False, 7),
    )
    assert done.events == [
        Typing("team", "bob"),
        Presence("bob", True),
        Presence("eve", False, 5),
        Presence("bob", False, 7),
    ]
    assert not done.change


def test_settings_that_are_refused_are_about_ones_own_conversation() -> None:
    session = online()
    session.put(PutSettings("1", "nobody"))
    done = played(session, wire.Problem("storage_full", "no", "1"))
    assert [event.conversation for event in done.events if isinstance(event, Refused)] == [
        "self:alice"
    ]


# Renewing ---------------------------------------------------------------------------------------


def test_a_token_is_renewed_when_three_quarters_of_its_life_are_over() -> None:
    session = Session(Saved(), "laptop")
    session.opened("old")
    expiring = msgspec.structs.replace(welcome(), time=1_000, expires=9_000)
    assert played(session, expiring).renew_ms == 6_000
    session.renew("new")
    assert session.effects().frames == [wire.Renew(session_module.RENEWAL, "new")]
    renewed = wire.Renewed(session_module.RENEWAL, expires=20_000, time=8_000)
    assert played(session, renewed).renew_ms == 9_000
    again = wire.Renewed(session_module.RENEWAL, expires=20_000, time=19_999)
    assert played(session, again).renew_ms == session_module.MIN_RENEW_MS
    refused = wire.Problem("bad_token", "no", session_module.RENEWAL)
    assert played(session, refused).renew_ms == session_module.RENEW_AGAIN_MS


def test_without_a_connection_the_next_hello_has_the_newer_token() -> None:
    session = online()
    session.closed(1006, "gone")
    session.effects()
    session.renew("new")
    assert session.effects().frames == []
    assert played(online(), welcome()).renew_ms is None
