"""A fleet that is started without metrics: all else works, and what needs them says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command, ledger_fleet

pytestmark = [pytest.mark.requirement("A11", "A12"), pytest.mark.xdist_group("no-metrics")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Commands beside a fleet with ORCHESTRATION_ENABLE_METRICS=false."""
    folder = ledger_fleet(tmp_path_factory.mktemp("fleet"), steps=1)
    with Command(folder, COLUMNS="200", ORCHESTRATION_ENABLE_METRICS="false").up("--fleet", "./fleet.yaml") as running:
        yield running


def test_work_is_done_and_figures_are_shown(run: Command) -> None:
    made = run.api("POST", "/api/tasks", {"capability": "test.ledger"})["id"]
    assert run.api("GET", f"/api/tasks/{made}/result?wait=30")["state"] == "succeeded"
    assert run.json("top")["figures"]["agents"]["total"] == 4
    assert run("status").returncode == 0
    assert [each for each in run.json("doctor") if not each["ok"]] == []


def test_nothing_is_served_to_prometheus_and_who_asks_is_told_why(run: Command, tmp_path: Path) -> None:
    assert run.json("status")["fleet"]["metrics_port"] == 0
    done = run("monitoring", "write", str(tmp_path / "monitoring"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("amas: this fleet has no page for Prometheus: it was started with"), done.stderr
    assert "ORCHESTRATION_ENABLE_METRICS=false" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "monitoring").exists()
    assert "no metrics: ORCHESTRATION_ENABLE_METRICS=false" in run("status").stdout
