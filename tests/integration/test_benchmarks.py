"""The benchmarks run, and every figure that others read comes out of them; what the figures are is no test's business."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import page, results
from benchmarks.parts.graphs import SHAPES
from benchmarks.peers.__main__ import BARE, measured
from benchmarks.peers.amas_rows import Amounts

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_a_quick_run_measures_every_key(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(output.read_text())
    assert results.unsound(found, [key for key in results.KEYS if key.name not in results.PEER_KEYS]) == []
    text = page.filled(page.PAGE.read_text(), found)
    assert text.count("Not measured yet") == 3  # the peers, the rod and the scientific workflows, which are runs of their own


def test_the_bare_cycle_runs() -> None:
    row = measured(BARE, Amounts(tasks=300, runs=2, round_trips=5))
    assert (row["peer"], row["kind"], len(row["runs"])) == ("bare cycle", "bare", 2)
    assert min(row["cpu_us_per_task"], row["round_trip_ms"]["p50"], row["round_trip_nofsync_ms"]["p50"]) > 0


def test_a_key_that_is_missing_or_impossible_is_told() -> None:
    sound = {key.name: key.least for key in results.KEYS}
    assert results.unsound(sound, results.KEYS) == []
    assert results.unsound(sound | {"engine_kill_lost": 1}, results.KEYS) == [
        "engine_kill_lost is 1, but can only be from 0 to 0"
    ]
    del sound["cpu_us_per_task"]
    assert results.unsound(sound, results.KEYS) == ["cpu_us_per_task is None, not a number"]


def test_the_page_is_that_of_the_results() -> None:
    """Nobody typed a number into it: `make bench-page` makes it again."""
    for each in (page.README, page.PAGE):
        text = each.read_text()
        assert page.filled(text, results.load()) == text
    plots = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert [plot for plot in plots if not (page.PAGE.parent / plot).exists()] == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 2, 3, 100, 1_001, 2_500])
def test_a_graph_has_its_size_and_needs_only_what_comes_before(shape: str, size: int) -> None:
    graph = list(SHAPES[shape](size))
    assert len(graph) == size
    assert all(need < number for number, needs in enumerate(graph) for need in needs)
    assert all(graph[size // 10 + 1 :]), "it hangs together"
