"""What the READMEs show works as it is written."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import timewire
from timewire.testing.servers import running_server

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.zh.md")


def blocks(name: str, language: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def code(name: str) -> list[str]:
    """The Python blocks without their comments, which are in the README's language."""
    return [re.sub(r" *#.*", "", block) for block in blocks(name, "python")]


def test_both_readmes_show_the_same_code() -> None:
    first, second = (code(name) for name in READMES)
    assert first == second
    assert len(first) == 2


async def test_the_sdk_example_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with running_server(tmp_path / "data") as server:
        names: dict[str, Any] = {}
        source = blocks("README.md", "python")[0].replace('"bob.db"', repr(str(tmp_path / "bob")))
        exec(compile(source, "README.md", "exec"), names)
        await names["main"](server.url, server.token("alice"), server.token("bob"))
    assert capsys.readouterr().out.splitlines() == ["stored as 2", "alice says hello"]


async def test_the_library_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = blocks("README.md", "python")[1].splitlines()
    body = "\n".join(["async def main():", *(f"    {line}" for line in lines), "    return page"])
    names: dict[str, Any] = {"timewire": timewire}
    exec(compile(body, "README.md", "exec"), names)
    page = await names["main"]()
    assert [entry.payload for entry in page.entries] == [b"..."]


@pytest.mark.parametrize("name", READMES)
def test_commands_and_targets_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = 0
    for line in "".join(blocks(name, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        if words[:1] == ["timewire"]:
            commands += 1
            shown = subprocess.run(
                [sys.executable, "-m", "timewire", words[1], "--help"],
                capture_output=True,
                check=True,
                text=True,
                env={"PATH": "/usr/bin", "COLUMNS": "200", "NO_COLOR": "1"},
            ).stdout
            assert all(word in shown for word in words[2:] if word.startswith("--")), line
    assert commands >= 3


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
