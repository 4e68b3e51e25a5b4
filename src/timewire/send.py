"""Sending: check, append, acknowledge.  The one way by which messages get into the log.

Requests are taken in the order of their arrival by one sequencer.  Everything that arrives while
the log is busy with a batch goes into the next, and so does what arrives in quick succession, so
batches grow with the load by themselves.
A request that changes the directory ends its batch: the next one is checked against the change.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from functools import partial
from heapq import heappop, heappush
from typing import Final, Literal

import structlog

from timewire.access import MediaAccess
from timewire.admission import Admission
from timewire.clock import Clock, Ticks, steady_ticks, wall_clock
from timewire.commands import Command, Send
from timewire.directory import Directory
from timewire.errors import TimewireError, error
from timewire.kinds import SCHEMAS, Schemas
from timewire.log import MessageLog
from timewire.metrics import ACKS, REFUSALS, SEND_QUEUE
from timewire.model import Created, Draft, Receipt, Seq, encode_change
from timewire.permits import Outcome, Permits, Request
from timewire.protocol import Ack

SLOW_COMMIT_MS: Final = 2000.0
MAX_BATCH_DRAFTS: Final = 1_000
"""Drafts in one append to the log."""

GATHER_MS: Final = 0.5
"""How long an append waits while more keeps arriving: a sync costs as much as many messages do."""

QUIET_TURNS: Final = 1
"""After so many turns of the event loop without a request there is nothing to wait for."""

logger = structlog.get_logger("timewire.send")
Receipts = list[Receipt | TimewireError]


class Intake(ABC):
    """Takes requests and gives each exactly one reply, while ``run`` is running."""

    @abstractmethod
    def submit(self, request: Request) -> None:
        """Queue a request.  Its reply comes later, or at once when it cannot be queued."""

    @abstractmethod
    async def run(self) -> None:
        """Do what is queued, until ``close`` was called and everything is answered."""

    @abstractmethod
    def close(self) -> None:
        """Refuse what comes from now on; what is queued is still done."""

    @property
    def trouble(self) -> str:
        """Why new requests are refused just now; empty: they are not."""
        return ""

    @abstractmethod
    def synced(self, position: Seq) -> None:
        """Fan-out has reached this position: answer those who wait for it."""

    async def ask(
        self, user: str, command: Command, authority: Literal["member", "system"] = "member"
    ) -> Ack:
        """Submit a command and wait for its answer.  Raises the error why not."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def reply(_: Command, outcome: Outcome) -> None:
            if not answer.done():
                answer.set_result(outcome)

        self.submit(Request(user, command, reply, None, authority))
        outcome = await answer
        if isinstance(outcome, TimewireError):
            raise outcome
        return outcome


class Sender(Intake):
    """The intake that appends to a log."""

    def __init__(
        self,
        log: MessageLog,
        directory: Directory,
        clock: Clock = wall_clock,
        *,
        body_bytes: int,
        max_members: int,
        edit_minutes: float = 0,
        schemas: Schemas = SCHEMAS,
        media: MediaAccess | None = None,
        ticks: Ticks = steady_ticks,
        slow_commit_ms: float = SLOW_COMMIT_MS,
    ) -> None:
        self._log = log
        self._ticks = ticks
        self._admission = Admission(ticks, slow_commit_ms)
        self._directory = directory
        self._permits = Permits(
            log,
            directory,
            clock,
            body_bytes=body_bytes,
            max_members=max_members,
            edit_minutes=edit_minutes,
            schemas=schemas,
            media=media,
        )
        self._queue: deque[Request] = deque()
        self._wake = asyncio.Event()
        self._drafts: list[Draft] = []
        self._requests: list[Request] = []
        self._appends: set[asyncio.Future[Receipts]] = set()
        self._synced: Seq = 0
        self._unsynced: list[tuple[Seq, int, Request, Ack]] = []
        self._failed = False
        """A batch has failed since the request being admitted was taken from the queue."""
        self._behind = 0
        """Requests at the head of the queue that were there when a batch failed."""
        self._closing = False

    def submit(self, request: Request) -> None:
        """Queue a request.  Its reply comes later, or at once when it cannot be queued."""
        if self._closing:
            request.reply(request.command, error("shutting_down"))
        elif (refusal := self._admission.refusal(len(self._queue))) is not None:
            _refuse(request, refusal)
        else:
            if not self._queue:
                self._wake.set()
            self._queue.append(request)

    @property
    def trouble(self) -> str:
        """Why new requests are refused just now; empty: they are not."""
        return self._admission.trouble

    async def run(self) -> None:
        """The sequencer.  Ends when ``close`` was called and the log has answered all it got."""
        while self._queue or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            await self._admit_all()
            if not self._appends:
                await self._gather()
            if not self._appends:
                self._flush()
        self._flush()
        while self._appends:
            await asyncio.wait(self._appends)

    async def _gather(self) -> None:
        """Let what is arriving right now come into the same batch."""
        quiet, until = 0, self._ticks() + GATHER_MS
        while quiet < QUIET_TURNS and len(self._drafts) < MAX_BATCH_DRAFTS:
            await asyncio.sleep(0)
            quiet = 0 if self._queue else quiet + 1
            await self._admit_all()
            if self._ticks() > until:
                return

    async def _admit_all(self) -> None:
        """Have everything that is queued checked, and staged where a batch is full."""
        SEND_QUEUE.set(len(self._queue))
        while self._queue:
            request = self._queue.popleft()
            if self._behind:
                self._behind -= 1
                _refuse(request, error("storage_unavailable"))
                continue
            self._failed = False
            try:
                if not self._admit_at_once(request):
                    await self._admit(request)
            except TimewireError as refusal:
                _refuse(request, refusal)
            except Exception:
                # One bad request must not end the sending of everybody.
                logger.exception("a request failed", user=request.user)
                _refuse(request, error("server_fault"))
            if self._failed or len(self._drafts) >= MAX_BATCH_DRAFTS:
                self._flush()

    def close(self) -> None:
        """Refuse what comes from now on; what is queued is still done."""
        self._closing = True
        self._wake.set()

    def synced(self, position: Seq) -> None:
        """Fan-out has reached this position: answer those who wait for it."""
        self._synced = position
        while self._unsynced and self._unsynced[0][0] <= position:
            _, _, request, ack = heappop(self._unsynced)
            request.reply(request.command, ack)

    # -- one request ----------------------------------------------------------------------------

    def _admit_at_once(self, request: Request) -> bool:
        """The short way of almost every request: a member's message, with all at hand."""
        if not self._permits.at_once(request):
            return False
        self._drafts.append(self._permits.draft(request))
        self._requests.append(request)
        return True

    async def _admit(self, request: Request) -> None:
        draft = self._permits.draft(request)
        try:
            making = await self._permits.check(request, draft)
            if making is not None:
                await self._make(request, draft, making)
        except TimewireError as refusal:
            # A repeat is answered as it was the first time, whatever has changed since.
            known = await self._log.find(draft)
            self._answer(request, known or refusal)
            return
        self._drafts.append(draft)
        self._requests.append(request)
        if draft.change is not None:
            self._flush()

    async def _make(self, request: Request, draft: Draft, change: Created) -> None:
        """Stage what makes the conversation of a draft."""
        self._flush()
        if await self._log.find(draft) is not None:
            # The id names another message, so this one will be refused: leave nothing behind.
            raise error("id_reused", id=draft.id)
        payload = encode_change(draft.sender, "", change)
        self._drafts.append(Draft(draft.conversation, draft.sender, "", payload, change))
        self._requests.append(Request(draft.sender, request.command, _to_nobody))
        self._flush()
        if await self._directory.conversation(draft.conversation) is None:
            raise error("storage_unavailable")

    # -- a batch --------------------------------------------------------------------------------

    def _flush(self) -> None:
        drafts, requests = self._drafts, self._requests
        self._drafts, self._requests = [], []
        # A batch may have failed in this turn of the loop, and its callback be yet to come.
        if self._failed or any(done.done() and done.exception() for done in self._appends):
            for request in requests:
                _refuse(request, error("storage_unavailable"))
        elif drafts:
            done = self._log.append(drafts)
            self._appends.add(done)
            self._admission.began(done, len(requests))
            done.add_done_callback(partial(self._appended, requests))

    def _appended(self, requests: list[Request], done: asyncio.Future[Receipts]) -> None:
        self._appends.discard(done)
        self._admission.ended(done)
        fault = done.exception()
        if fault is not None:
            self._fail(requests, fault)
            return
        if not self._appends and self._drafts:
            self._wake.set()
        ACKS.inc(len(requests))
        for request, outcome in zip(requests, done.result(), strict=True):
            self._answer(request, outcome)

    def _fail(self, requests: list[Request], fault: BaseException) -> None:
        """Refuse a batch, and all that waits behind it, which would overtake its repeat."""
        refusal = fault if isinstance(fault, TimewireError) else error("outcome_unknown")
        for request in requests:
            _refuse(request, refusal)
        self._failed, self._behind = True, len(self._queue)
        self._flush()

    def _answer(self, request: Request, outcome: Receipt | TimewireError) -> None:
        command = request.command
        if isinstance(outcome, TimewireError):
            _refuse(request, outcome)
        elif not isinstance(command, Send) or command.ack == "stored":
            request.reply(command, Ack(command.id, outcome.seq, outcome.time))
        else:
            ack = Ack(command.id, outcome.seq, outcome.time, synced=True)
            if outcome.seq <= self._synced:
                request.reply(command, ack)
            else:
                heappush(self._unsynced, (outcome.seq, id(request), request, ack))


def _to_nobody(command: Command, outcome: Outcome) -> None:
    """The reply to a request that nobody made."""


def _refuse(request: Request, refusal: TimewireError) -> None:
    REFUSALS.labels(refusal.code).inc()
    request.reply(request.command, refusal)
