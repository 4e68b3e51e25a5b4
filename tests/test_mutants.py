"""Bugs that are planted in a copy of the code are found by the simulation.

    python scripts/mutants.py

plants all of them; here those that almost any seed finds.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "mutants.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mutants = load()


@pytest.mark.parametrize("number", range(len(mutants.MUTANTS) + len(mutants.HOLES)))
def test_a_bug_is_one_place_in_the_code_of_now(number: int) -> None:
    mutant = (*mutants.MUTANTS, *mutants.HOLES)[number]
    text = (mutants.ROOT / "src" / "timewire" / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.right) == 1
    assert mutant.wrong not in ("", mutant.right)


def test_there_are_bugs_in_every_part() -> None:
    files = {mutant.file for mutant in mutants.MUTANTS}
    assert len(mutants.MUTANTS) >= 20
    assert files >= {"fanout.py", "session.py", "sync.py", "send.py", "hub.py"}
    assert files >= {"client/session.py", "client/outbox.py", "client/store.py"}


OFTEN = [mutant for mutant in mutants.MUTANTS if mutant.often]
SEEDS = 12


@pytest.mark.parametrize("mutant", OFTEN, ids=[f"{one.file}: {one.wrong}"[:60] for one in OFTEN])
def test_a_planted_bug_is_found(mutant: Any) -> None:
    found = mutants.hunt(mutant, SEEDS)
    assert found.startswith("seed "), found
    assert "rule " in found


def test_planted_bugs_of_many_parts_are_found_in_every_run_of_the_tests() -> None:
    assert len(OFTEN) >= 10
    assert len({mutant.file for mutant in OFTEN}) >= 6
