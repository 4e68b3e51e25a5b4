"""What a document is in Tantivy, and what is wanted of it as one of its queries.

Texts come as words already, so Tantivy cuts them at spaces and changes nothing.  Everything that
filters scores nothing.

One document is none: it holds the position, so that one commit makes both durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import tantivy
from tantivy import FieldType, Occur, Query

from timewire.finding import RECENCY, Document, Found, Inquiry, Phrase, Scope
from timewire.model import MAX_SEQ, Seq

FORMAT: Final = 1
"""Of what is stored.  An index of another format is made anew."""

MAX_MARKS_KEPT: Final = 200_000
"""Marks of conversations that are remembered."""

WORDS: Final = "words"
SEQ: Final = "seq"
WEIGHT: Final = "weight"
CONVERSATION: Final = "conversation"
CONVERSATION_MARK: Final = "conversation_mark"
AUDIENCE_SEQ: Final = "audience_seq"
EXPIRES: Final = "expires"
STATE: Final = "state"
_AUDIENCE: Final = "audience"
_SENDER: Final = "sender"
_KIND: Final = "kind"
_MENTIONS: Final = "mentions"
_FLAGS: Final = "flags"
_TIME: Final = "time"
_MEDIA: Final = "media"
_BY_SPACES: Final = "spaces"


def _schema() -> tantivy.Schema:
    make = tantivy.SchemaBuilder()
    make.add_text_field(WORDS, tokenizer_name=_BY_SPACES, index_option="position")
    make.add_text_field(CONVERSATION, stored=True, tokenizer_name="raw", index_option="basic")
    for name in (_AUDIENCE, _SENDER, _KIND, _MENTIONS, _FLAGS):
        make.add_text_field(name, tokenizer_name="raw", index_option="basic")
    # Signed: the deletion of an unsigned term finds nothing.
    make.add_integer_field(SEQ, indexed=True, fast=True)
    make.add_integer_field(_TIME, fast=True)
    make.add_integer_field(WEIGHT, fast=True)
    make.add_integer_field(CONVERSATION_MARK, fast=True)
    make.add_integer_field(AUDIENCE_SEQ, fast=True)
    make.add_integer_field(EXPIRES, fast=True)
    make.add_text_field(STATE, stored=True, tokenizer_name="raw", index_option="basic")
    return make.build()


SCHEMA: Final = _schema()


def register(index: tantivy.Index) -> None:
    """Tell an index how its texts are cut."""
    spaces = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
    index.register_tokenizer(_BY_SPACES, spaces)


def audience(conversation: str, seq: Seq) -> str:
    """The term of an audience: names hold no control characters."""
    return f"{conversation}\0{seq}"


@lru_cache(maxsize=MAX_MARKS_KEPT)
def mark(conversation: str) -> int:
    """A conversation as a number that can be read for many documents at once."""
    digest = blake2b(conversation.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def row(document: Document) -> tantivy.Document:
    """A document as Tantivy takes it."""
    made = tantivy.Document()
    made.add_text(WORDS, document.words)
    made.add_text(CONVERSATION, document.conversation)
    made.add_text(_AUDIENCE, audience(document.conversation, document.audience))
    made.add_text(_SENDER, document.sender)
    made.add_text(_KIND, document.kind)
    made.add_integer(SEQ, document.seq)
    made.add_integer(_TIME, document.time)
    made.add_integer(WEIGHT, min(RECENCY + document.seq, MAX_SEQ))
    made.add_integer(CONVERSATION_MARK, mark(document.conversation))
    made.add_integer(AUDIENCE_SEQ, document.audience)
    if document.expires:
        made.add_integer(EXPIRES, document.expires)
    for user in document.mentions:
        made.add_text(_MENTIONS, user)
    if document.media:
        made.add_text(_FLAGS, _MEDIA)
    return made


def state_row(state: str) -> tantivy.Document:
    """The document that says what the index holds."""
    made = tantivy.Document()
    made.add_text(STATE, state)
    return made


def within_scope(inquiry: Inquiry, after: Found | None) -> Query:
    """What finds the documents that match, from ``after`` on."""
    return Query.boolean_query(
        [(Occur.Must, _silent(_within(inquiry.scope))), (Occur.Must, anywhere(inquiry, after))]
    )


def anywhere(inquiry: Inquiry, after: Found | None) -> Query:
    """What finds the documents that are wanted, in the scope or not, from ``after`` on."""
    wanted, ranking, best = inquiry.wanted, inquiry.ranking, inquiry.order == "best"
    weights = ranking.weights if best else (1,) * len(wanted.phrases)
    phrases = [
        Query.const_score_query(_phrase(phrase), float(weight))
        for phrase, weight in zip(wanted.phrases, weights, strict=True)
    ]
    parts = [(Occur.Must, _silent(part)) for part in _filters(inquiry, after)]
    if not parts and not phrases:
        parts.append((Occur.Must, _silent(Query.all_query())))
    if wanted.match == "all":
        parts += [(Occur.Must, phrase) for phrase in phrases]
    elif phrases:
        parts.append((Occur.Must, _any(phrases)))
    if best and ranking.together is not None:
        bonus = Query.const_score_query(_phrase(ranking.together), float(sum(weights)))
        parts.append((Occur.Should, bonus))
    parts += [(Occur.MustNot, _phrase(phrase)) for phrase in wanted.without]
    return Query.boolean_query(parts)


def _phrase(phrase: Phrase) -> Query:
    *body, last = phrase.words
    if phrase.prefix and body:
        words = [*map(_literal, body), _literal(last) + ".*"]
        return Query.regex_phrase_query(SCHEMA, WORDS, words)  # pyright: ignore[reportArgumentType]
    if phrase.prefix:
        return Query.regex_query(SCHEMA, WORDS, _literal(last) + ".*")
    if body:
        return Query.phrase_query(SCHEMA, WORDS, list(phrase.words))
    return _term(WORDS, last)


def _literal(word: str) -> str:
    """A regular expression for a word and nothing else."""
    return "".join(one if one.isalnum() or ord(one) > 0x7F else "\\" + one for one in word)


def _filters(inquiry: Inquiry, after: Found | None) -> Iterable[Query]:
    wanted, order = inquiry.wanted, inquiry.order
    for field, value in ((_SENDER, wanted.sender), (_KIND, wanted.kind)):
        if value:
            yield _term(field, value)
    if wanted.media:
        yield _term(_FLAGS, _MEDIA)
    if wanted.mentioned:
        yield Query.term_set_query(SCHEMA, _MENTIONS, wanted.mentioned)
    if wanted.since is not None or wanted.until is not None:
        until = None if wanted.until is None else wanted.until - 1
        yield _between(_TIME, wanted.since, until)
    lowest, highest = None, None if wanted.upto >= MAX_SEQ else wanted.upto
    if after is not None and order == "newest":
        highest = min(wanted.upto, after.seq - 1)
    elif after is not None and order == "oldest":
        lowest = after.seq + 1
    if lowest is not None or highest is not None:
        yield _between(SEQ, lowest, highest)


def _within(scope: Scope) -> Query:
    parts: list[Query] = []
    if scope.whole:
        parts.append(Query.term_set_query(SCHEMA, CONVERSATION, list(scope.whole)))
    if scope.audiences:
        terms = [audience(*one) for one in scope.audiences]
        parts.append(Query.term_set_query(SCHEMA, _AUDIENCE, terms))
    for name, window in scope.parts:
        span = _between(SEQ, window.joined, window.left or None)
        both = [(Occur.Must, _term(CONVERSATION, name)), (Occur.Must, span)]
        parts.append(Query.boolean_query(both))
    return _any(parts)


def _between(field: str, lowest: int | None, highest: int | None) -> Query:
    return Query.range_query(SCHEMA, field, FieldType.Integer, lowest, highest)


def _term(field: str, value: str) -> Query:
    return Query.term_query(SCHEMA, field, value, index_option="basic")


def _any(queries: Sequence[Query]) -> Query:
    if len(queries) == 1:
        return queries[0]
    return Query.boolean_query([(Occur.Should, one) for one in queries])


def _silent(one: Query) -> Query:
    return Query.const_score_query(one, 0.0)
