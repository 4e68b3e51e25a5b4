"""The lead: the right to append, and the store from which the leader decides.

Who wants it appends a record that says so, right after the newest one it has seen; so at most one
of several succeeds.  From then on each record names the one before it.  When another leader has
begun, the next append of the old one is refused by the stream itself, and nothing it had staged
has happened.  It needs no agreement on time.

The leader stages ahead of the stream, as a log may.  So it works on a store of its own, which
begins as a copy of the view and is thrown away at the end: the view never holds what may not be.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from timewire.backends.jetstream.connection import end
from timewire.backends.jetstream.records import FORMAT, Carried, Group, Record, encode, pack
from timewire.backends.jetstream.stream import LogStream, Overtaken
from timewire.backends.jetstream.view import View
from timewire.backends.rocksdb import RocksStore
from timewire.backends.rocksdb.commit import Done
from timewire.clock import Clock
from timewire.errors import Retryable, TimewireError, error
from timewire.model import Draft, Seq

RETRY_PAUSE_S: Final = 0.1
GIVE_UP_S: Final = 30.0
"""An append that cannot be done for so long ends the lead: another may have better luck."""

STOP_S: Final = 5.0
"""How long the end of a lead waits for what was staged."""

logger = structlog.get_logger("timewire.lead")


class Lead:
    """One lead.  ``store`` decides and appends; ``over`` is set when nothing can be appended."""

    def __init__(self, name: str, store: RocksStore, path: Path, replication: Replication) -> None:
        self.name: Final = name
        self.store: Final = store
        self.over: Final = replication.over
        self._path = path
        self._replication = replication

    @classmethod
    async def take(
        cls, stream: LogStream, view: View, path: Path, clock: Clock, name: str, **options: Any
    ) -> Lead | None:
        """Begin to lead, with a store in ``path``, which is emptied; None when others were faster.

        ``name``: this process's, not used before.  Raises ``Retryable`` (cluster_unavailable).
        """
        at = view.at
        record = Record(FORMAT, name, view.position, [])
        try:
            sequence = await stream.append(encode(record), at, f"{name}.{at + 1}")
        except Overtaken:
            return None
        shutil.rmtree(path, ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        # What others append after this record is in the copy too, and then nothing of ours follows.
        await view.store.checkpoint(path)
        replication = Replication(stream, name, sequence)
        epoch = view.store.log.epoch
        store = await RocksStore.open(path, clock=clock, commit=replication, epoch=epoch, **options)
        store.log.on_staged = replication.staged
        return cls(name, store, path, replication)

    async def aclose(self) -> None:
        """Finish what was staged, if that can be, and throw the store away."""
        await self.store.aclose()
        shutil.rmtree(self._path, ignore_errors=True)


class Replication:
    """A ``Commit``: kept is what the stream has acknowledged.  One append is under way at a time.

    What was staged meanwhile goes into the next, so records grow with the load by themselves.
    """

    def __init__(self, stream: LogStream, leader: str, at: int) -> None:
        self.over: Final = asyncio.Event()
        self._stream = stream
        self._leader = leader
        self._at = at
        self._groups: list[Group] = []
        self._waiting: list[Done] = []
        self._wake = asyncio.Event()
        self._stopping = False
        self._busy = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    def staged(self, first: Seq, time: int, drafts: Sequence[Draft]) -> None:
        """Messages were written together, and are to be appended."""
        self._groups.append(Group(first, time, [Carried.of(draft) for draft in drafts]))

    @property
    def busy(self) -> bool:
        """Whether an append is under way."""
        return self._busy

    def join(self, done: Done) -> None:
        """Have ``done`` called when everything staged up to now is in the stream."""
        if self.over.is_set():
            asyncio.get_running_loop().call_soon(done, error("outcome_unknown"))
            return
        self._waiting.append(done)
        self._wake.set()

    def fail(self, fault: Exception) -> None:
        """Give up on everything that no append under way covers."""
        waiting, self._waiting, self._groups = self._waiting, [], []
        self.over.set()  # the store has failed: what it holds cannot be told from what is staged
        for done in waiting:
            done(fault)

    async def stop(self) -> None:
        """Finish what was staged, if that can be."""
        self._stopping = True
        self._wake.set()
        await asyncio.wait([self._task], timeout=STOP_S)
        await end(self._task)
        self.fail(error("outcome_unknown"))

    async def _run(self) -> None:
        while not (self._stopping and not self._waiting):
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                groups, self._groups = self._groups, []
                self._busy = True
                fault = await self._append_all(groups)
                self._busy = False
                for done in waiting:
                    done(fault)
                if fault is not None:
                    self.fail(fault)
                    return

    async def _append_all(self, groups: Sequence[Group]) -> Exception | None:
        """Have groups in the stream; why that is not known, or not so."""
        try:
            if self.over.is_set():
                return error("outcome_unknown")
            for record in pack(self._leader, groups):
                await self._append(encode(record))
        except Overtaken:
            logger.warning("another leader has begun", leader=self._leader)
            return error("outcome_unknown", reason="another leader has begun")
        except TimewireError as fault:
            return error("outcome_unknown", reason=str(fault.fields.get("reason", fault.code)))
        except Exception as fault:
            logger.exception("an append failed")
            return fault
        return None

    async def _append(self, data: bytes) -> None:
        """One record, tried until it is clear whether it is there."""
        loop = asyncio.get_running_loop()
        until = loop.time() + GIVE_UP_S
        while True:
            try:
                self._at = await self._stream.append(
                    data, self._at, f"{self._leader}.{self._at + 1}"
                )
                return
            except Retryable as fault:
                if loop.time() > until:
                    raise
                logger.warning("an append is tried again", reason=fault.fields.get("reason"))
                await asyncio.sleep(RETRY_PAUSE_S)
