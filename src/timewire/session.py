"""One connection's life as a state machine, without sockets, clocks or stores.

    new ──hello──> checking ──> catching ⇄ live          closed from anywhere

What happens comes in as method calls; what is to be done goes out as a list of effects, in order:
a frame of the server is to be sent, a frame of the device to be carried out, ``Pull`` asks for the
next page of the inbox, ``Close`` ends the connection.

The switch to live is atomic: ``pulled`` is told the horizon of that very moment, and goes live only
when the page reaches it.  From then on the gateway pushes all that is published.  So no push is
sent during catch-up, and none is missed after.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import msgspec

from timewire.commands import Command, place_of
from timewire.errors import Invalid, TimewireError, error
from timewire.model import Seq
from timewire.protocol import (
    COMMANDS,
    Behind,
    ClientFrame,
    CloseCode,
    Credit,
    Hello,
    Id,
    Limits,
    Live,
    Ping,
    Query,
    Renew,
    Reset,
    ResetReason,
    ServerFrame,
    SyncPage,
    Typing,
    Watch,
    Welcome,
    problem,
)
from timewire.quotas import Meter
from timewire.sync import Pulled

MAX_CREDIT_PAGES: Final = 64
"""Pages that a device may allow in advance; more is taken as this many."""

MAX_BAD_FRAMES: Final = 100
"""Malformed or misplaced frames on one connection before it is closed as an attack."""

MAX_QUERIES_IN_FLIGHT: Final = 32
"""Questions of one connection that may be answered at the same time."""

MAX_STALL_MS: Final = 10_000
"""How long commands are refused after one that was refused for now and is not repeated."""

_REJECTIONS: Final = {
    "token_expired": CloseCode.TOKEN_EXPIRED,
    "token_revoked": CloseCode.TOKEN_REVOKED,
    "too_many_devices": CloseCode.TOO_MANY_DEVICES,
}

State = Literal["new", "checking", "catching", "live", "closed"]


class Pull(msgspec.Struct, frozen=True):
    """Read the inbox after this position, and answer with ``pulled`` or ``lost``."""

    after: Seq


class Close(msgspec.Struct, frozen=True):
    """Close the connection with this code, after everything that was to be sent."""

    code: CloseCode


Effect = ServerFrame | Hello | Ping | Command | Query | Watch | Typing | Renew | Pull | Close
Effects = Sequence[Effect]

Answer = Callable[[str, Query], Awaitable[ServerFrame]]
"""(user, question) -> its answer.  Raises what is wrong with it."""


class Session:
    """See the module.  ``position``: everything up to it has been given to the device."""

    __slots__ = (
        "bad_frames",
        "base",
        "commands",
        "credit",
        "device",
        "limits",
        "meter",
        "position",
        "pulling",
        "queries",
        "stalled",
        "stalled_until",
        "state",
        "turned_away",
        "user",
    )

    def __init__(self, limits: Limits, meter: Meter) -> None:
        self.state: State = "new"
        self.limits = limits
        self.meter = meter
        self.user = ""
        self.device = ""
        self.base = ""
        self.position: Seq = 0
        self.credit = 0
        self.pulling = False
        self.commands = 0
        self.queries = 0
        self.bad_frames = 0
        self.stalled: Id | None = None
        self.stalled_until = 0.0
        self.turned_away = False

    # -- from the device ------------------------------------------------------------------------

    def receive(self, frame: ClientFrame, now: float) -> Effects:
        """A frame from the device; ``now``: in ticks."""
        if self.state in ("catching", "live"):
            if type(frame) in COMMANDS:
                return self._command(frame, now)  # pyright: ignore[reportArgumentType]
            return self._other(frame, now)
        if self.state == "closed":
            return ()
        if isinstance(frame, Hello) and self.state == "new":
            self.state = "checking"
            self.credit = max(1, min(frame.credit, MAX_CREDIT_PAGES))
            return (frame,)
        if isinstance(frame, Ping):
            return (frame,)
        return self.refuse(error("not_hello"), getattr(frame, "id", ""))

    def refuse(self, fault: TimewireError, id: str = "") -> Effects:
        """A frame that cannot be taken.  The connection is kept, unless there were too many."""
        if self.state == "closed":
            return ()
        self.bad_frames += 1
        told = problem(fault, id)
        if self.bad_frames < MAX_BAD_FRAMES:
            return (told,)
        self.state = "closed"
        return (told, Close(CloseCode.VIOLATION))

    def _command(self, frame: Command, now: float) -> Effects:
        if self.stalled is not None and not self._in_turn(frame.id, now):
            return (problem(error("out_of_turn", first=self.stalled), frame.id),)
        if self.commands >= self.limits.sends_in_flight:
            return self._turn_away(error("too_busy"), frame.id)
        place = place_of(self.user, frame) if self.meter.by_conversation else ""
        if (refused := self.meter.send(place, now)) is not None:
            return self._turn_away(refused, frame.id)
        self.commands += 1
        return (frame,)

    def _turn_away(self, fault: TimewireError, id: Id) -> Effects:
        """Refuse for now.  What the device sends after it must not overtake its repeat."""
        self.stalled, self.stalled_until, self.turned_away = id, 0, True
        return (problem(fault, id),)

    def _in_turn(self, id: Id, now: float) -> bool:
        """Whether a command may pass: the repeat of the refused one, or one after a long wait."""
        self.stalled_until = self.stalled_until or now + MAX_STALL_MS
        if id == self.stalled or now >= self.stalled_until:
            self.stalled, self.turned_away = None, False
        return self.stalled is None

    def _other(self, frame: ClientFrame, now: float) -> Effects:
        if isinstance(frame, Credit):
            self.credit = min(self.credit + max(0, frame.pages), MAX_CREDIT_PAGES)
            return self._pull()
        if isinstance(frame, Ping):
            return (frame,)
        if isinstance(frame, Typing):
            return (frame,) if self.meter.signal(now) else ()
        if isinstance(frame, Query | Watch):
            if self.queries >= MAX_QUERIES_IN_FLIGHT:
                return (problem(error("too_busy"), frame.id),)
            self.queries += 1
            return (frame,)
        if isinstance(frame, Renew):
            return (frame,)
        return self.refuse(error("hello_twice"))

    # -- hello ----------------------------------------------------------------------------------

    def welcome(
        self, user: str, device: str, session: str, start: Start, now: int, *, expires: int = 0
    ) -> Effects:
        """The token was good, until ``expires``; ``start`` says where the device stands."""
        self.user, self.device = user, device
        self.base, self.position = start.base, start.position
        pos = str(start.position)
        hello = Welcome(user, device, session, start.base, pos, now, self.limits, expires=expires)
        if start.reset is not None:
            return (hello, *self._restart(start.reset, start.position))
        self.state = "catching"
        if start.new:
            return (hello, *self._go_live())
        return (hello, *self._pull())

    def reject(self, fault: TimewireError) -> Effects:
        """The token was not good.  A hello that is wrong in itself may be said again."""
        if isinstance(fault, Invalid):
            self.state = "new"
            return self.refuse(fault)
        self.state = "closed"
        return (problem(fault), Close(_REJECTIONS.get(fault.code, CloseCode.BAD_TOKEN)))

    # -- catching up and live -------------------------------------------------------------------

    def pulled(self, page: Pulled, horizon: Seq) -> Effects:
        """A pull's page has come; ``horizon`` is what has been published up to this moment."""
        self.pulling = False
        if self.state != "catching":
            return ()
        self.position = page.position
        sent: tuple[Effect, ...] = ()
        if page.messages:
            self.credit -= 1
            messages = [msgspec.Raw(message) for message in page.messages]
            sent = (SyncPage(messages, str(page.position), page.has_more),)
        if page.has_more or page.position < horizon:
            return (*sent, *self._pull())
        return (*sent, *self._go_live())

    def lost(self, reason: ResetReason, horizon: Seq) -> Effects:
        """The position of the device has expired while it was catching up."""
        self.pulling = False
        return () if self.state == "closed" else self._restart(reason, horizon)

    def fall_behind(self, position: Seq) -> Effects:
        """The device reads too slowly: pushes end, all up to ``position`` has been handed out."""
        self.state, self.position = "catching", position
        return (Behind(str(position)), *self._pull())

    def _restart(self, reason: ResetReason, horizon: Seq) -> Effects:
        self.position = horizon
        return (Reset(reason, self.base, str(horizon)), *self._go_live())

    def _go_live(self) -> Effects:
        self.state = "live"
        return (Live(str(self.position)),)

    def _pull(self) -> Effects:
        if self.state != "catching" or self.pulling or not self.credit:
            return ()
        self.pulling = True
        return (Pull(self.position),)

    # -- answers --------------------------------------------------------------------------------

    def acked(self) -> bool:
        """A command was carried out; says whether its ack is still to be sent."""
        self.commands -= 1
        return self.state != "closed"

    def answered(
        self, frame: Command | Query | Watch, answer: ServerFrame | TimewireError
    ) -> Effects:
        """A command or query was carried out, or refused."""
        if type(frame) in COMMANDS:
            self.commands -= 1
        else:
            self.queries -= 1
        if self.state == "closed":
            return ()
        if not isinstance(answer, TimewireError):
            return (answer,)
        if answer.retry and type(frame) in COMMANDS and (self.turned_away or self.stalled is None):
            # It was admitted before the one that was turned away: its repeat comes first.
            self.stalled, self.stalled_until, self.turned_away = frame.id, 0, False
        return (problem(answer, frame.id),)

    def close(self, code: CloseCode) -> Effects:
        """End the connection from this side."""
        if self.state == "closed":
            return ()
        self.state = "closed"
        return (Close(code),)


class Start(msgspec.Struct, frozen=True):
    """Where a device starts: its cursor, and whether it is new or must start again."""

    base: str
    position: Seq
    new: bool = False
    reset: ResetReason | None = None
