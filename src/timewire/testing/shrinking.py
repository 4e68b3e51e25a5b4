"""Histories made smaller, until nothing can be left out without losing what they show.

What is left out are messages, everywhere at once, as if they had never been, and single events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from timewire.model import Message
from timewire.testing.history import History, HistoryRead, Holding, InboxDump, Place, Step, place

MAX_WORK_PIECES: Final = 3_000_000
"""Pieces of all smaller histories that are looked at, taken together."""

RECORDS: Final = (
    "attempts",
    "starts",
    "steps",
    "reads",
    "holdings",
    "inboxes",
    "restarts",
    "modes",
    "restores",
    "damaged",
    "parked",
    "troubles",
)
"""The fields of a history from which single events can be left out."""

Piece = tuple[str, Any]
"""What can be left out: ``("message", place)``, or a field of the history and an index in it."""


def shortest(history: History, shows: Callable[[History], bool]) -> History:
    """The smallest part of a history that was found in which something still shows."""
    work = MAX_WORK_PIECES

    def still(kept: Sequence[Piece]) -> bool:
        nonlocal work
        work -= len(kept) + 1
        return work >= 0 and shows(only(history, kept))

    return only(history, _reduced(pieces(history), still))


def _reduced(left: list[Piece], still: Callable[[Sequence[Piece]], bool]) -> list[Piece]:
    """Leave out ever shorter runs of pieces, until none of them can be left out alone."""
    size = max(1, len(left) // 2)
    while True:
        before, at = len(left), 0
        while at < len(left):
            fewer = left[:at] + left[at + size :]
            if still(fewer):
                left = fewer
            else:
                at += size
        if size == 1 and len(left) == before:
            return left
        size = max(1, min(size, len(left)) // 2)


def pieces(history: History) -> list[Piece]:
    """All that can be left out.  What belongs together stands together, and goes together first."""
    places = {place(message) for message in _messages(history)}
    found: list[Piece] = [("message", where) for where in sorted(places)]
    for field in RECORDS:
        records = getattr(history, field)
        by_device = sorted(range(len(records)), key=lambda index: _whose(records[index]))
        found += [(field, index) for index in by_device]
    return found


def only(history: History, kept: Iterable[Piece]) -> History:
    """The part of a history that is made of these pieces, in the order in which it was."""
    indexes: dict[str, list[int]] = {field: [] for field in RECORDS}
    places: set[Place] = set()
    for field, which in kept:
        if field == "message":
            places.add(which)
        else:
            indexes[field].append(which)
    gone = {place(message) for message in _messages(history)} - places
    part = History(log=[one for one in history.log if place(one) not in gone])
    for field, chosen in indexes.items():
        records = getattr(history, field)
        setattr(part, field, [_without(records[index], gone) for index in sorted(chosen)])
    part.attempts = [one for one in part.attempts if (one.conversation, one.seq) not in gone]
    return part


def _whose(record: object) -> str:
    return str(getattr(record, "who", getattr(record, "user", "")))


def _messages(history: History) -> Iterator[Message]:
    yield from history.log
    for given in (*history.steps, *history.reads):
        yield from given.messages
    for holding in history.holdings:
        yield from (shown.message for shown in holding.shown)


def _without(record: Any, gone: set[Place]) -> Any:
    """An event, as if some messages had never been."""
    match record:
        case Step() | HistoryRead():
            kept = tuple(one for one in record.messages if place(one) not in gone)
            return msgspec.structs.replace(record, messages=kept)
        case Holding():
            shown = tuple(one for one in record.shown if place(one.message) not in gone)
            held = record.kept and tuple(one for one in record.kept if place(one) not in gone)
            return msgspec.structs.replace(record, shown=shown, kept=held)
        case InboxDump():
            refs = tuple(one for one in record.refs if (one.conversation, one.seq) not in gone)
            read = tuple(one for one in record.read if (one.conversation, one.seq) not in gone)
            return msgspec.structs.replace(record, refs=refs, read=read)
        case _:
            return record
