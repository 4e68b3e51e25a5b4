"""``python -m bench.peers``: Timewire, ejabberd, Prosody and Synapse in the same shapes.

One after the other, each alone on the machine, with its data in a directory that is removed.  What
is not installed, does not start or does not finish in time is said in the table; the others are
measured all the same.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop
from rich.console import Console

from bench import group, machine, pairs
from bench.peers import guests
from bench.peers.guests import Database, Guests
from bench.peers.shapes import GROUP_WINDOW, MEMBERS, PAIRS, SHAPES, Server
from bench.report import number, replace_results
from bench.server import serving
from bench.wire import TEXT_BYTES

SECTION: Final = "peers"
SHAPE_TIMEOUT_S: Final = 90.0
RESULTS: Final = Path(__file__).parent.with_name("results")
err = Console(stderr=True, highlight=False, soft_wrap=True)

Found = dict[str, float]


class Outcome(msgspec.Struct):
    """Of one server: what was found by shape, and what went wrong."""

    says: str
    found: dict[str, Found] = {}
    problem: str = ""


class Peer(msgspec.Struct, frozen=True):
    """A server that can be started."""

    says: str
    open: Callable[[Guests, Database | None, Path], AbstractAsyncContextManager[Server]]
    database: bool


@asynccontextmanager
async def _synapse(
    place: Guests, database: Database | None, environment: Path
) -> AsyncIterator[Server]:
    assert database is not None
    async with guests.synapse(place, database, environment) as server:
        yield server


PEERS: Final = {
    "ejabberd": Peer("ejabberd, PostgreSQL", lambda g, d, _: guests.ejabberd(g, d), True),
    "ejabberd-sqlite": Peer("ejabberd, SQLite", lambda g, d, _: guests.ejabberd(g, d), False),
    "prosody": Peer("Prosody, PostgreSQL", lambda g, d, _: guests.prosody(g, d), True),
    "prosody-sqlite": Peer("Prosody, SQLite", lambda g, d, _: guests.prosody(g, d), False),
    "synapse": Peer("Synapse, PostgreSQL", _synapse, True),
}


async def timewire(seconds: float) -> Outcome:
    """Timewire, each shape with a server of its own."""
    outcome = Outcome("Timewire")
    for shape in SHAPES:
        async with serving() as server:
            if shape == "group":
                found = await group.group(
                    server, seconds, members=MEMBERS, writers=1, window=GROUP_WINDOW
                )
            else:
                window = int(shape.rpartition("-")[2])
                found = await pairs.one_to_one(server, seconds, pairs=PAIRS, window=window)
        outcome.found[shape] = {
            "per_s": found["per_s"],
            "p50_ms": found["delivery_p50_ms"],
            "p99_ms": found["delivery_p99_ms"],
            "cores": found["server_cores"],
        }
    return outcome


async def measure(peer: Peer, seconds: float, environment: Path, until: float) -> Outcome:
    """All shapes with one server; as many as there is time for."""
    outcome = Outcome(peer.says)
    with tempfile.TemporaryDirectory(prefix="timewire-peers-") as place:
        here = Guests(Path(place))
        try:
            database = await Database.start(here, environment) if peer.database else None
            async with peer.open(here, database, environment) as server:
                for name, shape in SHAPES.items():
                    left = min(SHAPE_TIMEOUT_S, until - time.monotonic())
                    err.print(f"[dim]{peer.says}: {name}[/]")
                    async with asyncio.timeout(max(0.0, left)):
                        outcome.found[name] = await shape(server, seconds)
                    await server.leave()
        except TimeoutError:
            outcome.problem = "not finished in time"
        except Exception as fault:
            outcome.problem = f"{type(fault).__name__}: {fault}"[:300].replace("\n", " ")
            err.print(f"[red]{peer.says}: {fault}[/]\n{here.said()}", markup=True)
        finally:
            here.stop()
    return outcome


def to_markdown(outcomes: list[Outcome], about: dict[str, Any]) -> str:
    """A table by shape, with Timewire's ratio to each."""
    (own, *_) = outcomes
    lines = [
        ", ".join(f"{key} {value}" for key, value in about["machine"].items()) + ".",
        ", ".join(f"{key} {value}" for key, value in about["peers"].items())
        + f"; {about['seconds']} s each; {about['when']}.",
        "",
        "| server | shape | deliveries/s | Timewire's ratio | p50 | p99 | cores busy: server |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for outcome in outcomes:
        for shape, found in outcome.found.items():
            cells = [
                outcome.says,
                shape,
                number(found["per_s"]),
                number(own.found[shape]["per_s"] / found["per_s"]) if found["per_s"] else "",
                f"{number(found['p50_ms'])} ms",
                f"{number(found['p99_ms'])} ms",
                number(found["cores"]),
            ]
            lines.append("| " + " | ".join(cells) + " |")
        if outcome.problem:
            lines.append(f"| {outcome.says} | {outcome.problem} | | | | | |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", help=f"of {', '.join(PEERS)}; all if none")
    add("--environment", type=Path, default=Path("build/peers"), help="with Synapse and PostgreSQL")
    add("--seconds", type=float, default=5.0, help="length of each measurement (5)")
    add("--minutes", type=float, default=8.0, help="when to stop measuring others (8)")
    add("--results", type=Path, default=RESULTS, metavar="DIR", help="(bench/results)")
    add("--docs", type=Path, metavar="FILE", help="put the table between its marks in a document")
    given = parser.parse_args()
    if unknown := set(given.names) - set(PEERS):
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    return given


async def run(given: argparse.Namespace) -> list[Outcome]:
    """Timewire first, then the others.  Whoever ends this program ends the servers too."""
    own = asyncio.current_task()
    assert own is not None
    for ending in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(ending, own.cancel)
    until = time.monotonic() + given.minutes * 60
    outcomes = [await timewire(given.seconds)]
    for name in given.names or PEERS:
        outcomes.append(
            await measure(PEERS[name], given.seconds, given.environment.resolve(), until)
        )
    return outcomes


def main() -> int:
    """Measure, print the table, keep the numbers.  1 when a server could not be measured."""
    given = _arguments()
    about: dict[str, Any] = {
        "machine": machine.describe(),
        "peers": guests.versions(given.environment),
        "seconds": given.seconds,
        "text_bytes": TEXT_BYTES,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    try:
        outcomes = uvloop.run(run(given))
    except asyncio.CancelledError:
        return 130
    table = to_markdown(outcomes, about)
    print(table)
    given.results.mkdir(parents=True, exist_ok=True)
    numbers = msgspec.json.encode({**about, "results": outcomes})
    (given.results / "peers.json").write_bytes(msgspec.json.format(numbers, indent=2))
    if given.docs:
        given.docs.write_text(replace_results(given.docs.read_text(), table, SECTION))
    return int(any(outcome.problem for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
