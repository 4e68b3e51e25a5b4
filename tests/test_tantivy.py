"""What is particular to the index in Tantivy: its directory, and what goes wrong with it."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from timewire.backends.tantivy import TantivyIndex
from timewire.backends.tantivy import generation as generations
from timewire.backends.tantivy import index as module
from timewire.backends.tantivy.schema import FORMAT
from timewire.errors import TimewireError
from timewire.finding import Document, Inquiry, Phrase, Scope, Wanted

TEAM = Scope(frozenset({"team"}))


def document(seq: int, words: str = "hello") -> Document:
    return Document(seq, 0, "team", 1, "alice", "text", words)


async def filled(path: Path) -> TantivyIndex:
    index = await TantivyIndex.open(path)
    await index.stage([document(1), document(2)])
    await index.commit(2, "e")
    return index


async def seqs(index: TantivyIndex, *words: str, prefix: bool = False) -> list[int]:
    wanted = Wanted((Phrase(words or ("hello",), prefix),))
    return [one.seq for one in await index.search(Inquiry(wanted, TEAM, "oldest"), limit=100)]


async def refusal(path: Path) -> str:
    with pytest.raises(TimewireError) as caught:
        await TantivyIndex.open(path)
    return caught.value.code


async def test_one_process_at_a_time(tmp_path: Path) -> None:
    index = await filled(tmp_path)
    assert await refusal(tmp_path) == "directory_in_use"
    assert await seqs(index) == [1, 2]
    await index.aclose()
    again = await TantivyIndex.open(tmp_path)
    assert await seqs(again) == [1, 2]
    await again.aclose()


async def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert await refusal(tmp_path / "file" / "index") == "directory_unusable"


@pytest.mark.parametrize("damage", ["meta", "current", "format", "gone", "empty"])
async def test_an_index_that_cannot_be_read_is_made_anew(tmp_path: Path, damage: str) -> None:
    await (await filled(tmp_path)).aclose()
    current = tmp_path / module.CURRENT
    name = msgspec.json.decode(current.read_bytes())["name"]
    if damage == "meta":
        (tmp_path / name / "meta.json").write_text("{")
    elif damage == "current":
        current.write_bytes(b"\x00\xff")
    elif damage == "format":
        current.write_bytes(msgspec.json.encode({"name": name, "format": FORMAT + 1}))
    elif damage == "gone":
        current.write_bytes(msgspec.json.encode({"name": "g77", "format": FORMAT}))
    else:
        current.unlink()
    index = await TantivyIndex.open(tmp_path)
    assert (index.position, index.epoch) == (0, "")
    assert await seqs(index) == []
    await index.stage([document(5)])
    await index.commit(5, "e")
    assert await seqs(index) == [5]
    await index.aclose()
    assert len(list(tmp_path.glob("g*"))) == 1


async def test_a_name_in_the_file_leads_nowhere_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    await (await filled(outside)).aclose()
    inside = tmp_path / "inside"
    await (await filled(inside)).aclose()
    (inside / module.CURRENT).write_bytes(
        msgspec.json.encode({"name": "../outside/g1", "format": FORMAT})
    )
    index = await TantivyIndex.open(inside)
    assert index.position == 0
    await index.aclose()
    assert (outside / "g1").is_dir()


async def test_a_disk_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await filled(tmp_path)
    generation = index._generation  # pyright: ignore[reportPrivateUsage]

    class Broken:
        def __getattr__(self, name: str) -> object:
            raise ValueError("no space left on device")

    generation._writer = Broken()  # pyright: ignore
    with pytest.raises(TimewireError) as caught:
        await index.stage([document(3)])
    assert (caught.value.code, caught.value.retry) == ("storage_unavailable", True)
    assert index.position == 2
    assert await seqs(index) == [1, 2]
    # The writer is gone, and its lock with it: the next one does what the first could not.
    await index.stage([document(3)])
    await index.commit(3, "e")
    assert await seqs(index) == [1, 2, 3]
    await index.aclose()


async def test_the_position_alone_is_written_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "MAX_UNWRITTEN_MESSAGES", 10)
    index = await filled(tmp_path)
    await index.commit(9, "e")
    assert index.position == 9
    await index.aclose()
    index = await TantivyIndex.open(tmp_path)
    assert index.position == 2
    await index.commit(9, "e")
    await index.commit(14, "e")
    await index.aclose()
    index = await TantivyIndex.open(tmp_path)
    assert index.position == 14
    await index.aclose()


async def test_a_phrase_with_an_end_that_far_too_many_words_have(tmp_path: Path) -> None:
    index = await TantivyIndex.open(tmp_path)
    for start in range(0, 20_000, 1000):
        await index.stage([document(n + 1, f"alpha w{n}") for n in range(start, start + 1000)])
    await index.commit(20_000, "e")
    with pytest.raises(TimewireError) as caught:
        await seqs(index, "alpha", "w", prefix=True)
    assert caught.value.code == "too_broad"
    assert len(await seqs(index, "alpha", "w1234", prefix=True)) == 11
    assert len(await seqs(index, "w", prefix=True)) == 100
    await index.aclose()


async def test_searches_wait_in_a_line_that_has_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SEARCHES_WAITING", 3)
    index = await filled(tmp_path)
    outcomes = await asyncio.gather(*(seqs(index) for _ in range(8)), return_exceptions=True)
    assert outcomes[:3] == [[1, 2]] * 3
    assert {one.code for one in outcomes[3:] if isinstance(one, TimewireError)} == {"too_busy"}
    assert await seqs(index) == [1, 2]
    await index.aclose()


async def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await (await filled(tmp_path)).aclose()
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 6
