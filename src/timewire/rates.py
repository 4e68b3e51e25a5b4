"""How often something may be done: token buckets, one for each name, for those seen last."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from timewire.metrics import RATES_KEPT

MAX_RATES_KEPT: Final = 100_000
"""Names of one scope whose bucket is remembered: those that came last; about 200 bytes each."""

ROUNDING: Final = 1e-9


class Rate:
    """A token bucket: ``a_second`` in the long run, a burst of as many; 0: no limit.

    Times are in ticks.
    """

    __slots__ = ("a_second", "scope", "since", "tokens")

    def __init__(self, a_second: float, scope: str = "") -> None:
        self.a_second = a_second
        self.scope = scope
        self.tokens = a_second
        self.since = 0.0

    def pause_ms(self, now: float, count: float = 1) -> int:
        """How long until so many may pass: 0 when they may now."""
        if not self.a_second:
            return 0
        self._gain(now)
        missing = count - self.tokens
        return 0 if missing <= ROUNDING else max(1, math.ceil(missing * 1000 / self.a_second))

    def spend(self, now: float, count: float = 1) -> int:
        """Have so many pass, whether they may or not; how long nothing more may pass then (ms)."""
        if not self.a_second:
            return 0
        self._gain(now)
        self.tokens -= count
        return 0 if self.tokens >= 0 else math.ceil(-self.tokens * 1000 / self.a_second)

    def _gain(self, now: float) -> None:
        gained = max(0, now - self.since) * self.a_second / 1000
        self.tokens = min(self.a_second, self.tokens + gained)
        self.since = now


def take_all(rates: Iterable[Rate], now: float) -> tuple[int, str] | None:
    """Take one from each bucket, or from none.

    None: it may pass.  Else the longest pause that one of them asks for (ms), and its scope.
    """
    rates = tuple(rates)
    pause_ms, scope = 0, ""
    for rate in rates:
        if (wanted_ms := rate.pause_ms(now)) > pause_ms:
            pause_ms, scope = wanted_ms, rate.scope
    if pause_ms:
        return pause_ms, scope
    for rate in rates:
        rate.spend(now)
    return None


class Rates:
    """A bucket for each name of a scope, such as each user."""

    def __init__(self, a_second: float, scope: str) -> None:
        self.a_second = a_second
        self.scope = scope
        self._rates: OrderedDict[str, Rate] = OrderedDict()

    def of(self, name: str) -> Rate:
        """The bucket of a name."""
        rate = self._rates.pop(name, None) or Rate(self.a_second, self.scope)
        self._rates[name] = rate
        if len(self._rates) > MAX_RATES_KEPT:
            self._rates.popitem(last=False)
        RATES_KEPT.labels(self.scope).set(len(self._rates))
        return rate
