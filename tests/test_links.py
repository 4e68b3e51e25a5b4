"""Invite links: who can make one, who can come by it, and that its token is kept nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from timewire import changes
from timewire.asking import ListLinks
from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.client import connect
from timewire.commands import (
    Add,
    Appoint,
    Ban,
    Command,
    Create,
    EndLink,
    Join,
    MakeLink,
    Remove,
    Unban,
)
from timewire.conversation import Conversation, Link
from timewire.errors import Forbidden, Invalid, NotFound, TimewireError
from timewire.model import Created, Linked
from timewire.names import link_of
from timewire.protocol import Ack, LinkPage, LinkState
from timewire.queries import Queries
from timewire.send import Sender
from timewire.testing.servers import serving

TOKEN = "a token of 128 bits or more"
LINK = link_of(TOKEN)
MEMBERS = 6


class Office:
    """A sender with a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000
        self.store = MemoryStore(lambda: self.now)
        self.sender = Sender(
            self.store.log,
            self.store.directory,
            lambda: self.now,
            body_bytes=1000,
            max_members=MEMBERS,
        )
        self.queries = Queries(
            self.store.messages, self.store.directory, lambda: self.now, page_entries=100
        )
        self._ids = 0

    async def ask(self, user: str, command: Command) -> Ack:
        return await self.sender.ask(user, command)

    async def make(self, user: str = "alice", token: str = TOKEN, **more: int | str) -> Ack:
        self._ids += 1
        command = MakeLink(f"make{self._ids}", "team", link_of(token), **more)  # type: ignore[arg-type]
        return await self.ask(user, command)

    async def join(self, user: str, token: str = TOKEN, id: str = "join") -> Ack:
        return await self.ask(user, Join(id, "team", link_of(token), token))

    async def refused(self, user: str, command: Command) -> str:
        with pytest.raises(TimewireError) as caught:
            await self.ask(user, command)
        return caught.value.code

    async def turned_away(self, user: str, token: str = TOKEN) -> str:
        return await self.refused(user, Join("join", "team", link_of(token), token))

    async def team(self) -> Conversation:
        found = await self.store.directory.conversation("team")
        assert found is not None
        return found

    async def links(self, user: str = "alice", after: str = "", limit: int = 100) -> LinkPage:
        page = await self.queries.answer(user, ListLinks("l", "team", after, limit))
        assert isinstance(page, LinkPage)
        return page


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office()
    running = asyncio.create_task(office.sender.run())
    await office.ask("alice", Create("1", "team", ["bob"]))
    await office.ask("alice", Appoint("2", "team", "bob", "admin"))
    yield office
    office.sender.close()
    await running


async def test_who_has_the_token_comes_in_and_is_counted_once(office: Office) -> None:
    await office.make(uses=2)
    first = await office.join("carol")
    assert await office.join("carol") == first, "a repeat is the same"
    await office.join("carol", id="again")  # a member already
    assert (await office.links()).links == [LinkState(LINK, "member", 2, 1, 0)]
    team = await office.team()
    assert team.windows["carol"][0].joined == first.seq
    assert team.role("carol") == "member"


async def test_a_link_ends_with_its_uses_its_time_and_by_hand(office: Office) -> None:
    await office.make(uses=1)
    await office.join("carol")
    assert await office.turned_away("dave") == "link_used_up"
    await office.join("carol", id="again")  # who is in stays in

    await office.make(token="short", expires=2_000)
    office.now = 1_999
    joined = await office.join("dave", "short")
    office.now = 2_000
    assert await office.turned_away("eve", "short") == "link_expired"
    assert await office.join("dave", "short") == joined, "a late repeat is answered as at first"

    await office.make(token="third")
    await office.ask("bob", EndLink("end", "team", link_of("third")))
    assert await office.turned_away("eve", "third") == "unknown_link"
    assert await office.refused("bob", EndLink("2", "team", link_of("third"))) == "unknown_link"


async def test_guesses_are_told_nothing(office: Office) -> None:
    await office.make()
    assert await office.turned_away("eve", "a guess") == "unknown_link"
    assert await office.refused("eve", Join("1", "team", LINK, "a guess")) == "unknown_link"
    assert await office.refused("eve", Join("2", "team", TOKEN, TOKEN)) == "bad_link"
    assert await office.refused("eve", Join("3", "crew", LINK, TOKEN)) == "unknown_conversation"
    assert await office.refused("alice", MakeLink("4", "team", LINK.upper())) == "bad_link"
    assert await office.refused("eve", Join("5", "direct:alice:bob", LINK, TOKEN)) == "not_member"


async def test_owners_and_admins_make_links_and_only_owners_let_in_admins(office: Office) -> None:
    await office.make("bob")
    assert await office.refused("bob", MakeLink("1", "team", LINK, "admin")) == "not_owner"
    await office.make("alice", token="staff", role="admin")
    await office.join("carol", "staff")
    await office.join("dave")
    assert [(await office.team()).role(one) for one in ("carol", "dave")] == ["admin", "member"]
    assert await office.refused("dave", MakeLink("2", "team", LINK)) == "not_admin"
    assert await office.refused("dave", EndLink("3", "team", LINK)) == "not_admin"
    assert await office.refused("eve", MakeLink("4", "team", LINK)) == "not_member"
    assert await office.refused("alice", MakeLink("5", "team", LINK, expires=999)) == "bad_expiry"
    for user, code in (("dave", "not_admin"), ("eve", "not_member")):
        with pytest.raises(Forbidden) as caught:
            await office.links(user)
        assert caught.value.code == code
    # The product's backend may do what owners may, and lets users in like themselves.
    await office.sender.ask("zoe", MakeLink("6", "team", link_of("x"), "admin"), "system")
    await office.sender.ask("zoe", Join("7", "team", link_of("x"), "x"), "system")
    assert (await office.team()).role("zoe") == "admin"


async def test_bans_and_the_most_members_hold_for_links_too(office: Office) -> None:
    await office.make()
    await office.ask("alice", Ban("ban", "team", ["eve"]))
    assert await office.turned_away("eve") == "banned"
    await office.ask("alice", Unban("unban", "team", ["eve"]))
    await office.join("eve")
    await office.ask("alice", Add("add", "team", ["f", "g", "h"]))
    assert await office.turned_away("iris") == "too_many_members"
    await office.ask("eve", Remove("leave", "team", ["eve"]))
    await office.join("iris")
    assert (await office.links()).links[0].used == 2


async def test_links_are_bounded_and_ended_ones_make_room(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("timewire.changes", "timewire.rules"):
        monkeypatch.setattr(f"{module}.MAX_LINKS", 3)
    for n in range(3):
        await office.make(token=f"t{n}", expires=2_000 if n == 0 else 0)
    fourth = MakeLink("4", "team", link_of("t3"))
    assert await office.refused("alice", fourth) == "list_full"
    await office.make(token="t1", uses=5)  # one that is there can be given other limits
    office.now = 2_000
    assert await office.turned_away("eve", "t0") == "link_expired"
    await office.ask("alice", fourth)
    assert await office.turned_away("eve", "t0") == "unknown_link"
    names = sorted(link_of(f"t{n}") for n in (1, 2, 3))
    page = await office.links(limit=2)
    assert ([one.link for one in page.links], page.has_more) == (names[:2], True)
    page = await office.links(after=names[1], limit=2)
    assert ([one.link for one in page.links], page.has_more) == (names[2:], False)
    assert (await office.team()).links[link_of("t1")] == Link("member", 5, 0, 0)


def test_a_link_that_is_made_again_keeps_its_count() -> None:
    team = Conversation.make("team", 1, Created("group", ["alice"]), "alice")
    team.links[LINK] = Link("member", 3, 2)
    changes.apply(team, 2, 10, Linked(LINK, "admin", 5, 99))
    assert team.links == {LINK: Link("admin", 5, 2, 99)}


async def test_a_token_is_kept_nowhere(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as server:
        alice, bob = (
            connect(server.url, mint(server.keys.secret, user), device="d")
            for user in ("alice", "bob")
        )
        async with alice, bob:
            await alice.create("team", title="The team")
            invite = await alice.invite("team", role="admin", uses=1)
            assert invite.link == sha256(invite.token.encode()).hexdigest()
            with pytest.raises(NotFound) as unknown:
                await bob.join("team", "another")
            assert unknown.value.code == "unknown_link"
            await bob.join("team", invite.token)
            assert [(one.name, one.role) for one in await bob.roster("team")] == [
                ("alice", "owner"),
                ("bob", "admin"),
            ]
            assert await bob.links("team") == [LinkState(invite.link, "admin", 1, 1, 0)]
            await alice.uninvite("team", invite.link)
            assert await alice.links("team") == []
            with pytest.raises(Invalid) as caught:
                await alice.uninvite("team", "no hash")
            assert caught.value.code == "bad_link"
            seen = [message async for message in bob.scroll("team", after=0)]
            assert [one.kind for one in seen] == ["members", "unlinked"]
            assert seen[0].body == {"joined": ["bob"], "left": [], "link": invite.link}
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert invite.link.encode() in kept
    assert invite.token.encode() not in kept
