"""The checker: a history of a run in, what went wrong out.  Pure: no clock, no I/O.

Each rule is one function that yields its violations.  The rules lean on one another as little as
they can, so one fault of a server is often reported by several.

    violations = check(history)
    assert not violations, report(violations)
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Final

import msgspec

from timewire.errors import CODES
from timewire.model import CREATED, Message, Seq
from timewire.names import implied_members
from timewire.testing.history import (
    Attempt,
    Facts,
    History,
    HistoryRead,
    Holding,
    Place,
    Step,
    Who,
    place,
)
from timewire.testing.operations import backlog_drains, crossing_is_exact, new_life_new_epoch
from timewire.testing.versions import is_bare, is_said, is_state_of, newest_version_wins

MAX_VIOLATIONS_A_RULE: Final = 20
"""More of the same kind tell nothing new."""


END_OF_TIME: Final = 2**63


class Violation(msgspec.Struct, frozen=True):
    """A rule that was broken, by its number, and how."""

    rule: int
    what: str

    def __str__(self) -> str:
        return f"rule {self.rule}: {self.what}"


def check(history: History) -> list[Violation]:
    """All violations, at most ``MAX_VIOLATIONS_A_RULE`` a rule."""
    return check_facts(Facts(history))


def check_facts(facts: Facts) -> list[Violation]:
    """All violations, for a caller that has the facts already."""
    return [
        Violation(number, what)
        for number, rule in RULES.items()
        for what in islice(rule(facts), MAX_VIOLATIONS_A_RULE)
    ]


def report(violations: Sequence[Violation]) -> str:
    """One line a violation."""
    return "\n".join(map(str, violations)) or "no violations"


def acked_is_stored_once(facts: Facts) -> Iterator[str]:
    """Every acked send exists exactly once, with the acked SeqId.

    An ack is a promise: the sender forgets the message, so nobody else could bring it back.
    """
    for (user, id), attempts in facts.attempts.items():
        acked = {attempt.seq for attempt in attempts if attempt.outcome == "acked"}
        found = [message.seq for message in facts.by_id.get((user, id), ())]
        if acked and not found:
            yield f"{user}'s {id} was acked as {min(acked)} and is lost"
        elif acked and len(found) > 1:
            yield f"{user}'s {id} was acked and is stored {len(found)} times, as {found}"
        elif acked and found[0] not in acked:
            yield f"{user}'s {id} was acked as {min(acked)} and is stored as {found[0]}"


def unacked_is_stored_at_most_once(facts: Facts) -> Iterator[str]:
    """A send without an answer exists zero or one times; one that was only refused, never.

    Who was refused tells the user so, and a message that turns up all the same is a lie.
    """
    for (user, id), attempts in facts.attempts.items():
        outcomes = {attempt.outcome for attempt in attempts}
        found = [message.seq for message in facts.by_id.get((user, id), ())]
        if outcomes == {"refused"} and found:
            yield f"{user}'s {id} was refused and is stored as {found[0]}"
        elif "acked" not in outcomes and len(found) > 1:
            yield f"{user}'s {id} is stored {len(found)} times, as {found}"


def nothing_is_made_up(facts: Facts) -> Iterator[str]:
    """What is stored is what its sender has sent, and everyone is given just that."""
    for message in facts.stored.values():
        user, id = facts.author(message)
        if not id and not is_bare(message) and not _is_implied(message):
            yield f"{_name(message)} is a phantom: it has no id"
        elif id and not facts.attempts.get((user, id)):
            yield f"{_name(message)} is a phantom: nobody sent it"
        elif not is_said(facts, message):
            yield f"{_name(message)} is stored otherwise than it was sent"
    for where, user, message in facts.observations():
        stored = facts.stored.get(place(message))
        if stored is not None and not is_state_of(facts, user, message, stored):
            yield f"{_name(message)} in {where} is not the message that is stored there"


def one_id_one_seq(facts: Facts) -> Iterator[str]:
    """All retries of one id are told one SeqId and one time, across restarts.

    A repeat is answered as the first one was, whatever may be refused by then.
    """
    for (user, id), attempts in facts.attempts.items():
        told = {(one.seq, one.time) for one in attempts if one.outcome == "acked"}
        if len(told) > 1:
            yield f"{user}'s {id} was acked as {sorted(told)}"
        for acked in [one for one in attempts if one.outcome == "acked"][:1]:
            for later in attempts:
                if later.began > acked.ended and _is_refused_for_good(later, acked):
                    yield f"{user}'s {id} was acked as {acked.seq}, then refused: {later.code}"


def _is_refused_for_good(later: Attempt, first: Attempt) -> bool:
    same = (later.conversation, later.body) == (first.conversation, first.body)
    known = CODES.get(later.code)
    return same and later.outcome == "refused" and known is not None and not known[0].retry


def one_order(facts: Facts) -> Iterator[str]:
    """A conversation has one order, the same for all readers.

    So every list is in SeqId order, a message has one place wherever it is seen, and times do not
    run backward.
    """
    yield from _one_place(facts)
    for read in facts.history.reads:
        order = [message.seq for message in read.messages]
        if not _grows(order if read.after is not None else order[::-1]):
            yield f"a history page for {read.user} is out of order: {order}"
    for step in facts.history.steps:
        if not _grows([message.seq for message in step.messages]):
            yield f"a {step.way} to {step.who} is out of order"
    for holding in facts.history.holdings:
        for name in disordered(holding):
            yield f"{holding.who} was shown {name} out of order"
    for log in facts.timelines.values():
        for one, other in pairwise(log):
            if one.time > other.time:
                yield f"{_name(other)} is older than the message before it"


def _one_place(facts: Facts) -> Iterator[str]:
    places: dict[tuple[str, str], Place] = {}
    for where, _, message in facts.observations():
        if message.id:
            first = places.setdefault((message.sender, message.id), place(message))
            if first != place(message):
                yield f"{_name(message)} in {where} is at {first[0]} {first[1]} elsewhere"


def disordered(holding: Holding) -> Iterator[str]:
    """A conversation's name for each message that a device was sent after a later one of it.

    Own messages that came by their acks do not count: an ack does not wait for what stands before.
    Nor do those that were fetched from history after a reset.
    """
    newest: dict[str, Seq] = {}
    for shown in holding.shown:
        if shown.way not in ("ack", "history"):
            name, seq = place(shown.message)
            if seq < newest.get(name, 0):
                yield name
            newest[name] = max(seq, newest.get(name, 0))


def order_is_real_time(facts: Facts) -> Iterator[str]:
    """What was acked before another send began stands before it; a device's sends keep their order.

    Otherwise an answer could stand before its question.  A send that was refused and tried again
    takes its place anew; and one without an answer may have been refused, if its sender was not a
    member all the time, or before there was a conversation.
    """
    conversations: dict[str, list[list[Attempt]]] = defaultdict(list)
    for attempts in facts.attempts.values():
        if any(attempt.outcome == "acked" for attempt in attempts):
            conversations[attempts[0].conversation].append(attempts)
    known = _known(facts)
    for name, sends in conversations.items():
        ends = [(one.ended, one.seq) for send in sends for one in send if one.outcome == "acked"]
        for earlier, later in _overtaken(ends, sends):
            yield f"{name}: {later} began after {earlier} was acked"
        for who, own in _of_devices(sends).items():
            steady = facts.stayed(who.user, name)
            since = (
                known.get(place(facts.timelines[name][0]), END_OF_TIME) if steady else END_OF_TIME
            )
            ends = [(_counts_from(send, since), _acked_seq(send)) for send in own]
            for earlier, later in _overtaken(ends, own):
                yield f"{name}: {who} sent {earlier} before {later}"


def _counts_from(send: list[Attempt], since: int) -> int:
    """When a send began that nothing could refuse for good: its sender is a member since then."""
    began = [attempt.began for attempt in send]
    return min((one for one in began if one > since), default=max(began))


def _overtaken(
    ends: list[tuple[int, Seq]], sends: list[list[Attempt]]
) -> Iterator[tuple[Seq, Seq]]:
    """The SeqIds of what came to an end, and of what began after it and has a smaller one."""
    ends = sorted(ends)
    newest, passed = 0, 0
    for began, seq in sorted((min(one.began for one in send), _acked_seq(send)) for send in sends):
        while passed < len(ends) and ends[passed][0] < began:
            newest = max(newest, ends[passed][1])
            passed += 1
        if seq < newest:
            yield newest, seq


def _of_devices(sends: list[list[Attempt]]) -> dict[Who, list[list[Attempt]]]:
    """Sends that were never refused, by device."""
    devices: dict[Who, list[list[Attempt]]] = defaultdict(list)
    for send in sends:
        if all(one.outcome != "refused" for one in send):
            devices[send[0].who].append(send)
    return devices


def reads_are_complete(facts: Facts) -> Iterator[str]:
    """After a read complete up to H nothing at or below H appears, and what was known is there.

    Known is what was acked, pushed or read before the read began.
    """
    known = _known(facts)
    for read in facts.history.reads:
        got = [message.seq for message in read.messages]
        low, high = _range(read, got)
        have = set(got)
        for message in facts.visible(read.user, read.conversation):
            seq = message.seq
            certain = bool(got) and min(got) <= seq <= max(got)
            before = known.get(place(message), read.began) < read.began
            if (read.user, *place(message)) in facts.hidden:
                continue
            if low <= seq <= high and seq not in have and (certain or before):
                yield f"{read.user}'s page of {read.conversation} lacks {seq}"


def members_get_it_once(facts: Facts) -> Iterator[str]:
    """Each member gets each message exactly once on each device; others never.

    By no way: not by push, page, history or inbox.
    """
    yield from _strangers(facts)
    for holding in facts.history.holdings:
        shown = Counter(place(one.message) for one in holding.shown)
        expected = facts.inbox(holding.who.user, holding.after, holding.upto)
        for message in expected:
            if not shown[place(message)]:
                yield f"{holding.who} misses {_name(message)}"
        for where, times in shown.items():
            if times > 1:
                yield f"{holding.who} was shown {where[0]} {where[1]} {times} times"


def _strangers(facts: Facts) -> Iterator[str]:
    for step in facts.history.steps:
        yield from _no_members(facts, step.who.user, f"a {step.way}", map(place, step.messages))
    for read in facts.history.reads:
        yield from _no_members(facts, read.user, "history", map(place, read.messages))
    for holding in facts.history.holdings:
        places = [place(shown.message) for shown in holding.shown]
        yield from _no_members(facts, holding.who.user, holding.who.device, places)
    for inbox in facts.history.inboxes:
        yield from _no_members(facts, inbox.user, "the inbox", inbox.kept)


def _no_members(facts: Facts, user: str, way: str, places: Iterable[Place]) -> Iterator[str]:
    allowed = facts.places(user)
    for where in places:
        if where not in allowed and not facts.is_member(user, where):
            yield f"{user} has {where[0]} {where[1]} by {way} and was no member then"


def inbox_points_to_stored(facts: Facts) -> Iterator[str]:
    """No inbox entry without its stored message, and nobody receives what history does not have."""
    for inbox in facts.history.inboxes:
        for name, seq in inbox.kept:
            if (name, seq) not in facts.stored:
                yield f"{inbox.user}'s inbox names {name} {seq}, not stored"
    for where, _, message in facts.observations():
        if place(message) not in facts.stored:
            yield f"{_name(message)} in {where} is not stored"


def pages_make_one_scan(facts: Facts) -> Iterator[str]:
    """Steps concatenated are one full scan: none skips, repeats, or moves a cursor past a message.

    Pushes leave out what the device sent by itself: its acks say that.  ``has_more`` is exact.
    """
    positions = {(start.who, start.connection): start.position for start in facts.history.starts}
    for step in facts.history.steps:
        line = (step.who, step.connection)
        before = positions.get(line, step.after)
        if step.after != before or step.upto < step.after:
            yield f"a {step.way} leads {step.who} from {before} over {step.after} to {step.upto}"
        positions[line] = step.upto
        yield from _step_is_whole(facts, step)
    for read in facts.history.reads:
        got = [message.seq for message in read.messages]
        low, high = _range(read, got)
        visible = facts.visible(read.user, read.conversation)
        more = any(m.seq > high if read.after is not None else m.seq < low for m in visible)
        if (read.has_more and not more) or len(got) > read.limit:
            yield f"{read.user}'s page of {read.conversation} with {got} promises more, or is over"


def _step_is_whole(facts: Facts, step: Step) -> Iterator[str]:
    got = Counter(map(place, step.messages))
    for message in facts.inbox(step.who.user, step.after, step.upto):
        own = step.way != "page" and facts.wrote(step.who, message)
        if not got.pop(place(message), 0) and not own:
            yield f"a {step.way} leads {step.who} to {step.upto} and past {_name(message)}"
    for where in got:
        if not step.after < where[1] <= step.upto:
            yield f"a {step.way} to {step.who} up to {step.upto} holds {where[0]} {where[1]}"


def lost_cursors_are_told(facts: Facts) -> Iterator[str]:
    """A cursor that cannot be served gets ``reset`` with its reason; any other is served as is."""
    for start in facts.history.starts:
        wanted = None if start.cursor_is == "good" else start.cursor_is
        if start.reset != wanted:
            yield f"{start.who} with a cursor that is {start.cursor_is} was told {start.reset}"
        elif not wanted and start.cursor not in (None, start.position):
            yield f"{start.who} came with {start.cursor} and was set to {start.position}"


def expiry_takes_a_prefix(facts: Facts) -> Iterator[str]:
    """An inbox holds everything from its floor on, and nothing below."""
    for inbox in facts.history.inboxes:
        kept = inbox.kept
        for message in facts.inbox(inbox.user, inbox.floor - 1, inbox.position):
            if place(message) not in kept:
                yield f"{inbox.user}'s inbox lacks {_name(message)}, its floor is {inbox.floor}"
        for _, seq in kept:
            if seq < inbox.floor:
                yield f"{inbox.user}'s inbox has {seq} below its floor {inbox.floor}"


def pushes_are_committed(facts: Facts) -> Iterator[str]:
    """Pushes are a subset of what is committed.

    That losing or doubling any of them changes nothing is seen by rules 8, 10 and 14: devices end
    the same, whether they were pushed to or had to pull.
    """
    for holding in facts.history.holdings:
        for shown in holding.shown:
            if shown.way in ("push", "ack") and place(shown.message) not in facts.stored:
                yield f"{holding.who} was pushed {_name(shown.message)}, never committed"
    for step in facts.history.steps:
        if step.way == "push" and len(step.messages) != 1:
            yield f"a push to {step.who} carries {len(step.messages)} messages"


def devices_converge(facts: Facts) -> Iterator[str]:
    """All devices of a user end equal, as far as both go back; read marks merge by maximum."""
    users: dict[str, list[Holding]] = defaultdict(list)
    for holding in facts.history.holdings:
        users[holding.who.user].append(holding)
    for user, holdings in users.items():
        after = max(holding.after for holding in holdings)
        sets = [{place(s.message) for s in one.shown if s.message.seq > after} for one in holdings]
        for holding, held in zip(holdings, sets, strict=True):
            differ = sorted(held ^ sets[0])
            if differ:
                yield f"{holding.who} and {holdings[0].who} differ in {differ[:3]}"
        marks = facts.marks(user)
        for holding in holdings:
            for name, seq in holding.marks.items():
                if seq != marks.get(name, 0):
                    yield f"{holding.who} has read {name} to {seq}, not {marks.get(name, 0)}"


def recovery_is_whole(facts: Facts) -> Iterator[str]:
    """After a crash it is the same log, and fan-out that was cut off is completed.

    So nothing waits for a device that has come to the end, by pushes or by pulling, and every
    inbox reaches the last message.
    """
    lives = [restore.at for restore in facts.history.restores]
    bases: dict[tuple[str, int], set[str]] = defaultdict(set)
    for start in facts.history.starts:
        bases[start.who.user, bisect_right(lives, start.at)].add(start.base)
    for (user, _), seen in bases.items():
        if len(seen) > 1:
            yield f"{user}'s inbox has become another one: {sorted(seen)}"
    for holding in facts.history.holdings:
        held = {place(shown.message) for shown in holding.shown}
        for message in facts.inbox(holding.who.user, holding.upto):
            if place(message) not in held or not facts.wrote(holding.who, message):
                yield f"{holding.who} ends at {holding.upto} without {_name(message)}"
    for inbox in facts.history.inboxes:
        for message in facts.inbox(inbox.user, inbox.position):
            yield f"fan-out ends at {inbox.position}, before {_name(message)}"


RULES: Final[dict[int, Callable[[Facts], Iterator[str]]]] = {
    1: acked_is_stored_once,
    2: unacked_is_stored_at_most_once,
    3: nothing_is_made_up,
    4: one_id_one_seq,
    5: one_order,
    6: order_is_real_time,
    7: reads_are_complete,
    8: members_get_it_once,
    9: inbox_points_to_stored,
    10: pages_make_one_scan,
    11: lost_cursors_are_told,
    12: expiry_takes_a_prefix,
    13: pushes_are_committed,
    14: devices_converge,
    15: recovery_is_whole,
    16: newest_version_wins,
    17: crossing_is_exact,
    18: backlog_drains,
    19: new_life_new_epoch,
}
"""The rules by their numbers."""


# What the rules share --------------------------------------------------------------------------


def _name(message: Message) -> str:
    return f"{message.conversation} {message.seq} ({message.sender}'s {message.id or message.kind})"


def _grows(numbers: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(numbers))


def _is_implied(message: Message) -> bool:
    """Whether it is the first message of a direct conversation, which the server writes."""
    members = implied_members(message.conversation)
    return (
        members is not None
        and message.kind == CREATED
        and message.sender in members
        and message.body.get("members") == members
    )


def _acked_seq(attempts: list[Attempt]) -> Seq:
    return next(attempt.seq for attempt in attempts if attempt.outcome == "acked")


def _range(read: HistoryRead, got: list[Seq]) -> tuple[Seq, Seq]:
    """The SeqIds that a page answers for, both included: more only lies beyond them."""
    beyond = END_OF_TIME
    if read.after is not None:
        return read.after + 1, got[-1] if read.has_more and got else beyond
    high = beyond if read.before is None else read.before - 1
    return got[-1] if read.has_more and got else 1, high


def _known(facts: Facts) -> dict[Place, int]:
    """When each message was first known to be stored."""
    known: dict[Place, int] = {}

    def note(where: Place, at: int) -> None:
        known[where] = min(at, known.get(where, at))

    for attempt in facts.history.attempts:
        if attempt.outcome == "acked":
            note((attempt.conversation, attempt.seq), attempt.ended)
    for step in facts.history.steps:
        for message in step.messages:
            note(place(message), step.at)
    for read in facts.history.reads:
        for message in read.messages:
            note(place(message), read.ended)
    return known
