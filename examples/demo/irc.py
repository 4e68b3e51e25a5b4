"""A day of an IRC channel, read from its raw log."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

from timewire.names import MAX_NAME_BYTES

_SAID = re.compile(r"\[(\d\d):(\d\d)\]\s+<([^>\s]+)> ?(.*)")
_ACTED = re.compile(r"\[(\d\d):(\d\d)\]\s+\* (\S+) (.*)")
_CAME = re.compile(r"=== (\S+) +(?:\[.*\] +)?has joined #")
_WENT = re.compile(r"=== (\S+) +(?:\[.*\] +)?(?:has left #|has quit|was kicked off #)")
_RENAMED = re.compile(r"=== (\S+) is now known as (\S+)")
_OLD_ACTED = re.compile(r"=== (\S+) ([^\[].*)")
_NOT_IN_NAMES = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff:/]")
_HALF_DAY = 12 * 60

Kind = Literal["join", "leave", "text", "action"]


class Event(msgspec.Struct, frozen=True):
    """Something that happened, so many minutes after the log begins."""

    at: float
    kind: Kind
    nick: str
    text: str = ""


class Day(msgspec.Struct, frozen=True):
    """A day's events in order, and who was there before it began.

    ``begins``: the clock then, in minutes after midnight.
    """

    title: str
    begins: int
    minutes: float
    present: list[str]
    events: list[Event]

    def clock(self, at: float) -> str:
        """The time of day, so many minutes after the beginning."""
        minute = self.begins + int(at)
        return f"{minute // 60 % 24:02}:{minute % 60:02}"

    def busiest(self, count: int) -> list[str]:
        """Those who said most."""
        said = Counter(event.nick for event in self.events if event.kind in ("text", "action"))
        return [nick for nick, _ in said.most_common(count)]

    def speakers(self) -> set[str]:
        """Everyone who said something."""
        return {event.nick for event in self.events if event.kind in ("text", "action")}


def read_day(path: Path) -> Day:
    """The day of a log file, whose name begins or ends with its date."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    stamped = _stamp(lines)
    named = {found[1] for line in lines if (found := _CAME.match(line) or _WENT.match(line))}
    named |= {found[3] for line in lines if (found := _SAID.match(line))}
    events = [event for at, line in stamped for event in _events(at, line, named)]
    first = next((found for line in lines if (found := _SAID.match(line))), None)
    if first is None:
        raise SystemExit(f"{path} is not a log of a channel: nobody says anything")
    present, events = _whole(events)
    begins = int(first[1]) * 60 + int(first[2])
    return Day(_title(path), begins, stamped[-1][0], present, events)


def name_of(nick: str) -> str:
    """A nick as the name of a user."""
    return _NOT_IN_NAMES.sub("_", nick).encode()[:MAX_NAME_BYTES].decode(errors="ignore") or "_"


def _title(path: Path) -> str:
    found = re.search(r"\d{4}-\d\d-\d\d", path.stem)
    if found is None:
        return path.stem
    return f"{datetime.date.fromisoformat(found[0]):%-d %B %Y}"


def _stamp(lines: list[str]) -> list[tuple[float, str]]:
    """Lines with their time, in minutes from the first; those of one minute are spread over it."""
    clocks = [
        (int(m[1]), int(m[2])) for line in lines if (m := re.match(r"\[(\d\d):(\d\d)\]", line))
    ]
    # Old logs have a clock of twelve hours and do not say which half of the day it is.
    round_minutes = _HALF_DAY if all(hour <= 12 for hour, _ in clocks) else 2 * _HALF_DAY
    minutes: list[int] = []
    now: int | None = None
    for line in lines:
        found = re.match(r"\[(\d\d):(\d\d)\]", line)
        if found:
            minute = int(found[1]) * 60 + int(found[2])
            now = minute if now is None else now + (minute - now) % round_minutes
        minutes.append(now or 0)
    begin = next((minute for minute in minutes if minute), 0)
    minutes = [max(minute, begin) for minute in minutes]
    in_minute = Counter(minutes)
    seen: Counter[int] = Counter()
    stamped: list[tuple[float, str]] = []
    for minute, line in zip(minutes, lines, strict=True):
        stamped.append((minute - begin + seen[minute] / in_minute[minute], line))
        seen[minute] += 1
    return stamped


def _events(at: float, line: str, named: set[str]) -> list[Event]:
    """What a line says; nothing for modes, topics and the like."""
    if found := _SAID.match(line):
        return [Event(at, "text", name_of(found[3]), found[4])]
    if found := _ACTED.match(line):
        return [Event(at, "action", name_of(found[3]), found[4])]
    if found := _CAME.match(line):
        return [Event(at, "join", name_of(found[1]))]
    if found := _WENT.match(line):
        return [Event(at, "leave", name_of(found[1]))]
    if found := _RENAMED.match(line):
        return [Event(at, "leave", name_of(found[1])), Event(at, "join", name_of(found[2]))]
    if (found := _OLD_ACTED.match(line)) and found[1] in named:
        return [Event(at, "action", name_of(found[1]), found[2])]
    return []


def _whole(events: list[Event]) -> tuple[list[str], list[Event]]:
    """Mend what the log does not have: who was there at first, and came or went unseen."""
    known: set[str] = set()
    present: set[str] = set()
    at_first: list[str] = []
    whole: list[Event] = []
    for event in events:
        if event.nick not in known and event.kind != "join":
            at_first.append(event.nick)
            present.add(event.nick)
        known.add(event.nick)
        if event.kind == "join" and event.nick in present:
            continue
        if event.kind == "leave" and event.nick not in present:
            continue
        if event.kind in ("text", "action") and event.nick not in present:
            whole.append(Event(event.at, "join", event.nick))
        if event.kind == "leave":
            present.remove(event.nick)
        else:
            present.add(event.nick)
        whole.append(event)
    return at_first, whole
