"""Two ways to write inboxes, side by side: as they are written, and by sorted runs.

An inbox can be made again from the log.  So references could be gathered in memory without any
writing, and be brought into the database as sorted files, with the position in the same file:
nothing goes through a log file or a memtable.  ``Runs`` is that way, as short as it can be: no
reading, no recovery, so it is faster than it could be in earnest.

What counts is processor time of the thread that the event loop has, and how long the loop waits
for the longest step.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import thread_time
from typing import Final

from rocksdict import DBCompressionType, IngestExternalFileOptions, Options, Rdict, SstFileWriter

from bench.engine import DAY_MS, MIB
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import pack_seq
from timewire.backends.rocksdb.inbox import RocksInbox, pack_rows
from timewire.clock import wall_clock
from timewire.inbox import MAX_PUT_REFS, Delivery
from timewire.model import Stored

USERS: Final = 100_000
GROUPS: Final = 500
MEMBERS: Final = 1000
RUN_REFS: Final = 100_000
"""References gathered for a run: more make rows for a user larger, and each run a longer wait."""

PUTS_A_TURN: Final = 20
_POSITION: Final = b"\xff"

Shape = Callable[[], Sequence[tuple[str, Sequence[str]]]]


class Runs:
    """Inboxes by sorted runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._options = Options(raw_mode=True)
        self._options.create_if_missing(True)
        self._options.set_compression_type(DBCompressionType.lz4())
        self._rows = Rdict(str(path), self._options)
        self._moving = IngestExternalFileOptions()
        self._moving.set_move_files(True)
        self._tail: dict[str, list[bytes]] = {}
        self._refs = 0
        self._runs = 0

    async def put(self, deliveries: Sequence[Delivery], position: int) -> None:
        """Gather references; write a run when there are many."""
        tail = self._tail
        for delivery in deliveries:
            # A reference alone is the same bytes for everybody.
            packed = pack_rows([Delivery(delivery.message, ("",))])[""]
            for user in delivery.users:
                gathered = tail.get(user)
                if gathered is None:
                    tail[user] = [packed]
                else:
                    gathered.append(packed)
            self._refs += len(delivery.users)
        if self._refs >= RUN_REFS:
            self._write(position)

    def _write(self, position: int) -> None:
        tail, self._tail, self._refs = self._tail, {}, 0
        suffix = b"\0" + pack_seq(position)
        rows = [(user.encode() + suffix, b"".join(tail[user])) for user in sorted(tail)]
        self._runs += 1
        file = str(self._path / f"run{self._runs}.sst")
        writer = SstFileWriter(self._options)
        writer.open(file)
        for key, row in rows:
            writer[key] = row
        writer[_POSITION] = pack_seq(position)
        writer.finish()
        self._rows.ingest_external_file([file], self._moving)

    def close(self) -> None:
        """Release the files."""
        self._rows.close()


async def both_ways(seconds: float) -> dict[str, float]:
    """References for a second of one core, in both ways, for scattered users and for groups."""
    found: dict[str, float] = {}
    for shape, make in (("pairs", _pairs()), ("groups", _groups())):
        found |= await _in_turns(shape, make, seconds / 2)
    return found


async def _in_turns(shape: str, make: Shape, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="timewire-bench-") as place:
        engine = Engine(
            Path(place) / "plain",
            durability="always",
            sync_interval_ms=1000,
            cache_bytes=64 * MIB,
            reserve_bytes=0,
        )
        ways = {"plain": RocksInbox(engine, DAY_MS), "runs": Runs(Path(place) / "runs")}
        took = dict.fromkeys(ways, 0.0)
        stall = dict.fromkeys(ways, 0.0)
        refs, numbers = 0, iter(range(1, 10**9))
        while sum(took.values()) < seconds or refs < 2 * RUN_REFS:
            puts = [_deliveries(make(), numbers) for _ in range(PUTS_A_TURN)]
            refs += sum(len(one.users) for put in puts for one in put)
            for name, way in ways.items():
                for put in puts:
                    began = thread_time()
                    await way.put(put, put[-1].message.seq)
                    once = thread_time() - began
                    took[name] += once
                    stall[name] = max(stall[name], once)
        await engine.aclose()
        ways["runs"].close()
    rates = {f"{shape}_{name}_per_s": refs / each for name, each in took.items()}
    return rates | {f"{shape}_{name}_stall_ms": 1000 * each for name, each in stall.items()}


def _deliveries(
    conversations: Sequence[tuple[str, Sequence[str]]], numbers: Iterator[int]
) -> list[Delivery]:
    now = wall_clock()
    return [Delivery(Stored(next(numbers), now, name, b""), users) for name, users in conversations]


def _users() -> list[str]:
    return [f"user{number:06d}" for number in range(USERS)]


def _pairs() -> Shape:
    """Every message for two users from anywhere."""
    users, dice = _users(), random.Random(1)
    count = MAX_PUT_REFS // 4
    return lambda: [
        (f"direct:{a}:{b}", (a, b)) for a, b in (dice.sample(users, 2) for _ in range(count))
    ]


def _groups() -> Shape:
    """Every message for a group of a thousand."""
    users, dice = _users(), random.Random(1)
    groups = [(f"group{number}", dice.sample(users, MEMBERS)) for number in range(GROUPS)]
    return lambda: dice.sample(groups, MAX_PUT_REFS // MEMBERS)
