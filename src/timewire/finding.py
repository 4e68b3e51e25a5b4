"""Finding: what of a message is searched, what can be wanted, and when the one is the other.

Pure words and functions: the index answers by them, and the memory twin is nothing but them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log2
from typing import Final, Literal

import msgspec

from timewire.model import MAX_SEQ, Seq, Window

EVERYONE: Final = "*"
"""Stands among a document's mentions for everybody."""

Order = Literal["newest", "oldest", "best"]
Match = Literal["all", "any"]


class Document(msgspec.Struct, frozen=True, gc=False):
    """What can be found of a message.

    ``words``: as ``words.words`` cuts them, with one space between.  ``audience``: the SeqId of the
    newest change of the conversation's members that is not after the message, so that all messages
    of one audience may be seen by the same users.  ``expires``: the end of its life (ms); 0: none.
    """

    seq: Seq
    time: int
    conversation: str
    audience: Seq
    sender: str
    kind: str
    words: str
    media: bool = False
    mentions: tuple[str, ...] = ()
    expires: int = 0


class Phrase(msgspec.Struct, frozen=True):
    """Words that follow each other.  ``prefix``: the last one may be the beginning of a word."""

    words: tuple[str, ...]
    prefix: bool = False


class Scope(msgspec.Struct, frozen=True):
    """Which messages may be found at all: those that one of the three names.

    ``whole``: conversations, from beginning to end.  ``audiences``: conversations and audiences.
    ``parts``: conversations and the windows in them.
    """

    whole: frozenset[str] = frozenset()
    audiences: frozenset[tuple[str, Seq]] = frozenset()
    parts: tuple[tuple[str, Window], ...] = ()

    def holds(self, document: Document) -> bool:
        """Whether a document may be found."""
        name = document.conversation
        return (
            name in self.whole
            or (name, document.audience) in self.audiences
            or any(name == of and window.holds(document.seq) for of, window in self.parts)
        )


class Wanted(msgspec.Struct, frozen=True):
    """What a document must be like to be found; what is left empty makes no difference.

    ``phrases``: it has all or any of them.  ``without``: it has none of them.  ``mentioned``: it
    mentions one of them.  ``since`` (included) and ``until`` (not included): its time, in ms.
    ``upto``: its highest SeqId.
    """

    phrases: tuple[Phrase, ...] = ()
    match: Match = "all"
    without: tuple[Phrase, ...] = ()
    sender: str = ""
    kind: str = ""
    since: int | None = None
    until: int | None = None
    media: bool = False
    mentioned: tuple[str, ...] = ()
    upto: Seq = MAX_SEQ


class Ranking(msgspec.Struct, frozen=True):
    """What makes a document better than another, for the order ``best``.

    ``weights``: of each wanted phrase, 1 or more.  ``together``: a phrase that counts as much as
    all the others, for documents that hold the words as they were written.
    """

    weights: tuple[int, ...] = ()
    together: Phrase | None = None


class Inquiry(msgspec.Struct, frozen=True):
    """A whole question: what is wanted, among what, in which order.

    ``best`` needs phrases, and a weight for each.
    """

    wanted: Wanted
    scope: Scope
    order: Order = "newest"
    ranking: Ranking = Ranking()


class Found(msgspec.Struct, frozen=True):
    """Where a document is.  ``quality``: how much of what was wanted it has; 0 unless ``best``."""

    seq: Seq
    conversation: str
    quality: int = 0


RECENCY: Final = 2**20


def rank(quality: int, seq: Seq) -> tuple[float, Seq]:
    """What ``best`` orders by, the highest first: quality counts, and of equals the newest.

    The logarithm lets a newer message be a little better than one that is ten million messages
    older.  It is a function of the message and the question alone, so pages stay where they are.
    """
    return (quality * log2(2 + RECENCY + seq), seq)


# What these words mean, exactly ----------------------------------------------------------------


def places(phrase: Phrase, words: Sequence[str]) -> Iterator[int]:
    """Where a phrase stands in a text's words."""
    *body, last = phrase.words
    for at in range(len(words) - len(body)):
        end = words[at + len(body)]
        ends = end.startswith(last) if phrase.prefix else end == last
        if ends and all(words[at + n] == word for n, word in enumerate(body)):
            yield at


def has(phrase: Phrase, words: Sequence[str]) -> bool:
    """Whether a phrase stands in a text's words."""
    return any(True for _ in places(phrase, words))


def matches(wanted: Wanted, document: Document) -> bool:
    """Whether a document is what is wanted."""
    return _has_fields(wanted, document) and has_words(wanted, document.words.split(" "))


def has_words(wanted: Wanted, words: Sequence[str]) -> bool:
    """Whether a text has the words that are wanted, and not those that are not."""
    found = (has(phrase, words) for phrase in wanted.phrases)
    if wanted.phrases and not (any(found) if wanted.match == "any" else all(found)):
        return False
    return not any(has(phrase, words) for phrase in wanted.without)


def _has_fields(wanted: Wanted, document: Document) -> bool:
    mentioned = wanted.mentioned
    return (
        wanted.sender in ("", document.sender)
        and wanted.kind in ("", document.kind)
        and (wanted.since is None or document.time >= wanted.since)
        and (wanted.until is None or document.time < wanted.until)
        and (document.media or not wanted.media)
        and (not mentioned or any(user in document.mentions for user in mentioned))
        and document.seq <= wanted.upto
    )


def quality(wanted: Wanted, ranking: Ranking, words: Sequence[str]) -> int:
    """How much of what is wanted a text has."""
    found = zip(wanted.phrases, ranking.weights, strict=True)
    total = sum(weight for phrase, weight in found if has(phrase, words))
    if ranking.together is not None and has(ranking.together, words):
        total += sum(ranking.weights)
    return total
