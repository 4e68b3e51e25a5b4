"""How far a command has come: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


class Show(Protocol):
    """Says that so much is done, of a total; None: as it was, or unknown."""

    def __call__(self, done: int, total: int | None = None) -> None: ...


@contextmanager
def bar(what: str, *amounts: ProgressColumn) -> Generator[Show]:
    """A bar with a name.  ``amounts``: its columns to the right; else "3/10" and the time left."""
    console = Console(stderr=True)
    shown = Progress(
        TextColumn(what),
        BarColumn(),
        *(amounts or (MofNCompleteColumn(), TimeRemainingColumn())),
        console=console,
        disable=not console.is_terminal,
    )
    with shown:
        task = shown.add_task("", total=None)

        def show(done: int, total: int | None = None) -> None:
            shown.update(task, completed=done, total=total)

        yield show
