"""Results as a table for people and as JSON for programs."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from bench.cases import Case, Target
from bench.stats import Spread

QUIET_CORES: Final = 0.2
"""As much as other programs may take of the machine before it is worth a warning."""

STYLES: Final = {"aim": "green", "floor": "yellow", "below": "bold red", "": ""}


class Outcome(msgspec.Struct):
    """What the runs of a case found, each number by its name."""

    case: Case
    found: dict[str, Spread]


def gather(case: Case, runs: list[dict[str, float]]) -> Outcome:
    """The spread of every number that all runs have."""
    keys = [key for key in runs[0] if all(key in run for run in runs)]
    return Outcome(case, {key: Spread.of([run[key] for run in runs]) for key in keys})


def show(console: Console, outcomes: list[Outcome]) -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what")
    for heading in ("median", "lowest .. highest", "floor", "aim"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("others, measured elsewhere")
    for outcome in outcomes:
        table.add_row(f"[bold]{outcome.case.title}")
        for target in outcome.case.targets:
            if target.key in outcome.found:
                table.add_row(*_row(target, outcome.found[target.key]))
        table.add_row()
    console.print(table)
    others = [o.found["other_cores"].median for o in outcomes if "other_cores" in o.found]
    if others and max(others) > QUIET_CORES:
        console.print(
            f"[yellow]Other programs kept up to {number(max(others))} cores busy meanwhile: "
            "what was found is too slow."
        )


def _row(target: Target, spread: Spread) -> list[str]:
    says, median, *rest = _cells(target, spread)
    style = STYLES[target.verdict(spread.median)]
    return [f"  {says}", f"[{style}]{median}[/]" if style else median, *rest]


def _cells(target: Target, spread: Spread) -> list[str]:
    return [
        target.says,
        f"{number(spread.median)} {target.unit}".strip(),
        f"{number(spread.low)} .. {number(spread.high)}" if spread.runs > 1 else "",
        "" if target.floor is None else number(target.floor),
        "" if target.aim is None else number(target.aim),
        target.elsewhere,
    ]


def to_markdown(outcomes: list[Outcome], about: dict[str, Any]) -> str:
    """The table for a document, with the machine and the settings above it."""
    machine, settings = about["machine"], about["settings"]
    lines = [
        ", ".join(f"{key} {value}" for key, value in machine.items()) + ".",
        ", ".join(f"{key} {value}" for key, value in settings.items()) + f"; {about['when']}.",
        "",
        "| what | median | lowest .. highest | floor | aim | others, measured elsewhere |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for outcome in outcomes:
        lines.append(f"| **{outcome.case.title}** | | | | | |")
        for target in outcome.case.targets:
            if target.key in outcome.found:
                cells = _cells(target, outcome.found[target.key])
                lines.append("| " + " | ".join(cells) + " |")
    others = [o.found["other_cores"].median for o in outcomes if "other_cores" in o.found]
    if others:
        lines += ["", f"Other programs kept up to {number(max(others))} cores busy meanwhile."]
    return "\n".join(lines)


def replace_results(document: str, results: str, section: str = "results") -> str:
    """A document with other results between two marks: ``<!-- results -->`` and its end.

    Raises ``ValueError`` when they are not there.
    """
    opening, closing = f"<!-- {section} -->", f"<!-- end of {section} -->"
    before, begin, rest = document.partition(opening)
    _, end, after = rest.partition(closing)
    if not begin or not end:
        raise ValueError(f"no {opening} and {closing} in the document")
    return f"{before}{begin}\n{results}\n{end}{after}"


def number(value: float) -> str:
    """Three digits or so: 0.94, 12.3, 4,321."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def to_json(outcomes: list[Outcome], about: dict[str, Any]) -> bytes:
    """Everything that was found, with the machine and the settings it was found on."""
    results = [
        {
            "case": outcome.case.name,
            "title": outcome.case.title,
            "shape": outcome.case.shape,
            "targets": [
                {
                    "key": t.key,
                    "unit": t.unit,
                    "floor": t.floor,
                    "aim": t.aim,
                    "verdict": t.verdict(outcome.found[t.key].median),
                }
                for t in outcome.case.targets
                if t.floor is not None and t.key in outcome.found
            ],
            "found": outcome.found,
        }
        for outcome in outcomes
    ]
    return msgspec.json.format(msgspec.json.encode({**about, "results": results}), indent=2)
