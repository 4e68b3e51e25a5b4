"""Stores of media keep their contract: a directory, and object stores that need no network."""

from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from timewire.backends.media_stores.local import LocalMediaStore
from timewire.backends.media_stores.objects import ObjectMediaStore
from timewire.errors import TimewireError
from timewire.testing.contracts import MediaStoreContract, Place

NAME = "a" * 64


class LocalPlace(Place[LocalMediaStore]):
    async def open(self) -> LocalMediaStore:
        return LocalMediaStore(self.path / "media")

    async def close(self) -> None: ...


class ObjectsInMemory(Place[ObjectMediaStore]):
    async def open(self) -> ObjectMediaStore:
        return ObjectMediaStore(MemoryStore())

    async def close(self) -> None: ...


class ObjectsInFiles(Place[ObjectMediaStore]):
    async def open(self) -> ObjectMediaStore:
        return ObjectMediaStore(LocalStore(self.path / "objects", mkdir=True))

    async def close(self) -> None: ...


class TestLocal(MediaStoreContract):
    place = LocalPlace


class TestObjectsInMemory(MediaStoreContract):
    place = ObjectsInMemory


class TestObjectsInFiles(MediaStoreContract):
    place = ObjectsInFiles


async def test_a_directory_is_not_made_before_it_is_used(tmp_path: Path) -> None:
    store = LocalMediaStore(tmp_path / "a" / "media")
    assert await store.names() == []
    assert not (tmp_path / "a").exists()


async def test_a_directory_that_cannot_be_written_is_no_fault_of_the_request(
    tmp_path: Path,
) -> None:
    (tmp_path / "media").write_text("a file where a directory should be")
    (tmp_path / "source").write_bytes(b"data")
    store = LocalMediaStore(tmp_path / "media")
    with pytest.raises(TimewireError) as refused:
        await store.put(NAME, tmp_path / "source")
    assert (refused.value.code, refused.value.retry) == ("storage_unavailable", True)


async def test_a_file_that_is_shorter_than_it_was_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"data")
    store = LocalMediaStore(tmp_path / "media")
    await store.put(NAME, tmp_path / "source")
    with pytest.raises(TimewireError) as refused:
        [_ async for _ in store.read(NAME, 0, 5)]
    assert refused.value.code == "storage_unavailable"


async def test_who_reads_a_file_that_is_removed_reads_on(tmp_path: Path) -> None:
    data = b"x" * 1_000_000
    (tmp_path / "source").write_bytes(data)
    store = LocalMediaStore(tmp_path / "media")
    await store.put(NAME, tmp_path / "source")
    pieces = store.read(NAME, 0, len(data))
    first = await anext(pieces)
    await store.delete(NAME)
    assert first + b"".join([piece async for piece in pieces]) == data


async def test_an_object_store_by_its_url(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"data")
    store = ObjectMediaStore.at("memory:///")
    await store.put(NAME, tmp_path / "source")
    assert await store.size(NAME) == 4


@pytest.mark.parametrize("url", ["nope://bucket", "s3://", "not a url"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(TimewireError) as refused:
        ObjectMediaStore.at(url)
    assert refused.value.code == "bad_config"


async def test_an_object_store_that_cannot_be_reached(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"data")
    store = ObjectMediaStore(LocalStore(tmp_path / "gone", mkdir=True))
    (tmp_path / "gone").rmdir()
    (tmp_path / "gone").write_text("no directory")
    with pytest.raises(TimewireError) as refused:
        await store.put(NAME, tmp_path / "source")
    assert refused.value.code == "storage_unavailable"
