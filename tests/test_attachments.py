"""Attachments and who may see them: on a real log, a real index and real files."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from timewire import access as access_module
from timewire import attachments as module
from timewire.access import ATTACHING_MS, CARRIERS_A_PAGE, MediaAccess
from timewire.attachments import Attachments, Rules
from timewire.backends.media_stores.local import LocalMediaStore
from timewire.backends.memory import MemoryStore
from timewire.errors import TimewireError
from timewire.model import (
    MEDIA_LOG,
    Change,
    Created,
    Draft,
    Media,
    Members,
    Seq,
    StoredBody,
    encode_body,
    encode_change,
    encode_stored,
)
from timewire.testing.contracts import ManualClock

HOUR_MS = 3_600_000
RULES = Rules(max_bytes=1_000_000, types=("*/*",), orphan_ms=24 * HOUR_MS)


def jpeg(size: tuple[int, int] = (640, 480)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "JPEG")
    return file.getvalue()


async def pieces(data: bytes, length: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), length):
        yield data[start : start + length]


class House:
    """A store of media with all that stands around it."""

    def __init__(self, path: Path, rules: Rules = RULES) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.path = path
        self.files = LocalMediaStore(path / "media")
        log, index, directory = self.store.log, self.store.media, self.store.directory
        self.access = MediaAccess(index, directory, log, self.clock)
        self.incoming = path / "media" / "incoming"
        self.attachments = Attachments(
            self.files,
            self.incoming,
            rules,
            self.clock,
            index=index,
            access=self.access,
            log=log,
        )

    async def take(self, user: str, data: bytes, type: str = "") -> Media:
        return await self.attachments.take(user, type, pieces(data))

    async def append(self, draft: Draft) -> Seq:
        [receipt] = await self.store.log.append([draft])
        assert not isinstance(receipt, TimewireError)
        return receipt.seq

    async def change(self, conversation: str, change: Change) -> Seq:
        payload = encode_change("alice", "", change)
        return await self.append(Draft(conversation, "alice", "", payload, change))

    async def send(self, conversation: str, *media: str, body: Any = None) -> Seq:
        payload = encode_stored("alice", "", "image", body or {"media": list(media)})
        return await self.append(Draft(conversation, "alice", "", payload, media=media))

    async def sees(self, user: str | None, name: str) -> bool:
        try:
            await self.access.find(user, name)
        except TimewireError as refused:
            if refused.code != "unknown_media":
                raise
            return False
        return True

    async def read(self, user: str | None, name: str, size: int | None = None) -> bytes:
        file = await self.attachments.find(user, name, size)
        found = [piece async for piece in self.attachments.read(file, 0, file.bytes)]
        return b"".join(found)

    def spooled(self) -> list[Path]:
        return list(self.incoming.iterdir()) if self.incoming.exists() else []


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    yield made
    made.attachments.close()
    await made.store.aclose()


async def refusal(work: Any) -> str:
    with pytest.raises(TimewireError) as refused:
        await work
    return refused.value.code


# -- in -----------------------------------------------------------------------------------------


async def test_a_file_is_kept_under_the_hash_of_its_content(house: House) -> None:
    data = bytes(range(256)) * 2000
    name = hashlib.sha256(data).hexdigest()
    media = await house.take("alice", data, "application/pdf; charset=x")
    assert media == Media(name, len(data), "application/pdf")
    assert await house.read("alice", name) == data
    assert await house.files.names() == [name]
    assert house.spooled() == []


async def test_the_same_file_twice_is_one_with_two_uploaders(house: House) -> None:
    first = await house.take("alice", b"hello", "text/plain")
    assert not await house.sees("bob", first.media)
    second = await house.take("bob", b"hello", "text/html")
    assert second == first
    assert await house.sees("bob", first.media)
    assert len(await house.files.names()) == 1


async def test_an_empty_file_is_a_file(house: House) -> None:
    media = await house.take("alice", b"")
    assert (media.bytes, media.type) == (0, "application/octet-stream")
    assert await house.read("alice", media.media) == b""


@pytest.mark.parametrize("declared", ["image/png", "text/html", "", "application/octet-stream"])
async def test_an_image_is_what_its_content_says(house: House, declared: str) -> None:
    media = await house.take("alice", jpeg(), declared)
    assert (media.type, media.width, media.height) == ("image/jpeg", 640, 480)


@pytest.mark.parametrize(
    ("declared", "data"),
    [
        ("image/png", b"<html>"),
        ("image/jpeg", b""),
        ("multipart/form-data; boundary=x", b"--x"),
        ("nonsense", b"x"),
        ("text/", b"x"),
        ("a/b/c", b"x"),
        ("té/xt", b"x"),
        ("x" * 200 + "/y", b"x"),
    ],
)
async def test_a_type_that_is_none(house: House, declared: str, data: bytes) -> None:
    assert await refusal(house.take("alice", data, declared)) == "bad_media_type"
    assert house.spooled() == []
    assert house.store.log.head == 0


async def test_only_types_that_are_allowed_are_taken(tmp_path: Path) -> None:
    house = House(tmp_path, Rules(1000, ("image/*", "application/pdf"), HOUR_MS))
    png = io.BytesIO()
    Image.new("RGB", (2, 2)).save(png, "PNG")
    await house.take("alice", png.getvalue(), "text/html")
    await house.take("alice", b"<svg>", "image/svg+xml")
    await house.take("alice", b"%PDF", "application/PDF")
    assert await refusal(house.take("alice", b"<html>", "text/html")) == "bad_media_type"
    assert await refusal(house.take("alice", b"bytes")) == "bad_media_type"


async def test_a_file_that_is_too_large_is_not_taken(tmp_path: Path) -> None:
    house = House(tmp_path, Rules(1000, ("*/*",), HOUR_MS))
    await house.take("alice", b"x" * 1000)
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 100

    assert await refusal(house.attachments.take("alice", "", endless())) == "media_too_large"
    assert taken == 11
    assert house.spooled() == []


async def test_an_upload_that_breaks_off_leaves_nothing(house: House) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        raise TimewireError("bad_frame")

    assert await refusal(house.attachments.take("alice", "", broken())) == "bad_frame"
    stuck = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        await stuck.wait()

    task = asyncio.create_task(house.attachments.take("alice", "", endless()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert house.spooled() == []
    assert await house.files.names() == []


async def test_while_the_log_cannot_write_nothing_counts(house: House) -> None:
    house.store.log.writable = False
    assert await refusal(house.take("alice", b"data")) == "storage_unavailable"
    house.store.log.writable = True
    assert len(await house.files.names()) == 1
    for _ in range(2):
        await house.attachments.sweep()
    assert await house.files.names() == [], "what has no record is no file"
    media = await house.take("alice", b"data")
    assert await house.read("alice", media.media) == b"data"


async def test_uploads_at_the_same_time(house: House) -> None:
    data = [b"%d" % (n % 5) * 50_000 for n in range(20)]
    found = await asyncio.gather(*(house.take(f"u{n}", one) for n, one in enumerate(data)))
    assert len({media.media for media in found}) == 5
    for n, media in enumerate(found):
        assert await house.read(f"u{n}", media.media) == data[n]


# -- who may see it -----------------------------------------------------------------------------


async def test_members_see_what_messages_in_their_windows_refer_to(house: House) -> None:
    name = (await house.take("alice", b"data")).media
    await house.change("team", Created("group", ["alice", "bob", "carol"]))
    await house.change("team", Members(left=["carol"]))
    assert not await house.sees("bob", name)
    await house.send("team", name)
    await house.change("team", Members(joined=["dan"], left=["bob"]))
    seen = {user: await house.sees(user, name) for user in ("alice", "bob", "carol", "dan", "eve")}
    assert seen == {"alice": True, "bob": True, "carol": False, "dan": False, "eve": False}
    assert await house.sees(None, name)
    await house.change("other", Created("group", ["alice", "eve"]))
    await house.send("other", name)
    assert await house.sees("eve", name)


async def test_a_message_that_was_recalled_shows_nothing(house: House) -> None:
    name = (await house.take("alice", b"data")).media
    await house.change("team", Created("group", ["alice", "bob"]))
    seq = await house.send("team", name)
    assert await house.sees("bob", name)
    await house.store.messages.redact("team", seq)
    assert not await house.sees("bob", name)
    assert await house.sees("alice", name), "who uploaded it has it anyway"


async def test_a_message_that_does_not_refer_to_it_now_shows_nothing(house: House) -> None:
    name = (await house.take("alice", b"data")).media
    await house.change("team", Created("group", ["alice", "bob"]))
    await house.send("team", name, body={"text": f"was {name}"})
    await house.send("team", name, body={"media": {"not": name}})
    assert not await house.sees("bob", name)


async def test_a_message_whose_life_is_over_shows_nothing(house: House) -> None:
    name = (await house.take("alice", b"data")).media
    await house.change("team", Created("group", ["alice", "bob"]))
    expires = house.clock() + 1000
    stored = StoredBody("alice", "", "image", {"media": name}, expires=expires)
    await house.append(Draft("team", "alice", "", encode_body(stored), media=(name,)))
    assert await house.sees("bob", name)
    house.clock.now += 1000
    assert not await house.sees("bob", name)


async def test_where_history_is_for_all_so_are_its_media(house: House) -> None:
    name = (await house.take("alice", b"data")).media
    await house.change("team", Created("group", ["alice"], history="all"))
    await house.send("team", name)
    await house.change("team", Members(joined=["bob"]))
    assert await house.sees("bob", name)
    assert not await house.sees("eve", name)


@pytest.mark.parametrize("name", ["", "x", "a" * 64, "../../secret", "A" * 64, "a" * 63 + "\n"])
async def test_what_does_not_exist_is_not_seen(house: House, name: str) -> None:
    assert not await house.sees("alice", name)
    assert not await house.sees(None, name)


async def test_a_reader_is_found_among_many_carriers_and_the_search_ends(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = (await house.take("alice", b"data")).media
    await house.change("team", Created("group", ["alice", "bob"]))
    await house.change("other", Created("group", ["alice"]))
    await house.send("team", name)
    for _ in range(CARRIERS_A_PAGE + 50):
        await house.send("other", name)
    assert await house.sees("bob", name)
    assert not await house.sees("eve", name)
    monkeypatch.setattr(access_module, "MAX_CARRIERS", CARRIERS_A_PAGE)
    assert not await house.sees("bob", name)


# -- thumbnails ---------------------------------------------------------------------------------


async def test_thumbnails_come_in_few_sizes_and_are_kept(house: House) -> None:
    media = await house.take("alice", jpeg())
    small = [await house.read("alice", media.media, size) for size in (65, 100, 128)]
    assert small[0] == small[1] == small[2]
    with Image.open(io.BytesIO(small[0])) as image:
        assert (image.format, image.size) == ("WEBP", (128, 96))
    assert await house.files.names() == [media.media, f"{media.media}.128"]
    assert house.spooled() == []


async def test_who_may_not_see_the_image_may_not_see_its_thumbnail(house: House) -> None:
    media = await house.take("alice", jpeg())
    await house.read("alice", media.media, 64)
    assert await refusal(house.attachments.find("bob", media.media, 64)) == "unknown_media"


async def test_one_thumbnail_is_made_once_for_all_who_ask(house: House) -> None:
    media = await house.take("alice", jpeg())
    found = await asyncio.gather(*(house.read("alice", media.media, 256) for _ in range(20)))
    assert len(set(found)) == 1


@pytest.mark.parametrize("data", [b"text", b"\x89PNG\r\n\x1a\nbroken"])
async def test_what_has_no_thumbnail(house: House, data: bytes) -> None:
    media = await house.take("alice", data)
    assert (media.width, media.height) == (0, 0)
    assert await refusal(house.attachments.find("alice", media.media, 64)) == "bad_media_type"
    assert await house.read("alice", media.media) == data


async def test_thumbnails_that_wait_are_bounded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_IMAGES_WAITING", 2)
    media = await house.take("alice", jpeg())
    found = await asyncio.gather(
        *(house.attachments.find("alice", media.media, size) for size in (64, 128, 256, 512)),
        return_exceptions=True,
    )
    refused = [one.code for one in found if isinstance(one, TimewireError)]
    assert refused == ["too_busy", "too_busy"]


# -- sweeping -----------------------------------------------------------------------------------


async def test_what_no_message_refers_to_is_swept_after_its_time(house: House) -> None:
    used = (await house.take("alice", b"used")).media
    unused = (await house.take("alice", jpeg())).media
    await house.read("alice", unused, 64)
    await house.change("team", Created("group", ["alice"]))
    await house.send("team", used)
    house.clock.now += RULES.orphan_ms - 1
    assert await house.attachments.sweep() == 0
    house.clock.now += 1
    assert await house.attachments.sweep() == 1
    assert not await house.sees("alice", unused)
    assert await house.read("alice", used) == b"used"
    assert await house.files.names() == [used]
    assert await house.attachments.sweep() == 0


async def test_what_was_uploaded_again_has_its_time_again(house: House) -> None:
    name = (await house.take("alice", b"data")).media
    house.clock.now += RULES.orphan_ms
    await house.take("bob", b"data")
    assert await house.attachments.sweep() == 0
    house.clock.now += RULES.orphan_ms
    assert await house.attachments.sweep() == 1
    assert not await house.sees("bob", name)
    again = await house.take("carol", b"data", "text/plain")
    assert (again.type, await house.read("carol", name)) == ("text/plain", b"data")
    assert not await house.sees("alice", name)


async def test_what_only_recalled_messages_refer_to_is_swept(house: House) -> None:
    name = (await house.take("alice", b"data")).media
    await house.change("team", Created("group", ["alice"]))
    seq = await house.send("team", name)
    house.clock.now += RULES.orphan_ms
    assert await house.attachments.sweep() == 0
    await house.store.messages.redact("team", seq)
    assert await house.attachments.sweep() == 1


async def test_what_is_being_attached_is_not_swept(house: House) -> None:
    name = (await house.take("alice", b"data")).media
    house.clock.now += RULES.orphan_ms
    assert await refusal(house.access.attach("eve", [name])) == "unknown_media"
    assert not house.access.is_being_attached(name)
    await house.access.attach("alice", [name])
    assert await house.attachments.sweep() == 0
    house.clock.now += ATTACHING_MS
    assert await house.attachments.sweep() == 1
    assert await refusal(house.access.attach("alice", [name])) == "unknown_media"


async def test_files_that_a_crash_left_are_removed(house: House) -> None:
    kept = (await house.take("alice", b"data")).media
    for name in ("b" * 64, "b" * 64 + ".64", "notes"):
        source = house.path / "source"
        source.write_bytes(b"left")
        await house.files.put(name, source)
    (house.incoming / "half").write_bytes(b"half")
    house.attachments.clear()
    assert house.spooled() == []
    assert await house.attachments.sweep() == 0, "its record may be on its way"
    assert await house.attachments.sweep() == 2
    assert await house.files.names() == [kept, "notes"], "what is not ours stays"


async def test_a_file_whose_record_comes_after_all_stays(house: House) -> None:
    data = b"from another process"
    name, source = hashlib.sha256(data).hexdigest(), house.path / "source"
    source.write_bytes(data)
    await house.files.put(name, source)
    assert await house.attachments.sweep() == 0
    await house.take("alice", data)
    for _ in range(2):
        assert await house.attachments.sweep() == 0
    assert await house.read("alice", name) == data


async def test_a_file_that_goes_before_its_record_is_there_is_put_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = (await house.take("alice", b"data")).media
    append = house.store.log.append

    def swept_elsewhere(drafts: Sequence[Draft]) -> Any:
        (house.path / "media" / first[:2] / first).unlink()
        return append(drafts)

    monkeypatch.setattr(house.store.log, "append", swept_elsewhere)
    await house.take("bob", b"data")
    assert await house.read("bob", first) == b"data"


async def test_so_many_files_without_a_record_are_remembered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_STRAYS", 1)
    for name in ("b" * 64, "c" * 64):
        source = house.path / "source"
        source.write_bytes(b"left")
        await house.files.put(name, source)
    assert [await house.attachments.sweep() for _ in range(4)] == [0, 1, 1, 0]


async def test_many_are_swept_page_by_page(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_PAGE", 3)
    for n in range(10):
        await house.take("alice", b"%d" % n)
    house.clock.now += RULES.orphan_ms
    assert await house.attachments.sweep() == 10
    assert await house.files.names() == []


async def test_uploads_are_messages_that_nobody_is_sent(house: House) -> None:
    media = await house.take("alice", b"data", "text/plain")
    [stored] = await house.store.log.read(0)
    assert stored.conversation == MEDIA_LOG
    assert await house.store.directory.conversation(MEDIA_LOG) is None
    reopened = house.store.reopened()
    kept = await reopened.media.find(media.media)
    assert kept is not None
    assert kept.media == media
    await reopened.aclose()
