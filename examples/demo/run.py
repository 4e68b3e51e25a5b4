"""A day of a busy IRC channel flows through Timewire, with crashes on the way.

    make demo
    make demo-cluster
    python examples/demo/run.py --seconds 20 --log some-day.txt

Everything is real: a server process on its own data directory, killed with SIGKILL and started
again; a device for each nick that says something, two for each of the busiest. With --cluster there
are three NATS servers, two workers and two gateways, and one of each is killed. At the end every
device is compared with the log. Exit status 0: nothing was lost, doubled or out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import show
import stage
from irc import Day, read_day
from proof import prove
from rich.console import Console
from rich.text import Text
from world import World, life, policy

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT.parent / "shared" / "data" / "ubuntu-irc"
SHIPPED = ROOT / "examples" / "data" / "ubuntu-irc-2004-12-25.txt"
DAY = "2004-12-25.txt"
TOKEN_LIFE_S = 24 * 3600
PLAIN_COLUMNS = 100
CLUSTER_LIFE_S = 30
"""References in a cluster's inboxes live so long at least: it may stand still for some seconds."""

MODES_S = 30
"""A cluster's leader hears of loads every few seconds: a shorter day has no time for modes."""

Stages = Callable[[Path], AbstractAsyncContextManager[stage.Stage]]


async def demo(day: Day, seconds: float, stages: Stages, stay: bool) -> int:
    """Play a day on a stage in a new directory; the exit status."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_COLUMNS)
    with tempfile.TemporaryDirectory(prefix="timewire-demo-") as directory:
        devices = Path(directory, "devices")
        devices.mkdir()
        async with stages(Path(directory)) as servers:
            world = World(day, servers, devices)
            _introduce(servers, directory, console)
            async with show.watching(world, console):
                await world.play(seconds)
            with console.status("comparing every device with the log ..."):
                proof = prove(world)
            console.print(show.verdict(proof, world))
            console.print(Text(show.CITATION.format(title=day.title), "dim"))
            if stay:
                await _stay(servers, world, console)
            await servers.stop()
    return 0 if proof.good else 1


def _introduce(servers: stage.Stage, directory: str, console: Console) -> None:
    for name, url in servers.addresses:
        console.print(f"[bold]{name}[/] {url}")
    console.print(f"All data are in {directory}")


async def _stay(servers: stage.Stage, world: World, console: Console) -> None:
    """Leave everything up, and say how to look at it."""
    command = Path(sys.executable).with_name("timewire")
    token = servers.token(world.stars[0], life_s=TOKEN_LIFE_S)
    url = servers.url
    for name, address in servers.addresses:
        console.print(f"\nThe {name} stays up at [bold cyan]{address}[/]", end="")
    console.print(f"\nOpen {url} in a browser (API: {url}/docs), ", end="")
    console.print(f"and log in as {world.stars[0]} with this token:\n")
    console.print(Text(token, "green"), soft_wrap=True)
    console.print("\nOr be the same in another terminal:\n")
    console.print(Text(f"{command} chat --url {url} --token {token}", "green"), soft_wrap=True)
    console.print("\nCtrl-C ends it.")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def _log(given: Path | None) -> Path:
    """The log to play: the one asked for, else a day of the corpus, else the one shipped."""
    if given is None and (CORPUS / DAY).exists():
        return CORPUS / DAY
    if given is not None and given.is_dir():
        return given / DAY
    return given or SHIPPED


def main() -> int:
    """Read the command line and play."""
    parser = argparse.ArgumentParser(description="A real IRC day, played through Timewire.")
    environ = os.environ.get("DEMO_LOG")
    parser.add_argument(
        "--log",
        type=Path,
        default=Path(environ) if environ else None,
        help="a log file, or the corpus's directory (also DEMO_LOG)",
    )
    parser.add_argument("--seconds", type=float, default=40, help="how long the day takes")
    parser.add_argument("--port", type=int, default=0, help="the server's port; 0: a free one")
    parser.add_argument("--cluster", action="store_true", help="play it on a whole cluster")
    given = parser.parse_args()
    interactive = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("CI") != "true"
    try:
        day, seconds = read_day(_log(given.log)), given.seconds
        if given.cluster:
            modes = policy(day) if seconds >= MODES_S else {}
            stages = partial(stage.whole_cluster, **modes, **life(seconds, CLUSTER_LIFE_S))
        else:
            stages = partial(stage.one_server, port=given.port, **policy(day), **life(seconds))
        return asyncio.run(demo(day, seconds, stages, interactive))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
