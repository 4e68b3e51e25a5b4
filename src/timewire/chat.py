"""A chat client without a screen: what a user types becomes calls, what happens becomes state."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from timewire import showing
from timewire.client import (
    Acked,
    Client,
    Connected,
    Disconnected,
    Event,
    Live,
    Received,
    Refused,
    Typing,
)
from timewire.clock import wall_clock
from timewire.errors import TimewireError
from timewire.model import Message
from timewire.rooms import Room, Rooms

HISTORY_LINES: Final = 50
MAX_NAMES_SHOWN: Final = 200
TYPING_SHOWN_S: Final = 4
"""How long it is shown that somebody types."""

HELP: Final = {
    "/open NAME": "go to a conversation; /open @bob writes to bob alone",
    "/who": "who is a member here",
    "/history": "load older messages (also PageUp)",
    "/create NAME USER…": "make a group",
    "/add USER…": "add members to this group",
    "/remove USER…": "remove members from this group",
    "/leave": "leave this group",
    "/edit TEXT": "have your last message say something else",
    "/recall": "take your last message back",
    "/react EMOJI": "put an emoji to the last message, or take yours back",
    "/read": "mark this conversation as read",
    "/quit": "end (also Ctrl-D)",
}
"""The commands, and what each one does."""


class Chat:
    """One user's chat.  ``changed`` is called whenever there is something new to show."""

    def __init__(self, me: Client, changed: Callable[[], None]) -> None:
        self.rooms = Rooms(me.user)
        self.status = "connecting"
        self.ended = False
        self._me = me
        self._changed = changed
        self._typing: dict[tuple[str, str], int] = {}
        """(conversation, user) -> until when it is shown that the user types there, in ms"""
        self._one_line = asyncio.Lock()
        self._commands: dict[str, Callable[[list[str]], Awaitable[None]]] = {
            "/open": self._open,
            "/who": self._who,
            "/history": self._history,
            "/create": self._create,
            "/add": self._add,
            "/remove": self._remove,
            "/leave": self._leave,
            "/edit": self._edit,
            "/recall": self._recall,
            "/react": self._react,
            "/read": self._read,
            "/help": self._help,
        }

    async def start(self) -> None:
        """Load the list of conversations, and open the one with the newest message."""
        for state in await self._me.conversations():
            self.rooms.state(state)
        own = self.rooms.room(showing.resolve("@" + self._me.user, self._me.user))
        await self.open(self.rooms.listed()[0] if self.rooms.listed() else own)
        if not own.last and self.rooms.open is own:
            self._note("Write a note to yourself, or: /open @bob, /create team bob carol, /help")

    async def follow(self) -> None:
        """Take in everything that happens, for as long as the device is open."""
        async for event in self._me.events():
            self._take(event)
            self._changed()

    async def open(self, room: Room) -> None:
        """Show a room with its newest messages; they are read now."""
        self.rooms.open = room
        self._changed()
        if room.older and len(room.stored) < HISTORY_LINES:
            await self.older()
        await self._read([])

    async def older(self) -> None:
        """Load what comes before the oldest line of the open room."""
        room = self.rooms.open
        if room is None or not room.older:
            return
        try:
            page = await self._me.history(room.name, before=room.first, limit=HISTORY_LINES)
        except TimewireError as fault:
            room.older = False
            if fault.code != "unknown_conversation":  # a direct one begins with its first message
                self._note(fault.message)
        else:
            self.rooms.history(room.name, page.messages, page.has_more)
        self._changed()

    @property
    def bar(self) -> str:
        """What is worth knowing at a glance: who is typing here, else how the connection is."""
        now, here = wall_clock(), self.rooms.open.name if self.rooms.open else ""
        self._typing = {key: until for key, until in self._typing.items() if until > now}
        names = sorted(user for room, user in self._typing if room == here)
        return f"{', '.join(map(showing.printable, names))} typing …" if names else self.status

    def typing(self) -> None:
        """The user is writing something for the open room."""
        if self.rooms.open is not None:
            self._me.typing(self.rooms.open.name)

    async def enter(self, text: str) -> None:
        """A line that the user has entered: a command, or a message for the open room.

        Lines are taken one after the other: what follows ``/create`` goes into the new group.
        """
        text = text.strip()
        if text == "/quit":
            self.ended = True
        elif text:
            async with self._one_line:
                await self._enter(text)
        self._changed()

    async def _enter(self, text: str) -> None:
        try:
            if text.startswith("/"):
                name, *words = text.split()
                await self._commands.get(name, self._unknown)(words)
            elif self.rooms.open is not None:
                self._send(self.rooms.open, text)
            await self._read([])
        except TimewireError as fault:
            self._note(fault.message)

    # -- what happens ---------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if isinstance(event, Received | Acked):
            self.rooms.receive(event.message)
            self._typing.pop((event.message.conversation, event.message.sender), None)
        elif isinstance(event, Typing):
            until = wall_clock() + TYPING_SHOWN_S * 1000
            self._typing[event.conversation, event.user] = until
            asyncio.get_running_loop().call_later(TYPING_SHOWN_S, self._changed)
        elif isinstance(event, Refused):
            self.rooms.refused(event.conversation, event.id, event.error.message)
        elif isinstance(event, Live):
            self.status = "live"
        elif isinstance(event, Connected):
            self.status = "catching up"
        elif isinstance(event, Disconnected):
            self.status = f"no connection: {event.reason}"

    def _note(self, text: str) -> None:
        self.rooms.note(text, wall_clock())
        self._changed()

    # -- what the user does ---------------------------------------------------------------------

    def _send(self, room: Room, text: str) -> None:
        id = secrets.token_hex(8)
        self._me.post(room.name, text, id=id)  # what becomes of it comes as an event
        self.rooms.sending(room.name, id, text, wall_clock())

    async def _open(self, words: list[str]) -> None:
        if len(words) != 1:
            self._note("/open NAME, or /open @user")
            return
        await self.open(self.rooms.room(showing.resolve(words[0], self._me.user)))

    async def _who(self, words: list[str]) -> None:
        if self.rooms.open is not None:
            members = await self._me.members(self.rooms.open.name)
            more = len(members) - MAX_NAMES_SHOWN
            shown = ", ".join(members[:MAX_NAMES_SHOWN])
            self._note(f"{len(members)} here: {shown}{' …' if more > 0 else ''}")

    async def _history(self, words: list[str]) -> None:
        room = self.rooms.open
        if room is not None and not room.older:
            self._note("this is where it begins")
        await self.older()

    async def _create(self, words: list[str]) -> None:
        if not words:
            self._note("/create NAME USER…")
            return
        await self._me.create(words[0], words[1:])
        await self.open(self.rooms.room(words[0]))

    async def _add(self, words: list[str]) -> None:
        if self.rooms.open is not None and words:
            await self._me.add(self.rooms.open.name, words)

    async def _remove(self, words: list[str]) -> None:
        if self.rooms.open is not None and words:
            await self._me.remove(self.rooms.open.name, words)

    async def _leave(self, words: list[str]) -> None:
        await self._remove([self._me.user])

    async def _edit(self, words: list[str]) -> None:
        message = self._newest(self._me.user)
        if message is not None and words:
            await self._me.edit(message.conversation, message.seq, " ".join(words))

    async def _recall(self, words: list[str]) -> None:
        message = self._newest(self._me.user)
        if message is not None:
            await self._me.recall(message.conversation, message.seq)

    async def _react(self, words: list[str]) -> None:
        message = self._newest()
        if message is not None and len(words) == 1:
            on = self._me.user not in message.reactions.get(words[0], ())
            await self._me.react(message.conversation, message.seq, words[0], on=on)

    def _newest(self, sender: str | None = None) -> Message | None:
        """The newest message of the open room, of anybody or of one user."""
        message = self.rooms.open.newest(sender) if self.rooms.open is not None else None
        if message is None:
            self._note("there is no such message here")
        return message

    async def _read(self, words: list[str]) -> None:
        room = self.rooms.open
        if room is not None and (seq := self.rooms.read(room.name)):
            await self._me.mark_read(room.name, seq)

    async def _help(self, words: list[str]) -> None:
        for command, meaning in HELP.items():
            self._note(f"{command:<20} {meaning}")

    async def _unknown(self, words: list[str]) -> None:
        self._note("no such command; /help lists them")
