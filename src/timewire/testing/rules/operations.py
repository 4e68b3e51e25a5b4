"""The checker's rules about what is done to a whole log: modes, damage, restores."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator

from timewire.model import Ref
from timewire.testing.facts import Facts
from timewire.testing.history import Place, place


def crossing_is_exact(facts: Facts) -> Iterator[str]:
    """Crossing the threshold of fan-out, either way, loses and doubles nothing.

    Each message is kept in one way: in the inbox when its conversation was in mode ``write`` at its
    SeqId, in the conversation alone when it was in mode ``read``.
    """
    crossed = {change.conversation for change in facts.history.modes}
    for inbox in facts.history.inboxes:
        ways = {"write": _places(inbox.refs), "read": _places(inbox.read)}
        for message in facts.inbox(inbox.user, inbox.floor - 1, inbox.position):
            where, mode = place(message), facts.mode(place(message))
            found = [way for way, places in ways.items() if where in places]
            if where[0] in crossed and found != [mode] * (mode != "push"):
                yield f"{where[0]} {where[1]} is of mode {mode}; {inbox.user} has it by {found}"
    for holding in facts.history.holdings:
        shown = Counter(place(one.message) for one in holding.shown)
        for message in facts.inbox(holding.who.user, holding.after, holding.upto):
            name, seq = place(message)
            if name in crossed and shown[name, seq] != 1:
                yield f"{holding.who} was shown {name} {seq} {shown[name, seq]} times"


def backlog_drains(facts: Facts) -> Iterator[str]:
    """When all is well again everything is done in a bounded time.

    A message that fails its checksum is parked and reported; it keeps nobody from the others.
    """
    yield from facts.history.troubles
    damaged, parked = set(facts.history.damaged), facts.history.parked
    for name, seq in parked:
        if (name, seq) not in damaged:
            yield f"{name} {seq} is parked and whole"
    for name, seq in damaged.difference(parked):
        yield f"{name} {seq} is damaged and was not reported"
    for name, seq in [where for where, times in Counter(parked).items() if times > 1]:
        yield f"{name} {seq} was parked again and again"


def new_life_new_epoch(facts: Facts) -> Iterator[str]:
    """A log that was set back has a new epoch: positions of the old one are not taken for its own.

    Every device that comes back with one is told so.
    """
    lives = [restore.at for restore in facts.history.restores]
    life_of: dict[str, int] = {}
    newest: dict[object, int] = {}
    for start in sorted(facts.history.starts, key=lambda one: one.at):
        life = bisect_right(lives, start.at)
        if life_of.setdefault(start.base, life) != life:
            yield f"{start.who} was told the base {start.base} of an earlier life"
        before = newest.get(start.who, life)
        if before < life and start.cursor is not None and start.reset != "other_log":
            yield f"{start.who} came with {start.cursor} of an earlier life, and no reset was told"
        newest[start.who] = life


def _places(refs: Iterable[Ref]) -> set[Place]:
    return {(ref.conversation, ref.seq) for ref in refs}
