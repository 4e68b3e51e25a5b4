"""Real chat, delivered three ways: into how many writes and reads does a message turn?

    python -m bench.amplification examples/data
    python -m bench.amplification examples/data --docs docs/FANOUT.md --plot docs/fanout.svg

Each log is a channel; all run at the same time.  Logs name people who were there on one day only,
so the same people are put into all channels: of each, the one who wrote most is the same user, and
so on.  A line that begins with somebody's name goes into the direct conversation of the two.  For
each message, ten syncs of members chosen at random: reads : writes = 10 : 1 before anything is
amplified.

Log, directory, inboxes, fan-out, sync and the adaptive policy are those of a server, with the time
of the logs as their clock.  What is counted is what ``timewire inspect amplification`` shows.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog
from rich.console import Console

from bench.plot import Bars, plot
from bench.report import number, replace_results
from examples.demo.irc import Day, Event, read_day
from timewire.amplification import Amplification, Cost, amplification
from timewire.backends.local_bus import LocalBus
from timewire.backends.rocksdb import RocksStore
from timewire.config import Config
from timewire.fanout import FanOut
from timewire.load import Loads
from timewire.model import Change, Created, Draft, Members, encode_change, encode_stored
from timewire.modes import Modes
from timewire.names import direct
from timewire.news import News
from timewire.policy import Policy, configured
from timewire.sync import Sync

SYNCS_A_MESSAGE: Final = 10
MAX_CROWD_MESSAGES: Final = 3_000
"""Of the logs with silent readers, whose syncs take long."""


class Size(msgspec.Struct, frozen=True):
    """Who takes part: of each channel those who write most (0: everybody), and silent readers."""

    people: int
    silent: int = 0

    def __str__(self) -> str:
        who = f"the {self.people} most active" if self.people else "everybody"
        return f"{who}, {self.silent:,} silent" if self.silent else who


SIZES: Final = (Size(10), Size(30), Size(100), Size(0), Size(0, 3_000))

WAYS: Final = ("pure write", "pure read", "adaptive")
_ADDRESSED = re.compile(r"(\S+?)[:,] ")


class Act(msgspec.Struct, frozen=True):
    """Something to replay, at a time in ms after the beginning."""

    at: int
    channel: str
    event: Event


class Clock:
    """The time of the logs."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Replay:
    """The parts of a server that deliver and sync, and what is replayed on them."""

    def __init__(self, store: RocksStore, clock: Clock, policy: Policy) -> None:
        self.store = store
        self.horizon = 0
        self._chance = random.Random(1)
        self._clock = clock
        self._cursors: dict[str, int] = {}
        self._users: list[str] = []
        self._decided = 0
        self._pause_ms = policy.pause_s * 1000
        log, directory, inbox = store.log, store.directory, store.inbox
        loads = Loads(clock, policy.watch_members)
        news = News(store.messages, 0)
        bus = LocalBus()
        bus.subscribe(self._published)
        self._fanout = FanOut(log, directory, inbox, bus, news=news, loads=loads)
        self._modes = Modes(log, directory, inbox, loads=loads, policy=policy, ticks=clock)
        self._sync = Sync(
            log,
            inbox,
            clock,
            messages=store.messages,
            directory=directory,
            news=news,
            loads=loads,
        )

    def _published(self, _: object, position: int) -> None:
        self.horizon = position

    async def begin(self, channel: str, members: list[str]) -> None:
        """Make a channel of those who are there at first."""
        await self._append(channel, members[0], Created("group", members, channel))
        self._come(members)

    async def act(self, act: Act) -> None:
        """Replay one event, and the syncs that belong to it."""
        self._clock.now = act.at
        event = act.event
        if event.kind == "join":
            self._come([event.nick])
            await self._append(act.channel, event.nick, Members(joined=[event.nick]))
        elif event.kind == "leave":
            await self._append(act.channel, event.nick, Members(left=[event.nick]))
        else:
            await self._say(act.channel, event)
            await self._deliver()
            for _ in range(SYNCS_A_MESSAGE):
                await self._catch_up(self._chance.choice(self._users))
        if act.at - self._decided >= self._pause_ms:
            self._decided = act.at
            await self._modes.decide()

    async def _say(self, channel: str, event: Event) -> None:
        addressed = _ADDRESSED.match(event.text)
        other = addressed[1] if addressed else ""
        if other not in self._cursors or other == event.nick:
            await self._append(channel, event.nick, None, event.text)
            return
        name = direct(event.nick, other)
        if await self.store.directory.conversation(name) is None:
            await self._append(name, event.nick, Created("direct", sorted([event.nick, other])))
        await self._append(name, event.nick, None, event.text)

    async def _append(self, name: str, user: str, change: Change | None, text: str = "") -> None:
        payload = (
            encode_change(user, "", change)
            if change
            else encode_stored(user, "", "text", {"text": text})
        )
        await self.store.log.append([Draft(name, user, "", payload, change)])

    async def _deliver(self) -> None:
        while batch := await self.store.log.read(self.horizon):
            await self._fanout.deliver(batch)

    async def _catch_up(self, user: str) -> None:
        more = True
        while more:
            page = await self._sync.pull(user, self._cursors[user], self.horizon)
            self._cursors[user], more = page.position, page.has_more

    def _come(self, users: list[str]) -> None:
        new = [user for user in users if user not in self._cursors]
        self._cursors |= dict.fromkeys(new, self.horizon)
        self._users += new


def read_days(path: Path, size: int) -> list[Day]:
    """The days of a directory of logs, with the same people in all of them."""
    days = [read_day(log) for log in sorted(path.glob("*.txt"))]
    if not days:
        raise SystemExit(f"no logs in {path}")
    return [_with_same_people(day, size) for day in days]


def _with_same_people(day: Day, size: int) -> Day:
    wrote = Counter(event.nick for event in day.events if event.kind in ("text", "action"))
    nicks = dict.fromkeys([nick for nick, _ in wrote.most_common()])
    nicks |= dict.fromkeys([*day.present, *(event.nick for event in day.events)])
    users = {nick: f"person{rank}" for rank, nick in enumerate(list(nicks)[: size or None])}

    def renamed(text: str) -> str:
        found = _ADDRESSED.match(text)
        if found is None or found[1] not in users:
            return text
        return users[found[1]] + text[len(found[1]) :]

    events = [
        msgspec.structs.replace(event, nick=users[event.nick], text=renamed(event.text))
        for event in day.events
        if event.nick in users
    ]
    present = [users[nick] for nick in day.present if nick in users]
    return msgspec.structs.replace(day, present=present, events=events)


def acts(days: Sequence[Day]) -> Iterator[Act]:
    """What happens in all channels, in the order of time."""
    found = [
        Act(round(event.at * 60_000), f"channel{n}", event)
        for n, day in enumerate(days)
        for event in day.events
    ]
    return iter(sorted(found, key=lambda act: act.at))


class Found(msgspec.Struct, frozen=True):
    """What one replay has found."""

    size: Size
    receivers: float
    conversations: float
    costs: Amplification


async def replay(path: Path, size: Size, messages: int | None = None) -> Found:
    """Replay the logs; at most so many messages."""
    days = read_days(path, size.people)
    silent = [f"reader{n}" for n in range(size.silent)]
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="timewire-bench-") as directory:
        store = await RocksStore.open(directory, clock=clock, durability="interval")
        try:
            replayed = Replay(store, clock, configured(Config()))
            for n, day in enumerate(days):
                await replayed.begin(f"channel{n}", day.present + silent)
            left = messages
            for act in acts(days):
                if left == 0:
                    break
                if left is not None and act.event.kind in ("text", "action"):
                    left -= 1
                await replayed.act(act)
            traffic = store.inbox.traffic
            costs = amplification(traffic)
            receivers = traffic.written_receivers + traffic.read_receivers
            return Found(
                size,
                receivers / max(1, costs.messages),
                costs.read.reads / max(1, costs.pulls),
                costs,
            )
        finally:
            await store.aclose()


def rows(found: Sequence[Found]) -> list[tuple[str, str, str, list[Cost]]]:
    """Of each replay: who takes part, receivers, conversations, and the costs of all ways."""
    return [
        (
            str(one.size),
            number(one.receivers),
            number(one.conversations),
            [one.costs.write, one.costs.read, one.costs.actual],
        )
        for one in found
    ]


def to_markdown(found: Sequence[Found]) -> str:
    """The table for a document."""
    lines = [
        "| people of a channel | receivers a message | conversations a user | before | "
        + " | ".join(f"{way}: reads : writes" for way in WAYS)
        + " |",
        "|---|--:|--:|--:|" + "--:|" * len(WAYS),
    ]
    for one, (who, receivers, conversations, costs) in zip(found, rows(found), strict=True):
        each = one.costs.messages
        cells = [f"{number(c.reads / each)} : {number(c.writes / each)}" for c in costs]
        before = f"{number(one.costs.pulls / each)} : 1"
        lines.append(f"| {' | '.join([who, receivers, conversations, before, *cells])} |")
    return "\n".join(lines)


def to_plot(found: Sequence[Found]) -> str:
    """The same as a picture."""
    groups = [
        (
            f"{who} ({receivers} receivers, {conversations} conversations)",
            [
                Bars(way, cost.writes / one.costs.messages, cost.reads / one.costs.messages)
                for way, cost in zip(WAYS, costs, strict=True)
            ],
        )
        for one, (who, receivers, conversations, costs) in zip(found, rows(found), strict=True)
    ]
    return plot("Writes and reads of the store for each message", groups)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.amplification", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("logs", type=Path, help="a directory of raw IRC logs")
    parser.add_argument("--docs", type=Path, help="put the table into a document")
    parser.add_argument("--plot", type=Path, help="write the picture to a file (SVG)")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    out = Console(highlight=False, soft_wrap=True, markup=False)
    found: list[Found] = []
    for size in SIZES:
        found.append(
            asyncio.run(replay(given.logs, size, MAX_CROWD_MESSAGES if size.silent else None))
        )
        out.print(to_markdown(found[-1:]).splitlines()[-1])
    if given.docs:
        text = given.docs.read_text(encoding="utf-8")
        given.docs.write_text(replace_results(text, to_markdown(found)), encoding="utf-8")
    if given.plot:
        given.plot.write_text(to_plot(found), encoding="utf-8")


if __name__ == "__main__":
    main()
