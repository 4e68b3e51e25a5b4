"""The checker's rules about what is read: one order, and nothing left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from timewire.model import MAX_SEQ, Seq
from timewire.testing.facts import Facts
from timewire.testing.history import HistoryRead, Holding, Place, Step, named, place


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
                yield f"{named(other)} is older than the message before it"


def _one_place(facts: Facts) -> Iterator[str]:
    places: dict[tuple[str, str], Place] = {}
    for where, _, message in facts.observations():
        if message.id:
            first = places.setdefault((message.sender, message.id), place(message))
            if first != place(message):
                yield f"{named(message)} in {where} is at {first[0]} {first[1]} elsewhere"


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


def _grows(numbers: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(numbers))


def reads_are_complete(facts: Facts) -> Iterator[str]:
    """After a read complete up to H nothing at or below H appears, and what was known is there.

    Known is what was acked, pushed or read before the read began.
    """
    known = facts.known()
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


def inbox_points_to_stored(facts: Facts) -> Iterator[str]:
    """No inbox entry without its stored message, and nobody receives what history does not have."""
    for inbox in facts.history.inboxes:
        for name, seq in inbox.kept:
            if (name, seq) not in facts.stored:
                yield f"{inbox.user}'s inbox names {name} {seq}, not stored"
    for where, _, message in facts.observations():
        if place(message) not in facts.stored:
            yield f"{named(message)} in {where} is not stored"


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
            yield f"a {step.way} leads {step.who} to {step.upto} and past {named(message)}"
    for where in got:
        if not step.after < where[1] <= step.upto:
            yield f"a {step.way} to {step.who} up to {step.upto} holds {where[0]} {where[1]}"


def _range(read: HistoryRead, got: list[Seq]) -> tuple[Seq, Seq]:
    """The SeqIds that a page answers for, both included: more only lies beyond them."""
    beyond = MAX_SEQ
    if read.after is not None:
        return read.after + 1, got[-1] if read.has_more and got else beyond
    high = beyond if read.before is None else read.before - 1
    return got[-1] if read.has_more and got else 1, high
