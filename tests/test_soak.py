"""The soak's rounds: one of each kind of harm, what is watched, and what it says in the end."""

from pathlib import Path

import msgspec
import pytest

from timewire.testing import soak as module
from timewire.testing.checker import Violation
from timewire.testing.crash import Plan
from timewire.testing.harm import HARMS
from timewire.testing.soak import Round, growth, schedule, soak

SHORT = Plan(kills=1, life_s=(0.1, 0.2), pause_s=0.05)
CALM = Round(0, "calm", 1.0, 10, 0, 0, [], "", 1.0, 100.0, 1.0, 1.0, 2.0)


async def test_a_soak_of_one_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(module, "ROUND", SHORT)
    monkeypatch.setattr(module, "BEATS", 5)
    monkeypatch.setattr(module, "schedule", lambda _m, _p, number, _: None if number else "network")
    await soak(1.0, 1, tmp_path, told.append)
    rounds = [line.split() for line in told if line.startswith(" ")]
    assert [line[1] for line in rounds] == ["network"]
    assert told[-3].startswith("1 rounds, ")
    assert told[-3].endswith("violations in none")
    assert told[-2].startswith("memory ")
    assert told[-1].startswith("latency ")


def test_every_harm_has_its_turn_and_the_second_half_kills_nobody() -> None:
    first = [schedule(60, 0, number, []) for number in range(len(HARMS))]
    assert first == list(HARMS)
    late = {schedule(60, 1800, number, ["disk full"]) for number in range(20)}
    assert late == set(HARMS) - {"killed", "disk full"}
    assert schedule(60, 3600, 3, []) is None


def test_growth_is_told_from_the_medians_of_both_ends() -> None:
    memory = [100, 100, 900, 130, 130, 170, 200, 200]
    rounds = [msgspec.structs.replace(CALM, memory_mib=float(one)) for one in memory]
    assert growth(rounds, lambda one: one.memory_mib) == 2.0
    assert growth([CALM], lambda one: one.memory_mib) == 1.0


def test_what_has_grown_or_is_broken_ends_in_a_bad_verdict() -> None:
    def verdict(*rounds: Round) -> tuple[bool, str]:
        told: list[str] = []
        return module._verdict(rounds, rounds, told.append), told[0]  # pyright: ignore[reportPrivateUsage]

    fat = msgspec.structs.replace(CALM, memory_mib=151.0)
    slow = msgspec.structs.replace(CALM, p50_ms=5.1)
    broken = msgspec.structs.replace(CALM, number=7, violations=[Violation(8, "x")])
    assert verdict(CALM, CALM) == (True, "2 rounds, 20 sends, violations in none")
    assert not verdict(CALM, fat)[0]
    assert not verdict(CALM, slow)[0]
    assert verdict(CALM, broken) == (False, "2 rounds, 20 sends, violations in [7]")
    assert len(str(CALM)) == len(module.HEAD)
