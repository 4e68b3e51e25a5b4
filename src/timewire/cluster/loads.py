"""Modes of a cluster: gateways report what they observe, the leader decides for all of them.

Every gateway sees all messages, but only the syncs of its own devices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from timewire import policy as policies
from timewire.backends.jetstream import Names
from timewire.backends.jetstream.connection import subscribe, unsubscribe
from timewire.clock import Ticks, steady_ticks
from timewire.config import Config
from timewire.conversation import Conversation
from timewire.directory import Directory
from timewire.load import Loads
from timewire.modes import IDLE_PER_S
from timewire.parts import Store, steering

REPORT_PAUSE_S: Final = 5.0
PATIENCE_S: Final = 15.0
"""How long a report is good: after it, its gateway observes nothing."""

PIECE_CONVERSATIONS: Final = 1_000
"""In one message."""


class Observed(msgspec.Struct, frozen=True, array_like=True):
    """The load of a conversation at one gateway; see ``Loads``."""

    conversation: str
    watched_s: float
    messages_per_s: float
    syncs_per_s: float


class Report(msgspec.Struct, frozen=True, array_like=True):
    """What a gateway observes of some conversations."""

    gateway: str
    observed: list[Observed]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Report).decode


class Reporting:
    """A gateway's side.  ``name``: of this life of it."""

    def __init__(
        self, client: Client, names: Names, name: str, *, loads: Loads, directory: Directory
    ) -> None:
        self._client = client
        self._subject = names.loads
        self._name = name
        self._loads = loads
        self._directory = directory

    async def run(self) -> None:
        """Report again and again, until cancelled."""
        while True:
            await asyncio.sleep(REPORT_PAUSE_S)
            await self.report()

    async def report(self) -> None:
        """Report once.  What has become idle is not observed any more, until its next message."""
        watched = self._loads.watched()
        for start in range(0, len(watched), PIECE_CONVERSATIONS):
            piece: list[Observed] = []
            for name in watched[start : start + PIECE_CONVERSATIONS]:
                conversation = await self._directory.conversation(name)
                if conversation is not None:
                    piece.append(self._observe(conversation))
            with suppress(nats.errors.Error):
                await self._client.publish(self._subject, _encode(Report(self._name, piece)))

    def _observe(self, conversation: Conversation) -> Observed:
        name, loads = conversation.name, self._loads
        messages = loads.messages_per_s(name)
        found = Observed(name, loads.watched_s(name), messages, loads.syncs_per_s(conversation))
        if messages < IDLE_PER_S:
            loads.drop(name)
        return found


class CommonLoads:
    """A leader's side: what all gateways observe together.  ``listen`` before it is asked."""

    def __init__(self, ticks: Ticks = steady_ticks) -> None:
        self._ticks = ticks
        self._reports: dict[str, dict[str, tuple[float, Observed]]] = {}
        """conversation -> gateway -> when it was reported (ms), and what."""

    async def hear(self, message: Msg) -> None:
        """Take a report; called by the connection."""
        report, now = _decode(message.data), self._ticks()
        for one in report.observed:
            self._reports.setdefault(one.conversation, {})[report.gateway] = now, one

    def watched(self) -> list[str]:
        """The conversations that are observed anywhere."""
        for name in list(self._reports):
            if not any(self._of(name)):
                del self._reports[name]
        return list(self._reports)

    def watched_s(self, conversation: str) -> float:
        """For how long it has been observed by one of them."""
        return max((one.watched_s for one in self._of(conversation)), default=0.0)

    def messages_per_s(self, conversation: str) -> float:
        """Its messages, of which every gateway sees all."""
        return max((one.messages_per_s for one in self._of(conversation)), default=0.0)

    def syncs_per_s(self, conversation: Conversation) -> float:
        """Syncs of its members, at all gateways together."""
        return sum(one.syncs_per_s for one in self._of(conversation.name))

    def drop(self, conversation: str) -> None:
        """Forget a conversation, until it is reported again."""
        self._reports.pop(conversation, None)

    def _of(self, conversation: str) -> Iterator[Observed]:
        oldest = self._ticks() - PATIENCE_S * 1000
        found = self._reports.get(conversation, {}).values()
        return (one for heard, one in found if heard >= oldest)


async def steer(config: Config, store: Store, client: Client, names: Names) -> None:
    """Keep every conversation in the mode that the policy wants.  ``store``: the lead's."""
    loads = CommonLoads()
    listening = await subscribe(client, names.loads, loads.hear)
    try:
        await steering(store, loads, policies.configured(config), steady_ticks).run()
    finally:
        await unsubscribe(listening)
