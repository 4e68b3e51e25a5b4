"""The indexer: everything once, in the end, whatever happens on the way."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timewire.backends.memory import MemoryIndex, MemoryStore
from timewire.backends.tantivy import TantivyIndex
from timewire.errors import TimewireError, error
from timewire.finding import Document, Inquiry, Phrase, Scope, Wanted
from timewire.metrics import INDEX_LAG, INDEX_POSITION, INDEX_UNREADABLE
from timewire.model import Draft, Seq, encode_stored
from timewire.search import indexer as module
from timewire.testing.devices import eventually

from .conftest import Desk


async def test_what_is_said_can_be_found(desk: Desk) -> None:
    await desk.group("team", "alice")
    seq = await desk.say("hello")
    await desk.indexer.reached(seq)
    assert desk.index.position >= seq
    assert await desk.find("alice", "hello") == [seq]
    await desk.say("hello again")
    await desk.settle()
    assert len(await desk.find("alice", "hello")) == 2
    assert INDEX_POSITION._value.get() == desk.store.log.head
    assert INDEX_LAG._value.get() == 0


async def test_it_is_shown_without_anybody_waiting(desk: Desk) -> None:
    await desk.group("team", "alice")
    await desk.say("hello")
    await eventually(lambda: desk.index.position == desk.store.log.head)
    assert len(await desk.find("alice", "hello")) == 1


async def test_waiting_for_what_is_not_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    head = await desk.group("team", "alice")
    with pytest.raises(TimewireError) as caught:
        await desk.indexer.reached(head + 1)
    assert caught.value.code == "bad_seq"
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.01)
    still = Desk(MemoryIndex(), desk.store)
    with pytest.raises(TimewireError) as caught:
        await still.indexer.reached(head)
    assert (caught.value.code, caught.value.retry) == ("search_behind", True)


async def test_edits_and_recalls_follow(desk: Desk) -> None:
    await desk.group("team", "alice")
    first, second = await desk.say("old words"), await desk.say("old secret")
    await desk.settle()
    await desk.revise(first, "new words")
    await desk.revise(second, None)
    await desk.settle()
    assert await desk.find("alice", "old") == []
    assert await desk.find("alice", "new") == [first]
    assert await desk.find("alice", conversation="team") == [first]


async def test_an_edit_that_is_indexed_with_its_message(desk: Desk) -> None:
    await desk.group("team", "alice")
    seq = await desk.say("old")
    await desk.revise(seq, "new")
    again = await desk.say("old")
    await desk.revise(again, None)
    await desk.settle()
    assert await desk.find("alice", "new") == [seq]
    assert await desk.find("alice", "old") == []


async def test_a_revision_of_nothing_is_nothing(desk: Desk) -> None:
    await desk.group("team", "alice")
    await desk.revise(await desk.say("here", kind="recalled", seq=2**40), None)
    await desk.say("still", kind="edited", seq=-1)
    seq = await desk.say("fine")
    await desk.settle()
    assert await desk.find("alice", "fine") == [seq]


async def test_what_has_expired_leaves_the_index(desk: Desk) -> None:
    await desk.group("team", "alice")
    payload = encode_stored("alice", "", "text", {"text": "brief"})[:-1] + b',"expires":5000}'
    brief = await desk.append(Draft("team", "alice", "", payload))
    lasting = await desk.say("brief")
    await desk.settle()
    asked = Inquiry(Wanted((Phrase(("brief",)),)), Scope(frozenset({"team"})), "oldest")
    assert [one.seq for one in await desk.index.search(asked, limit=9)] == [brief, lasting]
    desk.now = 5000 + module.EXPIRY_PAUSE_MS
    await desk.say("something")
    await desk.settle()
    assert [one.seq for one in await desk.index.search(asked, limit=9)] == [lasting]


async def test_what_cannot_be_read_is_told_and_left_out(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    before = INDEX_UNREADABLE._value.get()
    await desk.group("team", "alice")
    await desk.append(Draft("team", "alice", "", b'{"no":"message"}'))
    seq = await desk.say("fine")
    await desk.settle()
    assert await desk.find("alice", conversation="team") == [seq]
    assert INDEX_UNREADABLE._value.get() == before + 1
    assert "cannot be indexed" in capsys.readouterr().out


class FailingIndex(MemoryIndex):
    """An index whose disk is full now and then: a call that fails loses what was staged."""

    def __init__(self, failures: Sequence[bool]) -> None:
        super().__init__()
        self.failures = list(failures)

    def fail(self) -> None:
        if self.failures and self.failures.pop(0):
            self._staged = {}
            raise error("storage_unavailable")

    async def stage(self, documents: Sequence[Document], removed: Sequence[Seq] = ()) -> None:
        self.fail()
        await super().stage(documents, removed)

    async def commit(self, position: Seq, epoch: str) -> None:
        self.fail()
        await super().commit(position, epoch)


@settings(max_examples=15)
@given(st.lists(st.booleans(), max_size=8))
async def test_a_disk_that_fails_loses_nothing(failures: list[bool]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RETRY_PAUSE_S", 0)
        patch.setattr(module, "PIECE_MESSAGES", 3)
        async with Desk(FailingIndex(failures)).running() as desk:
            await desk.group("team", "alice")
            seqs = [await desk.say(f"word{n}") for n in range(10)]
            await desk.settle()
            assert await desk.find("alice", "word*") == seqs


async def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    store = MemoryStore(lambda: 1000)
    seqs: list[Seq] = []
    for life in range(3):
        index = await TantivyIndex.open(tmp_path / "index")
        async with Desk(index, store).running() as desk:
            if not life:
                await desk.group("team", "alice")
            seqs += [await desk.say(f"hello {life}") for _ in range(3)]
            if life == 1:
                await desk.revise(seqs.pop(0), None)
            await desk.settle()
            assert await desk.find("alice", "hello") == seqs


async def test_the_index_of_another_log_is_made_anew(tmp_path: Path) -> None:
    for life in range(2):
        index = await TantivyIndex.open(tmp_path / "index")
        async with Desk(index).running() as desk:
            await desk.group("team", "alice")
            seq = await desk.say(f"life {life}")
            await desk.settle()
            assert await desk.find("alice", "life") == [seq]
            assert index.epoch == desk.store.log.epoch


async def test_an_index_that_is_ahead_of_the_log_is_made_anew() -> None:
    store, index = MemoryStore(lambda: 1000), MemoryIndex()
    await index.stage([Document(900, 0, "team", 1, "alice", "text", "phantom")])
    await index.commit(1000, store.log.epoch)
    async with Desk(index, store).running() as desk:
        await desk.group("team", "alice")
        await desk.say("real")
        await eventually(lambda: index.position == store.log.head)
        assert await desk.find("alice", "phantom") == []
        assert len(await desk.find("alice", "real")) == 1


# -- making it anew -------------------------------------------------------------------------------


async def test_a_rebuild_while_messages_come(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMIT_MESSAGES", 1000)
    first = await desk.group("team", "alice") + 1
    last = await desk.say_all([f"hello {n}" for n in range(3500)])
    seqs = list(range(first, last + 1))
    await desk.settle()
    await desk.rewrite(seqs[0], "told to nobody")
    assert desk.indexer.progress().rebuilt is None
    desk.indexer.rebuild()
    desk.indexer.rebuild()
    seen: set[Any] = set()
    while desk.indexer.progress().rebuilds == 0:
        seen.add(desk.indexer.progress().rebuilt)
        seqs.append(await desk.say("hello too"))
        assert await desk.find("alice", "hello 140", limit=10)
        await asyncio.sleep(0.005)
    await desk.settle()
    assert len(seen) > 2
    assert await desk.find("alice", "hello", limit=100) == seqs[1:]
    assert await desk.find("alice", "nobody") == seqs[:1]
    progress = desk.indexer.progress()
    assert (progress.rebuilt, progress.rebuilds) == (None, 1)
    assert progress.position == progress.head == desk.store.log.head
    desk.indexer.rebuild()
    await eventually(lambda: desk.indexer.progress().rebuilds == 2)
    assert await desk.find("alice", "hello", limit=100) == seqs[1:]


async def test_a_rebuild_holds_what_was_said_before_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GATHER_S", 0.5)
    await desk.group("team", "alice")
    seq = await desk.say("hello")
    assert desk.indexer.position < seq
    desk.indexer.rebuild()
    await eventually(lambda: desk.indexer.progress().rebuilds == 1)
    assert desk.indexer.position == seq
    assert await desk.find("alice", "hello") == [seq]


async def test_a_rebuild_that_fails_leaves_what_is_there(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await desk.group("team", "alice")
    seq = await desk.say("hello")
    await desk.settle()

    async def broken(*_: object) -> None:
        raise error("damaged")

    with monkeypatch.context() as patch:
        patch.setattr(desk.store.log, "read", broken)
        desk.indexer.rebuild()
        await eventually(lambda: desk.indexer.progress().rebuilt is None)
    assert desk.indexer.progress().rebuilds == 0
    assert "not made anew" in capsys.readouterr().out
    assert await desk.find("alice", "hello") == [seq]
    desk.indexer.rebuild()
    await eventually(lambda: desk.indexer.progress().rebuilds == 1)
    assert await desk.find("alice", "hello") == [seq]


async def test_a_server_that_stops_gives_a_rebuild_up(tmp_path: Path) -> None:
    store = MemoryStore(lambda: 1000)
    async with Desk(await TantivyIndex.open(tmp_path / "index"), store).running() as desk:
        await desk.group("team", "alice")
        seqs = [await desk.say("hello") for _ in range(300)]
        await desk.settle()
        desk.indexer.rebuild()
        await asyncio.sleep(0)
    async with Desk(await TantivyIndex.open(tmp_path / "index"), store).running() as desk:
        assert await desk.find("alice", "hello", limit=100) == seqs
    assert len(list((tmp_path / "index").glob("g*"))) == 1
