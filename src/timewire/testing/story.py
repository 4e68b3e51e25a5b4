"""A violation as a readable story: of all that happened in a run, only what is needed to see it.

    violations = check(history)
    assert not violations, report(history, violations)

The whole history is often thousands of messages; what explains a broken rule is a handful.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from timewire.model import Message
from timewire.testing.checker import Violation
from timewire.testing.facts import Facts
from timewire.testing.history import (
    Attempt,
    History,
    HistoryRead,
    Holding,
    InboxDump,
    Start,
    Step,
    named,
)
from timewire.testing.rules import RULES
from timewire.testing.shrinking import pieces, shortest

MAX_STORIES: Final = 3
"""Told of one run: more violations are often the same fault."""

MAX_LISTED_MESSAGES: Final = 12
MAX_BODY_CHARS: Final = 60

END: Final = 2**63
"""When it is said what there is in the end."""

Event = tuple[int, int, str]
"""When, of which event of the history, and what is told of it."""


def report(history: History, violations: Sequence[Violation]) -> str:
    """All violations: a line each, and the story of the first of a rule."""
    if not violations:
        return "no violations"
    first = {violation.rule: violation for violation in reversed(violations)}
    told = [first[rule] for rule in sorted(first)][:MAX_STORIES]
    lines = [str(violation) for violation in violations if violation not in told]
    return "\n".join([*(tell(history, violation) for violation in told), *lines])


def tell(history: History, violation: Violation) -> str:
    """The violation, its rule, and the shortest story that shows it, in the order of events.

    What a run has noticed beside its history has no story: then it is the violation alone.
    """
    if not _shows(history, violation):
        return str(violation)
    story = shortest(history, lambda part: _shows(part, violation))
    reason = (RULES[violation.rule].__doc__ or "").split("\n\n")[0]
    return "\n".join(
        [
            str(violation),
            f"  The rule: {' '.join(reason.split())}",
            *(f"  {number}. {line}" for number, line in enumerate(_lines(story), 1)),
            f"  So much of a run of {len(pieces(history))} messages and events is enough.",
        ]
    )


def _shows(history: History, violation: Violation) -> bool:
    """Whether a history breaks the rule in just these words."""
    return violation.what in RULES[violation.rule](Facts(history))


def _lines(story: History) -> Iterator[str]:
    """What happened, one line each.  An answer follows its question when nothing came between."""
    told = sorted(_events(story))
    line, of = "", -1
    for _, number, text in told:
        if number == of:
            line += f": {text.split(': ', 1)[-1]}"
            continue
        if line:
            yield line
        line, of = text, number
    if line:
        yield line


def _events(story: History) -> Iterator[Event]:
    number = 0
    for field in ("attempts", "starts", "steps", "reads"):
        for record in getattr(story, field):
            number += 1
            yield from ((at, number, text) for at, text in _told(record))
    for at, text in _done_to_the_server(story):
        number += 1
        yield at, number, text
    for text in _in_the_end(story):
        number += 1
        yield END, number, text


def _told(record: Attempt | Start | Step | HistoryRead) -> Iterator[tuple[int, str]]:
    match record:
        case Attempt():
            yield from _sending(record)
        case Start():
            yield record.at, _beginning(record)
        case Step():
            got = _listed(record.messages)
            yield (
                record.at,
                f"{record.who}, {record.way} from {record.after} to {record.upto}: {got}",
            )
        case HistoryRead():
            yield from _reading(record)


def _beginning(start: Start) -> str:
    came = "is new" if start.cursor is None else f"has a cursor of {start.cursor}"
    kind = "" if start.cursor_is == "good" else f", which is {start.cursor_is}"
    reset = f" and is told reset ({start.reset})" if start.reset else ""
    return f"{start.who} connects and {came}{kind}; begins at {start.position}{reset}"


def _sending(attempt: Attempt) -> Iterator[tuple[int, str]]:
    body = msgspec.json.encode(attempt.body).decode()[:MAX_BODY_CHARS]
    about = f"{attempt.who} sends {attempt.id} to {attempt.conversation}"
    answer = {
        "acked": f"acked as {attempt.seq}",
        "refused": f"refused ({attempt.code})",
        "unknown": "no answer",
    }[attempt.outcome]
    yield attempt.began, f"{about} ({attempt.kind} {body})"
    yield attempt.ended, f"{attempt.who}'s {attempt.id} is answered: {answer}"


def _reading(read: HistoryRead) -> Iterator[tuple[int, str]]:
    where = "its end" if read.before is None else f"before {read.before}"
    where = where if read.after is None else f"after {read.after}"
    more = "there is more" if read.has_more else "that is all"
    yield read.began, f"{read.user} reads {read.conversation} from {where}, {read.limit} at most"
    got = _listed(read.messages)
    yield read.ended, f"{read.user} has read {read.conversation} from {where}: {got}; {more}"


def _done_to_the_server(story: History) -> Iterator[tuple[int, str]]:
    for restart in story.restarts:
        yield restart.at, f"the server is {restart.how}, and is whole again"
    for restore in story.restores:
        yield restore.at, f"the log is set back to what it held up to {restore.upto}"


def _in_the_end(story: History) -> Iterator[str]:
    for change in story.modes:
        yield f"{change.conversation} is of mode {change.mode} after {change.seq}"
    for what, places in (("damaged", story.damaged), ("parked", story.parked)):
        for name, seq in places:
            yield f"{name} {seq} is {what}"
    yield from story.troubles
    if story.log:
        yield f"stored is in the end: {_listed(story.log)}"
    for inbox in story.inboxes:
        yield _kept(inbox)
    for holding in story.holdings:
        yield _held(holding)


def _kept(inbox: InboxDump) -> str:
    refs = ", ".join(f"{name} {seq}" for name, seq in sorted(inbox.kept)) or "nothing of it"
    return f"{inbox.user}'s inbox holds from {inbox.floor} to {inbox.position}: {refs}"


def _held(holding: Holding) -> str:
    shown = _listed([one.message for one in holding.shown])
    marks = "".join(f"; has read {name} to {seq}" for name, seq in holding.marks.items())
    return f"{holding.who} has been shown, from {holding.after} to {holding.upto}: {shown}{marks}"


def _listed(messages: Iterable[Message]) -> str:
    names = [named(message) for message in messages]
    more = len(names) - MAX_LISTED_MESSAGES
    if not names:
        return "nothing of it"
    return ", ".join(names[:MAX_LISTED_MESSAGES]) + (f" and {more} more" if more > 0 else "")
