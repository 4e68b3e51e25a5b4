"""Sync by long poll: nothing missed, nothing twice, nobody waits for ever."""

import asyncio
from typing import Any

import pytest

from timewire.api import waiters
from timewire.api.waiters import Waiter, Waiters
from timewire.backends.memory import MemoryStore
from timewire.errors import TimewireError
from timewire.inbox import Delivery
from timewire.metrics import POLLS
from timewire.model import Stored

SOON_S = 20


async def poll(http: Any, cursor: Any, wait: int = 0) -> Any:
    answer = await http.get("/v1/sync", wait=wait, **cursor)
    assert answer.status == 200
    return answer.json


async def waiting(count: int) -> None:
    """Until this many long polls are under way."""
    async with asyncio.timeout(SOON_S):
        while POLLS._value.get() != count:  # noqa: ASYNC110 (the gauge has no event)
            await asyncio.sleep(0.01)


async def test_without_a_cursor_one_starts_at_the_head(http: Any) -> None:
    alice = http.user("alice")
    await alice.create("team")
    await alice.send("team", "old", ack="synced")

    start = await poll(alice, {})
    nothing = await poll(alice, start["cursor"])
    await alice.send("team", "new", ack="synced")
    page = await poll(alice, start["cursor"])

    assert start == {"messages": [], "cursor": start["cursor"], "has_more": False}
    assert nothing["messages"] == []
    assert [one["id"] for one in page["messages"]] == ["new"]
    assert page["has_more"] is False


async def test_pages_are_one_after_the_other_and_complete(http: Any) -> None:
    alice = http.user("alice")
    await alice.create("team", "bob")
    cursor = (await poll(http.user("bob"), {}))["cursor"]
    sent = await asyncio.gather(*(alice.send("team", f"m{n}", ack="synced") for n in range(1100)))

    got: list[int] = []
    pages = 0
    more = True
    while more:
        page = await poll(http.user("bob"), cursor)
        got += [one["seq"] for one in page["messages"]]
        cursor, more, pages = page["cursor"], page["has_more"], pages + 1

    assert got == sorted(one.json["seq"] for one in sent)
    assert pages > 2


async def test_a_poll_waits_for_news(http: Any) -> None:
    alice, bob = http.user("alice"), http.user("bob")
    await alice.create("team", "bob")
    cursor = (await poll(bob, {}))["cursor"]

    news = asyncio.create_task(poll(bob, cursor, wait=60))
    await waiting(1)
    sent = await alice.send("team", "m", "ping")
    page = await news

    assert [one["seq"] for one in page["messages"]] == [sent.json["seq"]]
    assert page["messages"][0]["body"] == {"text": "ping"}
    await waiting(0)


async def test_what_is_there_is_answered_without_waiting(http: Any) -> None:
    alice = http.user("alice")
    cursor = (await poll(alice, {}))["cursor"]
    await alice.send("self:alice", "note", ack="synced")

    page = await poll(alice, cursor, wait=60)

    assert page["messages"][-1]["id"] == "note"


async def test_a_poll_ends_with_its_time_and_others_messages_do_not_end_it(http: Any) -> None:
    alice, bob = http.user("alice"), http.user("bob")
    cursor = (await poll(bob, {}))["cursor"]

    news = asyncio.create_task(poll(bob, cursor, wait=1))
    await waiting(1)
    await alice.send("self:alice", "note", ack="synced")
    assert not news.done()
    page = await news

    assert page["messages"] == []
    assert (await poll(bob, page["cursor"]))["messages"] == []


async def test_a_stream_of_polls_gets_everything_once_and_in_order(http: Any) -> None:
    alice, bob = http.user("alice"), http.user("bob")
    await alice.create("team", "bob")
    cursor = (await poll(bob, {}))["cursor"]
    total = 200

    async def write() -> list[int]:
        seqs: list[int] = []
        for number in range(total):
            seqs.append((await alice.send("team", f"m{number}")).json["seq"])
            await asyncio.sleep(0.001 * (number % 3))
        return seqs

    async def read(cursor: Any) -> list[int]:
        seqs: list[int] = []
        while len(seqs) < total:
            page = await poll(bob, cursor, wait=30)
            assert page["messages"]
            seqs += [one["seq"] for one in page["messages"]]
            cursor = page["cursor"]
        return seqs

    sent, *got = await asyncio.gather(write(), *(read(cursor) for _ in range(3)))

    assert got == [sent] * 3


async def test_a_lost_cursor_is_reset_with_its_reason(http: Any, store: MemoryStore) -> None:
    alice, bob = http.user("alice"), http.user("bob")
    await alice.create("team", "bob")
    await alice.send("team", "m", ack="synced")
    good = (await poll(alice, {}))["cursor"]
    version, _, whose = good["base"].split(".")
    cases = {
        "other_user": (await poll(bob, {}))["cursor"],
        "other_log": {"base": f"{version}.0000.{whose}", "pos": good["pos"]},
        "future": {**good, "pos": "1000"},
    }
    for reason, cursor in cases.items():
        assert await poll(alice, cursor, wait=60) == {
            "messages": [],
            "cursor": good,
            "has_more": False,
            "reset": reason,
        }
    for garbage in (
        {"base": "x", "pos": "1"},
        {**good, "pos": "-1"},
        {"pos": "2"},
        {**good, "pos": ""},
    ):
        assert (await poll(alice, garbage))["reset"] == "garbage"


async def test_a_cursor_from_before_what_is_kept_is_reset(http: Any, store: MemoryStore) -> None:
    alice = http.user("alice")
    start = (await poll(alice, {}))["cursor"]
    for number in range(3):
        await alice.send("self:alice", f"m{number}", ack="synced")
        await asyncio.sleep(0.005)
    await store.inbox.expire(2**60)

    page = await poll(alice, start)

    assert page["reset"] == "expired"
    assert page["messages"] == []
    await alice.send("self:alice", "new", ack="synced")
    assert [one["id"] for one in (await poll(alice, page["cursor"]))["messages"]] == ["new"]


async def test_a_stopping_server_answers_everyone_who_waits(start: Any) -> None:
    http = await start()
    alice = http.user("alice")
    cursor = (await poll(alice, {}))["cursor"]
    polls = [asyncio.create_task(poll(alice, cursor, wait=60)) for _ in range(3)]
    await waiting(3)

    async with asyncio.timeout(SOON_S):
        await http.server.aclose()
        pages = await asyncio.gather(*polls)

    assert [page["messages"] for page in pages] == [[], [], []]
    assert [page["cursor"] for page in pages] == [cursor] * 3


async def test_polls_beyond_the_limit_are_refused(
    http: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiters, "MAX_POLLS", 2)
    users = [http.user(name) for name in ("alice", "bob", "carol")]
    cursors = [(await poll(user, {}))["cursor"] for user in users]
    polls = [
        asyncio.create_task(poll(user, cursor, wait=60))
        for user, cursor in zip(users[:2], cursors[:2], strict=True)
    ]
    await waiting(2)

    refused = await users[2].get("/v1/sync", wait=1, **cursors[2])
    at_once = await poll(users[2], cursors[2])
    for user, name in zip(users[:2], ("alice", "bob"), strict=True):
        await user.send(f"self:{name}", "m")
    await asyncio.gather(*polls)

    assert (refused.status, refused.code) == (503, "too_busy")
    assert refused.headers["Retry-After"] == "1"
    assert at_once["messages"] == []
    assert (await users[2].get("/v1/sync", wait=1, **cursors[2])).status == 200


async def test_a_users_oldest_poll_gives_way(http: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiters, "MAX_POLLS_A_USER", 2)
    alice = http.user("alice")
    cursor = (await poll(alice, {}))["cursor"]
    polls = []
    for number in range(3):
        polls.append(asyncio.create_task(poll(alice, cursor, wait=60)))
        await waiting(min(number + 1, 2))

    assert (await polls[0])["messages"] == []
    assert not polls[2].done()
    await alice.send("self:alice", "m")
    for page in await asyncio.gather(*polls[1:]):
        assert page["messages"]


# The waiters alone -----------------------------------------------------------------------------


def published(*users: str) -> list[Delivery]:
    return [Delivery(Stored(1, 1, "team", b"{}"), users)]


def here() -> bool:
    """Whether the client is gone."""
    return False


async def test_only_those_with_news_are_woken() -> None:
    everyone = Waiters()
    now = asyncio.get_running_loop().time()
    with everyone.join("alice") as alice, everyone.join("bob") as bob:
        everyone.publish(published("alice", "carol"), 1)
        assert await alice.news(now + SOON_S, here)
        assert not await bob.news(now, here)


async def test_news_before_begin_is_old() -> None:
    waiter = Waiter()
    waiter.wake()
    waiter.begin()
    assert not await waiter.news(asyncio.get_running_loop().time(), here)


async def test_a_closed_house_lets_nobody_wait() -> None:
    everyone = Waiters()
    later = asyncio.get_running_loop().time() + SOON_S
    with everyone.join("alice") as before:
        everyone.close()
        assert not await before.news(later, here)
    with everyone.join("alice") as after:
        after.begin()
        assert not await after.news(later, here)


async def test_the_count_is_of_those_who_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiters, "MAX_POLLS", 2)
    everyone = Waiters()
    for _ in range(5):
        with everyone.join("alice"), everyone.join("alice"):
            with pytest.raises(TimewireError) as refused, everyone.join("bob"):
                pass
            assert refused.value.code == "too_busy"
    assert POLLS._value.get() == 0
