"""Long polls that wait for news, woken by what fan-out publishes.

Their number is limited.  A user with too many of them is not refused: the oldest, most likely one
whose connection is gone, ends first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

from timewire.errors import error
from timewire.inbox import Delivery
from timewire.metrics import POLLS
from timewire.model import Seq

MAX_POLLS: Final = 10_000
"""Long polls under way in one process; a further one is refused with too_busy."""

LOOK_S: Final = 2.0
"""How often it is looked whether the client of a long poll is still there."""

MAX_POLLS_A_USER: Final = 16


class Waiter:
    """One long poll.  ``over``: it is to be answered with what it has."""

    def __init__(self) -> None:
        self.over = False
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Something has come."""
        self._news.set()

    def end(self) -> None:
        """Nothing more is to be waited for."""
        self.over = True
        self._news.set()

    def begin(self) -> None:
        """What comes from now on is news."""
        self._news.clear()

    async def news(self, upto: float, gone: Callable[[], bool]) -> bool:
        """Wait for news since ``begin``, until a time of the loop's clock; whether there is any.

        ``gone``: whether nobody waits for the answer any more.
        """
        loop = asyncio.get_running_loop()
        while not self.over and not gone():
            until = min(upto, loop.time() + LOOK_S)
            try:
                async with asyncio.timeout_at(until):
                    await self._news.wait()
            except TimeoutError:
                if until >= upto:
                    return False
            else:
                return not self.over
        return False


class Waiters:
    """All long polls of this process."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Waiter]] = {}
        self._count = 0
        self._closed = False

    @contextmanager
    def join(self, user: str) -> Generator[Waiter]:
        """A long poll for a user's news.  Raises ``Retryable`` (too_busy) beyond ``MAX_POLLS``."""
        if self._count >= MAX_POLLS:
            raise error("too_busy")
        waiter = Waiter()
        mine = self._waiting.setdefault(user, [])
        if len(mine) >= MAX_POLLS_A_USER:
            self._leave(user, mine[0])
        self._waiting.setdefault(user, mine).append(waiter)
        self._count += 1
        POLLS.inc()
        if self._closed:
            waiter.end()
        try:
            yield waiter
        finally:
            self._leave(user, waiter)

    def publish(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        """Wake everyone for whom there is something; a subscriber of the bus."""
        waiting = self._waiting
        if waiting:
            for delivery in deliveries:
                for user in waiting.keys() & delivery.users:
                    for waiter in waiting[user]:
                        waiter.wake()

    def close(self) -> None:
        """The server is stopping: answer everyone, and let nobody wait from now on."""
        self._closed = True
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.end()

    def _leave(self, user: str, waiter: Waiter) -> None:
        """A long poll has its answer, or is to have it now.  Leaving twice is leaving once."""
        waiter.end()
        mine = self._waiting.get(user, [])
        if waiter in mine:
            mine.remove(waiter)
            self._count -= 1
            POLLS.dec()
            if not mine:
                del self._waiting[user]
