"""How often something may be done: a token bucket for each user, whichever way requests come."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

from timewire.errors import TimewireError, error

MAX_RATES_KEPT: Final = 100_000
"""Users whose bucket is remembered: those who came last; about 200 bytes each."""


class Rate:
    """A token bucket: ``a_second`` requests in the long run, a burst of as many; 0 = no limit."""

    __slots__ = ("a_second", "since", "tokens")

    def __init__(self, a_second: float) -> None:
        self.a_second = a_second
        self.tokens = a_second
        self.since = 0.0

    def take(self, now: float) -> bool:
        """Whether one more request may pass; ``now``: in ticks."""
        if not self.a_second:
            return True
        gained = max(0, now - self.since) * self.a_second / 1000
        self.tokens = min(self.a_second, self.tokens + gained)
        self.since = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def refusal(self) -> TimewireError:
        """The error for a request that may not pass: ``retry_after`` ms from now, one may."""
        pause_ms = math.ceil((1 - self.tokens) * 1000 / self.a_second) if self.a_second else 0
        return error("rate_limited", retry_after=max(1, pause_ms))


class Rates:
    """A bucket for each user, the same for all of the user's connections and for HTTP."""

    def __init__(self, a_second: float) -> None:
        self._a_second = a_second
        self._rates: OrderedDict[str, Rate] = OrderedDict()

    def of(self, user: str) -> Rate:
        """The bucket of a user."""
        rate = self._rates.pop(user, None) or Rate(self._a_second)
        self._rates[user] = rate
        if len(self._rates) > MAX_RATES_KEPT:
            self._rates.popitem(last=False)
        return rate

    def check(self, user: str, now: float) -> None:
        """Count one request; ``now``: in ticks.  Raises ``Retryable`` (rate_limited)."""
        rate = self.of(user)
        if not rate.take(now):
            raise rate.refusal()
