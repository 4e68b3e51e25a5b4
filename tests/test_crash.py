"""A real server is killed at random moments under load, and the checker finds no broken rule.

    python -m timewire.testing.crash --first SEED --seeds 1

repeats a seed; with more seeds it is the soak.
"""

from collections import Counter
from pathlib import Path

import pytest

from timewire.testing.checker import check
from timewire.testing.crash import DEVICES, SHORT, main, run
from timewire.testing.history import History
from timewire.testing.story import report

SEEDS = range(1, 27)


def describe(seed: int, history: History) -> str:
    outcomes = Counter(attempt.outcome for attempt in history.attempts)
    return f"seed {seed} ({dict(outcomes)}):\n{report(history, check(history))}"


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_rule_holds_over_crashes(seed: int, tmp_path: Path) -> None:
    history = await run(seed, tmp_path)

    assert check(history) == [], describe(seed, history)
    assert len(history.restarts) == SHORT.kills
    assert {holding.who for holding in history.holdings} == set(DEVICES)
    assert any(attempt.outcome == "acked" for attempt in history.attempts)
    assert any(step.way == "push" for step in history.steps)


def test_the_soak_runs_seed_after_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--first", "100", "--kills", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["seed 100", "seed 101"]
    assert lines[2] == "2 runs, violations in none"
