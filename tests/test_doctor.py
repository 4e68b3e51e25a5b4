"""The checkup: it finds damage of each sort, repairs what is safe to be, and never a message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rocksdict import Cache, WriteBatch
from typer.testing import CliRunner

from timewire import checkup, cli
from timewire.auth import mint
from timewire.backends.rocksdb import RocksStore, store
from timewire.backends.rocksdb.database import DIRECTORY, LOG, MESSAGES, META, Database
from timewire.backends.rocksdb.entries import encode, pack_seq, pack_stamp, prefix
from timewire.backends.rocksdb.inbox import STATE_KEY, InboxState
from timewire.checkup import Checkup, Finding, Notes
from timewire.client import connect
from timewire.config import Config
from timewire.doctor import examine
from timewire.errors import TimewireError
from timewire.parts import SEARCH
from timewire.testing.servers import serving


def nobody(done: int, total: int) -> None:
    assert done <= total


async def look(data: Path, **how: Any) -> Checkup:
    return await asyncio.to_thread(examine, Config(data=str(data)), nobody, **how)


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data directory with some of everything."""
    async with serving(tmp_path / "data") as server:
        token = mint(server.keys.secret, "alice")
        async with connect(server.url, token, device="laptop") as me:
            await me.create("team", ["bob"])
            for n in range(6):
                last = await me.send("team", f"message {n}")
            await me.send("direct:alice:bob", "hello")
            picture = await me.upload(b"a picture")
            await me.send("team", {"media": picture.media, "name": "p"}, kind="file")
            await me.mark_read("team", last.seq)
            await me.recall("team", last.seq)
    return tmp_path / "data"


Write = tuple[str, bytes, bytes | None]


def plant(data: Path, *writes: Write) -> None:
    """Write behind everybody's back; None deletes."""
    database = Database(data, Cache(1 << 20))
    batch = WriteBatch(raw_mode=True)
    for name, key, value in writes:
        handle = database[name].handle
        if value is None:
            batch.delete(key, handle)
        else:
            batch.put(key, value, handle)
        del handle
    database.write_synced(batch)
    database.close()


def read(data: Path, name: str, key: bytes) -> bytes | None:
    database = Database(data, Cache(1 << 20))
    try:
        return database[name].get(key)
    finally:
        database.close()


def first(data: Path, prefix: str) -> tuple[str, bytes, bytes]:
    """The first row of the first family whose name begins so."""
    database = Database(data, Cache(1 << 20))
    try:
        name = database.names(prefix)[0]
        key, value = next(database[name].forward(b"", b"\xff"))
        return name, key, value
    finally:
        database.close()


# Sound -----------------------------------------------------------------------------------------


async def test_a_sound_directory(data: Path) -> None:
    found = await look(data, deep=True)
    assert found.findings == []
    assert found.sound
    assert found.head == found.checked["messages"] == found.checked["log"]
    assert found.checked["media"] == 2
    assert found.checked["inboxes"] > 10
    assert found.checked["directory"] >= 5
    assert (await look(data, repair=True)).findings == []


async def test_while_a_server_runs(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with connect(server.url, mint(server.keys.secret, "alice"), device="l") as me:
            await me.create("team")
            await me.send("team", "one")
        found = await look(tmp_path)
        assert found.sound
        assert found.checked["messages"] >= 2
        with pytest.raises(TimewireError) as caught:
            await look(tmp_path, repair=True)
        assert caught.value.code == "directory_in_use"


async def test_what_is_no_data_directory(tmp_path: Path) -> None:
    for repair in (False, True):
        with pytest.raises(TimewireError) as caught:
            await look(tmp_path, repair=repair)
        assert caught.value.code == "directory_unusable"
    assert list(tmp_path.iterdir()) == []


# What cannot be repaired -----------------------------------------------------------------------

TEAM_2 = prefix("team") + pack_seq(2)
STRANGER = prefix("team") + pack_seq(999)

LASTING: dict[str, tuple[list[Write], str, str]] = {
    "a checksum": ([(MESSAGES, TEAM_2, b"\0" * 40)], "messages", "fails its checksum"),
    "content": (
        [(MESSAGES, TEAM_2, encode(TEAM_2, pack_stamp(1, 0), b"{}"))],
        "messages",
        "cannot be read",
    ),
    "a lost message": ([(MESSAGES, TEAM_2, None)], "log", "message 2 of team is not there"),
    "a stranger": (
        [(MESSAGES, STRANGER, encode(STRANGER, pack_stamp(1, 0), b""))],
        "messages",
        "message 999 of team is not in the log",
    ),
    "a record": ([(LOG, pack_seq(2), b"\xc1")], "log", "the record at 2 cannot be read"),
    "an overlap": (
        [(LOG, pack_seq(2), msgspec.msgpack.encode([2**45, ["team", "team"]]))],
        "log",
        "overlaps",
    ),
    "an older record": (
        [(LOG, pack_seq(3), msgspec.msgpack.encode([1, ["team"]]))],
        "log",
        "older than the one before",
    ),
    "a conversation": ([(DIRECTORY, b"cteam", None)], "directory", "which is not there"),
    "the epoch": ([(META, b"epoch", None)], "store", "no epoch"),
    "the format": ([(META, b"format", None)], "store", "which format"),
}


@pytest.mark.parametrize("sort", LASTING)
async def test_damage_that_stays(sort: str, data: Path) -> None:
    writes, check, told = LASTING[sort]
    plant(data, *writes)
    before = read(data, *writes[0][:2])
    for repair in (False, True):
        found = await look(data, repair=repair)
        assert not found.sound
        concerned = [one for one in found.findings if one.check == check and told in one.what]
        assert len(concerned) >= 1, found.findings
        assert not concerned[0].repaired
    assert read(data, *writes[0][:2]) == before


# What can --------------------------------------------------------------------------------------

MENDED: dict[str, tuple[list[Write], str, str]] = {
    "a position": (
        [(META, STATE_KEY, msgspec.msgpack.encode(InboxState(10_000)))],
        "inboxes",
        "past the log's head",
    ),
    "a missing list entry": (
        [(DIRECTORY, b"ubob\0team", None)],
        "directory",
        "not among the conversations of bob",
    ),
    "a list entry too many": ([(DIRECTORY, b"ueve\0team", b"")], "directory", "eve is no member"),
    "a read mark": (
        [(DIRECTORY, b"ralice\0team", pack_seq(10_000))],
        "directory",
        "past the log's head",
    ),
    "a carrier": ([(DIRECTORY, b"Rabc\0" + pack_seq(999), b"team")], "media", "is not there"),
}


@pytest.mark.parametrize("sort", MENDED)
async def test_damage_that_is_repaired(sort: str, data: Path) -> None:
    writes, check, told = MENDED[sort]
    plant(data, *writes)
    [planted] = (await look(data)).findings
    assert (planted.check, planted.weight, planted.repaired) == (check, "error", False)
    assert told in planted.what
    assert planted.repair
    repaired = await look(data, repair=True)
    assert repaired.findings == [msgspec.structs.replace(planted, repaired=True)]
    assert repaired.sound
    assert (await look(data)).findings == []
    async with serving(data):
        pass


async def test_an_inbox_that_refers_to_nothing(data: Path) -> None:
    name, key, row = first(data, "inbox.")
    lost = (4).to_bytes(2, "big") + b"gone" + b"\0\1" + pack_seq(3)
    plant(data, (name, key, row + lost))
    [planted] = (await look(data)).findings
    assert "refers to what is not there: 3 of gone" in planted.what
    assert (await look(data, repair=True)).sound
    assert read(data, name, key) == row
    plant(data, (name, key, lost))
    assert (await look(data, repair=True)).sound
    assert read(data, name, key) is None


async def test_an_id_that_names_nothing(data: Path) -> None:
    name, _, _ = first(data, "keys.")
    plant(data, (name, b"alice\0lost", pack_seq(999) + pack_seq(1) + b"team"))
    [planted] = (await look(data)).findings
    assert planted.what == "id lost of alice names 999 of team, which is lost"
    assert (await look(data, repair=True)).sound
    assert (await look(data)).findings == []


# Beside the store ------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["gone", "shorter", "changed"])
async def test_media(damage: str, data: Path) -> None:
    [path] = [one for one in (data / "media").rglob("*") if one.is_file()]
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"another" if damage == "shorter" else b"A picture")
    found = (await look(data, deep=True)).findings
    assert [one.check for one in found] == ["media"]
    assert (await look(data)).sound == (damage == "changed")


async def test_what_webhooks_remember(data: Path) -> None:
    kept = {"a": {"epoch": "x", "position": 10_000, "parked": []}}
    (data / "webhooks.json").write_bytes(msgspec.json.encode(kept))
    [one] = (await look(data)).findings
    assert (one.check, one.weight) == ("webhooks", "warning")
    (data / "webhooks.json").write_text("{")
    assert not (await look(data)).sound


async def test_leftovers_are_removed_by_a_repair_only(data: Path) -> None:
    (data / "snapshot").mkdir()
    (data / "webhooks.new").write_text("")
    (data / "media" / "incoming" / "half").write_text("")
    assert (await look(data)).findings == []
    found = await look(data, repair=True)
    assert {one.what.split()[0] for one in found.findings} == {
        "snapshot",
        "webhooks.new",
        "media/incoming/half",
    }
    assert found.sound
    assert (await look(data, repair=True)).findings == []


async def test_a_search_index_that_cannot_be_opened(data: Path) -> None:
    import shutil

    shutil.rmtree(data / SEARCH)
    (data / SEARCH).write_text("no index")
    [one] = (await look(data, repair=True)).findings
    assert (one.check, one.repaired) == ("search", True)
    async with serving(data):
        assert (data / SEARCH).is_dir()


async def test_a_clock_that_went_back(data: Path) -> None:
    [one] = (await look(data, clock=lambda: 1000)).findings
    assert (one.check, one.weight) == ("clock", "warning")


def test_findings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "MAX_SHOWN_FINDINGS", 3)
    notes = Notes()
    for n in range(5):
        notes.add(Finding("log", "error", str(n)))
    notes.add(Finding("log", "error", "x", "y", repaired=True))
    assert (len(notes.findings), notes.more) == (3, {"log": 2})


# The command -----------------------------------------------------------------------------------


async def test_the_command(data: Path) -> None:
    def run(*how: str) -> Any:
        return CliRunner().invoke(cli.app, ["doctor", "--data", str(data), *how])

    result = await asyncio.to_thread(run)
    assert result.exit_code == 0
    assert "nothing is wrong" in result.stdout
    plant(data, (DIRECTORY, b"ueve\0team", b""))
    result = await asyncio.to_thread(run)
    assert result.exit_code == 1
    assert "--repair would: take it out" in result.stdout
    result = await asyncio.to_thread(run, "--repair")
    assert result.exit_code == 0
    assert "[done: take it out]" in result.stdout
    result = await asyncio.to_thread(run, "--json")
    assert msgspec.json.decode(result.stdout)["findings"] == []


# Formats ---------------------------------------------------------------------------------------


async def test_a_newer_format_is_refused(data: Path) -> None:
    plant(data, (META, store.FORMAT_KEY, b"%d" % (store.FORMAT + 1)))
    for repair in (False, True):
        with pytest.raises(TimewireError) as caught:
            await look(data, repair=repair)
        assert caught.value.code == "directory_newer"
    with pytest.raises(TimewireError) as caught:
        async with serving(data):
            pass
    assert caught.value.code == "directory_newer"
    assert "upgrade this one" in caught.value.message


async def test_an_older_format_is_brought_forward(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, done = store.FORMAT, []

    def step(number: int) -> Callable[[Any, WriteBatch], None]:
        def migrate(engine: Any, batch: WriteBatch) -> None:
            done.append(number)
            batch.put(b"mark", b"%d" % number, engine.family(META).handle)

        return migrate

    monkeypatch.setattr(store, "FORMAT", old + 2)
    monkeypatch.setattr(store, "MIGRATIONS", {old: step(old), old + 1: step(old + 1)})
    for _ in range(2):
        opened = await RocksStore.open(data)
        await opened.aclose()
    assert done == [old, old + 1]
    assert read(data, META, store.FORMAT_KEY) == b"%d" % (old + 2)
    assert read(data, META, b"mark") == b"%d" % (old + 1)


async def test_a_migration_that_fails_changes_nothing(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(engine: Any, batch: WriteBatch) -> None:
        batch.put(b"mark", b"x", engine.family(META).handle)
        raise RuntimeError("no")

    monkeypatch.setattr(store, "FORMAT", store.FORMAT + 1)
    monkeypatch.setattr(store, "MIGRATIONS", {store.FORMAT - 1: fail})
    with pytest.raises(RuntimeError):
        await RocksStore.open(data)
    assert read(data, META, b"mark") is None
    assert read(data, META, store.FORMAT_KEY) == b"%d" % (store.FORMAT - 1)


def test_there_is_a_way_from_every_older_format() -> None:
    assert sorted(store.MIGRATIONS) == list(range(1, store.FORMAT))
