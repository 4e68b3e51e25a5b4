"""The day, played: nicks become users, and what happens in the channel happens in a group."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic_ns
from typing import Any, Literal

from gadget import Gadget
from irc import Day, Event
from stage import Blow, Stage

from timewire import Sent
from timewire.testing.facts import Facts
from timewire.testing.history import History, Restart, Who

GROUP = "ubuntu"
OPERATOR = "ChanServ"
STARS = 10
"""The busiest users: each of them has two devices."""

AWAY = 1 / 3
"""How much of the day a second device is offline."""

DOWN_S = 0.5
"""How long what was killed stays dead."""

SETTLE_S = 30.0
"""How long the devices may take to catch up at the end."""

EXTRA_S = 120.0
"""How much longer than planned a slow machine may take for the day."""

LEFT_AT, BACK_AT = 0.03, 0.97
"""When in the day the laptop goes away, and when it comes back."""

LIFE = 0.75
"""How much of the day references live in inboxes: longer than phones are away."""

GROWN_AT = 0.4
"""When the channel has become so large that it is read, not written."""

SPLIT_AT, MENDED_AT = 0.6, 0.75
"""When those who only listen lose the channel, and when they come back."""

RECALLS_AT, EDIT_AT = (0.3, 0.7), 0.5

CROSS_S = 10.0
"""How long a slow machine may take to notice that a channel has grown, or shrunk."""

POLL_S = 0.2
DAY_S = 24 * 3600
MAX_NOTES = 6

Act = Callable[[], object]


def life(seconds: float, least_s: float = 0) -> dict[str, Any]:
    """How long references live in inboxes, for a day in so many seconds."""
    return {"inbox_days": max(least_s, LIFE * seconds) / DAY_S}


def policy(day: Day) -> dict[str, Any]:
    """When the channel is to be read where it is, so that it comes to it in this day."""
    members = set(day.present)
    for event in day.events:
        if event.at <= day.minutes * GROWN_AT:
            (members.discard if event.kind == "leave" else members.add)(event.nick)
    return {
        "fanout_policy": "timewire.testing.flipping:Threshold",
        "write_members_max": len(members),
    }


class World:
    """Everyone who takes part.  ``now``: how far the day has come, in its minutes."""

    def __init__(self, day: Day, stage: Stage, directory: Path) -> None:
        self.day = day
        self.stage = stage
        self.history = History()
        self.now = 0.0
        self.said = 0
        self.down: list[str] = []
        """Parts of the stage that are dead now."""
        self.notes: deque[tuple[str, str]] = deque(maxlen=MAX_NOTES)
        self.lines: deque[Event] = deque(maxlen=MAX_NOTES)
        self.on_note: Callable[[str, str], None] = lambda clock, text: None
        self.stars = day.busiest(STARS)
        self._directory = directory
        self.operator = self._gadget(OPERATOR, "bot")
        self.desktops = {nick: self._gadget(nick, "desktop") for nick in sorted(day.speakers())}
        self.phones = {nick: self._gadget(nick, "phone") for nick in self.stars}
        self.tablet = self._gadget(self.stars[0], "tablet")
        self.laptop = self._gadget(self.stars[1 % len(self.stars)], "laptop")
        self.changed: list[tuple[Event, str | None]] = []
        """Lines that were edited, with what they say now, or recalled (None)."""
        self._present: set[str] = set()
        self._people: dict[str, asyncio.Queue[Event | None]] = {}
        self._tasks: asyncio.TaskGroup

    def _gadget(self, user: str, device: str) -> Gadget:
        """A device; those of the busiest keep what they have in files, the others in memory."""
        rank = self.stars.index(user) if user in self.stars else None
        file = None if rank is None else self._directory / f"{rank}-{device}.db"
        return Gadget(Who(user, device), self.stage, self.history, file)

    @property
    def gadgets(self) -> list[Gadget]:
        """All devices."""
        every = [self.operator, *self.desktops.values(), *self.phones.values()]
        return [*every, self.laptop, self.tablet]

    @property
    def head(self) -> int:
        """SeqId of the newest message that anyone has."""
        return self.operator.shown[-1].message.seq if self.operator.shown else 0

    def note(self, text: str) -> None:
        """Tell whoever watches."""
        clock = self.day.clock(self.now)
        self.notes.append((clock, text))
        self.on_note(clock, text)

    # -- the day --------------------------------------------------------------------------------

    async def play(self, seconds: float) -> None:
        """The whole day, in so many seconds of ours."""
        try:
            async with asyncio.timeout(seconds + EXTRA_S), asyncio.TaskGroup() as self._tasks:
                await self._open()
                watching = self._tasks.create_task(self._watch_modes())
                plan = self._directions()
                plan += [(one.at, partial(self._happen, one)) for one in self.day.events]
                await self._follow(sorted(plan, key=lambda one: one[0]), seconds)
                for mine in self._people.values():
                    mine.put_nowait(None)
                watching.cancel()
            await self._close()
        finally:
            await asyncio.gather(*(gadget.switch_off() for gadget in self.gadgets))

    async def _follow(self, plan: list[tuple[float, Act]], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for at, act in plan:
            due = begun + at / self.day.minutes * seconds
            await asyncio.sleep(max(0.0, due - loop.time()))
            self.now = at
            act()
        self.now = self.day.minutes

    async def _open(self) -> None:
        await self.operator.switch_on()
        here = [nick for nick in self.day.present if nick != OPERATOR]
        self._present.update(here)
        await self.operator.create(GROUP, here, f"#ubuntu, {self.day.title}")
        first = [self.desktops[nick] for nick in here if nick in self.desktops]
        first += [self.desktops[nick] for nick in self.stars if self.desktops[nick] not in first]
        first += [*self.phones.values(), self.laptop]
        await asyncio.gather(*(gadget.switch_on() for gadget in first))
        self.note(f"{len(here)} people are in #ubuntu, {len(first)} devices online")

    def _directions(self) -> list[tuple[float, Act]]:
        """What the script adds to the day: devices that go offline, and the crashes."""
        whole = self.day.minutes
        acts: list[tuple[float, Act]] = [
            (whole * LEFT_AT, self._start(partial(self._lose, self.laptop))),
            (whole * BACK_AT, self._start(partial(self._find, self.laptop))),
            (whole * SPLIT_AT, self._start(self._split)),
            (whole * EDIT_AT, self._start(self._edit)),
            *((whole * at, self._start(self._recall)) for at in RECALLS_AT),
            *((whole * one.at, self._start(partial(self._crash, one))) for one in self.stage.blows),
        ]
        for number, nick in enumerate(self.stars):
            phone = self.phones[nick]
            off = (1 - AWAY) * number / max(1, len(self.stars) - 1)
            acts.append((whole * off, self._start(partial(self._lose, phone))))
            acts.append((whole * (off + AWAY), self._start(partial(self._find, phone))))
        return acts

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Act:
        return lambda: self._tasks.create_task(work())

    async def _lose(self, phone: Gadget) -> None:
        await phone.switch_off()
        self.note(f"{phone.who} goes offline at {phone.cursor:,}")

    async def _find(self, phone: Gadget) -> None:
        had = phone.count["page"]
        await phone.switch_on()
        await phone.live.wait()
        pulled = phone.count["page"] - had
        if phone.resets:
            again = f"was away for too long ({phone.resets[-1]}) and has read history"
            self.note(f"{phone.who} {again}: {phone.count['history'] + pulled:,}")
        else:
            self.note(f"{phone.who} is back and has pulled {pulled:,}")

    async def _split(self) -> None:
        """Those who only listen are gone for a while, until the channel is small again."""
        speakers = self.day.speakers()
        if not set(self.day.present) - speakers:
            return
        await self._becomes("read")
        gone: set[str] = set()
        splitting = asyncio.create_task(self._becomes("write"))
        while not splitting.done():
            if quiet := self._present - speakers - gone:
                gone |= quiet
                await self.operator.remove(GROUP, sorted(quiet))
            await asyncio.sleep(POLL_S)
        self.note(f"the net splits: {len(gone)} people are gone")
        await self._reach(MENDED_AT)
        back = sorted(gone & self._present)
        await self.operator.add(GROUP, back)
        self.note(f"the net is whole again: {len(back)} people are back")
        await self._becomes("read")

    async def _becomes(self, mode: str) -> None:
        """Wait until the channel has another mode, but not for ever, nor where there is none."""
        if self.stage.modes() is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(CROSS_S):
                while not self.history.modes or self.history.modes[-1].mode != mode:
                    await asyncio.sleep(POLL_S)
                    self.read_modes()

    async def _reach(self, share: float) -> None:
        while self.now < share * self.day.minutes:  # noqa: ASYNC110 - the day has no bells
            await asyncio.sleep(POLL_S / 4)

    async def _recall(self) -> None:
        """Somebody takes back what he has said last."""
        if said := self._last_said():
            gadget, sent, kind, text = said
            self.changed.append((Event(0, kind, gadget.who.user, text), None))
            await gadget.recall(GROUP, sent.seq)
            self.note(f"{gadget.who.user} takes back {sent.seq}")

    async def _edit(self) -> None:
        if said := self._last_said():
            gadget, sent, kind, text = said
            now = text + " (or so)"
            self.changed.append((Event(0, kind, gadget.who.user, text), now))
            await gadget.edit(GROUP, sent.seq, now)
            self.note(f"{gadget.who.user} has edited {sent.seq}")

    def _last_said(self) -> tuple[Gadget, Sent, Literal["text", "action"], str] | None:
        """The newest message of one of the busiest, each taken once."""
        for nick in self.stars:
            gadget = self.desktops[nick]
            if gadget.sent and nick in self._present:
                sent, kind, text = gadget.sent.pop()
                return gadget, sent, "action" if kind == "action" else "text", text
        return None

    async def _watch_modes(self) -> None:
        """Tell of each change of the channel's mode."""
        while True:
            self.read_modes()
            await asyncio.sleep(POLL_S)

    def read_modes(self) -> None:
        """Look up which changes of mode there were."""
        known = len(self.history.modes)
        for change in (self.stage.modes() or ())[known:]:
            self.history.modes.append(change)
            words = {"read": "read where it is", "write": "written into inboxes"}
            self.note(f"from {change.seq} on the channel is {words.get(change.mode, change.mode)}")

    async def _crash(self, blow: Blow) -> None:
        """Kill a part of the stage, and have it back."""
        victim = blow.victim()
        self.down.append(blow.name)
        await victim.kill()
        self.note(f"kill -9: {blow.name} is dead")
        await asyncio.sleep(DOWN_S)
        await victim.start()
        self.down.remove(blow.name)
        self.history.restarts.append(Restart(monotonic_ns()))
        self.note(f"{blow.name} is back on the same data")

    def _happen(self, event: Event) -> None:
        """Hand an event to the person it is about."""
        if event.nick not in self._people:
            self._people[event.nick] = asyncio.Queue()
            self._tasks.create_task(self._live(event.nick))
        self._people[event.nick].put_nowait(event)

    async def _live(self, nick: str) -> None:
        """One person: does one thing after the other, on a device if it ever says anything."""
        desktop = self.desktops.get(nick)
        mine = self._people[nick]
        while event := await mine.get():
            if event.kind == "join":
                if desktop and desktop.state == "off":
                    await desktop.switch_on()
                self._present.add(nick)
                await self.operator.add(GROUP, [nick])
            elif event.kind == "leave":
                self._present.discard(nick)
                await (desktop or self.operator).remove(GROUP, [nick])
            elif desktop:
                desktop.say(GROUP, event.text, event.kind)
                self.said += 1
                self.lines.append(event)

    # -- the end --------------------------------------------------------------------------------

    async def _close(self) -> None:
        """Everything is answered and everywhere; a new device reads it all."""
        await asyncio.gather(*(gadget.answered() for gadget in self.gadgets))
        await self.operator.settle(GROUP, "That was the day.")
        await self.tablet.switch_on()
        self.tablet.scrolled = await self.tablet.scroll_back(GROUP)
        self.note(f"{self.tablet.who} is new and has read back {len(self.tablet.scrolled):,}")
        await self.operator.scroll_back(GROUP)
        await self._settle()
        self.read_modes()
        for gadget in self.gadgets:
            self.history.holdings.append(gadget.holding())

    async def _settle(self) -> None:
        """Wait until nothing is missing anywhere, but not for ever."""
        facts = Facts(self.history)

        def lacks(gadget: Gadget) -> bool:
            return len(gadget.shown) < len(facts.inbox(gadget.who.user, gadget.first or 0))

        try:
            async with asyncio.timeout(SETTLE_S):
                while any(map(lacks, self.gadgets)):  # noqa: ASYNC110 - nobody tells of it
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self.note("some devices have not come to the end")
