"""Contracts of the port ``SearchIndex``."""

from __future__ import annotations

import pytest

from timewire.errors import TimewireError
from timewire.finding import Document, Found, Inquiry, Match, Order, Phrase, Ranking, Scope, Wanted
from timewire.index import MAX_FOUND, MAX_STAGE_DOCUMENTS, SearchIndex
from timewire.model import MAX_SEQ, Seq, Window
from timewire.testing.contracts.places import Contract, CrashingIndexPlace, IndexPlace

TEAM = Scope(frozenset({"team"}))
EPOCH = "e1"


def document(seq: Seq, words: str, **fields: object) -> Document:
    """A document that says something in the conversation ``team``."""
    given = {"time": seq * 10, "conversation": "team", "audience": 1, "sender": "alice"}
    return Document(**{"seq": seq, "kind": "text", **given, **fields, "words": words})  # pyright: ignore


def wanted(
    *phrases: str, match: Match = "all", without: tuple[str, ...] = (), **fields: object
) -> Wanted:
    """What has these phrases: words with spaces, with ``*`` at the end for a beginning."""
    return Wanted(
        tuple(map(phrase, phrases)),
        match,
        tuple(map(phrase, without)),
        **fields,  # pyright: ignore
    )


def phrase(text: str) -> Phrase:
    """A phrase from words with spaces; ``*`` at the end: the last one is a beginning."""
    return Phrase(tuple(text.removesuffix("*").split()), text.endswith("*"))


async def fill(index: SearchIndex, *documents: Document, removed: tuple[Seq, ...] = ()) -> None:
    """Stage and commit, up to the last of the documents."""
    await index.stage(documents, removed)
    position = max([index.position, *(one.seq for one in documents)])
    await index.commit(position, EPOCH)


async def seqs(
    index: SearchIndex, what: Wanted, scope: Scope = TEAM, order: Order = "oldest"
) -> list[Seq]:
    """The SeqIds of everything that is found, by pages of two, which must be exact."""
    ranking = Ranking((1,) * len(what.phrases))
    found: list[Found] = []
    while True:
        page = await index.search(
            Inquiry(what, scope, order, ranking), limit=2, after=found[-1] if found else None
        )
        found += page
        if len(page) < 2:
            return [one.seq for one in found]


class IndexContract(Contract[IndexPlace]):
    """What every search index promises."""

    async def test_an_empty_index(self, store: SearchIndex) -> None:
        assert (store.position, store.epoch) == (0, "")
        assert await seqs(store, wanted("x")) == []
        assert await seqs(store, Wanted()) == []
        assert await store.shares([phrase("x")]) == [0]

    async def test_what_is_staged_is_shown_by_the_commit(self, store: SearchIndex) -> None:
        await store.stage([document(3, "hello world")])
        assert await seqs(store, wanted("hello")) == []
        assert store.position == 0
        await store.commit(5, EPOCH)
        assert await seqs(store, wanted("hello")) == [3]
        assert (store.position, store.epoch) == (5, EPOCH)
        await store.commit(9, EPOCH)
        assert (store.position, store.epoch) == (9, EPOCH)
        assert await seqs(store, wanted("hello")) == [3]

    async def test_one_document_has_one_seqid(self, store: SearchIndex) -> None:
        await fill(store, document(1, "old"), document(2, "old"), document(3, "old"))
        await fill(store, document(2, "new"))
        assert await seqs(store, wanted("old")) == [1, 3]
        assert await seqs(store, wanted("new")) == [2]
        await fill(store, document(2, "new"))
        assert await seqs(store, wanted("new")) == [2]
        await fill(store, document(4, "first"), document(4, "second"))
        assert await seqs(store, wanted("first")) == []
        assert await seqs(store, wanted("second")) == [4]

    async def test_several_turns_before_one_commit(self, store: SearchIndex) -> None:
        await store.stage([document(1, "a"), document(2, "b")])
        await store.stage([document(1, "c")], [2])
        await store.stage([document(2, "d")])
        await store.stage([], [1])
        await store.commit(2, EPOCH)
        assert await seqs(store, Wanted()) == [2]
        assert await seqs(store, wanted("d")) == [2]

    async def test_what_is_removed_is_gone(self, store: SearchIndex) -> None:
        await fill(store, document(1, "x"), document(2, "x"), document(3, "x"))
        await fill(store, removed=(2, 77))
        assert await seqs(store, wanted("x")) == [1, 3]
        await fill(store, document(2, "y"), removed=(2, 3))
        assert await seqs(store, Wanted()) == [1, 2]

    async def test_phrases_prefixes_all_any_and_without(self, store: SearchIndex) -> None:
        await fill(
            store,
            document(1, "the quick brown fox"),
            document(2, "the brown quick fox"),
            document(3, "foxes are quick"),
            document(4, "the"),
            document(5, ""),
            document(6, "你 好 吗"),
            document(7, "好 你"),
        )
        assert await seqs(store, wanted("quick")) == [1, 2, 3]
        assert await seqs(store, wanted("quick", "fox")) == [1, 2]
        assert await seqs(store, wanted("quick brown")) == [1]
        assert await seqs(store, wanted("quick brown", "the")) == [1]
        assert await seqs(store, wanted("brown the")) == []
        assert await seqs(store, wanted("fox*")) == [1, 2, 3]
        assert await seqs(store, wanted("quick f*")) == [2]
        assert await seqs(store, wanted("quick brown f*")) == [1]
        assert await seqs(store, wanted("quick", "fo*")) == [1, 2, 3]
        assert await seqs(store, wanted("fox", "are", match="any")) == [1, 2, 3]
        assert await seqs(store, wanted("are quick", "好 你", match="any")) == [3, 7]
        assert await seqs(store, wanted("the", without=("fox",))) == [4]
        assert await seqs(store, wanted("quick", without=("quick brown", "are"))) == [2]
        assert await seqs(store, wanted(without=("quick", "好"))) == [4, 5]
        assert await seqs(store, wanted("好", without=("好 吗",))) == [7]
        assert await seqs(store, wanted("quick", without=("fo*",))) == []
        assert await seqs(store, wanted("你 好")) == [6]
        assert await seqs(store, wanted("nothing")) == []
        assert await seqs(store, Wanted()) == [1, 2, 3, 4, 5, 6, 7]

    async def test_words_are_words_whatever_they_look_like(self, store: SearchIndex) -> None:
        odd = ["a.c", "[x", "a*", "\\d", "(", "AND", "OR", "-x", '"q"', "^a$", "日", "👍", "e" * 64]
        await fill(store, *(document(n, f"{word} tail") for n, word in enumerate(odd, 1)))
        for n, word in enumerate(odd, 1):
            assert await seqs(store, Wanted((Phrase((word,)),))) == [n]
            assert await seqs(store, Wanted((Phrase((word, "tail")),))) == [n]
            assert n in await seqs(store, Wanted((Phrase((word,), prefix=True),)))
            assert await seqs(store, Wanted((Phrase((word, "ta"), prefix=True),))) == [n]
        assert await seqs(store, wanted("a.*")) == [1]
        assert await seqs(store, wanted("abc")) == []

    async def test_fields(self, store: SearchIndex) -> None:
        await fill(
            store,
            document(1, "x", sender="alice", kind="text", mentions=("bob", "carol")),
            document(2, "x", sender="bob", kind="image", media=True),
            document(3, "x", sender="alice", kind="image", media=True, mentions=("*",)),
            document(4, "y", sender="alice b", kind="text", mentions=("bo",)),
        )
        assert await seqs(store, Wanted(sender="alice")) == [1, 3]
        assert await seqs(store, Wanted(sender="nobody")) == []
        assert await seqs(store, Wanted(kind="image")) == [2, 3]
        assert await seqs(store, Wanted(media=True)) == [2, 3]
        assert await seqs(store, Wanted(mentioned=("bob",))) == [1]
        assert await seqs(store, Wanted(mentioned=("bob", "*"))) == [1, 3]
        assert await seqs(store, wanted("x", sender="alice", kind="image")) == [3]
        assert await seqs(store, Wanted(since=20)) == [2, 3, 4]
        assert await seqs(store, Wanted(until=20)) == [1]
        assert await seqs(store, Wanted(since=20, until=31)) == [2, 3]
        assert await seqs(store, Wanted(since=21, until=30)) == []
        assert await seqs(store, Wanted(upto=2)) == [1, 2]
        assert await seqs(store, wanted("x", upto=MAX_SEQ)) == [1, 2, 3]

    async def test_the_scope_bounds_everything(self, store: SearchIndex) -> None:
        await fill(
            store,
            document(1, "x", conversation="a", audience=1),
            document(2, "x", conversation="b", audience=2),
            document(3, "x", conversation="a", audience=3),
            document(4, "x", conversation="b", audience=2),
            document(5, "x", conversation="b", audience=5),
            document(6, "x", conversation="direct:a:b", audience=6),
        )

        async def within(**scope: object) -> list[Seq]:
            given = Scope(**scope)  # pyright: ignore
            found = await seqs(store, wanted("x"), given)
            assert found == await seqs(store, Wanted(), given)
            return found

        assert await within() == []
        assert await within(whole=frozenset({"a"})) == [1, 3]
        assert await within(whole=frozenset({"a", "direct:a:b", "none"})) == [1, 3, 6]
        assert await within(audiences=frozenset({("b", 2)})) == [2, 4]
        assert await within(audiences=frozenset({("b", 5), ("a", 1), ("a", 2)})) == [1, 5]
        assert await within(parts=(("b", Window(3)),)) == [4, 5]
        assert await within(parts=(("b", Window(3, 4)), ("a", Window(1, 2)))) == [1, 4]
        assert await within(
            whole=frozenset({"direct:a:b"}),
            audiences=frozenset({("a", 3)}),
            parts=(("b", Window(5)),),
        ) == [3, 5, 6]

    async def test_a_wide_scope(self, store: SearchIndex) -> None:
        await fill(store, *(document(n, "x", conversation=f"c{n}") for n in range(1, 501)))
        odd = Scope(frozenset(f"c{n}" for n in range(1, 10_001, 2)))
        found = await store.search(Inquiry(wanted("x"), odd, "oldest"), limit=1000)
        assert [one.seq for one in found] == list(range(1, 501, 2))
        assert [one.conversation for one in found] == [f"c{n}" for n in range(1, 501, 2)]

    async def test_the_newest_and_the_oldest(self, store: SearchIndex) -> None:
        for first in (1, 4, 7):
            await fill(store, *(document(n, "x") for n in range(first, first + 3)))
        await fill(store, document(2, "x again"))
        assert await seqs(store, wanted("x"), order="newest") == [9, 8, 7, 6, 5, 4, 3, 2, 1]
        assert await seqs(store, wanted("x"), order="oldest") == [1, 2, 3, 4, 5, 6, 7, 8, 9]
        assert await seqs(store, wanted("x", upto=4), order="newest") == [4, 3, 2, 1]
        page = await store.search(Inquiry(wanted("x"), TEAM), limit=3, after=Found(6, "team"))
        assert page == [Found(5, "team"), Found(4, "team"), Found(3, "team")]

    async def test_the_best(self, store: SearchIndex) -> None:
        await fill(
            store,
            document(1, "red blue"),
            document(2, "red"),
            document(3, "blue"),
            document(4, "blue then red"),
            document(5, "green"),
            document(6, "blue red red"),
        )
        either = wanted("red", "blue", match="any")
        ranking = Ranking((1, 3), phrase("red blue"))
        found = await store.search(Inquiry(either, TEAM, "best", ranking), limit=10)
        assert found == [
            Found(1, "team", 8),
            Found(6, "team", 4),
            Found(4, "team", 4),
            Found(3, "team", 3),
            Found(2, "team", 1),
        ]
        for n, last in enumerate(found):
            rest = await store.search(Inquiry(either, TEAM, "best", ranking), limit=10, after=last)
            assert rest == found[n + 1 :]
        both = await store.search(
            Inquiry(wanted("red", "blue"), TEAM, "best", Ranking((2, 2))), limit=2
        )
        assert both == [Found(6, "team", 4), Found(4, "team", 4)]

    async def test_pages_stay_where_they_are_while_more_comes(self, store: SearchIndex) -> None:
        await fill(store, *(document(n, "x y" if n % 3 == 0 else "x") for n in range(1, 40)))
        either, ranking = wanted("x", "y", match="any", upto=39), Ranking((1, 2))
        for order in ("newest", "oldest", "best"):
            whole = await store.search(Inquiry(either, TEAM, order, ranking), limit=100)
            paged: list[Found] = []
            for turn in range(0, 39, 3):
                last = paged[-1] if paged else None
                paged += await store.search(
                    Inquiry(either, TEAM, order, ranking), limit=3, after=last
                )
                await fill(store, document(store.position + 1, f"x y {turn}"))
            assert paged == whole

    async def test_what_has_expired_is_taken_out(self, store: SearchIndex) -> None:
        await fill(
            store,
            document(1, "x", expires=100),
            document(2, "x", expires=101),
            document(3, "x"),
            document(4, "x", expires=50),
        )
        await store.expire(40)
        await store.commit(5, EPOCH)
        assert await seqs(store, wanted("x")) == [1, 2, 3, 4]
        await store.expire(100)
        assert await seqs(store, wanted("x")) == [1, 2, 3, 4]
        await store.commit(6, EPOCH)
        assert await seqs(store, wanted("x")) == [2, 3]
        await store.stage([document(7, "x", expires=100), document(8, "x", expires=300)])
        await store.expire(200)
        await store.commit(8, EPOCH)
        assert await seqs(store, wanted("x")) == [3, 8]

    async def test_shares_are_rough(self, store: SearchIndex) -> None:
        await fill(store, *(document(n, "common rare" if n == 7 else "common") for n in range(100)))
        common, rare, both, none = await store.shares(
            [phrase("common"), phrase("rare"), phrase("common rare"), phrase("none")]
        )
        assert common == pytest.approx(1, abs=0.05)
        assert rare == both == pytest.approx(0.01, abs=0.005)
        assert none == 0

    async def test_bounds(self, store: SearchIndex) -> None:
        for limit in (0, MAX_FOUND + 1):
            with pytest.raises(TimewireError) as caught:
                await store.search(Inquiry(wanted("x"), TEAM), limit=limit)
            assert caught.value.code == "bad_limit"
        many = [document(n, "x") for n in range(1, MAX_STAGE_DOCUMENTS + 2)]
        with pytest.raises(TimewireError) as caught:
            await store.stage(many)
        assert caught.value.code == "batch_too_large"
        await store.stage(many[:-1])
        await store.commit(len(many), EPOCH)
        assert len(await store.search(Inquiry(wanted("x"), TEAM), limit=MAX_FOUND)) == MAX_FOUND

    async def test_the_largest_seqids(self, store: SearchIndex) -> None:
        await fill(store, document(1, "x", time=0), document(MAX_SEQ, "x", time=2**53))
        assert await seqs(store, wanted("x"), order="newest") == [MAX_SEQ, 1]
        assert await seqs(store, Wanted(since=2**53)) == [MAX_SEQ]
        assert store.position == MAX_SEQ

    async def test_a_renewed_index_takes_the_place_of_the_old(self, store: SearchIndex) -> None:
        await fill(store, document(1, "old"), document(2, "old"))
        fresh = await store.renew()
        assert (fresh.position, fresh.epoch) == (0, "")
        await fresh.stage([document(1, "new")])
        await fresh.commit(7, "e2")
        assert await seqs(fresh, wanted("new")) == [1]
        assert await seqs(store, Wanted()) == [1, 2]
        await fill(store, document(3, "old"))
        await store.replace(fresh)
        assert (store.position, store.epoch) == (7, "e2")
        assert await seqs(store, wanted("new")) == [1]
        assert await seqs(store, wanted("old")) == []
        await fill(store, document(9, "newer"))
        assert await seqs(store, Wanted()) == [1, 9]

    async def test_a_renewal_may_be_given_up(self, store: SearchIndex) -> None:
        await fill(store, document(1, "old"))
        fresh = await store.renew()
        await fresh.stage([document(1, "new")])
        await fresh.aclose()
        assert await seqs(store, wanted("old")) == [1]
        again = await store.renew()
        assert await seqs(again, Wanted()) == []
        await again.aclose()

    async def test_closed_is_closed(self, store: SearchIndex) -> None:
        await store.aclose()
        await store.aclose()
        for act in (
            store.stage([]),
            store.commit(1, EPOCH),
            store.expire(1),
            store.search(Inquiry(wanted("x"), TEAM), limit=1),
            store.shares([phrase("x")]),
            store.renew(),
        ):
            with pytest.raises(TimewireError) as caught:
                await act
            assert caught.value.code == "closed"


class IndexReopenContract(Contract[IndexPlace]):
    """An index that is still there after a restart."""

    async def test_what_was_committed_is_there_again(self) -> None:
        index = await self.at.open()
        await fill(index, document(1, "x"), document(2, "y"))
        await fill(index, document(1, "z"))
        await index.stage([document(3, "lost")])
        await self.at.close()
        index = await self.at.open()
        assert (index.position, index.epoch) == (2, EPOCH)
        assert await seqs(index, Wanted()) == [1, 2]
        assert await seqs(index, wanted("z")) == [1]
        await fill(index, document(2, "x"), document(3, "x"))
        assert await seqs(index, wanted("x")) == [2, 3]

    async def test_a_replaced_index_stays_replaced(self) -> None:
        index = await self.at.open()
        await fill(index, document(1, "old"))
        fresh = await index.renew()
        await fresh.stage([document(2, "new")])
        await fresh.commit(2, "e2")
        await index.replace(fresh)
        await self.at.close()
        index = await self.at.open()
        assert (index.position, index.epoch) == (2, "e2")
        assert await seqs(index, Wanted()) == [2]

    async def test_a_renewal_that_was_not_done_leaves_nothing(self) -> None:
        index = await self.at.open()
        await fill(index, document(1, "old"))
        fresh = await index.renew()
        await fresh.stage([document(2, "new")])
        await fresh.commit(2, "e2")
        await self.at.close()
        index = await self.at.open()
        assert (index.position, index.epoch) == (1, EPOCH)
        assert await seqs(index, Wanted()) == [1]


class IndexCrashContract(Contract[CrashingIndexPlace]):
    """An index that a crash takes back to its last commit."""

    async def test_a_crash_takes_back_what_was_not_committed(self) -> None:
        index = await self.at.open()
        await fill(index, *(document(n, "x") for n in range(1, 50)))
        await index.stage([document(50, "x"), document(2, "changed")], [1])
        await self.at.crash()
        index = await self.at.open()
        assert (index.position, index.epoch) == (49, EPOCH)
        found = await index.search(Inquiry(wanted("x"), TEAM, "oldest"), limit=100)
        assert [one.seq for one in found] == list(range(1, 50))
        await fill(index, document(50, "x"), document(2, "changed"), removed=(1,))
        found = await index.search(Inquiry(wanted("x"), TEAM, "oldest"), limit=100)
        assert [one.seq for one in found] == list(range(3, 51))

    async def test_a_crash_during_a_renewal(self) -> None:
        index = await self.at.open()
        await fill(index, document(1, "old"))
        fresh = await index.renew()
        await fresh.stage([document(2, "new")])
        await fresh.commit(2, "e2")
        await self.at.crash()
        index = await self.at.open()
        assert await seqs(index, Wanted()) == [1]
        fresh = await index.renew()
        assert await seqs(fresh, Wanted()) == []
