"""Searching in what an index shows.  Everything here blocks.

A wide scope is costly in a query: the documents of thousands of conversations have to be put
together first.  Who has one may read much of what is there, so first the documents that stand
first in the order are looked at, wherever they are; only if too few of them are in the scope, it
becomes a part of the query.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Any, Final

import msgspec
import tantivy
from tantivy import Query

from timewire.backends.tantivy.schema import (
    AUDIENCE_SEQ,
    CONVERSATION,
    CONVERSATION_MARK,
    SEQ,
    WEIGHT,
    WORDS,
    anywhere,
    mark,
    within_scope,
)
from timewire.errors import error
from timewire.finding import RECENCY, Found, Inquiry, Order, Phrase, Scope, rank
from timewire.index import MAX_RANKED
from timewire.model import Seq, Window

WIDE_SCOPE: Final = 50
"""Conversations and audiences: with more, the first documents are looked at first."""

PROBED: Final = 1000
"""Documents that are looked at then."""

_TOO_BROAD: Final = "max expansions"


class _Hit(msgspec.Struct, frozen=True):
    seq: Seq
    quality: int
    where: tantivy.DocAddress


class _Hits(msgspec.Struct, frozen=True):
    """The first documents in the order of a search.  ``all``: there are no more."""

    hits: list[_Hit]
    all: bool


def search(
    searcher: tantivy.Searcher, inquiry: Inquiry, limit: int, after: Found | None
) -> list[Found]:
    """Documents that match, past ``after``.  Raises ``Invalid`` (too_broad)."""
    try:
        hits = _probe(searcher, inquiry, limit, after)
        if hits is None:
            asked = within_scope(inquiry, after)
            hits = _first(searcher, asked, inquiry.order, limit, after).hits
    except ValueError as problem:
        if _TOO_BROAD in str(problem):
            raise error("too_broad") from None
        raise
    return [
        Found(hit.seq, searcher.doc(hit.where)[CONVERSATION][0], hit.quality)
        for hit in hits[:limit]
    ]


def shares(searcher: tantivy.Searcher, phrases: Sequence[Phrase]) -> list[float]:
    """How large a part of the documents has each phrase's rarest word."""
    total = max(1, searcher.num_docs)
    return [
        min(searcher.doc_freq(WORDS, word) for word in phrase.words) / total for phrase in phrases
    ]


def _probe(
    searcher: tantivy.Searcher, inquiry: Inquiry, limit: int, after: Found | None
) -> list[_Hit] | None:
    """What is in the scope among the first documents, if that is enough; else None."""
    if len(inquiry.scope.whole) + len(inquiry.scope.audiences) <= WIDE_SCOPE:
        return None
    first = _first(searcher, anywhere(inquiry, after), inquiry.order, PROBED, after)
    inside = _Inside(searcher, inquiry.scope).among(first.hits)
    return inside if first.all or len(inside) >= limit else None


def _first(
    searcher: tantivy.Searcher, asked: Query, order: Order, limit: int, after: Found | None
) -> _Hits:
    if order == "best":
        return _best(searcher, asked, after)
    direction = tantivy.Order.Desc if order == "newest" else tantivy.Order.Asc
    found = searcher.search(asked, limit, count=False, order_by_field=SEQ, order=direction).hits
    # The one document that is none has no SeqId.
    hits = [_Hit(seq, 0, where) for seq, where in found if seq is not None]
    return _Hits(hits, len(found) < limit)


def _best(searcher: tantivy.Searcher, asked: Query, after: Found | None) -> _Hits:
    found = searcher.search(asked, MAX_RANKED, count=False, weight_by_field=WEIGHT).hits
    seqs: list[Any] = searcher.fast_field_values(SEQ, [where for _, where in found])
    # Tantivy's scores are rounded: what they were made of is not.
    hits = [
        _Hit(seq, round(score / log2(2 + RECENCY + seq)), where)
        for (score, where), seq in zip(found, seqs, strict=True)
    ]
    hits.sort(key=_rank, reverse=True)
    if after is not None:
        last = rank(after.quality, after.seq)
        hits = [hit for hit in hits if _rank(hit) < last]
    return _Hits(hits, len(found) < MAX_RANKED)


def _rank(hit: _Hit) -> tuple[float, Seq]:
    return rank(hit.quality, hit.seq)


class _Inside:
    """Tells which documents are in a scope."""

    def __init__(self, searcher: tantivy.Searcher, scope: Scope) -> None:
        self._searcher = searcher
        self._whole = {mark(name) for name in scope.whole}
        self._audiences = {(mark(name), seq) for name, seq in scope.audiences}
        self._parts: dict[int, list[Window]] = {}
        for name, window in scope.parts:
            self._parts.setdefault(mark(name), []).append(window)

    def among(self, hits: Sequence[_Hit]) -> list[_Hit]:
        """Those that are in the scope, in the same order."""
        places = [hit.where for hit in hits]
        marks: list[Any] = self._searcher.fast_field_values(CONVERSATION_MARK, places)
        audiences: list[Any] = self._searcher.fast_field_values(AUDIENCE_SEQ, places)
        return [
            hit
            for hit, of, audience in zip(hits, marks, audiences, strict=True)
            if of in self._whole
            or (of, audience) in self._audiences
            or any(window.holds(hit.seq) for window in self._parts.get(of, ()))
        ]
