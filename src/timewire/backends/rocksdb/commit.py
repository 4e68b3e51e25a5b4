"""Group commit: one sync makes everything durable that was written before it began.

The sync runs in a thread of its own, so that the event loop goes on.  One is under way at a time;
who comes meanwhile shares the next.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Final, Protocol

from timewire.metrics import COMMIT_SECONDS

YIELD_SECONDS: Final = 50e-6
"""How long the loop waits for a running sync at the end of its turn.

A thread that becomes ready under a busy loop can wait long for the interpreter's lock; a moment's
blocking lets it in.  On a fast disk the sync often ends within it.
"""

Done = Callable[[Exception | None], object]
"""Called on the loop, once: None when durable, else why that is not known."""


class Commit(Protocol):
    """When what is written counts as kept."""

    def join(self, done: Done) -> None:
        """Have ``done`` called when everything written up to now is kept."""
        ...

    def fail(self, fault: Exception) -> None:
        """Give up on everything that no running sync covers."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a sync is under way."""
        ...

    async def stop(self) -> None:
        """Finish what was begun and end."""
        ...


class GroupCommit:
    """Kept is what is on stable storage.

    ``sync`` is called in the thread.  When it raises, ``failed`` is called first, then everyone
    who waits; it is not called again before the next ``join``.
    """

    def __init__(self, sync: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        self._sync = sync
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Done] = []
        self._waiting_since = 0.0
        self._syncing: list[Done] | None = None
        self._syncing_since = 0.0
        self._turn_ends = False
        self._work: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="timewire-sync", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a sync is under way."""
        return self._syncing is not None

    def join(self, done: Done) -> None:
        """Have ``done`` called when everything written up to now is durable."""
        if not self._waiting:
            self._waiting_since = perf_counter()
        self._waiting.append(done)
        self._start()
        if not self._turn_ends:
            self._turn_ends = True
            self._loop.call_soon(self._end_turn)

    def fail(self, fault: Exception) -> None:
        """Give up on everything that no running sync covers."""
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(fault)

    async def stop(self) -> None:
        """Finish what was begun, then end the thread."""
        last = self._waiting or self._syncing
        if last is not None:
            over = self._loop.create_future()
            last.append(lambda _: over.done() or over.set_result(None))
            await over
        self._work.put(False)
        self._thread.join()

    def _run(self) -> None:
        while self._work.get():
            fault = None
            try:
                self._sync()
            except Exception as raised:
                fault = raised
            self._results.put(fault)
            try:
                self._loop.call_soon_threadsafe(self._collect)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return

    def _start(self) -> None:
        if self._waiting and self._syncing is None:
            self._syncing, self._waiting = self._waiting, []
            self._syncing_since = self._waiting_since
            self._work.put(True)

    def _end_turn(self) -> None:
        self._turn_ends = False
        if self._syncing is not None:
            try:
                self._finish(self._results.get(timeout=YIELD_SECONDS))
            except queue.Empty:
                return

    def _collect(self) -> None:
        """What the thread calls for after each sync; the turn's end may have been quicker."""
        try:
            self._finish(self._results.get_nowait())
        except queue.Empty:
            return

    def _finish(self, fault: Exception | None) -> None:
        done_with, self._syncing = self._syncing or [], None
        COMMIT_SECONDS.observe(perf_counter() - self._syncing_since)
        if fault is None:
            self._start()
        else:
            self._failed(fault)
        for done in done_with:
            done(fault)
        if fault is not None:
            self.fail(fault)


class IntervalCommit:
    """Kept is what the log file has: it is synced every ``interval_ms``, which is what a crash of
    the machine can lose.  A crash of the process loses nothing."""

    def __init__(
        self, sync: Callable[[], None], failed: Callable[[Exception], None], interval_ms: int
    ) -> None:
        self._group = GroupCommit(sync, failed)
        self._interval_s = interval_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        return self._group.busy

    def join(self, done: Done) -> None:
        self._loop.call_soon(done, None)
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval_s, self._sync_now)

    def fail(self, fault: Exception) -> None:
        self._group.fail(fault)

    async def stop(self) -> None:
        if self._timer is not None:
            self._sync_now()
        await self._group.stop()

    def _sync_now(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._group.join(_nobody)


def _nobody(fault: Exception | None) -> None:
    """What waits for the syncs that nobody waits for: failures go to ``failed``."""
