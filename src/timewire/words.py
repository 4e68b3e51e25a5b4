"""Words: what a text is cut into for searching, in any script, and where each one stands.

A *word* is what can be searched for by itself:

- in scripts with spaces, a run of letters and digits, in pieces of ``MAX_WORD_CHARS``;
- in scripts without (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese ...), each character with
  the marks that belong to it, so that any part of a sentence can be found;
- an emoji or other pictorial symbol.

Punctuation, spaces and lines only separate.  Words are folded: case, width and compatibility
forms, the accents of Latin, Greek and Cyrillic letters and the points of Hebrew and Arabic make no
difference; nor does an emoji's skin tone.  So ``Ｃａｆé`` is ``cafe``, ``ｶﾞ`` is ``ガ``, and
``Straße`` is ``strasse``.

A text is cut the same way whether it is stored or asked for, so words that follow each other in a
question follow each other in every text that holds them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Final

import msgspec

MAX_WORD_CHARS: Final = 64
"""A longer run of letters and digits becomes several words that follow each other."""

MAX_FOLDED_KEPT: Final = 65_536
"""Folded words of other scripts than ASCII that are remembered."""

_ASCII: Final = re.compile(rf"[a-z0-9]{{1,{MAX_WORD_CHARS}}}")

_UNSPACED: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x2FDF),  # Han radicals
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3031, 0x3035),
    (0x3038, 0x303C),
    (0x3041, 0x3096),  # Hiragana
    (0x309B, 0x309F),
    (0x30A1, 0x30FA),  # Katakana
    (0x30FC, 0x30FF),
    (0x3105, 0x318E),  # Bopomofo, single Hangul letters
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xA000, 0xA48C),  # Yi
    (0xA9E0, 0xA9FE),
    (0xAA60, 0xAADF),
    (0xAC00, 0xD7A3),  # Hangul
    (0xF900, 0xFAFF),
    (0xFF66, 0xFFDC),  # half-width Katakana and Hangul
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x323AF),
)
"""Ranges of the scripts that put no spaces between words, first and last."""

_SYMBOLS: Final = (
    (0x00A9, 0x00A9),
    (0x00AE, 0x00AE),
    (0x2100, 0x214F),
    (0x2190, 0x21FF),
    (0x2300, 0x23FF),
    (0x2500, 0x27BF),
    (0x2900, 0x297F),
    (0x2B00, 0x2BFF),
    (0x3004, 0x3004),
    (0x3012, 0x3013),
    (0x3020, 0x3020),
    (0x3200, 0x33FF),
    (0x1F000, 0x1FAFF),
)
"""Ranges that hold emoji and other pictorial symbols."""

_SKIN_TONES: Final = "\U0001f3fb-\U0001f3ff"
_LAST_COMMON: Final = 0xFFFF
_LAST: Final = 0x323AF
_RARE: Final = re.compile("[\U00010000-\U0010ffff]")

_ALL: Final = ((0x30, 0x10FF), (0x1200, 0x1FFFF))
"""Where letters are looked for; what lies between stands together in another way."""

_ACCENTS: Final = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u0640\u064b-\u065f\u0670]"
)
"""Marks without which the same word is meant: accents, and the points of Hebrew and Arabic."""

_PLAIN: Final = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h"}
)
"""Letters whose difference from a plain one is no accent that could be taken off."""


class Word(msgspec.Struct, frozen=True, gc=False):
    """A folded word, and where it stands in its text: from ``start`` to before ``end``."""

    text: str
    start: int
    end: int


def fold(text: str) -> str:
    """The text without differences of case, width, form and accent."""
    if text.isascii():
        return text.lower()
    # Folding case can make forms that are not composed, and composing can make capitals.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    bare = _ACCENTS.sub("", unicodedata.normalize("NFD", text.casefold()))
    return unicodedata.normalize("NFC", bare).translate(_PLAIN)


def words(text: str) -> list[str]:
    """The folded words of a text, in order."""
    if text.isascii():
        return _ASCII.findall(text.lower())
    return [word for found in _cutter(text).findall(text) for word in _cut(found)]


def placed(text: str) -> Iterator[Word]:
    """The words of a text with their places; what is one character may be several words."""
    if text.isascii():
        for found in _ASCII.finditer(text.lower()):
            yield Word(found[0], found.start(), found.end())
        return
    for found in _cutter(text).finditer(text):
        for word in _cut(found[0]):
            yield Word(word, found.start(), found.end())


@lru_cache(maxsize=MAX_FOLDED_KEPT)
def _cut(found: str) -> tuple[str, ...]:
    """The words of what stands together in a text: most often one."""
    folded = fold(_looks().sub("", found))
    if folded.isalnum() and folded.isascii() and len(folded) <= MAX_WORD_CHARS:
        return (folded,)
    return tuple(_cutter(folded).findall(folded))


@cache
def _looks() -> re.Pattern[str]:
    """What only changes how a character looks."""
    return re.compile(f"[\u00ad\u200c\u200d\u20e3\ufe00-\ufe0f{_SKIN_TONES}]")


def _cutter(text: str) -> re.Pattern[str]:
    """What a text is cut by.  That for all characters is ten times slower than that for most."""
    return _pattern(_LAST if _RARE.search(text) else _LAST_COMMON)


@cache
def _pattern(last: int) -> re.Pattern[str]:
    """Cuts text that has characters up to ``last``.  Made when it is first needed: it takes time.

    In this order: a word, a character of a script without spaces, Hangul written in letters
    (lead, vowel, tail), a symbol.
    """
    unspaced = set(_of(_UNSPACED, "LNM", last))
    letters = _class(code for code in _of(_ALL, "LN", last) if code not in unspaced)
    marks = _class(_of(_ALL, "M", last)) + "\u00ad\u200c\u200d\uff9e\uff9f"
    tones = _SKIN_TONES if last > _LAST_COMMON else ""
    return re.compile(
        f"[{letters}][{letters}{marks}]{{0,{MAX_WORD_CHARS - 1}}}"
        f"|[{_class(sorted(unspaced))}][{marks}]*"
        "|[\u1100-\u115f\ua960-\ua97c]+[\u1160-\u11a7\ud7b0-\ud7c6]*[\u11a8-\u11ff\ud7cb-\ud7fb]*"
        f"[{marks}]*"
        f"|[{_class(_of(_SYMBOLS, 'S', last))}][\ufe0e\ufe0f\u20e3{tones}]*"
    )


def _of(ranges: Iterable[tuple[int, int]], categories: str, upto: int) -> Iterator[int]:
    """The characters in ranges that are of these categories, by their first letters."""
    for first, last in ranges:
        for code in range(first, min(last, upto) + 1):
            if unicodedata.category(chr(code))[0] in categories:
                yield code


def _class(codes: Iterable[int]) -> str:
    """Characters in growing order as the inside of a regular expression's class."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
