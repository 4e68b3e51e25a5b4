"""Admission: new sends are refused early when those that were taken wait too long already.

Whoever is refused hears it at once, with the time after which to come back, instead of waiting
behind all others.  What was taken is done; reading and what is acked goes on.  Nobody has to end
it: with the commit that was waited for it is over.
"""

from __future__ import annotations

from math import inf
from typing import Final

from timewire.clock import Ticks
from timewire.errors import TimewireError, error
from timewire.metrics import COMMITTING, OVERLOADED

MAX_QUEUE_REQUESTS: Final = 20_000
"""Requests that may wait for the sequencer; further ones are refused."""

MAX_COMMITTING_REQUESTS: Final = 100_000
"""Requests that may wait for the disk; further ones are refused."""

MIN_PAUSE_MS: Final = 500
MAX_PAUSE_MS: Final = 10_000
"""What those who are refused are told to wait: as long as the present commit has taken."""


class Admission:
    """Whether a request may come in.  ``slow_ms``: a commit that takes longer is waited for."""

    def __init__(self, ticks: Ticks, slow_ms: float) -> None:
        self._ticks = ticks
        self._slow_ms = slow_ms
        self._commits: dict[object, tuple[float, int]] = {}
        """Those under way: when each began, and with how many requests; oldest first."""
        self._committing = 0
        self._slow_at = inf
        """When the oldest of them is slow: every request asks for it."""
        self._overloaded = False

    def began(self, commit: object, requests: int) -> None:
        """A commit has begun."""
        self._commits[commit] = self._ticks(), requests
        self._count(requests)

    def ended(self, commit: object) -> None:
        """A commit has ended, however."""
        self._count(-self._commits.pop(commit)[1])

    def refusal(self, queued: int) -> TimewireError | None:
        """Why a further request may not come in; None: it may.  ``queued``: those before it."""
        if queued < MAX_QUEUE_REQUESTS and not self._is_slow():
            self._tell(overloaded=False)
            return None
        self._tell(overloaded=True)
        pause_ms = round(max(MIN_PAUSE_MS, min(self.age_ms, MAX_PAUSE_MS)))
        return error("too_busy", retry_after=pause_ms)

    @property
    def age_ms(self) -> float:
        """For how long the oldest commit has been under way."""
        oldest = next(iter(self._commits.values()), None)
        return self._ticks() - oldest[0] if oldest is not None else 0

    @property
    def trouble(self) -> str:
        """Why new requests are refused just now; empty: they are not."""
        if not self._is_slow():
            return ""
        return f"the disk is slow, a commit has taken {self.age_ms / 1000:.0f} s: sends are refused"

    def _is_slow(self) -> bool:
        return self._ticks() > self._slow_at or self._committing >= MAX_COMMITTING_REQUESTS

    def _tell(self, *, overloaded: bool) -> None:
        # Only what has changed: setting a gauge takes a lock, and this is asked for each request.
        if overloaded is not self._overloaded:
            self._overloaded = overloaded
            OVERLOADED.set(overloaded)

    def _count(self, more: int) -> None:
        oldest = next(iter(self._commits.values()), None)
        self._slow_at = oldest[0] + self._slow_ms if oldest is not None else inf
        self._committing += more
        COMMITTING.set(self._committing)
