"""The wall clock, as a thing that can be replaced: tests and simulations bring their own."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives the present time in whole milliseconds since 1970-01-01 UTC."""


def wall_clock() -> int:
    """The machine's own time, in ms."""
    return time.time_ns() // 1_000_000
