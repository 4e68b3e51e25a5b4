"""Revocations of a cluster: they stand in its log, and hold wherever the log has come.

So every gateway refuses a token that was revoked at any, also after all of them were restarted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from timewire.bus import Bus
from timewire.errors import TimewireError
from timewire.inbox import Delivery
from timewire.log import MessageLog
from timewire.model import INTERNAL, Draft, Seq, decode_stored, encode_stored
from timewire.revocations import Revocation, Revocations
from timewire.timeline import TimelineStore

REVOCATIONS: Final = f"{INTERNAL}revocations"
KIND: Final = "revoked"
PAGE: Final = 1_000


class _Log:
    """A book in a log."""

    def __init__(self, log: MessageLog) -> None:
        self._log = log

    async def write(self, one: Revocation) -> None:
        """Append one; it is seen here when this returns."""
        payload = encode_stored("", "", KIND, msgspec.to_builtins(one))
        [outcome] = await self._log.append([Draft(REVOCATIONS, "", "", payload)])
        if isinstance(outcome, TimewireError):
            raise outcome


async def common_revocations(log: MessageLog, messages: TimelineStore, bus: Bus) -> Revocations:
    """All that the log holds, and from now on those that fan-out comes to."""
    revocations = Revocations(_Log(log))

    def follow(deliveries: Sequence[Delivery], _: Seq) -> None:
        for delivery in deliveries:
            message = delivery.message
            if message.conversation == REVOCATIONS and message.payload:
                revocations.keep(_revocation(message.payload))

    bus.subscribe(follow)
    after, more = 0, True
    while more:
        page = await messages.scan(REVOCATIONS, after=after, limit=PAGE)
        for entry in page.entries:
            revocations.keep(_revocation(entry.payload))
            after = entry.seq
        more = page.has_more
    return revocations


def _revocation(payload: bytes) -> Revocation:
    return msgspec.convert(decode_stored(payload).body, Revocation)
