"""Changes of mode: looks at the load again and again, and appends what the policy decides.

A change is a message in ``SYSTEM_MODES``, in the same log as everything else: it takes effect with
its own SeqId, for fan-out and for every sync alike, whatever any of them has reached.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from timewire.clock import Ticks
from timewire.conversation import Conversation
from timewire.directory import Directory
from timewire.epochs import SYSTEM_MODES, Mode, ModeName, newest_mode
from timewire.errors import TimewireError
from timewire.inbox import Inbox
from timewire.load import Observations
from timewire.log import MessageLog
from timewire.metrics import MODE_CHANGES
from timewire.model import Draft, Receipt, encode_change
from timewire.policy import Load, Policy

DECISIONS_A_TURN: Final = 20
"""Conversations that are decided on before everything else gets its turn."""

MAX_EPOCHS: Final = 1000
"""Of one conversation, within the life of inboxes: then it keeps the mode that it has."""

IDLE_PER_S: Final = 0.001
"""A conversation with fewer messages a second is looked at again after its next one."""

logger = structlog.get_logger("timewire.modes")


class Modes:
    """Keeps every conversation in the mode that the policy wants."""

    def __init__(
        self,
        log: MessageLog,
        directory: Directory,
        inbox: Inbox,
        *,
        loads: Observations,
        policy: Policy,
        ticks: Ticks,
    ) -> None:
        self._log = log
        self._directory = directory
        self._inbox = inbox
        self._loads = loads
        self._policy = policy
        self._ticks = ticks
        self._changed: dict[str, float] = {}
        """conversation -> when its mode was changed last (ms), while it is watched"""

    async def run(self) -> None:
        """Decide again and again."""
        while True:
            await asyncio.sleep(self._policy.pause_s)
            try:
                await self.decide()
            except TimewireError as fault:
                logger.warning("modes stay as they are", code=fault.code)

    async def decide(self) -> None:
        """Look at every conversation that has traffic, once; returns when all changes are durable.

        Raises the error that kept a change from being written.
        """
        changes: list[tuple[Mode, asyncio.Future[list[Receipt | TimewireError]]]] = []
        watched = self._loads.watched()
        for number, name in enumerate(watched, 1):
            conversation = await self._directory.conversation(name)
            if conversation is not None:
                mode, epochs = self._choose(conversation), conversation.epochs
                if mode != newest_mode(epochs) and len(epochs) < MAX_EPOCHS:
                    changes.append(self._change(conversation, mode))
                elif self._loads.messages_per_s(name) < IDLE_PER_S:
                    self._loads.drop(name)
            if not number % DECISIONS_A_TURN:
                await asyncio.sleep(0)
        self._changed = {n: at for n in watched if (at := self._changed.get(n)) is not None}
        await asyncio.gather(*(done for _, done in changes), return_exceptions=True)
        for change, done in changes:
            for receipt in done.result():
                if isinstance(receipt, Receipt):
                    MODE_CHANGES.labels(change.mode).inc()
                    logger.info(
                        "another mode",
                        conversation=change.conversation,
                        mode=change.mode,
                        seq=receipt.seq,
                    )

    def _change(
        self, conversation: Conversation, mode: ModeName
    ) -> tuple[Mode, asyncio.Future[list[Receipt | TimewireError]]]:
        """Append the change that gives a conversation another mode."""
        name = conversation.name
        change = Mode(name, mode, self._inbox.floor)
        draft = Draft(SYSTEM_MODES, "", "", encode_change("", "", change), change)
        done = self._log.append([draft])
        self._changed[name] = self._ticks()
        return change, done

    def _choose(self, conversation: Conversation) -> ModeName:
        name, loads = conversation.name, self._loads
        mode = newest_mode(conversation.epochs)
        changed = self._changed.get(name)
        load = Load(
            name,
            conversation.kind,
            mode,
            conversation.size(),
            loads.messages_per_s(name),
            loads.syncs_per_s(conversation),
            loads.watched_s(name),
            float("inf") if changed is None else max(0, self._ticks() - changed) / 1000,
        )
        try:
            chosen = self._policy.choose(load)
            # Whether it is a room is not a matter of load.
            return mode if "push" in (mode, chosen) else chosen
        except Exception:
            # A policy may be anybody's; what it does not decide stays as it is.
            logger.exception("the policy failed", conversation=name)
            return mode
