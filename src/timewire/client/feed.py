"""The events on their way to the app: a queue with one reader, and how far the reader has come.

An event has been dealt with when the app asks for the next one.  So an app that breaks off in the
middle of one finds it again after a restart, and none is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from timewire.client.events import Acked, Event, News, Received

MAX_NEWS_EVENTS: Final = 1_000
"""Events that are soon stale which may wait; further ones are dropped."""


class Feed:
    """An endless async iterator of events.

    ``taken``: the number of the last message that the app has dealt with.  ``progress`` is called
    whenever the app has taken an event or, with everything dealt with, begins to wait.
    """

    def __init__(self, progress: Callable[[], None]) -> None:
        self._progress = progress
        self._queue: deque[tuple[int, Event]] = deque()
        self._more = asyncio.Event()
        self._in_hand = 0
        self._over = False
        self._fault: Exception | None = None
        self.taken = 0
        self.unread = 0
        """Messages that wait."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits for the app."""
        return not self._queue

    def put(self, event: Event, number: int = 0) -> None:
        """Add an event; ``number`` is that of a message in the store."""
        if isinstance(event, Received | Acked):
            self.unread += 1
        elif isinstance(event, News) and self._crowded():
            return
        self._queue.append((number, event))
        self._more.set()

    def finish(self, fault: Exception | None = None) -> None:
        """No more events come; the reader ends, or gets the fault, after those that wait."""
        if not self._over:
            self._over, self._fault = True, fault
            self._more.set()

    def hand_back(self) -> None:
        """The app has dealt with the event that it took last."""
        self.taken = max(self.taken, self._in_hand)

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Event:
        self.hand_back()
        while not self._queue:
            self._progress()
            if self._over:
                raise self._fault or StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        number, event = self._queue.popleft()
        if number:
            self._in_hand = number
        if isinstance(event, Received | Acked):
            self.unread -= 1
        self._progress()
        return event

    def _crowded(self) -> bool:
        return len(self._queue) - self.unread >= MAX_NEWS_EVENTS
