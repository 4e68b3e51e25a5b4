"""Parts of a whole cluster are killed and stopped under load, and no rule is broken.

    python -m timewire.testing.cluster_crash --first SEED --seeds 1

repeats a seed; with more seeds it is the soak.  The first of these kills a gateway, stops the other
and kills a worker; the second kills a gateway and a NATS server, which is stopped too later.
"""

from pathlib import Path

import pytest

from timewire.testing.checker import check
from timewire.testing.cluster_crash import PLAN, main, run_cluster
from timewire.testing.crash import DEVICES
from timewire.testing.story import report


@pytest.mark.parametrize("seed", [1, 3])
async def test_every_rule_holds_over_a_cluster(seed: int, tmp_path: Path) -> None:
    history, hurt = await run_cluster(seed, tmp_path, PLAN)

    assert check(history) == [], f"seed {seed}, {hurt}:\n{report(history, check(history))}"
    assert len(hurt) == PLAN.kills
    assert {holding.who for holding in history.holdings} == set(DEVICES)
    assert any(attempt.outcome == "acked" for attempt in history.attempts)


def test_the_soak_says_what_was_hurt(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "1", "--first", "9", "--kills", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 9: ")
    assert "no violations" in lines[0]
    assert lines[-1] == "1 runs, violations in none"
