"""The examples run as they are, and print what they say."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(name: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_timeline_feed() -> None:
    lines = [line.strip() for line in run("timeline_feed.py")]
    assert lines == [
        "bob's home:",
        "cleo: Hello from Alexandria.",
        "bob: First!",
        "ada: The engine weaves algebraic patterns.",
        "cleo's home:",
        "cleo: Hello from Alexandria.",
        "ada: The engine weaves algebraic patterns.",
    ]


def test_timeline_feed_repeats_nothing_in_the_same_directory(tmp_path: Path) -> None:
    first = run("timeline_feed.py", str(tmp_path / "data"))
    again = run("timeline_feed.py", str(tmp_path / "data"))
    assert [line for line in first if "First!" not in line] == [
        line for line in again if "First!" not in line
    ]


def test_timeline_live_comments() -> None:
    assert run("timeline_live_comments.py") == [
        "early viewer: 80 comments, up to 80, older ones gone: False",
        "late viewer: 100 comments, up to 250, older ones gone: True",
    ]


@pytest.mark.parametrize(("viewers", "comments"), [(10, 240)])
def test_danmaku(viewers: int, comments: int) -> None:
    lines = run("danmaku/run.py", "--viewers", str(viewers), "--comments", str(comments))
    [seen] = [int(line.split()[1]) for line in lines if line.startswith("seen ")]
    # How long it took is the machine's affair: it shows at most so many a second.
    assert 0 < seen <= comments
    lines.remove(f"seen {seen}")
    assert lines == [
        f"{viewers} viewers, {comments} comments, 20 a second are shown",
        "everybody has seen the same: True",
        "what was taken back is shown by nobody: True",
        "who comes late may read from now on: 0",
        "who has left says nothing: not_member",
    ]


def test_feed() -> None:
    lines = [line.strip() for line in run("feed/run.py", "--followers", "110")]
    assert lines == [
        "bob's home:",
        "world: news one",
        "engines: The engine weaves algebraic patterns.",
        "world: news two",
        "poems: Imagination is the discovering faculty.",
        "world: news three",
        "nothing new: []",
        "a follower does not post: not_admin",
        "unread in the large channel: 3",
        "after leaving the large one:",
        "poems: Again.",
    ]
