"""A cluster under the load generator, and what is made of the costs."""

from __future__ import annotations

import asyncio
import os

import pytest

from bench import capacity, report
from bench.cases import cluster_cases
from bench.cluster import ROLES, Size, carry
from bench.machine import cpu_s


def test_goals_are_divided_by_costs() -> None:
    case = next(case for case in cluster_cases() if case.name == capacity.MEASURED)
    costs = {"gateways": 10.0, "workers": 20.0, "nats": 30.0}
    found = {f"pairs20_{role}_us_each": us for role, us in costs.items()}
    outcome = report.gather(case, [found | {"stream_bytes_each": 500.0}])
    table = capacity.derive([outcome])
    for row in (
        "| the process that pays most for a message | 20 us |",
        "| messages a second at which its core is full | 50,000 |",
        "| of these, timeline writes a second, one to one | 150,000 |",
        "| cores for workers, 20 us each | 13.3 |",
        "| cores for nats, 30 us each | 20 |",
        "| machines of 16 cores | 2.50 |",
        "| messages | 200,000,000,000 |",
        "| machines of 8 TB, 3 copies | 37.5 |",
    ):
        assert row in table


def test_processor_time_of_a_process_is_known() -> None:
    before = cpu_s(os.getpid())
    sum(range(3_000_000))
    assert cpu_s(os.getpid()) > before


@pytest.mark.serial
async def test_a_cluster_carries_everything_once() -> None:
    size = Size(1, 1, 2)
    async with asyncio.timeout(100):
        found = await carry(0.2, size)
    [case] = [case for case in cluster_cases() if case.shape["nats"] == 1]
    assert {target.key for target in case.targets} <= set(found)
    for load in ("pairs1", "pairs20", "group"):
        shares = sum(found[f"{load}_{role}_us_each"] for role in ROLES)
        assert shares == pytest.approx(found[f"{load}_server_us_each"])
        assert 0 < found[f"{load}_ack_p50_ms"] <= found[f"{load}_ack_p99_ms"]
    assert found["stream_bytes_each"] > 200
