"""What a body says of media."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.errors import TimewireError
from timewire.kinds import SCHEMAS, check_content
from timewire.media import MAX_MEDIA_A_MESSAGE, is_name, references

A, B = "a" * 64, "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ()),
        ({"text": "media"}, ()),
        ({"media": None}, ()),
        ({"media": A}, (A,)),
        ({"media": []}, ()),
        ({"media": [A, B, A]}, (A, B)),
        ({"card": {"media": "whatever"}}, ()),
    ],
)
def test_references(body: dict[str, Any], names: tuple[str, ...]) -> None:
    assert references(body) == names


@pytest.mark.parametrize(
    ("media", "code"),
    [
        (1, "bad_body"),
        ({"id": A}, "bad_body"),
        ([A, 1], "bad_body"),
        ([[A]], "bad_body"),
        ([A] * (MAX_MEDIA_A_MESSAGE + 1), "bad_body"),
        ("", "unknown_media"),
        (A[:-1], "unknown_media"),
        (A.upper(), "unknown_media"),
        (A + "\n", "unknown_media"),
        ([A, "../secret"], "unknown_media"),
    ],
)
def test_references_that_are_none(media: Any, code: str) -> None:
    with pytest.raises(TimewireError) as refused:
        references({"media": media})
    assert refused.value.code == code


@given(st.text(max_size=70))
def test_only_hashes_are_names(text: str) -> None:
    assert is_name(text) == (len(text) == 64 and set(text) <= set("0123456789abcdef"))


@pytest.mark.parametrize("kind", ["file", "image", "audio", "video"])
def test_a_file_was_uploaded_or_is_kept_elsewhere(kind: str) -> None:
    for body in ({"media": A}, {"ref": "https://example.com/a"}, {"media": A, "ref": "x"}):
        check_content(kind, body, SCHEMAS)
    for body in ({}, {"name": "a"}, {"media": "a"}, {"media": A + "\n"}, {"media": [A]}):
        with pytest.raises(TimewireError) as refused:
            check_content(kind, body, SCHEMAS)
        assert refused.value.code == "bad_body"
