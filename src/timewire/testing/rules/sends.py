"""The checker's rules about sending: what a sender was told holds for ever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from timewire.errors import CODES
from timewire.model import CREATED, Message, Seq
from timewire.names import implied_members
from timewire.testing.facts import Facts
from timewire.testing.history import Attempt, Who, acked_seq, named, place
from timewire.testing.rules.versions import is_bare, is_said, is_state_of

END_OF_TIME: Final = 2**63


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
    """A send without an answer exists zero or one times; one that was refused for good, never.

    Who was refused tells the user so, and a message that turns up all the same is a lie.
    """
    for (user, id), attempts in facts.attempts.items():
        outcomes = {attempt.outcome for attempt in attempts}
        found = [message.seq for message in facts.by_id.get((user, id), ())]
        if found and "acked" not in outcomes and _are_refused(attempts):
            yield f"{user}'s {id} was refused and is stored as {found[0]}"
        elif "acked" not in outcomes and len(found) > 1:
            yield f"{user}'s {id} is stored {len(found)} times, as {found}"


def _are_refused(attempts: Sequence[Attempt]) -> bool:
    """Whether nothing may come of attempts: all were refused, or one of them for good."""
    if all(attempt.outcome == "refused" for attempt in attempts):
        return True
    return any(_is_refused_for_good(attempt, attempts[0]) for attempt in attempts)


def nothing_is_made_up(facts: Facts) -> Iterator[str]:
    """What is stored is what its sender has sent, and everyone is given just that."""
    for message in facts.stored.values():
        user, id = facts.author(message)
        if not id and not is_bare(message) and not _is_implied(message):
            yield f"{named(message)} is a phantom: it has no id"
        elif id and not facts.attempts.get((user, id)):
            yield f"{named(message)} is a phantom: nobody sent it"
        elif not is_said(facts, message):
            yield f"{named(message)} is stored otherwise than it was sent"
    for where, user, message in facts.observations():
        stored = facts.stored.get(place(message))
        if stored is not None and not is_state_of(facts, user, message, stored):
            yield f"{named(message)} in {where} is not the message that is stored there"


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
    known = facts.known()
    put_off = _put_off(facts)
    for name, sends in conversations.items():
        ends = [(one.ended, one.seq) for send in sends for one in send if one.outcome == "acked"]
        for earlier, later in _overtaken(ends, sends):
            yield f"{name}: {later} began after {earlier} was acked"
        for who, own in _of_devices(sends, put_off).items():
            steady = facts.stayed(who.user, name)
            since = (
                known.get(place(facts.timelines[name][0]), END_OF_TIME) if steady else END_OF_TIME
            )
            ends = [(_counts_from(send, since), acked_seq(send)) for send in own]
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
    for began, seq in sorted((min(one.began for one in send), acked_seq(send)) for send in sends):
        while passed < len(ends) and ends[passed][0] < began:
            newest = max(newest, ends[passed][1])
            passed += 1
        if seq < newest:
            yield newest, seq


def _of_devices(
    sends: list[list[Attempt]], put_off: dict[Who, list[tuple[int, int]]]
) -> dict[Who, list[list[Attempt]]]:
    """Sends that were never answered otherwise than by an ack, by device.

    Who is told that nobody knows, or to come later, sends again, and takes a place anew.  So does
    a send without an answer meanwhile: it may have been told to come after that one.
    """
    devices: dict[Who, list[list[Attempt]]] = defaultdict(list)
    for send in sends:
        who = send[0].who
        if not any(one.code or _meets(one, put_off[who]) for one in send):
            devices[who].append(send)
    return devices


def _put_off(facts: Facts) -> dict[Who, list[tuple[int, int]]]:
    """By device, when it had sends under way that were answered otherwise than by an ack."""
    spans: dict[Who, list[tuple[int, int]]] = defaultdict(list)
    for send in facts.attempts.values():
        if any(one.code for one in send):
            span = min(one.began for one in send), max(one.ended for one in send)
            spans[send[0].who].append(span)
    return spans


def _meets(attempt: Attempt, spans: list[tuple[int, int]]) -> bool:
    """Whether an attempt without an answer was under way in one of these times."""
    return attempt.outcome == "unknown" and any(
        began <= attempt.ended and attempt.began <= ended for began, ended in spans
    )


def _is_implied(message: Message) -> bool:
    """Whether it is the first message of a direct conversation, which the server writes."""
    members = implied_members(message.conversation)
    return (
        members is not None
        and message.kind == CREATED
        and message.sender in members
        and message.body.get("members") == members
    )
