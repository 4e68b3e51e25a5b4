"""What a device keeps, in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from timewire.client.events import Acked, Arrival, Received
from timewire.client.revisions import FINAL, Row, add, bare
from timewire.client.store import Change, Owner, Saved, read_mark
from timewire.commands import Command
from timewire.errors import error
from timewire.model import Message, Seq, decode_message
from timewire.protocol import Cursor, ResetReason

SCHEMA_VERSION: Final = 2

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

_SCHEMA_2: Final = """
ALTER TABLE messages ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
CREATE TABLE notes (
    conversation TEXT, seq INTEGER, change INTEGER, PRIMARY KEY (conversation, seq, change)
) WITHOUT ROWID;
CREATE TABLE hidden (
    conversation TEXT, seq INTEGER, PRIMARY KEY (conversation, seq)
) WITHOUT ROWID;
CREATE TABLE expiring (
    expires INTEGER, conversation TEXT, seq INTEGER, PRIMARY KEY (expires, conversation, seq)
) WITHOUT ROWID;
CREATE TABLE spans (
    conversation TEXT PRIMARY KEY, begins INTEGER NOT NULL, left INTEGER NOT NULL
) WITHOUT ROWID;
"""

_SCHEMAS: Final = (_SCHEMA, _SCHEMA_2)
"""What makes a file of each version out of one of the version before."""

_MARK: Final = (
    "INSERT INTO marks VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)"
)

_BEGIN: Final = (
    "INSERT INTO spans VALUES (?, ?, 0)"
    " ON CONFLICT DO UPDATE SET begins = max(begins, excluded.begins)"
)
_LEAVE: Final = (
    "INSERT INTO spans VALUES (?, 0, ?) ON CONFLICT DO UPDATE SET left = max(left, excluded.left)"
)
_COME_BACK: Final = (
    "UPDATE spans SET begins = max(begins, :seq), left = 0"
    " WHERE conversation = :conversation AND left > 0 AND left < :seq"
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
        with self._transaction():
            return self._write(change)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as failure:
            raise error("storage_unavailable", path=self._path, reason=str(failure)) from None

    def messages(
        self, conversation: str, *, before: Seq | None = None, limit: int = 100
    ) -> list[Message]:
        """Messages below ``before``, newest first."""
        rows = self._rows(
            "SELECT json FROM messages LEFT JOIN hidden USING (conversation, seq)"
            " LEFT JOIN spans USING (conversation)"
            " WHERE conversation = ? AND seq < ? AND hidden.seq IS NULL"
            " AND seq >= coalesce(spans.begins, 0)"
            " ORDER BY seq DESC LIMIT ?",
            conversation,
            2**63 - 1 if before is None else before,
            limit,
        )
        return [decode_message(json) for (json,) in rows]

    def sweep(self, now: int) -> None:
        """Forget what messages said whose life is over."""
        due = self._rows("SELECT conversation, seq FROM expiring WHERE expires <= ?", now)
        if not due:
            return
        with self._transaction():
            rows = _SqliteRows(self._db)
            for place in due:
                if row := rows.get(*place):
                    rows.put(Row(bare(row.message), FINAL))
            self._db.execute("DELETE FROM expiring WHERE expires <= ?", (now,))

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
        for schema in _SCHEMAS[version:]:
            for statement in schema.split(";"):
                self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    def _write(self, change: Change) -> list[int | None]:
        execute = self._db.execute
        if change.forgets:
            for table in ("messages", "unread", "marks", "notes", "hidden", "expiring", "spans"):
                execute(f"DELETE FROM {table}")  # noqa: S608 - names of the line above
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
        for span in change.begins.items():
            execute(_BEGIN, span)
        if change.taken:
            execute("DELETE FROM unread WHERE number <= ?", (change.taken,))
        user = owner.user if (owner := self._get("owner", Owner)) else ""
        return [self._add(user, arrival) for arrival in change.arrivals]

    def _add(self, user: str, arrival: Arrival) -> int | None:
        message, own = arrival.message, isinstance(arrival, Acked)
        if not add(_SqliteRows(self._db), user, message):
            return None
        if mark := read_mark(message):
            self._db.execute(_MARK, mark)
        unread = self._db.execute(
            "INSERT INTO unread (conversation, seq, own) VALUES (?, ?, ?)",
            (message.conversation, message.seq, own),
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


class _SqliteRows:
    """The ``Rows`` of a store in a file; to be used in a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, conversation: str, seq: Seq) -> Row | None:
        found = self._all(
            "SELECT json, base FROM messages WHERE conversation = ? AND seq = ?", conversation, seq
        )
        return Row(decode_message(found[0][0]), found[0][1]) if found else None

    def put(self, row: Row) -> None:
        message = row.message
        key = message.conversation, message.seq
        self._db.execute(
            "INSERT OR REPLACE INTO messages (conversation, seq, json, base) VALUES (?, ?, ?, ?)",
            (*key, msgspec.json.encode(message), row.base),
        )
        if message.expires:
            self._db.execute(
                "INSERT OR IGNORE INTO expiring VALUES (?, ?, ?)", (message.expires, *key)
            )

    def note(self, conversation: str, seq: Seq, change: Seq) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO notes VALUES (?, ?, ?)", (conversation, seq, change)
        )

    def noted(self, conversation: str, seq: Seq) -> list[Message]:
        rows = self._all(
            "SELECT json FROM notes JOIN messages ON messages.conversation = notes.conversation"
            " AND messages.seq = notes.change WHERE notes.conversation = ? AND notes.seq = ?"
            " ORDER BY notes.change",
            conversation,
            seq,
        )
        return [decode_message(json) for (json,) in rows]

    def hide(self, conversation: str, seq: Seq) -> None:
        self._db.execute("INSERT OR IGNORE INTO hidden VALUES (?, ?)", (conversation, seq))

    def leave(self, conversation: str, seq: Seq) -> None:
        self._db.execute(_LEAVE, (conversation, seq))

    def come_back(self, conversation: str, seq: Seq) -> None:
        self._db.execute(_COME_BACK, {"conversation": conversation, "seq": seq})

    def is_hidden(self, conversation: str, seq: Seq) -> bool:
        return bool(
            self._all("SELECT 1 FROM hidden WHERE conversation = ? AND seq = ?", conversation, seq)
        )

    def _all(self, query: str, *arguments: object) -> list[Any]:
        return self._db.execute(query, arguments).fetchall()
