"""The benchmark's rod: what is compared with what, and how it is told."""

import copy
from typing import Any

import pytest
from benchmarks.peers import ratios

AMAS = {"kind": "amas", "setup": "", "yardstick_ms": [70, 75]}
ROWS: list[dict[str, Any]] = [
    AMAS | {"peer": "amas, batches of 500", "batch": 500, "tasks_per_s": 6_000, "cpu_us_per_task": 250},
    AMAS
    | {"peer": "amas, single calls", "batch": 1, "tasks_per_s": 5_000, "cpu_us_per_task": 300}
    | {"round_trip_ms": {"p50": 6.0, "p99": 9.0}, "round_trip_nofsync_ms": {"p50": 4.5, "p99": 7.0}},
    AMAS
    | {"peer": "amas, HTTP, batches of 500", "batch": 500, "tasks_per_s": 7_000, "cpu_us_per_task": 200}
    | {"round_trip_ms": {"p50": 2.0, "p99": 3.0}},
    {"peer": "bare cycle", "kind": "bare", "setup": "", "yardstick_ms": [70, 71], "tasks_per_s": 10_000, "cpu_us_per_task": 100}
    | {"round_trip_ms": {"p50": 3.0, "p99": 4.0}, "round_trip_nofsync_ms": {"p50": 1.5, "p99": 2.0}},
    {"peer": "saq", "kind": "peer", "setup": "", "yardstick_ms": [70, 71], "tasks_per_s": 1_000, "cpu_us_per_task": 900},
]


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return copy.deepcopy(ROWS)


def test_amas_is_compared_way_by_way(rows: list[dict[str, Any]]) -> None:
    assert ratios.of(rows) == {
        "ratio_to_bare_cycle": 0.6,
        "cpu_ratio_to_bare_cycle": 2.5,
        "latency_ratio_to_bare_cycle": 2.0,
        "latency_nofsync_ratio_to_bare_cycle": 3.0,
        "rest_ratio_to_bare_cycle": 0.7,
        "ratio_to_best_durable_peer": 7.0,
        "ratio_to_best_durable_peer_single_calls": 5.0,
    }


def test_without_peers_only_the_rod_counts(rows: list[dict[str, Any]]) -> None:
    assert set(ratios.of(rows[:4])) == {measure.key for measure in ratios.MEASURES}


def test_each_figure_stands_beside_what_was_asked_for(rows: list[dict[str, Any]]) -> None:
    lines = {str(line[0]): line[1:] for line in ratios.rod_lines(rows)}
    assert lines["tasks a second, /s"] == [6_000, 10_000, 0.6, "at least 0.59 (20,000 : 33,800 /s)"]
    assert lines["CPU of one task, all processes, us"] == [250, 100, 2.5, "at most 2.67 (80 : 30 us)"]


def test_a_run_without_the_rod_says_so(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(KeyError, match="bare_cycle"):
        ratios.rod_lines([row for row in rows if row["kind"] != "bare"])


def test_a_row_shows_only_what_it_has(rows: list[dict[str, Any]]) -> None:
    ratios.of(rows)
    by_peer = {line[0]: line for line in ratios.lines(rows)}
    assert by_peer["amas, single calls"][3:5] == ["6.0 / 9.0", "4.5 / 7.0"]
    assert by_peer["saq"][3:6] == [None, None, 7.0]
