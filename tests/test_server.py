"""The server as a whole: how it starts, what it finishes before it ends, and what it survives."""

import asyncio
import itertools
import stat
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec
import pytest
import uvloop

from timewire import connection, lives
from timewire.auth import mint
from timewire.backends.memory import MemoryInbox, MemoryLog, MemoryStore
from timewire.backends.rocksdb import RocksStore
from timewire.config import Config
from timewire.errors import TimewireError, error
from timewire.inbox import Delivery
from timewire.kinds import SCHEMAS
from timewire.model import (
    Created,
    Draft,
    Seq,
    StoredBody,
    encode_body,
    encode_change,
    encode_stored,
)
from timewire.server import Server
from timewire.testing.contracts import ManualClock
from timewire.testing.devices import Closed, Frame, RawDevice, eventually, raw_device
from timewire.testing.servers import running_server, serving

LOOP = uvloop.new_event_loop


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


async def live(
    stack: AsyncExitStack, server: Server, user: str, name: str = "phone", **hello: object
) -> RawDevice:
    device = await stack.enter_async_context(raw_device(server.url))
    await device.hello(mint(server.keys.secret, user), name, **hello)
    await device.until("live")
    return device


async def say(device: RawDevice, id: str, **fields: object) -> Frame:
    return await device.ask("send", **{"id": id, "to": "self:alice", "body": {"x": id}} | fields)


async def history(device: RawDevice, name: str = "self:alice") -> list[str]:
    """All ids of a conversation, oldest first; that of its first message is empty."""
    found: list[str] = []
    after, more = 0, True
    while more:
        page = await device.ask("history", id="h", conversation=name, after=after, limit=1000)
        found += [message["id"] for message in page["messages"]]
        after, more = page["messages"][-1]["seq"], page["has_more"]
    return found


# -- starting ------------------------------------------------------------------------------------


async def test_a_server_makes_its_keys_and_keeps_them_to_itself(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data) as server:
        assert set(server.keys.made) == {data / "secret", data / "admin-key"}
        assert [stat.S_IMODE(path.stat().st_mode) for path in server.keys.made] == [0o600] * 2
        secret = server.keys.secret
    async with serving(data) as server:
        assert (server.keys.secret, server.keys.made) == (secret, ())


async def test_a_server_listens_where_it_says(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as server, aiohttp.ClientSession() as http:
        async with http.get(server.url + "/healthz") as response:
            assert response.status == 200
        async with http.get(server.url + "/v1/ws") as response:
            assert response.status == 400


async def test_a_directory_belongs_to_one_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(data):
        with pytest.raises(TimewireError) as caught:
            await Server.start(Config(data=str(data), port=0))
        assert caught.value.code == "directory_in_use"
    async with serving(data):
        pass


async def test_an_address_that_is_taken_is_told_and_the_directory_released(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving(tmp_path / "other") as other:
        port = int(other.url.rpartition(":")[2])
        with pytest.raises(TimewireError) as caught:
            await Server.start(Config(data=str(data), port=port))
        assert caught.value.code == "address_unusable"
        assert caught.value.fields["port"] == port
    async with serving(data):
        pass


async def test_a_key_that_cannot_be_read_is_told_and_the_directory_released(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "secret").write_text("short")
    with pytest.raises(TimewireError) as caught:
        await Server.start(Config(data=str(data), port=0))
    assert caught.value.code == "directory_unusable"
    (data / "secret").unlink()
    async with serving(data):
        pass


async def _unfinished(store: MemoryStore) -> None:
    """Ten messages of a direct conversation that no fan-out has seen."""
    change = Created("direct", ["alice", "bob"])
    name = "direct:alice:bob"
    await store.log.append([Draft(name, "bob", "", encode_change("bob", "", change), change)])
    payload = encode_stored("bob", "", "text", {})
    await store.log.append([Draft(name, "bob", "", payload) for _ in range(9)])


async def test_what_a_crash_left_is_fanned_out_before_anybody_is_served(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    store = MemoryStore()
    await _unfinished(store)
    async with serving(tmp_path / "data", store) as server:
        assert store.inbox.position == 10
        alice = await live(stack, server, "alice")
        other = await stack.enter_async_context(raw_device(server.url))
        # A device may have seen the newest of it before the crash.
        await other.hello(mint(server.keys.secret, "alice"), "laptop", cursor=alice.at(10))
        await other.expect("live", pos="10")
        third = await stack.enter_async_context(raw_device(server.url))
        await third.hello(mint(server.keys.secret, "alice"), "tablet", cursor=alice.at(0))
        page, _ = await third.until("live")
        assert [message["seq"] for message in page["messages"]] == list(range(1, 11))


class DamagedInbox(MemoryInbox):
    async def put(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        raise error("damaged")


async def test_a_server_that_cannot_finish_what_a_crash_left_does_not_start(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    store.inbox = DamagedInbox(1000)
    await _unfinished(store)
    with pytest.raises(TimewireError, match="damaged"):
        await Server.start(Config(data=str(tmp_path), port=0, drain_s=0.05), store)


# -- ending --------------------------------------------------------------------------------------


class SlowLog(MemoryLog):
    """A log whose disk takes its time."""

    def _synced(self, sync: asyncio.Future[None]) -> None:
        asyncio.get_running_loop().call_later(0.1, super()._synced, sync)


def slow_store() -> MemoryStore:
    store = MemoryStore()
    store.log = SlowLog()
    store.messages, store.directory = store.log.messages, store.log.directory
    return store


@pytest.mark.parametrize("ack", ["stored", "synced"])
@pytest.mark.parametrize("kind", ["slow", "rocksdb"])
async def test_what_is_queued_is_answered_before_the_end(
    tmp_path: Path, stack: AsyncExitStack, kind: str, ack: str
) -> None:
    data = tmp_path / "data"
    store = slow_store() if kind == "slow" else await RocksStore.open(data)
    server = await Server.start(Config(data=str(data), port=0), store)
    alice = await live(stack, server, "alice")
    await say(alice, "first")
    count = 500
    for n in range(count):
        await alice.send("send", id=str(n), to="self:alice", body={"x": "x" * 100}, ack=ack)
    await alice.send("ping")
    seen = await alice.until("pong")  # all of them have arrived, and wait for the disk
    ending = asyncio.create_task(server.aclose())
    with pytest.raises(Closed) as caught:
        await alice.until("never")
    await ending
    assert caught.value.code == 4000
    seen += caught.value.seen
    acked = [frame["id"] for frame in seen if frame["type"] == "ack"]
    assert acked == [str(n) for n in range(count)]
    again = store.reopened() if isinstance(store, MemoryStore) else None
    async with serving(data, again) as server:
        alice = await live(stack, server, "alice", "laptop")
        assert await history(alice) == ["", "first", *acked]


async def test_everybody_is_told_to_come_back(tmp_path: Path, stack: AsyncExitStack) -> None:
    server = await Server.start(Config(data=str(tmp_path), port=0), MemoryStore())
    devices = [await live(stack, server, "alice", f"d{n}") for n in range(5)]
    fresh = await stack.enter_async_context(raw_device(server.url))
    _, *codes = await asyncio.gather(
        server.aclose(), *[device.closed() for device in (*devices, fresh)]
    )
    assert codes == [4000] * 6
    with pytest.raises(aiohttp.ClientConnectionError):
        async with raw_device(server.url):
            pass


async def test_one_who_does_not_read_does_not_hold_up_the_end(
    tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT_S", 0.05)
    server = await Server.start(Config(data=str(tmp_path), port=0), MemoryStore())
    alice = await live(stack, server, "alice")
    deaf = await live(stack, server, "alice", "laptop")
    ours = deaf.ws._response.connection  # pyright: ignore[reportPrivateUsage]
    assert ours is not None
    protocol = ours.protocol
    assert protocol is not None
    protocol.pause_reading()
    for n in range(400):
        await say(alice, str(n), body={"x": "x" * 30_000})
    ending = asyncio.create_task(server.aclose())
    assert await alice.closed() == 4000
    await ending
    protocol.resume_reading()


async def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    server = await Server.start(Config(data=str(tmp_path), port=0), MemoryStore())
    await server.aclose()
    await server.aclose()


# -- going on ------------------------------------------------------------------------------------


async def test_a_restart_forgets_nothing(tmp_path: Path, stack: AsyncExitStack) -> None:
    data = tmp_path / "data"
    async with serving(data) as server:
        alice = await live(stack, server, "alice")
        acks = [await say(alice, str(n)) for n in range(5)]
        cursor = alice.at(acks[2]["seq"])
    async with serving(data) as server:
        device = await stack.enter_async_context(raw_device(server.url))
        await device.hello(mint(server.keys.secret, "alice"), "phone", cursor=cursor)
        page, _ = await device.until("live")
        assert [message["id"] for message in page["messages"]] == ["3", "4"]
        assert [await say(device, str(n)) for n in range(5)] == acks
        assert await history(device) == ["", "0", "1", "2", "3", "4"]
        assert (await say(device, "5"))["seq"] > acks[-1]["seq"]


async def test_a_repeat_after_a_restart_need_not_wait_for_another_message(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    async with serving(tmp_path / "data") as server:
        alice = await live(stack, server, "alice")
        ack = await say(alice, "1", ack="synced")
    async with serving(tmp_path / "data") as server:
        alice = await live(stack, server, "alice")
        assert await say(alice, "1", ack="synced") == ack


async def test_reads_go_on_while_the_store_cannot_write(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    store = MemoryStore()
    async with serving(tmp_path / "data", store) as server:
        alice = await live(stack, server, "alice")
        await say(alice, "1", ack="synced")
        store.log.writable = False
        refused = await say(alice, "2")
        assert (refused["code"], refused["retry"]) == ("storage_unavailable", True)
        assert await history(alice) == ["", "1"]
        other = await stack.enter_async_context(raw_device(server.url))
        await other.hello(mint(server.keys.secret, "alice"), "laptop", cursor=alice.at(0))
        page, _ = await other.until("live")
        assert [message["id"] for message in page["messages"]] == ["", "1"]
        store.log.writable = True
        assert (await say(alice, "2"))["type"] == "ack"
        pushed = await other.expect("push")
        assert pushed["message"]["id"] == "2"


async def test_messages_end_by_themselves(
    tmp_path: Path, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lives, "SWEEP_PAUSE_S", 0.01)
    store = MemoryStore()
    await stack.enter_async_context(serving(tmp_path / "data", store))
    payload = encode_body(StoredBody("alice", "", "text", {"text": "secret"}, expires=1))
    await store.log.append([Draft("team", "alice", "", payload, expires=1)])
    for _ in range(1000):
        if not (await store.log.read(0))[0].payload:
            return
        await asyncio.sleep(0.01)
    pytest.fail("nothing was swept")


async def test_a_server_may_know_more_kinds(tmp_path: Path) -> None:
    class Poll(msgspec.Struct):
        choices: list[str]

    config = Config(data=str(tmp_path / "data"), port=0)
    server = await Server.start(config, MemoryStore(), schemas={**SCHEMAS, "poll": Poll})
    try:
        async with raw_device(server.url) as device:
            await device.hello(mint(server.keys.secret, "alice"), "phone")
            await device.expect("live")
            await device.send("send", id="1", to="self:alice", kind="poll", body={"choices": 1})
            await device.expect("error", id="1", code="bad_body")
            await device.send("send", id="2", to="self:alice", kind="poll", body={"choices": []})
            await device.expect("push")
            await device.expect("ack", id="2")
    finally:
        await server.aclose()


async def test_inbox_entries_expire_by_themselves(tmp_path: Path, stack: AsyncExitStack) -> None:
    clock = ManualClock(int(time.time() * 1000))
    store = MemoryStore(clock, bucket_ms=1)
    day_ms = 24 * 3600 * 1000
    async with serving(tmp_path / "data", store, clock, inbox_days=1000 / day_ms) as server:
        alice = await live(stack, server, "alice")
        old = await say(alice, "1", ack="synced")
        clock.now += 2000
        await eventually(lambda: store.inbox.floor == old["seq"] + 1)
        device = await stack.enter_async_context(raw_device(server.url))
        await device.hello(mint(server.keys.secret, "alice"), "laptop", cursor=alice.at(0))
        await device.expect("reset", reason="expired")


# -- a process of its own ------------------------------------------------------------------------


async def test_a_server_process_is_killed_and_comes_back_with_everything(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    async with running_server(tmp_path / "data") as server:
        url = server.url
        alice = await stack.enter_async_context(raw_device(url))
        await alice.hello(server.token("alice"), "phone")
        acks = [await say(alice, str(n)) for n in range(20)]
        for n in range(20, 200):
            await alice.send("send", id=str(n), to="self:alice", body={"x": str(n)})
        await alice.until("ack")
        await server.kill()
        assert await alice.closed() == 1006

        await server.restart()
        assert server.url == url
        alice = await stack.enter_async_context(raw_device(url))
        await alice.hello(server.token("alice"), "phone")
        assert [await say(alice, str(n)) for n in range(20)] == acks
        again = [await say(alice, str(n)) for n in range(20, 200)]
        assert [frame["type"] for frame in again] == ["ack"] * 180
        seqs = [frame["seq"] for frame in itertools.chain(acks, again)]
        assert seqs == sorted(set(seqs))
        assert await history(alice) == ["", *map(str, range(200))]


async def test_a_server_process_drains_when_it_is_told_to_end(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    async with running_server(tmp_path / "data", drain_s=3) as server:
        alice = await stack.enter_async_context(raw_device(server.url))
        await alice.hello(server.token("alice"), "phone")
        await say(alice, "1")
        _, code = await asyncio.gather(server.stop(), alice.closed())
        assert code == 4000
        assert server.process.returncode == 0


async def test_a_server_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(RuntimeError, match="data"):
        async with running_server(tmp_path / "data"):
            pass


# -- media ----------------------------------------------------------------------------------------


async def test_media_may_be_kept_in_an_object_store(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    url = (tmp_path / "objects").as_uri()
    async with serving(tmp_path / "data", MemoryStore(), media_store=url) as server:
        headers = {"Authorization": f"Bearer {mint(server.keys.secret, 'alice')}"}
        async with aiohttp.ClientSession(server.url, headers=headers) as http:
            async with http.post("/v1/media", data=b"data") as answer:
                name = (await answer.json())["media"]
            async with http.get(f"/v1/media/{name}") as answer:
                assert await answer.read() == b"data"
    assert (tmp_path / "objects" / name).read_bytes() == b"data"
    assert not list((tmp_path / "data" / "media" / "incoming").iterdir())


async def test_an_object_store_that_is_none_stops_the_start(tmp_path: Path) -> None:
    config = Config(data=str(tmp_path), port=0, media_store="nope://bucket")
    with pytest.raises(TimewireError) as refused:
        await Server.start(config)
    assert (refused.value.code, refused.value.fields["key"]) == ("bad_config", "media_store")
    async with serving(tmp_path):
        pass  # the directory was let go
