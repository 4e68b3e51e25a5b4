"""When a server says that it is ready."""

from timewire.api.readiness import MAX_LAG_MESSAGES, MAX_STALL_MS, Watch
from timewire.api.routes import Readiness


def look(watch: Watch, head: int, position: int, now: int, writable: bool = True) -> Readiness:
    return watch.judge(writable=writable, head=head, position=position, now=now)


def test_ready_when_all_is_fanned_out() -> None:
    assert look(Watch(), 7, 7, 0) == Readiness(True, [], 7, 7)


def test_not_ready_while_the_store_refuses_writes() -> None:
    state = look(Watch(), 7, 7, 0, writable=False)
    assert not state.ready
    assert len(state.reasons) == 1


def test_a_little_behind_is_no_reason() -> None:
    watch = Watch()
    for now in range(0, 20 * MAX_STALL_MS, MAX_STALL_MS):
        assert look(watch, 1000 + now, 900 + now, now).ready


def test_far_behind_is_a_reason() -> None:
    assert look(Watch(), MAX_LAG_MESSAGES, 0, 0).ready
    [reason] = look(Watch(), MAX_LAG_MESSAGES + 1, 0, 0).reasons
    assert str(MAX_LAG_MESSAGES + 1) in reason


def test_standing_still_with_work_to_do_is_a_reason_until_it_moves() -> None:
    watch = Watch()
    assert look(watch, 8, 7, 1000).ready
    assert look(watch, 9, 7, 1000 + MAX_STALL_MS).ready
    assert not look(watch, 9, 7, 1001 + MAX_STALL_MS).ready
    assert look(watch, 9, 8, 1002 + MAX_STALL_MS).ready


def test_an_idle_hour_before_the_next_message_is_no_standstill() -> None:
    watch = Watch()
    assert look(watch, 8, 7, 0).ready
    assert look(watch, 8, 8, 10).ready
    assert look(watch, 9, 8, 3_600_000).ready


def test_both_reasons_are_told() -> None:
    watch = Watch()
    look(watch, MAX_LAG_MESSAGES + 1, 0, 0)
    assert len(look(watch, MAX_LAG_MESSAGES + 1, 0, MAX_STALL_MS + 1, writable=False).reasons) == 3
