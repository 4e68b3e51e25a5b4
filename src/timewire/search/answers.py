"""Answers to searches.  The index says where to look; what is answered is read from the store.

Reading it again is what makes an answer exact however far the index is behind: a message that was
recalled, has expired or no longer says what was looked for is left out at once, and so is all that
one may not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Final

import msgspec

from timewire.asking import Search
from timewire.clock import Clock
from timewire.errors import error
from timewire.finding import EVERYONE, Found, Inquiry, Order, Phrase, Ranking, Wanted, matches
from timewire.index import SearchIndex
from timewire.log import MessageLog
from timewire.metrics import SEARCH_SECONDS, SEARCHES
from timewire.model import MAX_SEQ, Ref, Seq, Stored, message_head, message_json
from timewire.names import MAX_NAME_BYTES, MAX_TIMELINE_BYTES
from timewire.protocol import SearchHit, SearchPage
from timewire.search.documents import document, stored_text
from timewire.search.indexer import Indexer
from timewire.search.paging import Place, seal, unseal
from timewire.search.questions import Question, parse
from timewire.search.scopes import Scopes
from timewire.search.snippets import snippet

MAX_HITS: Final = 100
"""In one page."""

MAX_ANSWER_BYTES: Final = 256 * 1024
"""Bytes of messages in one page: it ends early, after at least one."""

MAX_ROUNDS: Final = 4
"""How often a page is filled up, when messages that were found are no longer there."""

TURN_BYTES: Final = 64 * 1024
"""Bytes of messages looked at before everybody else has a turn."""

RARITIES: Final = (0.1, 0.01, 0.001)
"""Parts of all messages: a word that fewer have weighs one more, for each of these.

So coarse that what others have written cannot be read from it.
"""


class _Asked(msgspec.Struct, frozen=True):
    """A search that has been understood."""

    user: str
    query: Search
    inquiry: Inquiry
    question: Question
    place: Place | None


class _Filling(msgspec.Struct):
    """A page that is being filled: what was found, and the last that was looked at."""

    hits: list[SearchHit] = []
    size: int = 0
    last: Found | None = None
    more: bool = True


class Searcher:
    """Answers searches of users."""

    def __init__(
        self, index: SearchIndex, indexer: Indexer, scopes: Scopes, log: MessageLog, clock: Clock
    ) -> None:
        self._index = index
        self._indexer = indexer
        self._scopes = scopes
        self._log = log
        self._clock = clock

    async def answer(self, user: str, query: Search) -> SearchPage:
        """A page of what a user may find.  Raises what is wrong with the question."""
        question = _check(query)
        if query.wait_for:
            await self._indexer.reached(query.wait_for)
        watermark = self._indexer.position
        began = perf_counter()
        asked = await self._understand(user, query, question, watermark)
        page = await self._fill(asked)
        SEARCHES.labels(query.order).inc()
        SEARCH_SECONDS.observe(perf_counter() - began)
        return SearchPage(query.id, page.hits, watermark, self._next(asked, page, watermark))

    # -- the question ---------------------------------------------------------------------------

    async def _understand(
        self, user: str, query: Search, question: Question, watermark: Seq
    ) -> _Asked:
        if query.conversation:
            scope = await self._scopes.named(user, query.conversation)
        else:
            scope = await self._scopes.everything(user)
        place = unseal(query.page, self._log.epoch, user, query) if query.page else None
        ranking = Ranking()
        upto = MAX_SEQ
        if query.order == "best" and question.wanted:
            weights = place.weights if place else await self._weights(question.wanted)
            if len(weights) != len(question.wanted):
                raise error("bad_page")
            ranking = Ranking(weights, question.together)
            upto = place.upto if place else watermark
        wanted = Wanted(
            question.wanted,
            query.match,
            question.without,
            query.sender,
            query.kind,
            query.since,
            query.until,
            query.media,
            (user, EVERYONE) if query.mentioned else (),
            upto,
        )
        order = query.order if question.wanted else _by_time(query.order)
        inquiry = Inquiry(wanted, scope, order, ranking)
        return _Asked(user, query, inquiry, question, place)

    async def _weights(self, phrases: Sequence[Phrase]) -> tuple[int, ...]:
        shares = await self._index.shares(phrases)
        return tuple(1 + sum(share < rarity for rarity in RARITIES) for share in shares)

    # -- the page -------------------------------------------------------------------------------

    async def _fill(self, asked: _Asked) -> _Filling:
        limit = asked.query.limit
        page = _Filling([], last=asked.place.found() if asked.place else None)
        for _ in range(MAX_ROUNDS):
            wanted = limit - len(page.hits) + 1
            found = await self._index.search(asked.inquiry, limit=wanted, after=page.last)
            page.more = len(found) == wanted
            await self._take(asked, page, found)
            if not page.more or len(page.hits) == limit or page.size > MAX_ANSWER_BYTES:
                break
        return page

    async def _take(self, asked: _Asked, page: _Filling, found: Sequence[Found]) -> None:
        """Put into a page what was found and is still there, until it is full."""
        stored = await self._log.fetch([Ref(one.seq, one.conversation) for one in found])
        by_seq = {message.seq: message for message in await self._scopes.seen(asked.user, stored)}
        now, looked_at = self._clock(), 0
        for one in found:
            message = by_seq.get(one.seq)
            looked_at += len(message.payload) if message is not None else 0
            if looked_at > TURN_BYTES:
                looked_at = 0
                await asyncio.sleep(0)
            if message is not None and _is_wanted(asked, message, now):
                page.size += len(message.payload)
                full = len(page.hits) == asked.query.limit
                if full or (page.hits and page.size > MAX_ANSWER_BYTES):
                    page.more = True
                    return
                page.hits.append(_hit(asked.question, message, now))
            page.last = one

    def _next(self, asked: _Asked, page: _Filling, watermark: Seq) -> str:
        if not page.more or page.last is None:
            return ""
        upto = asked.place.upto if asked.place else watermark
        place = Place(page.last.seq, page.last.quality, upto, asked.inquiry.ranking.weights)
        return seal(place, self._log.epoch, asked.user, asked.query)


def _check(query: Search) -> Question:
    """The question of a search.  Raises what is wrong with it, whoever asks."""
    if not 1 <= query.limit <= MAX_HITS:
        raise error("bad_limit", limit=query.limit, largest=MAX_HITS)
    if not 0 <= query.wait_for <= MAX_SEQ:
        raise error("bad_seq", seq=str(query.wait_for))
    times = [time for time in (query.since, query.until) if time is not None]
    ordered = len(times) < 2 or times[0] < times[1]
    if not ordered or not all(0 <= time <= MAX_SEQ for time in times):
        raise error("bad_times")
    for name, limit in (
        (query.conversation, MAX_TIMELINE_BYTES),
        (query.sender, MAX_NAME_BYTES),
        (query.kind, MAX_NAME_BYTES),
    ):
        if len(name.encode(errors="replace")) > limit:
            raise error("bad_query", reason="no name is so long")
    question = parse(query.text)
    named = query.conversation or query.sender or query.kind or query.media or query.mentioned
    if not (question.wanted or named or times):
        raise error("bad_query", reason="there is nothing to look for")
    return question


def _is_wanted(asked: _Asked, message: Stored, now: int) -> bool:
    """Whether a message, as it is now, is what was asked for."""
    found = document(message, 0, now)
    return found is not None and matches(asked.inquiry.wanted, found)


def _by_time(order: Order) -> Order:
    return "newest" if order == "best" else order


def _hit(question: Question, message: Stored, now: int) -> SearchHit:
    shown, spots = snippet(stored_text(message.payload), question.wanted)
    head = message_head(message.conversation)
    text = message_json(head, message.seq, message.time, message.payload, now)
    return SearchHit(msgspec.Raw(text), shown, spots)
