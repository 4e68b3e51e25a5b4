"""Search on a whole server: from devices, over restarts and kills, and switched off."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from timewire.auth import mint
from timewire.client import Client, connect
from timewire.errors import TimewireError
from timewire.parts import SEARCH
from timewire.server import Server
from timewire.testing.devices import raw_device
from timewire.testing.servers import running_server, serving


def device(server: Server, user: str, **more: Any) -> Client:
    return connect(server.url, mint(server.keys.secret, user), device="laptop", **more)


async def texts(me: Client, text: str = "", **query: Any) -> list[str]:
    found: list[str] = []
    page = ""
    while True:
        slice = await me.search(text, **query, limit=3, page=page)
        found += [hit.message.body["text"] for hit in slice.hits]
        if not (page := slice.next):
            return found


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_device_finds_what_it_has_just_sent(tmp_path: Path, codec: Any) -> None:
    async with serving(tmp_path) as server, device(server, "alice", codec=codec) as me:
        await me.create("team", ["bob"])
        for n in range(5):
            sent = await me.send("team", f"Hello Wörld {n} 你好")
            found = await me.search("world 你好", wait_for=sent.seq, limit=1)
            assert found.hits[0].message.seq == sent.seq
            assert found.watermark >= sent.seq
        [hit] = (await me.search('"world 3"')).hits
        assert (hit.snippet, hit.matches) == ("Hello Wörld 3 你好", [(6, 13)])
        assert await texts(me, "world", order="oldest") == [
            f"Hello Wörld {n} 你好" for n in range(5)
        ]
        async with device(server, "bob") as bob, device(server, "eve") as eve:
            assert len(await texts(bob, "world", conversation="team")) == 5
            assert await texts(eve, "world") == []
            with pytest.raises(TimewireError) as caught:
                await eve.search("world", conversation="team")
            assert caught.value.code == "not_member"


async def test_windows_hold_on_a_server(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, device(server, "alice") as me:
        await me.create("team", ["bob"])
        await me.send("team", "word one")
        await me.remove("team", ["bob"])
        await me.send("team", "word two")
        await me.add("team", ["bob"])
        last = await me.send("team", "word three")
        async with device(server, "bob") as bob:
            await bob.search("word", wait_for=last.seq)
            assert await texts(bob, "word", order="oldest") == ["word one", "word three"]


async def test_the_frames(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, raw_device(server.url) as raw:
        await raw.hello(mint(server.keys.secret, "alice"), "phone")
        await raw.next()
        await raw.send("search", id="1", text="x")
        page = await raw.next()
        assert page == {"type": "search_page", "id": "1", "hits": [], "watermark": 0}
        await raw.send("search", id="2", text="x", form="bob")
        refusal = await raw.next()
        assert (refusal["type"], refusal["code"], refusal["id"]) == ("error", "bad_frame", "2")
        assert "form" in refusal["fields"]["reason"]
        await raw.send("search", id="3")
        assert (await raw.next())["code"] == "bad_query"


async def test_searches_outlive_kills(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        for life in range(3):
            token = server.token("alice")
            async with connect(server.url, token, device="phone") as me:
                if not life:
                    await me.create("team")
                posted = [me.post("team", f"life {life} number {n}") for n in range(200)]
                last = (await asyncio.gather(*posted))[-1]
                if life % 2:
                    await me.search("life", wait_for=last.seq)
            await server.restart()
        async with connect(server.url, server.token("alice"), device="phone") as me:
            found = await me.search("life", limit=100, wait_for=last.seq)
            seqs = [hit.message.seq for hit in found.hits]
            while found.next:
                found = await me.search("life", limit=100, page=found.next, wait_for=last.seq)
                seqs += [hit.message.seq for hit in found.hits]
        assert len(seqs) == len(set(seqs)) == 600


async def test_switched_off(tmp_path: Path) -> None:
    async with serving(tmp_path, search="off") as server, device(server, "alice") as me:
        with pytest.raises(TimewireError) as caught:
            await me.search("x")
        assert caught.value.code == "search_off"
    assert not (tmp_path / SEARCH).exists()
    async with serving(tmp_path) as server, device(server, "alice") as me:
        assert (await me.search("x")).hits == []
    assert (tmp_path / SEARCH).is_dir()


async def test_switched_on_late_it_finds_what_was_said_before(tmp_path: Path) -> None:
    async with serving(tmp_path, search="off") as server, device(server, "alice") as me:
        await me.create("team")
        sent = await me.send("team", "said before")
    async with serving(tmp_path) as server, device(server, "alice") as me:
        found = await me.search("before", wait_for=sent.seq)
        assert [hit.message.seq for hit in found.hits] == [sent.seq]


async def test_a_directory_that_is_no_index(tmp_path: Path) -> None:
    (tmp_path / SEARCH).write_text("not a directory")
    with pytest.raises(TimewireError) as caught:
        async with serving(tmp_path):
            pass
    assert caught.value.code == "directory_unusable"
    (tmp_path / SEARCH).unlink()
    async with serving(tmp_path):
        pass
