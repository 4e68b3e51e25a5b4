"""Timelines against other stores: all keep the same, and what is found is counted right."""

import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import libraries, worker  # noqa: E402
from bench.libraries import Found, Slice, fill, picture, to_markdown  # noqa: E402
from bench.stores import STORES, Known, Store, key_of  # noqa: E402

INSTALLED = [name for name, known in STORES.items() if not known.missing()]


@pytest.mark.parametrize("name", INSTALLED)
async def test_every_store_keeps_the_same(name: str, tmp_path: Path) -> None:
    store: Store = await STORES[name].open(tmp_path / "s")
    found = await worker.append(store, 1, 2500)
    seen = await worker.read(store, 2500)  # compares every page
    assert await store.scan(worker.item(7)[0], 7, 100) == [worker.item(n)[2] for n in (1007, 2007)]
    assert store.memory_bytes() > 0
    await store.close()

    again: Store = await STORES[name].open(tmp_path / "s")
    await worker.append(again, 2501, 10)
    await worker.read(again, 2510)
    await again.close()
    assert found["took_s"] > 0
    assert min(seen["scan_us"], seen["get_us"]) > 0


async def test_a_store_that_gives_something_else_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Store = await STORES["sqlite"].open(tmp_path / "s")
    await worker.append(store, 1, 1100)
    monkeypatch.setattr(worker, "_NOISE", bytes(len(worker._NOISE)))
    with pytest.raises(RuntimeError, match="not what was written"):
        await worker.read(store, 1100)
    await store.close()


def test_pages_are_of_one_timeline() -> None:
    page = worker.numbers_of(5, 2500)
    assert page == [5, 1005, 2005]
    assert len({worker.item(number)[0] for number in page}) == 1
    assert len(worker.numbers_of(1, 10**6)) == worker.PAGE
    names = {worker.item(number)[0] for number in range(1, worker.TIMELINES + 1)}
    assert len(names) == worker.TIMELINES
    assert key_of("a", 1) < key_of("a", 256) < key_of("b", 1)


def test_stores_are_filled_in_turns_and_stop_when_their_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "SLICES", 3)
    sqlite, rocks = fill(["sqlite", "rocksdict"], 6000, 60.0, tmp_path)
    assert [step.entries for step in sqlite.slices] == [2000, 4000, 6000]
    assert sqlite.bytes_each > worker.PAYLOAD_BYTES
    assert rocks.bytes_each > worker.PAYLOAD_BYTES
    assert rocks.open_ms > 0
    assert sqlite.problem == ""


def test_a_store_stops_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "SLICES", 3)
    (stopped,) = fill(["sqlite"], 6000, 0.000001, tmp_path)
    assert [step.entries for step in stopped.slices] == [2000]
    assert "stopped" in stopped.problem


def test_what_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STORES, "other", Known("Other", STORES["sqlite"].open, "no_such_package"))
    found = fill(["other"], 10_000, 1.0, tmp_path)
    assert found == [Found("other", "Other", problem="no_such_package is not installed")]
    assert "| Other | no_such_package is not installed |" in to_markdown(found, about())


def about() -> dict[str, object]:
    return {"machine": {"cores": 2}, "settings": {}, "when": "today", "other_cores": 0.1}


def test_the_table_compares_first_and_last_slice() -> None:
    slices = [Slice(1000, 10.0, 1, 2, 50, 60, 30), Slice(2000, 20.0, 3, 4, 70, 80, 40)]
    found = [Found("x", "Some store", slices, 12.5, 222)]

    (row,) = [line for line in to_markdown(found, about()).splitlines() if "Some store" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["Some store", "2,000", "100,000", "50,000", "0.50", "3 ms", "70 us", "80 us",
                     "12.5 ms", "40 MiB", "222 bytes"]  # fmt: skip
    assert "Some store" in picture(found)


def test_the_command_keeps_numbers_picture_and_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "doc.md"
    document.write_text("a\n<!-- libraries -->\n<!-- end of libraries -->\nb\n")
    given = ["rocksdict", "--entries", "10000", "--results", str(tmp_path / "r")]
    monkeypatch.setattr(sys, "argv", ["libraries", *given, "--docs", str(document)])
    monkeypatch.setattr(libraries, "SLICES", 2)

    assert libraries.main() == 0
    assert "| rocksdict, bare | 10,000 |" in document.read_text()
    found = msgspec.json.decode((tmp_path / "r" / "libraries.json").read_bytes())
    assert found["settings"]["batch"] == worker.BATCH
    assert [step["entries"] for step in found["results"][0]["slices"]] == [5000, 10_000]
    assert (tmp_path / "r" / "libraries.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("wrong", [["nothing"], ["--entries", "10"]])
def test_wrong_arguments_are_refused(wrong: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["libraries", *wrong])
    with pytest.raises(SystemExit) as ended:
        libraries.main()
    assert ended.value.code == 2
