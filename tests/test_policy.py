"""Policies: the cost model, thresholds, and no flapping."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.config import Config
from timewire.epochs import ModeName
from timewire.errors import Unusable
from timewire.policy import (
    LOOKUP_COST,
    SCAN_COST,
    AdaptivePolicy,
    FixedPolicy,
    Load,
    configured,
    read_cost,
    write_cost,
)

INFINITE = float("inf")


def load(**fields: Any) -> Load:
    plain = Load("team", "group", "write", 500, 0.0, 0.0, INFINITE, INFINITE)
    return msgspec.structs.replace(plain, **fields)


@pytest.fixture
def policy() -> AdaptivePolicy:
    return AdaptivePolicy(
        write_members_max=2000, read_members_min=100, hysteresis=2.0, dwell_s=60.0
    )


def test_writing_costs_a_reference_for_each_member() -> None:
    assert write_cost(load(messages_per_s=3.0, members=500)) == 1500


def test_reading_costs_by_syncs_and_by_what_they_find() -> None:
    assert read_cost(load(messages_per_s=10.0)) == 0
    idle = load(syncs_per_s=100.0)
    assert read_cost(idle) == pytest.approx(100 * LOOKUP_COST)
    # Everybody finds something when there is much more said than synced.
    busy = load(syncs_per_s=1.0, messages_per_s=100.0)
    assert read_cost(busy) == pytest.approx(SCAN_COST + LOOKUP_COST)


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({"members": 2001}, "read"),
        ({"members": 2000}, "write"),
        ({"members": 99, "messages_per_s": 1000.0}, "write"),
        ({"members": 100, "messages_per_s": 1000.0}, "read"),
        ({"messages_per_s": 1.0, "syncs_per_s": 10.0}, "read"),
        ({"messages_per_s": 0.01, "syncs_per_s": 10.0}, "write"),
        ({"kind": "direct", "members": 2, "messages_per_s": 1000.0}, "write"),
        ({"messages_per_s": 1000.0, "watched_s": 59.0}, "write"),
        ({"members": 5000, "watched_s": 0.0}, "read"),
        ({"members": 5000, "settled_s": 59.0}, "write"),
        ({"mode": "push", "members": 5000}, "push"),
    ],
)
def test_the_adaptive_policy_weighs_size_and_load(
    policy: AdaptivePolicy, fields: dict[str, Any], mode: ModeName
) -> None:
    assert policy.choose(load(**fields)) == mode


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({"members": 1001, "syncs_per_s": 100.0}, "read"),
        ({"members": 1000, "syncs_per_s": 100.0}, "write"),
        ({"members": 50, "messages_per_s": 1000.0}, "read"),
        ({"members": 49, "messages_per_s": 1000.0}, "write"),
        ({"messages_per_s": 0.01, "syncs_per_s": 10.0}, "write"),
        ({"messages_per_s": 0.01, "syncs_per_s": 10.0, "settled_s": 59.0}, "read"),
        ({}, "read"),
    ],
)
def test_what_is_read_stays_read_until_it_clearly_costs_more(
    policy: AdaptivePolicy, fields: dict[str, Any], mode: ModeName
) -> None:
    assert policy.choose(load(mode="read", **fields)) == mode


@given(
    members=st.integers(1, 5000),
    messages=st.floats(0, 1000),
    syncs=st.floats(0, 1000),
    first=st.sampled_from(["write", "read"]),
)
def test_the_same_load_never_changes_a_mode_twice(
    members: int, messages: float, syncs: float, first: ModeName
) -> None:
    policy = AdaptivePolicy(
        write_members_max=2000, read_members_min=100, hysteresis=2.0, dwell_s=60.0
    )
    found = load(members=members, messages_per_s=messages, syncs_per_s=syncs, mode=first)
    once = policy.choose(found)
    assert policy.choose(msgspec.structs.replace(found, mode=once)) == once


@pytest.mark.parametrize("mode", ["write", "read"])
def test_the_fixed_policy_always_says_the_same(mode: ModeName) -> None:
    policy = FixedPolicy(mode)
    assert policy.choose(load(members=2, kind="direct")) == mode
    assert policy.choose(load(members=10**6, mode="read")) == mode
    assert policy.choose(load(mode="push")) == "push"


def test_small_conversations_are_not_watched_without_need() -> None:
    assert configured(Config(read_members_min=70)).watch_members == 70
    assert configured(Config(read_members_min=70, write_members_max=50)).watch_members == 50
    assert FixedPolicy("read").watch_members == 1
    assert FixedPolicy("write").watch_members > 10**9


def test_the_configuration_names_the_policy() -> None:
    assert isinstance(configured(Config()), AdaptivePolicy)
    assert isinstance(configured(Config(fanout_policy="write")), FixedPolicy)
    assert isinstance(configured(Config(fanout_policy="read")), FixedPolicy)


def test_a_policy_of_ones_own_is_made_with_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_policy.py").write_text(
        "class Own:\n"
        "    watch_members = 3\n"
        "    def __init__(self, config): self.config = config\n"
        "    def choose(self, load): return 'read'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    policy = configured(Config(fanout_policy="own_policy:Own", members=7))
    assert (policy.watch_members, policy.choose(load())) == (3, "read")
    assert getattr(policy, "config").members == 7  # noqa: B009


@pytest.mark.parametrize("name", ["no.such.module:policy", "timewire.policy:nothing"])
def test_a_policy_that_is_not_there_is_a_wrong_configuration(name: str) -> None:
    with pytest.raises(Unusable) as caught:
        configured(Config(fanout_policy=name))
    assert caught.value.code == "bad_config"
    assert name.rpartition(":")[2] in caught.value.message or "no.such" in caught.value.message
