"""What the demo looks like: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from gadget import Gadget
from proof import Proof, Row
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from world import World

REFRESH_S = 0.2
NOTE_LINES = 4
CHAT_LINES = 3
TALL = 32
"""Lines of a terminal with room for what is being said."""

CITATION = (
    "The chat is real: #ubuntu, {title}, from Kummerfeld et al., A Large-Scale Corpus for "
    "Conversation Disentanglement, ACL 2019 (CC-BY-4.0)."
)
_STATES = {
    "live": ("● live", "green"),
    "catching up": ("◐ pulling", "yellow"),
    "connecting": ("◌ waiting", "red"),
    "off": ("○ offline", "dim"),
}


@asynccontextmanager
async def watching(world: World, console: Console) -> AsyncGenerator[None]:
    """Show the world while the body runs."""
    if not console.is_terminal:
        world.on_note = lambda clock, text: console.print(Text(f"{clock}  {text}"))
        yield
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        painter = asyncio.create_task(_paint(world, console, live))
        try:
            yield
        finally:
            painter.cancel()
            with suppress(asyncio.CancelledError):
                await painter


async def _paint(world: World, console: Console, live: Live) -> None:
    while True:
        live.update(_picture(world, console.height), refresh=True)
        await asyncio.sleep(REFRESH_S)


def _picture(world: World, height: int) -> RenderableType:
    parts = [_head(world), _devices(world), _notes(world)]
    if height >= TALL:
        parts.append(_chat(world))
    return Group(*parts)


def _head(world: World) -> RenderableType:
    share = world.now / world.day.minutes
    top = Table.grid(expand=True, padding=(0, 1))
    top.add_column()
    top.add_column(ratio=1)
    top.add_column(justify="right")
    top.add_row(
        Text(world.day.clock(world.now), "bold cyan"),
        ProgressBar(total=1.0, completed=share, complete_style="cyan", finished_style="cyan"),
        _health(world),
    )
    online = sum(gadget.state != "off" for gadget in world.gadgets)
    received = sum(sum(gadget.count.values()) for gadget in world.gadgets)
    facts = Text.assemble(
        (f"{world.said:,}", "bold"),
        " said   log head ",
        (f"{world.head:,}", "bold"),
        "   online ",
        (f"{online:,}", "bold"),
        "   received ",
        (f"{received:,}", "bold"),
    )
    title = Text.assemble((" Timewire ", "bold"), f"· #ubuntu, {world.day.title} ")
    return Panel(Group(top, facts), title=title, title_align="left", border_style="cyan")


def _health(world: World) -> Text:
    if world.down:
        return Text(f"✖ {', '.join(world.down)} killed", "bold red")
    return Text(f"{world.stage.summary} ● up", "green")


def _devices(world: World) -> RenderableType:
    table = Table(
        box=box.SIMPLE_HEAD, expand=True, show_edge=False, collapse_padding=True, pad_edge=False
    )
    table.add_column(
        " user", no_wrap=True, overflow="ellipsis", max_width=16, style="bold", ratio=1
    )
    for device in ("desktop", "phone"):
        table.add_column(device, no_wrap=True, min_width=10)
        for name in ("push", "pull", "cursor"):
            table.add_column(name, justify="right", no_wrap=True, min_width=5)
    for nick in world.stars:
        both = (world.desktops[nick], world.phones[nick])
        table.add_row(
            Text(f" {nick}", "bold"), *(cell for gadget in both for cell in _cells(gadget))
        )
    others = [one for nick, one in world.desktops.items() if nick not in world.stars]
    live = sum(gadget.state == "live" for gadget in others)
    push = sum(gadget.count["push"] for gadget in others)
    pull = sum(gadget.count["page"] for gadget in others)
    cells = [Text(f"{live} live", "dim"), f"{push:,}", f"{pull:,}", ""]
    table.add_row(Text(f" + {len(others)} others", "dim"), *cells, *_tablet(world), style="dim")
    return table


def _tablet(world: World) -> list[Text]:
    tablet = world.tablet
    if tablet.state == "off":
        return [Text("")] * 4
    read = Text(f"{len(tablet.scrolled):,}")
    return [Text("● tablet", "magenta"), Text(""), read, Text(f"{tablet.cursor:,}")]


def _cells(gadget: Gadget) -> list[Text]:
    word, style = _STATES[gadget.state]
    numbers = (gadget.count["push"], gadget.count["page"], gadget.cursor)
    return [Text(word, style), *(Text(f"{number:,}") for number in numbers)]


def _notes(world: World) -> RenderableType:
    lines = Text(no_wrap=True, overflow="ellipsis")
    for clock, note in list(world.notes)[-NOTE_LINES:]:
        style = "bold red" if "dead" in note else ""
        lines.append(f" {clock} ", "cyan").append(f"{note}\n", style)
    lines.append("\n" * (NOTE_LINES - min(NOTE_LINES, len(world.notes))))
    return lines


def _chat(world: World) -> RenderableType:
    lines = Text(no_wrap=True, overflow="ellipsis")
    for event in list(world.lines)[-CHAT_LINES:]:
        said = "".join(c if c.isprintable() else "·" for c in event.text)
        lines.append(f" {event.nick} ", "bold").append(f"{said}\n", "dim")
    return lines


# The end -----------------------------------------------------------------------------------------


def verdict(proof: Proof, world: World) -> RenderableType:
    """The closing table."""
    table = Table(
        title=f"What {len(world.gadgets):,} devices got of {proof.messages:,} messages",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        title_justify="left",
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("device", no_wrap=True, overflow="ellipsis", max_width=26)
    for name in ("by push", "by pull", "own", "duplicates", "missing", "order violations"):
        table.add_column(name, justify="right")
    for row in proof.rows:
        _add(table, row)
    table.add_section()
    _add(table, proof.others)
    lines: list[RenderableType] = [table]
    for violation in proof.violations:
        lines.append(Text(f"  ✖ {violation}", "red"))
    if proof.unsaid:
        lines.append(Text(f"  ✖ {proof.unsaid} lines of the day are not in the log once", "red"))
    if proof.good:
        lines.append(Text(f"  ✔ all {world.said:,} lines of the day are in the log, once", "green"))
        lines.append(Text(f"  ✔ {_changes(world)}", "green"))
        lines.append(Text(f"  ✔ rules 1-17 hold over the whole day and {_kills(world)}", "green"))
    return Group(*lines)


def _changes(world: World) -> str:
    recalled = sum(now is None for _, now in world.changed)
    told = f"{recalled} messages were taken back, {len(world.changed) - recalled} edited"
    if world.stage.modes() is None:
        return told
    return f"{told}; the channel crossed between write and read {len(world.history.modes)} times"


def _kills(world: World) -> str:
    kills = len(world.history.restarts)
    return "a kill -9" if kills == 1 else f"{kills} times kill -9"


def _add(table: Table, row: Row) -> None:
    counts = (row.push, row.pull, row.own)
    faults = (row.duplicates, row.missing, row.disorder)
    table.add_row(
        Text(row.device),
        *(Text(f"{count:,}") for count in counts),
        *(Text(f"{fault:,}", "bold red" if fault else "green") for fault in faults),
    )
