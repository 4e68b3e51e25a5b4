"""Real chat: a day of IRC and dialogues in Chinese, Japanese, Korean and Thai.

What must be found was looked up by hand, and stands here.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import chatterbot_corpus
import pytest

from timewire.backends.tantivy import TantivyIndex

from .conftest import Desk

IRC = Path(__file__).parents[2] / "examples" / "data" / "ubuntu-irc-2004-12-25.txt"
DIALOGUES = Path(chatterbot_corpus.__file__).parent / "data"
_SAID = re.compile(r"\[\d\d:\d\d\] <([^>]+)> (.*)")
_LINE = re.compile(r"\s*-\s+(?:-\s+)?(.+)")


class Shelf(Desk):
    """A desk with a corpus on it.  ``lines``: SeqId -> the line in its file."""

    lines: dict[int, int]

    async def numbers(self, text: str, **query: Any) -> list[int]:
        """The lines that are found."""
        found = await self.find("alice", text, limit=100, conversation="corpus", **query)
        return [self.lines[seq] for seq in found]


async def put(shelf: Shelf, said: list[tuple[int, str, str]]) -> None:
    """Have lines said: number, speaker, text."""
    await shelf.group("corpus", "alice")
    shelf.lines = {}
    for number, speaker, text in said:
        shelf.lines[await shelf.say(text, "corpus", speaker)] = number
    await shelf.settle()


@pytest.fixture
async def irc(tmp_path: Path) -> AsyncIterator[Shelf]:
    lines = IRC.read_text("utf-8").splitlines()
    said = [
        (number, match[1], match[2])
        for number, line in enumerate(lines, 1)
        if (match := _SAID.match(line))
    ]
    async with Shelf(await TantivyIndex.open(tmp_path)).running() as shelf:
        assert isinstance(shelf, Shelf)
        await put(shelf, said)
        yield shelf


@pytest.fixture
async def dialogues(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    """The dialogues of one file: ``language/topic``."""
    lines = (DIALOGUES / f"{request.param}.yml").read_text("utf-8").splitlines()
    said = [
        (number, "alice", match[1].strip("'\""))
        for number, line in enumerate(lines, 1)
        if (match := _LINE.match(line))
    ]
    async with Shelf(await TantivyIndex.open(tmp_path)).running() as shelf:
        assert isinstance(shelf, Shelf)
        await put(shelf, said)
        yield shelf


IRC_TABLE: list[tuple[str, dict[str, Any], list[int]]] = [
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


async def test_a_day_of_irc(irc: Shelf) -> None:
    for text, query, lines in IRC_TABLE:
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
        assert await dialogues.numbers(question) == numbers, question
