"""A message that fails its checksum keeps its place, and nobody from the others."""

from pathlib import Path

from rocksdict import WriteBatch

from timewire.backends.rocksdb import RocksStore
from timewire.backends.rocksdb.database import MESSAGES
from timewire.backends.rocksdb.entries import pack_seq, prefix
from timewire.testing.devices import raw_device
from timewire.testing.servers import ServerProcess, running_server

GROUP = {"kind": "group", "members": ["alice"], "title": ""}


async def damage(data: Path, conversation: str, seq: int) -> None:
    """Change one byte of a stored message, while no server runs."""
    store = await RocksStore.open(data)
    messages = store._engine.family(MESSAGES)
    key = prefix(conversation) + pack_seq(seq)
    value = messages.get(key)
    assert value
    batch = WriteBatch(raw_mode=True)
    batch.put(key, value[:-1] + b"!", messages.handle)
    store._engine.write(batch)
    await store.aclose()


async def say(server: ServerProcess, count: int) -> list[int]:
    async with raw_device(server.url) as device:
        await device.hello(server.token("alice"), "phone")
        answers = [
            await device.ask("send", id=str(n), to="self:alice", body={"text": f"no. {n}"})
            for n in range(count)
        ]
    return [answer["seq"] for answer in answers]


async def test_history_lists_and_syncs_show_it_as_damaged_and_all_others(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        first, middle, last = await say(server, 3)
        await server.stop()
        for seq in (middle, last):
            await damage(server.data, "self:alice", seq)
        await server.start()
        async with raw_device(server.url) as device:
            welcome = await device.hello(server.token("alice"), "new")
            page = await device.ask("history", id="h", conversation="self:alice", limit=10)
            back = await device.ask("conversations", id="c", after="")
        cursor = {"base": welcome["base"], "pos": str(first - 1)}
        async with raw_device(server.url) as device:
            await device.hello(server.token("alice"), "old", cursor=cursor)
            frames = await device.until("live")
    damaged = {
        seq: next(one for one in page["messages"] if one["seq"] == seq) for seq in (middle, last)
    }
    for seq, one in damaged.items():
        assert one == {
            "conversation": "self:alice",
            "seq": seq,
            "time": one["time"],
            "damaged": True,
        }
    assert [one["body"]["text"] for one in page["messages"] if one["seq"] == first] == ["no. 0"]
    assert [one["last"] for one in back["conversations"]] == [damaged[last]]
    synced = [one for frame in frames if frame["type"] == "page" for one in frame["messages"]]
    assert [one["seq"] for one in synced] == [first, middle, last]
    assert [one.get("damaged", False) for one in synced] == [False, True, True]
