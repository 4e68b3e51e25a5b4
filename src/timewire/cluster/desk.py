"""The desk of a leader: questions of gateways in, to the sender; its answers out.

A question that is asked again gets the answer of the first time, also while that is being found.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Final

import msgspec
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from timewire.attachments import Attachments
from timewire.cluster.asking import Answer, Asked, Question, Told, decode_question, encode
from timewire.cluster.refusals import Refusals
from timewire.commands import Command
from timewire.errors import TimewireError, error
from timewire.log import MessageLog
from timewire.model import Receipt, Uploaded
from timewire.permits import Outcome, Request
from timewire.send import Intake
from timewire.timeline import TimelineStore

MAX_GATEWAYS: Final = 1_000
"""Whose last questions are known; each life of a gateway counts as one."""

FINISH_TIMEOUT_S: Final = 0.5

logger = structlog.get_logger("timewire.desk")


class _Last(msgspec.Struct, frozen=True):
    """The newest question of a gateway, and its answer."""

    number: int
    answer: asyncio.Task[bytes]


class Desk:
    """See the module.  ``leader``: the name of the lead.  ``load`` it before the first question.

    ``attachments`` sweep: what is uploaded meanwhile is recorded when its file is gone for certain.
    """

    def __init__(
        self,
        client: Client,
        leader: str,
        log: MessageLog,
        sender: Intake,
        attachments: Attachments | None = None,
    ) -> None:
        self._client = client
        self._leader = leader
        self._log = log
        self._sender = sender
        self._attachments = attachments
        self._refusals = Refusals(log)
        self._last: OrderedDict[str, _Last] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def load(self, messages: TimelineStore) -> None:
        """Know what former leaders have refused."""
        await self._refusals.load(messages)

    async def take(self, message: Msg) -> None:
        """A question; called by the connection."""
        try:
            question = decode_question(message.data)
        except msgspec.MsgspecError as problem:
            logger.error("a question is not understood", reason=str(problem))
            return
        answer = self._answer_to(question)
        if answer is not None:
            task = asyncio.create_task(self._tell(message.reply, answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Have every answer out."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FINISH_TIMEOUT_S)

    def _answer_to(self, question: Question) -> asyncio.Task[bytes] | None:
        """The answer, begun now or before; None to what its gateway no longer waits for."""
        last = self._last.pop(question.gateway, None)
        if last is None or last.number < question.number:
            # All of it is submitted before anything waits: the order of questions is kept.
            outcomes = [self._submit(asked) for asked in question.requests]
            last = _Last(question.number, asyncio.create_task(self._find(question, outcomes)))
        self._last[question.gateway] = last
        if len(self._last) > MAX_GATEWAYS:
            self._last.popitem(last=False)
        return last.answer if last.number == question.number else None

    def _submit(self, asked: Asked) -> Awaitable[Outcome | Receipt]:
        if asked.draft is not None:
            return self._append(asked)
        assert asked.command is not None
        refused = self._refusals.of(asked.user, asked.command.id)
        return refused if refused is not None else self._decide(asked, asked.command)

    def _decide(self, asked: Asked, command: Command) -> asyncio.Future[Outcome]:
        """Have the sender decide.  A refusal is kept before it decides on anything else."""
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def settle(_: Command, outcome: Outcome) -> None:
            if isinstance(outcome, TimewireError):
                kept = self._refusals.keep(asked.user, command.id, outcome)
                kept.add_done_callback(lambda done: told.set_result(done.result()))
            else:
                told.set_result(outcome)

        self._sender.submit(Request(asked.user, command, settle, None, asked.authority))
        return told

    async def _append(self, asked: Asked) -> Outcome | Receipt:
        assert asked.draft is not None
        draft = asked.draft.draft()
        held: AbstractAsyncContextManager[None] = nullcontext()
        if self._attachments is not None and isinstance(draft.change, Uploaded):
            held = self._attachments.lock(draft.change.media)
        async with held:
            [outcome] = await self._log.append([draft])
        return outcome

    async def _find(
        self, question: Question, outcomes: list[Awaitable[Outcome | Receipt]]
    ) -> bytes:
        found = await asyncio.gather(*outcomes, return_exceptions=True)
        told = [Told.of(_outcome(one)) for one in found]
        return encode(Answer(question.number, self._leader, told))

    async def _tell(self, to: str, answer: asyncio.Task[bytes]) -> None:
        data = await asyncio.shield(answer)
        with suppress(nats.errors.Error):
            await self._client.publish(to, data)


def _outcome(found: Outcome | Receipt | BaseException) -> Outcome | Receipt:
    if isinstance(found, TimewireError) or not isinstance(found, BaseException):
        return found
    logger.error("a request failed", exc_info=found)
    return error("server_fault")
