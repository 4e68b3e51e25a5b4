"""Answers: all that one may find, in order, by pages that fit together, and nothing else."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timewire.asking import Search
from timewire.backends.memory import MemoryIndex
from timewire.finding import Found
from timewire.model import (
    MAX_SEQ,
    Created,
    Draft,
    Hidden,
    Seq,
    Updated,
    decode_message,
    encode_stored,
)
from timewire.names import direct
from timewire.search import answers as module
from timewire.search.answers import MAX_HITS
from timewire.search.questions import MAX_QUESTION_CHARS
from timewire.words import words

from .conftest import Desk


async def test_a_hit_is_the_message_with_its_snippet(desk: Desk) -> None:
    await desk.group("team", "alice", "bob")
    seq = await desk.say("Der Café in 北京!", sender="bob")
    await desk.settle()
    page = await desk.page("alice", "cafe 北京", wait_for=seq)
    [hit] = page.hits
    message = decode_message(hit.message)
    assert (message.conversation, message.seq, message.sender) == ("team", seq, "bob")
    assert message.body == {"text": "Der Café in 北京!"}
    assert hit.snippet == "Der Café in 北京!"
    assert [hit.snippet[start:end] for start, end in hit.matches] == ["Café", "北京"]
    assert (page.id, page.next, page.watermark) == ("s", "", desk.index.position)


async def test_every_script(desk: Desk) -> None:
    await desk.group("team", "alice")
    texts = [
        "Café au lait, Straße 5",
        "我们明天去北京吃饭",
        "東京タワーとｶﾞﾗｽ",
        "한국어를 배워요",
        "สวัสดีครับ ทดสอบ",
        "see https://a.example/x_y?z=1 or call foo->bar()",
        "well done 👍🏽 👨‍👩‍👧",
        "Ελλάς и Ёлка",
    ]
    seqs = [await desk.say(text) for text in texts]
    await desk.settle()
    for question, at in (
        ("CAFE STRASSE", 0),
        ("京", 1),
        ("明天去", 1),
        ("ガラス", 2),
        ("배워", 3),
        ("ทดสอบ", 4),
        ("a.example/x_y", 5),
        ("foo->bar", 5),
        ("👍", 6),
        ("👩", 6),
        ("ελλασ елка", 7),
    ):
        expected = [seqs[1], seqs[2]] if question == "京" else [seqs[at]]
        assert await desk.find("alice", question) == expected, question
    for question in ("去天", "caf", "배요", "a.example/y", "👎", "外"):
        assert await desk.find("alice", question) == [], question


async def test_phrases_prefixes_any_and_not(desk: Desk) -> None:
    await desk.group("team", "alice")
    one = await desk.say("the deploy failed again")
    two = await desk.say("failed the deploy")
    three = await desk.say("deployment is fine")
    await desk.settle()
    for question, query, expected in (
        ("deploy failed", {}, [one, two]),
        ('"deploy failed"', {}, [one]),
        ("deploy*", {}, [one, two, three]),
        ('"the deploy*"', {}, [one, two]),
        ("again fine", {"match": "any"}, [one, three]),
        ("again fine", {}, []),
        ("deploy* -again", {}, [two, three]),
        ('deploy* -"failed the"', {}, [one, three]),
        ("-deploy", {"conversation": "team"}, [three]),
    ):
        assert await desk.find("alice", question, **query) == expected, question


async def test_fields(desk: Desk) -> None:
    await desk.group("team", "alice", "bob")
    await desk.group("ops", "alice", "bob")
    desk.now = 2000
    one = await desk.say("hello @bob", "team")
    desk.now = 3000
    two = await desk.say("hello", "ops", "bob")
    desk.now = 4000
    three = await desk.say("", "ops", "bob", "image", ref="sha", name="hello.png")
    four = await desk.say("@all hello", "ops", "bob")
    await desk.settle()
    for query, expected in (
        ({}, [one, two, three, four]),
        ({"conversation": "ops"}, [two, three, four]),
        ({"sender": "bob"}, [two, three, four]),
        ({"sender": "carol"}, []),
        ({"kind": "image"}, [three]),
        ({"kind": "created"}, []),
        ({"media": True}, [three]),
        ({"since": 3000}, [two, three, four]),
        ({"until": 3000}, [one]),
        ({"since": 2001, "until": 4000}, [two]),
        ({"since": 0, "until": MAX_SEQ}, [one, two, three, four]),
        ({"mentioned": True}, [four]),
        ({"conversation": "ops", "sender": "bob", "kind": "text"}, [two, four]),
    ):
        assert await desk.find("alice", "hello", **query) == expected, query
        if query and "created" not in query.values():
            assert await desk.find("alice", "", **query) == expected, query
    assert await desk.find("bob", "", mentioned=True) == [one, four]


# -- who may find what ----------------------------------------------------------------------------


async def test_nobody_finds_what_was_said_while_away(desk: Desk) -> None:
    await desk.group("team", "alice", "bob")
    before = await desk.say("secret one")
    await desk.leave("team", "bob")
    away = await desk.say("secret two")
    await desk.join("team", "bob")
    back = await desk.say("secret three")
    await desk.leave("team", "bob")
    gone = await desk.say("secret four")
    await desk.settle()
    assert await desk.find("alice", "secret") == [before, away, back, gone]
    for query in ({}, {"conversation": "team"}, {"sender": "alice"}):
        assert await desk.find("bob", "secret", **query) == [before, back]
    assert await desk.find("bob", "", conversation="team") == [before, back]
    for order in ("newest", "best"):
        page = await desk.page("bob", "secret", order=order)
        assert [decode_message(hit.message).seq for hit in page.hits] == [back, before]


async def test_strangers_find_nothing(desk: Desk) -> None:
    await desk.group("team", "alice")
    await desk.change("direct:alice:bob", Created("direct", ["alice", "bob"]))
    await desk.say("secret")
    between = await desk.say("secret", direct("alice", "bob"))
    await desk.settle()
    assert await desk.find("carol", "secret") == []
    assert await desk.find("bob", "secret") == [between]
    assert (await desk.refused("carol", "secret", conversation="team")).code == "not_member"
    fault = await desk.refused("carol", "secret", conversation="nowhere")
    assert fault.code == "unknown_conversation"


async def test_an_index_that_knows_too_much_tells_nothing() -> None:
    """Whatever the index says, an answer holds what is stored and what one may read."""

    class Lying(MemoryIndex):
        async def search(self, *_: object, **__: object) -> list[Found]:
            return [Found(seq, "team") for seq in (99, 5, 4, 3, 2)] + [Found(3, "elsewhere")]

    async with Desk(Lying()).running() as desk:
        await desk.group("team", "alice")  # 1
        await desk.say("secret")  # 2
        await desk.join("team", "bob")  # 3
        await desk.say("secret")  # 4
        await desk.say("other")  # 5
        await desk.settle()
        page = await desk.page("bob", "secret", limit=100)
        assert [decode_message(hit.message).seq for hit in page.hits] == [4]


async def test_what_was_recalled_is_found_by_nobody_at_once(desk: Desk) -> None:
    await desk.group("team", "alice")
    seqs = [await desk.say(f"secret {n}") for n in range(10)]
    await desk.settle()
    for seq in seqs[::2]:
        await desk.rewrite(seq, None)
    await desk.rewrite(seqs[1], "nothing to see")
    assert await desk.find("alice", "secret") == seqs[3::2]
    assert await desk.find("alice", "secret", limit=100) == seqs[3::2]
    assert await desk.find("alice", "", conversation="team") == seqs[1::2]


async def test_a_page_is_filled_up_and_goes_on_behind_what_is_gone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.group("team", "alice")
    seqs = [await desk.say("x") for _ in range(40)]
    await desk.settle()
    for seq in seqs[2:30]:
        await desk.rewrite(seq, None)
    assert await desk.find("alice", "x", limit=4) == seqs[:2] + seqs[30:]
    monkeypatch.setattr(module, "MAX_ROUNDS", 1)
    page = await desk.page("alice", "x", order="oldest", limit=4)
    assert len(page.hits) == 2
    assert page.next
    assert await desk.find("alice", "x", limit=4) == seqs[:2] + seqs[30:]


async def test_what_has_expired_is_not_found(desk: Desk) -> None:
    await desk.group("team", "alice")
    payload = encode_stored("alice", "", "text", {"text": "brief"})[:-1] + b',"expires":5000}'
    seq = await desk.append(Draft("team", "alice", "", payload))
    await desk.settle()
    assert await desk.find("alice", "brief") == [seq]
    desk.now = 5000
    assert await desk.find("alice", "brief") == []


async def test_history_for_all_is_found_by_all(desk: Desk) -> None:
    await desk.group("team", "alice")
    seqs = [await desk.say("hello")]
    await desk.join("team", "bob")
    seqs.append(await desk.say("hello"))
    await desk.settle()
    assert await desk.find("bob", "hello") == seqs[1:]
    await desk.change("team", Updated(history="all"))
    await desk.settle()
    assert await desk.find("bob", "hello") == seqs
    await desk.leave("team", "bob")
    await desk.say("hello")
    await desk.settle()
    assert await desk.find("bob", "hello") == seqs


async def test_what_one_has_hidden_is_not_found_by_oneself(desk: Desk) -> None:
    await desk.group("team", "alice", "bob")
    seqs = [await desk.say("hello") for _ in range(6)]
    await desk.change("self:bob", Created("self", ["bob"]), "bob")
    for seq in seqs[1:5]:
        await desk.change("self:bob", Hidden("team", seq), "bob")
    await desk.settle()
    assert await desk.find("bob", "hello") == [seqs[0], seqs[5]]
    assert await desk.find("alice", "hello") == seqs


# -- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["newest", "oldest", "best"])
async def test_pages_fit_together_while_messages_come(desk: Desk, order: Any) -> None:
    await desk.group("team", "alice")
    seqs = [await desk.say(f"alpha beta {n}" if n % 4 else f"beta {n}") for n in range(1, 25)]
    await desk.settle()
    query = {"match": "any", "order": order}
    whole = await desk.page("alice", "alpha beta", **query, limit=100)
    expected = [decode_message(hit.message).seq for hit in whole.hits]
    assert sorted(expected) == seqs
    assert whole.next == ""
    found: list[Seq] = []
    page = await desk.page("alice", "alpha beta", **query, limit=5)
    while True:
        found += [decode_message(hit.message).seq for hit in page.hits]
        if not page.next or len(found) >= len(seqs):
            break
        await desk.say("alpha beta and more")
        await desk.settle()
        page = await desk.page("alice", "alpha beta", **query, limit=5, page=page.next)
    assert found[: len(seqs)] == expected


async def test_the_best_have_most_and_rare_words_and_are_new(desk: Desk) -> None:
    await desk.group("team", "alice")
    rare = await desk.say("zebra")
    both = await desk.say("common and a zebra")
    exact = await desk.say("a common zebra")
    common = [await desk.say(f"common {n}") for n in range(40)]
    await desk.settle()
    page = await desk.page("alice", "common zebra", match="any", order="best", limit=100)
    found = [decode_message(hit.message).seq for hit in page.hits]
    assert found == [exact, both, rare, *reversed(common)]
    page = await desk.page("alice", "common", order="best", limit=3)
    assert [decode_message(hit.message).seq for hit in page.hits] == common[:-4:-1]
    # Without words there is no better or worse.
    page = await desk.page("alice", "", conversation="team", order="best", limit=2)
    assert [decode_message(hit.message).seq for hit in page.hits] == common[:-3:-1]


async def test_a_large_page_ends_early(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 3000)
    await desk.group("team", "alice")
    seqs = [await desk.say("big " + "x" * 1000) for _ in range(7)]
    await desk.settle()
    page = await desk.page("alice", "big", order="oldest", limit=100)
    assert len(page.hits) == 2
    assert page.next
    assert await desk.find("alice", "big", limit=100) == seqs


async def test_a_user_in_very_many_conversations(desk: Desk) -> None:
    groups = 300
    expected: list[Seq] = []
    for n in range(groups):
        await desk.group(f"g{n}", "alice")
        await desk.say("needle", f"g{n}")
        await desk.join(f"g{n}", "bob")
        expected.append(await desk.say("needle", f"g{n}"))
    await desk.settle()
    assert await desk.find("bob", "needle", limit=100) == expected
    assert len(await desk.find("alice", "needle", limit=100)) == 2 * groups


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"text": ""}, "bad_query"),
        ({"text": " \n"}, "bad_query"),
        ({"text": '"" * - !!'}, "bad_query"),
        ({"text": "-foo"}, "bad_query"),
        ({"text": "x" * (MAX_QUESTION_CHARS + 1)}, "bad_query"),
        ({"text": "字" * 100}, "bad_query"),
        ({"text": "x", "sender": "x" * 1000}, "bad_query"),
        ({"text": "x", "kind": "x" * 1000}, "bad_query"),
        ({"text": "x", "conversation": "x" * 10_000}, "bad_query"),
        ({"text": "x", "limit": 0}, "bad_limit"),
        ({"text": "x", "limit": -1}, "bad_limit"),
        ({"text": "x", "limit": MAX_HITS + 1}, "bad_limit"),
        ({"text": "x", "limit": 10**30}, "bad_limit"),
        ({"text": "x", "since": 5, "until": 5}, "bad_times"),
        ({"text": "x", "since": 6, "until": 5}, "bad_times"),
        ({"text": "x", "since": -1}, "bad_times"),
        ({"text": "x", "until": 10**30}, "bad_times"),
        ({"text": "x", "page": "garbage"}, "bad_page"),
        ({"text": "x", "page": "x" * 100_000}, "bad_page"),
        ({"text": "x", "wait_for": -1}, "bad_seq"),
        ({"text": "x", "wait_for": 10**30}, "bad_seq"),
        ({"text": "x", "wait_for": 999}, "bad_seq"),
        ({"text": "x", "conversation": "nowhere"}, "unknown_conversation"),
    ],
)
async def test_bad_questions_are_refused(query: dict[str, Any], code: str) -> None:
    async with Desk(MemoryIndex()).running() as desk:
        await desk.group("team", "alice")
        assert (await desk.refused("alice", **query)).code == code


async def test_a_page_of_somebody_else_or_another_question(desk: Desk) -> None:
    await desk.group("team", "alice", "bob")
    for _ in range(5):
        await desk.say("hello")
    await desk.settle()
    token = (await desk.page("alice", "hello", limit=2)).next
    assert (await desk.refused("bob", "hello", limit=2, page=token)).code == "bad_page"
    assert (await desk.refused("alice", "hell", limit=2, page=token)).code == "bad_page"
    assert (await desk.refused("alice", "hello", order="best", page=token)).code == "bad_page"
    assert len((await desk.page("alice", "hello", limit=100, page=token)).hits) == 3


# -- everything at once ---------------------------------------------------------------------------

TEXTS = st.lists(
    st.sampled_from(["deploy", "Deployed", "failed", "你好", "好吗", "café", "x.y", "👍"]),
    min_size=1,
    max_size=4,
).map(" ".join)
MOVES = st.one_of(
    st.tuples(st.just("say"), st.sampled_from(["team", "ops"]), TEXTS),
    st.tuples(st.sampled_from(["join", "leave"]), st.sampled_from(["team", "ops"]), st.just("bob")),
    st.tuples(st.sampled_from(["edit", "recall"]), st.integers(0, 30), TEXTS),
)


@settings(max_examples=40)
@given(st.lists(MOVES, max_size=30), st.sampled_from(["deploy", "好", "cafe", "x", "deploy*"]))
async def test_a_search_finds_what_one_could_read_and_find_by_eye(
    moves: list[tuple[Any, Any, Any]], question: str
) -> None:
    async with Desk(MemoryIndex()).running() as desk:
        for name in ("team", "ops"):
            await desk.group(name, "alice")
        said: dict[Seq, tuple[str, str | None]] = {}
        for act, where, what in moves:
            if act == "say":
                said[await desk.say(what, where)] = (where, what)
            elif act in ("join", "leave"):
                await (desk.join if act == "join" else desk.leave)(where, what)
            elif said:
                seq = list(said)[where % len(said)]
                name, now = said[seq]
                if now is not None:
                    text = what if act == "edit" else None
                    await desk.revise(seq, text, name)
                    said[seq] = (name, text)
        await desk.settle()
        for user in ("alice", "bob"):
            expected: list[Seq] = []
            for seq, (name, text) in said.items():
                windows = await desk.windows(user, name)
                if text and any(window.holds(seq) for window in windows):
                    cut = words(text)
                    begins = question.removesuffix("*")
                    hits = [w.startswith(begins) if "*" in question else w == begins for w in cut]
                    expected += [seq] if any(hits) else []
            assert await desk.find(user, question, limit=100) == sorted(expected)


async def test_answers_are_what_the_protocol_says(desk: Desk) -> None:
    await desk.group("team", "alice")
    page = await desk.searcher.answer("alice", Search("7", "nothing"))
    assert (page.id, page.hits, page.next) == ("7", [], "")
