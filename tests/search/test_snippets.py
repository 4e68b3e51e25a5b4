"""The piece of a message to show, and where in it the words stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.finding import Phrase
from timewire.search.questions import parse
from timewire.search.snippets import MAX_MATCHES, MAX_SNIPPET_CHARS, snippet


def found(text: str, question: str) -> list[str]:
    shown, spots = snippet(text, parse(question).wanted)
    assert shown == text
    return [shown[start:end] for start, end in spots]


@pytest.mark.parametrize(
    ("text", "question", "spots"),
    [
        ("Hello World, hello!", "hello", ["Hello", "hello"]),
        ("Der Straße nach", "strasse nach", ["Straße", "nach"]),
        ("a quick-brown fox", '"quick brown"', ["quick-brown"]),
        ("foxes and fox", "fox*", ["foxes", "fox"]),
        ("我们去北京吧", "北京", ["北京"]),
        ("我们去北京吧", "北 京吧", ["北", "京吧"]),
        ("ﾃｽﾄ ｶﾞ", "テスト ガ", ["ﾃｽﾄ", "ｶﾞ"]),
        ("看 http://a.example/x 吧", "a.example", ["a.example"]),
        ("👍🏽!", "👍", ["👍🏽"]),
        ("aaa aa a", "a", ["a"]),
        ("x y x y x", '"x y x"', ["x y x y x"]),
        ("nothing", "else", []),
        ("everything", "", []),
    ],
)
def test_where_the_words_stand(text: str, question: str, spots: list[str]) -> None:
    assert found(text, question) == spots


def test_a_long_text_is_shown_around_the_first_match() -> None:
    text = "lorem ipsum " * 50 + "needle here " + "dolor sit " * 50
    shown, spots = snippet(text, parse("needle").wanted)
    assert len(shown) == MAX_SNIPPET_CHARS
    assert shown in text
    [(start, end)] = spots
    assert shown[start:end] == "needle"
    assert not shown.startswith((" ", "orem", "psum"))


def test_a_long_text_without_a_match_is_shown_from_its_beginning() -> None:
    assert snippet("字" * 1000, ()) == ("字" * MAX_SNIPPET_CHARS, [])


def test_matches_are_bounded_and_end_with_the_snippet() -> None:
    _, spots = snippet("a " * 100, parse("a").wanted)
    assert len(spots) == MAX_MATCHES
    shown, spots = snippet("x" * (MAX_SNIPPET_CHARS - 1) + " " + "y" * 9, parse("y*").wanted)
    assert [shown[start:end] for start, end in spots] == ["y" * 9]


@given(
    st.text(max_size=400) | st.text("ab 字é", max_size=400),
    st.lists(
        st.builds(Phrase, st.sampled_from([("a",), ("b", "a"), ("字",), ("e",)]), st.booleans())
    ),
)
def test_spots_are_in_the_snippet_in_order(text: str, phrases: list[Phrase]) -> None:
    shown, spots = snippet(text, phrases)
    assert shown in text
    assert len(shown) == min(len(text), MAX_SNIPPET_CHARS) or spots
    last = 0
    for start, end in spots:
        assert last <= start < end <= len(shown)
        last = end
