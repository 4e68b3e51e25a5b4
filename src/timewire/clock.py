"""Time, as things that can be replaced: tests and simulations bring their own.

The wall clock says what time it is; it can be set, so it jumps.  What lasts is measured in ticks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives the present time in whole milliseconds since 1970-01-01 UTC."""


Ticks = Callable[[], float]
"""Gives the milliseconds since some moment: they go on evenly, however the wall clock is set."""


def wall_clock() -> int:
    """The machine's own time, in ms."""
    return time.time_ns() // 1_000_000


def steady_ticks() -> float:
    """The machine's own, in ms: of use for differences only."""
    return time.monotonic() * 1000
