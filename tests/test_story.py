"""Of a violation is told what is needed to see it, and nothing else."""

from collections.abc import Callable

import pytest

from tests.planted import FAULTS, good, lost_message, never_at_rest, shown_twice
from timewire.testing.checker import Violation, check
from timewire.testing.history import History
from timewire.testing.rules import RULES
from timewire.testing.shrinking import pieces
from timewire.testing.story import MAX_STORIES, report, tell


def broken(fault: Callable[[History], None], rule: int) -> tuple[History, Violation]:
    """A history with a fault, and the violation of the rule that it is."""
    history = good()
    fault(history)
    return history, next(one for one in check(history) if one.rule == rule)


@pytest.mark.parametrize(("rule", "fault"), FAULTS)
def test_a_story_is_short_and_says_what_the_rule_is(
    rule: int, fault: Callable[[History], None]
) -> None:
    history, violation = broken(fault, rule)
    first, reason, *events, last = tell(history, violation).splitlines()
    assert first == str(violation)
    assert reason.startswith("  The rule: ")
    assert 1 <= len(events) <= 10
    assert all(line.startswith(f"  {number}. ") for number, line in enumerate(events, 1))
    assert f" {len(pieces(history))} messages" in last


def test_the_story_of_a_lost_message() -> None:
    assert tell(*broken(lost_message, 1)).splitlines() == [
        "rule 1: bob's b3 was acked as 14 and is lost",
        "  The rule: Every acked send exists exactly once, with the acked SeqId.",
        '  1. bob/phone sends b3 to team (text {"text":"bob/phone says b3"}): acked as 14',
        "  So much of a run of 149 messages and events is enough.",
    ]


def test_the_story_of_a_message_shown_twice() -> None:
    history, violation = broken(shown_twice, 8)
    (event,) = tell(history, violation).splitlines()[2:-1]
    assert event.count("team 21 (bob's x1)") == 2
    assert event.startswith("  1. alice/laptop has been shown, from 0 to 21: ")


def test_what_stands_in_no_history_has_no_story() -> None:
    assert (
        tell(good(), Violation(18, "a server did not start")) == "rule 18: a server did not start"
    )


def test_a_report_tells_one_story_a_rule_and_every_violation() -> None:
    history = good()
    assert report(history, check(history)) == "no violations"
    shown_twice(history)
    lost_message(history)
    never_at_rest(history)
    violations = check(history)
    assert len({one.rule for one in violations}) > MAX_STORIES
    told = report(history, violations)
    assert told.count("The rule: ") == MAX_STORIES
    assert all(str(one) in told for one in violations)
    assert set(RULES) > {one.rule for one in violations}
