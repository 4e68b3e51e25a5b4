"""What texts of all scripts are cut into."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.words import MAX_WORD_CHARS, fold, placed, words


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        # Latin: case, width, accents, letters of their own
        ("Hello, World!", "hello world"),
        ("Ｈｅｌｌｏ　Ｗｏｒｌｄ", "hello world"),
        ("Café cafe\u0301 CAFÉ", "cafe cafe cafe"),
        ("naïve façade Ångström", "naive facade angstrom"),
        ("Straße STRASSE", "strasse strasse"),
        ("Łódź Ørsted Œuvre Þór đ", "lodz orsted oeuvre thor d"),
        ("İstanbul Isparta ısı", "istanbul isparta isi"),
        ("ﬁne 𝓗𝓮𝓵𝓵𝓸 Ⅳ ½", "fine hello iv 1 2"),
        ("soft\u00adhyphen", "softhyphen"),
        # others with spaces
        ("Ελλάς ΣΑΣ σας", "ελλασ σασ σασ"),
        ("Ёлка Йод", "елка иод"),
        ("القُرآن كِتاب", "القران كتاب"),
        ("שָׁלוֹם", "שלום"),
        ("हिन्दी में", "हिन्दी में"),
        # without spaces: each character, with its marks
        ("我们去北京", "我 们 去 北 京"),
        ("東京タワー", "東 京 タ ワ ー"),
        ("ｶﾞｷﾞ ガギ か\u3099", "ガ ギ ガ ギ が"),
        ("한국어 \u1112\u1161\u11ab", "한 국 어 한"),
        ("ｱｲ ﾡ", "ア イ ᄀ"),
        ("ทดสอบที่นี่", "ท ด ส อ บ ที่ นี่"),
        ("မြန်မာ။", "မြ န် မာ"),
        ("ភាសា", "ភា សា"),
        ("𠮷野家", "𠮷 野 家"),
        # mixed, code, numbers, addresses
        ("2024年iPhone15手机", "2024 年 iphone15 手 机"),
        ("foo_bar(x->y); c++ 3.14", "foo bar x y c 3 14"),
        ("https://a.example/b?c=1#d", "https a example b c 1 d"),
        ("me@example.com don't", "me example com don t"),
        # pictures
        ("👍 👍🏽 ☕️ 1️⃣ 🇩🇪", "👍 👍 ☕ 1 🇩 🇪"),
        ("👨\u200d👩\u200d👧 ™ ㍿", "👨 👩 👧 tm 株 式 会 社"),
        # nothing
        ("", ""),
        (" \t\n.,;:!?-_=+*/\\|()[]{}<>\"'`~@#$%^&…—“”。、！？「」", ""),
    ],
)
def test_texts_and_their_words(text: str, cut: str) -> None:
    assert words(text) == cut.split()
    assert [word.text for word in placed(text)] == cut.split()


def test_long_words_are_cut_and_follow_each_other() -> None:
    long = "x" * (2 * MAX_WORD_CHARS + 5)
    assert words(long) == ["x" * MAX_WORD_CHARS, "x" * MAX_WORD_CHARS, "x" * 5]
    assert max(map(len, words("ﷺ" * 100 + "é" * 200))) <= MAX_WORD_CHARS


def test_words_stand_where_they_are_said_to_stand() -> None:
    text = "Ａ Straße, 我们 👨\u200d👩 ①② ㍿!"
    spots = [(word.text, text[word.start : word.end]) for word in placed(text)]
    assert spots == [
        ("a", "Ａ"),
        ("strasse", "Straße"),
        ("我", "我"),
        ("们", "们"),
        ("👨", "👨"),
        ("👩", "👩"),
        ("12", "①②"),
        ("株", "㍿"),
        ("式", "㍿"),
        ("会", "㍿"),
        ("社", "㍿"),
    ]


def test_ascii_is_cut_like_everything_else() -> None:
    text = "The quick_brown FOX 123abc " + "y" * 150
    assert words(text) == words(text + "。")


TEXTS = st.text(max_size=30) | st.text(
    st.sampled_from(list("aé \u0301ßİ我ｶﾞ가ที่👍🏽\u200d\ufe0f1①ﷺﬁ_-𠮷ـֹ㍿ⅣΣς")), max_size=30
)


@given(TEXTS)
def test_places_and_words_agree(text: str) -> None:
    found = list(placed(text))
    assert [word.text for word in found] == words(text)
    assert all(0 <= word.start < word.end <= len(text) for word in found)
    assert all(one.start <= other.start for one, other in pairwise(found))


@given(TEXTS)
def test_words_stay_the_same_when_cut_again(text: str) -> None:
    cut = words(text)
    assert words(" ".join(cut)) == cut
    assert all(word and word.split() == [word] and len(word) <= 4 * MAX_WORD_CHARS for word in cut)


@given(TEXTS)
def test_forms_of_one_text_have_the_same_words(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert words(unicodedata.normalize("NFD", composed)) == words(composed)


@given(TEXTS, TEXTS)
def test_a_text_between_spaces_keeps_its_words(one: str, other: str) -> None:
    assert words(f"{one} . {other}") == words(one) + words(other)


@given(TEXTS)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)
