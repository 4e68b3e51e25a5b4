"""Signals: who is typing, who is online.  Pushed only, never stored, and the first to be let go.

A signal goes over the bus, so that it reaches the connections of every process.  What is online is
what was last signalled: the answer to a ``watch`` and the changes after it fit together.

Changes of presence are told once they have lasted: a device that is back within ``LINGER_MS`` was
never gone.  Whom one may see is looked up when one begins to watch, and again when one of both has
left a conversation, or takes no more messages; what a user hides is hidden at the next ``tell``.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec
import structlog

from timewire.bus import Bus, Signal
from timewire.clock import Ticks
from timewire.coding import CODECS
from timewire.directory import Directory
from timewire.errors import TimewireError, error
from timewire.hub import Hub, Receiver
from timewire.inbox import Delivery
from timewire.metrics import SIGNALS, SIGNALS_DROPPED, WATCHED
from timewire.model import OPEN_KINDS, SELF, SETTINGS, Seq, Stored
from timewire.names import MAX_ID_BYTES, check_name, direct
from timewire.outbox import frame
from timewire.protocol import MAX_WATCHED_USERS, Presence, SomeoneTyping, Watch, Watching

MAX_WATCHERS: Final = 2_000
"""Connections that are told of one user's changes; further ones only see how things stood."""

MAX_SHARED_CONVERSATIONS: Final = 500
"""Of a watcher, in which it is looked whether a user is a member too."""

MAX_TYPING_MEMBERS: Final = 200
"""In larger conversations nobody is told who types."""

TYPING_INTERVAL_MS: Final = 2_000
"""Between two signals of one device's typing in one conversation."""

CONVERSATION_INTERVAL_MS: Final = 100
"""Between two signals in one conversation, whoever types."""

MAX_TYPING_KEPT: Final = 100_000
"""Devices and conversations whose last signal is remembered."""

LINGER_MS: Final = 5_000
"""How long a user may be without a connection before that is told."""

MAX_LOOKS_A_TICK: Final = 100
"""Watchers of whom it is looked again, in one tick, whom they may still see."""

TICK_S: Final = 0.5
"""How often changes of presence are told."""

_CODECS: Final = {codec.text: codec for codec in CODECS.values()}

log = structlog.get_logger("timewire.signals")


class Signals:
    """All signals of this process.  ``run`` it."""

    def __init__(self, hub: Hub, bus: Bus, directory: Directory, ticks: Ticks) -> None:
        self._hub = hub
        self._bus = bus
        self._directory = directory
        self._ticks = ticks
        self._typed = Spacing(MAX_TYPING_KEPT)
        self._online: set[str] = set()
        """Of whom it was signalled last that they are online."""
        self._due: dict[str, float] = {}
        """Users who may have come, gone or hidden -> when that is to be told, in ticks."""
        self._watched: dict[Receiver, Sequence[str]] = {}
        self._watchers: dict[str, dict[Receiver, None]] = {}
        self._doubtful: dict[Receiver, None] = {}
        """Watchers who may no longer see all whom they watch."""
        bus.listen(self.take)
        bus.subscribe(self.publish)

    async def run(self) -> None:
        """Tell who comes and goes."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.tell(self._ticks())
                await self.look_again()
            except TimewireError as fault:
                log.warning("presence is not told", code=fault.code)

    # -- typing ---------------------------------------------------------------------------------

    async def typing(self, origin: Receiver, conversation: str) -> None:
        """Tell the other members that the user of a connection is typing."""
        now, user = self._ticks(), origin.user
        if not self._typed.take((user, origin.device, conversation), TYPING_INTERVAL_MS, now):
            SIGNALS_DROPPED.labels("rate").inc()
            return
        found = self._directory.known(conversation)
        if found is None:
            found = await self._directory.conversation(conversation)
        if found is None or not found.is_member(user) or user in found.banned:
            SIGNALS_DROPPED.labels("not_member").inc()
        elif found.size() > MAX_TYPING_MEMBERS:
            SIGNALS_DROPPED.labels("members").inc()
        elif not self._typed.take((conversation,), CONVERSATION_INTERVAL_MS, now):
            SIGNALS_DROPPED.labels("rate").inc()
        else:
            self._bus.signal(Signal(SomeoneTyping(conversation, user), origin))

    # -- presence -------------------------------------------------------------------------------

    def joined(self, user: str) -> None:
        """A connection of the user has come, and is in the hub."""
        self._due[user] = self._ticks()

    def left(self, receiver: Receiver) -> None:
        """A connection has ended, and is no longer in the hub."""
        self._unwatch(receiver)
        if not self._hub.of(receiver.user):
            self._due[receiver.user] = self._ticks() + LINGER_MS

    def publish(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        """Notice who may have hidden, or parted from others; a subscriber of the bus."""
        for delivery in deliveries:
            message = delivery.message
            if message.conversation.startswith(SELF) and _SETTINGS in message.payload:
                self._due[message.conversation.removeprefix(SELF)] = self._ticks()
            elif self._watched and _PARTS.search(message.payload, 0, _KIND_BYTES):
                self._doubt(message)

    async def tell(self, now: float) -> None:
        """Signal every change of presence that is due; ``now``: in ticks."""
        for user in [user for user, due in self._due.items() if due <= now]:
            del self._due[user]
            try:
                shows = (await self._directory.settings(user)).presence == "all"
                seen = await self._seen(user)
            except TimewireError:
                self._due.setdefault(user, now)
                raise
            online = shows and bool(self._hub.of(user))
            if online != (user in self._online):
                self._bus.signal(Signal(Presence(user, online, 0 if online else seen)))

    def _doubt(self, message: Stored) -> None:
        """Somebody has left, was banned, or takes no more messages from somebody."""
        known = self._directory.known(message.conversation)
        if known is not None and known.kind in OPEN_KINDS:
            return
        said = _decode_parting(message.payload)
        own = message.conversation.startswith(SELF)
        for user in [said.sender] if own else [*said.body.left, *said.body.users]:
            self._doubtful.update(dict.fromkeys(self._watchers.get(user, ())))
            mine = () if own else self._hub.of(user)
            self._doubtful.update((one, None) for one in mine if one in self._watched)

    async def look_again(self) -> None:
        """Tell watchers who may no longer see somebody that he is gone."""
        for watcher in list(islice(self._doubtful, MAX_LOOKS_A_TICK)):
            users = self._watched.get(watcher, ())
            seen = set(await self._visible(watcher.user, users))
            self._doubtful.pop(watcher, None)
            # Whoever has asked anew meanwhile was answered by what is known now.
            if users and self._watched.get(watcher) is users:
                for user in [user for user in users if user not in seen]:
                    self._watchers.get(user, {}).pop(watcher, None)
                    if user in self._online:
                        self._hand(Signal(Presence(user, False)), [watcher])
                self._watched[watcher] = tuple(user for user in users if user in seen)

    async def watch(self, watcher: Receiver, asked: Watch) -> Watching:
        """Have a connection told of users' changes; how things stand now.

        Raises ``Invalid`` (too_many_watched, bad_name).
        """
        users = [check_name(user) for user in dict.fromkeys(asked.users)]
        if len(users) > MAX_WATCHED_USERS:
            raise error("too_many_watched", limit=MAX_WATCHED_USERS)
        seen = {user: await self._seen(user) for user in await self._visible(watcher.user, users)}
        # From here on nothing waits, so that no change falls between the answer and what follows.
        if watcher in self._hub.of(watcher.user):
            self._unwatch(watcher)
            self._watched[watcher] = tuple(seen)
            for user in seen:
                watchers = self._watchers.setdefault(user, {})
                if len(watchers) < MAX_WATCHERS:
                    watchers[watcher] = None
            WATCHED.set(len(self._watchers))
        return Watching(asked.id, [self._state(user, seen) for user in users])

    def _state(self, user: str, seen: Mapping[str, int]) -> Presence:
        online = user in seen and user in self._online
        return Presence(user, online, 0 if online else seen.get(user, 0))

    async def _seen(self, user: str) -> int:
        """When the user was last there, on any device; 0 for one who never was, or hides."""
        if (await self._directory.settings(user)).presence != "all":
            return 0
        return max((device.seen for device in await self._directory.devices(user)), default=0)

    async def _visible(self, watcher: str, users: Iterable[str]) -> list[str]:
        """Those of the users who share a conversation with the watcher, and do not block it."""
        blocks = self._directory.blocks
        wanted = dict.fromkeys([user for user in users if not await blocks(user, watcher)])
        found = [user for user in wanted if user == watcher or await self._talks(watcher, user)]
        missing = wanted.keys() - found
        after, left = "", MAX_SHARED_CONVERSATIONS
        while missing and left:
            page = await self._directory.memberships(watcher, after=after, limit=min(left, 100))
            for one in page:
                conversation = await self._directory.conversation(one.conversation)
                # Anybody can join rooms and channels: being there together says nothing.
                if conversation is None or conversation.kind in OPEN_KINDS:
                    continue
                if conversation.is_member(watcher):
                    shared = {user for user in missing if conversation.is_member(user)}
                    found += shared
                    missing -= shared
            after, left = (page[-1].conversation, left - len(page)) if page else ("", 0)
            await asyncio.sleep(0)
        return found

    async def _talks(self, one: str, other: str) -> bool:
        return await self._directory.conversation(direct(one, other)) is not None

    def _unwatch(self, receiver: Receiver) -> None:
        for user in self._watched.pop(receiver, ()):
            watchers = self._watchers.get(user, {})
            watchers.pop(receiver, None)
            if not watchers:
                self._watchers.pop(user, None)
        WATCHED.set(len(self._watchers))

    # -- from the bus ---------------------------------------------------------------------------

    def take(self, signal: Signal) -> None:
        """Hand a signal to those of this process whom it concerns; a listener of the bus."""
        told = signal.frame
        if isinstance(told, Presence):
            (self._online.add if told.online else self._online.discard)(told.user)
            if not told.online and self._hub.of(told.user):
                self._due.setdefault(told.user, self._ticks())  # gone elsewhere, but not here
            self._hand(signal, self._watchers.get(told.user, ()))
        elif (found := self._directory.known(told.conversation)) is not None:
            self._hand(signal, (one for user in found.present() for one in self._hub.of(user)))

    def _hand(self, signal: Signal, receivers: Iterable[Receiver]) -> None:
        frames: dict[bool, bytes] = {}
        kind = "presence" if isinstance(signal.frame, Presence) else "typing"
        for receiver in receivers:
            if receiver is signal.origin or not receiver.live:
                continue
            data = frames.get(receiver.text)
            if data is None:
                data = frame(_CODECS[receiver.text].encode(signal.frame), receiver.text)
                frames[receiver.text] = data
            if receiver.signal(data):
                SIGNALS.labels(kind).inc()
            else:
                SIGNALS_DROPPED.labels("slow").inc()


class _Parting(msgspec.Struct):
    left: list[str] = []
    users: list[str] = []


class _Parted(msgspec.Struct, rename={"sender": "from"}):
    sender: str
    body: _Parting


_decode_parting = msgspec.json.Decoder(_Parted).decode
_PARTS: Final = re.compile(rb'"kind":"(?:members|banned|blocked)"')
_KIND_BYTES: Final = 8 * MAX_ID_BYTES
"""A stored message begins with sender, id and kind."""

_SETTINGS: Final = b'"kind":"%b"' % SETTINGS.encode()
"""In the payload of a message that may be one of settings: to look again costs little."""


class Spacing:
    """Lets one thing pass in an interval, for each of many keys; forgets the oldest keys."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._last: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def take(self, key: tuple[str, ...], interval_ms: int, now: float) -> bool:
        """Whether one more may pass; ``now``: in ticks."""
        last = self._last.get(key)
        if last is not None and 0 <= now - last < interval_ms:
            return False
        self._last[key] = now
        self._last.move_to_end(key)
        if len(self._last) > self._most:
            self._last.popitem(last=False)
        return True
