"""One device of the demo: the SDK, and a record of all that it shows to its app."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic_ns
from typing import Any, Literal

import msgspec
from stage import Stage

import timewire
from timewire import Acked, Client, Connected, Disconnected, Live, Received, Reset, Sent, model
from timewire.client import Event, MemoryStore, SqliteStore, Store
from timewire.errors import Retryable, TimewireError
from timewire.testing.history import Attempt, History, HistoryRead, Holding, Shown, Way, Who, place

HISTORY_PAGE = 200


class Gadget:
    """A device that can be switched on and off.  ``file``: it keeps what it has there (SQLite)."""

    def __init__(self, who: Who, stage: Stage, history: History, file: Path | None = None) -> None:
        self.who = who
        self.state: Literal["off", "connecting", "catching up", "live"] = "off"
        self.shown: list[Shown] = []
        self.count: Counter[Way] = Counter()
        self.scrolled: list[model.Message] = []
        self.first: int | None = None
        self.sent: list[tuple[Sent, str, str]] = []
        """What was said and is stored: its receipt, its kind, its text."""
        self._behind = False
        self.resets: list[str] = []
        """Why the device had to start again."""
        self.live = asyncio.Event()
        self._stage = stage
        self._history = history
        self._file = file
        self._kept = None if file else MemoryStore()
        self._stack = AsyncExitStack()
        self._answers: set[asyncio.Task[Any]] = set()
        self._store: Store | None = None
        self._switch = asyncio.Lock()
        self._last_cursor = 0

    async def switch_on(self) -> None:
        """Connect, and show what comes, until switched off."""
        async with self._switch:
            if self._store is not None:
                return
            self.state = "connecting"
            self.me, self._store = await self._connect()
            self.first = self.cursor if self.first is None else self.first
            self._reader = asyncio.create_task(self._read())

    async def _connect(self) -> tuple[Client, Store]:
        """Connect to what is up: where nobody answers for long, it may be another one."""
        token = self._stage.token(self.who.user)
        while True:
            url, store = self._stage.url, self._kept or SqliteStore(self._file or "")
            device = timewire.connect(url, token, device=self.who.device, store=store)
            with suppress(Retryable):
                return await self._stack.enter_async_context(device), store

    async def switch_off(self) -> None:
        """Break off, as an app that is closed; what was queued goes out next time."""
        async with self._switch:
            if self._store is None:
                return
            self._last_cursor = self.cursor
            self._store = None
            await self._stack.aclose()
            await self._reader
            self.state = "off"
            self.live.clear()

    @property
    def cursor(self) -> int:
        """How far the device has come, by the text of its cursor."""
        saved = self._store.load().cursor if self._store else None
        return int(saved.pos) if saved else self._last_cursor

    async def _read(self) -> None:
        async for event in self.me.events():
            self._take(event)
            if isinstance(event, Reset):
                self._behind = True
            elif isinstance(event, Live):
                if self._behind:
                    await self._rebuild()
                self.live.set()

    async def _rebuild(self) -> None:
        """Having been away for too long: read what lies between what was had and what came since.

        Everything there is has been shown up to here, but for this gap.
        """
        had = {place(shown.message) for shown in self.shown}
        for conversation in await self.me.conversations():
            name = conversation.name
            # An own message may be ahead of what is still on its way.
            came = [one.message for one in self.shown if one.way != "ack"]
            newest = max([one.seq for one in came if one.conversation == name], default=0)
            for message in reversed(await self.scroll_back(name)):
                wanted = (self.first or 0) < message.seq < newest
                if wanted and place(message) not in had:
                    self._show(message, "history")
        self._behind = False

    def _take(self, event: Event) -> None:
        match event:
            case Received(message):
                caught_up = "push" if self.state == "live" else "page"
                self._show(message, "history" if self._behind else caught_up)
            case Acked(message):
                self._show(message, "ack")
            case Connected():
                self.state = "catching up"
            case Live():
                self.state = "live"
            case Disconnected():
                self.state = "connecting"
                self.live.clear()
            case Reset(reason):
                self.resets.append(reason)
            case _:
                raise RuntimeError(f"{self.who}: {event}")

    def _show(self, message: model.Message, way: Way) -> None:
        self.shown.append(Shown(message, way))
        self.count[way] += 1

    # -- writing --------------------------------------------------------------------------------

    def say(self, group: str, text: str, kind: str) -> None:
        """Post a message; its answer is written down when it comes."""
        body, began = {"text": text}, monotonic_ns()
        posted = self.me.post(group, body, kind=kind)
        task = asyncio.create_task(self._said(posted, began, group, kind, body))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _said(
        self, posted: Awaitable[Sent], began: int, group: str, kind: str, body: dict[str, Any]
    ) -> None:
        sent = await self._note(posted, began, group, kind, body)
        if sent is not None:
            self.sent.append((sent, kind, body["text"]))

    async def edit(self, group: str, seq: int, text: str) -> None:
        """Have a message say something else."""
        change = model.Edited(seq, {"text": text})
        await self._change(self.me.edit(group, seq, text), group, change)

    async def recall(self, group: str, seq: int) -> None:
        """Take a message back."""
        await self._change(self.me.recall(group, seq), group, model.Recalled(seq))

    async def create(self, group: str, members: list[str], title: str) -> None:
        """Make a group."""
        change = model.Created("group", [self.who.user, *members], title)
        await self._change(self.me.create(group, members, title=title), group, change)

    async def add(self, group: str, users: list[str]) -> None:
        """Let some join."""
        change = model.Members(joined=users)
        await self._change(self.me.add(group, users), group, change)

    async def remove(self, group: str, users: list[str]) -> None:
        """Let some, perhaps oneself, leave."""
        change = model.Members(left=users)
        await self._change(self.me.remove(group, users), group, change)

    async def settle(self, group: str, text: str) -> None:
        """Say a last word and wait until it, and all before it, is in every inbox."""
        body = {"text": text}
        sent = self.me.send(group, body, ack="synced")
        await self._note(sent, monotonic_ns(), group, "text", body)

    async def answered(self) -> None:
        """Wait until everything said is answered."""
        if self._answers:
            await asyncio.wait(self._answers)

    async def _change(self, asked: Awaitable[Sent], group: str, change: model.Change) -> None:
        body = msgspec.to_builtins(change)
        await self._note(asked, monotonic_ns(), group, body.pop("type"), body)

    async def _note(
        self, asked: Awaitable[Sent], began: int, group: str, kind: str, body: dict[str, Any]
    ) -> Sent | None:
        def note(outcome: Any, id: str, **answer: Any) -> None:
            self._history.attempts.append(
                Attempt(self.who, id, group, kind, body, began, monotonic_ns(), outcome, **answer)
            )

        try:
            sent = await asked
        except TimewireError as refusal:
            note("refused", getattr(asked, "id", "?"), code=refusal.code)
            return None
        note("acked", sent.id, seq=sent.seq, time=sent.time)
        return sent

    # -- reading --------------------------------------------------------------------------------

    async def scroll_back(self, group: str) -> list[model.Message]:
        """Read a group's history from its end to its beginning."""
        found: list[model.Message] = []
        before, more = None, True
        while more:
            began = monotonic_ns()
            page = await self.me.history(group, before=before, limit=HISTORY_PAGE)
            read = HistoryRead(
                self.who.user,
                group,
                began,
                monotonic_ns(),
                HISTORY_PAGE,
                tuple(page.messages),
                page.has_more,
                before=before,
            )
            self._history.reads.append(read)
            found += page.messages
            before, more = page.messages[-1].seq if page.messages else None, page.has_more
        return found

    def holding(self) -> Holding:
        """What the device has, for the checker."""
        return Holding(self.who, self.first or 0, self.cursor, tuple(self.shown))
