"""Real chat: twelve days of IRC, and dialogues in Chinese, Japanese, Korean and Thai.

What must be found was looked up by hand, and stands here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import chatterbot_corpus
import pytest

from timewire.backends.tantivy import TantivyIndex

from .conftest import Desk

IRC = Path(__file__).parents[2] / "examples" / "data"
DIALOGUES = Path(chatterbot_corpus.__file__).parent / "data"
_SAID = re.compile(r"\[\d\d:\d\d\] <([^>]+)> (.*)")
_LINE = re.compile(r"\s*-\s+(?:-\s+)?(.+)")


class Shelf(Desk):
    """A desk with corpora on it.  ``lines``: SeqId -> corpus and the number of the line in it."""

    lines: dict[int, tuple[str, int]]

    async def put(self, name: str, said: Iterable[tuple[int, str, str]]) -> None:
        """Have lines said in a conversation: number, speaker, text."""
        await self.group(name, "alice")
        for number, speaker, text in said:
            self.lines[await self.say(text, name, speaker)] = name, number

    async def numbers(self, text: str, **query: Any) -> dict[str, list[int]]:
        """The lines that are found, by corpus."""
        found: dict[str, list[int]] = {}
        for seq in await self.find("alice", text, limit=100, **query):
            name, number = self.lines[seq]
            found.setdefault(name, []).append(number)
        return found


@asynccontextmanager
async def shelf_in(directory: Path) -> AsyncIterator[Shelf]:
    async with Shelf(await TantivyIndex.open(directory)).running() as shelf:
        assert isinstance(shelf, Shelf)
        shelf.lines = {}
        yield shelf


@pytest.fixture
async def irc(tmp_path: Path) -> AsyncIterator[Shelf]:
    """Twelve days, each a conversation of the name of its date."""
    async with shelf_in(tmp_path) as shelf:
        for day in sorted(IRC.glob("ubuntu-irc-*.txt")):
            lines = day.read_text("utf-8").splitlines()
            said = (
                (n, match[1], match[2])
                for n, line in enumerate(lines, 1)
                if (match := _SAID.match(line))
            )
            await shelf.put(day.stem.removeprefix("ubuntu-irc-"), said)
        await shelf.settle()
        yield shelf


@pytest.fixture
async def dialogues(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    """The dialogues of one file: ``language/topic``."""
    lines = (DIALOGUES / f"{request.param}.yml").read_text("utf-8").splitlines()
    async with shelf_in(tmp_path) as shelf:
        said = (
            (n, match[1].strip("'\""))
            for n, line in enumerate(lines, 1)
            if (match := _LINE.match(line))
        )
        await shelf.put("corpus", ((number, "alice", text) for number, text in said))
        await shelf.settle()
        yield shelf


FIRST, LAST = "2004-12-25", "2015-10-19"

DAY_TABLE: list[tuple[str, dict[str, Any], list[int]]] = [
    ("vlc", {}, [4, 15]),
    ("VLC", {}, [4, 15]),
    ("subversion", {}, [2, 97]),
    ('"apt-get install"', {}, [952, 1303, 1309, 1351, 1451, 1452]),
    ("apt-get install", {}, [952, 1303, 1309, 1351, 1451, 1452]),
    ('"apt-get install" kde', {}, [1351, 1451, 1452]),
    ('"apt-get install" -kde', {}, [952, 1303, 1309]),
    ('"install apt-get"', {}, []),
    ("gstreamer", {}, []),
    ("gstreamer*", {}, [1304, 1308, 1309]),
    ("k7", {}, [1]),
    ("k7 vlc subversion", {"match": "any"}, [1, 2, 4, 15, 97]),
    ("k7 vlc", {}, []),
    ("nvidia", {}, [258, 371, 377, 472, 481, 1228, 1280]),
    ("", {"sender": "intinig", "kind": "image"}, []),
    ("subversion", {"sender": "intinig"}, [2, 97]),
    ("christmas", {}, []),
]

TWELVE_DAYS_TABLE: list[tuple[str, dict[str, Any], dict[str, list[int]]]] = [
    ("ndiswrapper", {}, {"2005-10-07": [901, 904, 906], "2007-02-15": [1007, 1147, 1162]}),
    ("NDISwrapper -edgy", {"conversation": "2007-02-15"}, {"2007-02-15": [1147, 1162]}),
    (
        '"kernel panic"',
        {},
        {"2005-10-07": [84, 117], "2006-05-15": [462, 481, 491, 1238]},
    ),
    ('"kernel panic"', {"sender": "roy"}, {"2006-05-15": [462, 481]}),
    ("virtualbox", {"sender": "OerHeks"}, {LAST: [66, 72]}),
    ("systemd", {}, {"2012-02-03": [1019], LAST: [120]}),
    ("systemd upstart", {}, {"2012-02-03": [1019]}),
    ("Segfault_", {"sender": "badbodh"}, {LAST: [725, 736, 762]}),
    ("извините", {}, {"2010-08-29": [188]}),
    ("ПОЖАЛУЙСТА", {}, {"2010-08-29": [192]}),
    ("大家", {}, {LAST: [71]}),
    ("中文", {}, {LAST: [74]}),
    ("文中", {}, {}),
    (
        "español",
        {},
        {
            "2009-05-08": [30, 189],
            "2010-08-29": [835, 845],
            "2012-02-03": [669, 673],
            "2014-01-08": [709],
        },
    ),
    ("hable espanol", {}, {"2010-08-29": [835], "2012-02-03": [669]}),
    ("uslugi", {}, {"2012-02-03": [919]}),
    ("хорошо", {}, {}),
]


async def test_a_day_of_irc(irc: Shelf) -> None:
    for text, query, lines in DAY_TABLE:
        found = await irc.numbers(text, conversation=FIRST, **query)
        assert found == ({FIRST: lines} if lines else {}), text


async def test_twelve_days_of_irc(irc: Shelf) -> None:
    for text, query, lines in TWELVE_DAYS_TABLE:
        assert await irc.numbers(text, **query) == lines, text


@pytest.mark.parametrize(
    ("dialogues", "table"),
    [
        (
            "chinese/sports",
            [
                ("足球", [10, 14, 18, 26, 36, 37, 40]),
                ("什么足球", [10]),
                ("什么 足球", [10, 14]),
                ("是什么", []),
                ("球足", []),
                ("player", [40]),
                ("ＰＬＡＹＥＲ", [40]),
                ("足球 -什么", [18, 26, 36, 37, 40]),
            ],
        ),
        ("japanese/sports", [("サッカー", "サッカー"), ("ｻｯｶｰ", "サッカー"), ("カー", "カー")]),
        ("japanese/ai", [("人工知能", "人工知能"), ("知能人工", []), ("する機械", "する機械")]),
        ("korean/sports", [("축구", "축구"), ("구축", "구축"), ("클럽", "클럽")]),
        ("korean/ai", [("로봇", "로봇"), ("인공지능", "인공지능")]),
        ("thai/greeting", [("สวัสดี", "สวัสดี"), ("ดี", "ดี"), ("จ้า", "จ้า")]),
        ("chinese/ai", [("机器人", "机器人"), ("爱", "爱"), ("人工智能", "人工智能")]),
    ],
    indirect=["dialogues"],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_dialogues(
    dialogues: Shelf, table: list[tuple[str, str | list[int]]], request: pytest.FixtureRequest
) -> None:
    """Lines by number, or every line that holds a text, letter by letter."""
    name = request.node.callspec.params["dialogues"]
    lines = (DIALOGUES / f"{name}.yml").read_text("utf-8").splitlines()
    for question, expected in table:
        said = [n for n, line in enumerate(lines, 1) if _LINE.match(line)]
        numbers = (
            [n for n in said if expected in lines[n - 1]] if isinstance(expected, str) else expected
        )
        assert await dialogues.numbers(question) == ({"corpus": numbers} if numbers else {}), (
            question
        )
