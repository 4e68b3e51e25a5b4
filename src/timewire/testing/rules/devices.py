"""The checker's rules about what devices and inboxes have, and what becomes of them."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from timewire.testing.facts import Facts
from timewire.testing.history import Holding, Place, named, place


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
                yield f"{holding.who} misses {named(message)}"
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
                yield f"{inbox.user}'s inbox lacks {named(message)}, its floor is {inbox.floor}"
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
                yield f"{holding.who} was pushed {named(shown.message)}, never committed"
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
                yield f"{holding.who} ends at {holding.upto} without {named(message)}"
    for inbox in facts.history.inboxes:
        for message in facts.inbox(inbox.user, inbox.position):
            yield f"fan-out ends at {inbox.position}, before {named(message)}"
