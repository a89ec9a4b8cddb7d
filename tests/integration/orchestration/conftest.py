"""Goals that a host in the test's own process meets, and a project with something to find in it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from host_bench import Bench

from amas.artifacts.values import LargeValues
from amas.model.fleet import FleetLimits, PoolSpec
from amas.model.goal import Goal
from amas.model.states import TaskState
from amas.orchestration.submission import submit_goal


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with `FILES` files, each with a finding of its own."""
    folder = tmp_path / "project"
    (folder / "pack").mkdir(parents=True)
    for number in range(request.module.FILES):
        (folder / "pack" / f"m{number}.py").write_text(f"def f{number}(text):\n    return eval(text)\n")
    return folder


async def deliver(bench: Bench, text: str, source: Path | None, pools: Sequence[PoolSpec], limits: FleetLimits) -> dict[str, Any]:
    """Have a goal about a folder met by these pools, with `out` for its deliverable, and return that."""
    goal = Goal(text=text, input_dir=str(source or ""), output_dir=str(bench.folder / "out"))
    async with bench.host(pools, lease_s=6.0):
        _, root_id = await submit_goal(bench.queue, goal, limits=limits, values=LargeValues(None))
        root = await bench.ended(root_id)
    assert root.state is TaskState.SUCCEEDED, root.failure
    assert isinstance(root.result, dict)
    return root.result


def review(bench: Bench) -> dict[str, Any]:
    """Return what the report says of the part that reviewed the code."""
    report = json.loads((bench.folder / "out" / "report.json").read_text())
    (part,) = [part for part in report["parts"] if part["part"] == "review"]
    return part
