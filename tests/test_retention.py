"""Retention: what is old is emptied on every path, what is not stays, and a checkup proves it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from timewire import durable, retention
from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.client import Client, connect
from timewire.clock import wall_clock
from timewire.config import Config
from timewire.doctor import examine
from timewire.errors import TimewireError
from timewire.model import Draft, encode_stored
from timewire.retention import DAY_MS, Retention
from timewire.server import Server
from timewire.settings import load
from timewire.testing.servers import serving

DAYS = 30.0
OLD: dict[str, Any] = {"message_days": DAYS, "inbox_days": 7.0}


class Later:
    """A clock that can be set on."""

    def __init__(self) -> None:
        self.ahead_ms = 0.0

    def __call__(self) -> int:
        return wall_clock() + round(self.ahead_ms)


def device(server: Server, user: str) -> Client:
    token = mint(server.keys.secret, user, life_s=400 * 24 * 3600)
    return connect(server.url, token, device="laptop")


async def until(done: Any) -> None:
    async with asyncio.timeout(30):
        while not await done():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def texts(me: Client) -> list[str]:
    page = await me.history("team", limit=1000)
    return [m.body["text"] for m in page.messages if m.kind == "text"][::-1]


async def fill(data: Path, clock: Later) -> None:
    """Some that is old, and some that is not."""
    async with serving(data, clock=clock) as server, device(server, "alice") as me:
        await me.create("team", ["bob"])
        first = await me.send("team", "canary first")
        await me.edit("team", first.seq, {"text": "canary edited"})
        await me.react("team", first.seq, "👍")
        await asyncio.gather(*(me.post("team", f"canary {n}") for n in range(500)))
        clock.ahead_ms += (DAYS - 1) * DAY_MS
        await me.send("team", "canary young")
        clock.ahead_ms += 3 * DAY_MS


def look(data: Path, clock: Later) -> list[str]:
    config = Config(data=str(data), **OLD)
    found = examine(config, lambda done, total: None, clock=clock)
    return [one.what for one in found.findings if one.check == "retention"]


async def test_what_is_too_old_goes_and_the_rest_stays(tmp_path: Path) -> None:
    clock = Later()
    await fill(tmp_path, clock)
    assert len(await asyncio.to_thread(look, tmp_path, clock)) == 100
    async with serving(tmp_path, clock=clock, **OLD) as server, device(server, "bob") as bob:

        async def emptied() -> bool:
            return await texts(bob) == ["canary young"]

        await until(emptied)
        page = await bob.history("team", limit=1000)
        # Places stay, and so does what says who is a member.
        assert len(page.messages) > 500
        assert page.messages[-1].kind == "created"
        assert {m.kind for m in page.messages} == {"created", "text", ""}
        hits = (await bob.search("canary", wait_for=page.messages[0].seq)).hits
        assert [hit.message.body["text"] for hit in hits] == ["canary young"]
        await bob.send("team", "after")
    assert await asyncio.to_thread(look, tmp_path, clock) == []


async def test_it_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "REST", 0.0)
    store, clock = MemoryStore(), Later()
    payload = encode_stored("alice", "", "text", {"text": "x"})
    await store.log.append([Draft("team", "alice", str(n), payload) for n in range(450)])
    clock.ahead_ms = 40 * DAY_MS
    forgotten: list[int] = []

    async def forget(seqs: Any) -> None:
        forgotten.extend(seqs)

    def made() -> Retention:
        path = tmp_path / retention.FILE
        return Retention(store.log, store.messages, path, clock, days=DAYS, forget=forget)

    assert await made().advance(await made().due())
    assert forgotten == list(range(1, 201))
    again = made()
    before = await again.due()
    assert await again.advance(before)
    assert not await again.advance(before)
    assert not await again.advance(await again.due())
    assert forgotten == list(range(1, 451))
    assert all(not one.payload for one in await store.log.read(0))


async def test_a_log_of_another_life_is_gone_through_again(tmp_path: Path) -> None:
    store, clock = MemoryStore(), Later()
    path = tmp_path / retention.FILE
    durable.replace(path, b'{"epoch": "another", "position": 1000}')
    payload = encode_stored("alice", "", "text", {"text": "x"})
    await store.log.append([Draft("team", "alice", "1", payload)])
    clock.ahead_ms = 40 * DAY_MS
    made = Retention(store.log, store.messages, path, clock, days=DAYS, forget=None)
    await made.advance(await made.due())
    assert [one.payload for one in await store.log.read(0)] == [b""]


async def test_a_clock_that_jumps_ahead_is_believed_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "REST", 0.0)
    clock = Later()
    store = MemoryStore(clock)
    payload = encode_stored("alice", "", "text", {"text": "x"})
    for day in (0.0, 0.9, 1.1, 2.5, 9.0):
        clock.ahead_ms = day * DAY_MS
        await store.log.append([Draft("team", "alice", str(day), payload)])
    path = tmp_path / retention.FILE
    made = Retention(store.log, store.messages, path, clock, days=DAYS, forget=None)

    async def one_pass() -> int:
        before = await made.due()
        while await made.advance(before):
            pass
        return sum(not one.payload for one in await store.log.read(0))

    assert await one_pass() == 0
    clock.ahead_ms = 3650 * DAY_MS
    # A pass takes a day from the oldest that is left on, however late it is said to be.
    assert [await one_pass() for _ in range(5)] == [2, 3, 4, 5, 5]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{")
    with pytest.raises(TimewireError) as caught:
        retention._read(tmp_path / "x")
    assert caught.value.code == "directory_unusable"


def test_messages_outlive_inbox_entries() -> None:
    with pytest.raises(TimewireError) as caught:
        load({"message_days": "3"})
    assert "inbox_days" in caught.value.message
    assert load({"message_days": "0"}).message_days == 0


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    for data in (b"one", b"two"):
        durable.replace(path, data)
        assert path.read_bytes() == data
    assert [one.name for one in tmp_path.iterdir()] == ["kept.json"]
