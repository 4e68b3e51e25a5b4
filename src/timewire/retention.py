"""Retention: what was said longer ago than ``message_days`` is emptied, for ever.

A message keeps its place and loses everything else, as when its life has ended; so do edits and
reactions.  What says who was a member when stays, for it decides who may read what.  The work goes
through the log from the oldest message on, in pieces with a rest after each, and remembers how far
it has come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec
import structlog

from timewire import durable
from timewire.clock import Clock
from timewire.config import Config
from timewire.errors import TimewireError, error
from timewire.log import MessageLog
from timewire.metrics import RETENTION_MESSAGES, RETENTION_POSITION
from timewire.model import CONTROL_KINDS, EDITED, INTERNAL, REACTION, Seq, Stored, decode_stored
from timewire.timeline import TimelineStore

FILE: Final = "retention.json"
DAY_MS: Final = 24 * 60 * 60 * 1000
PIECE_MESSAGES: Final = 200
"""Emptied at once, in one or two syncs."""

MAX_PASS_MS: Final = DAY_MS
"""What one pass empties at most: so much time of messages, from the oldest that is left.  A clock
that has jumped ahead is seen by people before much is gone; a year of old messages takes two weeks.
"""

REST: Final = 3.0
"""The rest after a piece, in times of what the piece has taken."""

MAX_PAUSE_S: Final = 3600.0
PASSES: Final = 20
"""Looks within the time that messages are kept; at least one each ``MAX_PAUSE_S``."""

logger = structlog.get_logger("timewire.retention")
Forget = Callable[[Sequence[Seq]], Awaitable[None]]


class _State(msgspec.Struct):
    """Everything up to ``position`` is emptied, in the log of this epoch."""

    epoch: str = ""
    position: Seq = 0


class Retention:
    """Empties what is too old, while ``run`` is running.

    ``forget``: has the search index lose messages, durably; None without one.
    """

    def __init__(
        self,
        log: MessageLog,
        messages: TimelineStore,
        path: Path,
        clock: Clock,
        *,
        days: float,
        forget: Forget | None,
    ) -> None:
        self._log = log
        self._messages = messages
        self._path = path
        self._clock = clock
        self._life_ms = days * DAY_MS
        self._forget = forget
        self._state = _read(path)
        if self._state.epoch != log.epoch:
            # What was emptied before is passed over quickly.
            self._state = _State(log.epoch)

    async def run(self) -> None:
        """Look again and again.  While something cannot be written, try later."""
        while True:
            try:
                before = await self.due()
                while await self.advance(before):
                    pass
            except (TimewireError, OSError) as fault:
                logger.warning("retention waits, and is tried again", reason=str(fault))
            await asyncio.sleep(min(MAX_PAUSE_S, self._life_ms / 1000 / PASSES))

    async def due(self) -> float:
        """What was said before this time (ms) is emptied in this pass."""
        oldest = self._clock() - self._life_ms
        left = await self._log.read(self._state.position, 1)
        if not left or oldest <= left[0].time + MAX_PASS_MS:
            return oldest
        behind = round((oldest - left[0].time) / DAY_MS, 1)
        logger.info("more is too old than one pass empties", days=behind)
        return left[0].time + MAX_PASS_MS

    async def advance(self, before: float) -> bool:
        """Empty the next piece of what was said before a time (ms); whether there may be more."""
        began = monotonic()
        read = await self._log.read(self._state.position, PIECE_MESSAGES)
        # Times never go back, so what is too old is a prefix.
        old = [message for message in read if message.time < before]
        if not old:
            return False
        gone = [message for message in old if message.payload and says(message)]
        await asyncio.gather(*(self._messages.redact(m.conversation, m.seq) for m in gone))
        if gone and self._forget is not None:
            await self._forget([message.seq for message in gone])
        self._state.position = old[-1].seq
        await asyncio.to_thread(durable.replace, self._path, msgspec.json.encode(self._state))
        RETENTION_MESSAGES.inc(len(gone))
        RETENTION_POSITION.set(self._state.position)
        await asyncio.sleep(REST * (monotonic() - began))
        return len(old) == len(read) == PIECE_MESSAGES


def retention(
    config: Config,
    log: MessageLog,
    messages: TimelineStore,
    clock: Clock,
    forget: Forget | None,
) -> Retention | None:
    """What a configuration asks for: None when messages are kept for ever."""
    if not config.message_days:
        return None
    path = Path(config.data) / FILE
    return Retention(log, messages, path, clock, days=config.message_days, forget=forget)


def says(message: Stored) -> bool:
    """Whether a message says something: it is no act on groups and members, and no server's."""
    if message.conversation.startswith(INTERNAL):
        return False
    try:
        kind = decode_stored(message.payload).kind
    except msgspec.DecodeError:
        return True
    return kind not in CONTROL_KINDS or kind in (EDITED, REACTION)


def _read(path: Path) -> _State:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_State)
    except FileNotFoundError:
        return _State()
    except (OSError, msgspec.DecodeError, UnicodeError) as problem:
        raise error("directory_unusable", f"cannot read {path}: {problem}") from None
