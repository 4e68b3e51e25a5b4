"""Run seeds, and tell which of them broke a rule."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from timewire.testing.simulation.world import simulate
from timewire.testing.story import report


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 when a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m timewire.testing.simulation")
    parser.add_argument("--seed", type=int, help="run this one, and tell all of it")
    parser.add_argument("--first", type=int, default=1, help="the first of many")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--until-one", action="store_true", help="end with the first that fails")
    given = parser.parse_args(arguments)
    seeds = range(given.first, given.first + given.seeds) if given.seed is None else [given.seed]
    failed: list[int] = []
    began = time.monotonic()
    for seed in seeds:
        outcome = simulate(seed)
        if outcome.violations or given.seed is not None:
            sys.stdout.write(f"seed {seed}, with {', '.join(outcome.faults) or 'no faults'}:\n")
            sys.stdout.write(report(outcome.history, outcome.violations) + "\n")
            sys.stdout.write(f"{outcome.steps} steps, {outcome.digest}\n")
        if outcome.violations:
            failed.append(seed)
            if given.until_one:
                break
    minutes = (time.monotonic() - began) / 60
    rate = len(seeds) / minutes
    sys.stdout.write(f"{len(seeds)} runs, {rate:.0f} a minute, violations in {failed or 'none'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
