"""A goal about a real project, one process of whose fleet is killed with -9 in the middle: the deliverable is whole all the same.

The project's own tests take about a second, so that there is a middle. Which moment is hit is drawn from a seed that is printed.
"""

import asyncio
import os
import random
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from amas.fleet.load import find_fleet
from amas.platforms.local.control import RunningFleet, start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import StartRequest

GOAL = "Review the code, run its tests, document its API and write a report"
LIMIT_S = 90.0
PARTS = ["host-1", "control-plane", "engine", "supervisor"]
RUNS = [*PARTS, "host-2"] * 4 if os.environ.get("AMAS_SOAK") == "full" else PARTS
TASKS = 30  # of this goal on this project, so that a number below it is hit in the middle

FILES = {
    "pyproject.toml": '[project]\nname = "pets"\nversion = "1.0"\nrequires-python = ">=3.11"\n',
    "src/pets/__init__.py": '"""Pets."""\n\nimport os\n\n\ndef name() -> str:\n    """Return a name."""\n    return "Rex"\n',
    "tests/test_pets.py": (
        "import time\n\nfrom pets import name\n\n\n"
        "def test_slow():\n    time.sleep(1)\n    assert name() == 'Rex'\n\n\ndef test_wrong():\n    assert name() == 'Tom'\n"
    ),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "project"


async def _fleet(home: Path) -> RunningFleet:
    fleet_file = str(find_fleet("amas"))
    return await start_fleet(StartRequest(home=str(home), fleet_file=fleet_file, hosts=2, port=0, metrics_port=0, bound=True))


async def _workflow(fleet: RunningFleet, workflow_id: str) -> dict[str, Any]:
    """Return the workflow, waiting while the control plane or the engine is being started again."""
    async with asyncio.timeout(LIMIT_S), httpx.AsyncClient(base_url=fleet.state.api_url, timeout=60) as client:
        while True:
            try:
                answer = await client.get(f"/api/workflows/{workflow_id}")
            except httpx.TransportError:
                await asyncio.sleep(0.02)
                continue
            if answer.status_code < 500:
                found: dict[str, Any] = answer.raise_for_status().json()
                return found
            await asyncio.sleep(0.02)


def _done(workflow: dict[str, Any]) -> int:
    return int(workflow["counts"].get("succeeded", 0))


async def _until_done(fleet: RunningFleet, workflow_id: str, count: int) -> dict[str, Any]:
    async with asyncio.timeout(LIMIT_S):
        while _done(workflow := await _workflow(fleet, workflow_id)) < count:
            assert workflow["state"] == "running", workflow
            await asyncio.sleep(0.005)
    return workflow


async def _until_ended(fleet: RunningFleet, workflow_id: str) -> dict[str, Any]:
    async with asyncio.timeout(LIMIT_S):
        while (workflow := await _workflow(fleet, workflow_id))["state"] == "running":
            await asyncio.sleep(0.05)
    return workflow


async def _kill(fleet: RunningFleet, part: str, home: Path) -> RunningFleet:
    """Kill a part and return the fleet that goes on: the same one, or the next where it was its supervisor."""
    if part == "supervisor":
        os.kill(fleet.state.supervisor_pid, signal.SIGKILL)
        await fleet.stop()  # nothing is left to be stopped; this waits for its process
        return await _fleet(home)
    os.kill(next(each.pid for each in fleet.state.parts if each.name == part), signal.SIGKILL)
    return fleet


@pytest.mark.requirement("A4", "A5", "B8", "T6")
@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", RUNS)
async def test_a_goal_is_met_although_a_process_was_killed(part: str, project: Path, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    kill_at = random.Random(seed).randrange(1, TASKS - 6)
    print(f"seed {seed}: {part} is killed when {kill_at} tasks are done")
    home, output = tmp_path / "home", tmp_path / "out"
    fleet = await _fleet(home)
    try:
        async with httpx.AsyncClient(base_url=fleet.state.api_url, timeout=60) as client:
            goal = {"text": GOAL, "input_dir": str(project), "output_dir": str(output)}
            workflow_id = (await client.post("/api/goals", json=goal)).raise_for_status().json()["workflow_id"]
        before = await _until_done(fleet, workflow_id, kill_at)
        fleet = await _kill(fleet, part, home)
        ended = await _until_ended(fleet, workflow_id)
        assert before["state"] == "running"
        assert ended["state"] == "succeeded", ended
        _assert_whole(output)
        await _assert_recorded_once(home, workflow_id, {task["id"] for task in ended["tasks"]})
    finally:
        await fleet.stop()
    assert Home(home).supervisor_pid() is None


def _assert_whole(output: Path) -> None:
    """The deliverable has its files, the tests' outcomes and the known finding, and the gate accepted each part."""
    report = msgspec.json.decode((output / "report.json").read_bytes())
    assert {part["part"]: part["accepted"] for part in report["parts"]} == {"review": True, "tests": True, "api": True}
    assert report["problems"] == []
    assert [row["state"] for row in report["tasks"]] == ["succeeded"] * len(report["tasks"])
    tests = msgspec.json.decode((output / "tests.json").read_bytes())
    assert [test["outcome"] for test in tests] == ["passed", "failed"]
    rules = [found["rule"] for found in msgspec.json.decode((output / "findings.json").read_bytes())]
    assert rules.count("F401") == 1
    assert rules.count("test-failed") == 1
    assert (output / "report.html").stat().st_size > 10_000
    assert (output / "api" / "pets.md").exists()


async def _assert_recorded_once(home: Path, workflow_id: str, task_ids: set[str]) -> None:
    """Every task of the workflow has ended well in the records, by exactly one of its attempts."""
    ended = "SELECT id FROM tasks WHERE workflow_id = ? AND state = 'succeeded' AND result IS NOT NULL"
    attempts = (  # a first attempt that ended with its task stands in the task's row
        "SELECT id, (attempt = 1) + (SELECT count(*) FROM attempts WHERE task_id = id AND attempts.state = 'succeeded') "
        "FROM tasks WHERE workflow_id = ? GROUP BY id"
    )
    with closing(sqlite3.connect(home / "records.sqlite3")) as records:
        async with asyncio.timeout(LIMIT_S):
            while {row[0] for row in records.execute(ended, [workflow_id])} != task_ids:
                await asyncio.sleep(0.05)  # the recorder follows the journal
        assert dict(records.execute(attempts, [workflow_id])) == dict.fromkeys(task_ids, 1)
