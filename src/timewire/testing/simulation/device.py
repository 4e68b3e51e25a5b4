"""A device of the simulation: the SDK's driver and store, and an app that shows what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Final, Literal

from timewire.asking import GetHistory
from timewire.client.driver import Driver
from timewire.client.events import Acked, Received, Reset
from timewire.client.session import State
from timewire.client.sqlite_store import SqliteStore
from timewire.client.store import MemoryStore, Store
from timewire.client.transport import Backoff, Link
from timewire.commands import Command
from timewire.errors import TimewireError
from timewire.model import Seq, decode_message
from timewire.protocol import HistoryPage
from timewire.testing.history import HistoryRead, Holding, Shown, Way, Who, place
from timewire.testing.simulation.loop import Process, SimulatedLoop
from timewire.testing.simulation.network import Network
from timewire.testing.simulation.recorder import Recorder, Tap

PAGE: Final = 100
EVERY: Final = 100_000


class Device:
    """One installation.  It lives on when its process is killed: ``store`` and ``shown`` do."""

    def __init__(
        self,
        who: Who,
        token: str,
        *,
        loop: SimulatedLoop,
        network: Network,
        recorder: Recorder,
        chance: Random,
    ) -> None:
        self.who = who
        self.store: Store = chance.choice([MemoryStore, lambda: SqliteStore(":memory:")])()
        self.shown: list[Shown] = []
        self.driver: Driver | None = None
        self.after: Seq | None = None
        """From where on it has everything."""
        self.faults: list[str] = []
        self.bases: set[str] = set()
        self._token = token
        self._loop = loop
        self._network = network
        self._recorder = recorder
        self._chance = chance
        self._coding: Literal["json", "msgpack"] = chance.choice(["json", "json", "msgpack"])
        self._process: Process | None = None
        self._tap: Tap | None = None
        self._known: set[tuple[str, Seq]] = set()
        self._reading_s = chance.choice([0.0, 0.0, 0.05])
        self._questions = 0

    # -- its life -------------------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        """Whether the app runs."""
        return self._process is not None

    @property
    def is_done(self) -> bool:
        """Whether it is live, with nothing left to send or to show."""
        driver = self.driver
        return (
            driver is not None
            and driver.session.state is State.LIVE
            and not driver.session.outbox
            and driver.feed.idle
        )

    def switch_on(self) -> None:
        """Start the app, on what it has kept."""
        if self._process is None:
            self._process = Process(self._loop, str(self.who))
            self._process.run(self._live())

    def kill(self) -> None:
        """End the app, at once."""
        if self._process is not None:
            self._process.kill()
            self._process, self.driver = None, None
            self._hung_up()
            self._known = {place(one.message) for one in self.shown}

    async def _live(self) -> None:
        backoff = Backoff(0.05, 2.0, rng=self._chance.random)
        try:
            driver = self.driver = Driver(
                self._dial, self._token, self.who.device, self.store, backoff
            )
            driver.start()
            async for event in driver.feed:
                if isinstance(event, Received | Acked):
                    self._show(event)
                elif isinstance(event, Reset):
                    self._start_again(event)
                if self._reading_s:
                    await asyncio.sleep(self._reading_s * self._chance.random())
        except TimewireError as fault:
            self.faults.append(f"{self.who} has ended: {fault!r}")

    def _start_again(self, event: Reset) -> None:
        if self._tap is not None:
            self._learn(self._tap)
        if event.reason != "expired":
            self.shown.clear()
            self._known.clear()

    async def _dial(self) -> Link:
        self._hung_up()
        tap = Tap(self._recorder, self.who, self._coding)
        link = await self._network.dial(tap)
        self._tap = tap
        return link

    def _hung_up(self) -> None:
        """The last connection is gone: what it has told."""
        if self._tap is not None:
            self._tap.ended()
            self._learn(self._tap)
            self._tap = None

    def _learn(self, tap: Tap) -> None:
        if tap.base:
            self.bases.add(tap.base)
        if tap.reset_at is not None:
            self.after = max(tap.reset_at, self.after or 0)

    def _show(self, event: Received | Acked) -> None:
        if place(event.message) not in self._known:
            self.shown.append(Shown(event.message, self._way(event)))

    def _way(self, event: Received | Acked) -> Way:
        if isinstance(event, Acked):
            return "ack"
        # What stands before the reset can only come from history.
        return "history" if event.message.seq <= (self.after or 0) else "push"

    # -- what it does ---------------------------------------------------------------------------

    def do(self, command: Command) -> None:
        """Queue a command, when the app runs."""
        if self.driver is not None:
            try:
                self.driver.put(command)
            except TimewireError as refusal:
                if refusal.code not in ("too_busy", "id_reused"):
                    raise

    async def read(
        self, conversation: str, limit: int, *, after: Seq | None = None, before: Seq | None = None
    ) -> HistoryRead | None:
        """A page of history, written down; None when it was refused, or the app ended."""
        driver = self.driver
        if driver is None:
            return None
        self._questions += 1
        id = f"{self.who}?{self._questions}"
        began = self._recorder.tick()
        try:
            page = await driver.ask(GetHistory(id, conversation, after, before, limit), HistoryPage)
        except TimewireError:
            return None
        messages = tuple(decode_message(message) for message in page.messages)
        read = HistoryRead(
            self.who.user,
            conversation,
            began,
            self._recorder.tick(),
            limit,
            messages,
            page.has_more,
            after,
            before,
        )
        self._recorder.history.reads.append(read)
        return read

    async def read_all(self, conversation: str) -> None:
        """All history of a conversation: forward, then backward in a page that just holds it."""
        after, more, total = 0, True, 0
        while more and (page := await self.read(conversation, PAGE, after=after)):
            more = page.has_more
            total += len(page.messages)
            after = page.messages[-1].seq if page.messages else after
        await self.read(conversation, min(max(total, 1), 1000))

    # -- what it has ----------------------------------------------------------------------------

    def holding(self, conversations: Sequence[str]) -> Holding | None:
        """What it has now; None for one that never came to the server."""
        if self._tap is not None:
            self._learn(self._tap)
        saved = self.store.load()
        starts = self._recorder.history.starts
        new = [one.position for one in starts if one.who == self.who and one.cursor is None]
        if saved.cursor is None or not new:
            return None
        if saved.outbox:
            self.faults.append(f"{self.who} keeps commands that were answered")
        marks = {name: self.store.mark(name) for name in conversations}
        return Holding(
            self.who,
            max(new[-1], self.after or 0),
            int(saved.cursor.pos),
            tuple(self.shown),
            {name: seq for name, seq in marks.items() if seq},
            tuple(one for name in conversations for one in self.store.messages(name, limit=EVERY)),
        )
