"""A process that indexes is killed at any moment: in the end its index is as if made anew."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from timewire.backends.memory import MemoryIndex
from timewire.backends.rocksdb import RocksStore
from timewire.backends.tantivy import TantivyIndex
from timewire.finding import Found, Inquiry, Phrase, Scope, Wanted
from timewire.index import SearchIndex
from timewire.log import MessageLog
from timewire.model import Seq
from timewire.search import Indexer, Scopes
from timewire.search.documents import document, revised

WORKER = """
import asyncio, random, sys
from timewire.backends.rocksdb import RocksStore
from timewire.backends.tantivy import TantivyIndex
from timewire.model import Created, Draft, encode_change, encode_stored
from timewire.search import Indexer, Scopes, indexer

indexer.SHOW_S, indexer.PIECE_MESSAGES, indexer.COMMIT_MESSAGES = 0.005, 7, 50

async def main(path, seed):
    chance = random.Random(seed)
    store = await RocksStore.open(path)
    index = await TantivyIndex.open(path + "/search")
    if not store.log.head:
        change = Created("group", ["alice"])
        payload = encode_change("alice", "", change)
        await store.log.append([Draft("team", "alice", "", payload, change)])
    work = Indexer(store.log, Scopes(store.directory), index)
    running = asyncio.create_task(work.run())

    async def append(kind, body):
        payload = encode_stored("alice", "", kind, body)
        [done] = await store.log.append([Draft("team", "alice", "", payload)])
        print(done.seq, flush=True)

    while True:
        for _ in range(chance.randrange(40)):
            words = [f"w{chance.randrange(30)}" for _ in range(5)]
            await append("text", {"text": " ".join(words)})
        gone = chance.randrange(2, store.log.head + 1)
        await store.messages.redact("team", gone)
        await append("recalled", {"seq": gone})
        if chance.random() < 0.1:
            work.rebuild()
        await asyncio.sleep(chance.random() * 0.02)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""
VOCABULARY = [f"w{n}" for n in range(30)]
TEAM = Scope(frozenset({"team"}))


async def run_and_kill(path: Path, seed: int) -> None:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, str(path), str(seed)), stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout
    enough, told = random.Random(seed).randint(50, 600), 0
    async for _ in worker.stdout:
        told += 1
        if told == enough:
            worker.kill()
    await worker.wait()
    assert told >= enough


async def contents(index: SearchIndex) -> dict[str, list[Seq]]:
    """Which messages have each word, and which are there at all."""
    questions = {word: Wanted((Phrase((word,)),)) for word in VOCABULARY} | {"": Wanted()}
    return {word: await everything(index, asked) for word, asked in questions.items()}


async def everything(index: SearchIndex, asked: Wanted) -> list[Seq]:
    found: list[Found] = []
    while True:
        after = found[-1] if found else None
        page = await index.search(Inquiry(asked, TEAM, "oldest"), limit=1000, after=after)
        found += page
        if len(page) < 1000:
            return [one.seq for one in found]


async def made_anew(log: MessageLog, upto: Seq) -> MemoryIndex:
    """What an index of the log up to a SeqId holds; a message is gone once that was announced."""
    index, after = MemoryIndex(), 0
    while batch := [one for one in await log.read(after) if one.seq <= upto]:
        after = batch[-1].seq
        documents = [made for one in batch if (made := document(one, 1))]
        await index.stage(documents, [seq for one in batch if (seq := revised(one))])
        await index.commit(after, log.epoch)
    return index


@pytest.mark.parametrize("seed", range(3))
async def test_a_killed_index_is_as_if_made_anew(tmp_path: Path, seed: int) -> None:
    for life in range(3):
        await run_and_kill(tmp_path, seed * 10 + life)
        store = await RocksStore.open(tmp_path)
        index = await TantivyIndex.open(tmp_path / "search")
        assert 0 <= index.position <= store.log.head
        assert index.epoch in ("", store.log.epoch)
        # What was redacted and not yet announced may still be in it, and nothing else.
        found = await contents(index)
        model = await contents(await made_anew(store.log, index.position))
        for word, seqs in model.items():
            assert set(found[word]) >= set(seqs)
            more = set(found[word]) - set(seqs)
            later = {revised(one) for one in await tail(store.log, index.position)}
            redacted = {one.seq for one in await tail(store.log, 0) if not one.payload}
            assert more <= later | redacted
        work = Indexer(store.log, Scopes(store.directory), index)
        running = asyncio.create_task(work.run())
        await work.reached(store.log.head)
        # Killed between redacting and announcing: that is told to nobody any more.
        silent = await redacted_silently(store.log)
        model = await contents(await made_anew(store.log, store.log.head))
        for word, seqs in (await contents(index)).items():
            assert set(seqs) - silent == set(model[word]) - silent
        running.cancel()
        await asyncio.wait([running])
        await index.aclose()
        await store.aclose()


async def redacted_silently(log: MessageLog) -> set[Seq]:
    """Messages that were redacted, and no other message says so."""
    messages = await tail(log, 0)
    announced = {revised(one) for one in messages if one.payload}
    return {one.seq for one in messages if not one.payload} - announced


async def tail(log: MessageLog, after: Seq) -> list:
    found = []
    while batch := await log.read(after):
        found += batch
        after = batch[-1].seq
    return found
