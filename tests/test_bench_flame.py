"""Flame graphs: every box where and as wide as it must be."""

import re
import sys
import xml.dom.minidom
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.flame import MIN_WIDTH, WIDTH, draw, grow

STACKS = """\
run (app/main.py:3);read (app/wire.py:10) 60
run (app/main.py:4);write <b> (app/wire.py:20) 20
run (app/main.py:4) 19
rare (app/other.py:1) 1
not a stack
"""


def boxes(svg: str) -> dict[str, tuple[float, float, float]]:
    """Name -> x, y, width."""
    found = re.findall(
        r'<title>([^<]*): [^<]*</title><rect x="([\d.]+)" y="(\d+)" width="([\d.]+)"', svg
    )
    return {name: (float(x), float(y), float(width)) for name, x, y, width in found}


def test_a_tree_counts_what_is_in_and_above_a_function() -> None:
    root = grow(STACKS)
    assert root.count == 100
    run = root.above["run main"]
    assert run.count == 99
    assert {name: box.count for name, box in run.above.items()} == {
        "read wire": 60,
        "write <b> wire": 20,
    }


def test_boxes_are_as_wide_as_their_share_and_stand_on_their_caller() -> None:
    found = boxes(draw("A title", grow(STACKS)))
    assert found["all"][2] == WIDTH
    assert found["run main"][2] == 0.99 * WIDTH
    assert found["read wire"][2] == 0.6 * WIDTH
    assert found["read wire"][1] < found["run main"][1] < found["all"][1]
    write = found["write &lt;b&gt; wire"]
    assert write[0] == found["read wire"][0] + found["read wire"][2]


def test_the_picture_is_xml_with_its_title() -> None:
    svg = draw("Less < more", grow(STACKS))
    document = xml.dom.minidom.parseString(svg)
    assert document.documentElement is not None
    assert "Less &lt; more" in svg


def test_what_is_too_narrow_is_left_out() -> None:
    many = "\n".join([f"wide (a/b.py:1) {int(2 * WIDTH / MIN_WIDTH)}", "thin (a/b.py:1) 1"])
    assert set(boxes(draw("", grow(many)))) == {"all", "wide b"}


def test_nothing_is_a_picture_too() -> None:
    assert xml.dom.minidom.parseString(draw("", grow(""))) is not None
