"""Runs a session: connects it again and again, and does what it says with store, link and clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from timewire import protocol as wire
from timewire.client.events import Acked, Received
from timewire.client.feed import Feed
from timewire.client.queries import Page
from timewire.client.rebuild import rebuild
from timewire.client.session import LOW_UNREAD_EVENTS, Answer, Effects, Session, State
from timewire.client.store import Change, Store
from timewire.client.transport import ABNORMAL, Backoff, Dial, Link
from timewire.errors import TimewireError, error
from timewire.model import Message, Seq

log = logging.getLogger("timewire.client")

MAX_QUERIES_IN_FLIGHT: Final = 16
"""Queries that are asked at the same time; others wait their turn."""

MAX_BATCH_MESSAGES: Final = 500
"""Messages saved in one transaction, by and large: bounds how long it holds up the event loop."""

MAX_REFUSALS: Final = 3
"""Fresh tokens that may be refused one after the other before the device gives up."""

RENEW_AGAIN_S: Final = 5.0
"""When a newer token could not be had."""

TokenSource = str | Callable[[], Awaitable[str]]
"""A token, or a function that gets one: called at first, and whenever the server wants another."""


class Driver:
    """One device at work.  ``start`` it, use it, ``stop`` it.

    ``trouble``: why there is no connection, or why the last one ended.
    """

    def __init__(
        self,
        dial: Dial,
        token: TokenSource,
        device: str,
        store: Store,
        backoff: Backoff,
        *,
        kind: str = "",
    ) -> None:
        saved = store.load()
        self.store = store
        self.session = Session(saved, device, kind)
        self.feed = Feed(self._progress)
        self.trouble = "no answer yet"
        self._dial = dial
        self._source = token
        self._backoff = backoff
        self._token = ""
        self._refusals = 0
        self._attempts = 0
        self._told_s = 0.0
        self._pauses = 0
        self._flushed = 0
        self._link: Link | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waiters: dict[wire.Id, list[asyncio.Future[Answer]]] = {}
        self._slots = asyncio.Semaphore(MAX_QUERIES_IN_FLIGHT)
        self._watchers: list[asyncio.Future[None]] = []
        self._planned = False
        self._fault: Exception | None = None
        self._act()
        for number, event in saved.unread:
            self.feed.put(event, number)

    # -- for the app ----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect."""
        self._run("connections", self._connections())

    async def stop(self) -> None:
        """End everything.  What is in the outbox stays in the store, and unread events too."""
        self.feed.finish()
        self._end(error("closed", "this device is closed; what it has queued goes out next time"))
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self.feed.taken > self._flushed:
            self.store.apply(Change(taken=self.feed.taken))

    def put(self, command: wire.Command) -> asyncio.Future[Answer]:
        """Queue a command; the future gets its ack, or raises why it was refused."""
        self._check()
        self.session.put(command)
        answer = self._expect(command.id)
        self._act()
        return answer

    async def ask(self, query: wire.Query, kind: type[Page]) -> Page:
        """The answer to a query, however many connections it takes."""
        async with self._slots:
            self._check()
            waiter = self._expect(query.id)
            self.session.ask(query)
            self._act()
            try:
                answer = await waiter
            finally:
                self._waiters.pop(query.id, None)
                self.session.forget(query.id)
        if not isinstance(answer, kind):
            raise error("bad_frame", reason=f"a {type(answer).__name__} is no answer to this query")
        return answer

    def tell(self, say: Callable[[Session], None]) -> None:
        """Have the session say something that has no answer."""
        self._check()
        say(self.session)
        self._act()

    async def token(self, refused: str = "") -> str:
        """The token, another one than that which was refused.  Raises ``Forbidden``."""
        self._check()
        if refused and refused == self._token:
            if isinstance(self._source, str):
                raise error("bad_token")
            self._token = ""
        if not self._token:
            self._token = self._source if isinstance(self._source, str) else await self._fetch()
        return self._token

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the device holds.  Raises what has ended the device."""
        while not condition():
            self._check()
            watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.append(watcher)
            await watcher
        self._check()

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault

    # -- connections ----------------------------------------------------------------------------

    async def _connections(self) -> None:
        while True:
            planned = await self._connection()
            if not planned:
                await self._backoff.pause(self._attempts, self._told_s)
                self._attempts += 1

    async def _connection(self) -> bool:
        """One connection from beginning to end; whether it ended because this side wanted it."""
        self._planned = False
        code, reason = ABNORMAL, ""
        try:
            link = await self._open()
        except TimewireError as failure:
            if not failure.retry:
                raise
            reason = str(failure.fields.get("reason", failure.message))
        else:
            await self._converse(link)
            code, reason = link.code, link.reason
        self._told_s = wire.told_pause_ms(code, reason) / 1000
        advice, fault = self.session.closed(code, reason)
        if not self._planned:
            self.trouble = reason
            log.info("not connected: %s", reason)
        self._act()
        if advice == "stop":
            raise fault
        if advice == "renew":
            self._renew(fault)
        return self._planned

    async def _open(self) -> Link:
        await self.token()
        return await self._dial()

    async def _fetch(self) -> str:
        assert not isinstance(self._source, str)
        try:
            return await self._source()
        except TimewireError:
            raise
        except Exception as failure:
            log.warning("no token", exc_info=failure)
            raise error("not_connected", reason=f"no token: {failure}") from failure

    def _renew(self, fault: TimewireError) -> None:
        self._refusals += 1
        if isinstance(self._source, str) or self._refusals > MAX_REFUSALS:
            raise fault
        self._token = ""

    async def _converse(self, link: Link) -> None:
        self._link = link
        try:
            self.session.opened(self._token)
            self._act()
            async for batch in link.batches():
                for frame in batch:
                    self.session.receive(frame)
                    if self.session.unsaved >= MAX_BATCH_MESSAGES:
                        self._act()
                self._act()
        finally:
            self._link = None
            await link.close()

    # -- effects --------------------------------------------------------------------------------

    def _act(self) -> None:
        effects = self.session.effects()
        self._show(effects, self._save(effects.change))
        # What the store knew already is not shown: nobody waits for it, so more may come.
        self.session.taken(self.feed.unread)
        later = self.session.effects()
        effects.frames += later.frames
        effects.reconnect |= later.reconnect
        for id, answer in effects.answers:
            self._answer(id, answer)
        if self._link is not None:
            for frame in effects.frames:
                self._link.send(frame)
            if effects.reconnect:
                self._planned = True
                self._link.hang_up()
        if effects.pause:
            self._run("pause", self._rest(effects.pause_ms / 1000))
        if effects.rebuild:
            self._run("rebuild", self._rebuild())
        if effects.renew_ms is not None and not isinstance(self._source, str):
            self._run("renewal", self._renewal(effects.renew_ms / 1000))
        if self.session.state in (State.LIVE, State.RESET):
            self._attempts = self._refusals = 0
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            _settle(watcher, None)

    def _save(self, change: Change) -> list[int | None]:
        if self.feed.taken > self._flushed and (change or self.feed.idle):
            change.taken = self._flushed = self.feed.taken
        if not change:
            return []
        try:
            return self.store.apply(change)
        except Exception as fault:
            # The session has gone on already: what it says from here on was never saved.
            self._end(fault)
            raise

    def _show(self, effects: Effects, numbers: list[int | None]) -> None:
        arrived = iter(numbers)
        for event in effects.events:
            if not isinstance(event, Received | Acked):
                self.feed.put(event)
            elif (number := next(arrived)) is not None:
                self.feed.put(event, number)

    def _answer(self, id: wire.Id, answer: Answer) -> None:
        if not isinstance(answer, TimewireError):
            self._pauses = 0
        for waiter in self._waiters.pop(id, ()):
            _settle(waiter, answer)

    def _expect(self, id: wire.Id) -> asyncio.Future[Answer]:
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiter.add_done_callback(_retrieve)
        self._waiters.setdefault(id, []).append(waiter)
        return waiter

    def _progress(self) -> None:
        if self._fault is None:
            self.session.taken(self.feed.unread)
            self._act()

    # -- tasks ----------------------------------------------------------------------------------

    async def _rest(self, told_s: float) -> None:
        """The pause that a busy server asks for."""
        await self._backoff.pause(self._pauses, told_s)
        self._pauses += 1
        self.session.resume()
        self._act()

    async def _renewal(self, pause_s: float) -> None:
        """Get a newer token, some time before the one in use expires."""
        while True:
            await asyncio.sleep(pause_s)
            try:
                self._token = await self._fetch()
            except TimewireError:
                pause_s = RENEW_AGAIN_S  # it holds for a while yet; what ends it is the server
            else:
                break
        self.session.renew(self._token)
        self._act()

    async def _rebuild(self) -> None:
        await rebuild(self.ask, self.store, self.session.user, self._fetched)
        self.session.rebuilt()
        self._act()

    async def _fetched(
        self, messages: Sequence[Message], marks: dict[str, Seq], begins: dict[str, Seq]
    ) -> None:
        self.session.fetched(messages, marks, begins)
        self._act()
        await self.until(lambda: self.feed.unread <= LOW_UNREAD_EVENTS)

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a task; one of a name at a time, the newest."""
        older = self._tasks.get(name)
        if older is not None:
            older.cancel()
        task = self._tasks[name] = asyncio.create_task(work)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(fault := task.exception(), Exception):
            self._end(fault)

    def _end(self, fault: Exception) -> None:
        """Nothing goes on from here: tell everybody who waits."""
        if self._fault is not None:
            return
        self._fault = fault
        self.feed.finish(fault)
        waiters, self._waiters = self._waiters, {}
        for waiter in [one for waiting in waiters.values() for one in waiting]:
            _settle(waiter, fault)
        for watcher in self._watchers:
            _settle(watcher, None)
        for task in self._tasks.values():
            if task is not asyncio.current_task():
                task.cancel()


def _settle(future: asyncio.Future[Any], outcome: object) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """A refusal that nobody waits for is told by an event; asyncio need not complain of it."""
    if not future.cancelled():
        future.exception()
