"""A good history with everything in it, and violations of every rule to plant in it."""

from collections.abc import Callable
from typing import Any

import msgspec

from timewire.model import Message, Ref
from timewire.testing.facts import Facts
from timewire.testing.history import (
    Attempt,
    History,
    HistoryRead,
    Holding,
    InboxDump,
    ModeChange,
    Restart,
    Restore,
    Shown,
    Start,
    Step,
    Who,
)

replace = msgspec.structs.replace

PHONE, LAPTOP = Who("alice", "phone"), Who("alice", "laptop")
BOB, CAROL = Who("bob", "phone"), Who("carol", "phone")
DEVICES = (PHONE, LAPTOP, BOB, CAROL)


class Twin:
    """A perfect server with perfect devices, which writes down what happens.

    Everything is at once: a message is stored, and pushed to every live device of its members.
    """

    def __init__(self) -> None:
        self.history = History()
        self.log: list[Message] = []
        self.members: dict[str, list[str]] = {}
        self.audience: dict[int, list[str]] = {}
        self.now = 0
        self.connection: dict[Who, int] = {}
        self.cursor: dict[Who, int] = {}
        self.first: dict[Who, int] = {}
        self.shown: dict[Who, list[Shown]] = {}
        self.lost: list[tuple[Attempt, Message]] = []

    def tick(self) -> int:
        self.now += 1
        return self.now

    def connect(self, who: Who) -> None:
        known, head = self.cursor.get(who), len(self.log)
        position = head if known is None else known
        connection = self.tick()
        self.connection[who] = connection
        self.first.setdefault(who, position)
        self.shown.setdefault(who, [])
        self.cursor[who] = position
        start = Start(who, connection, connection, position, known, base=f"b-{who.user}")
        self.history.starts.append(start)
        while (missed := self.inbox(who.user, self.cursor[who]))[:2]:
            upto = missed[1].seq if len(missed) > 2 else head
            self.step(who, "page", upto, missed[:2])
        self.step(who, "live", head, [])

    def disconnect(self, who: Who) -> None:
        del self.connection[who]

    def step(self, who: Who, way: Any, upto: int, messages: list[Message]) -> None:
        frame = Step(
            who, self.connection[who], self.tick(), way, self.cursor[who], upto, tuple(messages)
        )
        self.history.steps.append(frame)
        self.cursor[who] = upto
        for message in messages:
            self.show(who, way, message)

    def show(self, who: Who, way: Any, message: Message) -> None:
        if all(shown.message != message for shown in self.shown[who]):
            self.shown[who].append(Shown(message, way))

    def inbox(self, user: str, after: int) -> list[Message]:
        return [m for m in self.log if m.seq > after and user in self.audience[m.seq]]

    def send(
        self,
        who: Who,
        id: str,
        to: str,
        *,
        body: dict[str, Any] | None = None,
        kind: str = "text",
        answer: bool = True,
    ) -> None:
        """A send; without an answer the device does not learn of its ack."""
        body = {"text": f"{who} says {id}"} if body is None else body
        began = self.tick()
        known = [m for m in self.log if (m.sender, m.id) == (who.user, id)]
        message = known[0] if known else self.append(who, id, to, kind, body)
        ended = self.tick()
        outcome = "acked" if answer else "unknown"
        told = (message.seq, message.time) if answer else (0, 0)
        attempt = Attempt(who, id, to, kind, body, began, ended, outcome, *told)
        self.history.attempts.append(attempt)
        if answer:
            self.show(who, "ack", message)

    def change(self, who: Who, id: str, kind: str, body: dict[str, Any]) -> None:
        """A message of the team that changes an earlier one."""
        self.send(who, id, "team", body=body, kind=kind)
        index, made = body["seq"] - 1, self.log[-1]
        was = self.log[index]
        if kind == "edited":
            self.log[index] = replace(
                was,
                body=body["body"],
                edits=[*was.edits, made.seq],
                edited=made.time,
                version=made.seq,
            )
        elif kind == "reaction":
            self.log[index] = replace(was, reactions={"x": [who.user]}, version=made.seq)
        else:
            for gone in (was.seq, *was.edits):
                self.log[gone - 1] = Message("team", gone, self.log[gone - 1].time)

    def refuse(self, who: Who, id: str, to: str, code: str) -> None:
        attempt = Attempt(who, id, to, "text", {}, self.tick(), self.tick(), "refused", code=code)
        self.history.attempts.append(attempt)

    def append(self, who: Who, id: str, to: str, kind: str, body: dict[str, Any]) -> Message:
        if to not in self.members and ":" in to:
            way, *self.members[to] = to.split(":")
            made = {"kind": way, "members": self.members[to], "title": ""}
            self.append(who, "", to, "created", made)
        if kind == "created":
            self.members[to] = body["members"]
        now = self.members.get(to, [who.user])
        after = now
        if kind == "members":
            after = [user for user in now if user not in body["left"]]
            after = after + [user for user in body["joined"] if user not in after]
            self.members[to] = after
        seq = len(self.log) + 1
        message = Message(to, seq, 1000 + self.tick(), who.user, id, kind, body)
        self.log.append(message)
        self.audience[seq] = list(dict.fromkeys(now + after))
        for device in self.connection:
            if device.user in self.audience[seq] and (device != who or not id):
                self.step(device, "push", seq, [message])
        return message

    def read(self, user: str, to: str, limit: int = 2) -> None:
        """Read a conversation in full, forward in pages, and its newest messages backward."""
        log = [m for m in self.log if m.conversation == to and user in self.audience[m.seq]]
        after, more = 0, True
        while more:
            page = tuple(m for m in log if m.seq > after)
            more = len(page) > limit
            self.history.reads.append(
                HistoryRead(
                    user, to, self.tick(), self.tick(), limit, page[:limit], more, after=after
                )
            )
            after = page[:limit][-1].seq if page else after
        newest = tuple(reversed(log))
        self.history.reads.append(
            HistoryRead(
                user, to, self.tick(), self.tick(), limit, newest[:limit], len(newest) > limit
            )
        )

    def end(self) -> History:
        """Bring everybody to the head, and read all there is."""
        for who in DEVICES:
            if who in self.connection:
                self.step(who, "at", len(self.log), [])
            else:
                self.connect(who)
        for to in {message.conversation for message in self.log}:
            for user in ("alice", "bob", "carol"):
                if any(m.conversation == to for m in self.inbox(user, 0)):
                    self.read(user, to)
        for user in ("alice", "bob", "carol"):
            refs = tuple(Ref(m.seq, m.conversation) for m in self.inbox(user, 0))
            self.history.inboxes.append(InboxDump(user, 1, len(self.log), refs))
        for who in DEVICES:
            marks = Facts(self.history).marks(who.user)
            self.history.holdings.append(
                Holding(who, self.first[who], self.cursor[who], tuple(self.shown[who]), marks)
            )
        return self.history


MARK = {"conversation": "team", "seq": 5}
JOIN = {"joined": ["carol"], "left": []}
LEAVE = {"joined": [], "left": ["carol"]}


def good() -> History:
    """A run with everything in it that the rules speak of.

    SeqIds: 1-5 team, 6-7 alice's own mark, 8-10 direct, 11 sent four times, 12 carol leaves,
    13-15 team; 16 edited and reacted to, 19 edited and recalled.
    """
    twin = Twin()
    for who in DEVICES:
        twin.connect(who)
    made = {"kind": "group", "members": ["alice", "bob"], "title": ""}
    twin.send(PHONE, "c", "team", body=made, kind="created")
    twin.send(BOB, "b1", "team")
    twin.send(PHONE, "j", "team", body=JOIN, kind="members")
    twin.send(CAROL, "c1", "team")
    twin.disconnect(LAPTOP)
    twin.send(BOB, "b2", "team")
    twin.send(PHONE, "r1", "self:alice", body=MARK, kind="read")
    twin.send(BOB, "d1", "direct:alice:bob")
    twin.send(PHONE, "d2", "direct:alice:bob")
    twin.send(PHONE, "t1", "team", answer=False)
    twin.disconnect(PHONE)
    twin.history.restarts.append(Restart(twin.tick()))
    twin.connect(PHONE)
    twin.send(PHONE, "t1", "team")
    twin.send(PHONE, "t1", "team")
    twin.send(CAROL, "l", "team", body=LEAVE, kind="members")
    twin.refuse(CAROL, "c2", "team", "not_member")
    twin.connect(LAPTOP)
    twin.send(LAPTOP, "t2", "team")
    twin.send(BOB, "b3", "team")
    twin.send(BOB, "b4", "team")
    twin.send(BOB, "b5", "team")
    twin.change(BOB, "e1", "edited", {"seq": 16, "body": {"text": "better"}})
    twin.change(PHONE, "p1", "reaction", {"seq": 16, "emoji": "x", "on": True})
    twin.send(BOB, "b6", "team")
    twin.read("alice", "team")
    twin.change(BOB, "e2", "edited", {"seq": 19, "body": {"text": "worse"}})
    twin.change(BOB, "x1", "recalled", {"seq": 19})
    history = twin.end()
    bad = Start(Who("bob", "old"), 99, twin.tick(), 15, 3, "expired", "expired", "b-bob")
    history.starts.append(bad)
    return history


# What each rule must catch -----------------------------------------------------------------------


def message(history: History, seq: int) -> Message:
    return next(m for read in history.reads for m in read.messages if m.seq == seq)


def everywhere(history: History, change: Callable[[Message], Message | None]) -> None:
    """Change or remove messages in all that anyone was given."""

    def mend(messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return tuple(new for old in messages if (new := change(old)) is not None)

    history.reads = [replace(one, messages=mend(one.messages)) for one in history.reads]
    history.steps = [replace(one, messages=mend(one.messages)) for one in history.steps]
    history.holdings = [
        replace(
            one,
            shown=tuple(
                replace(shown, message=new)
                for shown in one.shown
                if (new := change(shown.message)) is not None
            ),
        )
        for one in history.holdings
    ]


def in_holding(
    history: History, who: Who, change: Callable[[tuple[Shown, ...]], tuple[Shown, ...]]
) -> None:
    history.holdings = [
        replace(one, shown=change(one.shown)) if one.who == who else one for one in history.holdings
    ]


def in_attempt(history: History, id: str, **change: Any) -> None:
    history.attempts = [replace(one, **change) if one.id == id else one for one in history.attempts]


def in_reads(
    history: History,
    user: str,
    change: Callable[[HistoryRead], HistoryRead],
    when: Callable[[HistoryRead], bool] = lambda read: True,
) -> None:
    history.reads = [
        change(read) if read.user == user and when(read) else read for read in history.reads
    ]


def without(seq: int) -> Callable[[HistoryRead], HistoryRead]:
    def cut(read: HistoryRead) -> HistoryRead:
        return replace(read, messages=tuple(m for m in read.messages if m.seq != seq))

    return cut


def lost_message(history: History) -> None:
    everywhere(history, lambda m: None if m.id == "b3" else m)


def acked_elsewhere(history: History) -> None:
    in_attempt(history, "b3", seq=99)


def doubled_message(history: History) -> None:
    extra = replace(message(history, 14), seq=90)
    history.reads.append(
        HistoryRead("bob", "team", 900, 901, 9, (extra,), has_more=False, after=80)
    )


def refused_but_stored(history: History) -> None:
    in_attempt(history, "b3", outcome="refused")


def refused_at_last_but_stored(history: History) -> None:
    """The first attempt has had no answer, and was carried out after the second."""
    in_attempt(history, "b3", outcome="unknown")
    [first] = [one for one in history.attempts if one.id == "b3"]
    history.attempts.append(replace(first, outcome="refused", code="not_member"))


def unanswered_and_doubled(history: History) -> None:
    in_attempt(history, "b3", outcome="unknown")
    doubled_message(history)


def phantom(history: History) -> None:
    history.attempts = [one for one in history.attempts if one.id != "b3"]


def phantom_without_an_id(history: History) -> None:
    everywhere(history, lambda m: replace(m, id="") if m.id == "b3" else m)


def another_sender(history: History) -> None:
    everywhere(history, lambda m: replace(m, sender="mallory") if m.id == "b3" else m)


def altered_body(history: History) -> None:
    everywhere(history, lambda m: replace(m, body={"text": "?"}) if m.id == "b3" else m)


def altered_kind(history: History) -> None:
    everywhere(history, lambda m: replace(m, kind="image") if m.id == "b3" else m)


def altered_on_the_way(history: History) -> None:
    def alter(shown: tuple[Shown, ...]) -> tuple[Shown, ...]:
        changed = replace(shown[-1].message, body={"text": "?"})
        return (*shown[:-1], replace(shown[-1], message=changed))

    in_holding(history, LAPTOP, alter)


def two_acks(history: History) -> None:
    tries = [one for one in history.attempts if one.id == "t1"]
    history.attempts.append(replace(tries[-1], seq=77))


def two_times(history: History) -> None:
    tries = [one for one in history.attempts if one.id == "t1"]
    history.attempts.append(replace(tries[-1], time=77))


def readers_disagree(history: History) -> None:
    first, second = message(history, 14), message(history, 15)

    def swap(m: Message) -> Message:
        if m.seq == first.seq:
            return replace(second, seq=first.seq)
        return replace(first, seq=second.seq) if m.seq == second.seq else m

    in_reads(history, "bob", lambda read: replace(read, messages=tuple(map(swap, read.messages))))


def page_out_of_order(history: History) -> None:
    in_reads(history, "bob", lambda read: replace(read, messages=read.messages[::-1]))


def shown_out_of_order(history: History) -> None:
    in_holding(history, LAPTOP, lambda shown: (*shown[:-2], shown[-1], shown[-2]))


def frame_out_of_order(history: History) -> None:
    history.steps = [replace(one, messages=one.messages[::-1]) for one in history.steps]


def time_runs_back(history: History) -> None:
    everywhere(history, lambda m: replace(m, time=1) if m.id == "b3" else m)


def answer_before_question(history: History) -> None:
    in_attempt(history, "b2", began=890, ended=891)


def device_overtakes_itself(history: History) -> None:
    """Two sends of one device at once: only their order of beginning tells of the fault."""
    in_attempt(history, "b3", began=801, ended=890)
    in_attempt(history, "b4", began=800, ended=890)


def retry_loses_its_place(history: History) -> None:
    """Alice always was a member: what she sent first was not refused unheard."""
    body = next(one.body for one in history.attempts if one.id == "t1")
    made = next(one.ended for one in history.attempts if one.kind == "created") + 1
    history.attempts.append(Attempt(PHONE, "t1", "team", "text", body, made, made, "unknown"))


def read_skips(history: History) -> None:
    in_reads(history, "bob", without(3))


def read_is_stale(history: History) -> None:
    in_reads(history, "bob", without(21))


def read_is_cut_short(history: History) -> None:
    in_reads(
        history,
        "bob",
        lambda read: replace(read, has_more=False),
        lambda read: read.after is not None,
    )
    reads = [one for one in history.reads if one.user == "bob" and one.conversation == "team"]
    history.reads = [one for one in history.reads if one not in reads[1:]]


def backward_read_skips(history: History) -> None:
    newest = HistoryRead("bob", "team", 900, 901, 2, (), has_more=True)
    messages = (message(history, 15), message(history, 13))
    history.reads.append(replace(newest, messages=messages))


def member_misses_it(history: History) -> None:
    in_holding(history, LAPTOP, lambda shown: shown[:-1])


def shown_twice(history: History) -> None:
    in_holding(history, LAPTOP, lambda shown: (*shown, shown[-1]))


def stranger_holds_it(history: History) -> None:
    in_holding(history, CAROL, lambda shown: (*shown, Shown(message(history, 13), "ack")))


def stranger_reads_it(history: History) -> None:
    in_reads(
        history,
        "carol",
        lambda read: replace(read, messages=(*read.messages, message(history, 13))),
        lambda read: read.after is not None and not read.has_more,
    )


def stranger_is_pushed_to(history: History) -> None:
    last = [step for step in history.steps if step.who == CAROL][-1]
    pushed = Step(CAROL, last.connection, 900, "push", last.upto, 13, (message(history, 13),))
    history.steps.append(pushed)


def inbox_of_a_stranger(history: History) -> None:
    history.inboxes = [
        replace(one, refs=(*one.refs, Ref(13, "team"))) if one.user == "carol" else one
        for one in history.inboxes
    ]


def dangling_inbox_entry(history: History) -> None:
    history.inboxes = [replace(one, refs=(*one.refs, Ref(99, "team"))) for one in history.inboxes]


def synced_but_not_stored(history: History) -> None:
    history.reads = [without(13)(read) for read in history.reads]


def cursor_jumps(history: History) -> None:
    """The trap: a push moves the cursor over a message that never came."""
    pushes = [s for s in history.steps if s.who == LAPTOP and s.way == "push"]
    skipped, last = pushes[-2:]
    history.steps.remove(skipped)
    history.steps[history.steps.index(last)] = replace(last, after=skipped.after)


def frame_goes_missing(history: History) -> None:
    pushes = [s for s in history.steps if s.who == LAPTOP and s.way == "push"]
    history.steps.remove(pushes[-2])


def pushed_twice(history: History) -> None:
    pushes = [s for s in history.steps if s.who == LAPTOP and s.way == "push"]
    history.steps.insert(history.steps.index(pushes[-1]), pushes[-1])


def cursor_runs_back(history: History) -> None:
    last = [step for step in history.steps if step.who == BOB][-1]
    history.steps.append(replace(last, after=last.upto, upto=last.upto - 1))


def page_is_short(history: History) -> None:
    pages = [s for s in history.steps if s.who == LAPTOP and s.way == "page"]
    index = history.steps.index(pages[0])
    history.steps[index] = replace(pages[0], messages=pages[0].messages[:-1])


def page_holds_more_than_it_says(history: History) -> None:
    pages = [s for s in history.steps if s.who == LAPTOP and s.way == "page"]
    index = history.steps.index(pages[0])
    more = (*pages[0].messages, pages[1].messages[0])
    history.steps[index] = replace(pages[0], messages=more)


def promises_more(history: History) -> None:
    in_reads(history, "bob", lambda read: replace(read, has_more=True))


def page_over_its_limit(history: History) -> None:
    in_reads(history, "bob", lambda read: replace(read, limit=1))


def expired_cursor_is_served(history: History) -> None:
    history.starts[-1] = replace(history.starts[-1], reset=None)


def wrong_reason(history: History) -> None:
    history.starts[-1] = replace(history.starts[-1], reset="garbage")


def good_cursor_is_reset(history: History) -> None:
    history.starts[-1] = replace(history.starts[-1], cursor_is="good")


def good_cursor_is_moved(history: History) -> None:
    changed = replace(history.starts[-1], cursor_is="good", reset=None)
    history.starts[-1] = changed


def hole_in_the_inbox(history: History) -> None:
    history.inboxes = [replace(one, refs=one.refs[:2] + one.refs[3:]) for one in history.inboxes]


def expired_above_the_floor(history: History) -> None:
    history.inboxes = [replace(one, floor=2, refs=one.refs[3:]) for one in history.inboxes]


def kept_below_the_floor(history: History) -> None:
    history.inboxes = [replace(one, floor=9) for one in history.inboxes]


def push_of_the_uncommitted(history: History) -> None:
    early = replace(message(history, 13), seq=40, id="b9")
    in_holding(history, LAPTOP, lambda shown: (*shown, Shown(early, "push")))


def push_of_nothing(history: History) -> None:
    history.steps = [replace(s, messages=()) if s.way == "push" else s for s in history.steps]


def devices_differ(history: History) -> None:
    in_holding(history, PHONE, lambda shown: tuple(s for s in shown if s.message.id != "b2"))


def mark_goes_back(history: History) -> None:
    history.holdings = [
        replace(one, marks={"team": 4}) if one.who == PHONE else one for one in history.holdings
    ]


def another_log_after_the_crash(history: History) -> None:
    history.starts[-1] = replace(history.starts[-1], base="b2-bob")


def device_never_reaches_the_end(history: History) -> None:
    history.holdings = [
        replace(one, upto=13, shown=one.shown[:-2]) if one.who == LAPTOP else one
        for one in history.holdings
    ]


def fan_out_never_reaches_the_end(history: History) -> None:
    history.inboxes = [replace(one, position=14, refs=one.refs[:-1]) for one in history.inboxes]


def edit_is_forgotten(history: History) -> None:
    early = next(read for read in history.reads if any(m.edits for m in read.messages))
    messages = tuple(map(unedited, early.messages))
    history.reads.append(replace(early, messages=messages, began=10_000, ended=10_001))


def unedited(message: Message) -> Message:
    if not message.edits:
        return message
    return replace(message, body={"text": "bob/phone says b5"}, edits=[], edited=0, version=0)


def recalled_comes_back(history: History) -> None:
    early = next(read for read in history.reads if any(m.id == "b6" for m in read.messages))
    history.reads.append(replace(early, began=10_000, ended=10_001))


def recall_does_not_reach_a_device(history: History) -> None:
    in_holding(history, BOB, lambda shown: tuple(s for s in shown if s.message.kind != "recalled"))


def reaction_does_not_reach_a_device(history: History) -> None:
    in_holding(history, BOB, lambda shown: tuple(s for s in shown if s.message.kind != "reaction"))


def bare_without_a_recall(history: History) -> None:
    everywhere(history, lambda m: Message(m.conversation, m.seq, m.time) if m.id == "b4" else m)


def edit_of_nobody(history: History) -> None:
    everywhere(history, lambda m: replace(m, body={"text": "fake"}) if m.edits else m)


def in_two_ways(history: History) -> None:
    """A message of mode ``read`` that is in an inbox as well."""
    history.modes.append(ModeChange("team", 1, "read"))


def in_no_way(history: History) -> None:
    """A message that fell between two modes."""
    history.modes.append(ModeChange("team", 10**6, "read"))
    inboxes = history.inboxes
    inboxes[0] = replace(inboxes[0], refs=tuple(r for r in inboxes[0].refs if r.seq != 3))


def shown_twice_over_a_change_of_mode(history: History) -> None:
    history.modes.append(ModeChange("team", 10**6, "read"))
    one = history.holdings[0]
    history.holdings[0] = replace(one, shown=(*one.shown, one.shown[-1]))


def never_at_rest(history: History) -> None:
    history.troubles.append("waited in vain")


def damaged_unheard(history: History) -> None:
    history.damaged.append(("team", 3))


def parked_though_whole(history: History) -> None:
    history.parked.append(("team", 3))


def parked_again_and_again(history: History) -> None:
    history.damaged.append(("team", 3))
    history.parked += [("team", 3), ("team", 3)]


def restored_under_the_old_name(history: History) -> None:
    middle = history.starts[len(history.starts) // 2].at
    history.restores.append(Restore(middle, 5))


def restored_and_nobody_told(history: History) -> None:
    last = max(history.starts, key=lambda start: start.at)
    history.restores.append(Restore(last.at - 1, 5))
    history.starts.append(replace(last, at=last.at + 1, base="new", cursor=3, reset=None))


FAULTS: list[tuple[int, Callable[[History], None]]] = [
    (1, lost_message),
    (1, acked_elsewhere),
    (1, doubled_message),
    (2, refused_but_stored),
    (2, refused_at_last_but_stored),
    (2, unanswered_and_doubled),
    (3, phantom),
    (3, phantom_without_an_id),
    (3, another_sender),
    (3, altered_body),
    (3, altered_kind),
    (3, altered_on_the_way),
    (3, bare_without_a_recall),
    (3, edit_of_nobody),
    (4, two_acks),
    (4, two_times),
    (5, readers_disagree),
    (5, page_out_of_order),
    (5, shown_out_of_order),
    (5, frame_out_of_order),
    (5, time_runs_back),
    (6, answer_before_question),
    (6, device_overtakes_itself),
    (6, retry_loses_its_place),
    (7, read_skips),
    (7, read_is_stale),
    (7, read_is_cut_short),
    (7, backward_read_skips),
    (8, member_misses_it),
    (8, shown_twice),
    (8, stranger_holds_it),
    (8, stranger_reads_it),
    (8, stranger_is_pushed_to),
    (8, inbox_of_a_stranger),
    (9, dangling_inbox_entry),
    (9, synced_but_not_stored),
    (10, cursor_jumps),
    (10, frame_goes_missing),
    (10, pushed_twice),
    (10, cursor_runs_back),
    (10, page_is_short),
    (10, page_holds_more_than_it_says),
    (10, promises_more),
    (10, page_over_its_limit),
    (11, expired_cursor_is_served),
    (11, wrong_reason),
    (11, good_cursor_is_reset),
    (11, good_cursor_is_moved),
    (12, hole_in_the_inbox),
    (12, expired_above_the_floor),
    (12, kept_below_the_floor),
    (13, push_of_the_uncommitted),
    (13, push_of_nothing),
    (14, devices_differ),
    (14, mark_goes_back),
    (15, another_log_after_the_crash),
    (15, device_never_reaches_the_end),
    (15, fan_out_never_reaches_the_end),
    (16, edit_is_forgotten),
    (16, recalled_comes_back),
    (16, recall_does_not_reach_a_device),
    (16, reaction_does_not_reach_a_device),
    (17, in_two_ways),
    (17, in_no_way),
    (17, shown_twice_over_a_change_of_mode),
    (18, never_at_rest),
    (18, damaged_unheard),
    (18, parked_though_whole),
    (18, parked_again_and_again),
    (19, restored_under_the_old_name),
    (19, restored_and_nobody_told),
]
