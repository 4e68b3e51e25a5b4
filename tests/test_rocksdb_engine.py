"""The RocksDB engine: group commit, failure and recovery, and what an opening can meet."""

from __future__ import annotations

import asyncio
import os
import queue
import resource
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from rocksdict import Cache, WriteBatch

from timewire.backends.rocksdb import RocksStore, engine
from timewire.backends.rocksdb.commit import GroupCommit
from timewire.backends.rocksdb.database import META, Database, open_database
from timewire.backends.rocksdb.store import FORMAT, FORMAT_KEY
from timewire.errors import Retryable, TimewireError, UnknownOutcome, Unusable, error
from timewire.model import Created, Draft, Members, Receipt, Stored

TEAM = Draft("team", "alice", "0", b"{}", Created("group", ["alice", "bob"]))


def draft(number: int, conversation: str = "team") -> Draft:
    return Draft(conversation, "alice", str(number), b"payload %d" % number)


async def patiently(store: RocksStore, *drafts: Draft) -> list[Receipt | TimewireError]:
    """Append as soon as the store can write again."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await store.log.append(drafts)
            except (Retryable, UnknownOutcome):
                await asyncio.sleep(0.02)


async def until(condition: Callable[[], object]) -> None:
    """Let everything else go on until the condition holds."""
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came true")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RocksStore]:
    store = await RocksStore.open(tmp_path / "data", reserve_mb=0)
    await store.log.append([TEAM])
    yield store
    await store.aclose()


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow, until the test says otherwise."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def free_disk() -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


class Syncs:
    """Syncs that end when, and as, the test says."""

    def __init__(self) -> None:
        self.begun = 0
        self.outcomes: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self.failed: list[Exception] = []

    def sync(self) -> None:
        self.begun += 1
        if outcome := self.outcomes.get():
            raise outcome


async def test_one_sync_makes_durable_what_came_before_it() -> None:
    syncs, done = Syncs(), list[str]()
    commit = GroupCommit(syncs.sync, syncs.failed.append)
    commit.join(lambda fault: done.append(f"a {fault}"))
    await until(lambda: syncs.begun == 1)
    commit.join(lambda fault: done.append(f"b {fault}"))
    commit.join(lambda fault: done.append(f"c {fault}"))
    await asyncio.sleep(0.01)
    assert (done, syncs.begun, commit.busy) == ([], 1, True)

    syncs.outcomes.put(None)
    await until(lambda: syncs.begun == 2)
    assert done == ["a None"]
    syncs.outcomes.put(None)
    await commit.stop()
    assert (done, syncs.begun) == (["a None", "b None", "c None"], 2)


async def test_a_failed_sync_is_told_to_all_and_not_tried_again() -> None:
    syncs, done = Syncs(), list[str]()
    commit = GroupCommit(syncs.sync, syncs.failed.append)
    commit.join(lambda fault: done.append(f"a {fault}"))
    await until(lambda: syncs.begun == 1)
    commit.join(lambda fault: done.append(f"b {fault}"))
    syncs.outcomes.put(OSError("no"))
    await until(lambda: len(done) == 2)
    assert done == ["a no", "b no"]
    assert [str(fault) for fault in syncs.failed] == ["no"]
    await commit.stop()
    assert syncs.begun == 1


async def test_many_appends_share_few_syncs(
    store: RocksStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = list[None]()
    sync = Database.sync

    def counted(database: Database) -> None:
        syncs.append(None)
        sync(database)

    monkeypatch.setattr(Database, "sync", counted)
    appends = [store.log.append([draft(number)]) for number in range(1, 501)]
    order = list[int]()
    for number, done in enumerate(appends):
        done.add_done_callback(lambda _, number=number: order.append(number))
    await asyncio.gather(*appends)
    assert order == list(range(500))
    assert 1 <= len(syncs) <= 10
    assert store.log.head == 501


async def test_a_full_disk_refuses_appends_and_nothing_else(
    store: RocksStore, full_disk: None
) -> None:
    team = await store.directory.conversation("team")
    assert team
    await store.log.append([draft(1)])
    fill_disk()
    join = Draft("team", "alice", "2", b"{}", Members(joined=["carol"]))
    with pytest.raises(Retryable) as caught:
        await store.log.append([draft(9), join])
    assert caught.value.code == "storage_unavailable"
    assert not store.log.writable
    for refused in (
        store.timelines.append("feed", b""),
        store.inbox.put([], 2),
        store.messages.redact("team", 2),
    ):
        with pytest.raises(Retryable):
            await refused

    # Reading goes on, and hello too.
    assert [m.seq for m in await store.log.read(0)] == [1, 2]
    assert [e.seq for e in (await store.messages.scan("team")).entries] == [1, 2]
    assert await store.directory.members("team") == ["alice", "bob"]
    await store.directory.seen("alice", "phone", 5)
    assert await store.log.find(draft(9)) is None
    await asyncio.sleep(1.2)  # an attempt to recover fails
    assert [m.seq for m in await store.log.read(0)] == [1, 2]
    assert not store.log.writable

    free_disk()
    assert [r.seq for r in await patiently(store, draft(9), join)] == [3, 4]  # type: ignore[union-attr]
    assert await store.directory.members("team") == ["alice", "bob", "carol"]
    await store.inbox.put([], 4)
    assert await store.timelines.append("feed", b"") == 1


async def test_a_failed_sync_leaves_the_outcome_open(
    store: RocksStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = store.log.tail(0)
    assert [m.seq for m in await anext(tail)] == [1]

    def broken(database: Database) -> None:
        raise OSError("While fdatasync: Input/output error")

    monkeypatch.setattr(Database, "sync", broken)
    feed = asyncio.ensure_future(store.timelines.append("feed", b"x"))
    await asyncio.sleep(0)
    calls = [store.log.append([draft(number)]) for number in (1, 2)]
    for call in (*calls, feed):
        with pytest.raises(UnknownOutcome) as caught:
            await call
        assert caught.value.code == "outcome_unknown"

    # Nothing past what is known to be durable is shown; nothing new is taken.
    assert store.log.head == 1
    assert [m.seq for m in await store.log.read(0)] == [1]
    assert await store.messages.count("team") == 1
    assert await store.timelines.count("feed") == 0
    with pytest.raises(Retryable):
        await store.log.append([draft(3)])
    with pytest.raises(UnknownOutcome):
        await store.log.find(draft(1))

    monkeypatch.undo()
    await until(lambda: store.log.writable)
    # Here it was written: now it is there, for the followers of the log as well.
    assert store.log.head == 3
    assert [m.seq for m in await anext(tail)] == [2, 3]
    assert await store.timelines.count("feed") == 1
    again = await store.log.append([draft(1), draft(2), draft(3)])
    assert [(r.seq, r.repeated) for r in again if isinstance(r, Receipt)] == [
        (2, True),
        (3, True),
        (4, False),
    ]


async def test_reading_goes_on_when_it_cannot_be_opened_again(
    store: RocksStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = list[Path]()

    def locked_once(path: Path, cache: Cache) -> Database:
        tries.append(path)
        if len(tries) == 1:
            raise error("directory_unusable", path=str(path), reason="No space left on device")
        return open_database(path, cache)

    def broken(database: Database) -> None:
        raise OSError("While fdatasync: No space left on device")

    monkeypatch.setattr(engine, "open_database", locked_once)
    with monkeypatch.context() as failing:
        failing.setattr(Database, "sync", broken)
        with pytest.raises(UnknownOutcome):
            await store.log.append([draft(1)])
    await until(lambda: tries)
    assert not store.log.writable
    assert [m.seq for m in await store.log.read(0)] == [1]
    assert await store.directory.members("team") == ["alice", "bob"]
    with pytest.raises(Retryable):
        await store.log.append([draft(2)])

    await until(lambda: store.log.writable)
    assert len(tries) == 2
    assert [m.seq for m in await store.log.read(0)] == [1, 2]


async def test_closing_a_store_that_has_failed(store: RocksStore, full_disk: None) -> None:
    async def follow() -> list[Stored]:
        return [message async for batch in store.log.tail(0) for message in batch]

    following = asyncio.ensure_future(follow())
    fill_disk()
    with pytest.raises(Retryable):
        await store.log.append([draft(1)])
    await asyncio.gather(store.aclose(), store.aclose())
    free_disk()
    assert [m.seq for m in await asyncio.wait_for(following, 60)] == [1]


async def test_a_reserve_of_the_disk_is_kept_free(tmp_path: Path) -> None:
    store = await RocksStore.open(tmp_path / "data")
    await store.log.append([TEAM])
    await store.aclose()
    disk = os.statvfs(tmp_path)
    too_much = 2 * disk.f_blocks * disk.f_frsize // 2**20

    store = await RocksStore.open(tmp_path / "data", reserve_mb=too_much)
    assert not store.log.writable
    with pytest.raises(Retryable) as caught:
        await store.log.append([draft(1)])
    assert caught.value.code == "storage_unavailable"
    with pytest.raises(Retryable):
        await store.timelines.append("feed", b"")
    # What is stored still gets into the inboxes.
    await store.inbox.put([], 1)
    assert store.inbox.position == 1
    assert [m.seq for m in await store.log.read(0)] == [1]
    await store.aclose()


async def test_interval_acknowledges_before_the_sync(tmp_path: Path) -> None:
    store = await RocksStore.open(
        tmp_path / "data", durability="interval", sync_interval_ms=3_600_000
    )
    [receipt] = await store.log.append([TEAM])
    assert isinstance(receipt, Receipt)
    assert store.log.head == receipt.seq
    seqs = [await store.timelines.append("feed", b"%d" % number) for number in range(3)]
    await store.aclose()

    store = await RocksStore.open(tmp_path / "data")
    assert store.log.head == receipt.seq
    assert [e.seq for e in (await store.timelines.scan("feed")).entries] == seqs
    # Closed in good order: numbering has no hole.
    assert [r.seq for r in await store.log.append([draft(1)]) if isinstance(r, Receipt)] == [2]
    assert await store.timelines.append("feed", b"") == seqs[-1] + 1
    await store.aclose()


async def test_interval_syncs_by_and_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await RocksStore.open(tmp_path / "data", durability="interval", sync_interval_ms=5)
    synced = asyncio.Event()
    loop, sync = asyncio.get_running_loop(), Database.sync

    def told(database: Database) -> None:
        sync(database)
        loop.call_soon_threadsafe(synced.set)

    monkeypatch.setattr(Database, "sync", told)
    await store.log.append([TEAM])
    await asyncio.wait_for(synced.wait(), 60)
    await store.aclose()


# Opening ---------------------------------------------------------------------------------------


OPEN = """
import asyncio, sys
from timewire.backends.rocksdb import RocksStore
asyncio.run(RocksStore.open(sys.argv[1]))
"""


async def refuses_to_open(path: Path, code: str) -> None:
    with pytest.raises(Unusable) as caught:
        await RocksStore.open(path)
    assert caught.value.code == code


async def test_one_at_a_time(store: RocksStore, tmp_path: Path) -> None:
    await refuses_to_open(tmp_path / "data", "directory_in_use")
    other = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OPEN, str(tmp_path / "data")), stderr=asyncio.subprocess.PIPE
    )
    _, complaint = await other.communicate()
    assert b"directory_in_use" in complaint
    await store.log.append([draft(1)])


async def test_open_and_close_again_and_again(tmp_path: Path) -> None:
    for life in range(5):
        store = await RocksStore.open(tmp_path / "data")
        assert store.log.head == life
        await store.log.append([draft(life)])
        await store.inbox.put([], life + 1)
        await store.aclose()
        await store.aclose()


async def test_a_newer_format_is_left_alone(store: RocksStore, tmp_path: Path) -> None:
    batch = WriteBatch(raw_mode=True)
    batch.put(FORMAT_KEY, b"%d" % (FORMAT + 1), store._engine.family(META).handle)
    store._engine.write(batch)
    await store.aclose()
    await refuses_to_open(tmp_path / "data", "directory_newer")
    await refuses_to_open(tmp_path / "data", "directory_newer")


async def test_what_is_no_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    await refuses_to_open(tmp_path / "file", "directory_unusable")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "CURRENT").write_text("nonsense")
    await refuses_to_open(tmp_path / "other", "directory_unusable")
