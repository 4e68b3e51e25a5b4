"""A search index as a state machine, with ``MemoryIndex`` as the model: it looks at everything."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from timewire.backends.memory import MemoryIndex
from timewire.finding import Document, Found, Inquiry, Phrase, Ranking, Scope, Wanted
from timewire.index import SearchIndex
from timewire.model import Window
from timewire.testing.contracts.machine import Machine
from timewire.testing.contracts.places import IndexPlace
from timewire.words import words

_TEXT_PARTS: Final = (
    *("the", "a", "fox", "foxes", "Café", "caf", "iPhone15", "x.y", "http://a.b/c", "naïve"),
    *("你", "好", "你好", "ทดสอบ", "한국", "👍", "ｶﾞ", "\u0640", "👨\u200d👩\u200d👧"),
)
TEXTS = st.one_of(
    st.lists(
        st.sampled_from(_TEXT_PARTS),
        max_size=8,
    ).map(" ".join),
    st.lists(st.sampled_from(list("ab你好的,. 👍é")), max_size=12).map("".join),
    st.text(max_size=20),
)
SEQS = st.integers(1, 40)
CONVERSATIONS = st.sampled_from(["a", "b", "direct:a:b", "群"])
USERS = st.sampled_from(["alice", "bob", "*"])
KINDS = st.sampled_from(["text", "image"])


def _phrase(text: str, start: int, length: int, prefix: bool) -> Phrase | None:
    cut = words(text)[start : start + length]
    if prefix and cut and len(cut[-1]) > 1:
        cut[-1] = cut[-1][:-1]
    return Phrase(tuple(cut), prefix) if cut else None


PHRASES = st.lists(
    st.builds(_phrase, TEXTS, st.integers(0, 2), st.integers(1, 3), st.booleans()), max_size=3
).map(lambda found: tuple(one for one in found if one is not None))
DOCUMENTS = st.builds(
    Document,
    seq=SEQS,
    time=st.integers(0, 50),
    conversation=CONVERSATIONS,
    audience=st.integers(1, 3),
    sender=USERS,
    kind=KINDS,
    words=TEXTS.map(words).map(" ".join),
    media=st.booleans(),
    mentions=st.lists(USERS, max_size=2).map(tuple),
    expires=st.sampled_from([0, 0, 0, 10, 30]),
)
WINDOWS = st.builds(Window, SEQS, st.one_of(st.just(0), SEQS))
SCOPES = st.builds(
    Scope,
    st.frozensets(CONVERSATIONS, max_size=3),
    st.frozensets(st.tuples(CONVERSATIONS, st.integers(1, 3)), max_size=3),
    st.lists(st.tuples(CONVERSATIONS, WINDOWS), max_size=2).map(tuple),
)
WANTED = st.builds(
    Wanted,
    phrases=PHRASES,
    match=st.sampled_from(["all", "any"]),
    without=PHRASES,
    sender=st.one_of(st.just(""), USERS),
    kind=st.one_of(st.just(""), KINDS),
    since=st.one_of(st.none(), st.integers(0, 50)),
    until=st.one_of(st.none(), st.integers(0, 50)),
    media=st.sampled_from([False, False, True]),
    mentioned=st.one_of(st.just(()), st.just(("bob", "*"))),
    upto=st.one_of(st.just(2**63 - 1), SEQS),
)


class IndexMachine(Machine):
    """An index beside the model: every search finds the same on both."""

    place: ClassVar[type[IndexPlace]]
    backend: SearchIndex

    def __init__(self) -> None:
        super().__init__()
        self.model = MemoryIndex()
        self.position = 0

    @initialize(documents=st.lists(DOCUMENTS, min_size=5, max_size=30))
    def fill(self, documents: list[Document]) -> None:
        """Something is there from the start."""
        self.stage(documents, [])
        self.commit()

    @rule(documents=st.lists(DOCUMENTS, max_size=8), removed=st.lists(SEQS, max_size=3))
    def stage(self, documents: list[Document], removed: list[int]) -> None:
        """Stage on both."""
        for index in (self.backend, self.model):
            self.run(index.stage(documents, removed))

    @rule(now=st.integers(1, 40))
    def expire(self, now: int) -> None:
        """The life of some is over."""
        for index in (self.backend, self.model):
            self.run(index.expire(now))

    @rule()
    def commit(self) -> None:
        """Commit both."""
        self.position += 1
        for index in (self.backend, self.model):
            self.run(index.commit(self.position, "e"))

    @rule()
    def reopen(self) -> None:
        """A restart loses what was only staged."""
        super().reopen()
        self.model = self.model.reopened()
        assert self.backend.position <= self.model.position

    @rule(documents=st.lists(DOCUMENTS, max_size=8))
    def renew(self, documents: list[Document]) -> None:
        """Another index takes the place of the one that is there."""
        for index in (self.backend, self.model):
            fresh = self.run(index.renew())
            self.run(fresh.stage(documents))
            self.run(fresh.commit(self.position, "e"))
            self.run(index.replace(fresh))

    @rule(wanted=WANTED, scope=SCOPES, order=st.sampled_from(["newest", "oldest"]))
    def search(self, wanted: Wanted, scope: Scope, order: Any) -> None:
        """Everything that is found, by pages."""
        self._same(wanted, scope, order, Ranking())

    @rule(wanted=WANTED, scope=SCOPES, weight=st.integers(1, 4), together=PHRASES)
    def search_best(
        self, wanted: Wanted, scope: Scope, weight: int, together: tuple[Phrase, ...]
    ) -> None:
        """The best that is found, by pages."""
        if wanted.phrases:
            weights = tuple(weight + n for n in range(len(wanted.phrases)))
            ranking = Ranking(weights, together[0] if together else None)
            self._same(wanted, scope, "best", ranking)

    def _same(self, wanted: Wanted, scope: Scope, order: Any, ranking: Ranking) -> None:
        inquiry = Inquiry(wanted, scope, order, ranking)
        after: Found | None = None
        while True:
            mine, model = (
                self.run(index.search(inquiry, limit=3, after=after))
                for index in (self.backend, self.model)
            )
            assert mine == model
            if not mine:
                return
            after = mine[-1]


def index_machine(place: type[IndexPlace]) -> type[IndexMachine]:
    """The state machine for an index: its ``TestCase`` is what pytest runs."""
    return type("IndexMachine", (IndexMachine,), {"place": place})
