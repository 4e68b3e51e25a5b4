"""Gateways and workers together, on a real NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from timewire.auth import mint
from timewire.backends.jetstream import Names, connect
from timewire.backends.jetstream import view as views
from timewire.cluster import init
from timewire.cluster.gateway import Gateway
from timewire.cluster.worker import Worker, open_view
from timewire.config import Config
from timewire.errors import TimewireError
from timewire.protocol import CloseCode
from timewire.testing.devices import Closed, RawDevice, raw_device
from timewire.testing.nats import running_nats

SECRET = "s" * 40
ADMIN = "a" * 40


def config(tmp_path: Path, name: str, url: str, **settings: Any) -> Config:
    base = Config(data=str(tmp_path / name), port=0, nats=url, secret=SECRET, search="off")
    return msgspec.structs.replace(base, **settings)


@asynccontextmanager
async def working(settings: Config, names: Names) -> AsyncGenerator[Worker]:
    client = await connect(settings.nats, "worker")
    view = await open_view(settings, client, names)
    worker = Worker(settings, client, names, view)
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await task
        await view.aclose()
        await client.close()


@asynccontextmanager
async def gateway(settings: Config, names: Names) -> AsyncGenerator[Gateway]:
    running = await Gateway.start(settings, names)
    try:
        yield running
    finally:
        await running.aclose()


async def live(raw: RawDevice, user: str, device: str = "phone") -> None:
    await raw.hello(mint(SECRET, user), device)
    await raw.expect("live")


async def test_what_is_sent_at_one_gateway_is_pushed_at_another(
    tmp_path: Path, nats_url: str, names: Names
) -> None:
    await init(nats_url, 1, names)
    async with (
        working(config(tmp_path, "w1", nats_url), names),
        gateway(config(tmp_path, "g1", nats_url), names) as one,
        gateway(config(tmp_path, "g2", nats_url), names) as two,
        raw_device(one.url) as alice,
        raw_device(two.url) as bob,
    ):
        await live(alice, "alice")
        await live(bob, "bob")
        ack = await alice.ask("send", id="1", to="direct:alice:bob", body={"text": "hi"})
        assert ack["type"] == "ack"
        created, said = [await bob.expect("push") for _ in range(2)]
        assert created["message"]["kind"] == "created"
        assert (said["message"]["seq"], said["message"]["body"]) == (ack["seq"], {"text": "hi"})

        # An ack may wait for fan-out.
        said = {"to": "direct:alice:bob", "body": {}, "kind": "x"}
        answer = await bob.ask("send", id="2", ack="synced", **said)
        assert (answer["type"], answer["synced"]) == ("ack", True)
        while (frame := await alice.next())["type"] != "push" or frame["message"]["id"] != "2":
            assert frame["type"] == "push", frame
        page = await bob.ask("history", id="h", conversation="direct:alice:bob")
        assert [message["kind"] for message in page["messages"]] == ["x", "text", "created"]


async def test_refusals_come_as_they_are(tmp_path: Path, nats_url: str, names: Names) -> None:
    await init(nats_url, 1, names)
    async with (
        working(config(tmp_path, "w1", nats_url), names),
        gateway(config(tmp_path, "g1", nats_url), names) as one,
        raw_device(one.url) as alice,
    ):
        await live(alice, "alice")
        refused = await alice.ask("send", id="1", to="nowhere", body={"text": "hi"})
        assert (refused["type"], refused["code"]) == ("error", "unknown_conversation")
        first = await alice.ask("send", id="2", to="self:alice", body={"text": "hi"})
        again = await alice.ask("send", id="2", to="self:alice", body={"text": "hi"})
        assert (first["type"], again) == ("ack", first)
        reused = await alice.ask("send", id="2", to="self:alice", body={"text": "ho"})
        assert reused["code"] == "id_reused"


async def test_a_device_takes_its_cursor_to_another_gateway(
    tmp_path: Path, nats_url: str, names: Names
) -> None:
    await init(nats_url, 1, names)
    async with (
        working(config(tmp_path, "w1", nats_url), names),
        gateway(config(tmp_path, "g1", nats_url), names) as one,
        gateway(config(tmp_path, "g2", nats_url), names) as two,
    ):
        async with raw_device(one.url) as alice:
            await live(alice, "alice")
            for number in range(20):
                ack = await alice.ask("send", id=str(number), to="self:alice", body={"text": "x"})
            cursor = dict(alice.at(ack["seq"]))
        async with raw_device(two.url) as alice:
            await alice.hello(mint(SECRET, "alice"), "phone", cursor=cursor)
            assert await alice.expect("live") == {"type": "live", "pos": str(ack["seq"])}
        async with raw_device(two.url) as laptop:
            await laptop.hello(mint(SECRET, "alice"), "laptop", cursor=alice.at(0))
            page = await laptop.expect("page")
            assert len(page["messages"]) == 21
        two.server.hub.patience_s = 0.01
        async with raw_device(two.url) as alice:
            await alice.hello(mint(SECRET, "alice"), "phone", cursor=cursor | {"pos": "9999"})
            assert (await alice.expect("reset"))["reason"] == "future"


async def test_typing_and_presence_cross_gateways(
    tmp_path: Path, nats_url: str, names: Names
) -> None:
    await init(nats_url, 1, names)
    async with (
        working(config(tmp_path, "w1", nats_url), names),
        gateway(config(tmp_path, "g1", nats_url), names) as one,
        gateway(config(tmp_path, "g2", nats_url), names) as two,
        raw_device(one.url) as alice,
    ):
        await live(alice, "alice")
        await alice.ask("send", id="1", to="direct:alice:bob", body={"text": "hi"})
        await alice.ask("watch", id="w", users=["bob"])
        async with raw_device(two.url) as bob:
            await live(bob, "bob")
            while (frame := await alice.next())["type"] != "presence":
                pass
            assert (frame["user"], frame["online"]) == ("bob", True)
            await bob.send("typing", conversation="direct:alice:bob")
            while (frame := await alice.next())["type"] != "typing":
                pass
            assert frame["user"] == "bob"


async def test_a_worker_that_ends_hands_over(tmp_path: Path, nats_url: str, names: Names) -> None:
    await init(nats_url, 1, names)
    async with (
        working(config(tmp_path, "w1", nats_url), names) as first,
        gateway(config(tmp_path, "g1", nats_url), names) as one,
        raw_device(one.url) as alice,
    ):
        await live(alice, "alice")
        before = await alice.ask("send", id="1", to="self:alice", body={"text": "a"})
        assert first.leads
        async with working(config(tmp_path, "w2", nats_url), names) as second:
            assert not second.leads
            first.stop()
            after = await alice.ask("send", id="2", to="self:alice", body={"text": "b"})
            assert second.leads
            assert not first.leads
            assert after["seq"] == before["seq"] + 1
            again = await alice.ask("send", id="1", to="self:alice", body={"text": "a"})
            assert again["seq"] == before["seq"]


async def test_without_nats_a_gateway_serves_what_it_has_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "FRESH_TIMEOUT_S", 0.5)
    async with running_nats(tmp_path / "nats") as nats:
        names, [server] = Names(), nats.servers
        await init(server.url, 1)
        async with (
            working(config(tmp_path, "w1", server.url), names),
            gateway(config(tmp_path, "g1", server.url), names) as one,
            raw_device(one.url) as alice,
        ):
            await live(alice, "alice")
            await alice.ask("send", id="1", to="self:alice", body={"text": "before"})
            await server.kill()
            await alice.send("send", id="2", to="self:alice", body={"text": "while"})
            page = await alice.ask("history", id="h", conversation="self:alice")
            assert page["messages"][0]["body"] == {"text": "before"}
            while (frame := await alice.next()).get("id") != "2":
                pass
            assert (frame["type"], frame["retry"]) == ("error", True)
            assert await status_of(one) == 503
            await server.start()
            while frame["type"] != "ack":
                frame = await alice.ask("send", id="2", to="self:alice", body={"text": "while"})
            assert await status_of(one) == 200


async def test_what_is_revoked_at_one_gateway_is_refused_at_all(
    tmp_path: Path, nats_url: str, names: Names
) -> None:
    await init(nats_url, 1, names)
    token = mint(SECRET, "alice")
    settings = [config(tmp_path, name, nats_url, admin_key=ADMIN) for name in ("g1", "g2", "g3")]
    async with working(config(tmp_path, "w1", nats_url), names):
        async with (
            gateway(settings[0], names) as one,
            gateway(settings[1], names) as two,
            raw_device(two.url) as phone,
            raw_device(two.url) as bob,
        ):
            await phone.hello(token, "phone")
            await phone.expect("live")
            await live(bob, "bob")
            await revoke(one, user="alice")
            with pytest.raises(Closed) as closed:
                await phone.next()
            assert closed.value.code == CloseCode.LOGGED_OUT
            await refused(two, token)
            async with raw_device(two.url) as again:
                await live(again, "alice")
                # A newer login is not what was revoked; nobody else is concerned.
                await again.ask("send", id="1", to="self:alice", body={"text": "here"})
                await bob.ask("send", id="1", to="self:bob", body={"text": "here"})
        # After restarts, and where nobody had been yet.
        for one_settings in settings[1:]:
            async with gateway(one_settings, names) as later:
                await refused(later, token)


async def revoke(one: Gateway, **what: str) -> None:
    """Have an administrator revoke something."""
    headers = {"Authorization": f"Bearer {ADMIN}"}
    url = one.url + "/v1/revocations"
    async with aiohttp.ClientSession() as http, http.post(url, json=what, headers=headers) as done:
        assert done.status < 300, await done.text()


async def refused(one: Gateway, token: str) -> None:
    """A token is not taken."""
    async with raw_device(one.url) as device:
        await device.send("hello", token=token, device="phone")
        assert (await device.expect("error"))["code"] == "token_revoked"


async def status_of(one: Gateway) -> int:
    """Of the question whether it is ready."""
    async with aiohttp.ClientSession() as http, http.get(one.url + "/readyz") as answer:
        return answer.status


async def test_gateways_need_a_common_secret(tmp_path: Path, nats_url: str) -> None:
    with pytest.raises(TimewireError) as raised:
        await Gateway.start(config(tmp_path, "g", nats_url, secret=""))
    assert (raised.value.code, raised.value.fields["key"]) == ("bad_config", "secret")


async def test_a_gateway_where_there_is_no_cluster(
    tmp_path: Path, nats_url: str, names: Names
) -> None:
    with pytest.raises(TimewireError) as raised:
        await Gateway.start(config(tmp_path, "g", nats_url), names)
    assert raised.value.code == "no_cluster"
