"""How many machines a goal takes, from what a cluster has paid for each message.

Processor time is the measure: it says what a core can do, whoever else was busy meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bench.report import Outcome, number

TIMELINE_WRITES: Final = 1_000_000
"""A second: the goal."""

STORED_BYTES: Final = 100 * 10**12
REPLICAS: Final = 3
BUSY_SHARE: Final = 0.5
"""How much of its cores a machine is given to do, so that it takes peaks and failures."""

MACHINE_CORES: Final = 16
MACHINE_BYTES: Final = 8 * 10**12

TIMELINES: Final = 3
"""A one-to-one message is written to: its conversation and two inboxes."""

MEASURED: Final = "cluster-r3-1-1"


def derive(outcomes: Sequence[Outcome]) -> str:
    """A table: what the present form can do, and what the goal would take with shards."""
    found = next(one.found for one in outcomes if one.case.name == MEASURED)
    cost = {
        role: found[f"pairs20_{role}_us_each"].median for role in ("gateways", "workers", "nats")
    }
    stored = found["stream_bytes_each"].median
    messages = TIMELINE_WRITES / TIMELINES
    slowest = max(cost["gateways"], cost["workers"])
    most = 1e6 / slowest
    rows = [
        ("**The present form**: one log, each process takes in every message", ""),
        ("the process that pays most for a message", f"{number(slowest)} us"),
        ("messages a second at which its core is full", number(most)),
        ("of these, timeline writes a second, one to one", number(most * TIMELINES)),
        ("bytes of a message in the stream, on each of three servers", number(stored)),
        (f"**{TIMELINE_WRITES:,} timeline writes a second**, one to one, with shards", ""),
        ("messages a second", number(messages)),
    ]
    cores = 0.0
    for role, us in cost.items():
        needed = messages * us / 1e6 / BUSY_SHARE
        cores += needed
        rows.append((f"cores for {role}, {number(us)} us each", number(needed)))
    rows += [
        ("logs, each led by one process", number(messages / (most * BUSY_SHARE))),
        (f"machines of {MACHINE_CORES} cores", number(cores / MACHINE_CORES)),
        (f"**{STORED_BYTES // 10**12} TB in the log**", ""),
        ("messages", number(STORED_BYTES / stored)),
        (
            f"machines of {MACHINE_BYTES // 10**12} TB, {REPLICAS} copies",
            number(STORED_BYTES * REPLICAS / MACHINE_BYTES),
        ),
    ]
    lines = ["| what | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)]
    return "\n".join(lines)
