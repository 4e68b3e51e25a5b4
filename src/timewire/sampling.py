"""Rooms as a person can read them: beyond so many messages a second, some are not pushed.

Who comes and goes is told to nobody else, so coming is free however many there are.  All of it is
stored, and history has all.  What is chosen is the same for everybody in a room, so
that people there talk about the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set
from typing import Final

import msgspec

from timewire.clock import Ticks
from timewire.inbox import Delivery
from timewire.metrics import ROOM_SAMPLED
from timewire.model import CONTROL_KINDS, MEMBERS, REACTION

MAX_ROOMS: Final = 10_000
"""Whose rates are known: those that had a message last."""

_ALWAYS: Final = CONTROL_KINDS - {MEMBERS, REACTION}
"""Seldom, and nobody may miss them: a recall, a ban, another title."""


class _Concerned(msgspec.Struct):
    joined: list[str] = []
    left: list[str] = []


class _Said(msgspec.Struct, rename={"sender": "from"}):
    sender: str
    kind: str
    body: msgspec.Raw


_decode = msgspec.json.Decoder(_Said).decode
_decode_concerned = msgspec.json.Decoder(_Concerned).decode


class Sampler:
    """Thins out what is pushed to rooms.

    ``per_second``: how many messages of one room everybody gets; as many at once after a pause.
    0: all that is said.
    """

    def __init__(self, ticks: Ticks, per_second: int) -> None:
        self._ticks = ticks
        self._per_second = per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """room -> when (in ticks), and how many messages it might have pushed then"""

    def thin(self, delivery: Delivery) -> Delivery:
        """A message to a room as it is pushed: to all, or only to those whom it is about."""
        message = delivery.message
        if not message.payload:
            return delivery
        said = _decode(message.payload)
        about = {said.sender}
        if said.kind == MEMBERS:
            concerned = _decode_concerned(said.body)
            about.update(concerned.joined, concerned.left)
        elif said.kind in _ALWAYS or self._take(message.conversation):
            return delivery
        else:
            ROOM_SAMPLED.inc()
        users = delivery.users if isinstance(delivery.users, Set) else frozenset(delivery.users)
        return Delivery(message, users & about, delivery.mode)

    def _take(self, room: str) -> bool:
        most, now = self._per_second, self._ticks()
        if not most:
            return True
        at, left = self._left.pop(room, (now, float(most)))
        left = min(most, left + max(0, now - at) / 1000 * most)
        taken = left >= 1
        self._left[room] = max(at, now), left - taken
        if len(self._left) > MAX_ROOMS:
            self._left.popitem(last=False)
        return taken
