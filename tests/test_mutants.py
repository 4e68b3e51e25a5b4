"""Bugs that are planted in a copy of the code are found by the simulation.

    python scripts/mutants.py

plants all of them; here a few, each by a seed that is known to find it.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

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
