"""The desk of a leader, with real leads: questions come twice, late, and from several gateways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import count
from pathlib import Path

import nats.errors
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from timewire import parts
from timewire.access import MediaAccess
from timewire.attachments import Attachments
from timewire.backends.jetstream import Lead, LogStream, Names, View, connect, init
from timewire.backends.jetstream.connection import end, subscribe, unsubscribe
from timewire.backends.jetstream.records import Carried
from timewire.clock import wall_clock
from timewire.cluster import desk as desks
from timewire.cluster.asking import Asked, Question, Told, decode_answer, encode
from timewire.cluster.desk import Desk
from timewire.commands import Add, Command, Create, Send
from timewire.config import Config
from timewire.model import MEDIA_LOG, Draft, Uploaded, decode_stored, encode_change

GROUP = "team"
PATIENCE_S = 5.0
FOUND = ("alice", Create("found", GROUP, ["alice"], ""))
ADD_BOB = ("alice", Add("add", GROUP, ["bob"]))


class Site:
    """A stream with one leader at a time, and gateways that ask it.

    ``ask`` is what a gateway asks: the answer, or None when none comes.
    """

    def __init__(self, client: Client, names: Names, view: View, path: Path) -> None:
        self.client = client
        self.names = names
        self.view = view
        self.path = path
        self.numbers = count(1)
        self.lead: Lead | None = None
        self.attachments: Attachments | None = None
        self.tasks: list[asyncio.Task[None]] = []
        self.listening: Subscription | None = None

    async def begin(self) -> None:
        """A new leader begins, the old one is gone."""
        await self.end()
        await self.view.catch_up()
        name = f"leader-{next(self.numbers)}"
        stream = LogStream(self.client, self.names)
        lead = await Lead.take(stream, self.view, self.path / name, wall_clock, name, reserve_mb=0)
        assert lead is not None
        self.lead, store = lead, lead.store
        access = MediaAccess(store.media, store.directory, store.log, wall_clock)
        sender = parts.sender(Config(), store, access, wall_clock)
        config = Config(data=str(self.path / f"{name}-media"))
        self.attachments = parts.attachments(config, store, access, wall_clock)
        desk = Desk(self.client, name, store.log, sender, self.attachments)
        await desk.load(store.messages)
        self.tasks = [asyncio.create_task(sender.run())]
        self.listening = await subscribe(self.client, self.names.ask, desk.take)

    async def end(self) -> None:
        if self.lead is not None and self.listening is not None:
            await unsubscribe(self.listening)
            await end(*self.tasks)
            await self.lead.aclose()

    async def ask(self, gateway: str, number: int, *asked: tuple[str, Command]) -> list[Told]:
        """What a gateway asks, and is told."""
        requests = [Asked(user, command) for user, command in asked]
        question = encode(Question(number, requests, gateway))
        reply = await self.client.request(self.names.ask, question, PATIENCE_S)
        answer = decode_answer(reply.data)
        assert answer.number == number
        return answer.outcomes

    async def in_the_group(self) -> list[str]:
        """The ids of all that the group's log holds."""
        await self.view.catch_up()
        stored = [one for one in await self.view.store.log.read(0) if one.conversation == GROUP]
        return [decode_stored(one.payload).id for one in stored]


@pytest_asyncio.fixture
async def site(nats_url: str, names: Names, tmp_path: Path) -> AsyncGenerator[Site]:
    client = await connect(nats_url, "test")
    epoch = (await init(client, names, 1)).epoch
    view = await View.open(LogStream(client, names), tmp_path / "view", epoch, reserve_mb=0)
    site = Site(client, names, view, tmp_path)
    await site.begin()
    yield site
    await site.end()
    await view.aclose()
    await client.close()


def said(id: str) -> tuple[str, Command]:
    return "bob", Send(id, GROUP, {"text": id})


async def test_a_gateway_that_stood_still_does_nothing_that_was_refused(site: Site) -> None:
    await site.ask("new", 1, FOUND)
    [no] = await site.ask("new", 2, said("hello"))
    assert no.code == "not_member"
    await site.ask("new", 3, ADD_BOB)

    # It has had the command all the time, and asks only now.
    [late] = await site.ask("old", 1, said("hello"))
    assert (late.code, late.fields) == (no.code, no.fields)
    [other] = await site.ask("old", 2, said("hello again"))
    assert other.code == ""
    assert await site.in_the_group() == ["found", "add", "hello again"]


async def test_nor_does_the_next_leader(site: Site) -> None:
    [_, no] = await site.ask("new", 1, FOUND, said("hello"))
    await site.ask("new", 2, ADD_BOB)
    await site.begin()
    [late] = await site.ask("old", 1, said("hello"))
    assert (late.code, late.message) == ("not_member", no.message)
    assert await site.in_the_group() == ["found", "add"]


async def test_in_one_question_too_the_first_answer_holds(site: Site) -> None:
    told = await site.ask("one", 1, FOUND, said("x"), ADD_BOB, said("x"), said("y"))
    assert [one.code for one in told] == ["", "not_member", "", "not_member", ""]
    assert await site.in_the_group() == ["found", "add", "y"]


async def test_a_refused_id_is_used(site: Site) -> None:
    """Whatever else it names now, which no client does."""
    [_, no, yes] = await site.ask("one", 1, FOUND, said("x"), ADD_BOB)
    assert (no.code, yes.code) == ("not_member", "")
    own = ("bob", Send("x", "self:bob", {"text": "x"}))
    assert [one.code for one in await site.ask("one", 2, own)] == ["not_member"]


async def test_a_question_that_is_asked_again_is_answered_as_before(site: Site) -> None:
    first = await site.ask("one", 1, FOUND, ADD_BOB, said("1"))
    assert await site.ask("one", 1, FOUND, ADD_BOB, said("1")) == first
    second = await site.ask("two", 1, said("2"))
    assert [one.repeated for one in [*first, *second]] == [False] * 4
    assert await site.in_the_group() == ["found", "add", "1", "2"]


async def test_an_old_question_gets_no_answer(site: Site) -> None:
    await site.ask("one", 2, FOUND, ADD_BOB)
    question = encode(Question(1, [Asked(*said("old"))], "one"))
    with pytest.raises(nats.errors.TimeoutError):
        await site.client.request(site.names.ask, question, 0.2)
    assert await site.in_the_group() == ["found", "add"]
    # Nor does it make the newest one forgotten.
    assert len(await site.ask("one", 2, FOUND, ADD_BOB)) == 2


async def test_so_many_gateways_are_known(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "MAX_GATEWAYS", 2)
    for gateway in ("one", "two", "three"):
        await site.ask(gateway, 1, FOUND)
    assert (await site.ask("one", 1, FOUND, ADD_BOB))[1].code == ""
    assert await site.in_the_group() == ["found", "add"]


async def test_what_is_no_question_is_let_go(site: Site) -> None:
    await site.client.publish(site.names.ask, b"?")
    assert [one.code for one in await site.ask("one", 1, FOUND)] == [""]


async def test_an_upload_waits_while_its_file_is_swept(site: Site) -> None:
    name = "a" * 64
    change = Uploaded(name, 4, "text/plain")
    draft = Draft(MEDIA_LOG, "alice", "", encode_change("alice", "", change), change)
    question = encode(Question(1, [Asked("alice", None, draft=Carried.of(draft))], "one"))
    assert site.attachments is not None
    async with site.attachments.lock(name):
        asked = asyncio.create_task(site.client.request(site.names.ask, question, PATIENCE_S))
        assert [one.code for one in await site.ask("two", 1, FOUND)] == [""]
        assert not asked.done()
    [told] = decode_answer((await asked).data).outcomes
    assert (told.code, told.seq) == ("", 2)
