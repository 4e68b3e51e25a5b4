"""``python -m bench.libraries``: timelines against other stores, from empty to many entries.

Every store is filled in a process of its own, in as many slices, one slice each in turns: what the
machine does meanwhile hits all of them alike.  After each slice pages are read and compared with
what was written.  A store that has used up its time stops where it is, and the table says so.
At last each is closed and opened by a new process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from bench import machine
from bench.lines import Line, chart
from bench.report import number, replace_results
from bench.stores import STORES
from bench.worker import BATCH, PAGE, PAYLOAD_BYTES, TIMELINES, Command

SLICES: Final = 10
SECTION: Final = "libraries"
ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = Path(__file__).with_name("results")
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Slice(msgspec.Struct, frozen=True):
    """What a store did between two sizes.

    Microseconds: ``append_us`` for an entry, ``scan_us`` and ``get_us`` for a page.
    """

    entries: int
    append_us: float
    batch_p99_ms: float
    batch_max_ms: float
    scan_us: float
    get_us: float
    memory_mib: float


class Found(msgspec.Struct):
    """What was found of a store.  ``open_ms`` is that of a new process, at the last size."""

    name: str
    says: str
    slices: list[Slice] = []
    open_ms: float = 0.0
    bytes_each: float = 0.0
    problem: str = ""


class Worker:
    """A store in its process, with its part of the measurement."""

    def __init__(self, name: str, place: Path) -> None:
        self.found = Found(name, STORES[name].says)
        self.took_s = 0.0
        self._path = place / name
        self._process = self._start()
        self._answer()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bench.worker", self.found.name, str(self._path)]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @property
    def entries(self) -> int:
        """How many it holds."""
        return self.found.slices[-1].entries if self.found.slices else 0

    def grow(self, count: int) -> None:
        """One slice more.  Raises ``RuntimeError`` when the process ends."""
        first = self.entries + 1
        added = self._ask("append", first, count)
        seen = self._ask("read", self.entries + count)
        self.took_s += added["took_s"]
        self.found.slices.append(
            Slice(
                self.entries + count,
                added["took_s"] / count * 1e6,
                added["p99_ms"],
                added["max_ms"],
                seen["scan_us"],
                seen["get_us"],
                seen["memory_mib"],
            )
        )

    def restart(self) -> None:
        """Close it, look at its size, and open it in a new process."""
        self.close()
        self.found.bytes_each = _size(self._path) / max(1, self.entries)
        self._process = self._start()
        self.found.open_ms = self._answer()["open_s"] * 1000
        self._ask("append", self.entries + 1, BATCH)

    def close(self) -> None:
        """Ask it to end, and wait."""
        if self._process.poll() is None:
            self._process.communicate(msgspec.json.encode(Command("close")) + b"\n")

    def _ask(self, do: str, first: int, count: int = 0) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(Command(do, first, count)) + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.found.says}: its process ended")
        return msgspec.json.decode(line)


def fill(names: Sequence[str], entries: int, budget_s: float, place: Path) -> list[Found]:
    """Fill all of them, in turns."""
    found: list[Found] = []
    workers: list[Worker] = []
    for name in names:
        missing = STORES[name].missing()
        if missing:
            found.append(Found(name, STORES[name].says, problem=f"{missing} is not installed"))
        else:
            workers.append(Worker(name, place))
    try:
        for turn in range(SLICES):
            err.print(f"[dim]{turn + 1} of {SLICES}[/]")
            for worker in workers:
                if worker.took_s < budget_s:
                    worker.grow(entries // SLICES)
        for worker in workers:
            if worker.entries < entries // SLICES * SLICES:
                worker.found.problem = f"stopped after {worker.took_s:.0f} s"
            worker.restart()
    finally:
        for worker in workers:
            worker.close()
    return [worker.found for worker in workers] + found


def to_markdown(found: Sequence[Found], about: dict[str, Any]) -> str:
    """The table for a document."""
    lines = [
        ", ".join(f"{key} {value}" for key, value in about["machine"].items()) + ".",
        ", ".join(f"{key} {value}" for key, value in about["settings"].items())
        + f"; {about['when']}. "
        + f"Other programs kept {about['other_cores']:.2f} cores busy meanwhile.",
        "",
        "| store | entries | appends/s, first tenth | last tenth | ratio | p99 of a batch "
        "| scan of 100 | multi-get of 100 | open again | memory | disk, an entry |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        if not one.slices:
            lines.append(f"| {one.says} | {one.problem} |" + " |" * 9)
            continue
        first, last = one.slices[0], one.slices[-1]
        cells = [
            one.says,
            f"{last.entries:,}" + (f", {one.problem}" if one.problem else ""),
            number(1e6 / first.append_us),
            number(1e6 / last.append_us),
            number(first.append_us / last.append_us),
            f"{number(last.batch_p99_ms)} ms",
            f"{number(last.scan_us)} us",
            f"{number(last.get_us)} us",
            f"{number(one.open_ms)} ms",
            f"{number(last.memory_mib)} MiB",
            f"{number(one.bytes_each)} bytes",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(found: Sequence[Found]) -> str:
    """How the cost of an append grows with what is stored."""
    lines = [
        Line(one.says, [(step.entries, step.append_us) for step in one.slices])
        for one in found
        if one.slices
    ]
    title = f"A durable append, {BATCH} in a batch, {PAYLOAD_BYTES} bytes"
    return chart(title, "entries stored", "us for an entry", lines)


def _size(path: Path) -> int:
    files = path.parent.glob(f"{path.name}*") if path.is_file() else path.rglob("*")
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.libraries", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", help=f"of {', '.join(STORES)}; all if none")
    add("--entries", type=int, default=1_000_000, help="to fill each store with (1000000)")
    add("--budget", type=float, default=30.0, metavar="S", help="seconds of appends a store (30)")
    add("--results", type=Path, default=RESULTS, metavar="DIR", help="(bench/results)")
    add("--docs", type=Path, metavar="FILE", help="put the table between its marks in a document")
    add("--place", type=Path, metavar="DIR", help="where the stores are made (a temporary one)")
    given = parser.parse_args()
    if unknown := set(given.names) - set(STORES):
        parser.error(f"no such store: {', '.join(sorted(unknown))}")
    if given.entries < SLICES * BATCH:
        parser.error(f"--entries must be {SLICES * BATCH} at least")
    return given


def main() -> int:
    """Measure, print the table, keep numbers and picture."""
    given = _arguments()
    about: dict[str, Any] = {
        "machine": machine.describe(),
        "settings": {
            "entries": given.entries,
            "batch": BATCH,
            "payload_bytes": PAYLOAD_BYTES,
            "timelines": TIMELINES,
            "page": PAGE,
            "durability": "every batch synced",
        },
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    busy, began = machine.busy_s() - machine.own_s(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="timewire-bench-", dir=given.place) as place:
        found = fill(given.names or list(STORES), given.entries, given.budget, Path(place))
    others = machine.busy_s() - machine.own_s() - busy
    about["other_cores"] = max(0.0, others) / (time.monotonic() - began)
    table = to_markdown(found, about)
    print(table)
    given.results.mkdir(parents=True, exist_ok=True)
    numbers = msgspec.json.encode({**about, "results": found})
    (given.results / "libraries.json").write_bytes(msgspec.json.format(numbers, indent=2))
    (given.results / "libraries.svg").write_text(picture(found), encoding="utf-8")
    if given.docs:
        given.docs.write_text(replace_results(given.docs.read_text(), table, SECTION))
    return 0


if __name__ == "__main__":
    sys.exit(main())
