"""From one data directory to another: the same bytes, and the same for every user."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from tests.lived import device, live, seen, stored
from timewire import cli, exports, transfer
from timewire.auth import mint
from timewire.backends.rocksdb import RocksStore
from timewire.client import Live, Received, Reset
from timewire.config import Config
from timewire.epochs import Mode
from timewire.errors import TimewireError
from timewire.model import Draft, encode_change
from timewire.testing.servers import serving

SECRET = "s" * 40


def token(user: str) -> str:
    return mint(SECRET, user)


def nobody(done: int, total: int) -> None:
    assert done <= total


async def run(*arguments: str, status: int = 0) -> str:
    result = await asyncio.to_thread(CliRunner().invoke, cli.app, arguments)
    assert result.exit_code == status, result.output
    return result.output


async def export(data: Path, file: Path) -> exports.End:
    config = Config(data=str(data))
    return await transfer.write_export(config, data, file, nobody, with_media=True)


async def take_in(file: Path, data: Path) -> exports.End:
    return (await transfer.import_directory(Config(data=str(data)), file, nobody))[0]


@pytest_asyncio.fixture
async def data(tmp_path: Path) -> AsyncGenerator[Path]:
    """A data directory with something of everything."""
    path = tmp_path / "data"
    async with serving(path, secret=SECRET, search="off") as server:
        await live(server, token)
    yield path


async def test_everything_is_the_same_on_the_other_side(data: Path, tmp_path: Path) -> None:
    file, there, back = tmp_path / "all.jsonl", tmp_path / "there", tmp_path / "back"
    phone: dict[str, Any] = {"store": str(tmp_path / "phone.db")}
    async with serving(data, secret=SECRET, search="off") as server:
        before = await seen(server, token)
        async with device(server, token, "bob", "old", **phone) as bob:
            events = bob.events()
            while not isinstance(await anext(events), Live):
                pass
        shown = await run("export", str(file), "--data", str(data))  # while it runs
    assert "2 media" in shown

    shown = await run("import", str(file), "--data", str(there))
    assert "epoch" in shown
    assert stored(there) == stored(data)
    await export(there, tmp_path / "again.jsonl")
    await take_in(tmp_path / "again.jsonl", back)
    assert stored(back) == stored(data)

    async with serving(there, secret=SECRET, search="off") as server:
        assert await seen(server, token) == before
        async with device(server, token, "bob", "old", **phone) as bob:
            events = bob.events()
            came = [await anext(events) for _ in range(3)]
            assert any(isinstance(one, Reset) and one.reason == "other_log" for one in came)
            while not isinstance(came[-1], Live):
                came.append(await anext(events))
            async with device(server, token, "alice", "new") as alice:
                sent = await alice.send("team", "after")
            while not (isinstance(now := await anext(events), Received)):
                pass
            assert now.message.seq == sent.seq


async def test_late_repeats_are_known(data: Path, tmp_path: Path) -> None:
    file, there = tmp_path / "all.jsonl", tmp_path / "there"
    before = stored(data)
    await export(data, file)
    await take_in(file, there)
    async with serving(there, secret=SECRET, search="off") as server:
        async with (
            device(server, token, "alice", "a") as alice,
            device(server, token, "bob", "b") as bob,
            device(server, token, "carol", "c") as carol,
        ):
            first = await alice.send("team", "line 0", id="a0")
            edited = await bob.send("team", "frist", id="edited")
            recalled = await carol.send("team", "a secret", id="recalled")
            with pytest.raises(TimewireError, match="id_reused"):
                await carol.send("team", "something else", id="recalled")
            history = {m.seq: m async for m in alice.scroll("team")}
        assert history[first.seq].body == {"text": "line 0"}
        assert history[edited.seq].body == {"text": "first!"}
        assert history[recalled.seq].body == {}
    assert before["newest"] == stored(there)["newest"]


async def test_modes_and_holes_come_along(tmp_path: Path) -> None:
    data, file, there = (tmp_path / name for name in ("data", "all.jsonl", "there"))
    store = await RocksStore.open(data)
    change = Mode("team", "read")
    mode = Draft("system:modes", "", "", encode_change("", "", change), change)
    await store.log.append([mode])
    store.log._numbers.last += 5  # as after a crash of what is synced at intervals
    await store.log.append([mode])
    await store.aclose()
    assert (await export(data, file)).head == 7
    await take_in(file, there)
    store = await RocksStore.open(there)
    assert store.log.head == 7
    [one] = await store.log.read(6)
    assert (one.conversation, one.time > 0) == ("system:modes", True)
    assert [m.conversation for m in await store.log.read(0)][1:6] == ["system:holes"] * 5
    await store.aclose()


async def test_an_export_that_broke_off_goes_on(data: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    await export(data, whole)
    text = whole.read_bytes()
    lines = text.splitlines(keepends=True)
    for size in (0, 10, len(lines[0]), len(text) // 3, len(text) - len(lines[-1]) - 5, len(text)):
        file = tmp_path / f"{size}.jsonl"
        file.with_name(file.name + ".part").write_bytes(text[:size])
        end = await export(data, file)
        assert json.loads(lines[-1]) == {"type": "end"} | {
            name: getattr(end, name) for name in ("messages", "head", "time", "media")
        }
        assert file.read_bytes().splitlines()[1:] == whole.read_bytes().splitlines()[1:]
        assert list(tmp_path.glob("*.part")) == []
    with pytest.raises(TimewireError, match="export_exists"):
        await export(data, whole)


async def test_an_import_that_broke_off_goes_on(data: Path, tmp_path: Path) -> None:
    file, there = tmp_path / "all.jsonl", tmp_path / "there"
    await export(data, file)
    text = file.read_bytes()
    lines = text.splitlines(keepends=True)
    wrong = lines[20].replace(b'"time"', b'"tame"')
    file.write_bytes(b"".join([*lines[:20], wrong, *lines[21:]]))
    with pytest.raises(TimewireError, match="bad_export") as refused:
        await take_in(file, there)
    assert "line 21" in refused.value.fields["reason"]
    assert not there.exists()
    file.write_bytes(text)  # mended
    await take_in(file, there)
    assert stored(there) == stored(data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.jsonl", "data", "there"]


async def test_another_export_begins_anew(data: Path, tmp_path: Path) -> None:
    file, there = tmp_path / "all.jsonl", tmp_path / "there"
    await export(data, file)
    part = tmp_path / f"there{transfer.PART}"
    part.mkdir()
    (part / "rubbish").write_text("of another one")
    await take_in(file, there)
    assert not (there / "rubbish").exists()
    await run("import", str(file), "--data", str(there), status=1)


async def test_damage_and_strangers_are_told(data: Path, tmp_path: Path) -> None:
    shown = await run("export", str(tmp_path / "x"), "--data", str(tmp_path / "none"), status=1)
    assert "none" in shown
    shown = await run("import", str(tmp_path / "none"), "--data", str(tmp_path / "t"), status=1)
    assert "none" in shown
    half = tmp_path / "half.jsonl"
    await export(data, half)
    half.write_bytes(b"".join(half.read_bytes().splitlines(keepends=True)[:-1]))
    shown = await run("import", str(half), "--data", str(tmp_path / "t"), status=1)
    assert "no whole export" in shown
    assert not (tmp_path / "t").exists()
