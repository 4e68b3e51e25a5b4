"""What the explorer shows: a stretch of the log with everything that stands beside it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import timewire
from timewire.auth import mint
from timewire.explorer import MAX_SHOWN_INBOXES, MAX_SHOWN_MESSAGES

PATH = "/v1/explorer"


@contextlib.asynccontextmanager
async def device(http: Any, user: str, name: str) -> AsyncIterator[Any]:
    """A connected device that has caught up."""
    token = mint(http.server.keys.secret, user)
    async with timewire.connect(http.server.url, token, device=name) as client:
        async for event in client.events():
            if isinstance(event, timewire.Live):
                break
        yield client


async def look(http: Any, **query: Any) -> Any:
    answer = await http.backend().get(PATH, **query)
    assert answer.status == 200, answer.body
    return answer.json


@pytest.fixture
async def team(http: Any) -> list[int]:
    """The SeqIds of: the making of a group, two messages in it, one from alice to carol."""
    alice = http.user("alice")
    answers = [
        await alice.create("team", "bob"),
        await alice.send("team", "m1", "hello"),
        await http.user("bob").send("team", "m2", "hi"),
        await alice.send("direct:alice:carol", "m3", "secret words"),
    ]
    await alice.get("/v1/search", text="hi", wait_for=answers[-1].json["seq"])
    return [answer.json["seq"] for answer in answers]


async def test_entries_lanes_and_inboxes_share_their_seqids(http: Any, team: list[int]) -> None:
    shown = await look(http, users="alice,bob,carol")
    made, first, second, direct = team
    assert shown["head"] == shown["entries"][-1]["seq"] == direct
    told = {
        one["seq"]: (one["conversation"], one["sender"], one["kind"]) for one in shown["entries"]
    }
    assert told[made] == ("team", "alice", "created")
    assert told[second] == ("team", "bob", "text")
    lanes = {one["conversation"]: (one["kind"], one["members"]) for one in shown["lanes"]}
    assert lanes["team"] == ("group", 2)
    assert lanes["direct:alice:carol"] == ("direct", 2)
    inboxes = {one["user"]: one["seqs"] for one in shown["inboxes"]}
    assert inboxes["alice"] == [one["seq"] for one in shown["entries"]]
    assert inboxes["bob"] == [made, first, second]
    assert inboxes["carol"] == [seq for seq in inboxes["alice"] if told[seq][0] != "team"]
    assert shown["consumers"] == {"fan-out": direct, "search": direct}
    assert shown["floor"] == 1
    assert shown["amplification"]["messages"] == len(shown["entries"])


async def test_what_is_said_is_not_shown(http: Any, team: list[int]) -> None:
    answer = await http.backend().get(PATH)
    followed = await http.backend().get(f"{PATH}/{team[-1]}")
    assert b"secret" not in answer.body + followed.body


async def test_a_stretch_ends_where_it_is_asked_to(http: Any, team: list[int]) -> None:
    made, first, second, direct = team
    assert [one["seq"] for one in (await look(http, upto=second, limit=2))["entries"]] == [
        second - 1,
        second,
    ]
    shown = await look(http, upto=first, limit=500, users="bob")
    assert shown["head"] == direct
    assert shown["inboxes"] == [{"user": "bob", "seqs": [made, first]}]
    assert (await look(http, upto=direct + 1000, limit=1))["entries"][0]["seq"] == direct


async def test_a_recalled_message_keeps_its_place_only(http: Any, team: list[int]) -> None:
    alice = http.user("alice")
    seq = team[1]
    assert (await alice.delete(f"/v1/conversations/team/messages/{seq}", id="r")).status == 200
    [entry] = [one for one in (await look(http))["entries"] if one["seq"] == seq]
    assert (entry["sender"], entry["kind"], entry["bytes"]) == ("", "", 0)


async def test_devices_are_markers(http: Any, team: list[int]) -> None:
    async with device(http, "alice", "phone"), device(http, "bob", "laptop"):
        shown = await look(http)
        assert [(one["user"], one["device"], one["live"]) for one in shown["devices"]] == [
            ("alice", "phone", True),
            ("bob", "laptop", True),
        ]
        assert {one["position"] for one in shown["devices"]} == {shown["head"]}
        assert [one["user"] for one in shown["inboxes"]] == ["alice", "bob"]
        assert not shown["more_devices"]


async def test_a_push_and_its_time_are_counted(http: Any, team: list[int]) -> None:
    async with device(http, "bob", "laptop"):
        before = await look(http)
        await http.user("alice").send("team", "m4", "again", ack="synced")
        after = await look(http)
    assert after["pushes"] - before["pushes"] == 1
    assert after["deliveries"]["count"] - before["deliveries"]["count"] == 1
    assert after["deliveries"]["seconds"] >= before["deliveries"]["seconds"]
    assert after["amplification"]["messages"] - before["amplification"]["messages"] == 1


async def test_a_message_is_followed_to_every_device(http: Any, team: list[int]) -> None:
    async with device(http, "bob", "laptop"):
        answer = await http.backend().get(f"{PATH}/{team[1]}")
    way = answer.json
    assert way["entry"]["seq"] == team[1]
    assert way["receiver_count"] == 2
    [alice, bob] = way["receivers"]
    assert (alice["user"], alice["inbox"], alice["devices"]) == ("alice", True, [])
    assert (bob["user"], bob["inbox"]) == ("bob", True)
    assert [(one["device"], one["position"] >= team[1]) for one in bob["devices"]] == [
        ("laptop", True)
    ]
    assert all(position >= team[1] for position in way["consumers"].values())


async def test_who_was_no_member_is_no_receiver(http: Any, team: list[int]) -> None:
    await http.user("alice").post("/v1/conversations/team/members", {"id": "a", "users": ["dave"]})
    way = (await http.backend().get(f"{PATH}/{team[1]}")).json
    assert [one["user"] for one in way["receivers"]] == ["alice", "bob"]


@pytest.mark.parametrize("seq", [0, 10_000])
async def test_a_message_that_is_not_there(http: Any, seq: int) -> None:
    answer = await http.backend().get(f"{PATH}/{seq}")
    assert (answer.status, answer.code) == (400, "bad_seq")


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": MAX_SHOWN_MESSAGES + 1}, {"upto": -1}, {"what": 1}]
)
async def test_what_cannot_be_shown(http: Any, query: dict[str, int]) -> None:
    answer = await http.backend().get(PATH, **query)
    assert (answer.status, answer.code) == (400, "bad_frame")


async def test_so_many_inboxes_and_no_more(http: Any, team: list[int]) -> None:
    users = ",".join(f"user{number}" for number in range(MAX_SHOWN_INBOXES + 5))
    assert len((await look(http, users=users))["inboxes"]) == MAX_SHOWN_INBOXES


async def test_an_empty_log_is_shown(http: Any) -> None:
    shown = await look(http)
    assert (shown["head"], shown["entries"], shown["lanes"]) == (0, [], [])


async def test_users_are_not_let_in(http: Any, team: list[int]) -> None:
    for path in (PATH, f"{PATH}/{team[0]}"):
        assert (await http.user("alice").get(path)).code == "bad_admin_key"
        assert (await http.get(path)).status == 401
