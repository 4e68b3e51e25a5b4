"""The guard: what a message may cost, and that it does not grow unnoticed."""

import sys
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import guard
from bench.guard import MAX_LOSS, Found, Yardstick, count_calls, losses
from bench.hot import pairs


def baseline() -> Found:
    return msgspec.json.decode(guard.BASELINE.read_bytes(), type=Found)


@pytest.mark.serial
async def test_a_message_calls_no_more_functions_than_it_may() -> None:
    calls = await count_calls()
    assert calls > 50
    assert calls <= baseline().calls * (1 + MAX_LOSS), "see bench/guard.py"


@pytest.mark.parametrize(
    ("calls", "cost", "dearer"),
    [
        (100, 4, set()),
        (50, 2, set()),
        (114, 4.5, set()),
        (120, 4, {"calls"}),
        (100, 5, {"cost"}),
        (200, 9, {"calls", "cost"}),
    ],
)
def test_what_counts_as_dearer(calls: float, cost: float, dearer: set[str]) -> None:
    found = losses(Found(calls, cost), Found(100, 4))
    assert set(found) == dearer
    assert all(by > MAX_LOSS for by in found.values())


async def test_pairs_exchange_what_they_were_told() -> None:
    async with pairs(3) as opened:
        head = opened.server.hub.position
        await opened.exchange(4)
        assert opened.server.hub.position == head + 12


def test_the_yardstick_stores_what_it_makes(tmp_path: Path) -> None:
    yardstick = Yardstick(str(tmp_path))
    yardstick.turn(10)
    yardstick.turn(10)
    yardstick.close()
    assert any(tmp_path.iterdir())


class Measured:
    """Costs in turn, as a noisy machine gives them."""

    def __init__(self, calls: float, *costs: float) -> None:
        self._calls = calls
        self._costs = list(costs)

    async def count_calls(self) -> float:
        return self._calls

    async def compare_cost(self) -> float:
        return self._costs.pop(0)


@pytest.mark.parametrize(
    ("costs", "status"), [([4], 0), ([6, 5, 4.2], 0), ([6, 4], 0), ([6, 5, 5], 1)]
)
def test_a_noisy_machine_gets_another_chance(
    costs: list[float],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = Measured(100, *costs)
    file = tmp_path / "baseline.json"
    file.write_bytes(msgspec.json.encode(Found(100, 4)))
    monkeypatch.setattr(guard, "BASELINE", file)
    monkeypatch.setattr(guard, "count_calls", given.count_calls)
    monkeypatch.setattr(guard, "compare_cost", given.compare_cost)
    monkeypatch.setattr(sys, "argv", ["guard"])
    assert guard.main() == status
    assert ("more than before" in capsys.readouterr().out) == bool(status)


def test_a_new_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Measured(90, 3, 2, 4)
    monkeypatch.setattr(guard, "BASELINE", tmp_path / "baseline.json")
    monkeypatch.setattr(guard, "count_calls", given.count_calls)
    monkeypatch.setattr(guard, "compare_cost", given.compare_cost)
    monkeypatch.setattr(sys, "argv", ["guard", "--update"])
    assert guard.main() == 0
    assert baseline() == Found(90, 2)


def test_another_python_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = Measured(1000, 4)
    file = tmp_path / "baseline.json"
    file.write_bytes(msgspec.json.encode(Found(100, 4, "3.0")))
    monkeypatch.setattr(guard, "BASELINE", file)
    monkeypatch.setattr(guard, "count_calls", given.count_calls)
    monkeypatch.setattr(guard, "compare_cost", given.compare_cost)
    monkeypatch.setattr(sys, "argv", ["guard"])
    assert guard.main() == 0
    assert "not compared" in capsys.readouterr().out
