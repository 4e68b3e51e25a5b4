"""How often a user may do something, however the requests come."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.errors import Retryable
from timewire.rates import Rate, Rates

NOW = 1_800_000_000_000


def refused(rates: Rates, user: str, now: int = NOW) -> dict[str, Any] | None:
    try:
        rates.check(user, now)
    except Retryable as refusal:
        return {"code": refusal.code, **refusal.fields}
    return None


def test_each_user_has_one_bucket() -> None:
    rates = Rates(2)
    assert rates.of("alice") is rates.of("alice")
    assert [refused(rates, "alice") for _ in range(2)] == [None, None]
    assert not rates.of("alice").take(NOW)
    assert refused(rates, "alice") == {"code": "rate_limited", "retry_after": 500}
    assert refused(rates, "bob") is None


@given(a_second=st.integers(1, 10_000), used=st.integers(0, 50), waited=st.integers(0, 3000))
def test_after_the_pause_that_was_told_one_may(a_second: int, used: int, waited: int) -> None:
    rate = Rate(a_second)
    for _ in range(used):
        rate.take(NOW)
    now = NOW + waited
    while rate.take(now):
        pass
    pause = rate.refusal().fields["retry_after"]
    assert 1 <= pause <= 1000
    assert rate.take(now + pause)


def test_no_limit_is_never_refused() -> None:
    rates = Rates(0)
    assert all(refused(rates, "alice") is None for _ in range(1000))


def test_those_who_came_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timewire.rates.MAX_RATES_KEPT", 2)
    rates = Rates(1)
    for user in ("alice", "bob", "alice", "carol"):
        refused(rates, user)
    assert [refused(rates, user) is None for user in ("alice", "carol")] == [False, False]
    assert refused(rates, "bob") is None
