"""Writes down what goes over a device's connections, for the checker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import msgspec

from timewire import protocol as wire
from timewire.client.outbox import written
from timewire.coding import JSON, MSGPACK
from timewire.commands import Command
from timewire.model import Seq, decode_message
from timewire.testing.history import Attempt, History, Start, Step, Who

_POSITIONED: Final = (wire.SyncPage, wire.Push, wire.Live, wire.At, wire.Behind)


class Recorder:
    """The history of a run, and its clock.  ``floor`` gives the lowest SeqId inboxes keep now."""

    def __init__(self, floor: Callable[[], Seq]) -> None:
        self.history = History()
        self.floor = floor
        self.highest_floor: Seq = 1
        self._now = 0
        self._connections = 0

    def tick(self) -> int:
        """A time: every call gives a later one."""
        self._now += 1
        return self._now

    def connection(self) -> int:
        """A number for a connection."""
        self._connections += 1
        return self._connections

    def floor_now(self) -> Seq:
        """The floor of the inboxes now."""
        floor = self.floor()
        self.highest_floor = max(self.highest_floor, floor)
        return floor


class Tap:
    """One connection of a device: a codec that writes down what it codes."""

    def __init__(self, recorder: Recorder, who: Who, codec: str) -> None:
        self._codec = JSON if codec == "json" else MSGPACK
        self.name, self.text = self._codec.name, self._codec.text
        self.reset_at: Seq | None = None
        """The position of the newest reset."""
        self.base = ""
        self._recorder = recorder
        self._who = who
        self._number = recorder.connection()
        self._position: Seq = 0
        self._cursor: wire.Cursor | None = None
        self._floor_before: Seq = 0
        self._started = False
        self._tries: dict[str, tuple[Command, int]] = {}

    # -- as a codec -----------------------------------------------------------------------------

    def encode(self, frame: wire.Frame) -> bytes:
        """The bytes of a frame that is sent."""
        if isinstance(frame, wire.Hello):
            self._cursor = frame.cursor
            self._floor_before = self._recorder.floor_now()
        elif type(frame) in wire.COMMANDS:
            command = cast(Command, frame)
            self._tries[command.id] = command, self._recorder.tick()
        return self._codec.encode(frame)

    def push(self, pos: str, message: bytes) -> bytes:
        """Only servers push."""
        return self._codec.push(pos, message)

    def decode_client(self, data: bytes | str) -> wire.ClientFrame:
        """Only servers get these."""
        return self._codec.decode_client(data)

    def decode_server(self, data: bytes | str) -> wire.ServerFrame:
        """The frame that has come."""
        frame = self._codec.decode_server(data)
        match frame:
            case wire.Welcome():
                self._welcomed(frame)
            case wire.SyncPage():
                self._step("page", frame.pos, frame.messages)
            case wire.Push():
                self._step("push", frame.pos, [frame.message])
            case wire.Live():
                self._step("live", frame.pos)
            case wire.At() | wire.Behind():
                self._step("at", frame.pos)
            case wire.Reset():
                self._reset(frame)
            case wire.Ack() if frame.id in self._tries:
                self._answered(frame.id, "acked", seq=frame.seq, time=frame.time)
            case wire.Problem() if frame.id in self._tries:
                self._answered(frame.id, "refused", code=frame.code)
            case _:
                pass
        return frame

    # -- what it means --------------------------------------------------------------------------

    def ended(self) -> None:
        """The connection is gone: what has no answer never gets one here."""
        for id in list(self._tries):
            self._answered(id, "unknown")

    def _welcomed(self, frame: wire.Welcome) -> None:
        self._position, self.base = int(frame.pos), frame.base
        cursor = int(self._cursor.pos) if self._cursor is not None else None
        is_lost = cursor is not None and cursor + 1 < min(
            self._floor_before, self._recorder.floor_now()
        )
        self._recorder.history.starts.append(
            Start(
                self._who,
                self._number,
                self._recorder.tick(),
                self._position,
                cursor,
                "expired" if is_lost else "good",
                base=frame.base,
            )
        )

    def _step(self, way: Any, pos: str, messages: Sequence[msgspec.Raw] = ()) -> None:
        self._started = True
        upto = int(pos)
        got = tuple(decode_message(message) for message in messages)
        step = Step(self._who, self._number, self._recorder.tick(), way, self._position, upto, got)
        self._recorder.history.steps.append(step)
        self._position = upto

    def _reset(self, frame: wire.Reset) -> None:
        """A cursor is lost: at the beginning, or while the device was catching up."""
        self._recorder.floor_now()
        lost = self._position if self._started or self._cursor is None else int(self._cursor.pos)
        starts = self._recorder.history.starts
        if not self._started:
            starts.remove(next(one for one in starts if one.connection == self._number))
        self._number = self._recorder.connection()
        is_lost = lost + 1 < self._recorder.highest_floor
        self._position = self.reset_at = int(frame.pos)
        starts.append(
            Start(
                self._who,
                self._number,
                self._recorder.tick(),
                self._position,
                lost,
                "expired" if is_lost else "good",
                frame.reason,
                frame.base,
            )
        )

    def _answered(self, id: str, outcome: Any, **answer: Any) -> None:
        command, began = self._tries.pop(id)
        meant = written(self._who.user, command, wire.Ack(id, 0, 0))
        self._recorder.history.attempts.append(
            Attempt(
                self._who,
                id,
                meant.conversation,
                meant.kind,
                meant.body,
                began,
                self._recorder.tick(),
                outcome,
                **answer,
            )
        )
