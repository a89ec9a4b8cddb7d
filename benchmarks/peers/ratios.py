"""What the rows of one run say about each other: amas against its peers, and against the bare cycle.

The bare cycle is a rod. What was asked for in absolute numbers was set on a machine where the cycle made 33,800 tasks a second at
30 us of CPU, with a round trip of 0.98 ms (0.49 ms without fsync); divided by these, it can be read on any machine.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

Row = dict[str, Any]


class Measure(NamedTuple):
    """A figure of amas that is asked for, and how the cycle's is read."""

    key: str
    what: str
    unit: str
    asked: float
    rod: float
    """The cycle's, where `asked` was set."""
    at_least: bool
    of: Callable[[list[Row]], float]
    """From rows of amas, or the one of the cycle."""

    @property
    def bound(self) -> str:
        """Return what the ratio is asked to be, in words."""
        ratio = round(self.asked / self.rod, 2)
        return f"at {'least' if self.at_least else 'most'} {ratio:g} ({self.asked:,g} : {self.rod:,g} {self.unit})"


def _best_rate(rows: list[Row]) -> float:
    return max(float(row["tasks_per_s"]) for row in rows)


def _least_cpu(rows: list[Row]) -> float:
    return min(float(row["cpu_us_per_task"]) for row in rows)


def _least_p50(name: str) -> Callable[[list[Row]], float]:
    return lambda rows: min(float(row[name]["p50"]) for row in rows if name in row)


_LEAST_P50, _LEAST_P50_NOFSYNC = _least_p50("round_trip_ms"), _least_p50("round_trip_nofsync_ms")

MEASURES = (
    Measure("ratio_to_bare_cycle", "tasks a second", "/s", 20_000, 33_800, at_least=True, of=_best_rate),
    Measure("cpu_ratio_to_bare_cycle", "CPU of one task, all processes", "us", 80, 30, at_least=False, of=_least_cpu),
    Measure("latency_ratio_to_bare_cycle", "one task alone, p50", "ms", 2.5, 0.98, at_least=False, of=_LEAST_P50),
    Measure(
        "latency_nofsync_ratio_to_bare_cycle", "the same without fsync", "ms", 1.5, 0.49, at_least=False, of=_LEAST_P50_NOFSYNC
    ),
    Measure("rest_ratio_to_bare_cycle", "tasks a second through HTTP", "/s", 20_000, 33_800, at_least=True, of=_best_rate),
)

TITLES = ("", "tasks/s", "CPU us/task", "alone p50 / p99 ms", "no fsync p50 / p99 ms", "amas is times", "yardstick ms", "set up")
ROD_TITLES = ("against the bare cycle", "amas", "bare cycle", "ratio", "asked for")


def _is_http(row: Row) -> bool:
    return "HTTP" in str(row["peer"])


def _sides(measure: Measure, rows: list[Row]) -> tuple[float, float]:
    """Return amas' figure and the cycle's."""
    rest = measure.key.startswith("rest_")
    ours = [row for row in rows if row["kind"] == "amas" and _is_http(row) is rest]
    return measure.of(ours), measure.of([row for row in rows if row["kind"] == "bare"])


def of(rows: list[Row]) -> dict[str, float]:
    """Put each row's ratio to amas into it, and return the flat keys; every peer here keeps results on disk."""
    ours = [row for row in rows if row["kind"] == "amas"]
    theirs = [row["tasks_per_s"] for row in rows if row["kind"] == "peer"]
    best = max(row["tasks_per_s"] for row in ours)
    for row in rows:
        row["amas_is_times"] = round(best / row["tasks_per_s"], 1)
    found = {}
    for measure in MEASURES:
        amas, bare = _sides(measure, rows)
        found[measure.key] = round(amas / bare, 2)
    if theirs:
        singles = max(row["tasks_per_s"] for row in ours if row["batch"] == 1)
        found["ratio_to_best_durable_peer"] = round(best / max(theirs), 2)
        found["ratio_to_best_durable_peer_single_calls"] = round(singles / max(theirs), 2)
    return found


def lines(rows: list[Row]) -> list[list[object]]:
    """Return the cells under `TITLES`; what a row hasn't is None."""

    def pair(row: Row, name: str) -> str | None:
        return f"{row[name]['p50']} / {row[name]['p99']}" if name in row else None

    return [
        [
            row["peer"],
            row["tasks_per_s"],
            row["cpu_us_per_task"],
            pair(row, "round_trip_ms"),
            pair(row, "round_trip_nofsync_ms"),
            row["amas_is_times"],
            " / ".join(map(str, row["yardstick_ms"])),
            row["setup"],
        ]
        for row in rows
    ]


def rod_lines(rows: list[Row]) -> list[list[object]]:
    """Return the cells under `ROD_TITLES`; KeyError when the run had no bare cycle."""
    if not any(row.get("kind") == "bare" for row in rows):
        raise KeyError("bare_cycle")
    made: list[list[object]] = []
    for measure in MEASURES:
        amas, bare = _sides(measure, rows)
        made.append([f"{measure.what}, {measure.unit}", amas, bare, round(amas / bare, 2), measure.bound])
    return made
