"""A connection's life, as a state machine: nothing here waits, and nothing is sent anywhere."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from timewire.asking import GetHistory, ListConversations
from timewire.commands import Create, Send
from timewire.config import Config
from timewire.errors import TimewireError, error
from timewire.protocol import (
    Ack,
    Behind,
    ClientFrame,
    CloseCode,
    Credit,
    Cursor,
    Hello,
    HistoryPage,
    Limits,
    Live,
    Ping,
    Problem,
    Reset,
    SyncPage,
    Typing,
    Watch,
    Watching,
    Welcome,
)
from timewire.quotas import Meter, Quotas
from timewire.session import (
    MAX_BAD_FRAMES,
    MAX_CREDIT_PAGES,
    MAX_QUERIES_IN_FLIGHT,
    MAX_STALL_MS,
    Close,
    Effects,
    Pull,
    Session,
    Start,
)
from timewire.sync import Pulled

LIMITS = Limits(frame_bytes=65_536, body_bytes=32_768, page_entries=100, sends_in_flight=3)
NOW = 1_700_000_000_000


def meter(a_second: int) -> Meter:
    return Quotas(Config(sends_per_second=a_second), lambda: NOW).meter(user="alice")


def session(a_second: int = 0) -> Session:
    return Session(LIMITS, meter(a_second))


def greeted(start: Start, credit: int = 4) -> tuple[Session, Effects]:
    """A session that has been welcomed, and the effects of that."""
    made = session()
    made.receive(Hello("token", "phone", credit=credit), NOW)
    return made, made.welcome("alice", "phone", "s1", start, NOW)


def live(at: int = 7) -> Session:
    made, _ = greeted(Start("base", at, new=True))
    return made


def page(upto: int, *messages: int, has_more: bool = False) -> Pulled:
    return Pulled([b"%d" % seq for seq in messages], upto, has_more)


def send(id: str = "1") -> Send:
    return Send(id, "team", {})


def kinds(effects: Effects) -> list[type]:
    return [type(effect) for effect in effects]


def codes(effects: Effects) -> list[str]:
    return [effect.code for effect in effects if isinstance(effect, Problem)]


# -- hello -----------------------------------------------------------------------------------------


def test_hello_is_handed_on_to_be_checked() -> None:
    hello = Hello("token", "phone", Cursor("base", "3"))
    made = session()
    assert made.receive(hello, NOW) == (hello,)
    assert made.state == "checking"


def test_a_new_device_is_live_at_once_from_the_head() -> None:
    made, effects = greeted(Start("base", 7, new=True))
    assert effects == (
        Welcome("alice", "phone", "s1", "base", "7", NOW, LIMITS),
        Live("7"),
    )
    assert (made.state, made.position) == ("live", 7)


def test_a_device_with_a_cursor_catches_up_from_it() -> None:
    made, effects = greeted(Start("base", 3))
    assert kinds(effects) == [Welcome, Pull]
    assert effects[1] == Pull(3)
    assert made.state == "catching"


def test_a_device_that_lost_its_place_is_told_why_and_is_live_from_the_head() -> None:
    made, effects = greeted(Start("base", 9, reset="expired"))
    assert kinds(effects) == [Welcome, Reset, Live]
    assert effects[1:] == (Reset("expired", "base", "9"), Live("9"))
    assert (made.state, made.position) == ("live", 9)


@pytest.mark.parametrize(
    ("code", "closed_with"),
    [
        ("bad_token", CloseCode.BAD_TOKEN),
        ("bad_device", CloseCode.BAD_TOKEN),
        ("token_expired", CloseCode.TOKEN_EXPIRED),
    ],
)
def test_a_bad_token_is_answered_and_closed(code: str, closed_with: CloseCode) -> None:
    made = session()
    made.receive(Hello("token", "phone"), NOW)
    effects = made.reject(error(code))
    assert codes(effects) == [code]
    assert effects[-1] == Close(closed_with)
    assert made.state == "closed"
    assert made.receive(send(), NOW) == ()


def test_a_device_name_that_is_none_is_told_and_may_be_corrected() -> None:
    made = session()
    made.receive(Hello("token", "my phone"), NOW)
    assert codes(made.reject(error("bad_name"))) == ["bad_name"]
    hello = Hello("token", "phone")
    assert made.receive(hello, NOW) == (hello,)


def test_nothing_but_ping_is_served_before_hello() -> None:
    made = session()
    assert made.receive(Ping("p"), NOW) == (Ping("p"),)
    frames: list[ClientFrame] = [send("a"), Credit(), GetHistory("h", "team"), Create("c", "team")]
    told = [made.receive(frame, NOW) for frame in frames]
    assert [codes(effects) for effects in told] == [["not_hello"]] * 4
    assert [effect.id for effects in told for effect in effects if isinstance(effect, Problem)] == [
        "a",
        "",
        "h",
        "c",
    ]
    assert made.state == "new"
    assert kinds(made.receive(Hello("token", "phone"), NOW)) == [Hello]


@pytest.mark.parametrize("start", [Start("base", 7, new=True), Start("base", 3)])
def test_hello_twice_is_refused_and_changes_nothing(start: Start) -> None:
    made, _ = greeted(start)
    before = made.state
    assert codes(made.receive(Hello("other", "tablet"), NOW)) == ["hello_twice"]
    assert (made.state, made.user, made.device) == (before, "alice", "phone")


# -- catching up -----------------------------------------------------------------------------------


def test_pages_follow_each_other_until_the_horizon_and_then_it_is_live() -> None:
    made, _ = greeted(Start("base", 3))
    first = made.pulled(page(5, 4, 5, has_more=True), 8)
    assert first == (SyncPage([msgspec.Raw(b"4"), msgspec.Raw(b"5")], "5", has_more=True), Pull(5))
    last = made.pulled(page(8, 8), 8)
    assert last == (SyncPage([msgspec.Raw(b"8")], "8"), Live("8"))
    assert (made.state, made.position, made.credit) == ("live", 8, 2)


def test_it_is_not_live_before_the_horizon_of_the_moment_is_reached() -> None:
    made, _ = greeted(Start("base", 3))
    assert made.pulled(page(8, 8), 10)[1:] == (Pull(8),)
    assert made.state == "catching"
    assert made.pulled(page(10), 10) == (Live("10"),)


def test_an_empty_page_costs_no_credit_and_is_not_sent() -> None:
    made, _ = greeted(Start("base", 3), credit=1)
    assert made.pulled(page(9), 9) == (Live("9"),)
    assert made.credit == 1


def test_without_credit_nothing_is_pulled_and_credit_starts_it_again() -> None:
    made, _ = greeted(Start("base", 3), credit=1)
    assert kinds(made.pulled(page(5, 5, has_more=True), 9)) == [SyncPage]
    assert (made.state, made.credit) == ("catching", 0)
    assert made.receive(Credit(0), NOW) == ()
    assert made.receive(Credit(2), NOW) == (Pull(5),)


def test_credit_while_a_page_is_on_its_way_pulls_no_second_one() -> None:
    made, _ = greeted(Start("base", 3), credit=1)
    assert made.receive(Credit(1), NOW) == ()
    assert kinds(made.pulled(page(5, 5, has_more=True), 9)) == [SyncPage, Pull]
    assert made.receive(Credit(1), NOW) == ()


@pytest.mark.parametrize(("given", "taken"), [(-5, 1), (0, 1), (1, 1), (10**30, MAX_CREDIT_PAGES)])
def test_the_credit_of_hello_has_bounds(given: int, taken: int) -> None:
    made, _ = greeted(Start("base", 3), credit=given)
    assert made.credit == taken


def test_credit_has_bounds() -> None:
    made = live()
    made.receive(Credit(10**30), NOW)
    assert made.credit == MAX_CREDIT_PAGES
    # What was allowed is not taken back: a page may be on its way already.
    made.receive(Credit(-(10**30)), NOW)
    assert made.credit == MAX_CREDIT_PAGES


def test_an_expiry_during_catch_up_resets() -> None:
    made, _ = greeted(Start("base", 3))
    assert made.lost("expired", 12) == (Reset("expired", "base", "12"), Live("12"))
    assert (made.state, made.position) == ("live", 12)


def test_one_that_falls_behind_pulls_from_what_it_has() -> None:
    made = live()
    assert made.fall_behind(11) == (Behind("11"), Pull(11))
    assert (made.state, made.position) == ("catching", 11)
    assert kinds(made.pulled(page(14, 12, 14), 14)) == [SyncPage, Live]


def test_one_that_falls_behind_without_credit_waits_for_it() -> None:
    made = live()
    made.credit = 0
    assert made.fall_behind(11) == (Behind("11"),)
    assert made.receive(Credit(), NOW) == (Pull(11),)


# -- requests --------------------------------------------------------------------------------------


def test_requests_are_handed_on_and_their_answers_back() -> None:
    made = live()
    query = ListConversations("q")
    assert made.receive(send(), NOW) == (send(),)
    assert made.receive(query, NOW) == (query,)
    ack = Ack("1", 9, NOW)
    assert made.answered(send(), ack) == (ack,)
    assert codes(made.answered(query, error("bad_limit"))) == ["bad_limit"]
    assert (made.commands, made.queries) == (0, 0)


def test_requests_are_served_while_catching_up() -> None:
    made, _ = greeted(Start("base", 3))
    assert made.receive(send(), NOW) == (send(),)
    assert kinds(made.receive(GetHistory("h", "team"), NOW)) == [GetHistory]
    assert made.receive(Ping("p"), NOW) == (Ping("p"),)


def test_sends_in_flight_are_bounded_and_a_refusal_is_told_to_the_right_one() -> None:
    made = live()
    for id in "abc":
        assert made.receive(send(id), NOW) == (send(id),)
    [told] = made.receive(send("d"), NOW)
    assert isinstance(told, Problem)
    assert (told.code, told.id, told.retry) == ("too_busy", "d", True)
    made.answered(send("a"), Ack("a", 9, NOW))
    assert made.receive(send("d"), NOW) == (send("d"),)


def test_nothing_overtakes_a_send_that_was_refused_for_now() -> None:
    made = live()
    assert made.receive(send("a"), NOW) == (send("a"),)
    assert codes(made.answered(send("a"), error("storage_unavailable"))) == ["storage_unavailable"]
    [told] = made.receive(send("b"), NOW)
    assert isinstance(told, Problem)
    assert (told.code, told.id, told.retry) == ("out_of_turn", "b", True)
    assert told.fields == {"first": "a"}
    # Questions are not held up, and the repeat opens the way.
    assert codes(made.receive(GetHistory("h", "team"), NOW)) == []
    assert made.receive(send("a"), NOW + 5) == (send("a"),)
    assert made.receive(send("b"), NOW + 5) == (send("b"),)


def test_the_repeat_of_a_refused_send_may_be_refused_again() -> None:
    made = live()
    for id in "abc":
        made.receive(send(id), NOW)
    assert codes(made.receive(send("d"), NOW)) == ["too_busy"]
    assert codes(made.receive(send("d"), NOW)) == ["too_busy"]
    assert codes(made.receive(send("e"), NOW)) == ["out_of_turn"]
    made.answered(send("a"), Ack("a", 9, NOW))
    assert codes(made.receive(send("e"), NOW)) == ["out_of_turn"]
    assert made.receive(send("d"), NOW) == (send("d"),)


def test_one_that_was_turned_away_waits_for_those_before_it() -> None:
    made = live()
    for id in "abc":
        made.receive(send(id), NOW)
    assert codes(made.receive(send("d"), NOW)) == ["too_busy"]
    # Those before it are refused after it: their repeats come first, in their order.
    for id in "abc":
        made.answered(send(id), error("storage_unavailable"))
    assert codes(made.receive(send("d"), NOW)) == ["out_of_turn"]
    assert codes(made.receive(send("b"), NOW)) == ["out_of_turn"]
    for id in "abc":
        assert made.receive(send(id), NOW) == (send(id),)


def test_a_refused_send_that_is_never_repeated_holds_up_the_others_for_a_while_only() -> None:
    made = live()
    made.receive(send("a"), NOW)
    made.answered(send("a"), error("storage_unavailable"))
    assert codes(made.receive(send("b"), NOW)) == ["out_of_turn"]
    assert codes(made.receive(send("b"), NOW + MAX_STALL_MS - 1)) == ["out_of_turn"]
    assert made.receive(send("b"), NOW + MAX_STALL_MS) == (send("b"),)


def test_what_is_refused_for_good_holds_up_nothing() -> None:
    made = live()
    made.receive(send("a"), NOW)
    assert codes(made.answered(send("a"), error("not_member"))) == ["not_member"]
    assert made.receive(send("b"), NOW) == (send("b"),)


def test_questions_in_flight_are_bounded() -> None:
    made = live()
    query = GetHistory("h", "team")
    for _ in range(MAX_QUERIES_IN_FLIGHT):
        assert made.receive(query, NOW) == (query,)
    assert codes(made.receive(query, NOW)) == ["too_busy"]
    made.answered(query, HistoryPage("h", "team", [], has_more=False))
    assert made.receive(query, NOW) == (query,)


def test_answers_after_the_end_go_nowhere() -> None:
    made = live()
    made.receive(send(), NOW)
    assert made.close(CloseCode.REPLACED) == (Close(CloseCode.REPLACED),)
    assert made.close(CloseCode.SILENT) == ()
    assert made.answered(send(), Ack("1", 9, NOW)) == ()
    assert made.pulled(page(9, 9), 9) == ()
    assert made.lost("expired", 9) == ()
    assert made.receive(send(), NOW) == ()


def test_requests_beyond_the_rate_are_refused_until_time_has_passed() -> None:
    made = Session(msgspec.structs.replace(LIMITS, sends_in_flight=100), meter(10))
    made.receive(Hello("token", "phone"), NOW)
    made.welcome("alice", "phone", "s1", Start("base", 7, new=True), NOW)
    burst = [codes(made.receive(send(), NOW)) for _ in range(12)]
    assert burst == [[]] * 10 + [["rate_limited"]] * 2
    assert codes(made.receive(send(), NOW + 99)) == ["rate_limited"]
    assert codes(made.receive(send(), NOW + 200)) == []
    # A rate is for sends: questions and pings go on.
    assert codes(made.receive(GetHistory("h", "team"), NOW + 200)) == []


# -- bad frames ------------------------------------------------------------------------------------


def test_bad_frames_are_told_and_too_many_of_them_end_the_connection() -> None:
    made = live()
    fault = error("bad_frame")
    for _ in range(MAX_BAD_FRAMES - 1):
        assert codes(made.refuse(fault, "x")) == ["bad_frame"]
        assert made.state == "live"
    effects = made.refuse(fault)
    assert codes(effects) == ["bad_frame"]
    assert effects[-1] == Close(CloseCode.VIOLATION)
    assert made.state == "closed"
    assert made.refuse(fault) == ()


# -- the rate --------------------------------------------------------------------------------------


# -- everything in any order -----------------------------------------------------------------------


class SessionMachine(RuleBasedStateMachine):
    """A device, its session and the store, each doing what it may at any time.

    ``published`` stands for the hub: SeqIds up to it are in the inbox.  Messages are the even
    SeqIds; the odd ones are other people's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.session = session()
        self.published = 0
        self.start = 0
        self.received: list[int] = []
        """SeqIds of the messages that reached the device, in order."""
        self.pulls: list[int] = []
        self.granted = 0
        self.pages = 0
        self.waiting: list[Send] = []
        self.floor = 0

    def carry_out(self, effects: Sequence[object]) -> None:
        for effect in effects:
            if isinstance(effect, SyncPage):
                assert effect.messages
                self.received += [int(bytes(raw)) for raw in effect.messages]
                self.pages += 1
                assert int(effect.pos) >= self.received[-1]
            elif isinstance(effect, Pull):
                assert effect.after == self.session.position
                self.pulls.append(effect.after)
            elif isinstance(effect, Live):
                assert int(effect.pos) == self.published
                assert not self.pulls
            elif isinstance(effect, Reset):
                self.start = int(effect.pos)
                self.received = [seq for seq in self.received if seq > self.start]
            elif isinstance(effect, Send):
                self.waiting.append(effect)

    def messages(self, after: int, upto: int) -> list[int]:
        return [seq for seq in range(after + 1, upto + 1) if seq % 2 == 0]

    @precondition(lambda self: self.session.state == "new")
    @rule(credit=st.integers(-1, 5), data=st.data())
    def hello(self, credit: int, data: st.DataObject) -> None:
        self.carry_out(self.session.receive(Hello("token", "phone", credit=credit), NOW))
        kind = data.draw(st.sampled_from(["new", "cursor", "reset"]))
        self.granted = max(1, credit)
        self.start = self.published
        if kind == "cursor":
            self.start = data.draw(st.integers(0, self.published))
            start = Start("base", self.start)
        elif kind == "new":
            start = Start("base", self.start, new=True)
        else:
            start = Start("base", self.start, reset="future")
        self.carry_out(self.session.welcome("alice", "phone", "s", start, NOW))

    @rule(count=st.integers(1, 4))
    def publish(self, count: int) -> None:
        for _ in range(count):
            seq = self.published + 1
            if self.session.state == "live" and seq % 2 == 0:
                self.received.append(seq)
            self.published = seq

    @precondition(lambda self: self.session.state == "live")
    @rule()
    def publish_to_one_who_is_slow(self) -> None:
        self.carry_out(self.session.fall_behind(self.published))
        self.published += 1

    @precondition(lambda self: bool(self.pulls))
    @rule(limit=st.integers(1, 3), lag=st.integers(0, 2))
    def page_comes(self, limit: int, lag: int) -> None:
        after = self.pulls.pop()
        upto = max(after, self.published - lag)
        found = self.messages(after, upto)
        if len(found) > limit:
            pulled = page(found[limit - 1], *found[:limit], has_more=True)
        else:
            pulled = page(upto, *found)
        self.carry_out(self.session.pulled(pulled, self.published))

    @precondition(lambda self: bool(self.pulls))
    @rule()
    def expired(self) -> None:
        self.pulls.pop()
        self.carry_out(self.session.lost("expired", self.published))

    @rule(pages=st.integers(-3, 3))
    def credit(self, pages: int) -> None:
        if self.session.state in ("catching", "live"):
            self.granted += max(0, pages)
        self.carry_out(self.session.receive(Credit(pages), NOW))

    @rule()
    def send(self) -> None:
        self.carry_out(self.session.receive(send(), NOW))

    @precondition(lambda self: bool(self.waiting))
    @rule(refused=st.booleans())
    def answer(self, refused: bool) -> None:
        answer: Ack | TimewireError = error("not_member") if refused else Ack("1", 1, NOW)
        self.carry_out(self.session.answered(self.waiting.pop(), answer))

    @rule()
    def bad_frame(self) -> None:
        self.carry_out(self.session.refuse(error("bad_frame")))

    @precondition(lambda self: self.session.state == "live")
    @rule()
    def close(self) -> None:
        self.carry_out(self.session.close(CloseCode.REPLACED))
        self.pulls.clear()

    @invariant()
    def everything_so_far_came_once_and_in_order(self) -> None:
        state, position = self.session.state, self.session.position
        if state == "catching":
            assert self.received == self.messages(self.start, position)
        elif state == "live":
            assert self.received == self.messages(self.start, self.published)

    @invariant()
    def credit_and_pulls_keep_their_bounds(self) -> None:
        assert 0 <= self.session.credit <= MAX_CREDIT_PAGES
        assert self.pages <= self.granted
        assert len(self.pulls) <= 1
        assert len(self.waiting) <= LIMITS.sends_in_flight
        assert self.session.position <= self.published
        if self.session.state == "catching":
            assert bool(self.pulls) == bool(self.session.credit)


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=100, stateful_step_count=40)


# -- signals ---------------------------------------------------------------------------------------


def test_typing_is_handed_on_and_has_no_answer() -> None:
    assert live().receive(Typing("team"), NOW) == (Typing("team"),)
    assert session().receive(Typing("team"), NOW)[0] != Typing("team")


def test_typing_that_comes_too_fast_is_let_go_without_a_word() -> None:
    made = session(2)
    made.receive(Hello("token", "phone"), NOW)
    made.welcome("alice", "phone", "s1", Start("base", 7, new=True), NOW)
    passed = [made.receive(Typing("team"), NOW) for _ in range(4)]
    assert passed == [(Typing("team"),)] * 2 + [()] * 2
    assert made.receive(Typing("team"), NOW + 1000) == (Typing("team"),)
    assert made.stalled is None


def test_a_watch_is_a_question() -> None:
    made = live()
    watch = Watch("w", ["bob"])
    for _ in range(MAX_QUERIES_IN_FLIGHT):
        assert made.receive(watch, NOW) == (watch,)
    assert codes(made.receive(watch, NOW)) == ["too_busy"]
    answer = Watching("w", [])
    assert made.answered(watch, answer) == (answer,)
    assert codes(made.answered(watch, error("too_many_watched", limit=500))) == ["too_many_watched"]
    assert made.receive(watch, NOW) == (watch,)
