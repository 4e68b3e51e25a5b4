"""The hub: who is connected here, and the handing out of what fan-out has published.

``position`` is the horizon of everything served from here: pushes and pages never pass it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from typing import Protocol

import structlog

from timewire.clock import Clock, wall_clock
from timewire.coding import JSON, MSGPACK
from timewire.inbox import Delivery
from timewire.metrics import CONNECTIONS, DELIVERY_SECONDS, PUSHES
from timewire.model import Seq, Stored, message_head, shown_json
from timewire.outbox import frame

logger = structlog.get_logger("timewire.hub")


class Receiver(Protocol):
    """A connection as the hub sees it.  ``live``: it has everything up to the hub's position.

    One that is not live has everything up to its own ``position``.
    """

    user: str
    device: str
    live: bool
    text: bool

    @property
    def position(self) -> Seq: ...
    def push(self, data: bytes, seq: Seq) -> None:
        """Hand over the frame of a message with this SeqId."""
        ...

    def signal(self, data: bytes) -> bool:
        """Hand over the frame of a signal; False: too much waits for the connection already."""
        ...

    def drop(self) -> None:
        """A push has failed: end this connection, so that its device comes back and pulls."""
        ...

    def replace(self) -> None:
        """Another connection of the same device has come; end this one."""
        ...


class Hub:
    """All connections of this process, by user and device."""

    def __init__(self, position: Seq, clock: Clock = wall_clock, *, patience_s: float = 0) -> None:
        self.position = position
        self.on_change: Callable[[str, bool], None] = lambda user, here: None
        """Called with a user who has come, or gone with all devices."""
        self.patience_s = patience_s
        """How long a cursor past the position is waited for: it may be another process's."""
        self._clock = clock
        self._online: dict[str, list[Receiver]] = {}
        self._waiting: list[tuple[Seq, asyncio.Future[None]]] = []

    async def reached(self, position: Seq) -> None:
        """Wait until everything up to a position has been published."""
        if self.position < position:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiter = position, future
            self._waiting.append(waiter)
            try:
                await future
            finally:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)

    async def near(self, position: Seq) -> None:
        """Wait, but not longer than ``patience_s``, until everything up to a position is here."""
        if self.position < position and self.patience_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.patience_s):
                    await self.reached(position)

    def join(self, receiver: Receiver) -> None:
        """A device is connected; an older connection of the same device ends."""
        receivers = self._online.setdefault(receiver.user, [])
        for older in [one for one in receivers if one.device == receiver.device]:
            receivers.remove(older)
            CONNECTIONS.dec()
            older.replace()
        receivers.append(receiver)
        CONNECTIONS.inc()
        if len(receivers) == 1:
            self.on_change(receiver.user, True)

    def leave(self, receiver: Receiver) -> None:
        """A connection has ended.  One that was replaced has left already."""
        receivers = self._online.get(receiver.user, [])
        if receiver in receivers:
            receivers.remove(receiver)
            CONNECTIONS.dec()
            if not receivers:
                del self._online[receiver.user]
                self.on_change(receiver.user, False)

    def receivers(self) -> Iterable[Receiver]:
        """Everyone who is connected."""
        return [receiver for receivers in self._online.values() for receiver in receivers]

    def users(self) -> Sequence[str]:
        """Everyone who has a device connected here."""
        return list(self._online)

    def of(self, user: str) -> Sequence[Receiver]:
        """The connections of one user."""
        return self._online.get(user, ())

    def publish(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        """Push messages to those of their receivers that are live; a subscriber of the bus.

        The connection a message came from is passed over: its ack said it all.
        """
        online = self._online
        pushes, now = 0, self._clock()
        for delivery in deliveries:
            message = delivery.message
            seq, origin = message.seq, message.origin
            frames: dict[bool, bytes] = {}
            users = delivery.users
            if len(users) > len(online) and isinstance(users, Set):
                users = users & online.keys()
            for user in users:
                for receiver in online.get(user, ()):
                    if receiver.live and receiver is not origin:
                        try:
                            data = frames.get(receiver.text)
                            if data is None:
                                data = _push_frame(message, receiver.text, now)
                                frames[receiver.text] = data
                            receiver.push(data, seq)
                        except Exception:
                            _give_up(receiver)
                        pushes += 1
        self.position = position
        PUSHES.inc(pushes)
        if deliveries:
            DELIVERY_SECONDS.observe(max(0, now - deliveries[-1].message.time) / 1000)
        for waiter in [one for one in self._waiting if one[0] <= position]:
            self._waiting.remove(waiter)
            if not waiter[1].done():
                waiter[1].set_result(None)


def _give_up(receiver: Receiver) -> None:
    """A push has raised.  Nothing may be pushed past the message that was not."""
    receiver.live = False
    logger.exception("a push failed", user=receiver.user, device=receiver.device)
    try:
        receiver.drop()
    except Exception:
        logger.exception("a connection cannot be ended", user=receiver.user)


def _push_frame(message: Stored, text: bool, now: int) -> bytes:
    """The frame that pushes a message, the same for all receivers of one coding."""
    head = message_head(message.conversation)
    data = shown_json(head, message, now)
    return frame((JSON if text else MSGPACK).push(str(message.seq), data), text)
