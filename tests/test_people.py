"""One user's data: a copy of it, and its end, which a checkup proves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from timewire import people
from timewire.cli import app
from timewire.client import Client, connect
from timewire.testing.servers import ServerProcess, running_server

CANARY = "canary-9f3b"


def device(server: ServerProcess, user: str) -> Client:
    return connect(server.url, server.token(user), device="laptop")


async def run(*arguments: str, status: int = 0, data: str = "y\n") -> str:
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments, input=data)
    assert result.exit_code == status, result.output
    return result.output


def at(server: ServerProcess) -> tuple[str, ...]:
    return ("--url", server.url, "--data", str(server.data))


async def fill(server: ServerProcess) -> str:
    """Alice says a lot, and so does bob; the name of a file of hers."""
    async with device(server, "alice") as me, device(server, "bob") as bob:
        await bob.create("team", ["alice"])
        await me.create("alone", [])
        first = await me.send("team", f"{CANARY} 1")
        await me.edit("team", first.seq, {"text": f"{CANARY} edited"})
        await asyncio.gather(*(me.post("team", f"{CANARY} many {n}") for n in range(120)))
        await me.send("direct:alice:bob", f"{CANARY} direct")
        await me.send("self:alice", f"{CANARY} note")
        await me.send("alone", f"{CANARY} alone")
        gone = await me.send("team", f"{CANARY} gone")
        await me.recall("team", gone.seq)
        file = await me.upload(f"{CANARY} file".encode())
        await me.send("team", {"media": file.media, "name": "p"}, kind="file")
        said = await bob.send("team", "said by bob")
        await me.mark_read("team", said.seq)
        await me.hide("team", said.seq)
        await me.react("team", said.seq, "👍")
        await me.react("team", said.seq, "🎉")
        await bob.react("team", said.seq, "👍")
        await me.block("carol")
        await bob.send("direct:alice:bob", "to alice")
    return file.media


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


async def test_a_copy(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        medium = await fill(server)
        shown = await run("user", "export", "alice", str(tmp_path / "all"), *at(server))
        await run("user", "export", "alice", str(tmp_path / "own"), "--own", *at(server))
        await run("user", "export", "alice", str(tmp_path / "own"), *at(server), status=1)
    every, own = (lines(tmp_path / name / "messages.jsonl") for name in ("all", "own"))
    assert f"{len(every)} messages, 1 media" in shown
    texts = [m["body"].get("text") for m in every if m.get("kind") == "text"]
    assert "said by bob" not in texts  # she has hidden it
    assert "to alice" in texts
    assert sum(text.startswith(f"{CANARY} many") for text in texts) == 120
    assert f"{CANARY} edited" in texts
    assert {m["from"] for m in own if m.get("from")} == {"alice"}
    assert len(own) < len(every)
    assert (tmp_path / "all" / "media" / medium).read_text() == f"{CANARY} file"
    names = {c["conversation"] for c in lines(tmp_path / "all" / "conversations.jsonl")}
    assert names >= {"team", "alone", "direct:alice:bob", "self:alice"}
    assert json.loads((tmp_path / "own" / "user.json").read_text())["own"] is True


async def test_an_end_that_a_checkup_proves(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        await fill(server)
        look = ("doctor", "--data", str(server.data), "--erased", "alice")
        before = await run(*look, status=1)
        assert "is from alice" in before
        await run("user", "erase", "alice", *at(server), data="n\n", status=1)
        shown = await run("user", "erase", "alice", "--yes", *at(server))
        assert "125 messages recalled" in shown
        # Broken off and repeated, it does no more.
        assert "0 messages recalled" in await run("user", "erase", "alice", "--yes", *at(server))
        async with device(server, "bob") as bob:
            page = await bob.history("team", limit=500)
            left = [m.body["text"] for m in page.messages if m.kind == "text"]
            assert left == ["said by bob"]
            assert [m.reactions for m in page.messages if m.reactions] == [{"👍": ["bob"]}]
            assert "alice" not in await bob.members("team")
            found = await bob.search("canary", wait_for=page.messages[0].seq)
            assert found.hits == []
        await server.stop()
        kept = await run(*look, status=1)
        assert "is from alice" not in kept
        assert "has a reaction" not in kept
        assert "a device of alice is kept" in kept
        assert "a read mark of alice is kept" in kept
        assert "a block of alice is kept" in kept
        await run(*look, "--repair")
        assert "nothing is wrong" in await run(*look)
        # The server goes on with what is left.
        await server.start()
        async with device(server, "bob") as bob:
            await bob.send("team", "after")


async def test_a_kill_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "MAX_RECALLS", 8)
    async with running_server(tmp_path / "data") as server:
        await fill(server)
        erasing = asyncio.create_task(
            people._erase("alice", server.url, people.admin.find_key(str(server.data)))
        )
        await asyncio.sleep(0.1)
        await server.restart()
        await asyncio.gather(erasing, return_exceptions=True)
        await run("user", "erase", "alice", "--yes", *at(server))
        await server.stop()
        shown = await run("doctor", "--data", str(server.data), "--erased", "alice", status=1)
        assert "is from alice" not in shown


async def test_the_last_owner_has_to_hand_over(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        async with device(server, "alice") as me:
            await me.create("team", ["bob"])
            await me.send("team", CANARY)
        shown = await run("user", "erase", "alice", "--yes", *at(server), status=1)
        assert "1 messages recalled" in shown
        assert "last owner of team" in shown


@pytest.mark.parametrize("command", ["export", "erase"])
async def test_the_help_shows_how_to_use_them(command: str) -> None:
    assert f"timewire user {command}" in await run("user", command, "--help")
