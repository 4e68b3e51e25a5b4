"""The intake of a gateway: it has the leader do what is asked, and waits until it is seen here.

One question is under way at a time.  What comes meanwhile goes into the next, so questions grow
with the load by themselves, and the order of requests is kept whatever happens to a leader.

A message is pushed to the connection that sent it too: its ack may come after later messages, so
that it could be lost with the connection, and the device's cursor would have passed it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from timewire.admission import MAX_QUEUE_REQUESTS
from timewire.backends.jetstream import Names, View
from timewire.backends.jetstream.connection import subscribe, unsubscribe
from timewire.backends.jetstream.records import Carried
from timewire.cluster.asking import Asked, Told, decode_answer, encode
from timewire.commands import Send
from timewire.errors import CODES, TimewireError, error
from timewire.metrics import ACKS, REFUSALS, SEND_QUEUE
from timewire.model import Draft, Receipt, Seq
from timewire.permits import Request
from timewire.protocol import Ack
from timewire.send import Intake, Receipts

MAX_QUESTION_REQUESTS: Final = 1_000
MAX_QUESTION_BYTES: Final = 384 * 1024
"""Of the requests in one question, unless a single one has more."""

ANSWER_TIMEOUT_S: Final = 2.0
"""After so long a question is asked again; each time it may take twice as long."""

NO_LEADER_PAUSE_S: Final = 0.1
GIVE_UP_S: Final = 12.0
"""After so long a question is refused, and all that waits behind it."""

SEEN_TIMEOUT_S: Final = 5.0
"""How long an answer is kept back until this process has seen what it is about."""

logger = structlog.get_logger("timewire.forwarder")


class _Item(msgspec.Struct, eq=False):
    """What waits: a command of somebody, or a draft of this process."""

    asked: bytes
    request: Request | None = None
    done: asyncio.Future[Receipt | TimewireError] | None = None


class Forwarder(Intake):
    """See the module.  ``name`` is this process's, not used before."""

    def __init__(self, client: Client, names: Names, view: View, name: str) -> None:
        self.leader_answers = True
        """Whether the last question was answered: otherwise nothing can be sent now."""
        self._client = client
        self._names = names
        self._view = view
        self._name = name
        self._inbox = f"{names.answers}.{name}"
        self._queue: deque[_Item] = deque()
        self._wake = asyncio.Event()
        self._number = 0
        self._tries = 0
        self._answer: asyncio.Future[list[Told] | None] | None = None
        """Of the question under way; None in it: there is no leader."""
        self._synced: Seq = 0
        self._unsynced: list[tuple[Seq, int, Request, Ack]] = []
        self._closing = False

    def submit(self, request: Request) -> None:
        """Queue a request.  Its reply comes later, or at once when it cannot be queued."""
        refusal = self._refusal()
        if refusal is not None:
            request.reply(request.command, refusal)
            return
        command = request.command
        if isinstance(command, Send) and command.ack != "stored":
            command = msgspec.structs.replace(command, ack="stored")
        asked = encode(Asked(request.user, command, request.authority))
        self._put(_Item(asked, request))

    def append(self, drafts: Sequence[Draft]) -> asyncio.Future[Receipts]:
        """Have checked messages appended, each by itself; done when they are seen here."""
        loop = asyncio.get_running_loop()
        items: list[asyncio.Future[Receipt | TimewireError]] = []
        for draft in drafts:
            done: asyncio.Future[Receipt | TimewireError] = loop.create_future()
            items.append(done)
            refusal = self._refusal()
            if refusal is not None:
                done.set_result(refusal)
            else:
                asked = Asked(draft.sender, None, draft=Carried.of(draft))
                self._put(_Item(encode(asked), None, done))
        return asyncio.gather(*items)

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

    async def run(self) -> None:
        """Ask, one question after the other."""
        subscription = await subscribe(self._client, f"{self._inbox}.>", self._hear)
        try:
            while self._queue or not self._closing:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    SEND_QUEUE.set(len(self._queue))
                    await self._exchange(self._next())
        finally:
            await unsubscribe(subscription)

    # -- a question -----------------------------------------------------------------------------

    def _refusal(self) -> TimewireError | None:
        if self._closing:
            return error("shutting_down")
        return error("too_busy") if len(self._queue) >= MAX_QUEUE_REQUESTS else None

    def _put(self, item: _Item) -> None:
        self._queue.append(item)
        self._wake.set()

    def _next(self) -> list[_Item]:
        items, room = list[_Item](), MAX_QUESTION_BYTES
        while self._queue and len(items) < MAX_QUESTION_REQUESTS:
            room -= len(self._queue[0].asked)
            if items and room < 0:
                break
            items.append(self._queue.popleft())
        return items

    async def _exchange(self, items: list[_Item]) -> None:
        """Ask until there is an answer, and hand it out once it is seen here."""
        outcomes = await self._ask(items)
        self.leader_answers = not isinstance(outcomes, TimewireError)
        if isinstance(outcomes, TimewireError):
            # What waits behind must not overtake the repeats of these.
            items += self._queue
            self._queue.clear()
            for item in items:
                self._refuse(item, outcomes)
            return
        newest = max((told.seq for told in outcomes), default=0)
        try:
            async with asyncio.timeout(SEEN_TIMEOUT_S):
                await self._view.reach(newest)
        except TimeoutError:
            logger.warning("the view is behind what was acknowledged", seq=newest)
        for item, told in zip(items, outcomes, strict=True):
            self._hand_out(item, told)

    async def _ask(self, items: Sequence[_Item]) -> list[Told] | TimewireError:
        loop = asyncio.get_running_loop()
        until, patience_s, asked = loop.time() + GIVE_UP_S, ANSWER_TIMEOUT_S, 0
        self._number += 1
        requests = [msgspec.Raw(item.asked) for item in items]
        data = encode([self._number, requests, self._name])
        while loop.time() < until:
            self._answer = loop.create_future()
            asked += 1
            self._tries += 1
            try:
                await self._client.publish(self._names.ask, data, reply=self._reply)
                outcomes = await asyncio.wait_for(
                    self._answer, min(patience_s, until - loop.time())
                )
            except nats.errors.Error as problem:
                logger.warning("the leader cannot be asked", reason=str(problem))
                await asyncio.sleep(NO_LEADER_PAUSE_S)
            except TimeoutError:
                patience_s *= 2
                logger.warning("the leader does not answer", requests=len(items))
            else:
                if outcomes is not None and len(outcomes) == len(items):
                    return outcomes if asked == 1 else [_of_several(told) for told in outcomes]
                asked -= outcomes is None
                await asyncio.sleep(NO_LEADER_PAUSE_S)
            self.leader_answers = False
        return error("outcome_unknown" if asked else "cluster_unavailable")

    @property
    def _reply(self) -> str:
        """Where the answer to the newest try goes."""
        return f"{self._inbox}.{self._tries}"

    async def _hear(self, message: Msg) -> None:
        """An answer, or the server's word that nobody listens."""
        waiting = self._answer
        if waiting is None or waiting.done():
            return
        if (message.headers or {}).get("Status"):
            if message.subject == self._reply:  # that nobody heard an earlier try is no news
                waiting.set_result(None)
            return
        answer = decode_answer(message.data)
        if answer.number == self._number and answer.leader == self._view.leader:
            waiting.set_result(answer.outcomes)

    # -- an outcome -----------------------------------------------------------------------------

    def _hand_out(self, item: _Item, told: Told) -> None:
        if item.request is None:
            if item.done is not None and not item.done.done():
                item.done.set_result(told.receipt())
            return
        request, command = item.request, item.request.command
        outcome = told.ack(command.id)
        if isinstance(outcome, TimewireError):
            self._refuse(item, outcome)
            return
        ACKS.inc()
        if not isinstance(command, Send) or command.ack == "stored":
            request.reply(command, outcome)
            return
        ack = Ack(command.id, outcome.seq, outcome.time, synced=True)
        if outcome.seq <= self._synced:
            request.reply(command, ack)
        else:
            heappush(self._unsynced, (outcome.seq, id(request), request, ack))

    def _refuse(self, item: _Item, refusal: TimewireError) -> None:
        if item.request is None:
            if item.done is not None and not item.done.done():
                item.done.set_result(refusal)
            return
        REFUSALS.labels(refusal.code).inc()
        item.request.reply(item.request.command, refusal)


def _of_several(told: Told) -> Told:
    """One answer to what was asked several times: a refusal for now says nothing of the others."""
    refused = told.code in CODES and CODES[told.code][0].retry
    return Told.of(error("outcome_unknown")) if refused else told
