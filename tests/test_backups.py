"""Backups: whole, checked, incremental, of a server at work; and their way back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from timewire import backups, cli, library
from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.backups import Snapshot, Snapshots
from timewire.client import Client, Received, connect
from timewire.errors import TimewireError
from timewire.server import Server
from timewire.testing.devices import raw_device
from timewire.testing.servers import ServerProcess, running_server, serving


def nobody(done: int, total: int) -> None:
    assert done <= total


def device(server: Server, user: str, name: str = "laptop", **more: Any) -> Client:
    return connect(server.url, mint(server.keys.secret, user), device=name, **more)


async def run(*arguments: str, status: int = 0) -> str:
    result = await asyncio.to_thread(CliRunner().invoke, cli.app, arguments)
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Something like a data directory, with a snapshot."""
    data = tmp_path / "data"
    snapshot = data / backups.SNAPSHOT
    for name, content in {
        "secret": "key",
        "000001.sst": "live",
        "LOCK": "",
        "webhooks.new": "draft",
        "media/ab/abc": "picture",
        "media/incoming/x": "half",
        "search/0001/doc": "index",
    }.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(content)
    snapshot.mkdir()
    (snapshot / "000001.sst").write_text("stored")
    (snapshot / "CURRENT").write_text("MANIFEST-000001")
    (data / "secret").chmod(0o600)
    return data


def taken(data: Path, target: Path) -> Path:
    snapshot = Snapshot(str(data / backups.SNAPSHOT), "one", 7)
    return backups.take(snapshot, data, target, nobody)[0]


def files(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for path in root.rglob("*")
        if path.is_file()
    }


# Files -----------------------------------------------------------------------------------------


def test_what_belongs_into_a_backup(data: Path, tmp_path: Path) -> None:
    path = taken(data, tmp_path / "backups")
    assert files(path / "data") == {
        "000001.sst": "stored",
        "CURRENT": "MANIFEST-000001",
        "secret": "key",
        "media/ab/abc": "picture",
    }
    manifest = backups.read(path)
    assert (manifest.epoch, manifest.head, manifest.linked_bytes) == ("one", 7, 0)
    assert manifest.total_bytes == sum(len(text) for text in files(path / "data").values())
    assert (path / "data" / "secret").stat().st_mode & 0o777 == 0o600
    assert backups.verify(path, nobody) == []


def test_what_has_not_changed_is_linked(data: Path, tmp_path: Path) -> None:
    first = taken(data, tmp_path / "backups")
    (data / backups.SNAPSHOT / "000002.sst").write_text("more")
    (data / "secret").write_text("another")
    (data / "media/ab/abd").write_text("new")
    second = taken(data, tmp_path / "backups")
    assert backups.complete(tmp_path / "backups") == [first, second]
    for name, links in {
        "000001.sst": 2,
        "media/ab/abc": 2,
        "media/ab/abd": 1,
        "CURRENT": 1,
    }.items():
        assert (second / "data" / name).stat().st_nlink == links, name
    assert backups.read(second).linked_bytes == len("stored") + len("picture")
    assert (first / "data" / "secret").read_text() == "key"
    assert backups.verify(second, nobody) == []


def test_a_file_of_the_same_name_and_another_time_is_copied(data: Path, tmp_path: Path) -> None:
    taken(data, tmp_path / "backups")
    (data / backups.SNAPSHOT / "000001.sst").unlink()
    (data / backups.SNAPSHOT / "000001.sst").write_text("STORED")
    second = taken(data, tmp_path / "backups")
    assert (second / "data" / "000001.sst").read_text() == "STORED"


def test_the_oldest_are_removed(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "backups"
    made = [taken(data, target) for _ in range(4)]
    (target / "broken.part").mkdir()
    assert set(backups.prune(target, 2)) == {made[0], made[1], target / "broken.part"}
    assert backups.complete(target) == made[2:]
    assert backups.verify(made[3], nobody) == []


def test_one_that_breaks_off_leaves_nothing(data: Path, tmp_path: Path) -> None:
    (data / backups.SNAPSHOT / "000009.sst").symlink_to("gone")
    with pytest.raises(OSError, match="000009"):
        taken(data, tmp_path / "backups")
    assert backups.complete(tmp_path / "backups") == []
    with pytest.raises(TimewireError) as caught:
        backups.find(tmp_path / "backups")
    assert caught.value.code == "no_backup"


@pytest.mark.parametrize("damage", ["changed", "shorter", "gone", "manifest"])
def test_damage_is_found(damage: str, data: Path, tmp_path: Path) -> None:
    path = taken(data, tmp_path / "backups")
    victim = path / "data" / "media/ab/abc"
    if damage == "changed":
        victim.write_text("pictuRe")
    elif damage == "shorter":
        os.truncate(victim, 3)
    elif damage == "gone":
        victim.unlink()
    else:
        (path / backups.MANIFEST).write_text("{")
    with pytest.raises(TimewireError) as caught:
        backups.restore(path, tmp_path / "again", nobody)
    assert caught.value.code == "backup_damaged"
    assert not (tmp_path / "again").exists()
    if damage != "manifest":
        [wrong] = backups.verify(path, nobody)
        assert wrong.fields["path"] == str(victim)


def test_a_backup_of_a_newer_version_is_refused(data: Path, tmp_path: Path) -> None:
    path = taken(data, tmp_path / "backups")
    manifest = path / backups.MANIFEST
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(TimewireError) as caught:
        backups.restore(path, tmp_path / "again", nobody)
    assert caught.value.code == "directory_newer"


def test_restored_is_what_was_taken(data: Path, tmp_path: Path) -> None:
    path = taken(data, tmp_path / "backups")
    backups.restore(path, tmp_path / "again", nobody)
    assert files(tmp_path / "again") == files(path / "data")
    times = [(d / "media/ab/abc").stat().st_mtime_ns for d in (data, tmp_path / "again")]
    assert times[0] == times[1]


async def test_a_store_in_memory_has_none(tmp_path: Path) -> None:
    with pytest.raises(TimewireError) as caught:
        await Snapshots(tmp_path, MemoryStore().checkpoint).make("one", 0)
    assert caught.value.code == "storage_unavailable"


# Servers ---------------------------------------------------------------------------------------


async def test_a_backup_of_a_running_server_and_its_way_back(tmp_path: Path) -> None:
    data, target, again = tmp_path / "data", tmp_path / "backups", tmp_path / "again"
    phone = {"store": str(tmp_path / "phone.db")}
    async with serving(data) as server:
        at = ("--data", str(data), "--url", server.url)
        async with device(server, "alice") as me, device(server, "bob", "phone", **phone) as bob:
            await me.create("team", ["bob"])
            kept = [(await me.send("team", f"kept {n}")).seq for n in range(50)]
            file = await me.upload(b"a picture")
            await me.send("team", {"media": file.media, "name": "a"}, kind="file")
            shown = await run("backup", str(target), *at)
            assert "0 of them unchanged" in shown
            lost = await me.send("team", "lost")
            async with asyncio.timeout(30):
                async for event in bob.events():
                    if isinstance(event, Received) and event.message.seq == lost.seq:
                        break
        assert not (data / backups.SNAPSHOT).exists()
        assert "all sound" in await run("backup", str(target), "--verify")
        shown = await run("backup", str(target), "--keep", "1", *at)
        assert "removed" in shown
        epoch = server._store.log.epoch
        async with raw_device(server.url) as raw:
            cursor = await raw.hello(mint(server.keys.secret, "bob"), "raw")
            old = {"base": cursor["base"], "pos": str(lost.seq)}
    [path] = backups.complete(target)
    assert "epoch" in await run("restore", str(path), "--data", str(again))
    await run("restore", str(target), "--data", str(again), status=1)
    async with serving(again) as server:
        assert server._store.log.epoch != epoch
        for pos in (old["pos"], "1"):
            async with raw_device(server.url) as raw:
                token = mint(server.keys.secret, "bob")
                await raw.hello(token, "raw", cursor=old | {"pos": pos})
                await raw.expect("reset", reason="other_log")
        async with device(server, "bob", "phone", **phone) as bob:
            # The cursor is of a log that is no more: the device starts again, and goes on.
            page = await bob.history("team", limit=100)
            assert {m.seq for m in page.messages} >= set(kept)
            sent = await bob.send("team", "after")
            assert sent.seq > kept[-1]
            assert await bob.download(file.media) == b"a picture"


async def test_without_a_server(tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "backups"
    at = ("--data", str(data), "--url", "http://127.0.0.1:9")
    async with serving(data) as server, device(server, "alice") as me:
        await me.create("team")
        await me.send("team", "one")
        await run("backup", str(target), *at, status=1)
        assert backups.complete(target) == []
    await run("backup", str(target), *at)
    assert not (data / backups.SNAPSHOT).exists()
    await run("restore", str(target), "--data", str(tmp_path / "again"))
    found = library.inspect(tmp_path / "again")
    assert [one.name for one in found.conversations] == ["team"]
    await run("backup", str(target), "--data", str(tmp_path / "nothing"), status=1)


async def test_the_server_at_the_address_is_another_one(tmp_path: Path) -> None:
    key: dict[str, Any] = {"admin_key": "k" * 32}
    async with serving(tmp_path / "one", **key) as one, serving(tmp_path / "two", **key):
        for name in ("one", "two"):
            (tmp_path / name / "admin-key").write_text("k" * 32)
        shown = await run(
            "backup",
            str(tmp_path / "b"),
            "--data",
            str(tmp_path / "two"),
            "--url",
            one.url,
            status=1,
        )
        assert "elsewhere" in shown


async def test_one_at_a_time(tmp_path: Path) -> None:
    from timewire.keeping import _alone

    tmp_path.joinpath("data").mkdir()
    with _alone(tmp_path / "data"):
        shown = await run("backup", str(tmp_path), "--data", str(tmp_path / "data"), status=1)
    assert "another backup" in shown


async def test_a_snapshot_needs_the_admin_key(tmp_path: Path) -> None:
    from timewire import admin

    async with serving(tmp_path) as server:
        for method in ("POST", "DELETE"):
            with pytest.raises(TimewireError) as caught:
                await admin.call(method, server.url, "/v1/snapshot", "no", dict[str, Any])
            assert caught.value.code == "bad_admin_key"


# Under load, and over kills --------------------------------------------------------------------


class Load:
    """Sends as fast as acks come.  ``acked``: text -> SeqId of everything that was acked."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.acked: dict[str, int] = {}
        self.sent: set[str] = set()

    async def run(self) -> None:
        async with connect(self._server.url, self._server.token("alice"), device="load") as me:
            await me.create("team", ["bob"])
            number = 0
            while True:
                texts = [f"message {number + n}" for n in range(50)]
                number += 50
                self.sent.update(texts)
                sent = await asyncio.gather(*(me.post("team", text) for text in texts))
                self.acked |= {text: one.seq for text, one in zip(texts, sent, strict=True)}


async def stored(data: Path) -> dict[str, int]:
    async with serving(data) as server, device(server, "bob") as bob:
        found: dict[str, int] = {}
        after = 0
        while True:
            page = await bob.history("team", after=after, limit=500)
            for message in page.messages:
                after = message.seq
                if message.kind == "text":
                    found[message.body["text"]] = message.seq
            if not page.has_more:
                return found


async def test_backups_of_a_server_under_load(tmp_path: Path) -> None:
    target = tmp_path / "backups"
    acked: list[dict[str, int]] = []
    async with running_server(tmp_path / "data") as server:
        load = Load(server)
        sending = asyncio.create_task(load.run())
        while len(load.acked) < 500:
            await asyncio.sleep(0.01)
            assert not sending.done()
        for _ in range(3):
            acked.append(dict(load.acked))
            await run("backup", str(target), "--data", str(server.data), "--url", server.url)
        assert len(load.acked) > len(acked[2])
        sending.cancel()
    for before, path in zip(acked, backups.complete(target), strict=True):
        assert backups.verify(path, nobody) == []
        again = tmp_path / f"again {path.name}"
        await run("restore", str(path), "--data", str(again))
        found = await stored(again)
        # All that was acked before it began, as it was acked; and nothing that nobody sent.
        assert {text: found[text] for text in before} == before
        assert set(found) <= load.sent


async def test_a_kill_during_a_backup_leaves_a_server_that_starts(tmp_path: Path) -> None:
    target = tmp_path / "backups"
    async with running_server(tmp_path / "data") as server:
        load = Load(server)
        sending = asyncio.create_task(load.run())
        while len(load.acked) < 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        from timewire import admin

        key = admin.find_key(str(server.data))
        await admin.call("POST", server.url, "/v1/snapshot", key, Snapshot)
        sending.cancel()
        await server.restart()
        assert not (server.data / backups.SNAPSHOT).exists()
        await run("backup", str(target), "--data", str(server.data), "--url", server.url)
    await run("restore", str(target), "--data", str(tmp_path / "again"))
    found = await stored(tmp_path / "again")
    assert {text: found[text] for text in load.acked} == load.acked
