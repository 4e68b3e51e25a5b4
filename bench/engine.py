"""The storage engine alone, against the bare library underneath it.

Both sides write the same number of keys and values of the same sizes, with the same number of
writes and syncs, in turns, in this process.  So the ratio says what Timewire's own work costs.
"""

from __future__ import annotations

import gc
import secrets
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

from rocksdict import DBCompressionType, Options, Rdict, WriteBatch, WriteOptions

from timewire.backends.rocksdb import RocksStore
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.inbox import RocksInbox
from timewire.clock import wall_clock
from timewire.errors import TimewireError
from timewire.inbox import Delivery
from timewire.log import MessageLog
from timewire.model import Draft, Stored, encode_stored
from timewire.running import COLLECTOR_THRESHOLDS

BATCH: Final = 1000
BATCHES_A_TURN: Final = 5
CONVERSATIONS: Final = 200
USERS: Final = 100_000
TEXT_BYTES: Final = 200
MIB: Final = 1 << 20
DAY_MS: Final = 24 * 3600 * 1000

ENTRY_HEAD_BYTES: Final = 13
"""Checksum, time and flags before a stored payload."""

Puts = list[tuple[bytes, bytes]]
Step = Callable[[], Awaitable[None]]
Measure = Callable[[float], Awaitable[dict[str, float]]]


class Bare:
    """RocksDB through ``rocksdict``, with nothing around it: batches written, then synced."""

    def __init__(self, path: Path) -> None:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(16 * MIB)
        options.set_max_write_buffer_number(4)
        options.set_compression_type(DBCompressionType.lz4())
        self.rows = Rdict(str(path), options)
        self._unsynced = WriteOptions()

    def write(self, puts: Puts) -> None:
        """One durable batch."""
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        for key, value in puts:
            put(key, value)
        self.rows.write(batch, self._unsynced)
        self.rows.flush_wal(True)

    def close(self) -> None:
        """Release the files."""
        self.rows.close()


class Sqlite:
    """SQLite with a write-ahead log that is synced with every transaction."""

    def __init__(self, path: Path) -> None:
        self._rows = sqlite3.connect(path, isolation_level=None)
        self._rows.execute("PRAGMA journal_mode = WAL")
        self._rows.execute("PRAGMA synchronous = FULL")
        self._rows.execute("CREATE TABLE rows (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")

    def write(self, puts: Puts) -> None:
        """One durable batch."""
        self._rows.execute("BEGIN")
        self._rows.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", puts)
        self._rows.execute("COMMIT")

    def close(self) -> None:
        """Release the files."""
        self._rows.close()


async def log(seconds: float) -> dict[str, float]:
    """Messages a second through ``RocksLog.append``, each batch durable before the next."""
    with tempfile.TemporaryDirectory(prefix="timewire-bench-") as place:
        store = await RocksStore.open(Path(place) / "timewire")
        bare, sqlite = Bare(Path(place) / "bare"), Sqlite(Path(place) / "sqlite")
        numbers = iter(range(10**9))
        try:
            return await _in_turns(
                seconds,
                lambda: _append(store.log, _drafts(numbers)),
                lambda: _write(bare, _message_puts(numbers)),
                sqlite_per_s=lambda: _write(sqlite, _message_puts(numbers)),
            )
        finally:
            await store.aclose()
            bare.close()
            sqlite.close()


async def inbox(seconds: float) -> dict[str, float]:
    """References a second through ``RocksInbox.put``, each batch durable before the next."""
    with tempfile.TemporaryDirectory(prefix="timewire-bench-") as place:
        engine = Engine(
            Path(place) / "timewire",
            durability="always",
            sync_interval_ms=1000,
            cache_bytes=64 * MIB,
            reserve_bytes=0,
        )
        inboxes, bare = RocksInbox(engine, DAY_MS), Bare(Path(place) / "bare")
        numbers, others = iter(range(1, 10**9)), iter(range(1, 10**9))
        try:
            return await _in_turns(
                seconds,
                lambda: _put(engine, inboxes, _deliveries(numbers)),
                lambda: _write(bare, _reference_puts(others)),
            )
        finally:
            await engine.aclose()
            bare.close()


async def _in_turns(
    seconds: float,
    ours: Callable[[], Step],
    bares: Callable[[], Step],
    **others: Callable[[], Step],
) -> dict[str, float]:
    """Alternate all for ``seconds``.  What is written is prepared outside the timing.

    ``others`` are told by the name of what is found.
    """
    makers = (ours, bares, *others.values())
    took = [0.0] * len(makers)
    count, until = 0, perf_counter() + seconds
    collecting = gc.isenabled()
    thresholds = gc.get_threshold()
    gc.enable()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    try:
        while not count or perf_counter() < until:
            for side, make in enumerate(makers):
                steps = [make() for _ in range(BATCHES_A_TURN)]
                began = perf_counter()
                for step in steps:
                    await step()
                took[side] += perf_counter() - began
            count += BATCHES_A_TURN * BATCH
    finally:
        gc.set_threshold(*thresholds)
        if not collecting:
            gc.disable()
    return {
        "per_s": count / took[0],
        "bare_per_s": count / took[1],
        "ratio": took[1] / took[0],
        "us_each": took[0] / count * 1e6,
        **{name: count / each for name, each in zip(others, took[2:], strict=True)},
    }


# -- the log --------------------------------------------------------------------------------------


def _append(log: MessageLog, drafts: Sequence[Draft]) -> Step:
    async def step() -> None:
        for result in await log.append(drafts):
            if isinstance(result, TimewireError):
                raise result

    return step


def _write(bare: Bare | Sqlite, puts: Puts) -> Step:
    async def step() -> None:
        bare.write(puts)

    return step


def _drafts(numbers: Iterator[int]) -> list[Draft]:
    drafts: list[Draft] = []
    for _, number in zip(range(BATCH), numbers, strict=False):
        conversation, sender, id = _names(number)
        payload = encode_stored(sender, id, "text", {"text": "x" * TEXT_BYTES})
        drafts.append(Draft(conversation, sender, id, payload))
    return drafts


def _names(number: int) -> tuple[str, str, str]:
    sender = f"user{number % CONVERSATIONS:06d}"
    return f"direct:{sender}:user999999", sender, f"{number:010d}"


def _message_puts(numbers: Iterator[int]) -> Puts:
    """As the log makes them: a message, the id of its send, and one record of the batch."""
    puts: Puts = []
    names: list[str] = []
    number = 0
    for _, number in zip(range(BATCH), numbers, strict=False):
        conversation, sender, id = _names(number)
        payload = encode_stored(sender, id, "text", {"text": "x" * TEXT_BYTES})
        seq, name = number.to_bytes(8, "big"), conversation.encode()
        puts.append((name + b"\0" + seq, bytes(ENTRY_HEAD_BYTES) + payload))
        puts.append((f"{sender}\0{id}".encode(), seq + seq + name))
        names.append(conversation)
    puts.append((b"log" + number.to_bytes(8, "big"), "".join(names).encode()))
    return puts


# -- inboxes --------------------------------------------------------------------------------------


def _put(engine: Engine, inboxes: RocksInbox, deliveries: list[Delivery]) -> Step:
    position = deliveries[-1].message.seq

    async def step() -> None:
        await inboxes.put(deliveries, position)
        await engine.durable()

    return step


def _pair(number: int) -> tuple[str, str]:
    """Two users who write to each other: other ones for each message, from everywhere."""
    one = number * 7919 % USERS
    return f"user{one:06d}", f"user{(one + 1) % USERS:06d}"


def _deliveries(numbers: Iterator[int]) -> list[Delivery]:
    now, found = wall_clock(), list[Delivery]()
    for _, number in zip(range(BATCH // 2), numbers, strict=False):
        one, other = _pair(number)
        message = Stored(number, now, f"direct:{one}:{other}", b"")
        found.append(Delivery(message, (one, other)))
    return found


def _reference_puts(numbers: Iterator[int]) -> Puts:
    """As an inbox makes them: a row for each user, and the position."""
    puts: Puts = []
    seqs = [number for _, number in zip(range(BATCH // 2), numbers, strict=False)]
    last = seqs[-1].to_bytes(8, "big")
    for number in seqs:
        one, other = _pair(number)
        name, seq = f"direct:{one}:{other}".encode(), number.to_bytes(8, "big")
        row = len(name).to_bytes(2, "big") + name + b"\0\1" + seq
        puts += [(user.encode() + b"\0" + last, row) for user in (one, other)]
    puts.append((b"inbox", secrets.token_bytes(24)))
    return puts
