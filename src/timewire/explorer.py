"""The explorer: a stretch of the log with everything that stands beside it, for people to look at.

For administrators.  It shows where messages are and how far each consumer and device has come, and
never what they say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from prometheus_client import Histogram

from timewire.amplification import Amplification, amplification
from timewire.clock import Clock, wall_clock
from timewire.conversation import Conversation
from timewire.directory import Directory
from timewire.epochs import ModeName, mode_at
from timewire.errors import error
from timewire.hub import Hub, Receiver
from timewire.inbox import Inbox
from timewire.log import MessageLog
from timewire.metrics import COMMIT_SECONDS, DELIVERY_SECONDS, PUSHES, total
from timewire.model import Seq, Stored, decode_stored
from timewire.search import Indexer
from timewire.webhooks import Webhooks

MAX_SHOWN_MESSAGES: Final = 500
MAX_SHOWN_INBOXES: Final = 16
MAX_SHOWN_DEVICES: Final = 500
MAX_SHOWN_RECEIVERS: Final = 500


class Explore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which stretch of the log: the newest ``limit`` messages at or below ``upto`` (0: the head).

    ``users``: whose inboxes to show, separated by commas; empty: of those who are connected.
    """

    upto: Annotated[Seq, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_SHOWN_MESSAGES)] = 100
    users: Annotated[str, Meta(max_length=4096)] = ""
    id: str = ""


class Follow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message, by its SeqId."""

    seq: Seq
    id: str = ""


class Entry(msgspec.Struct, frozen=True):
    """A message as an entry.  ``mode``: how it reaches devices; ``bytes``: of its stored form.

    ``kind`` and ``sender`` are empty for one that was recalled or has expired.
    """

    seq: Seq
    time: int
    conversation: str
    sender: str
    kind: str
    bytes: int
    mode: ModeName


class Since(msgspec.Struct, frozen=True):
    """From the message after a SeqId on, a conversation has a mode."""

    since: Seq
    mode: ModeName


class Lane(msgspec.Struct, frozen=True):
    """A conversation that has entries here.  ``epochs``: its modes, oldest first."""

    conversation: str
    kind: str
    members: int
    epochs: Sequence[Since]


class InboxLane(msgspec.Struct, frozen=True):
    """The SeqIds of a user's inbox in this stretch."""

    user: str
    seqs: Sequence[Seq]


class Marker(msgspec.Struct, frozen=True):
    """A connected device: everything up to ``position`` was handed to it."""

    user: str
    device: str
    live: bool
    position: Seq


class Timing(msgspec.Struct, frozen=True):
    """Of how many things since the server started, and how many seconds they took together."""

    count: int
    seconds: float


class Exploration(msgspec.Struct, frozen=True):
    """A stretch of the log.  ``floor``: the lowest SeqId that inboxes still keep.

    ``consumers``: how far each has come.  ``amplification``, ``pushes``, ``commits`` (from staging
    to stable storage) and ``deliveries`` (from a message's time to its push, one a batch) only
    grow: the difference of two looks is what happened between them.
    """

    epoch: str
    now: int
    head: Seq
    floor: Seq
    entries: Sequence[Entry]
    lanes: Sequence[Lane]
    inboxes: Sequence[InboxLane]
    consumers: Mapping[str, Seq]
    devices: Sequence[Marker]
    more_devices: bool
    amplification: Amplification
    pushes: int
    commits: Timing
    deliveries: Timing


class Reached(msgspec.Struct, frozen=True):
    """A receiver of a message.  ``inbox``: it is in their inbox; ``devices``: connected ones."""

    user: str
    inbox: bool
    devices: Sequence[Marker]


class Way(msgspec.Struct, frozen=True):
    """The way of a message: stored, then passed by consumers, then at its receivers.

    ``receivers``: the first ones by name of ``receiver_count``.
    """

    entry: Entry
    consumers: Mapping[str, Seq]
    receiver_count: int
    receivers: Sequence[Reached]


class Explorer:
    """Answers from what the server's parts know."""

    def __init__(
        self,
        log: MessageLog,
        inbox: Inbox,
        directory: Directory,
        *,
        hub: Hub,
        indexer: Indexer | None,
        webhooks: Webhooks | None,
        clock: Clock = wall_clock,
    ) -> None:
        self._log = log
        self._inbox = inbox
        self._directory = directory
        self._hub = hub
        self._indexer = indexer
        self._webhooks = webhooks
        self._clock = clock

    async def explore(self, asked: Explore) -> Exploration:
        """A stretch of the log and what stands beside it."""
        head = self._log.head
        upto = min(asked.upto or head, head)
        after = max(0, upto - asked.limit)
        messages = [one for one in await self._log.read(after, asked.limit) if one.seq <= upto]
        known = {one.conversation: await self._conversation(one) for one in messages}
        devices = [self._marker(one) for one in self._hub.receivers()]
        users = [user for user in asked.users.split(",") if user] or _connected(devices)
        return Exploration(
            epoch=self._log.epoch,
            now=self._clock(),
            head=head,
            floor=self._inbox.floor,
            entries=[_entry(one, known[one.conversation]) for one in messages],
            lanes=[_lane(name, one) for name, one in known.items()],
            inboxes=[await self._lane(one, after, upto) for one in users[:MAX_SHOWN_INBOXES]],
            consumers=self._consumers(),
            devices=devices[:MAX_SHOWN_DEVICES],
            more_devices=len(devices) > MAX_SHOWN_DEVICES,
            amplification=amplification(self._inbox.traffic),
            pushes=int(total(PUSHES)),
            commits=_timing(COMMIT_SECONDS),
            deliveries=_timing(DELIVERY_SECONDS),
        )

    async def follow(self, asked: Follow) -> Way:
        """The way of one message.  Raises ``Invalid`` (bad_seq) when there is none."""
        found = await self._log.read(asked.seq - 1, 1) if asked.seq > 0 else []
        if not found or found[0].seq != asked.seq:
            raise error("bad_seq", "no message has this SeqId yet", seq=asked.seq)
        message = found[0]
        conversation = await self._conversation(message)
        receivers = sorted(conversation.members_at(message.seq)) if conversation else []
        return Way(
            _entry(message, conversation),
            self._consumers(),
            len(receivers),
            [await self._reached(one, message.seq) for one in receivers[:MAX_SHOWN_RECEIVERS]],
        )

    def _consumers(self) -> dict[str, Seq]:
        """How far everything that follows the log has come."""
        consumers = {"fan-out": self._hub.position}
        if self._indexer is not None:
            consumers["search"] = self._indexer.position
        if self._webhooks is not None:
            states = self._webhooks.states()
            consumers |= {f"webhook {one.endpoint}": one.position for one in states}
        return consumers

    async def _conversation(self, message: Stored) -> Conversation | None:
        return await self._directory.conversation(message.conversation)

    async def _lane(self, user: str, after: Seq, upto: Seq) -> InboxLane:
        refs, _ = await self._inbox.scan(user, after, upto, MAX_SHOWN_MESSAGES)
        return InboxLane(user, [ref.seq for ref in refs])

    async def _reached(self, user: str, seq: Seq) -> Reached:
        refs, _ = await self._inbox.scan(user, seq - 1, seq, 1)
        return Reached(user, bool(refs), [self._marker(one) for one in self._hub.of(user)])

    def _marker(self, one: Receiver) -> Marker:
        position = self._hub.position if one.live else one.position
        return Marker(one.user, one.device, one.live, position)


def _timing(metric: Histogram) -> Timing:
    return Timing(int(total(metric, "count")), total(metric, "sum"))


def _connected(devices: Sequence[Marker]) -> list[str]:
    return list(dict.fromkeys(one.user for one in devices))


def _entry(message: Stored, conversation: Conversation | None) -> Entry:
    """What may be told of a message."""
    payload = message.payload
    stored = decode_stored(payload) if payload else None
    mode = mode_at(conversation.epochs if conversation else (), message.seq)
    sender, kind = (stored.sender, stored.kind) if stored else ("", "")
    return Entry(message.seq, message.time, message.conversation, sender, kind, len(payload), mode)


def _lane(name: str, conversation: Conversation | None) -> Lane:
    if conversation is None:
        return Lane(name, "", 0, ())
    epochs = [Since(one.since, one.mode) for one in conversation.epochs]
    return Lane(name, conversation.kind, conversation.size(), epochs)
