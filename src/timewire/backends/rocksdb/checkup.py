"""A checkup of a data directory: every message is read, every reference is followed.

    store        the files can be read
    log          the log's records are in order, and each names a message that is there
    messages     each message has a sound checksum and content, and stands in the log
    inboxes      each reference names a message; the position is not past the head
    directory    each member is in a conversation that is there; marks are not past the head
    ids          each id of a send names a message
    media        what is known of media names messages that are there
    erased       of a user who was erased nothing is left
    retention    nothing is left that is older than what is kept
    clock        the newest message is not of the future

What can be made again from the rest, or means nothing, is safe to repair; a message never is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
from rocksdict import Cache, WriteBatch

from timewire.backends.rocksdb.database import (
    DIRECTORY,
    LOG,
    MESSAGES,
    META,
    Database,
    Family,
    open_database,
    open_readonly,
)
from timewire.backends.rocksdb.entries import (
    SEQ_BYTES,
    content,
    pack_seq,
    prefix,
    seq_of,
    timeline_of,
)
from timewire.backends.rocksdb.inbox import STATE_KEY, InboxState, unpack
from timewire.backends.rocksdb.store import EPOCH_KEY, FORMAT, FORMAT_KEY
from timewire.checkup import Checkup, Finding, Notes, Told, Weight
from timewire.errors import TimewireError, error
from timewire.model import CONTROL_KINDS, EDITED, INTERNAL, MAX_SEQ, Seq, StoredBody, decode_stored

CACHE_BYTES: Final = 32 << 20
BATCH_KEYS: Final = 1000
_PERSONAL: Final = {
    b"b": "a block",
    b"d": "a device",
    b"h": "a hidden message",
    b"n": "how much is hidden",
    b"r": "a read mark",
    b"s": "a setting",
}
"""Rows of the directory, by the first byte of their keys, that say something of a user alone."""

MAX_FUTURE_MS: Final = 60_000
"""A newest message that is so much ahead of the clock says that the clock went back."""


class _Record(msgspec.Struct, frozen=True, array_like=True):
    time: int
    conversations: list[str]


_decode_record = msgspec.msgpack.Decoder(_Record).decode
_decode_state = msgspec.msgpack.Decoder(InboxState).decode


def examine(
    path: Path,
    now: int,
    told: Told,
    *,
    repair: bool,
    medium: Callable[[str, int], str],
    erased: str = "",
    oldest: int = 0,
) -> Checkup:
    """Look at everything; with ``repair``, put right what is safe to be, while nobody has it open.

    ``medium`` is asked of every medium, by name and size, what is wrong with its file.
    ``erased``: a user of whom nothing should be left.  ``oldest``: nothing that was said before
    (ms) should be left.

    Raises ``Unusable`` (directory_unusable, directory_newer, directory_in_use).
    """
    cache = Cache(CACHE_BYTES)
    if not (path / "CURRENT").exists():
        raise error("directory_unusable", path=str(path), reason="there is no Timewire data in it")
    database = open_database(path, cache) if repair else open_readonly(path, cache)
    try:
        stored = database[META].get(FORMAT_KEY) or b""
        if stored.isdigit() and int(stored) > FORMAT:
            raise error("directory_newer", format=int(stored), known=FORMAT)
        examination = _Examination(
            database, now, told, repair=repair, medium=medium, erased=erased, oldest=oldest
        )
        examination.run()
        notes = examination.notes
        return Checkup(
            path=str(path),
            format=int(stored) if stored.isdigit() else 0,
            epoch=(database[META].get(EPOCH_KEY) or b"").decode(),
            head=examination.head,
            checked=notes.checked,
            findings=notes.findings,
            more=notes.more,
        )
    finally:
        database.close()


class _Examination:
    """One pass over one open database."""

    def __init__(
        self,
        database: Database,
        now: int,
        told: Told,
        *,
        repair: bool,
        medium: Callable[[str, int], str],
        erased: str,
        oldest: int,
    ) -> None:
        self._medium = medium
        self._erased = erased
        self._oldest = oldest
        self.notes = Notes()
        self.head: Seq = 0
        self._database = database
        self._now = now
        self._told = told
        self._repair = repair
        self._seen = 0
        self._total = sum(database[name].size()[0] for name in database.names())
        self._in_log = 0

    def run(self) -> None:
        """All checks.  One that cannot go on says so, and the next one begins."""
        for name, check in (
            ("store", self._check_meta),
            ("log", self._check_log),
            ("messages", self._check_messages),
            ("inboxes", self._check_inboxes),
            ("directory", self._check_directory),
            ("media", self._check_media),
            ("ids", self._check_ids),
            ("erased", self._check_erased),
        ):
            try:
                check()
            except Exception as fault:
                what = f"it cannot be read any further: {fault}"
                self._find(name, what)

    # -- the store ------------------------------------------------------------------------------

    def _check_meta(self) -> None:
        meta = self._database[META]
        self.notes.count("store", len(self._database.names()))
        if not (meta.get(FORMAT_KEY) or b"").isdigit():
            self._find("store", "the directory does not say which format it has")
        if not meta.get(EPOCH_KEY):
            self._find("store", "the log has no epoch")

    # -- log and messages -----------------------------------------------------------------------

    def _check_log(self) -> None:
        last, time = 0, 0
        for key, value in self._rows(LOG):
            try:
                record = _decode_record(value)
            except msgspec.DecodeError as fault:
                self._find("log", f"the record at {seq_of(key)} cannot be read: {fault}")
                continue
            first = seq_of(key) - len(record.conversations) + 1
            if first <= last:
                self._find("log", f"the record at {seq_of(key)} overlaps the one before")
            if record.time < time:
                self._find("log", f"the record at {seq_of(key)} is older than the one before")
            places = list(enumerate(record.conversations, first))
            self._expect_messages(places)
            last, time = seq_of(key), max(time, record.time)
            self._in_log += len(places)
        self.head = last
        self.notes.count("log", self._in_log)
        if time > self._now + MAX_FUTURE_MS:
            what = f"the newest message is {(time - self._now) / 1000:.0f} s ahead of the clock"
            self._find("clock", what, weight="warning")
        self.notes.count("clock")

    def _expect_messages(self, places: list[tuple[Seq, str]]) -> None:
        keys = [prefix(name) + pack_seq(seq) for seq, name in places]
        for (seq, name), value in zip(places, self._get(MESSAGES, keys), strict=True):
            if value is None:
                self._find("log", f"message {seq} of {name} is not there")

    def _check_messages(self) -> None:
        seen = 0
        for key, value in self._rows(MESSAGES):
            seen += 1
            name, seq = timeline_of(key), seq_of(key)
            try:
                time, payload = content(key, value)
                if payload:
                    self._check_said(name, seq, time, decode_stored(payload))
            except TimewireError:
                self._find("messages", f"message {seq} of {name} fails its checksum")
            except msgspec.DecodeError as fault:
                self._find("messages", f"message {seq} of {name} cannot be read: {fault}")
        self.notes.count("messages", seen)
        if seen != self._in_log:
            self._find_strangers()

    def _check_said(self, name: str, seq: Seq, time: int, stored: StoredBody) -> None:
        """What should be left of nothing by now; acts on groups say nothing."""
        says = stored.kind not in CONTROL_KINDS or stored.kind == EDITED
        says = says and not name.startswith(INTERNAL)
        if says and time < self._oldest:
            self._find("retention", f"message {seq} of {name} is older than what is kept")
        if self._erased and stored.sender == self._erased and says:
            self._find("erased", f"message {seq} of {name} is from {stored.sender}")
        if self._erased and any(self._erased in users for users in stored.reactions.values()):
            self._find("erased", f"message {seq} of {name} has a reaction of {self._erased}")

    def _check_erased(self) -> None:
        """What the directory keeps of a user beside membership."""
        if not self._erased:
            return
        user = self._erased.encode()
        self.notes.count("erased")
        for kind, what in _PERSONAL.items():
            first = kind + user + (b"" if kind == b"s" else b"\0")
            end = first + b"\0" if kind == b"s" else first[:-1] + b"\1"
            for key, _ in list(self._rows(DIRECTORY, first, end)):
                told = f"{what} of {self._erased} is kept"
                self._mend("erased", told, "forget it", [(DIRECTORY, key, None)])
        for key, value in self._rows(DIRECTORY, b"m", b"n"):
            name, other = _parts(key)
            if other == user and not name.startswith((b"direct:", b"self:")):
                windows = msgspec.msgpack.decode(value)[1]
                if windows and not windows[-1][1]:
                    self._find("erased", f"{self._erased} is a member of {name.decode()}")

    def _find_strangers(self) -> None:
        """Messages that the log does not name: no inbox will ever hold them."""
        log = self._database[LOG]
        for key in self._database[MESSAGES].forward_keys(b"", b"\xff"):
            seq, name = seq_of(key), timeline_of(key)
            row = next(log.forward(pack_seq(seq), pack_seq(MAX_SEQ)), None)
            if row is None or not _names(row, seq, name):
                self._find("messages", f"message {seq} of {name} is not in the log")

    # -- what is made from the log --------------------------------------------------------------

    def _check_inboxes(self) -> None:
        stored = self._database[META].get(STATE_KEY)
        state = _decode_state(stored) if stored else InboxState()
        if state.position > self.head:
            what = f"fan-out stands at {state.position}, past the log's head {self.head}"
            fresh = InboxState(self.head, state.floor, state.newest)
            encoded = msgspec.msgpack.encode(fresh)
            self._mend("inboxes", what, "set it to the head", [(META, STATE_KEY, encoded)])
        for name in self._database.names("inbox."):
            for rows in _batched(self._rows(name)):
                self._check_references(name, rows)

    def _check_references(self, family: str, rows: list[tuple[bytes, bytes]]) -> None:
        held = [(key, unpack(row, 0, MAX_SEQ, len(row))) for key, row in rows]
        self.notes.count("inboxes", sum(len(refs) for _, refs in held))
        wanted = {(ref.conversation, ref.seq) for _, refs in held for ref in refs}
        there = self._there(wanted)
        for key, refs in held:
            lost = [ref for ref in refs if (ref.conversation, ref.seq) not in there]
            if lost:
                user = key[: -SEQ_BYTES - 1].decode()
                gone = ", ".join(f"{ref.seq} of {ref.conversation}" for ref in lost)
                kept = [ref for ref in refs if (ref.conversation, ref.seq) in there]
                row = b"".join(_pack(ref.conversation, ref.seq) for ref in kept) or None
                what = f"the inbox of {user} refers to what is not there: {gone}"
                self._mend("inboxes", what, "take it out", [(family, key, row)])

    def _check_directory(self) -> None:
        family = self._database[DIRECTORY]
        for key, value in self._rows(DIRECTORY, b"m", b"n"):
            name, user = _parts(key)
            self.notes.count("directory")
            if family.get(b"c" + name) is None:
                what = f"{user.decode()} is a member of {name.decode()}, which is not there"
                self._find("directory", what)
            elif family.get(b"u" + user + b"\0" + name) is None:
                what = f"{name.decode()} is not among the conversations of {user.decode()}"
                row = b"u" + user + b"\0" + name
                self._mend("directory", what, "add it", [(DIRECTORY, row, b"")])
            del value
        for key, _ in self._rows(DIRECTORY, b"u", b"v"):
            user, name = _parts(key)
            if family.get(b"m" + name + b"\0" + user) is None:
                what = f"{user.decode()} is no member of {name.decode()}, which is listed"
                self._mend("directory", what, "take it out", [(DIRECTORY, key, None)])
        for key, value in self._rows(DIRECTORY, b"r", b"s"):
            if seq_of(value) > self.head:
                user, name = _parts(key)
                what = f"{user.decode()} has read {name.decode()} past the log's head"
                mark = pack_seq(self.head)
                self._mend("directory", what, "set it to the head", [(DIRECTORY, key, mark)])

    def _check_media(self) -> None:
        for key, value in self._rows(DIRECTORY, b"M", b"N"):
            self.notes.count("media")
            name, (bytes, *_) = key[1:].decode(), msgspec.msgpack.decode(value)
            if problem := self._medium(name, bytes):
                self._find("media", f"medium {name}: {problem}")
        for rows in _batched(self._rows(DIRECTORY, b"R", b"S")):
            self.notes.count("media", len(rows))
            there = self._there({(value.decode(), seq_of(key)) for key, value in rows})
            for key, value in rows:
                if (value.decode(), seq_of(key)) not in there:
                    medium = key[1 : -SEQ_BYTES - 1].decode()
                    what = f"medium {medium} is carried by {seq_of(key)} of {value.decode()}, which"
                    self._mend(
                        "media", f"{what} is not there", "take it out", [(DIRECTORY, key, None)]
                    )

    def _check_ids(self) -> None:
        for name in self._database.names("keys."):
            for rows in _batched(self._rows(name)):
                self.notes.count("ids", len(rows))
                places = {key: (value[16:].decode(), seq_of(value[:8])) for key, value in rows}
                there = self._there(set(places.values()))
                for key, place in places.items():
                    if place not in there:
                        sender, _, id = key.decode().partition("\0")
                        what = f"id {id} of {sender} names {place[1]} of {place[0]}, which is lost"
                        self._mend("ids", what, "forget it", [(name, key, None)])

    # -- help -----------------------------------------------------------------------------------

    def _find(self, check: str, what: str, *, weight: Weight = "error") -> None:
        self.notes.add(Finding(check, weight, what))

    def _mend(
        self, check: str, what: str, repair: str, writes: list[tuple[str, bytes, bytes | None]]
    ) -> None:
        """Something is wrong that these writes put right (None: delete)."""
        if self._repair:
            batch = WriteBatch(raw_mode=True)
            for name, key, value in writes:
                handle = self._database[name].handle
                if value is None:
                    batch.delete(key, handle)
                else:
                    batch.put(key, value, handle)
            self._database.write_synced(batch)
        self.notes.add(Finding(check, "error", what, repair, self._repair))

    def _rows(
        self, name: str, first: bytes = b"", end: bytes = b"\xff" * 9
    ) -> Iterator[tuple[bytes, bytes]]:
        for row in self._database[name].forward(first, end):
            self._seen += 1
            if self._seen % BATCH_KEYS == 0:
                self._told(self._seen, max(self._seen, self._total))
            yield row

    def _get(self, name: str, keys: list[bytes]) -> list[bytes | None]:
        family: Family = self._database[name]
        return family.get_all(keys)

    def _there(self, places: set[tuple[str, Seq]]) -> set[tuple[str, Seq]]:
        """Which of these messages are stored."""
        wanted = list(places)
        keys = [prefix(name) + pack_seq(seq) for name, seq in wanted]
        values = self._get(MESSAGES, keys)
        return {place for place, value in zip(wanted, values, strict=True) if value is not None}


def _names(row: tuple[bytes, bytes], seq: Seq, name: str) -> bool:
    """Whether a record of the log says that a SeqId is one of this conversation."""
    key, value = row
    try:
        conversations = _decode_record(value).conversations
    except msgspec.DecodeError:
        return False
    back = seq_of(key) - seq + 1
    return back <= len(conversations) and conversations[-back] == name


def _parts(key: bytes) -> tuple[bytes, bytes]:
    one, _, other = key[1:].partition(b"\0")
    return one, other


def _pack(conversation: str, seq: Seq) -> bytes:
    """A reference as inboxes have it."""
    name = conversation.encode()
    return len(name).to_bytes(2, "big") + name + b"\0\1" + pack_seq(seq)


def _batched(rows: Iterator[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    while batch := list(islice(rows, BATCH_KEYS)):
        yield batch
