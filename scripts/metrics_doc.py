"""Make docs/METRICS.md from `timewire.metrics`; `--print` only shows it."""

import sys
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from timewire import metrics

TARGET = Path(__file__).resolve().parent.parent / "docs" / "METRICS.md"

HEAD = """\
# Metrics

What `GET /metrics` tells, in the format of Prometheus. Beside it stand those of the Python process
(`process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds`, ...). A dashboard
for Grafana that shows the most important ones is [grafana.json](grafana.json); what to watch, and
what it means, is in [OPERATIONS.md](OPERATIONS.md#monitoring).

The path needs no key: keep it from the outside, as the proxies there do. No metric names a user, a
conversation or anything of a message.

| metric | kind | labels | what it counts |
|---|---|---|---|
"""


def collectors() -> list[MetricWrapperBase]:
    """All metrics, in the order of their definition."""
    return [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]


def exposed(one: MetricWrapperBase) -> list[str]:
    """The names under which a metric can be asked for."""
    if isinstance(one, Counter):
        return [one._name + "_total"]
    if isinstance(one, Histogram):
        return [one._name + suffix for suffix in ("_bucket", "_sum", "_count")]
    return [one._name]


def document() -> str:
    rows: list[str] = []
    for one in collectors():
        name = one._name if isinstance(one, Histogram) else exposed(one)[0]
        kind = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}[type(one)]
        labels = ", ".join(f"`{label}`" for label in one._labelnames)
        rows.append(f"| `{name}` | {kind} | {labels} | {one._documentation} |\n")
    return HEAD + "".join(rows)


def main() -> None:
    if "--print" in sys.argv[1:]:
        sys.stdout.write(document())
    else:
        TARGET.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
