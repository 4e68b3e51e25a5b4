"""Search over HTTP: the same questions with the same answers, and the index to look after."""

import asyncio
from typing import Any

import pytest

SOON_S = 20


async def talk(http: Any) -> Any:
    """Three messages in a group of two; what to do with them, as its maker."""
    alice = http.user("alice")
    await alice.create("team", "bob")
    await alice.send("team", "m1", "the deploy failed")
    await alice.send("team", "m2", "我们去北京")
    sent = await alice.send("team", "m3", "deployed again", kind="note")
    answer = await alice.get("/v1/search", text="again", wait_for=sent.json["seq"])
    assert answer.status == 200
    return alice


async def ids(http: Any, **query: Any) -> list[str]:
    answer = await http.get("/v1/search", **query)
    assert answer.status == 200, answer.body
    return [hit["message"]["id"] for hit in answer.json["hits"]]


async def test_a_search_and_its_answer(http: Any) -> None:
    await talk(http)
    answer = await http.user("bob").get("/v1/search", text="北京")
    assert answer.json["type"] == "search_page"
    [hit] = answer.json["hits"]
    assert hit["message"]["body"] == {"text": "我们去北京"}
    assert (hit["snippet"], hit["matches"]) == ("我们去北京", [[3, 5]])
    assert answer.json["watermark"] >= hit["message"]["seq"]


async def test_every_field_is_a_parameter(http: Any) -> None:
    alice = await talk(http)
    for query, expected in (
        ({"text": "deploy*"}, ["m3", "m1"]),
        ({"text": "deploy*", "order": "oldest"}, ["m1", "m3"]),
        ({"text": "failed again", "match": "any"}, ["m3", "m1"]),
        ({"from": "alice", "kind": "note"}, ["m3"]),
        ({"conversation": "team", "limit": 2}, ["m3", "m2"]),
        ({"text": "deploy*", "since": 0, "until": 10**15}, ["m3", "m1"]),
        ({"text": "deploy*", "since": 10**14}, []),
        ({"text": "deploy*", "media": "true"}, []),
        ({"text": "deploy*", "media": "false", "mentioned": "true"}, []),
        ({"text": "failed deploy", "order": "best"}, ["m1"]),
    ):
        assert await ids(alice, **query) == expected, query


async def test_pages(http: Any) -> None:
    alice = await talk(http)
    first = await alice.get("/v1/search", conversation="team", limit=2)
    rest = await alice.get("/v1/search", conversation="team", limit=2, page=first.json["next"])
    assert [hit["message"]["id"] for hit in rest.json["hits"]] == ["m1"]
    assert "next" not in rest.json


async def test_only_what_one_may_read(http: Any) -> None:
    await talk(http)
    assert await ids(http.user("eve"), text="deploy*") == []
    answer = await http.user("eve").get("/v1/search", text="x", conversation="team")
    assert (answer.status, answer.code) == (403, "not_member")
    backend = http.backend()
    answer = await backend.get("/v1/search", **{"text": "failed", "as": "bob"})
    assert [hit["message"]["id"] for hit in answer.json["hits"]] == ["m1"]
    assert (await http.get("/v1/search", text="x")).status == 401


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 400, "bad_query"),
        ({"text": '"'}, 400, "bad_query"),
        ({"text": "x" * 1000}, 400, "bad_query"),
        ({"text": "x", "form": "bob"}, 400, "bad_frame"),
        ({"text": "x", "order": "random"}, 400, "bad_frame"),
        ({"text": "x", "match": "some"}, 400, "bad_frame"),
        ({"text": "x", "limit": "many"}, 400, "bad_frame"),
        ({"text": "x", "limit": 0}, 400, "bad_limit"),
        ({"text": "x", "limit": 101}, 400, "bad_limit"),
        ({"text": "x", "limit": 10**40}, 400, "bad_limit"),
        ({"text": "x", "since": 9, "until": 3}, 400, "bad_times"),
        ({"text": "x", "page": "x"}, 400, "bad_page"),
        ({"text": "x", "wait_for": 10**9}, 400, "bad_seq"),
        ({"text": "x", "media": "maybe"}, 400, "bad_frame"),
        ({"text": "x", "conversation": "none"}, 404, "unknown_conversation"),
    ],
)
async def test_bad_questions(http: Any, query: dict[str, Any], status: int, code: str) -> None:
    answer = await http.user("alice").get("/v1/search", **query)
    assert (answer.status, answer.code) == (status, code), answer.body


async def test_the_index_is_looked_after_by_the_backend(http: Any) -> None:
    alice = await talk(http)
    backend = http.backend()
    state = (await backend.get("/v1/search/index")).json
    assert state["position"] == state["head"] > 0
    assert (state["rebuilt"], state["rebuilds"]) == (None, 0)
    assert (await backend.call("POST", "/v1/search/index")).status == 200
    async with asyncio.timeout(SOON_S):
        while (await backend.get("/v1/search/index")).json["rebuilds"] != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await ids(alice, text="deploy*") == ["m3", "m1"]
    for method in ("GET", "POST"):
        answer = await alice.call(method, "/v1/search/index")
        assert (answer.status, answer.code) == (401, "bad_admin_key")


async def test_the_lag_is_a_metric(http: Any) -> None:
    await talk(http)
    text = (await http.get("/metrics")).body.decode()
    assert "\ntimewire_search_lag_messages 0.0\n" in text
    assert 'timewire_searches_total{order="newest"}' in text
