"""A device that writes down what it does and sees, for the checker.

It knows just enough of the protocol to be a device: it keeps its cursor, sends again what was not
answered, and connects again when the connection breaks.  It hides nothing and mends nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any, Final

import aiohttp
import msgspec

from timewire.client.outbox import written
from timewire.commands import Command
from timewire.errors import CODES, UnknownOutcome
from timewire.model import Message, Seq
from timewire.protocol import Ack
from timewire.testing.devices import Closed, Frame, RawDevice, raw_device
from timewire.testing.history import (
    Attempt,
    History,
    HistoryRead,
    Holding,
    Shown,
    Start,
    Step,
    Way,
    Who,
    place,
)

RECONNECT_PAUSE_S: Final = 0.03
RETRY_PAUSE_S: Final = 0.05
MAX_PAGE_MESSAGES: Final = 1000
"""A server's default for the largest page."""

_BROKEN: Final = (Closed, aiohttp.ClientError, ConnectionError, TimeoutError, OSError)

clock = time.monotonic_ns
_numbers = count(1)


class Witness:
    """One device.  ``url`` and ``token`` are asked for at every connection."""

    def __init__(self, who: Who, history: History, url: Callable[[], str], token: str) -> None:
        self.who = who
        self.history = history
        self.pending: OrderedDict[str, Command] = OrderedDict()
        self.answered: list[Command] = []
        self.shown: list[Shown] = []
        self.first: Seq | None = None
        self.cursor: Seq | None = None
        self.live = asyncio.Event()
        self._url = url
        self._token = token
        self._base = ""
        self._connection = 0
        self._raw: RawDevice | None = None
        self._tries: dict[str, tuple[Command, int]] = {}
        self._have: set[tuple[str, Seq]] = set()
        self._questions: dict[str, asyncio.Future[Frame]] = {}
        self._settled = asyncio.Condition()
        self._order = asyncio.Lock()

    # -- the connection -------------------------------------------------------------------------

    async def run(self) -> None:
        """Be online: connect, and connect again, until cancelled."""
        while True:
            try:
                async with raw_device(self._url()) as raw:
                    await self._converse(raw)
            except _BROKEN:
                await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _converse(self, raw: RawDevice) -> None:
        cursor = {"base": self._base, "pos": str(self.cursor)} if self.cursor is not None else None
        given = {"cursor": cursor} if cursor else {}
        welcome = await raw.hello(self._token, self.who.device, **given)
        self._connection = next(_numbers)
        self._begin(welcome, self.cursor)
        try:
            # What waits goes first, so that nothing new overtakes it.
            async with self._order:
                self._raw = raw
                for command in list(self.pending.values()):
                    await self._transmit(command)
            while True:
                await self._take(await raw.next())
        finally:
            self._end()

    def _begin(self, welcome: Frame, cursor: Seq | None) -> None:
        position = int(welcome["pos"])
        self._base, self.cursor = welcome["base"], position
        self.first = position if self.first is None else self.first
        self.history.starts.append(
            Start(self.who, self._connection, clock(), position, cursor, base=self._base)
        )

    def _end(self) -> None:
        self._raw = None
        self.live.clear()
        for command, began in self._tries.values():
            self._note(command, began, "unknown")
        self._tries.clear()
        for question in self._questions.values():
            question.cancel()

    async def _take(self, frame: Frame) -> None:
        match frame["type"]:
            case "page":
                self._step("page", frame, frame["messages"])
                await self._credit()
            case "push":
                self._step("push", frame, [frame["message"]])
            case "live":
                self._step("live", frame, [])
                self.live.set()
            case "at" | "behind":
                self._step("at", frame, [])
            case "reset":
                self._reset(frame)
            case "ack":
                self._acked(frame)
            case "error":
                await self._refused(frame)
            case _:
                self._answer(frame)
        async with self._settled:
            self._settled.notify_all()

    async def _credit(self) -> None:
        if self._raw is not None:
            await self._raw.send("credit", pages=1)

    def _step(self, way: Any, frame: Frame, messages: list[Frame]) -> None:
        assert self.cursor is not None
        got = tuple(msgspec.convert(message, Message) for message in messages)
        upto = int(frame["pos"])
        self.history.steps.append(
            Step(self.who, self._connection, clock(), way, self.cursor, upto, got)
        )
        self.cursor = upto
        for message in got:
            self._show(message, way)

    def _reset(self, frame: Frame) -> None:
        starts = self.history.starts
        index = max(i for i, start in enumerate(starts) if start.connection == self._connection)
        starts[index] = msgspec.structs.replace(starts[index], reset=frame["reason"])
        self._base, self.cursor = frame["base"], int(frame["pos"])

    def _show(self, message: Message, way: Way) -> None:
        if place(message) not in self._have:
            self._have.add(place(message))
            self.shown.append(Shown(message, way))

    # -- sending --------------------------------------------------------------------------------

    async def submit(self, command: Command) -> None:
        """Send a command, again and again, until it is answered."""
        async with self._order:
            self.pending[command.id] = command
            await self._transmit(command)

    async def quiet(self, most: int = 0) -> None:
        """Wait until at most so many commands have no answer."""
        async with self._settled:
            await self._settled.wait_for(lambda: len(self.pending) <= most)

    async def _transmit(self, command: Command) -> None:
        if self._raw is None or command.id in self._tries:
            return
        self._tries[command.id] = (command, clock())
        try:
            await self._raw.send(**msgspec.to_builtins(command))
        except _BROKEN:
            return  # the reader notices too, and writes it down

    def _note(self, command: Command, began: int, outcome: Any, **answer: Any) -> None:
        meant = written(self.who.user, command, Ack(command.id, 0, 0))
        self.history.attempts.append(
            Attempt(
                self.who,
                command.id,
                meant.conversation,
                meant.kind,
                meant.body,
                began,
                clock(),
                outcome,
                **answer,
            )
        )

    def _acked(self, frame: Frame) -> None:
        command, began = self._tries.pop(frame["id"])
        self._note(command, began, "acked", seq=frame["seq"], time=frame["time"])
        ack = Ack(command.id, frame["seq"], frame["time"])
        self._show(written(self.who.user, command, ack), "ack")
        if self.pending.pop(command.id, None) is not None:
            self.answered.append(command)

    async def _refused(self, frame: Frame) -> None:
        id = frame.get("id", "")
        if id not in self._tries:
            self._answer(frame)
            return
        command, began = self._tries.pop(id)
        unknown = CODES[frame["code"]][0] is UnknownOutcome
        self._note(command, began, "unknown" if unknown else "refused", code=frame["code"])
        if frame.get("retry"):
            await asyncio.sleep(RETRY_PAUSE_S)
            await self._transmit(command)
        else:
            self.pending.pop(id, None)

    # -- asking ---------------------------------------------------------------------------------

    async def ask(self, type: str, **fields: Any) -> Frame | None:
        """The answer to a question; None when the connection broke before it came."""
        if self._raw is None:
            return None
        id = f"q{next(_numbers)}"
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._questions[id] = answer
        try:
            await self._raw.send(type, id=id, **fields)
            await asyncio.wait([answer])
        except _BROKEN:
            return None
        finally:
            del self._questions[id]
        return None if answer.cancelled() else answer.result()

    def _answer(self, frame: Frame) -> None:
        question = self._questions.get(frame.get("id", ""))
        if question is not None and not question.done():
            question.set_result(frame)

    async def read(self, conversation: str, limit: int, **where: Seq) -> HistoryRead | None:
        """A page of history, written down; None when it was refused or not answered."""
        began = clock()
        page = await self.ask("history", conversation=conversation, limit=limit, **where)
        if page is None or page["type"] == "error":
            return None
        messages = tuple(msgspec.convert(message, Message) for message in page["messages"])
        read = HistoryRead(
            self.who.user,
            conversation,
            began,
            clock(),
            limit,
            messages,
            page["has_more"],
            **where,
        )
        self.history.reads.append(read)
        return read

    async def read_all(self, conversation: str, limit: int) -> None:
        """All history of a conversation, forward, and then backward in a page that just holds it.

        Such a page tells whether ``has_more`` is exact.
        """
        after, more, total = 0, True, 0
        while more and (page := await self.read(conversation, limit, after=after)):
            more = page.has_more
            total += len(page.messages)
            after = page.messages[-1].seq if page.messages else after
        await self.read(conversation, min(max(total, 1), MAX_PAGE_MESSAGES))

    async def conversations(self) -> AsyncIterator[Frame]:
        """The user's conversations."""
        after, more = "", True
        while more and (page := await self.ask("conversations", after=after)):
            for state in page["conversations"]:
                yield state
                after = state["conversation"]
            more = page["has_more"]

    async def hold(self) -> Holding:
        """What this device has now, and what it knows to be read."""
        assert self.first is not None
        assert self.cursor is not None
        marks = {s["conversation"]: s["read"] async for s in self.conversations() if s["read"]}
        return Holding(self.who, self.first, self.cursor, tuple(self.shown), marks)
