"""Crash runs over a whole cluster: any part is killed, or stopped for a while; then it is checked.

    python -m timewire.testing.cluster_crash --seeds 15 --first 1

Where the machine allows it, NATS servers have a network of their own, which is cut between them.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from timewire.testing.checker import check
from timewire.testing.clusters import Cluster, running_cluster
from timewire.testing.crash import Plan, run
from timewire.testing.history import History
from timewire.testing.networks import Network, running_network, why_no_network
from timewire.testing.story import report

NATS_SERVERS: Final = 3
PLAN: Final = Plan(kills=3, life_s=(0.5, 2.0))


async def run_cluster(
    seed: int, directory: Path, plan: Plan = PLAN, network: Network | None = None
) -> tuple[History, list[str]]:
    """One run: everything that happened, and what was done to which part."""
    clusters: list[Cluster] = []

    @asynccontextmanager
    async def serving(directory: Path) -> AsyncGenerator[Cluster]:
        async with running_cluster(directory, network=network) as cluster:
            cluster.chance = random.Random(seed)
            clusters.append(cluster)
            yield cluster

    history = await run(seed, directory, plan, serving)
    return history, clusters[0].hurt


async def _run_with_cuts(seed: int, directory: Path, plan: Plan) -> tuple[History, list[str]]:
    async with running_network(NATS_SERVERS) as network:
        return await run_cluster(seed, directory, plan, network)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run many seeds, one after the other; exit status 1 when a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m timewire.testing.cluster_crash")
    parser.add_argument("--seeds", type=int, default=15, help="how many runs")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--kills", type=int, default=4, help="kills in a run")
    given = parser.parse_args(arguments)
    why_not = asyncio.run(why_no_network())
    if why_not:
        sys.stdout.write(f"NATS servers are not cut off from each other: {why_not}\n")
    examine = run_cluster if why_not else _run_with_cuts
    failed: list[int] = []
    for seed in range(given.first, given.first + given.seeds):
        plan = Plan(kills=given.kills, life_s=PLAN.life_s)
        with tempfile.TemporaryDirectory(prefix="timewire-cluster-") as directory:
            history, hurt = asyncio.run(examine(seed, Path(directory), plan))
        violations = check(history)
        failed += [seed] * bool(violations)
        told = report(history, violations)
        told = f"{', '.join(hurt)}; {len(history.attempts)} attempts, {told}"
        sys.stdout.write(f"seed {seed}: {told}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{given.seeds} runs, violations in {failed or 'none'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
