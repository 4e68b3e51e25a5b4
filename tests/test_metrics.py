"""Metrics are documented, and the dashboard asks only for those that there are."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from timewire import metrics

ROOT = Path(__file__).resolve().parent.parent
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
PROCESS |= {"process_open_fds", "process_max_fds"}

COLLECTORS = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]


def names(one: MetricWrapperBase) -> set[str]:
    """What can be asked for, with labels as Prometheus will see them."""
    base = one._name
    if isinstance(one, Counter):
        return {base + "_total"}
    return {base, base + "_bucket", base + "_sum", base + "_count"}


KNOWN = {name: set(one._labelnames) for one in COLLECTORS for name in names(one)}
DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs" / "grafana.json").read_text("utf-8"))
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def asked(text: str) -> set[str]:
    return set(re.findall(r"\b(?:timewire|process)_\w+", text))


def test_the_list_is_current() -> None:
    made = subprocess.run(
        [sys.executable, "scripts/metrics_doc.py", "--print"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert made == (ROOT / "docs" / "METRICS.md").read_text("utf-8")


def test_every_metric_says_what_it_is() -> None:
    for one in COLLECTORS:
        assert one._name.startswith("timewire_")
        assert one._documentation
        assert "|" not in one._documentation


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_dashboard_asks_for_what_there_is(expression: str) -> None:
    found = asked(expression)
    assert found
    assert found - set(KNOWN) - PROCESS == set()
    wanted = {one for by in re.findall(r" by \((\w+)\)", expression) for one in by.split()} - {"le"}
    for name in found - PROCESS:
        assert wanted <= KNOWN[name], expression


def test_legends_name_labels_that_there_are() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            used = set(re.findall(r"{{(\w+)}}", target["legendFormat"])) - {"instance"}
            known = set[str]().union(*(KNOWN.get(name, set()) for name in asked(target["expr"])))
            assert used <= known, target


def test_panels_do_not_overlap() -> None:
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in DASHBOARD["panels"]]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places) == len(set(ids))


def test_alerts_in_the_guide_ask_for_what_there_is() -> None:
    guide = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
    assert asked(guide) - set(KNOWN) - PROCESS == set()


def test_what_is_told_is_what_is_listed() -> None:
    told = generate_latest().decode()
    listed = (ROOT / "docs" / "METRICS.md").read_text("utf-8")
    for name in re.findall(r"^# TYPE (timewire_\w+) ", told, re.MULTILINE):
        if not name.endswith("_created"):
            assert f"`{name}`" in listed
