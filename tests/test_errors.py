"""Errors: one class a code, facts in fields, advice for the caller."""

import re

import pytest

from timewire import errors
from timewire.errors import CODES, Invalid, Retryable, TimewireError, UnknownOutcome, error

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, TimewireError)
]


@pytest.mark.parametrize("code", CODES)
def test_every_code_makes_an_error_that_says_what_to_do(code: str) -> None:
    made = error(code, conversation="team")

    assert type(made) is CODES[code][0]
    assert (made.code, made.fields) == (code, {"conversation": "team"})
    assert str(made) == f"{code}: {made.message}"
    assert made.message
    assert not made.message.endswith(".")
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)


def test_an_error_may_have_a_sentence_of_its_own() -> None:
    made = error("directory_unusable", "the disk is read-only", path="data")
    assert made.message == "the disk is read-only"
    assert str(made) == "directory_unusable: the disk is read-only"


def test_an_unknown_code_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        error("no_such_code")


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_is_used_and_has_an_http_status(cls: type[TimewireError]) -> None:
    assert any(issubclass(used, cls) for used, _ in CODES.values())
    assert 400 <= cls.status < 600
    assert cls.__doc__


def test_only_what_may_succeed_later_is_to_be_repeated() -> None:
    assert {cls for cls in CLASSES if cls.retry} == {Retryable, UnknownOutcome}


def test_statuses_tell_the_callers_fault_from_the_servers() -> None:
    assert (Invalid.status, errors.Forbidden.status, errors.NotFound.status) == (400, 403, 404)
    assert (Retryable.status, UnknownOutcome.status, TimewireError.status) == (503, 504, 500)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"──\s(\w+)", errors.__doc__ or "")
    assert drawn == [cls.__name__ for cls in CLASSES if cls is not TimewireError]
