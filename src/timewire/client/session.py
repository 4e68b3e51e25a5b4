"""One device's side of its connection, as a state machine: no sockets, no clock, no store.

What happens is told by method calls; ``effects`` then says what is to be done, in this order: save
``change`` in one transaction; hand ``events`` and ``answers`` to the app; send ``frames``.

    connecting ──welcome──> catching_up ──live──> live ──behind──> behind ──live──> live
                                 └──reset──> reset ──rebuilt──> connecting

Three rules keep a device complete, whatever breaks:

- The cursor moves only by sync frames (``page``, ``push``, ``live``, ``at``) and only in the
  transaction that saves their messages.
- A sync frame that cannot be taken (the app is too far behind with its events, or the device is
  being rebuilt) is let go, and with it all further ones of this connection.  The cursor stands
  before it, so they come again on the next connection.  Commands and queries go on meanwhile.
- A reset saves the new cursor together with the note that a rebuild is due; the note goes when the
  rebuild is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec

from timewire import asking, coding
from timewire import protocol as wire
from timewire.client.events import (
    Acked,
    Arrival,
    Connected,
    Disconnected,
    Event,
    Live,
    Presence,
    Received,
    Refused,
    Reset,
    Typing,
)
from timewire.client.outbox import Outbox, written
from timewire.client.store import Change, Owner, Saved
from timewire.commands import Command, concerns
from timewire.errors import CODES, Invalid, Retryable, TimewireError, error
from timewire.model import Message, Seq, decode_message

CREDIT_PAGES: Final = 4
"""Pages that the server may send before the first is saved."""

MAX_UNREAD_EVENTS: Final = 10_000
"""Messages that may wait for the app; with more, sync frames are let go."""

LOW_UNREAD_EVENTS: Final = 5_000
"""Messages that may wait for the app while further pages are asked for."""

RENEW_AFTER: Final = 0.75
"""Of a token's life on this connection: then it is renewed."""

MIN_RENEW_MS: Final = 200
"""Not sooner, for a token source that gives the same token again and again."""

RENEW_AGAIN_MS: Final = 5_000
"""After a newer token was refused."""

RENEWAL: Final = "renew"
"""The id of the frame; there is one at a time, and ids of others are chosen by chance."""

Answer = (
    wire.Ack
    | wire.HistoryPage
    | wire.ConversationPage
    | wire.MemberPage
    | wire.BanPage
    | wire.LinkPage
    | wire.ReaderPage
    | wire.SearchPage
    | wire.DevicePage
    | TimewireError
)
_Sync = wire.SyncPage | wire.Push | wire.Live | wire.At | wire.Behind


_CLOSINGS: Final[dict[int, str]] = {
    wire.CloseCode.BAD_TOKEN: "bad_token",
    wire.CloseCode.TOKEN_EXPIRED: "token_expired",
    wire.CloseCode.TOKEN_REVOKED: "token_revoked",
    wire.CloseCode.REPLACED: "replaced",
    wire.CloseCode.LOGGED_OUT: "logged_out",
    wire.CloseCode.DISPLACED: "displaced",
    wire.CloseCode.TOO_MANY_DEVICES: "too_many_devices",
    wire.CloseCode.VIOLATION: "bad_frame",
}


class State(Enum):
    """Where a device stands.  ``connecting`` is everything before the server's welcome."""

    CONNECTING = "connecting"
    CATCHING_UP = "catching_up"
    LIVE = "live"
    BEHIND = "behind"
    RESET = "reset"


class Effects(msgspec.Struct):
    """What is to be done.

    ``events`` holds the arrivals of ``change`` too, in the same order: those that the store knew
    already are not shown.  ``pause``: call ``resume`` after a pause, not before ``pause_ms``.
    ``rebuild``: rebuild from the conversation list and history, then call ``rebuilt``.
    ``reconnect``: end this connection and begin another one.  ``renew_ms``: call ``renew`` with a
    newer token after this time.
    """

    change: Change = msgspec.field(default_factory=Change)
    events: list[Event] = []
    answers: list[tuple[wire.Id, Answer]] = []
    frames: list[wire.ClientFrame] = []
    pause: bool = False
    pause_ms: int = 0
    rebuild: bool = False
    reconnect: bool = False
    renew_ms: int | None = None


class Session:
    """See the module.  ``unread``: messages that wait for the app; the caller keeps it exact.

    Raises ``Unusable`` (wrong_store) for what was saved by another device, and in ``receive`` when
    the server knows the device as another user; there also ``Invalid`` when its hello is refused.
    """

    def __init__(self, saved: Saved, device: str, kind: str = "") -> None:
        if saved.owner and saved.owner.device != device:
            raise error("wrong_store", device=device, owner=saved.owner.device)
        self.state = State.CONNECTING
        self.user = saved.owner.user if saved.owner else ""
        self.device = device
        self._kind = kind
        self.unread = len(saved.unread)
        self._cursor = saved.cursor
        self._reset = saved.reset
        self._outbox = Outbox(saved.outbox)
        self._queries: dict[wire.Id, wire.Query] = {}
        self._postponed: dict[wire.Id, None] = {}
        self._watch: wire.Watch | None = None
        self._limits: wire.Limits | None = None
        self._base = ""
        self._online = False
        self._owed_pages = 0
        self._deaf = False
        self._leaving = False
        self._complaint: TimewireError | None = None
        self._effects = Effects()
        if self._reset:
            self._effects.events.append(Reset(self._reset))
            self._effects.rebuild = True

    @property
    def outbox(self) -> int:
        """How many commands have no answer yet."""
        return len(self._outbox)

    @property
    def unsaved(self) -> int:
        """How many messages ``effects`` will ask to be saved."""
        return len(self._effects.change.arrivals)

    def effects(self) -> Effects:
        """What is to be done since the last call."""
        effects, self._effects = self._effects, Effects()
        return effects

    # -- the connection -------------------------------------------------------------------------

    def opened(self, token: str) -> None:
        """A connection is there; nothing was said on it."""
        hello = wire.Hello(token, self.device, self._cursor, CREDIT_PAGES, self._kind)
        self._effects.frames.append(hello)

    def closed(self, code: int, reason: str) -> tuple[wire.Advice, TimewireError]:
        """The connection is gone, with a WebSocket close code.  What to do, and why it ended."""
        if self._online and not self._leaving:
            self._online = False
            self._effects.events.append(Disconnected(reason))
        self.state = State.CONNECTING
        self._limits = None
        self._owed_pages = 0
        self._deaf = self._leaving = False
        self._outbox.restart()
        self._postponed.clear()
        complaint, self._complaint = self._complaint, None
        return wire.advice(code), complaint or _closing(code, reason)

    def receive(self, frame: wire.ServerFrame) -> None:
        """A frame from the server."""
        match frame:
            case wire.Welcome():
                self._welcome(frame)
            case wire.SyncPage() | wire.Push() | wire.Live() | wire.At() | wire.Behind():
                self._sync(frame)
            case wire.Ack():
                self._acked(frame)
            case wire.Problem():
                self._refused(frame)
            case wire.Reset():
                self._restart(frame)
            case wire.Renewed():
                self._plan_renewal(frame)
            case wire.SomeoneTyping() | wire.Presence() | wire.Watching():
                self._effects.events += _told(frame)
            case wire.Pong():
                pass
            case _:
                if self._queries.pop(frame.id, None):
                    self._effects.answers.append((frame.id, frame))

    def _welcome(self, frame: wire.Welcome) -> None:
        if self.user and self.user != frame.user:
            raise error("wrong_store", user=frame.user, owner=self.user)
        if not self.user:
            self.user = frame.user
            self._effects.change.owner = Owner(frame.user, self.device)
        self._base = frame.base
        if self._cursor is None:
            self._move(frame.pos)
        self._limits = frame.limits
        self.state = State.RESET if self._reset else State.CATCHING_UP
        if not self._online:
            self._online = True
            self._effects.events.append(Connected())
        self._plan_renewal(frame)
        self._send()

    def _plan_renewal(self, frame: wire.Welcome | wire.Renewed) -> None:
        if frame.expires:
            life_ms = frame.expires - frame.time
            self._effects.renew_ms = max(MIN_RENEW_MS, int(life_ms * RENEW_AFTER))

    def renew(self, token: str) -> None:
        """Go on with a newer token; without a connection the next one begins with it."""
        if self._limits is not None:
            self._effects.frames.append(wire.Renew(RENEWAL, token))

    def _restart(self, frame: wire.Reset) -> None:
        self._base, self._reset = frame.base, frame.reason
        self._move(frame.pos)
        self.state = State.RESET
        self._effects.change.reset = frame.reason
        self._effects.events.append(Reset(frame.reason))
        self._effects.rebuild = True

    # -- messages -------------------------------------------------------------------------------

    def _sync(self, frame: _Sync) -> None:
        if not self._listens():
            return
        if isinstance(frame, wire.Behind):
            self.state = State.BEHIND
            return
        if isinstance(frame, wire.SyncPage):
            for message in frame.messages:
                self._arrive(decode_message(message))
            self._owed_pages += 1
            self._give_credit()
        elif isinstance(frame, wire.Push):
            self._arrive(decode_message(frame.message))
        elif isinstance(frame, wire.Live):
            self.state = State.LIVE
            self._effects.events.append(Live())
        self._move(frame.pos)

    def _listens(self) -> bool:
        """Whether sync frames are taken; once one was let go, none is any more."""
        self._deaf = self._deaf or self._reset is not None or self.unread >= MAX_UNREAD_EVENTS
        return not self._deaf and self._limits is not None

    def _arrive(self, message: Message) -> None:
        own = message.sender == self.user and message.id in self._outbox
        self._save(Acked(message) if own else Received(message))

    def _save(self, arrival: Arrival) -> None:
        self._effects.change.arrivals.append(arrival)
        self._effects.events.append(arrival)
        self.unread += 1

    def _move(self, pos: str) -> None:
        self._cursor = self._effects.change.cursor = wire.Cursor(self._base, pos)

    def taken(self, unread: int) -> None:
        """The app has dealt with events; so many messages still wait for it."""
        self.unread = unread
        if self._limits is None or unread > LOW_UNREAD_EVENTS:
            return
        if self._deaf and not self._reset:
            self._leave()
        else:
            self._give_credit()

    def fetched(
        self, messages: Sequence[Message], marks: dict[str, Seq], begins: dict[str, Seq]
    ) -> None:
        """What a rebuild has fetched: messages, oldest first, marks, where to begin."""
        for message in messages:
            self._arrive(message)
        self._effects.change.marks |= marks
        self._effects.change.begins |= begins

    def rebuilt(self) -> None:
        """The rebuild is done.  What was let go meanwhile comes on a new connection."""
        self._reset = None
        self._effects.change.rebuilt = True
        if self._limits is not None:
            self._leave()

    def _give_credit(self) -> None:
        if self._owed_pages and self.unread <= LOW_UNREAD_EVENTS:
            self._effects.frames.append(wire.Credit(self._owed_pages))
            self._owed_pages = 0

    def _leave(self) -> None:
        if not self._leaving:
            self._leaving = self._deaf = True
            self._effects.reconnect = True

    # -- commands and queries -------------------------------------------------------------------

    def put(self, command: wire.Command) -> None:
        """Queue a command.  The same one may be queued twice.

        Raises ``Invalid`` (id_reused) and ``Retryable`` (too_busy).
        """
        if self._outbox.put(command):
            self._effects.change.queued.append(command)
            self._send_commands()

    def ask(self, query: wire.Query) -> None:
        """Have a query answered."""
        self._queries[query.id] = query
        self._send_query(query)

    def forget(self, id: wire.Id) -> None:
        """Nobody waits for this query's answer any more."""
        self._queries.pop(id, None)
        self._postponed.pop(id, None)

    def resume(self) -> None:
        """The pause is over: what the server could not do goes again."""
        self._outbox.resume()
        self._send_commands()
        postponed, self._postponed = self._postponed, {}
        for id in postponed:
            self._send_query(self._queries[id])

    def watch(self, watch: wire.Watch) -> None:
        """Watch users in place of those before, on this connection and all that follow."""
        self._watch = watch
        if self._limits is not None:
            self._effects.frames.append(watch)

    def typing(self, conversation: str) -> None:
        """Say that the user is typing, if that can be said now."""
        if self._limits is not None:
            self._effects.frames.append(wire.Typing(conversation))

    def _send(self) -> None:
        if self._watch is not None:
            self._effects.frames.append(self._watch)
        self._send_commands()
        for query in list(self._queries.values()):
            self._send_query(query)

    def _send_commands(self) -> None:
        if self._limits is not None:
            for command in self._outbox.next(self._limits.sends_in_flight):
                self._transmit(command, self._limits)

    def _send_query(self, query: wire.Query) -> None:
        if self._limits is not None:
            if not isinstance(query, asking.ListDevices | asking.LogOut):
                limit = min(query.limit, self._limits.page_entries)
                query = msgspec.structs.replace(query, limit=limit)
            self._transmit(query, self._limits)

    def _transmit(self, frame: Command | wire.Query, limits: wire.Limits) -> None:
        # The server would refuse it without knowing its id, for ever.
        if len(coding.JSON.encode(frame)) > limits.frame_bytes:
            self._fail(frame.id, error("frame_too_large", limit=limits.frame_bytes))
        else:
            self._effects.frames.append(frame)

    def _acked(self, ack: wire.Ack) -> None:
        command = self._outbox.settle(ack.id)
        if command is not None:
            self._save(Acked(written(self.user, command, ack)))
            self._effects.change.settled.append(ack.id)
            self._effects.answers.append((ack.id, ack))
            self._send_commands()

    def _refused(self, frame: wire.Problem) -> None:
        fault = fault_of(frame)
        if not frame.id:
            self._complaint = fault
            if self._limits is None and isinstance(fault, Invalid):
                # The hello itself is wrong, and would be next time.
                raise fault
        elif frame.id == RENEWAL:
            self._effects.renew_ms = RENEW_AGAIN_MS
        elif not frame.retry:
            self._fail(frame.id, fault)
            self._send_commands()
        elif frame.id in self._outbox:
            self._rest(frame)
            self._outbox.postpone(frame.id)
        elif frame.id in self._queries:
            self._rest(frame)
            self._postponed[frame.id] = None

    def _rest(self, frame: wire.Problem) -> None:
        if not self._outbox.paused and not self._postponed:
            self._effects.pause = True
            self._effects.pause_ms = _retry_after(frame)

    def _fail(self, id: wire.Id, fault: TimewireError) -> None:
        command = self._outbox.settle(id)
        if command is not None:
            self._effects.change.settled.append(id)
            self._effects.events.append(Refused(id, concerns(self.user, command), fault))
        if command is not None or self._queries.pop(id, None):
            self._effects.answers.append((id, fault))


def _told(frame: wire.SomeoneTyping | wire.Presence | wire.Watching) -> list[Event]:
    """The events of a signal."""
    if isinstance(frame, wire.SomeoneTyping):
        return [Typing(frame.conversation, frame.user)]
    users = frame.users if isinstance(frame, wire.Watching) else [frame]
    return [Presence(one.user, one.online, one.seen) for one in users]


def _retry_after(frame: wire.Problem) -> int:
    """How long the server has asked to wait before a repeat (ms)."""
    told = frame.fields.get("retry_after")
    return max(0, min(told, wire.MAX_TOLD_PAUSE_MS)) if isinstance(told, int) else 0


def fault_of(frame: wire.Problem) -> TimewireError:
    """The typed error of an ``error`` frame, also of a code that a newer server has."""
    known = CODES.get(frame.code)
    kind = known[0] if known else Retryable if frame.retry else Invalid
    return kind(frame.code, frame.message, **frame.fields)


def _closing(code: int, reason: str) -> TimewireError:
    """The typed error of a close code."""
    return error(_CLOSINGS.get(code, "not_connected"), reason=reason)
