"""Modes change under load, on a server that is killed meanwhile: nothing is lost or doubled."""

from pathlib import Path

import pytest

from timewire import library
from timewire.epochs import SYSTEM_MODES
from timewire.testing.checker import check
from timewire.testing.crash import DEVICES, run
from timewire.testing.story import report

FLIPPING = "timewire.testing.flipping:Flipping"


def mode_changes(data: Path) -> int:
    """How often a conversation was given another mode."""
    found = library.inspect(data, limit=1000)
    return sum(one.entries for one in found.conversations if one.name == SYSTEM_MODES)


@pytest.mark.parametrize("seed", range(1, 9))
async def test_every_rule_holds_while_modes_change(seed: int, tmp_path: Path) -> None:
    history = await run(seed, tmp_path, fanout_policy=FLIPPING)

    assert check(history) == [], f"seed {seed}:\n{report(history, check(history))}"
    assert {holding.who for holding in history.holdings} == set(DEVICES)
    assert mode_changes(tmp_path / "data") >= 10
    assert any(step.way == "page" and step.messages for step in history.steps)


async def test_every_rule_holds_in_mode_read_alone(tmp_path: Path) -> None:
    history = await run(3, tmp_path, fanout_policy="read")

    assert check(history) == [], report(history, check(history))
