"""The forwarder, with a leader that answers as a test wants, over a real NATS server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg

from timewire.backends.jetstream import LogStream, Names, View, connect, init
from timewire.backends.jetstream.connection import end, subscribe
from timewire.cluster import forwarder as forwarders
from timewire.cluster.asking import Answer, Question, Told, decode_question, encode
from timewire.cluster.forwarder import Forwarder
from timewire.commands import Send
from timewire.errors import TimewireError, error

Reply = Callable[[Question], Sequence[Told] | None]


class Site:
    """A forwarder and its leader; ``reply`` says what that answers, None for nothing."""

    def __init__(self, client: Client, names: Names, view: View) -> None:
        self.client = client
        self.view = view
        self.forwarder = Forwarder(client, names, view, "gateway")
        self.questions: list[Question] = []
        self.reply: Reply = lambda question: None
        self.leader = ""
        self.late: asyncio.Future[None] | None = None

    async def take(self, message: Msg) -> None:
        question = decode_question(message.data)
        self.questions.append(question)
        outcomes = self.reply(question)
        if outcomes is not None:
            answer = Answer(question.number, self.leader, list(outcomes))
            await self.client.publish(message.reply, encode(answer))

    async def send(self, id: str) -> str:
        try:
            ack = await self.forwarder.ask("alice", Send(id, "self:alice", {"text": id}))
        except TimewireError as fault:
            return fault.code
        return f"at {ack.seq}"


@pytest_asyncio.fixture
async def site(
    nats_url: str, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Site]:
    monkeypatch.setattr(forwarders, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(forwarders, "GIVE_UP_S", 2.0)
    monkeypatch.setattr(forwarders, "SEEN_TIMEOUT_S", 0.05)
    client = await connect(nats_url, "test")
    epoch = (await init(client, names, 1)).epoch
    view = await View.open(LogStream(client, names), tmp_path / "view", epoch, reserve_mb=0)
    site = Site(client, names, view)
    task = asyncio.create_task(site.forwarder.run())
    yield site
    await end(task)
    await view.aclose()
    await client.close()


async def test_without_a_leader_nothing_has_happened(site: Site) -> None:
    assert await site.send("1") == "cluster_unavailable"
    assert not site.forwarder.leader_answers


async def test_a_leader_that_never_answers_may_have_done_it(site: Site, names: Names) -> None:
    await subscribe(site.client, names.ask, site.take)
    assert await site.send("1") == "outcome_unknown"
    assert len({question.number for question in site.questions}) == 1
    assert len(site.questions) > 1


async def test_requests_keep_their_order(site: Site, names: Names) -> None:
    await subscribe(site.client, names.ask, site.take)
    site.reply = lambda question: [Told(n + 1) for n, _ in enumerate(question.requests)]
    found = await asyncio.gather(*(site.send(str(number)) for number in range(50)))
    asked = [asked.command for question in site.questions for asked in question.requests]
    assert [command.id for command in asked if command] == [str(number) for number in range(50)]
    assert all(one.startswith("at ") for one in found)


async def test_a_refusal_for_now_of_a_second_question_is_no_news_of_the_first(
    site: Site, names: Names
) -> None:
    await subscribe(site.client, names.ask, site.take)
    refused = [Told.of(error("storage_unavailable"))]
    site.reply = lambda question: refused if len(site.questions) > 1 else None
    assert await site.send("1") == "outcome_unknown"
    site.reply = lambda question: refused
    assert await site.send("2") == "storage_unavailable"
    site.reply = lambda question: [Told.of(error("not_member"))]
    assert await site.send("3") == "not_member"


async def test_an_old_leader_is_not_heard(site: Site, names: Names) -> None:
    await subscribe(site.client, names.ask, site.take)
    site.view.leader = "new"
    site.leader = "old"
    site.reply = lambda question: [Told.of(error("not_member"))]
    assert await site.send("1") == "outcome_unknown"


async def test_after_close_all_is_refused(site: Site) -> None:
    site.forwarder.close()
    assert await site.send("1") == "shutting_down"


async def test_that_nobody_heard_an_earlier_try_is_no_news_of_this_one(
    site: Site, names: Names
) -> None:
    await subscribe(site.client, names.ask, site.take)
    refused = [Told.of(error("storage_unavailable"))]

    def reply(question: Question) -> Sequence[Told] | None:
        if len(site.questions) > 1:
            return refused
        # What the server says when nobody listens, late: it is about a try before.
        late = {"Status": "503"}
        told = site.client.publish(f"{names.answers}.gateway.0", b"", headers=late)
        site.late = asyncio.ensure_future(told)
        return None

    site.reply = reply
    assert await site.send("1") == "outcome_unknown"
