"""Snippets: the piece of a message around what was found, and where in it that stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from timewire.finding import Phrase, places
from timewire.words import placed

MAX_SNIPPET_CHARS: Final = 240
LEAD_CHARS: Final = 60
"""What is shown before the first match, of a text that is longer than a snippet."""

MAX_MATCHES: Final = 50


def snippet(text: str, phrases: Sequence[Phrase]) -> tuple[str, list[tuple[int, int]]]:
    """A piece of a text, and where the phrases stand in it: from, to before, in characters.

    A text of up to ``MAX_SNIPPET_CHARS`` is shown whole, a longer one from a little before the
    first match.  Matches do not overlap, and are in order.
    """
    spots = _spots(text, phrases)
    start = 0
    if len(text) > MAX_SNIPPET_CHARS and spots:
        start = _begin(text, max(0, spots[0][0] - LEAD_CHARS), spots[0][0])
    end = start + MAX_SNIPPET_CHARS
    shown = [(first - start, min(last, end) - start) for first, last in spots if first < end]
    return text[start:end], shown[:MAX_MATCHES]


def _spots(text: str, phrases: Sequence[Phrase]) -> list[tuple[int, int]]:
    """Where the phrases stand in the whole text; what overlaps is one."""
    cut = list(placed(text)) if phrases else []
    words = [word.text for word in cut]
    found = sorted(
        (cut[at].start, cut[at + len(phrase.words) - 1].end)
        for phrase in phrases
        for at in places(phrase, words)
    )
    joined: list[tuple[int, int]] = []
    for first, last in found:
        if joined and first < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _begin(text: str, start: int, upto: int) -> int:
    """A good place to begin: behind a space, if there is one before the match."""
    space = text.find(" ", start, upto)
    return space + 1 if start and space >= 0 else start
