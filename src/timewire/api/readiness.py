"""Whether a server should get traffic: it can store, and what it stores reaches inboxes."""

from __future__ import annotations

from typing import Final

from timewire.api.routes import Readiness
from timewire.model import Seq

MAX_LAG_MESSAGES: Final = 50_000
"""How far fan-out may be behind the log: about a second of full load."""

MAX_STALL_MS: Final = 5_000
"""How long fan-out may stand still with work to do."""


class Watch:
    """Judges from what it sees each time it is asked."""

    def __init__(self) -> None:
        self._stuck_at: Seq | None = None
        self._stuck_since = 0.0

    def judge(
        self,
        *,
        writable: bool,
        head: Seq,
        position: Seq,
        now: float,
        stopping: bool = False,
        trouble: str = "",
    ) -> Readiness:
        """Ready or not, by the log's head and how far fan-out has come; ``now``: in ticks."""
        lag = head - position
        if lag <= 0:
            self._stuck_at = None
        elif self._stuck_at != position:
            self._stuck_at, self._stuck_since = position, now
        reasons: list[str] = []
        if stopping:
            reasons.append("the server is stopping")
        if not writable:
            reasons.append("the store cannot write now: sends are refused, reads go on")
        if trouble:
            reasons.append(trouble)
        if lag > MAX_LAG_MESSAGES:
            reasons.append(f"fan-out is {lag} messages behind")
        if lag > 0 and now - self._stuck_since > MAX_STALL_MS:
            reasons.append(f"fan-out stands still at {position}, with {lag} messages to go")
        return Readiness(not reasons, reasons, head, position)
