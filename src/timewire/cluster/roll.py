"""The roll: who is connected to any gateway, as a leader knows it.

A leader that wants to know calls the roll again and again.  Gateways answer with all their users,
and between two calls they say who comes and goes.  A gateway that no longer answers has nobody.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from timewire.backends.jetstream import Names
from timewire.backends.jetstream.connection import subscribe, unsubscribe
from timewire.hub import Hub

CALL_PAUSE_S: Final = 5.0
PATIENCE_S: Final = 15.0
"""After so long without a word a gateway is taken for dead."""

ANSWER_S: Final = 1.0
"""How long the first answers may take, before anybody is taken for absent."""

PIECE_USERS: Final = 5_000
"""In one message of a gateway."""

MAX_CHANGES_WAITING: Final = 10_000
"""Of who comes and goes, on their way out; the next answer to a call says the rest."""


class Here(msgspec.Struct, frozen=True, array_like=True):
    """What a gateway says.  ``whole``: all that it said before is void."""

    gateway: str
    come: list[str]
    gone: list[str] = []
    whole: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Here).decode


class Answering:
    """A gateway's side.  ``name``: of this life of it."""

    def __init__(self, client: Client, names: Names, name: str, hub: Hub) -> None:
        self._client = client
        self._names = names
        self._name = name
        self._hub = hub
        self._waiting: asyncio.Queue[tuple[str, bool] | None] = asyncio.Queue(MAX_CHANGES_WAITING)
        hub.on_change = self._changed

    async def run(self) -> None:
        """Answer, until cancelled."""
        await subscribe(self._client, self._names.roll, self._called)
        while True:
            change = await self._waiting.get()
            if change is None:
                await self._say_all()
            else:
                user, here = change
                await self._say(Here(self._name, [user] if here else [], [] if here else [user]))

    async def _called(self, _: Msg) -> None:
        self._put(None)

    def _changed(self, user: str, here: bool) -> None:
        self._put((user, here))

    def _put(self, change: tuple[str, bool] | None) -> None:
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait(change)

    async def _say_all(self) -> None:
        users = self._hub.users()
        for start in range(0, len(users) or 1, PIECE_USERS):
            piece = list(users[start : start + PIECE_USERS])
            await self._say(Here(self._name, piece, whole=not start))

    async def _say(self, here: Here) -> None:
        with suppress(nats.errors.Error):
            await self._client.publish(self._names.here, _encode(here))


class _Gateway(msgspec.Struct):
    """A gateway as the leader sees it: its users, and when it was heard last (s)."""

    heard: float
    users: set[str]


class Roll:
    """A leader's side.  ``run`` it, and wait until it is ``ready``."""

    def __init__(self, client: Client, names: Names) -> None:
        self._client = client
        self._names = names
        self._gateways: dict[str, _Gateway] = {}
        self._ready = asyncio.Event()

    def is_online(self, user: str) -> bool:
        """Whether a user has a device connected anywhere."""
        return any(user in gateway.users for gateway in self._gateways.values())

    async def ready(self) -> None:
        """Wait until those who are there have had the time to answer."""
        await self._ready.wait()

    async def run(self) -> None:
        """Call again and again, until cancelled."""
        heard = await subscribe(self._client, self._names.here, self._hear)
        try:
            while True:
                with suppress(nats.errors.Error):
                    await self._client.publish(self._names.roll, b"")
                await asyncio.sleep(ANSWER_S)
                self._ready.set()
                await asyncio.sleep(CALL_PAUSE_S - ANSWER_S)
                self._forget_the_dead()
        finally:
            await unsubscribe(heard)

    def _forget_the_dead(self) -> None:
        now = asyncio.get_running_loop().time()
        for name, gateway in list(self._gateways.items()):
            if now - gateway.heard > PATIENCE_S:
                del self._gateways[name]

    async def _hear(self, message: Msg) -> None:
        here, now = _decode(message.data), asyncio.get_running_loop().time()
        gateway = self._gateways.setdefault(here.gateway, _Gateway(now, set()))
        gateway.heard = now
        if here.whole:
            gateway.users = set()
        gateway.users.update(here.come)
        gateway.users.difference_update(here.gone)
