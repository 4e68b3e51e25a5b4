"""Leads and views on one stream: who may append, and what a view then holds."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.client import Client

from timewire.backends.jetstream import Lead, LogStream, Names, View, connect, init
from timewire.backends.jetstream.records import FORMAT, Record, encode
from timewire.backends.jetstream.stream import News, Overtaken
from timewire.clock import wall_clock
from timewire.errors import TimewireError
from timewire.model import Draft, Receipt, encode_stored
from timewire.testing.contracts.logs import plain
from timewire.testing.devices import eventually


def draft(id: str, text: str = "hello") -> Draft:
    return Draft("team", "alice", id, encode_stored("alice", id, "text", {"text": text}))


class Site:
    """A stream, with as many views and leads as a test wants."""

    def __init__(self, client: Client, names: Names, path: Path, epoch: str) -> None:
        self.stream = LogStream(client, names)
        self.path = path
        self.epoch = epoch
        self.open = AsyncExitStack()

    async def view(self, name: str) -> View:
        view = await View.open(self.stream, self.path / name, self.epoch, reserve_mb=0)
        self.open.push_async_callback(view.aclose)
        await view.catch_up()
        return view

    async def lead(self, name: str, view: View) -> Lead | None:
        path = self.path / f"lead-{name}"
        lead = await Lead.take(self.stream, view, path, wall_clock, name, reserve_mb=0)
        if lead is not None:
            self.open.push_async_callback(lead.aclose)
        return lead

    async def leading(self, name: str) -> Lead:
        lead = await self.lead(name, await self.view(f"view-of-{name}"))
        assert lead is not None
        return lead


@pytest_asyncio.fixture
async def site(nats_url: str, names: Names, tmp_path: Path) -> AsyncGenerator[Site]:
    client = await connect(nats_url, "test")
    site = Site(client, names, tmp_path, (await init(client, names, 1)).epoch)
    yield site
    await site.open.aclose()
    await client.close()


def code(fault: object) -> str:
    assert isinstance(fault, TimewireError)
    return fault.code


# The lead ----------------------------------------------------------------------------------------


async def test_what_a_leader_appends_is_in_every_view(site: Site) -> None:
    lead = await site.leading("one")
    receipts = await lead.store.log.append([draft("1"), draft("2")])

    view = await site.view("reader")
    assert view.position == 2
    assert view.leader == "one"
    stored = plain(await view.store.log.read(0))
    assert stored == plain(await lead.store.log.read(0))
    assert [one[0] for one in stored] == [r.seq for r in receipts if isinstance(r, Receipt)]


async def test_of_two_who_want_to_lead_one_does(site: Site) -> None:
    one, two = await site.view("one"), await site.view("two")
    leads = await asyncio.gather(site.lead("one", one), site.lead("two", two))
    assert sum(lead is not None for lead in leads) == 1


async def test_an_old_leader_can_append_no_more(site: Site) -> None:
    old = await site.leading("old")
    await old.store.log.append([draft("1")])
    new = await site.leading("new")

    with pytest.raises(TimewireError) as raised:
        await old.store.log.append([draft("2", "old")])
    assert raised.value.code == "outcome_unknown"
    assert old.over.is_set()
    with pytest.raises(TimewireError):
        await old.store.log.append([draft("3", "old")])

    await new.store.log.append([draft("2", "new")])
    view = await site.view("reader")
    texts = [message.payload for message in await view.store.log.read(0)]
    assert texts == [draft("1").payload, draft("2", "new").payload]


async def test_ids_are_known_to_the_next_leader(site: Site) -> None:
    old = await site.leading("old")
    [first] = await old.store.log.append([draft("1")])
    new = await site.leading("new")
    [again] = await new.store.log.append([draft("1")])
    assert not isinstance(first, TimewireError)
    assert not isinstance(again, TimewireError)
    assert (again.seq, again.time, again.repeated) == (first.seq, first.time, True)


async def test_the_leaders_store_is_thrown_away(site: Site) -> None:
    lead = await site.leading("one")
    await lead.store.log.append([draft("1")])
    await lead.aclose()
    assert not (site.path / "lead-one").exists()


async def test_more_than_fits_in_a_record(site: Site) -> None:
    lead = await site.leading("one")
    drafts = [draft(str(n), "x" * 100_000) for n in range(30)]
    await lead.store.log.append(drafts)
    assert (await site.stream.bounds()).last > 3
    view = await site.view("reader")
    assert [m.payload for m in await view.store.log.read(0)] == [one.payload for one in drafts]


# The stream --------------------------------------------------------------------------------------


async def test_an_append_whose_answer_was_lost_is_found(site: Site) -> None:
    first = await site.stream.append(b"one", 0, "id-1")
    assert first == 1
    assert await site.stream.append(b"one", 0, "id-1") == 1
    with pytest.raises(Overtaken):
        await site.stream.append(b"two", 0, "id-2")
    assert (await site.stream.get(1)).data == b"one"
    assert [kept.data for kept in await site.stream.read(1)] == [b"one"]
    assert await site.stream.read(2) == []


async def test_news_with_holes() -> None:
    class Heard:
        def __init__(self, sequence: int) -> None:
            self.headers = {"Nats-Sequence": str(sequence)}
            self.data = b"%d" % sequence

    news = News()
    for sequence in (2, 3, 5):
        await news.take(Heard(sequence))  # pyright: ignore[reportArgumentType]
    assert news.next(1) == []
    assert news.next(2) == [(2, b"2"), (3, b"3")]
    assert news.next(4) == []
    assert news.next(5) == [(5, b"5")]


# Views -------------------------------------------------------------------------------------------


async def test_a_view_goes_on_where_it_was(site: Site) -> None:
    lead = await site.leading("one")
    view = await site.view("reader")
    await view.aclose()
    for number in range(5):
        await lead.store.log.append([draft(str(number))])
    for rounds in range(3):
        again = await site.view("reader")
        assert again.position == 5 + rounds
        await again.aclose()
        await lead.store.log.append([draft(f"more-{rounds}")])


async def test_a_running_view_follows(site: Site) -> None:
    view = await site.view("reader")
    following = asyncio.create_task(view.run())
    lead = await site.leading("one")
    await lead.store.log.append([draft("1")])
    await view.reach(1)
    await lead.store.log.append([draft("2")])
    await view.fresh()
    assert view.position == 2
    following.cancel()


async def test_a_view_of_another_log_does_not_fit(site: Site) -> None:
    view = await site.view("reader")
    await view.aclose()
    with pytest.raises(TimewireError) as raised:
        await View.open(site.stream, site.path / "reader", "another", reserve_mb=0)
    assert raised.value.code == "directory_unusable"


async def test_a_view_that_is_ahead_of_the_log_does_not_fit(
    site: Site, nats_url: str, names: Names
) -> None:
    lead = await site.leading("one")
    await lead.store.log.append([draft("1"), draft("2")])
    await (await site.view("reader")).aclose()
    client = site.stream.client
    await client.request(f"$JS.API.STREAM.PURGE.{names.stream}", b"")
    with pytest.raises(TimewireError) as raised:
        await View.open(site.stream, site.path / "reader", site.epoch, reserve_mb=0)
    assert raised.value.code == "directory_unusable"
    assert "removed" in raised.value.fields["reason"]


async def test_a_record_that_does_not_follow_stops_a_view(site: Site) -> None:
    view = await site.view("reader")
    await site.stream.append(encode(Record(FORMAT, "liar", 100, [])), 0, "liar")
    with pytest.raises(TimewireError) as raised:
        await view.catch_up()
    assert raised.value.code == "directory_unusable"


async def test_a_view_that_was_lost_is_made_again(site: Site) -> None:
    lead = await site.leading("one")
    await lead.store.log.append([draft(str(n)) for n in range(50)])
    first = await site.view("reader")
    await first.aclose()
    shutil.rmtree(site.path / "reader")
    assert (await site.view("reader")).position == 50


async def test_waiting_for_more_than_there_is(site: Site) -> None:
    view = await site.view("reader")
    waiting = asyncio.create_task(view.reach(1))
    following = asyncio.create_task(view.run())
    lead = await site.leading("one")
    assert not waiting.done()
    await lead.store.log.append([draft("1")])
    await eventually(waiting.done)
    following.cancel()
