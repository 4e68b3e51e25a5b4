"""What the day has come to: one row a device, and the checker's verdict over all of it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import msgspec
from gadget import Gadget
from world import GROUP, OPERATOR, World

from timewire.testing.checker import Violation, check_facts
from timewire.testing.facts import Facts
from timewire.testing.history import place
from timewire.testing.rules.reads import disordered


class Row(msgspec.Struct, frozen=True):
    """What one device, or several together, got and did not get.

    ``own``: its own messages, which came by their acks.
    """

    device: str
    push: int
    pull: int
    own: int
    duplicates: int
    missing: int
    disorder: int

    @property
    def good(self) -> bool:
        """Whether everything came once, and in order."""
        return not (self.duplicates or self.missing or self.disorder)


class Proof(msgspec.Struct, frozen=True):
    """All rows, and the rules that were broken.

    ``unsaid``: lines of the day that are in the log not at all, or more than once.
    """

    rows: list[Row]
    others: Row
    violations: list[Violation]
    messages: int
    unsaid: int

    @property
    def good(self) -> bool:
        """Whether nothing went wrong."""
        rows = [*self.rows, self.others]
        return not self.violations and not self.unsaid and all(row.good for row in rows)


def prove(world: World) -> Proof:
    """Look at all that happened."""
    facts = Facts(world.history)
    named = [world.desktops[nick] for nick in world.stars] + [*world.phones.values(), world.laptop]
    named.sort(key=lambda gadget: (world.stars.index(gadget.who.user), gadget.who.device))
    rows = [_row(facts, gadget) for gadget in named]
    rows.append(_scrolled(facts, world.tablet))
    others = [gadget for gadget in world.gadgets if gadget not in [*named, world.tablet]]
    together = _sum(f"{len(others)} others", [_row(facts, gadget) for gadget in others])
    return Proof(rows, together, check_facts(facts), len(facts.stored), _unsaid(world, facts))


def _unsaid(world: World, facts: Facts) -> int:
    said = Counter(
        (message.sender, message.kind, message.body["text"])
        for message in facts.stored.values()
        if message.kind in ("text", "action") and message.sender != OPERATOR
    )
    meant = Counter(
        (event.nick, event.kind, event.text)
        for event in world.day.events
        if event.kind in ("text", "action")
    )
    for event, now in world.changed:
        meant[event.nick, event.kind, event.text] -= 1
        if now is not None:
            meant[event.nick, event.kind, now] += 1
    return (meant - said).total() + (said - meant).total()


def _row(facts: Facts, gadget: Gadget) -> Row:
    holding = next(one for one in facts.history.holdings if one.who == gadget.who)
    times = Counter(place(shown.message) for shown in holding.shown)
    expected = facts.inbox(gadget.who.user, holding.after)
    return Row(
        str(gadget.who),
        gadget.count["push"],
        gadget.count["page"] + gadget.count["history"],
        gadget.count["ack"],
        sum(count - 1 for count in times.values()),
        sum(not times[place(message)] for message in expected),
        len(list(disordered(holding))),
    )


def _scrolled(facts: Facts, gadget: Gadget) -> Row:
    """The new device: it has read back what was there before it."""
    seqs = [message.seq for message in gadget.scrolled]
    visible = {message.seq for message in facts.visible(gadget.who.user, GROUP)}
    return Row(
        f"{gadget.who} (new)",
        gadget.count["push"],
        len(seqs),
        gadget.count["ack"],
        len(seqs) - len(set(seqs)),
        len(visible - set(seqs)),
        sum(one <= other for one, other in pairwise(seqs)),
    )


def _sum(name: str, rows: list[Row]) -> Row:
    fields = ("push", "pull", "own", "duplicates", "missing", "disorder")
    return Row(name, *(sum(getattr(row, field) for row in rows) for field in fields))
