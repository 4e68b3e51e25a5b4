"""Page tokens go on for whoever asked, and for nobody and nothing else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.asking import Search
from timewire.errors import TimewireError
from timewire.model import MAX_SEQ
from timewire.search.paging import MAX_TOKEN_CHARS, MAX_WEIGHT, Place, seal, unseal

ASKED = Search("1", "hello", conversation="team")
PLACE = Place(17, 4, 99, (1, 2))
NUMBERS = st.integers(0, MAX_SEQ)


def code(token: str, epoch: str = "e", user: str = "alice", query: Search = ASKED) -> str:
    with pytest.raises(TimewireError) as caught:
        unseal(token, epoch, user, query)
    return caught.value.code


@given(
    st.builds(
        Place,
        NUMBERS,
        NUMBERS,
        NUMBERS,
        st.lists(st.integers(1, MAX_WEIGHT), max_size=16).map(tuple),
    )
)
def test_a_token_names_its_place(place: Place) -> None:
    token = seal(place, "e", "alice", ASKED)
    assert unseal(token, "e", "alice", ASKED) == place
    assert len(token) <= MAX_TOKEN_CHARS
    assert token.replace("-", "").replace("_", "").isalnum()


def test_the_size_of_a_page_may_change_and_nothing_else() -> None:
    token = seal(PLACE, "e", "alice", ASKED)
    other = msgspec.structs.replace(ASKED, id="2", limit=50, page=token, wait_for=3)
    assert unseal(token, "e", "alice", other) == PLACE
    assert code(token, user="bob") == "bad_page"
    assert code(token, epoch="f") == "bad_page"
    for change in (
        {"text": "hell"},
        {"match": "any"},
        {"conversation": ""},
        {"sender": "bob"},
        {"since": 5},
        {"media": True},
        {"order": "oldest"},
    ):
        assert code(token, query=msgspec.structs.replace(ASKED, **change)) == "bad_page"


@given(st.text(max_size=60) | st.text("abcXYZ019-_=", max_size=60))
def test_garbage_is_no_page(token: str) -> None:
    assert code(token) == "bad_page"


def test_a_changed_token_is_no_page() -> None:
    token = seal(PLACE, "e", "alice", ASKED)
    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert changed == token or code(changed) == "bad_page"
    assert code(token + "AAAA") == "bad_page"
    assert code("A" * (MAX_TOKEN_CHARS + 1)) == "bad_page"
    assert code("") == "bad_page"
