"""What becomes of conversations and messages, over HTTP."""

from hashlib import sha256
from typing import Any

import pytest

TEAM = "/v1/conversations/team"


@pytest.fixture
async def team(http: Any) -> Any:
    """A group of alice, who owns it, and bob; bob has said something with SeqId 2."""
    await http.user("alice").create("team", "bob", "carol")
    sent = await http.user("bob").send("team", "m1", "hello")
    assert sent.json["seq"] == 2
    return http


async def test_a_message_is_changed(team: Any) -> None:
    alice, bob = team.user("alice"), team.user("bob")
    steps = [
        await bob.post(f"{TEAM}/messages/2", {"id": "a", "body": {"text": "better"}}),
        await alice.post(f"{TEAM}/messages/2/reactions", {"id": "b", "emoji": "👍"}),
        await alice.post(f"{TEAM}/messages/2/pin", {"id": "c"}),
        await alice.post(f"{TEAM}/read", {"id": "d", "seq": 2}),
    ]
    assert [(step.status, step.json["type"]) for step in steps] == [(200, "ack")] * 4
    read = await bob.get(f"{TEAM}/messages", after=1, limit=1)
    [message] = read.json["messages"]
    assert (message["body"], message["reactions"]) == ({"text": "better"}, {"👍": ["alice"]})
    assert (message["edits"], message["version"]) == ([3], 4)
    readers = await bob.get(f"{TEAM}/messages/2/readers")
    assert (readers.json["readers"], readers.json["has_more"]) == (["alice"], False)
    listed = await alice.get("/v1/conversations")
    state = next(one for one in listed.json["conversations"] if one["conversation"] == "team")
    assert (state["pins"], state["role"], state["mentioned"]) == ([2], "owner", 0)

    recalled = await alice.delete(f"{TEAM}/messages/2", id="e")
    assert recalled.status == 200
    read = await bob.get(f"{TEAM}/messages", after=1, limit=2)
    assert [sorted(one) for one in read.json["messages"]] == [["conversation", "seq", "time"]] * 2
    again = await bob.post(f"{TEAM}/messages/2", {"id": "f", "body": {"text": "back"}})
    assert (again.status, again.json["code"]) == (400, "recalled")


async def test_a_message_is_hidden(team: Any) -> None:
    hidden = await team.user("carol").post(f"{TEAM}/messages/2/hide", {"id": "a"})
    assert hidden.status == 200
    for user, seqs in [("carol", [1]), ("bob", [2, 1])]:
        read = await team.user(user).get(f"{TEAM}/messages")
        assert [one["seq"] for one in read.json["messages"]] == seqs


async def test_a_group_is_changed(team: Any) -> None:
    alice = team.user("alice")
    for path, body in [
        ("", {"id": "a", "title": "Our team", "history": "all"}),
        ("/roles", {"id": "b", "user": "bob", "role": "admin"}),
        ("/mutes", {"id": "c", "user": "carol", "until": 2_000_000_000_000}),
        ("/bans", {"id": "d", "users": ["eve"]}),
    ]:
        answer = await alice.post(TEAM + path, body)
        assert answer.status == 200, answer.json
    refused = await alice.post(f"{TEAM}/members", {"id": "e", "users": ["eve"]})
    assert (refused.status, refused.json["code"]) == (403, "banned")
    lifted = await alice.delete(f"{TEAM}/bans/eve", id="f")
    added = await alice.post(f"{TEAM}/members", {"id": "g", "users": ["eve"]})
    assert (lifted.status, added.status) == (200, 200)
    members = await team.user("eve").get(f"{TEAM}/members")
    assert members.json["members"] == ["alice", "bob", "carol", "eve"]
    assert members.json["roles"] == {"alice": "owner", "bob": "admin"}
    assert members.json["muted"] == {"carol": 2_000_000_000_000}
    silenced = await team.user("carol").send("team", "x")
    assert (silenced.status, silenced.json["code"]) == (403, "muted")
    assert silenced.json["fields"]["until"] == 2_000_000_000_000


async def test_a_user_is_blocked(team: Any) -> None:
    blocked = await team.user("alice").post("/v1/blocks", {"id": "a", "user": "bob"})
    assert blocked.status == 200
    told = await team.user("bob").send("direct:alice:bob", "x")
    assert (told.status, told.json["code"]) == (403, "blocked")


@pytest.mark.parametrize("seq", ["x", "-1", "1.5", "٣", "9" * 30, "%20"])
async def test_a_path_that_names_no_message(team: Any, seq: str) -> None:
    bob = team.user("bob")
    answers = [
        await bob.post(f"{TEAM}/messages/{seq}", {"id": "a", "body": {}}),
        await bob.delete(f"{TEAM}/messages/{seq}", id="b"),
        await bob.get(f"{TEAM}/messages/{seq}/readers"),
    ]
    assert {answer.json["code"] for answer in answers} <= {
        "bad_frame",
        "bad_seq",
        "unknown_message",
    }


async def test_who_has_the_token_of_a_link_joins(team: Any) -> None:
    alice, eve = team.user("alice"), team.user("eve")
    link = sha256(b"the token").hexdigest()
    made = await alice.post(f"{TEAM}/links", {"id": "a", "link": link, "uses": 1})
    assert made.status == 200, made.json
    wrong = await eve.post(f"{TEAM}/links/{link}", {"id": "b", "token": "a guess"})
    assert (wrong.status, wrong.json["code"]) == (404, "unknown_link")
    joined = await eve.post(f"{TEAM}/links/{link}", {"id": "c", "token": "the token"})
    assert joined.status == 200
    listed = await alice.get(f"{TEAM}/links")
    assert listed.json["links"] == [
        {"link": link, "role": "member", "uses": 1, "used": 1, "expires": 0}
    ]
    late = await team.user("fay").post(f"{TEAM}/links/{link}", {"id": "d", "token": "the token"})
    assert (late.status, late.json["code"], late.json["fields"]) == (
        403,
        "link_used_up",
        {"uses": 1},
    )
    ended = await alice.delete(f"{TEAM}/links/{link}", id="e")
    assert ended.status == 200
    assert (await alice.get(f"{TEAM}/links")).json["links"] == []
