"""What a user writes into a search box, read as phrases.

    deploy failed         both words, anywhere
    "deploy failed"       the words one after the other
    deploy*               a word that begins so;  "deploy fail*"  a phrase that ends so
    -staging  -"to do"    without it

Everything else is text: what joins words without spaces, as in ``foo-bar`` or ``a.b/c`` or in
Chinese, makes a phrase of them; an operator in the wrong place, or a quotation mark without
another, means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from timewire.errors import error
from timewire.finding import Phrase
from timewire.words import words

MAX_QUESTION_CHARS: Final = 512
MAX_PHRASES: Final = 16
MAX_WORDS: Final = 64

_PART: Final = re.compile(
    r'(?P<no>-?)(?:["“”](?P<quoted>[^"“”]*)["“”](?P<more>\*?)|(?P<plain>[^\s"“”]+|["“”]))'
)


class Question(msgspec.Struct, frozen=True):
    """What is to be found, and what is not.

    ``together``: all that is to be found as it was written, when that is more than one phrase.
    """

    wanted: tuple[Phrase, ...] = ()
    without: tuple[Phrase, ...] = ()
    together: Phrase | None = None


def parse(text: str) -> Question:
    """Read a question.  Raises ``Invalid`` (bad_query) beyond the limits."""
    if len(text) > MAX_QUESTION_CHARS:
        raise error("bad_query", reason=f"longer than {MAX_QUESTION_CHARS} characters")
    wanted: dict[Phrase, None] = {}
    without: dict[Phrase, None] = {}
    for part in _PART.finditer(text):
        phrase = _phrase(part)
        if phrase is not None:
            (without if part["no"] else wanted)[phrase] = None
    phrases = [*wanted, *without]
    if len(phrases) > MAX_PHRASES:
        raise error("bad_query", reason=f"more than {MAX_PHRASES} words or phrases")
    if sum(len(phrase.words) for phrase in phrases) > MAX_WORDS:
        raise error("bad_query", reason=f"more than {MAX_WORDS} words")
    return Question(tuple(wanted), tuple(without), _together(list(wanted)))


def _phrase(part: re.Match[str]) -> Phrase | None:
    if part["quoted"] is not None:
        cut = words(part["quoted"].removesuffix("*"))
        prefix = bool(part["more"]) or part["quoted"].endswith("*")
    else:
        plain = part["plain"]
        cut = words(plain)
        prefix = plain.endswith("*") and bool(words(plain[-2:-1]))
    return Phrase(tuple(cut), prefix) if cut else None


def _together(phrases: Sequence[Phrase]) -> Phrase | None:
    if len(phrases) < 2 or any(phrase.prefix for phrase in phrases):
        return None
    return Phrase(tuple(word for phrase in phrases for word in phrase.words))
