"""The bus of a gateway: what fan-out has delivered stays here, signals go to all gateways."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from timewire.backends.jetstream import Names
from timewire.backends.jetstream.connection import subscribe
from timewire.backends.local_bus import LocalBus
from timewire.bus import Signal
from timewire.metrics import SIGNALS_DROPPED
from timewire.protocol import Presence, SomeoneTyping

MAX_SIGNALS_WAITING: Final = 1_000
"""Signals on their way out; further ones are let go."""

_ORIGIN: Final = "Timewire-Origin"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(SomeoneTyping | Presence).decode


class ClusterBus(LocalBus):
    """A ``Bus`` whose signals reach every gateway.  ``name`` is this process's."""

    def __init__(self, client: Client, names: Names, name: str) -> None:
        super().__init__()
        self._client = client
        self._subject = names.signals
        self._name = name
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_SIGNALS_WAITING)

    def signal(self, signal: Signal) -> None:
        """Hand a signal to every listener here, and send it to the other gateways."""
        super().signal(signal)
        try:
            self._waiting.put_nowait(_encode(signal.frame))
        except asyncio.QueueFull:
            SIGNALS_DROPPED.labels("slow").inc()

    async def run(self) -> None:
        """Carry signals to and from other gateways, until cancelled."""
        await subscribe(self._client, self._subject, self._hear)
        while True:
            data = await self._waiting.get()
            try:
                headers = {_ORIGIN: self._name}
                await self._client.publish(self._subject, data, headers=headers)
            except nats.errors.Error:
                SIGNALS_DROPPED.labels("slow").inc()

    async def _hear(self, message: Msg) -> None:
        if (message.headers or {}).get(_ORIGIN) != self._name:
            super().signal(Signal(_decode(message.data)))
