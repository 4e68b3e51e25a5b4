"""The search index alone, beside SQLite's FTS5 (trigram) on the same messages in the same run.

Messages are put together from halves of real chat lines: English from a day of IRC, and a quarter
of them Chinese.  They stand in many conversations, of which one user is in all.
"""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

from bench.stats import Latencies
from timewire.backends.tantivy import TantivyIndex
from timewire.finding import Inquiry, Scope, Wanted
from timewire.model import Stored, encode_stored
from timewire.search.documents import document
from timewire.search.questions import parse

CONVERSATIONS: Final = 5_000
PIECE: Final = 1_000
COMMIT: Final = 10_000
REPEATS: Final = 100
HITS: Final = 20
RARE: Final = 20
"""Messages that have the rare word."""

ENGLISH: Final = Path(__file__).parents[1] / "examples" / "data" / "ubuntu-irc-2004-12-25.txt"
CHINESE: Final = (
    "我们明天下午去北京开会，你来吗？",
    "这个功能已经上线了，大家测试一下。",
    "服务器昨天晚上重启过，日志在共享目录里",
    "你吃饭了吗？我在楼下等你",
    "好的，没问题，我马上处理",
    "请把最新的设计文档发给我看看",
    "周末天气不错，要不要一起去爬山",
    "数据库的索引建好以后查询快多了",
    "机器人不允许撒谎，你知道的",
    "谁有时间帮我看一下这个错误",
)
QUESTIONS: Final = {
    "rare": "zyzzyva",
    "common": "the",
    "phrase": '"how do i"',
    "chinese": "吗",
}

Ask = Callable[[], Awaitable[int]]


def texts(count: int) -> list[str]:
    """What is said, the same in every run."""
    chance = random.Random(7)
    english = re.findall(r"^\[[\d:]+\] <[^>]+> (.{15,})$", ENGLISH.read_text("utf-8"), re.M)
    made: list[str] = []
    for n in range(count):
        lines = CHINESE if n % 4 == 0 else english
        first, second = chance.choice(lines), chance.choice(lines)
        made.append(first[: len(first) // 2] + second[len(second) // 2 :])
        if n % (count // RARE) == 0:
            made[-1] += " zyzzyva"
    return made


async def search(_: float, *, messages: int) -> dict[str, float]:
    """Documents a second, and how long questions take, of both."""
    said = texts(messages)
    with tempfile.TemporaryDirectory(prefix="timewire-bench-") as directory:
        found = await _timewire(Path(directory) / "index", said)
        found |= {f"fts5_{key}": value for key, value in await _fts5(directory, said)}
    return found


# Timewire ----------------------------------------------------------------------------------------


async def _timewire(path: Path, said: Sequence[str]) -> dict[str, float]:
    index = await TantivyIndex.open(path)
    began = perf_counter()
    for start in range(0, len(said), PIECE):
        piece = enumerate(said[start : start + PIECE], start + 1)
        stored = [_stored(seq, text) for seq, text in piece]
        await index.stage([made for one in stored if (made := document(one, 1))])
        if (start + PIECE) % COMMIT == 0:
            await index.commit(start + PIECE, "e")
    await index.commit(len(said), "e")
    found = {"documents_per_s": len(said) / (perf_counter() - began)}
    found["bytes_each"] = _size(path) / len(said)
    names = [f"c{n}" for n in range(CONVERSATIONS)]
    scopes = {
        "one": Scope(frozenset({_stored(1, "").conversation})),
        "": Scope(frozenset(names)),
        "joined": Scope(audiences=frozenset((name, 1) for name in names)),
    }
    for name, text in QUESTIONS.items():
        found |= await _measure(name, _asking(index, text, scopes[""]))
    for scope in ("one", "joined"):
        found |= await _measure(f"rare_{scope}", _asking(index, "zyzzyva", scopes[scope]))
    await index.aclose()
    return found


def _stored(seq: int, text: str) -> Stored:
    payload = encode_stored(f"user{seq % 997}", f"m{seq}", "text", {"text": text})
    return Stored(seq, seq, f"c{seq % CONVERSATIONS}", payload)


def _asking(index: TantivyIndex, text: str, scope: Scope) -> Ask:
    inquiry = Inquiry(Wanted(parse(text).wanted), scope)

    async def ask() -> int:
        return len(await index.search(inquiry, limit=HITS))

    return ask


# SQLite ------------------------------------------------------------------------------------------


async def _fts5(directory: str, said: Sequence[str]) -> list[tuple[str, float]]:
    base = sqlite3.connect(f"{directory}/fts5.db")
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("CREATE VIRTUAL TABLE said USING fts5(text, tokenize = 'trigram')")
    began = perf_counter()
    for start in range(0, len(said), COMMIT):
        with base:
            rows = enumerate(said[start : start + COMMIT], start + 1)
            base.executemany("INSERT INTO said(rowid, text) VALUES (?, ?)", rows)
    base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    took = perf_counter() - began
    found = [("documents_per_s", len(said) / took)]
    found.append(("bytes_each", Path(f"{directory}/fts5.db").stat().st_size / len(said)))
    match = "SELECT rowid FROM said WHERE said MATCH ? ORDER BY rowid DESC LIMIT ?"
    # Fewer than three characters are no trigram: it has to look at everything.
    scan = "SELECT rowid FROM said WHERE instr(text, ?) ORDER BY rowid DESC LIMIT ?"
    for name, text in QUESTIONS.items():
        query, asked = (scan, text) if name == "chinese" else (match, f'"{text.strip(chr(34))}"')
        times = await _measure(name, _selecting(base, query, asked))
        found += list(times.items())
    base.close()
    return found


def _selecting(base: sqlite3.Connection, query: str, text: str) -> Ask:
    async def ask() -> int:
        return len(base.execute(query, (text, HITS)).fetchall())

    return ask


# Both --------------------------------------------------------------------------------------------


async def _measure(name: str, ask: Ask) -> dict[str, float]:
    latencies = Latencies()
    if not await ask():
        raise RuntimeError(f"nothing was found for {name}")
    for _ in range(REPEATS):
        began = perf_counter()
        await ask()
        latencies.add(perf_counter() - began)
        await asyncio.sleep(0)
    return {
        f"{name}_p50_ms": latencies.percentile_ms(50),
        f"{name}_p99_ms": latencies.percentile_ms(99),
    }


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
