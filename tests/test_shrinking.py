"""A history is made as small as it can be, and is still a part of the one it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planted import FAULTS, good
from timewire.testing import shrinking
from timewire.testing.checker import check
from timewire.testing.facts import Facts
from timewire.testing.history import Attempt, History, Restart, Who
from timewire.testing.rules import RULES
from timewire.testing.shrinking import only, pieces, shortest


def test_all_pieces_are_the_whole_history() -> None:
    history = good()
    assert only(history, pieces(history)) == history
    assert only(history, []) == History()


@pytest.mark.parametrize("number", range(0, len(FAULTS), 5))
def test_nothing_can_be_left_out_of_what_is_left(number: int) -> None:
    rule, fault = FAULTS[number]
    history = good()
    fault(history)
    what = next(one.what for one in check(history) if one.rule == rule)

    def shows(part: History) -> bool:
        return what in RULES[rule](Facts(part))

    small = shortest(history, shows)
    left = pieces(small)
    assert shows(small)
    assert len(left) < len(pieces(history)) / 4
    for piece in left:
        assert not shows(only(small, [one for one in left if one != piece]))


def test_a_message_is_left_out_everywhere_or_nowhere() -> None:
    history = good()
    without = only(history, [one for one in pieces(history) if one != ("message", ("team", 14))])
    facts, whole = Facts(without), Facts(history)
    assert set(whole.stored) - set(facts.stored) == {("team", 14)}
    assert {where for user in ("alice", "bob") for where in facts.places(user)} == {
        where for user in ("alice", "bob") for where in whole.places(user)
    } - {("team", 14)}
    assert [one for one in history.attempts if one not in without.attempts] == [
        one for one in history.attempts if one.seq == 14
    ]
    # All that is wrong with it is that pushes are empty now.
    assert {one.rule for one in check(without)} == {13}


@given(st.sets(st.integers(0, 30), min_size=1), st.sets(st.integers(0, 30)))
def test_only_what_is_needed_is_left(needed: set[int], others: set[int]) -> None:
    history = History(restarts=[Restart(number) for number in sorted(needed | others)])

    def shows(part: History) -> bool:
        return needed <= {one.at for one in part.restarts}

    assert shortest(history, shows).restarts == [Restart(number) for number in sorted(needed)]


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrinking, "MAX_WORK_PIECES", 1000)
    who = Who("alice", "phone")
    history = History(
        attempts=[Attempt(who, str(n), "team", "text", {}, n, n, "unknown") for n in range(500)]
    )
    tries: list[int] = []

    def shows(part: History) -> bool:
        tries.append(len(part.attempts))
        return len(part.attempts) > 300

    assert len(shortest(history, shows).attempts) > 300
    assert sum(tries) <= 1000


def test_every_field_of_a_history_can_be_left_out() -> None:
    fields: set[str] = set(History.__struct_fields__)
    assert {*shrinking.RECORDS, "log"} == fields
