"""Admission: who comes while the disk is slow is refused at once, and told when to come back."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from timewire import admission as module
from timewire.admission import MAX_PAUSE_MS, MIN_PAUSE_MS, Admission
from timewire.auth import mint
from timewire.backends.memory import MemoryLog, MemoryStore
from timewire.client import Backoff, connect
from timewire.testing.contracts import ManualClock
from timewire.testing.devices import eventually, raw_device
from timewire.testing.servers import serving


def refused(found: Admission, queued: int = 0) -> int | None:
    refusal = found.refusal(queued)
    assert refusal is None or (refusal.code, refusal.retry) == ("too_busy", True)
    return refusal.fields["retry_after"] if refusal is not None else None


def test_a_slow_commit_closes_the_door_and_its_end_opens_it() -> None:
    clock = ManualClock(0)
    found = Admission(clock, 100)
    found.began("a", 3)
    clock.now = 100
    found.began("b", 1)
    assert (refused(found), found.trouble) == (None, "")
    clock.now = 101
    assert refused(found) == MIN_PAUSE_MS
    clock.now = 3000
    assert refused(found) == 3000
    assert "3 s" in found.trouble
    clock.now = 10**6
    assert refused(found) == MAX_PAUSE_MS
    found.ended("a")
    assert refused(found) is not None, "the next one is slow too"
    found.ended("b")
    assert (refused(found), found.trouble) == (None, "")


def test_commits_may_end_in_any_order() -> None:
    clock = ManualClock(0)
    found = Admission(clock, 100)
    found.began("a", 1)
    clock.now = 90
    found.began("b", 1)
    found.ended("a")
    clock.now = 150
    assert found.age_ms == 60
    assert refused(found) is None


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_QUEUE_REQUESTS", 5)
    monkeypatch.setattr(module, "MAX_COMMITTING_REQUESTS", 10)
    found = Admission(ManualClock(0), 100)
    assert (refused(found, 4), refused(found, 5)) == (None, MIN_PAUSE_MS)
    found.began("a", 10)
    assert refused(found) == MIN_PAUSE_MS
    found.ended("a")
    assert refused(found) is None


# -- a whole server on a disk that is slow --------------------------------------------------------


class StuckLog(MemoryLog):
    """A log whose disk can be stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = False
        self._held: list[asyncio.Future[None]] = []

    def _synced(self, sync: asyncio.Future[None]) -> None:
        if self.stuck:
            self._held.append(sync)
        else:
            super()._synced(sync)

    def go_on(self) -> None:
        """The disk works again."""
        self.stuck, held = False, self._held
        self._held = []
        for sync in held:
            super()._synced(sync)


def stuck_store() -> tuple[MemoryStore, StuckLog]:
    store, log = MemoryStore(), StuckLog()
    store.log = log
    store.messages, store.directory = log.messages, log.directory
    return store, log


async def ready(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.get(url + "/readyz") as answer:
        return answer.status, (await answer.json())["reasons"]


async def test_while_the_disk_is_slow_sends_are_refused_and_reads_go_on(tmp_path: Path) -> None:
    store, log = stuck_store()
    ticks = ManualClock(0)
    async with (
        serving(tmp_path, store, ticks=ticks, slow_commit_s=1) as server,
        AsyncExitStack() as stack,
    ):
        alice = await stack.enter_async_context(raw_device(server.url))
        await alice.hello(mint(server.keys.secret, "alice"), "phone")
        await alice.until("live")
        said = {"to": "self:alice", "body": {"text": "x"}}
        first = await alice.ask("send", id="1", **said)
        assert first["type"] == "ack"
        log.stuck = True
        await alice.send("send", id="2", **said)
        assert (await alice.ask("ping", id="p"))["type"] == "pong"
        await eventually(lambda: bool(server._sender._appends))  # pyright: ignore
        ticks.now += 1001
        refused = await alice.ask("send", id="3", **said)
        assert (refused["code"], refused["retry"]) == ("too_busy", True)
        assert refused["fields"] == {"retry_after": 1001}
        status, [reason] = await ready(server.url)
        assert (status, "slow" in reason) == (503, True)
        page = await alice.ask("history", id="h", conversation="self:alice", after=first["seq"] - 1)
        assert [one["id"] for one in page["messages"]] == ["1"]
        log.go_on()
        assert (await alice.next())["id"] == "2"
        assert (await alice.ask("send", id="3", **said))["type"] == "ack"
        assert await ready(server.url) == (200, [])


async def test_a_device_waits_and_loses_nothing(tmp_path: Path) -> None:
    store, log = stuck_store()
    async with (
        serving(tmp_path, store, slow_commit_s=0.05) as server,
        connect(
            server.url,
            mint(server.keys.secret, "alice"),
            device="phone",
            backoff=Backoff(0.001, 0.001),
        ) as alice,
    ):
        await alice.send("self:alice", "first")
        log.stuck = True
        for number in range(20):
            alice.post("self:alice", f"{number}")
            await asyncio.sleep(0.01)
        log.go_on()
        await alice.flush()
        page = await alice.history("self:alice", limit=100)
        texts = [one.body.get("text") for one in page.messages][::-1]
        assert [text for text in texts if text] == ["first", *map(str, range(20))]
