"""``python -m bench``: arguments."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path
from typing import Any, Final

import uvloop
from rich.console import Console

from bench import capacity, flame, machine, report
from bench.cases import Case, cases, cluster_cases, search, storm
from bench.pictures import pictures
from bench.profile import Share, profiling, shares
from bench.report import Outcome
from bench.server import serving
from bench.soak import soak
from bench.wire import TEXT_BYTES

CLUSTER: Final = "cluster"
PROFILE_LINES: Final = 40
TABLE_COLUMNS: Final = 130
out = Console(highlight=False, width=None if sys.stdout.isatty() else TABLE_COLUMNS)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> int:
    """Measure what was asked for; 1 when a measurement failed or a floor was not held."""
    given = _arguments()
    if given.names == ["search"]:
        chosen = [search(given.messages)]
        given.runs = 1
    elif given.names == [CLUSTER]:
        chosen = cluster_cases()
    elif given.names == ["soak"]:
        chosen = [soak(given.messages)]
        given.runs = 1
    elif given.names == ["storm"]:
        chosen = [storm(given.connections)]
        given.runs = 1
    else:
        every = cases(given.quick)
        chosen = [c for c in every if not given.names or c.name.startswith(tuple(given.names))]
    if not chosen:
        err.print(
            "no such case; there are:", *[case.name for case in cases(False)], "soak", "storm"
        )
        return 2
    gc.disable()
    about = _about(given)
    err.print(", ".join(f"{key} {value}" for key, value in about["machine"].items()), style="dim")
    runs: dict[str, list[dict[str, float]]] = {case.name: [] for case in chosen}
    for turn in range(given.runs):
        for case in chosen:
            err.print(f"[dim]run {turn + 1} of {given.runs}: {case.title}[/]")
            runs[case.name].append(uvloop.run(_run(case, given)))
            gc.collect()
    outcomes = [report.gather(case, runs[case.name]) for case in chosen]
    report.show(out, outcomes)
    found = report.to_json(outcomes, about)
    if given.json:
        Path(given.json).write_bytes(found)
    if given.results:
        _keep(Path(given.results), found, outcomes)
    if given.docs:
        document = Path(given.docs)
        results = report.to_markdown(outcomes, about)
        text = report.replace_results(document.read_text(), results)
        if chosen[0].name.startswith(CLUSTER):
            text = report.replace_results(text, capacity.derive(outcomes), "capacity")
        document.write_text(text)
    return int(given.strict and any(map(_is_below, outcomes)))


def _keep(results: Path, found: bytes, outcomes: list[Outcome]) -> None:
    """Write numbers and pictures into a directory."""
    results.mkdir(parents=True, exist_ok=True)
    (results / "bench.json").write_bytes(found)
    for name, picture in pictures(outcomes).items():
        (results / name).write_text(picture, encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Timewire on this machine. See docs/BENCHMARKS.md.",
    )
    add = parser.add_argument
    add(
        "names",
        nargs="*",
        help="cases, by the beginning of their names; all if none. Or `cluster`; or `soak`, or "
        "`search`: with as many messages as `--messages` says.",
    )
    add("--json", metavar="FILE", help="write everything that was found to FILE")
    add("--results", metavar="DIR", help="write numbers and pictures (bench/results: all cases)")
    add("--docs", metavar="FILE", help="put the results into a document, between its marks")
    add("--seconds", type=float, help="length of each measurement (4; quick: 1)")
    add("--runs", type=int, help="how often each case runs, in turns (3; quick: 1)")
    add("--quick", action="store_true", help="a short look: one run, smaller cases")
    add("--durability", choices=("always", "interval"), default="always")
    add("--profile", action="store_true", help="show where the server's time goes (py-spy)")
    add("--flame", metavar="FILE", help="with --profile: draw the stacks as a flame graph (SVG)")
    add("--native", action="store_true", help="with --profile: native frames too")
    add("--messages", type=int, default=300_000, help="soak, search: messages stored (300000)")
    add("--connections", type=int, default=20_000, help="storm: connections (20000)")
    add("--strict", action="store_true", help="exit with 1 when a floor is not held")
    given = parser.parse_args()
    given.seconds = given.seconds or (1.0 if given.quick else 4.0)
    if not (given.names or given.quick or given.results):
        given.results = str(Path(__file__).with_name("results"))
    given.runs = given.runs or (1 if given.quick or given.profile else 3)
    return given


def _about(given: argparse.Namespace) -> dict[str, Any]:
    return {
        "machine": machine.describe(),
        "settings": {
            "durability": given.durability,
            "seconds": given.seconds,
            "runs": given.runs,
            "text_bytes": TEXT_BYTES,
            "quick": given.quick,
        },
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


async def _run(case: Case, given: argparse.Namespace) -> dict[str, float]:
    if case.alone is not None:
        return await case.alone(given.seconds)
    assert case.against is not None
    async with serving(durability=given.durability, **case.settings) as server:
        if not given.profile:
            return await case.against(server, given.seconds)
        async with profiling(server.pid, native=given.native) as stacks:
            found = await case.against(server, given.seconds)
    collapsed = "\n".join(stacks)
    _show_profile(shares(collapsed))
    if given.flame:
        Path(given.flame).write_text(flame.draw(case.title, flame.grow(collapsed)))
    return found


def _show_profile(found: list[Share]) -> None:
    out.print("[bold]  own   with callees   function[/]")
    for share in found[:PROFILE_LINES]:
        out.print(f"{share.own:6.1%}  {share.total:6.1%}         {share.function}", markup=False)


def _is_below(outcome: Outcome) -> bool:
    return any(
        target.verdict(outcome.found[target.key].median) == "below"
        for target in outcome.case.targets
        if target.key in outcome.found
    )


if __name__ == "__main__":
    sys.exit(main())
