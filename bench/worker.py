"""One store in a process of its own, so that its memory and its start can be told from others'.

It reads a command a line (JSON) from its standard input, and answers with a line.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import msgspec

from bench.machine import private_bytes
from bench.stats import Latencies
from bench.stores import STORES, Item, Store
from timewire.running import COLLECTOR_THRESHOLDS

BATCH: Final = 1000
TIMELINES: Final = 1000
PAYLOAD_BYTES: Final = 200
PAGE: Final = 100
STRIDE: Final = 7919
"""Coprime to ``TIMELINES``: neighbours in a batch are far apart among the keys."""

READ_S: Final = 0.3
_NOISE: Final = random.Random(1).randbytes(1 << 20)
"""Payloads are pieces of it: nobody gains by compression."""


class Command(msgspec.Struct):
    """``do``: append, read, or close.  ``first`` is the number of the first entry it is about."""

    do: str
    first: int = 1
    count: int = 0


def item(number: int) -> Item:
    """The entry with a number."""
    start = number * 31 % (len(_NOISE) - PAYLOAD_BYTES)
    name = f"timeline:{(number - 1) * STRIDE % TIMELINES:06d}"
    return name, number, _NOISE[start : start + PAYLOAD_BYTES]


def numbers_of(number: int, upto: int) -> list[int]:
    """A page of the timeline that an entry is in, from it on: all that are at most ``upto``."""
    return list(range(number, upto + 1, TIMELINES))[:PAGE]


async def append(store: Store, first: int, count: int) -> dict[str, float]:
    """So many entries, batch by batch.  They are made outside the timing."""
    latencies, took = Latencies(), 0.0
    for start in range(first, first + count, BATCH):
        items = [item(number) for number in range(start, min(start + BATCH, first + count))]
        began = perf_counter()
        await store.append(items)
        each = perf_counter() - began
        latencies.add(each)
        took += each
    return {
        "took_s": took,
        "p99_ms": latencies.percentile_ms(99),
        "max_ms": latencies.longest * 1e3,
    }


async def read(store: Store, upto: int) -> dict[str, float]:
    """Pages from anywhere, by scan and by their numbers: microseconds for each.

    Every page is compared with what was written.
    """
    chance = random.Random(upto)

    async def scan(page: list[int]) -> list[bytes]:
        return await store.scan(item(page[0])[0], page[0] - 1, len(page))

    async def get_many(page: list[int]) -> list[bytes]:
        return await store.get_many(item(page[0])[0], page)

    found: dict[str, float] = {}
    for name, ask in (("scan_us", scan), ("get_us", get_many)):
        took, pages, until = 0.0, 0, perf_counter() + READ_S
        while not pages or perf_counter() < until:
            page = numbers_of(chance.randint(1, upto), upto)
            began = perf_counter()
            got = await ask(page)
            took += perf_counter() - began
            pages += len(page)
            if got != [item(number)[2] for number in page]:
                raise RuntimeError(f"{name}: not what was written at {page[0]}")
        found[name] = took / pages * PAGE * 1e6
    return found


async def serve(name: str, path: Path, commands: Callable[[], bytes]) -> None:
    """Open the store and do what is asked."""
    before, began = private_bytes(os.getpid()), perf_counter()
    store: Store = await STORES[name].open(path)
    _tell({"open_s": perf_counter() - began})
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    while line := commands():
        command = msgspec.json.decode(line, type=Command)
        if command.do == "append":
            _tell(await append(store, command.first, command.count))
        elif command.do == "read":
            memory = store.memory_bytes() - (0 if name == "valkey" else before)
            _tell(await read(store, command.first) | {"memory_mib": memory / 2**20})
        else:
            break
    await store.close()


def _tell(found: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), sys.stdin.buffer.readline))
