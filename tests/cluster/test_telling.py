"""Webhooks of a cluster: who leads tells them, and the next one goes on from there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from timewire.backends.jetstream import Names, connect
from timewire.backends.jetstream.connection import end, subscribe
from timewire.backends.rocksdb import RocksStore
from timewire.cluster import init, roll, telling
from timewire.cluster.roll import Answering, Roll
from timewire.cluster.telling import WEBHOOKS, LogLedger, check_webhooks
from timewire.cluster.worker import Worker
from timewire.config import Config
from timewire.errors import TimewireError
from timewire.hub import Hub
from timewire.model import Draft, encode_stored
from timewire.testing.devices import RawDevice, eventually, raw_device
from timewire.webhooks.ledger import Parked

from .test_together import config, gateway, live, working

WEBHOOK_SECRET = "whsec_" + "c2VjcmV0" * 6


class Product:
    """A product's server, which takes everything."""

    def __init__(self) -> None:
        self.url = ""
        self.told: list[dict[str, Any]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.told.append(await request.json() | {"id": request.headers["webhook-id"]})
        return web.Response()

    def texts(self) -> list[str]:
        """What was said, in the order in which it was told."""
        said = [one["data"]["body"] for one in self.told if one["type"] == "message"]
        return [body["text"] for body in said]


@asynccontextmanager
async def product() -> AsyncGenerator[Product]:
    made, application = Product(), web.Application()
    application.router.add_post("/hook", made.take)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield made
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that a test can wait for."""
    monkeypatch.setattr(LogLedger, "save_pause_s", 0.05)
    monkeypatch.setattr(roll, "ANSWER_S", 0.2)
    monkeypatch.setattr(roll, "CALL_PAUSE_S", 0.4)


def telling_worker(path: Path, name: str, url: str, hook: str) -> Config:
    events = ("message", "offline")
    hooks = {"webhooks": (hook,), "webhook_secret": WEBHOOK_SECRET, "webhook_events": events}
    return config(path, name, url, **hooks)


async def say(device: RawDevice, text: str, to: str = "direct:alice:bob") -> None:
    await device.send("send", id=text, to=to, body={"text": text})
    while (await device.next()).get("id") != text:
        pass


async def test_the_leader_tells_and_the_next_one_goes_on(
    tmp_path: Path, nats_url: str, names: Names
) -> None:
    await init(nats_url, 1, names)
    async with product() as there:
        first, second = (telling_worker(tmp_path, w, nats_url, there.url) for w in ("w1", "w2"))
        async with (
            working(first, names) as leader,
            gateway(config(tmp_path, "g1", nats_url, webhooks=("http://x/",)), names) as one,
            raw_device(one.url) as alice,
        ):
            await live(alice, "alice")
            for number in range(5):
                await say(alice, f"before {number}")
            await eventually(lambda: len(there.texts()) == 5)
            async with working(second, names) as follower:
                await handed_over(leader, follower)
                for number in range(5):
                    await say(alice, f"after {number}")
                await eventually(lambda: len(set(there.texts())) == 10)
    # What was told shortly before may be told twice, when the other one was faster than the end.
    first_told = list(dict.fromkeys(there.texts()))
    assert first_told == [f"{when} {n}" for when in ("before", "after") for n in range(5)]


async def handed_over(leader: Worker, follower: Worker) -> None:
    leader.stop()
    await eventually(lambda: follower.leads)


async def test_absent_is_who_is_at_no_gateway(tmp_path: Path, nats_url: str, names: Names) -> None:
    await init(nats_url, 1, names)
    async with (
        product() as there,
        working(telling_worker(tmp_path, "w1", nats_url, there.url), names),
        gateway(config(tmp_path, "g1", nats_url), names) as one,
        gateway(config(tmp_path, "g2", nats_url), names) as two,
        raw_device(one.url) as alice,
    ):
        await live(alice, "alice")
        async with raw_device(two.url) as bob:
            await live(bob, "bob")
            await say(alice, "to one who is there")
            await say(alice, "to one who never was", "direct:alice:carol")
            await eventually(lambda: len(absent(there)) == 1)
        await eventually(lambda: not two.server.hub.of("bob"))
        await say(alice, "to one who has gone")
        await eventually(lambda: len(absent(there)) == 2)
        assert absent(there) == [["carol"], ["bob"]]


def absent(there: Product) -> list[list[str]]:
    told = [one["data"]["users"] for one in there.told if one["type"] == "offline"]
    return [[absent["user"] for absent in users] for users in told]


async def test_a_gateway_that_does_not_answer_has_nobody(
    nats_url: str, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roll, "PATIENCE_S", 0.6)
    monkeypatch.setattr(roll, "PIECE_USERS", 2)
    client = await connect(nats_url, "test")
    hub = Hub(0)
    for user in "abcde":
        hub._online[user] = []  # pyright: ignore[reportPrivateUsage]
    listing = Roll(client, names)
    answering = asyncio.create_task(Answering(client, names, "g1", hub).run())
    calling = asyncio.create_task(listing.run())
    await listing.ready()
    await eventually(lambda: all(map(listing.is_online, "abcde")))
    hub.on_change("a", False)
    hub.on_change("f", True)
    await eventually(lambda: listing.is_online("f") and not listing.is_online("a"))
    await end(answering)
    silence = await subscribe(client, names.roll)
    await eventually(lambda: not any(map(listing.is_online, "bcdef")))
    await silence.unsubscribe()
    await end(calling)
    await client.close()


async def test_a_ledger_in_an_idle_log_does_not_make_it_grow(tmp_path: Path) -> None:
    store = await RocksStore.open(tmp_path / "data")
    ledger = await LogLedger.load(store.log, store.messages)
    progress = ledger.progress("one", "e", store.log.head)

    async def keep() -> int:
        """Keep it, as often as it takes, and follow; how far the log is."""
        for _ in range(3):
            await ledger.keep(ledger.encode())
            progress.position = store.log.head
        return store.log.head

    idle = await keep()
    assert await keep() == idle
    await store.log.append([Draft("team", "a", "1", encode_stored("a", "1", "text", {}))])
    progress.position = store.log.head
    assert await keep() == idle + 2
    progress.parked.append(Parked("e_1", "message", 1, 5, "no", 0))
    grown = await keep()
    assert grown == idle + 3

    later = await LogLedger.load(store.log, store.messages)
    again = later.progress("one", "e", store.log.head)
    assert [one.id for one in again.parked] == ["e_1"]
    assert await store.directory.conversation(WEBHOOKS) is None
    await store.aclose()


def test_workers_need_a_common_secret() -> None:
    check_webhooks(Config())
    with pytest.raises(TimewireError) as raised:
        check_webhooks(Config(webhooks=("http://localhost/",)))
    assert (raised.value.code, raised.value.fields["key"]) == ("bad_config", "webhook_secret")
    assert telling.SAVE_PAUSE_S > 0
