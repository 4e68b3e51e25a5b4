"""From one server to a cluster on real NATS, and back: the same for every user."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tests.cluster.test_together import SECRET, config, gateway, working
from tests.lived import device, live, seen, stored
from timewire import cli, exports, transfer
from timewire.auth import mint
from timewire.backends.jetstream import LogStream, Names, connect
from timewire.cluster import import_cluster, init, refresh
from timewire.config import Config
from timewire.errors import TimewireError
from timewire.testing.clusters import running_cluster
from timewire.testing.servers import serving


def token(user: str) -> str:
    return mint(SECRET, user)


def nobody(done: int, total: int) -> None:
    assert done <= total


async def records(url: str, names: Names) -> int:
    client = await connect(url, "look")
    try:
        return (await LogStream(client, names).bounds()).last
    finally:
        await client.close()


async def small(directory: Path, file: Path) -> Config:
    """An export of a few messages; a server's settings."""
    settings = Config(data=str(directory), port=0, secret=SECRET, search="off")
    async with (
        serving(directory, secret=SECRET, search="off") as server,
        device(server, token, "alice") as me,
    ):
        await me.create("team", ["bob"])
        for number in range(20):
            await me.send("team", f"line {number}")
    await transfer.write_export(settings, directory, file, nobody, with_media=True)
    return settings


async def test_to_a_cluster_and_back(tmp_path: Path, nats_url: str, names: Names) -> None:
    data, file, back = tmp_path / "data", tmp_path / "all.jsonl", tmp_path / "back"
    async with serving(data, secret=SECRET, search="off") as server:
        await live(server, token)
        before = await seen(server, token)
    settings = Config(data=str(data))
    await transfer.write_export(settings, data, file, nobody, with_media=True)

    store = tmp_path / "objects"
    store.mkdir()
    common = {"media_store": store.as_uri()}
    shape = await init(nats_url, 1, names)
    worker = config(tmp_path, "worker", nats_url, **common)
    end, epoch = await import_cluster(worker, file, nobody, names)
    assert (epoch, end.media) == (shape["epoch"], 2)
    async with (
        working(worker, names),
        gateway(config(tmp_path, "g1", nats_url, **common), names) as one,
    ):
        assert await seen(one, token) == before
        async with device(one, token, "alice") as alice:
            again = await alice.send("team", "line 0", id="a0")
            assert again.seq < end.head
            assert (await alice.send("team", "from the cluster")).seq == end.head + 1
        after = await seen(one, token)

    copy = config(tmp_path, "copy", nats_url, **common)
    view = await refresh(copy, names)
    await transfer.write_export(copy, view, tmp_path / "back.jsonl", nobody, with_media=True)
    home = Config(data=str(back))
    await transfer.import_directory(home, tmp_path / "back.jsonl", nobody)
    assert stored(back) == stored(view)
    async with serving(back, secret=SECRET, search="off") as server:
        assert await seen(server, token) == after


async def test_what_broke_off_goes_on(tmp_path: Path, nats_url: str, names: Names) -> None:
    file = tmp_path / "all.jsonl"
    await small(tmp_path / "data", file)
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    await init(nats_url, 1, names)
    settings = config(tmp_path, "import", nats_url)

    seqs = msgspec.json.decode(lines[10])["seq"]
    file.write_bytes(b"".join([*lines[:11], b"{}\n", *lines[11:]]))
    import_of = lambda: import_cluster(settings, file, nobody, names)  # noqa: E731
    with pytest.raises(TimewireError, match="bad_export"):
        await import_of()
    file.write_bytes(whole)
    end, _ = await import_of()
    assert end.head > seqs
    done = await records(nats_url, names)
    await import_of()  # once more is nothing more
    assert await records(nats_url, names) == done
    assert stored(await refresh(settings, names)) == stored(tmp_path / "data")

    other = tmp_path / "other.jsonl"
    await small(tmp_path / "more", other)
    with pytest.raises(TimewireError, match="cluster_not_empty"):
        await import_cluster(settings, other, nobody, names)


async def test_a_worker_in_the_way(tmp_path: Path, nats_url: str, names: Names) -> None:
    file = tmp_path / "all.jsonl"
    await small(tmp_path / "data", file)
    await init(nats_url, 1, names)
    settings = config(tmp_path, "import", nats_url)
    worker = config(tmp_path, "worker", nats_url)
    async with working(worker, names), gateway(config(tmp_path, "g", nats_url), names) as one:
        async with device(one, token, "alice") as me:
            await me.send("self:alice", "somebody leads")
        with pytest.raises(TimewireError, match="cluster_not_empty"):
            await import_cluster(settings, file, nobody, names)


async def test_media_need_a_place(tmp_path: Path, nats_url: str, names: Names) -> None:
    file = tmp_path / "all.jsonl"
    await small(tmp_path / "data", file)
    lines = file.read_bytes().splitlines(keepends=True)
    piece = msgspec.json.encode(exports.Piece("a" * 64, 0, 1, b"x")) + b"\n"
    file.write_bytes(b"".join([*lines[:-1], piece, lines[-1]]))
    await init(nats_url, 1, names)
    with pytest.raises(TimewireError, match="media_store"):
        await import_cluster(config(tmp_path, "i", nats_url), file, nobody, names)


async def run(*arguments: str) -> str:
    result = await asyncio.to_thread(CliRunner().invoke, cli.app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


async def test_a_backup_of_a_gateway_makes_a_cluster_again(tmp_path: Path, nats_url: str) -> None:
    backups, restored, file = (str(tmp_path / name) for name in ("b", "restored", "all.jsonl"))
    async with running_cluster(tmp_path / "lost", nats=1, workers=1, gateways=1) as cluster:
        own = cluster.gateways[0]
        at = ("--data", str(own.data), "--url", own.url)
        async with device(own, cluster.token, "alice") as alice:
            await alice.create("team", ["bob"])
            first = await alice.send("team", "kept", ack="synced")
            await run("backup", backups, *at)
            last = await alice.send("team", "kept too", ack="synced")
            assert "unchanged" in await run("backup", backups, *at)
    await run("backup", backups, "--verify")
    await run("restore", backups, "--data", restored)
    await run("export", file, "--data", restored)
    names = Names("again")
    await init(nats_url, 1, names)
    settings = config(tmp_path, "worker", nats_url)
    end, epoch = await import_cluster(settings, Path(file), nobody, names)
    assert (end.head, epoch != "") == (last.seq, True)
    async with (
        working(settings, names),
        gateway(config(tmp_path, "g", nats_url), names) as one,
        device(one, token, "bob") as bob,
    ):
        page = await bob.history("team", limit=10)
        assert [m.seq for m in page.messages][:2] == [last.seq, first.seq]
        assert (await bob.send("team", "goes on")).seq == last.seq + 1
