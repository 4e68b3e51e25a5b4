"""Contracts of the ports ``MediaIndex``, which is changed through its log, and ``MediaStore``."""

from __future__ import annotations

from pathlib import Path

import pytest

from timewire.errors import TimewireError
from timewire.media import Kept, MediaStore
from timewire.model import (
    MEDIA_LOG,
    Draft,
    Media,
    MediaChange,
    Ref,
    Swept,
    Uploaded,
    encode_change,
    encode_stored,
)
from timewire.testing.contracts.logs import put
from timewire.testing.contracts.places import Contract, Place, Stores, StoresPlace

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
SIZES = [0, 1, 1000, 300_000, 1_100_000]


def record(user: str, change: MediaChange) -> Draft:
    """The draft of what happens to a medium."""
    return Draft(MEDIA_LOG, user, "", encode_change(user, "", change), change)


def uploaded(name: str, size: int = 5) -> Uploaded:
    """An upload of an image."""
    return Uploaded(name, size, "image/png", 3, 2)


def sending(conversation: str, id: str, *media: str) -> Draft:
    """A message that refers to media."""
    payload = encode_stored("alice", id, "image", {"media": list(media)})
    return Draft(conversation, "alice", id, payload, media=media)


class MediaIndexContract(Contract[StoresPlace]):
    """What every index of media promises."""

    async def test_nothing_is_known_at_first(self, store: Stores) -> None:
        assert await store.media.find(A) is None
        assert await store.media.is_uploader("alice", A) is False
        assert await store.media.carriers(A, limit=10) == []
        assert await store.media.scan() == []

    async def test_a_medium_is_what_it_was_at_first_and_has_many_uploaders(
        self, store: Stores
    ) -> None:
        await put(store.log, record("alice", uploaded(A)))
        other = Uploaded(A, 5, "text/plain")
        [second] = await put(store.log, record("bob", other))
        media = Media(A, 5, "image/png", 3, 2)
        assert await store.media.find(A) == Kept(media, second.seq)
        for user, has in (("alice", True), ("bob", True), ("carol", False), ("alic", False)):
            assert await store.media.is_uploader(user, A) is has
        assert await store.media.is_uploader("alice", B) is False

    async def test_what_is_staged_shows_at_once(self, store: Stores) -> None:
        first = store.log.append([record("alice", uploaded(A))])
        assert await store.media.find(A) is not None
        second = store.log.append([sending("team", "1", A)])
        assert len(await store.media.carriers(A, limit=1)) == 1
        third = store.log.append([record("", Swept(A))])
        assert await store.media.find(A) is None
        for answer in (first, second, third):
            await answer

    async def test_carriers_come_newest_first_and_in_pages(self, store: Stores) -> None:
        await put(store.log, record("alice", uploaded(A)))
        drafts = [sending(f"g{n}", f"m{n}", *([A, B] if n % 2 else [A])) for n in range(6)]
        receipts = await put(store.log, *drafts)
        refs = [Ref(receipt.seq, f"g{n}") for n, receipt in enumerate(receipts)][::-1]
        assert await store.media.carriers(A, limit=10) == refs
        assert await store.media.carriers(A, limit=2) == refs[:2]
        assert await store.media.carriers(A, before=refs[1].seq, limit=3) == refs[2:5]
        assert await store.media.carriers(A, before=1, limit=3) == []
        assert await store.media.carriers(B, limit=10) == refs[::2]

    async def test_a_repeat_carries_nothing(self, store: Stores) -> None:
        await put(store.log, sending("team", "1", A))
        await put(store.log, sending("team", "1", A))
        assert len(await store.media.carriers(A, limit=10)) == 1

    async def test_what_is_swept_is_forgotten(self, store: Stores) -> None:
        for name in (A, B):
            await put(
                store.log,
                record("alice", uploaded(name)),
            )
            await put(store.log, sending("team", f"m{name}", name))
        await put(store.log, record("", Swept(A)))
        assert await store.media.find(A) is None
        assert await store.media.is_uploader("alice", A) is False
        assert await store.media.carriers(A, limit=10) == []
        assert await store.media.find(B) is not None
        assert len(await store.media.carriers(B, limit=10)) == 1

    async def test_all_are_listed_by_name(self, store: Stores) -> None:
        for name in (C, A, B):
            await put(store.log, record("alice", uploaded(name)))
        found = [kept.media.media for kept in await store.media.scan()]
        assert found == [A, B, C]
        assert [k.media.media for k in await store.media.scan(after=A, limit=1)] == [B]
        assert await store.media.scan(after=C) == []


class MediaIndexReopenContract(Contract[StoresPlace]):
    """What an index promises that outlives its process."""

    async def test_everything_is_there_again(self, store: Stores) -> None:
        for name in (A, B):
            await put(store.log, record("alice", uploaded(name)))
            await put(store.log, sending("team", f"m{name}", name))
        await put(store.log, record("", Swept(B)))
        before = await store.media.find(A)
        carriers = await store.media.carriers(A, limit=10)
        await self.at.close()
        store = await self.at.open()
        assert await store.media.find(A) == before
        assert await store.media.is_uploader("alice", A)
        assert await store.media.carriers(A, limit=10) == carriers
        assert await store.media.find(B) is None


class MediaStoreContract(Contract[Place[MediaStore]]):
    """What every store of media promises."""

    def file(self, data: bytes, name: str = "source") -> Path:
        """A file to be kept."""
        path = self.at.path / name
        path.write_bytes(data)
        return path

    async def test_nothing_is_there_at_first(self, store: MediaStore) -> None:
        assert await store.size(A) is None
        assert await store.names() == []
        await store.delete(A)
        with pytest.raises(TimewireError) as refused:
            await anext(store.read(A, 0, 1))
        assert refused.value.code == "unknown_media"

    @pytest.mark.parametrize("size", SIZES)
    async def test_what_is_kept_is_read_whole_and_in_parts(
        self, store: MediaStore, size: int
    ) -> None:
        data = bytes(n % 251 for n in range(size))
        await store.put(A, self.file(data))
        assert await store.size(A) == size
        for start, stop in ((0, size), (size // 3, size // 2), (max(0, size - 1), size), (0, 0)):
            pieces = [piece async for piece in store.read(A, start, stop)]
            assert b"".join(pieces) == data[start:stop]

    async def test_a_file_replaces_the_one_before_and_can_be_removed(
        self, store: MediaStore
    ) -> None:
        await store.put(A, self.file(b"one"))
        await store.put(A, self.file(b"other"))
        assert await store.size(A) == 5
        await store.delete(A)
        await store.delete(A)
        assert await store.size(A) is None
        assert await store.names() == []

    async def test_names_come_in_order_and_in_pages(self, store: MediaStore) -> None:
        names = [f"{letter}{'0' * 62}{n}" for letter in "af3" for n in range(3)]
        names += [f"{names[0]}.64", f"{names[0]}.1024"]
        for name in names:
            await store.put(name, self.file(name.encode()))
        wanted = sorted(names)
        assert await store.names() == wanted
        assert await store.names(limit=4) == wanted[:4]
        assert await store.names(after=wanted[3], limit=3) == wanted[4:7]
        assert await store.names(after=wanted[-1]) == []
