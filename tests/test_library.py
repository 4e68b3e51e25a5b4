import asyncio
from pathlib import Path

import pytest

from timewire import client, library
from timewire.auth import mint
from timewire.errors import Unusable
from timewire.testing.servers import serving


async def test_timelines_without_a_server(tmp_path: Path) -> None:
    async with library.open(tmp_path / "feeds") as timelines:
        first = await timelines.append("feed:alice", b"one")
        second = await timelines.append("feed:alice", b"two", key=b"k")
        assert await timelines.append("feed:alice", b"two", key=b"k") == second > first
    async with library.open(str(tmp_path / "feeds")) as timelines:
        page = await timelines.scan("feed:alice", after=first)
        assert [entry.payload for entry in page.entries] == [b"two"]


async def test_a_directory_is_open_once(tmp_path: Path) -> None:
    async with library.open(tmp_path / "feeds"):
        with pytest.raises(Unusable) as caught:
            async with library.open(tmp_path / "feeds"):
                pass
        assert caught.value.code == "directory_in_use"


async def test_what_is_in_the_library_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "feeds"
    async with library.open(path) as timelines:
        for number in range(5):
            await timelines.append("b", b"%d" % number, seq=10 * (number + 1))
        await timelines.trim("b", 20)
        await timelines.append("a", b"x")
        await timelines.append("c", b"x")
        await timelines.append("zz", b"x" * 1000)
    found = library.inspect(path, limit=3)

    assert [(t.name, t.entries) for t in found.timelines] == [("a", 1), ("b", 4), ("c", 1)]
    assert (found.timelines[1].oldest, found.timelines[1].newest) == (20, 50)
    assert (found.more, found.conversations, found.head) == (True, [], 0)
    assert not library.inspect(path, limit=4).more
    assert {"entries", "messages", "log"} <= {family.name for family in found.families}
    assert found.disk_bytes > 1000


async def test_a_look_while_a_server_writes_sees_whole_states_and_changes_nothing(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path / "data") as server:
        before = library.inspect(tmp_path / "data")
        assert (before.head, before.consumers, before.conversations) == (0, {"fan-out": 0}, [])
        token = mint(server.keys.secret, "alice")
        async with client.connect(server.url, token, device="laptop") as alice:
            await alice.create("team", ["bob"])
            posts = [alice.post("team", f"m{number}") for number in range(300)]
            heads: list[int] = []
            for _ in range(5):
                found = await asyncio.to_thread(library.inspect, tmp_path / "data")
                [team] = found.conversations
                assert (team.name, team.oldest, team.newest) == ("team", 1, found.head)
                assert team.entries == found.head
                assert found.consumers["fan-out"] <= found.head
                assert (found.epoch, found.format, found.floor) == (before.epoch, 1, 1)
                heads.append(found.head)
            for post in posts:
                await post
        assert heads == sorted(heads)
        assert library.inspect(tmp_path / "data").head == 301


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(Unusable) as caught:
            library.inspect(path)
        assert caught.value.code == "directory_unusable"
        assert caught.value.fields["path"] == str(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]
