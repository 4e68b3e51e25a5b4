"""What the checker knows of changes of mode: what is said around one is everywhere once."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from timewire.model import Message, Seq
from timewire.testing.history import Facts, Place, Switch, place

NEAR_MESSAGES: Final = 10
"""Before and after a change of mode, whose whereabouts are looked at."""


class _Held(NamedTuple):
    """What a device, or the server for a user, has with ``after < seq <= upto``; how often."""

    name: str
    user: str
    after: Seq
    upto: Seq
    times: Counter[Place]


def crossings_lose_nothing(facts: Facts) -> Iterator[str]:
    """What is said around a change of mode is written or read: nowhere both, nowhere neither."""
    everyone = list(_held(facts))
    for switch in facts.history.switches:
        near = [place(message) for message in _near(facts, switch)]
        for held in everyone:
            mine = facts.places(held.user)
            for where in near:
                if held.after < where[1] <= held.upto and where in mine and held.times[where] != 1:
                    yield (
                        f"{held.name} has {where[0]} {where[1]} {held.times[where]} times; "
                        f"from {switch.seq} on the mode is {switch.mode}"
                    )


def _held(facts: Facts) -> Iterator[_Held]:
    for one in facts.history.holdings:
        times = Counter(place(shown.message) for shown in one.shown)
        yield _Held(str(one.who), one.who.user, one.after, one.upto, times)
    for dump in facts.history.inboxes:
        times = Counter((ref.conversation, ref.seq) for ref in dump.refs)
        name = f"the server, for {dump.user},"
        yield _Held(name, dump.user, dump.floor - 1, dump.position, times)


def _near(facts: Facts, switch: Switch) -> list[Message]:
    log = facts.timelines.get(switch.conversation, [])
    middle = bisect_right(log, switch.seq, key=lambda message: message.seq)
    return log[max(0, middle - NEAR_MESSAGES) : middle + NEAR_MESSAGES]
