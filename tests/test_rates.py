"""Token buckets: how often something may be done."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.rates import Rate, Rates, take_all

NOW = 1_800_000_000_000


def test_each_name_has_one_bucket() -> None:
    rates = Rates(2, "user")
    assert rates.of("alice") is rates.of("alice")
    assert [take_all([rates.of("alice")], NOW) for _ in range(3)] == [None, None, (500, "user")]
    assert take_all([rates.of("bob")], NOW) is None


@given(a_second=st.integers(1, 10_000), used=st.integers(0, 50), waited=st.floats(0, 3000))
def test_after_the_pause_that_was_told_one_may(a_second: int, used: int, waited: float) -> None:
    rate = Rate(a_second)
    for _ in range(used):
        take_all([rate], NOW)
    now = NOW + waited
    while take_all([rate], now) is None:
        pass
    pause_ms = rate.pause_ms(now)
    assert 1 <= pause_ms <= 1000
    assert take_all([rate], now + pause_ms) is None


@given(
    rates=st.lists(st.integers(0, 20), max_size=4),
    steps=st.lists(st.integers(0, 500), max_size=30),
)
def test_one_is_taken_from_all_or_from_none(rates: list[int], steps: list[int]) -> None:
    buckets = [Rate(a_second, str(a_second)) for a_second in rates]
    now = NOW
    for step in steps:
        now += step
        pauses = [bucket.pause_ms(now) for bucket in buckets]
        before = [bucket.tokens for bucket in buckets]
        refused = take_all(buckets, now)
        if refused is None:
            assert max(pauses, default=0) == 0
            spent = [limited for limited, bucket in enumerate(buckets) if bucket.a_second]
            assert all(buckets[n].tokens == before[n] - 1 for n in spent)
        else:
            assert refused[0] == max(pauses)
            assert [bucket.tokens for bucket in buckets] == before


@given(a_second=st.integers(1, 10_000), sizes=st.lists(st.integers(0, 50_000), max_size=20))
def test_what_has_passed_already_is_paid_for_by_a_pause(a_second: int, sizes: list[int]) -> None:
    rate, now = Rate(a_second), NOW
    for size in sizes:
        now += rate.spend(now, size)
    # All of it took as long as it must, but for the burst at the beginning.
    assert (now - NOW) * a_second / 1000 >= sum(sizes) - a_second - 1
    assert rate.spend(now, 0) == 0


def test_no_limit_is_never_refused() -> None:
    rate = Rates(0, "user").of("alice")
    assert all(take_all([rate], NOW) is None for _ in range(1000))
    assert rate.spend(NOW, 10**9) == rate.pause_ms(NOW, 10**9) == 0


def test_those_who_came_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timewire.rates.MAX_RATES_KEPT", 2)
    rates = Rates(1, "user")
    for user in ("alice", "bob", "alice", "carol"):
        take_all([rates.of(user)], NOW)
    assert [take_all([rates.of(user)], NOW) is None for user in ("alice", "carol")] == [False] * 2
    assert take_all([rates.of("bob")], NOW) is None
