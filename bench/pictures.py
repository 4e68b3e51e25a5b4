"""Pictures of what was found: throughput against latency, cost against size."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.lines import Line, Point, chart
from bench.report import Outcome
from bench.stats import Spread


def pictures(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """SVG by the name of its file; only of cases that ran."""
    found = {outcome.case.name: outcome.found for outcome in outcomes}
    drawn: dict[str, str] = {}
    if (flights := found.get("in-flight")) is not None:
        drawn["latency.svg"] = chart(
            "One to one, 50 pairs with 1 to 100 in flight each",
            "messages a second",
            "until delivered, ms",
            [
                Line(says, curve(flights, "per_s", f"delivery_{key}_ms"))
                for key, says in (("p50", "half of them"), ("p99", "99 of 100"))
            ],
        )
    if (sizes := found.get("members")) is not None:
        drawn["members.svg"] = chart(
            "A message to a group: the server's processor time",
            "online members",
            "us",
            [
                Line("for a message", curve(sizes, "", "message_us")),
                Line("for a delivery", curve(sizes, "", "server_us_each")),
            ],
        )
    return drawn


def curve(found: dict[str, Spread], across: str, up: str) -> list[Point]:
    """Medians by size, of a sweep: ``across`` is a number that was found, or empty for the size."""
    sizes = sorted(int(at[1]) for key in found if (at := re.fullmatch(rf"at(\d+)_{up}", key)))
    return [
        (found[f"at{n}_{across}"].median if across else float(n), found[f"at{n}_{up}"].median)
        for n in sizes
    ]
