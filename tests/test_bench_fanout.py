"""Measurements of fan-out by mode, and of amplification on real chat."""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import amplification, fanout, policies, room  # noqa: E402
from bench.amplification import Found, Size, replay  # noqa: E402
from bench.cases import cases  # noqa: E402
from bench.plot import Bars, plot  # noqa: E402
from bench.server import serving  # noqa: E402

DAYS = ROOT / "examples" / "data"


@pytest.mark.parametrize(("mode", "policy", "writes"), [("write", "write", 41), ("read", "", 1)])
async def test_a_crowd_is_written_or_read(mode: str, policy: str, writes: int) -> None:
    async with serving(fanout_policy=policy or policies.READ) as server:
        found = await fanout.crowd(server, 0.3, members=40, online=5, mode=mode)
    assert found["writes_a_message"] == writes
    assert found["per_s"] == pytest.approx(found["messages_per_s"] * 4)
    assert 0 < found["delivery_p50_ms"] <= found["delivery_max_ms"]


@pytest.mark.parametrize(("mode", "policy"), [("write", "write"), ("read", policies.READ)])
async def test_a_sync_finds_the_news_among_many_groups(mode: str, policy: str) -> None:
    async with serving(fanout_policy=policy) as server:
        found = await fanout.many_groups(server, groups=10, mode=mode)
    assert 0 < found["sync_ms"] <= found["sync_max_ms"]


async def test_modes_change_under_load_and_every_device_gets_everything_once() -> None:
    async with serving(fanout_policy=policies.FLIP) as server:
        found = await fanout.switching(server, 0.7, members=5, writers=2, window=2)
    assert found["changes"] > 0
    assert found["wanderings"] > 1
    assert found["per_s"] > 0


async def test_a_room_fills_and_a_comment_is_with_everybody_or_with_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "JOINS_AT_ONCE", 8)
    async with serving() as server:
        found = await room.room(server, 0.5, online=20)
    assert min(found["joins_0_per_s"], found["joins_1_per_s"]) > 0
    # As many as may be pushed in a second are, at once, and then no more than come free meanwhile.
    assert 19 * 20 <= found["per_s"] / found["comments_per_s"] * 50 < 19 * 50
    assert 0 < found["delivery_p50_ms"] <= found["delivery_max_ms"]


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the shipped days."""
    path = tmp_path_factory.mktemp("days")
    for log in sorted(DAYS.glob("*.txt"))[:2]:
        (path / log.name).write_bytes(log.read_bytes())
    return path


@pytest.fixture
async def found(days: Path) -> Found:
    return await replay(days, Size(5), messages=40)


async def test_write_fan_out_multiplies_writes_and_read_fan_out_reads(found: Found) -> None:
    costs = found.costs
    assert costs.pulls >= 40 * amplification.SYNCS_A_MESSAGE
    assert costs.write.reads == costs.pulls
    assert costs.write.writes == pytest.approx(costs.messages * (1 + found.receivers))
    assert costs.read.writes == costs.messages
    assert costs.read.reads == pytest.approx(costs.pulls * found.conversations)
    assert costs.actual == costs.write, "small channels are written"


async def test_the_table_and_the_picture_say_what_was_found(found: Found) -> None:
    each = found.costs.messages
    [row] = amplification.to_markdown([found]).splitlines()[2:]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "the 5 most active"
    assert cells[3] == f"{amplification.number(found.costs.pulls / each)} : 1"
    assert cells[4] == cells[6]
    picture = ET.fromstring(amplification.to_plot([found]))
    said = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert [name for name in amplification.WAYS if name in said] == list(amplification.WAYS)
    assert f"{found.costs.write.writes / each:,.1f}" in said


def test_the_same_people_are_in_all_channels(days: Path) -> None:
    read = amplification.read_days(days, 3)
    for day in read:
        assert day.present
        assert {event.nick for event in day.events} <= {"person0", "person1", "person2"}
    assert [act.at for act in amplification.acts(read)] == sorted(
        round(event.at * 60_000) for day in read for event in day.events
    )


def test_bars_are_as_long_as_their_numbers_say() -> None:
    drawn = plot("Costs", [("one & two", [Bars("a", 1, 10), Bars("b", 100, 1000)])])
    rects = re.findall(r'<rect x="110" y="\d+" width="([\d.]+)" height="14"', drawn)
    widths = [float(width) for width in rects]
    assert widths[0] == 1.0
    assert widths[2] == pytest.approx(2 * widths[1], abs=0.2)
    assert widths[3] == pytest.approx(3 * widths[1], abs=0.2)
    assert "one &amp; two" in drawn
    ET.fromstring(drawn)


def test_every_mode_is_measured() -> None:
    names = [case.name for case in cases(quick=True)]
    assert {"crowd-write", "crowd-read", "sync-write", "sync-read", "switching", "room"} <= set(
        names
    )
