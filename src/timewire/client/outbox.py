"""What a device has asked to be done and has no answer for yet: its commands, in order.

A command is sent again, with the same id, on every new connection until it is answered; the
server does it once.  So nothing here ever asks whether a lost connection had delivered it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from timewire.commands import Command, Id, Send, change_of, place_of
from timewire.errors import error
from timewire.model import Message
from timewire.protocol import Ack

MAX_OUTBOX_COMMANDS: Final = 10_000


class Outbox:
    """Commands from being queued to being answered.

    Each is waiting, or in flight on the present connection.  ``paused``: the server has asked for a
    rest, so nothing leaves until ``resume``.
    """

    def __init__(self, commands: Iterable[Command]) -> None:
        self._commands: dict[Id, Command] = {command.id: command for command in commands}
        self._waiting: deque[Id] = deque(self._commands)
        self._flying: set[Id] = set()
        self.paused = False

    def __len__(self) -> int:
        return len(self._commands)

    def __contains__(self, id: Id) -> bool:
        return id in self._commands

    def put(self, command: Command) -> bool:
        """Queue a command.  False: the same one is queued already.

        Raises ``Invalid`` (id_reused) for another one with its id, ``Retryable`` (too_busy) when
        the outbox is full.
        """
        known = self._commands.get(command.id)
        if known is not None:
            if known != command:
                raise error("id_reused", id=command.id)
            return False
        if len(self._commands) >= MAX_OUTBOX_COMMANDS:
            raise error("too_busy", limit=MAX_OUTBOX_COMMANDS)
        self._commands[command.id] = command
        self._waiting.append(command.id)
        return True

    def next(self, window: int) -> Iterator[Command]:
        """Take commands to be sent now, so that at most ``window`` are in flight."""
        while self._waiting and len(self._flying) < window and not self.paused:
            id = self._waiting.popleft()
            self._flying.add(id)
            yield self._commands[id]

    def settle(self, id: Id) -> Command | None:
        """A command has its final answer: it leaves.  None when it is not known (any more)."""
        command = self._commands.pop(id, None)
        if command is not None and id in self._flying:
            self._flying.discard(id)
        elif command is not None:
            self._waiting.remove(id)
        return command

    def postpone(self, id: Id) -> None:
        """The server cannot do this command now: it goes back to its place, and all take a rest."""
        self._flying.discard(id)
        self._line_up()
        self.paused = True

    def resume(self) -> None:
        """The rest is over."""
        self.paused = False

    def restart(self) -> None:
        """The connection is gone: everything goes again on the next one, in the same order."""
        self._flying.clear()
        self._line_up()
        self.paused = False

    def _line_up(self) -> None:
        self._waiting = deque(id for id in self._commands if id not in self._flying)


def written(user: str, command: Command, ack: Ack) -> Message:
    """The message that a command has become, as all other devices receive it.

    The server pushes a message to every connection but the one that sent it; for that one the ack
    and the command hold all of it.
    """
    if isinstance(command, Send):
        return Message(
            command.to,
            ack.seq,
            ack.time,
            user,
            command.id,
            command.kind,
            command.body,
            command.sent,
            command.reply,
            command.mentions,
            command.forward,
            command.expires,
        )
    body = msgspec.to_builtins(change_of(command, user, [user]))
    kind, place = body.pop("type"), place_of(user, command)
    return Message(place, ack.seq, ack.time, user, command.id, kind, body)
