"""What becomes of a message becomes of its being found: edits, recalls, hiding, leaving."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import timewire
from timewire.auth import mint
from timewire.client import Client
from timewire.server import Server
from timewire.testing.servers import serving


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path / "data") as running:
        yield running


def device(server: Server, user: str) -> Client:
    return timewire.connect(server.url, mint(server.keys.secret, user), device="phone")


async def found(me: Client, text: str, wait_for: int = 0) -> list[int]:
    return [hit.message.seq for hit in (await me.search(text, wait_for=wait_for)).hits]


async def test_an_edit_is_found_by_what_it_says_now(server: Server) -> None:
    async with device(server, "alice") as alice, device(server, "bob") as bob:
        await alice.create("team", ["bob"])
        sent = await alice.send("team", "the harbour at dawn")
        assert await found(bob, "harbour", sent.seq) == [sent.seq]
        edit = await alice.edit("team", sent.seq, "the station at dusk")
        # At once: what is shown is checked against the store, however far the index is.
        assert await found(bob, "harbour") == []
        assert await found(bob, "station", edit.seq) == [sent.seq]


async def test_a_recalled_message_is_found_by_nobody_from_its_ack_on(server: Server) -> None:
    async with device(server, "alice") as alice, device(server, "bob") as bob:
        await alice.create("team", ["bob"])
        sent = await alice.send("team", "a slip of the tongue")
        assert await found(bob, "tongue", sent.seq) == [sent.seq]
        await alice.recall("team", sent.seq)
        assert await found(bob, "tongue") == []
        assert await found(alice, "tongue") == []


async def test_what_one_has_hidden_others_still_find(server: Server) -> None:
    async with device(server, "alice") as alice, device(server, "bob") as bob:
        await alice.create("team", ["bob"])
        sent = await alice.send("team", "quarterly figures")
        assert await found(bob, "figures", sent.seq) == [sent.seq]
        await bob.hide("team", sent.seq)
        assert await found(bob, "figures") == []
        assert await found(alice, "figures") == [sent.seq]


async def test_who_has_left_finds_what_was_said_then_and_not_what_was_made_of_it(
    server: Server,
) -> None:
    async with device(server, "alice") as alice, device(server, "bob") as bob:
        await alice.create("team", ["bob"])
        sent = await alice.send("team", "plans for the bridge")
        await alice.remove("team", ["bob"])
        later = await alice.send("team", "plans for the tunnel")
        assert await found(bob, "plans", later.seq) == [sent.seq]
        await alice.edit("team", sent.seq, "plans for the ferry")
        assert await found(bob, "ferry") == []
