"""The search index in memory: it looks at every document, and is what other backends must equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from timewire.errors import error
from timewire.finding import Document, Found, Inquiry, Phrase, matches, quality, rank
from timewire.index import MAX_FOUND, MAX_RANKED, MAX_STAGE_DOCUMENTS, SearchIndex
from timewire.model import Seq


class MemoryIndex:
    """A ``SearchIndex`` in memory.  ``reopened`` is what a restart would find."""

    def __init__(self) -> None:
        self._shown: dict[Seq, Document] = {}
        self._staged: dict[Seq, Document | None] = {}
        self._position: Seq = 0
        self._epoch = ""
        self._closed = False

    def reopened(self) -> MemoryIndex:
        """An index with everything that was committed."""
        found = MemoryIndex()
        found._take(self)
        return found

    @property
    def position(self) -> Seq:
        return self._position

    @property
    def epoch(self) -> str:
        return self._epoch

    async def stage(self, documents: Sequence[Document], removed: Sequence[Seq] = ()) -> None:
        self._check_open()
        if len(documents) + len(removed) > MAX_STAGE_DOCUMENTS:
            raise error("batch_too_large", limit=MAX_STAGE_DOCUMENTS)
        self._staged |= dict.fromkeys(removed)
        self._staged |= {document.seq: document for document in documents}

    async def expire(self, now: int) -> None:
        self._check_open()
        there = self._shown | self._staged
        over = [seq for seq, one in there.items() if one is not None and 0 < one.expires <= now]
        self._staged |= dict.fromkeys(over)

    async def commit(self, position: Seq, epoch: str) -> None:
        self._check_open()
        for seq, document in self._staged.items():
            if document is not None:
                self._shown[seq] = document
            else:
                self._shown.pop(seq, None)
        self._staged = {}
        self._position, self._epoch = position, epoch

    async def search(
        self, inquiry: Inquiry, *, limit: int, after: Found | None = None
    ) -> list[Found]:
        self._check_open()
        if not 1 <= limit <= MAX_FOUND:
            raise error("bad_limit", limit=limit, largest=MAX_FOUND)
        found = self._found(inquiry)
        if inquiry.order == "oldest":
            return [one for one in found if after is None or one.seq > after.seq][:limit]
        if inquiry.order == "newest":
            newest = reversed(list(found))
            return [one for one in newest if after is None or one.seq < after.seq][:limit]
        best = sorted(found, key=_rank, reverse=True)[:MAX_RANKED]
        return [one for one in best if after is None or _rank(one) < _rank(after)][:limit]

    def _found(self, inquiry: Inquiry) -> Iterator[Found]:
        wanted = inquiry.wanted
        for seq, document in sorted(self._shown.items()):
            if inquiry.scope.holds(document) and matches(wanted, document):
                words = document.words.split(" ")
                worth = quality(wanted, inquiry.ranking, words) if inquiry.order == "best" else 0
                yield Found(seq, document.conversation, worth)

    async def shares(self, phrases: Sequence[Phrase]) -> list[float]:
        self._check_open()
        return [min(map(self._share, phrase.words)) for phrase in phrases]

    def _share(self, word: str) -> float:
        holding = sum(word in document.words.split(" ") for document in self._shown.values())
        return holding / max(1, len(self._shown))

    async def renew(self) -> MemoryIndex:
        self._check_open()
        return MemoryIndex()

    async def replace(self, fresh: SearchIndex) -> None:
        assert isinstance(fresh, MemoryIndex)
        self._check_open()
        self._take(fresh)
        await fresh.aclose()

    async def aclose(self) -> None:
        self._closed = True

    def _take(self, other: MemoryIndex) -> None:
        self._shown, self._staged = other._shown.copy(), {}
        self._position, self._epoch = other._position, other._epoch

    def _check_open(self) -> None:
        if self._closed:
            raise error("closed")


def _rank(found: Found) -> tuple[float, Seq]:
    return rank(found.quality, found.seq)
