"""The plots of `docs/benchmarks/`, drawn from `results.json`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pygal
from pygal.style import CleanStyle

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
_SIZE = {"width": 800, "height": 400}


def _written(chart: Any, name: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    svg = chart.render(is_unicode=True, pretty_print=True)
    (FOLDER / f"{name}.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


def _chart(kind: Any, title: str, axis: str, **options: Any) -> Any:
    # no script: pygal's tooltips are fetched from the network, and a page may refuse to run them
    return kind(title=title, y_title=axis, style=CleanStyle(), js=[], legend_at_bottom=True, no_prefix=True, **_SIZE, **options)


def _by_batch(rows: Iterable[dict[str, Any]], title: str, name: str) -> None:
    rows = list(rows)
    chart = _chart(pygal.Bar, title, "tasks/s", x_title="tasks in a batch (1: single calls, 100 at a time)")
    chart.x_labels = [str(batch) for batch in sorted({row["batch"] for row in rows})]
    for hosts in sorted({row["hosts"] for row in rows}):
        chart.add(f"{hosts} host{'s' if hosts > 1 else ''}", [row["tasks_per_s"] for row in rows if row["hosts"] == hosts])
    _written(chart, name)


def _latency(found: dict[str, Any]) -> None:
    chart = _chart(pygal.Bar, "Submit to result", "ms, logarithmic", logarithmic=True)
    chart.x_labels = ["p50", "p99", "p99.9"]
    for name, title in (("idle_nofsync", "idle, no fsync"), ("idle", "idle, fsync"), ("half_load", "half load, fsync")):
        chart.add(title, [found[f"latency_{name}_{at}_ms"] for at in ("p50", "p99", "p999")])
    _written(chart, "latency")


def _split(details: dict[str, Any]) -> None:
    chart = _chart(pygal.HorizontalBar, "CPU of one task", "us")
    for name, us in details["split"].items():
        chart.add(name, us)
    _written(chart, "cpu-split")


def _depth(details: dict[str, Any]) -> None:
    chart = _chart(pygal.StackedBar, "Engine CPU of one task while others are queued", "us", x_title="queued tasks")
    chart.x_labels = [f"{row['queued']:,}" for row in details["depths"]]
    for kind in ("submit", "claim", "complete"):
        chart.add(kind, [row[kind] for row in details["depths"]])
    _written(chart, "depth")


def _graphs(details: dict[str, Any]) -> None:
    rows = details["graphs"]
    chart = _chart(
        pygal.Line,
        "Engine CPU of one task in a graph",
        "us",
        x_title="tasks in the graph",
        range=(0, max(r["cpu_us_per_task"] for r in rows)),
    )
    chart.x_labels = [f"{size:,}" for size in sorted({row["tasks"] for row in rows})]
    for shape in dict.fromkeys(row["shape"] for row in rows):
        chart.add(shape, [row["cpu_us_per_task"] for row in rows if row["shape"] == shape])
    _written(chart, "graphs")


def _peers(details: dict[str, Any]) -> None:
    chart = _chart(pygal.HorizontalBar, "10,000 tasks of 278 bytes, results kept, every write on disk", "tasks/s")
    for row in sorted(details["rows"], key=lambda row: -row["tasks_per_s"]):
        chart.add(row["peer"], row["tasks_per_s"])
    _written(chart, "peers")


def draw(found: dict[str, Any]) -> None:
    """Draw what has been measured."""
    details = found.get("details", {})
    if "throughput" in details:
        _by_batch(details["throughput"]["rates"], "Through the Python client", "client")
    if "rest" in details:
        _by_batch(details["rest"]["rates"], "Through POST /api/tasks/batch", "rest")
    if "latency" in details:
        _latency(found)
    for name, draw_one in (("cost", _split), ("depth", _depth), ("graphs", _graphs), ("peers", _peers)):
        if name in details:
            draw_one(details[name])
