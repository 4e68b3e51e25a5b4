"""What a device keeps: messages, its cursor, its outbox, and which events the app has yet to see.

The one rule: messages and the cursor that moves over them are saved together or not at all
(``Store.apply``).  Then a crash at any moment costs nothing: what was not saved comes again.

Stores are called from the event loop and return at once.  A transaction of a frame or a page takes
tens of microseconds to a few milliseconds, less than handing it to a thread and back would add to
every message.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from timewire.client.events import Acked, Arrival, Received
from timewire.errors import error
from timewire.model import READ, SELF, Message, Seq, decode_message
from timewire.protocol import Command, Cursor, Id, ResetReason

MAX_MEMORY_MESSAGES: Final = 100_000
SCHEMA_VERSION: Final = 1


class Owner(msgspec.Struct, frozen=True):
    """Whose store this is: it serves one device of one user."""

    user: str
    device: str


class Saved(msgspec.Struct, frozen=True):
    """Where a device stopped: all that it needs to go on, beside the messages.

    ``unread``: messages that the app has not dealt with, with their numbers, oldest first.
    ``reset``: why the device has to be rebuilt, when it was in the middle of that.
    """

    owner: Owner | None = None
    cursor: Cursor | None = None
    reset: ResetReason | None = None
    outbox: list[Command] = []
    unread: list[tuple[int, Arrival]] = []


class Change(msgspec.Struct):
    """What to save in one transaction.  Fields that are empty or None change nothing.

    ``settled``: ids of commands that leave the outbox.  ``marks`` merge by maximum.  ``taken``: the
    app has dealt with all unread messages up to this number.

    ``reset``: a rebuild is due, until ``rebuilt``.  A cursor that is only too old (expired) leaves
    the messages as they are.  Any other reason means that the SeqIds of this store may name other
    messages now, so it forgets its messages and marks, before anything else of the change.
    """

    owner: Owner | None = None
    arrivals: list[Arrival] = []
    cursor: Cursor | None = None
    queued: list[Command] = []
    settled: list[Id] = []
    marks: dict[str, Seq] = {}
    reset: ResetReason | None = None
    rebuilt: bool = False
    taken: int = 0

    def __bool__(self) -> bool:
        return self != _NOTHING

    @property
    def forgets(self) -> bool:
        """Whether the store forgets its messages and marks."""
        return self.reset is not None and self.reset != "expired"


_NOTHING: Final = Change()


class Store(Protocol):
    """What a device keeps.  Every store passes the same contract test.

    Methods raise ``Retryable`` (storage_unavailable) when the store cannot write or read.
    """

    def load(self) -> Saved:
        """Where the device stopped; ``Saved()`` for a new store."""
        ...

    def apply(self, change: Change) -> list[int | None]:
        """Save all of a change, or nothing.  One result an arrival, in order.

        The result is the number under which the arrival is unread, growing; None when the message
        (conversation and SeqId) was there already.  Messages of kind ``read`` move the marks too.
        """
        ...

    def messages(
        self, conversation: str, *, before: Seq | None = None, limit: int = 100
    ) -> list[Message]:
        """Messages below ``before`` (None: from the newest), newest first."""
        ...

    def last(self, conversation: str) -> Seq:
        """The SeqId of the newest message of a conversation; 0 when there is none."""
        ...

    def mark(self, conversation: str) -> Seq:
        """How far the user has read the conversation, as far as this device knows."""
        ...

    def close(self) -> None:
        """Release everything.  Closing twice is closing once."""
        ...


def read_mark(message: Message) -> tuple[str, Seq] | None:
    """The read mark that a message carries: its conversation and SeqId."""
    if message.kind != READ or not message.conversation.startswith(SELF):
        return None
    conversation, seq = message.body.get("conversation"), message.body.get("seq")
    if isinstance(conversation, str) and isinstance(seq, int):
        return conversation, seq
    return None


# In memory -------------------------------------------------------------------------------------


class MemoryStore:
    """Keeps everything in memory, of messages the newest ``MAX_MEMORY_MESSAGES``."""

    def __init__(self) -> None:
        self._owner: Owner | None = None
        self._cursor: Cursor | None = None
        self._reset: ResetReason | None = None
        self._outbox: dict[Id, Command] = {}
        self._unread: OrderedDict[int, Arrival] = OrderedDict()
        self._number = 0
        self._messages: OrderedDict[tuple[str, Seq], Message] = OrderedDict()
        self._last: dict[str, Seq] = {}
        self._marks: dict[str, Seq] = {}

    def load(self) -> Saved:
        """Where the device stopped; ``Saved()`` for a new store."""
        outbox, unread = list(self._outbox.values()), list(self._unread.items())
        return Saved(self._owner, self._cursor, self._reset, outbox, unread)

    def apply(self, change: Change) -> list[int | None]:
        """Save a change; see ``Store``."""
        if change.forgets:
            self._messages.clear()
            self._unread.clear()
            self._last.clear()
            self._marks.clear()
        self._owner = change.owner or self._owner
        self._cursor = change.cursor or self._cursor
        self._reset = None if change.rebuilt else change.reset or self._reset
        self._outbox.update((command.id, command) for command in change.queued)
        for id in change.settled:
            self._outbox.pop(id, None)
        for conversation, seq in change.marks.items():
            self._mark(conversation, seq)
        while self._unread and next(iter(self._unread)) <= change.taken:
            self._unread.popitem(last=False)
        return [self._add(arrival) for arrival in change.arrivals]

    def messages(
        self, conversation: str, *, before: Seq | None = None, limit: int = 100
    ) -> list[Message]:
        """Messages below ``before``, newest first."""
        found = [
            message
            for (name, seq), message in self._messages.items()
            if name == conversation and (before is None or seq < before)
        ]
        return sorted(found, key=lambda message: message.seq, reverse=True)[:limit]

    def last(self, conversation: str) -> Seq:
        """The SeqId of the newest message of a conversation; 0 when there is none."""
        return self._last.get(conversation, 0)

    def mark(self, conversation: str) -> Seq:
        """How far the user has read the conversation."""
        return self._marks.get(conversation, 0)

    def close(self) -> None:
        """Nothing to release: the store can be opened again."""

    def _add(self, arrival: Arrival) -> int | None:
        message = arrival.message
        key = message.conversation, message.seq
        if key in self._messages:
            return None
        self._messages[key] = message
        if len(self._messages) > MAX_MEMORY_MESSAGES:
            self._messages.popitem(last=False)
        self._last[message.conversation] = max(message.seq, self.last(message.conversation))
        if mark := read_mark(message):
            self._mark(*mark)
        self._number += 1
        self._unread[self._number] = arrival
        return self._number

    def _mark(self, conversation: str, seq: Seq) -> None:
        self._marks[conversation] = max(seq, self.mark(conversation))


# In a file -------------------------------------------------------------------------------------

_SCHEMA: Final = """
CREATE TABLE messages (
    conversation TEXT, seq INTEGER, json BLOB NOT NULL, PRIMARY KEY (conversation, seq)
) WITHOUT ROWID;
CREATE TABLE unread (
    number INTEGER PRIMARY KEY AUTOINCREMENT, conversation TEXT, seq INTEGER, own INTEGER
);
CREATE TABLE outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, json BLOB NOT NULL);
CREATE TABLE marks (conversation TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, json BLOB NOT NULL) WITHOUT ROWID;
"""

_MARK: Final = (
    "INSERT INTO marks VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)"
)


class SqliteStore:
    """Keeps everything in one SQLite file, which one device at a time may have open.

    The journal is a WAL with ``synchronous=NORMAL``: a crash of the app loses nothing.  A crash of
    the machine may take back the newest transactions, each as a whole, so messages and cursor still
    agree and the server sends again what is missing; lost can only be a command that was queued in
    the last moments and never answered.  In return no commit waits for the disk, and the event loop
    is not held up (``FULL`` would cost one disk sync a frame).

    Raises ``Unusable`` (directory_in_use, directory_newer, directory_unusable).
    """

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        try:
            self._db = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            self._prepare()
        except sqlite3.Error as failure:
            locked = "locked" in str(failure)
            code = "directory_in_use" if locked else "directory_unusable"
            raise error(code, path=self._path, reason=str(failure)) from None

    def load(self) -> Saved:
        """Where the device stopped; ``Saved()`` for a new store."""
        outbox = self._rows("SELECT json FROM outbox ORDER BY number")
        unread = self._rows(
            "SELECT number, own, json FROM unread JOIN messages USING (conversation, seq)"
            " ORDER BY number"
        )
        return Saved(
            self._get("owner", Owner),
            self._get("cursor", Cursor),
            self._get("reset", ResetReason),
            [msgspec.json.decode(json, type=Command) for (json,) in outbox],
            [(n, (Acked if own else Received)(decode_message(json))) for n, own, json in unread],
        )

    def apply(self, change: Change) -> list[int | None]:
        """Save a change; see ``Store``."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                numbers = self._write(change)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as failure:
            raise error("storage_unavailable", path=self._path, reason=str(failure)) from None
        return numbers

    def messages(
        self, conversation: str, *, before: Seq | None = None, limit: int = 100
    ) -> list[Message]:
        """Messages below ``before``, newest first."""
        rows = self._rows(
            "SELECT json FROM messages WHERE conversation = ? AND seq < ?"
            " ORDER BY seq DESC LIMIT ?",
            conversation,
            2**63 - 1 if before is None else before,
            limit,
        )
        return [decode_message(json) for (json,) in rows]

    def last(self, conversation: str) -> Seq:
        """The SeqId of the newest message of a conversation; 0 when there is none."""
        [(seq,)] = self._rows("SELECT max(seq) FROM messages WHERE conversation = ?", conversation)
        return seq or 0

    def mark(self, conversation: str) -> Seq:
        """How far the user has read the conversation."""
        rows = self._rows("SELECT seq FROM marks WHERE conversation = ?", conversation)
        return rows[0][0] if rows else 0

    def close(self) -> None:
        """Release the file.  Closing twice is closing once."""
        self._db.close()

    def _prepare(self) -> None:
        # Exclusive: two processes with one cursor would take each other's messages.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        [(version,)] = self._db.execute("PRAGMA user_version")
        if version > SCHEMA_VERSION:
            raise error("directory_newer", path=self._path)
        # Taking the lock now: a file in use is refused here, not at the first message.
        self._db.execute("BEGIN IMMEDIATE")
        if version == 0:
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    def _write(self, change: Change) -> list[int | None]:
        execute = self._db.execute
        if change.forgets:
            for table in ("messages", "unread", "marks"):
                execute(f"DELETE FROM {table}")
        for key, value in (
            ("owner", change.owner),
            ("cursor", change.cursor),
            ("reset", change.reset),
        ):
            if value is not None:
                execute(
                    "INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, msgspec.json.encode(value))
                )
        if change.rebuilt:
            execute("DELETE FROM meta WHERE key = 'reset'")
        for command in change.queued:
            execute(
                "INSERT OR IGNORE INTO outbox (id, json) VALUES (?, ?)",
                (command.id, msgspec.json.encode(command)),
            )
        for id in change.settled:
            execute("DELETE FROM outbox WHERE id = ?", (id,))
        for mark in change.marks.items():
            execute(_MARK, mark)
        if change.taken:
            execute("DELETE FROM unread WHERE number <= ?", (change.taken,))
        return [self._add(arrival) for arrival in change.arrivals]

    def _add(self, arrival: Arrival) -> int | None:
        message, own = arrival.message, isinstance(arrival, Acked)
        key = message.conversation, message.seq
        added = self._db.execute(
            "INSERT OR IGNORE INTO messages VALUES (?, ?, ?)", (*key, msgspec.json.encode(message))
        )
        if not added.rowcount:
            return None
        if mark := read_mark(message):
            self._db.execute(_MARK, mark)
        unread = self._db.execute(
            "INSERT INTO unread (conversation, seq, own) VALUES (?, ?, ?)", (*key, own)
        )
        return unread.lastrowid

    def _get(self, key: str, type: Any) -> Any:
        rows = self._rows("SELECT json FROM meta WHERE key = ?", key)
        return msgspec.json.decode(rows[0][0], type=type) if rows else None

    def _rows(self, query: str, *arguments: object) -> list[Any]:
        try:
            return self._db.execute(query, arguments).fetchall()
        except sqlite3.Error as failure:
            raise error("storage_unavailable", path=self._path, reason=str(failure)) from None
