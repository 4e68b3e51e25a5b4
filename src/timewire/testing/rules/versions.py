"""What the checker knows of changed messages: which states of them are right, and which come last.

A message is right as it was sent, as one of its edits left it, and bare when it was recalled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import inf

import msgspec

from timewire.changes import Made, change_in, revise
from timewire.model import Edited, Message, MessageChange, Recalled
from timewire.testing.facts import Facts
from timewire.testing.history import Attempt, Holding, Place, place


def is_bare(message: Message) -> bool:
    """Whether only place and time are left."""
    return not message.kind


def is_said(facts: Facts, message: Message) -> bool:
    """Whether a message says what its sender, or the last one of its edits, wanted it to say."""
    if is_bare(message):
        return place(message) in facts.recalled
    if message.edits:
        edits = facts.edits.get(place(message), ())
        return any(
            edit.body["body"] == message.body
            for edit in edits
            if edit.outcome != "acked" or edit.seq == message.edits[-1]
        )
    meant = facts.meant(message)
    return not meant or any(_equal(attempt, message) for attempt in meant)


def is_state_of(facts: Facts, user: str, message: Message, stored: Message) -> bool:
    """Whether what a user was given is an earlier state of the message that is stored, or that one.

    Who was no member when a message was edited may be given nothing of it.
    """
    if is_bare(message) and stored.edits and not facts.stayed(user, message.conversation):
        return message.time == stored.time
    if not is_said(facts, message):
        return False
    if is_bare(message) or is_bare(stored):
        return message.time == stored.time
    return _sent(message) == _sent(stored)


def newest_version_wins(facts: Facts) -> Iterator[str]:
    """Of edits the newest wins, and a recall never comes back; devices end as history does.

    This is for those who were members all the time: others are not told of changes.
    """
    yield from _come_back(facts)
    for holding in facts.history.holdings:
        for message in _at_the_end(holding):
            name = message.conversation
            stored = facts.stored.get(place(message))
            # What changes a message before ``after`` may not have been shown.
            known = message.seq > holding.after and facts.stayed(holding.who.user, name)
            if known and stored and stored != message:
                yield f"{holding.who} ends with {name} {message.seq} not as it is stored"
        yield from _is_kept(facts, holding)


def _is_kept(facts: Facts, holding: Holding) -> Iterator[str]:
    """What a device keeps is what is stored now, without gaps, and without what is hidden."""
    user, kept = holding.who.user, {place(message): message for message in holding.kept or ()}
    for where, message in kept.items():
        stored = facts.stored.get(where)
        if stored != message and facts.stayed(user, where[0]):
            yield f"{holding.who} keeps {where[0]} {where[1]} not as it is stored"
        if (user, *where) in facts.hidden:
            yield f"{holding.who} keeps {where[0]} {where[1]}, which is hidden"
    for message in facts.inbox(user, holding.after) if holding.kept is not None else ():
        where = place(message)
        if (
            where not in kept
            and (user, *where) not in facts.hidden
            and facts.stayed(user, where[0])
        ):
            yield f"{holding.who} does not keep {where[0]} {where[1]}"


def _come_back(facts: Facts) -> Iterator[str]:
    """Pages that show an older state of a message than a page that ended before they began."""
    seen: dict[Place, list[tuple[int, int, float]]] = defaultdict(list)
    for read in facts.history.reads:
        if facts.stayed(read.user, read.conversation):
            for message in read.messages:
                version = inf if is_bare(message) else message.version
                seen[place(message)].append((read.began, read.ended, version))
    for (name, seq), views in seen.items():
        ends = sorted((ended, version) for _, ended, version in views)
        newest, passed = 0.0, 0
        for began, _, version in sorted(views):
            while passed < len(ends) and ends[passed][0] < began:
                newest = max(newest, ends[passed][1])
                passed += 1
            if version < newest:
                yield f"{name} {seq} was shown as of {version}, after it was shown as of {newest}"


def _at_the_end(holding: Holding) -> Iterator[Message]:
    """What a device has made of what it was shown."""
    changes: dict[Place, dict[int, tuple[Message, MessageChange]]] = defaultdict(dict)
    for shown in holding.shown:
        change = change_in(shown.message)
        if isinstance(change, MessageChange):
            where = shown.message.conversation, change.seq
            changes[where][shown.message.seq] = shown.message, change
    for shown in holding.shown:
        message = shown.message
        own = change_in(message)
        found = changes.get(place(message), {})
        if isinstance(own, Edited):
            found = {
                seq: (one, change)
                for seq, (one, change) in changes[message.conversation, own.seq].items()
                if isinstance(change, Recalled)
            }
        yield _after(message, [found[seq] for seq in sorted(found)])


def _after(message: Message, changes: Iterable[tuple[Message, MessageChange]]) -> Message:
    for one, change in changes:
        if one.seq > message.version and not is_bare(message):
            revised = revise(message, change, Made(one.sender, one.seq, one.time))
            bare = Message(message.conversation, message.seq, message.time)
            message = revised if revised is not None else bare
    return message


def _sent(message: Message) -> Message:
    """What no change touches."""
    return msgspec.structs.replace(message, body={}, version=0, edited=0, edits=[], reactions={})


def _equal(attempt: Attempt, message: Message) -> bool:
    return (attempt.conversation, attempt.kind, attempt.body) == (
        message.conversation,
        message.kind,
        message.body,
    )
