"""The screen of the chat client: conversations at the left, messages at the right, input below."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import HSplit, Layout, VSplit, Window
from prompt_toolkit.layout.containers import Float, FloatContainer
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import TextArea

from timewire.chat import HELP, Chat
from timewire.client import Client
from timewire.rooms import Line, Room, Rooms

SIDEBAR_COLUMNS: Final = 24
MAX_LINES_DRAWN: Final = 200
PAGE_LINES: Final = 10

STYLE: Final = Style.from_dict(
    {
        "open": "reverse",
        "unread": "bold ansicyan",
        "left": "ansibrightblack",
        "time": "ansibrightblack",
        "who": "bold ansicyan",
        "me": "bold ansigreen",
        "event": "ansibrightblack",
        "note": "italic ansibrightblack",
        "sending": "ansiyellow",
        "stored": "ansibrightblack",
        "refused": "ansired",
        "bar": "reverse",
    }
)
_MARKS: Final = {"sending": " …", "stored": " ✓", "refused": " ✗"}
"""Behind one's own messages: on its way, on stable storage, refused."""
_SCROLL_HERE: Final = ("[SetCursorPosition]", "")
"""The window scrolls until the last of these is seen."""


def sidebar(rooms: Rooms) -> StyleAndTextTuples:
    """The list of conversations, with what is unread in each."""
    shown: StyleAndTextTuples = []
    for room in rooms.listed():
        count = f" {room.unread}" if room.unread else ""
        style = "class:open" if room is rooms.open else "class:unread" if count else ""
        style = style if room.member else style + " class:left"
        width = SIDEBAR_COLUMNS - len(count) - 2
        shown.append((style, f" {room.label[:width]:<{width}}{count} \n"))
    return shown


def messages(rooms: Rooms, skip: int = 0) -> StyleAndTextTuples:
    """The lines of the open room, but for the newest ``skip``; days are told apart."""
    if rooms.open is None:
        return []
    lines = rooms.open.lines
    end = len(lines) - skip
    shown: StyleAndTextTuples = []
    day = ""
    for line in lines[max(0, end - MAX_LINES_DRAWN) : end]:
        when = datetime.fromtimestamp(line.time / 1000).astimezone()
        if day != (day := f"{when:%A, %d %B %Y}"):
            shown.append(("class:note", f"── {day} ──\n"))
        shown += [_SCROLL_HERE, *_line(line, f"{when:%H:%M}", rooms.user)]
    return shown


def _line(line: Line, time: str, user: str) -> StyleAndTextTuples:
    if line.state == "note":
        return [("class:note", f"{line.text}\n")]
    if line.state == "event":
        return [("class:time", f"{time} "), ("class:event", f"{line.who or '?'} {line.text}\n")]
    who = ("class:me" if line.who == user else "class:who", f"{line.who or '?'} ")
    mark = _MARKS[line.state] if line.who == user else ""
    return [
        ("class:time", f"{time} "),
        who,
        ("", line.text),
        (f"class:{line.state}", f"{mark}\n"),
    ]


def title(room: Room | None, status: str, user: str) -> str:
    """The bar between messages and input."""
    name = "" if room is None else room.label + (f" · {room.title}" if room.title else "")
    left = "" if room is None or room.member else " · you have left"
    return f" {user} · {status}   {name}{left}   /help"


def _on_key(act: Callable[[], None], event: KeyPressEvent) -> None:
    act()


class Screen:
    """Draws a chat and feeds it with what is typed, until the user quits."""

    def __init__(self, me: Client) -> None:
        self.chat = Chat(me, self._draw)
        self.skipped = 0
        self.input = TextArea(
            height=1,
            prompt="> ",
            multiline=False,
            wrap_lines=False,
            completer=self._completer(),
            complete_while_typing=False,
            accept_handler=self._accept,
        )
        self.input.buffer.on_text_changed += self._typed
        self._app: Application[None] = Application(
            Layout(self._layout(), focused_element=self.input),
            key_bindings=self._keys(),
            style=STYLE,
            full_screen=True,
        )

    async def run(self) -> None:
        """Show the chat until the user quits.  Raises what ended it otherwise."""
        tasks = [asyncio.create_task(work) for work in (self.chat.follow(), self.chat.start())]
        for task in tasks:
            task.add_done_callback(self._ended)
        try:
            await self._app.run_async(handle_sigint=False)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._leave()

    def _layout(self) -> FloatContainer:
        rooms = self.chat.rooms
        left = Window(FormattedTextControl(lambda: sidebar(rooms)), width=SIDEBAR_COLUMNS)
        shown = FormattedTextControl(lambda: messages(rooms, self.skipped))
        right = Window(shown, wrap_lines=True, always_hide_cursor=True)
        bar = Window(
            FormattedTextControl(lambda: title(rooms.open, self.chat.bar, rooms.user)),
            height=1,
            style="class:bar",
        )
        body = HSplit([VSplit([left, Window(width=1, char="│"), right]), bar, self.input])
        menu = Float(CompletionsMenu(max_height=8), xcursor=True, ycursor=True)
        return FloatContainer(body, [menu])

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        for key, act in (
            ("c-c", self._leave),
            ("c-d", self._leave),
            ("c-n", partial(self._step, 1)),
            ("c-p", partial(self._step, -1)),
            ("pagedown", partial(self._scroll, -PAGE_LINES)),
            ("pageup", partial(self._scroll, PAGE_LINES)),
        ):
            keys.add(key)(partial(_on_key, act))
        return keys

    def _completer(self) -> WordCompleter:
        commands = {usage.split()[0]: meaning for usage, meaning in HELP.items()}

        def words() -> list[str]:
            return [*commands, *(room.label for room in self.chat.rooms.listed())]

        return WordCompleter(words, meta_dict=commands, WORD=True)

    # -- what is typed --------------------------------------------------------------------------

    def _typed(self, buffer: Buffer) -> None:
        if buffer.text and not buffer.text.startswith("/") and not self.chat.ended:
            self.chat.typing()

    def _accept(self, buffer: Buffer) -> bool:
        self.skipped = 0
        self._app.create_background_task(self.chat.enter(buffer.text))
        return False

    def _step(self, by: int) -> None:
        """Go to the next conversation of the list, or the one before."""
        rooms = self.chat.rooms
        listed = rooms.listed()
        if listed:
            here = listed.index(rooms.open) if rooms.open in listed else 0
            self.skipped = 0
            self._app.create_background_task(self.chat.open(listed[(here + by) % len(listed)]))

    def _scroll(self, lines: int) -> None:
        room = self.chat.rooms.open
        if room is not None:
            last = max(0, len(room.lines) - 1)
            self.skipped = min(max(0, self.skipped + lines), last)
            if self.skipped == last:
                self._app.create_background_task(self.chat.older())

    # -- what is shown --------------------------------------------------------------------------

    def _draw(self) -> None:
        if self.chat.ended:
            self._leave()
        else:
            self._app.invalidate()

    def _leave(self) -> None:
        if self._app.is_running and not self._app.is_done:
            self._app.exit()
