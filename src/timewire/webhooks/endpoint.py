"""One endpoint: a consumer of the log with a position of its own.

Events are delivered in lanes: those of one conversation share a lane and go out one after the
other, in the order of the log; a lane that has to repeat holds up only itself.  An event that is
not taken after the last attempt is parked, and the lane goes on.  The position is the newest
message up to which everything was taken or parked.  A crash takes the rest back, and it is told
again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final
from zlib import crc32

import msgspec
import structlog

from timewire.clock import Clock
from timewire.errors import Retryable, TimewireError
from timewire.log import MessageLog
from timewire.metrics import WEBHOOK_LAG, WEBHOOK_PARKED, WEBHOOK_REQUESTS
from timewire.model import Seq, Stored
from timewire.webhooks.events import Event, Events
from timewire.webhooks.ledger import MAX_PARKED, Parked, Progress
from timewire.webhooks.posting import Poster

LANES: Final = 16
"""Requests to one endpoint that may be under way at once."""

MAX_LANE_MESSAGES: Final = 64
"""Messages that wait in a lane; a full one has the reading of the log wait."""

RETRY_PAUSE_S: Final = 1.0
"""Between attempts to read a log that cannot be read now."""

logger = structlog.get_logger("timewire.webhooks")


class EndpointState(msgspec.Struct, frozen=True):
    """How far an endpoint has come: ``head`` is the newest message, ``parked`` what it refused.

    ``replaying``: parked events are being delivered again.
    """

    endpoint: str
    position: Seq
    head: Seq
    parked: list[Parked]
    replaying: bool


class _Open(msgspec.Struct):
    """A message on its way.  ``done``: everything of it was taken or parked."""

    message: Stored
    events: Sequence[Event]
    done: bool = False


class Endpoint:
    """Tells one address, for as long as ``run`` is running."""

    def __init__(
        self,
        name: str,
        log: MessageLog,
        *,
        events: Events,
        poster: Poster,
        progress: Progress,
        clock: Clock,
        attempts: int,
    ) -> None:
        self.name = name
        self._log = log
        self._events = events
        self._poster = poster
        self._progress = progress
        self._clock = clock
        self._attempts = attempts
        self._open: deque[_Open] = deque()
        self._rewound = asyncio.Event()
        self._replay: asyncio.Task[None] | None = None
        WEBHOOK_PARKED.labels(name).set(len(progress.parked))

    async def run(self) -> None:
        """Follow the log until it is closed; begin again from where ``rewind`` says."""
        try:
            while True:
                self._rewound.clear()
                self._open.clear()
                following = asyncio.ensure_future(self._follow())
                rewound = asyncio.ensure_future(self._rewound.wait())
                try:
                    await asyncio.wait({following, rewound}, return_when="FIRST_COMPLETED")
                    if following.done():
                        following.result()
                        return
                finally:
                    for task in (following, rewound):
                        task.cancel()
                    await asyncio.wait({following, rewound})
        finally:
            if self._replay is not None:
                self._replay.cancel()
                await asyncio.wait([self._replay])
            await self._poster.aclose()

    def state(self) -> EndpointState:
        """How far it has come."""
        running = self._replay is not None and not self._replay.done()
        progress = self._progress
        return EndpointState(
            self.name, progress.position, self._log.head, list(progress.parked), running
        )

    def rewind(self, seq: Seq) -> None:
        """Tell everything again from a message on, in order."""
        self._progress.position = min(max(0, seq - 1), self._progress.position)
        self._rewound.set()

    def replay_parked(self) -> None:
        """Try once more what was parked; what is taken is parked no longer."""
        if self._replay is None or self._replay.done():
            self._replay = asyncio.get_running_loop().create_task(self._try_parked())

    # -- following ------------------------------------------------------------------------------

    async def _follow(self) -> None:
        lanes = [asyncio.Queue[_Open](MAX_LANE_MESSAGES) for _ in range(LANES)]
        workers = [asyncio.ensure_future(self._work(lane)) for lane in lanes]
        reading = asyncio.ensure_future(self._read(lanes))
        try:
            await asyncio.wait({reading, *workers}, return_when="FIRST_COMPLETED")
            for task in (reading, *workers):
                if task.done():
                    task.result()
        finally:
            for task in (reading, *workers):
                task.cancel()
            await asyncio.wait({reading, *workers})

    async def _read(self, lanes: Sequence[asyncio.Queue[_Open]]) -> None:
        while True:
            position = self._open[-1].message.seq if self._open else self._progress.position
            try:
                async for batch in self._log.tail(position):
                    for message in batch:
                        await self._take(message, lanes)
                return
            except Retryable as fault:
                logger.warning("webhooks wait", code=fault.code, endpoint=self.name)
                await asyncio.sleep(RETRY_PAUSE_S)

    async def _take(self, message: Stored, lanes: Sequence[asyncio.Queue[_Open]]) -> None:
        one = _Open(message, await self._of(message))
        self._open.append(one)
        if one.events:
            await lanes[crc32(message.conversation.encode()) % LANES].put(one)
        else:
            self._done(one)
            await asyncio.sleep(0)

    async def _of(self, message: Stored) -> list[Event]:
        try:
            return await self._events.of(message, self._clock())
        except TimewireError:
            raise
        except Exception as problem:
            # One bad message must not end the telling of all others.
            logger.error("a message cannot be told", seq=message.seq, exc_info=problem)
            return []

    async def _work(self, lane: asyncio.Queue[_Open]) -> None:
        while True:
            one = await lane.get()
            for event in one.events:
                while reason := await self._poster.deliver(event):
                    if self._park(event, one.message.seq, reason):
                        break
            self._done(one)

    def _park(self, event: Event, seq: Seq, reason: str) -> bool:
        """Put an event aside; False when there is no room, and it has to be tried on."""
        parked = self._progress.parked
        if any(one.id == event.id for one in parked):
            return True
        if len(parked) >= MAX_PARKED:
            logger.error("too much is parked: the endpoint waits", endpoint=self.name)
            return False
        parked.append(Parked(event.id, event.type, seq, self._attempts, reason, self._clock()))
        WEBHOOK_REQUESTS.labels("parked").inc()
        WEBHOOK_PARKED.labels(self.name).set(len(parked))
        logger.warning("an event was parked", endpoint=self.name, event_id=event.id, reason=reason)
        return True

    def _done(self, one: _Open) -> None:
        one.done = True
        while self._open and self._open[0].done:
            self._progress.position = self._open.popleft().message.seq
        WEBHOOK_LAG.labels(self.name).set(self._log.head - self._progress.position)

    # -- once more ------------------------------------------------------------------------------

    async def _try_parked(self) -> None:
        for one in list(self._progress.parked):
            event = await self._again(one)
            reason = await self._poster.deliver(event) if event is not None else ""
            if reason:
                one.attempts += self._attempts
                one.reason = reason
            else:
                self._progress.parked.remove(one)
            WEBHOOK_PARKED.labels(self.name).set(len(self._progress.parked))

    async def _again(self, parked: Parked) -> Event | None:
        """A parked event as it is now; None when there is nothing to tell any more."""
        for message in await self._log.read(parked.seq - 1, 1):
            if message.seq == parked.seq:
                events = await self._of(message)
                return next((event for event in events if event.id == parked.id), None)
        return None
