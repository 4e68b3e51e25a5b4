"""Sweeps over sizes, and the pictures that are drawn of them."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import sweep  # noqa: E402
from bench.cases import cases  # noqa: E402
from bench.lines import COLOURS, Line, Scale, chart  # noqa: E402
from bench.pictures import curve, pictures  # noqa: E402
from bench.report import gather  # noqa: E402
from bench.server import serving  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(picture).iter(f"{SVG}text")]


# Charts ----------------------------------------------------------------------------------------


def test_powers_of_ten_are_at_equal_distances() -> None:
    scale = Scale(1, 1000, 100, 400)
    assert [scale.at(value) for value in (1, 10, 100, 1000)] == pytest.approx([100, 200, 300, 400])
    assert list(scale.ticks()) == pytest.approx([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])


def test_a_chart_has_its_points_in_place_and_its_words() -> None:
    drawn = chart(
        "a & b", "size", "cost", [Line("one", [(1, 1), (10, 100)]), Line("two", [(5, 5)])]
    )

    assert {"a & b", "size", "cost", "one", "two", "10", "100"} <= set(texts(drawn))
    circles = list(ET.fromstring(drawn).iter(f"{SVG}circle"))
    assert [circle.get("fill") for circle in circles] == [COLOURS[0], COLOURS[0], COLOURS[1]]
    x, y = ([float(circle.get(key) or 0) for circle in circles] for key in ("cx", "cy"))
    assert x[0] < x[2] < x[1]
    assert y[0] > y[2] > y[1], "more is higher up"


def test_names_beside_a_chart_do_not_cover_each_other() -> None:
    drawn = chart("t", "x", "y", [Line(f"line {n}", [(1, 100 + n)]) for n in range(9)])
    heights = sorted(
        float(text.get("y") or 0)
        for text in ET.fromstring(drawn).iter(f"{SVG}text")
        if (text.text or "").startswith("line")
    )
    assert len(heights) == 9
    assert all(below - above > 14 for above, below in pairwise(heights))


@pytest.mark.parametrize(
    ("value", "shown"), [(0.5, "0.5"), (200, "200"), (5000, "5k"), (2e6, "2M")]
)
def test_ticks_are_short(value: float, shown: str) -> None:
    assert shown in texts(chart("t", "x", "y", [Line("l", [(value, 1), (value * 1.1, 2)])]))


# Of what was found -----------------------------------------------------------------------------


def found(name: str, **numbers: float) -> dict[str, float]:
    """All that a sweep finds, the same for each size but for what is given by name."""
    sizes = sweep.WINDOWS if name == "in-flight" else sweep.MEMBERS
    keys = ("per_s", "delivery_p50_ms", "delivery_p99_ms", "server_us_each", "message_us")
    return {f"at{n}_{key}": numbers.get(f"at{n}_{key}", float(n)) for n in sizes for key in keys}


def test_pictures_are_drawn_of_what_ran() -> None:
    known = {case.name: case for case in cases(quick=True)}
    outcomes = [gather(known[name], [found(name)]) for name in ("in-flight", "members")]

    assert set(pictures(outcomes)) == {"latency.svg", "members.svg"}
    assert set(pictures(outcomes[1:])) == {"members.svg"}
    assert pictures([]) == {}
    assert "for a delivery" in texts(pictures(outcomes)["members.svg"])


def test_a_curve_is_joined_in_the_order_of_sizes() -> None:
    case = next(case for case in cases(quick=True) if case.name == "in-flight")
    outcome = gather(case, [found("in-flight", at100_per_s=1.0), found("in-flight", at2_per_s=8.0)])

    points = curve(outcome.found, "per_s", "delivery_p50_ms")
    assert [y for _, y in points] == list(sweep.WINDOWS)
    assert points[1][0] == 5, "medians of both runs"
    assert curve(outcome.found, "", "per_s")[0] == (1, 1)


# Against a real server -------------------------------------------------------------------------


async def test_sweeps_measure_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "WINDOWS", (1, 3))
    monkeypatch.setattr(sweep, "MEMBERS", (3, 5))
    monkeypatch.setattr(sweep, "PAIRS", 2)
    async with serving(search="off") as server:
        flights = await sweep.in_flight(server, 0.2)
        sizes = await sweep.members(server, 0.2)

    assert flights["at1_per_s"] > 0
    assert flights["at3_delivery_p50_ms"] > 0
    assert sizes["at5_message_us"] == pytest.approx(4 * sizes["at5_server_us_each"])
    assert all(re.fullmatch(r"at[135]_\w+|other_cores", key) for key in flights | sizes)


def test_the_command_keeps_numbers_and_pictures(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "idle", "--quick", "--results", str(tmp_path / "r")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["bench.json"]
