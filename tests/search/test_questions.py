"""What is written into a search box, and how it is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.errors import TimewireError
from timewire.finding import Phrase
from timewire.search.questions import (
    MAX_PHRASES,
    MAX_QUESTION_CHARS,
    MAX_WORDS,
    Question,
    parse,
)


def phrase(text: str) -> Phrase:
    return Phrase(tuple(text.removesuffix("*").split()), text.endswith("*"))


@pytest.mark.parametrize(
    ("text", "wanted", "without"),
    [
        ("", [], []),
        ("  \t\n ", [], []),
        ("deploy", ["deploy"], []),
        ("Deploy FAILED", ["deploy", "failed"], []),
        ("deploy deploy", ["deploy"], []),
        ('"deploy failed"', ["deploy failed"], []),
        ('"deploy failed" now', ["deploy failed", "now"], []),
        ("“deploy failed”", ["deploy failed"], []),
        ('say"deploy failed"now', ["say", "deploy failed", "now"], []),
        ('""', [], []),
        # a quotation mark without another means nothing
        ('"deploy failed', ["deploy", "failed"], []),
        ('deploy "failed', ["deploy", "failed"], []),
        ('a "b c" "d', ["a", "b c", "d"], []),
        ('"', [], []),
        # prefixes
        ("deploy*", ["deploy*"], []),
        ("dep* fail*", ["dep*", "fail*"], []),
        ('"deploy fail*"', ["deploy fail*"], []),
        ('"deploy fail"*', ["deploy fail*"], []),
        ("foo-ba*", ["foo ba*"], []),
        ("* ** dep-* *x", ["dep", "x"], []),
        # not
        ("deploy -staging", ["deploy"], ["staging"]),
        ('-"to do" -x* y', ["y"], ["to do", "x*"]),
        ("-staging", [], ["staging"]),
        ("- -- x", ["x"], []),
        ("a-b", ["a b"], []),
        ("--verbose", [], ["verbose"]),
        ('- "a b"', ["a b"], []),
        # what stands together is a phrase
        ("https://a.example/b_c?d=1", ["https a example b c d 1"], []),
        ("std::vector<int>", ["std vector int"], []),
        ("北京天气", ["北 京 天 气"], []),
        ("北京 天气", ["北 京", "天 气"], []),
        ("iPhone15手机", ["iphone15 手 机"], []),
        ("สวัสดี", ["ส วั ส ดี"], []),
        ("👍🏽", ["👍"], []),
        ("AND NOT (a) title:x ^2 ~ [a TO]", ["and", "not", "a", "title x", "2", "to"], []),
        ("!!! ... ???", [], []),
    ],
)  # fmt: skip
def test_questions(text: str, wanted: list[str], without: list[str]) -> None:
    found = parse(text)
    assert list(found.wanted) == [phrase(one) for one in wanted]
    assert list(found.without) == [phrase(one) for one in without]


def test_what_was_written_together_counts_together() -> None:
    assert parse("quick brown fox").together == phrase("quick brown fox")
    assert parse('"a b" c -d').together == phrase("a b c")
    assert parse("a").together is None
    assert parse("a b*").together is None
    assert parse("").together is None


@pytest.mark.parametrize(
    "text",
    [
        "x" * (MAX_QUESTION_CHARS + 1),
        " ".join(f"w{n}" for n in range(MAX_PHRASES + 1)),
        " ".join(f"-w{n}" for n in range(MAX_PHRASES + 1)),
        "-".join("x" * (MAX_WORDS + 1)),
        "字" * (MAX_WORDS + 1),
    ],
)
def test_there_are_limits(text: str) -> None:
    with pytest.raises(TimewireError) as caught:
        parse(text)
    assert caught.value.code == "bad_query"
    assert caught.value.fields["reason"]


def test_up_to_the_limits() -> None:
    assert len(parse(" ".join(f"w{n}" for n in range(MAX_PHRASES))).wanted) == MAX_PHRASES
    assert len(parse("字" * MAX_WORDS).wanted[0].words) == MAX_WORDS
    assert parse("." * MAX_QUESTION_CHARS) == Question()


@given(st.text(max_size=15) | st.text('ab -"“”*字👍.', max_size=15))
def test_anything_is_a_question(text: str) -> None:
    # Neither is as long as a question may be.
    found = parse(text)
    for one in (*found.wanted, *found.without):
        assert one.words
        assert all(word and word.split() == [word] for word in one.words)
