"""``python -m bench.guard``: has a message become dearer than it was?

Two numbers, neither of them a time, so that they mean something on a shared machine:

- *calls*: how many functions are called for a message, in Python or from it.  It is nearly the
  same in every run.
- *cost*: processor time for a message, in that for one turn of a yardstick: a little decoding,
  packing and storing that uses nothing of Timewire.  Both run in turns, and of each the best
  round counts.

They are compared with those in ``baseline.json``.  Who makes a message dearer for a good reason
writes new ones with ``--update``.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from struct import Struct
from typing import Any, Final
from zlib import crc32

import msgspec
import uvloop
from rocksdict import Options, Rdict, WriteBatch, WriteOptions

from bench.hot import Pairs, pairs
from timewire.running import COLLECTOR_THRESHOLDS

BASELINE: Final = Path(__file__).with_name("baseline.json")
PAIRS: Final = 50
WINDOW: Final = 20
MESSAGES: Final = PAIRS * WINDOW
"""In one round."""

ROUNDS: Final = 30
WARM_ROUNDS: Final = 3
COUNTED_ROUNDS: Final = 5
ATTEMPTS: Final = 3
"""A machine that is too noisy for one measurement may be quieter in the next."""

MAX_LOSS: Final = 0.15
"""As much dearer than the baseline a message may be."""


class Found(msgspec.Struct, frozen=True):
    """What a message takes.  See the module."""

    calls: float
    cost: float
    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"


class _Note(msgspec.Struct, tag="note"):
    id: str
    to: str
    body: dict[str, Any]


class Yardstick:
    """Work of the kind that a message is, which no change of Timewire changes."""

    def __init__(self, place: str) -> None:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        self._rows = Rdict(place, options)
        self._unsynced = WriteOptions()
        self._data = msgspec.json.encode(_Note("1" * 10, "to somebody", {"text": "words " * 32}))
        self._decode = msgspec.json.Decoder(_Note).decode
        self._pack = Struct(">Q").pack
        self._number = 0

    def turn(self, count: int) -> None:
        """As much as ``count`` messages, more or less."""
        batch = WriteBatch(raw_mode=True)
        rows: dict[bytes, _Note] = {}
        for _ in range(count):
            self._number += 1
            note = self._decode(self._data)
            key = f"{note.to}:{self._number % 50}".encode() + self._pack(self._number)
            payload = msgspec.json.encode(note)
            batch.put(key, self._pack(crc32(payload)) + payload)
            rows[key] = note
        for key, note in rows.items():
            batch.put(note.id.encode() + key, key)
        self._rows.write(batch, self._unsynced)

    def close(self) -> None:
        """Release the files."""
        self._rows.close()


@asynccontextmanager
async def _ready() -> AsyncIterator[tuple[Pairs, Yardstick]]:
    with tempfile.TemporaryDirectory(prefix="timewire-guard-") as place:
        yardstick = Yardstick(place)
        async with pairs(PAIRS) as opened:
            for _ in range(WARM_ROUNDS):
                await opened.exchange(WINDOW)
                yardstick.turn(MESSAGES)
            yield opened, yardstick
        yardstick.close()


async def count_calls() -> float:
    """Function calls for a message: the fewest of some rounds, since timers come in between."""
    rounds: list[int] = []
    async with _ready() as (opened, _):
        for _ in range(COUNTED_ROUNDS):
            profile = cProfile.Profile()
            profile.enable()
            await opened.exchange(WINDOW)
            profile.disable()
            rounds.append(sum(entry.callcount for entry in profile.getstats()))
    return min(rounds) / MESSAGES


async def compare_cost() -> float:
    """Processor time for a message, in turns of the yardstick."""
    ours: list[float] = []
    bare: list[float] = []
    async with _ready() as (opened, yardstick):
        gc.collect()
        gc.freeze()
        thresholds = gc.get_threshold()
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        for _ in range(ROUNDS):
            began = time.process_time()
            await opened.exchange(WINDOW)
            between = time.process_time()
            yardstick.turn(MESSAGES)
            ours.append(between - began)
            bare.append(time.process_time() - between)
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    return min(ours) / min(bare)


def losses(found: Found, before: Found) -> dict[str, float]:
    """By how much each number has grown beyond what it may; empty when all is well."""
    pairs = {"calls": (found.calls, before.calls), "cost": (found.cost, before.cost)}
    grown = {name: now / then - 1 for name, (now, then) in pairs.items()}
    return {name: by for name, by in grown.items() if by > MAX_LOSS}


def measure(before: Found | None) -> Found:
    """Both numbers; the cost again while it seems too high."""
    found = Found(uvloop.run(count_calls()), uvloop.run(compare_cost()))
    for _ in range(ATTEMPTS - 1):
        if before is not None and "cost" not in losses(found, before):
            break
        again = uvloop.run(compare_cost())
        found = Found(found.calls, min(found.cost, again))
    return found


def main() -> int:
    """1 when a message has become dearer."""
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument("--update", action="store_true", help="make this the baseline")
    if parser.parse_args().update:
        found = measure(None)
        BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
        print(f"baseline: {found.calls:.1f} calls, cost {found.cost:.2f}")
        return 0
    before = msgspec.json.decode(BASELINE.read_bytes(), type=Found)
    found = measure(before)
    print(f"calls a message:  {found.calls:6.1f}   before {before.calls:6.1f}")
    print(f"cost a message:   {found.cost:6.2f}   before {before.cost:6.2f}")
    if found.python != before.python:
        print(f"the baseline is of Python {before.python}, this is {found.python}: not compared")
        return 0
    dearer = losses(found, before)
    for name, by in dearer.items():
        print(f"{name}: {by:.0%} more than before, {MAX_LOSS:.0%} are allowed")
    return int(bool(dearer))


if __name__ == "__main__":
    sys.exit(main())
