"""A bar on a terminal, nothing elsewhere."""

import pytest
from rich.progress import TextColumn

from timewire.progress import bar

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> Captured:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    return capsys


def test_a_terminal_shows_what_is_done_and_of_how_much(terminal: Captured) -> None:
    with bar("looking") as show:
        show(3, 10)
        show(7)
    out, err = terminal.readouterr()
    assert out == ""
    assert "looking" in err
    assert "7/10" in err


def test_a_bar_has_the_amounts_that_it_is_given(terminal: Captured) -> None:
    with bar("copying", TextColumn("{task.completed:,.0f} messages")) as show:
        show(4000)
    assert "4,000 messages" in terminal.readouterr().err


def test_elsewhere_nothing_is_shown(capsys: Captured) -> None:
    with bar("looking") as show:
        show(3, 10)
    assert capsys.readouterr() == ("", "")
