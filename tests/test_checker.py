"""The checker finds nothing in what is right, and everything in what is wrong."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planted import (
    BOB,
    CAROL,
    DEVICES,
    FAULTS,
    LEAVE,
    PHONE,
    Twin,
    good,
    in_attempt,
    in_holding,
    replace,
    without,
)
from timewire.testing.checker import MAX_VIOLATIONS_A_RULE, Violation, check
from timewire.testing.history import (
    Attempt,
    History,
    HistoryRead,
)
from timewire.testing.rules import RULES


def broken(history: History) -> set[int]:
    return {violation.rule for violation in check(history)}


def test_a_good_run_has_no_violations() -> None:
    history = good()
    assert check(history) == []
    assert check(history) == []


def test_the_good_run_has_everything_in_it() -> None:
    history = good()
    ways = {step.way for step in history.steps}
    outcomes = {attempt.outcome for attempt in history.attempts}
    assert ways == {"page", "push", "live", "at"}
    assert outcomes == {"acked", "refused", "unknown"}
    assert any(read.has_more for read in history.reads)
    assert {shown.way for one in history.holdings for shown in one.shown} == {"page", "push", "ack"}


def test_every_rule_has_its_number_name_and_reason() -> None:
    assert list(RULES) == list(range(1, 20))
    assert all(rule.__doc__ and len(rule.__doc__) > 40 for rule in RULES.values())


def test_violations_of_a_rule_are_bounded() -> None:
    history = good()
    history.holdings = [replace(one, shown=one.shown * 9) for one in history.holdings]
    violations = check(history)
    of_8 = [violation for violation in violations if violation.rule == 8]
    assert len(of_8) == MAX_VIOLATIONS_A_RULE
    assert str(Violation(8, "x")) == "rule 8: x"


# What each rule must catch -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "fault"), FAULTS, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_fault_is_caught_by_its_rule(rule: int, fault: Callable[[History], None]) -> None:
    history = good()
    fault(history)
    assert rule in broken(history)


def test_every_rule_has_faults_that_it_catches() -> None:
    assert {rule for rule, _ in FAULTS} == set(RULES)


# What must not be reported -----------------------------------------------------------------------


def test_a_send_without_an_answer_may_be_stored_or_not() -> None:
    history = good()
    history.attempts.append(
        Attempt(BOB, "gone", "team", "text", {}, 850, 851, "unknown"),
    )
    in_attempt(history, "b4", outcome="unknown", seq=0, time=0)
    assert check(history) == []


def test_a_send_that_was_refused_for_now_may_stand_later() -> None:
    history = good()
    first = Attempt(BOB, "b4", "team", "text", {}, 2, 3, "refused", code="too_busy")
    history.attempts.append(first)
    assert check(history) == []


def test_a_send_that_nobody_knew_of_takes_its_place_anew() -> None:
    history = good()
    first = Attempt(BOB, "b4", "team", "text", {}, 2, 3, "unknown", code="outcome_unknown")
    history.attempts.append(first)
    assert check(history) == []


def test_a_send_that_was_not_heard_of_while_another_was_put_off_takes_its_place_anew() -> None:
    """It was told to come after the other one, perhaps, and a later one was quicker."""
    history = good()
    in_attempt(history, "b3", began=801, ended=890)
    in_attempt(history, "b4", began=800, ended=890)
    unheard = next(one for one in history.attempts if one.id == "b4")
    history.attempts.append(replace(unheard, outcome="unknown", seq=0, time=0, ended=801))
    overtaken = "team: bob/phone sent 21 before 15"
    assert overtaken in [one.what for one in check(history)]
    history.attempts.append(
        Attempt(BOB, "gone", "team", "text", {}, 799, 850, "refused", code="too_busy")
    )
    assert overtaken not in [one.what for one in check(history)]


def test_a_refusal_that_was_not_heard_excuses_the_order() -> None:
    """Carol was no member, was told so in vain, came back, and sent again what she had said."""
    history = good()
    history.attempts.append(Attempt(CAROL, "l", "team", "members", LEAVE, 1, 1, "unknown"))
    assert check(history) == []


def test_an_own_message_may_come_by_its_ack_before_older_ones() -> None:
    history = good()
    in_holding(
        history,
        PHONE,
        lambda shown: tuple(sorted(shown, key=lambda one: (one.way != "ack", one.message.seq))),
    )
    assert check(history) == []


def test_an_expired_prefix_is_no_loss() -> None:
    history = good()
    history.inboxes = [
        replace(one, floor=9, refs=tuple(ref for ref in one.refs if ref.seq >= 9))
        for one in history.inboxes
    ]
    assert check(history) == []


def test_a_read_need_not_have_what_came_after_it() -> None:
    history = good()
    early = HistoryRead("bob", "team", 0, 1, 9, (), has_more=False, after=0)
    history.reads.insert(0, early)
    assert check(history) == []


# At random ---------------------------------------------------------------------------------------


def random_run(seed: int) -> History:
    chance = random.Random(seed)
    twin = Twin()
    for who in DEVICES:
        twin.connect(who)
    made = {"kind": "group", "members": ["alice", "bob"], "title": ""}
    twin.send(PHONE, "make", "team", body=made, kind="created")
    for number in range(chance.randint(5, 40)):
        who = chance.choice(DEVICES)
        member = who.user in twin.members["team"]
        act = chance.randrange(6)
        if act == 0 and who in twin.connection:
            twin.disconnect(who)
        elif who not in twin.connection:
            twin.connect(who)
        elif act == 1 and who.user != "carol":
            joins = "carol" not in twin.members["team"]
            change = {"joined": ["carol"] * joins, "left": ["carol"] * (not joins)}
            twin.send(who, f"m{number}", "team", body=change, kind="members")
        elif act == 2 and who.user != "carol":
            twin.send(who, f"d{number}", "direct:alice:bob")
        elif member:
            answers = [False] * chance.randrange(2) + [True]
            for answer in answers:
                twin.send(who, f"t{number}", "team", answer=answer)
    return twin.end()


@given(st.integers(0, 2**32))
def test_random_good_runs_have_no_violations(seed: int) -> None:
    assert check(random_run(seed)) == []


@given(st.integers(0, 2**32), st.data())
def test_a_message_that_a_device_lost_or_doubled_is_always_found(
    seed: int, data: st.DataObject
) -> None:
    history = random_run(seed)
    index = data.draw(st.integers(0, len(DEVICES) - 1))
    holding = history.holdings[index]
    if not holding.shown:
        return
    victim = data.draw(st.sampled_from(holding.shown))
    lost = tuple(one for one in holding.shown if one != victim)
    doubled = data.draw(st.booleans())
    history.holdings[index] = replace(holding, shown=(*lost, victim, victim) if doubled else lost)
    assert broken(history) & {8, 14, 15}


@given(st.integers(0, 2**32), st.data())
def test_a_stored_message_that_vanished_is_always_found(seed: int, data: st.DataObject) -> None:
    history = random_run(seed)
    victim = data.draw(st.sampled_from([m for read in history.reads for m in read.messages]))
    history.reads = [without(victim.seq)(read) for read in history.reads]
    assert broken(history) & {1, 7, 9}
