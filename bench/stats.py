"""Latencies and medians."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

import msgspec

SLOTS_A_SECOND: Final = 100_000
"""Resolution of latencies: 10 us."""

LONGEST_S: Final = 4
"""Latencies are told apart up to here; longer ones count as ``longest``."""


class Latencies:
    """A histogram.  ``slots[i]`` counts latencies of i to i + 1 slots; hot paths add by hand."""

    __slots__ = ("longest", "slots")

    def __init__(self) -> None:
        self.slots = [0] * (LONGEST_S * SLOTS_A_SECOND)
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Count one latency."""
        try:
            self.slots[int(seconds * SLOTS_A_SECOND)] += 1
        except IndexError:
            self.slots[-1] += 1
        if seconds > self.longest:  # noqa: PLR1730 - max() costs more, and this is hot
            self.longest = seconds

    def clear(self) -> None:
        """Forget everything."""
        self.slots[:] = [0] * len(self.slots)
        self.longest = 0.0

    def __len__(self) -> int:
        return sum(self.slots)

    def percentile_ms(self, percent: float) -> float:
        """The latency that this share of all does not exceed, in ms; 0 when there is none."""
        total = len(self)
        rank, seen = total * percent / 100, 0
        for slot, count in enumerate(self.slots):
            seen += count
            if count and seen >= rank:
                upper = (slot + 1) / SLOTS_A_SECOND
                return min(upper, self.longest) * 1000
        return 0.0

    def summary(self, prefix: str) -> dict[str, float]:
        """p50, p99, p99.9 and the longest, in ms, under names that start with ``prefix``."""
        return {
            f"{prefix}_p50_ms": self.percentile_ms(50),
            f"{prefix}_p99_ms": self.percentile_ms(99),
            f"{prefix}_p999_ms": self.percentile_ms(99.9),
            f"{prefix}_max_ms": self.longest * 1000,
        }


class Spread(msgspec.Struct, frozen=True):
    """The median of several runs, and the lowest and highest."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(median(values), min(values), max(values), len(values))
