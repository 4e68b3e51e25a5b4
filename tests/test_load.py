"""Load: averages that follow, and stay bounded."""

import pytest

from timewire import load as module
from timewire.conversation import Conversation
from timewire.load import AVERAGE_S, Average, Loads
from timewire.model import Created
from timewire.testing.contracts import ManualClock

AVERAGE_MS = int(AVERAGE_S * 1000)


def group(members: int) -> Conversation:
    return Conversation.make("team", 1, Created("group", [f"u{n}" for n in range(members)]), "u0")


def test_a_steady_stream_is_its_rate() -> None:
    average = Average(0)
    for now in range(0, 10 * AVERAGE_MS, 100):
        average.add(now)
    assert average.read(10 * AVERAGE_MS) == pytest.approx(10, rel=0.05)


def test_what_was_long_ago_fades() -> None:
    average = Average(0)
    average.add(0, 600)
    assert average.read(0) == pytest.approx(600 / AVERAGE_S)
    assert average.read(AVERAGE_MS) == pytest.approx(600 / AVERAGE_S / 2.718, rel=0.01)
    assert average.read(100 * AVERAGE_MS) < 1e-9


def test_a_clock_that_is_set_back_does_no_harm() -> None:
    average = Average(1000)
    average.add(1000)
    average.add(0)
    assert average.read(0) == average.read(1000) == pytest.approx(2 / AVERAGE_S)


def test_messages_and_syncs_are_counted_by_name() -> None:
    loads = Loads(ManualClock(0), watch_members=10)
    for _ in range(3):
        loads.sent("team")
    loads.pulled("u0")
    loads.pulled("u1")
    loads.pulled("stranger")
    assert loads.watched() == ["team"]
    assert loads.messages_per_s("team") == pytest.approx(3 / AVERAGE_S)
    assert loads.messages_per_s("other") == 0
    assert loads.syncs_per_s(group(5)) == pytest.approx(2 / AVERAGE_S)
    assert loads.syncs_per_s(group(0)) == 0
    loads.drop("team")
    loads.drop("team")
    assert (loads.watched(), loads.messages_per_s("team")) == ([], 0)


def test_the_time_of_watching_counts_from_the_first_message() -> None:
    clock = ManualClock(5000)
    loads = Loads(clock, watch_members=10)
    assert loads.watched_s("team") == 0
    loads.sent("team")
    clock.now += 2500
    loads.sent("team")
    assert loads.watched_s("team") == 2.5


@pytest.mark.parametrize("members", [499, 500, 501, 1499, 20_000])
def test_syncs_of_very_many_members_are_estimated(members: int) -> None:
    loads = Loads(ManualClock(0), watch_members=10)
    for n in range(members):
        loads.pulled(f"u{n}")
    assert loads.syncs_per_s(group(members)) == pytest.approx(members / AVERAGE_S)


def test_what_is_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WATCHED", 2)
    monkeypatch.setattr(module, "MAX_SYNCING_USERS", 2)
    loads = Loads(ManualClock(0), watch_members=10)
    for name in ("a", "b", "a", "c"):
        loads.sent(name)
    assert loads.watched() == ["a", "c"]
    for n in range(5):
        loads.pulled(f"u{n}")
    assert loads.syncs_per_s(group(5)) == pytest.approx(2 / AVERAGE_S)
