"""The examples run as they are, and print what they say."""

import subprocess
import sys
from pathlib import Path

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
