"""A process that appends is killed at any moment: what it was told is there, once."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from timewire.backends.rocksdb import RocksStore
from timewire.model import Draft, Receipt

WORKER = """
import asyncio, random, sys
from timewire.backends.rocksdb import RocksStore
from timewire.inbox import Delivery
from timewire.model import Created, Draft, encode_change

USERS = [f"u{i}" for i in range(5)]

async def main(path, seed, first):
    random.seed(seed)
    store = await RocksStore.open(path, durability=sys.argv[4])

    async def fan_out():
        async for batch in store.log.tail(store.inbox.position):
            for message in batch:
                found = await store.directory.conversation(message.conversation)
                users = found.members_at(message.seq) if found else []
                some = [Delivery(message, users[:2])], message.seq - 1
                await store.inbox.put(*some)
                await store.inbox.put([Delivery(message, users)], message.seq)
            await asyncio.sleep(0)

    def acked(drafts, done):
        for draft, receipt in zip(drafts, done.result()):
            print(draft.id, receipt.seq, flush=True)

    fan = asyncio.ensure_future(fan_out())
    if await store.directory.conversation("team") is None:
        change = Created("group", USERS)
        await store.log.append([Draft("team", "u0", "", b"{}", change)])
    number = first
    while True:
        drafts = []
        for _ in range(random.randint(1, 30)):
            number += 1
            drafts.append(Draft("team", "u0", f"m{number}", b"payload %d" % number))
        if random.random() < 0.2:
            drafts += drafts[:1]
        done = store.log.append(drafts)
        done.add_done_callback(lambda done, drafts=drafts: acked(drafts, done))
        if random.random() < 0.3:
            await done
        else:
            await asyncio.sleep(0)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


async def run_and_kill(path: Path, seed: int, first: int, durability: str) -> dict[str, int]:
    """What a worker was told (id -> SeqId) until it was killed."""
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, str(path), str(seed), str(first), durability),
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdout
    told: dict[str, int] = {}
    enough = random.Random(seed).randint(1, 1500)
    async for line in worker.stdout:
        if line.endswith(b"\n"):
            id, seq = line.split()
            assert told.setdefault(id.decode(), int(seq)) == int(seq)
        if len(told) == enough:
            worker.kill()
    await worker.wait()
    return told


@pytest.mark.parametrize("durability", ["always", "interval"])
@pytest.mark.parametrize("seed", range(5))
async def test_what_was_acknowledged_is_there_once(
    tmp_path: Path, seed: int, durability: str
) -> None:
    told: dict[str, int] = {}
    for life in range(3):
        told |= await run_and_kill(tmp_path, seed * 10 + life, len(told) * 100, durability)

        store = await RocksStore.open(tmp_path)
        stored = {}
        after = 0
        while batch := await store.log.read(after):
            after = batch[-1].seq
            stored |= {message.seq: message.payload for message in batch}
        assert after == store.log.head
        assert list(stored) == sorted(stored)
        for id, seq in told.items():
            assert stored[seq] == b"payload " + id.removeprefix("m").encode()
        payloads = [payload for payload in stored.values() if payload != b"{}"]
        assert len(set(payloads)) == len(payloads)
        await check_timeline(store, stored)
        await check_inboxes(store, stored)
        await check_repeats(store, told)
        await store.aclose()


async def check_timeline(store: RocksStore, stored: dict[int, bytes]) -> None:
    """The conversation holds what the log holds."""
    found: dict[int, bytes] = {}
    more = True
    while more:
        page = await store.messages.scan("team", after=max(found, default=0), limit=1000)
        found |= {entry.seq: entry.payload for entry in page.entries}
        more = page.has_more
    assert found == stored


async def check_inboxes(store: RocksStore, stored: dict[int, bytes]) -> None:
    """Up to the position everything is in every inbox; put again, nothing is there twice."""
    position = store.inbox.position
    assert position <= store.log.head
    for user in (f"u{i}" for i in range(5)):
        refs, _ = await store.inbox.scan(user, 0, position, len(stored) + 1)
        assert [ref.seq for ref in refs] == [seq for seq in stored if seq <= position]
        further, _ = await store.inbox.scan(user, position, store.log.head, len(stored) + 1)
        # At most the message under way, which is put once more.
        assert [ref.seq for ref in further] in ([], [seq for seq in stored if seq > position][:1])


async def check_repeats(store: RocksStore, told: dict[str, int]) -> None:
    """Each id is known, with the SeqId that was told."""
    drafts = [Draft("team", "u0", id, b"payload " + id[1:].encode()) for id in told]
    head = store.log.head
    for start in range(0, len(drafts), 1000):
        some = drafts[start : start + 1000]
        for draft, receipt in zip(some, await store.log.append(some), strict=True):
            assert isinstance(receipt, Receipt)
            assert (receipt.seq, receipt.repeated) == (told[draft.id], True)
    assert store.log.head == head
