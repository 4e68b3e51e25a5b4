"""Sending, conversations, members, marks and tokens over HTTP, as users and as the backend."""

import asyncio
from typing import Any

import pytest

from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.errors import CODES
from timewire.model import MAX_SEQ


async def test_users_talk_in_a_group(http: Any) -> None:
    alice, bob = http.user("alice"), http.user("bob")

    made = await alice.create("team", "bob")
    sent = await alice.send("team", "m1", "hi", kind="text", sent=7)
    read = await bob.get("/v1/conversations/team/messages")

    assert made.status == sent.status == 200
    assert sent.json["type"] == "ack"
    assert sent.json["id"] == "m1"
    assert sent.json["seq"] > made.json["seq"]
    newest, first = read.json["messages"]
    assert newest == {
        "conversation": "team",
        "seq": sent.json["seq"],
        "time": sent.json["time"],
        "from": "alice",
        "id": "m1",
        "kind": "text",
        "body": {"text": "hi"},
        "sent": 7,
    }
    assert first["kind"] == "created"
    assert first["body"]["members"] == ["alice", "bob"]
    assert read.json["has_more"] is False


async def test_a_direct_conversation_needs_no_creation(http: Any) -> None:
    sent = await http.user("alice").send("direct:alice:bob", "m1")
    read = await http.user("bob").get("/v1/conversations/direct:alice:bob/messages", limit=1)

    assert sent.status == 200
    assert read.json["messages"][0]["seq"] == sent.json["seq"]
    assert read.json["has_more"] is True


async def test_names_in_paths_are_percent_encoded(http: Any) -> None:
    alice = http.user("alice")
    await alice.create("日本?&#%{x}", "鲍勃")

    path = "/v1/conversations/%E6%97%A5%E6%9C%AC%3F%26%23%25%7Bx%7D"
    members = await alice.get(f"{path}/members")
    removed = await alice.delete(f"{path}/members/%E9%B2%8D%E5%8B%83", id="r")
    left = await alice.get(f"{path}/members")

    assert members.json["members"] == ["alice", "鲍勃"]
    assert removed.status == 200
    assert left.json["members"] == ["alice"]


async def test_history_is_read_in_both_directions_page_by_page(http: Any) -> None:
    alice = http.user("alice")
    await alice.create("team")
    seqs = [(await alice.send("team", f"m{n}")).json["seq"] for n in range(5)]
    path = "/v1/conversations/team/messages"

    forward = await alice.get(path, after=seqs[0], limit=2)
    rest = await alice.get(path, after=seqs[2], limit=2)
    back = await alice.get(path, before=seqs[4], limit=3)

    assert [one["seq"] for one in forward.json["messages"]] == seqs[1:3]
    assert forward.json["has_more"] is True
    assert [one["seq"] for one in rest.json["messages"]] == seqs[3:]
    assert rest.json["has_more"] is False
    assert [one["seq"] for one in back.json["messages"]] == seqs[3:0:-1]
    assert back.json["has_more"] is True


async def test_members_come_and_go_and_see_only_their_time(http: Any) -> None:
    alice, bob = http.user("alice"), http.user("bob")
    await alice.create("team")
    await alice.send("team", "before")

    added = await alice.post("/v1/conversations/team/members", {"id": "a", "users": ["bob"]})
    await alice.send("team", "during")
    removed = await alice.delete("/v1/conversations/team/members/bob", id="r")
    await alice.send("team", "after")

    seen = (await bob.get("/v1/conversations/team/messages", after=0)).json["messages"]
    assert seen[0]["seq"] == added.json["seq"]
    assert seen[-1]["seq"] == removed.json["seq"]
    assert [one["id"] for one in seen] == ["a", "during", "r"]
    assert (await bob.send("team", "late")).code == "not_member"


async def test_a_member_leaves_with_the_key_in_a_header(http: Any) -> None:
    alice, bob = http.user("alice"), http.user("bob")
    await alice.create("team", "bob")

    for _ in range(2):
        left = await bob.call(
            "DELETE", "/v1/conversations/team/members/bob", headers={"Idempotency-Key": "leave"}
        )
        assert left.status == 200
        assert left.json["id"] == "leave"
    assert (await alice.get("/v1/conversations/team/members")).json["members"] == ["alice"]


async def test_lists_are_paged_by_name(http: Any) -> None:
    alice = http.user("alice")
    for number in range(3):
        await alice.create(f"room{number}", "bob", "carol", id=f"c{number}")

    first = await alice.get("/v1/conversations", limit=2)
    second = await alice.get("/v1/conversations", after="room1", limit=2)
    members = await alice.get("/v1/conversations/room0/members", after="alice", limit=1)

    assert [one["conversation"] for one in first.json["conversations"]] == ["room0", "room1"]
    assert first.json["has_more"] is True
    assert [one["conversation"] for one in second.json["conversations"]] == ["room2"]
    assert second.json["has_more"] is False
    assert members.json == {
        "type": "member_page",
        "id": "",
        "conversation": "room0",
        "members": ["bob"],
        "has_more": True,
    }


async def test_marks_take_the_unread_count_down(http: Any) -> None:
    alice, bob = http.user("alice"), http.user("bob")
    await alice.create("team", "bob")
    seqs = [(await alice.send("team", f"m{n}")).json["seq"] for n in range(3)]

    async def unread() -> int:
        states = (await bob.get("/v1/conversations")).json["conversations"]
        return next(one["unread"] for one in states if one["conversation"] == "team")

    assert await unread() == 3
    marked = await bob.post("/v1/conversations/team/read", {"id": "mark", "seq": seqs[1]})
    assert marked.status == 200
    assert await unread() == 1


async def test_synced_acks_come_when_inboxes_have_the_message(http: Any) -> None:
    alice = http.user("alice")
    await alice.create("team")
    cursor = (await alice.get("/v1/sync")).json["cursor"]

    sent = await alice.send("team", "m", ack="synced")
    page = await alice.get("/v1/sync", **cursor)

    assert sent.json["synced"] is True
    assert [one["seq"] for one in page.json["messages"]] == [sent.json["seq"]]


async def test_every_repeat_of_a_command_gets_the_same_answer(http: Any) -> None:
    alice = http.user("alice")
    made = [await alice.create("team", "bob") for _ in range(2)]
    sent = await asyncio.gather(*(alice.send("team", "once") for _ in range(20)))
    history = await alice.get("/v1/conversations/team/messages")

    assert made[0].json == made[1].json
    assert len({(one.json["seq"], one.json["time"]) for one in sent}) == 1
    assert [one["id"] for one in history.json["messages"]] == ["once", "create"]


async def test_an_id_names_one_message_for_ever(http: Any) -> None:
    alice = http.user("alice")
    await alice.create("team")
    await alice.send("team", "m", "one")

    again = await alice.send("team", "m", "other")

    assert (again.status, again.code) == (409, "id_reused")
    assert again.json["id"] == "m"


async def test_ids_in_bodies_go_before_the_header(http: Any) -> None:
    alice = http.user("alice")
    await alice.create("team")
    key = {"Idempotency-Key": "key"}

    without = await alice.call("POST", "/v1/messages", {"to": "team", "body": {}}, key)
    both = await alice.call("POST", "/v1/messages", {"id": "b", "to": "team", "body": {}}, key)

    assert without.json["id"] == "key"
    assert both.json["id"] == "b"


# The product's backend -------------------------------------------------------------------------


async def test_the_backend_makes_a_conversation_and_speaks_without_being_a_member(
    http: Any,
) -> None:
    backend = http.backend()
    made = await backend.post(
        "/v1/conversations",
        {"id": "t1", "conversation": "ticket-1", "members": ["alice"], "title": "Broken"},
        **{"as": "desk"},
    )
    said = await backend.post(
        "/v1/messages", {"id": "t2", "to": "ticket-1", "body": {"text": "hi"}}, **{"as": "desk"}
    )
    added = await backend.post(
        "/v1/conversations/ticket-1/members", {"id": "t3", "users": ["bob"]}, **{"as": "desk"}
    )
    removed = await backend.delete(
        "/v1/conversations/ticket-1/members/bob", id="t4", **{"as": "desk"}
    )
    alice = http.user("alice")
    members = await alice.get("/v1/conversations/ticket-1/members")
    history = await alice.get("/v1/conversations/ticket-1/messages", after=0)

    assert [one.status for one in (made, said, added, removed)] == [200] * 4
    assert members.json["members"] == ["alice"]
    assert [one["from"] for one in history.json["messages"]] == ["desk"] * 4
    assert history.json["messages"][1]["body"] == {"text": "hi"}


async def test_the_backend_reads_what_its_user_may_read(http: Any) -> None:
    await http.user("alice").create("team")
    backend = http.backend()

    alices = await backend.get("/v1/conversations/team/messages", **{"as": "alice"})
    desks = await backend.get("/v1/conversations/team/messages", **{"as": "desk"})

    assert alices.status == 200
    assert (desks.status, desks.code) == (403, "not_member")


async def test_the_backend_makes_tokens(http: Any) -> None:
    made = await http.backend().post("/v1/tokens", {"user": "alice", "life_s": 3600})
    answer = await http.bearer(made.json["token"]).get("/v1/conversations")
    bound = await http.backend().post("/v1/tokens", {"user": "alice", "device": "phone"})

    claims = http.server._verify(made.json["token"], None)
    assert made.json["expires"] == claims.expires_s * 1000
    assert claims.user == "alice"
    assert answer.json == {
        "type": "conversation_page",
        "id": "",
        "conversations": [],
        "has_more": False,
    }
    assert http.server._verify(bound.json["token"], "phone").device == "phone"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"user": "a b"}, "bad_name"),
        ({"user": ""}, "bad_name"),
        ({"user": "alice", "device": ":"}, "bad_name"),
        ({"user": "alice", "life_s": 0}, "bad_frame"),
        ({"user": "alice", "life_s": 10**9}, "bad_frame"),
        ({"user": "alice", "life_s": "60"}, "bad_frame"),
        ({}, "bad_frame"),
    ],
)
async def test_tokens_are_made_for_good_names_and_sane_lives(
    http: Any, body: Any, code: str
) -> None:
    answer = await http.backend().post("/v1/tokens", body)
    assert (answer.status, answer.code) == (400, code)


# Who may ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("credentials", [None, "", "nonsense", "a.b.c", "x" * 5000])
async def test_without_a_good_token_nothing_is_told(http: Any, credentials: str | None) -> None:
    nobody = http.bearer(credentials)
    for answer in (
        await nobody.send("team", "m"),
        await nobody.get("/v1/conversations"),
        await nobody.get("/v1/sync"),
    ):
        assert (answer.status, answer.code) == (401, "bad_token")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_expired_tokens_are_told_apart(http: Any) -> None:
    old = mint(http.server.keys.secret, "alice", life_s=60, clock=lambda: 0)
    answer = await http.bearer(old).get("/v1/conversations")
    assert (answer.status, answer.code) == (401, "token_expired")


async def test_only_the_admin_key_acts_for_others(http: Any) -> None:
    mallory = http.user("mallory")
    answers = [
        await mallory.get("/v1/conversations", **{"as": "alice"}),
        await mallory.post("/v1/tokens", {"user": "alice"}),
        await http.get("/v1/conversations", **{"as": "alice"}),
        await http.bearer(http.server.keys.secret).get("/v1/conversations", **{"as": "alice"}),
    ]
    assert [(one.status, one.code) for one in answers] == [(401, "bad_admin_key")] * 4


async def test_the_admin_key_alone_is_nobody(http: Any) -> None:
    answer = await http.backend().get("/v1/conversations")
    assert (answer.status, answer.code) == (401, "bad_token")
    assert "as=" in answer.json["message"]


async def test_the_backend_acts_for_good_names_only(http: Any) -> None:
    answer = await http.backend().get("/v1/conversations", **{"as": "a b"})
    assert (answer.status, answer.code) == (400, "bad_name")


async def test_basic_credentials_are_no_token(http: Any) -> None:
    token = mint(http.server.keys.secret, "alice")
    answer = await http.call("GET", "/v1/sync", headers={"Authorization": f"Basic {token}"})
    assert answer.code == "bad_token"


# What is refused -------------------------------------------------------------------------------

TEAM = "/v1/conversations/team"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/messages", {"to": "team", "body": {}}, 400, "bad_id"),
        ("POST", "/v1/messages", {"id": "", "to": "team", "body": {}}, 400, "bad_id"),
        ("POST", "/v1/messages", {"id": "x" * 129, "to": "team", "body": {}}, 400, "bad_id"),
        ("POST", "/v1/messages", {"id": "a\nb", "to": "team", "body": {}}, 400, "bad_id"),
        ("POST", "/v1/messages", {"id": "m", "to": "nowhere", "body": {}}, 404, None),
        ("POST", "/v1/messages", {"id": "m", "to": "direct:b:c", "body": {}}, 403, "not_member"),
        ("POST", "/v1/messages", {"id": "m", "to": "team", "body": 1}, 400, "bad_frame"),
        ("POST", "/v1/messages", {"id": "m", "to": "team"}, 400, "bad_frame"),
        ("POST", "/v1/messages", {"id": 1, "to": "team", "body": {}}, 400, "bad_frame"),
        (
            "POST",
            "/v1/messages",
            {"id": "m", "to": "team", "body": {}, "kind": "created"},
            400,
            "bad_kind",
        ),
        (
            "POST",
            "/v1/messages",
            {"type": "add", "id": "m", "to": "team", "body": {}},
            400,
            "bad_frame",
        ),
        (
            "POST",
            "/v1/messages",
            {"id": "m", "to": "team", "body": {"text": "x" * 40_000}},
            413,
            "body_too_large",
        ),
        ("POST", "/v1/conversations", {"id": "c", "conversation": "team"}, 409, None),
        ("POST", "/v1/conversations", {"id": "c", "conversation": "a:b"}, 400, "bad_name"),
        ("POST", f"{TEAM}/members", {"id": "a", "users": ["a b"]}, 400, "bad_name"),
        ("POST", f"{TEAM}/members", {"id": "a", "users": "bob"}, 400, "bad_frame"),
        ("POST", f"{TEAM}/read", {"id": "r", "seq": 10**30}, 400, "bad_seq"),
        ("POST", f"{TEAM}/read", {"id": "r", "seq": 0}, 400, "bad_seq"),
        ("POST", "/v1/conversations/x/read", {"id": "r", "seq": 1}, 403, "not_member"),
        ("DELETE", f"{TEAM}/members/bob", None, 400, "bad_id"),
        ("DELETE", "/v1/conversations/x/members/bob?id=1", None, 404, "unknown_conversation"),
        ("GET", f"{TEAM}/messages?after=1&before=2", None, 400, "bad_range"),
        ("GET", f"{TEAM}/messages?after=-1", None, 400, "bad_range"),
        ("GET", f"{TEAM}/messages?after=x", None, 400, "bad_frame"),
        ("GET", f"{TEAM}/messages?limit=0", None, 400, "bad_limit"),
        ("GET", f"{TEAM}/messages?limit=1001", None, 400, "bad_limit"),
        ("GET", f"{TEAM}/messages?limit=99999999999999999999", None, 400, "bad_limit"),
        ("GET", f"{TEAM}/members?limit=-5", None, 400, "bad_limit"),
        ("GET", "/v1/conversations?limit=many", None, 400, "bad_frame"),
        ("GET", "/v1/conversations/nowhere/messages", None, 404, "unknown_conversation"),
        ("GET", "/v1/conversations/nowhere/members", None, 404, "unknown_conversation"),
        ("GET", "/v1/sync?wait=61", None, 400, "bad_frame"),
        ("GET", "/v1/sync?wait=-1", None, 400, "bad_frame"),
    ],
)
async def test_bad_requests_get_a_code_and_change_nothing(
    http: Any, *, method: str, path: str, body: Any, status: int, code: str | None
) -> None:
    alice = http.user("alice")
    await alice.create("team")
    before = http.server._store.log.head

    answer = await alice.call(method, path, body)

    assert answer.status == status
    assert answer.code in CODES
    assert code is None or answer.code == code
    assert answer.json["message"]
    assert http.server._store.log.head == before
    assert (await alice.send("team", "good")).status == 200


@pytest.mark.parametrize("seq", [MAX_SEQ, MAX_SEQ + 1, 10**30])
async def test_history_past_every_seq_is_empty_or_refused(http: Any, seq: int) -> None:
    alice = http.user("alice")
    await alice.create("team")

    after = await alice.get("/v1/conversations/team/messages", after=seq)
    before = await alice.get("/v1/conversations/team/messages", before=seq)

    assert after.status in (200, 400)
    assert before.status in (200, 400)
    assert after.status == 400 or after.json["messages"] == []


async def test_a_user_who_sends_too_often_is_slowed_down(start: Any) -> None:
    http = await start(sends_per_second=2)
    alice, bob = http.user("alice"), http.user("bob")
    await http.backend().post(
        "/v1/conversations",
        {"id": "c", "conversation": "team", "members": ["alice", "bob"]},
        **{"as": "desk"},
    )
    answers = await asyncio.gather(*(alice.send("team", f"m{n}") for n in range(40)))
    refused = [one for one in answers if one.status != 200]

    assert {(one.status, one.code) for one in refused} == {(429, "rate_limited")}
    assert all(one.headers["Retry-After"] == "1" for one in refused)
    assert all(one.json["retry"] is True for one in refused)
    assert (await bob.send("team", "m")).status == 200
    for number in range(10):
        sent = await http.backend().post(
            "/v1/messages", {"id": f"s{number}", "to": "team", "body": {}}, **{"as": "desk"}
        )
        assert sent.status == 200


async def test_a_full_disk_refuses_sends_and_reads_go_on(http: Any, store: MemoryStore) -> None:
    alice = http.user("alice")
    await alice.create("team")
    store.log.writable = False

    refused = await alice.send("team", "m")
    ready = await http.get("/readyz")
    history = await alice.get("/v1/conversations/team/messages")
    store.log.writable = True

    assert (refused.status, refused.code) == (503, "storage_unavailable")
    assert refused.headers["Retry-After"] == "1"
    assert refused.json["id"] == "m"
    assert ready.status == 503
    assert ready.json["ready"] is False
    assert "cannot write" in ready.json["reasons"][0]
    assert len(history.json["messages"]) == 1
    assert (await alice.send("team", "m")).status == 200
    assert (await http.get("/readyz")).json["ready"] is True
