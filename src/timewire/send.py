"""Sending: check, append, acknowledge.  The one way by which messages get into the log.

Requests are taken in the order of their arrival by one sequencer.  Everything that arrives while
the log is busy with a batch goes into the next, so batches grow with the load by themselves.
A request that changes the directory ends its batch: the next one is checked against the change.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import Final, Literal

import msgspec
import structlog

from timewire.directory import Directory
from timewire.errors import TimewireError, error
from timewire.log import MessageLog
from timewire.metrics import ACKS, REFUSALS, SEND_QUEUE
from timewire.model import (
    DIRECT,
    MAX_MEMBERS_A_REQUEST,
    SELF,
    Change,
    Conversation,
    Created,
    Draft,
    Members,
    Read,
    Receipt,
    Seq,
    check_body,
    check_id,
    check_kind,
    check_name,
    encode_change,
    encode_stored,
    implied_members,
)
from timewire.protocol import Ack, Add, Command, Create, MarkRead, Remove, Send

MAX_QUEUE_REQUESTS: Final = 20_000
"""Requests that may wait for the sequencer; further ones are refused with too_busy."""

MAX_BATCH_DRAFTS: Final = 1_000
"""Drafts in one append to the log."""

logger = structlog.get_logger("timewire.send")
Outcome = Ack | TimewireError
MAX_TITLE_BYTES: Final = 512
"""Of a group's title, in UTF-8."""

Receipts = list[Receipt | TimewireError]


class Request(msgspec.Struct, eq=False, gc=False):
    """A command of a user, and where its answer goes: an ``Ack``, or the error why not.

    ``origin`` is handed through to the delivery, which skips the connection that it names.
    ``authority``: a product's backend acts as the system, which need not be a member.
    """

    user: str
    command: Command
    reply: Callable[[Command, Outcome], None]
    origin: object = None
    authority: Literal["member", "system"] = "member"


class Sender:
    """Takes requests and gives each exactly one reply, while ``run`` is running."""

    def __init__(
        self, log: MessageLog, directory: Directory, *, body_bytes: int, max_members: int
    ) -> None:
        self._log = log
        self._directory = directory
        self._body_bytes = body_bytes
        self._max_members = max_members
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
        elif len(self._queue) >= MAX_QUEUE_REQUESTS:
            request.reply(request.command, error("too_busy"))
        else:
            self._queue.append(request)
            self._wake.set()

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

    async def run(self) -> None:
        """The sequencer.  Ends when ``close`` was called and the log has answered all it got."""
        while self._queue or not self._closing:
            await self._wake.wait()
            self._wake.clear()
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
            if not self._appends:
                self._flush()
        self._flush()
        while self._appends:
            await asyncio.wait(self._appends)

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
        if type(request.command) is not Send:
            return False
        conversation = self._directory.known(request.command.to)
        if conversation is None or not conversation.is_member(request.user):
            return False
        self._drafts.append(self._draft(request))
        self._requests.append(request)
        return True

    async def _admit(self, request: Request) -> None:
        draft = self._draft(request)
        try:
            await self._permit(request, draft)
        except TimewireError as refusal:
            # A repeat is answered as it was the first time, whatever has changed since.
            known = await self._log.find(draft)
            self._answer(request, known or refusal)
            return
        self._drafts.append(draft)
        self._requests.append(request)
        if draft.change is not None:
            self._flush()

    def _draft(self, request: Request) -> Draft:
        """The draft a command asks for; of the command alone, so that a repeat makes the same."""
        command, user = request.command, request.user
        check_id(command.id)
        if isinstance(command, Send):
            check_kind(command.kind)
            payload = encode_stored(user, command.id, command.kind, command.body, command.sent)
            check_body(command.body, payload, self._body_bytes)
            return Draft(command.to, user, command.id, payload, None, request.origin)
        if isinstance(command, MarkRead):
            name, change = SELF + user, Read(command.conversation, command.seq)
        else:
            name, change = command.conversation, _membership_change(request, command)
        payload = encode_change(user, command.id, change)
        return Draft(name, user, command.id, payload, change, request.origin)

    async def _permit(self, request: Request, draft: Draft) -> None:
        """Raise unless the directory, with all that was staged before, allows this draft."""
        command, change = request.command, draft.change
        conversation = await self._directory.conversation(draft.conversation)
        if isinstance(command, MarkRead):
            await self._permit_mark(command, draft.sender)
        if isinstance(change, Created):
            self._permit_create(change, conversation, draft)
            return
        if conversation is None:
            conversation = await self._imply(request, draft)
        if not conversation.is_member(draft.sender) and request.authority == "member":
            raise error("not_member", conversation=draft.conversation)
        if isinstance(change, Members):
            self._permit_change(change, conversation)

    def _permit_create(
        self, change: Created, conversation: Conversation | None, draft: Draft
    ) -> None:
        if conversation is not None:
            raise error("conversation_exists", conversation=draft.conversation)
        if len(change.members) > self._max_members:
            raise error("too_many_members", limit=self._max_members)

    def _permit_change(self, change: Members, conversation: Conversation) -> None:
        if conversation.kind != "group":
            raise error("not_a_group", conversation=conversation.name)
        joining = sum(not conversation.is_member(user) for user in change.joined)
        if joining and len(conversation.present()) + joining > self._max_members:
            raise error("too_many_members", limit=self._max_members)

    async def _permit_mark(self, command: MarkRead, user: str) -> None:
        target = await self._directory.conversation(command.conversation)
        if target is None or user not in target.windows:
            raise error("not_member", conversation=command.conversation)
        if not 0 < command.seq <= self._log.head:
            raise error("bad_seq", seq=command.seq)

    async def _imply(self, request: Request, draft: Draft) -> Conversation:
        """Direct and self conversations come into being by the first thing sent to them."""
        members = implied_members(draft.conversation)
        if members is None:
            raise error("unknown_conversation", conversation=draft.conversation[:300])
        if draft.sender not in members and request.authority == "member":
            raise error("not_member", conversation=draft.conversation)
        if isinstance(draft.change, Members):
            raise error("not_a_group", conversation=draft.conversation)
        self._flush()
        if await self._log.find(draft) is not None:
            # The id names another message, so this one will be refused: leave nothing behind.
            raise error("id_reused", id=draft.id)
        change = Created("direct" if draft.conversation.startswith(DIRECT) else "self", members)
        payload = encode_change(draft.sender, "", change)
        self._drafts.append(Draft(draft.conversation, draft.sender, "", payload, change))
        self._requests.append(Request(draft.sender, request.command, _to_nobody))
        self._flush()
        made = await self._directory.conversation(draft.conversation)
        if made is None:
            raise error("storage_unavailable")
        return made

    # -- a batch --------------------------------------------------------------------------------

    def _flush(self) -> None:
        drafts, requests = self._drafts, self._requests
        self._drafts, self._requests = [], []
        if self._failed:
            for request in requests:
                _refuse(request, error("storage_unavailable"))
        elif drafts:
            done = self._log.append(drafts)
            self._appends.add(done)
            done.add_done_callback(partial(self._appended, requests))

    def _appended(self, requests: list[Request], done: asyncio.Future[Receipts]) -> None:
        self._appends.discard(done)
        fault = done.exception()
        if fault is not None:
            self._fail(requests, fault)
            return
        if not self._appends:
            self._flush()
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


def _membership_change(request: Request, command: Create | Add | Remove) -> Change:
    named = command.members if isinstance(command, Create) else command.users
    if len(named) > MAX_MEMBERS_A_REQUEST:
        raise error("too_many_members", limit=MAX_MEMBERS_A_REQUEST)
    users = [check_name(name) for name in dict.fromkeys(named)]
    if isinstance(command, Add):
        return Members(joined=users)
    if isinstance(command, Remove):
        return Members(left=users)
    check_name(command.conversation)
    if len(command.title.encode()) > MAX_TITLE_BYTES:
        raise error("body_too_large", limit=MAX_TITLE_BYTES)
    makers = [request.user] if request.authority == "member" else []
    return Created("group", list(dict.fromkeys(makers + users)), command.title)
